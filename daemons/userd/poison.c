/* SPDX-License-Identifier: ISC
 *
 * Mailboxes and delivery processes that crash.  The second crash of a user's
 * mailboxd within a day closes the mailbox until mailctl quarantine release: what is in it,
 * or what its client sends, would only crash the next one, and who can crash a
 * program at will may be learning to do more.  userd has no file: authd keeps the
 * counts (ticket.def) and tells them to the next userd before it gives a ticket.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemons/userd/userd.h"

enum { POISON_MAX = 1000, TWICE = 2, FORGET_MS = 24 * 60 * 60 * 1000, FRESH_MS = 10 * 1000 };

struct poison {
	struct map_node node;
	struct list order; /* of their last crashes */
	char key[B_ADDRESS + 1], why[64];
	bool mailbox;
	unsigned crashes;
	int64_t last_ms, last_wall_ms;
};

static struct poison *
find(const struct userd *u, struct span key)
{
	struct map_node *node = map_get(&u->poison, key);

	return node ? OWNER_OF(node, struct poison, node) : NULL;
}

/* What is said while authd is away poison_tell_all() makes good. */
static void
keep(const struct userd *u, struct span user, unsigned count, int64_t last_ms, struct span how)
{
	struct ipc_ticket_crash m = { .user = user, .count = count, .last_ms = (uint64_t)last_ms, .why = how };

	if (u->authd)
		(void)ipc_send_ticket_crash(u->authd, &m);
}

static void
forget(struct userd *u, struct poison *p)
{
	if (p->mailbox)
		keep(u, span_str(p->key), 0, 0, SPAN_NONE);
	map_remove(&u->poison, &p->node);
	list_remove(&p->order);
	free(p);
}

static struct poison *
make(struct userd *u, struct span key)
{
	struct poison *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	(void)span_cstr(key, p->key, sizeof(p->key));
	if (map_put(&u->poison, &p->node, span_str(p->key)))
		return p;
	free(p);
	return NULL;
}

void
poison_note(struct userd *u, const struct child *child, struct span how)
{
	int64_t now = loop_now_ms(u->service->loop);
	struct poison *p = find(u, span_str(child->key));

	if (p)
		list_remove(&p->order);
	else if (!(p = make(u, span_str(child->key))))
		return;
	if (p->crashes && now - p->last_ms > FORGET_MS)
		p->crashes = 0;
	p->crashes++;
	p->mailbox = child->session != NULL || child->entered;
	p->last_ms = now;
	p->last_wall_ms = loop_wall_ms(u->service->loop);
	(void)span_cstr(span_sub(how, 0, sizeof(p->why) - 1), p->why, sizeof(p->why));
	list_push(&u->poisoned, &p->order);
	if (u->poison.count > POISON_MAX)
		forget(u, OWNER_OF(u->poisoned.next, struct poison, order));
	if (p->mailbox)
		keep(u, span_str(p->key), p->crashes, p->last_wall_ms, span_str(p->why));
	if (p->mailbox)
		log_put(LOG_quarantine, "user=%s mailboxd crashed (%s), %u times in a day%s", p->key, p->why, p->crashes,
		    p->crashes >= TWICE ? ": no logins until it is released" : "");
}

/* Only userd's first hears of what it does not know: of what it has released meanwhile a later one is told to forget. */
void
poison_recall(struct userd *u, const struct ipc_ticket_crashed *m)
{
	int64_t age = loop_wall_ms(u->service->loop) - (int64_t)m->last_ms;
	bool old = m->count < TWICE && age > FORGET_MS;
	struct poison *p;

	if (m->user.n == 0) {
		u->recalled = true;
		return;
	}
	if (find(u, m->user))
		return; /* it is told of, and knows better */
	if (u->recalled || old || m->count == 0 || u->poison.count >= POISON_MAX || !(p = make(u, m->user))) {
		keep(u, m->user, 0, 0, SPAN_NONE);
		return;
	}
	p->mailbox = true;
	p->crashes = m->count;
	p->last_ms = loop_now_ms(u->service->loop) - (age > 0 ? age : 0);
	p->last_wall_ms = (int64_t)m->last_ms;
	(void)span_cstr(span_sub(m->why, 0, sizeof(p->why) - 1), p->why, sizeof(p->why));
	list_push(&u->poisoned, &p->order);
	log_put(LOG_quarantine, "user=%s mailboxd crashed %u times before%s", p->key, p->crashes, p->crashes >= TWICE ? ": no logins until it is released" : "");
}

void
poison_tell_all(struct userd *u)
{
	LIST_EACH(&u->poisoned, it) {
		const struct poison *p = OWNER_OF(it, struct poison, order);

		if (p->mailbox)
			keep(u, span_str(p->key), p->crashes, p->last_wall_ms, span_str(p->why));
	}
}

bool
poison_holds(const struct userd *u, struct span user)
{
	const struct poison *p = find(u, user);

	return p && p->mailbox && p->crashes >= TWICE;
}

bool
poison_is_fresh(const struct userd *u, const char *key)
{
	const struct poison *p = find(u, span_str(key));

	return p && loop_now_ms(u->service->loop) - p->last_ms < FRESH_MS;
}

/* ---- mailctl ---- */

static bool
on_mailbox_admin_list(struct channel *c, const struct ipc_mailbox_admin_list *m)
{
	const struct userd *u = userd_of(c);

	LIST_EACH(&u->poisoned, it) {
		const struct poison *p = OWNER_OF(it, struct poison, order);
		struct ipc_mailbox_admin_mailbox row = { .id = m->id, .user = span_str(p->key), .crashes = p->crashes,
			.last_ms = (uint64_t)p->last_wall_ms, .held = p->crashes >= TWICE, .why = span_str(p->why) };

		if (p->mailbox && !ipc_send_mailbox_admin_mailbox(c, &row))
			return false;
	}
	return ipc_send_mailbox_admin_done(c, &(struct ipc_mailbox_admin_done){ .id = m->id, .ok = true });
}

static bool
on_mailbox_admin_release(struct channel *c, const struct ipc_mailbox_admin_release *m)
{
	struct userd *u = userd_of(c);
	struct poison *p = find(u, m->user);
	bool ok = p && p->mailbox;

	if (ok) {
		log_put(LOG_quarantine, "user=%s released", p->key);
		forget(u, p);
	}
	return ipc_send_mailbox_admin_done(c, &(struct ipc_mailbox_admin_done){ .id = m->id, .ok = ok,
	    .text = ok ? SPAN_NONE : SPAN("this mailbox is not in quarantine") });
}

#define DISPATCH_DEF "ipc/mailbox_admin.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
on_closed(struct channel *c, const struct fail *why)
{
	(void)why;
	channel_free(&c);
}

const struct channel_ops poison_admin_ops = { dispatch_mailbox_admin, on_closed, NULL };
