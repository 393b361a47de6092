/* SPDX-License-Identifier: ISC
 *
 * tickets: keys for TLS session tickets, one for each kind of front and period,
 * so that all processes of a kind can resume each other's sessions and none those
 * of another kind. They come from a secret that dies with this process.
 */
#ifndef KEYD_TICKETS_H
#define KEYD_TICKETS_H

#include <stdint.h>

#include "base/fail.h"
#include "base/span.h"

enum { TICKETS_SECRET = 32, TICKETS_KEY = 80, TICKETS_PERIOD_MOST_MS = 24 * 3600 * 1000 };

struct tickets {
	unsigned char secret[TICKETS_SECRET];
};

bool tickets_init(struct tickets *t, struct fail *why);
/* The key of that period since 1970 for that kind. */
bool tickets_key(const struct tickets *t, struct span kind, uint64_t period, unsigned char key[TICKETS_KEY]);
void tickets_wipe(struct tickets *t);

#endif
