/* SPDX-License-Identifier: ISC
 *
 * indexfile: a folder's index on disk: a journal of records and, from time to
 * time, a snapshot that is mapped at the next open.  Both lie in the folder's
 * directory "pillarpost".
 *
 * A snapshot says up to which record it goes; it takes effect when it has its
 * name, after the records in it are durable.
 */
#ifndef STORE_INDEXFILE_H
#define STORE_INDEXFILE_H

#include "journal/journal.h"
#include "store/index.h"

#define INDEXFILE_DIR "pillarpost"

struct indexfile_segment {
	journal_pos pos; /* any record in it */
	uint32_t live;
};

struct indexfile {
	struct index ix;
	struct vfs *vfs;
	struct journal *journal;
	struct worker_pool *pool; /* NULL: synchronous (tools, tests) */
	void *map;                /* the snapshot */
	size_t map_size, snapshot_size;
	journal_pos last;         /* newest record */
	size_t tail;              /* bytes of records that are not in the snapshot */
	struct indexfile_segment *segments; /* owned: live records by journal segment */
	size_t nsegments, segments_size;
	struct snapshot_job *job; /* being written */
	bool begun;               /* and not settled */
	unsigned damaged;         /* places in the journal that could not be read */
	char text[120];           /* what the journal last reported */
	void (*on_event)(void *arg, const struct fail *what); /* NULL allowed */
	void *arg;
};

enum indexfile_found { INDEXFILE_GOOD, INDEXFILE_NONE, INDEXFILE_LOST };

/* Opens what there is.  found: NONE or LOST leave an empty index without
 * UIDVALIDITY, to be filled and begun with indexfile_start().  vfs is the
 * folder's and outlives this.  loop and pool NULL: synchronous. */
bool indexfile_open(struct indexfile *f, struct vfs *v, struct loop *loop, struct worker_pool *pool,
    enum indexfile_found *found, struct fail *why);
/* The same for somebody who only looks: nothing on disk changes; synchronous. */
bool indexfile_look(struct indexfile *f, struct vfs *v, enum indexfile_found *found, struct fail *why);
/* Writes the index as it stands as the snapshot everything begins from. */
bool indexfile_start(struct indexfile *f, struct fail *why);
/* The first half of it, a snapshot without messages: UIDVALIDITY, UIDNEXT, the folder's id and keywords are durable, so that
 * after a crash no UID of now is given again, but which message has which is not: none may be told before indexfile_settle(). */
bool indexfile_begin(struct indexfile *f, struct fail *why);
bool indexfile_settle(struct indexfile *f, struct fail *why); /* the second, where it is due; indexfile_put() sees to it */
/* Everything put is durable after it. Not while indexfile_busy(). */
void indexfile_close(struct indexfile *f);

/* Applies the record and journals it.  Durable soon, or when the ticket (may be
 * NULL) is told.  False: neither. */
bool indexfile_put(struct indexfile *f, unsigned type, const union record *r, struct journal_ticket *t, struct fail *why);
/* The same for a record with a "uids" field (at *field), split as its bound asks. */
bool indexfile_put_uids(struct indexfile *f, unsigned type, union record *r, struct span *field, const struct uidset *uids,
    struct fail *why);
/* The ticket is told when everything put so far is durable. */
bool indexfile_told(struct indexfile *f, struct journal_ticket *t, struct fail *why);
/* Everything put so far is durable when this returns true. Blocks. */
bool indexfile_sync(struct indexfile *f, struct fail *why);
/* So many octets of records that are not there would be worth a snapshot, too. */
void indexfile_weigh(struct indexfile *f, size_t octets);
/* Starts a snapshot if the journal has grown enough for one. */
void indexfile_tidy(struct indexfile *f);
/* All names were looked at and will not be for a while: those in the map need not stay in memory. */
void indexfile_cool(struct indexfile *f);
/* A snapshot is being written on a thread. */
bool indexfile_busy(const struct indexfile *f);

#endif
