/* SPDX-License-Identifier: ISC
 *
 * aside: a FETCH that no client sent, of messages that have arrived (RFC 5465
 * 5.2, 7).  It runs between commands and while the client idles.
 */
#ifndef MAILBOXD_ASIDE_H
#define MAILBOXD_ASIDE_H

#include "daemons/mailboxd/fetch.h"
#include "daemons/mailboxd/imap.h"

/* Of the UIDs lo to hi, soon.  items stay the caller's, who calls aside_clear()
 * before they go. */
void aside_fetch(struct imap *s, struct fetch_item *items, uint32_t lo, uint32_t hi);
/* Nothing is to be fetched any more.  Not while one runs: no command does then. */
void aside_clear(struct imap *s);
bool aside_busy(const struct imap *s);
bool aside_midway(const struct imap *s); /* it may have begun a response */
/* Goes on; false: not done. */
bool aside_step(struct imap *s);
void aside_free(struct aside **a);

#endif
