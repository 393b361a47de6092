/* SPDX-License-Identifier: ISC */
#include "queue/destination.h"

#include <stdlib.h>

enum { DEFERRED_TURN = 4, RANK_TURN = 8, SHORT_MS = 4000, LOOK_BACK = 64 };

struct destination *
destination_new(struct span name, unsigned agent, const struct queue_params *p)
{
	struct destination *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->name = text_new(name);
	if (!d->name) {
		free(d);
		return NULL;
	}
	d->agent = (uint8_t)agent;
	for (unsigned i = 0; i < DESTINATION_FLOWS; i++)
		list_init(&d->fresh[i]);
	list_init(&d->retry);
	list_init(&d->parked);
	for (unsigned i = 0; i < DESTINATION_LATER; i++)
		list_init(&d->later[i]);
	d->window = agent ? p->local_concurrency_limit : p->initial_concurrency;
	d->limits = destination_default_limits(d, p);
	return d;
}

struct destination_limits
destination_default_limits(const struct destination *d, const struct queue_params *p)
{
	return (struct destination_limits){ d->agent ? p->local_concurrency_limit : p->concurrency_limit, p->recipient_limit, p->rate_delay,
		p->minimal_backoff_time, p->maximal_backoff_time };
}

void
destination_free(struct destination **at, struct words *words)
{
	struct destination *d = *at;

	words_put(words, &d->last);
	list_remove(&d->rotor);
	list_remove(&d->idle);
	free(d->ranks);
	free(d->name);
	free(d);
	*at = NULL;
}

struct span
destination_nexthop(const struct destination *d)
{
	struct span s = destination_name(d);

	(void)span_cut(&s, '/');
	return s;
}

static unsigned
flow_of(const struct message *m)
{
	struct span s = text_span(m->sender);
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * 16777619u;
	return (h ^ h >> 16) % DESTINATION_FLOWS;
}

static struct list *
rank_of(struct destination *d, int priority)
{
	if (!d->ranks) {
		d->ranks = malloc(sizeof(*d->ranks));
		if (!d->ranks)
			return NULL;
		d->ranks->turn = 0;
		for (int i = 0; i <= 2 * PRIORITY_MAX; i++)
			list_init(&d->ranks->of[i]);
	}
	return &d->ranks->of[priority + PRIORITY_MAX];
}

static struct list *
ready_list(struct destination *d, const struct message *m)
{
	int priority = message_priority(m);
	struct list *rank = priority ? rank_of(d, priority) : NULL;

	return rank ? rank : m->flags & MESSAGE_TRIED ? &d->retry : &d->fresh[flow_of(m)];
}

/* The first of those with a priority from high down to low. */
static struct entry *
pick_rank(const struct destination *d, int high, int low)
{
	for (int i = high; d->ranks && i >= low; i--)
		if (!list_empty(&d->ranks->of[i + PRIORITY_MAX]))
			return OWNER_OF(d->ranks->of[i + PRIORITY_MAX].next, struct entry, node);
	return NULL;
}

bool
destination_is_urgent(const struct destination *d)
{
	return pick_rank(d, PRIORITY_MAX, 1) != NULL;
}

void
destination_add_ready(struct destination *d, struct entry *e)
{
	e->state = ENTRY_READY;
	list_push(ready_list(d, e->m), &e->node);
	d->nready++;
	d->nrcpts += e->count;
}

/* Shorter than SHORT_MS, than twice that, than four times that, ... */
static uint8_t
class_of(int64_t wait)
{
	uint8_t class = 0;

	while (class < DESTINATION_LATER - 1 && wait >= SHORT_MS) {
		wait /= 2;
		class++;
	}
	return class;
}

/* By due_ms. Where many are due later, it waits as long as one of them: their waits are about equal. */
static void
insert_later(struct list *l, struct entry *e)
{
	struct list *after = l->prev;

	for (int i = 0; i < LOOK_BACK && after != l && OWNER_OF(after, struct entry, node)->due_ms > e->due_ms; i++)
		after = after->prev;
	if (after != l && OWNER_OF(after, struct entry, node)->due_ms > e->due_ms)
		e->due_ms = OWNER_OF(after, struct entry, node)->due_ms;
	list_insert(after, &e->node);
}

void
destination_add_waiting(struct destination *d, struct entry *e, int64_t due_ms, int64_t now)
{
	e->state = ENTRY_WAITING;
	e->class = class_of(due_ms - now);
	e->due_ms = due_ms;
	if (due_ms)
		insert_later(&d->later[e->class], e);
	else
		list_push(&d->parked, &e->node);
	d->nwaiting++;
	d->nrcpts += e->count;
}

void
destination_remove(struct destination *d, struct entry *e)
{
	list_remove(&e->node);
	if (e->state == ENTRY_READY)
		d->nready--;
	else
		d->nwaiting--;
	d->nrcpts -= e->count;
	e->state = ENTRY_IDLE;
}

/* Of those without a priority. */
static struct entry *
pick_plain(struct destination *d)
{
	if (!list_empty(&d->retry) && d->turn % DEFERRED_TURN == DEFERRED_TURN - 1)
		return OWNER_OF(d->retry.next, struct entry, node);
	for (unsigned i = 0; i < DESTINATION_FLOWS; i++) {
		struct list *l = &d->fresh[(d->flow + i) % DESTINATION_FLOWS];

		if (!list_empty(l)) {
			d->flow = (d->flow + i + 1) % DESTINATION_FLOWS;
			return OWNER_OF(l->next, struct entry, node);
		}
	}
	return list_empty(&d->retry) ? NULL : OWNER_OF(d->retry.next, struct entry, node);
}

/* RFC 6710 5.1, but each eighth turn is for the others, the last first. */
struct entry *
destination_pick_ready(struct destination *d)
{
	struct entry *urgent = pick_rank(d, PRIORITY_MAX, 1), *low = pick_rank(d, -1, -PRIORITY_MAX), *plain;
	bool others = (urgent || low) && ++d->ranks->turn % RANK_TURN == 0;

	if (urgent && !others)
		return urgent;
	if (low && others)
		return low;
	plain = pick_plain(d);
	return plain ? plain : urgent ? urgent : low;
}

struct entry *
destination_pick_due(const struct destination *d, int64_t now)
{
	if (!list_empty(&d->parked))
		return OWNER_OF(d->parked.next, struct entry, node);
	for (unsigned i = 0; i < DESTINATION_LATER; i++)
		if (!list_empty(&d->later[i]) && OWNER_OF(d->later[i].next, struct entry, node)->due_ms <= now)
			return OWNER_OF(d->later[i].next, struct entry, node);
	return NULL;
}

bool
destination_prefers_due(struct destination *d, int64_t now)
{
	if (d->nwaiting == 0 || !destination_pick_due(d, now))
		return false;
	if (d->nready == 0)
		return true;
	d->turn++;
	return d->turn % DEFERRED_TURN == 0;
}

void
destination_rotate(struct destination *d, struct entry *e)
{
	list_remove(&e->node);
	list_push(ready_list(d, e->m), &e->node);
}

static uint32_t
allowed(const struct destination *d)
{
	return d->until_ms ? 1 : (uint32_t)d->window; /* a probe is a single job */
}

bool
destination_open(const struct destination *d, int64_t now)
{
	return d->until_ms <= now && d->pause_ms <= now && d->active + d->waking < allowed(d);
}

int64_t
destination_next(const struct destination *d, int64_t now)
{
	int64_t next = INT64_MAX, from = d->until_ms > d->pause_ms ? d->until_ms : d->pause_ms;

	if (d->active + d->waking >= allowed(d))
		return INT64_MAX; /* its jobs will come back first */
	if (d->nready || !list_empty(&d->parked))
		next = now;
	for (unsigned i = 0; next > now && i < DESTINATION_LATER; i++)
		if (!list_empty(&d->later[i]) && OWNER_OF(d->later[i].next, struct entry, node)->due_ms < next)
			next = OWNER_OF(d->later[i].next, struct entry, node)->due_ms;
	return next < from ? from : next;
}

/* The n-th wait begins at an age of 2^(n-1) - 1 times the first one, jitter apart. */
uint32_t
destination_step(const struct destination_limits *l, int64_t age)
{
	int64_t wait = l->minimal_backoff, before = wait / 2;
	uint32_t n = 1;

	while (age >= before && wait < l->maximal_backoff) {
		before += wait + wait / 2;
		wait *= 2;
		n++;
	}
	return n;
}

int64_t
destination_backoff(const struct destination_limits *l, uint32_t n, uint32_t random)
{
	int64_t wait = l->minimal_backoff;

	for (uint32_t i = 1; i < n && wait < l->maximal_backoff; i++)
		wait *= 2;
	if (wait > l->maximal_backoff)
		wait = l->maximal_backoff;
	return wait - wait / 20 + (int64_t)(random % 1024) * (wait / 10) / 1024;
}

bool
destination_feedback(struct destination *d, enum destination_health health, const struct queue_params *p, int64_t now,
    uint32_t random)
{
	double limit = d->limits.concurrency;
	bool was_held = d->until_ms != 0;

	if (health == HEALTH_GOOD) {
		d->failures = 0;
		d->until_ms = 0;
		if (was_held)
			d->window = p->initial_concurrency;
		else
			d->window += 1 / d->window;
		if (d->window > limit)
			d->window = limit;
		return was_held;
	}
	if (health == HEALTH_UNTRIED)
		return false;
	d->window = d->window / 2 < 1 ? 1 : d->window / 2;
	/* Overload only slows down, unless a lone probe meets it. */
	if (health == HEALTH_OVERLOADED && !was_held && d->active > 0)
		return false;
	if (was_held && d->until_ms > now)
		return false; /* a straggler of the attempt that failed */
	d->failures++;
	d->until_ms = now + destination_backoff(&d->limits, d->failures, random);
	return true;
}

bool
destination_is_idle(const struct destination *d)
{
	return d->nready == 0 && d->nwaiting == 0 && d->active == 0 && d->waking == 0 && d->coming == 0;
}
