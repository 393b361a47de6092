/* SPDX-License-Identifier: ISC
 *
 * Requests that walk the queue.  A slice is a few milliseconds; between two
 * slices everything else has its turn, and messages come and go.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "base/queueid.h"
#include "daemons/queued/tool.h"
#include "journal/blob.h"
#include "queue/export.h"

enum { SLICE_US = 5000, VIEW_SLICE_US = 1000, CLOCK_EVERY = 32, PROGRESS_MS = 1000, CHAIN_MAX = 1000, ROWS_MAX = 50000 };

/* The content of a message that goes out piece by piece. */
struct showing {
	int fd; /* -1: none */
	uint64_t at, size;
};

struct task {
	struct tool *t;
	struct turn turn;
	struct task_request r;
	char text[B_FILTER + 1]; /* of the filter, for the log */
	struct subject subject;
	struct queue_walk walk;
	bool walking, sorted, ending;
	const uint64_t *ids; /* of the filter */
	size_t nids, at_id;
	struct order *order;
	struct ages *ages;
	struct showing showing;
	uint64_t found, count, size, looked_at;
	int64_t began_ms, told_ms;
};

void
task_stop(struct task **at)
{
	struct task *task = *at;

	*at = NULL;
	if (!task)
		return;
	turn_cancel(&task->turn);
	if (task->walking)
		queue_walk_end(&task->walk);
	if (task->showing.fd >= 0)
		(void)task->t->q->vfs->ops->close(task->t->q->vfs, task->showing.fd);
	order_free(&task->order);
	ages_free(&task->ages);
	subject_free(&task->subject);
	filter_free(&task->r.filter);
	free(task);
}

/* ---- rows ---- */

uint64_t
task_next_attempt(const struct message *m, uint32_t recipient, struct span *where)
{
	if (m->flags & MESSAGE_LATER)
		return (uint64_t)m->extra->release_ms;
	for (const struct entry *e = &m->first; e; e = e->next) {
		if (e->state != ENTRY_WAITING)
			continue;
		for (uint32_t at = e->head; at; at = m->rcpts[at - 1].next)
			if (at - 1 == recipient) {
				*where = destination_name(e->d);
				return (uint64_t)(e->due_ms > e->d->until_ms ? e->due_ms : e->d->until_ms);
			}
	}
	return 0;
}

static void
send_recipient(struct tool *t, uint64_t request, const struct message *m, uint32_t i, struct span reason)
{
	struct span address = text_span(m->rcpts[i].address);

	if (t->view) {
		(void)ipc_send_queue_view_item_rcpt(t->c, &(struct ipc_queue_view_item_rcpt){ .id = request, .address = address, .reason = reason });
	} else {
		struct ipc_queue_admin_item_rcpt r = { .id = request, .address = address, .reason = reason, .attempts = m->attempts };

		if (m->nrcpts <= CHAIN_MAX) /* the chains of a long list are not searched for each */
			r.next_ms = task_next_attempt(m, i, &r.destination);
		(void)ipc_send_queue_admin_item_rcpt(t->c, &r);
	}
}

void
task_send_item(struct tool *t, uint64_t request, const struct message *m, bool recipients)
{
	struct ipc_queue_admin_item item = { .id = request, .message = message_id(m), .state = span_str(queue_state(m)),
		.expired = (m->flags & MESSAGE_EXPIRED) != 0, .arrived_ms = (uint64_t)queueid_time_ms(message_id(m)), .size = m->size,
		.sender = text_span(m->sender), .recipients = !recipients ? 0 : m->unsettled < ROWS_MAX ? m->unsettled : ROWS_MAX };
	struct span reason = span_sub(word_span(m->reason), 0, B_REPLY);
	uint32_t sent = 0;

	if (t->view)
		(void)ipc_send_queue_view_item(t->c, &(struct ipc_queue_view_item){ .id = item.id, .message = item.message, .state = item.state,
		    .expired = item.expired, .arrived_ms = item.arrived_ms, .size = item.size, .sender = item.sender, .recipients = item.recipients });
	else
		(void)ipc_send_queue_admin_item(t->c, &item);
	for (uint32_t i = 0; sent < item.recipients && i < m->nrcpts; i++)
		if (!m->rcpts[i].settled)
			send_recipient(t, request, m, i, sent++ ? SPAN_NONE : reason); /* it is the same for all */
}

/* ---- show ---- */

static void
send_envelope(struct tool *t, uint64_t request, struct span s)
{
	while (s.n > 0) {
		struct ipc_queue_admin_envelope m = { .id = request, .bytes = span_sub(s, 0, IPC_DATA_MAX) };

		(void)ipc_send_queue_admin_envelope(t->c, &m);
		s = span_from(s, m.bytes.n);
	}
}

static void
send_bytes(struct tool *t, uint64_t request, struct span s)
{
	while (s.n > 0) {
		struct ipc_queue_admin_bytes m = { .id = request, .bytes = span_sub(s, 0, IPC_DATA_MAX) };

		(void)ipc_send_queue_admin_bytes(t->c, &m);
		s = span_from(s, m.bytes.n);
	}
}

static void
end_bytes(struct task *task)
{
	(void)ipc_send_queue_admin_bytes(task->t->c, &(struct ipc_queue_admin_bytes){ .id = task->r.id });
}

static bool
open_content(struct task *task, const struct message *m, struct fail *why)
{
	char name[40];

	queue_blob_name(message_id(m), name);
	task->showing = (struct showing){ .fd = blob_open(task->t->q->vfs, name, why), .size = m->size };
	return task->showing.fd >= 0;
}

static void
show(struct task *task, const struct message *m)
{
	struct ipc_queue_admin_unshown unshown = { .id = task->r.id, .message = message_id(m) };
	struct ipc_queue_admin_shown shown = { .id = task->r.id, .message = message_id(m), .state = span_str(queue_state(m)), .size = m->size };
	struct export_message x;
	struct span content;
	struct buf into, room, text;
	struct fail why = { .text = "" };
	bool ok;

	buf_init(&into, (size_t)JOURNAL_RECORD_MAX + 4096);
	buf_init(&room, EXPORT_TEXT_MAX);
	buf_init(&text, EXPORT_TEXT_MAX);
	ok = export_of(task->t->q->queue, m, &into, &room, &x, &content, &why);
	if (ok && task->r.envelope && !export_text(&x, &text))
		ok = fail_set(&why, FAIL_LIMIT, 0, "the envelope does not fit");
	ok = ok && (!(m->flags & MESSAGE_BLOB) || !task->r.content || open_content(task, m, &why));
	if (!ok) {
		unshown.text = fail_text(&why);
		(void)ipc_send_queue_admin_unshown(task->t->c, &unshown);
	} else {
		(void)ipc_send_queue_admin_shown(task->t->c, &shown);
		send_envelope(task->t, task->r.id, buf_span(&text));
		if (task->r.content && !(m->flags & MESSAGE_BLOB))
			send_bytes(task->t, task->r.id, content);
		if (task->showing.fd < 0)
			end_bytes(task);
	}
	buf_free(&into);
	buf_free(&room);
	buf_free(&text);
}

/* The next piece of a large content. */
static void
go_on_showing(struct task *task)
{
	struct vfs *v = task->t->q->vfs;
	struct showing *s = &task->showing;
	size_t n = s->size - s->at < IPC_DATA_MAX ? (size_t)(s->size - s->at) : IPC_DATA_MAX;
	char bytes[IPC_DATA_MAX];
	bool ok = vfs_read_all(v, s->fd, bytes, n, s->at);

	if (ok)
		send_bytes(task->t, task->r.id, span_of(bytes, n));
	s->at += n;
	if (ok && s->at < s->size)
		return;
	(void)v->ops->close(v, s->fd);
	s->fd = -1;
	end_bytes(task); /* cut short, its size gives it away */
}

/* ---- what is done to a message that was found ---- */

static void
act(struct task *task, struct message *m)
{
	uint64_t size = m->size;

	if (task->r.dry_run ? !queue_would_act(m, task->r.verb) : !queue_act(task->t->q->queue, m, task->r.verb))
		return;
	if (!task->r.quiet && !task->t->view)
		task_send_item(task->t, task->r.id, m, task->r.dry_run);
	task->count++;
	task->size += size;
}

/* False: the request has failed and is over. */
static bool
found(struct task *task, struct message *m)
{
	bool ok = true;

	task->found++;
	if (task->r.kind == TASK_ACT) {
		act(task, m);
		return true;
	}
	task->count++;
	task->size += m->size;
	if (task->r.kind == TASK_STATS)
		ok = ages_add(task->ages, m, task->subject.now_ms);
	else if (task->order && !task->sorted)
		ok = order_add(task->order, m);
	else if (task->r.kind == TASK_SHOW)
		show(task, m);
	else
		task_send_item(task->t, task->r.id, m, true);
	if (!ok)
		tool_failed(task->t, task->r.id, SPAN("no memory for what was found"));
	return ok;
}

/* ---- slices ---- */

static struct message *
next_message(struct task *task)
{
	struct queue *q = task->t->q->queue;
	struct message *m = NULL;
	uint64_t id;

	if (task->sorted) {
		while (!m && order_take(task->order, &id))
			m = queue_find(q, id);
		return m;
	}
	if (task->walking)
		return queue_walk_next(&task->walk);
	while (!m && task->at_id < task->nids)
		m = queue_find(q, task->ids[task->at_id++]);
	return m;
}

static bool
wanted(struct task *task, struct message *m)
{
	if (m->flags & (MESSAGE_ACCEPTING | MESSAGE_DELETED))
		return false;
	subject_set(&task->subject, m, task->subject.now_ms);
	return task->sorted || filter_match(task->r.filter, &subject_source, &task->subject);
}

static void
send_destination(struct destination *d, void *arg)
{
	struct task *task = arg;
	struct ipc_queue_admin_destination m = { .id = task->r.id, .name = destination_name(d), .waiting = d->nrcpts, .active = d->active,
		.concurrency = (uint32_t)d->window, .limit = d->limits.concurrency, .failures = d->failures, .next_ms = (uint64_t)d->until_ms,
		.last = span_sub(word_span(d->last), 0, B_REPLY) };

	if (d->nrcpts || d->active || d->until_ms)
		(void)ipc_send_queue_admin_destination(task->t->c, &m);
}

static void
send_counts(const struct task *task)
{
	struct queue_stats n = queue_stats(task->t->q->queue);

	(void)ipc_send_queue_admin_counts(task->t->c, &(struct ipc_queue_admin_counts){ .id = task->r.id, .delivered = n.delivered,
		.deferred = n.deferred, .failed = n.failed, .maybe_twice = n.duplicates });
}

static void
finish(struct task *task)
{
	struct tool *t = task->t;

	if (task->r.kind == TASK_STATS) {
		ages_send(task->ages, t, task->r.id);
		queue_each_destination(t->q->queue, send_destination, task);
		send_counts(task);
	}
	if (task->r.kind == TASK_ACT && !task->r.dry_run)
		log_put(LOG_queue, "verb=%s filter=\"%s\" messages=%" PRIu64 " uid=%u", tool_verb(task->r.verb), task->text, task->count, t->uid);
	tool_done(t, task->r.id, task->found, task->count, task->size);
	task_stop(&t->task);
}

static void
on_sorted(void *arg)
{
	struct task *task = arg;

	task->sorted = true;
	task->found = task->count = task->size = 0;
	turn_later(&task->turn, task->t->q->service->loop);
}

/* The walk is at its end. */
static void
ended(struct task *task)
{
	if (task->order && !task->sorted && !task->ending) {
		task->ending = true;
		order_sort(task->order, on_sorted, task);
	} else if (!task->ending || task->sorted) {
		finish(task);
	}
}

static int64_t
microseconds(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void
tell_progress(struct task *task)
{
	int64_t now = loop_now_ms(task->t->q->service->loop);
	struct ipc_queue_admin_progress m = { .id = task->r.id, .looked_at = task->looked_at,
		.of = task->walking ? task->walk.total : task->nids, .matched = task->count };

	if (task->t->view || now - task->told_ms < PROGRESS_MS)
		return;
	task->told_ms = now;
	(void)ipc_send_queue_admin_progress(task->t->c, &m);
}

/* Works until the time is up or the tool has enough to read. False: it is over, or waits for its order. */
static bool
slice(struct task *task)
{
	int64_t until = microseconds() + (task->t->view ? VIEW_SLICE_US : SLICE_US);
	unsigned n = 0;

	while (!channel_congested(task->t->c)) {
		struct message *m;

		if (task->showing.fd >= 0) {
			go_on_showing(task);
			continue;
		}
		m = task->r.limit && task->count >= task->r.limit && (!task->order || task->sorted) ? NULL : next_message(task);
		if (!m) {
			ended(task);
			return false;
		}
		task->looked_at++;
		if (wanted(task, m) && !found(task, m)) {
			task_stop(&task->t->task);
			return false;
		}
		if (++n % CLOCK_EVERY == 0 && microseconds() > until)
			break;
	}
	tell_progress(task);
	return true;
}

static void
on_turn(struct turn *turn)
{
	struct task *task = OWNER_OF(turn, struct task, turn);
	struct queued *q = task->t->q;
	bool acts = task->r.kind == TASK_ACT && !task->r.dry_run;

	task->subject.now_ms = loop_wall_ms(q->service->loop);
	if (slice(task) && !channel_congested(task->t->c))
		turn_later(&task->turn, q->service->loop);
	if (acts)
		queued_soon(q);
}

void
task_go_on(struct task *task)
{
	if (!task->ending || task->sorted)
		turn_later(&task->turn, task->t->q->service->loop);
}

void
task_start(struct tool *t, const struct task_request *r)
{
	struct task *task = calloc(1, sizeof(*task));
	bool ok = true;

	if (task)
		task->r = *r;
	if (task && r->kind == TASK_LIST)
		task->order = order_new(t->q, r->sort, &ok);
	if (task && r->kind == TASK_STATS)
		ok = (task->ages = ages_new(r->senders)) != NULL;
	if (!task || !ok) {
		struct filter *filter = r->filter;

		if (task && r->kind == TASK_LIST)
			tool_wrong(t, r->id, 0, SPAN("sort by age, size, attempts, next, sender or domain; -KEY for the other way round"));
		else
			tool_failed(t, r->id, SPAN("no memory"));
		filter_free(&filter);
		free(task);
		return;
	}
	t->task = task;
	task->t = t;
	task->showing.fd = -1;
	(void)span_cstr(r->text, task->text, sizeof(task->text));
	subject_init(&task->subject, t->q->queue);
	turn_init(&task->turn, on_turn);
	task->began_ms = task->told_ms = loop_now_ms(t->q->service->loop);
	if (!filter_ids(r->filter, &task->ids, &task->nids)) {
		queue_walk_begin(t->q->queue, &task->walk);
		task->walking = true;
	}
	if (r->kind == TASK_ACT && r->verb == VERB_FLUSH && filter_matches_all(r->filter) && !r->dry_run)
		queue_flush_destinations(t->q->queue);
	on_turn(&task->turn);
}
