/* SPDX-License-Identifier: ISC */
#include "base/radix.h"

enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS };

static void
pass(const struct radix_item *from, struct radix_item *to, size_t n, uint64_t least, unsigned shift)
{
	size_t place[DIGITS + 1] = { 0 };

	for (size_t i = 0; i < n; i++)
		place[((from[i].key - least) >> shift) % DIGITS + 1]++;
	for (size_t i = 1; i < DIGITS; i++)
		place[i] += place[i - 1];
	for (size_t i = 0; i < n; i++)
		to[place[((from[i].key - least) >> shift) % DIGITS]++] = from[i];
}

struct radix_item *
radix_sort(struct radix_item *items, size_t n)
{
	struct radix_item *from = items, *to = items + n;
	uint64_t least = UINT64_MAX, most = 0;

	for (size_t i = 0; i < n; i++) {
		least = items[i].key < least ? items[i].key : least;
		most = items[i].key > most ? items[i].key : most;
	}
	for (unsigned shift = 0; shift < 64 && n && (most - least) >> shift; shift += DIGIT_BITS) {
		struct radix_item *other = from;

		pass(from, to, n, least, shift);
		from = to;
		to = other;
	}
	return from;
}
