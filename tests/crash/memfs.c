/* SPDX-License-Identifier: ISC */
#include "crash/memfs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/owner.h"

enum { FD_BASE = 1000 };

static struct memfs *
self(struct vfs *v)
{
	return OWNER_OF(v, struct memfs, vfs);
}

struct memfs_name *
memfs_find(struct memfs *fs, const char *text)
{
	LIST_EACH(&fs->names, it)
		if (strcmp(OWNER_OF(it, struct memfs_name, node)->text, text) == 0)
			return OWNER_OF(it, struct memfs_name, node);
	return NULL;
}

struct memfs_inode *
memfs_inode(struct memfs *fs, unsigned number, bool make)
{
	struct memfs_inode *i;

	LIST_EACH(&fs->inodes, it)
		if (OWNER_OF(it, struct memfs_inode, node)->number == number)
			return OWNER_OF(it, struct memfs_inode, node);
	if (!make)
		return NULL;
	i = calloc(1, sizeof(*i));
	i->number = number;
	list_push(&fs->inodes, &i->node);
	if (number >= fs->next_inode)
		fs->next_inode = number + 1;
	return i;
}

void
memfs_link(struct memfs *fs, const char *text, struct memfs_inode *inode)
{
	struct memfs_name *n = memfs_find(fs, text);

	if (!n) {
		n = calloc(1, sizeof(*n));
		(void)snprintf(n->text, sizeof(n->text), "%s", text);
		list_push(&fs->names, &n->node);
	}
	n->inode = inode;
}

void
memfs_unlink(struct memfs *fs, const char *text)
{
	struct memfs_name *n = memfs_find(fs, text);

	if (n) {
		list_remove(&n->node);
		free(n);
	}
}

void
memfs_resize(struct memfs_inode *i, uint64_t size)
{
	if (size > i->room) {
		i->bytes = realloc(i->bytes, size);
		memset(i->bytes + i->room, 0, size - i->room);
		i->room = size;
	}
	if (size < i->size)
		memset(i->bytes + size, 0, i->size - size);
	i->size = size;
	i->hash = 0;
}

void
memfs_put(struct memfs_inode *i, const char *bytes, uint64_t n, uint64_t at)
{
	if (at + n > i->size)
		memfs_resize(i, at + n);
	if (n)
		memcpy(i->bytes + at, bytes, n);
	i->hash = 0;
}

static bool
refused(struct memfs *fs, enum memfs_kind kind)
{
	if (!(fs->fail_kinds & 1u << kind) || fs->fail_at < 0)
		return false;
	if (fs->fail_at > 0) {
		fs->fail_at--;
		return false;
	}
	if (!fs->fail_forever)
		fs->fail_at = -1;
	errno = fs->fail_errno;
	return true;
}

static struct memfs_op *
note(struct memfs *fs, enum memfs_kind kind, unsigned inode, const char *name)
{
	static struct memfs_op unused;
	struct memfs_op *op;

	if (!fs->record)
		return &unused;
	if (fs->nops == fs->max_ops) {
		fs->max_ops = fs->max_ops ? fs->max_ops * 2 : 256;
		fs->ops = realloc(fs->ops, fs->max_ops * sizeof(*fs->ops));
	}
	op = &fs->ops[fs->nops++];
	*op = (struct memfs_op){ .kind = kind, .inode = inode, .mark = fs->mark };
	if (name)
		(void)snprintf(op->name, sizeof(op->name), "%s", name);
	return op;
}

static int
mem_open(struct vfs *v, const char *text, enum vfs_open how)
{
	struct memfs *fs = self(v);
	struct memfs_name *n = memfs_find(fs, text);
	struct memfs_inode *i;

	if (how != VFS_CREATE) {
		errno = ENOENT;
		return n ? (int)n->inode->number + FD_BASE : -1;
	}
	if (n) {
		errno = EEXIST;
		return -1;
	}
	if (refused(fs, MEMFS_CREATE))
		return -1;
	i = memfs_inode(fs, fs->next_inode, true);
	memfs_link(fs, text, i);
	(void)note(fs, MEMFS_CREATE, i->number, text);
	return (int)i->number + FD_BASE;
}

static int
mem_close(struct vfs *v, int fd)
{
	(void)v, (void)fd;
	return 0;
}

static ssize_t
mem_pread(struct vfs *v, int fd, void *to, size_t n, uint64_t at)
{
	struct memfs_inode *i = memfs_inode(self(v), (unsigned)fd - FD_BASE, false);

	if (at >= i->size)
		return 0;
	if (n > i->size - at)
		n = i->size - at;
	memcpy(to, i->bytes + at, n);
	return (ssize_t)n;
}

static ssize_t
mem_pwritev(struct vfs *v, int fd, const struct iovec *iov, int niov, uint64_t at)
{
	struct memfs *fs = self(v);
	struct memfs_inode *i = memfs_inode(fs, (unsigned)fd - FD_BASE, false);
	ssize_t total = 0;

	if (refused(fs, MEMFS_WRITE))
		return -1;
	for (int k = 0; k < niov; k++) {
		struct memfs_op *op;

		memfs_put(i, iov[k].iov_base, iov[k].iov_len, at);
		if (fs->record) {
			op = note(fs, MEMFS_WRITE, i->number, NULL);
			op->at = at;
			op->n = iov[k].iov_len;
			op->bytes = malloc(op->n + 1);
			memcpy(op->bytes, iov[k].iov_base, op->n);
		}
		at += iov[k].iov_len;
		total += (ssize_t)iov[k].iov_len;
	}
	return total;
}

/* A mutation of the program under test: it forgets to sync files of this directory ("blob/") or the
 * directory itself ("blob"). */
static bool
lies(const struct memfs *fs, unsigned inode)
{
	if (fs->lie)
		LIST_EACH(&fs->names, it) {
			const struct memfs_name *n = OWNER_OF(it, struct memfs_name, node);

			if (n->inode->number == inode && strncmp(n->text, fs->lie, strlen(fs->lie)) == 0)
				return strchr(fs->lie, '/') != NULL;
		}
	return false;
}

static int
mem_sync(struct vfs *v, int fd)
{
	struct memfs *fs = self(v);

	fs->syncs++;
	if (refused(fs, MEMFS_SYNC))
		return -1;
	if (!lies(fs, (unsigned)fd - FD_BASE))
		(void)note(fs, MEMFS_SYNC, (unsigned)fd - FD_BASE, NULL);
	return 0;
}

static int
mem_sync_dir(struct vfs *v, const char *dir)
{
	if (refused(self(v), MEMFS_SYNC_DIR))
		return -1;
	if (!self(v)->lie || strcmp(self(v)->lie, dir) != 0)
		(void)note(self(v), MEMFS_SYNC_DIR, 0, dir);
	return 0;
}

static int
set_size(struct vfs *v, int fd, uint64_t size)
{
	struct memfs *fs = self(v);

	if (refused(fs, MEMFS_SIZE))
		return -1;
	memfs_resize(memfs_inode(fs, (unsigned)fd - FD_BASE, false), size);
	note(fs, MEMFS_SIZE, (unsigned)fd - FD_BASE, NULL)->n = size;
	return 0;
}

static int
mem_rename(struct vfs *v, const char *from, const char *to)
{
	struct memfs *fs = self(v);
	struct memfs_name *n = memfs_find(fs, from);
	struct memfs_inode *i = n ? n->inode : NULL;

	if (!n) {
		errno = ENOENT;
		return -1;
	}
	if (refused(fs, MEMFS_RENAME))
		return -1;
	memfs_unlink(fs, from);
	memfs_link(fs, to, i);
	(void)snprintf(note(fs, MEMFS_RENAME, i->number, from)->to, MEMFS_NAME, "%s", to);
	return 0;
}

static int
mem_link(struct vfs *v, const char *from, const char *to)
{
	struct memfs_name *n = memfs_find(self(v), from);

	if (!n || memfs_find(self(v), to)) {
		errno = n ? EEXIST : ENOENT;
		return -1;
	}
	if (refused(self(v), MEMFS_LINK))
		return -1;
	memfs_link(self(v), to, n->inode);
	(void)note(self(v), MEMFS_LINK, n->inode->number, to);
	return 0;
}

static int
mem_unlink(struct vfs *v, const char *text)
{
	struct memfs *fs = self(v);

	if (!memfs_find(fs, text)) {
		errno = ENOENT;
		return -1;
	}
	if (refused(fs, MEMFS_UNLINK))
		return -1;
	(void)note(fs, MEMFS_UNLINK, memfs_find(fs, text)->inode->number, text);
	memfs_unlink(fs, text);
	return 0;
}

static int
mem_mkdir(struct vfs *v, const char *text)
{
	struct memfs *fs = self(v);
	struct memfs_inode *i;

	if (memfs_find(fs, text))
		return 0;
	i = memfs_inode(fs, fs->next_inode, true);
	i->dir = true;
	memfs_link(fs, text, i);
	(void)note(fs, MEMFS_MKDIR, i->number, text);
	return 0;
}

static int64_t
mem_size(struct vfs *v, int fd)
{
	return (int64_t)memfs_inode(self(v), (unsigned)fd - FD_BASE, false)->size;
}

static int
mem_list(struct vfs *v, const char *dir, bool (*visit)(void *, const char *), void *arg)
{
	size_t n = strlen(dir);

	LIST_EACH(&self(v)->names, it) {
		struct memfs_name *name = OWNER_OF(it, struct memfs_name, node);

		if (strncmp(name->text, dir, n) == 0 && name->text[n] == '/' && !visit(arg, name->text + n + 1))
			break;
	}
	return 0;
}

static int64_t
mem_space(struct vfs *v)
{
	return self(v)->space;
}

/* Descriptors are not counted: whoever uses it closes first. */
static bool
mem_sole(struct vfs *v, int fd)
{
	(void)v, (void)fd;
	return true;
}

static int
mem_stat(struct vfs *v, const char *text, struct vfs_stat *out)
{
	struct memfs_name *n = memfs_find(self(v), text);

	if (!n) {
		errno = ENOENT;
		return -1;
	}
	*out = (struct vfs_stat){ .dir = n->inode->dir, .size = n->inode->size, .inode = n->inode->number };
	return 0;
}

/* Times are not kept. */
static int
mem_touch(struct vfs *v, int fd, int64_t mtime)
{
	(void)v, (void)fd, (void)mtime;
	return 0;
}

static void *
mem_map(struct vfs *v, int fd, size_t n)
{
	struct memfs_inode *i = memfs_inode(self(v), (unsigned)fd - FD_BASE, false);
	void *p = i->size >= n ? malloc(n) : NULL;

	if (p)
		memcpy(p, i->bytes, n);
	return p;
}

static void
mem_unmap(struct vfs *v, void *p, size_t n)
{
	(void)v, (void)n;
	free(p);
}

static const struct vfs_ops ops = {
	.open = mem_open,
	.close = mem_close,
	.pread = mem_pread,
	.pwritev = mem_pwritev,
	.sync = mem_sync,
	.sync_dir = mem_sync_dir,
	.allocate = set_size,
	.truncate = set_size,
	.rename = mem_rename,
	.unlink = mem_unlink,
	.mkdir = mem_mkdir,
	.size = mem_size,
	.list = mem_list,
	.space = mem_space,
	.sole = mem_sole,
	.stat = mem_stat,
	.touch = mem_touch,
	.link = mem_link,
	.map = mem_map,
	.unmap = mem_unmap,
};

struct memfs *
memfs_new(void)
{
	struct memfs *fs = calloc(1, sizeof(*fs));

	fs->vfs.ops = &ops;
	fs->next_inode = 1;
	fs->fail_at = -1;
	fs->space = INT64_MAX / 2;
	list_init(&fs->inodes);
	list_init(&fs->names);
	return fs;
}

void
memfs_free(struct memfs **at)
{
	struct memfs *fs = *at;

	LIST_EACH(&fs->inodes, it) {
		free(OWNER_OF(it, struct memfs_inode, node)->bytes);
		free(OWNER_OF(it, struct memfs_inode, node));
	}
	LIST_EACH(&fs->names, it)
		free(OWNER_OF(it, struct memfs_name, node));
	for (size_t i = 0; i < fs->nops; i++)
		free(fs->ops[i].bytes);
	free(fs->ops);
	free(fs);
	*at = NULL;
}

/* ---- copies ---- */

struct memfs *
memfs_clone(const struct memfs *from)
{
	struct memfs *out = memfs_new();

	out->next_inode = from->next_inode;
	out->space = from->space;
	LIST_EACH(&from->inodes, it) {
		const struct memfs_inode *i = OWNER_OF(it, struct memfs_inode, node);
		struct memfs_inode *copy = memfs_inode(out, i->number, true);

		copy->dir = i->dir;
		copy->hash = i->hash;
		copy->bytes = malloc(i->size + 1);
		copy->size = copy->room = i->size;
		if (i->size)
			memcpy(copy->bytes, i->bytes, i->size);
	}
	LIST_EACH(&from->names, it) {
		const struct memfs_name *n = OWNER_OF(it, struct memfs_name, node);

		memfs_link(out, n->text, memfs_inode(out, n->inode->number, false));
	}
	return out;
}

static uint64_t
mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}

static uint64_t
hash_bytes(const char *p, size_t n)
{
	uint64_t h = n, v;

	for (; n >= 8; p += 8, n -= 8) {
		memcpy(&v, p, 8);
		h = mix(h, v);
	}
	for (; n > 0; p++, n--)
		h = mix(h, (unsigned char)*p);
	return mix(h, 1);
}

uint64_t
memfs_hash(struct memfs *fs)
{
	uint64_t sum = 0;

	LIST_EACH(&fs->names, it) {
		const struct memfs_name *n = OWNER_OF(it, struct memfs_name, node);

		if (!n->inode->hash)
			n->inode->hash = hash_bytes(n->inode->bytes, n->inode->size) | 1;
		sum += mix(hash_bytes(n->text, strlen(n->text)), n->inode->hash); /* whatever the order of the list */
	}
	return sum;
}

char *
memfs_bytes(struct memfs *fs, const char *text, uint64_t *size)
{
	struct memfs_name *n = memfs_find(fs, text);

	if (!n)
		return NULL;
	*size = n->inode->size;
	return n->inode->bytes;
}
