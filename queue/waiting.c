/* SPDX-License-Identifier: ISC
 *
 * Delays, timers of destinations, lifetimes and warnings.
 */
#include <inttypes.h>

#include "mail/report.h"
#include "queue/impl.h"

enum { AGE_INTERVAL_MS = 60 * 1000, BACKWARDS_MS = 10 * 1000, FORGET = 5000 };

/* ---- the clock ---- */

struct jump {
	struct queue *q;
	int64_t by;
};

static void
shift_destination(struct destination *d, void *arg)
{
	const struct jump *j = arg;

	if (d->until_ms)
		d->until_ms -= d->until_ms > j->by ? j->by : d->until_ms - 1;
	d->pause_ms -= j->by;
	d->idle_since_ms -= j->by;
	for (unsigned i = 0; i < DESTINATION_LATER; i++)
		LIST_EACH(&d->later[i], it) {
			struct entry *e = OWNER_OF(it, struct entry, node);

			e->due_ms -= e->due_ms > j->by ? j->by : e->due_ms - 1;
		}
	queue_look(j->q, d);
}

/* When the wall clock is set back, what waited for a time waits on for as long as
 * before, not for as long as the clock was set back. */
void
queue_clock(struct queue *q)
{
	struct jump jump = { q, q->now };

	q->now = q->ports.now_ms(q->ports.arg);
	jump.by -= q->now;
	if (jump.by < BACKWARDS_MS)
		return;
	log_put(LOG_queue, "the clock was set back by %" PRId64 " s; waits are kept", jump.by / 1000);
	q->next_age_ms = 0;
	q->report_ms -= jump.by;
	queue_each_destination(q, shift_destination, &jump);
}

/* ---- delays ---- */

static int64_t
lifetime(const struct queue *q, const struct message *m)
{
	return m->sender ? q->p.maximal_queue_lifetime : q->p.bounce_queue_lifetime;
}

/* Since it arrived, or since it was to be sent (RFC 4865). */
static int64_t
age_of(const struct queue *q, const struct message *m)
{
	int64_t arrival = message_arrival_ms(m);
	int64_t release = m->extra ? m->extra->release_ms : 0;

	return q->now - (release > arrival ? release : arrival);
}

int64_t
queue_retry_at(struct queue *q, const struct message *m, const struct destination *d)
{
	uint32_t n = destination_step(&d->limits, age_of(q, m)); /* not by attempts: each recipient's job is one */

	return q->now + destination_backoff(&d->limits, n, q->ports.random(q->ports.arg));
}

void
queue_delay(struct queue *q, struct message *m, uint32_t recipient, struct destination *d, int64_t due_ms)
{
	struct entry *e = d ? message_waiting_entry(m, d) : NULL;

	m->rcpts[recipient].delayed = false;
	if (m->flags & (MESSAGE_HELD | MESSAGE_DELETED))
		return; /* a release starts with whatever is not settled */
	if (!e) {
		e = d ? message_entry(m, d) : NULL;
		if (!e) {
			queue_log_message(LOG_failure, m, "no memory to keep a recipient waiting; a restart takes it up");
			return;
		}
		entry_chain(e, recipient);
		destination_add_waiting(d, e, due_ms, q->now);
	} else {
		entry_chain(e, recipient);
		d->nrcpts++;
	}
	queue_look(q, d);
}

void
queue_give_up(struct queue *q, struct message *m, struct span code, struct span reason)
{
	struct buf list;

	queue_unroute(q, m);
	buf_init(&list, 1000000);
	for (uint32_t i = 0; i < m->nrcpts; i++) {
		struct record_result r = { .index = i, .settled = true, .outcome = OUTCOME_FAILED, .code = code, .reply = reason,
			.owner = message_owner(m, i) };
		struct news news = { .action = REPORT_FAILED, .code = code, .reply = reason };

		if (m->rcpts[i].settled || m->rcpts[i].open > 0)
			continue;
		m->rcpts[i].settled = true;
		m->unsettled--;
		q->stats.recipients--;
		q->stats.failed++;
		queue_log_message(LOG_delivery, m, "to=<%.*s> relay=none dsn=%.*s status=bounced (%.*s)",
		    SPAN_ARG(text_span(m->rcpts[i].address)), SPAN_ARG(code), SPAN_ARG(reason));
		r.note = queue_note(m, i, NULL, &news) ? REPORT_FAILED + 1 : 0;
		queue_put_result(q, m, &list, &r);
	}
	if (m->unsettled > 0 || message_notes(m)) /* else the removal says it all */
		queue_record_outcome(q, m, buf_span(&list), false, NULL);
	else if (q->ports.outcome)
		q->ports.outcome(q->ports.arg, m, &(struct record_outcome){ .id = message_id(m), .at_ms = q->now, .list = buf_span(&list) });
	buf_free(&list);
	queue_touch(q, m);
}

static void
give_up(struct queue *q, struct message *m)
{
	struct span reason = word_span(m->reason);

	queue_log_message(LOG_expired, m, "from=<%.*s> age=%" PRId64 "s", SPAN_ARG(text_span(m->sender)), age_of(q, m) / 1000);
	if (queue_is_overdue(q, m))
		queue_give_up_overdue(q, m);
	else
		queue_give_up(q, m, SPAN("4.4.7"), reason.n ? reason : SPAN("delivery time expired"));
}

void
queue_wait_settled(struct queue *q, struct message *m)
{
	if ((m->flags & MESSAGE_EXPIRED) || age_of(q, m) >= lifetime(q, m)) {
		give_up(q, m);
		return;
	}
	if (message_notes(m) && !queue_report(q, m))
		queue_log_message(LOG_failure, m, "a report could not be written yet");
	queue_uncache(q, m);
	queue_record_state(q, m);
}

void
queue_postpone(struct queue *q, struct entry *e, struct word *reason, int64_t due_ms)
{
	struct message *m = e->m;
	struct destination *d = e->d;
	struct unit *units = e->units, *u;

	destination_remove(d, e);
	e->units = NULL; /* the entry may be the one they wait in next */
	e->count = 0;
	entry_done(e);
	words_put(&q->words, &m->reason);
	m->reason = word_again(reason);
	while ((u = units)) {
		struct recipient *r = &m->rcpts[u->recipient];
		uint32_t recipient = u->recipient;

		units = u->next;
		if (!(m->flags & MESSAGE_TRIED)) /* it never was: say why */
			queue_log_message(LOG_delivery, m, "to=<%.*s> relay=none status=deferred (waits for %.*s: %.*s)",
			    SPAN_ARG(unit_address(m, u)), SPAN_ARG(destination_nexthop(d)), SPAN_ARG(word_span(reason)));
		unit_free(u);
		if (--r->open == 0)
			queue_delay(q, m, recipient, d, due_ms);
		else
			r->delayed = true;
	}
	m->flags |= MESSAGE_TRIED;
	queue_touch(q, m);
}

void
queue_park(struct queue *q, struct destination *d)
{
	struct entry *e;

	while (d->nready > 0 && (e = destination_pick_ready(d)))
		queue_postpone(q, e, d->last, 0);
}

void
queue_run_timers(struct queue *q)
{
	struct heap_node *first;

	while ((first = heap_first(&q->timers)) && first->due_ms <= q->now) {
		heap_take(&q->timers, first);
		queue_look(q, OWNER_OF(first, struct destination, timer));
		if (first->place && first->due_ms <= q->now)
			break; /* waits for an agent */
	}
	if (first && first->due_ms > q->now)
		q->ports.wake(q->ports.arg, first->due_ms);
}

static bool
quiet(const struct message *m)
{
	if (m->jobs || m->asks || m->flags & (MESSAGE_ACCEPTING | MESSAGE_HELD))
		return false;
	for (const struct entry *e = &m->first; e; e = e->next)
		if (e->state == ENTRY_READY || e->state == ENTRY_UNROUTED)
			return false;
	return true;
}

static void
expire(struct queue *q, int kind)
{
	LIST_EACH(&q->age[kind], it) {
		struct message *m = OWNER_OF(it, struct message, age);

		if (q->now - message_arrival_ms(m) < lifetime(q, m))
			break;
		if (age_of(q, m) < lifetime(q, m)) /* it was to wait first */
			continue;
		if (quiet(m))
			give_up(q, m);
		else
			m->flags |= MESSAGE_EXPIRED;
	}
}

static void
warn(struct queue *q, int kind)
{
	while (q->warn[kind] && q->p.delay_warning_time > 0 &&
	       (age_of(q, q->warn[kind]) >= q->p.delay_warning_time || q->warn[kind]->flags & MESSAGE_LATER)) {
		struct message *m = q->warn[kind];
		struct news news;

		q->warn[kind] = m->age.next == &q->age[kind] ? NULL : OWNER_OF(m->age.next, struct message, age);
		if (m->flags & (MESSAGE_WARNED | MESSAGE_HELD | MESSAGE_LATER | MESSAGE_DELETED) || !m->sender)
			continue;
		news = (struct news){ .action = REPORT_DELAYED, .code = SPAN("4.4.7"),
			.reply = m->reason ? word_span(m->reason) : SPAN("delivery is delayed") };
		m->flags |= MESSAGE_WARNED;
		for (uint32_t i = 0; i < m->nrcpts; i++)
			if (!m->rcpts[i].settled)
				(void)queue_note(m, i, NULL, &news);
		if (message_notes(m))
			(void)queue_report(q, m);
		queue_record_state(q, m);
	}
}

/* Law 9: names of next hops are for others to make up. */
static void
forget_destinations(struct queue *q)
{
	for (int i = 0; i < FORGET && !list_empty(&q->idle); i++) {
		struct destination *d = OWNER_OF(q->idle.next, struct destination, idle);

		if (q->now - d->idle_since_ms < q->p.maximal_backoff_time)
			break;
		if (destination_is_idle(d) && d->until_ms <= q->now && d->pause_ms <= q->now)
			queue_forget_destination(q, d);
		else
			queue_destination_idles(q, d); /* it is looked at again after as long */
	}
}

/* A tenth of the shortest time that counts, within a second and a minute. */
static int64_t
age_interval(const struct queue_params *p)
{
	int64_t shortest = p->maximal_queue_lifetime < p->bounce_queue_lifetime ? p->maximal_queue_lifetime : p->bounce_queue_lifetime;

	if (p->delay_warning_time > 0 && p->delay_warning_time < shortest)
		shortest = p->delay_warning_time;
	return shortest < 10 * 1000 ? 1000 : shortest > 10 * AGE_INTERVAL_MS ? AGE_INTERVAL_MS : shortest / 10;
}

void
queue_run_ages(struct queue *q)
{
	if (q->now >= q->next_age_ms) {
		q->next_age_ms = q->now + age_interval(&q->p);
		for (int kind = 0; kind < 2; kind++) {
			warn(q, kind);
			expire(q, kind);
		}
		queue_run_reports(q);
		queue_deleted_sweep(q);
		forget_destinations(q);
	}
	if (q->messages.count || q->deletions.count || !list_empty(&q->idle)) /* each time: an earlier wake takes the place of this one */
		q->ports.wake(q->ports.arg, q->next_age_ms);
}
