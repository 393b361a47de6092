/* SPDX-License-Identifier: ISC */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemons/reach.h"
#include "daemons/userd/userd.h"
#include "ipc/refuse.h"
#include "sys/limits.h"
#include "sys/syscalls.h"

/* The programs that belong to mailbox owners. */
static const struct {
	const char *name;
	unsigned see, promises, files, memory, cpu;
} programs[] = {
#define OWNED(name, bit, promises, files, memory, cpu, job) { #name, bit, promises, files, memory, cpu },
#include "daemons/maild/processes.def"
};

IGNORE(ctl, state)

/* They are few different ones: each is kept once. */
static bool
on_ctl_ready(struct channel *c, const struct ipc_ctl_ready *m)
{
	struct child *child = channel_owner(c);
	struct userd *u = child->userd;
	uint8_t i = 1;

	while (i < USERD_WALLS - 1 && u->walls[i][0] && !span_eq(span_str(u->walls[i]), m->walls))
		i++;
	(void)span_cstr(span_sub(m->walls, 0, sizeof(u->walls[i]) - 1), u->walls[i], sizeof(u->walls[i]));
	child->walls = i;
	return true;
}

static bool
on_ctl_idle(struct channel *c, const struct ipc_ctl_idle *m)
{
	struct child *child = channel_owner(c);

	if (m->given == child->entered)
		child_stop(child);
	return true;
}

REFUSE(ctl, attempt) /* only mailctl doctor has walls tried */
REFUSE(ctl, limit)   /* nor does userd ask for these */
REFUSE(ctl, limits_done)
REFUSE(ctl, forked) /* it is no template */
REFUSE(ctl, gone)
IGNORE(ctl, broken) /* its channels are made again when they are needed */
REFUSE(ctl, blame) /* it is told of peers by suited, and tells of them */

#define DISPATCH_DEF "ipc/ctl.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

static void
on_ctl_closed(struct channel *c, const struct fail *why)
{
	struct child *child = channel_owner(c);

	if (why->class == FAIL_PEER) /* the reaper tells the rest; without ctl it ends by itself */
		log_put(LOG_channel, "%s %s: %s", programs[child->program].name, child->key, why->text);
	child->stopping = true;
	channel_free(&child->ctl);
	if (child->orphan)
		child_ended(child, 0, false, SPAN("with its template"));
}

static const struct channel_ops ctl_ops = { dispatch_ctl, on_ctl_closed, NULL };

struct child *
child_of(struct userd *u, const char *key)
{
	struct map_node *node = map_get(&u->children, span_str(key));

	return node ? OWNER_OF(node, struct child, node) : NULL;
}

void
child_stop(struct child *child)
{
	if (!child->stopping && child->ctl)
		(void)ipc_send_ctl_stop(child->ctl, &(struct ipc_ctl_stop){ .grace_ms = USERD_GRACE_MS });
	child->stopping = true;
}

/* One more, or one less. */
static void
count_children(struct userd *u, enum program program, int change)
{
	struct loop *loop = u->service->loop;

	u->nchildren += (unsigned)change;
	limit_count(loop, LIMIT_mailbox_processes, u->nchildren, USERD_CHILDREN_MAX);
	if (program != DELIVERD)
		return;
	u->ndeliverd += (unsigned)change;
	limit_count(loop, LIMIT_deliverd_processes, u->ndeliverd, USERD_DELIVERD_MAX);
}

static void
child_free(struct child *child)
{
	if (child_of(child->userd, child->key) == child) {
		map_remove(&child->userd->children, &child->node);
		if (child->before) /* still there, and the next must wait for it */
			(void)map_put(&child->userd->children, &child->before->node, span_str(child->before->key));
	}
	map_remove(&child->userd->ids, &child->by_id);
	list_remove(&child->all);
	visit_child_gone(child->userd, child);
	if (child->template)
		template_left(child->template);
	count_children(child->userd, child->program, -1);
	if (child->held >= 0)
		(void)close(child->held);
	channel_free(&child->ctl);
	channel_free(&child->session);
	box_drop(&child->box);
	free(child->home);
	free(child);
}

static bool
on_session_left(struct channel *c, const struct ipc_session_left *m, int fd)
{
	return front_returned(channel_owner(c), m, fd);
}

/* Whoever asks on and on, and reads no answer, breaks the rules. */
static bool
on_session_visit(struct channel *c, const struct ipc_session_visit *m)
{
	return !channel_congested(c) && visit_begin(channel_owner(c), m);
}

static bool
on_session_sharers(struct channel *c, const struct ipc_session_sharers *m)
{
	return !channel_congested(c) && visit_sharers(channel_owner(c), m);
}

static bool
on_session_share(struct channel *c, const struct ipc_session_share *m)
{
	return !channel_congested(c) && visit_share(channel_owner(c), m);
}

static bool
on_session_quota(struct channel *c, const struct ipc_session_quota *m)
{
	return !channel_congested(c) && visit_quota(channel_owner(c), m);
}

static bool
on_session_measured(struct channel *c, const struct ipc_session_measured *m)
{
	return visit_measured(channel_owner(c), m);
}

#define DISPATCH_DEF "ipc/session.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

static void
on_session_closed(struct channel *c, const struct fail *why)
{
	struct child *child = channel_owner(c);

	if (why->class == FAIL_PEER)
		log_put(LOG_channel, "%s %s: %s", programs[child->program].name, child->key, why->text);
	channel_free(&child->session);
	child_stop(child);
}

static const struct channel_ops session_ops = { dispatch_session, on_session_closed, NULL };

struct channel *
child_program(struct userd *u, enum program program, const char *label, const struct child_owner *owner, const struct channel_ops *ops, void *of, struct fail *why)
{
	struct launch what = { .root = u->root, .id = owner->id, .name = programs[program].name, .label = label, .instances = 1,
		.unprivileged = u->service->unprivileged, .promises = programs[program].promises, .files = programs[program].files, .memory = programs[program].memory,
		.cpu = programs[program].cpu, .reach = reach_rows, .nreach = REACH_ROWS, .conf = u->service->conf, .uid = owner->uid, .gid = owner->gid };
	struct channel *ctl = NULL;

	if (!u->root)
		return (void)fail_set(why, FAIL_TEMP, 0, "maild is away"), NULL;
	what.config = launch_config(u->service->conf, programs[program].see, why);
	if (what.config >= 0) {
		ctl = launch_daemon(u->service->loop, &what, ops, of, why);
		(void)close(what.config);
	}
	return ctl;
}

/* Mailboxes of the common user have their processes from a template. */
static bool
start(struct child *child, const struct child_owner *owner, struct fail *why)
{
	if (child->program == MAILBOXD && owner->uid == 0)
		child->ctl = template_fork(child, &ctl_ops, why);
	else
		child->ctl = child_program(child->userd, child->program, child->key, owner, &ctl_ops, child, why);
	if (child->ctl)
		channel_slim(child->ctl);
	if (child->ctl)
		poison_arm(child);
	return child->ctl != NULL;
}

static bool
has_too_many(const struct userd *u, enum program program, const char *key)
{
	bool all = u->nchildren >= USERD_CHILDREN_MAX, deliverd = program == DELIVERD && u->ndeliverd >= USERD_DELIVERD_MAX;

	if (all)
		limit_reached(u->service->loop, LIMIT_mailbox_processes, USERD_CHILDREN_MAX, span_str(key));
	else if (deliverd)
		limit_reached(u->service->loop, LIMIT_deliverd_processes, USERD_DELIVERD_MAX, span_str(key));
	if (all || deliverd)
		log_put(LOG_limit, "%u processes of mailbox owners, %u of them deliverd: none is started for %s", u->nchildren, u->ndeliverd, key);
	return all || deliverd;
}

struct child *
child_launch(struct userd *u, enum program program, const char *key, uint32_t uid, uint32_t gid, struct fail *why)
{
	struct child_owner owner = { .id = ++u->next_id, .uid = uid, .gid = gid };
	struct child *child = calloc(1, sizeof(*child)), *before = child_of(u, key);

	if (has_too_many(u, program, key)) {
		free(child);
		return (void)fail_set(why, FAIL_LIMIT, 0, "too many mailbox processes"), NULL;
	}
	if (!child)
		return (void)fail_errno(why, 0, "%s", key), NULL;
	child->userd = u;
	child->id = owner.id;
	child->program = program;
	child->before = before;
	child->held = -1;
	list_init(&child->asks);
	(void)snprintf(child->key, sizeof(child->key), "%s", key);
	if (!map_put_u64(&u->ids, &child->by_id, child->id)) {
		(void)fail_errno(why, 0, "%s", key);
	} else if (start(child, &owner, why)) {
		if (before)
			map_remove(&u->children, &before->node);
		if (map_put(&u->children, &child->node, span_str(child->key))) {
			list_push(&u->all, &child->all);
			count_children(u, program, 1);
			return child;
		}
	}
	if (child->template)
		template_left(child->template);
	map_remove(&u->ids, &child->by_id);
	channel_free(&child->ctl);
	box_drop(&child->box);
	free(child);
	return NULL;
}

int
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

/* Its mailbox is its own now: let it have its sessions. */
static void
child_release(struct child *child)
{
	struct ipc_ctl_peer peer = { .channel = SPAN("session"), .name = SPAN("userd") };

	if (!child->ctl || child->held < 0) /* it is ending already, or has no mailbox */
		return;
	(void)ipc_send_ctl_peer(child->ctl, &peer, child->held);
	child->held = -1;
	(void)ipc_send_ctl_start(child->ctl, &(struct ipc_ctl_start){ .generation = child->userd->service->generation });
}

/* So that another can be started for who rests. */
static void
keep_grant(struct child *child, const struct ipc_ticket_grant *grant)
{
	if (!child->home && (child->home = calloc(1, grant->home.n + 1)) && grant->home.n)
		memcpy(child->home, grant->home.p, grant->home.n);
	child->uid = grant->uid;
	child->gid = grant->gid;
	child->quota = grant->quota;
	child->messages = grant->messages;
	child->quotas = grant->quotas;
}

void
child_limits(struct userd *u, const struct ipc_ticket_limits *m)
{
	char user[B_ADDRESS + 1];
	struct child *child = span_cstr(m->user, user, sizeof(user)) ? child_of(u, user) : NULL;

	rest_limits(u, m);
	if (!child || !child->session)
		return;
	child->quota = m->quota;
	child->messages = m->messages;
	(void)ipc_send_session_limits(child->session, &(struct ipc_session_limits){ .quota = m->quota, .messages = m->messages });
}

static void
forget_sharers(struct child *child, bool all)
{
	if (!child->session)
		return;
	(void)ipc_send_session_shared(child->session, &(struct ipc_session_shared){ .all = all });
	(void)channel_flush(child->session);
}

void
child_shared(struct userd *u, struct span guest)
{
	char user[B_ADDRESS + 1];
	struct child *child;

	if (guest.n) {
		child = span_cstr(guest, user, sizeof(user)) ? child_of(u, user) : NULL;
		if (child)
			forget_sharers(child, false);
		return;
	}
	LIST_EACH(&u->all, it)
		forget_sharers(OWNER_OF(it, struct child, all), true);
}

/* The user was deleted and added anew, with another owner or directory. */
static bool
is_elsewhere(const struct child *child, const struct ipc_ticket_grant *grant)
{
	return child->uid != grant->uid || child->gid != grant->gid || (child->home && !span_eq(span_str(child->home), grant->home));
}

struct child *
child_mailboxd(struct userd *u, const struct ipc_ticket_grant *grant, struct fail *why)
{
	struct ipc_session_owner owner = { .user = grant->user };
	char user[B_ADDRESS + 1], path[B_PATH];
	struct child *child;
	int fds[2];

	if (!span_cstr(grant->user, user, sizeof(user)))
		return NULL;
	child = child_of(u, user);
	if (child && !child->stopping && is_elsewhere(child, grant))
		child_stop(child);
	if (child && !child->stopping) {
		keep_grant(child, grant);
		rest_rouse(child);
		return child;
	}
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
	if (child->session) {
		channel_slim(child->session);
		(void)ipc_send_session_owner(child->session, &owner);
	}
	keep_grant(child, grant);
	if (!child->before)
		child_release(child);
	rest_rouse(child);
	return child;
}

struct child *
child_by_id(struct userd *u, uint64_t id)
{
	struct map_node *node = map_get_u64(&u->ids, id);

	return node ? OWNER_OF(node, struct child, by_id) : NULL;
}

void
child_gone(struct child *child)
{
	LIST_EACH(&child->userd->all, it) {
		struct child *next = OWNER_OF(it, struct child, all);

		if (next->before == child) {
			next->before = child->before;
			if (!next->before)
				child_release(next);
		}
	}
	child_free(child);
}

bool
child_tell(const struct userd *u, struct channel *c, uint64_t request)
{
	LIST_EACH(&u->all, it) {
		const struct child *child = OWNER_OF(it, struct child, all);
		struct ipc_mailbox_admin_process row = { .id = request, .name = span_str(programs[child->program].name), .label = span_str(child->key), .pid = child->pid,
			.walls = span_str(u->walls[child->walls]) };

		if (!ipc_send_mailbox_admin_process(c, &row))
			return false;
	}
	return true;
}

void
child_log(struct channel *ctl)
{
	int fd = ctl ? fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0) : -1;

	if (fd >= 0)
		(void)ipc_send_ctl_file(ctl, &(struct ipc_ctl_file){ .purpose = SPAN("log") }, fd);
}

void
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
	if (child->held < 0) /* else it has not begun yet */
		(void)ipc_send_ctl_start(child->ctl, &(struct ipc_ctl_start){ .generation = s->generation });
}
