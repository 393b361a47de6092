/* SPDX-License-Identifier: ISC
 *
 * Units become jobs as destinations allow; what agents answer is recorded.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "journal/blob.h"
#include "mail/report.h"
#include "queue/impl.h"

enum { NO_RESULT = 0xff, JOB_LIST_MAX = 1000000 };

void
queue_look(struct queue *q, struct destination *d)
{
	int64_t next = destination_next(d, q->now);
	bool now = next <= q->now && destination_open(d, q->now);

	(void)heap_put(&q->timers, &d->timer, now ? INT64_MAX : next); /* no memory: looked at when one of its jobs comes back */
	if (!now) {
		list_remove(&d->rotor);
	} else if (!list_linked(&d->rotor)) {
		list_insert(destination_is_urgent(d) ? &q->rotor : q->rotor.prev, &d->rotor);
		queue_wake(q, 0);
	}
	if (!destination_is_idle(d))
		list_remove(&d->idle);
	else if (!list_linked(&d->idle))
		queue_destination_idles(q, d);
}

/* Some recipients of a waiting entry go through routing again. */
static void
wake_entry(struct queue *q, struct destination *d, struct entry *e)
{
	struct message *m = e->m;
	struct entry *part = e;
	uint32_t recipient;

	m->flags |= MESSAGE_TRIED;
	if (e->count > ASKS_TURN && (part = message_entry(m, d))) {
		while (part->count < ASKS_TURN && entry_unchain(e, &recipient)) {
			entry_chain(part, recipient);
			d->nrcpts--;
		}
	} else {
		destination_remove(d, e);
		part = e;
	}
	part->d = d;
	d->waking += part->count;
	queue_await_routing(q, part);
}

static void
free_job(struct queue *q, struct queue_job *job)
{
	for (uint32_t i = 0; i < job->nunits; i++)
		if (job->units[i])
			unit_free(job->units[i]);
	if (job->fd >= 0)
		(void)q->blobs->ops->close(q->blobs, job->fd);
	map_remove(&q->jobs, &job->by_id);
	list_remove(&job->node);
	words_put(&q->words, &job->reason);
	q->suspects -= job->alone;
	buf_free(&job->list);
	buf_free(&job->bytes);
	free(job->units);
	free(job->outcomes);
	free(job);
}

static struct queue_job *
new_job(struct queue *q, struct entry *e, uint32_t n)
{
	struct queue_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->fd = -1;
	buf_init(&job->list, JOB_LIST_MAX);
	buf_init(&job->bytes, (size_t)JOURNAL_RECORD_MAX + 4096);
	job->m = e->m;
	job->d = e->d;
	job->started_ms = q->now;
	job->units = calloc(n, sizeof(struct unit *));
	job->outcomes = malloc(n);
	if (!job->units || !job->outcomes || !map_put_u64(&q->jobs, &job->by_id, ++q->next_job)) {
		free(job->units);
		free(job->outcomes);
		free(job);
		return NULL;
	}
	memset(job->outcomes, NO_RESULT, n);
	list_push(&q->job_list, &job->node);
	return job;
}

static bool
find_content(struct queue *q, struct queue_job *job, struct fail *why)
{
	struct record_envelope e;

	char name[40];

	if (job->m->flags & MESSAGE_BLOB) {
		queue_blob_name(message_id(job->m), name);
		job->fd = blob_open(q->blobs, name, why);
		return job->fd >= 0;
	}
	if (job->m->content) {
		job->content = buf_span(&job->m->content->bytes);
		return true;
	}
	return queue_read(q, job->m, &job->bytes, &e, &job->content, why);
}

/* A message whose content cannot be read is kept for the administrator. */
static void
set_aside(struct queue *q, struct message *m, const struct fail *why)
{
	queue_log_message(LOG_failure, m, "held: its content cannot be read: %s", why->text);
	words_put(&q->words, &m->reason);
	m->reason = words_get(&q->words, fail_text(why));
	m->flags |= MESSAGE_HELD;
	queue_unroute(q, m);
	queue_record_state(q, m);
}

/* Want of memory or descriptors passes. */
static void
put_off(struct queue *q, struct entry *e, const struct fail *why)
{
	struct word *reason = words_get(&q->words, fail_text(why));

	queue_log_message(LOG_failure, e->m, "put off: its content cannot be read: %s", why->text);
	queue_postpone(q, e, reason, q->now + q->p.queue_run_delay);
	words_put(&q->words, &reason);
}

static void
take_units(struct queue_job *job, struct entry *e, uint32_t limit)
{
	struct destination *d = e->d;
	struct text *sender = e->units->sender;
	struct span logins = text_span(e->units->logins), via = message_via(e->m, e->units->recipient);

	while (job->nunits < limit && e->units && span_eq(text_span(e->units->sender), text_span(sender)) &&
	       span_eq(text_span(e->units->logins), logins) && span_eq(message_via(e->m, e->units->recipient), via)) {
		job->units[job->nunits++] = entry_take(e);
		d->nrcpts--;
	}
	job->sender = sender ? text_span(sender) : text_span(e->m->sender);
}

/* False: the agents take nothing now. */
static bool
start_job(struct queue *q, struct destination *d, struct entry *e)
{
	uint32_t limit = e->count < d->limits.recipients ? e->count : d->limits.recipients;
	struct message *m = e->m;
	struct queue_job *job;
	struct fail why;
	bool ok;

	if (m->suspect && q->suspects > 0) {
		queue_suspect_waits(q, e);
		return true;
	}
	job = new_job(q, e, limit);
	if (!job)
		return false;
	if (!find_content(q, job, &why)) {
		free_job(q, job);
		if (why.class == FAIL_LIMIT || why.err == ENOMEM || why.err == EMFILE || why.err == ENFILE)
			put_off(q, e, &why);
		else
			set_aside(q, m, &why);
		return true;
	}
	take_units(job, e, limit);
	job->last = d->nready <= 1 && !e->units && list_empty(&d->parked);
	ok = q->ports.deliver(q->ports.arg, job);
	if (!ok) {
		for (uint32_t i = 0; i < job->nunits; i++) {
			entry_add(e, job->units[i]);
			job->units[i] = NULL;
			d->nrcpts++;
		}
		free_job(q, job);
		return false;
	}
	job->content = SPAN_NONE; /* it may leave the cache now */
	buf_free(&job->bytes);
	job->alone = m->suspect;
	q->suspects += job->alone;
	m->jobs++;
	d->active++;
	if (d->limits.rate_delay)
		d->pause_ms = q->now + d->limits.rate_delay;
	if (e->units) {
		destination_rotate(d, e);
	} else {
		destination_remove(d, e);
		entry_done(e);
	}
	return true;
}

void
queue_run_jobs(struct queue *q)
{
	bool ready[QUEUE_AGENTS];
	struct list blocked;

	list_init(&blocked);
	for (unsigned i = 0; i < QUEUE_AGENTS; i++)
		ready[i] = q->ports.agent_ready(q->ports.arg, i);
	while (!list_empty(&q->rotor) && (ready[AGENT_REMOTE] || ready[AGENT_LOCAL] || q->asks.count < QUEUE_ASKS_MAX)) {
		struct destination *d = OWNER_OF(list_shift(&q->rotor), struct destination, rotor);
		struct entry *e = destination_prefers_due(d, q->now) ? destination_pick_due(d, q->now) : NULL;

		if (e) {
			wake_entry(q, d, e);
		} else if (d->nready > 0 && ready[d->agent]) {
			e = destination_pick_ready(d);
			ready[d->agent] = start_job(q, d, e) && q->ports.agent_ready(q->ports.arg, d->agent);
		} else if (d->nready > 0) {
			list_push(&blocked, &d->rotor);
			continue;
		}
		queue_look(q, d);
	}
	queue_run_routing(q);
	while (!list_empty(&blocked))
		list_push(&q->rotor, list_shift(&blocked));
}

/* ---- answers ---- */

static struct queue_job *
find_job(const struct queue *q, uint64_t id)
{
	struct map_node *node = map_get_u64(&q->jobs, id);

	return node ? OWNER_OF(node, struct queue_job, by_id) : NULL;
}

const struct unit *
queue_job_unit(const struct queue *q, uint64_t id, uint32_t index)
{
	const struct queue_job *job = find_job(q, id);

	return job && index < job->nunits ? job->units[index] : NULL;
}

static void
log_result(const struct queue *q, const struct queue_job *job, const struct unit *u, const struct queue_result *r)
{
	static const char *const words[] = { "sent", "deferred", "bounced", "sent" };
	const struct message *m = job->m;
	const struct recipient *to = &m->rcpts[u->recipient];
	int64_t delay = q->now - message_arrival_ms(m);

	if (!log_enabled(LOG_delivery))
		return;
	queue_log_message(LOG_delivery, m, "to=<%.*s>%s%.*s%s relay=%.*s%s%.*s%s delay=%" PRId64 ".%03d dsn=%.*s status=%s (%.*s)",
	    SPAN_ARG(unit_address(m, u)), u->address ? " orig_to=<" : "", SPAN_ARG(u->address ? text_span(to->address) : SPAN_NONE),
	    u->address ? ">" : "", SPAN_ARG(r->peer.n ? r->peer : SPAN("none")), r->tls.n ? " tls=\"" : "", SPAN_ARG(r->tls), r->tls.n ? "\"" : "", delay / 1000, (int)(delay % 1000 < 0 ? 0 : delay % 1000),
	    SPAN_ARG(r->code), words[r->outcome], SPAN_ARG(r->reply));
}

/* Who is added is there before it is recorded, and recorded before anything is of those that are added next. */
static bool
add_recipients(struct queue *q, struct queue_job *job, const struct unit *u, const struct queue_result *r, struct record_result *result)
{
	struct message *m = job->m;
	struct buf list;
	bool ok;

	buf_init(&list, QUEUE_ADDED_MAX);
	result->kept = r->kept;
	result->first = m->nrcpts;
	result->target = unit_address(m, u);
	ok = queue_forward_list(m, u, r, &list);
	result->added = buf_span(&list);
	ok = ok && message_add_forwarded(m, result);
	if (ok) {
		q->stats.recipients += m->nrcpts - result->first;
		queue_put_result(q, m, &job->list, result);
		queue_record_outcome(q, m, buf_span(&job->list), false, NULL);
		buf_reset(&job->list);
		queue_route_from(q, m, result->first);
	}
	buf_free(&list);
	return ok;
}

/* A unit has come to its end: the recipient too, unless it has others.  False: no memory for those that it adds. */
static bool
settle(struct queue *q, struct queue_job *job, struct unit *u, const struct queue_result *r, unsigned note)
{
	struct message *m = job->m;
	struct recipient *to = &m->rcpts[u->recipient];
	struct record_result result = { .index = u->recipient, .outcome = r->outcome, .code = r->code, .peer = r->peer, .reply = r->reply,
		.note = (uint8_t)note, .owner = note ? text_span(u->sender) : SPAN_NONE };

	result.settled = to->open == 1 && !to->delayed;
	if (u->address || !result.settled)
		result.target = unit_address(m, u);
	if (!r->forwards.n)
		queue_put_result(q, m, &job->list, &result);
	else if (!add_recipients(q, job, u, r, &result))
		return false;
	to = &m->rcpts[u->recipient];
	to->open--;
	if (result.settled) {
		to->settled = true;
		m->unsettled--;
		q->stats.recipients--;
	} else if (!message_add_done(m, u->recipient, result.target)) {
		queue_log_message(LOG_failure, m, "no memory to remember a delivery");
	}
	return true;
}

/* What is told of a result: the action, or REPORT_ACTION_COUNT when nothing is. */
static unsigned
action_of(const struct destination *d, const struct queue_result *r)
{
	bool lmtp = span_casestarts(destination_nexthop(d), SPAN("lmtp:"));

	if (r->outcome == OUTCOME_FAILED)
		return REPORT_FAILED;
	if (r->forwards.n) /* RFC 3461 5.2.7: behind one address, it is for others to tell */
		return queue_forwards_several(r) ? REPORT_EXPANDED : REPORT_ACTION_COUNT;
	if (r->tell) /* RFC 2852 4 */
		return REPORT_RELAYED;
	if (d->agent == AGENT_LOCAL || (r->outcome == OUTCOME_RELAYED && lmtp)) /* RFC 2033: in the mailbox */
		return REPORT_DELIVERED;
	/* A delivery to a host that knows DSN is that host's to report (RFC 3461 5.2.1). */
	return r->outcome == OUTCOME_RELAYED ? REPORT_RELAYED : REPORT_ACTION_COUNT;
}

static unsigned
tell(const struct queue *q, const struct queue_job *job, const struct unit *u, const struct queue_result *r)
{
	struct news news = { .action = action_of(job->d, r), .code = r->code, .peer = r->peer, .reply = r->forwards.n ? SPAN_NONE : r->reply,
		.at_ms = q->now, .wanted = r->tell };

	return news.action != REPORT_ACTION_COUNT && queue_note(job->m, u->recipient, u, &news) ? news.action + 1 : 0;
}

static void
defer(struct queue *q, struct queue_job *job, struct span peer, struct span reply)
{
	q->stats.deferred++;
	words_put(&q->words, &job->reason);
	job->reason = queue_reason(q, peer, reply);
}

bool
queue_job_result(struct queue *q, uint64_t id, uint32_t index, const struct queue_result *r)
{
	struct queue_job *job = find_job(q, id);
	struct unit *u;

	if (!job || index >= job->nunits || job->outcomes[index] != NO_RESULT || r->outcome > OUTCOME_RELAYED)
		return false;
	if (r->forwards.n && !queue_forward_ok(job, job->units[index], r))
		return false;
	queue_clock(q);
	u = job->units[index];
	job->outcomes[index] = r->outcome;
	job->nresults++;
	log_result(q, job, u, r);
	if (r->maybe_done)
		q->stats.duplicates++;
	if (r->outcome == OUTCOME_DEFERRED) {
		defer(q, job, r->peer, r->reply);
	} else if (settle(q, job, u, r, tell(q, job, u, r))) {
		*(r->outcome == OUTCOME_FAILED ? &q->stats.failed : &q->stats.delivered) += 1;
	} else {
		job->outcomes[index] = OUTCOME_DEFERRED;
		defer(q, job, SPAN_NONE, SPAN("no memory for those it is forwarded to"));
	}
	return true;
}

static bool
nothing_open(const struct message *m)
{
	return m->unsettled == 0 && m->jobs == 0 && m->asks == 0 && !message_notes(m);
}

/* Those without a final result wait, with the destination or by themselves. */
static void
delay_rest(struct queue *q, struct queue_job *job, bool held_back)
{
	struct message *m = job->m;
	int64_t due = 0;

	for (uint32_t i = 0; i < job->nunits; i++) {
		uint32_t recipient = job->units[i]->recipient;
		struct recipient *to = &m->rcpts[recipient];

		if (job->outcomes[i] == OUTCOME_DEFERRED || job->outcomes[i] == NO_RESULT) {
			to->open--;
			to->delayed = true;
		}
		if (to->settled || to->open > 0 || !to->delayed)
			continue;
		if (!due && !held_back)
			due = queue_retry_at(q, m, job->d);
		queue_delay(q, m, recipient, job->d, due);
	}
}

void
queue_record_destination(struct queue *q, struct destination *d)
{
	struct record_destination r = { .name = destination_name(d), .failures = d->failures, .until_ms = d->until_ms,
		.last = word_span(d->last) };
	journal_pos pos;

	if (!queue_append(q, RECORD_destination, &record_desc_destination, &r, SPAN_NONE, JOURNAL_INTERNAL | JOURNAL_LAZY, NULL, &pos,
	        NULL))
		return;
	if (d->pos)
		journal_live(q->journal, d->pos, -1);
	d->pos = 0;
	if (d->until_ms) { /* an open one needs no memory */
		d->pos = pos;
		journal_live(q->journal, pos, 1);
	}
}

static void
judge(struct queue *q, struct destination *d, unsigned health, struct span text)
{
	bool was_held = d->until_ms != 0;

	if (health != HEALTH_GOOD && health != HEALTH_UNTRIED) {
		words_put(&q->words, &d->last);
		d->last = words_get(&q->words, text);
	}
	if (!destination_feedback(d, health, &q->p, q->now, q->ports.random(q->ports.arg)))
		return;
	if (d->until_ms)
		log_put(LOG_destination, "name=%.*s held back for %" PRId64 "s, failure %u: %.*s", SPAN_ARG(destination_name(d)),
		    (d->until_ms - q->now) / 1000, d->failures, SPAN_ARG(text));
	else
		log_put(LOG_destination, "name=%.*s open again", SPAN_ARG(destination_name(d)));
	if (d->until_ms || was_held)
		queue_record_destination(q, d);
	if (d->until_ms)
		queue_park(q, d);
}

bool
queue_job_done(struct queue *q, uint64_t id, unsigned health, struct span text)
{
	struct queue_job *job = find_job(q, id);
	struct message *m;
	struct destination *d;
	bool finished;

	if (!job || health > HEALTH_UNTRIED)
		return false;
	queue_clock(q);
	m = job->m;
	d = job->d;
	m->jobs--;
	d->active--;
	if (job->alone && !job->crashed && job->nresults == job->nunits) /* its agent has survived it */
		m->suspect = false;
	if (job->nresults < job->nunits || job->reason) {
		m->flags |= MESSAGE_TRIED;
		m->attempts++;
	}
	if (job->reason) {
		words_put(&q->words, &m->reason);
		m->reason = word_again(job->reason);
	}
	judge(q, d, health, text);
	delay_rest(q, job, d->until_ms != 0 && health != HEALTH_GOOD);
	queue_blame_job(q, job);
	finished = nothing_open(m);
	if (buf_len(&job->list) > 0 || finished)
		queue_record_outcome(q, m, buf_span(&job->list), false, finished ? "" : NULL);
	free_job(q, job);
	if (finished)
		queue_drop(q, m);
	else
		queue_touch(q, m);
	queue_look(q, d);
	return true;
}

void
queue_job_lost(struct queue *q, uint64_t id)
{
	struct queue_job *job = find_job(q, id);

	if (!job)
		return;
	q->stats.duplicates += job->nunits - job->nresults;
	queue_log_message(LOG_failure, job->m, "its agent went away: %u recipients are tried again and may get it twice",
	    job->nunits - job->nresults);
	(void)queue_job_done(q, id, HEALTH_UNTRIED, SPAN_NONE);
}

void
queue_agent_lost(struct queue *q, const void *agent)
{
	LIST_EACH(&q->job_list, it) {
		struct queue_job *job = OWNER_OF(it, struct queue_job, node);

		if (job->agent == agent)
			queue_job_lost(q, queue_job_id(job));
	}
}

static void
look_after(struct queue *q, struct message *m)
{
	if (m->jobs || m->asks || m->flags & MESSAGE_ACCEPTING)
		return;
	for (const struct entry *e = &m->first; e; e = e->next)
		if (e->state == ENTRY_READY || e->state == ENTRY_UNROUTED)
			return;
	if (m->flags & MESSAGE_DELETED) {
		queue_record_deletion(q, m);
		queue_drop(q, m);
	} else if (m->unsettled > 0) {
		if (!(m->flags & (MESSAGE_HELD | MESSAGE_LATER)))
			queue_wait_settled(q, m);
	} else if (!message_notes(m) || queue_report(q, m)) {
		queue_record_outcome(q, m, SPAN_NONE, false, "");
		queue_drop(q, m);
	} else {
		queue_report_later(q, m);
	}
}

static void
look_after_all(struct queue *q)
{
	while (buf_len(&q->actions) > 0) {
		struct cursor c = cursor_of(buf_span(&q->actions));
		struct message *m = queue_find(q, cursor_le64(&c));

		buf_eat(&q->actions, sizeof(uint64_t));
		if (m) {
			m->flags &= (uint16_t)~MESSAGE_TOUCHED;
			look_after(q, m);
		}
	}
	if (!buf_ok(&q->actions))
		buf_reset(&q->actions);
}

void
queue_run(struct queue *q)
{

	if (q->running)
		return;
	q->running = true;
	queue_clock(q);
	queue_run_timed(q);
	queue_run_timers(q);
	do {
		look_after_all(q);
		queue_run_routing(q);
		queue_run_jobs(q);
		queue_run_ages(q);
	} while (buf_len(&q->actions) > 0);
	queue_run_timers(q);
	journal_tidy(q->journal);
	q->running = false;
	if (queue_bury_some(q))
		queue_wake(q, 0);
}
