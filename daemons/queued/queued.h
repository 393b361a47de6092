/* SPDX-License-Identifier: ISC
 *
 * queued: owns the spool.  Joins the queue to its neighbours: intake from
 * smtpd, routing by routed, deliveries by remoted and locald, tools.
 */
#ifndef QUEUED_QUEUED_H
#define QUEUED_QUEUED_H

#include "journal/spares.h"
#include "queue/queue.h"
#include "service/service.h"
#include "sys/worker.h"

enum {
	INTAKE_MEMORY = 256 * 1024 * 1024, /* of unfinished messages, all together */
};

enum { USERS_MAX = 1000 };

struct user_rule {
	unsigned uid;
	bool deny, anyone;
};
struct user_list {
	struct user_rule rules[USERS_MAX];
	size_t n;
};

struct history;
struct rule_list;

struct queued {
	struct service *service;
	struct vfs *vfs; /* queue_directory */
	struct worker_pool *pool;  /* of the journal: nothing holds its syncs up */
	struct worker_pool *files; /* for large contents */
	struct spares spares;      /* of their files */
	struct journal *journal;
	struct queue *queue;
	/* intake */
	struct list intakes;
	size_t intake_bytes;
	struct list etrns; /* requests of ETRN; the first is worked on */
	size_t inline_max;
	int64_t space_at; /* when the file system was asked for its space */
	bool full;        /* it has less than queue_minfree */
	/* routing */
	struct channel *route; /* NULL while routed is away */
	/* delivery */
	struct list agents;
	struct list lost; /* what they had that are gone */
	uint64_t jobs_done;
	/* tools */
	struct list views; /* tools on queue_view */
	struct user_list may_list, may_flush;
	struct rule_list *rules;
	struct history *history; /* NULL: it cannot be kept */
	struct timer flush;
	uint64_t last_import;
	struct turn run;
	struct timer wake, stop;
	int64_t wake_at, stop_at;
	uint32_t random;
	bool stopping;
};

extern const struct service_ops queued_ops;
/* The rows of the service's channels. */
extern const struct channel_ops queued_intake_ops, queued_route_ops, queued_deliver_ops, queued_admin_ops, queued_view_ops;
void queued_intake_open(struct service *s, struct channel *c, struct span peer, unsigned instance);
void queued_route_open(struct service *s, struct channel *c, struct span peer, unsigned instance);
void queued_deliver_open(struct service *s, struct channel *c, struct span peer, unsigned instance);
void queued_admin_open(struct service *s, struct channel *c, struct span peer, unsigned instance);
void queued_view_open(struct service *s, struct channel *c, struct span peer, unsigned instance);
void queued_view_users(struct queued *q); /* at the start, before the walls */
void queued_open_history(struct queued *q);
void queued_set_history(struct queued *q); /* after a reload */

static inline struct queued *queued_of(const struct service *s) { return s->state; }

void queued_soon(struct queued *q); /* queue_run() at the end of this turn */

/* ports of the queue */
bool queued_ask(void *arg, uint64_t ask, struct span address, struct span sender);
bool queued_agent_ready(void *arg, unsigned agent);
bool queued_deliver_job(void *arg, struct queue_job *job);
void queued_outcome(void *arg, const struct message *m, const struct record_outcome *o);

void queued_remove_blob(void *arg, const char *name, bool again);

void queued_open_files(struct queued *q);
/* The file for the content of message id; size: about how much, 0 if that is not known. */
bool queued_new_blob(struct queued *q, struct blob *b, uint64_t id, uint64_t size, struct fail *why);
/* etrn.c */
void queued_etrn(struct queued *q, struct channel *c, const struct ipc_intake_flush *m);
void queued_etrn_closed(struct queued *q, const struct channel *c); /* NULL: all of them, the queue is about to go */

size_t queued_unfinished(const struct queued *q); /* messages that are being made durable */
void queued_refuse_all(struct queued *q);         /* intake ends */

#endif
