/* SPDX-License-Identifier: ISC
 *
 * Times that senders have set to their messages: not before (RFC 4865), and
 * by when (RFC 2852).  Few messages have one, so it stands in their extra, and those in a heap.
 */
#include "ipc/bounds.h"
#include "mail/date.h"
#include "mail/report.h"
#include "queue/impl.h"

static int64_t
next_time(const struct message *m)
{
	const struct extra *x = m->extra;

	if (m->flags & MESSAGE_LATER)
		return x->release_ms;
	return x->by_mode && !(m->flags & MESSAGE_OVERDUE) ? x->by_ms : INT64_MAX;
}

bool
queue_is_overdue(const struct queue *q, const struct message *m)
{
	return m->extra && m->extra->by_mode & BY_RETURN && q->now >= m->extra->by_ms;
}

void
queue_give_up_overdue(struct queue *q, struct message *m)
{
	queue_give_up(q, m, SPAN("5.4.7"), SPAN("it could not be delivered within the time that its sender set"));
}

/* RFC 2852 4: back to its sender, but for what is under way just now; or a word to the sender, once. */
static void
overdue(struct queue *q, struct message *m)
{
	struct news news = { .action = REPORT_DELAYED, .code = SPAN("4.4.7"),
		.reply = SPAN("it has not been delivered within the time that its sender set; it is still being tried") };

	if (m->flags & MESSAGE_DELETED)
		return;
	if (m->extra->by_mode & BY_RETURN) {
		m->flags |= MESSAGE_EXPIRED;
		if (!(m->flags & MESSAGE_HELD)) /* else when the administrator lets it go */
			queue_give_up_overdue(q, m);
		return;
	}
	m->flags |= MESSAGE_OVERDUE;
	for (uint32_t i = 0; i < m->nrcpts; i++)
		if (!m->rcpts[i].settled)
			(void)queue_note(m, i, NULL, &news);
	if (message_notes(m))
		(void)queue_report(q, m);
	queue_record_state(q, m);
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

	if (!x || (!x->release_ms && !x->by_mode))
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
		if (m->flags & MESSAGE_LATER) {
			release(q, m);
			(void)heap_put(&q->timed, first, next_time(m));
		} else {
			overdue(q, m);
		}
	}
	if (first)
		q->ports.wake(q->ports.arg, first->due_ms);
}
