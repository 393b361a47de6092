/* SPDX-License-Identifier: ISC
 *
 * history: what became of messages that are no longer queued, for the tools.
 *
 * Not part of any promise: it is written behind, without a sync, and a crash
 * may lose its last second.  Files of events, each with length and CRC32C, in
 * one directory; the oldest file goes when they are too many bytes or too old,
 * so the disk it takes is bounded.  An event is a row of record.def.
 */
#ifndef QUEUE_HISTORY_H
#define QUEUE_HISTORY_H

#include "queue/filter.h"
#include "queue/queue.h"
#include "sys/worker.h"

struct history;

struct history_limits {
	int64_t keep_ms; /* 0: nothing is kept */
	uint64_t bytes;
};

/* NULL: the directory cannot be read or made. */
struct history *history_open(struct vfs *v, struct worker_pool *pool, const struct history_limits *limits, struct fail *why);
void history_set_limits(struct history *h, const struct history_limits *limits);
/* For queue_ports.outcome. True: call history_flush() within a second or so. */
bool history_note(struct history *h, const struct message *m, const struct record_outcome *o);
void history_flush(struct history *h, int64_t now_ms);
void history_close(struct history **h); /* after the pool is gone; writes what is left */

/* ---- reading, a piece at a time on a thread ---- */

enum { HISTORY_DELETED = 4 }; /* beside enum queue_outcome, in an event's recipient */

struct history_scan {
	struct work work;
	struct list node;          /* waits for what was noted before it began to be written, */
	unsigned writes;           /* that many times */
	struct history *h;
	struct filter *filter;     /* owned */
	int64_t now_ms;
	uint64_t file, at;         /* where the next piece begins */
	uint64_t looked_at, matched;
	struct buf found;          /* events that match: each u32 length and the encoded record_event */
	struct buf piece;
	bool end;
	void (*on_piece)(struct history_scan *s); /* on the loop; s->found is to be used up */
};

/* Oldest first, all that was noted until now. Takes the filter. */
void history_scan_begin(struct history *h, struct history_scan *s, struct filter *filter, int64_t now_ms);
void history_scan_next(struct history_scan *s);
void history_scan_free(struct history_scan *s); /* not while a piece is under way */

/* "delivered", "bounced", "deleted", "partial" */
const char *history_state(const struct record_event *e);
const char *history_outcome(unsigned outcome);

#endif
