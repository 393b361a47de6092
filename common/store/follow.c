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
#include <time.h>

#include "log/log.h"
#include "store/kept.h"
#include "store/state.h"

enum {
	FOLLOW_MS = 200,  /* several changes in a row make one rename */
	STUCK_MS = 60 * 1000, /* a file could not be removed */
	BATCH_MAX = 512,
};

enum step_kind { STEP_RENAME, STEP_REMOVE };

struct step {
	enum step_kind kind;
	uint32_t uid, letters;
	bool from_new, ok, missing, keep;
	char from[MAILDIR_NAME_MAX + 5], to[MAILDIR_NAME_MAX + 5];
};

struct follow_job {
	struct work work;
	struct journal_ticket meant; /* the intents are durable */
	struct mailbox *mailbox;
	struct vfs *vfs;
	size_t n;
	int64_t now;  /* Unix time: for what is kept */
	int err;      /* of the last removal that failed */
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

struct seeker {
	struct follow_job *job;
	const char *dir;
};

static struct span
base_of(const char *path)
{
	struct span name = span_from(span_str(path), 4); /* behind "cur/" */

	return span_sub(name, 0, span_chr(name, ':'));
}

/* Out of the folder: to the kept ones, or for good where that cannot be. -1 and errno. */
static int
take_away(const struct follow_job *job, const struct step *s, const char *path)
{
	const struct vfs_ops *ops = job->vfs->ops;
	char to[KEPT_PATH_MAX];

	if (s->keep) {
		kept_path(to, job->now, s->uid, path);
		if (ops->rename(job->vfs, path, to) == 0)
			return 0;
	}
	return ops->unlink(job->vfs, path);
}

/* A file that is to be removed and was renamed by somebody else goes, too. */
static bool
each_file(void *arg, const char *name)
{
	const struct seeker *s = arg;
	char path[MAILDIR_NAME_MAX + 5];

	(void)snprintf(path, sizeof(path), "%s/%s", s->dir, name);
	for (size_t i = 0; i < s->job->n; i++)
		if (s->job->steps[i].missing && span_eq(base_of(path), base_of(s->job->steps[i].from)))
			(void)take_away(s->job, &s->job->steps[i], path);
	return true;
}

static void
run(struct work *w)
{
	struct follow_job *job = OWNER_OF(w, struct follow_job, work);
	const struct vfs_ops *ops = job->vfs->ops;
	bool any_new = false, any_kept = false, missing = false;

	for (size_t i = 0; i < job->n; i++) {
		struct step *s = &job->steps[i];

		if (s->keep && !any_kept)
			any_kept = ops->mkdir(job->vfs, KEPT_DIR) == 0;

		if (s->kind == STEP_RENAME)
			s->ok = ops->rename(job->vfs, s->from, s->to) == 0;
		else if (!(s->ok = take_away(job, s, s->from) == 0) && errno == ENOENT)
			missing = s->ok = s->missing = true;
		else if (!s->ok)
			job->err = errno;
		any_new |= s->from_new;
	}
	if (missing) {
		struct seeker seeker = { job, "cur" };

		(void)ops->list(job->vfs, "cur", each_file, &seeker);
		seeker.dir = "new";
		(void)ops->list(job->vfs, "new", each_file, &seeker);
	}
	if (any_kept)
		(void)ops->sync_dir(job->vfs, KEPT_DIR);
	job->synced = ops->sync_dir(job->vfs, "cur") == 0 && (!any_new || ops->sync_dir(job->vfs, "new") == 0);
}

/* ---- what came of it ---- */

static void
put_done(struct mailbox *mb, unsigned type, union record *r, struct span *field, const struct uidset *uids)
{
	if (!uidset_empty(uids))
		(void)indexfile_put_uids(&mb->file, type, r, field, uids, NULL);
}

/* One record for all that get the same letters. */
static void
record_renames(struct mailbox *mb, struct follow_job *job, enum record_type type)
{
	bool first = true;

	for (size_t i = 0; i < job->n; i++) {
		struct step *s = &job->steps[i];
		union record r;
		struct uidset uids;

		if (s->kind != STEP_RENAME || !s->ok)
			continue;
		uidset_init(&uids);
		for (size_t k = i; k < job->n; k++)
			if (job->steps[k].kind == STEP_RENAME && job->steps[k].ok && job->steps[k].letters == s->letters) {
				uidset_add(&uids, job->steps[k].uid, job->steps[k].uid);
				job->steps[k].ok = false; /* has been counted */
			}
		if (type == RECORD_naming) {
			r.naming = (struct record_naming){ .first = first, .letters = s->letters };
			put_done(mb, type, &r, &r.naming.uids, &uids);
		} else {
			r.named = (struct record_named){ .letters = s->letters };
			put_done(mb, type, &r, &r.named.uids, &uids);
		}
		first = false;
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
	bool lost = false, stuck = !job->synced || job->err;

	for (size_t i = 0; i < job->n; i++)
		lost |= job->steps[i].kind == STEP_RENAME && !job->steps[i].ok;
	notice_bulk(mb->store, false);
	notice_read(mb->store); /* events of our doing, while we still know them, */
	notice_forget(mb);      /* and not longer: the same name may be another's doing next */
	if (job->synced) {
		record_renames(mb, job, RECORD_named);
		record_removals(mb, job);
	}
	mb->dirty |= lost; /* somebody else moved a file: find out, */
	(void)timer_set(&mb->store->poll, 1); /* and tell what was read above */
	if (job->err)
		log_put(LOG_mailbox, "folder=%s files of expunged messages cannot be removed for now: %s", mb->name, strerror(job->err));
	mb->job = NULL;
	free(job);
	change_tidy(mb);
	if (mb->failed)
		return;
	if (stuck) /* at once it would only fail again, and again */
		(void)timer_set(&mb->follow, STUCK_MS);
	else
		next_batch(mb);
}

/* ---- batches ---- */

static void
add_removals(struct mailbox *mb, struct follow_job *job)
{
	union record r = { .removed = { .uids = SPAN_NONE } };
	const struct index *ix = &mb->file.ix;
	struct uidset shared;

	if (!ix->ndoomed || !scan_names(mb))
		return;
	uidset_init(&shared);
	for (size_t i = 0; i < ix->ndoomed && job->n < BATCH_MAX; i++) {
		const struct message *m = &ix->doomed[i];
		struct step *s = &job->steps[job->n];

		/* Two messages of one file, as older releases took them over: it stays for the other. */
		if (index_names_find(&mb->names, ix, index_base(ix, m))) {
			uidset_add(&shared, m->uid, m->uid);
			continue;
		}
		*s = (struct step){ .kind = STEP_REMOVE, .uid = m->uid, .from_new = m->bits & MESSAGE_NEW,
			.keep = mb->store->keep_s && !(m->bits & MESSAGE_MOVED) };
		if (!index_path(ix, m, s->from))
			continue;
		job->n++;
		notice_own(mb, s->from);
	}
	put_done(mb, RECORD_removed, &r, &r.removed.uids, &shared);
	uidset_free(&shared);
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
on_meant(struct journal_ticket *t, const struct fail *why)
{
	struct follow_job *job = OWNER_OF(t, struct follow_job, meant);

	if (why) {
		job->mailbox->job = NULL;
		free(job);
		return;
	}
	job->work = (struct work){ .run = run, .done = done };
	notice_bulk(job->mailbox->store, true);
	worker_submit(job->mailbox->store->pool, &job->work);
}

/* First it is said what is meant: after a crash our own renames must not be
 * taken for another program's change of flags. */
static void
begin(struct mailbox *mb, struct follow_job *job)
{
	struct fail why;

	for (size_t i = 0; i < job->n; i++)
		job->steps[i].ok = true;
	record_renames(mb, job, RECORD_naming);
	job->meant.on_durable = on_meant;
	if (!indexfile_told(&mb->file, &job->meant, &why)) {
		mb->job = NULL;
		free(job);
	}
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
	job->err = 0;
	job->now = (int64_t)time(NULL);
	add_removals(mb, job);
	if (mb->lag_lo)
		add_renames(mb, job);
	if (job->n == 0) {
		free(job);
		return;
	}
	mb->job = job;
	begin(mb, job);
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
