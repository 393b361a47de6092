/* SPDX-License-Identifier: ISC
 *
 * thread: messages gathered into threads (RFC 5256 3): REFERENCES, REFS
 * and ORDEREDSUBJECT.  Knows numbers, dates, ids and subjects, no mailbox.
 */
#ifndef MAILBOXD_THREAD_H
#define MAILBOXD_THREAD_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"

struct thread_node {
	struct map_node by_id;
	struct thread_node *parent, *child, *next; /* child: the first one; next: sibling */
	struct thread_node *all;    /* every node, newest first */
	struct span subject;        /* base subject, in the arena */
	int64_t date, received;     /* received: the latest of a thread, when it is finished */
	uint32_t number;            /* 0: a message that is not there */
	bool reply;
};

struct thread {
	struct arena arena; /* of nodes and texts */
	struct map ids;
	struct thread_node **numbered; /* owned; by number */
	size_t nnumbered;
	struct thread_node *all, *root; /* root: first of the threads, when finished */
	size_t nodes;
	bool failed; /* out of memory */
};

struct thread_message {
	uint32_t number;
	int64_t date;
	int64_t received;    /* for REFS */
	struct span subject; /* base subject; copied */
	bool reply;
	struct span ids;     /* its own Message-ID, then its references, oldest first, each ended by LF; the first may be empty */
	const uint32_t *numbers; /* NULL, or the same as numbers that stand for ids, 0 for an empty one; */
	size_t nnumbers;         /* all messages of a thread one way or all the other */
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
