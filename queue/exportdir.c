/* SPDX-License-Identifier: ISC
 *
 * Directories of exported messages.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/queueid.h"
#include "queue/export.h"

enum { NAME_ROOM = 64, HEADER_RECIPIENTS = 100, CHUNK = 65536 };

static void
name_of(uint64_t id, const char *ext, char name[NAME_ROOM])
{
	char text[QUEUEID_TEXT + 1];

	(void)snprintf(name, NAME_ROOM, "%s.%s", queueid_text(id, text).p, ext);
}

static void
maildir_name(uint64_t id, const char *dir, char name[NAME_ROOM])
{
	char text[QUEUEID_TEXT + 1];

	(void)snprintf(name, NAME_ROOM, "%s/%" PRId64 ".%s.pillarpost", dir, queueid_time_ms(id) / 1000, queueid_text(id, text).p);
}

bool
export_open(struct export_dir *d, const char *path, enum export_form form, bool make, struct fail *why)
{
	static const char *const parts[] = { "tmp", "new", "cur" };

	*d = (struct export_dir){ .form = form, .blob = { .fd = -1 } };
	if (make && mkdir(path, 0700) < 0 && errno != EEXIST)
		return fail_errno(why, 0, "cannot make %s", path);
	d->vfs = vfs_posix_new(path, why);
	if (!d->vfs)
		return false;
	for (size_t i = 0; form == EXPORT_MAILDIR && make && i < sizeof(parts) / sizeof(*parts); i++)
		if (d->vfs->ops->mkdir(d->vfs, parts[i]) < 0) {
			(void)fail_errno(why, 0, "cannot make %s/%s", path, parts[i]);
			export_close(d);
			return false;
		}
	return true;
}

void
export_close(struct export_dir *d)
{
	export_abandon(d);
	vfs_posix_free(&d->vfs);
}

static bool
is_there(struct export_dir *d, const char *name)
{
	int fd = d->vfs->ops->open(d->vfs, name, VFS_READ);

	if (fd >= 0)
		(void)d->vfs->ops->close(d->vfs, fd);
	return fd >= 0;
}

static bool
taken(struct export_dir *d, uint64_t id, struct fail *why)
{
	static const char *const names[] = { "envelope", "imported" };
	char name[NAME_ROOM];

	for (size_t i = 0; d->form == EXPORT_EML && i < sizeof(names) / sizeof(*names); i++) {
		name_of(id, names[i], name);
		if (is_there(d, name)) {
			(void)fail_set(why, FAIL_PERM, 0, "%s is there already", name);
			if (why)
				why->err = EEXIST;
			return true;
		}
	}
	if (d->form == EXPORT_MAILDIR) {
		maildir_name(id, "new", name);
		if (is_there(d, name)) {
			(void)fail_set(why, FAIL_PERM, 0, "%s is there already", name);
			if (why)
				why->err = EEXIST;
			return true;
		}
	}
	return false;
}

/* What a final delivery would have put in front (RFC 5321 4.4). */
static void
put_head(const struct export_message *x, struct blob *b)
{
	struct span list = x->envelope.list;
	struct record_recipient r;
	struct buf head;
	bool ok = true;

	buf_init(&head, 256 * 1024);
	buf_printf(&head, "Return-Path: <%.*s>\n", SPAN_ARG(x->envelope.sender));
	for (unsigned n = 0; n < HEADER_RECIPIENTS && record_list_next(&list, &record_desc_recipient, &r, &ok); n++)
		if (!r.settled)
			buf_printf(&head, "Delivered-To: %.*s\n", SPAN_ARG(r.address));
	(void)blob_write(b, buf_span(&head));
	buf_free(&head);
}

bool
export_begin(struct export_dir *d, const struct export_message *x, struct fail *why)
{
	char temp[NAME_ROOM], name[NAME_ROOM];
	uint64_t id = x->envelope.id;

	if (taken(d, id, why))
		return false;
	if (d->form == EXPORT_MAILDIR) {
		maildir_name(id, "tmp", temp);
		maildir_name(id, "new", name);
	} else {
		name_of(id, "eml.part", temp);
		name_of(id, "eml", name);
	}
	(void)d->vfs->ops->unlink(d->vfs, temp); /* of an export that was cut short */
	if (!blob_create(&d->blob, d->vfs, temp, name, why))
		return false;
	d->id = id;
	d->writing = true;
	d->skip_cr = false;
	if (d->form == EXPORT_MAILDIR)
		put_head(x, &d->blob);
	return true;
}

/* A Maildir has LF line ends. */
static void
write_lf(struct export_dir *d, struct span s)
{
	char out[CHUNK + 1];
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (d->skip_cr && s.p[i] != '\n')
			out[n++] = '\r';
		d->skip_cr = s.p[i] == '\r';
		if (!d->skip_cr)
			out[n++] = s.p[i];
		if (n >= CHUNK - 1) {
			(void)blob_write(&d->blob, span_of(out, n));
			n = 0;
		}
	}
	(void)blob_write(&d->blob, span_of(out, n));
}

bool
export_write(struct export_dir *d, struct span bytes, struct fail *why)
{
	if (d->form == EXPORT_MAILDIR)
		write_lf(d, bytes);
	else
		(void)blob_write(&d->blob, bytes);
	if (d->blob.why.class != FAIL_NONE && why)
		*why = d->blob.why;
	return d->blob.why.class == FAIL_NONE;
}

/* Gives a file its name. Not synced: export_sync() does that for all of them. */
static bool
finish(struct blob *b, struct fail *why)
{
	struct vfs *v = b->vfs;

	if (b->why.class == FAIL_NONE && v->ops->rename(v, b->temp, b->name) < 0)
		(void)fail_errno(&b->why, 0, "cannot rename %s to %s", b->temp, b->name);
	if (b->why.class == FAIL_NONE) {
		(void)v->ops->close(v, b->fd);
		b->fd = -1;
		return true;
	}
	if (why)
		*why = b->why;
	blob_abandon(b);
	return false;
}

bool
export_sync(struct export_dir *d, struct fail *why)
{
	return vfs_posix_sync(d->vfs) || fail_errno(why, 0, "cannot sync the directory");
}

static bool
write_envelope(struct export_dir *d, const struct export_message *x, struct fail *why)
{
	char temp[NAME_ROOM], name[NAME_ROOM];
	struct buf text;
	struct blob b;
	bool ok;

	name_of(d->id, "envelope.part", temp);
	name_of(d->id, "envelope", name);
	buf_init(&text, EXPORT_TEXT_MAX);
	ok = export_text(x, &text) || fail_set(why, FAIL_LIMIT, 0, "the envelope does not fit");
	(void)d->vfs->ops->unlink(d->vfs, temp);
	if (ok && blob_create(&b, d->vfs, temp, name, why)) {
		(void)blob_write(&b, buf_span(&text));
		ok = finish(&b, why);
	} else {
		ok = false;
	}
	buf_free(&text);
	return ok;
}

bool
export_end(struct export_dir *d, const struct export_message *x, struct fail *why)
{
	if (d->form == EXPORT_MAILDIR && d->skip_cr)
		(void)blob_write(&d->blob, SPAN("\r"));
	d->writing = false;
	return finish(&d->blob, why) && (d->form == EXPORT_MAILDIR || write_envelope(d, x, why));
}

void
export_abandon(struct export_dir *d)
{
	if (d->writing)
		blob_abandon(&d->blob);
	d->writing = false;
}

/* ---- reading ---- */

struct found {
	uint64_t id;
	bool imported;
};

struct listing {
	struct buf found;
};

static bool
on_name(void *arg, const char *name)
{
	struct listing *l = arg;
	struct span s = span_str(name), stem = span_cut(&s, '.');
	struct found f = { .imported = span_eq(s, SPAN("imported")) };

	if ((f.imported || span_eq(s, SPAN("envelope"))) && queueid_parse(stem, &f.id))
		buf_put(&l->found, span_of(&f, sizeof(f)));
	return true;
}

static int
by_id(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id ? 1 : (int)x->imported - (int)y->imported;
}

bool
export_each(struct export_dir *d, bool (*visit)(void *, uint64_t, bool), void *arg, struct fail *why)
{
	struct listing l;
	struct found *all;
	size_t n;
	bool ok = true;

	buf_init(&l.found, (size_t)1 << 30);
	if (d->vfs->ops->list(d->vfs, "", on_name, &l) < 0 || !buf_ok(&l.found))
		ok = fail_errno(why, 0, "cannot read the directory");
	n = buf_len(&l.found) / sizeof(*all);
	all = ok ? malloc(n * sizeof(*all) + 1) : NULL;
	if (all) {
		if (n)
			memcpy(all, buf_span(&l.found).p, n * sizeof(*all));
		qsort(all, n, sizeof(*all), by_id);
		for (size_t i = 0; i < n && visit(arg, all[i].id, all[i].imported); i++) {}
	} else if (ok) {
		ok = fail_set(why, FAIL_TEMP, 0, "no memory");
	}
	free(all);
	buf_free(&l.found);
	return ok;
}

static bool
read_text(struct export_dir *d, const char *name, struct buf *text, struct fail *why)
{
	int fd = d->vfs->ops->open(d->vfs, name, VFS_READ);
	int64_t size = fd < 0 ? -1 : d->vfs->ops->size(d->vfs, fd);
	char *p = size < 0 || size > EXPORT_TEXT_MAX ? NULL : buf_room(text, (size_t)size);
	bool ok = p && vfs_read_all(d->vfs, fd, p, (size_t)size, 0);

	if (ok)
		buf_added(text, (size_t)size);
	else
		(void)fail_errno(why, 0, "cannot read %s", name);
	if (fd >= 0)
		(void)d->vfs->ops->close(d->vfs, fd);
	return ok;
}

bool
export_read(struct export_dir *d, uint64_t id, struct buf *text, struct buf *room, struct export_message *x, int *fd,
    struct fail *why)
{
	char name[NAME_ROOM];
	int64_t size;

	*fd = -1;
	name_of(id, "envelope", name);
	if (!read_text(d, name, text, why) || !export_parse(buf_span(text), room, x, why))
		return false;
	if (x->envelope.id != id)
		return fail_set(why, FAIL_PERM, 0, "%s speaks of another message", name);
	name_of(id, "eml", name);
	*fd = d->vfs->ops->open(d->vfs, name, VFS_READ);
	if (*fd < 0)
		return fail_errno(why, 0, "cannot open %s", name);
	size = d->vfs->ops->size(d->vfs, *fd);
	if (size >= 0 && (uint64_t)size == x->envelope.size)
		return true;
	(void)fail_set(why, FAIL_PERM, 0, "%s has %" PRId64 " bytes, its envelope says %" PRIu64, name, size, x->envelope.size);
	(void)d->vfs->ops->close(d->vfs, *fd);
	*fd = -1;
	return false;
}

bool
export_imported(struct export_dir *d, uint64_t id, struct fail *why)
{
	char from[NAME_ROOM], to[NAME_ROOM];

	name_of(id, "envelope", from);
	name_of(id, "imported", to);
	if (d->vfs->ops->rename(d->vfs, from, to) < 0)
		return fail_errno(why, 0, "cannot rename %s to %s", from, to);
	return true;
}
