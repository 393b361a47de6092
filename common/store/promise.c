/* SPDX-License-Identifier: ISC */
#include "store/promise.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "log/log.h"
#include "store/maildir.h"
#include "store/name.h"
#include "sys/crc32c.h"

static const char magic[24] = "pillarpost promise 1\n";

enum { VERSION_AT = 19, HEAD = sizeof(magic) + 8 };

/* ---- in memory ---- */

void
promise_init(struct promise *p)
{
	*p = (struct promise){ .n = 0 };
	buf_init(&p->text, PROMISE_SIZE_MAX);
}

void
promise_free(struct promise *p)
{
	buf_free(&p->text);
	free(p->links);
	promise_init(p);
}

const char *
promise_from(const struct promise *p, size_t i)
{
	return buf_span(&p->text).p + p->links[i].from;
}

const char *
promise_to(const struct promise *p, size_t i)
{
	return buf_span(&p->text).p + p->links[i].to;
}

bool
promise_add(struct promise *p, const char *from, const char *to)
{
	struct promise_link link = { .from = buf_len(&p->text) };

	if (p->n == p->size) {
		size_t size = p->size ? p->size * 2 : 64;
		struct promise_link *more = realloc(p->links, size * sizeof(*more));

		if (!more)
			return false;
		p->links = more;
		p->size = size;
	}
	buf_put(&p->text, span_of(from, strlen(from) + 1));
	link.to = buf_len(&p->text);
	buf_put(&p->text, span_of(to, strlen(to) + 1));
	p->links[p->n] = link;
	p->n += buf_ok(&p->text);
	return buf_ok(&p->text);
}

/* ---- paths ---- */

/* "" or ".FOLDER/", then "cur/" or "new/", then a name: the first without the last two. */
static bool
take_path(struct span path, struct span *folder, struct span *name, bool *in_new)
{
	size_t slash = span_rchr(path, '/');
	struct span dir = span_sub(path, 0, slash == SIZE_MAX ? 0 : slash);

	*name = slash == SIZE_MAX ? SPAN_NONE : span_from(path, slash + 1);
	*folder = dir.n > 3 ? span_sub(dir, 0, dir.n - 3) : SPAN_NONE;
	dir = span_from(dir, folder->n);
	*in_new = span_eq(dir, SPAN("new"));
	if ((!*in_new && !span_eq(dir, SPAN("cur"))) || !maildir_name_valid(*name))
		return false;
	return folder->n == 0 || (folder->n > 2 && folder->p[0] == '.' && folder->p[folder->n - 1] == '/' &&
		name_valid(span_sub(*folder, 1, folder->n - 2)));
}

static struct span
base_of(const char *path)
{
	struct span name = span_from(span_str(path), span_rchr(span_str(path), '/') + 1);

	return span_sub(name, 0, span_chr(name, ':'));
}

/* "FOLDER/part" of a path that is valid. */
static void
part_of(const char *path, const char *part, char out[MAILDIR_PATH_MAX])
{
	(void)snprintf(out, MAILDIR_PATH_MAX, "%.*s%s", (int)(span_rchr(span_str(path), '/') - 3), path, part);
}

/* ---- on disk ---- */

static bool
take_link(struct promise *p, struct span *rest, struct span *from_folder, struct span *to_folder)
{
	struct span from, to, a, b, name;
	bool in_new;

	if (span_chr(*rest, '\0') == SIZE_MAX)
		return false;
	from = span_cut(rest, '\0');
	if (span_chr(*rest, '\0') == SIZE_MAX)
		return false;
	to = span_cut(rest, '\0');
	if (from.n >= MAILDIR_PATH_MAX || to.n >= MAILDIR_PATH_MAX || !take_path(from, &a, &name, &in_new) ||
	    !take_path(to, &b, &name, &in_new) || in_new)
		return false;
	if (p->n == 0) {
		*from_folder = a;
		*to_folder = b;
	}
	return span_eq(a, *from_folder) && span_eq(b, *to_folder) && promise_add(p, from.p, to.p);
}

bool
promise_parse(struct promise *p, struct span file)
{
	struct cursor c = cursor_of(span_from(span_sub(file, 0, HEAD), sizeof(magic)));
	struct span rest = span_from(file, HEAD), from = SPAN_NONE, to = SPAN_NONE;
	uint32_t count = cursor_le32(&c), crc = cursor_le32(&c);

	if (!c.ok || memcmp(file.p, magic, sizeof(magic)) != 0 || count == 0 || crc != crc32c(0, rest))
		return false;
	while (rest.n)
		if (!take_link(p, &rest, &from, &to))
			return false;
	return p->n == count;
}

bool
promise_write(const struct promise *p, struct vfs *v)
{
	int fd = v->ops->open(v, PROMISE_NAME, VFS_CREATE), err;
	struct span text = buf_span(&p->text);
	struct buf head;
	bool ok = fd >= 0;

	if (!ok)
		return false;
	buf_init(&head, HEAD);
	buf_put(&head, span_of(magic, sizeof(magic)));
	buf_le32(&head, (uint32_t)p->n);
	buf_le32(&head, crc32c(0, text));
	ok = buf_ok(&head) && vfs_write_all(v, fd, buf_span(&head).p, HEAD, 0) && vfs_write_all(v, fd, text.p, text.n, HEAD) &&
	    v->ops->sync(v, fd) == 0;
	err = errno;
	buf_free(&head);
	(void)v->ops->close(v, fd);
	if (ok && v->ops->sync_dir(v, "") < 0) {
		ok = false;
		err = errno;
	}
	if (!ok)
		(void)v->ops->unlink(v, PROMISE_NAME);
	errno = err;
	return ok;
}

static bool
newer(struct span file)
{
	return file.n >= HEAD && memcmp(file.p, magic, VERSION_AT) == 0 && file.p[VERSION_AT] != magic[VERSION_AT];
}

bool
promise_load(struct promise *p, struct vfs *v, bool *torn, struct fail *why)
{
	struct buf text;
	bool ok = true, bad = false;

	buf_init(&text, PROMISE_SIZE_MAX + HEAD);
	if (!vfs_load(v, PROMISE_NAME, &text)) {
		ok = errno == ENOENT || fail_errno(why, 0, PROMISE_NAME " cannot be read");
	} else if (newer(buf_span(&text))) {
		ok = fail_set(why, FAIL_TEMP, 0, PROMISE_NAME " is of a newer release");
	} else if (!promise_parse(p, buf_span(&text))) {
		bad = true;
		promise_free(p);
	}
	buf_free(&text);
	if (torn)
		*torn = bad;
	return ok;
}

/* ---- making the links ---- */

struct entry {
	struct span base;
	size_t i;
};

struct keeper {
	const struct promise *p;
	struct vfs *vfs;
	struct entry *entries; /* owned; what is looked for, by base */
	size_t n;
	const char *part;      /* "new" or "cur" that is listed */
	unsigned char *made;   /* owned; by link */
	int err;
};

static int
by_base(const void *a, const void *b)
{
	return span_cmp(((const struct entry *)a)->base, ((const struct entry *)b)->base);
}

/* The link, or that there is none to be made. */
static bool
make(struct keeper *k, const char *from, const char *to)
{
	return maildir_link(k->vfs, from, to) || errno == EEXIST;
}

static struct entry *
find(const struct keeper *k, const char *name)
{
	struct span s = span_str(name);
	struct entry key = { .base = span_sub(s, 0, span_chr(s, ':')) };

	return k->n ? bsearch(&key, k->entries, k->n, sizeof(key), by_base) : NULL;
}

static bool
each_there(void *arg, const char *name)
{
	struct keeper *k = arg;
	const struct entry *e = find(k, name);

	if (e)
		k->made[e->i] = 1;
	return true;
}

/* Another program renamed it meanwhile. */
static bool
each_source(void *arg, const char *name)
{
	struct keeper *k = arg;
	char part[MAILDIR_PATH_MAX], path[MAILDIR_PATH_MAX * 2];
	struct entry *e = find(k, name);

	/* The same message may have been asked for once only: bases are one's own in a folder. */
	if (!e || k->made[e->i])
		return true;
	part_of(promise_from(k->p, e->i), k->part, part);
	(void)snprintf(path, sizeof(path), "%s/%s", part, name);
	if (make(k, path, promise_to(k->p, e->i)))
		k->made[e->i] = 1;
	else if (errno != ENOENT)
		k->err = errno;
	return !k->err;
}

static bool
look_up(struct keeper *k, bool sources)
{
	k->n = 0;
	if (!k->entries && !(k->entries = calloc(k->p->n, sizeof(*k->entries))))
		return false;
	for (size_t i = 0; i < k->p->n; i++)
		if (!k->made[i])
			k->entries[k->n++] = (struct entry){ base_of(sources ? promise_from(k->p, i) : promise_to(k->p, i)), i };
	if (k->n)
		qsort(k->entries, k->n, sizeof(*k->entries), by_base);
	return true;
}

/* Those under whatever name they have now. */
static bool
find_sources(struct keeper *k)
{
	static const char *const parts[] = { "new", "cur", "cur" }; /* what moves while it is listed may be missed once */
	char dir[MAILDIR_PATH_MAX];

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts) && !k->err; i++) {
		k->part = parts[i];
		part_of(promise_from(k->p, 0), k->part, dir);
		if (!look_up(k, true))
			return false;
		if (k->n && k->vfs->ops->list(k->vfs, dir, each_source, k) < 0 && errno != ENOENT)
			return false;
	}
	errno = k->err;
	return !k->err;
}

static bool
make_all(struct keeper *k, bool again, size_t *lost)
{
	char dir[MAILDIR_PATH_MAX];
	bool missing = false;

	part_of(promise_to(k->p, 0), "cur", dir);
	if (again && (!look_up(k, false) || (k->vfs->ops->list(k->vfs, dir, each_there, k) < 0 && errno != ENOENT)))
		return false;
	for (size_t i = 0; i < k->p->n; i++) {
		if (k->made[i])
			continue;
		k->made[i] = make(k, promise_from(k->p, i), promise_to(k->p, i));
		if (!k->made[i] && errno != ENOENT)
			return false;
		missing |= !k->made[i];
	}
	if (missing && !find_sources(k))
		return false;
	for (size_t i = 0; i < k->p->n; i++)
		*lost += !k->made[i];
	return k->vfs->ops->sync_dir(k->vfs, dir) == 0 || errno == ENOENT;
}

bool
promise_drop(struct vfs *v)
{
	return (v->ops->unlink(v, PROMISE_NAME) == 0 || errno == ENOENT) && v->ops->sync_dir(v, "") == 0;
}

bool
promise_keep(const struct promise *p, struct vfs *v, bool again, size_t *lost)
{
	struct keeper k = { .p = p, .vfs = v, .made = calloc(p->n, 1) };
	bool ok = k.made && make_all(&k, again, lost) && promise_drop(v);
	int err = errno;

	free(k.made);
	free(k.entries);
	errno = err;
	return ok;
}

bool
promise_redo(struct vfs *v, struct fail *why)
{
	struct promise p;
	size_t lost = 0;
	bool torn, ok;

	promise_init(&p);
	ok = promise_load(&p, v, &torn, why);
	if (ok && torn)
		ok = promise_drop(v) || fail_errno(why, 0, PROMISE_NAME " cannot be removed");
	else if (ok && p.n)
		ok = promise_keep(&p, v, true, &lost) || fail_errno(why, 0, "The messages of a COPY cannot be put in their places");
	if (ok && p.n)
		log_put(LOG_mailbox, "messages=%zu missing=%zu of a COPY or MOVE were put in their places after an end without notice", p.n, lost);
	promise_free(&p);
	return ok;
}
