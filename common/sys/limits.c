/* SPDX-License-Identifier: ISC */
#include "sys/limits.h"

const struct limit_row limit_rows[LIMIT_COUNT] = {
#define LIMIT(name, program, unit, what, then) { #name, program, unit, what, then },
#include "sys/limits.def"
};

void
limit_reached(struct loop *loop, enum limit at, uint64_t bound, struct span who)
{
	struct limit_use *u = &loop_limits(loop)[at];
	size_t n = who.n < sizeof(u->who) - 1 ? who.n : sizeof(u->who) - 1;

	u->bound = bound;
	u->hits++;
	u->last_ms = loop_wall_ms(loop);
	for (size_t i = 0; i < n; i++)
		u->who[i] = (unsigned char)who.p[i] < 32 || who.p[i] == 127 ? '?' : who.p[i];
	u->who[n] = '\0';
}
