/* SPDX-License-Identifier: ISC */
#include "sys/worker.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { LATER_TURN = 8 }; /* one in so many is of what can wait, so that it does not for ever */

struct queue {
	struct work *head, **tail;
};

struct worker_pool {
	struct watch wake;
	pthread_mutex_t lock;
	pthread_cond_t more, ran;
	struct queue todo, later, finished; /* under lock */
	bool closing, waiting;       /* under lock */
	bool alone;                  /* the loop's */
	unsigned ntaken;             /* under lock */
	unsigned idle, ntodo;        /* under lock: threads that wait for work; items in todo and later */
	unsigned nthreads, most;
	struct timer linger;
	int64_t linger_ms; /* 0: threads stay */
	void (*on_rest)(void *arg);
	void *rest_arg;
	pthread_t threads[];
};

static void
queue_init(struct queue *q)
{
	q->head = NULL;
	q->tail = &q->head;
}

static void
queue_put(struct queue *q, struct work *w)
{
	w->next = NULL;
	*q->tail = w;
	q->tail = &w->next;
}

static struct work *
queue_take(struct queue *q)
{
	struct work *w = q->head;

	if (w && !(q->head = w->next))
		q->tail = &q->head;
	return w;
}

static bool
queue_remove(struct queue *q, struct work *w)
{
	struct work **at = &q->head;

	while (*at && *at != w)
		at = &(*at)->next;
	if (!*at)
		return false;
	*at = w->next;
	if (q->tail == &w->next)
		q->tail = at;
	return true;
}

static struct work *
take_work(struct worker_pool *pool)
{
	bool turn = ++pool->ntaken % LATER_TURN == 0;
	struct work *w = queue_take(turn ? &pool->later : &pool->todo);

	if (!w)
		w = queue_take(turn ? &pool->todo : &pool->later);
	pool->ntodo -= w != NULL;
	return w;
}

static bool
remove_work(struct worker_pool *pool, struct work *w)
{
	bool found = queue_remove(&pool->todo, w) || queue_remove(&pool->later, w);

	pool->ntodo -= found;
	return found;
}

static void *
thread_main(void *arg)
{
	struct worker_pool *pool = arg;

	(void)pthread_mutex_lock(&pool->lock);
	for (;;) {
		struct work *w = take_work(pool);
		uint64_t one = 1;
		bool first;

		if (!w) {
			if (pool->closing)
				break;
			pool->idle++;
			(void)pthread_cond_wait(&pool->more, &pool->lock);
			pool->idle--;
			continue;
		}
		(void)pthread_mutex_unlock(&pool->lock);
		w->run(w);
		(void)pthread_mutex_lock(&pool->lock);
		first = !pool->finished.head;
		queue_put(&pool->finished, w);
		if (pool->waiting)
			(void)pthread_cond_broadcast(&pool->ran);
		/* Whoever is woken wants the lock at once. */
		(void)pthread_mutex_unlock(&pool->lock);
		if (first && write(pool->wake.fd, &one, sizeof(one)) < 0)
			abort(); /* bug: an eventfd that cannot count to one */
		(void)pthread_mutex_lock(&pool->lock);
	}
	(void)pthread_mutex_unlock(&pool->lock);
	return NULL;
}

void
worker_pool_stir(struct worker_pool *pool)
{
	if (pool->linger_ms)
		(void)timer_set(&pool->linger, pool->linger_ms);
}

/* One by one: until its completion runs an item can be waited for, also by another's completion. */
static void
finish(struct worker_pool *pool)
{
	uint64_t one = 1;
	size_t n = 0;
	struct work *w;
	bool more;

	(void)pthread_mutex_lock(&pool->lock);
	for (w = pool->finished.head; w; w = w->next)
		n++;
	for (; n && (w = queue_take(&pool->finished)); n--) {
		(void)pthread_mutex_unlock(&pool->lock);
		w->done(w);
		(void)pthread_mutex_lock(&pool->lock);
	}
	more = pool->finished.head != NULL; /* what came meanwhile woke nobody */
	(void)pthread_mutex_unlock(&pool->lock);
	if (more && write(pool->wake.fd, &one, sizeof(one)) < 0)
		abort(); /* bug: an eventfd that cannot count to one */
	worker_pool_stir(pool);
}

static void
on_wake(struct watch *watch, unsigned ready)
{
	uint64_t count;

	(void)ready;
	if (read(watch->fd, &count, sizeof(count)) < 0)
		return;
	finish(OWNER_OF(watch, struct worker_pool, wake));
}

/* Those that there are: all of them end; others are started with the next item. */
static void
end_threads(struct worker_pool *pool)
{
	(void)pthread_mutex_lock(&pool->lock);
	pool->closing = true;
	(void)pthread_cond_broadcast(&pool->more);
	(void)pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->nthreads; i++)
		(void)pthread_join(pool->threads[i], NULL);
	pool->nthreads = 0;
	pool->closing = false;
}

static void
on_linger(struct timer *t)
{
	struct worker_pool *pool = OWNER_OF(t, struct worker_pool, linger);
	bool idle;

	(void)pthread_mutex_lock(&pool->lock);
	idle = pool->idle == pool->nthreads && !pool->ntodo && !pool->finished.head;
	(void)pthread_mutex_unlock(&pool->lock);
	if (!idle) /* its completion comes here again */
		return;
	end_threads(pool);
	pool->on_rest(pool->rest_arg);
}

void
worker_pool_linger(struct worker_pool *pool, int64_t linger_ms, void (*on_rest)(void *), void *arg)
{
	pool->linger_ms = linger_ms;
	pool->on_rest = on_rest;
	pool->rest_arg = arg;
}

struct worker_pool *
worker_pool_new(struct loop *loop, unsigned threads)
{
	struct worker_pool *pool = calloc(1, sizeof(*pool) + threads * sizeof(pthread_t));
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (!pool || fd < 0) {
		free(pool);
		if (fd >= 0)
			(void)close(fd);
		return NULL;
	}
	watch_init(&pool->wake, loop, fd, on_wake);
	(void)pthread_mutex_init(&pool->lock, NULL);
	(void)pthread_cond_init(&pool->more, NULL);
	(void)pthread_cond_init(&pool->ran, NULL);
	queue_init(&pool->todo);
	queue_init(&pool->later);
	queue_init(&pool->finished);
	pool->most = threads;
	timer_init(&pool->linger, loop, on_linger);
	if (!watch_want(&pool->wake, WATCH_READ))
		worker_pool_free(&pool);
	return pool;
}

void
worker_pool_free(struct worker_pool **at)
{
	struct worker_pool *pool = *at;

	if (!pool)
		return;
	pool->linger_ms = 0;
	do { /* a completion may submit more */
		end_threads(pool);
		finish(pool);
	} while (pool->nthreads || pool->finished.head);
	timer_stop(&pool->linger);
	watch_stop(&pool->wake);
	(void)close(pool->wake.fd);
	(void)pthread_cond_destroy(&pool->more);
	(void)pthread_cond_destroy(&pool->ran);
	(void)pthread_mutex_destroy(&pool->lock);
	free(pool);
	*at = NULL;
}

static void
run_here(struct worker_pool *pool)
{
	struct work *w = take_work(pool);
	uint64_t one = 1;

	w->run(w);
	queue_put(&pool->finished, w);
	if (write(pool->wake.fd, &one, sizeof(one)) < 0)
		abort(); /* bug: an eventfd that cannot count to one */
}

static void
submit(struct worker_pool *pool, struct queue *to, struct work *w)
{
	bool start;

	(void)pthread_mutex_lock(&pool->lock);
	queue_put(to, w);
	start = ++pool->ntodo > pool->idle && pool->nthreads < pool->most;
	(void)pthread_mutex_unlock(&pool->lock);
	if (start && pthread_create(&pool->threads[pool->nthreads], NULL, thread_main, pool) == 0)
		pool->nthreads++;
	else
		(void)pthread_cond_signal(&pool->more);
	if (!pool->nthreads) /* there are none to be had */
		run_here(pool);
}

void
worker_submit(struct worker_pool *pool, struct work *w)
{
	submit(pool, &pool->todo, w);
}

void
worker_submit_later(struct worker_pool *pool, struct work *w)
{
	submit(pool, &pool->later, w);
}

void
worker_pool_alone(struct worker_pool *pool, bool alone)
{
	pool->alone = alone;
}

void
worker_submit_short(struct worker_pool *pool, struct work *w)
{
	if (!pool->alone) {
		worker_submit(pool, w);
		return;
	}
	w->run(w);
	w->done(w);
}

void
worker_wait(struct worker_pool *pool, struct work *w)
{
	bool mine;

	(void)pthread_mutex_lock(&pool->lock);
	mine = remove_work(pool, w);
	pool->waiting = true;
	while (!mine && !queue_remove(&pool->finished, w))
		(void)pthread_cond_wait(&pool->ran, &pool->lock);
	pool->waiting = false;
	(void)pthread_mutex_unlock(&pool->lock);
	if (mine)
		w->run(w);
}

bool
worker_withdraw(struct worker_pool *pool, struct work *w)
{
	bool mine;

	(void)pthread_mutex_lock(&pool->lock);
	mine = remove_work(pool, w);
	(void)pthread_mutex_unlock(&pool->lock);
	return mine;
}
