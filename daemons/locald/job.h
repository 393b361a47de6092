/* SPDX-License-Identifier: ISC
 *
 * job: one message for one or more mailboxes.
 */
#ifndef LOCALD_JOB_H
#define LOCALD_JOB_H

#include "daemons/locald/locald.h"

struct owner;

/* One recipient. */
struct target {
	struct list node; /* job.targets */
	struct job *job;
	uint32_t index, uid, gid;
	uint64_t quota, messages;
	struct span address, original, home;
	bool forward; /* its owner's forward file counts */
	bool settled;
	bool crashed; /* its deliverd, with it */
	/* While it is an owner's: */
	struct owner *owner;
	struct list waiting;  /* linked: not sent yet */
	struct map_node sent; /* by id, once sent */
	uint64_t id;
	bool is_sent;
};

struct job {
	struct agent_job base;
	struct locald *locald;
	uint64_t size;
	bool binary;            /* not in lines: to be converted first */
	int64_t since_ms;       /* when it was complete */
	struct arena arena;
	struct span sender, via; /* via: addresses, tabs between them */
	struct list targets;
	size_t ntargets, open;  /* open: not settled */
	bool tried;             /* a deliverd answered */
	struct span bytes;      /* inline content, in the arena; or: */
	int fd;
	uint64_t offset;
};

/* For locald.agent. When queued is gone, what is on its way gets there all the same. */
extern const struct agent_ops job_ops;
/* Waited too long for a deliverd. */
void job_impatient(struct job *j);

/* For owner.c.  status: a row of status.def, of what was not delivered. */
void target_settle(struct target *t, unsigned status, struct span text, bool maybe_done);
/* Whether what a deliverd says fits what it was asked; and then it settles the target. */
bool target_is_answer(const struct target *t, const struct ipc_mailbox_result *m);
void target_answered(struct target *t, const struct ipc_mailbox_result *m);
/* Sends it to a deliverd; false: it does not go into the channel now. */
bool target_send(struct target *t, struct channel *mailbox);

#endif
