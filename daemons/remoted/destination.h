/* SPDX-License-Identifier: ISC
 *
 * destination: from a next hop to the addresses to try, in order (RFC 5321
 * 5.1, RFC 7505).  Does no I/O: it hands out questions and takes answers, so
 * that tests script the DNS.
 *
 *   destination_start(); while (destination_question()) ask it;
 *   destination_mx() and destination_address() for each record, then
 *   destination_answer(); again, until the state is not DESTINATION_ASKING.
 */
#ifndef REMOTED_DESTINATION_H
#define REMOTED_DESTINATION_H

#include "base/arena.h"
#include "daemons/remoted/hop.h"

enum {
	DESTINATION_MX_MAX = 64,      /* MX records read; later ones are ignored */
	DESTINATION_HOSTS_MAX = 12,   /* hosts whose addresses are asked for */
	DESTINATION_ADDRESS_MAX = 16, /* addresses of one host; later ones are ignored */
	DESTINATION_TARGETS_MAX = 32, /* addresses to try */
};

enum destination_state { DESTINATION_ASKING, DESTINATION_READY, DESTINATION_FAILED };

/* As the dns channel counts them. */
enum destination_type { DESTINATION_MX, DESTINATION_ADDR, DESTINATION_TLSA = 4, DESTINATION_CNAME };

enum destination_result {
	DESTINATION_OK,
	DESTINATION_NO_NAME,
	DESTINATION_NO_DATA,
	DESTINATION_LATER, /* the resolver failed for now */
	DESTINATION_BOGUS, /* DNSSEC says it was tampered with */
};

enum destination_prefer { DESTINATION_ANY, DESTINATION_V4, DESTINATION_V6 };

struct destination_rules {
	struct span myself;        /* our own host name, for the loop check; empty: no check */
	const struct netaddr *own; /* our own addresses, ports ignored */
	size_t nown;
	uint16_t own_port;         /* the loop check is for next hops at this port only */
	size_t limit;              /* addresses to try, at most; 0: no limit but ours */
	bool v4, v6;               /* families in use */
	enum destination_prefer prefer;
	uint32_t (*random)(void);  /* spreads equals; NULL: as they came */
};

struct destination_target {
	struct span host; /* name; the address or path in text where there is none */
	struct netaddr address;
	uint16_t preference;
	bool secure;      /* MX and address are validated */
	bool mx_secure;   /* that this is the host's name is, whatever its address */
	bool host_secure; /* its address is, whatever named the host */
	struct span canonical; /* host after CNAMEs; empty: there are none */
};

struct destination_host {
	struct span name;
	uint16_t preference;
	struct span canonical; /* after CNAMEs, or empty */
	bool asked, answered, secure;
	enum destination_result result;
	size_t naddresses;
	struct netaddr *addresses; /* DESTINATION_ADDRESS_MAX of them, once there is one */
};

struct destination {
	enum destination_state state;
	struct hop hop;
	const struct destination_rules *rules;
	struct arena *arena;
	bool mx_asked, mx_answered, mx_secure, null_mx, exhausted;
	bool implicit; /* no MX: the domain itself is the host */
	bool backup;   /* this host is one of its MX, and not the best */
	size_t nhosts;
	struct destination_host *hosts; /* DESTINATION_MX_MAX of them */
	size_t ntargets;
	struct destination_target *targets;
	struct fail why; /* FAILED: class TEMP or PERM, and a row of status.def */
};

/* What the hop's spans and rules point to must outlive it; the rest lives in
 * the arena.  An address literal or a socket is READY at once. */
void destination_start(struct destination *d, const struct hop *hop, const struct destination_rules *rules, struct arena *arena);
/* The next question to ask, with the slot to name it by; false: none now. */
bool destination_question(struct destination *d, unsigned *slot, enum destination_type *type, struct span *name);
/* One record of an answer.  Foreign: bad names, and what is too much, are ignored. */
void destination_mx(struct destination *d, unsigned slot, uint16_t preference, struct span name);
void destination_address(struct destination *d, unsigned slot, struct span bytes);
/* The name that CNAMEs led to; before the answer. */
void destination_canonical(struct destination *d, unsigned slot, struct span name);
/* The answer is complete; why explains LATER and BOGUS. */
void destination_answer(struct destination *d, unsigned slot, enum destination_result result, bool secure, struct span why);

#endif
