/* SPDX-License-Identifier: ISC
 *
 * transaction: the half of the client core that sends one message: RSET, MAIL,
 * RCPT..., DATA, content, and what their replies mean for each recipient.  Between
 * client.c and transaction.c alone.
 */
#ifndef REMOTED_TRANSACTION_H
#define REMOTED_TRANSACTION_H

#include "daemons/remoted/client.h"

/* Puts out the envelope of client.mail for those still pending; settles what
 * this peer cannot take. */
void transaction_begin(struct client *c);
/* For whom the peer has accepted and who is not judged yet. */
void transaction_settle_accepted(struct client *c, const struct verdict *v);
/* The command whose reply is awaited; empty outside the envelope. */
const char *transaction_awaits(const struct client *c);
/* A reply in that state. */
void transaction_on_envelope(struct client *c);
void transaction_on_content(struct client *c);
void transaction_on_final(struct client *c);
void transaction_on_void(struct client *c);

/* Of client.c: ends the session, polite with a QUIT. */
void client_end_session(struct client *c, enum client_end end, struct verdict why, bool polite);
void client_broken(struct client *c, const char *what);
/* A verdict in our words or by the reply at hand; its text lives with the message. */
struct verdict client_own_words(struct client *c, unsigned status, const char *what, struct span more);
struct verdict client_their_words(struct client *c, const char *command);

#endif
