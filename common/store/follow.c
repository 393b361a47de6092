/* SPDX-License-Identifier: ISC
 *
 * The lazy half of a folder: file names get the letters of the flags, files
 * leave new/ for cur/, and files of expunged messages are removed; in batches on a
 * worker thread, one batch a folder at a time.  The index hears of it only
 * after the directory is durable: what it believes of a name is never newer than the disk.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log/log.h"
#include "store/state.h"

enum {
	FOLLOW_MS = 200,  /* several changes in a row make one rename */
	BATCH_MAX = 512,
};

enum step_kind { STEP_RENAME, STEP_REMOVE };

struct step {
	enum step_kind kind;
	uint32_t uid, letters;
	bool from_new, ok;
	char from[MAILDIR_NAME_MAX + 5], to[MAILDIR_NAME_MAX + 5];
};

struct follow_job {
	struct work work;
	struct mailbox *mailbox;
	struct vfs *vfs;
	size_t n;
	bool synced;
	struct step steps[BATCH_MAX];
};

bool
follow_busy(const struct mailbox *mb)
{
	return mb->job != NULL;
}

bool
follow_renaming(const struct mailbox *mb, uint32_t uid, char path[MAILDIR_NAME_MAX + 5])
{
	for (size_t i = 0; mb->job && i < mb->job->n; i++) {
		const struct step *s = &mb->job->steps[i];

		if (s->uid != uid || s->kind != STEP_RENAME)
			continue;
		memcpy(path, s->to, sizeof(s->to));
		return true;
	}
	return false;
}

/* ---- on a thread ---- */

static void
run(struct work *w)
{
	struct follow_job *job = OWNER_OF(w, struct follow_job, work);
	const struct vfs_ops *ops = job->vfs->ops;
	bool any_new = false;

	for (size_t i = 0; i < job->n; i++) {
		struct step *s = &job->steps[i];

		if (s->kind == STEP_RENAME)
			s->ok = ops->rename(job->vfs, s->from, s->to) == 0;
		else
			s->ok = ops->unlink(job->vfs, s->from) == 0 || errno == ENOENT;
		any_new |= s->from_new;
	}
	job->synced = ops->sync_dir(job->vfs, "cur") == 0 && (!any_new || ops->sync_dir(job->vfs, "new") == 0);
}

/* ---- what came of it ---- */

static void
put_done(struct mailbox *mb, unsigned type, union record *r, struct span *field, const struct uidset *uids)
{
	if (!uidset_empty(uids))
		(void)indexfile_put_uids(&mb->file, type, r, field, uids, NULL);
}

/* One record for all that got the same letters. */
static void
record_renames(struct mailbox *mb, struct follow_job *job)
{
	for (size_t i = 0; i < job->n; i++) {
		struct step *s = &job->steps[i];
		union record r = { .named = { .letters = s->letters } };
		struct uidset uids;

		if (s->kind != STEP_RENAME || !s->ok)
			continue;
		uidset_init(&uids);
		for (size_t k = i; k < job->n; k++)
			if (job->steps[k].kind == STEP_RENAME && job->steps[k].ok && job->steps[k].letters == s->letters) {
				uidset_add(&uids, job->steps[k].uid, job->steps[k].uid);
				job->steps[k].ok = k == i; /* done with it */
			}
		put_done(mb, RECORD_named, &r, &r.named.uids, &uids);
		uidset_free(&uids);
	}
}

static void
record_removals(struct mailbox *mb, const struct follow_job *job)
{
	union record r = { .removed = { .uids = SPAN_NONE } };
	struct uidset uids;

	uidset_init(&uids);
	for (size_t i = 0; i < job->n; i++)
		if (job->steps[i].kind == STEP_REMOVE && job->steps[i].ok)
			uidset_add(&uids, job->steps[i].uid, job->steps[i].uid);
	put_done(mb, RECORD_removed, &r, &r.removed.uids, &uids);
	uidset_free(&uids);
}

static void next_batch(struct mailbox *mb);

static void
done(struct work *w)
{
	struct follow_job *job = OWNER_OF(w, struct follow_job, work);
	struct mailbox *mb = job->mailbox;
	bool lost = false;

	for (size_t i = 0; i < job->n; i++)
		lost |= job->steps[i].kind == STEP_RENAME && !job->steps[i].ok;
	notice_read(mb->store); /* events of our doing, while we still know them */
	if (job->synced) {
		record_renames(mb, job);
		record_removals(mb, job);
	}
	mb->dirty |= lost; /* somebody else moved a file: find out */
	mb->job = NULL;
	free(job);
	indexfile_tidy(&mb->file);
	if (!mb->failed)
		next_batch(mb);
}

/* ---- batches ---- */

static void
add_removals(struct mailbox *mb, struct follow_job *job)
{
	const struct index *ix = &mb->file.ix;

	for (size_t i = 0; i < ix->ndoomed && job->n < BATCH_MAX; i++) {
		const struct message *m = &ix->doomed[i];
		struct step *s = &job->steps[job->n];

		*s = (struct step){ .kind = STEP_REMOVE, .uid = m->uid, .from_new = m->bits & MESSAGE_NEW };
		if (!index_path(ix, m, s->from))
			continue;
		job->n++;
		notice_own(mb, s->from);
	}
}

static void
add_renames(struct mailbox *mb, struct follow_job *job)
{
	const struct index *ix = &mb->file.ix;
	size_t at;

	for (at = index_place(ix, mb->lag_lo); at < ix->n && ix->messages[at].uid <= mb->lag_hi && job->n < BATCH_MAX; at++) {
		const struct message *m = &ix->messages[at];
		struct step *s = &job->steps[job->n];

		if (!index_lags(m))
			continue;
		*s = (struct step){ .kind = STEP_RENAME, .uid = m->uid, .from_new = m->bits & MESSAGE_NEW, .letters = index_letters(m) };
		if (!index_path(ix, m, s->from) || !maildir_path(s->to, index_base(ix, m), SPAN_NONE, s->letters, false))
			continue;
		job->n++;
		notice_own(mb, s->from);
	}
	mb->lag_lo = at < ix->n && ix->messages[at].uid <= mb->lag_hi ? ix->messages[at].uid : 0;
}

static void
next_batch(struct mailbox *mb)
{
	struct follow_job *job;

	if (mb->job || mb->holds || (!mb->lag_lo && !mb->file.ix.ndoomed) || !(job = malloc(sizeof(*job))))
		return;
	job->mailbox = mb;
	job->vfs = mb->vfs;
	job->n = 0;
	add_removals(mb, job);
	if (mb->lag_lo)
		add_renames(mb, job);
	if (job->n == 0) {
		free(job);
		return;
	}
	job->work = (struct work){ .run = run, .done = done };
	mb->job = job;
	worker_submit(mb->store->pool, &job->work);
}

static void
on_follow(struct timer *t)
{
	next_batch(OWNER_OF(t, struct mailbox, follow));
}

void
follow_later(struct mailbox *mb, uint32_t lo, uint32_t hi)
{
	if (!mb->follow.on_fire)
		timer_init(&mb->follow, mb->store->loop, on_follow);
	if (lo && (!mb->lag_lo || lo < mb->lag_lo))
		mb->lag_lo = lo;
	if (hi > mb->lag_hi)
		mb->lag_hi = hi;
	if ((lo || mb->file.ix.ndoomed) && !timer_running(&mb->follow))
		(void)timer_set(&mb->follow, FOLLOW_MS);
}

void
follow_hold(struct mailbox *mb)
{
	mb->holds++;
}

void
follow_release(struct mailbox *mb)
{
	if (--mb->holds == 0 && (mb->lag_lo || mb->file.ix.ndoomed) && !timer_running(&mb->follow))
		(void)timer_set(&mb->follow, FOLLOW_MS);
}
