/* SPDX-License-Identifier: ISC
 *
 * way: "transport:nexthop" as transport_maps, relayhost and route blocks have it.
 */
#ifndef ROUTED_WAY_H
#define ROUTED_WAY_H

#include "base/arena.h"
#include "base/fail.h"
#include "conf/conf.h"

struct way {
	enum conf_word transport; /* CONF_TRANSPORT_* */
	struct span nexthop;      /* smtp: domain, domain:port, [host], [host]:port, empty for the recipient's
	                           * domain; lmtp: unix:/path, inet:host:port; error, retry: the text */
};

/* The value of a transport map: "smtp:[host]:port", "lmtp:unix:/path", "local:",
 * "error:5.1.1 text", "discard:", ":nexthop". */
bool way_parse(struct span value, struct way *way, struct fail *why);
/* A next hop alone, for the given transport. */
bool way_nexthop(enum conf_word transport, struct span nexthop, struct way *way, struct fail *why);
/* The text that agents take: a next hop, "lmtp:" in front for LMTP. Empty with p == NULL: no memory. */
struct span way_text(const struct way *way, struct span domain, struct arena *arena);

#endif
