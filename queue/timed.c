/* SPDX-License-Identifier: ISC
 *
 * Times that senders have set to their messages: not before (RFC 4865).  Few
 * messages have one, so it stands in their extra, and those in a heap.
 */
#include "mail/date.h"
#include "queue/impl.h"

static int64_t
next_time(const struct message *m)
{
	const struct extra *x = m->extra;

	return m->flags & MESSAGE_LATER ? x->release_ms : INT64_MAX;
}

static void
set_reason(struct queue *q, struct message *m, int64_t release_ms)
{
	char date[DATE_SIZE], text[DATE_SIZE + 40];
	struct buf words;

	buf_init(&words, sizeof(text));
	buf_printf(&words, "not before %s, as its sender asked", date_format_iso(date, release_ms / 1000));
	words_put(&q->words, &m->reason);
	m->reason = words_get(&q->words, buf_span(&words));
	buf_free(&words);
}

void
queue_timed(struct queue *q, struct message *m)
{
	struct extra *x = m->extra;

	if (!x || !x->release_ms)
		return;
	x->m = m;
	if (x->release_ms > q->now) {
		m->flags |= MESSAGE_LATER;
		set_reason(q, m, x->release_ms);
	}
	if (!heap_put(&q->timed, &x->timed, next_time(m)))
		m->flags &= (uint16_t)~MESSAGE_LATER; /* no memory to wait with */
	else if (x->timed.place)
		q->ports.wake(q->ports.arg, x->timed.due_ms);
}

void
queue_untimed(struct queue *q, struct message *m)
{
	if (m->extra)
		heap_take(&q->timed, &m->extra->timed);
}

static void
release(struct queue *q, struct message *m)
{
	m->flags &= (uint16_t)~MESSAGE_LATER;
	words_put(&q->words, &m->reason);
	queue_log_message(LOG_queue, m, "released: its time has come");
	if (!(m->flags & (MESSAGE_HELD | MESSAGE_DELETED)))
		queue_start(q, m);
}

void
queue_run_timed(struct queue *q)
{
	struct heap_node *first;

	while ((first = heap_first(&q->timed)) && first->due_ms <= q->now) {
		struct message *m = OWNER_OF(first, struct extra, timed)->m;

		heap_take(&q->timed, first);
		if (m->flags & MESSAGE_LATER)
			release(q, m);
	}
	if (first)
		q->ports.wake(q->ports.arg, first->due_ms);
}
