/* SPDX-License-Identifier: ISC */
#include "sys/memory.h"

#include <limits.h>
#include <malloc.h>

void
memory_keep(size_t bytes)
{
	int n = bytes < INT_MAX ? (int)bytes : INT_MAX;

	(void)mallopt(M_TRIM_THRESHOLD, n);
	(void)mallopt(M_MMAP_THRESHOLD, n); /* else it would stay at 128 KiB */
}

void
memory_trim(void)
{
	(void)malloc_trim(0);
}
