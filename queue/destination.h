/* SPDX-License-Identifier: ISC
 *
 * destination: where messages hang: an agent and a next hop.  Destinations,
 * not messages, have timers: a dead one with a million messages costs one
 * probe an interval.  This module keeps one destination's lists, concurrency
 * and backoff; it knows neither journal nor agents.
 *
 * Concurrency: additive increase on success, halved on trouble.  A destination
 * that was not reached is held back: a doubling interval with jitter, then one
 * probe.
 */
#ifndef QUEUE_DESTINATION_H
#define QUEUE_DESTINATION_H

#include "queue/heap.h"
#include "queue/message.h"
#include "queue/params.h"

enum {
	DESTINATION_FLOWS = 16, /* fresh messages take turns by sender */
	DESTINATION_LATER = 16, /* waits of about equal length stand in one list */
};

enum destination_health { HEALTH_GOOD, HEALTH_OVERLOADED, HEALTH_UNREACHED, HEALTH_UNTRIED };

/* What may be asked of one destination. */
struct destination_limits {
	uint32_t concurrency, recipients; /* jobs at once; recipients of one job */
	int64_t rate_delay;               /* between two jobs, 0: none */
	int64_t minimal_backoff, maximal_backoff;
};

/* READY entries of messages with a priority, from -9 to 9 (RFC 6710). */
struct destination_ranks {
	struct list of[2 * PRIORITY_MAX + 1];
	unsigned turn;
};

struct destination {
	struct map_node by_name;
	struct list rotor;     /* in the queue's ring of those that may start a job */
	struct heap_node timer; /* when it wants to be looked at */
	struct text *name;     /* "remote/example.com" */
	uint8_t agent;
	struct list fresh[DESTINATION_FLOWS], retry; /* READY entries */
	struct list parked;                         /* WAITING until it answers */
	struct list later[DESTINATION_LATER];       /* WAITING each for its own time */
	struct destination_ranks *ranks;            /* NULL: there was none with a priority yet */
	unsigned flow, turn;
	uint32_t nready, nwaiting; /* entries */
	uint64_t nrcpts;           /* recipients that wait here, ready or not */
	uint32_t active, waking;   /* jobs under way; entries on their way through routing */
	uint32_t coming;           /* units on their way here from routing */
	double window;
	struct destination_limits limits;
	uint32_t failures;         /* unreached in a row */
	int64_t until_ms;          /* held back; 0: open */
	int64_t pause_ms;          /* no job before (rate delay) */
	struct word *last;         /* why it is held back */
	journal_pos pos;           /* of its record, 0: none */
	unsigned agent_hint;       /* which instance has its connections */
	struct list idle;          /* in the queue's list of those that may be idle */
	int64_t idle_since_ms;
};

struct destination *destination_new(struct span name, unsigned agent, const struct queue_params *p);
void destination_free(struct destination **d, struct words *words);
/* The limits that hold where nothing particular is said. */
struct destination_limits destination_default_limits(const struct destination *d, const struct queue_params *p);
static inline struct span destination_name(const struct destination *d) { return text_span(d->name); }
struct span destination_nexthop(const struct destination *d); /* the name behind the slash */

void destination_add_ready(struct destination *d, struct entry *e);
/* due_ms 0 parks it. */
void destination_add_waiting(struct destination *d, struct entry *e, int64_t due_ms, int64_t now);
/* Takes e out of whatever list of d it stands in. */
void destination_remove(struct destination *d, struct entry *e);

/* The entry whose turn it is; it stays in its place until taken or moved.
 * Those with a priority above 0 first, below 0 last; else fresh before deferred, but every fourth turn is a deferred one's. */
struct entry *destination_pick_ready(struct destination *d);
bool destination_is_urgent(const struct destination *d); /* one with a priority above 0 is ready */
struct entry *destination_pick_due(const struct destination *d, int64_t now);
bool destination_prefers_due(struct destination *d, int64_t now); /* one of each is there: whose turn? */
/* Back to the end of its flow: others' turn. */
void destination_rotate(struct destination *d, struct entry *e);

/* May start one more job (of something that is there) now. */
bool destination_open(const struct destination *d, int64_t now);
/* When it wants to be looked at again; INT64_MAX: never by time. */
int64_t destination_next(const struct destination *d, int64_t now);

/* What a finished job says about it. True: it was held back just now, or opened again just now. */
bool destination_feedback(struct destination *d, enum destination_health health, const struct queue_params *p, int64_t now,
    uint32_t random);
bool destination_is_idle(const struct destination *d); /* nothing refers to it */
/* Which wait of that series, from 1, follows at this age when it began at 0. */
uint32_t destination_step(const struct destination_limits *l, int64_t age);
/* n-th wait of a doubling series between the two backoff times, with jitter of a tenth. */
int64_t destination_backoff(const struct destination_limits *l, uint32_t n, uint32_t random);

#endif
