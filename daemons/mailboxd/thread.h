/* SPDX-License-Identifier: ISC
 *
 * thread: messages gathered into threads (RFC 5256 3): REFERENCES, REFS
 * and ORDEREDSUBJECT.  Knows numbers and dates, no mailbox and no text.
 */
#ifndef MAILBOXD_THREAD_H
#define MAILBOXD_THREAD_H

#include "base/arena.h"
#include "base/buf.h"

struct thread_node {
	struct thread_node *parent, *child, *next; /* child: the first one; next: sibling */
	struct thread_node *all;    /* every node, newest first */
	int64_t date, received;     /* received: the latest of a thread, when it is finished */
	uint32_t number;            /* 0: a message that is not there */
	uint32_t subject;
	bool reply;
};

struct thread {
	struct arena arena; /* of nodes */
	struct thread_node **by_id; /* owned */
	size_t nids;
	struct thread_node *all, *root; /* root: first of the threads, when finished */
	size_t nodes;
	uint32_t last_subject; /* none is higher */
	bool failed; /* out of memory */
};

/* Ids and base subjects are small numbers from 1 up that stand for them, the same for the same text (ranking.h). */
struct thread_message {
	uint32_t number;
	uint32_t subject;    /* 0: none */
	int64_t date;
	int64_t received;    /* for REFS */
	bool reply;
	const uint32_t *ids; /* its own Message-ID (0: none), then its references, oldest first (0: skipped) */
	size_t nids;
};

void thread_init(struct thread *t, size_t cap); /* bytes of memory at most */
void thread_free(struct thread *t);
/* In the order of the mailbox. */
void thread_add(struct thread *t, const struct thread_message *m);
void thread_references(struct thread *t);
/* As REFERENCES, but subjects do not join threads, and the thread that was
 * added to last comes last (draft-ietf-morg-inthread). */
void thread_refs(struct thread *t);
void thread_subjects(struct thread *t);
/* " (1)(2 (3)(4))" or nothing (RFC 5256 4). */
void thread_put(const struct thread *t, struct buf *out);

#endif
