/* SPDX-License-Identifier: ISC
 *
 * cut: the disks that a power cut may leave.  Behind operation n of what a
 * memfs wrote down, everything that a sync covers is there.  Of the rest each
 * unit (an operation on names or sizes; of a write each 512-byte sector) may
 * have reached the disk or not, whatever became of the others: dropped, torn,
 * reordered up to the next barrier.
 */
#ifndef CRASH_CUT_H
#define CRASH_CUT_H

#include "crash/memfs.h"

struct cut {
	const struct memfs *fs;
	struct memfs *sure;  /* what is on the disk in any case */
	size_t n;            /* operations so far */
	size_t *open, nopen; /* those that no sync covers */
	size_t units;        /* of which they consist */
};

/* base: what was there before fs wrote down its first operation; NULL: nothing. */
void cut_init(struct cut *c, const struct memfs *fs, const struct memfs *base);
void cut_free(struct cut *c);
bool cut_forward(struct cut *c); /* one operation on; false: that was the last */
/* reached: one for each unit. */
struct memfs *cut_make(const struct cut *c, const unsigned char *reached);
/* The i-th of `count` choices: every one of them where there are no more than that; else all, none,
 * one missing, a prefix, and what chance gives. */
void cut_choose(const struct cut *c, unsigned char *reached, uint64_t i, uint64_t count, uint64_t seed);

/* The same for one n alone. */
enum memfs_loss {
	MEMFS_KEEP_ALL,   /* the process died, the machine did not */
	MEMFS_DROP_ALL,
	MEMFS_DROP_ONE,   /* a unit that the seed tells */
	MEMFS_RANDOM,     /* each by chance */
};
struct memfs *memfs_crash(const struct memfs *fs, size_t n, enum memfs_loss loss, uint64_t seed);

#endif
