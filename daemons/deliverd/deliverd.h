/* SPDX-License-Identifier: ISC
 *
 * deliverd: writes messages into one owner's Maildirs.  Lives as long as a
 * locald has something for that owner now and then, started by userd as him; forks nothing, reads no message's inside.
 *
 *   main.c    the daemon's face      deliverd.c  the channel     homes.c  open Maildirs
 *   room.c    quotas                 forward.c   the owner's forward file     forwardlist.c  what it says
 */
#ifndef DELIVERD_DELIVERD_H
#define DELIVERD_DELIVERD_H

#include "daemons/deliverd/room.h"
#include "service/service.h"
#include "store/delivery.h"

enum {
	DELIVERD_PUTS = 4096, /* at work at once; more is a violation by locald */
	DELIVERD_THREADS = 16,
};

struct deliverd {
	struct service *service;
	struct worker_pool *pool;
	struct deliverer *deliverer;
	struct homes homes;
	uint64_t given, peers; /* localds: all, and those that are there; without any userd has this end */
	uint64_t delivered, failed;
};

extern const struct service_ops deliverd_ops;

#endif
