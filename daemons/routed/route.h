/* SPDX-License-Identifier: ISC
 *
 * route: one recipient to what shall become of it.
 *
 * The order, for each address that comes up:
 *   0. address_verify_sender, if its domain is ours: exists, is thrown away
 *   1. virtual_alias_maps: user+ext@domain, user@domain, user (local domains
 *      only), @domain; what it gives is resolved again
 *   2. the domain's class: mydestination, virtual_alias_domains,
 *      virtual_mailbox_domains, relay_domains, else elsewhere
 *   3. transport_maps, then route blocks: user@domain, domain, .parents; and *
 *      for what is not delivered on this host
 *   4. local domains: alias_maps, mailbox users, local_recipient_maps, luser_relay;
 *      virtual mailbox domains: mailbox users, virtual_mailbox_maps;
 *      relay domains: relay_recipient_maps
 *   5. elsewhere: relayhost, else the domain's own MX
 * postmaster of any of our domains exists: the alias or the mailbox of that name in a local
 * domain (RFC 5321 4.5.1). The one of myorigin, which a bare <postmaster> means, is open to all.
 *
 * Runs until the user database must be asked and is resumed with the answer.
 * Does no I/O of its own but through rules.h and the include callback.
 */
#ifndef ROUTED_ROUTE_H
#define ROUTED_ROUTE_H

#include "mail/address.h"
#include "rules.h"

enum route_agent { ROUTE_REMOTE, ROUTE_LOCAL, ROUTE_FAIL, ROUTE_DEFER, ROUTE_DISCARD }; /* as in ipc/route.def */

enum route_mode {
	ROUTE_CHECK,   /* may this client use the recipient? gives a verdict */
	ROUTE_RESOLVE, /* where does it go? gives targets */
};

struct route_target {
	struct route_target *next;
	enum route_agent agent;
	struct span nexthop, address, home, sender, text;
	struct span logins; /* remote: net/logins.h */
	uint32_t uid, gid;
	uint64_t quota, messages; /* local: the user's limits, 0 for none */
	unsigned status; /* of status.def */
	bool relay;      /* the address is in a relay domain */
};

/* What the user database says. */
struct route_user {
	bool exists, failed;
	unsigned full; /* a row of status.def: the mailbox had no room a moment ago */
	struct span home;
	uint32_t uid, gid;
	uint64_t quota, messages;
};

struct route_question {
	enum route_mode mode;
	struct span address;
	struct span sender; /* empty: the null sender */
	bool may_relay;     /* for ROUTE_CHECK */
	bool utf8;
};

struct route_job_ops {
	/* Gives an include file's text, in the arena. */
	bool (*include)(void *arg, struct span path, struct arena *arena, struct span *text, struct fail *why);
	/* One step of the resolution in words; NULL: nobody listens. */
	void (*explain)(void *arg, unsigned depth, struct span text);
	void *arg;
};

struct route_job;

enum route_state { ROUTE_DONE, ROUTE_ASK_USER };

/* The rules must outlive the job. NULL: no memory. */
struct route_job *route_new(struct rules *rules, const struct route_question *q, const struct route_job_ops *ops);
void route_free(struct route_job **job);

/* Goes on until done or until a user must be asked for. */
enum route_state route_run(struct route_job *job);
/* After ROUTE_ASK_USER: name@domain in lower case. */
struct span route_wanted_user(const struct route_job *job);
void route_answer_user(struct route_job *job, const struct route_user *user);

/* After ROUTE_DONE. */
const struct route_target *route_targets(const struct route_job *job); /* in order; at least one */
unsigned route_verdict(const struct route_job *job,
    struct span *text); /* row of status.def; text empty: the row's own */
struct span route_why(const struct route_job *job); /* the rules that decided, one line */

#endif
