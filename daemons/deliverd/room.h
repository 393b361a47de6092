/* SPDX-License-Identifier: ISC
 *
 * room: whether a message still goes into a user's quota.  Counting, where it
 * has to be done, is a thread's work; who comes meanwhile waits for it.
 */
#ifndef DELIVERD_ROOM_H
#define DELIVERD_ROOM_H

#include "daemons/deliverd/homes.h"
#include "sys/worker.h"

/* Embedded in who asks. */
struct room {
	struct list node;     /* of account.waiting */
	struct home *account; /* used by the asker: the user's INBOX; NULL: no limit */
	struct quota limit;
	uint64_t size;
	bool reserved, counted;
	void (*on_answer)(struct room *r, const struct fail *why); /* why NULL: there is room, and it is reserved */
};

/* Answers at once or later. */
void room_ask(struct room *r, struct worker_pool *pool);
/* It became a message of these octets, or (0) did not. */
void room_done(struct room *r, uint64_t size);

#endif
