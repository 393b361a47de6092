/* SPDX-License-Identifier: ISC
 *
 * vfs: every file operation of the journal, of blobs and of the queue as a
 * small table of functions, so that tests can record, refuse and reorder each
 * of them.  Names are relative to the root the vfs was made for and may hold
 * one directory ("journal/00000001.seg").  All may be called from any thread.
 *
 * As the system calls they stand for: -1 and errno on failure.
 */
#ifndef JOURNAL_VFS_H
#define JOURNAL_VFS_H

#include <sys/types.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/fail.h"

struct vfs;

enum vfs_open {
	VFS_READ = 0,   /* an existing file, for reading */
	VFS_WRITE = 1,  /* an existing file, for reading and writing */
	VFS_CREATE = 2, /* a new file (it must not exist), for reading and writing */
	VFS_APPEND = 3, /* an existing file, for reading; what is written goes to its end, wherever others have left that */
};

struct vfs_stat {
	bool dir;
	uint64_t size, inode;
	int64_t mtime_ns;
};

struct vfs_ops {
	int (*open)(struct vfs *v, const char *name, enum vfs_open how);
	int (*close)(struct vfs *v, int fd);
	ssize_t (*pread)(struct vfs *v, int fd, void *to, size_t n, uint64_t at);
	ssize_t (*pwritev)(struct vfs *v, int fd, const struct iovec *iov, int niov, uint64_t at);
	int (*sync)(struct vfs *v, int fd);                   /* data, and the size if it changed: fdatasync */
	int (*sync_dir)(struct vfs *v, const char *dir);      /* "" is the root */
	int (*allocate)(struct vfs *v, int fd, uint64_t size); /* the file has this size and its blocks */
	int (*truncate)(struct vfs *v, int fd, uint64_t size);
	int (*rename)(struct vfs *v, const char *from, const char *to); /* replaces */
	int (*unlink)(struct vfs *v, const char *name);
	int (*mkdir)(struct vfs *v, const char *name); /* an existing directory is success */
	int64_t (*size)(struct vfs *v, int fd);
	/* Every name in the directory but "." and ".."; stops when visit says false. */
	int (*list)(struct vfs *v, const char *dir, bool (*visit)(void *arg, const char *name), void *arg);
	/* The same in pieces, which any thread may ask for: NULL and errno; 1: visit said false, and there may be more; 0: that was
	 * all.  May be NULL. */
	void *(*list_begin)(struct vfs *v, const char *dir);
	int (*list_some)(struct vfs *v, void *listing, bool (*visit)(void *arg, const char *name), void *arg);
	void (*list_end)(struct vfs *v, void *listing);
	/* Leaves it the nearer half of what it has not given yet; the other is a listing of its own, which another thread may
	 * ask meanwhile.  NULL: that cannot be had here. */
	void *(*list_split)(struct vfs *v, void *listing);
	int64_t (*space)(struct vfs *v); /* free bytes of the file system */
	/* Whether nobody but this descriptor, which is open for writing, has the file open; false when that cannot be
	 * known. May be NULL. */
	bool (*sole)(struct vfs *v, int fd);
	/* For mailboxes; a vfs that serves only journals may leave them NULL. */
	int (*rmdir)(struct vfs *v, const char *name);
	int (*stat)(struct vfs *v, const char *name, struct vfs_stat *out);
	int (*touch)(struct vfs *v, int fd, int64_t mtime); /* Unix time */
	int (*link)(struct vfs *v, const char *from, const char *to); /* EEXIST if to exists */
	/* The first n bytes, private to the caller (who may change them) and freed by
	 * unmap; NULL and errno. */
	void *(*map)(struct vfs *v, int fd, size_t n);
	void (*unmap)(struct vfs *v, void *p, size_t n);
	/* What was mapped and not changed there need not stay in memory: it is read again when it is used. May be NULL. */
	void (*cool)(struct vfs *v, void *p, size_t n);
};

struct vfs {
	const struct vfs_ops *ops;
};

/* The real thing. root is a directory; NULL and *why when it cannot be opened. */
struct vfs *vfs_posix_new(const char *root, struct fail *why);
struct vfs *vfs_posix_at(int dirfd); /* takes dirfd over */
void vfs_posix_free(struct vfs **v);
/* Makes this process the one writer below the root until vfs_posix_free() or its
 * end; the file "lock" there stands for that. False: another one has it. */
bool vfs_posix_lock(struct vfs *v, struct fail *why);
/* Whether another one has it. */
bool vfs_posix_locked(struct vfs *v);
/* Everything written to the root's file system until now is durable: for many new files at once. */
bool vfs_posix_sync(struct vfs *v);

/* Whole reads and writes over the table: short transfers and EINTR are gone
 * on with; reading behind the end of the file is a failure (EIO). */
bool vfs_read_all(struct vfs *v, int fd, void *to, size_t n, uint64_t at);
bool vfs_write_all(struct vfs *v, int fd, const void *from, size_t n, uint64_t at);
/* A whole file behind what the buffer has. False and errno (EFBIG: no room for it), the buffer without it. */
bool vfs_load(struct vfs *v, const char *name, struct buf *to);
/* A small file of the root has this content, durably. False and errno: this or the one before, whole. NAME.new is used. */
bool vfs_replace(struct vfs *v, const char *name, struct span content);

#endif
