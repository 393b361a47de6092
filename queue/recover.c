/* SPDX-License-Identifier: ISC
 *
 * What a restart does: the journal's records, in order, make the state again.
 * Facts about messages that are gone are passed over.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/queueid.h"
#include "journal/blob.h"
#include "mail/report.h"
#include "queue/impl.h"

static void
forget(struct queue *q, struct message *m)
{
	journal_live(q->journal, m->pos, -1);
	if (m->state_pos)
		journal_live(q->journal, m->state_pos, -1);
	queue_untimed(q, m);
	idmap_remove(&q->messages, &m->by_id);
	q->stats.messages--;
	q->stats.recipients -= m->unsettled;
	message_free(&m, &q->words);
}

static bool
replay_whole(struct queue *q, const struct journal_record *r, struct buf *list)
{
	struct record_envelope e;
	struct message *m;

	if (!record_get(&record_desc_envelope, r, &e) || !record_parts_join(&q->parts, &e, list))
		return false;
	m = queue_find(q, e.id);
	if (m) { /* compaction has moved it */
		journal_depend(q->journal, r->pos, m->pos);
		forget(q, m);
	} else {
		queue_deleted_back(q, e.id, r->pos);
	}
	m = message_new(&e);
	if (!m || !idmap_put(&q->messages, &m->by_id, e.id)) {
		if (m)
			message_free(&m, &q->words);
		return false;
	}
	m->pos = r->pos;
	journal_live(q->journal, r->pos, 1);
	q->stats.messages++;
	q->stats.recipients += m->unsettled;
	queue_age_insert(q, m);
	return true;
}

static bool
replay_envelope(struct queue *q, const struct journal_record *r)
{
	struct buf list;
	bool ok;

	buf_init(&list, RECORD_HEAD_MAX);
	ok = replay_whole(q, r, &list);
	buf_free(&list);
	return ok;
}

/* Nothing by itself: live is the envelope that names it. */
static bool
replay_part(struct queue *q, const struct journal_record *r)
{
	return record_parts_keep(&q->parts, r);
}

bool
queue_apply_to(struct message *m, const struct record_result *r, int64_t at_ms)
{
	struct recipient *to;

	/* Compaction copies outcomes: one may come before what added its recipient. */
	if (r->index >= m->nrcpts + MESSAGE_AHEAD || r->first >= m->nrcpts + MESSAGE_AHEAD)
		return true;
	if (!message_extend(m, r->index + 1) || (r->added.n && !message_add_forwarded(m, r)))
		return false;
	to = &m->rcpts[r->index];
	to->absent &= !r->settled;
	if (to->settled)
		return true;
	queue_note_again(m, r, at_ms);
	if (!r->settled && !r->target.n && r->outcome == OUTCOME_DELIVERED) { /* see tell_expansion() */
		to->expanded = true;
		if (r->owner.n)
			(void)message_set_owner(m, r->index, r->owner);
	} else if (r->settled) {
		to->settled = true;
		m->unsettled--;
	} else if (r->target.n) {
		(void)message_add_done(m, r->index, r->target);
	}
	return true;
}

bool
queue_apply_result(struct queue *q, struct message *m, const struct record_result *r, int64_t at_ms)
{
	uint32_t before = m->unsettled;
	bool ok = queue_apply_to(m, r, at_ms);

	q->stats.recipients += m->unsettled;
	q->stats.recipients -= before;
	return ok;
}

static bool
replay_outcome(struct queue *q, const struct journal_record *r)
{
	struct record_outcome o;
	struct record_result result;
	struct message *m;
	bool ok = true;

	if (!record_get(&record_desc_outcome, r, &o))
		return false;
	journal_depend(q->journal, r->pos, o.about);
	m = queue_find(q, o.id);
	/* One that speaks of another place was carried along by compaction: its message was
	 * moved with this known, or was deleted and has come back since. */
	if (!m || o.about != m->pos)
		return true;
	while (record_list_next(&o.list, &record_desc_result, &result, &ok))
		if (!queue_apply_result(q, m, &result, o.at_ms))
			return false;
	m->flags |= MESSAGE_TRIED;
	if (o.reported)
		message_drop_notes(m);
	if (o.removed) {
		if (queue_is_deletion(o.why))
			queue_deleted_note(q, m, r->pos);
		forget(q, m);
	}
	return ok;
}

static bool
replay_state(struct queue *q, const struct journal_record *r)
{
	struct record_state s;
	struct message *m;

	if (!record_get(&record_desc_state, r, &s))
		return false;
	m = queue_find(q, s.id);
	if (!m)
		return true;
	if (m->state_pos)
		journal_live(q->journal, m->state_pos, -1);
	m->state_pos = r->pos;
	journal_live(q->journal, r->pos, 1);
	m->attempts = s.attempts;
	m->suspect = s.suspect;
	m->flags &= (uint16_t)~(MESSAGE_HELD | MESSAGE_WARNED | MESSAGE_OVERDUE);
	m->flags |= (uint16_t)((s.held ? MESSAGE_HELD : 0) | (s.warned ? MESSAGE_WARNED : 0) | (s.overdue ? MESSAGE_OVERDUE : 0) |
	                       MESSAGE_TRIED);
	words_put(&q->words, &m->reason);
	m->reason = words_get(&q->words, s.reason);
	/* Kept in the idle entry until all is known. */
	m->first.d = s.destination.n ? queue_destination_named(q, s.destination) : NULL;
	m->first.due_ms = s.next_ms;
	return true;
}

static bool
replay_destination(struct queue *q, const struct journal_record *r)
{
	struct record_destination s;
	struct destination *d;

	if (!record_get(&record_desc_destination, r, &s))
		return false;
	d = queue_destination_named(q, s.name);
	if (!d)
		return false;
	if (d->pos)
		journal_live(q->journal, d->pos, -1);
	d->pos = s.until_ms ? r->pos : 0;
	if (d->pos)
		journal_live(q->journal, d->pos, 1);
	d->failures = s.failures;
	d->until_ms = s.until_ms;
	words_put(&q->words, &d->last);
	d->last = words_get(&q->words, s.last);
	return true;
}

struct replay {
	struct queue *q;
	unsigned odd;   /* records that are not understood */
	bool no_memory;
};

static bool
on_record(void *arg, const struct journal_record *r)
{
	static bool (*const replay[])(struct queue *, const struct journal_record *) = {
		[RECORD_envelope] = replay_envelope,
		[RECORD_part] = replay_part,
		[RECORD_outcome] = replay_outcome,
		[RECORD_state] = replay_state,
		[RECORD_destination] = replay_destination,
	};
	struct replay *to = arg;
	struct queue *q = to->q;

	errno = 0;
	/* Own stored data is input too: what is not understood is left and told. */
	if (r->type >= sizeof(replay) / sizeof(*replay) || !replay[r->type] || !replay[r->type](q, r)) {
		if (errno == ENOMEM) { /* it would be, with memory: another start */
			to->no_memory = true;
			return false;
		}
		to->odd++;
		journal_live(q->journal, r->pos, 1);
		log_put(LOG_journal, "record %" PRIu64 " of type %u is not understood and kept", r->pos, r->type);
	}
	return true;
}

static int
by_age(const void *a, const void *b)
{
	uint64_t x = message_id(*(struct message *const *)a), y = message_id(*(struct message *const *)b);

	return x < y ? -1 : x > y;
}

static bool
sort_ages(struct queue *q, int kind)
{
	struct message **all = malloc((q->messages.count + 1) * sizeof(struct message *));
	size_t n = 0;
	bool sorted = true;

	if (!all)
		return false;
	LIST_EACH(&q->age[kind], it) {
		all[n++] = OWNER_OF(it, struct message, age);
		sorted = sorted && (n < 2 || by_age(&all[n - 2], &all[n - 1]) < 0);
	}
	if (!sorted)
		qsort(all, n, sizeof(struct message *), by_age);
	list_init(&q->age[kind]);
	for (size_t i = 0; i < n; i++)
		list_push(&q->age[kind], &all[i]->age);
	q->warn[kind] = n ? all[0] : NULL;
	free(all);
	return true;
}

static void
resume(struct queue *q, struct message *m)
{
	struct destination *d = m->first.d;
	int64_t due_ms = m->first.due_ms;

	m->first.d = NULL;
	queue_timed(q, m);
	if (m->flags & MESSAGE_HELD)
		return;
	if (!d || m->unsettled == 0) {
		queue_start(q, m);
		return;
	}
	for (uint32_t i = 0; i < m->nrcpts; i++)
		if (!m->rcpts[i].settled)
			queue_delay(q, m, i, d, due_ms);
	if (message_notes(m))
		queue_touch(q, m);
}

struct blobs {
	struct queue *q;
	struct buf names;
};

static bool
on_blob(void *arg, const char *name)
{
	struct blobs *b = arg;
	struct span s = span_str(name);
	uint64_t id = 0;
	struct message *m = queueid_parse(s, &id) ? queue_find(b->q, id) : NULL;

	if ((!m || !(m->flags & MESSAGE_BLOB)) && (id == 0 || !queue_was_deleted(b->q, id))) {
		buf_put(&b->names, s);
		buf_putc(&b->names, '\0');
	}
	return true;
}

/* Contents whose envelope never became durable, or is gone; not where it may be there, and cannot be read. */
static void
sweep_blobs(struct queue *q)
{
	struct blobs b = { .q = q };
	struct span rest;

	buf_init(&b.names, 16 * 1024 * 1024);
	if (q->blobs->ops->list(q->blobs, "blob", on_blob, &b) < 0)
		log_put(LOG_failure, "cannot read the directory of large messages");
	rest = buf_span(&b.names);
	while (rest.n > 0) {
		char path[80];
		struct span name = span_cut(&rest, '\0');
		struct buf full;
		struct fail why;

		buf_init(&full, sizeof(path));
		buf_printf(&full, "blob/%.*s", SPAN_ARG(name));
		if (span_cstr(buf_span(&full), path, sizeof(path)) && !blob_remove(q->blobs, path, &why))
			log_put(LOG_failure, "%s", why.text);
		buf_free(&full);
	}
	buf_free(&b.names);
}

static bool
replay_all(struct queue *q, unsigned *damaged, struct fail *why)
{
	struct replay to = { .q = q };
	bool ok;

	q->recovering = true;
	ok = journal_replay(q->journal, on_record, &to, damaged, why);
	q->recovering = false;
	record_parts_drop(&q->parts);
	if (to.no_memory)
		return fail_set(why, FAIL_TEMP, 0, "no memory to read the queue");
	if (damaged)
		*damaged += to.odd;
	if (ok && (!sort_ages(q, 0) || !sort_ages(q, 1)))
		ok = fail_set(why, FAIL_TEMP, 0, "no memory to sort the queue");
	return ok;
}

bool
queue_inspect(struct queue *q, unsigned *damaged, struct fail *why)
{
	return replay_all(q, damaged, why);
}

bool
queue_recover(struct queue *q, unsigned *damaged, struct fail *why)
{
	unsigned bad;

	if (!replay_all(q, &bad, why))
		return false;
	if (damaged)
		*damaged = bad;
	for (int kind = 0; kind < 2; kind++)
		LIST_EACH(&q->age[kind], it)
			resume(q, OWNER_OF(it, struct message, age));
	if (!bad)
		sweep_blobs(q);
	return true;
}
