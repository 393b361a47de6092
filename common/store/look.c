/* SPDX-License-Identifier: ISC */
#include "store/look.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "store/name.h"
#include "store/state.h"
#include "store/stock.h"

/* ---- folders ---- */

struct lister {
	char (*names)[STORE_NAME_MAX + 1];
	size_t n;
};

static bool
each_entry(void *arg, const char *entry)
{
	struct lister *l = arg;
	void *more;

	if (entry[0] != '.' || !name_valid(span_str(entry + 1)))
		return true;
	if (l->n == STORE_FOLDERS_MAX || !(more = realloc(l->names, (l->n + 1) * sizeof *l->names)))
		return false;
	l->names = more;
	return span_cstr(span_str(entry + 1), l->names[l->n], sizeof *l->names) && ++l->n;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

bool
look_folders(int base, bool (*each)(void *, struct span), void *arg, struct fail *why)
{
	struct vfs *v = maildir_vfs(base, "", why);
	struct lister l = { .n = 0 };
	bool ok = v && (v->ops->list(v, "", each_entry, &l) >= 0 || fail_errno(why, 0, "the folders cannot be listed"));

	if (ok && l.n)
		qsort(l.names, l.n, sizeof *l.names, by_name);
	ok = ok && each(arg, SPAN("INBOX"));
	for (size_t i = 0; ok && i < l.n; i++) {
		char dir[STORE_NAME_MAX + 2];

		folder_dir(span_str(l.names[i]), dir);
		ok = !maildir_exists(v, dir) || each(arg, span_str(l.names[i]));
	}
	free(l.names);
	if (v)
		vfs_posix_free(&v);
	return ok;
}

/* ---- one folder ---- */

struct comparing {
	struct look *out;
	struct vfs *vfs;
	const struct index *ix;
	struct index_names live, doomed;
	char *seen; /* by place */
	bool in_new;
};

static void
count_arrival(struct comparing *c, const struct maildir_name *name)
{
	struct mailbox_status *arrived = &c->out->arrived;
	struct record_message r;

	takeover_record(c->vfs, name, c->in_new, &r);
	arrived->messages++;
	arrived->unseen += !(r.flags & LETTER_SEEN);
	arrived->deleted += (r.flags & LETTER_DELETED) != 0;
	arrived->size += r.size;
}

static bool
each_file(void *arg, const char *file)
{
	struct comparing *c = arg;
	struct maildir_name name;
	struct message *m;

	if (!maildir_name_parse(span_str(file), &name))
		return true;
	c->out->files++;
	if ((m = index_names_find(&c->live, c->ix, name.base))) {
		c->seen[m - c->ix->messages] = 1;
		if (!c->in_new && (name.letters & LETTER_FLAGS) != (index_letters(m) & LETTER_FLAGS))
			c->out->renamed++;
	} else if (!index_names_find(&c->doomed, c->ix, name.base)) {
		count_arrival(c, &name);
	}
	return true;
}

/* Messages whose files are still to be linked are not missing. */
static bool
see_promised(struct comparing *c, int base, const char *dir, struct fail *why)
{
	struct vfs *v = maildir_vfs(base, "", why);
	char prefix[STORE_NAME_MAX + 8];
	struct promise p;
	bool ok = v != NULL;

	promise_init(&p);
	ok = ok && promise_load(&p, v, NULL, why);
	(void)snprintf(prefix, sizeof(prefix), "%s%scur/", dir, *dir ? "/" : "");
	for (size_t i = 0; i < p.n; i++) {
		struct span to = span_str(promise_to(&p, i));
		struct message *m;

		if (!span_starts(to, span_str(prefix)))
			break; /* all are of one folder */
		to = span_from(to, strlen(prefix));
		if ((m = index_names_find(&c->live, c->ix, span_sub(to, 0, span_chr(to, ':')))))
			c->seen[m - c->ix->messages] = 1;
	}
	promise_free(&p);
	if (v)
		vfs_posix_free(&v);
	return ok;
}

static bool
compare(int base, const char *dir, struct vfs *v, const struct index *ix, struct look *out, struct fail *why)
{
	struct comparing c = { .out = out, .vfs = v, .ix = ix, .seen = calloc(ix->n + 1, 1) };
	bool ok = c.seen && index_names_build(&c.live, ix, false) && index_names_build(&c.doomed, ix, true);
	char in_tmp[MAILDIR_BASE_MAX + 5];

	if (!ok)
		(void)fail_set(why, FAIL_TEMP, 0, "out of memory for a mailbox");
	ok = ok && see_promised(&c, base, dir, why); /* first: what is kept meanwhile is seen then */
	c.in_new = true;
	out->incomplete |= ok && v->ops->list(v, "new", each_file, &c) < 0;
	c.in_new = false;
	out->incomplete |= ok && v->ops->list(v, "cur", each_file, &c) < 0;
	out->incomplete |= !maildir_exists(v, "");
	for (size_t i = 0; ok && i < ix->n; i++)
		out->missing += !c.seen[i] && !stock_find(v, index_base(ix, &ix->messages[i]), in_tmp);
	free(c.seen);
	index_names_free(&c.live);
	index_names_free(&c.doomed);
	return ok;
}

static void
count(const struct index *ix, struct mailbox_status *out)
{
	*out = (struct mailbox_status){
		.messages = (uint32_t)ix->n,
		.recent = (uint32_t)(ix->n - index_place(ix, ix->recent_from)),
		.unseen = ix->unseen,
		.deleted = ix->deleted,
		.uidnext = ix->uidnext,
		.uidvalidity = ix->uidvalidity,
		.highest_modseq = ix->modseq,
		.size = ix->total,
	};
}

static void
look_search(struct vfs *v, const struct index *ix, bool whole, struct look *out)
{
	struct searchfile f;

	searchfile_init(&f);
	if (searchfile_open(&f, v, SEARCHFILE_NAME, ix->uidvalidity, VFS_READ)) {
		out->search_damaged = whole && !searchfile_verify(&f);
		out->searchable = (uint32_t)index_place(ix, searchfile_last(&f) + 1);
		out->search_size = f.end;
	}
	searchfile_close(&f);
}

bool
look_folder(int base, struct span folder, bool whole, struct look *out, struct fail *why)
{
	char dir[STORE_NAME_MAX + 2];
	struct indexfile f = { .vfs = NULL };
	enum indexfile_found found = INDEXFILE_NONE;
	struct vfs *v;
	bool ok;

	*out = (struct look){ .state = LOOK_NEW };
	folder_dir(name_fold(folder), dir);
	if (!(v = maildir_vfs(base, dir, why)))
		return false;
	if (v->ops->stat(v, INDEXFILE_DIR, &(struct vfs_stat){ .dir = false }) < 0) { /* no journal to be opened */
		index_init(&f.ix);
		ok = errno == ENOENT || fail_errno(why, 0, "the index cannot be read");
	} else {
		ok = indexfile_look(&f, v, &found, why);
	}
	if (ok) {
		out->state = found == INDEXFILE_GOOD ? LOOK_GOOD : found == INDEXFILE_LOST ? LOOK_LOST : LOOK_NEW;
		out->damaged = f.damaged;
		count(&f.ix, &out->status);
		look_search(v, &f.ix, whole, out);
		ok = compare(base, dir, v, &f.ix, out, why);
	}
	indexfile_close(&f);
	vfs_posix_free(&v);
	return ok;
}

/* ---- repair ---- */

bool
look_lock(int base, struct fail *why)
{
	struct vfs *v;
	bool ok;

	if (flock(base, LOCK_EX | LOCK_NB) < 0)
		return fail_set(why, FAIL_TEMP, 0, "the mailbox is in use: its mailboxd runs");
	if (!(v = maildir_vfs(base, "", why)))
		return false;
	ok = promise_redo(v, why);
	vfs_posix_free(&v);
	return ok;
}

bool
look_repair(struct store *store, struct span folder, struct fail *why)
{
	char dir[STORE_NAME_MAX + 2];
	struct mailbox *mb;
	bool ok;

	folder_dir(name_fold(folder), dir);
	if (!maildir_make(store->vfs, dir, why) || !(mb = mailbox_use(store, folder, why)))
		return false;
	facts_close(&mb->facts);
	facts_init(&mb->facts, mb->vfs);
	(void)mb->vfs->ops->unlink(mb->vfs, FACTS_NAME);
	signing_drop(mb);
	for (size_t i = 0; i < mb->file.ix.n; i++)
		mb->file.ix.messages[i].facts = 0;
	ok = scan_all(mb, why) && change_show_now(mb, why) && indexfile_start(&mb->file, why);
	mailbox_unuse(mb);
	return ok;
}
