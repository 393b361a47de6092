/* SPDX-License-Identifier: ISC
 *
 * sim: a queue in a world of its own: a clock that jumps from event to event,
 * destinations that behave as scripted, a disk in memory.  Days of retries run
 * in milliseconds; what each destination saw is kept to be asserted.
 *
 * Routing: the next hop is the domain; alias@ goes to two targets; unknown@
 * fails; norouting@ is deferred; slow@ is answered hours later.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "crash/memfs.h"
#include "journal/spares.h"
#include "queue/queue.h"

enum { SIM_HOSTS = 64, SIM_SEEN = 20000 };

struct sim;

/* One attempt at a destination. */
struct sim_try {
	int64_t at_ms;
	uint64_t message;
	uint32_t recipients;
	unsigned outcome; /* of the first recipient */
};

struct sim_answer {
	unsigned outcome, health;
	int64_t takes_ms;
	const char *code, *reply;
	const char *forwards; /* of local.test, a line each; NULL: none */
	bool kept;            /* beside them */
};

/* A destination's behaviour: called for each recipient of each job. */
typedef struct sim_answer (*sim_host)(struct sim *s, const char *name, struct span recipient, const struct queue_job *job);

struct sim {
	int64_t now, wake;
	struct memfs *fs;
	struct journal *journal;
	struct queue *queue;
	struct spares spares;
	struct queue_params p;
	struct {
		const char *name;
		sim_host answer;
		struct sim_try *seen;
		unsigned n, active, most_active;
		long count; /* the script's own */
	} hosts[SIM_HOSTS];
	unsigned nhosts;
	struct list pending; /* answers on their way */
	bool soon, running, routing_down;
	unsigned capacity, busy;
	uint64_t next_id;
	uint32_t random;
	struct record_envelope with; /* what messages have beside what the call says */
	size_t segment;
	size_t parts; /* bytes from which on recipients go to the journal ahead of their envelope; 0: never */
	/* Each delivery that was answered, with the content as the agent saw it; may be NULL. */
	void (*on_delivered)(struct sim *s, const struct message *m, struct span address, struct span content);
	/* Says where an address leads, by sim_target(); false: as above. May be NULL. */
	bool (*route)(struct sim *s, uint64_t ask, struct span address);
	/* As queue_ports.limits; may be NULL. */
	void (*limits)(void *arg, struct span nexthop, struct destination_limits *limits);
	void *arg;
	int64_t reported_ms; /* when the last report was delivered */
	unsigned reports;    /* mail from the null sender that was delivered */
	unsigned delivered, failed, compactions;
};

void sim_init(struct sim *s);
void sim_free(struct sim *s);
void sim_open(struct sim *s);    /* journal and queue over s->fs; recovers */
void sim_restart(struct sim *s); /* orderly */
void sim_host_add(struct sim *s, const char *name, sim_host answer);
int sim_host_index(const struct sim *s, struct span name);
/* Accepts one message, durable at once; its id. recipients: blank-separated. */
uint64_t sim_accept(struct sim *s, const char *sender, const char *recipients);
/* The same with content of one's own (a file if it is longer than inline_max), not durable before
 * journal_sync(); on_done as queue_accept(). */
uint64_t sim_offer(struct sim *s, const char *sender, const char *recipients, struct span content,
    void (*on_done)(void *arg, uint64_t id, const struct fail *why), void *arg);
void sim_target(struct sim *s, uint64_t ask, unsigned agent, struct span address);
/* Lets time pass until `until` or until nothing more would happen. */
void sim_run(struct sim *s, int64_t until);

struct sim_answer sim_good(struct sim *s, const char *name, struct span recipient, const struct queue_job *job);
struct sim_answer sim_dead(struct sim *s, const char *name, struct span recipient, const struct queue_job *job);

#endif
