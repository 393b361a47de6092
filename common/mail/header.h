/* SPDX-License-Identifier: ISC
 *
 * header: walks the header of a message, one field at a time, without copying.
 *
 * Takes CRLF and bare LF line ends (stored mail has both) and the obsolete
 * syntax of RFC 822 and RFC 5322 4.5 (blanks before the colon).  A line that is
 * neither a field nor a continuation ends the header, as does the empty line;
 * an mbox "From " line in front is skipped.
 */
#ifndef MAIL_HEADER_H
#define MAIL_HEADER_H

#include "base/arena.h"
#include "base/buf.h"

struct header_field {
	struct span name;  /* without blanks before the colon */
	struct span value; /* raw: behind the colon, folding included, the last line end not */
	struct span whole; /* name to line end, all lines */
};

struct header_walk {
	struct span in;
	size_t at;       /* next byte to look at; at the end of the walk: where the header ends */
	unsigned fields; /* seen so far */
	bool done;
};

static inline struct header_walk header_walk(struct span message) { return (struct header_walk){ .in = message }; }
/* False at the end of the header. */
bool header_next(struct header_walk *w, struct header_field *f);

/* Whether text begins with the line that parts messages in an mbox file, which is no field ("From :" is one). */
bool header_mbox_line(struct span text);

/* Bytes up to and with the empty line that ends the header; *header_n (may be NULL) gets the bytes in front of the
 * empty line. */
size_t header_size(struct span message, size_t *header_n);

/* First (last) field of that name, case ignored. */
bool header_find(struct span message, struct span name, struct header_field *f);
bool header_find_last(struct span message, struct span name, struct header_field *f);
unsigned header_count(struct span message, struct span name);

/* Value on one line: line ends dropped, blanks at both ends too. A value without folding costs no copy: the result
 * points into raw, else into the arena. Never p == NULL unless the arena is exhausted. */
struct span header_unfold(struct span raw, struct arena *arena);
void header_unfold_put(struct buf *out, struct span raw);

/* Appends "name: value" folded softly at blanks before column 78 where it can be; CR, LF and NUL in value become
 * blanks. */
void header_put(struct buf *out, struct span name, struct span value);

/* Appends the header of message without the fields that drop() says, then the rest unchanged. */
void header_filter(struct buf *out, struct span message, bool (*drop)(const struct header_field *, void *), void *arg);

#endif
