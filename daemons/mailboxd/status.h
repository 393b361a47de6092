/* SPDX-License-Identifier: ISC
 *
 * status: the items of STATUS, asked for by itself or by LIST (RFC 5819).
 */
#ifndef MAILBOXD_STATUS_H
#define MAILBOXD_STATUS_H

#include "daemons/mailboxd/imap.h"

/* "(" item *(SP item) ")" as a set of bits. */
bool status_parse(struct imap_parse *p, unsigned *items);
unsigned status_bits(const char *names); /* "MESSAGES UIDNEXT" */
/* The whole response line. */
void status_put(struct imap *s, struct span name, unsigned items, const struct mailbox_status *st);

#endif
