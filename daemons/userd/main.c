/* SPDX-License-Identifier: ISC
 *
 * userd: the way to a mailbox owner: has one mailboxd for each active user and
 * one deliverd for each owning uid started by maild, and rules them.  It has no right
 * of its own and reads no network byte and no mail.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/map.h"
#include "service/launch.h"
#include "service/service.h"
#include "sys/syscalls.h"

enum { TICKETS_MAX = 10000, STOP_GRACE_MS = 10000 };

struct userd {
	struct service *service;
	struct channel *root; /* to maild; NULL: away */
	uint64_t next_id;     /* of children, on root */
	struct channel *authd;
	struct map tickets;  /* struct ticket by its bytes */
	struct map children; /* struct child by user, or by "uid:gid" */
	struct list order;   /* tickets, oldest first */
	struct list all;     /* children, those that are leaving too */
	struct timer stop_limit;
};

struct ticket {
	struct map_node node;
	struct list order;
	int64_t until_ms;
	struct ipc_ticket_grant grant;
	char bytes[B_TICKET], service[B_NAME], user[B_ADDRESS], home[B_PATH];
};

/* One mailboxd or deliverd. */
struct child {
	struct map_node node;
	struct list all;
	struct userd *userd;
	char key[B_ADDRESS + 1];
	uint64_t id;
	unsigned program;        /* enum program */
	struct channel *ctl;
	struct channel *session; /* mailboxd */
	uint64_t entered;        /* sessions given to it */
	bool stopping;
	struct child *before; /* its predecessor, still leaving: a mailbox has one writer at a time */
	int held;             /* the session channel's other end, handed over when that one is gone; or -1 */
};

/* tickets */

static void
ticket_drop(struct userd *u, struct ticket *t)
{
	map_remove(&u->tickets, &t->node);
	list_remove(&t->order);
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
	struct userd *u = ((struct service *)channel_owner(c))->state;
	int64_t now = loop_now_ms(u->service->loop);
	struct ticket *t;

	while (!list_empty(&u->order) && (t = OWNER_OF(u->order.next, struct ticket, order)) &&
	    (t->until_ms < now || u->tickets.count >= TICKETS_MAX))
		ticket_drop(u, t);
	if (m->ticket.n != B_TICKET || map_get(&u->tickets, m->ticket))
		return false;
	t = calloc(1, sizeof(*t));
	if (!t)
		return true; /* the login will fail, and say so */
	t->until_ms = now + u->service->conf->auth_ticket_lifetime;
	t->grant = *m;
	t->grant.service = keep(t->service, m->service);
	t->grant.user = keep(t->user, m->user);
	t->grant.home = keep(t->home, m->home);
	t->grant.ticket = keep(t->bytes, m->ticket);
	if (!map_put(&u->tickets, &t->node, t->grant.ticket)) {
		free(t);
		return true;
	}
	list_push(&u->order, &t->order);
	return true;
}

/* children */

static bool
on_ctl_ready(struct channel *c, const struct ipc_ctl_ready *m)
{
	(void)c, (void)m;
	return true;
}

static bool
on_ctl_state(struct channel *c, const struct ipc_ctl_state *m)
{
	(void)c, (void)m;
	return true;
}

/* Only mailctl doctor has walls tried. */
static bool
on_ctl_attempt(struct channel *c, const struct ipc_ctl_attempt *m)
{
	(void)c, (void)m;
	return false;
}

#define DISPATCH_DEF "ipc/ctl.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

static void
on_ctl_closed(struct channel *c, const struct fail *why)
{
	struct child *child = channel_owner(c);

	(void)why; /* the reaper tells the rest; without ctl it ends by itself */
	child->stopping = true;
	channel_free(&child->ctl);
}

static const struct channel_ops ctl_ops = { dispatch_ctl, on_ctl_closed, NULL };

static struct child *
child_of(struct userd *u, const char *key)
{
	struct map_node *node = map_get(&u->children, span_str(key));

	return node ? OWNER_OF(node, struct child, node) : NULL;
}

static void
child_stop(struct child *child)
{
	if (!child->stopping && child->ctl)
		(void)ipc_send_ctl_stop(child->ctl, &(struct ipc_ctl_stop){ .grace_ms = STOP_GRACE_MS });
	child->stopping = true;
}

static void
child_free(struct child *child)
{
	if (child_of(child->userd, child->key) == child)
		map_remove(&child->userd->children, &child->node);
	list_remove(&child->all);
	if (child->held >= 0)
		(void)close(child->held);
	channel_free(&child->ctl);
	channel_free(&child->session);
	free(child);
}

static bool
on_session_idle(struct channel *c, const struct ipc_session_idle *m)
{
	struct child *child = channel_owner(c);

	if (m->entered == child->entered)
		child_stop(child);
	return true;
}

#define DISPATCH_DEF "ipc/session.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

static void
on_session_closed(struct channel *c, const struct fail *why)
{
	struct child *child = channel_owner(c);

	(void)why;
	channel_free(&child->session);
	child_stop(child);
}

static const struct channel_ops session_ops = { dispatch_session, on_session_closed, NULL };

/* The programs that belong to mailbox owners. */
enum program { MAILBOXD, DELIVERD };
static const struct {
	const char *name;
	unsigned see, promises;
} programs[] = {
#define OWNED(name, bit, promises, job) { #name, bit, promises },
#include "daemons/maild/processes.def"
};

/* Has a program started for an owner and makes it known under key; NULL and *why. */
static struct child *
child_launch(struct userd *u, enum program program, const char *key, uint32_t uid, uint32_t gid, struct fail *why)
{
	struct service *s = u->service;
	struct launch what = { .root = u->root, .id = ++u->next_id, .name = programs[program].name, .label = key, .instances = 1,
		.unprivileged = s->unprivileged, .promises = programs[program].promises, .uid = uid, .gid = gid };
	struct child *child = calloc(1, sizeof(*child)), *before = child_of(u, key);

	if (!u->root)
		(void)fail_set(why, FAIL_TEMP, 0, "maild is away");
	what.config = child && u->root ? launch_config(s->conf, programs[program].see, why) : -1;
	if (what.config >= 0) {
		child->userd = u;
		child->id = what.id;
		child->program = program;
		child->before = before;
		child->held = -1;
		(void)snprintf(child->key, sizeof(child->key), "%s", key);
		child->ctl = launch_daemon(s->loop, &what, &ctl_ops, child, why);
		(void)close(what.config);
		if (before)
			map_remove(&u->children, &before->node);
		if (child->ctl && map_put(&u->children, &child->node, span_str(child->key))) {
			list_push(&u->all, &child->all);
			return child;
		}
		channel_free(&child->ctl);
	}
	free(child);
	return NULL;
}

/* Gives a child its end of a new channel; returns the other end, or -1. */
static int
child_peer(struct child *child, const char *channel, const char *client)
{
	struct ipc_ctl_peer peer = { .channel = span_str(channel), .name = span_str(client) };
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return -1;
	if (ipc_send_ctl_peer(child->ctl, &peer, fds[1]))
		return fds[0];
	(void)close(fds[0]);
	return -1;
}

/* logins */

/* Its mailbox is its own now: let it have its sessions. */
static void
child_release(struct child *child)
{
	struct ipc_ctl_peer peer = { .channel = SPAN("session"), .name = SPAN("userd") };

	(void)ipc_send_ctl_peer(child->ctl, &peer, child->held);
	child->held = -1;
	(void)ipc_send_ctl_start(child->ctl, &(struct ipc_ctl_start){ .generation = child->userd->service->generation });
}

static struct child *
mailboxd_for(struct userd *u, const struct ipc_ticket_grant *grant, struct fail *why)
{
	struct ipc_session_owner owner = { .user = grant->user };
	char user[B_ADDRESS + 1], path[B_PATH];
	struct child *child;
	int fds[2];

	if (!span_cstr(grant->user, user, sizeof(user)))
		return NULL;
	child = child_of(u, user);
	if (child && !child->stopping)
		return child;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return (void)fail_errno(why, 0, "socketpair"), NULL;
	child = child_launch(u, MAILBOXD, user, grant->uid, grant->gid, why);
	if (!child) {
		(void)close(fds[0]);
		(void)close(fds[1]);
		return NULL;
	}
	child->held = fds[1];
	child->session = channel_new(u->service->loop, fds[0], &ipc_channel_session, CHANNEL_CLIENT, &session_ops, child);
	(void)snprintf(path, sizeof(path), "%s/%.*s", u->service->conf->virtual_mailbox_base.p, SPAN_ARG(grant->home));
	owner.home = span_str(path);
	if (child->session)
		(void)ipc_send_session_owner(child->session, &owner);
	if (!child->before)
		child_release(child);
	return child;
}

/* authd sent the ticket before the front could know it, but in a crowd of logins
 * it may still lie unread. */
static struct map_node *
find_ticket(struct userd *u, struct span ticket)
{
	if (u->authd && !map_get(&u->tickets, ticket))
		channel_catch_up(u->authd);
	return map_get(&u->tickets, ticket);
}

static bool
enter(struct userd *u, const struct ipc_login_enter *m, int fd, struct fail *why)
{
	struct map_node *node = find_ticket(u, m->ticket);
	struct ticket *t = node ? OWNER_OF(node, struct ticket, node) : NULL;
	struct ipc_session_enter session = { .service = m->service, .client_addr = m->client_addr, .tls = m->tls, .tag = m->tag, .pending = m->pending };
	struct child *child = NULL;
	bool ok = t && t->until_ms >= loop_now_ms(u->service->loop) && span_eq(t->grant.service, m->service);

	if (!ok)
		(void)fail_set(why, FAIL_PERM, 0, "no such ticket");
	else
		ok = (child = mailboxd_for(u, &t->grant, why)) != NULL;
	if (ok) {
		session.quota = t->grant.quota;
		session.messages = t->grant.messages;
	}
	if (ok && !child->session)
		ok = fail_set(why, FAIL_TEMP, 0, "the mailbox process is gone");
	if (ok)
		log_put(LOG_login, "user=%.*s service=%.*s client=%.*s tls=%d", SPAN_ARG(t->grant.user), SPAN_ARG(m->service), SPAN_ARG(m->client_addr), m->tls);
	if (t)
		ticket_drop(u, t);
	if (!ok) {
		(void)close(fd);
		return false;
	}
	child->entered++;
	return ipc_send_session_enter(child->session, &session, fd) || fail_set(why, FAIL_TEMP, 0, "the mailbox process is gone");
}

static bool
on_login_enter(struct channel *c, const struct ipc_login_enter *m, int fd)
{
	struct userd *u = ((struct service *)channel_owner(c))->state;
	struct fail why = { .text = "" };
	struct ipc_login_result result = { .id = m->id };

	result.ok = enter(u, m, fd, &why);
	result.why = fail_text(&why);
	if (!result.ok)
		log_put(LOG_login, "refused service=%.*s client=%.*s: %s", SPAN_ARG(m->service), SPAN_ARG(m->client_addr), why.text);
	return ipc_send_login_result(c, &result);
}

/* deliveries */

static bool
on_owner_ask(struct channel *c, const struct ipc_owner_ask *m)
{
	struct userd *u = ((struct service *)channel_owner(c))->state;
	struct fail why = { .text = "its deliverd is being closed" };
	struct child *child;
	char key[32];
	int fd = -1;

	(void)snprintf(key, sizeof(key), "%u:%u", m->uid, m->gid);
	child = child_of(u, key);
	if (!child) {
		child = child_launch(u, DELIVERD, key, m->uid, m->gid, &why);
		if (child)
			(void)ipc_send_ctl_start(child->ctl, &(struct ipc_ctl_start){ .generation = u->service->generation });
	}
	if (child && !child->stopping)
		fd = child_peer(child, "mailbox", "locald");
	if (fd >= 0)
		return ipc_send_owner_child(c, &(struct ipc_owner_child){ .id = m->id }, fd);
	return ipc_send_owner_refused(c, &(struct ipc_owner_refused){ .id = m->id, .why = fail_text(&why) });
}

#define DISPATCH_DEF "ipc/ticket.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"
#define DISPATCH_DEF "ipc/login.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"
#define DISPATCH_DEF "ipc/owner.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

/* life */

static void
on_peer_closed(struct channel *c, const struct fail *why)
{
	(void)why;
	channel_free(&c);
}

static void
on_peer(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	(void)s, (void)c, (void)peer, (void)instance; /* the service owns them all: requests carry what is needed */
}

static struct child *
child_by_id(struct userd *u, uint64_t id)
{
	LIST_EACH(&u->all, it)
		if (OWNER_OF(it, struct child, all)->id == id)
			return OWNER_OF(it, struct child, all);
	return NULL;
}

static bool
on_root_spawned(struct channel *c, const struct ipc_root_spawned *m)
{
	struct userd *u = ((struct service *)channel_owner(c))->state;
	const struct child *child = child_by_id(u, m->id);

	if (child)
		log_put(LOG_child, "%s %s pid=%u started", child->session ? "mailboxd" : "deliverd", child->key, m->pid);
	return true;
}

static bool
on_root_ended(struct channel *c, const struct ipc_root_ended *m)
{
	struct userd *u = ((struct service *)channel_owner(c))->state;
	struct child *child = child_by_id(u, m->id);

	if (!child)
		return true;
	log_put(LOG_child, "%s pid=%u ended: %.*s", child->key, m->pid, SPAN_ARG(m->why));
	LIST_EACH(&u->all, it) {
		struct child *next = OWNER_OF(it, struct child, all);

		if (next->before == child) {
			next->before = NULL;
			child_release(next);
		}
	}
	child_free(child);
	if (u->service->stopping && list_empty(&u->all))
		service_exit(u->service);
	return true;
}

/* The rest of the root channel is between suited and maild. */
static bool
on_root_boot(struct channel *c, const struct ipc_root_boot *m, int fd)
{
	(void)c, (void)m, (void)close(fd);
	return false;
}

static bool
on_root_given(struct channel *c, const struct ipc_root_given *m, int fd)
{
	(void)c, (void)m, (void)close(fd);
	return false;
}

static bool
on_root_done(struct channel *c, const struct ipc_root_done *m)
{
	(void)c, (void)m;
	return false;
}

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

static void
on_authd_closed(struct channel *c, const struct fail *why)
{
	struct userd *u = ((struct service *)channel_owner(c))->state;

	(void)why;
	if (u->authd == c)
		u->authd = NULL;
	channel_free(&c);
}

static void
on_authd_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	(void)peer, (void)instance;
	((struct userd *)s->state)->authd = c;
}

static const struct channel_ops root_ops = { dispatch_root, on_root_closed, NULL };
static const struct channel_ops ticket_ops = { dispatch_ticket, on_authd_closed, NULL };
static const struct channel_ops login_ops = { dispatch_login, on_peer_closed, NULL };
static const struct channel_ops owner_ops = { dispatch_owner, on_peer_closed, NULL };
static const struct service_channel channels[] = {
	{ &ipc_channel_root, CHANNEL_CLIENT, &root_ops, on_root_open },
	{ &ipc_channel_ticket, CHANNEL_SERVER, &ticket_ops, on_authd_open },
	{ &ipc_channel_login, CHANNEL_SERVER, &login_ops, on_peer },
	{ &ipc_channel_owner, CHANNEL_SERVER, &owner_ops, on_peer },
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
	list_init(&u->order);
	list_init(&u->all);
	return true;
}

/* The new configuration, and the log, which may be another file now. */
static void
child_reload(struct child *child)
{
	struct service *s = child->userd->service;
	struct ipc_ctl_reload reload = { .generation = s->generation };
	struct fail why;
	int fd;

	if (!child->ctl || child->stopping)
		return;
	fd = launch_config(s->conf, programs[child->program].see, &why);
	if (fd < 0)
		log_put(LOG_failure, "%s goes on as it was configured: %s", child->key, why.text);
	else
		(void)ipc_send_ctl_reload(child->ctl, &reload, fd);
	if ((fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)) >= 0)
		(void)ipc_send_ctl_file(child->ctl, &(struct ipc_ctl_file){ .purpose = SPAN("log") }, fd);
	if (child->held < 0) /* else it has not begun yet */
		(void)ipc_send_ctl_start(child->ctl, &(struct ipc_ctl_start){ .generation = s->generation });
}

/* At each reload, too. */
static bool
on_start(struct service *s, struct fail *why)
{
	struct userd *u = s->state;

	(void)why;
	LIST_EACH(&u->all, it)
		child_reload(OWNER_OF(it, struct child, all));
	return true;
}

static void
on_stop_limit(struct timer *t)
{
	service_exit(OWNER_OF(t, struct userd, stop_limit)->service);
}

static void
on_stop(struct service *s)
{
	struct userd *u = s->state;

	LIST_EACH(&u->all, it)
		child_stop(OWNER_OF(it, struct child, all));
	timer_init(&u->stop_limit, s->loop, on_stop_limit);
	if (list_empty(&u->all) || !timer_set(&u->stop_limit, STOP_GRACE_MS))
		service_exit(s);
}

static void
on_state(struct service *s, struct buf *out)
{
	const struct userd *u = s->state;

	buf_printf(out, "children=%zu tickets=%zu", u->children.count, u->tickets.count);
}

int
main(int argc, char **argv)
{
	static const struct service_ops ops = { .name = "userd", .see = CONF_USERD, .channels = channels,
		.nchannels = sizeof(channels) / sizeof(channels[0]), .on_boot = on_boot, .on_start = on_start, .on_stop = on_stop, .on_state = on_state };

	return service_main(&ops, argc, argv);
}
