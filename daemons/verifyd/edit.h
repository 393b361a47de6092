/* SPDX-License-Identifier: ISC
 *
 * edit: the header of a message as a list of fields that filters add to,
 * change and take from, one after the other.
 *
 * The first field is our own Received: filters neither see nor change it, as they
 * know it from Sendmail and Postfix; "insert at 0" goes in front of it.
 */
#ifndef VERIFYD_EDIT_H
#define VERIFYD_EDIT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"

enum { EDIT_FIELDS_MAX = 9000 }; /* fewer than header_next() gives (LIMIT_HEADER_FIELDS) */

struct field {
	struct list node;
	struct span name, value; /* value raw: behind the colon, without the last line end */
	struct span whole;       /* with the last CRLF */
	bool hidden;
};

struct edit {
	struct list fields; /* in the arena */
	size_t count;
	bool changed, eightbit; /* what filters put in has bytes over 127 */
	struct arena mem;
};

/* header: up to its empty line, without it. hidden: bytes of it, from the front, that are
 * not shown to filters. The text must outlive the list; cap bounds the memory. False: too many
 * fields, a line that is none, no memory; free it all the same. */
bool edit_init(struct edit *e, struct span header, size_t hidden, size_t cap);
void edit_free(struct edit *e);

/* All false: no room. Values come as filters give them: lines end with LF, or CRLF; lines that
 * do not begin with a blank get one, so that nothing a filter copied from a message begins a field. */
bool edit_add(struct edit *e, struct span name, struct span value);                  /* behind the last */
/* In front of the field at that place, ours counted: 0 is above our Received, 1 right below it. */
bool edit_insert(struct edit *e, uint32_t index, struct span name, struct span value);
/* The nth (from 1; 0 means 1) field of that name; behind the last field when there are fewer. An empty value deletes. */
bool edit_change(struct edit *e, uint32_t nth, struct span name, struct span value);

/* The next field filters see; NULL at the end. From NULL: the first. */
const struct field *edit_next(const struct edit *e, const struct field *f);
/* The header as it is now, without the empty line. */
void edit_put(const struct edit *e, struct buf *out);

/* Bytes of a body as a filter gives them, lines made canonical (law 10): CRLF, no other CR or LF, no NUL. */
struct edit_lines {
	bool cr;       /* the last byte was one */
	bool eightbit;
	char last;     /* of what was put; 0: nothing */
};
void edit_lines_put(struct edit_lines *l, struct buf *out, struct span bytes);
void edit_lines_end(struct edit_lines *l, struct buf *out); /* the last line's end, if it lacks */

#endif
