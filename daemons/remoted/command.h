/* SPDX-License-Identifier: ISC
 *
 * command: the envelope commands of a client as text, with the parameters
 * that the peer understands.  What could break out of a command line is
 * refused here, whoever it came from.
 */
#ifndef REMOTED_COMMAND_H
#define REMOTED_COMMAND_H

#include "daemons/remoted/client.h"

/* What this peer cannot take of c->mail: a verdict for the whole message; PENDING: fine. */
struct verdict command_check(const struct client *c);
/* MAIL for it, into c->out. */
void command_mail(const struct client *c);
/* False and a verdict: this recipient cannot be said to this peer. */
bool command_rcpt_check(const struct client_mail *mail, struct client_rcpt *rcpt, unsigned extensions);
void command_rcpt(struct buf *out, const struct client_rcpt *rcpt, unsigned extensions);
/* The extensions in the reply to EHLO. */
unsigned command_extensions(struct client *c);

#endif
