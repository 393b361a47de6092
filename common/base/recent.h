/* SPDX-License-Identifier: ISC
 *
 * recent: what happened to whom a moment ago, in memory alone, and bounded: who it
 * happened to longest ago is forgotten first.
 */
#ifndef BASE_RECENT_H
#define BASE_RECENT_H

#include "base/list.h"
#include "base/map.h"

struct recent {
	struct map map;
	struct list order; /* the longest ago first */
	size_t most;
};

void recent_init(struct recent *r, size_t most);
void recent_free(struct recent *r);

/* Whether it did within ms. */
bool recent_within(const struct recent *r, struct span who, int64_t ms, int64_t now_ms);
void recent_note(struct recent *r, struct span who, int64_t now_ms); /* it happens now, to nobody later than that */
/* Whether it did not, within delay_ms; if so, it happens now. What happened before that is forgotten.
 * delay_ms 0: it never did, and nothing is kept. */
bool recent_admits(struct recent *r, struct span who, int64_t delay_ms, int64_t now_ms);
void recent_forget(struct recent *r, struct span who);

#endif
