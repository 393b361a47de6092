/* SPDX-License-Identifier: ISC */
#include "queue/queue.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/queueid.h"
#include "journal/blob.h"
#include "queue/impl.h"

struct queue *
queue_new(struct journal *j, struct vfs *blobs, const struct queue_params *p, const struct queue_ports *ports)
{
	struct queue *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->journal = j;
	q->blobs = blobs;
	q->p = *p;
	q->ports = *ports;
	map_init(&q->destinations);
	map_init(&q->jobs);
	map_init(&q->asks);
	list_init(&q->job_list);
	list_init(&q->ask_list);
	list_init(&q->age[0]);
	list_init(&q->age[1]);
	list_init(&q->unrouted);
	list_init(&q->urgent);
	list_init(&q->rotor);
	list_init(&q->idle);
	buf_init(&q->actions, ACTIONS_MAX);
	buf_init(&q->unreported, ACTIONS_MAX);
	list_init(&q->cache);
	list_init(&q->walks);
	list_init(&q->deleted);
	record_parts_init(&q->parts);
	list_init(&q->remains);
	words_init(&q->words);
	q->now = ports->now_ms(ports->arg);
	q->next_job = q->next_ask = q->first_ask = (uint64_t)q->now << 20; /* not used by a former process */
	return q;
}

static void
free_destination(struct map_node *node, void *arg)
{
	struct destination *d = OWNER_OF(node, struct destination, by_name);

	destination_free(&d, &((struct queue *)arg)->words);
}

void
queue_free(struct queue **at)
{
	struct queue *q = *at;

	if (!q)
		return;
	(void)journal_sync(q->journal, NULL); /* its tickets come back here */
	while (!list_empty(&q->job_list))
		queue_job_lost(q, queue_job_id(OWNER_OF(q->job_list.next, struct queue_job, node)));
	queue_routing_lost(q);
	(void)journal_sync(q->journal, NULL);
	for (int i = 0; i < 2; i++)
		LIST_EACH(&q->age[i], it) {
			struct message *m = OWNER_OF(it, struct message, age);

			queue_unroute(q, m);
			message_free(&m, &q->words);
		}
	map_each(&q->destinations, free_destination, q);
	map_free(&q->destinations);
	while (queue_bury_some(q))
		;
	idmap_free(&q->messages);
	map_free(&q->jobs);
	map_free(&q->asks);
	words_free(&q->words);
	buf_free(&q->actions);
	buf_free(&q->unreported);
	queue_deleted_free(q);
	heap_free(&q->timers);
	heap_free(&q->timed);
	free(q);
	*at = NULL;
}

static void
take_limits(struct map_node *node, void *arg)
{
	struct destination *d = OWNER_OF(node, struct destination, by_name);
	struct queue *q = arg;

	d->limits = destination_default_limits(d, &q->p);
	if (d->agent == AGENT_REMOTE && q->ports.limits)
		q->ports.limits(q->ports.arg, destination_nexthop(d), &d->limits);
	if (d->window > d->limits.concurrency)
		d->window = d->limits.concurrency;
}

void
queue_set_params(struct queue *q, const struct queue_params *p)
{
	q->p = *p;
	map_each(&q->destinations, take_limits, q);
	q->next_age_ms = 0;
	queue_wake(q, 0);
}

void
queue_wake(struct queue *q, int64_t at_ms)
{
	if (!q->running || at_ms)
		q->ports.wake(q->ports.arg, at_ms);
}

void
queue_log_message(enum log_event event, const struct message *m, const char *fmt, ...)
{
	char id[QUEUEID_TEXT + 1], text[3000];
	va_list ap;

	if (!log_enabled(event))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)queueid_text(message_id(m), id);
	log_put(event, "id=%s %s", id, text);
}

bool
queue_append(struct queue *q, unsigned type, const struct desc *d, const void *record, struct span body, unsigned flags,
    struct journal_ticket *t, journal_pos *pos, struct fail *why)
{
	return journal_append(q->journal, &(struct journal_record){ .type = (uint16_t)type, .desc = d, .from = record, .body = body },
	    flags, t, pos, why);
}

/* ---- accepting ---- */

struct accept {
	struct journal_ticket ticket;
	struct queue *q;
	struct message *m;
	void (*on_done)(void *arg, uint64_t id, const struct fail *why);
	void *arg;
};

struct content *
content_new(size_t max)
{
	struct content *c = calloc(1, sizeof(*c));

	if (c)
		buf_init(&c->bytes, max);
	return c;
}

void
queue_blob_name(uint64_t id, char name[40])
{
	char text[QUEUEID_TEXT + 1];

	(void)snprintf(name, 40, "blob/%s", queueid_text(id, text).p);
}

static void
cache(struct queue *q, struct message *m, struct content *c)
{
	size_t n = buf_len(&c->bytes);

	while (!list_empty(&q->cache) && q->stats.cache_bytes + n > q->p.content_cache) {
		struct content *oldest = OWNER_OF(q->cache.next, struct content, node);

		q->stats.cache_bytes -= buf_len(&oldest->bytes);
		oldest->m->content = NULL;
		content_free(oldest);
	}
	if (n > q->p.content_cache) {
		content_free(c);
		return;
	}
	q->stats.cache_bytes += n;
	c->m = m;
	m->content = c;
	list_push(&q->cache, &c->node);
}

void
queue_uncache(struct queue *q, struct message *m)
{
	if (!m->content)
		return;
	q->stats.cache_bytes -= buf_len(&m->content->bytes);
	content_free(m->content);
	m->content = NULL;
}

static void accepted(struct journal_ticket *t, const struct fail *why);

bool
queue_accept(struct queue *q, const struct record_envelope *e, struct content *content,
    void (*on_done)(void *, uint64_t, const struct fail *), void *arg, struct fail *why)
{
	return queue_accept_list(q, e, NULL, NULL, content, on_done, arg, why);
}

bool
queue_accept_list(struct queue *q, const struct record_envelope *e, struct roll *roll, const struct queue_parts *parts, struct content *content,
    void (*on_done)(void *, uint64_t, const struct fail *), void *arg, struct fail *why)
{
	struct message *m = idmap_get(&q->messages, e->id) ? NULL : message_new_of(e, roll);
	struct accept *a = m ? calloc(1, sizeof(*a)) : NULL;
	unsigned flags = e->report ? JOURNAL_INTERNAL : 0;
	struct record_envelope kept = *e;

	if (!a || !idmap_put(&q->messages, &m->by_id, e->id)) {
		if (m)
			message_free(&m, &q->words);
		free(a);
		content_free(content);
		return fail_set(why, FAIL_TEMP, 0, "message cannot be held: no memory, a broken envelope or a repeated id");
	}
	*a = (struct accept){ .ticket = { .on_durable = accepted }, .q = q, .m = m, .on_done = on_done, .arg = arg };
	queue_name_parts(q, parts, &kept, content ? buf_len(&content->bytes) : 0);
	if (!queue_append(q, RECORD_envelope, &record_desc_envelope, &kept, content ? buf_span(&content->bytes) : SPAN_NONE, flags,
	        &a->ticket, &m->pos, why)) {
		idmap_remove(&q->messages, &m->by_id);
		message_free(&m, &q->words);
		free(a);
		content_free(content);
		return false;
	}
	journal_live(q->journal, m->pos, 1);
	queue_deleted_back(q, e->id, m->pos);
	m->flags |= MESSAGE_ACCEPTING;
	q->stats.messages++;
	q->stats.recipients += m->unsettled;
	queue_age_insert(q, m);
	if (content)
		cache(q, m, content);
	return true;
}

void
queue_age_insert(struct queue *q, struct message *m)
{
	int kind = m->sender == NULL;
	struct list *after = q->age[kind].prev;

	/* Ids of several instances come almost in order; a replay sorts once at its end. */
	while (!q->recovering && after != &q->age[kind] && message_id(OWNER_OF(after, struct message, age)) > message_id(m))
		after = after->prev;
	list_insert(after, &m->age);
	if (!q->warn[kind])
		q->warn[kind] = m;
}

/* ---- leaving ---- */

enum { BURY = 500 };

struct remains {
	struct list node;
	struct roll roll;
};

/* A hundred thousand recipients at once would be what others wait for. */
static void
leave_remains(struct queue *q, struct message *m)
{
	struct remains *r = m->nrcpts > LIST_LONG ? calloc(1, sizeof(*r)) : NULL;

	if (!r)
		return;
	r->roll = message_strip(m);
	list_push(&q->remains, &r->node);
	queue_wake(q, 0);
}

bool
queue_bury_some(struct queue *q)
{
	struct remains *r;

	if (list_empty(&q->remains))
		return false;
	r = OWNER_OF(q->remains.next, struct remains, node);
	if (!roll_free_some(&r->roll, BURY)) {
		list_remove(&r->node);
		free(r);
	}
	return !list_empty(&q->remains);
}

void
queue_drop(struct queue *q, struct message *m)
{
	int kind = m->sender == NULL;

	queue_unroute(q, m);
	queue_untimed(q, m);
	if (q->warn[kind] == m)
		q->warn[kind] = m->age.next == &q->age[kind] ? NULL : OWNER_OF(m->age.next, struct message, age);
	queue_walks_pass(q, m);
	queue_uncache(q, m);
	idmap_remove(&q->messages, &m->by_id);
	q->stats.messages--;
	q->stats.recipients -= m->unsettled;
	leave_remains(q, m);
	message_free(&m, &q->words);
}

/* What a message occupied on disk is given back when its removal is durable:
 * before, a crash must still find it. */
struct removal {
	struct journal_ticket ticket;
	struct queue *q;
	uint64_t id;
	journal_pos pos, state_pos;
	bool blob;
};

void
queue_remove_blob(struct queue *q, const char *name, bool again)
{
	struct fail why;

	if (q->ports.remove_blob)
		q->ports.remove_blob(q->ports.arg, name, again);
	else if (!blob_remove(q->blobs, name, &why))
		log_put(LOG_failure, "%s", why.text);
}

static void
give_back(struct queue *q, const struct removal *r)
{
	journal_live(q->journal, r->pos, -1);
	if (r->state_pos)
		journal_live(q->journal, r->state_pos, -1);
	if (r->blob) {
		char name[40];

		queue_blob_name(r->id, name);
		queue_remove_blob(q, name, true);
	}
}

static void
removed_durably(struct journal_ticket *t, const struct fail *why)
{
	struct removal *r = OWNER_OF(t, struct removal, ticket);

	if (!why)
		give_back(r->q, r);
	free(r);
}

static struct removal
removal_of(struct queue *q, const struct message *m)
{
	return (struct removal){ .ticket = { .on_durable = removed_durably }, .q = q, .id = message_id(m), .pos = m->pos,
		.state_pos = m->state_pos, .blob = (m->flags & MESSAGE_BLOB) != 0 };
}

void
queue_record_outcome(struct queue *q, struct message *m, struct span list, bool reported, const char *removed_by)
{
	struct record_outcome o = { .id = message_id(m), .about = m->pos, .at_ms = q->now, .removed = removed_by != NULL,
		.reported = reported, .why = span_str(removed_by), .list = list };
	struct removal *r = removed_by ? malloc(sizeof(*r)) : NULL;
	struct fail why;
	journal_pos pos;

	if (r) {
		*r = removal_of(q, m);
		r->blob = r->blob && !queue_is_deletion(span_str(removed_by)); /* it may be wanted back */
	}
	if (!queue_append(q, RECORD_outcome, &record_desc_outcome, &o, SPAN_NONE, JOURNAL_INTERNAL | JOURNAL_LAZY,
	        r ? &r->ticket : NULL, &pos, &why)) {
		/* What is lost is only that it was done: after a restart it is done again. */
		queue_log_message(LOG_journal, m, "outcome not recorded: %s", why.text);
		free(r);
		return;
	}
	journal_depend(q->journal, pos, m->pos);
	if (q->ports.outcome)
		q->ports.outcome(q->ports.arg, m, &o);
	if (queue_is_deletion(span_str(removed_by)))
		queue_deleted_note(q, m, pos);
	if (removed_by) {
		q->stats.removed++;
		queue_log_message(LOG_removed, m, "%s%s", *removed_by ? "by=" : "", removed_by);
	}
}

void
queue_put_result(struct queue *q, struct message *m, struct buf *list, const struct record_result *r)
{
	if (buf_len(list) > RESULTS_MAX) {
		queue_record_outcome(q, m, buf_span(list), false, NULL);
		buf_reset(list);
	}
	if (!record_list_put(list, &record_desc_result, r))
		queue_log_message(LOG_failure, m, "a result is not recorded: it is too long, or there is no memory");
}

void
queue_record_state(struct queue *q, struct message *m)
{
	const struct entry *waits = NULL;
	struct record_state s = { .id = message_id(m), .about = m->pos, .attempts = m->attempts,
		.held = (m->flags & MESSAGE_HELD) != 0, .warned = (m->flags & MESSAGE_WARNED) != 0, .overdue = (m->flags & MESSAGE_OVERDUE) != 0,
		.suspect = m->suspect, .reason = word_span(m->reason) };
	struct fail why;
	journal_pos pos;

	for (const struct entry *e = &m->first; e; e = e->next)
		if (e->state == ENTRY_WAITING && (!waits || e->due_ms < waits->due_ms))
			waits = e;
	if (waits) {
		s.next_ms = waits->due_ms;
		s.destination = destination_name(waits->d);
	}
	if (!queue_append(q, RECORD_state, &record_desc_state, &s, SPAN_NONE, JOURNAL_INTERNAL | JOURNAL_LAZY, NULL, &pos, &why)) {
		queue_log_message(LOG_journal, m, "state not recorded: %s", why.text);
		return;
	}
	if (m->state_pos)
		journal_live(q->journal, m->state_pos, -1);
	m->state_pos = pos;
	journal_live(q->journal, pos, 1);
}

void
queue_touch(struct queue *q, struct message *m)
{
	if (!(m->flags & MESSAGE_TOUCHED)) {
		m->flags |= MESSAGE_TOUCHED;
		buf_le64(&q->actions, message_id(m));
	}
	queue_wake(q, 0);
}

static void
accepted(struct journal_ticket *t, const struct fail *why)
{
	struct accept *a = OWNER_OF(t, struct accept, ticket);
	struct queue *q = a->q;
	struct message *m = a->m;

	m->flags &= (uint16_t)~MESSAGE_ACCEPTING;
	if (a->on_done)
		a->on_done(a->arg, message_id(m), why);
	free(a);
	if (why) { /* whether the record is there, only the next replay can tell: its blob stays */
		queue_drop(q, m);
		return;
	}
	q->stats.accepted++;
	queue_log_message(LOG_queued, m, "from=<%.*s> size=%" PRIu64 " nrcpt=%" PRIu32, SPAN_ARG(text_span(m->sender)), m->size,
	    m->nrcpts);
	if (m->flags & MESSAGE_DELETED) {
		queue_record_deletion(q, m);
		queue_drop(q, m);
		return;
	}
	queue_timed(q, m);
	if (m->nrcpts <= LIST_LONG)
		q->letter_ms = q->now;
	if (!(m->flags & MESSAGE_HELD))
		queue_start(q, m);
}

/* ---- finding ---- */

struct message *
queue_find(const struct queue *q, uint64_t id)
{
	struct idnode *node = idmap_get(&q->messages, id);

	return node ? OWNER_OF(node, struct message, by_id) : NULL;
}

size_t
queue_ids(const struct queue *q, uint64_t **ids)
{
	const struct list *a = q->age[0].next, *b = q->age[1].next;
	uint64_t *out = malloc((q->messages.count + 1) * sizeof(*out));
	size_t n = 0;

	*ids = out;
	while (out && (a != &q->age[0] || b != &q->age[1])) {
		uint64_t x = a == &q->age[0] ? UINT64_MAX : message_id(OWNER_OF(a, struct message, age));
		uint64_t y = b == &q->age[1] ? UINT64_MAX : message_id(OWNER_OF(b, struct message, age));

		out[n++] = x < y ? x : y;
		if (x < y)
			a = a->next;
		else
			b = b->next;
	}
	return n;
}

struct destination *
queue_destination_named(struct queue *q, struct span name)
{
	struct map_node *node = map_get(&q->destinations, name);
	struct destination *d = node ? OWNER_OF(node, struct destination, by_name) : NULL;

	if (d)
		return d;
	d = destination_new(name, span_starts(name, SPAN("local/")) ? AGENT_LOCAL : AGENT_REMOTE, &q->p);
	if (d && !map_put(&q->destinations, &d->by_name, destination_name(d)))
		destination_free(&d, &q->words);
	if (d) {
		take_limits(&d->by_name, q);
		queue_destination_idles(q, d);
	}
	return d;
}

void
queue_destination_idles(struct queue *q, struct destination *d)
{
	list_remove(&d->idle);
	list_push(&q->idle, &d->idle);
	d->idle_since_ms = q->now;
}

void
queue_forget_destination(struct queue *q, struct destination *d)
{
	heap_take(&q->timers, &d->timer);
	if (d->pos)
		journal_live(q->journal, d->pos, -1);
	map_remove(&q->destinations, &d->by_name);
	destination_free(&d, &q->words);
}

struct destination *
queue_destination(struct queue *q, unsigned agent, struct span nexthop)
{
	char name[640];
	int n = snprintf(name, sizeof(name), "%s/%.*s", agent == AGENT_LOCAL ? "local" : "remote", SPAN_ARG(nexthop));

	return n < 0 || (size_t)n >= sizeof(name) ? NULL : queue_destination_named(q, span_of(name, (size_t)n));
}

const char *
queue_state(const struct message *m)
{
	if (m->flags & MESSAGE_ACCEPTING)
		return "incoming";
	if (m->flags & MESSAGE_HELD)
		return "hold";
	if (m->jobs > 0)
		return "active";
	for (const struct entry *e = &m->first; e; e = e->next)
		if (e->state == ENTRY_READY || e->state == ENTRY_UNROUTED)
			return "active";
	return m->asks ? "active" : "deferred";
}

bool
queue_read(struct queue *q, const struct message *m, struct buf *into, struct record_envelope *e, struct span *content,
    struct fail *why)
{
	struct journal_record r;

	if (!journal_read(q->journal, m->pos, into, &r, why))
		return false;
	if (!record_get(&record_desc_envelope, &r, e) || e->id != message_id(m))
		return fail_set(why, FAIL_PERM, 0, "the envelope's record is not what it should be");
	*content = r.body;
	return true;
}

struct queue_stats
queue_stats(const struct queue *q)
{
	struct queue_stats s = q->stats;

	s.destinations = q->destinations.count;
	s.jobs = q->jobs.count;
	s.asks = q->asks.count;
	return s;
}
