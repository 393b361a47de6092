/* SPDX-License-Identifier: ISC
 *
 * radix: orders items by a number without comparing them, in a time that grows
 * with their count alone.  Stable: equal ones stay as they stood.
 */
#ifndef BASE_RADIX_H
#define BASE_RADIX_H

#include <stddef.h>
#include <stdint.h>

struct radix_item {
	uint64_t key;
	size_t at; /* the caller's */
};

/* items has room for 2 * n; what is returned is that half of it in which they are in order. */
struct radix_item *radix_sort(struct radix_item *items, size_t n);

#endif
