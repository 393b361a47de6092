/* SPDX-License-Identifier: ISC
 *
 * memfs: a file system in memory behind journal/vfs.h.  It writes down every
 * operation, refuses the one it is told to refuse, and can be rebuilt as a
 * disk might look after the power failed behind operation n: what was synced
 * is there, what was not may be missing, or torn at 512-byte boundaries.
 */
#ifndef CRASH_MEMFS_H
#define CRASH_MEMFS_H

#include "base/list.h"
#include "journal/vfs.h"

enum memfs_kind { MEMFS_CREATE, MEMFS_WRITE, MEMFS_SIZE, MEMFS_SYNC, MEMFS_SYNC_DIR, MEMFS_RENAME, MEMFS_UNLINK, MEMFS_MKDIR };

enum { MEMFS_NAME = 300 };

struct memfs_op {
	enum memfs_kind kind;
	unsigned inode;
	uint64_t at, n;   /* WRITE: bytes; SIZE: n is the new size */
	char *bytes;      /* WRITE, owned */
	char name[MEMFS_NAME], to[MEMFS_NAME];
	uint64_t mark;    /* memfs.mark when it happened */
	size_t durable_at; /* the later operation that made it durable; SIZE_MAX: none; 0: not looked for */
};

struct memfs {
	struct vfs vfs;
	struct list inodes, names;
	unsigned next_inode;
	struct memfs_op *ops; /* owned */
	size_t nops, max_ops;
	bool record;
	uint64_t mark;        /* the test's: which of its steps is going on */
	/* Faults: operation number `fail_at` of the kinds in fail_kinds (bits) gives fail_errno. */
	unsigned fail_kinds;
	long fail_at;         /* counts down; < 0: never */
	bool fail_forever;    /* and every later one */
	int fail_errno;
	int64_t space;
	unsigned syncs;
};

struct memfs *memfs_new(void);
void memfs_free(struct memfs **fs);

/* Which unsynced operations of a prefix reached the disk. */
enum memfs_loss {
	MEMFS_KEEP_ALL,   /* the process died, the machine did not */
	MEMFS_DROP_ALL,
	MEMFS_DROP_ONE,   /* the seed-th unsynced operation */
	MEMFS_RANDOM,     /* each by chance, writes torn in sectors */
};
/* The disk after the first n operations of fs and a power cut. */
struct memfs *memfs_crash(const struct memfs *fs, size_t n, enum memfs_loss loss, uint64_t seed);
/* How many operations of the prefix are not made durable by a later one in it. */
size_t memfs_unsynced(const struct memfs *fs, size_t n);

/* For tests that damage a file on purpose: its bytes, NULL if there is none. */
char *memfs_bytes(struct memfs *fs, const char *name, uint64_t *size);

#endif
