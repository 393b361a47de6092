/* SPDX-License-Identifier: ISC
 *
 * buf: a growing byte buffer with a cap from birth.
 *
 * Failure is sticky: once a put did not fit (cap or memory) the buffer is
 * marked failed and every later put does nothing, so a builder checks once at
 * the end.  buf_eat() removes from the front without moving bytes each time.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>

#include "base/span.h"

struct buf {
	char *mem;   /* owned */
	size_t at;   /* first byte that counts */
	size_t end;  /* one behind the last */
	size_t size; /* allocated */
	size_t cap;  /* most bytes it may ever hold */
	bool failed;
};

void buf_init(struct buf *b, size_t cap); /* allocates nothing yet */
void buf_free(struct buf *b);             /* back to the state after buf_init */
void buf_wipe(struct buf *b);             /* zeroes the memory, then frees it */
void buf_reset(struct buf *b);            /* empty and not failed; keeps the memory */

static inline struct span buf_span(const struct buf *b) { return (struct span){ b->mem ? b->mem + b->at : b->mem, b->end - b->at }; }
static inline size_t buf_len(const struct buf *b) { return b->end - b->at; }
static inline bool buf_ok(const struct buf *b) { return !b->failed; }

void buf_put(struct buf *b, struct span s);

static inline void
buf_putc(struct buf *b, char c)
{
	if (b->end < b->size && !b->failed)
		b->mem[b->end++] = c;
	else
		buf_put(b, span_of(&c, 1));
}

void buf_puts(struct buf *b, const char *cstr);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
void buf_put_u64(struct buf *b, uint64_t v); /* decimal text */

/* Little-endian integers, for wire and disk formats. */
void buf_le16(struct buf *b, uint16_t v);
void buf_le32(struct buf *b, uint32_t v);
void buf_le64(struct buf *b, uint64_t v);

/* Room for n more bytes to be written by the caller (a read(2)); NULL if they
 * do not fit.  buf_added() then says how many arrived. */
char *buf_room(struct buf *b, size_t n);
void buf_added(struct buf *b, size_t n);
/* Free bytes up to the cap. */
size_t buf_space(const struct buf *b);
/* Drops n bytes from the front; frees the memory when a large buffer empties. */
void buf_eat(struct buf *b, size_t n);
/* Drops everything behind the first n bytes. */
void buf_cut(struct buf *b, size_t n);

#endif
