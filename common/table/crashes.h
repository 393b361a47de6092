/* SPDX-License-Identifier: ISC
 *
 * crashes: how often the processes of users' mailboxes have crashed lately, in a
 * database of userdb's environment.  What the counts mean userd says.
 */
#ifndef TABLE_CRASHES_H
#define TABLE_CRASHES_H

#include "table/bdb.h"

enum { CRASHES_VERSION = 1, CRASHES_VERSION_INPUT = 2, CRASHES_WHY = 64, CRASHES_INPUT = 24 << 10 };

struct crashes {
	struct bdb *db;
};

struct crash_row {
	struct span user; /* canonical name@domain; or "program peer", of one that crashed a program */
	uint32_t count;   /* 0: to be forgotten */
	uint64_t last_ms; /* Unix time of the last one */
	struct span why;
	struct span input; /* the case, as it was kept; may be empty */
};

/* Durable when it returns; FAIL_LIMIT: there are USERDB_CRASHES_MAX. */
bool crashes_set(const struct crashes *c, const struct crash_row *row, struct fail *why);
/* Until visit says false; what cannot be read is passed over. */
bool crashes_each(const struct crashes *c, bool (*visit)(void *arg, const struct crash_row *row), void *arg, struct fail *why);

#endif
