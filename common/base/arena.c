/* SPDX-License-Identifier: ISC */
#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_MIN = 1024, BLOCK_MAX = 65536 };

struct arena_block {
	struct arena_block *next;
	size_t size, used;
	alignas(max_align_t) char mem[];
};

void
arena_init(struct arena *a, size_t cap)
{
	*a = (struct arena){ .cap = cap };
}

void
arena_free(struct arena *a)
{
	struct arena_block *b;

	while ((b = a->blocks)) {
		a->blocks = b->next;
		free(b);
	}
	a->used = 0;
	a->failed = false;
}

void
arena_reset(struct arena *a)
{
	struct arena_block *first = a->blocks;

	a->failed = false;
	if (!first)
		return;
	while (first->next) { /* newest first: keep the oldest, which is the smallest */
		a->blocks = first->next;
		a->used -= first->size;
		free(first);
		first = a->blocks;
	}
	memset(first->mem, 0, first->used);
	first->used = 0;
}

static struct arena_block *
add_block(struct arena *a, size_t n)
{
	size_t size = a->blocks ? a->blocks->size * 2 : BLOCK_MIN;
	struct arena_block *b;

	if (size > BLOCK_MAX)
		size = BLOCK_MAX;
	if (a->cap - a->used < size)
		size = a->cap - a->used;
	if (size < n)
		size = n;
	if (size > a->cap - a->used)
		return NULL;
	b = calloc(1, sizeof(*b) + size);
	if (!b)
		return NULL;
	b->size = size;
	b->next = a->blocks;
	a->blocks = b;
	a->used += size;
	return b;
}

void *
arena_alloc(struct arena *a, size_t n)
{
	struct arena_block *b = a->blocks;
	size_t aligned;
	void *p;

	if (n > SIZE_MAX / 2)
		return NULL;
	aligned = (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
	if (aligned == 0)
		aligned = alignof(max_align_t);
	if (!b || b->size - b->used < aligned)
		b = add_block(a, aligned);
	if (!b) {
		a->failed = true;
		return NULL;
	}
	p = b->mem + b->used;
	b->used += aligned;
	return p;
}

struct span
arena_dup(struct arena *a, struct span s)
{
	char *p = s.n ? arena_alloc(a, s.n) : NULL;

	if (!p)
		return SPAN_NONE;
	memcpy(p, s.p, s.n);
	return span_of(p, s.n);
}

char *
arena_cstr(struct arena *a, struct span s)
{
	char *p = s.n < SIZE_MAX ? arena_alloc(a, s.n + 1) : NULL;

	if (!p || !span_cstr(s, p, s.n + 1))
		return NULL;
	return p;
}

struct span
arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap, again;
	char *p = NULL;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	if (n >= 0)
		p = arena_alloc(a, (size_t)n + 1);
	if (p)
		(void)vsnprintf(p, (size_t)n + 1, fmt, again);
	va_end(again);
	va_end(ap);
	return p ? span_of(p, (size_t)n) : SPAN_NONE;
}
