/* SPDX-License-Identifier: ISC
 *
 * A session in a folder, which counts what it is told.
 */
#ifndef MAILBOX_FIXTURE_H
#define MAILBOX_FIXTURE_H

#include "tests/unit/storetest.h"

struct session {
	struct view view;
	unsigned exists, expunged, flags, pending, recent;
	uint32_t last_count, last_seq;
};

extern const struct view_events events; /* of a struct session */
void enter(struct session *s, struct fixture *f, const char *folder);
bool has_pending(void *session);
/* Turns of the loop until it is so, which it must be. */
void turn_until(struct fixture *f, bool (*is)(void *), void *arg);

#endif
