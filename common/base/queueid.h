/* SPDX-License-Identifier: ISC
 *
 * queueid: the number of a queued message and its text form.
 *
 * (microseconds since 1970) << 4 | instance of the smtpd that made it, so ids
 * sort by arrival; unique on one host because an instance never gives the same
 * microsecond twice.  Text: 11 characters today (Crockford base 32: no I, L, O, U),
 * most significant first.
 */
#ifndef BASE_QUEUEID_H
#define BASE_QUEUEID_H

#include "base/span.h"

enum {
	QUEUEID_TEXT = 13,      /* most characters of the text form */
	QUEUEID_INSTANCES = 16, /* an instance is below this */
};

/* The text form, NUL-terminated, in `text`; also as a span over it. */
struct span queueid_text(uint64_t id, char text[QUEUEID_TEXT + 1]);
/* False unless s is exactly the text form of some id > 0 (case counts not). */
bool queueid_parse(struct span s, uint64_t *id);
/* A new id: later than *last, which it updates. unix_us: the wall clock. */
uint64_t queueid_new(uint64_t *last, int64_t unix_us, unsigned instance);
static inline int64_t queueid_time_ms(uint64_t id) { return (int64_t)((id >> 4) / 1000); }

#endif
