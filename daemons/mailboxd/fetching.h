/* SPDX-License-Identifier: ISC
 *
 * fetching: a FETCH command at work, for the files that write its items.
 */
#ifndef MAILBOXD_FETCHING_H
#define MAILBOXD_FETCHING_H

#include "daemons/mailboxd/ahead.h"
#include "daemons/mailboxd/fetch.h"
#include "daemons/mailboxd/imap.h"
#include "daemons/mailboxd/returns.h"

struct fetch {
	struct fetch_item *items;
	bool sets_seen;
	uint64_t changed_since; /* only those with a greater modseq */
	size_t range;           /* of c->seqs */
	uint32_t seq;           /* next one, 0: begin the range */
	bool open;              /* a message is begun and not ended */
	struct fetch_item *at;  /* its next item */
	bool facts;             /* some item is among the facts of a message */
	struct facts_ahead ahead;
	struct text text;
	struct message message; /* the one at work, as it was at its start */
	struct uidset seen;     /* to be marked */
	struct buf made;
	bool any;               /* an item of this message is out */
	bool marked;            /* it becomes \Seen by this */
	bool unknown_encoding;  /* BINARY of what nobody can decode */
	bool gone;              /* some message is no longer there */
	bool changed, vanished, partial; /* modifiers that were given */
	struct partial part;
};

static inline struct fetch *
fetch_of(struct cmd *c)
{
	return c->state;
}

/* The items of c->seqs, from now on by c->step.  CMD_DONE: no memory, the reply is set. */
enum cmd_result fetch_begin(struct cmd *c, struct fetch_item *items);

/* Writers, one a row.  False: the message cannot be read. */
#define FETCH_ITEM(text, kind, flags) bool fetch_put_##kind(struct cmd *c, struct fetch_item *item);
#include "daemons/mailboxd/fetch.def"
#undef FETCH_ITEM
bool fetch_put(struct cmd *c, struct fetch_item *item); /* by its kind */

#endif
