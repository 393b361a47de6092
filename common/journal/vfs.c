/* SPDX-License-Identifier: ISC */
#include "journal/vfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/owner.h"

struct posix {
	struct vfs vfs;
	int root, lock;
};

static int
root_of(struct vfs *v)
{
	return OWNER_OF(v, struct posix, vfs)->root;
}

static int
posix_open(struct vfs *v, const char *name, enum vfs_open how)
{
	static const int flags[] = {
		[VFS_READ] = O_RDONLY,
		[VFS_WRITE] = O_RDWR,
		[VFS_CREATE] = O_RDWR | O_CREAT | O_EXCL,
		[VFS_APPEND] = O_RDWR | O_APPEND,
	};

	int more = flags[how] | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY;
	/* Reading is no reason to write an inode; others' files can only be read without this. */
	int fd = openat(root_of(v), name, more | (how == VFS_READ ? O_NOATIME : 0), 0600);

	return fd < 0 && errno == EPERM && how == VFS_READ ? openat(root_of(v), name, more, 0600) : fd;
}

static int
posix_close(struct vfs *v, int fd)
{
	(void)v;
	return close(fd);
}

static ssize_t
posix_pread(struct vfs *v, int fd, void *to, size_t n, uint64_t at)
{
	(void)v;
	return pread(fd, to, n, (off_t)at);
}

static ssize_t
posix_pwritev(struct vfs *v, int fd, const struct iovec *iov, int niov, uint64_t at)
{
	(void)v;
	return pwritev(fd, iov, niov, (off_t)at);
}

static int
posix_sync(struct vfs *v, int fd)
{
	(void)v;
	return fdatasync(fd);
}

static int
open_dir(struct vfs *v, const char *dir)
{
	return openat(root_of(v), *dir ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

static int
posix_sync_dir(struct vfs *v, const char *dir)
{
	int fd = open_dir(v, dir), rc, err;

	if (fd < 0)
		return -1;
	rc = fsync(fd);
	err = errno;
	(void)close(fd);
	errno = err;
	return rc;
}

static int
posix_allocate(struct vfs *v, int fd, uint64_t size)
{
	int err;

	(void)v;
	do
		err = posix_fallocate(fd, 0, (off_t)size);
	while (err == EINTR);
	errno = err;
	return err ? -1 : 0;
}

static int
posix_truncate(struct vfs *v, int fd, uint64_t size)
{
	(void)v;
	return ftruncate(fd, (off_t)size);
}

static int
posix_rename(struct vfs *v, const char *from, const char *to)
{
	return renameat(root_of(v), from, root_of(v), to);
}

static int
posix_unlink(struct vfs *v, const char *name)
{
	return unlinkat(root_of(v), name, 0);
}

static int
posix_mkdir(struct vfs *v, const char *name)
{
	return mkdirat(root_of(v), name, 0700) == 0 || errno == EEXIST ? 0 : -1;
}

static int64_t
posix_size(struct vfs *v, int fd)
{
	struct stat st;

	(void)v;
	return fstat(fd, &st) == 0 ? (int64_t)st.st_size : -1;
}

#define TO_ITS_END INT64_MAX

struct listing {
	DIR *dir;
	int64_t at, until; /* places in the directory; until TO_ITS_END: their order does not matter */
};

static struct listing *
listing_new(int fd)
{
	struct listing *l = fd < 0 ? NULL : calloc(1, sizeof(*l));
	int err;

	if (l && (l->dir = fdopendir(fd))) {
		l->until = TO_ITS_END;
		return l;
	}
	err = errno;
	free(l);
	if (fd >= 0)
		(void)close(fd);
	errno = err;
	return NULL;
}

static void *
posix_list_begin(struct vfs *v, const char *dir)
{
	return listing_new(open_dir(v, dir));
}

static int
posix_list_some(struct vfs *v, void *listing, bool (*visit)(void *, const char *), void *arg)
{
	struct listing *l = listing;
	struct dirent *e;

	(void)v;
	while (l->until == TO_ITS_END || l->at < l->until) {
		errno = 0;
		if (!(e = readdir(l->dir)))
			return errno ? -1 : 0;
		l->at = e->d_off;
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && !visit(arg, e->d_name))
			return 1;
	}
	return 0;
}

static void
posix_list_end(struct vfs *v, void *listing)
{
	struct listing *l = listing;
	int err = errno;

	(void)v;
	(void)closedir(l->dir);
	free(l);
	errno = err;
}

/* ext4 reads a directory in the order of a hash of the names; that is the place, of 63 bits.  (The few without hashes
 * have no place so far behind: lseek() says so.) */
static void *
posix_list_split(struct vfs *v, void *listing)
{
	struct listing *l = listing, *rest;
	int64_t middle = l->at + (l->until - l->at) / 2;
	struct statfs st;
	int fd;

	(void)v;
	if (fstatfs(dirfd(l->dir), &st) < 0 || st.f_type != EXT4_SUPER_MAGIC)
		return NULL;
	fd = openat(dirfd(l->dir), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && lseek(fd, middle, SEEK_SET) != middle) {
		(void)close(fd);
		return NULL;
	}
	if (!(rest = listing_new(fd)))
		return NULL;
	rest->at = middle;
	rest->until = l->until;
	l->until = middle;
	return rest;
}

static int
posix_list(struct vfs *v, const char *dir, bool (*visit)(void *, const char *), void *arg)
{
	void *listing = posix_list_begin(v, dir);
	int rc;

	if (!listing)
		return -1;
	rc = posix_list_some(v, listing, visit, arg);
	posix_list_end(v, listing);
	return rc < 0 ? -1 : 0;
}

static int64_t
posix_space(struct vfs *v)
{
	struct statvfs st;

	return fstatvfs(root_of(v), &st) == 0 ? (int64_t)st.f_bavail * (int64_t)st.f_frsize : -1;
}

/* A write lease is given only where there is no other open file of this inode. */
static bool
posix_sole(struct vfs *v, int fd)
{
	(void)v;
	return fcntl(fd, F_SETLEASE, F_WRLCK) == 0 && fcntl(fd, F_SETLEASE, F_UNLCK) == 0;
}

static int
posix_rmdir(struct vfs *v, const char *name)
{
	return unlinkat(root_of(v), name, AT_REMOVEDIR);
}

static int
posix_stat(struct vfs *v, const char *name, struct vfs_stat *out)
{
	struct stat st;

	if (fstatat(root_of(v), *name ? name : ".", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	*out = (struct vfs_stat){
		.dir = S_ISDIR(st.st_mode),
		.size = (uint64_t)st.st_size,
		.inode = (uint64_t)st.st_ino,
		.mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
	};
	return 0;
}

static int
posix_touch(struct vfs *v, int fd, int64_t mtime)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = (time_t)mtime } };

	(void)v;
	return futimens(fd, times);
}

static int
posix_link(struct vfs *v, const char *from, const char *to)
{
	return linkat(root_of(v), from, root_of(v), to, 0);
}

static void *
posix_map(struct vfs *v, int fd, size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

	(void)v;
	return p == MAP_FAILED ? NULL : p;
}

static void
posix_unmap(struct vfs *v, void *p, size_t n)
{
	(void)v;
	(void)munmap(p, n);
}

/* Whole pages only: what lies beside it may have been changed. */
static void
posix_cool(struct vfs *v, void *p, size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), before = (size_t)(-(uintptr_t)p) % page;

	(void)v;
	if (n >= before + page)
		(void)madvise((char *)p + before, (n - before) / page * page, MADV_DONTNEED);
}

static const struct vfs_ops posix_ops = {
	.open = posix_open,
	.close = posix_close,
	.pread = posix_pread,
	.pwritev = posix_pwritev,
	.sync = posix_sync,
	.sync_dir = posix_sync_dir,
	.allocate = posix_allocate,
	.truncate = posix_truncate,
	.rename = posix_rename,
	.unlink = posix_unlink,
	.mkdir = posix_mkdir,
	.size = posix_size,
	.list = posix_list,
	.list_begin = posix_list_begin,
	.list_some = posix_list_some,
	.list_end = posix_list_end,
	.list_split = posix_list_split,
	.space = posix_space,
	.sole = posix_sole,
	.rmdir = posix_rmdir,
	.stat = posix_stat,
	.touch = posix_touch,
	.link = posix_link,
	.map = posix_map,
	.unmap = posix_unmap,
	.cool = posix_cool,
};

struct vfs *
vfs_posix_at(int dirfd)
{
	struct posix *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	*p = (struct posix){ { &posix_ops }, dirfd, -1 };
	return &p->vfs;
}

struct vfs *
vfs_posix_new(const char *root, struct fail *why)
{
	int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct vfs *v = fd < 0 ? NULL : vfs_posix_at(fd);

	if (v)
		return v;
	(void)fail_errno(why, 0, "cannot open directory %s", root);
	if (fd >= 0)
		(void)close(fd);
	return NULL;
}

void
vfs_posix_free(struct vfs **v)
{
	struct posix *p;

	if (!*v)
		return;
	p = OWNER_OF(*v, struct posix, vfs);
	(void)close(p->root);
	if (p->lock >= 0)
		(void)close(p->lock);
	free(p);
	*v = NULL;
}

static const char lock_name[] = "lock";

bool
vfs_posix_lock(struct vfs *v, struct fail *why)
{
	struct posix *p = OWNER_OF(v, struct posix, vfs);
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct stat dir;

	if (p->lock < 0)
		p->lock = openat(p->root, lock_name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (p->lock < 0)
		return fail_errno(why, 0, "cannot open the file %s", lock_name);
	/* Made by root for a directory of another: its owner must be able to take it later. */
	if (geteuid() == 0 && fstat(p->root, &dir) == 0 && dir.st_uid != 0 && fchown(p->lock, dir.st_uid, dir.st_gid) < 0)
		return fail_errno(why, 0, "cannot give away the file %s", lock_name);
	if (fcntl(p->lock, F_OFD_SETLK, &whole) == 0)
		return true;
	return errno == EAGAIN || errno == EACCES ? fail_set(why, FAIL_TEMP, 0, "another process is at work on it (it holds the file %s)", lock_name)
						  : fail_errno(why, 0, "cannot lock the file %s", lock_name);
}

bool
vfs_posix_sync(struct vfs *v)
{
	return syncfs(root_of(v)) == 0;
}

bool
vfs_posix_locked(struct vfs *v)
{
	struct flock whole = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
	int fd = OWNER_OF(v, struct posix, vfs)->lock < 0 ? posix_open(v, lock_name, VFS_READ) : -1;
	bool locked = fd >= 0 && fcntl(fd, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;

	if (fd >= 0)
		(void)close(fd);
	return locked;
}

bool
vfs_read_all(struct vfs *v, int fd, void *to, size_t n, uint64_t at)
{
	char *p = to;

	while (n > 0) {
		ssize_t got = v->ops->pread(v, fd, p, n, at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got == 0)
			errno = EIO;
		if (got <= 0)
			return false;
		p += got;
		n -= (size_t)got;
		at += (uint64_t)got;
	}
	return true;
}

bool
vfs_write_all(struct vfs *v, int fd, const void *from, size_t n, uint64_t at)
{
	const char *p = from;

	while (n > 0) {
		struct iovec iov = { (void *)(uintptr_t)p, n };
		ssize_t put = v->ops->pwritev(v, fd, &iov, 1, at);

		if (put < 0 && errno == EINTR)
			continue;
		if (put == 0)
			errno = EIO;
		if (put <= 0)
			return false;
		p += put;
		n -= (size_t)put;
		at += (uint64_t)put;
	}
	return true;
}

bool
vfs_load(struct vfs *v, const char *name, struct buf *to)
{
	int fd = v->ops->open(v, name, VFS_READ), err;
	int64_t size = fd < 0 ? -1 : v->ops->size(v, fd);
	char *room = size > 0 ? buf_room(to, (size_t)size) : NULL;
	bool ok = room ? vfs_read_all(v, fd, room, (size_t)size, 0) : size == 0;

	err = size > 0 && !room ? EFBIG : errno;
	if (ok && room)
		buf_added(to, (size_t)size);
	if (fd >= 0)
		(void)v->ops->close(v, fd);
	errno = err;
	return ok;
}

bool
vfs_replace(struct vfs *v, const char *name, struct span content)
{
	char temp[PATH_MAX];
	int fd;
	bool ok;

	(void)snprintf(temp, sizeof(temp), "%s.new", name);
	(void)v->ops->unlink(v, temp); /* of a crash */
	fd = v->ops->open(v, temp, VFS_CREATE);
	ok = fd >= 0 && vfs_write_all(v, fd, content.p, content.n, 0) && v->ops->sync(v, fd) == 0;
	if (fd >= 0)
		(void)v->ops->close(v, fd);
	return ok && v->ops->rename(v, temp, name) == 0 && v->ops->sync_dir(v, "") == 0;
}
