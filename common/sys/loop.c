/* SPDX-License-Identifier: ISC */
#include "sys/loop.h"

#include "sys/limits.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <time.h>

_Static_assert(sizeof(struct event) <= LOOP_EVENT_SIZE, "struct loop_event is too small for libevent's struct event");

struct loop {
	struct event_base *base;
	struct list turns;
	int64_t now_ms, wall_ms;
	bool stopping;
	struct limit_use limits[LIMIT_COUNT];
	struct box *box;
};

static struct event *
event_of(struct loop_event *e)
{
	return (struct event *)(void *)e->opaque;
}

static int64_t
clock_ms(clockid_t id)
{
	struct timespec t;

	(void)clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void
read_clocks(struct loop *loop)
{
	loop->now_ms = clock_ms(CLOCK_MONOTONIC);
	loop->wall_ms = clock_ms(CLOCK_REALTIME);
}

struct loop *
loop_new(void)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	struct event_config *config = event_config_new();

	if (loop && config) {
		/* Not EPOLL_USE_CHANGELIST: epoll has to let go of a descriptor before it is closed, for the socket
		 * may live on in another process and would wake us for ever. */
		(void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
		loop->base = event_base_new_with_config(config);
		list_init(&loop->turns);
		read_clocks(loop);
	}
	if (config)
		event_config_free(config);
	if (!loop || !loop->base) {
		free(loop);
		return NULL;
	}
	return loop;
}

void
loop_free(struct loop **loop)
{
	if (!*loop)
		return;
	event_base_free((*loop)->base);
	free(*loop);
	*loop = NULL;
}

struct limit_use *
loop_limits(struct loop *loop)
{
	return loop->limits;
}

struct box **
loop_box(struct loop *loop)
{
	return &loop->box;
}

static void
run_turns(struct loop *loop)
{
	struct list due;
	struct list *node;

	if (list_empty(&loop->turns))
		return;
	due = loop->turns; /* hooks put off from here on belong to the next turn */
	due.next->prev = due.prev->next = &due;
	list_init(&loop->turns);
	while ((node = list_shift(&due))) {
		struct turn *h = OWNER_OF(node, struct turn, node);

		h->on_turn(h);
	}
}

static void
on_limit(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
}

bool
loop_turn(struct loop *loop, int timeout_ms)
{
	int flags = EVLOOP_ONCE;
	struct event limit;

	if (!list_empty(&loop->turns) || timeout_ms == 0)
		flags |= EVLOOP_NONBLOCK;
	if (timeout_ms > 0) {
		struct timeval tv = { timeout_ms / 1000, timeout_ms % 1000 * 1000 };

		(void)event_assign(&limit, loop->base, -1, 0, on_limit, NULL);
		(void)event_add(&limit, &tv);
	}
	if (event_base_loop(loop->base, flags) < 0)
		return false;
	if (timeout_ms > 0)
		(void)event_del(&limit);
	run_turns(loop);
	read_clocks(loop);
	return true;
}

void
loop_run(struct loop *loop)
{
	loop->stopping = false;
	while (!loop->stopping) {
		int flags = EVLOOP_ONCE | (list_empty(&loop->turns) ? EVLOOP_NO_EXIT_ON_EMPTY : EVLOOP_NONBLOCK);

		if (event_base_loop(loop->base, flags) < 0)
			abort(); /* bug: the engine lost its descriptor */
		run_turns(loop);
	}
}

void
loop_stop(struct loop *loop)
{
	loop->stopping = true;
	(void)event_base_loopbreak(loop->base);
}

int64_t
loop_now_ms(const struct loop *loop)
{
	return loop->now_ms;
}

int64_t
loop_wall_ms(const struct loop *loop)
{
	return loop->wall_ms;
}

static void
on_event(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;

	(void)fd;
	read_clocks(w->loop);
	w->on_ready(w, (what & EV_READ ? WATCH_READ : 0u) | (what & EV_WRITE ? WATCH_WRITE : 0u));
}

void
watch_init(struct watch *w, struct loop *loop, int fd, void (*on_ready)(struct watch *, unsigned))
{
	*w = (struct watch){ .loop = loop, .fd = fd, .on_ready = on_ready };
}

bool
watch_want(struct watch *w, unsigned wants)
{
	struct event *event = event_of(&w->event);
	short what = (short)(EV_PERSIST | (wants & WATCH_READ ? EV_READ : 0) | (wants & WATCH_WRITE ? EV_WRITE : 0));

	if (wants == w->wants)
		return true;
	if (w->wants)
		(void)event_del(event);
	w->wants = 0;
	if (!wants)
		return true;
	if (event_assign(event, w->loop->base, w->fd, what, on_event, w) != 0 || event_add(event, NULL) != 0)
		return false;
	w->wants = wants;
	return true;
}

static bool arm(struct timer *t, int64_t due_ms);

static void
on_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct timer *t = arg;

	(void)fd, (void)what;
	read_clocks(t->loop);
	t->armed_ms = 0;
	if (t->due_ms == 0)
		return;
	if (t->due_ms > t->loop->now_ms) { /* it was pushed later meanwhile */
		(void)arm(t, t->due_ms);
		return;
	}
	t->due_ms = 0;
	t->on_fire(t);
}

static bool
arm(struct timer *t, int64_t due_ms)
{
	int64_t wait = due_ms - t->loop->now_ms;
	struct timeval tv;

	if (wait < 0)
		wait = 0;
	tv = (struct timeval){ .tv_sec = (time_t)(wait / 1000), .tv_usec = (suseconds_t)(wait % 1000 * 1000) };
	if (event_assign(event_of(&t->event), t->loop->base, -1, 0, on_timeout, t) != 0 ||
	    event_add(event_of(&t->event), &tv) != 0)
		return false;
	t->armed_ms = due_ms;
	return true;
}

void
timer_init(struct timer *t, struct loop *loop, void (*on_fire)(struct timer *))
{
	*t = (struct timer){ .loop = loop, .on_fire = on_fire };
}

bool
timer_set(struct timer *t, int64_t after_ms)
{
	int64_t due = t->loop->now_ms + (after_ms > 0 ? after_ms : 0);

	t->due_ms = due ? due : 1;
	if (t->armed_ms && t->armed_ms <= t->due_ms)
		return true;
	if (t->armed_ms) {
		(void)event_del(event_of(&t->event));
		t->armed_ms = 0;
	}
	return arm(t, t->due_ms);
}

void
timer_stop(struct timer *t)
{
	t->due_ms = 0;
	if (t->armed_ms)
		(void)event_del(event_of(&t->event));
	t->armed_ms = 0;
}

void
turn_later(struct turn *h, struct loop *loop)
{
	if (!list_linked(&h->node))
		list_push(&loop->turns, &h->node);
}
