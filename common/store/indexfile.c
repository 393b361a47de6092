/* SPDX-License-Identifier: ISC */
#include "store/indexfile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/snapshot.h"

enum {
	SEGMENT_SIZE = 128 * 1024, /* every folder has at least one */
	TAIL_MIN = 96 * 1024,  /* records beside the snapshot before another is worth it */
	SNAPSHOT_LIMIT = 1 << 30,
	SPACE_MIN = 64 << 20, /* beside twice what a folder's first snapshot takes */
};

#define SNAPSHOT_NAME INDEXFILE_DIR "/snapshot"
#define SNAPSHOT_TEMP INDEXFILE_DIR "/snapshot.new"

/* A snapshot on its way: first the records in it become durable, then the file. */
struct snapshot_job {
	struct work work;
	struct journal_ticket ticket;
	struct indexfile *owner; /* NULL: closed meanwhile */
	struct vfs *vfs;
	struct buf file;
	journal_pos upto;
	size_t tail; /* the owner's at the start */
	bool ok, running;
	struct fail why;
};

/* ---- the snapshot file ---- */

static bool
write_file(struct vfs *v, const struct span *part, size_t n, struct fail *why)
{
	uint64_t at = 0;
	bool ok = true;
	int fd;

	(void)v->ops->unlink(v, SNAPSHOT_TEMP); /* of a crash */
	fd = v->ops->open(v, SNAPSHOT_TEMP, VFS_CREATE);
	if (fd < 0)
		return fail_errno(why, 0, "cannot create %s", SNAPSHOT_TEMP);
	for (size_t i = 0; ok && i < n; at += part[i++].n)
		ok = vfs_write_all(v, fd, part[i].p, part[i].n, at);
	ok = ok && v->ops->sync(v, fd) == 0;
	if (!ok)
		(void)fail_errno(why, 0, "cannot write %s", SNAPSHOT_TEMP);
	(void)v->ops->close(v, fd);
	if (!ok)
		return false;
	if (v->ops->rename(v, SNAPSHOT_TEMP, SNAPSHOT_NAME) < 0 || v->ops->sync_dir(v, INDEXFILE_DIR) < 0)
		return fail_errno(why, 0, "cannot name %s", SNAPSHOT_NAME);
	return true;
}

static void
unmap(struct indexfile *f)
{
	if (f->map)
		f->vfs->ops->unmap(f->vfs, f->map, f->map_size);
	f->map = NULL;
}

/* If it is there and good.  False: that cannot be said now; for an index that is taken for lost all UIDs are new ones. */
static bool
load_snapshot(struct indexfile *f, uint64_t *upto, bool *there, struct fail *why)
{
	int fd = f->vfs->ops->open(f->vfs, SNAPSHOT_NAME, VFS_READ);
	int64_t size;
	bool ok;

	*there = fd >= 0;
	if (fd < 0)
		return errno == ENOENT || fail_errno(why, 0, "cannot open %s", SNAPSHOT_NAME);
	size = f->vfs->ops->size(f->vfs, fd);
	ok = size >= 0;
	if (size > 0 && size < SNAPSHOT_LIMIT) {
		f->map_size = (size_t)size;
		f->map = f->vfs->ops->map(f->vfs, fd, f->map_size);
		ok = f->map != NULL;
	}
	if (!ok)
		(void)fail_errno(why, 0, "cannot read %s", SNAPSHOT_NAME);
	(void)f->vfs->ops->close(f->vfs, fd);
	if (f->map && snapshot_load(&f->ix, f->map, f->map_size, upto)) {
		f->snapshot_size = f->map_size;
		return true;
	}
	if (f->ix.failed)
		ok = fail_set(why, FAIL_TEMP, 0, "out of memory for an index");
	index_free(&f->ix);
	unmap(f);
	*upto = 0;
	return ok;
}

/* ---- what the journal must keep ---- */

static bool
keep(struct indexfile *f, journal_pos pos, size_t bytes)
{
	struct indexfile_segment *last = f->nsegments ? &f->segments[f->nsegments - 1] : NULL;

	f->last = pos;
	f->tail += bytes;
	journal_live(f->journal, pos, 1);
	if (last && journal_segment(last->pos) == journal_segment(pos)) {
		last->pos = pos;
		last->live++;
		return true;
	}
	if (f->nsegments == f->segments_size) {
		size_t size = f->segments_size ? f->segments_size * 2 : 4;
		struct indexfile_segment *more = realloc(f->segments, size * sizeof(*more));

		if (!more)
			return true; /* the segment is never recycled, which harms nobody */
		f->segments = more;
		f->segments_size = size;
	}
	f->segments[f->nsegments++] = (struct indexfile_segment){ pos, 1 };
	return true;
}

/* A snapshot holds everything up to `upto`.  The last segment it reaches into
 * may hold later records too and is left to the next snapshot. */
static void
release(struct indexfile *f, journal_pos upto)
{
	size_t to = 0;

	for (size_t i = 0; i < f->nsegments; i++) {
		struct indexfile_segment *s = &f->segments[i];

		if (s->pos > upto) {
			f->segments[to++] = *s;
			continue;
		}
		journal_live(f->journal, s->pos, -(int)s->live);
	}
	f->nsegments = to;
	journal_tidy(f->journal);
}

/* ---- open ---- */

struct replay {
	struct indexfile *f;
	uint64_t upto;
	size_t seen, bad;
};

static bool
on_record(void *arg, const struct journal_record *r)
{
	struct replay *rp = arg;
	union record rec;

	rp->seen++;
	if (r->pos <= rp->upto) {
		rp->f->last = r->pos;
		return true;
	}
	if (!record_decode(r->type, r->head, &rec) || !index_apply(&rp->f->ix, r->type, &rec)) {
		rp->bad++;
		return !rp->f->ix.failed;
	}
	return keep(rp->f, r->pos, r->head.n);
}

static void
on_event(void *arg, const struct fail *what)
{
	struct indexfile *f = arg;

	if (f->on_event)
		f->on_event(f->arg, what);
}

static bool
open_journal(struct indexfile *f, struct loop *loop, bool read_only, struct fail *why)
{
	struct journal_options o = {
		.vfs = f->vfs,
		.dir = INDEXFILE_DIR,
		.kind = { 'i', 'n', 'd', 'x' },
		.segment_size = SEGMENT_SIZE,
		.loop = loop,
		.pool = f->pool,
		.read_only = read_only,
		.on_event = on_event,
		.arg = f,
	};

	f->journal = journal_open(&o, why);
	return f->journal != NULL;
}

static bool
open_index(struct indexfile *f, struct vfs *v, struct loop *loop, struct worker_pool *pool, bool read_only,
    enum indexfile_found *found, struct fail *why)
{
	struct replay rp = { .f = f };
	bool there;

	f->vfs = v;
	f->pool = pool;
	index_init(&f->ix);
	if (!load_snapshot(f, &rp.upto, &there, why))
		return false;
	if (!open_journal(f, loop, read_only, why) || !journal_replay(f->journal, on_record, &rp, &f->damaged, why)) {
		if (f->ix.failed)
			(void)fail_set(why, FAIL_TEMP, 0, "out of memory for an index");
		indexfile_close(f);
		return false;
	}
	if (f->last < rp.upto)
		f->last = rp.upto;
	*found = f->ix.uidvalidity ? INDEXFILE_GOOD : there || rp.seen ? INDEXFILE_LOST : INDEXFILE_NONE;
	f->damaged += (unsigned)rp.bad;
	if (*found != INDEXFILE_GOOD) {
		index_free(&f->ix);
		unmap(f);
	}
	return true;
}

bool
indexfile_open(struct indexfile *f, struct vfs *v, struct loop *loop, struct worker_pool *pool,
    enum indexfile_found *found, struct fail *why)
{
	return open_index(f, v, loop, pool, false, found, why);
}

bool
indexfile_look(struct indexfile *f, struct vfs *v, enum indexfile_found *found, struct fail *why)
{
	return open_index(f, v, NULL, NULL, true, found, why);
}

/* Of all that has been put; ix may leave out the messages (indexfile_begin()). */
static bool
write_snapshot(struct indexfile *f, const struct index *ix, struct fail *why)
{
	struct snapshot_parts file;
	bool ok;

	ok = (snapshot_parts(ix, f->last, &file) && file.size < SNAPSHOT_LIMIT) || fail_set(why, FAIL_TEMP, 0, "out of memory for an index");
	ok = ok && journal_sync(f->journal, why) && write_file(f->vfs, file.part, SNAPSHOT_PARTS, why);
	if (ok) {
		f->snapshot_size = file.size;
		f->tail = 0;
		release(f, f->last);
	}
	snapshot_parts_free(&file);
	return ok;
}

bool
indexfile_start(struct indexfile *f, struct fail *why)
{
	bool ok = write_snapshot(f, &f->ix, why);

	f->begun = f->begun && !ok;
	return ok;
}

bool
indexfile_begin(struct indexfile *f, struct fail *why)
{
	struct index empty = f->ix;
	size_t size = f->ix.n * sizeof(*f->ix.messages) + buf_len(&f->ix.names);

	/* What would not find room is said now, not behind an answer that was good. */
	if (f->vfs->ops->space(f->vfs) < (int64_t)(SPACE_MIN + size * 2))
		return indexfile_start(f, why);
	empty.n = empty.ndoomed = empty.nvanished = 0;
	empty.map_names = SPAN_NONE;
	buf_init(&empty.names, 0);
	return f->begun = write_snapshot(f, &empty, why);
}

bool
indexfile_settle(struct indexfile *f, struct fail *why)
{
	return !f->begun || indexfile_start(f, why);
}

/* ---- change ---- */

/* What a client has been told OK about goes to the disk at once, though nobody waits for it. */
static bool
urgent(unsigned type)
{
	return type == RECORD_flags || type == RECORD_expunge || type == RECORD_keyword;
}

/* A full disk must not keep anybody from deleting. */
static bool
frees(unsigned type)
{
	return type == RECORD_expunge || type == RECORD_removed;
}

static bool
put(struct indexfile *f, unsigned type, const union record *r, unsigned flags, struct journal_ticket *t, struct fail *why)
{
	const struct desc *d = record_table(type);
	struct journal_record rec = { .type = (uint16_t)type, .desc = d, .from = r };
	journal_pos pos = 0;
	/* Which are recent is told beside the first answer, and that record names no message. */
	bool ok = (type == RECORD_recent || indexfile_settle(f, why)) && journal_append(f->journal, &rec, flags, t, &pos, why);

	if (ok)
		(void)keep(f, pos, desc_size(d, r) + 32);
	/* A record that cannot be applied is a bug here, or memory: either way the
	 * journal is ahead of the index, and only a new open gives both again. */
	if (ok && !index_apply(&f->ix, type, r))
		f->ix.failed = true;
	return ok;
}

bool
indexfile_put(struct indexfile *f, unsigned type, const union record *r, struct journal_ticket *t, struct fail *why)
{
	return put(f, type, r, (t || urgent(type) ? 0 : JOURNAL_LAZY) | (frees(type) ? JOURNAL_INTERNAL : 0), t, why);
}

bool
indexfile_put_uids(struct indexfile *f, unsigned type, union record *r, struct span *field, const struct uidset *uids,
    struct fail *why)
{
	struct buf packed;
	bool ok = true;

	buf_init(&packed, RECORD_UIDS_MAX * 8);
	for (size_t at = 0; ok && at < uids->n; at += RECORD_UIDS_MAX) {
		size_t n = uids->n - at < RECORD_UIDS_MAX ? uids->n - at : RECORD_UIDS_MAX;

		buf_reset(&packed);
		record_put_uids(&packed, uids->ranges + at, n);
		*field = buf_span(&packed);
		ok = buf_ok(&packed) || fail_set(why, FAIL_TEMP, 0, "out of memory");
		ok = ok && indexfile_put(f, type, r, NULL, why);
	}
	buf_free(&packed);
	return ok;
}

bool
indexfile_told(struct indexfile *f, struct journal_ticket *t, struct fail *why)
{
	union record nothing_new = { .recent.uid = f->ix.recent_from };

	return put(f, RECORD_recent, &nothing_new, JOURNAL_INTERNAL, t, why); /* it may be an expunge that is waited for */
}

bool
indexfile_sync(struct indexfile *f, struct fail *why)
{
	return journal_sync(f->journal, why);
}

/* ---- snapshots in the background ---- */

static void
job_run(struct work *w)
{
	struct snapshot_job *job = OWNER_OF(w, struct snapshot_job, work);
	struct span whole = buf_span(&job->file);

	job->ok = write_file(job->vfs, &whole, 1, &job->why);
}

static void
job_free(struct snapshot_job *job)
{
	buf_free(&job->file);
	free(job);
}

static void
job_done(struct work *w)
{
	struct snapshot_job *job = OWNER_OF(w, struct snapshot_job, work);
	struct indexfile *f = job->owner;

	if (f)
		f->job = NULL;
	if (f && job->ok) {
		f->snapshot_size = buf_len(&job->file);
		f->tail -= job->tail < f->tail ? job->tail : f->tail;
		release(f, job->upto);
	} else if (f) {
		on_event(f, &job->why);
	}
	job_free(job);
}

static void
job_durable(struct journal_ticket *t, const struct fail *why)
{
	struct snapshot_job *job = OWNER_OF(t, struct snapshot_job, ticket);

	if (why || !job->owner) {
		if (job->owner)
			job->owner->job = NULL;
		job_free(job);
		return;
	}
	job->work = (struct work){ .run = job_run, .done = job_done };
	job->running = true;
	worker_submit(job->owner->pool, &job->work);
}

void
indexfile_weigh(struct indexfile *f, size_t octets)
{
	f->tail += octets;
}

void
indexfile_tidy(struct indexfile *f)
{
	size_t enough = f->snapshot_size / 2 > TAIL_MIN ? f->snapshot_size / 2 : TAIL_MIN;
	union record r;
	struct snapshot_job *job;

	if (f->job || f->tail < enough || f->ix.failed)
		return;
	if (!f->pool) {
		(void)indexfile_start(f, NULL);
		return;
	}
	if (!(job = calloc(1, sizeof(*job))))
		return;
	*job = (struct snapshot_job){ .owner = f, .vfs = f->vfs, .upto = f->last, .tail = f->tail };
	job->ticket.on_durable = job_durable;
	buf_init(&job->file, SNAPSHOT_LIMIT);
	f->job = job;
	r.snapshot.upto = job->upto;
	if (!snapshot_encode(&f->ix, job->upto, &job->file) || !indexfile_put(f, RECORD_snapshot, &r, &job->ticket, NULL)) {
		f->job = NULL;
		job_free(job);
	}
}

void
indexfile_cool(struct indexfile *f)
{
	struct span names = f->ix.map_names;

	if (f->map && names.n && f->vfs->ops->cool)
		f->vfs->ops->cool(f->vfs, (char *)f->map + (names.p - (const char *)f->map), names.n);
}

bool
indexfile_busy(const struct indexfile *f)
{
	return f->job && f->job->running;
}

void
indexfile_close(struct indexfile *f)
{
	struct snapshot_job *job = f->job;

	/* A snapshot that still waits for its records is dropped: the journal has them. One that is being written is
	 * waited for, since its directory goes with the folder: it may have begun when what was said last became durable. */
	if (job)
		job->owner = NULL;
	f->job = NULL;
	if (job && job->running) {
		worker_wait(f->pool, &job->work);
		job_free(job);
	}
	if (f->journal)
		journal_close(&f->journal);
	index_free(&f->ix);
	unmap(f);
	free(f->segments);
	f->segments = NULL;
	f->nsegments = f->segments_size = 0;
	f->begun = false;
}
