/* SPDX-License-Identifier: ISC */
#include "queue/impl.h"

static bool
start_over(struct queue *q, struct message *m)
{
	queue_unroute(q, m);
	queue_start(q, m);
	return true;
}

/* Due now, and its destinations are tried again; routing follows when its turn comes. */
static bool
flush(struct queue *q, struct message *m)
{
	bool any = m->unsettled == 0 && message_notes(m);

	if (any)
		queue_touch(q, m); /* its report could not be written */
	for (struct entry *e = &m->first; e; e = e->next) {
		struct destination *d = e->d;

		if (e->state != ENTRY_WAITING)
			continue;
		destination_remove(d, e);
		destination_add_waiting(d, e, 0, 0);
		d->until_ms = 0;
		queue_look(q, d);
		any = true;
	}
	return any;
}

static bool
hold(struct queue *q, struct message *m)
{
	if (m->flags & MESSAGE_HELD)
		return false;
	m->flags |= MESSAGE_HELD;
	queue_unroute(q, m);
	queue_record_state(q, m);
	return true;
}

void
queue_hold_reason(struct queue *q, uint64_t id, struct span reason)
{
	struct message *m = queue_find(q, id);

	if (!m)
		return;
	words_put(&q->words, &m->reason);
	m->reason = words_get(&q->words, reason);
	queue_record_state(q, m);
	queue_log_message(LOG_queue, m, "%.*s", SPAN_ARG(reason));
}

static bool
release(struct queue *q, struct message *m)
{
	if (!(m->flags & MESSAGE_HELD))
		return false;
	m->flags &= (uint16_t)~MESSAGE_HELD;
	queue_record_state(q, m);
	if (queue_is_overdue(q, m)) {
		queue_give_up_overdue(q, m);
		return true;
	}
	return start_over(q, m);
}

static bool
delete(struct queue *q, struct message *m)
{
	m->flags |= MESSAGE_DELETED;
	if (!(m->flags & MESSAGE_ACCEPTING)) {
		queue_unroute(q, m);
		queue_touch(q, m);
	}
	return true;
}

static bool
bounce(struct queue *q, struct message *m)
{
	struct span reason = SPAN("returned by the administrator");

	m->flags = (uint16_t)((m->flags & ~MESSAGE_HELD) | MESSAGE_EXPIRED); /* for what is under way */
	words_put(&q->words, &m->reason);
	m->reason = words_get(&q->words, reason);
	queue_give_up(q, m, SPAN("5.0.0"), reason);
	return true;
}

static bool
requeue(struct queue *q, struct message *m)
{
	if (m->flags & MESSAGE_HELD)
		return release(q, m);
	return start_over(q, m);
}

static bool
expire(struct queue *q, struct message *m)
{
	struct span reason = word_span(m->reason);

	m->flags = (uint16_t)((m->flags & ~MESSAGE_HELD) | MESSAGE_EXPIRED);
	queue_give_up(q, m, SPAN("4.4.7"), reason.n ? reason : SPAN("delivery time expired"));
	return true;
}

/* Something that waits, or a report that could not be written. */
static bool
is_waiting(const struct message *m)
{
	for (const struct entry *e = &m->first; e; e = e->next)
		if (e->state == ENTRY_WAITING)
			return true;
	return m->unsettled == 0 && message_notes(m);
}

bool
queue_would_act(const struct message *m, enum queue_verb verb)
{
	bool held = m->flags & MESSAGE_HELD;

	if (m->flags & MESSAGE_DELETED || (m->flags & MESSAGE_ACCEPTING && verb != VERB_DELETE))
		return false;
	if (verb == VERB_HOLD || verb == VERB_RELEASE)
		return held == (verb == VERB_RELEASE);
	return verb != VERB_FLUSH || is_waiting(m);
}

bool
queue_act(struct queue *q, struct message *m, enum queue_verb verb)
{
	static bool (*const acts[VERB_COUNT])(struct queue *, struct message *) = {
		[VERB_FLUSH] = flush,
		[VERB_HOLD] = hold,
		[VERB_RELEASE] = release,
		[VERB_DELETE] = delete,
		[VERB_BOUNCE] = bounce,
		[VERB_REQUEUE] = requeue,
		[VERB_EXPIRE] = expire,
	};

	static const char *const said[VERB_COUNT] = { [VERB_HOLD] = "held", [VERB_RELEASE] = "released", [VERB_BOUNCE] = "returned",
		[VERB_REQUEUE] = "requeued", [VERB_EXPIRE] = "expired" }; /* a deletion is told when it is done */

	if (!queue_would_act(m, verb))
		return false;
	queue_clock(q);
	if (!acts[verb](q, m))
		return false;
	if (said[verb])
		queue_log_message(LOG_queue, m, "%s by the administrator", said[verb]);
	return true;
}

static void
open_destination(struct map_node *node, void *arg)
{
	struct destination *d = OWNER_OF(node, struct destination, by_name);

	d->until_ms = 0;
	d->failures = 0;
	queue_look(arg, d);
}

void
queue_flush_destinations(struct queue *q)
{
	map_each(&q->destinations, open_destination, q);
	queue_wake(q, 0);
}

struct visit {
	void (*visit)(struct destination *d, void *arg);
	void *arg;
};

static void
visit_destination(struct map_node *node, void *arg)
{
	struct visit *v = arg;

	v->visit(OWNER_OF(node, struct destination, by_name), v->arg);
}

void
queue_each_destination(struct queue *q, void (*visit)(struct destination *d, void *arg), void *arg)
{
	struct visit v = { visit, arg };

	map_each(&q->destinations, visit_destination, &v);
}
