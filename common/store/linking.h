/* SPDX-License-Identifier: ISC
 *
 * linking: the half of a large COPY or MOVE that is done after its answer.  What
 * it promised (promise.h) is kept on a worker thread; until then the target's
 * messages are read where they come from, and neither folder has files
 * renamed or removed by us, or is closed.  One at a time a store.
 */
#ifndef STORE_LINKING_H
#define STORE_LINKING_H

#include "base/list.h"
#include "store/promise.h"
#include "sys/worker.h"

struct mailbox;
struct store;

struct linking {
	struct work work;
	struct store *store;
	struct mailbox *source, *target; /* used, and held */
	struct promise promise;
	uint32_t lo, hi;     /* the nth link is message lo + n of the target; lo 0: none has its UID yet */
	bool running, again, stuck, kept;
	bool missed;         /* a scan did not find one of them: to be looked for when they are there */
	size_t lost;
	int err;
	struct timer retry;
	struct list waiters; /* struct linking_wait */
};

/* Who goes on when the links are there, or cannot be made for now. */
struct linking_wait {
	struct list node;
	void (*on_settled)(struct linking_wait *w);
};

/* The store's one; NULL: it has one already, or no memory. It is dropped, or begun. */
struct linking *linking_new(struct mailbox *source, struct mailbox *target);
void linking_drop(struct linking *l);
/* After the answer. The promise is durable, and lo and hi are set (or there is nothing of it in the index). */
void linking_begin(struct linking *l);

/* False: it does not concern the folder, or there is nothing to wait for. */
bool linking_wait(struct store *store, const struct mailbox *mb, struct linking_wait *w);
/* Where a message is whose link may not be there yet, below the user's Maildir; NULL: under its own name. */
const char *linking_from(const struct mailbox *mb, uint32_t uid);
/* Waits for those that concern the folder (NULL: any). False: they cannot be made for now. */
bool linking_settle(struct store *store, const struct mailbox *mb);
/* Before the store goes: what is stuck is left to the next one. */
void linking_leave(struct store *store);

#endif
