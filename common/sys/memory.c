/* SPDX-License-Identifier: ISC */
#include "sys/memory.h"

#include <limits.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

void
memory_keep(size_t bytes)
{
	int n = bytes < INT_MAX ? (int)bytes : INT_MAX;

	(void)mallopt(M_TRIM_THRESHOLD, n);
	(void)mallopt(M_MMAP_THRESHOLD, n); /* else it would stay at 128 KiB */
}

void
memory_join(void)
{
	(void)mallopt(M_MXFAST, 0);
}

/* What deeper calls have left below this one's frame; which holds nobody else's variables, therefore. */
__attribute__((noinline)) static void
trim_stack(void)
{
#ifndef SANITIZED
	enum { PAGE = 4096, DEPTH = 256 << 10, CALL = 1024 /* what madvise() itself needs */ };
	uintptr_t here = ((uintptr_t)__builtin_frame_address(0) - CALL) & ~(uintptr_t)(PAGE - 1);

	(void)madvise((void *)(here - DEPTH), DEPTH, MADV_DONTNEED); /* below it is a gap: the part that is there */
#endif
}

__attribute__((noinline)) int
memory_on_page(int (*f)(void *), void *arg)
{
	enum { PAGE = 4096 };
	int (*volatile call)(void *) = f; /* it keeps a frame of its own */
	volatile char *here = __builtin_alloca(16), *gap = __builtin_alloca(((uintptr_t)here & (PAGE - 1)) + 1);

	*here = *gap = 0;
	return call(arg) + *here + *gap; /* they stand below */
}

void
memory_trim(void)
{
	(void)malloc_trim(0);
	trim_stack();
}

void
memory_compact(void)
{
	(void)mallopt(M_ARENA_MAX, 1);
}

/* Free, but not at the heap's end. */
static size_t
holes(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.fordblks - info.keepcost;
}

static void *
take(void *chain, size_t size, bool *took)
{
	size_t before = holes();
	void **block = malloc(size);

	*took = block && holes() < before;
	if (!block)
		return chain;
	*block = chain;
	return block;
}

void *
memory_fill(void)
{
	enum { SMALL = 1032, STEP = 16, CACHED = 7, LARGE = 64 << 10 };
	void *chain = NULL;
	bool took;

	for (size_t size = LARGE; size > SMALL; size /= 2)
		do
			chain = take(chain, size, &took);
		while (took);
	for (size_t size = SMALL; size > STEP; size -= STEP) {
		for (unsigned i = 0; i < CACHED; i++) /* the allocator's own cache counts as used */
			chain = take(chain, size, &took);
		do
			chain = take(chain, size, &took);
		while (took);
	}
	return chain;
}
