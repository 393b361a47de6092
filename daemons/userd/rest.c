/* SPDX-License-Identifier: ISC
 *
 * Sessions that rest: all of a user's IMAP clients idle, the mailboxd has ended and
 * left their connections here, with the inotify descriptor that tells of its
 * folders.  Nothing is read from either: when one of them is readable, or the
 * user logs in again, a mailboxd is started and goes on with all of them.  What they
 * were at is an opaque text of that user's own mailboxd, given back to no other.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemons/userd/userd.h"
#include "sys/limits.h"

struct rested {
	struct list node;
	struct rest *rest;
	struct watch watch; /* the connection */
	size_t n;
	char state[];
};

/* Of one user. */
struct rest {
	struct map_node node;
	struct list order; /* by when the clients were last said something */
	struct userd *userd;
	uint32_t uid, gid;
	uint64_t quota, messages;
	bool quotas;
	int64_t since_ms, told_ms;
	struct watch events; /* fd -1: not here yet */
	struct list sessions;
	unsigned n;
	char *home; /* owned */
	char user[];
};

static struct rest *
rest_of(const struct userd *u, struct span user)
{
	struct map_node *node = map_get(&u->rests, user);

	return node ? OWNER_OF(node, struct rest, node) : NULL;
}

static void
count(struct userd *u, int by)
{
	u->nrested += (unsigned)by;
	limit_count(u->service->loop, LIMIT_rested_sessions, u->nrested, USERD_RESTED_MAX);
}

/* ---- the end ---- */

/* The descriptor becomes the caller's. */
static int
take_fd(struct rested *s)
{
	int fd = s->watch.fd;

	watch_stop(&s->watch);
	list_remove(&s->node);
	count(s->rest->userd, -1);
	s->rest->n--;
	return fd;
}

static void
dismiss(struct rested *s, struct span text)
{
	int fd = take_fd(s);

	(void)send(fd, text.p, text.n, MSG_DONTWAIT | MSG_NOSIGNAL); /* what does not fit is not worth waiting for */
	(void)close(fd);
	free(s);
}

static int
take_events(struct rest *r)
{
	int fd = r->events.fd;

	if (fd >= 0)
		watch_stop(&r->events);
	r->events.fd = -1;
	return fd;
}

static void
rest_free(struct rest *r)
{
	int fd = take_events(r);

	while (!list_empty(&r->sessions))
		dismiss(OWNER_OF(r->sessions.next, struct rested, node), SPAN("* BYE [UNAVAILABLE] Log in again.\r\n"));
	map_remove(&r->userd->rests, &r->node);
	list_remove(&r->order);
	if (fd >= 0)
		(void)close(fd);
	free(r->home);
	free(r);
}

void
rest_end(struct userd *u)
{
	timer_stop(&u->still);
	while (!list_empty(&u->resting))
		rest_free(OWNER_OF(u->resting.next, struct rest, order));
}

/* ---- on again ---- */

static void
resume_into(struct rest *r, struct child *child)
{
	struct ipc_session_unwatch last = { .resumed = r->n };
	int events = take_events(r);
	int64_t elapsed = loop_now_ms(r->userd->service->loop) - r->since_ms;

	child->quotas = r->quotas;
	while (!list_empty(&r->sessions)) {
		struct rested *s = OWNER_OF(r->sessions.next, struct rested, node);
		struct ipc_session_resume m = { .quota = r->quota, .messages = r->messages, .quotas = r->quotas, .elapsed_ms = elapsed > 0 ? (uint64_t)elapsed : 0, .state = span_of(s->state, s->n) };
		int fd = take_fd(s);

		child->entered++;
		(void)ipc_send_session_resume(child->session, &m, fd);
		free(s);
	}
	if (events >= 0)
		(void)ipc_send_session_unwatch(child->session, &last, events);
}

void
rest_rouse(struct child *child)
{
	struct rest *r = rest_of(child->userd, span_str(child->key));

	if (!r || !child->session)
		return;
	resume_into(r, child);
	rest_free(r);
}

/* Whatever becomes of it: r is gone. */
static void
rouse(struct rest *r)
{
	struct userd *u = r->userd;
	struct ipc_ticket_grant grant = { .user = span_str(r->user), .home = span_str(r->home), .uid = r->uid, .gid = r->gid, .quota = r->quota, .messages = r->messages, .quotas = r->quotas };
	struct fail why = { .text = "in quarantine" };

	if (!poison_holds(u, grant.user) && child_mailboxd(u, &grant, &why)) /* which goes on with r, if it lives */
		return;
	log_put(LOG_failure, "user=%s: %u resting sessions are closed: %s", r->user, r->n, why.text);
	rest_free(r);
}

static void
on_events(struct watch *w, unsigned ready)
{
	(void)ready;
	rouse(OWNER_OF(w, struct rest, events));
}

static void
on_client(struct watch *w, unsigned ready)
{
	(void)ready;
	rouse(OWNER_OF(w, struct rested, watch)->rest);
}

void
rest_limits(struct userd *u, const struct ipc_ticket_limits *m)
{
	struct rest *r = rest_of(u, m->user);

	if (!r)
		return;
	r->quota = m->quota;
	r->messages = m->messages;
}

/* ---- a word from time to time ---- */

static bool
say_still(struct rest *r)
{
	static const char text[] = "* OK Still here\r\n";

	LIST_EACH(&r->sessions, it)
		if (send(OWNER_OF(it, struct rested, node)->watch.fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)sizeof(text) - 1)
			return false;
	return true;
}

void
rest_on_still(struct timer *t)
{
	struct userd *u = OWNER_OF(t, struct userd, still);
	int64_t now = loop_now_ms(u->service->loop), every = u->service->conf->imap_idle_notify_interval;

	while (!list_empty(&u->resting)) {
		struct rest *r = OWNER_OF(u->resting.next, struct rest, order);

		if (r->told_ms + every > now) {
			(void)timer_set(t, r->told_ms + every - now);
			return;
		}
		r->told_ms = now;
		list_remove(&r->order);
		list_push(&u->resting, &r->order);
		/* Who has been silent for too long, or takes nothing, is for its mailboxd to deal with. */
		if (now - r->since_ms >= u->service->conf->imap_timeout || !say_still(r))
			rouse(r);
	}
}

/* ---- what a mailboxd leaves ---- */

static struct rest *
rest_make(struct child *child)
{
	struct userd *u = child->userd;
	size_t n = strlen(child->key) + 1;
	struct rest *r = calloc(1, sizeof(*r) + n);

	if (!r || !child->home || !(r->home = strdup(child->home))) {
		free(r);
		return NULL;
	}
	memcpy(r->user, child->key, n);
	r->userd = u;
	r->uid = child->uid;
	r->gid = child->gid;
	r->quota = child->quota;
	r->messages = child->messages;
	r->quotas = child->quotas;
	r->since_ms = r->told_ms = loop_now_ms(u->service->loop);
	r->events.fd = -1;
	list_init(&r->sessions);
	if (!map_put(&u->rests, &r->node, span_str(r->user))) {
		free(r->home);
		free(r);
		return NULL;
	}
	list_push(&u->resting, &r->order);
	if (!timer_running(&u->still))
		(void)timer_set(&u->still, u->service->conf->imap_idle_notify_interval);
	return r;
}

bool
on_session_rest(struct channel *c, const struct ipc_session_rest *m)
{
	struct child *child = channel_owner(c);

	if (m->entered != child->entered || child->stopping || child->userd->service->stopping || child->userd->nrested >= USERD_RESTED_MAX)
		return true; /* it goes on when it hears of the next session, or asks again */
	child->leaving = true;
	child_stop(child);
	return true;
}

bool
on_session_rested(struct channel *c, const struct ipc_session_rested *m, int fd)
{
	struct child *child = channel_owner(c);
	struct userd *u = child->userd;
	struct rest *r = rest_of(u, span_str(child->key));
	struct rested *s = NULL;

	if (!child->leaving || (r && r->events.fd >= 0)) { /* violation */
		(void)close(fd);
		return false;
	}
	if (!r)
		r = rest_make(child);
	if (r && r->n < u->service->conf->mailbox_session_limit && u->nrested < USERD_RESTED_MAX)
		s = calloc(1, sizeof(*s) + m->state.n);
	if (!s) {
		limit_reached(u->service->loop, LIMIT_rested_sessions, USERD_RESTED_MAX, span_str(child->key));
		(void)close(fd);
		return true;
	}
	s->rest = r;
	s->n = m->state.n;
	if (s->n)
		memcpy(s->state, m->state.p, s->n);
	watch_init(&s->watch, u->service->loop, fd, on_client);
	list_push(&r->sessions, &s->node);
	r->n++;
	count(u, 1);
	return true;
}

/* All is here: from now on each of them may wake it. */
static bool
watch_all(struct rest *r)
{
	if (!watch_want(&r->events, WATCH_READ))
		return false;
	LIST_EACH(&r->sessions, it)
		if (!watch_want(&OWNER_OF(it, struct rested, node)->watch, WATCH_READ))
			return false;
	return true;
}

bool
on_session_events(struct channel *c, const struct ipc_session_events *m, int fd)
{
	struct child *child = channel_owner(c), *next = child_of(child->userd, child->key);
	struct rest *r = child->leaving ? rest_of(child->userd, span_str(child->key)) : NULL;

	(void)m;
	if (!r || r->events.fd >= 0) { /* it left nobody */
		(void)close(fd);
		return child->leaving;
	}
	watch_init(&r->events, child->userd->service->loop, fd, on_events);
	if (child->userd->service->stopping)
		rest_free(r);
	else if (next && next != child && !next->stopping) /* the user has logged in meanwhile */
		rest_rouse(next);
	else if (!watch_all(r))
		rouse(r);
	return true;
}

/* What it said last may still lie unread. If it ended before it had told all, what it left goes on at once. */
void
rest_check(struct userd *u, struct child *child)
{
	struct rest *r;

	if (!child->leaving)
		return;
	if (child->session)
		channel_catch_up(child->session);
	r = rest_of(u, span_str(child->key));
	if (r && r->events.fd < 0)
		rouse(r);
}
