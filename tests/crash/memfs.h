/* SPDX-License-Identifier: ISC
 *
 * memfs: a file system in memory behind journal/vfs.h.  It writes down every
 * operation and refuses the one it is told to refuse.  What a disk looks like
 * when the power failed in between is crash/cut.h's.
 */
#ifndef CRASH_MEMFS_H
#define CRASH_MEMFS_H

#include "base/list.h"
#include "journal/vfs.h"

enum memfs_kind { MEMFS_CREATE, MEMFS_WRITE, MEMFS_SIZE, MEMFS_SYNC, MEMFS_SYNC_DIR, MEMFS_RENAME, MEMFS_UNLINK, MEMFS_MKDIR, MEMFS_LINK };

enum { MEMFS_NAME = 300 };

struct memfs_inode {
	struct list node;
	unsigned number;
	char *bytes;
	uint64_t size, room;
	uint64_t hash; /* of the bytes; 0: not known */
	bool dir;
};

struct memfs_name {
	struct list node;
	struct memfs_inode *inode;
	char text[MEMFS_NAME];
};

struct memfs_op {
	enum memfs_kind kind;
	unsigned inode;
	uint64_t at, n;   /* WRITE: bytes; SIZE: n is the new size */
	char *bytes;      /* WRITE, owned */
	char name[MEMFS_NAME], to[MEMFS_NAME];
	uint64_t mark;    /* memfs.mark when it happened */
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
	const char *lie; /* syncs of "DIR/" (its files) or "DIR" (its names) are left out */
	unsigned syncs;
};

struct memfs *memfs_new(void);
void memfs_free(struct memfs **fs);

struct memfs *memfs_clone(const struct memfs *fs); /* the files; no operations */
/* Equal for equal names with equal contents. */
uint64_t memfs_hash(struct memfs *fs);

/* The parts a disk is put together from (crash/cut.c). */
struct memfs_name *memfs_find(struct memfs *fs, const char *name);
struct memfs_inode *memfs_inode(struct memfs *fs, unsigned number, bool make);
void memfs_link(struct memfs *fs, const char *name, struct memfs_inode *inode);
void memfs_unlink(struct memfs *fs, const char *name);
void memfs_put(struct memfs_inode *i, const char *bytes, uint64_t n, uint64_t at);
void memfs_resize(struct memfs_inode *i, uint64_t size);

/* For tests that damage a file on purpose: its bytes, NULL if there is none. */
char *memfs_bytes(struct memfs *fs, const char *name, uint64_t *size);

#endif
