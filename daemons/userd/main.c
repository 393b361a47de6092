/* SPDX-License-Identifier: ISC */
#include "daemons/userd/userd.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ipc/refuse.h"

/* logins */

static bool
enter(struct userd *u, const struct front *front, const struct ipc_login_enter *m, int fd, struct fail *why)
{
	struct ticket *t = ticket_find(u, m->ticket);
	struct ipc_session_enter session = { .service = m->service, .client_addr = m->client_addr, .tls = m->tls, .tag = m->tag, .pending = m->pending };
	struct child *child = NULL;
	bool ok = t && t->until_ms >= loop_now_ms(u->service->loop) && span_eq(t->grant.service, m->service);

	if (!ok)
		(void)fail_set(why, FAIL_PERM, 0, "no such ticket");
	else if (poison_holds(u, t->grant.user))
		ok = fail_set(why, FAIL_TEMP, 0, "%.*s is in quarantine: its mailbox process crashed twice", SPAN_ARG(span_sub(t->grant.user, 0, 100)));
	else
		ok = (child = child_mailboxd(u, &t->grant, why)) != NULL;
	if (ok) {
		session.folder = t->grant.folder;
		session.quota = t->grant.quota;
		session.messages = t->grant.messages;
		session.quotas = t->grant.quotas;
		session.front = front ? front->number : 0;
	}
	if (ok && !child->session)
		ok = fail_set(why, FAIL_TEMP, 0, "the mailbox process is gone");
	if (ok && channel_blocked(child->session)) /* we would keep the connection for it, and all that come */
		ok = fail_set(why, FAIL_TEMP, 0, "the mailbox process takes no sessions");
	if (ok)
		log_put(LOG_login, "user=%.*s service=%.*s client=%.*s tls=%d", SPAN_ARG(t->grant.user), SPAN_ARG(m->service), SPAN_ARG(m->client_addr), m->tls);
	if (ok) {
		child->entered++;
		ok = ipc_send_session_enter(child->session, &session, fd) || fail_set(why, FAIL_TEMP, 0, "the mailbox process is gone");
	} else {
		(void)close(fd);
	}
	if (t)
		ticket_drop(u, t);
	return ok;
}

static struct front *
front_of(struct userd *u, const struct channel *c)
{
	LIST_EACH(&u->fronts, it)
		if (OWNER_OF(it, struct front, node)->channel == c)
			return OWNER_OF(it, struct front, node);
	return NULL;
}

/* As many as were given to it may come back; whose connection it is the front sees by the descriptor. */
bool
front_returned(struct child *child, const struct ipc_session_left *m, int fd)
{
	LIST_EACH(&child->userd->fronts, it) {
		struct front *f = OWNER_OF(it, struct front, node);

		if (f->number == m->front && child->left < child->entered) {
			child->left++;
			(void)ipc_send_login_returned(f->channel, &(struct ipc_login_returned){ .pending = m->pending }, fd);
			return true;
		}
	}
	(void)close(fd); /* the front is gone, and the connection with it */
	return child->left < child->entered;
}

static void
on_front_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct userd *u = s->state;
	struct front *f = calloc(1, sizeof(*f));

	(void)peer, (void)instance;
	if (!f) {
		channel_give_up(&c);
		return;
	}
	f->channel = c;
	f->number = ++u->last_front;
	list_push(&u->fronts, &f->node);
}

static void
on_front_closed(struct channel *c, const struct fail *why)
{
	struct front *f = front_of(userd_of(c), c);

	if (!userd_of(c)->service->stopping)
		log_put(LOG_channel, "login: %s", why->text);
	if (f)
		list_remove(&f->node);
	free(f);
	channel_free(&c);
}

static bool
on_login_enter(struct channel *c, const struct ipc_login_enter *m, int fd)
{
	struct userd *u = userd_of(c);
	struct fail why = { .text = "" };
	struct ipc_login_result result = { .id = m->id };

	result.ok = enter(u, front_of(u, c), m, fd, &why);
	result.why = fail_text(&why);
	if (!result.ok)
		log_put(LOG_login, "refused service=%.*s client=%.*s: %s", SPAN_ARG(m->service), SPAN_ARG(m->client_addr), why.text);
	return ipc_send_login_result(c, &result);
}

/* deliveries */

enum { ASKS_MAX = 1024 }; /* each locald has one question at a time about a deliverd */

/* A question that came while the deliverd it is about was ending. */
struct pending {
	struct list node;
	struct channel *c;
	uint64_t id;
	uint32_t uid, gid;
};

static bool
answer(struct userd *u, struct channel *c, uint64_t id, uint32_t uid, uint32_t gid)
{
	struct ipc_owner_child good = { .id = id };
	struct fail why = { .text = "no channel is to be had" };
	struct child *child;
	char key[32];
	int fd = -1;

	(void)snprintf(key, sizeof(key), "%u:%u", uid, gid);
	good.crashed = poison_is_fresh(u, key);
	child = child_of(u, key);
	if (!child || child->stopping) {
		child = child_launch(u, DELIVERD, key, uid, gid, &why);
		if (child)
			(void)ipc_send_ctl_start(child->ctl, &(struct ipc_ctl_start){ .generation = u->service->generation });
	}
	if (child && !channel_blocked(c) && !channel_blocked(child->ctl)) /* else we would keep them for who does not take them */
		fd = child_peer(child, "mailbox", "locald");
	if (fd >= 0) {
		child->entered++;
		return ipc_send_owner_child(c, &good, fd);
	}
	return ipc_send_owner_refused(c, &(struct ipc_owner_refused){ .id = id, .why = fail_text(&why) });
}

static bool
on_owner_ask(struct channel *c, const struct ipc_owner_ask *m)
{
	struct userd *u = userd_of(c);
	struct child *child;
	struct pending *p;
	char key[32];

	if (channel_congested(c)) /* it asks on and on, and reads no answer */
		return false;
	(void)snprintf(key, sizeof(key), "%u:%u", m->uid, m->gid);
	child = child_of(u, key);
	if (child && child->ctl) /* who asks may have seen its end before us */
		channel_catch_up(child->ctl);
	if (!child || (!child->stopping && child->ctl && channel_is_open(child->ctl)) || child->nasks == ASKS_MAX || !(p = calloc(1, sizeof(*p))))
		return answer(u, c, m->id, m->uid, m->gid);
	*p = (struct pending){ .c = c, .id = m->id, .uid = m->uid, .gid = m->gid };
	list_push(&child->asks, &p->node);
	child->nasks++;
	return true;
}

/* Its end is known, and how: who waited for that gets another. */
static void
answer_pending(struct userd *u, struct list *asks)
{
	struct list *it;

	while ((it = list_shift(asks))) {
		struct pending *p = OWNER_OF(it, struct pending, node);

		(void)answer(u, p->c, p->id, p->uid, p->gid);
		free(p);
	}
}

static void
on_owner_closed(struct channel *c, const struct fail *why)
{
	struct userd *u = userd_of(c);

	if (!u->service->stopping)
		log_put(LOG_channel, "locald: %s", why->text);
	LIST_EACH(&u->all, it) {
		struct child *child = OWNER_OF(it, struct child, all);

		LIST_EACH(&child->asks, ask)
			if (OWNER_OF(ask, struct pending, node)->c == c) {
				list_remove(ask);
				child->nasks--;
				free(OWNER_OF(ask, struct pending, node));
			}
	}
	channel_free(&c);
}

#define DISPATCH_DEF "ipc/login.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"
#define DISPATCH_DEF "ipc/owner.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

/* life */

static void
on_peer(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	(void)s, (void)c, (void)peer, (void)instance; /* the service owns them all: requests carry what is needed */
}

static bool
on_root_spawned(struct channel *c, const struct ipc_root_spawned *m)
{
	struct userd *u = userd_of(c);
	struct child *child = child_by_id(u, m->id);

	if (child)
		child->pid = m->pid;
	if (child)
		log_put(LOG_child, "%s %s pid=%u started", child->program == MAILBOXD ? "mailboxd" : "deliverd", child->key, m->pid);
	return true;
}

void
child_ended(struct child *child, uint32_t pid, bool crashed, struct span why)
{
	struct userd *u = child->userd;
	struct list asks, *it;

	log_put(LOG_child, "%s pid=%u ended: %.*s", child->key, pid, SPAN_ARG(why));
	if (crashed)
		poison_note(u, child, why);
	list_init(&asks);
	while ((it = list_shift(&child->asks)))
		list_push(&asks, it);
	rest_check(u, child);
	child_gone(child);
	answer_pending(u, &asks);
	if (u->service->stopping && list_empty(&u->all))
		service_exit(u->service);
}

static bool
on_root_ended(struct channel *c, const struct ipc_root_ended *m)
{
	struct userd *u = userd_of(c);
	struct child *child = child_by_id(u, m->id);

	if (child)
		child_ended(child, m->pid, m->crashed, m->why);
	else if (template_ended(u, m->id))
		log_put(LOG_child, "the template pid=%u ended: %.*s", m->pid, SPAN_ARG(m->why));
	return true;
}

/* The rest of the root channel is between suited and maild. */
REFUSE_FD(root, boot)
REFUSE_FD(root, given)
REFUSE(root, done)

#define DISPATCH_DEF "ipc/root.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

/* Nothing can be started any more: its end is near. */
static void
on_root_closed(struct channel *c, const struct fail *why)
{
	struct service *s = channel_owner(c);
	struct userd *u = s->state;

	if (!s->stopping)
		log_put(LOG_channel, "maild: %s", why->text);
	u->root = NULL;
	channel_free(&c);
	service_exit(s);
}

static void
on_root_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct userd *u = s->state;

	(void)peer, (void)instance;
	channel_free(&u->root);
	u->root = c;
}

static const struct channel_ops root_ops = { dispatch_root, on_root_closed, NULL };
static const struct channel_ops login_ops = { dispatch_login, on_front_closed, NULL };
static const struct channel_ops owner_ops = { dispatch_owner, on_owner_closed, NULL };
static const struct service_channel channels[] = {
	{ &ipc_channel_root, CHANNEL_CLIENT, &root_ops, on_root_open },
	{ &ipc_channel_ticket, CHANNEL_SERVER, &ticket_ops, ticket_open },
	{ &ipc_channel_login, CHANNEL_SERVER, &login_ops, on_front_open },
	{ &ipc_channel_owner, CHANNEL_SERVER, &owner_ops, on_peer },
	{ &ipc_channel_mailbox_admin, CHANNEL_SERVER, &poison_admin_ops, on_peer },
};

static bool
on_boot(struct service *s, struct fail *why)
{
	struct userd *u = calloc(1, sizeof(*u));

	if (!u)
		return fail_errno(why, 0, "userd");
	u->service = s;
	s->state = u;
	map_init(&u->tickets);
	map_init(&u->children);
	map_init(&u->ids);
	map_init(&u->asked);
	list_init(&u->visits);
	list_init(&u->fronts);
	list_init(&u->order);
	list_init(&u->all);
	map_init(&u->poison);
	list_init(&u->poisoned);
	list_init(&u->templates);
	map_init(&u->rests);
	list_init(&u->resting);
	timer_init(&u->still, s->loop, rest_on_still);
	timer_init(&u->measure, s->loop, visit_on_measure);
	return true;
}

/* At each reload, too. */
static bool
on_start(struct service *s, struct fail *why)
{
	struct userd *u = s->state;

	(void)why;
	template_retire(u);
	LIST_EACH(&u->all, it)
		child_reload(OWNER_OF(it, struct child, all));
	return true;
}

static void
on_log(struct service *s)
{
	struct userd *u = s->state;

	template_log(u);
	LIST_EACH(&u->all, it)
		child_log(OWNER_OF(it, struct child, all)->ctl);
}

static void
on_stop_limit(struct timer *t)
{
	struct userd *u = OWNER_OF(t, struct userd, stop_limit);

	LIST_EACH(&u->all, it) {
		const struct child *child = OWNER_OF(it, struct child, all);

		log_put(LOG_child, "%s pid=%u did not stop in time: killed", child->key, child->pid);
		if (u->root)
			(void)ipc_send_root_kill(u->root, &(struct ipc_root_kill){ .id = child->id }); /* of a copy maild does not know */
	}
	if (u->root) {
		template_kill_all(u);
		(void)channel_flush(u->root);
	}
	service_exit(u->service);
}

static void
on_stop(struct service *s)
{
	struct userd *u = s->state;

	rest_end(u);
	LIST_EACH(&u->all, it)
		child_stop(OWNER_OF(it, struct child, all));
	timer_init(&u->stop_limit, s->loop, on_stop_limit);
	if (list_empty(&u->all) || !timer_set(&u->stop_limit, USERD_GRACE_MS))
		service_exit(s);
}

static void
on_state(struct service *s, struct buf *out)
{
	const struct userd *u = s->state;

	buf_printf(out, "children=%zu tickets=%zu rested=%u", u->children.count, u->tickets.count, u->nrested);
}

int
main(int argc, char **argv)
{
	static const struct service_ops ops = { .name = "userd", .see = CONF_USERD, .channels = channels,
		.nchannels = sizeof(channels) / sizeof(channels[0]), .on_boot = on_boot, .on_start = on_start, .on_log = on_log, .on_crash = poison_peer, .on_stop = on_stop, .on_state = on_state };

	return service_main(&ops, argc, argv);
}
