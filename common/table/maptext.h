/* SPDX-License-Identifier: ISC
 *
 * maptext: the text sources of lookup tables, entry by entry.
 *
 * A line that begins with a blank goes on with the one before it; # begins a
 * comment line; empty lines count for nothing.  Map form: key, blanks, value; a key
 * with blanks is quoted.  Alias form: name, colon, value; the name may be quoted.
 */
#ifndef TABLE_MAPTEXT_H
#define TABLE_MAPTEXT_H

#include "base/buf.h"
#include "table/table.h"

struct maptext_visitor {
	/* Spans are valid during the call. False ends the walk. */
	bool (*on_entry)(void *arg, unsigned line, struct span key, struct span value);
	void (*on_bad)(void *arg, unsigned line, const char *what);
	void *arg;
};

/* False if a visit said so. */
bool maptext_walk(struct span text, enum table_syntax syntax, const struct maptext_visitor *v);
/* Whole logical lines, comments removed and continuations joined, for other grammars. */
bool maptext_lines(struct span text, bool (*on_line)(void *arg, unsigned line, struct span content), void *arg);

#endif
