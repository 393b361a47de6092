/* SPDX-License-Identifier: ISC */
#include "journal/blob.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/owner.h"

/* The directory part of a name, "" for the root. */
static void
dir_of(const char *name, char dir[BLOB_NAME_MAX + 1])
{
	struct span s = span_str(name);
	size_t slash = span_rchr(s, '/');

	if (slash == SIZE_MAX || !span_cstr(span_sub(s, 0, slash), dir, BLOB_NAME_MAX + 1))
		dir[0] = '\0';
}

bool
blob_create(struct blob *b, struct vfs *v, const char *temp, const char *name, struct fail *why)
{
	*b = (struct blob){ .vfs = v, .fd = -1 };
	if (!span_cstr(span_str(temp), b->temp, sizeof(b->temp)) || !span_cstr(span_str(name), b->name, sizeof(b->name)))
		return fail_set(why, FAIL_PERM, 0, "blob name %s is too long", name);
	b->fd = v->ops->open(v, temp, VFS_CREATE);
	if (b->fd < 0)
		return fail_errno(why, 0, "cannot create %s", temp);
	return true;
}

bool
blob_reuse(struct blob *b, struct vfs *v, const char *from, const char *temp, const char *name, uint64_t old_size, struct fail *why)
{
	*b = (struct blob){ .vfs = v, .fd = -1, .old_size = old_size };
	if (!span_cstr(span_str(temp), b->temp, sizeof(b->temp)) || !span_cstr(span_str(name), b->name, sizeof(b->name)))
		return fail_set(why, FAIL_PERM, 0, "blob name %s is too long", name);
	b->fd = v->ops->open(v, from, VFS_WRITE);
	if (b->fd < 0)
		return fail_errno(why, 0, "cannot open %s", from);
	if (v->ops->rename(v, from, temp) == 0)
		return true;
	(void)fail_errno(why, 0, "cannot rename %s to %s", from, temp);
	(void)v->ops->close(v, b->fd);
	b->fd = -1;
	return false;
}

bool
blob_retire(struct vfs *v, const char *name, const char *to, uint64_t most, uint64_t *size)
{
	int fd = v->ops->sole ? v->ops->open(v, name, VFS_WRITE) : -1;
	int64_t found;
	bool ok;

	if (fd < 0)
		return false;
	found = v->ops->size(v, fd);
	ok = found >= 0 && (uint64_t)found <= most && v->ops->sole(v, fd) && v->ops->rename(v, name, to) == 0;
	(void)v->ops->close(v, fd);
	*size = ok ? (uint64_t)found : 0;
	return ok;
}

bool
blob_write(struct blob *b, struct span s)
{
	if (b->why.class != FAIL_NONE)
		return false;
	if (!vfs_write_all(b->vfs, b->fd, s.p, s.n, b->size))
		return fail_errno(&b->why, 0, "cannot write %s", b->temp);
	b->size += s.n;
	return true;
}

static void
close_file(struct blob *b)
{
	if (b->fd >= 0)
		(void)b->vfs->ops->close(b->vfs, b->fd);
	b->fd = -1;
}

static bool
make_durable(struct blob *b)
{
	const struct vfs_ops *ops = b->vfs->ops;
	char dir[BLOB_NAME_MAX + 1];

	if (b->why.class != FAIL_NONE)
		return false;
	if (b->old_size > b->size && ops->truncate(b->vfs, b->fd, b->size) < 0)
		return fail_errno(&b->why, 0, "cannot cut %s", b->temp);
	if (ops->sync(b->vfs, b->fd) < 0)
		return fail_errno(&b->why, 0, "cannot sync %s", b->temp);
	if (ops->rename(b->vfs, b->temp, b->name) < 0)
		return fail_errno(&b->why, 0, "cannot rename %s to %s", b->temp, b->name);
	dir_of(b->name, dir);
	if (ops->sync_dir(b->vfs, dir) < 0) {
		(void)fail_errno(&b->why, 0, "cannot sync directory \"%s\"", dir);
		(void)ops->unlink(b->vfs, b->name);
		return false;
	}
	return true;
}

bool
blob_commit_now(struct blob *b, struct fail *why)
{
	bool ok = make_durable(b);

	close_file(b);
	if (!ok) {
		(void)b->vfs->ops->unlink(b->vfs, b->temp);
		if (why)
			*why = b->why;
	}
	return ok;
}

static void
run_commit(struct work *w)
{
	(void)blob_commit_now(OWNER_OF(w, struct blob, work), NULL);
}

static void
commit_done(struct work *w)
{
	struct blob *b = OWNER_OF(w, struct blob, work);

	b->on_durable(b, b->why.class == FAIL_NONE ? NULL : &b->why);
}

void
blob_commit(struct blob *b, struct worker_pool *pool, void (*on_durable)(struct blob *, const struct fail *))
{
	b->on_durable = on_durable;
	b->work = (struct work){ .run = run_commit, .done = commit_done };
	worker_submit(pool, &b->work);
}

void
blob_abandon(struct blob *b)
{
	if (b->fd < 0)
		return;
	close_file(b);
	(void)b->vfs->ops->unlink(b->vfs, b->temp);
}

int
blob_open(struct vfs *v, const char *name, struct fail *why)
{
	int fd = v->ops->open(v, name, VFS_READ);

	if (fd < 0)
		(void)fail_errno(why, 0, "cannot open %s", name);
	return fd;
}

bool
blob_remove(struct vfs *v, const char *name, struct fail *why)
{
	return v->ops->unlink(v, name) == 0 || errno == ENOENT || fail_errno(why, 0, "cannot remove %s", name);
}
