/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "journal/impl.h"

enum {
	SPARSE = 8,          /* a segment is sparse when one record in this many is live */
	SPARSE_SEGMENTS = 4, /* and there are at least so many */
	FREE_EXTRA = 8,      /* free segments kept beyond the spares */
};

static struct job *
job_new(struct journal *j, struct slot *slot)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	*job = (struct job){ .slots = &j->slots, .slot = slot, .owner = j, .fd = -1 };
	buf_init(&job->content, SEGMENT_SIZE_MAX);
	if (slot)
		slot->busy = true;
	return job;
}

static void
job_start(struct journal *j, struct job *job, void (*run)(struct work *), void (*done)(struct work *))
{
	j->jobs++;
	job->work = (struct work){ .run = run, .done = done };
	if (j->o.pool) {
		list_push(&j->running, &job->node);
		worker_submit(j->o.pool, &job->work);
		return;
	}
	run(&job->work);
	done(&job->work);
}

void
upkeep_settle(struct journal *j)
{
	while (j->o.pool && !list_empty(&j->running)) {
		struct job *job = OWNER_OF(j->running.next, struct job, node);

		worker_wait(j->o.pool, &job->work);
		job->work.done(&job->work);
	}
}

static struct journal *
job_end(struct job *job)
{
	struct journal *j = job->owner;

	j->jobs--;
	j->untidy = true;
	list_remove(&job->node);
	if (job->slot)
		job->slot->busy = false;
	if (job->why.class != FAIL_NONE)
		slots_event(&j->slots, &job->why);
	buf_free(&job->content);
	free(job);
	return j;
}

static void
index_done(struct work *w)
{
	journal_tidy(job_end(OWNER_OF(w, struct job, work)));
}

void
upkeep_index(struct journal *j, struct slot *slot)
{
	struct job *job = slot->indexed ? NULL : job_new(j, slot);

	/* Once only: a segment may become the last one again when what came after it is recycled, and
	 * its entries are gone from memory by then. An index that lacks entries would be believed. */
	if (!job)
		return;
	slot->indexed = true;
	job->content = slot->index;
	buf_init(&slot->index, slot->index.cap);
	job_start(j, job, job_index, index_done);
}

static void
retire_done(struct work *w)
{
	struct job *job = OWNER_OF(w, struct job, work);
	struct slot *slot = job->slot;
	bool ok = job->why.class == FAIL_NONE;
	struct journal *j = job_end(job);

	if (!ok) {
		slot->state = SLOT_SEALED; /* tried again at the next tidy */
		return;
	}
	slots_freed(&j->slots, slot);
	j->full_told = false;
	journal_tidy(j);
}

static void
make_done(struct work *w)
{
	struct job *job = OWNER_OF(w, struct job, work);
	uint32_t number = job->number;
	int fd = job->fd;
	struct journal *j = job_end(job);

	j->making = false;
	if (fd < 0)
		return;
	if (!slots_add_free(&j->slots, number, fd))
		(void)j->o.vfs->ops->close(j->o.vfs, fd);
	else
		upkeep_spare(j);
}

static bool
space_left(const struct journal *j, unsigned flags)
{
	int64_t space = j->o.vfs->ops->space(j->o.vfs);

	return (flags & JOURNAL_INTERNAL) || space < 0 || (uint64_t)space >= j->o.reserve + j->o.segment_size;
}

void
upkeep_indexes(struct journal *j)
{
	j->tidying = true; /* no segment may go while they are walked */
	LIST_EACH(&j->slots.used, it) {
		struct slot *slot = OWNER_OF(it, struct slot, node);

		if (it->next != &j->slots.used && buf_len(&slot->index) > 0)
			upkeep_index(j, slot);
	}
	j->tidying = false;
}

void
upkeep_spare(struct journal *j)
{
	struct job *job;

	if (j->making || j->dead || !j->o.pool || j->slots.nfree >= j->o.spares || !space_left(j, 0))
		return;
	job = job_new(j, NULL);
	if (!job)
		return;
	j->making = true;
	job->number = j->slots.next_number++;
	job->fill = true;
	job_start(j, job, job_make, make_done);
}

/* The disk is full for us when only the reserve is left. */
bool
upkeep_find_free(struct journal *j, unsigned flags, struct fail *why)
{
	unsigned keep = (flags & JOURNAL_INTERNAL) || j->o.spares == 0 ? 0 : 1;
	int fd;

	if (j->slots.nfree > keep)
		return true;
	if (!space_left(j, flags)) {
		if (!j->full_told) {
			struct fail what;

			j->full_told = true;
			(void)fail_set(&what, FAIL_LIMIT, 0, "%s: free space is down to the reserve", j->slots.dir);
			slots_event(&j->slots, &what);
		}
		return fail_set(why, FAIL_LIMIT, 0, "no space left for the journal");
	}
	fd = slots_make_file(&j->slots, j->slots.next_number++, false, why);
	if (fd < 0) {
		if (why && (why->err == ENOSPC || why->err == EDQUOT))
			why->class = FAIL_LIMIT;
		return j->slots.nfree > 0 && (flags & JOURNAL_INTERNAL);
	}
	if (!slots_add_free(&j->slots, j->slots.next_number - 1, fd))
		return fail_set(why, FAIL_TEMP, 0, "no memory for a segment");
	return true;
}

/* Whether the record is still in memory. */
static bool
find_waiting(const struct journal *j, const struct slot *slot, size_t at, struct span *whole)
{
	if (j->writing && j->writing->slot == slot && batch_get(j->writing, at, whole))
		return true;
	LIST_EACH(&j->batches, it) {
		const struct batch *b = OWNER_OF(it, struct batch, node);

		if (b->slot == slot && batch_get(b, at, whole))
			return true;
	}
	return false;
}

bool
journal_read(struct journal *j, journal_pos pos, struct buf *into, struct journal_record *r, struct fail *why)
{
	struct slot *slot = slots_by_seq(&j->slots, segment_seq(pos));
	size_t at = segment_offset(pos), n;
	char head[SEGMENT_RECORD], *p;
	uint32_t sizes[2], batch;
	struct span whole;

	if (!slot)
		return fail_set(why, FAIL_PERM, 0, "the record's segment is gone");
	if (find_waiting(j, slot, at, &whole)) {
		if (!segment_get(whole, slot->head.mark, r, &batch, &n))
			return fail_set(why, FAIL_PERM, 0, "no record at %zu of segment %" PRIu64, at, slot->head.seq);
		buf_put(into, span_sub(whole, 0, n));
		if (!buf_ok(into))
			return fail_set(why, FAIL_LIMIT, 0, "a record of %zu bytes does not fit", n);
		(void)segment_get(span_from(buf_span(into), buf_len(into) - n), slot->head.mark, r, &batch, &n);
		r->pos = pos;
		return true;
	}
	if (!slots_fd(&j->slots, slot, why))
		return false;
	if (!vfs_read_all(j->o.vfs, slot->fd, head, sizeof(head), at))
		return fail_errno(why, 0, "cannot read segment %" PRIu64, slot->head.seq);
	memcpy(sizes, head + 8, 8);
	if (sizes[0] > JOURNAL_RECORD_MAX || sizes[1] > JOURNAL_RECORD_MAX)
		return fail_set(why, FAIL_PERM, 0, "the record at %zu of segment %" PRIu64 " is damaged", at, slot->head.seq);
	n = segment_record_size(sizes[0], sizes[1]);
	p = buf_room(into, n);
	if (!p)
		return fail_set(why, FAIL_LIMIT, 0, "a record of %zu bytes does not fit", n);
	if (!vfs_read_all(j->o.vfs, slot->fd, p, n, at))
		return fail_errno(why, 0, "cannot read segment %" PRIu64, slot->head.seq);
	buf_added(into, n);
	if (!segment_get(span_of(p, n), slot->head.mark, r, &batch, &n))
		return fail_set(why, FAIL_PERM, 0, "the record at %zu of segment %" PRIu64 " is damaged", at, slot->head.seq);
	r->pos = pos;
	return true;
}

bool
journal_scan(struct journal *j, uint64_t segment, bool (*on_record)(void *, const struct journal_record *), void *arg,
    struct fail *why)
{
	struct slot *slot = slots_by_seq(&j->slots, segment);
	bool complete;

	if (!slot)
		return fail_set(why, FAIL_PERM, 0, "the segment is gone");
	return slots_walk(&j->slots, slot, slot == j->active, false, on_record, arg, &complete, NULL, why);
}

void
journal_live(struct journal *j, journal_pos pos, int by)
{
	struct slot *slot = slots_by_seq(&j->slots, segment_seq(pos));

	if (!slot)
		return;
	slot->live += by;
	if (by < 0)
		slot->unlived = j->stamp;
	if (by < 0 && slot != j->active && (slot->live <= 0 || slot->live * SPARSE < (int64_t)slot->records))
		j->untidy = true;
}

void
journal_depend(struct journal *j, journal_pos record, journal_pos about)
{
	struct slot *r = slots_by_seq(&j->slots, segment_seq(record)), *a = slots_by_seq(&j->slots, segment_seq(about));

	if (r && a)
		slots_depend(&j->slots, r, a);
}

bool
journal_exists(const struct journal *j, journal_pos pos)
{
	return slots_by_seq(&j->slots, segment_seq(pos)) != NULL;
}

uint64_t
journal_segment(journal_pos pos)
{
	return segment_seq(pos);
}

void
journal_moved(struct journal *j, uint64_t segment)
{
	struct slot *slot = slots_by_seq(&j->slots, segment);

	if (slot) {
		slot->moved = j->stamp;
		j->untidy = true;
	}
}

static bool
idle_sealed(const struct slot *slot)
{
	return slot->state == SLOT_SEALED && !slot->busy && !slot->header_due;
}

static bool
batched(const struct journal *j, const struct slot *slot)
{
	LIST_EACH(&j->batches, it)
		if (OWNER_OF(it, struct batch, node)->slot == slot)
			return true;
	return j->writing && j->writing->slot == slot;
}

static bool
start_retire(struct journal *j, struct slot *slot)
{
	struct job *job;
	struct fail why;

	if (!slots_fd(&j->slots, slot, &why)) {
		slots_event(&j->slots, &why);
		return false;
	}
	job = job_new(j, slot);
	if (!job)
		return false;
	slot->state = SLOT_RETIRING;
	job->stamp = j->stamp;
	job_start(j, job, job_retire, retire_done);
	return true;
}

/* Segments beyond what is likely to be needed soon go back to the file system. */
static void
drop_extra(struct journal *j)
{
	while (j->slots.nfree > j->o.spares + FREE_EXTRA) {
		struct slot *slot = OWNER_OF(list_shift(&j->slots.free), struct slot, node);
		char name[120];

		slots_name(&j->slots, slot->number, "seg", name);
		(void)j->o.vfs->ops->unlink(j->o.vfs, name);
		slots_forget(&j->slots, slot);
	}
}

void
journal_tidy(struct journal *j)
{
	if (j->tidying || !j->untidy || j->dead || j->o.read_only || !j->replayed)
		return;
	j->tidying = true;
	j->untidy = false;
	LIST_EACH(&j->slots.used, it) {
		struct slot *slot = OWNER_OF(it, struct slot, node);

		if (!idle_sealed(slot) || batched(j, slot))
			continue;
		if (slot->unlived > j->durable)
			j->untidy = true; /* looked at again */
		else if ((slot->moved && slot->moved <= j->durable) || (slot->live <= 0 && slot->pins == 0))
			(void)start_retire(j, slot);
		else if (j->o.on_sparse && !slot->offered && j->slots.nused >= SPARSE_SEGMENTS &&
		         slot->live * SPARSE < (int64_t)slot->records) {
			slot->offered = true;
			j->o.on_sparse(j->o.arg, slot->head.seq);
		}
	}
	drop_extra(j);
	j->tidying = false;
}

void
journal_set_reserve(struct journal *j, uint64_t bytes)
{
	j->o.reserve = bytes;
}

bool
journal_alive(const struct journal *j)
{
	return !j->dead;
}

size_t
journal_pending(const struct journal *j)
{
	return j->pending;
}

struct journal_stats
journal_stats(const struct journal *j)
{
	struct journal_stats s = j->stats;

	s.segments = j->slots.nused;
	s.free_segments = j->slots.nfree;
	return s;
}
