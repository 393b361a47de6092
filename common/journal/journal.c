/* SPDX-License-Identifier: ISC */
#include "journal/journal.h"

#include <stdlib.h>
#include <string.h>

#include "desc/desc.h"
#include "journal/impl.h"

enum {
	LAZY_MS = 10,
	MAX_PENDING_DEFAULT = 16 * 1024 * 1024,
	CROWD_MAX = 64, /* more is not waited for */
	PAUSE_MS = 5,   /* after which nobody is expected any more */
	TRY_MS = 20,    /* how often a larger crowd is tried, at first */
	TRY_MAX_MS = 5000,
};

static void commit(struct journal *j);

/* Under load a moment's patience makes many share one sync.  `crowd` is how many that somebody
 * waits for did so lately (lazy ones are no company): a sync waits until as many are there again, for patience_ms at
 * most; a wait in vain, or a pause, makes it 1, and then a record goes at once.
 * Now and then it is tried whether there would be more; each trial in vain doubles the
 * time to the next, so that a lone sender hardly ever pays for one. */
static bool
wait_for_company(struct journal *j)
{
	const struct batch *b = list_empty(&j->batches) ? NULL : OWNER_OF(j->batches.next, struct batch, node);
	int64_t now = j->o.loop ? loop_now_ms(j->o.loop) : 0;

	if (!b || j->writing || b->last || !j->o.patience_ms)
		return false;
	if (timer_running(&j->patience)) {
		if (b->waited < j->enough)
			return true;
		j->try_ms = TRY_MS;
		return false;
	}
	if (now - j->last_commit_ms > PAUSE_MS)
		j->crowd = 1;
	else if (b->waited > j->crowd) {
		j->crowd = b->waited < CROWD_MAX ? b->waited : CROWD_MAX;
		j->try_ms = TRY_MS;
	}
	j->enough = j->crowd;
	if (now - j->last_try_ms >= j->try_ms && now - j->last_commit_ms <= PAUSE_MS) {
		j->last_try_ms = now;
		j->enough = 2 * j->crowd;
	}
	return b->waited < j->enough && timer_set(&j->patience, j->o.patience_ms);
}

static void
on_patience(struct timer *t)
{
	struct journal *j = OWNER_OF(t, struct journal, patience);

	if (j->enough > j->crowd && (j->try_ms *= 2) > TRY_MAX_MS)
		j->try_ms = TRY_MAX_MS;
	if (!list_empty(&j->batches))
		j->crowd = OWNER_OF(j->batches.next, struct batch, node)->waited;
	commit(j);
}

static void
on_turn(struct turn *t)
{
	struct journal *j = OWNER_OF(t, struct journal, turn);

	if (!wait_for_company(j))
		commit(j);
}

static void
on_lazy(struct timer *t)
{
	struct journal *j = OWNER_OF(t, struct journal, lazy);

	LIST_EACH(&j->batches, it)
		OWNER_OF(it, struct batch, node)->urgent = true;
	commit(j);
}

struct journal *
journal_open(const struct journal_options *o, struct fail *why)
{
	struct journal *j = calloc(1, sizeof(*j));

	if (!j) {
		(void)fail_set(why, FAIL_TEMP, 0, "no memory for a journal");
		return NULL;
	}
	j->o = *o;
	if (j->o.segment_size == 0)
		j->o.segment_size = SEGMENT_SIZE_DEFAULT;
	if (j->o.max_pending == 0)
		j->o.max_pending = MAX_PENDING_DEFAULT;
	list_init(&j->batches);
	list_init(&j->running);
	j->try_ms = TRY_MS;
	j->slots = (struct slots){ .vfs = o->vfs, .segment_size = j->o.segment_size, .read_only = o->read_only,
		.on_event = o->on_event, .arg = o->arg };
	memcpy(j->slots.kind, o->kind, 4);
	turn_init(&j->turn, on_turn);
	if (o->loop) {
		timer_init(&j->lazy, o->loop, on_lazy);
		timer_init(&j->patience, o->loop, on_patience);
	}
	if (j->o.segment_size < 2 * SEGMENT_HEADER || j->o.segment_size > SEGMENT_SIZE_MAX)
		(void)fail_set(why, FAIL_PERM, 0, "segment size %zu is out of range", j->o.segment_size);
	else if (!span_cstr(span_str(o->dir), j->slots.dir, sizeof(j->slots.dir)))
		(void)fail_set(why, FAIL_PERM, 0, "journal directory name is too long");
	else if (slots_open(&j->slots, why))
		return j;
	else
		slots_close(&j->slots);
	free(j);
	return NULL;
}

bool
journal_replay(struct journal *j, bool (*on_record)(void *, const struct journal_record *), void *arg, unsigned *damaged,
    struct fail *why)
{
	bool complete = true;

	if (damaged)
		*damaged = 0;
	LIST_EACH(&j->slots.used, it) {
		bool last = it->next == &j->slots.used;

		if (!slots_walk(&j->slots, OWNER_OF(it, struct slot, node), last, false, on_record, arg, &complete,
		        damaged, why))
			return false;
		if (!complete)
			return fail_set(why, FAIL_PERM, 0, "replay was stopped");
	}
	j->stamp = j->durable = j->slots.last_stamp;
	j->replayed = j->untidy = true;
	if (!j->o.read_only)
		upkeep_indexes(j);
	return true;
}

/* ---- appending ---- */

static struct batch *
newest_batch(const struct journal *j)
{
	return list_empty(&j->batches) ? j->writing : OWNER_OF(j->batches.prev, struct batch, node);
}

static void
seal(struct journal *j, struct slot *slot)
{
	struct batch *b = newest_batch(j);

	slot->state = SLOT_SEALED;
	slot->end_known = true;
	if (b && b->slot == slot)
		b->last = true;
	else
		upkeep_index(j, slot);
}

static bool
next_segment(struct journal *j, unsigned flags, struct fail *why)
{
	struct slot *prev = j->active, *next;

	if (!prev && !list_empty(&j->slots.used))
		prev = OWNER_OF(j->slots.used.prev, struct slot, node);
	if (!upkeep_find_free(j, flags, why))
		return false;
	next = slots_use(&j->slots, prev, j->stamp + 1);
	if (!next)
		return fail_set(why, FAIL_TEMP, 0, "no memory for a segment");
	if (!slots_fd(&j->slots, next, why)) {
		next->state = SLOT_SEALED; /* empty: tidy will free it */
		return false;
	}
	j->active = next;
	if (prev)
		seal(j, prev);
	upkeep_spare(j);
	return true;
}

/* Without threads, what is done on the way ends in a tidying; that appends, and must find no half of this. */
static bool
roll(struct journal *j, unsigned flags, struct fail *why)
{
	bool tidying = j->tidying, ok;

	j->tidying = true;
	ok = next_segment(j, flags, why);
	j->tidying = tidying;
	return ok;
}

static struct batch *
open_batch(struct journal *j, struct fail *why)
{
	struct batch *b = list_empty(&j->batches) ? NULL : OWNER_OF(j->batches.prev, struct batch, node);

	if (b && b->slot == j->active)
		return b;
	b = batch_new(&j->slots, j->active, ++j->stamp, j->o.segment_size);
	if (b)
		list_push(&j->batches, &b->node);
	else
		(void)fail_set(why, FAIL_TEMP, 0, "no memory for the journal");
	return b;
}

static void
schedule(struct journal *j, struct batch *b, unsigned flags)
{
	if (!(flags & JOURNAL_LAZY)) {
		b->waited++;
		LIST_EACH(&j->batches, it) /* what is older has to go first */
			OWNER_OF(it, struct batch, node)->urgent = true;
		if (j->o.loop && !j->writing)
			turn_later(&j->turn, j->o.loop);
	} else if (j->o.loop && !b->urgent && !timer_running(&j->lazy)) {
		(void)timer_set(&j->lazy, LAZY_MS);
	}
}

bool
journal_stays(const struct journal *j, uint64_t segment, size_t head, size_t body)
{
	return j->active && j->active->head.seq == segment && j->active->end + segment_record_size(head, body) <= j->o.segment_size;
}

bool
journal_append(struct journal *j, const struct journal_record *r, unsigned flags, struct journal_ticket *t, journal_pos *pos,
    struct fail *why)
{
	size_t head = segment_head_size(r), n = segment_record_size(head, r->body.n);
	struct journal_record kept = { .type = r->type, .body_size = (uint32_t)r->body.n };
	struct batch *b;

	if (j->dead) {
		if (why)
			*why = j->why_dead;
		return false;
	}
	if (!j->replayed || j->o.read_only || r->type > JOURNAL_TYPE_MAX)
		return fail_set(why, FAIL_PERM, 0, "the journal is not open for writing");
	if (head == SIZE_MAX)
		return fail_set(why, FAIL_LIMIT, 0, "a %s record does not fit its bounds", r->desc->name);
	if (head + r->body.n > JOURNAL_RECORD_MAX || n > (j->o.segment_size - SEGMENT_HEADER) / 2)
		return fail_set(why, FAIL_PERM, 0, "a record of %zu bytes is too large for the journal", n);
	if (j->pending + n > j->o.max_pending && j->pending > 0 && !(flags & JOURNAL_INTERNAL))
		return fail_set(why, FAIL_LIMIT, 0, "too much waits for the disk");
	if ((!j->active || j->active->end + n > j->o.segment_size) && !roll(j, flags, why))
		return false;
	b = open_batch(j, why);
	if (!b)
		return false;
	if (!batch_put(b, r, head, t))
		return fail_set(why, FAIL_TEMP, 0, "no memory for the journal");
	if (pos)
		*pos = segment_pos(j->active->head.seq, j->active->end);
	(void)batch_get(b, j->active->end, &kept.head);
	kept.head = segment_head(kept.head, head);
	segment_index_add(&j->active->index, j->active->end, &kept);
	j->active->records++;
	j->active->end += (uint32_t)n;
	j->pending += n;
	j->stats.records++;
	j->stats.bytes += n;
	schedule(j, b, flags);
	return true;
}

/* ---- committing ---- */

static void
die(struct journal *j, const struct fail *why)
{
	struct list *node;

	if (!j->dead) {
		j->dead = true;
		j->why_dead = *why;
		slots_event(&j->slots, why);
	}
	while ((node = list_shift(&j->batches))) {
		struct batch *b = OWNER_OF(node, struct batch, node);

		batch_tell(b, &j->why_dead);
		batch_free(b);
	}
	j->pending = 0;
}

static void
batch_done(struct work *w)
{
	struct batch *b = OWNER_OF(w, struct batch, work);
	struct journal *j = OWNER_OF(b->slots, struct journal, slots);

	j->writing = NULL;
	j->stats.syncs++;
	b->slot->busy = false;
	if (b->why.class != FAIL_NONE) {
		batch_tell(b, &b->why);
		die(j, &b->why);
	} else {
		j->pending -= b->bytes;
		j->durable = b->number;
		b->slot->header_due = false;
		if (b->slot != j->active)
			j->untidy = true;
		if (b->last)
			upkeep_index(j, b->slot);
		batch_tell(b, NULL);
		if (j->o.loop && !list_empty(&j->batches))
			turn_later(&j->turn, j->o.loop);
	}
	batch_free(b);
}

static void
batch_run(struct work *w)
{
	batch_write(OWNER_OF(w, struct batch, work));
}

/* Starts the oldest waiting batch if nothing is being written. */
static void
commit(struct journal *j)
{
	struct batch *b;

	if (j->writing || j->dead || list_empty(&j->batches))
		return;
	b = OWNER_OF(j->batches.next, struct batch, node);
	if (!b->urgent)
		return;
	list_remove(&b->node);
	j->writing = b;
	if (j->o.loop) {
		timer_stop(&j->patience);
		if (b->waited) /* of lazy ones alone, no company is to be expected */
			j->last_commit_ms = loop_now_ms(j->o.loop);
	}
	batch_pad(b);
	b->slot->busy = true;
	b->work = (struct work){ .run = batch_run, .done = batch_done };
	if (j->o.pool && b->tickets) {
		worker_submit_short(j->o.pool, &b->work);
		return;
	}
	if (j->o.pool) { /* nobody waits for it, and nobody shall be kept by it */
		worker_submit(j->o.pool, &b->work);
		return;
	}
	b->work.run(&b->work);
	b->work.done(&b->work);
}

bool
journal_sync(struct journal *j, struct fail *why)
{
	struct worker_pool *pool = j->o.pool;

	if (j->writing && pool) {
		struct work *w = &j->writing->work;

		worker_wait(pool, w);
		w->done(w);
	}
	j->o.pool = NULL; /* the rest in this thread */
	while (!j->dead && !list_empty(&j->batches) && !j->writing) {
		OWNER_OF(j->batches.next, struct batch, node)->urgent = true;
		commit(j);
	}
	j->o.pool = pool;
	if (j->dead && why)
		*why = j->why_dead;
	return !j->dead;
}

void
journal_unthread(struct journal *j)
{
	j->o.pool = NULL;
	j->o.loop = NULL;
	turn_cancel(&j->turn);
	if (j->lazy.loop) {
		timer_stop(&j->lazy);
		timer_stop(&j->patience);
	}
}

void
journal_close(struct journal **at)
{
	struct journal *j = *at;

	if (!j)
		return;
	if (!j->o.read_only)
		(void)journal_sync(j, NULL);
	upkeep_settle(j);
	journal_unthread(j);
	slots_close(&j->slots);
	free(j);
	*at = NULL;
}

