/* SPDX-License-Identifier: ISC
 *
 * agent: the delivering side of the `deliver` channel, which remoted and
 * locald share: jobs come in from queued, in order and bounded; what an agent
 * does with a complete one is its own.
 *
 * In the daemon's struct service_channel ops is &agent_channel_ops, and on_open
 * calls agent_open().
 */
#ifndef SERVICE_AGENT_H
#define SERVICE_AGENT_H

#include "base/map.h"
#include "service/service.h"

/* As the deliver channel counts. */
enum deliver_outcome { DELIVER_DELIVERED, DELIVER_DEFERRED, DELIVER_FAILED, DELIVER_RELAYED };
enum deliver_health { DELIVER_ANSWERED, DELIVER_OVERLOADED, DELIVER_UNREACHED, DELIVER_UNTRIED };

/* What every job begins with; embedded in the agent's own. */
struct agent_job {
	struct map_node by_id;
	struct list order;
	struct agent *agent;
	struct channel *queued; /* NULL: nobody wants to know any more */
	uint8_t conversation;   /* enum ipc_state; CONV_WAIT once it is complete */
	uint64_t id;
};

struct agent_content {
	struct span bytes; /* gone when on_content returns; or: */
	int fd;            /* the callee's; -1 */
	uint64_t offset, size;
};

struct agent;
struct agent_ops {
	struct agent_job *(*on_job)(struct agent *a, const struct ipc_deliver_job *m); /* NULL: no memory */
	/* False: a violation (out of order, too many; no memory is one too). */
	bool (*on_rcpt)(struct agent_job *j, const struct ipc_deliver_rcpt *m);
	/* Complete: delivers; the job may be over when this returns. */
	bool (*on_content)(struct agent_job *j, const struct agent_content *content);
	/* What was not handed on yet is deferred. */
	void (*on_cancel)(struct agent_job *j);
	/* queued is gone, or the daemon stops before the job was complete: ends without a word. */
	void (*on_abort)(struct agent_job *j);
};

struct agent {
	struct service *service;
	const struct agent_ops *ops;
	struct map by_id;
	struct list jobs;  /* in the order they came */
	size_t count;      /* of jobs, those that nobody waits for too */
	uint32_t capacity; /* at once, told to queued; twice as many is a violation */
};

extern const struct channel_ops agent_channel_ops;

void agent_init(struct agent *a, struct service *s, const struct agent_ops *ops, uint32_t capacity);
void agent_open(struct agent *a, struct channel *c);
/* The job is over and about to be freed. */
void agent_forget(struct agent_job *j);
/* For on_stop: what is on its way gets its answer, the rest goes back to the queue. */
void agent_stop(struct agent *a);

#endif
