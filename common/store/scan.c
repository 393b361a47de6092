/* SPDX-License-Identifier: ISC
 *
 * What other programs did to the Maildir is found by comparing its file names
 * with those the index believes in: a file that it does not know is a new message, a missing
 * one was deleted, other letters are a flag change that is merged: only what
 * differs from what we knew of the name is changed in the flags.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log/log.h"
#include "store/found.h"
#include "store/listing.h"
#include "store/state.h"
#include "store/stock.h"

enum {
	YOUNG_NS = 1000000000, /* a directory changed so lately may change again without its time telling */
	DOOMED_FEW = 1000,     /* more are looked up in a table, which is made for a whole scan */
};

struct scan {
	struct mailbox *mb;
	struct index_names doomed;
	uint8_t *seen; /* by place; owned */
	size_t nseen;
	struct found candidates;
	bool in_new, failed, only_look;
};

/* ---- one name that the index knows ---- */

static bool
merge_letters(struct mailbox *mb, uint32_t uid, uint32_t before, uint32_t now)
{
	uint32_t sets[2] = { now & ~before, before & ~now };
	bool ok = true;

	for (size_t i = 0; i < 2; i++) {
		union record r = { .flags = {
			.op = i == 0 ? FLAGS_ADD : FLAGS_REMOVE,
			.flags = sets[i] & LETTER_FLAGS,
			.keywords = sets[i] >> LETTER_KEYWORD_SHIFT,
			.modseq = mb->file.ix.modseq + 1,
		} };
		struct buf one;

		if (!r.flags.flags && !r.flags.keywords)
			continue;
		buf_init(&one, 8);
		record_put_uids(&one, &(struct uid_range){ uid, uid }, 1);
		r.flags.uids = buf_span(&one);
		ok &= change_put(mb, RECORD_flags, &r, NULL);
		buf_free(&one);
	}
	LIST_EACH(&mb->views, it)
		uidset_add(&OWNER_OF(it, struct view, node)->changed, uid, uid);
	return ok;
}

/* Of two files of one base name, as a backup may bring one back, the known one is the message: else the flags
 * would go to and fro. */
static bool
is_there(struct mailbox *mb, const struct message *m)
{
	char path[MAILDIR_NAME_MAX + 5];
	struct vfs_stat st;

	return index_path(&mb->file.ix, m, path) && mb->vfs->ops->stat(mb->vfs, path, &st) == 0;
}

static void
take_name(struct mailbox *mb, const struct message *m, const struct maildir_name *name, bool in_new)
{
	char path[MAILDIR_NAME_MAX + 5], target[MAILDIR_NAME_MAX + 5];
	union record r = { .renamed = { .uid = m->uid, .letters = name->letters, .bits = in_new ? MESSAGE_NEW : 0, .odd = name->odd } };
	uint32_t before = m->letters, meant;

	if (follow_renaming(mb, m->uid, target)) {
		/* At our own doing, or at what another did behind it: its name is not
		 * known before ours is done, so it is looked at then. */
		if (!maildir_path(path, name->base, name->odd, name->letters, in_new) || strcmp(path, target) != 0)
			mb->dirty = true;
		return;
	}
	if (before == name->letters && in_new == !!(m->bits & MESSAGE_NEW) && span_eq(index_odd(&mb->file.ix, m), name->odd))
		return;
	if (is_there(mb, m))
		return;
	if (!in_new && !name->odd.n && index_intent(&mb->file.ix, m->uid, &meant) && meant == name->letters)
		before = meant; /* we did it, before a crash */
	if ((before != name->letters && !merge_letters(mb, r.renamed.uid, before, name->letters)) || !change_put(mb, RECORD_renamed, &r, NULL)) {
		mb->dirty = true; /* the index may have room for it later */
		return;
	}
	follow_later(mb, r.renamed.uid, r.renamed.uid);
}

static bool
is_incoming(const struct mailbox *mb, struct span base)
{
	for (const struct list *it = mb->incoming.next; it != &mb->incoming; it = it->next)
		if (span_starts(base, span_str(OWNER_OF(it, const struct incoming, node)->base)))
			return true;
	return false;
}

static bool
arrive(struct mailbox *mb, const struct maildir_name *name, bool in_new, struct fail *why)
{
	struct record_message r;

	takeover_record(mb->vfs, name, in_new, &r);
	if (!change_arrive(mb, &r, why))
		return false;
	if (name->size == UINT64_MAX) /* by a program that keeps no quota file either */
		store_added(mb->store, r.size, 1);
	return true;
}

bool
scan_names(struct mailbox *mb)
{
	return mb->names.slots || index_names_build(&mb->names, &mb->file.ix, false);
}

/* ---- one file ---- */

static bool
is_doomed(const struct mailbox *mb, struct span base)
{
	const struct index *ix = &mb->file.ix;

	for (size_t i = 0; i < ix->ndoomed; i++)
		if (span_eq(index_base(ix, &ix->doomed[i]), base))
			return true;
	return false;
}

bool
scan_arrival(struct mailbox *mb, struct span file, bool in_new)
{
	struct maildir_name name;
	struct message *m;

	if (!maildir_name_parse(file, &name) || is_incoming(mb, name.base))
		return true;
	if (!scan_names(mb))
		return false;
	if ((m = index_names_find(&mb->names, &mb->file.ix, name.base))) {
		take_name(mb, m, &name, in_new);
		return true;
	}
	if (mb->file.ix.ndoomed > DOOMED_FEW)
		return false;
	return is_doomed(mb, name.base) || arrive(mb, &name, in_new, NULL);
}

/* ---- all files ---- */

static bool
each_file(void *arg, const char *file)
{
	struct scan *s = arg;
	struct mailbox *mb = s->mb;
	struct maildir_name name;
	struct message *m;
	size_t place;

	if (!maildir_name_parse(span_str(file), &name))
		return true;
	m = index_names_find(&mb->names, &mb->file.ix, name.base);
	if (m) {
		place = (size_t)(m - mb->file.ix.messages);
		if (place < s->nseen)
			s->seen[place] = 1;
		if (!s->only_look)
			take_name(mb, m, &name, s->in_new);
		return true;
	}
	if (s->only_look || is_incoming(mb, name.base) || index_names_find(&s->doomed, &mb->file.ix, name.base))
		return true;
	s->failed |= !found_add(&s->candidates, span_str(file), &name, s->in_new);
	return !s->failed;
}

static bool
list_both(struct scan *s, struct fail *why)
{
	struct vfs *v = s->mb->vfs;

	/* new/ first: what goes from there to cur/ meanwhile is then seen at least once. */
	s->in_new = true;
	if (listing_each(v, s->mb->store->pool, "new", each_file, s) < 0)
		return fail_errno(why, 0, "cannot read the Maildir");
	s->in_new = false;
	if (listing_each(v, s->mb->store->pool, "cur", each_file, s) < 0)
		return fail_errno(why, 0, "cannot read the Maildir");
	return !s->failed || fail_set(why, FAIL_TEMP, 0, "out of memory for a mailbox, or too many files in it");
}

static bool
all_seen(const struct scan *s)
{
	return s->nseen == 0 || !memchr(s->seen, 0, s->nseen);
}

/* Its name in cur/ was not durable at the end without notice: that in tmp/ is there. */
static bool
put_back(struct mailbox *mb, const struct message *m)
{
	char path[MAILDIR_NAME_MAX + 5];

	return index_path(&mb->file.ix, m, path) && stock_restore(mb->vfs, index_base(&mb->file.ix, m), path);
}

/* Nothing of theirs is left to be removed: a file that comes back is an arrival. */
static void
expunge_gone(struct mailbox *mb, struct uidset *uids)
{
	union record r = { .removed = { .uids = SPAN_NONE } };

	mb->dirty |= !change_expunge(mb, uids, NULL); /* the index may have room for it later */
	if (!uidset_empty(uids))
		(void)indexfile_put_uids(&mb->file, RECORD_removed, &r, &r.removed.uids, uids, NULL);
}

static bool
expunge_missing(struct scan *s, struct fail *why)
{
	struct mailbox *mb = s->mb;
	struct uidset missing;
	size_t restored = 0;

	if (all_seen(s))
		return true;
	/* A file that is renamed while a directory is read may be missed: look again. */
	s->only_look = true;
	if (!list_both(s, why))
		return false;
	uidset_init(&missing);
	for (size_t i = 0; i < s->nseen; i++) {
		uint32_t uid = mb->file.ix.messages[i].uid;
		char target[MAILDIR_NAME_MAX + 5];

		if (s->seen[i])
			continue;
		if (mb->opening && put_back(mb, &mb->file.ix.messages[i]))
			restored++;
		else if (linking_from(mb, uid))
			mb->store->linking->missed = true;
		else if (follow_renaming(mb, uid, target))
			mb->dirty = true; /* missed between two names, or gone: once ours is done, one sees */
		else
			uidset_add(&missing, uid, uid);
	}
	expunge_gone(mb, &missing);
	uidset_free(&missing);
	if (!restored)
		return true;
	log_put(LOG_mailbox, "folder=%s messages=%zu of APPEND were put in their places after an end without notice", mb->name, restored);
	return mb->vfs->ops->sync_dir(mb->vfs, "cur") == 0 || fail_errno(why, 0, "cannot sync directory cur");
}

static bool
take_candidates(struct scan *s, struct fail *why)
{
	struct found *f = &s->candidates;
	bool ok = f->n == 0 || found_sort(f) || fail_set(why, FAIL_TEMP, 0, "out of memory for a mailbox");

	for (size_t i = 0; ok && i < f->n; i++) {
		struct maildir_name name;

		/* The same file may have been seen in new/ and then in cur/. */
		found_parts(f, &f->files[i], &name);
		if (!index_names_find(&s->mb->names, &s->mb->file.ix, name.base))
			ok = arrive(s->mb, &name, f->files[i].in_new, why);
	}
	return ok;
}

static uint64_t
stamp_of(struct mailbox *mb, const char *dir)
{
	struct vfs_stat st;
	struct timespec now;

	if (mb->vfs->ops->stat(mb->vfs, dir, &st) < 0 || clock_gettime(CLOCK_REALTIME, &now) < 0)
		return 0;
	if (st.mtime_ns <= 0 || st.mtime_ns + YOUNG_NS > (int64_t)now.tv_sec * 1000000000 + now.tv_nsec)
		return 0;
	return (uint64_t)st.mtime_ns;
}

bool
scan_all(struct mailbox *mb, struct fail *why)
{
	struct scan s = { .mb = mb, .nseen = mb->file.ix.n };
	union record stamps = { .stamps = { stamp_of(mb, "new"), stock_unsettled(mb) ? 0 : stamp_of(mb, "cur") } };
	bool ok;

	found_init(&s.candidates);
	mb->dirty = false;
	s.seen = calloc(s.nseen ? s.nseen : 1, 1);
	ok = (s.seen && scan_names(mb) && index_names_build(&s.doomed, &mb->file.ix, true)) ||
	    fail_set(why, FAIL_TEMP, 0, "out of memory for a mailbox");
	ok = ok && list_both(&s, why) && expunge_missing(&s, why) && take_candidates(&s, why);
	if (ok && mb->opening)
		stock_sweep(mb->vfs);
	if (mb->dirty) /* something found no room: who opens the folder next looks once more */
		stamps.stamps.new_ns = stamps.stamps.cur_ns = 0;
	/* On a full disk they are known here, and who opens the folder next looks once more. */
	if (ok && !change_put(mb, RECORD_stamps, &stamps, why))
		ok = !mb->failed && index_apply(&mb->file.ix, RECORD_stamps, &stamps);
	mb->dirty |= !ok;
	free(s.seen);
	found_free(&s.candidates);
	index_names_free(&s.doomed);
	if (ok) {
		change_show(mb);
		change_pending(mb, NULL);
	}
	return ok;
}

bool
scan_most(struct mailbox *mb, struct fail *why)
{
	struct fail local;

	if (scan_all(mb, &local) || local.class == FAIL_LIMIT)
		return true;
	if (why)
		*why = local;
	return false;
}

bool
scan_stale(struct mailbox *mb)
{
	const struct index *ix = &mb->file.ix;
	struct vfs_stat a, b;

	if (!ix->stamp_new || !ix->stamp_cur || mb->dirty)
		return true;
	if (mb->vfs->ops->stat(mb->vfs, "new", &a) < 0 || mb->vfs->ops->stat(mb->vfs, "cur", &b) < 0)
		return true;
	return (uint64_t)a.mtime_ns != ix->stamp_new || (uint64_t)b.mtime_ns != ix->stamp_cur;
}

void
scan_stamp(struct mailbox *mb)
{
	union record r = { .stamps = { stamp_of(mb, "new"), stamp_of(mb, "cur") } };

	/* First the times, then what happened until they were taken. */
	notice_read(mb->store);
	(void)timer_set(&mb->store->poll, 1); /* for what that was to other folders */
	if (mb->dirty || mb->watch_new < 0 || mb->watch_cur < 0)
		return;
	if (r.stamps.new_ns != mb->file.ix.stamp_new || r.stamps.cur_ns != mb->file.ix.stamp_cur)
		(void)change_put(mb, RECORD_stamps, &r, NULL);
}
