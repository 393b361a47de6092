/* SPDX-License-Identifier: ISC */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	GROW_FROM = 128,
#ifdef SANITIZED
	KEEP_EMPTY = 0, /* so that a span into what was eaten is seen */
#else
	KEEP_EMPTY = 4096, /* an empty buffer larger than this gives its memory back */
#endif
};

void
buf_init(struct buf *b, size_t cap)
{
	*b = (struct buf){ .cap = cap };
}

void
buf_free(struct buf *b)
{
	free(b->mem);
	buf_init(b, b->cap);
}

void
buf_wipe(struct buf *b)
{
	if (b->mem)
		explicit_bzero(b->mem, b->size);
	buf_free(b);
}

void
buf_reset(struct buf *b)
{
	b->at = b->end = 0;
	b->failed = false;
}

size_t
buf_space(const struct buf *b)
{
	return b->cap - buf_len(b);
}

/* Moves what counts to the front, where growing finds room for it. */
static void
close_gap(struct buf *b)
{
	if (b->at == 0)
		return;
	memmove(b->mem, b->mem + b->at, buf_len(b));
	b->end -= b->at;
	b->at = 0;
}

static bool
make_room(struct buf *b, size_t n)
{
	size_t need, size;
	char *mem;

	if (b->failed || n > buf_space(b))
		return false;
	if (b->size - b->end >= n)
		return true;
	close_gap(b);
	need = b->end + n;
	if (need <= b->size)
		return true;
	size = b->size ? b->size : GROW_FROM;
	while (size < need)
		size = size > SIZE_MAX / 2 ? need : size * 2;
	if (size > b->cap)
		size = b->cap;
	mem = realloc(b->mem, size);
	if (!mem)
		return false;
	b->mem = mem;
	b->size = size;
	return true;
}

char *
buf_room(struct buf *b, size_t n)
{
	if (!make_room(b, n)) {
		b->failed = true;
		return NULL;
	}
	return b->mem ? b->mem + b->end : NULL;
}

void
buf_added(struct buf *b, size_t n)
{
	if (n > b->size - b->end)
		abort(); /* bug: more than buf_room() gave */
	b->end += n;
}

void
buf_put(struct buf *b, struct span s)
{
	char *to;

	if (s.n == 0)
		return;
	to = buf_room(b, s.n);
	if (!to)
		return;
	memcpy(to, s.p, s.n);
	b->end += s.n;
}

void
buf_puts(struct buf *b, const char *cstr)
{
	buf_put(b, span_str(cstr));
}

void
buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	char small[512];
	va_list again;
	int n;

	va_copy(again, ap);
	n = vsnprintf(small, sizeof(small), fmt, ap);
	if (n < 0) {
		b->failed = true;
	} else if ((size_t)n < sizeof(small)) {
		buf_put(b, span_of(small, (size_t)n));
	} else {
		char *to = buf_space(b) > (size_t)n ? buf_room(b, (size_t)n + 1) : NULL;

		if (to) {
			(void)vsnprintf(to, (size_t)n + 1, fmt, again);
			b->end += (size_t)n;
		} else {
			b->failed = true;
		}
	}
	va_end(again);
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(b, fmt, ap);
	va_end(ap);
}

void
buf_put_u64(struct buf *b, uint64_t v)
{
	char text[20];
	size_t at = sizeof(text);

	do
		text[--at] = (char)('0' + v % 10);
	while (v /= 10);
	buf_put(b, span_of(text + at, sizeof(text) - at));
}

static void
put_le(struct buf *b, uint64_t v, size_t bytes)
{
	char out[8];

	for (size_t i = 0; i < bytes; i++, v >>= 8)
		out[i] = (char)(v & 0xff);
	buf_put(b, span_of(out, bytes));
}

void
buf_le16(struct buf *b, uint16_t v)
{
	put_le(b, v, 2);
}

void
buf_le32(struct buf *b, uint32_t v)
{
	put_le(b, v, 4);
}

void
buf_le64(struct buf *b, uint64_t v)
{
	put_le(b, v, 8);
}

void
buf_eat(struct buf *b, size_t n)
{
	b->at += n < buf_len(b) ? n : buf_len(b);
	if (b->at < b->end)
		return;
	b->at = b->end = 0;
	if (b->size > KEEP_EMPTY) {
		free(b->mem);
		b->mem = NULL;
		b->size = 0;
	}
}

void
buf_cut(struct buf *b, size_t n)
{
	if (n < buf_len(b))
		b->end = b->at + n;
}
