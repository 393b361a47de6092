/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/visit.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sys/loop.h"

enum { READ_SIZE = 64 << 10 };

static void
lose(struct visit *v)
{
	watch_stop(&v->watch);
	timer_stop(&v->patience);
	if (v->fd >= 0)
		close(v->fd);
	v->fd = -1;
	v->gone = true;
}

static bool
receive(struct visit *v)
{
	size_t n = buf_space(&v->in) < READ_SIZE ? buf_space(&v->in) : READ_SIZE;
	char *room = n ? buf_room(&v->in, n) : NULL;
	ssize_t got;

	if (!room)
		return n == 0; /* full: whoever reads it knows what is wrong */
	got = recv(v->fd, room, n, MSG_DONTWAIT);
	if (got > 0)
		buf_added(&v->in, (size_t)got);
	return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

static bool
transmit(struct visit *v)
{
	while (buf_len(&v->out)) {
		ssize_t put = send(v->fd, buf_span(&v->out).p, buf_len(&v->out), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (put < 0)
			return errno == EAGAIN || errno == EINTR;
		buf_eat(&v->out, (size_t)put);
	}
	return true;
}

static void
watch_as_needed(struct visit *v)
{
	unsigned wants = v->listening && buf_space(&v->in) ? WATCH_READ : 0;

	if (v->fd < 0)
		return;
	if (buf_len(&v->out))
		wants |= WATCH_WRITE;
	if (!watch_want(&v->watch, wants)) {
		lose(v);
		return;
	}
	if (v->listening ? v->patient : v->kept)
		timer_stop(&v->patience);
	else
		(void)timer_set(&v->patience, v->listening ? VISIT_PATIENCE_MS : VISIT_IDLE_MS);
}

static void
on_ready(struct watch *w, unsigned ready)
{
	struct visit *v = OWNER_OF(w, struct visit, watch);

	if (((ready & WATCH_READ) && !receive(v)) || ((ready & WATCH_WRITE) && !transmit(v)))
		lose(v);
	watch_as_needed(v);
	v->on_change(v);
}

static void
on_impatient(struct timer *t)
{
	struct visit *v = OWNER_OF(t, struct visit, patience);

	lose(v);
	v->on_change(v);
}

static void
on_door(struct broker_request *r, bool ok, int fd, struct span why)
{
	struct visit *v = OWNER_OF(r, struct visit, request);

	(void)why;
	if (!ok) {
		v->gone = true;
	} else {
		v->fd = fd;
		watch_init(&v->watch, v->user->loop, fd, on_ready);
		watch_as_needed(v);
	}
	v->on_change(v);
}

struct visit *
visit_new(struct user *user, struct span owner, void (*on_change)(struct visit *), void *arg)
{
	struct visit *v = calloc(1, sizeof *v);

	if (!v || !span_cstr(owner, v->owner, sizeof v->owner)) {
		free(v);
		return NULL;
	}
	v->user = user;
	v->fd = -1;
	v->on_change = on_change;
	v->arg = arg;
	buf_init(&v->in, VISIT_IN);
	buf_init(&v->out, VISIT_OUT);
	timer_init(&v->patience, user->loop, on_impatient);
	v->request.on_done = on_door;
	user->broker->visit(user, span_str(v->owner), &v->request);
	return v;
}

void
visit_free(struct visit **at)
{
	struct visit *v = *at;

	if (!v)
		return;
	broker_cancel(&v->request);
	lose(v);
	buf_free(&v->in);
	buf_free(&v->out);
	free(v);
	*at = NULL;
}

bool
visit_quiet(const struct visit *v)
{
	char byte;

	if (v->gone || buf_len(&v->in))
		return false;
	return v->fd < 0 || (recv(v->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EINTR));
}

void
visit_go(struct visit *v, bool listening, bool idling)
{
	v->listening = listening;
	v->patient = idling;
	if (v->fd >= 0 && (!buf_ok(&v->out) || !transmit(v)))
		lose(v);
	watch_as_needed(v);
}
