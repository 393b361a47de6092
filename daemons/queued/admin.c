/* SPDX-License-Identifier: ISC
 *
 * The tools' view of the queue.  Long answers go out as the tool reads them.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/queueid.h"
#include "daemons/queued/queued.h"
#include "journal/blob.h"

struct tool {
	struct queued *q;
	struct channel *c;
	/* A listing under way; none when ids == NULL. */
	uint64_t request, *ids, count, size, limit;
	size_t nids, at;
	struct span filter; /* in text */
	char text[256];
};

static void
send_done(struct tool *t, uint64_t id, bool ok, uint64_t count, uint64_t size, struct span text)
{
	struct ipc_queue_admin_done m = { .id = id, .ok = ok, .count = count, .size = size, .text = text };

	(void)ipc_send_queue_admin_done(t->c, &m);
}

/* What a filter may say today: nothing (all), id:X, from:X, to:X, domain:X, status:X. */
static bool
filter_ok(struct span f)
{
	struct span rest = f, key = span_cut(&rest, ':');

	return f.n == 0 || (rest.p && (span_eq(key, SPAN("id")) || span_eq(key, SPAN("from")) || span_eq(key, SPAN("to")) ||
	                                  span_eq(key, SPAN("domain")) || span_eq(key, SPAN("status"))));
}

static bool
matches_recipient(const struct message *m, struct span want, bool domain)
{
	for (uint32_t i = 0; i < m->nrcpts; i++) {
		struct span address = text_span(m->rcpts[i].address);
		size_t at = span_rchr(address, '@');

		if (!m->rcpts[i].settled &&
		    span_caseeq(domain ? (at == SIZE_MAX ? SPAN_NONE : span_from(address, at + 1)) : address, want))
			return true;
	}
	return false;
}

static bool
matches(const struct message *m, struct span f)
{
	struct span rest = f, key = span_cut(&rest, ':');
	uint64_t id;

	if (f.n == 0)
		return true;
	if (span_eq(key, SPAN("id")))
		return queueid_parse(rest, &id) && id == message_id(m);
	if (span_eq(key, SPAN("from")))
		return span_caseeq(text_span(m->sender), rest);
	if (span_eq(key, SPAN("status")))
		return span_eq(span_str(queue_state(m)), rest);
	return matches_recipient(m, rest, span_eq(key, SPAN("domain")));
}

static uint64_t
next_attempt(const struct message *m, uint32_t recipient, struct span *where)
{
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
send_item(struct tool *t, const struct message *m)
{
	struct ipc_queue_admin_item item = { .id = t->request, .message = message_id(m), .state = span_str(queue_state(m)),
		.arrived_ms = (message_id(m) >> 4) / 1000, .size = m->size, .sender = text_span(m->sender), .recipients = m->unsettled };

	(void)ipc_send_queue_admin_item(t->c, &item);
	for (uint32_t i = 0; i < m->nrcpts; i++) {
		struct ipc_queue_admin_item_rcpt r = { .id = t->request, .address = text_span(m->rcpts[i].address),
			.reason = word_span(m->reason), .attempts = m->attempts };

		if (m->rcpts[i].settled)
			continue;
		if (m->nrcpts <= 1000) /* the chains of a long list are not searched for each */
			r.next_ms = next_attempt(m, i, &r.destination);
		(void)ipc_send_queue_admin_item_rcpt(t->c, &r);
	}
}

static void
go_on(struct tool *t)
{
	while (t->ids && !channel_congested(t->c)) {
		struct message *m = NULL;

		if (t->at < t->nids && t->count < t->limit)
			m = queue_find(t->q->queue, t->ids[t->at++]);
		else {
			free(t->ids);
			t->ids = NULL;
			send_done(t, t->request, true, t->count, t->size, SPAN_NONE);
			break;
		}
		if (!m || m->flags & MESSAGE_ACCEPTING || !matches(m, t->filter))
			continue;
		t->count++;
		t->size += m->size;
		send_item(t, m);
	}
}

static bool
on_queue_admin_list(struct channel *c, const struct ipc_queue_admin_list *m)
{
	struct tool *t = channel_owner(c);

	if (t->ids)
		return false; /* one at a time */
	if (!filter_ok(m->filter) || !span_cstr(m->filter, t->text, sizeof(t->text))) {
		send_done(t, m->id, false, 0, 0, SPAN("filter not understood: use id:, from:, to:, domain: or status:"));
		return true;
	}
	t->filter = span_str(t->text);
	t->request = m->id;
	t->limit = m->limit ? m->limit : UINT64_MAX;
	t->count = t->size = t->at = 0;
	t->nids = queue_ids(t->q->queue, &t->ids);
	go_on(t);
	return true;
}

static bool
verb_of(struct span s, enum queue_verb *verb)
{
	static const char *const names[VERB_COUNT] = {
		[VERB_FLUSH] = "flush",
		[VERB_HOLD] = "hold",
		[VERB_RELEASE] = "release",
		[VERB_DELETE] = "delete",
		[VERB_BOUNCE] = "bounce",
		[VERB_REQUEUE] = "requeue",
		[VERB_EXPIRE] = "expire",
	};

	for (unsigned i = 0; i < VERB_COUNT; i++)
		if (span_eq(s, span_str(names[i]))) {
			*verb = i;
			return true;
		}
	return false;
}

static bool
on_queue_admin_act(struct channel *c, const struct ipc_queue_admin_act *m)
{
	struct tool *t = channel_owner(c);
	struct queued *q = t->q;
	enum queue_verb verb;
	uint64_t *ids, count = 0, size = 0;
	size_t n;

	if (!verb_of(m->verb, &verb) || !filter_ok(m->filter)) {
		send_done(t, m->id, false, 0, 0, SPAN("verb or filter not understood"));
		return true;
	}
	if (verb == VERB_FLUSH && m->filter.n == 0 && !m->dry_run)
		queue_flush_destinations(q->queue);
	t->request = m->id;
	n = queue_ids(q->queue, &ids);
	for (size_t i = 0; i < n; i++) {
		struct message *msg = queue_find(q->queue, ids[i]);

		if (!msg || !matches(msg, m->filter))
			continue;
		size += msg->size;
		if (m->dry_run) {
			if (!channel_congested(c))
				send_item(t, msg);
			count++;
		} else if (queue_act(q->queue, msg, verb)) {
			count++;
		}
	}
	free(ids);
	if (!m->dry_run)
		log_put(LOG_queue, "verb=%.*s filter=\"%.*s\" messages=%" PRIu64, SPAN_ARG(m->verb), SPAN_ARG(m->filter), count);
	queued_soon(q);
	send_done(t, m->id, true, count, size, SPAN_NONE);
	return true;
}

static void
send_destination(struct destination *d, void *arg)
{
	struct tool *t = arg;
	struct ipc_queue_admin_destination m = { .id = t->request, .name = destination_name(d), .waiting = d->nrcpts,
		.active = d->active, .concurrency = (uint32_t)d->window, .next_ms = (uint64_t)d->until_ms, .last = word_span(d->last) };

	if (m.name.n > B_NEXTHOP)
		m.name.n = B_NEXTHOP;
	(void)ipc_send_queue_admin_destination(t->c, &m);
}

static bool
on_queue_admin_stats(struct channel *c, const struct ipc_queue_admin_stats *m)
{
	struct tool *t = channel_owner(c);
	struct queue_stats s = queue_stats(t->q->queue);

	t->request = m->id;
	queue_each_destination(t->q->queue, send_destination, t);
	send_done(t, m->id, true, s.messages, 0, SPAN_NONE);
	return true;
}

static void
send_bytes(struct tool *t, uint64_t id, struct span s)
{
	while (s.n > 0) {
		struct ipc_queue_admin_bytes m = { .id = id, .bytes = span_sub(s, 0, IPC_DATA_MAX) };

		(void)ipc_send_queue_admin_bytes(t->c, &m);
		s = span_from(s, m.bytes.n);
	}
}

static bool
show_blob(struct tool *t, uint64_t id, const struct message *m, struct fail *why)
{
	struct vfs *v = t->q->vfs;
	char name[40], *bytes = malloc(IPC_DATA_MAX);
	uint64_t at = 0;
	bool ok = bytes != NULL;
	int fd;

	queue_blob_name(message_id(m), name);
	fd = blob_open(v, name, why);
	ok = ok && fd >= 0;
	while (ok && at < m->size && at < CHANNEL_MAX / 2) { /* what is beyond is cut off */
		size_t n = m->size - at < IPC_DATA_MAX ? (size_t)(m->size - at) : IPC_DATA_MAX;

		ok = vfs_read_all(v, fd, bytes, n, at) || fail_errno(why, 0, "cannot read %s", name);
		if (ok)
			send_bytes(t, id, span_of(bytes, n));
		at += n;
	}
	if (fd >= 0)
		(void)v->ops->close(v, fd);
	free(bytes);
	return ok;
}

static bool
on_queue_admin_show(struct channel *c, const struct ipc_queue_admin_show *m)
{
	struct tool *t = channel_owner(c);
	const struct message *msg = queue_find(t->q->queue, m->message);
	struct record_envelope e;
	struct fail why;
	struct span content;
	struct buf into;
	bool ok;

	if (!msg || msg->flags & MESSAGE_ACCEPTING) {
		send_done(t, m->id, false, 0, 0, SPAN("no such message"));
		return true;
	}
	buf_init(&into, (size_t)JOURNAL_RECORD_MAX + 4096);
	if (msg->flags & MESSAGE_BLOB) {
		ok = show_blob(t, m->id, msg, &why);
	} else {
		ok = queue_read(t->q->queue, msg, &into, &e, &content, &why);
		if (ok)
			send_bytes(t, m->id, content);
	}
	buf_free(&into);
	send_done(t, m->id, ok, ok, msg->size, ok ? SPAN_NONE : fail_text(&why));
	return true;
}

#define DISPATCH_DEF "ipc/queue_admin.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
on_closed(struct channel *c, const struct fail *why)
{
	struct tool *t = channel_owner(c);

	(void)why;
	free(t->ids);
	free(t);
	channel_free(&c);
}

static void
on_drained(struct channel *c)
{
	go_on(channel_owner(c));
}

void
queued_admin_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct tool *t = calloc(1, sizeof(*t));

	(void)peer, (void)instance;
	if (!t || !queued_of(s)->queue) {
		free(t);
		channel_free(&c);
		return;
	}
	t->q = queued_of(s);
	t->c = c;
	channel_set_owner(c, t);
}

const struct channel_ops queued_admin_ops = { .dispatch = dispatch_queue_admin, .on_closed = on_closed, .on_drained = on_drained };
