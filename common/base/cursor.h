/* SPDX-License-Identifier: ISC
 *
 * cursor: reads forward through a span with sticky failure.  After a read
 * that does not fit every later one gives zero or empty: check ok once at the
 * end.  For binary formats (little-endian) and for text.
 */
#ifndef BASE_CURSOR_H
#define BASE_CURSOR_H

#include "base/span.h"

struct cursor {
	struct span in;
	size_t at;
	bool ok;
};

static inline struct cursor cursor_of(struct span in) { return (struct cursor){ in, 0, true }; }
static inline bool cursor_end(const struct cursor *c) { return c->at >= c->in.n; }
static inline size_t cursor_left(const struct cursor *c) { return c->in.n - c->at; }
static inline struct span cursor_rest(const struct cursor *c) { return span_from(c->in, c->at); }
/* The next byte without taking it, '\0' at the end (check cursor_end). */
static inline char cursor_peek(const struct cursor *c) { return cursor_end(c) ? '\0' : c->in.p[c->at]; }

struct span cursor_bytes(struct cursor *c, size_t n);
uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_le16(struct cursor *c);
uint32_t cursor_le32(struct cursor *c);
uint64_t cursor_le64(struct cursor *c);

/* Takes c if it is next. */
bool cursor_char(struct cursor *c, char ch);
/* Takes literal if it is next, comparing ASCII case-insensitively. */
bool cursor_word(struct cursor *c, struct span literal);
/* Takes the longest run for which is(c) holds. */
struct span cursor_while(struct cursor *c, bool (*is)(char));
/* Takes a decimal number <= max; fails the cursor otherwise. */
uint64_t cursor_number(struct cursor *c, uint64_t max);

#endif
