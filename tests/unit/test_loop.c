/* SPDX-License-Identifier: ISC */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sys/loop.h"
#include "sys/memory.h"
#include "sys/worker.h"

static unsigned calls;

static void
on_ready(struct watch *w, unsigned ready)
{
	(void)w, (void)ready;
	calls++;
}

static void
on_fire(struct timer *t)
{
	(void)t;
}

static long
cpu_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* As a connection that was handed on and that its giver has not closed yet: epoll knows sockets, not descriptors. */
static void
test_a_closed_descriptor_that_lives_on_elsewhere_wakes_nobody(void **state)
{
	struct loop *loop = loop_new();
	struct watch w;
	struct timer t;
	int fds[2], copy;
	long before;

	(void)state;
	assert_non_null(loop);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	copy = dup(fds[0]);
	assert_true(copy >= 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	watch_init(&w, loop, fds[0], on_ready);
	assert_true(watch_want(&w, WATCH_READ));
	calls = 0;
	assert_true(loop_turn(loop, 1000));
	assert_int_equal(calls, 1);
	watch_stop(&w);
	(void)close(fds[0]);
	timer_init(&t, loop, on_fire);
	assert_true(timer_set(&t, 300));
	before = cpu_ms();
	while (timer_running(&t)) /* the kernel may end a wait a little early */
		assert_true(loop_turn(loop, -1));
	assert_true(cpu_ms() - before < 150);
	assert_int_equal(calls, 1);
	(void)close(fds[1]);
	(void)close(copy);
	loop_free(&loop);
}

static void
test_a_watch_may_change_its_mind_within_a_turn(void **state)
{
	struct loop *loop = loop_new();
	struct watch w;
	int fds[2];

	(void)state;
	assert_non_null(loop);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	watch_init(&w, loop, fds[0], on_ready);
	assert_true(watch_want(&w, WATCH_READ) && watch_want(&w, WATCH_READ | WATCH_WRITE) && watch_want(&w, 0) && watch_want(&w, WATCH_READ));
	calls = 0;
	assert_true(loop_turn(loop, 20));
	assert_int_equal(calls, 0); /* it can be written to, which nobody wants to know */
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_true(loop_turn(loop, 1000));
	assert_int_equal(calls, 1);
	watch_stop(&w);
	(void)close(fds[0]);
	(void)close(fds[1]);
	loop_free(&loop);
}

struct job {
	struct work work;
	bool ran, done;
};

static void
on_run(struct work *w)
{
	((struct job *)(void *)w)->ran = true;
}

static void
on_done(struct work *w)
{
	((struct job *)(void *)w)->done = ((struct job *)(void *)w)->ran;
}

static void
test_short_work_is_done_at_once_where_nobody_else_waits(void **state)
{
	struct loop *loop = loop_new();
	struct worker_pool *pool = worker_pool_new(loop, 1);
	struct job here = { .work = { .run = on_run, .done = on_done } }, there = here;

	(void)state;
	assert_non_null(pool);
	worker_pool_alone(pool, true);
	worker_submit_short(pool, &here.work);
	assert_true(here.done);
	worker_pool_alone(pool, false);
	worker_submit_short(pool, &there.work);
	assert_false(there.done); /* completions are the loop's */
	for (unsigned i = 0; i < 100 && !there.done; i++)
		assert_true(loop_turn(loop, 100));
	assert_true(there.done);
	worker_pool_free(&pool);
	loop_free(&loop);
}

struct ordered {
	struct work work;
	struct ordered **end; /* of those that have run */
	struct ordered *next;
	pthread_mutex_t *gate;
};

static void
on_turn(struct work *w)
{
	struct ordered *t = OWNER_OF(w, struct ordered, work);

	if (t->gate) {
		(void)pthread_mutex_lock(t->gate);
		(void)pthread_mutex_unlock(t->gate);
		return;
	}
	while (*t->end)
		t->end = &(*t->end)->next;
	*t->end = t;
}

static void
on_turned(struct work *w)
{
	(void)w;
}

/* One thread: what can wait does, but not for ever. */
static void
test_later_work_lets_others_go_first(void **state)
{
	enum { N = 20, LATER = 2 };
	struct loop *loop = loop_new();
	struct worker_pool *pool = worker_pool_new(loop, 1);
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	struct ordered *order = NULL, first = { .work = { .run = on_turn, .done = on_turned }, .gate = &gate }, all[N];
	unsigned n = 0, places[LATER];

	(void)state;
	assert_non_null(pool);
	(void)pthread_mutex_lock(&gate);
	worker_submit(pool, &first.work);
	for (unsigned i = 0; i < N; i++) {
		all[i] = (struct ordered){ .work = { .run = on_turn, .done = on_turned }, .end = &order };
		if (i < LATER)
			worker_submit_later(pool, &all[i].work);
		else
			worker_submit(pool, &all[i].work);
	}
	assert_true(worker_withdraw(pool, &all[N - 1].work));
	(void)pthread_mutex_unlock(&gate);
	worker_pool_free(&pool);
	for (struct ordered *t = order; t; t = t->next, n++)
		if (t < all + LATER)
			places[t - all] = n;
	assert_int_equal(n, N - 1);
	assert_in_range(places[0], 5, N - 4); /* others were first, and were last */
	assert_in_range(places[1], places[0] + 5, N - 2);
	loop_free(&loop);
}

struct chain {
	struct work work;
	struct worker_pool *pool;
	unsigned left;
};

static void
on_chain_run(struct work *w)
{
	(void)w;
}

static void
on_chain_done(struct work *w)
{
	struct chain *c = OWNER_OF(w, struct chain, work);

	if (--c->left)
		worker_submit(c->pool, w);
}

static void
test_what_a_completion_submits_is_run_before_the_pool_is_gone(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 50; i++) {
		struct loop *loop = loop_new();
		struct chain c = { .work = { .run = on_chain_run, .done = on_chain_done }, .pool = worker_pool_new(loop, 2), .left = 5 };

		assert_non_null(c.pool);
		worker_submit(c.pool, &c.work);
		worker_pool_free(&c.pool);
		assert_int_equal(c.left, 0);
		loop_free(&loop);
	}
}

static int
where(void *arg)
{
	*(uintptr_t *)arg = (uintptr_t)__builtin_frame_address(0);
	return 7;
}

/* Wherever the stack is. */
static void
test_a_frame_begins_where_a_page_does(void **state)
{
	(void)state;
#ifndef SANITIZED
	for (unsigned n = 0; n < 4096; n += 48) {
		volatile char *shift = __builtin_alloca(n + 1);
		uintptr_t at = 0;

		shift[n] = 0;
		assert_int_equal(memory_on_page(where, &at), 7);
		assert_true(-at % 4096 < 128); /* the return address, and how the call is made */
	}
#endif
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_closed_descriptor_that_lives_on_elsewhere_wakes_nobody),
		cmocka_unit_test(test_a_frame_begins_where_a_page_does),
		cmocka_unit_test(test_a_watch_may_change_its_mind_within_a_turn),
		cmocka_unit_test(test_short_work_is_done_at_once_where_nobody_else_waits),
		cmocka_unit_test(test_later_work_lets_others_go_first),
		cmocka_unit_test(test_what_a_completion_submits_is_run_before_the_pool_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
