/* SPDX-License-Identifier: ISC
 *
 * arena: capped memory that is given back all at once; one per session and
 * one per transaction, passed as a parameter (law 9: a session's memory is
 * capped by its arena).
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/span.h"

struct arena_block;

struct arena {
	struct arena_block *blocks; /* owned */
	size_t used;                /* bytes taken from the system */
	size_t cap;
	bool failed;                /* something did not fit, since the last reset */
};

void arena_init(struct arena *a, size_t cap);
void arena_reset(struct arena *a); /* frees all but the first block */
void arena_free(struct arena *a);

/* Zeroed and aligned for any type; NULL when the cap or memory is exhausted. */
void *arena_alloc(struct arena *a, size_t n);
/* Copies; the empty span with p == NULL means it did not fit (s.n > 0). */
struct span arena_dup(struct arena *a, struct span s);
/* A NUL-terminated copy, or NULL (cap, memory, or a NUL inside s). */
char *arena_cstr(struct arena *a, struct span s);
struct span arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))

#endif
