/* SPDX-License-Identifier: ISC
 *
 * batch: what one sync makes durable: consecutive records of one segment and
 * who wants to know.  Also the background jobs of a journal (a new file, a
 * recycled header, an index).  Inside the journal folder only.
 */
#ifndef JOURNAL_BATCH_H
#define JOURNAL_BATCH_H

#include "journal/slots.h"
#include "sys/worker.h"

struct batch {
	struct list node; /* in the journal's queue */
	struct slots *slots;
	struct slot *slot;
	uint64_t number;   /* counts syncs */
	uint32_t at;       /* where the first record goes */
	bool urgent;       /* somebody waits */
	bool last;         /* of its segment: the index may be written after it */
	struct buf data;
	size_t bytes;      /* of records */
	uint32_t waited;   /* records that are not lazy */
	struct journal_ticket *tickets, **tail;
	struct work work;
	struct fail why;   /* class FAIL_NONE when it went well */
};

struct batch *batch_new(struct slots *slots, struct slot *slot, uint64_t number, size_t max);
void batch_free(struct batch *b);
/* head: segment_head_size(r). */
bool batch_put(struct batch *b, const struct journal_record *r, size_t head, struct journal_ticket *t);
/* Nothing more is put in; before batch_write(). */
void batch_pad(struct batch *b);
/* What stands at offset `at` of the segment and behind it, while it is here: not on disk yet. */
bool batch_get(const struct batch *b, size_t at, struct span *whole);
/* Writes and syncs; for a thread. The result is in why. */
void batch_write(struct batch *b);
/* Tells every ticket. */
void batch_tell(struct batch *b, const struct fail *why);

/* Blocking work of one kind, on a thread or, without a pool, at once. */
struct job {
	struct work work;
	struct list node;    /* the journal's, while a thread has it */
	struct slots *slots;
	struct slot *slot;   /* RETIRE and INDEX */
	uint32_t number;     /* MAKE */
	uint64_t stamp;      /* RETIRE */
	struct buf content;  /* INDEX: the entries */
	int fd;              /* MAKE: the result */
	bool fill;           /* MAKE: write zeros */
	struct fail why;
	void *owner;
};

void job_make(struct work *w);
void job_retire(struct work *w);
void job_index(struct work *w);

#endif
