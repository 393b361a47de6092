/* SPDX-License-Identifier: ISC
 *
 * resolver: questions to libunbound, whose thread does the network's part and
 * whose cache all questions share; answers arrive on the loop.
 *
 * Equal questions in flight are one; each is bounded in time, and they are bounded in number, also those that were given up here
 * and that libunbound still works on: beyond that the answer is LATER at once.  The hosts file
 * answers first for ADDR and PTR.
 */
#ifndef DNSD_RESOLVER_H
#define DNSD_RESOLVER_H

#include "base/fail.h"
#include "daemons/dnsd/rdata.h"
#include "sys/loop.h"

enum { RESOLVER_RECORDS = 64, RESOLVER_QUESTIONS = 4096 };

struct resolver_settings {
	const struct span *servers; /* ADDRESS or ADDRESS@PORT; none: resolv_conf */
	size_t nservers;
	const char *resolv_conf;    /* NULL or unreadable: from the root servers */
	const char *hosts;          /* NULL: only localhost */
	const char *trust_anchor;   /* NULL: answers are not validated */
	size_t cache_size;
	int64_t timeout_ms;
	bool v4, v6;                /* addresses of which family are asked for */
	size_t flights_max;         /* queries that libunbound works on; 0: 16,384 */
	int64_t probe_ms;           /* after which it is looked again whether signatures are passed, then twice as late; 0: 70 s */
};

struct answer {
	enum dns_result result;
	bool secure;
	uint32_t ttl;
	struct span canonical; /* the name after CNAMEs, or empty */
	struct span why;       /* of LATER and BOGUS */
	const struct rdata *records;
	size_t nrecords;
};

/* Embedded in its owner; on_answer is called once, from resolver_ask() or from the
 * loop, unless cancelled. The answer lives until it returns. */
struct resolver_waiter {
	struct list node;
	void (*on_answer)(struct resolver_waiter *w, const struct answer *a);
};

struct resolver;
/* Reads the files named; starts no thread and sends nothing yet. NULL: *why. */
struct resolver *resolver_new(struct loop *loop, const struct resolver_settings *settings, struct fail *why);
/* In the sandbox, once: from here on questions are taken. False: *why. */
bool resolver_start(struct resolver *r, struct fail *why);
void resolver_free(struct resolver **r); /* waiters are forgotten */
void resolver_ask(struct resolver *r, enum dns_type type, struct span name, struct resolver_waiter *w);
void resolver_cancel(struct resolver_waiter *w);
size_t resolver_pending(const struct resolver *r);
size_t resolver_flights(const struct resolver *r); /* queries that libunbound works on, also for nobody */
bool resolver_validates(const struct resolver *r);

#endif
