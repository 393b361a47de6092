/* SPDX-License-Identifier: ISC
 *
 * history for the tools: the files are read on a thread, a piece at a time.
 */
#include <stdlib.h>

#include "base/cursor.h"
#include "daemons/queued/tool.h"
#include "queue/history.h"

enum { FLUSH_MS = 1000, PROGRESS_MS = 1000 };

struct past {
	struct history_scan scan;
	struct tool *t; /* NULL: nobody waits any more */
	uint64_t request;
	struct span left; /* of scan.found */
	bool reading;
	int64_t told_ms;
};

static void
free_past(struct past *p)
{
	history_scan_free(&p->scan);
	free(p);
}

void
past_stop(struct past **at)
{
	struct past *p = *at;

	*at = NULL;
	if (!p)
		return;
	p->t = NULL;
	if (!p->reading)
		free_past(p);
}

static void
send_recipient(struct past *p, const struct record_event_rcpt *r)
{
	struct ipc_queue_admin_past_rcpt m = { .id = p->request, .address = r->address, .state = span_str(history_outcome(r->outcome)),
		.code = r->code, .peer = r->peer, .reply = r->reply };

	(void)ipc_send_queue_admin_past_rcpt(p->t->c, &m);
}

static void
send_event(struct past *p, struct span bytes)
{
	struct ipc_queue_admin_past m = { .id = p->request };
	struct record_event_rcpt r;
	struct record_event e;
	struct span list;
	bool ok = true;

	if (!desc_decode(&record_desc_event, bytes, &e, NULL))
		return;
	m.message = e.id;
	m.state = span_str(history_state(&e));
	m.at_ms = (uint64_t)e.at_ms;
	m.size = e.size;
	m.sender = e.sender;
	m.by = e.why;
	list = e.list;
	while (record_list_next(&list, &record_desc_event_rcpt, &r, &ok))
		m.recipients++;
	(void)ipc_send_queue_admin_past(p->t->c, &m);
	list = e.list;
	while (record_list_next(&list, &record_desc_event_rcpt, &r, &ok))
		send_recipient(p, &r);
}

static void
tell_progress(struct past *p)
{
	int64_t now = loop_now_ms(p->t->q->service->loop);
	struct ipc_queue_admin_progress m = { .id = p->request, .looked_at = p->scan.looked_at, .matched = p->scan.matched };

	if (now - p->told_ms < PROGRESS_MS)
		return;
	p->told_ms = now;
	(void)ipc_send_queue_admin_progress(p->t->c, &m);
}

void
past_go_on(struct past *p)
{
	struct tool *t = p->t;

	if (p->reading)
		return;
	while (p->left.n && !channel_congested(t->c)) {
		struct cursor c = cursor_of(p->left);
		uint32_t n = cursor_le32(&c);

		send_event(p, cursor_bytes(&c, n));
		p->left = cursor_rest(&c);
	}
	if (p->left.n)
		return;
	tell_progress(p);
	if (!p->scan.end) {
		p->reading = true;
		history_scan_next(&p->scan);
		return;
	}
	tool_done(t, p->request, p->scan.matched, p->scan.matched, 0);
	past_stop(&t->past);
}

static void
on_piece(struct history_scan *s)
{
	struct past *p = OWNER_OF(s, struct past, scan);

	p->reading = false;
	if (!p->t) {
		free_past(p);
		return;
	}
	p->left = buf_span(&s->found);
	past_go_on(p);
}

void
past_start(struct tool *t, uint64_t request, struct filter *filter)
{
	struct past *p = t->q->history ? calloc(1, sizeof(*p)) : NULL;

	if (!p) {
		filter_free(&filter);
		tool_failed(t, request, SPAN("there is no history"));
		return;
	}
	p->t = t;
	p->request = request;
	p->told_ms = loop_now_ms(t->q->service->loop);
	p->scan.on_piece = on_piece;
	t->past = p;
	history_scan_begin(t->q->history, &p->scan, filter, loop_wall_ms(t->q->service->loop));
	past_go_on(p);
}

/* ---- writing ---- */

static void
on_flush(struct timer *timer)
{
	struct queued *q = OWNER_OF(timer, struct queued, flush);

	history_flush(q->history, loop_wall_ms(q->service->loop));
}

static struct history_limits
limits_of(const struct queued *q)
{
	return (struct history_limits){ q->service->conf->queue_history_time, q->service->conf->queue_history_size };
}

void
queued_open_history(struct queued *q)
{
	struct history_limits limits = limits_of(q);
	struct fail why = { .text = "no memory for the history" };

	timer_init(&q->flush, q->service->loop, on_flush);
	q->history = history_open(q->vfs, q->files, &limits, &why);
	if (!q->history)
		log_put(LOG_failure, "%s", why.text);
}

void
queued_set_history(struct queued *q)
{
	struct history_limits limits = limits_of(q);

	if (q->history)
		history_set_limits(q->history, &limits);
}

void
queued_outcome(void *arg, const struct message *m, const struct record_outcome *o)
{
	struct queued *q = arg;

	if (q->history && history_note(q->history, m, o) && !timer_running(&q->flush))
		(void)timer_set(&q->flush, FLUSH_MS);
}
