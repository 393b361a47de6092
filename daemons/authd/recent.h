/* SPDX-License-Identifier: ISC
 *
 * recent: who has logged in to a POP3 mailbox within pop3_login_delay (RFC 2449 6.5).
 *
 * In memory alone, and bounded: what is forgotten lets somebody in sooner than was announced.
 */
#ifndef AUTHD_RECENT_H
#define AUTHD_RECENT_H

#include "base/list.h"
#include "base/map.h"

enum { RECENT_ENTRIES = 50000 };

struct recent {
	struct map map;
	struct list order; /* the longest ago first */
};

void recent_init(struct recent *r);
void recent_free(struct recent *r);

/* Whether who may log in; if so, that is the last time. delay_ms 0: everybody may, and nothing is kept. */
bool recent_admits(struct recent *r, struct span who, int64_t delay_ms, int64_t now_ms);
/* The login came to nothing. */
void recent_forget(struct recent *r, struct span who);

#endif
