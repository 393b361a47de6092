/* SPDX-License-Identifier: ISC
 *
 * Compaction: what is still needed of a sparse segment is appended again, so
 * that its file can be recycled.
 */
#include <stdlib.h>

#include "queue/export.h"
#include "queue/impl.h"

struct compaction {
	struct queue *q;
	uint64_t segment;
	bool ok;
};

bool
queue_move(struct queue *q, struct message *m)
{
	struct record_envelope e;
	struct span content = SPAN_NONE;
	struct buf whole, list;
	struct export_message x = { .results = SPAN_NONE };
	struct fail why;
	journal_pos pos;
	bool ok;

	buf_init(&whole, (size_t)JOURNAL_RECORD_MAX + 4096);
	buf_init(&list, 2 * RECORD_HEAD_MAX);
	ok = queue_read(q, m, &whole, &e, &content, &why) && export_state_of(m, &list, &x, &why);
	if (ok) {
		e.list = x.envelope.list;
		e.recipients = x.envelope.recipients;
		e.held = x.envelope.held;
		e.parts = SPAN_NONE; /* they stay behind */
		ok = queue_append(q, RECORD_envelope, &record_desc_envelope, &e, content, JOURNAL_INTERNAL | JOURNAL_LAZY, NULL, &pos, &why);
	}
	if (ok) {
		/* Not to be recycled before the old place is, or the message would come back from there. */
		journal_depend(q->journal, pos, m->pos);
		journal_live(q->journal, m->pos, -1);
		journal_live(q->journal, pos, 1);
		m->pos = pos;
		if (x.results.n) /* failures that are still to be reported */
			queue_record_outcome(q, m, x.results, false, NULL);
		if (m->state_pos)
			queue_record_state(q, m);
	}
	buf_free(&whole);
	buf_free(&list);
	return ok;
}

static bool
copy_outcome(struct queue *q, const struct journal_record *r)
{
	struct record_outcome o;
	journal_pos pos;

	if (!record_get(&record_desc_outcome, r, &o) || !journal_exists(q->journal, o.about) ||
	    journal_segment(o.about) == journal_segment(r->pos))
		return true;
	if (!queue_append(q, RECORD_outcome, &record_desc_outcome, &o, SPAN_NONE, JOURNAL_INTERNAL | JOURNAL_LAZY, NULL, &pos, NULL))
		return false;
	journal_depend(q->journal, pos, o.about);
	return true;
}

static bool
move_state(struct queue *q, const struct journal_record *r)
{
	struct record_state s;
	struct message *m;

	if (!record_get(&record_desc_state, r, &s))
		return true;
	m = queue_find(q, s.id);
	if (m && m->state_pos == r->pos)
		queue_record_state(q, m);
	return !m || m->state_pos != r->pos;
}

static bool
move_destination(struct queue *q, const struct journal_record *r)
{
	struct record_destination s;
	struct map_node *node;
	struct destination *d;

	if (!record_get(&record_desc_destination, r, &s))
		return true;
	node = map_get(&q->destinations, s.name);
	d = node ? OWNER_OF(node, struct destination, by_name) : NULL;
	if (d && d->pos == r->pos)
		queue_record_destination(q, d);
	return !d || d->pos != r->pos;
}

static bool
on_record(void *arg, const struct journal_record *r)
{
	struct compaction *c = arg;
	struct record_envelope e;
	struct message *m;

	switch (r->type) {
	case RECORD_envelope:
		m = record_get(&record_desc_envelope, r, &e) ? queue_find(c->q, e.id) : NULL;
		c->ok = !m || m->pos != r->pos || queue_move(c->q, m);
		break;
	case RECORD_outcome:
		c->ok = copy_outcome(c->q, r);
		break;
	case RECORD_state:
		c->ok = move_state(c->q, r);
		break;
	case RECORD_destination:
		c->ok = move_destination(c->q, r);
		break;
	case RECORD_part:
		break; /* its envelope, which stands here as well, has the whole list where it is moved to */
	default:
		c->ok = false; /* not understood: it stays where it is */
		break;
	}
	return c->ok;
}

void
queue_compact(struct queue *q, uint64_t segment)
{
	struct compaction c = { .q = q, .segment = segment, .ok = true };
	struct fail why;

	if (!journal_scan(q->journal, segment, on_record, &c, &why))
		log_put(LOG_journal, "%s", why.text);
	else if (c.ok)
		journal_moved(q->journal, segment);
}
