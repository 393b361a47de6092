/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "daemons/userd/userd.h"
#include "sys/limits.h"

void
ticket_drop(struct userd *u, struct ticket *t)
{
	map_remove(&u->tickets, &t->node);
	list_remove(&t->order);
	limit_count(u->service->loop, LIMIT_tickets, u->tickets.count, TICKETS_MAX);
	explicit_bzero(t, sizeof(*t));
	free(t);
}

static struct span
keep(char *to, struct span s)
{
	if (s.n)
		memcpy(to, s.p, s.n);
	return span_of(to, s.n);
}

static bool
on_ticket_grant(struct channel *c, const struct ipc_ticket_grant *m)
{
	struct userd *u = userd_of(c);
	int64_t now = loop_now_ms(u->service->loop);
	struct ticket *t;

	while (!list_empty(&u->order) && (t = OWNER_OF(u->order.next, struct ticket, order)) &&
	    (t->until_ms < now || u->tickets.count >= TICKETS_MAX)) {
		if (t->until_ms >= now)
			limit_reached(u->service->loop, LIMIT_tickets, TICKETS_MAX, m->user);
		ticket_drop(u, t);
	}
	if (m->ticket.n != B_TICKET || map_get(&u->tickets, m->ticket))
		return false;
	t = calloc(1, sizeof(*t));
	if (!t)
		return true; /* the login will fail, and say so */
	t->until_ms = now + u->service->conf->auth_ticket_lifetime;
	t->grant = *m;
	t->grant.service = keep(t->service, m->service);
	t->grant.user = keep(t->user, m->user);
	t->grant.folder = keep(t->folder, m->folder);
	t->grant.home = keep(t->home, m->home);
	t->grant.ticket = keep(t->bytes, m->ticket);
	if (!map_put(&u->tickets, &t->node, t->grant.ticket)) {
		free(t);
		return true;
	}
	list_push(&u->order, &t->order);
	limit_count(u->service->loop, LIMIT_tickets, u->tickets.count, TICKETS_MAX);
	return true;
}

static bool
on_ticket_owner(struct channel *c, const struct ipc_ticket_owner *m)
{
	return visit_owner(userd_of(c), m);
}

static bool
on_ticket_sharer(struct channel *c, const struct ipc_ticket_sharer *m)
{
	return visit_sharer(userd_of(c), m);
}

static bool
on_ticket_answered(struct channel *c, const struct ipc_ticket_answered *m)
{
	return visit_answered(userd_of(c), m);
}

static bool
on_ticket_limits(struct channel *c, const struct ipc_ticket_limits *m)
{
	struct userd *u = userd_of(c);

	LIST_EACH(&u->order, it) { /* who has not come in yet */
		struct ticket *t = OWNER_OF(it, struct ticket, order);

		if (!span_eq(t->grant.user, m->user))
			continue;
		t->grant.quota = m->quota;
		t->grant.messages = m->messages;
	}
	child_limits(u, m);
	return true;
}

static bool
on_ticket_shared(struct channel *c, const struct ipc_ticket_shared *m)
{
	child_shared(userd_of(c), m->guest);
	return true;
}

static bool
on_ticket_crashed(struct channel *c, const struct ipc_ticket_crashed *m)
{
	poison_recall(userd_of(c), m);
	return true;
}

#define DISPATCH_DEF "ipc/ticket.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
on_authd_closed(struct channel *c, const struct fail *why)
{
	struct userd *u = userd_of(c);

	if (!u->service->stopping)
		log_put(LOG_channel, "authd: %s", why->text);
	if (u->authd == c) { /* not after the next one has come */
		u->authd = NULL;
		visit_unanswered(u);
	}
	channel_free(&c);
}

const struct channel_ops ticket_ops = { dispatch_ticket, on_authd_closed, NULL };

void
ticket_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	(void)peer, (void)instance;
	visit_unanswered(s->state); /* of the one before */
	((struct userd *)s->state)->authd = c;
	child_shared(s->state, SPAN("")); /* what the authd before may not have told */
	poison_tell_all(s->state);
}

/* authd sent the ticket before the front could know it, but in a crowd of logins
 * it may still lie unread. */
struct ticket *
ticket_find(struct userd *u, struct span bytes)
{
	struct map_node *node;

	if (u->authd && !map_get(&u->tickets, bytes))
		channel_catch_up(u->authd);
	node = map_get(&u->tickets, bytes);
	return node ? OWNER_OF(node, struct ticket, node) : NULL;
}
