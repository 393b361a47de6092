/* SPDX-License-Identifier: ISC
 *
 * url: IMAP URLs (RFC 5092) of messages and parts in the user's own mailboxes,
 * and the octets they stand for.  Whatever names a server or a user is refused:
 * nothing but this session's mailboxes can be reached (law 4).
 */
#ifndef MAILBOXD_URL_H
#define MAILBOXD_URL_H

#include "daemons/mailboxd/fetch.h"
#include "daemons/mailboxd/imap.h"

struct url {
	struct span mailbox;  /* UTF-8; empty: the selected one */
	struct span section;  /* as in BODY[...]; empty: all */
	uint32_t uidvalidity; /* 0: not given */
	uint32_t uid;
	uint32_t from, count; /* RFC 5550 PARTIAL; count 0: to the end */
};

/* Relative to "imap://user@server/mailbox": [mailbox] [";UIDVALIDITY=" n] "/;UID=" n
 * ["/;SECTION=" s] ["/;PARTIAL=" n ["." n]].  False: anything else. */
bool url_parse(struct span text, struct arena *arena, struct url *out);

/* What an URL names, while it is read. */
struct url_part {
	struct view view;
	struct text text;
	struct buf made;   /* a section that was put together */
	bool is_open, is_made;
	uint64_t at, left; /* octets still to be read */
};

/* False: there is no such message or part, or it cannot be read. */
bool url_open(struct url_part *u, struct imap *s, const struct url *url, struct arena *arena);
void url_close(struct url_part *u); /* also when it was never opened, but zero */
/* At most n of the octets that are left; false: the file cannot be read. */
bool url_read(struct url_part *u, char *to, size_t n);

#endif
