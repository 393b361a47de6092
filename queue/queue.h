/* SPDX-License-Identifier: ISC
 *
 * queue: every queued message, when it is tried, and what became of it.
 *
 * State in memory, truth in the journal.  Time, routing and agents are
 * injected (struct queue_ports), so that a simulation can run days of retries.
 * Nothing here reads a socket or a clock; durability is the journal's.
 *
 *   queue_new(), queue_recover(), then accepts; queue_run() when asked for.
 */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include "queue/destination.h"
#include "queue/message.h"
#include "queue/params.h"

struct queue;

/* enum route_agent of ipc/route.def */
enum queue_agent { AGENT_REMOTE, AGENT_LOCAL, AGENT_FAIL, AGENT_DEFER, AGENT_DISCARD };
enum {
	QUEUE_AGENTS = 2,     /* that take jobs */
	QUEUE_ASKS_MAX = 512, /* questions to routing under way */
};

/* enum deliver_outcome of ipc/deliver.def */
enum queue_outcome { OUTCOME_DELIVERED, OUTCOME_DEFERRED, OUTCOME_FAILED, OUTCOME_RELAYED };

struct queue_target {
	uint8_t agent;
	struct span nexthop, address, home, sender;
	uint32_t uid, gid;
	uint64_t quota, messages; /* LOCAL: the user's limits */
	unsigned status;  /* FAIL, DEFER: row of mail/status.def */
	struct span text; /* and why */
	struct span logins; /* REMOTE: net/logins.h */
};

struct queue_result {
	uint8_t outcome;
	struct span code, peer, reply, tls; /* tls: protocol, cipher, verification; empty: none */
	bool maybe_done;
	bool tell; /* that it was relayed, whatever NOTIFY says but NEVER */
	struct span forwards; /* of a mailbox: where its owner has it sent on to, a line each */
	bool kept;            /* and it is in the mailbox */
};

/* A delivery handed to an agent; lives until queue_job_done() or queue_job_lost(). */
struct queue_job {
	struct map_node by_id;    /* its number */
	struct list node;         /* of all jobs */
	struct message *m;
	struct destination *d;
	struct span sender;       /* reverse-path of this delivery */
	struct span content;      /* inline, while fd < 0 */
	int fd;                   /* a large content's file; set to -1 by who takes it over */
	bool last;                /* no more for this destination now */
	bool alone;               /* of a suspect: no other suspect is out */
	const char *crashed;      /* the program that its agent had handed it to, and that crashed; or NULL */
	uint32_t nunits, nresults;
	struct unit **units;      /* owned */
	uint8_t *outcomes;        /* of units; 0xff: no result yet */
	void *agent;              /* the port's: who has it */
	int64_t started_ms;
	struct buf list;          /* results for the journal */
	struct word *reason;      /* of the last delay */
	struct buf bytes;         /* holds content when it was read back */
};
static inline uint64_t queue_job_id(const struct queue_job *j) { return j->by_id.hash; }

struct queue_ports {
	void *arg;
	int64_t (*now_ms)(void *arg); /* wall clock */
	/* Ask for a recipient's targets; they come by queue_target() and queue_routed().
	 * False: not now (queue_run() will be called when it may work). */
	bool (*route)(void *arg, uint64_t ask, struct span address, struct span sender);
	/* Whether an agent of this kind takes one more job. */
	bool (*agent_ready)(void *arg, unsigned agent);
	/* Gives the job away; false: not now. Sets job->agent. */
	bool (*deliver)(void *arg, struct queue_job *job);
	/* queue_run() is wanted at this time; 0: soon, when the present input is worked off. */
	void (*wake)(void *arg, int64_t at_ms);
	uint32_t (*random)(void *arg);
	/* A record of what became of m; removed: it leaves the queue now. May be NULL. */
	void (*outcome)(void *arg, const struct message *m, const struct record_outcome *o);
	/* Removes this file of a large content, when it suits; a failure is the port's to tell. again: it may be written
	 * over instead, for nothing refers to it even behind a crash. NULL: done at once. */
	void (*remove_blob)(void *arg, const char *name, bool again);
	/* What is configured for this next hop: changes the defaults in *limits. May be NULL. */
	void (*limits)(void *arg, struct span nexthop, struct destination_limits *limits);
};

struct queue *queue_new(struct journal *j, struct vfs *blobs, const struct queue_params *p, const struct queue_ports *ports);
void queue_free(struct queue **q); /* before the journal is closed */
void queue_set_params(struct queue *q, const struct queue_params *p);
/* Replays the journal.  *damaged: places in it, and records that were not understood.  False: it could not be read. */
bool queue_recover(struct queue *q, unsigned *damaged, struct fail *why);
/* The same for looking only: nothing is scheduled, nothing is cleaned up. */
bool queue_inspect(struct queue *q, unsigned *damaged, struct fail *why);
/* For journal_options.on_sparse. */
void queue_compact(struct queue *q, uint64_t segment);
/* Whatever is due: routing, jobs, expiry, reports. */
void queue_run(struct queue *q);

/* A new message. e->list holds e->recipients recipients; content is taken over
 * (also on failure), NULL when it is the file queue_blob_name(). on_done runs
 * when it is durable (why == NULL) or will never be. False: not taken, on_done will not run. */
bool queue_accept(struct queue *q, const struct record_envelope *e, struct content *content,
    void (*on_done)(void *arg, uint64_t id, const struct fail *why), void *arg, struct fail *why);
/* What the journal has already of the list of a message on its way in. */
struct queue_parts {
	struct buf at;       /* u64 each: where the parts stand */
	size_t n, least;     /* bytes of the list they hold; that one of them is to hold */
	uint64_t segment;
	bool given_up;
};
void queue_parts_init(struct queue_parts *p, size_t least);
void queue_parts_free(struct queue_parts *p);
/* Appends what is due; list: all that has come so far, whole recipients. Nothing comes of it without queue_accept_list(). */
void queue_put_part(struct queue *q, struct queue_parts *p, uint64_t id, struct span list);
/* queue_accept() for a list that was taken in bit by bit; roll as for message_new_of(), parts may be NULL. */
bool queue_accept_list(struct queue *q, const struct record_envelope *e, struct roll *roll, const struct queue_parts *parts, struct content *content,
    void (*on_done)(void *arg, uint64_t id, const struct fail *why), void *arg, struct fail *why);
/* "blob/ID" */
void queue_blob_name(uint64_t id, char name[40]);
struct content *content_new(size_t max);

/* Answers of routing. */
bool queue_target(struct queue *q, uint64_t ask, const struct queue_target *t); /* false: no such question */
bool queue_routed(struct queue *q, uint64_t ask, struct span why); /* why: which rules decided */
bool queue_has_asked(const struct queue *q, uint64_t ask); /* it was, ever; it may be given up */
void queue_routing_lost(struct queue *q); /* every open question is void */
/* What stands in a job; NULL: no such job or recipient. */
const struct unit *queue_job_unit(const struct queue *q, uint64_t job, uint32_t index);
/* Answers of agents. False: no such job or recipient. */
bool queue_job_result(struct queue *q, uint64_t job, uint32_t index, const struct queue_result *r);
bool queue_job_done(struct queue *q, uint64_t job, unsigned health, struct span text);
void queue_job_lost(struct queue *q, uint64_t job); /* its agent died */
void queue_agent_lost(struct queue *q, const void *agent);

/* Poison. What an agent has now (before queue_agent_lost()), in *doubts, to be freed; and
 * later, when it is known that the agent ended by a crash: `who` is its program. */
#define QUEUE_QUARANTINE "quarantine: " /* begins the reason of a message that is held for it */
struct queue_doubt {
	uint64_t message;
	bool alone;
};
size_t queue_agent_doubts(const struct queue *q, const void *agent, struct queue_doubt **doubts);
/* The same of one job that is about to end: who (static) had it from its agent, and crashed. */
void queue_job_crashed(struct queue *q, uint64_t job, const char *who);
void queue_agent_crashed(struct queue *q, const struct queue_doubt *doubts, size_t n, const char *who);

/* Administration. */
enum queue_verb { VERB_FLUSH, VERB_HOLD, VERB_RELEASE, VERB_DELETE, VERB_BOUNCE, VERB_REQUEUE, VERB_EXPIRE, VERB_COUNT };
/* Why a held message is held, for listings. */
void queue_hold_reason(struct queue *q, uint64_t id, struct span reason);
bool queue_act(struct queue *q, struct message *m, enum queue_verb verb);
bool queue_would_act(const struct message *m, enum queue_verb verb);
void queue_flush_destinations(struct queue *q); /* forget every backoff */
struct message *queue_find(const struct queue *q, uint64_t id);
/* The ids of all messages in order of arrival, *ids to be freed by the caller. */
size_t queue_ids(const struct queue *q, uint64_t **ids);
/* Walks all messages in order of arrival, in slices if need be: between two
 * calls messages may come and go. What arrives after the beginning is left out. */
struct queue_walk {
	struct list node;
	struct queue *q;
	struct message *at[2];
	uint64_t until;
	size_t seen, total;
};
void queue_walk_begin(struct queue *q, struct queue_walk *w);
struct message *queue_walk_next(struct queue_walk *w); /* NULL: that was all */
void queue_walk_end(struct queue_walk *w);             /* before w is freed, in any case */
/* Brings back what VERB_DELETE took away, while the journal still has it: same
 * id, recipients as they stood. False: not to be had; else as queue_accept(). */
bool queue_undelete(struct queue *q, uint64_t id, void (*on_done)(void *arg, uint64_t id, const struct fail *why), void *arg,
    struct fail *why);
void queue_each_destination(struct queue *q, void (*visit)(struct destination *d, void *arg), void *arg);
/* "active", "incoming", "deferred", "hold" */
const char *queue_state(const struct message *m);
/* Reads the envelope back, and the content when it is inline; spans point into *into. */
bool queue_read(struct queue *q, const struct message *m, struct buf *into, struct record_envelope *e, struct span *content,
    struct fail *why);

struct queue_stats {
	size_t messages, recipients, destinations, jobs, asks;
	uint64_t accepted, delivered, deferred, failed, removed, reports, duplicates;
	size_t cache_bytes;
};
struct queue_stats queue_stats(const struct queue *q);

#endif
