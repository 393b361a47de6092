/* SPDX-License-Identifier: ISC
 *
 * tlslookup: asks for what tlspolicy.c decides by: the table of next hops at
 * routed, MTA-STS at stsd, TLSA records at dnsd; hands out a plan for each host.
 *
 * A host's TLSA records are asked for when it is its turn to be tried.
 */
#ifndef REMOTED_TLSLOOKUP_H
#define REMOTED_TLSLOOKUP_H

#include "daemons/remoted/destination.h"
#include "daemons/remoted/tlsask.h"
#include "daemons/remoted/tlspolicy.h"
#include "service/lookup.h"
#include "sys/loop.h"

struct remoted;

/* What is known of one host; in the arena. */
struct tlshost {
	struct tlshost *next;
	struct tlspolicy_host host;
	struct tlsplan plan;
	struct tls_tlsa *records; /* TLS_TLSA_MAX, while and after they come */
	size_t seen;              /* of them, useless ones counted */
	bool planned, asked_original, asked_alias;
	uint16_t port;
};

struct tlslookup {
	struct remoted *remoted; /* NULL: not started */
	struct arena *arena;
	const struct hop *hop;
	struct span name;           /* the next hop's, in A-labels */
	struct tlspolicy policy;
	struct span certificate;    /* ours, by the route */
	struct tlspolicy_sts sts;
	char origin[TLSPOLICY_WHY]; /* where the level and MTA-STS come from, for people */
	char refusal[TLSPOLICY_WHY]; /* no host may be used: why; empty: none */
	struct tlsask ask;          /* routed, then stsd */
	bool asking, for_sts;
	struct lookup tlsa;
	struct tlshost *hosts, *current; /* whose records are asked for */
	struct timer timer;
	int64_t limit_ms;
	void (*on_ready)(struct tlslookup *t); /* the owner's, set before */
};

/* nexthop, hop and arena must outlive it. Asks at once what does not depend on a host. */
void tlslookup_start(struct tlslookup *t, struct remoted *r, struct span nexthop, const struct hop *hop, enum tlswish wish,
    struct arena *arena);
void tlslookup_stop(struct tlslookup *t);
/* The plan for a host; NULL: it is asked for, and on_ready will be called. It lives as long as the arena. */
const struct tlsplan *tlslookup_plan(struct tlslookup *t, const struct destination_target *target);

#endif
