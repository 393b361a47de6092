/* SPDX-License-Identifier: ISC
 *
 * Folders are directories ".A.B" beside the INBOX (Maildir++); a parent need
 * not exist.  Subscriptions are the file "subscriptions" as Dovecot has it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/kept.h"
#include "store/name.h"
#include "store/state.h"
#include "store/transfer.h"

enum { SUBSCRIPTIONS_MAX = 4 * 1024 * 1024 };

#define SUBSCRIPTIONS "subscriptions"

struct names {
	char (*all)[STORE_NAME_MAX + 1]; /* owned */
	size_t n, size;
	bool failed;
};

static bool
names_add(struct names *l, struct span name)
{
	if (l->n == l->size) {
		size_t size = l->size ? l->size * 2 : 16;
		void *more = size > STORE_FOLDERS_MAX * 2 ? NULL : realloc(l->all, size * sizeof(*l->all));

		if (!more) {
			l->failed = true;
			return false;
		}
		l->all = more;
		l->size = size;
	}
	return span_cstr(name, l->all[l->n], sizeof(*l->all)) && ++l->n;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static size_t
names_find(const struct names *l, struct span name)
{
	for (size_t i = 0; i < l->n; i++)
		if (span_eq(span_str(l->all[i]), name))
			return i;
	return SIZE_MAX;
}

static bool
each_entry(void *arg, const char *entry)
{
	if (entry[0] == '.' && name_valid(span_str(entry + 1)))
		(void)names_add(arg, span_str(entry + 1));
	return !((struct names *)arg)->failed;
}

/* Folders on disk but INBOX, in order. */
static bool
list_folders(struct store *store, struct names *out, struct fail *why)
{
	size_t to = 0;

	*out = (struct names){ .n = 0 };
	if (store->vfs->ops->list(store->vfs, "", each_entry, out) < 0)
		return fail_errno(why, 0, "The folders cannot be listed");
	for (size_t i = 0; i < out->n; i++) {
		char dir[STORE_NAME_MAX + 2];

		folder_dir(span_str(out->all[i]), dir);
		if (maildir_exists(store->vfs, dir))
			memmove(out->all[to++], out->all[i], sizeof(*out->all));
	}
	out->n = to;
	if (to)
		qsort(out->all, to, sizeof(*out->all), by_name);
	return !out->failed || fail_set(why, FAIL_LIMIT, 0, "There are too many folders");
}

/* ---- subscriptions ---- */

static bool
read_subscriptions(struct vfs *v, struct names *out, struct fail *why)
{
	struct buf text;
	struct span rest;
	bool tabs = false;

	*out = (struct names){ .n = 0 };
	buf_init(&text, SUBSCRIPTIONS_MAX);
	/* Whole or not at all: what is missing here would be lost with the next change. */
	if (!vfs_load(v, SUBSCRIPTIONS, &text) && errno != ENOENT) {
		buf_free(&text);
		return fail_errno(why, 0, "The subscriptions cannot be read");
	}
	for (rest = buf_span(&text); rest.n;) {
		struct span line = span_cut(&rest, '\n');
		char name[STORE_NAME_MAX + 1];

		if (span_starts(line, SPAN("V\t"))) { /* version 2: levels are divided by tabs */
			tabs = true;
			continue;
		}
		if (line.n == 0 || !span_cstr(line, name, sizeof(name)))
			continue;
		for (char *p = name; tabs && *p; p++)
			*p = *p == '\t' ? '.' : *p;
		if (name_valid(span_str(name)) && names_find(out, span_str(name)) == SIZE_MAX)
			(void)names_add(out, span_str(name));
	}
	buf_free(&text);
	return true;
}

bool
subscriptions_each(struct vfs *v, void (*each)(void *, struct span), void *arg, struct fail *why)
{
	struct names l;
	bool ok = read_subscriptions(v, &l, why);

	for (size_t i = 0; ok && i < l.n; i++)
		each(arg, span_str(l.all[i]));
	free(l.all);
	return ok;
}

static bool
write_subscriptions(struct store *store, const struct names *l, struct fail *why)
{
	struct buf text;
	bool ok;

	buf_init(&text, SUBSCRIPTIONS_MAX);
	for (size_t i = 0; i < l->n; i++)
		buf_printf(&text, "%s\n", l->all[i]);
	ok = buf_ok(&text) && vfs_replace(store->vfs, SUBSCRIPTIONS, buf_span(&text));
	buf_free(&text);
	return ok || fail_errno(why, 0, "The subscriptions cannot be written");
}

bool
store_subscribe(struct store *store, struct span name, bool on, struct fail *why)
{
	struct names l;
	size_t at;
	bool ok;

	name = name_fold(name);
	if (!name_valid(name))
		return fail_set(why, FAIL_PERM, 0, "This is not a valid mailbox name");
	if (!read_subscriptions(store->vfs, &l, why))
		return false;
	at = names_find(&l, name);
	if (on == (at != SIZE_MAX)) {
		ok = true;
	} else if (on) {
		ok = names_add(&l, name) || fail_set(why, FAIL_LIMIT, 0, "There are too many subscriptions");
		ok = ok && write_subscriptions(store, &l, why);
	} else {
		memmove(l.all[at], l.all[at + 1], (l.n - at - 1) * sizeof(*l.all));
		l.n--;
		ok = write_subscriptions(store, &l, why);
	}
	free(l.all);
	return ok;
}

/* ---- list ---- */

bool
store_exists(struct store *store, struct span name)
{
	char dir[STORE_NAME_MAX + 2];

	name = name_fold(name);
	if (span_eq(name, SPAN("INBOX")))
		return true;
	if (!name_valid(name))
		return false;
	folder_dir(name, dir);
	return maildir_exists(store->vfs, dir);
}

struct lister {
	const struct names *folders, *subscribed;
	void (*each)(void *, const struct folder *);
	void *arg;
};

static bool
has_children(const struct names *l, struct span name)
{
	for (size_t i = 0; i < l->n; i++) {
		struct span other = span_str(l->all[i]);

		if (other.n > name.n && span_starts(other, name) && other.p[name.n] == '.')
			return true;
	}
	return false;
}

static void
tell(const struct lister *l, struct span name)
{
	struct folder f = {
		.name = name,
		.selectable = span_eq(name, SPAN("INBOX")) || names_find(l->folders, name) != SIZE_MAX,
		.subscribed = names_find(l->subscribed, name) != SIZE_MAX,
		.children = has_children(l->folders, name),
	};

	l->each(l->arg, &f);
}

/* Every folder, every parent of one, every subscribed name; once each, in order. */
static bool
merge(const struct names *folders, const struct names *subscribed, struct names *out)
{
	const struct names *both[2] = { folders, subscribed };
	size_t to = 0;

	*out = (struct names){ .n = 0 };
	for (size_t k = 0; k < 2; k++)
		for (size_t i = 0; i < both[k]->n; i++) {
			struct span name = span_str(both[k]->all[i]);

			if (!names_add(out, name))
				return false;
			for (size_t dot; k == 0 && (dot = span_rchr(name, '.')) != SIZE_MAX;) {
				name = span_sub(name, 0, dot);
				if (!names_add(out, name))
					return false;
			}
		}
	if (out->n)
		qsort(out->all, out->n, sizeof(*out->all), by_name);
	for (size_t i = 0; i < out->n; i++)
		if (to == 0 || strcmp(out->all[to - 1], out->all[i]) != 0)
			memmove(out->all[to++], out->all[i], sizeof(*out->all));
	out->n = to;
	return true;
}

bool
store_list(struct store *store, void (*each)(void *, const struct folder *), void *arg, struct fail *why)
{
	struct names folders = { .n = 0 }, subscribed = { .n = 0 }, all = { .n = 0 };
	struct lister l = { &folders, &subscribed, each, arg };
	bool ok = list_folders(store, &folders, why) && read_subscriptions(store->vfs, &subscribed, why);

	if (ok && !merge(&folders, &subscribed, &all))
		ok = fail_set(why, FAIL_LIMIT, 0, "There are too many folders");
	if (ok)
		tell(&l, SPAN("INBOX"));
	for (size_t i = 0; ok && i < all.n; i++)
		if (strcmp(all.all[i], "INBOX") != 0)
			tell(&l, span_str(all.all[i]));
	free(folders.all);
	free(subscribed.all);
	free(all.all);
	return ok;
}

/* ---- create, delete, rename ---- */

static bool
check_new(struct store *store, struct span name, struct fail *why)
{
	if (!name_valid(name))
		return fail_set(why, FAIL_PERM, 0, "This is not a valid mailbox name");
	if (store_exists(store, name))
		return fail_set(why, FAIL_PERM, 0, "The mailbox exists already");
	return true;
}

bool
store_create(struct store *store, struct span name, struct fail *why)
{
	char dir[STORE_NAME_MAX + 2];
	struct names folders;
	bool ok;

	name = name_fold(name);
	if (!check_new(store, name, why) || !list_folders(store, &folders, why))
		return false;
	ok = folders.n < STORE_FOLDERS_MAX || fail_set(why, FAIL_LIMIT, 0, "There are too many folders");
	free(folders.all);
	folder_dir(name, dir);
	return ok && maildir_make(store->vfs, dir, why);
}

bool
store_delete(struct store *store, struct span name, struct fail *why)
{
	char dir[STORE_NAME_MAX + 2], gone[KEPT_PATH_MAX];
	char unique[MAILDIR_BASE_MAX];
	bool keep;

	name = name_fold(name);
	if (span_eq(name, SPAN("INBOX")))
		return fail_set(why, FAIL_PERM, 0, "INBOX cannot be deleted");
	if (!store_exists(store, name))
		return fail_set(why, FAIL_PERM, 0, "There is no such mailbox");
	if (!mailbox_forget(store, name, why))
		return false;
	folder_dir(name, dir);
	/* Gone at once and for good under its name; its files are kept, or go after that. */
	keep = kept_folder_path(gone, loop_wall_ms(store->loop), name) && store->keep_s > 0;
	if (!keep) {
		maildir_unique(deliverer_namer(store->deliverer), unique);
		(void)snprintf(gone, sizeof(gone), "pillarpost-deleted-%.32s", unique);
	}
	if (store->vfs->ops->rename(store->vfs, dir, gone) < 0 || store->vfs->ops->sync_dir(store->vfs, "") < 0)
		return fail_errno(why, 0, "The mailbox cannot be deleted");
	metadata_moved(store, name, SPAN_NONE);
	store_recount(store);
	if (!keep)
		kept_remove_tree(store->vfs, gone, 0);
	return true;
}

static const char *const inbox_parts[] = { "new", "cur", INDEXFILE_DIR };
enum { INBOX_PARTS = sizeof(inbox_parts) / sizeof(*inbox_parts) };

static bool
move_part(struct vfs *v, const char *dir, size_t i, bool back)
{
	char path[STORE_NAME_MAX + 16];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, inbox_parts[i]);
	return v->ops->rename(v, back ? path : inbox_parts[i], back ? inbox_parts[i] : path) == 0 || errno == ENOENT;
}

static void
remove_empty(struct vfs *v, const char *dir)
{
	static const char *const parts[] = { "cur", "new", "tmp", "" };
	char path[STORE_NAME_MAX + 16];

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, parts[i]);
		(void)v->ops->rmdir(v, path);
	}
}

/* RFC 3501 6.3.5: the messages go, INBOX stays and is empty.  All or none. */
static bool
rename_inbox(struct store *store, struct span to, struct fail *why)
{
	struct vfs *v = store->vfs;
	char dir[STORE_NAME_MAX + 2];
	size_t n = 0;
	bool undone = true;

	if (!mailbox_forget(store, SPAN("INBOX"), why))
		return false;
	folder_dir(to, dir);
	if (maildir_make(v, dir, why)) {
		while (n < INBOX_PARTS && move_part(v, dir, n, false))
			n++;
		if (n < INBOX_PARTS || v->ops->sync_dir(v, dir) < 0)
			(void)fail_errno(why, 0, "The mailbox cannot be renamed");
		else if (maildir_make(v, "", why)) {
			(void)v->ops->unlink(v, "dovecot-uidlist");
			return true;
		}
	}
	while (n > 0)
		undone &= move_part(v, dir, --n, true);
	if (undone)
		remove_empty(v, dir);
	else
		(void)maildir_make(v, dir, NULL); /* what came to INBOX meanwhile keeps the others out: they can be read there */
	return false;
}

struct renaming {
	struct store *store;
	struct span from, to;
	struct names all; /* the folder and its inferiors, as they are called before */
};

static bool
new_name(const struct renaming *r, size_t i, char out[STORE_NAME_MAX + 1])
{
	int n = snprintf(out, STORE_NAME_MAX + 1, "%.*s%s", SPAN_ARG(r->to), r->all.all[i] + r->from.n);

	return n > 0 && n <= STORE_NAME_MAX && name_valid(span_str(out));
}

static int
by_length(const void *a, const void *b)
{
	size_t one = strlen(a), other = strlen(b);

	return (one > other) - (one < other);
}

/* The shorter names go first: where A.b becomes A, A.b.b becomes what A.b was. */
static void
keep_concerned(struct renaming *r)
{
	struct names *l = &r->all;
	size_t to = 0;

	for (size_t i = 0; i < l->n; i++) {
		struct span name = span_str(l->all[i]);

		if (span_starts(name, r->from) && (name.n == r->from.n || name.p[r->from.n] == '.'))
			memmove(l->all[to++], l->all[i], sizeof(*l->all));
	}
	l->n = to;
	if (to)
		qsort(l->all, to, sizeof(*l->all), by_length);
}

static bool
may_rename(const struct renaming *r, size_t i, struct fail *why)
{
	char fresh[STORE_NAME_MAX + 1];

	if (!new_name(r, i, fresh))
		return fail_set(why, FAIL_PERM, 0, "This is not a valid mailbox name");
	if (names_find(&r->all, span_str(fresh)) == SIZE_MAX && store_exists(r->store, span_str(fresh)))
		return fail_set(why, FAIL_PERM, 0, "The mailbox exists already");
	return mailbox_forget(r->store, span_str(r->all.all[i]), why);
}

static bool
rename_one(const struct renaming *r, size_t i, bool back)
{
	char a[STORE_NAME_MAX + 2], b[STORE_NAME_MAX + 2], fresh[STORE_NAME_MAX + 1];

	folder_dir(span_str(r->all.all[i]), a);
	if (!new_name(r, i, fresh))
		return false;
	folder_dir(span_str(fresh), b);
	return r->store->vfs->ops->rename(r->store->vfs, back ? b : a, back ? a : b) == 0;
}

/* Finds what is concerned: of INBOX no folder, its messages go. */
static bool
plan(struct renaming *r, struct fail *why)
{
	if (!check_new(r->store, r->to, why))
		return false;
	if (span_eq(r->from, SPAN("INBOX")))
		return true;
	if (span_starts(r->to, r->from) && r->to.n > r->from.n && r->to.p[r->from.n] == '.')
		return fail_set(why, FAIL_PERM, 0, "A mailbox cannot become its own child");
	if (!list_folders(r->store, &r->all, why))
		return false;
	keep_concerned(r);
	for (size_t i = 0; i < r->all.n; i++)
		if (!may_rename(r, i, why))
			return false;
	return r->all.n || fail_set(why, FAIL_PERM, 0, "There is no such mailbox");
}

bool
store_may_rename(struct store *store, struct span from, struct span to, struct fail *why)
{
	struct renaming r = { .store = store, .from = name_fold(from), .to = name_fold(to) };
	bool ok = plan(&r, why);

	free(r.all.all);
	return ok;
}

/* All or none. */
static bool
rename_all(const struct renaming *r, struct fail *why)
{
	size_t n = 0;

	while (n < r->all.n && rename_one(r, n, false))
		n++;
	if (n == r->all.n && r->store->vfs->ops->sync_dir(r->store->vfs, "") == 0)
		return true;
	(void)fail_errno(why, 0, "The mailbox cannot be renamed");
	while (n > 0)
		(void)rename_one(r, --n, true);
	return false;
}

bool
store_rename(struct store *store, struct span from, struct span to, struct fail *why)
{
	struct renaming r = { .store = store, .from = name_fold(from), .to = name_fold(to) };
	bool ok = plan(&r, why);

	if (ok && !r.all.n)
		return rename_inbox(store, r.to, why);
	ok = ok && rename_all(&r, why);
	free(r.all.all);
	if (ok)
		metadata_moved(store, r.from, r.to);
	return ok;
}
