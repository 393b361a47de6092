/* SPDX-License-Identifier: ISC
 *
 * locald: final delivery.  Takes jobs from queued, has each recipient's message
 * put into the Maildir by the deliverd of its owner, answers per recipient.
 *
 *   locald.c  its channels and its life
 *   job.c     one job: its recipients, header lines, outcomes
 *   owner.c   one owner: the way to its deliverd, and what waits for it
 */
#ifndef LOCALD_LOCALD_H
#define LOCALD_LOCALD_H

#include "base/map.h"
#include "service/agent.h"

enum {
	LOCALD_JOBS = 1000,        /* at once, told to queued */
	LOCALD_RCPTS = 10000,      /* of a job; more is a violation */
	LOCALD_JOB_ARENA = 16 * 1024 * 1024,
	LOCALD_IN_FLIGHT = 512,    /* puts at one deliverd */
	LOCALD_WAIT_MS = 60 * 1000, /* for a deliverd to come; then deferred */
	LOCALD_OWNERS = 500,       /* deliverd at once; who needs another waits for one of them to be idle */
	LOCALD_REST_MS = 5 * 60 * 1000, /* a deliverd that has had nothing to do for so long is let go */
	LOCALD_PATIENCE_MS = 5000, /* how often that is looked at */
	LOCALD_HEADER_MAX = 256 * 1024, /* of a message, searched for loops */
	LOCALD_CONVERT = 64 * 1024 * 1024, /* no larger binary message is brought into lines */
};

struct locald {
	struct service *service;
	struct channel *userd; /* NULL: away for the moment */
	struct map owners;     /* by uid and gid */
	unsigned nopen, most_open; /* owners with a deliverd, or a question for one; LOCALD_OWNERS */
	int64_t rest_ms;       /* LOCALD_REST_MS */
	struct list idle;      /* those with a deliverd and nothing for it, the longest first */
	struct list queue;     /* those that wait for one to be idle, by their turn */
	struct timer rest;     /* looks after both */
	struct agent agent;    /* jobs */
	struct timer patience;
	uint64_t next_id;      /* of puts and questions */
	uint64_t delivered, deferred, failed;
};

extern const struct service_ops locald_ops;

void locald_check_stop(struct locald *l);

#endif
