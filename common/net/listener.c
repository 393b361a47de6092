/* SPDX-License-Identifier: ISC */
#include "net/listener.h"

#include <errno.h>
#include <unistd.h>

enum {
	ACCEPTS_PER_TURN = 64,
	REST_MS = 200, /* when descriptors or memory ran out */
};

static void
rest(struct listener *l)
{
	watch_stop(&l->watch);
	(void)timer_set(&l->rest, REST_MS);
}

static void
listen_on(struct listener *l)
{
	if (l->watch.fd >= 0 && !timer_running(&l->rest) && !watch_want(&l->watch, WATCH_READ))
		rest(l);
}

/* False when there is nothing more to take for now. */
static bool
accept_one(struct listener *l)
{
	struct sockaddr_storage from;
	socklen_t n = sizeof(from);
	int fd = accept4(l->watch.fd, (struct sockaddr *)&from, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct netaddr peer;

	if (fd >= 0) {
		(void)netaddr_of(&from, n, &peer);
		if (netaddr_family(&peer) == AF_UNSPEC) /* an unnamed UNIX socket */
			peer = (struct netaddr){ .len = sizeof(sa_family_t), .u.sa.sa_family = AF_UNIX };
		l->on_accept(l, fd, &peer);
		return true;
	}
	if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		rest(l);
		return false;
	}
	return errno == ECONNABORTED || errno == EINTR; /* that one is gone, the next may be fine */
}

static void
accept_some(struct listener *l)
{
	int64_t patient_ms = l->patient_ms; /* the callee may become it, or paused */

	for (int i = 0; i < ACCEPTS_PER_TURN && l->watch.fd >= 0 && !l->paused && l->patient_ms == patient_ms; i++)
		if (!accept_one(l))
			return;
}

static void
on_ready(struct watch *w, unsigned ready)
{
	struct listener *l = OWNER_OF(w, struct listener, watch);

	(void)ready;
	if (l->patient_ms) {
		watch_stop(&l->watch);
		(void)timer_set(&l->rest, l->patient_ms);
	} else
		accept_some(l);
}

static void
on_rested(struct timer *t)
{
	struct listener *l = OWNER_OF(t, struct listener, rest);

	if (l->patient_ms)
		accept_some(l);
	if (!l->paused)
		listen_on(l);
}

bool
listener_open(struct listener *l, struct loop *loop, int fd,
              void (*on_accept)(struct listener *, int, const struct netaddr *))
{
	*l = (struct listener){ .on_accept = on_accept };
	watch_init(&l->watch, loop, fd, on_ready);
	timer_init(&l->rest, loop, on_rested);
	return watch_want(&l->watch, WATCH_READ) || timer_set(&l->rest, REST_MS);
}

void
listener_close(struct listener *l)
{
	if (!l->watch.loop)
		return;
	watch_stop(&l->watch);
	timer_stop(&l->rest);
	if (l->watch.fd >= 0)
		(void)close(l->watch.fd);
	l->watch.fd = -1;
}

void
listener_pause(struct listener *l)
{
	l->paused = true;
	watch_stop(&l->watch);
}

void
listener_resume(struct listener *l)
{
	l->paused = false;
	listen_on(l);
}

void
listener_patient(struct listener *l, int64_t ms)
{
	l->patient_ms = ms;
}
