/* SPDX-License-Identifier: ISC
 *
 * ranking: texts as numbers, the same for the same text; and the order that
 * those have among each other, found once, with what came since put in.
 */
#ifndef MAILBOXD_RANKING_H
#define MAILBOXD_RANKING_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"

struct ranked;

struct ranking {
	struct map map; /* struct ranked by text */
	struct arena arena;
	uint32_t n;
	struct ranked **order; /* of the first nranked; owned */
	uint32_t *ranks;       /* by number; owned */
	uint32_t nranked;
};

void ranking_init(struct ranking *r, size_t cap); /* octets for the texts */
void ranking_free(struct ranking *r);
/* From 1 up; 0: no room. */
uint32_t ranking_number(struct ranking *r, struct span text);
/* Of each of the lines, which LF ends, as uint32_t to out; 0 for an empty one. */
bool ranking_lines(struct ranking *r, struct span lines, struct buf *out);
/* By number, ascending as fold_compare() has it; good until the next number is given.  NULL: no memory. */
const uint32_t *ranking_ranks(struct ranking *r);

#endif
