/* SPDX-License-Identifier: ISC
 *
 * Law 8: a recipient is resolved anew at each attempt.  What an answer says is
 * good for the attempt that follows and is then forgotten.
 */
#include <stdio.h>
#include <stdlib.h>

#include "mail/report.h"
#include "mail/status.h"
#include "queue/impl.h"

void
queue_await_routing(struct queue *q, struct entry *e)
{
	e->state = ENTRY_UNROUTED;
	list_push(message_priority(e->m) > 0 ? &q->urgent : &q->unrouted, &e->node);
}

void
queue_start(struct queue *q, struct message *m)
{
	struct entry *e = m->flags & MESSAGE_LATER ? NULL : message_entry(m, NULL);

	if (!e)
		return; /* its time will come; or no memory: the next restart or flush takes it up */
	for (uint32_t i = 0; i < m->nrcpts; i++)
		if (!m->rcpts[i].settled && m->rcpts[i].open == 0 && !m->rcpts[i].routing)
			entry_chain(e, i);
	if (e->count == 0) {
		queue_touch(q, m);
		return;
	}
	queue_await_routing(q, e);
	queue_wake(q, 0);
}

void
queue_route_from(struct queue *q, struct message *m, uint32_t first)
{
	struct entry *e = m->flags & (MESSAGE_HELD | MESSAGE_DELETED) ? NULL : message_entry(m, NULL);

	if (!e)
		return; /* a release starts with whatever is not settled; or no memory: as in queue_start() */
	for (uint32_t i = first; i < m->nrcpts; i++)
		entry_chain(e, i);
	queue_await_routing(q, e);
	queue_wake(q, 0);
}

static void
free_ask(struct queue *q, struct ask *a)
{
	if (a->woken && a->woken->waking > 0)
		a->woken->waking--;
	while (a->units) {
		struct unit *u = a->units;

		a->units = u->next;
		unit_free(u);
	}
	while (a->nunits > 0)
		a->at[--a->nunits]->coming--;
	map_remove(&q->asks, &a->by_id);
	list_remove(&a->node);
	buf_free(&a->failing);
	free(a->at);
	free(a->owner);
	free(a->code);
	free(a->text);
	free(a);
}

static bool
ask_one(struct queue *q, struct message *m, uint32_t recipient, struct destination *woken)
{
	struct ask *a = calloc(1, sizeof(*a));

	if (!a || !map_put_u64(&q->asks, &a->by_id, ++q->next_ask)) {
		free(a);
		return false;
	}
	list_push(&q->ask_list, &a->node);
	a->m = m;
	a->recipient = recipient;
	buf_init(&a->failing, RESULTS_MAX);
	a->woken = woken; /* which counts it already */
	if (!q->ports.route(q->ports.arg, a->by_id.hash, text_span(m->rcpts[recipient].address), text_span(m->sender))) {
		a->woken = NULL;
		free_ask(q, a);
		return false;
	}
	m->asks++;
	m->rcpts[recipient].routing = true;
	return true;
}

/* Asks about some recipients of the entry; false when routing takes no more. */
static bool
ask_some(struct queue *q, struct entry *e)
{
	for (int i = 0; i < ASKS_TURN && e->head && e->m->asks < ASKS_MESSAGE; i++) {
		uint32_t recipient = e->head - 1;

		if (q->asks.count >= QUEUE_ASKS_MAX || !ask_one(q, e->m, recipient, e->d))
			return false;
		(void)entry_unchain(e, &recipient);
	}
	return true;
}

/* While other mail comes in, a long list goes at a pace: all programs busy with it are what each letter would wait for, at each
 * of its steps.  The clock may jump, so what lies too far ahead counts as past. */
static bool
too_early(struct queue *q, const struct entry *e)
{
	int64_t since = q->now - q->letter_ms, early = q->list_due - q->now;

	if (e->m->nrcpts <= LIST_LONG || since < 0 || since > LETTERS_MS)
		return false;
	if (early > 0 && early <= LIST_LATE_MS) {
		queue_wake(q, q->list_due);
		return true;
	}
	q->list_due = q->now + (early > -LIST_LATE_MS && early <= 0 ? early : -LIST_LATE_MS) + LIST_PACE_MS;
	return false;
}

void
queue_run_routing(struct queue *q)
{
	struct list waits; /* for answers */
	bool more = true;

	list_init(&waits);
	while (more && (!list_empty(&q->urgent) || !list_empty(&q->unrouted))) {
		struct list *first = list_empty(&q->urgent) ? q->unrouted.next : q->urgent.next;
		struct entry *e = OWNER_OF(first, struct entry, node);

		list_remove(&e->node);
		if (too_early(q, e)) {
			list_push(&waits, &e->node);
			continue;
		}
		more = ask_some(q, e);
		if (!e->head)
			entry_done(e);
		else if (e->m->asks < ASKS_MESSAGE)
			queue_await_routing(q, e); /* others' turn */
		else
			list_push(&waits, &e->node);
	}
	while (!list_empty(&waits))
		queue_await_routing(q, OWNER_OF(list_shift(&waits), struct entry, node));
}

static struct ask *
find_ask(const struct queue *q, uint64_t id)
{
	struct map_node *node = map_get_u64(&q->asks, id);

	return node ? OWNER_OF(node, struct ask, by_id) : NULL;
}

bool
queue_has_asked(const struct queue *q, uint64_t id)
{
	return id > q->first_ask && id <= q->next_ask;
}

_Static_assert(TARGETS_MAX < 1 << 20, "recipient.open holds them");

static bool
add_unit(struct queue *q, struct ask *a, const struct queue_target *t)
{
	struct destination *d = a->nunits < TARGETS_MAX ? queue_destination(q, t->agent, t->nexthop) : NULL;
	struct unit *u = d ? unit_new(a->recipient) : NULL;
	struct span sender = t->sender;

	if (!u)
		return false;
	if (a->nunits == a->max_units) {
		size_t max = a->max_units ? a->max_units * 2 : 2;
		struct destination **at = realloc(a->at, max * sizeof(struct destination *));

		if (!at) {
			unit_free(u);
			return false;
		}
		a->at = at;
		a->max_units = max;
	}
	if (!sender.n && message_via(a->m, a->recipient).n)
		sender = message_owner(a->m, a->recipient); /* it came by a list, and then by a forward file */
	if ((!span_eq(t->address, text_span(a->m->rcpts[a->recipient].address)) && !text_keep(&u->address, t->address)) ||
	    !text_keep(&u->home, t->home) || !text_keep(&u->sender, sender) || !text_keep(&u->logins, t->logins)) {
		unit_free(u);
		return false;
	}
	u->uid = t->uid;
	u->gid = t->gid;
	u->quota = t->quota;
	u->messages = t->messages;
	a->at[a->nunits++] = d;
	d->coming++;
	u->next = a->units; /* backwards, as at[] is read */
	a->units = u;
	return true;
}

/* What fails beside other targets is told once, and then is done: under a name of its own, for other mail may go to the
 * same address. False: it was told. */
static bool
add_failing(struct ask *a, const struct queue_target *t)
{
	const struct status *s = status_get(t->status);
	char room[640];
	struct record_result r = { .index = a->recipient, .outcome = OUTCOME_FAILED, .code = span_str(s->code),
		.reply = t->text.n ? t->text : span_str(s->text) };

	(void)snprintf(room, sizeof(room), "failed:%.*s", SPAN_ARG(t->address));
	r.target = span_str(room);
	if (message_is_done(a->m, a->recipient, r.target))
		return false;
	a->deferred |= !record_list_put(&a->failing, &record_desc_result, &r);
	return true;
}

bool
queue_target(struct queue *q, uint64_t id, const struct queue_target *t)
{
	struct ask *a = find_ask(q, id);
	const struct status *s = status_get(t->status);

	if (!a)
		return false;
	if (t->agent == AGENT_REMOTE || t->agent == AGENT_LOCAL) {
		a->targets++;
		a->listed += t->sender.n > 0;
		if (!a->owner)
			a->owner = text_new(t->sender);
	}
	if (t->agent != AGENT_FAIL && t->agent != AGENT_DEFER && message_is_done(a->m, a->recipient, t->address)) {
		a->there = true;
		return true;
	}
	switch (t->agent) {
	case AGENT_REMOTE:
	case AGENT_LOCAL:
		if (!add_unit(q, a, t))
			a->deferred = true;
		break;
	case AGENT_DISCARD:
		break;
	default:
		if (t->agent == AGENT_FAIL && !add_failing(a, t))
			break;
		a->deferred |= t->agent == AGENT_DEFER;
		a->failed |= t->agent == AGENT_FAIL;
		free(a->code);
		free(a->text);
		a->code = text_new(span_str(s->code));
		a->text = text_new(t->text.n ? t->text : span_str(s->text));
		break;
	}
	return true;
}

/* RFC 3461 5.2.7: an alias with several addresses is reported as expanded; a list, of which the
 * sender hears nothing any more, as delivered. Once, whatever the next attempt resolves to. */
static void
tell_expansion(struct queue *q, struct ask *a)
{
	struct message *m = a->m;
	struct recipient *to = &m->rcpts[a->recipient];
	bool list = a->targets > 0 && a->listed == a->targets;
	struct news news = { .action = list ? REPORT_DELIVERED : REPORT_EXPANDED, .code = SPAN("2.0.0"), .at_ms = q->now };
	struct record_result r = { .index = a->recipient, .outcome = OUTCOME_DELIVERED, .code = news.code };
	struct buf lists;
	bool noted;

	if (to->expanded || (!list && a->targets < 2))
		return;
	noted = queue_note(m, a->recipient, NULL, &news);
	if (!list && !noted)
		return;
	to->expanded = true;
	r.note = noted ? (uint8_t)(news.action + 1) : 0;
	if (list) {
		r.owner = text_span(a->owner);
		(void)message_set_owner(m, a->recipient, r.owner);
	}
	buf_init(&lists, 8192);
	if (record_list_put(&lists, &record_desc_result, &r))
		queue_record_outcome(q, m, buf_span(&lists), false, NULL);
	buf_free(&lists);
}

/* The recipient needs no agent: its end is known from routing alone. */
static void
settle_at_once(struct queue *q, struct ask *a)
{
	struct message *m = a->m;
	struct span code = a->code ? text_span(a->code) : SPAN("2.0.0"), text = a->text ? text_span(a->text) : a->there ? SPAN("it is there already") : SPAN("discarded");
	struct record_result r = { .index = a->recipient, .settled = true,
		.outcome = a->failed ? OUTCOME_FAILED : OUTCOME_DELIVERED, .code = code, .reply = text, .owner = message_owner(m, a->recipient) };
	struct news news = { .action = REPORT_FAILED, .code = code, .reply = text, .at_ms = q->now };
	struct buf list;

	buf_init(&list, 8192);
	m->rcpts[a->recipient].settled = true;
	m->unsettled--;
	q->stats.recipients--;
	q->stats.failed += a->failed;
	q->stats.delivered += !a->failed;
	queue_log_message(LOG_delivery, m, "to=<%.*s> relay=none dsn=%.*s status=%s (%.*s)",
	    SPAN_ARG(text_span(m->rcpts[a->recipient].address)), SPAN_ARG(code), a->failed ? "bounced" : "sent", SPAN_ARG(text));
	if (a->failed && queue_note(m, a->recipient, NULL, &news))
		r.note = REPORT_FAILED + 1;
	if (record_list_put(&list, &record_desc_result, &r))
		queue_record_outcome(q, m, buf_span(&list), false, NULL);
	buf_free(&list);
}

/* Some of its targets: the others go on. */
static void
tell_failing(struct queue *q, struct ask *a)
{
	struct message *m = a->m;
	struct span rest = buf_span(&a->failing);
	struct record_result r;
	struct buf list;
	bool ok = true;

	buf_init(&list, 1000000);
	while (record_list_next(&rest, &record_desc_result, &r, &ok)) {
		struct news news = { .action = REPORT_FAILED, .code = r.code, .reply = r.reply, .at_ms = q->now };

		queue_log_message(LOG_delivery, m, "to=<%.*s> relay=none dsn=%.*s status=bounced (%.*s)",
		    SPAN_ARG(text_span(m->rcpts[a->recipient].address)), SPAN_ARG(r.code), SPAN_ARG(r.reply));
		q->stats.failed++;
		r.owner = message_owner(m, a->recipient);
		r.note = queue_note(m, a->recipient, NULL, &news) ? REPORT_FAILED + 1 : 0;
		queue_put_result(q, m, &list, &r);
		if (!message_add_done(m, a->recipient, r.target))
			queue_log_message(LOG_failure, m, "no memory to remember a failure");
	}
	queue_record_outcome(q, m, buf_span(&list), false, NULL);
	buf_free(&list);
}

static void
place_units(struct ask *a)
{
	struct message *m = a->m;

	while (a->units) {
		struct unit *u = a->units;
		struct destination *d = a->at[--a->nunits];
		struct entry *e = message_ready_entry(m, d);

		a->units = u->next;
		if (!e)
			e = message_entry(m, d);
		if (!e) {
			unit_free(u);
			d->coming--;
			a->deferred = true;
			continue;
		}
		entry_add(e, u);
		if (e->state == ENTRY_READY) {
			d->coming--;
			d->nrcpts++;
		}
		m->rcpts[u->recipient].open++;
	}
}

/* The whole round of questions is answered: jobs may be made. */
static void
make_ready(struct queue *q, struct message *m)
{
	for (struct entry *e = &m->first, *next; e; e = next) {
		struct destination *d = e->d;

		next = e->next;
		if (e->state == ENTRY_IDLE && e->units) {
			d->coming -= e->count;
			destination_add_ready(d, e);
			if (d->until_ms > q->now)
				queue_park(q, d);
			queue_look(q, d);
		}
	}
	queue_touch(q, m);
}

/* Law 11: where it is to go at this attempt, and by which rules. */
static void
log_route(const struct ask *a, struct span why)
{
	struct span address = text_span(a->m->rcpts[a->recipient].address);
	const struct unit *u = a->units;
	struct buf to;

	if (!log_enabled(LOG_route))
		return;
	buf_init(&to, 2000);
	for (size_t i = a->nunits; i-- > 0 && u; u = u->next)
		buf_printf(&to, " via=%.*s%s%.*s%s", SPAN_ARG(destination_name(a->at[i])), u->address ? " as=<" : "", SPAN_ARG(text_span(u->address)),
		    u->address ? ">" : "");
	queue_log_message(LOG_route, a->m, "to=<%.*s>%.*s%s (%.*s)", SPAN_ARG(address), SPAN_ARG(buf_span(&to)), buf_ok(&to) ? "" : " ...",
	    SPAN_ARG(why.n ? why : a->text ? text_span(a->text) : SPAN("no rule named")));
	buf_free(&to);
}

bool
queue_routed(struct queue *q, uint64_t id, struct span why)
{
	struct ask *a = find_ask(q, id);
	struct message *m = a ? a->m : NULL;
	struct destination *woken = a ? a->woken : NULL;
	struct recipient *r;

	if (!a)
		return false;
	log_route(a, why);
	r = &m->rcpts[a->recipient];
	r->routing = false;
	m->asks--;
	tell_expansion(q, a);
	if (a->nunits == 0 && !a->deferred)
		settle_at_once(q, a);
	else if (buf_len(&a->failing) > 0)
		tell_failing(q, a);
	place_units(a);
	if (a->deferred) {
		if (a->text) {
			words_put(&q->words, &m->reason);
			m->reason = words_get(&q->words, text_span(a->text));
		}
		if (r->open > 0)
			r->delayed = true;
		else
			queue_delay(q, m, a->recipient, queue_destination_named(q, SPAN("routing/")), q->now + q->p.queue_run_delay);
	}
	free_ask(q, a);
	if (woken)
		queue_look(q, woken);
	if (m->asks == 0)
		make_ready(q, m);
	queue_wake(q, 0);
	return true;
}

void
queue_routing_lost(struct queue *q)
{
	LIST_EACH(&q->ask_list, it) {
		struct ask *a = OWNER_OF(it, struct ask, node);
		struct message *m = a->m;
		uint32_t recipient = a->recipient;
		struct entry *e;

		m->asks--;
		m->rcpts[recipient].routing = false;
		free_ask(q, a);
		e = message_entry(m, NULL);
		if (!e)
			continue;
		entry_chain(e, recipient);
		queue_await_routing(q, e);
	}
}

void
queue_unroute(struct queue *q, struct message *m)
{
	if (m->asks)
		LIST_EACH(&q->ask_list, it) {
			struct ask *a = OWNER_OF(it, struct ask, node);

			if (a->m == m) {
				m->rcpts[a->recipient].routing = false;
				free_ask(q, a);
			}
		}
	m->asks = 0;
	for (struct entry *e = &m->first, *next; e; e = next) {
		struct destination *d = e->d;
		struct unit *u;
		uint32_t recipient;

		next = e->next;
		if (e->state == ENTRY_UNROUTED && d)
			d->waking -= e->count < d->waking ? e->count : d->waking;
		if (e->state == ENTRY_READY || e->state == ENTRY_WAITING) {
			destination_remove(d, e);
			queue_look(q, d);
		} else if (e->units) {
			d->coming -= e->count;
		}
		while (entry_unchain(e, &recipient))
			;
		while ((u = entry_take(e))) {
			struct recipient *r = &m->rcpts[u->recipient];

			r->open--;
			r->delayed = r->open > 0; /* what comes back of it is not all */
			unit_free(u);
		}
		entry_done(e);
	}
}
