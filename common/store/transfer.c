/* SPDX-License-Identifier: ISC */
#include "store/transfer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store/kept.h"
#include "store/name.h"
#include "store/state.h"
#include "store/stock.h"
#include "store/uidlist.h"

enum { BLOCK = 256 * 1024, TRIES = 5, PATH_SIZE = 1024, SETTLE_TRIES = 500, SETTLE_MS = 20 };

struct copying {
	struct transfer *t;
	struct vfs *from, *to; /* the folder's directories */
	struct indexfile source, target;
	struct index_names live, doomed;
	char **files;          /* by place: where the file is, owned */
	int64_t *dates;        /* by place: of the copy; 0: not copied */
	char *block;
	bool in_new, only_live, failed;
	struct fail *why;
};

/* ---- files ---- */

static int64_t
date_of(const struct vfs_stat *st)
{
	return st->mtime_ns / 1000000000;
}

static bool
copy_bytes(struct copying *c, int in, int out, uint64_t size)
{
	for (uint64_t at = 0; at < size; at += BLOCK) {
		size_t n = size - at < BLOCK ? (size_t)(size - at) : BLOCK;

		if (!vfs_read_all(c->from, in, c->block, n, at) || !vfs_write_all(c->to, out, c->block, n, at))
			return false;
	}
	return true;
}

/* False with errno; ENOENT: the source is not there (any more); EEXIST: the copy is. */
static bool
copy_file(struct copying *c, const char *from, const char *to, struct vfs_stat *st)
{
	int in = c->from->ops->open(c->from, from, VFS_READ), out = -1, err;
	bool ok = in >= 0 && c->from->ops->stat(c->from, from, st) == 0;

	if (ok && (out = c->to->ops->open(c->to, to, VFS_CREATE)) < 0) {
		ok = false;
		errno = errno == ENOENT ? EIO : errno;
	}
	ok = ok && copy_bytes(c, in, out, st->size) && c->to->ops->touch(c->to, out, date_of(st)) == 0;
	err = errno;
	if (in >= 0)
		(void)c->from->ops->close(c->from, in);
	if (out >= 0)
		(void)c->to->ops->close(c->to, out);
	if (out >= 0 && !ok)
		(void)c->to->ops->unlink(c->to, to);
	errno = err;
	return ok;
}

static bool
copy_message(struct copying *c, const char *from, const char *to, int64_t *date)
{
	struct vfs_stat st;

	*date = 0;
	if (!copy_file(c, from, to, &st))
		return false;
	*date = date_of(&st);
	c->t->size += st.size;
	c->t->messages++;
	if (c->t->on_progress)
		c->t->on_progress(c->t->arg, c->t->messages);
	return true;
}

static bool
stop(struct copying *c, const char *what)
{
	c->failed = true;
	return fail_errno(c->why, 0, "cannot copy %s", what);
}

/* Files that have no UID go as they are; of the others it is noted where they lie. */
static bool
each_file(void *arg, const char *file)
{
	struct copying *c = arg;
	struct maildir_name name;
	const struct message *m;
	char path[MAILDIR_NAME_MAX + 5], **place;
	int64_t date;

	if (!maildir_name_parse(span_str(file), &name))
		return true;
	(void)snprintf(path, sizeof(path), "%s/%s", c->in_new ? "new" : "cur", file);
	m = c->live.slots ? index_names_find(&c->live, &c->source.ix, name.base) : NULL;
	if (m) {
		place = &c->files[m - c->source.ix.messages];
		free(*place);
		*place = strdup(path);
		c->failed |= !*place;
		return *place || fail_set(c->why, FAIL_TEMP, 0, "out of memory");
	}
	if (c->only_live || (c->doomed.slots && index_names_find(&c->doomed, &c->source.ix, name.base)))
		return true;
	return copy_message(c, path, path, &date) || errno == ENOENT || errno == EEXIST || stop(c, path);
}

static bool
list_both(struct copying *c)
{
	c->in_new = true;
	if (c->from->ops->list(c->from, "new", each_file, c) < 0 && !c->failed)
		return stop(c, "new");
	c->in_new = false;
	if (c->from->ops->list(c->from, "cur", each_file, c) < 0 && !c->failed)
		return stop(c, "cur");
	return !c->failed;
}

/* ---- with an index ---- */

static bool
target_path(const struct index *ix, const struct message *m, char *out, bool *in_new)
{
	*in_new = !maildir_path(out, index_base(ix, m), SPAN_NONE, index_letters(m), false);
	return !*in_new || maildir_path(out, index_base(ix, m), SPAN_NONE, 0, true);
}

/* False: some are not where they were seen. */
static bool
copy_messages(struct copying *c, bool *all)
{
	const struct index *ix = &c->source.ix;

	*all = true;
	for (size_t i = 0; i < ix->n; i++) {
		char to[MAILDIR_NAME_MAX + 5], in_tmp[MAILDIR_BASE_MAX + 5];
		bool in_new;

		if (c->dates[i] || !target_path(ix, &ix->messages[i], to, &in_new))
			continue;
		if (!c->files[i] && stock_find(c->from, index_base(ix, &ix->messages[i]), in_tmp)) /* a crash left it there */
			c->files[i] = strdup(in_tmp);
		if (c->files[i] && copy_message(c, c->files[i], to, &c->dates[i])) {
			c->dates[i] = c->dates[i] ? c->dates[i] : 1;
			continue;
		}
		c->dates[i] = 0;
		*all = false;
		if (c->files[i] && errno != ENOENT)
			return stop(c, c->files[i]);
	}
	return true;
}

static bool
put(struct copying *c, unsigned type, union record *r)
{
	return index_apply(&c->target.ix, type, r) || fail_set(c->why, FAIL_TEMP, 0, "the index cannot be copied");
}

static bool
put_message(struct copying *c, size_t place)
{
	const struct index *ix = &c->source.ix;
	const struct message *m = &ix->messages[place];
	char path[MAILDIR_NAME_MAX + 5];
	bool in_new;
	union record r = { .message = {
		.uid = m->uid,
		.modseq = m->modseq,
		.flags = m->flags,
		.keywords = m->keywords,
		.size = m->size,
		.date = m->date ? m->date : (uint32_t)c->dates[place],
		.saved = m->saved,
		.base = index_base(ix, m),
		.uidl = index_uidl(ix, m),
	} };

	(void)target_path(ix, m, path, &in_new);
	r.message.bits = (uint8_t)((m->bits & (MESSAGE_SIZED | MESSAGE_BARE)) | (in_new ? MESSAGE_NEW : 0));
	r.message.letters = in_new ? 0 : index_letters(m);
	return put(c, RECORD_message, &r);
}

static bool
copy_index(struct copying *c)
{
	const struct index *ix = &c->source.ix;
	union record r = { .start = { .uidvalidity = ix->uidvalidity, .uidnext = ix->uidnext, .modseq = ix->modseq } };
	enum indexfile_found found;
	bool ok = indexfile_open(&c->target, c->to, NULL, NULL, &found, c->why);

	ok = ok && (found == INDEXFILE_NONE || fail_set(c->why, FAIL_PERM, 0, "there is an index already")) && put(c, RECORD_start, &r);
	for (unsigned i = 0; ok && i < MAILBOX_KEYWORDS_MAX; i++)
		if (ix->keywords[i]) {
			r.keyword = (struct record_keyword){ .bit = (uint8_t)i, .name = span_str(ix->keywords[i]) };
			ok = put(c, RECORD_keyword, &r);
		}
	for (size_t i = 0; ok && i < ix->n; i++) {
		if (c->dates[i])
			ok = put_message(c, i);
		else
			c->t->missing++;
	}
	r.recent.uid = ix->recent_from;
	ok = ok && put(c, RECORD_recent, &r);
	c->target.ix.objectid = ix->objectid;
	ok = ok && indexfile_start(&c->target, c->why);
	indexfile_close(&c->target);
	return ok;
}

static bool
write_text(struct copying *c, const char *name, const struct buf *text)
{
	int fd = c->to->ops->open(c->to, name, VFS_CREATE);
	bool ok = fd >= 0 && buf_ok(text) && vfs_write_all(c->to, fd, buf_span(text).p, buf_len(text), 0);

	if (fd >= 0)
		(void)c->to->ops->close(c->to, fd);
	return ok || stop(c, name);
}

/* What Dovecot, and our own takeover, find the same UIDs by. */
static bool
write_lists(struct copying *c)
{
	const struct index *ix = &c->source.ix;
	struct buf text;
	bool ok;

	buf_init(&text, UIDLIST_FILE_MAX);
	buf_printf(&text, "3 V%u N%u\n", ix->uidvalidity, ix->uidnext);
	for (size_t i = 0; i < ix->n; i++) {
		struct span uidl = index_uidl(ix, &ix->messages[i]);

		if (!c->dates[i])
			continue;
		buf_printf(&text, "%u ", ix->messages[i].uid);
		if (uidl.n)
			buf_printf(&text, "P%.*s ", SPAN_ARG(uidl));
		buf_printf(&text, ":%.*s\n", SPAN_ARG(index_base(ix, &ix->messages[i])));
	}
	ok = write_text(c, "dovecot-uidlist", &text);
	buf_reset(&text);
	for (unsigned i = 0; i < 26; i++)
		if (ix->keywords[i])
			buf_printf(&text, "%u %s\n", i, ix->keywords[i]);
	ok = ok && (buf_len(&text) == 0 || write_text(c, "dovecot-keywords", &text));
	buf_free(&text);
	return ok;
}

static bool
copy_indexed(struct copying *c)
{
	const struct index *ix = &c->source.ix;
	bool all = false, ok;

	c->files = calloc(ix->n + 1, sizeof(*c->files));
	c->dates = calloc(ix->n + 1, sizeof(*c->dates));
	ok = (c->files && c->dates && index_names_build(&c->live, ix, false) && index_names_build(&c->doomed, ix, true)) ||
	    fail_set(c->why, FAIL_TEMP, 0, "out of memory");
	for (unsigned i = 0; ok && !all && i < TRIES; i++) {
		ok = list_both(c) && copy_messages(c, &all);
		c->only_live = true; /* those that moved meanwhile, no others */
	}
	ok = ok && write_lists(c);
	ok = ok && (vfs_posix_sync(c->to) || stop(c, "to the disk")) && copy_index(c);
	for (size_t i = 0; c->files && i < ix->n; i++)
		free(c->files[i]);
	free(c->files);
	free(c->dates);
	index_names_free(&c->live);
	index_names_free(&c->doomed);
	return ok;
}

/* ---- without one ---- */

static bool
copy_plain(struct copying *c, bool lists)
{
	static const char *const names[] = { "dovecot-uidlist", "dovecot-keywords" };
	bool ok = list_both(c);

	for (size_t i = 0; ok && lists && i < sizeof(names) / sizeof(*names); i++)
		ok = copy_file(c, names[i], names[i], &(struct vfs_stat){ .size = 0 }) || errno == ENOENT || stop(c, names[i]);
	return ok && (vfs_posix_sync(c->to) || stop(c, "to the disk"));
}

static bool
look(struct copying *c, enum indexfile_found *found)
{
	*found = INDEXFILE_NONE;
	index_init(&c->source.ix);
	if (c->from->ops->stat(c->from, INDEXFILE_DIR, &(struct vfs_stat){ .dir = false }) < 0) /* no journal to be opened */
		return errno == ENOENT || stop(c, INDEXFILE_DIR);
	return indexfile_look(&c->source, c->from, found, c->why);
}

/* Messages of a large COPY have their files a moment after they have their UIDs. */
static bool
settled(struct transfer *t, struct fail *why)
{
	static const struct timespec pause = { .tv_nsec = SETTLE_MS * 1000000 };
	struct vfs *v = maildir_vfs(t->from, "", why);
	bool there = true;

	if (!v)
		return false;
	for (unsigned i = 0; i < SETTLE_TRIES && there; i++) {
		there = v->ops->stat(v, PROMISE_NAME, &(struct vfs_stat){ .dir = false }) == 0;
		if (there)
			(void)nanosleep(&pause, NULL);
	}
	vfs_posix_free(&v);
	return !there || fail_set(why, FAIL_TEMP, 0, "a COPY in the mailbox is not complete (is its disk full?); if no mailboxd serves it: mailctl mailbox repair");
}

bool
transfer_folder(struct transfer *t, struct span folder, const char *to_dir, struct fail *why)
{
	struct copying c = { .t = t, .why = why, .block = malloc(BLOCK) };
	struct vfs *base = maildir_vfs(t->to, "", why);
	enum indexfile_found found;
	char dir[STORE_NAME_MAX + 2];
	bool ok = base && (c.block || fail_set(why, FAIL_TEMP, 0, "out of memory")) && settled(t, why) && maildir_make(base, to_dir, why);

	t->messages = t->missing = t->size = 0;
	folder_dir(name_fold(folder), dir);
	ok = ok && (c.from = maildir_vfs(t->from, dir, why)) && (c.to = maildir_vfs(t->to, to_dir, why));
	if (ok && (ok = look(&c, &found)))
		ok = found == INDEXFILE_GOOD ? copy_indexed(&c) : copy_plain(&c, found == INDEXFILE_NONE);
	if (c.from)
		indexfile_close(&c.source);
	ok = ok && (base->ops->sync_dir(base, to_dir) == 0 || fail_errno(why, 0, "cannot sync %s", to_dir));
	free(c.block);
	if (c.from)
		vfs_posix_free(&c.from);
	if (c.to)
		vfs_posix_free(&c.to);
	if (base)
		vfs_posix_free(&base);
	return ok;
}

/* ---- in the place of a folder ---- */

struct mover {
	struct vfs *vfs;
	const char *from, *sub;
	bool ok;
};

static bool
each_move(void *arg, const char *file)
{
	struct mover *m = arg;
	char from[PATH_SIZE], to[PATH_SIZE];

	(void)snprintf(from, sizeof(from), "%s/%s/%s", m->from, m->sub, file);
	(void)snprintf(to, sizeof(to), "%s/%s", m->sub, file);
	return m->ok = m->vfs->ops->rename(m->vfs, from, to) == 0;
}

/* INBOX is the Maildir itself: its parts are moved.  The uid list goes first and the
 * index last: who comes between finds the same UIDs by the list. */
static bool
adopt_inbox(struct vfs *v, const char *dir)
{
	static const char *const lists[] = { "dovecot-keywords", "dovecot-uidlist" }, *const subs[] = { "new", "cur" };
	char path[PATH_SIZE];
	bool had = v->ops->stat(v, INDEXFILE_DIR, &(struct vfs_stat){ .size = 0 }) == 0;

	for (size_t i = 0; i < 2; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, lists[i]);
		if (v->ops->rename(v, path, lists[i]) < 0 && errno != ENOENT)
			return false;
	}
	if (had && v->ops->rename(v, INDEXFILE_DIR, "pillarpost-deleted-index") < 0)
		return false;
	for (size_t i = 0; i < 2; i++) {
		struct mover m = { v, dir, subs[i], true };

		(void)snprintf(path, sizeof(path), "%s/%s", dir, subs[i]);
		if (v->ops->list(v, path, each_move, &m) < 0 || !m.ok || v->ops->sync_dir(v, subs[i]) < 0)
			return false;
	}
	(void)snprintf(path, sizeof(path), "%s/" INDEXFILE_DIR, dir);
	if (v->ops->rename(v, path, INDEXFILE_DIR) < 0 && errno != ENOENT)
		return false;
	(void)v->ops->mkdir(v, INDEXFILE_DIR);
	(void)v->ops->rename(v, "pillarpost-deleted-index/expunged", KEPT_DIR);
	kept_remove_tree(v, "pillarpost-deleted-index", 0);
	kept_remove_tree(v, dir, 0);
	return v->ops->sync_dir(v, "") == 0;
}

bool
transfer_adopt(struct transfer *t, const char *from_dir, struct span folder, struct fail *why)
{
	struct vfs *v = maildir_vfs(t->to, "", why);
	char dir[STORE_NAME_MAX + 2];
	bool ok = v != NULL;

	folder = name_fold(folder);
	folder_dir(folder, dir);
	if (ok && span_eq(folder, SPAN("INBOX"))) {
		ok = adopt_inbox(v, from_dir);
	} else if (ok) {
		if (maildir_exists(v, dir))
			kept_remove_tree(v, dir, 0);
		ok = v->ops->rename(v, from_dir, dir) == 0 && v->ops->sync_dir(v, "") == 0;
	}
	if (v && !ok)
		(void)fail_errno(why, 0, "%.*s cannot be put in its place", SPAN_ARG(folder));
	if (v)
		vfs_posix_free(&v);
	return ok;
}

bool
transfer_file(struct transfer *t, const char *name, struct fail *why)
{
	struct copying c = { .t = t, .why = why, .block = malloc(BLOCK) };
	bool ok = (c.block || fail_set(why, FAIL_TEMP, 0, "out of memory")) && (c.from = maildir_vfs(t->from, "", why)) &&
	    (c.to = maildir_vfs(t->to, "", why));

	ok = ok && (copy_file(&c, name, name, &(struct vfs_stat){ .size = 0 }) || errno == ENOENT || errno == EEXIST || stop(&c, name));
	ok = ok && (vfs_posix_sync(c.to) || stop(&c, "to the disk"));
	free(c.block);
	if (c.from)
		vfs_posix_free(&c.from);
	if (c.to)
		vfs_posix_free(&c.to);
	return ok;
}
