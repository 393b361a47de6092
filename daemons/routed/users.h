/* SPDX-License-Identifier: ISC
 *
 * users: the user database as routed sees it: questions to authd, and a cache
 * of the answers that authd empties when a user changes.
 */
#ifndef ROUTED_USERS_H
#define ROUTED_USERS_H

#include "base/map.h"
#include "ipc/messages.h"
#include "route.h"

struct service;

enum { USERS_CACHE_MAX = 100000, USERS_WAIT_MS = 15000 };

struct users {
	struct channel *channel; /* to authd, or NULL while it restarts */
	struct map cache;        /* struct cached by address */
	struct list cached;
	size_t ncached;
	struct list waiting; /* struct users_question, oldest first */
	struct map by_id;
	uint64_t last_id;
	struct timer patience;
	struct loop *loop;
};

/* Embedded in who asks; waits until answered or dropped. */
struct users_question {
	struct list node;
	struct map_node by_id;
	struct span address; /* the asker's */
	int64_t since_ms;
	void (*on_answer)(struct users_question *q, const struct route_user *user);
};

extern const struct channel_ops users_ops;

void users_init(struct users *u, struct loop *loop);
void users_free(struct users *u);
/* Questions that waited are put to the new channel. */
void users_open(struct users *u, struct channel *c);
/* True: *user is known now (its home is valid until the next turn). False: q waits for on_answer. */
bool users_ask(struct users *u, struct users_question *q, struct span address, struct route_user *user);
void users_drop(struct users *u, struct users_question *q);

#endif
