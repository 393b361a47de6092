/* SPDX-License-Identifier: ISC
 *
 * aliaslist: the right side of an alias, and the lines of an include file:
 * items separated by commas; quotes around what has blanks or commas; and
 * `:include:/file`, `|command`, `/file`.  Only reads; allows nothing.
 */
#ifndef TABLE_ALIASLIST_H
#define TABLE_ALIASLIST_H

#include "base/arena.h"

enum aliaslist_kind {
	ALIASLIST_ADDRESS, /* as written; a leading \ (no more aliasing) removed */
	ALIASLIST_INCLUDE, /* text: the path */
	ALIASLIST_COMMAND, /* text: without the | */
	ALIASLIST_FILE,    /* text: the path */
	ALIASLIST_BAD,     /* text: the item; quotes not closed, or empty include */
};

struct aliaslist_item {
	enum aliaslist_kind kind;
	bool final; /* \name: not an alias again */
	struct span text;
};

/* Takes the next item off *rest; false at the end, or out of memory (arena->failed). Text is in the arena. */
bool aliaslist_next(struct span *rest, struct arena *arena, struct aliaslist_item *item);

#endif
