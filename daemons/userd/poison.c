/* SPDX-License-Identifier: ISC
 *
 * Mailboxes and delivery processes that crash.  The second crash of a user's
 * mailboxd within a day closes the mailbox until mailctl quarantine release: what is in it,
 * or what its client sends, would only crash the next one, and who can crash a
 * program at will may be learning to do more.  The same holds for peers: clients, and hosts that
 * mail goes to; suited says whom a program worked for when it crashed.  Of who crashed something
 * once the input is kept from then on, to be there the second time.  userd has no file: authd keeps
 * all this (ticket.def) and tells it to the next userd before it gives a ticket.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemons/userd/userd.h"

enum { POISON_MAX = 1000, TWICE = 2, FORGET_MS = 24 * 60 * 60 * 1000, FRESH_MS = 10 * 1000 };

struct poison {
	struct map_node node;
	struct list order; /* of their last crashes */
	char key[B_ADDRESS + 1], why[64]; /* key: the child's, or "program peer" */
	enum { POISON_DELIVERY, POISON_MAILBOX, POISON_PEER } kind;
	uint64_t about; /* PEER: the message of the last crash */
	struct buf input; /* box_each() */
	unsigned crashes;
	bool early; /* counted before authd has said what it had kept, which is to be added */
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
keep(const struct userd *u, struct span key, const struct poison *p)
{
	struct ipc_ticket_crash m = { .user = key };

	if (p)
		m = (struct ipc_ticket_crash){ .user = key, .count = p->crashes, .last_ms = (uint64_t)p->last_wall_ms, .why = span_str(p->why), .input = buf_span(&p->input) };
	if (u->authd && (!p || p->kind != POISON_DELIVERY))
		(void)ipc_send_ticket_crash(u->authd, &m);
}

/* What suited is to tell the program of it; and which crash is counted by now. */
static void
blame(const struct userd *u, const struct poison *p, enum box_level level, uint64_t crash)
{
	struct ipc_ctl_blame m = { .peer = span_str(p->key), .level = (uint8_t)level, .crash = crash };

	if (p->kind != POISON_PEER || !u->service->ruler)
		return;
	m.program = span_cut(&m.peer, ' ');
	(void)ipc_send_ctl_blame(u->service->ruler, &m);
}

static enum box_level
level_of(const struct poison *p)
{
	return p->crashes >= TWICE ? BOX_SHUNNED : BOX_SUSPECT;
}

static void
forget(struct userd *u, struct poison *p)
{
	if (p->kind != POISON_DELIVERY)
		keep(u, span_str(p->key), NULL);
	blame(u, p, BOX_CLEAR, 0);
	buf_free(&p->input);
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
	buf_init(&p->input, BOX_INPUT);
	if (map_put(&u->poison, &p->node, span_str(p->key)))
		return p;
	free(p);
	return NULL;
}

/* One more crash; NULL: no memory. */
static struct poison *
count(struct userd *u, struct span key, struct span how)
{
	int64_t now = loop_now_ms(u->service->loop);
	struct poison *p = find(u, key);

	if (p)
		list_remove(&p->order);
	else if (!(p = make(u, key)))
		return NULL;
	else
		p->early = !u->recalled;
	if (p->crashes && now - p->last_ms > FORGET_MS)
		p->crashes = 0;
	p->crashes++;
	p->last_ms = now;
	p->last_wall_ms = loop_wall_ms(u->service->loop);
	(void)span_cstr(span_sub(how, 0, sizeof(p->why) - 1), p->why, sizeof(p->why));
	list_push(&u->poisoned, &p->order);
	if (u->poison.count > POISON_MAX)
		forget(u, OWNER_OF(u->poisoned.next, struct poison, order));
	return p;
}

void
poison_note(struct userd *u, const struct child *child, struct span how)
{
	struct poison *p = count(u, span_str(child->key), how);

	if (!p)
		return;
	p->kind = child->program == MAILBOXD ? POISON_MAILBOX : POISON_DELIVERY;
	if (child->box) {
		buf_reset(&p->input);
		(void)box_read(child->box, &p->input);
	}
	keep(u, span_str(p->key), p);
	if (p->kind == POISON_MAILBOX)
		log_put(LOG_quarantine, "user=%s mailboxd crashed (%s), %u times in a day%s", p->key, p->why, p->crashes,
		    p->crashes >= TWICE ? ": no logins until it is released" : "");
}

/* A next hop that crashed remoted with one message may be innocent: of a message that does so queued
 * thinks first, and holds it. With another message it is the hop. */
bool
poison_peer(struct service *s, const struct ipc_ctl_crash *m)
{
	struct userd *u = s->state;
	struct poison *p;
	char key[B_NAME + 64];
	unsigned before;

	(void)snprintf(key, sizeof(key), "%.*s %.*s", SPAN_ARG(m->program), SPAN_ARG(m->peer));
	p = find(u, span_str(key));
	before = p && m->about && m->about == p->about ? p->crashes : 0;
	if (!(p = count(u, span_str(key), m->why)))
		return true;
	if (before)
		p->crashes = before;
	p->kind = POISON_PEER;
	p->about = m->about;
	buf_reset(&p->input);
	buf_put(&p->input, m->input);
	keep(u, span_str(p->key), p);
	blame(u, p, level_of(p), m->id);
	log_put(LOG_quarantine, "%s: crashed it (%s), %u times in a day%s", p->key, p->why, p->crashes, p->crashes >= TWICE ? ": not served until it is released" : "");
	return true;
}

/* It has crashed in this userd's life before authd could say that it had crashed before. */
static void
add_earlier(struct userd *u, struct poison *p, unsigned crashes)
{
	p->early = false;
	p->crashes += crashes < TWICE ? crashes : TWICE;
	keep(u, span_str(p->key), p);
	blame(u, p, level_of(p), 0);
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
	if ((p = find(u, m->user))) { /* it is told of, and knows better */
		if (!u->recalled && p->early && !old)
			add_earlier(u, p, m->count);
		return;
	}
	if (u->recalled || old || m->count == 0 || u->poison.count >= POISON_MAX || !(p = make(u, m->user))) {
		keep(u, m->user, NULL);
		return;
	}
	p->kind = span_chr(m->user, '@') == SIZE_MAX ? POISON_PEER : POISON_MAILBOX;
	buf_put(&p->input, m->input);
	p->crashes = m->count;
	p->last_ms = loop_now_ms(u->service->loop) - (age > 0 ? age : 0);
	p->last_wall_ms = (int64_t)m->last_ms;
	(void)span_cstr(span_sub(m->why, 0, sizeof(p->why) - 1), p->why, sizeof(p->why));
	list_push(&u->poisoned, &p->order);
	if (p->kind == POISON_MAILBOX)
		log_put(LOG_quarantine, "user=%s mailboxd crashed %u times before%s", p->key, p->crashes, p->crashes >= TWICE ? ": no logins until it is released" : "");
	else
		log_put(LOG_quarantine, "%s: crashed it %u times before%s", p->key, p->crashes, p->crashes >= TWICE ? ": not served until it is released" : "");
	blame(u, p, level_of(p), 0);
}

void
poison_tell_all(struct userd *u)
{
	LIST_EACH(&u->poisoned, it)
		keep(u, span_str(OWNER_OF(it, struct poison, order)->key), OWNER_OF(it, struct poison, order));
}

bool
poison_holds(const struct userd *u, struct span user)
{
	const struct poison *p = find(u, user);

	return p && p->kind == POISON_MAILBOX && p->crashes >= TWICE;
}

void
poison_arm(struct child *child)
{
	const struct poison *p = find(child->userd, span_str(child->key));
	int fd;

	if (!p || p->kind != POISON_MAILBOX || child->program != MAILBOXD)
		return;
	child->box = box_make(&fd);
	if (child->box)
		(void)ipc_send_ctl_file(child->ctl, &(struct ipc_ctl_file){ .purpose = SPAN("box") }, fd);
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
		struct ipc_mailbox_admin_mailbox row = { .id = m->id, .user = span_str(p->key), .program = SPAN("mailboxd"), .crashes = p->crashes,
			.last_ms = (uint64_t)p->last_wall_ms, .held = p->crashes >= TWICE, .why = span_str(p->why) };

		if (p->kind == POISON_PEER)
			row.program = span_cut(&row.user, ' ');
		if (m->only.n && (span_eq(m->only, row.user) || span_eq(m->only, span_str(p->key))))
			row.input = buf_span(&p->input);
		else if (m->only.n)
			continue;
		if (p->kind != POISON_DELIVERY && !ipc_send_mailbox_admin_mailbox(c, &row))
			return false;
	}
	return ipc_send_mailbox_admin_done(c, &(struct ipc_mailbox_admin_done){ .id = m->id, .ok = true });
}

/* A mailbox by its name; a peer by its address, for all programs, or with the program before it. */
static bool
on_mailbox_admin_release(struct channel *c, const struct ipc_mailbox_admin_release *m)
{
	struct userd *u = userd_of(c);
	bool ok = false;

	LIST_EACH(&u->poisoned, it) {
		struct poison *p = OWNER_OF(it, struct poison, order);
		struct span rest = span_str(p->key);

		if (p->kind == POISON_PEER)
			(void)span_cut(&rest, ' ');
		if (p->kind == POISON_DELIVERY || (!span_eq(m->user, rest) && !span_eq(m->user, span_str(p->key))))
			continue;
		log_put(LOG_quarantine, "%s%s released", p->kind == POISON_MAILBOX ? "user=" : "", p->key);
		forget(u, p);
		ok = true;
	}
	return ipc_send_mailbox_admin_done(c, &(struct ipc_mailbox_admin_done){ .id = m->id, .ok = ok,
	    .text = ok ? SPAN_NONE : SPAN("nothing of that name is in quarantine") });
}

static bool
on_mailbox_admin_processes(struct channel *c, const struct ipc_mailbox_admin_processes *m)
{
	return child_tell(userd_of(c), c, m->id) && ipc_send_mailbox_admin_done(c, &(struct ipc_mailbox_admin_done){ .id = m->id, .ok = true });
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
