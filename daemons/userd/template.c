/* SPDX-License-Identifier: ISC
 *
 * Templates: a mailboxd that serves nobody and reads nothing but its ctl channel, but has loaded and
 * made all that every mailboxd needs.  Those of the common mailbox user are copies of it: what they
 * have in common is in memory once, and they start in a fraction of the time.  Each
 * raises its own walls within the template's.  The template is their parent, and they die with it.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemons/userd/userd.h"
#include "ipc/refuse.h"

struct template {
	struct list node;
	struct userd *userd;
	uint64_t id;
	struct channel *ctl; /* NULL: it is going */
	unsigned children;
};

static void
stop(struct template *t)
{
	if (t->ctl)
		(void)ipc_send_ctl_stop(t->ctl, &(struct ipc_ctl_stop){ .grace_ms = USERD_GRACE_MS });
}

void
template_left(struct template *t)
{
	if (--t->children == 0 && t->userd->template != t)
		stop(t);
}

void
template_retire(struct userd *u)
{
	struct template *t = u->template;

	u->template = NULL;
	if (t && t->children == 0)
		stop(t);
}

/* Its copies die with it. */
void
template_kill_all(struct userd *u)
{
	LIST_EACH(&u->templates, it)
		(void)ipc_send_root_kill(u->root, &(struct ipc_root_kill){ .id = OWNER_OF(it, struct template, node)->id });
}

/* Its next copies inherit it. */
void
template_log(struct userd *u)
{
	if (u->template)
		child_log(u->template->ctl);
}

/* What a template says of children that are not its own is a violation. */
static struct child *
child_of_template(struct channel *c, uint64_t id, bool *ok)
{
	const struct template *t = channel_owner(c);
	struct child *child = child_by_id(t->userd, id);

	*ok = !child || child->template == t;
	return *ok ? child : NULL;
}

static bool
on_ctl_forked(struct channel *c, const struct ipc_ctl_forked *m)
{
	bool ok;
	struct child *child = child_of_template(c, m->id, &ok);

	if (child)
		child->pid = m->pid;
	if (child)
		log_put(LOG_child, "mailboxd %s pid=%u started", child->key, m->pid);
	return ok;
}

static bool
on_ctl_gone(struct channel *c, const struct ipc_ctl_gone *m)
{
	struct template *t = channel_owner(c);
	bool ok;
	struct child *child = child_of_template(c, m->id, &ok);

	if (child && m->crashed && t->userd->template == t)
		template_retire(t->userd);
	if (child)
		child_ended(child, m->pid, m->crashed, m->why);
	return ok;
}

IGNORE(ctl, ready)
IGNORE(ctl, state)
IGNORE(ctl, broken)
REFUSE(ctl, blame)
REFUSE(ctl, idle)
REFUSE(ctl, attempt)
REFUSE(ctl, limit)
REFUSE(ctl, limits_done)

#define DISPATCH_DEF "ipc/ctl.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

/* Nobody tells of their end any more but their descriptors, which are closed with it. */
static void
leave_children(struct template *t)
{
	t->children = 0;
	LIST_EACH(&t->userd->all, it) {
		struct child *child = OWNER_OF(it, struct child, all);

		if (child->template != t)
			continue;
		child->template = NULL;
		child->orphan = true;
		if (!child->ctl)
			child_ended(child, 0, false, SPAN("with its template"));
	}
}

static void
on_closed(struct channel *c, const struct fail *why)
{
	struct template *t = channel_owner(c);

	(void)c, (void)why; /* maild tells the rest */
	if (t->userd->template == t)
		t->userd->template = NULL;
	channel_free(&t->ctl);
	leave_children(t);
}

static const struct channel_ops template_ops = { dispatch_ctl, on_closed, NULL };

/* Its copies were killed with it. */
bool
template_ended(struct userd *u, uint64_t id)
{
	struct template *t = NULL;

	LIST_EACH(&u->templates, it)
		if (OWNER_OF(it, struct template, node)->id == id)
			t = OWNER_OF(it, struct template, node);
	if (!t)
		return false;
	if (t->ctl)
		channel_catch_up(t->ctl); /* what it said last may still lie unread */
	if (u->template == t)
		u->template = NULL;
	leave_children(t);
	list_remove(&t->node);
	channel_free(&t->ctl);
	free(t);
	return true;
}

static struct template *
template_start(struct userd *u, struct fail *why)
{
	struct child_owner owner = { .id = ++u->next_id };
	struct template *t = calloc(1, sizeof(*t));
	char label[B_ADDRESS + 1] = "template";

	if (!t)
		return (void)fail_errno(why, 0, "template"), NULL;
	for (size_t i = span_str(label).n; i < B_ADDRESS; i++)
		label[i] = ' '; /* room for the names that its copies write there */
	t->userd = u;
	t->id = owner.id;
	t->ctl = child_program(u, MAILBOXD, label, &owner, &template_ops, t, why);
	if (!t->ctl) {
		free(t);
		return NULL;
	}
	(void)ipc_send_ctl_template(t->ctl, &(struct ipc_ctl_template){ .generation = u->service->generation });
	list_push(&u->templates, &t->node);
	return t;
}

struct channel *
template_fork(struct child *child, const struct channel_ops *ops, struct fail *why)
{
	struct userd *u = child->userd;
	struct ipc_ctl_fork m = { .id = child->id, .label = span_str(child->key) };
	struct channel *ctl;
	int fds[2];

	if (!u->template && !(u->template = template_start(u, why)))
		return NULL;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return (void)fail_errno(why, 0, "socketpair"), NULL;
	ctl = channel_new(u->service->loop, fds[0], &ipc_channel_ctl, CHANNEL_CLIENT, ops, child);
	if (!ctl || !ipc_send_ctl_born(ctl, &(struct ipc_ctl_born){ .generation = u->service->generation })) {
		(void)close(fds[1]);
	} else if (ipc_send_ctl_fork(u->template->ctl, &m, fds[1])) {
		child->template = u->template;
		u->template->children++;
		return ctl;
	}
	channel_free(&ctl);
	return (void)fail_set(why, FAIL_TEMP, 0, "the template of mailboxd is gone"), NULL;
}
