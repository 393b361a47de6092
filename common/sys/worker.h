/* SPDX-License-Identifier: ISC
 *
 * worker: a few threads for what blocks (syncs, password hashing).  Work runs
 * off the loop, its completion on the loop.  A thread touches nothing but
 * what its work item owns.
 */
#ifndef SYS_WORKER_H
#define SYS_WORKER_H

#include "sys/loop.h"

struct worker_pool;

struct work {
	void (*run)(struct work *w);  /* on a thread */
	void (*done)(struct work *w); /* on the loop, once; may free the item */
	struct work *next;            /* the pool's */
};

/* At most so many threads, which are started as there is work.  NULL: no memory. */
struct worker_pool *worker_pool_new(struct loop *loop, unsigned threads);
/* From now on threads end, until there is work again, when there has been none for so long; on_rest is told. */
void worker_pool_linger(struct worker_pool *pool, int64_t linger_ms, void (*on_rest)(void *), void *arg);
/* What the loop did itself is to be tidied up after, too: on_rest is told as if it had been an item. */
void worker_pool_stir(struct worker_pool *pool);
void worker_pool_free(struct worker_pool **pool); /* waits for all work and runs its completions */
void worker_submit(struct worker_pool *pool, struct work *w);
void worker_submit_later(struct worker_pool *pool, struct work *w); /* when nothing else is to be done, or a few others have been */
/* What is short, a few syncs at most, and worth less than handing it over where nobody else waits for
 * this loop: then, once the pool was told so, it is run at once and here, and so is its completion. */
void worker_pool_alone(struct worker_pool *pool, bool alone);
void worker_submit_short(struct worker_pool *pool, struct work *w);
/* Takes an item back that no thread has begun; its completion will not run. False: too late. */
bool worker_withdraw(struct worker_pool *pool, struct work *w);
/* Waits until this submitted item, whose completion has not run, has been run
 * (here, if no thread has begun it), and takes it out of the pool: calling
 * w->done(w) is then up to the caller. */
void worker_wait(struct worker_pool *pool, struct work *w);

#endif
