/* SPDX-License-Identifier: ISC */
#include "crash/memfs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/owner.h"

enum { SECTOR = 512, FD_BASE = 1000 };

struct inode {
	struct list node;
	unsigned number;
	char *bytes;
	uint64_t size, room;
	bool dir;
};

struct name {
	struct list node;
	struct inode *inode;
	char text[MEMFS_NAME];
};

static struct memfs *
self(struct vfs *v)
{
	return OWNER_OF(v, struct memfs, vfs);
}

static struct name *
find(struct memfs *fs, const char *text)
{
	LIST_EACH(&fs->names, it)
		if (strcmp(OWNER_OF(it, struct name, node)->text, text) == 0)
			return OWNER_OF(it, struct name, node);
	return NULL;
}

static struct inode *
inode_of(struct memfs *fs, unsigned number)
{
	LIST_EACH(&fs->inodes, it)
		if (OWNER_OF(it, struct inode, node)->number == number)
			return OWNER_OF(it, struct inode, node);
	return NULL;
}

static struct inode *
add_inode(struct memfs *fs, unsigned number)
{
	struct inode *i = calloc(1, sizeof(*i));

	i->number = number;
	list_push(&fs->inodes, &i->node);
	if (number >= fs->next_inode)
		fs->next_inode = number + 1;
	return i;
}

static void
add_name(struct memfs *fs, const char *text, struct inode *inode)
{
	struct name *n = find(fs, text);

	if (!n) {
		n = calloc(1, sizeof(*n));
		(void)snprintf(n->text, sizeof(n->text), "%s", text);
		list_push(&fs->names, &n->node);
	}
	n->inode = inode;
}

static void
drop_name(struct memfs *fs, const char *text)
{
	struct name *n = find(fs, text);

	if (n) {
		list_remove(&n->node);
		free(n);
	}
}

static void
resize(struct inode *i, uint64_t size)
{
	if (size > i->room) {
		i->bytes = realloc(i->bytes, size);
		memset(i->bytes + i->room, 0, size - i->room);
		i->room = size;
	}
	if (size < i->size)
		memset(i->bytes + size, 0, i->size - size);
	i->size = size;
}

static void
put(struct inode *i, const char *bytes, uint64_t n, uint64_t at)
{
	if (at + n > i->size)
		resize(i, at + n);
	if (n)
		memcpy(i->bytes + at, bytes, n);
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
	struct name *n = find(fs, text);
	struct inode *i;

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
	i = add_inode(fs, fs->next_inode);
	add_name(fs, text, i);
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
	struct inode *i = inode_of(self(v), (unsigned)fd - FD_BASE);

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
	struct inode *i = inode_of(fs, (unsigned)fd - FD_BASE);
	ssize_t total = 0;

	if (refused(fs, MEMFS_WRITE))
		return -1;
	for (int k = 0; k < niov; k++) {
		struct memfs_op *op;

		put(i, iov[k].iov_base, iov[k].iov_len, at);
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

static int
mem_sync(struct vfs *v, int fd)
{
	struct memfs *fs = self(v);

	fs->syncs++;
	if (refused(fs, MEMFS_SYNC))
		return -1;
	(void)note(fs, MEMFS_SYNC, (unsigned)fd - FD_BASE, NULL);
	return 0;
}

static int
mem_sync_dir(struct vfs *v, const char *dir)
{
	if (refused(self(v), MEMFS_SYNC_DIR))
		return -1;
	(void)note(self(v), MEMFS_SYNC_DIR, 0, dir);
	return 0;
}

static int
set_size(struct vfs *v, int fd, uint64_t size)
{
	struct memfs *fs = self(v);

	if (refused(fs, MEMFS_SIZE))
		return -1;
	resize(inode_of(fs, (unsigned)fd - FD_BASE), size);
	note(fs, MEMFS_SIZE, (unsigned)fd - FD_BASE, NULL)->n = size;
	return 0;
}

static int
mem_rename(struct vfs *v, const char *from, const char *to)
{
	struct memfs *fs = self(v);
	struct name *n = find(fs, from);
	struct inode *i = n ? n->inode : NULL;

	if (!n) {
		errno = ENOENT;
		return -1;
	}
	if (refused(fs, MEMFS_RENAME))
		return -1;
	drop_name(fs, from);
	add_name(fs, to, i);
	(void)snprintf(note(fs, MEMFS_RENAME, i->number, from)->to, MEMFS_NAME, "%s", to);
	return 0;
}

static int
mem_unlink(struct vfs *v, const char *text)
{
	struct memfs *fs = self(v);

	if (!find(fs, text)) {
		errno = ENOENT;
		return -1;
	}
	if (refused(fs, MEMFS_UNLINK))
		return -1;
	(void)note(fs, MEMFS_UNLINK, find(fs, text)->inode->number, text);
	drop_name(fs, text);
	return 0;
}

static int
mem_mkdir(struct vfs *v, const char *text)
{
	struct memfs *fs = self(v);
	struct inode *i;

	if (find(fs, text))
		return 0;
	i = add_inode(fs, fs->next_inode);
	i->dir = true;
	add_name(fs, text, i);
	(void)note(fs, MEMFS_MKDIR, i->number, text);
	return 0;
}

static int64_t
mem_size(struct vfs *v, int fd)
{
	return (int64_t)inode_of(self(v), (unsigned)fd - FD_BASE)->size;
}

static int
mem_list(struct vfs *v, const char *dir, bool (*visit)(void *, const char *), void *arg)
{
	size_t n = strlen(dir);

	LIST_EACH(&self(v)->names, it) {
		struct name *name = OWNER_OF(it, struct name, node);

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

static int
mem_stat(struct vfs *v, const char *text, struct vfs_stat *out)
{
	struct name *n = find(self(v), text);

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
	struct inode *i = inode_of(self(v), (unsigned)fd - FD_BASE);
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
	.stat = mem_stat,
	.touch = mem_touch,
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
		free(OWNER_OF(it, struct inode, node)->bytes);
		free(OWNER_OF(it, struct inode, node));
	}
	LIST_EACH(&fs->names, it)
		free(OWNER_OF(it, struct name, node));
	for (size_t i = 0; i < fs->nops; i++)
		free(fs->ops[i].bytes);
	free(fs->ops);
	free(fs);
	*at = NULL;
}

/* ---- crash states ---- */

static bool
in_dir(const char *name, const char *dir)
{
	size_t n = strlen(dir);

	return n == 0 ? !strchr(name, '/') : strncmp(name, dir, n) == 0 && name[n] == '/';
}

static bool
makes_durable(const struct memfs_op *op, const struct memfs_op *later)
{
	switch (op->kind) {
	case MEMFS_WRITE:
	case MEMFS_SIZE:
		return later->kind == MEMFS_SYNC && later->inode == op->inode;
	case MEMFS_RENAME:
		return later->kind == MEMFS_SYNC_DIR && in_dir(op->to, later->name);
	case MEMFS_MKDIR: /* a directory whose contents were synced is there */
		return later->kind == MEMFS_SYNC_DIR && strcmp(op->name, later->name) == 0;
	default:
		return later->kind == MEMFS_SYNC_DIR && in_dir(op->name, later->name);
	}
}

/* Whether a later operation of the prefix made op durable. */
static bool
durable(const struct memfs *fs, size_t i, size_t n)
{
	struct memfs_op *op = &fs->ops[i];

	if (op->kind == MEMFS_SYNC || op->kind == MEMFS_SYNC_DIR)
		return true;
	if (!op->durable_at) {
		op->durable_at = SIZE_MAX;
		for (size_t k = i + 1; k < fs->nops && op->durable_at == SIZE_MAX; k++)
			if (makes_durable(op, &fs->ops[k]))
				op->durable_at = k;
	}
	return op->durable_at < n;
}

size_t
memfs_unsynced(const struct memfs *fs, size_t n)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += !durable(fs, i, n);
	return count;
}

static uint64_t
draw(uint64_t *seed) /* xorshift64* */
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return (*seed * 0x2545f4914f6cdd1du) >> 33;
}

static void
write_torn(struct inode *i, const struct memfs_op *op, uint64_t *seed)
{
	uint64_t at = op->at, end = op->at + op->n;

	while (at < end) {
		uint64_t next = (at / SECTOR + 1) * SECTOR;

		if (next > end)
			next = end;
		if (draw(seed) & 1)
			put(i, op->bytes + (at - op->at), next - at, at);
		at = next;
	}
}

static void
apply(struct memfs *out, const struct memfs_op *op, bool torn, uint64_t *seed)
{
	struct inode *i = inode_of(out, op->inode);
	struct name *n;

	switch (op->kind) {
	case MEMFS_CREATE:
	case MEMFS_MKDIR:
		if (!i)
			i = add_inode(out, op->inode);
		i->dir = op->kind == MEMFS_MKDIR;
		add_name(out, op->name, i);
		break;
	case MEMFS_WRITE:
		if (torn)
			write_torn(i, op, seed);
		else
			put(i, op->bytes, op->n, op->at);
		break;
	case MEMFS_SIZE:
		resize(i, op->n);
		break;
	case MEMFS_RENAME:
		n = find(out, op->name);
		if (n && n->inode->number == op->inode) {
			drop_name(out, op->name);
			add_name(out, op->to, i);
		} else if (i) {
			add_name(out, op->to, i); /* the creation was lost, the rename not */
		}
		break;
	case MEMFS_UNLINK:
		n = find(out, op->name);
		if (n && n->inode->number == op->inode)
			drop_name(out, op->name);
		break;
	default:
		break;
	}
}

struct memfs *
memfs_crash(const struct memfs *fs, size_t n, enum memfs_loss loss, uint64_t seed)
{
	struct memfs *out = memfs_new();
	uint64_t state = seed * 0x9e3779b97f4a7c15u + 1, unsynced = 0;

	for (size_t i = 0; i < n; i++) {
		const struct memfs_op *op = &fs->ops[i];
		bool sure = loss == MEMFS_KEEP_ALL || durable(fs, i, n), torn = false;

		/* File contents exist with or without a name. */
		if (op->kind == MEMFS_CREATE && !inode_of(out, op->inode))
			(void)add_inode(out, op->inode);
		if (!sure) {
			unsynced++;
			if (loss == MEMFS_DROP_ALL || (loss == MEMFS_DROP_ONE && unsynced - 1 == seed))
				continue;
			if (loss == MEMFS_RANDOM) {
				uint64_t chance = draw(&state) % 3;

				if (chance == 0)
					continue;
				torn = chance == 1;
			}
		}
		apply(out, op, torn, &state);
	}
	return out;
}

char *
memfs_bytes(struct memfs *fs, const char *text, uint64_t *size)
{
	struct name *n = find(fs, text);

	if (!n)
		return NULL;
	*size = n->inode->size;
	return n->inode->bytes;
}
