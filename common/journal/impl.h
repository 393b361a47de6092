/* SPDX-License-Identifier: ISC
 *
 * impl: the inside of a journal, shared by journal.c (open, append, commit)
 * and upkeep.c (indexes, spares, recycling, reading back).
 */
#ifndef JOURNAL_IMPL_H
#define JOURNAL_IMPL_H

#include "journal/batch.h"
#include "sys/loop.h"

struct journal {
	struct journal_options o;
	struct slots slots;
	struct slot *active;
	struct list batches; /* waiting, oldest first */
	struct batch *writing;
	uint64_t stamp;      /* number of the latest batch */
	uint64_t durable;    /* number of the latest batch that is durable */
	size_t pending;
	unsigned jobs;       /* on threads */
	struct list running; /* those */
	uint32_t crowd, enough; /* records of a sync lately that were not lazy; that end the present wait */
	int64_t last_commit_ms, last_try_ms, try_ms; /* try_ms: how long until the next trial */
	bool replayed, dead, making, full_told, tidying;
	bool untidy; /* journal_tidy() may find something */
	struct fail why_dead;
	struct turn turn;
	struct timer lazy, patience;
	struct journal_stats stats;
};

/* A segment got its last record and all of them are durable. */
void upkeep_index(struct journal *j, struct slot *slot);
void upkeep_indexes(struct journal *j); /* those that a replay found missing */
void upkeep_spare(struct journal *j);   /* makes one ready if there are too few */
/* Waits for what threads are doing. */
void upkeep_settle(struct journal *j);
/* At least one free slot, made now if need be; false when the disk is full. */
bool upkeep_find_free(struct journal *j, unsigned flags, struct fail *why);

#endif
