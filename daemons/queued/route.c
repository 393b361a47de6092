/* SPDX-License-Identifier: ISC
 *
 * Questions to routed.
 */
#include "daemons/queued/queued.h"
#include "sys/limits.h"

bool
queued_ask(void *arg, uint64_t ask, struct span address, struct span sender)
{
	struct queued *q = arg;
	struct ipc_route_ask m = { .id = ask, .address = address, .sender = sender };

	limit_count(q->service->loop, LIMIT_queue_asks, queue_stats(q->queue).asks, QUEUE_ASKS_MAX);
	return q->route && !q->stopping && !channel_congested(q->route) && ipc_send_route_ask(q->route, &m);
}

static bool
on_route_target(struct channel *c, const struct ipc_route_target *m)
{
	struct queued *q = channel_owner(c);
	struct queue_target t = { .agent = m->agent, .nexthop = m->nexthop, .address = m->address, .home = m->home,
		.sender = m->sender, .logins = m->logins, .uid = m->uid, .gid = m->gid, .quota = m->quota, .messages = m->messages, .status = m->status, .text = m->text };

	return queue_target(q->queue, m->id, &t) || queue_has_asked(q->queue, m->id); /* a question given up meanwhile is no violation */
}

static bool
on_route_done(struct channel *c, const struct ipc_route_done *m)
{
	struct queued *q = channel_owner(c);

	return queue_routed(q->queue, m->id, m->why) || queue_has_asked(q->queue, m->id);
}

#define DISPATCH_DEF "ipc/route.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

/* What the routed at the other end was asked is asked again of the next. */
static void
let_go(struct queued *q)
{
	channel_free(&q->route);
	if (q->queue)
		queue_routing_lost(q->queue);
}

static void
on_closed(struct channel *c, const struct fail *why)
{
	log_put(LOG_channel, "routed: %s", why->text);
	let_go(channel_owner(c));
}

static void
on_drained(struct channel *c)
{
	queued_soon(channel_owner(c));
}

void
queued_route_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct queued *q = queued_of(s);

	(void)peer, (void)instance;
	if (q->route) /* the new end came before the news of the old one's death */
		let_go(q);
	channel_set_owner(c, q);
	q->route = c;
	if (q->queue)
		queued_soon(q);
}

const struct channel_ops queued_route_ops = { .dispatch = dispatch_route, .on_closed = on_closed, .on_drained = on_drained };
