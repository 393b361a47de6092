/* SPDX-License-Identifier: ISC
 *
 * filter: which mailboxes a command is about: "selected", "personal",
 * "subtree lists" and the like (RFC 5465 6, RFC 7377 2.2).
 */
#ifndef MAILBOXD_FILTER_H
#define MAILBOXD_FILTER_H

#include "daemons/mailboxd/imap.h"

enum filter_kind {
	FILTER_SELECTED, FILTER_DELAYED, FILTER_INBOXES, FILTER_PERSONAL, FILTER_SUBSCRIBED,
	FILTER_SUBTREE, FILTER_SUBTREE_ONE, FILTER_MAILBOXES,
};

struct filter {
	struct filter *next; /* the caller's */
	enum filter_kind kind;
	struct span *names; /* as on disk */
	size_t n;
};

/* One filter, all of it in p's arena; NULL after a syntax error. */
struct filter *filter_take(struct imap *s, struct imap_parse *p);
/* Whether it names this folder; never so for the two kinds of "selected". */
bool filter_fits(const struct filter *f, const struct folder *folder);

#endif
