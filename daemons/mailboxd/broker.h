/* SPDX-License-Identifier: ISC
 *
 * broker: what a session asks userd for: other users' mailboxes, quotas. The daemon
 * gives struct user the operations (link.c); without them (tests) there are no
 * other users.
 */
#ifndef MAILBOXD_BROKER_H
#define MAILBOXD_BROKER_H

#include "base/fail.h"
#include "base/list.h"

struct user;

/* Embedded in who asks; linked until on_done, which is called once, from the loop or within the question.
 * Until then it may be taken back with broker_cancel(). */
struct broker_quota {
	uint64_t size, messages;           /* limits: octets and how many, 0 for none */
	uint64_t used_size, used_messages;
	bool measured;                     /* what is used is known */
};

struct broker_request {
	struct list node;
	uint64_t id;
	void (*on_owner)(struct broker_request *r, struct span owner); /* sharers: for each */
	void (*on_quota)(struct broker_request *r, const struct broker_quota *quota);  /* quota: before on_done */
	void (*on_done)(struct broker_request *r, bool ok, int fd, struct span why); /* fd: visit, when ok; taken over */
};

struct broker {
	/* A session in the mailboxes of owner, as this user. */
	void (*visit)(struct user *user, struct span owner, struct broker_request *r);
	/* Who gives this user rights, some of them twice. */
	void (*sharers)(struct user *user, struct broker_request *r);
	/* This user gives guest rights, or no longer any. */
	void (*share)(struct user *user, struct span guest, bool on, struct broker_request *r);
	/* What somebody may keep; with limits (two of them): from now on. This user is an administrator, or will be refused. */
	void (*quota)(struct user *user, struct span whose, const struct broker_quota *limits, struct broker_request *r);
};

static inline void broker_cancel(struct broker_request *r) { list_remove(&r->node); }

#endif
