/* SPDX-License-Identifier: ISC
 *
 * guard: slows guessing, per account and per client network, without locking
 * an owner out: from a network where the account logged in before there is
 * no delay before the check, however many others guess at it.
 *
 * Failures fade (half of them in five minutes). Bounded: what was used
 * longest ago is forgotten first.
 */
#ifndef AUTHD_GUARD_H
#define AUTHD_GUARD_H

#include "base/list.h"
#include "base/map.h"
#include "net/netaddr.h"

enum { GUARD_ENTRIES = 50000 };

struct guard_table {
	struct map map;
	struct list recent; /* the longest unused first */
};

struct guard {
	struct guard_table accounts, networks, known; /* known: account and network of good logins */
	int64_t delay_ms;                              /* for one wrong password */
};

void guard_init(struct guard *g, int64_t delay_ms);
void guard_free(struct guard *g);

/* How long to wait before the check. client: as in auth_ask, an address in text. */
int64_t guard_before(struct guard *g, struct span account, struct span client, int64_t now_ms);
/* Notes a wrong password; how long to hold its answer back. */
int64_t guard_failed(struct guard *g, struct span account, struct span client, int64_t now_ms);
void guard_succeeded(struct guard *g, struct span account, struct span client, int64_t now_ms);

/* Whether the account has logged in from that network before. */
bool guard_knows(struct guard *g, struct span account, struct span client);

/* What of a client's address is one client: all of IPv4, the /64 of IPv6; of what is no address, its text. */
struct guard_client {
	char bytes[65];
};
struct guard_client guard_client(struct span client);
/* Its network, as failures are counted: of IPv4 the /24, of IPv6 the /56. */
struct guard_client guard_network(struct span client);
bool guard_same_client(const struct guard_client *a, const struct guard_client *b);

#endif
