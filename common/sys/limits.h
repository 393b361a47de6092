/* SPDX-License-Identifier: ISC
 *
 * limits: how far each bound of limits.def is used in this process, how far it
 * ever was, how often it was reached and by whom last.  Kept with the loop, which
 * whoever counts something has at hand.
 */
#ifndef SYS_LIMITS_H
#define SYS_LIMITS_H

#include "sys/loop.h"

enum limit {
#define LIMIT(name, program, unit, what, then) LIMIT_##name,
#include "sys/limits.def"
	LIMIT_COUNT
};

struct limit_row {
	const char *name, *program, *unit, *what, *then;
};
extern const struct limit_row limit_rows[LIMIT_COUNT];

struct limit_use {
	uint64_t bound; /* 0: not counted in this process so far */
	uint64_t use, peak, hits;
	int64_t last_ms; /* Unix time of the last hit */
	char who[80];    /* and by whom, one line */
};

/* Use is now so much of bound. */
static inline void
limit_count(struct loop *loop, enum limit at, uint64_t use, uint64_t bound)
{
	struct limit_use *u = &loop_limits(loop)[at];

	u->use = use;
	u->bound = bound;
	if (use > u->peak)
		u->peak = use;
}

/* It was reached by whom. */
void limit_reached(struct loop *loop, enum limit at, uint64_t bound, struct span who);

#endif
