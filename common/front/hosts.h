/* SPDX-License-Identifier: ISC
 *
 * hosts: how many connections each client address (IPv6: each /64, which is one client's to use
 * up) has that are not logged in, so that one cannot take all places before login.  Sessions behind
 * login are bounded per user instead.
 */
#ifndef FRONT_HOSTS_H
#define FRONT_HOSTS_H

#include "base/map.h"
#include "net/netaddr.h"

struct host {
	struct map_node node;
	unsigned connections;
	uint8_t network[16];
};

/* One more; NULL: no memory.  Loopback is not told apart here. */
struct host *hosts_enter(struct map *hosts, const struct netaddr *peer);
/* One less; *host becomes NULL.  Idempotent. */
void hosts_leave(struct map *hosts, struct host **host);

#endif
