/* SPDX-License-Identifier: ISC
 *
 * full: mailboxes that took no message a moment ago for want of room, by their
 * directories, so that RCPT can say so.  Only what a delivery met is known here;
 * it is forgotten after FULL_MS, and when the user's limits are others than the
 * delivery's, and the next message finds out anew.
 */
#ifndef ROUTED_FULL_H
#define ROUTED_FULL_H

#include "base/list.h"
#include "base/map.h"
#include "base/span.h"

enum { FULL_MOST = 10000, FULL_MS = 5 * 60 * 1000 };

struct full_limits {
	uint64_t quota, messages; /* 0: none */
};

struct full {
	struct map by_home;
	struct list by_age; /* oldest first */
	size_t n;
};

void full_init(struct full *f);
void full_free(struct full *f);
/* lasting: the delivery failed for good. */
void full_note(struct full *f, struct span home, struct full_limits met, bool lasting, int64_t now_ms);
/* STATUS_MAILBOX_FULL or STATUS_MAILBOX_FULL_NOW; 0: nothing is known against it. */
unsigned full_status(struct full *f, struct span home, struct full_limits now, int64_t now_ms);

#endif
