/* SPDX-License-Identifier: ISC
 *
 * journal: an append-only sequence of checked records in preallocated,
 * recycled segment files of one directory; the one place that makes things
 * durable (DESIGN.md section 6).
 *
 * Group commit: records appended in one turn of the loop are written and
 * synced together on a worker thread; what is appended meanwhile shares the
 * next sync; callbacks run on the loop, in order.  A record that is alone does
 * not wait for company; a crowd may, for patience_ms at most.
 * A sync that failed is never repeated as if it could still succeed: the
 * journal is dead from then on and says so to every append.
 *
 * A record has a head (what a restart must know; copied into the segment's
 * index when it is sealed) and a body (read back only on demand), each may be
 * empty.  Records are independent facts: a replay after a crash sees a prefix
 * of what was appended, at least all that was reported durable; damage in the
 * middle is reported and skipped.
 *
 * Space: a segment is recycled when nothing in it is live (journal_live) and
 * every segment it was declared to speak about is gone (journal_depend).
 *
 *   journal_open(), journal_replay(), then appends; journal_close().
 */
#ifndef JOURNAL_JOURNAL_H
#define JOURNAL_JOURNAL_H

#include "base/buf.h"
#include "base/fail.h"
#include "journal/vfs.h"

struct desc;
struct journal;
struct loop;
struct worker_pool;

enum {
	JOURNAL_VERSION = 1,
	JOURNAL_TYPE_MAX = 0x7fff,             /* greater types are the journal's own */
	JOURNAL_RECORD_MAX = 12 * 1024 * 1024, /* head and body; also less than half a segment */
};

struct journal_options {
	struct vfs *vfs;          /* outlives the journal */
	const char *dir;          /* below the vfs root, made if missing; copied */
	char kind[4];             /* whose journal: another kind is refused at open */
	size_t segment_size;      /* bytes, 0: 32 MiB */
	unsigned spares;          /* segments made ready ahead; 0 makes them when needed */
	uint64_t reserve;         /* bytes of the file system that ordinary appends leave free */
	size_t max_pending;       /* bytes that may wait for a sync, 0: 16 MiB */
	bool read_only;           /* nothing is written, not even repairs */
	struct loop *loop;        /* both NULL: synchronous mode, */
	struct worker_pool *pool; /* nothing is written before journal_sync() */
	/* Noteworthy things (damage, disk full, a failed sync) in one line; may be NULL. */
	void (*on_event)(void *arg, const struct fail *what);
	/* A sealed segment holds few live records: re-append what is live in it
	 * (journal_scan tells what there is). NULL: never compacted. */
	void (*on_sparse)(void *arg, uint64_t segment);
	/* How long a sync may wait for others under load; a lone record never waits. 0: no
	 * sync ever waits. */
	int64_t patience_ms;
	void *arg;
};

/* Where a record stands: opaque, ordered by age, never 0. */
typedef uint64_t journal_pos;

struct journal_record {
	uint16_t type;
	struct span head, body;
	/* To append a struct: its rows, and then no head; it is encoded where it goes, not copied there. */
	const struct desc *desc;
	const void *from;
	/* Filled by replay, scan and read: */
	journal_pos pos;
	uint32_t body_size; /* known even where the body was not read */
};

/* Told once when the record is durable (why == NULL) or never will be.
 * Embedded in its owner, which must live until then. */
struct journal_ticket {
	void (*on_durable)(struct journal_ticket *t, const struct fail *why);
	struct journal_ticket *next; /* the journal's */
};

enum journal_flags {
	JOURNAL_LAZY = 1,     /* nobody waits: goes with the next sync, within 10 ms */
	JOURNAL_INTERNAL = 2, /* may use the reserve: it helps to free space */
};

struct journal *journal_open(const struct journal_options *o, struct fail *why);
/* The worker pool is gone (it has been waited for): from here on everything
 * happens at once, in journal_sync() and journal_close(). */
void journal_unthread(struct journal *j);
/* Writes and syncs what is pending; tickets are told. */
void journal_close(struct journal **j);

/* Gives every record in order; body is read where it comes without cost, else
 * empty. Stops with false when on_record says false. The number of damaged
 * places is reported through on_event and counted in *damaged (may be NULL). */
bool journal_replay(struct journal *j, bool (*on_record)(void *arg, const struct journal_record *r), void *arg,
    unsigned *damaged, struct fail *why);

/* Queues a record. False: nothing was queued and no ticket will be told
 * (FAIL_LIMIT: too much pending, the disk is full, or the struct breaks its rows' bounds; FAIL_TEMP: dead).
 * t and pos may be NULL. */
bool journal_append(struct journal *j, const struct journal_record *r, unsigned flags, struct journal_ticket *t,
    journal_pos *pos, struct fail *why);
/* Everything appended is durable when it returns true; tickets have been told.
 * Blocks, in every mode. */
bool journal_sync(struct journal *j, struct fail *why);

/* Reads one record whole; head and body point into *into. */
bool journal_read(struct journal *j, journal_pos pos, struct buf *into, struct journal_record *r, struct fail *why);
/* The records of one sealed segment, as journal_replay(). */
bool journal_scan(struct journal *j, uint64_t segment, bool (*on_record)(void *arg, const struct journal_record *r),
    void *arg, struct fail *why);

/* A record that a restart needs (+1) or no longer needs (-1). */
void journal_live(struct journal *j, journal_pos pos, int by);
/* The record at `record` is needed as long as the segment of `about` exists:
 * a removal must outlast what it removes. */
void journal_depend(struct journal *j, journal_pos record, journal_pos about);
/* All that is needed of a segment has been appended again: it is recycled as
 * soon as what was appended until now is durable. */
void journal_moved(struct journal *j, uint64_t segment);
/* Whether the segment of pos has not been recycled. */
bool journal_exists(const struct journal *j, journal_pos pos);
uint64_t journal_segment(journal_pos pos);
/* Whether a record with a head and a body of so many bytes would come to stand in this segment if it were appended now. */
bool journal_stays(const struct journal *j, uint64_t segment, size_t head, size_t body);
/* Recycles and compacts what has become free or sparse; cheap when nothing has. */
void journal_tidy(struct journal *j);

void journal_set_reserve(struct journal *j, uint64_t bytes); /* journal_options.reserve from now on */
bool journal_alive(const struct journal *j);
size_t journal_pending(const struct journal *j); /* bytes not durable yet */

struct journal_stats {
	uint64_t records, bytes, syncs; /* since the start */
	unsigned segments, free_segments;
};
struct journal_stats journal_stats(const struct journal *j);

#endif
