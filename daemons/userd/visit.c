/* SPDX-License-Identifier: ISC
 *
 * visit: what mailboxds ask about other users. The broker of shared mailboxes
 * (RFC 4314): one asks for another user's mailboxes; whose mailboxd it is userd knows, so nothing that it could say
 * makes it somebody else's. authd says whether that owner has given this user any
 * right at all; if so the owner's mailboxd gets one end of a socket pair with the
 * guest's name, and decides by its ACLs alone; the other end goes to who asked.
 * Neither process ever has a descriptor of the other's directory (law 4).
 * Quotas (RFC 9208): authd says who may set them; what is used the mailboxd whose it is.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemons/userd/userd.h"

enum { MEASURE_MS = 10000 };

/* A request that authd has been asked about. */
struct visit {
	struct map_node node;
	struct list order;
	uint64_t id;    /* on ticket */
	uint64_t child; /* who asks, if it still lives */
	uint64_t about; /* its own id for it */
	enum { VISIT_ENTER, VISIT_LIST, VISIT_SHARE, VISIT_QUOTA, VISIT_MEASURE } kind;
	uint64_t target; /* VISIT_MEASURE: the child that is asked how much there is */
	int64_t until_ms; /* and how long it has for that: its user's trouble is not the asker's */
	uint64_t quota, messages; /* what its user may keep */
};

static struct visit *
find(struct userd *u, uint64_t id)
{
	struct map_node *node = map_get_u64(&u->asked, id);

	return node ? OWNER_OF(node, struct visit, node) : NULL;
}

static struct child *
asker(struct userd *u, const struct visit *v)
{
	struct child *child = child_by_id(u, v->child);

	return child && child->session ? child : NULL;
}

static void
drop(struct userd *u, struct visit *v)
{
	struct child *child = child_by_id(u, v->child);

	if (child)
		child->nasked--;
	map_remove(&u->asked, &v->node);
	list_remove(&v->order);
	free(v);
}

/* What cannot be sent is lost with its channel. */
static void
answer(struct child *child, uint64_t about, bool ok, struct span why)
{
	if (child)
		(void)ipc_send_session_answered(child->session, &(struct ipc_session_answered){ .id = about, .ok = ok, .why = why });
}

/* NULL: the child has been told. */
static struct visit *
begin(struct child *child, uint64_t about, unsigned kind)
{
	struct userd *u = child->userd;
	struct visit *v = NULL;

	if (u->authd && child->nasked < VISITS_MAX && child->program == MAILBOXD && !channel_blocked(child->session)) /* we would keep the answers for it, with a descriptor each */
		v = calloc(1, sizeof(*v));
	if (v) {
		v->id = ++u->last_visit;
		v->child = child->id;
		v->about = about;
		v->kind = kind;
		if (map_put_u64(&u->asked, &v->node, v->id)) {
			list_push(&u->visits, &v->order);
			child->nasked++;
			return v;
		}
		free(v);
	}
	answer(child, about, false, SPAN("shared mailboxes cannot be had just now"));
	return NULL;
}

/* False: it could not be asked, and the child has been told. */
static void
sent(struct userd *u, struct visit *v, bool ok)
{
	if (ok)
		return;
	answer(asker(u, v), v->about, false, SPAN("authd is away"));
	drop(u, v);
}

bool
visit_begin(struct child *child, const struct ipc_session_visit *m)
{
	struct userd *u = child->userd;
	struct visit *v = begin(child, m->id, VISIT_ENTER);

	if (v)
		sent(u, v, ipc_send_ticket_find(u->authd, &(struct ipc_ticket_find){ .id = v->id, .owner = m->owner, .guest = span_str(child->key) }));
	return true;
}

bool
visit_sharers(struct child *child, const struct ipc_session_sharers *m)
{
	struct userd *u = child->userd;
	struct visit *v = begin(child, m->id, VISIT_LIST);

	if (v)
		sent(u, v, ipc_send_ticket_sharers(u->authd, &(struct ipc_ticket_sharers){ .id = v->id, .guest = span_str(child->key) }));
	return true;
}

bool
visit_share(struct child *child, const struct ipc_session_share *m)
{
	struct userd *u = child->userd;
	struct visit *v = begin(child, m->id, VISIT_SHARE);

	if (v)
		sent(u, v, ipc_send_ticket_share(u->authd, &(struct ipc_ticket_share){ .id = v->id, .owner = span_str(child->key), .guest = m->guest, .on = m->on }));
	return true;
}

bool
visit_quota(struct child *child, const struct ipc_session_quota *m)
{
	struct userd *u = child->userd;
	struct visit *v = begin(child, m->id, VISIT_QUOTA);

	if (v)
		sent(u, v, ipc_send_ticket_quota(u->authd, &(struct ipc_ticket_quota){ .id = v->id, .by = span_str(child->key), .user = m->user,
			.set = m->set, .size = m->size, .messages = m->messages }));
	return true;
}

/* An owner's mailboxd, to be asked something; NULL and *why. */
static struct child *
mailboxd_of(struct userd *u, const struct ipc_ticket_owner *m, struct fail *why)
{
	struct ipc_ticket_grant owner = { .user = m->user, .home = m->home, .uid = m->uid, .gid = m->gid, .quota = m->quota, .messages = m->messages };
	char user[B_ADDRESS + 1];
	struct child *child = span_cstr(m->user, user, sizeof(user)) ? child_of(u, user) : NULL;

	if (poison_holds(u, m->user))
		return (void)fail_set(why, FAIL_TEMP, 0, "the mailbox is in quarantine"), NULL;
	owner.quotas = child && child->quotas; /* nobody has logged in */
	child = child_mailboxd(u, &owner, why);
	if (!child || !child->session)
		return (void)fail_set(why, FAIL_TEMP, 0, "the mailbox process is gone"), NULL;
	if (channel_blocked(child->session))
		return (void)fail_set(why, FAIL_TEMP, 0, "the mailbox process takes no sessions"), NULL;
	return child;
}

/* A session of guest in this owner's mailboxd; the end that is the guest's, or -1. */
static int
open_door(struct userd *u, const struct ipc_ticket_owner *m, const char *guest, struct fail *why)
{
	struct ipc_session_enter enter = { .service = SPAN("imap"), .guest = span_str(guest), .quota = m->quota, .messages = m->messages };
	struct child *to = mailboxd_of(u, m, why);
	int fds[2];

	if (!to)
		return -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
		(void)fail_errno(why, 0, "socketpair");
		return -1;
	}
	if (ipc_send_session_enter(to->session, &enter, fds[1])) {
		to->entered++;
		log_put(LOG_login, "user=%.*s service=imap guest=%s", SPAN_ARG(m->user), guest);
		return fds[0];
	}
	(void)close(fds[0]);
	(void)fail_set(why, FAIL_TEMP, 0, "the mailbox process is gone");
	return -1;
}

/* ---- quotas ---- */

/* measured: NULL if what is used cannot be had. */
static void
quota_told(struct userd *u, struct visit *v, const struct ipc_session_measured *measured)
{
	struct child *child = asker(u, v);
	struct ipc_session_quota_is m = { .id = v->about, .size = v->quota, .messages = v->messages };

	if (measured && measured->ok) {
		m.measured = true;
		m.used_size = measured->size;
		m.used_messages = measured->messages;
	}
	if (child)
		(void)ipc_send_session_quota_is(child->session, &m);
	drop(u, v);
}

/* authd has said, and maybe set, what the user may keep; what there is that user's mailboxd knows. */
static void
quota_known(struct userd *u, struct visit *v, const struct ipc_ticket_owner *m)
{
	struct fail why;
	struct child *to = mailboxd_of(u, m, &why);

	v->kind = VISIT_MEASURE;
	v->until_ms = loop_now_ms(u->service->loop) + MEASURE_MS;
	if (!timer_running(&u->measure))
		(void)timer_set(&u->measure, MEASURE_MS);
	v->quota = m->quota;
	v->messages = m->messages;
	if (to)
		v->target = to->id;
	if (!to || !ipc_send_session_limits(to->session, &(struct ipc_session_limits){ .quota = m->quota, .messages = m->messages }) ||
	    !ipc_send_session_measure(to->session, &(struct ipc_session_measure){ .id = v->id }))
		quota_told(u, v, NULL);
}

void
visit_on_measure(struct timer *t)
{
	struct userd *u = OWNER_OF(t, struct userd, measure);
	int64_t now = loop_now_ms(u->service->loop), next = 0;

	LIST_EACH(&u->visits, it) {
		struct visit *v = OWNER_OF(it, struct visit, order);

		if (v->kind == VISIT_MEASURE && v->until_ms <= now)
			quota_told(u, v, NULL);
		else if (v->kind == VISIT_MEASURE && (!next || v->until_ms < next))
			next = v->until_ms;
	}
	if (next)
		(void)timer_set(t, next - now);
}

bool
visit_measured(struct child *child, const struct ipc_session_measured *m)
{
	struct visit *v = find(child->userd, m->id);

	if (!v)
		return m->id <= child->userd->last_visit;
	if (v->kind != VISIT_MEASURE || v->target != child->id)
		return false;
	quota_told(child->userd, v, m);
	return true;
}

void
visit_child_gone(struct userd *u, const struct child *child)
{
	LIST_EACH(&u->visits, it) {
		struct visit *v = OWNER_OF(it, struct visit, order);

		if (v->kind == VISIT_MEASURE && v->target == child->id)
			quota_told(u, v, NULL);
	}
}

/* ---- authd's answers ---- */

/* What nobody waits for any more. */
static bool
given(const struct userd *u, uint64_t id)
{
	return id > 0 && id <= u->last_visit;
}

bool
visit_owner(struct userd *u, const struct ipc_ticket_owner *m)
{
	struct visit *v = find(u, m->id);
	struct child *child = v ? asker(u, v) : NULL;
	struct fail why = { .text = "" };
	int fd;

	if (v && v->kind == VISIT_QUOTA) {
		quota_known(u, v, m);
		return true;
	}
	if (!v)
		return given(u, m->id);
	if (v->kind != VISIT_ENTER)
		return false;
	if (child && span_eq(m->user, span_str(child->key))) {
		answer(child, v->about, false, SPAN("these are the user's own mailboxes"));
	} else if (child) {
		fd = open_door(u, m, child->key, &why);
		if (fd >= 0)
			(void)ipc_send_session_arrived(child->session, &(struct ipc_session_arrived){ .id = v->about }, fd);
		else
			answer(child, v->about, false, fail_text(&why));
	}
	drop(u, v);
	return true;
}

bool
visit_sharer(struct userd *u, const struct ipc_ticket_sharer *m)
{
	struct visit *v = find(u, m->id);
	struct child *child = v ? asker(u, v) : NULL;

	if (!v)
		return given(u, m->id);
	if (v->kind != VISIT_LIST)
		return false;
	if (child)
		(void)ipc_send_session_sharer(child->session, &(struct ipc_session_sharer){ .id = v->about, .owner = m->owner });
	return true;
}

bool
visit_answered(struct userd *u, const struct ipc_ticket_answered *m)
{
	struct visit *v = find(u, m->id);

	if (!v)
		return given(u, m->id);
	if (v->kind == VISIT_MEASURE)
		return false;
	answer(asker(u, v), v->about, m->ok, m->why);
	drop(u, v);
	return true;
}

void
visit_unanswered(struct userd *u)
{
	LIST_EACH(&u->visits, it) {
		struct visit *v = OWNER_OF(it, struct visit, order);

		if (v->kind == VISIT_MEASURE) /* has its answer */
			continue;
		answer(asker(u, v), v->about, false, SPAN("authd is away"));
		drop(u, v);
	}
}
