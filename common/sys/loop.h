/* SPDX-License-Identifier: ISC
 *
 * loop: the event loop: descriptors, timers, and work put off to the end of a
 * turn.  libevent is its engine and is known to loop.c alone.
 *
 * Watches, timers and turn hooks are embedded in their owner and must be
 * stopped before the owner is freed.  Everything runs on one thread; work that
 * blocks goes to sys/worker.h.
 */
#ifndef SYS_LOOP_H
#define SYS_LOOP_H

#include <stdalign.h>

#include "base/list.h"
#include "base/span.h"

struct loop;

struct loop *loop_new(void); /* NULL: no memory or descriptors */
void loop_free(struct loop **loop);
void loop_run(struct loop *loop);  /* until loop_stop() */
void loop_stop(struct loop *loop);
bool loop_turn(struct loop *loop, int timeout_ms); /* one round, for tests; -1 waits */

/* Milliseconds of the monotonic clock, and of the wall clock (Unix time), as
 * of the last event. */
int64_t loop_now_ms(const struct loop *loop);
int64_t loop_wall_ms(const struct loop *loop);

/* Of this process, by enum limit (sys/limits.h). */
struct limit_use;
struct limit_use *loop_limits(struct loop *loop);
/* Of this process: whom it works for (sys/box.h); *: NULL unless it has peers. */
struct box;
struct box **loop_box(struct loop *loop);

enum { WATCH_READ = 1, WATCH_WRITE = 2 };

enum { LOOP_EVENT_SIZE = 160 };
struct loop_event {
	alignas(16) unsigned char opaque[LOOP_EVENT_SIZE];
};

struct watch {
	struct loop *loop;
	int fd;         /* the owner's; never closed here */
	unsigned wants; /* WATCH_*, 0 when stopped */
	void (*on_ready)(struct watch *w, unsigned ready);
	struct loop_event event;
};

void watch_init(struct watch *w, struct loop *loop, int fd, void (*on_ready)(struct watch *, unsigned ready));
bool watch_want(struct watch *w, unsigned wants); /* level-triggered; 0 stops */
static inline void watch_stop(struct watch *w) { if (w->loop) (void)watch_want(w, 0); }

/* Fires once.  Setting a timer later than it stands costs nothing, so that a
 * session may push its timeout at every command. */
struct timer {
	struct loop *loop;
	int64_t due_ms;   /* when it shall fire; 0 when stopped */
	int64_t armed_ms; /* when the engine will wake it */
	void (*on_fire)(struct timer *t);
	struct loop_event event;
};

void timer_init(struct timer *t, struct loop *loop, void (*on_fire)(struct timer *));
bool timer_set(struct timer *t, int64_t after_ms);
void timer_stop(struct timer *t);
static inline bool timer_running(const struct timer *t) { return t->due_ms != 0; }

/* Runs once at the end of this turn, after all that was ready: where batches
 * are flushed.  A hook may be put off again from within itself (next turn). */
struct turn {
	struct list node;
	void (*on_turn)(struct turn *h);
};

static inline void turn_init(struct turn *h, void (*on_turn)(struct turn *)) { *h = (struct turn){ .on_turn = on_turn }; }
void turn_later(struct turn *h, struct loop *loop); /* no effect if already due */
static inline void turn_cancel(struct turn *h) { list_remove(&h->node); }

#endif
