/* SPDX-License-Identifier: ISC
 *
 * context: searches whose results are kept up to date (RFC 5267 4): what comes
 * to fit or ceases to is told in ADDTO and REMOVEFROM.
 */
#ifndef MAILBOXD_CONTEXT_H
#define MAILBOXD_CONTEXT_H

#include "daemons/mailboxd/searching.h"

bool context_known(const struct imap *s, struct span tag);
/* What was found goes on under c's tag; uid: told in UIDs.  False: no more of
 * them, or no memory. */
bool context_add(struct cmd *c, const struct searching *found, bool uid);
bool context_cancel(struct imap *s, struct span tag); /* false: there is none */
void context_clear(struct imap *s);
/* In front of the EXPUNGE: what has a number is named by it now. */
void context_expunged(struct imap *s, uint32_t seq, uint32_t uid);
/* Behind everything that was told of the mailbox. */
void context_update(struct imap *s);

#endif
