/* SPDX-License-Identifier: ISC
 *
 * searchfile: the signatures of a folder's messages on disk, in UID order, as a
 * sequence of blocks with checksums.  Only a cache: it may vanish at any time, it is
 * never synced, and what is damaged is cut off and made again.
 */
#ifndef STORE_SEARCHFILE_H
#define STORE_SEARCHFILE_H

#include "journal/vfs.h"
#include "store/signature.h"
#include "store/uidset.h"

#define SEARCHFILE_NAME "pillarpost/search"

struct searchfile_block {
	uint64_t at;
	uint32_t lo, hi;    /* its first and last UID */
	uint32_t n, units;  /* messages; size of their signatures */
};

struct searchfile {
	struct vfs *vfs;
	int fd;              /* -1: not open */
	struct searchfile_block *blocks; /* owned */
	size_t n, size;
	uint64_t end, messages;
	struct buf block;    /* the one that was read last, as it lies on the disk */
	size_t loaded;       /* which one; SIZE_MAX: none */
	uint32_t next;       /* behind the message of it that was asked for last */
};

/* Messages on their way into a block. */
struct searchfile_draft {
	struct buf table, bits;
	uint32_t n, lo, hi;
};

void searchfile_init(struct searchfile *f);
/* False: there is none (VFS_CREATE makes it), or it cannot be used. VFS_READ: changes nothing. */
bool searchfile_open(struct searchfile *f, struct vfs *v, const char *name, uint32_t uidvalidity, enum vfs_open how);
void searchfile_close(struct searchfile *f);
/* The highest UID it has; 0: none. */
uint32_t searchfile_last(const struct searchfile *f);
/* The message's signature, until the next call; empty: not known, or of another message (check). */
struct span searchfile_get(struct searchfile *f, uint32_t uid, uint32_t check);
/* Reads all of it. False: a part is damaged (and cut off, unless only open for reading). */
bool searchfile_verify(struct searchfile *f);

void draft_init(struct searchfile_draft *d);
void draft_free(struct searchfile_draft *d);
bool draft_full(const struct searchfile_draft *d); /* time to append it */
/* The next message, with a higher UID than all before, and something that no other message with this UID would have;
 * maker NULL: its text is not known. False: no memory. */
bool draft_add(struct searchfile_draft *d, uint32_t uid, uint32_t check, struct signature_maker *maker, size_t most);
/* Its messages are behind the file's; empties it. False: not written. */
bool searchfile_append(struct searchfile *f, struct searchfile_draft *d);
/* A new file of this name with those of its messages that are in uids. */
bool searchfile_copy(struct searchfile *f, const char *name, uint32_t uidvalidity, const struct uidset *uids);

#endif
