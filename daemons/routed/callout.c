/* SPDX-License-Identifier: ISC */
#include "callout.h"

#include <stdlib.h>
#include <string.h>

#include "log/log.h"

struct callout_hop {
	struct map_node by_name;
	struct list ring, shunned;
	struct list waiting; /* struct callout */
	size_t running;
	int64_t until_ms;    /* left alone; 0: it is not */
	char why[240];
	char name[];
};

/* ---- next hops ---- */

static void
forget_hop(struct callouts *cs, struct callout_hop *h)
{
	list_remove(&h->ring);
	list_remove(&h->shunned);
	map_remove(&cs->hops, &h->by_name);
	free(h);
}

/* Nothing is left to know of it. */
static void
tidy_hop(struct callouts *cs, struct callout_hop *h)
{
	if (!h->running && list_empty(&h->waiting) && !h->until_ms)
		forget_hop(cs, h);
}

static void
forgive(struct callouts *cs)
{
	int64_t now = loop_now_ms(cs->loop);

	LIST_EACH(&cs->shunned, it) {
		struct callout_hop *h = OWNER_OF(it, struct callout_hop, shunned);

		if (h->until_ms > now)
			break;
		h->until_ms = 0;
		list_remove(&h->shunned);
		tidy_hop(cs, h);
	}
}

static struct callout_hop *
hop_of(struct callouts *cs, struct span name)
{
	struct map_node *node = map_get(&cs->hops, name);
	struct callout_hop *h;

	if (node)
		return OWNER_OF(node, struct callout_hop, by_name);
	h = cs->hops.count < CALLOUT_HOPS_MAX ? calloc(1, sizeof(*h) + name.n) : NULL;
	if (!h)
		return NULL;
	if (name.n)
		memcpy(h->name, name.p, name.n);
	list_init(&h->waiting);
	if (map_put(&cs->hops, &h->by_name, span_of(h->name, name.n)))
		return h;
	free(h);
	return NULL;
}

static void
shun(struct callouts *cs, struct callout_hop *h, struct span why)
{
	list_remove(&h->shunned);
	h->until_ms = loop_now_ms(cs->loop) + cs->conf->address_verify_retry_time;
	list_push(&cs->shunned, &h->shunned);
	(void)span_cstr(span_sub(why, 0, sizeof(h->why) - 1), h->why, sizeof(h->why));
}

/* ---- running ---- */

/* The same process for a next hop each time: it may have a connection to it. */
static struct inquirer *
remoted_for(struct callouts *cs, const struct callout_hop *h)
{
	size_t n = cs->nremoteds ? cs->nremoteds : 1, first = h->by_name.hash % n;

	for (size_t i = 0; i < n; i++)
		if (cs->remoteds[(first + i) % n].channel)
			return &cs->remoteds[(first + i) % n];
	return &cs->remoteds[first];
}

static void
watch_most(struct callouts *cs)
{
	if (list_empty(&cs->running))
		timer_stop(&cs->most);
	else if (!timer_running(&cs->most))
		(void)timer_set(&cs->most, OWNER_OF(cs->running.next, struct callout, node)->since_ms + CALLOUT_MOST_MS - loop_now_ms(cs->loop) + 1);
}

static bool
has_room(const struct callouts *cs, const struct callout_hop *h)
{
	return h->running < cs->conf->address_verify_destination_callout_limit;
}

static void
queue_hop(struct callouts *cs, struct callout_hop *h)
{
	if (!list_linked(&h->ring) && !list_empty(&h->waiting) && has_room(cs, h))
		list_push(&cs->ring, &h->ring);
}

static void
run_waiting(struct callouts *cs)
{
	struct list *node;

	while (cs->nrunning < cs->conf->address_verify_callout_limit && (node = list_shift(&cs->ring))) {
		struct callout_hop *h = OWNER_OF(node, struct callout_hop, ring);
		struct list *first = has_room(cs, h) ? list_shift(&h->waiting) : NULL;
		struct callout *c;

		if (!first)
			continue;
		c = OWNER_OF(first, struct callout, node);
		cs->nwaiting--;
		cs->nrunning++;
		h->running++;
		c->since_ms = loop_now_ms(cs->loop);
		list_push(&cs->running, &c->node);
		inquiry_start(remoted_for(cs, h), &c->inquiry);
		queue_hop(cs, h);
	}
	watch_most(cs);
}

/* Off all lists; its next hop may be gone afterwards unless it waits or runs elsewhere. */
static void
take_off(struct callouts *cs, struct callout *c)
{
	struct callout_hop *h = c->hop;

	inquiry_cancel(&c->inquiry);
	list_remove(&c->node);
	if (c->since_ms) {
		h->running--;
		cs->nrunning--;
	} else {
		cs->nwaiting--;
	}
	c->since_ms = 0;
	c->hop = NULL;
}

static void
finish(struct callouts *cs, struct callout *c, const struct ipc_callout_answer *a)
{
	struct callout_hop *h = c->hop;
	struct list hopeless, *node;

	list_init(&hopeless);
	take_off(cs, c);
	if (a->unreached) {
		shun(cs, h, a->reply);
		while ((node = list_shift(&h->waiting))) {
			cs->nwaiting--;
			OWNER_OF(node, struct callout, node)->hop = NULL;
			list_push(&hopeless, node);
		}
	} else if (h->until_ms) {
		h->until_ms = 0;
		list_remove(&h->shunned);
	}
	queue_hop(cs, h);
	tidy_hop(cs, h);
	list_push(&hopeless, &c->node);
	while ((node = list_shift(&hopeless))) {
		struct callout *next = OWNER_OF(node, struct callout, node);

		next->on_answer(next, a);
	}
	run_waiting(cs);
}

static struct ipc_callout_answer
not_now(const char *why)
{
	return (struct ipc_callout_answer){ .outcome = CALLOUT_LATER, .code = SPAN("4.4.5"), .reply = span_str(why) };
}

static void
on_most(struct timer *t)
{
	struct callouts *cs = OWNER_OF(t, struct callouts, most);
	struct ipc_callout_answer a = not_now("no answer from remoted");
	int64_t now = loop_now_ms(cs->loop);

	while (!list_empty(&cs->running)) {
		struct callout *c = OWNER_OF(cs->running.next, struct callout, node);

		if (now - c->since_ms < CALLOUT_MOST_MS)
			break;
		finish(cs, c, &a);
	}
	watch_most(cs);
}

/* ---- the channels ---- */

static struct callouts *
callouts_of(const struct inquirer *i)
{
	return i->arg;
}

static bool
send_ask(struct inquiry *q, struct channel *channel)
{
	const struct callout *c = OWNER_OF(q, struct callout, inquiry);

	return ipc_send_callout_ask(channel, &(struct ipc_callout_ask){ .id = q->id, .nexthop = c->nexthop, .address = c->address, .sender = c->sender,
		.logins = c->logins });
}

/* Whom it was asked is gone, maybe for what the peer said to it: it is not asked again by itself. */
static void
on_again(struct inquiry *q)
{
	struct ipc_callout_answer a = not_now("remoted was restarted");

	finish(callouts_of(q->inquirer), OWNER_OF(q, struct callout, inquiry), &a);
}

static const struct inquiry_ops inquiry_ops = { "remoted", send_ask, on_again };

static bool
on_callout_answer(struct channel *channel, const struct ipc_callout_answer *m)
{
	struct inquiry *q;

	if (!inquiry_find(channel, m->id, &q))
		return false;
	if (q)
		finish(callouts_of(q->inquirer), OWNER_OF(q, struct callout, inquiry), m);
	return true;
}

#define DISPATCH_DEF "ipc/callout.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

const struct channel_ops callout_channel_ops = { dispatch_callout, inquirer_on_closed, NULL };

/* ---- life ---- */

void
callouts_init(struct callouts *cs, struct loop *loop, const struct conf *conf)
{
	*cs = (struct callouts){ .loop = loop, .conf = conf };
	map_init(&cs->hops);
	list_init(&cs->ring);
	list_init(&cs->shunned);
	list_init(&cs->running);
	timer_init(&cs->most, loop, on_most);
	for (size_t i = 0; i < CALLOUT_REMOTEDS; i++) {
		inquirer_init(&cs->remoteds[i], &inquiry_ops);
		cs->remoteds[i].arg = cs;
	}
}

void
callouts_free(struct callouts *cs)
{
	timer_stop(&cs->most);
	LIST_EACH(&cs->shunned, it)
		forget_hop(cs, OWNER_OF(it, struct callout_hop, shunned));
	map_free(&cs->hops);
	for (size_t i = 0; i < CALLOUT_REMOTEDS; i++)
		inquirer_free(&cs->remoteds[i]);
}

void
callouts_open(struct callouts *cs, struct channel *c, unsigned instance)
{
	size_t i = instance % CALLOUT_REMOTEDS;

	if (cs->nremoteds <= i)
		cs->nremoteds = i + 1;
	inquirer_open(&cs->remoteds[i], c);
}

bool
callout_start(struct callouts *cs, struct callout *c, struct ipc_callout_answer *a)
{
	struct callout_hop *h;

	forgive(cs);
	h = cs->nwaiting < CALLOUT_WAITING_MAX ? hop_of(cs, c->nexthop) : NULL;
	if (!h || h->until_ms) {
		*a = not_now(h ? h->why : "too many addresses are being verified");
		return false;
	}
	c->hop = h;
	c->since_ms = 0;
	list_push(&h->waiting, &c->node);
	cs->nwaiting++;
	queue_hop(cs, h);
	run_waiting(cs);
	return true;
}

void
callout_drop(struct callouts *cs, struct callout *c)
{
	struct callout_hop *h = c->hop;

	if (!h) {
		list_remove(&c->node);
		return;
	}
	take_off(cs, c);
	queue_hop(cs, h);
	tidy_hop(cs, h);
	run_waiting(cs);
}
