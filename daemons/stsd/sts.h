/* SPDX-License-Identifier: ISC
 *
 * sts: which MTA-STS policy holds for a domain (RFC 8461 3.3, 5.1).  Does no
 * network I/O: the rim looks up and fetches when ops say so, and tells what came.
 *
 * A policy that is known and has not expired is the answer at once; whether it
 * is still the one published is asked behind that.  Where none is known the answer waits
 * for the lookup and the fetch; what cannot be fetched is no policy.
 */
#ifndef STSD_STS_H
#define STSD_STS_H

#include "base/list.h"
#include "base/map.h"
#include "daemons/stsd/store.h"

enum {
	STS_DOMAINS = 4096,     /* in memory; the one asked for longest ago goes */
	STS_ERRANDS = 256,      /* lookups and fetches at once */
	STS_CHECK_S = 300,      /* a known policy's record is looked up again after this */
	STS_NONE_S = 60,        /* "there is none" holds so long */
	STS_FAILED_S = 300,     /* and so long where the fetch failed (RFC 8461 3.3) */
	STS_REFRESH = 64,       /* policies that are looked at again at once without a question */
	STS_FRESH_S = 86400,    /* a policy older than this and half of its life is fetched again */
};

enum sts_known { STS_HAS_POLICY, STS_HAS_NONE, STS_UNKNOWN };

struct sts_answer {
	enum sts_known known;
	const struct entry *policy;
	const char *why;
};

/* Embedded in its owner. */
struct sts_waiter {
	struct list node;
	void (*on_answer)(struct sts_waiter *w, const struct sts_answer *a);
};

enum sts_errand { STS_IDLE, STS_LOOKING, STS_FETCHING };

struct sts_domain {
	struct sts *sts;
	struct map_node node;
	struct list by_use;
	struct list waiters;
	enum sts_errand errand;
	void *rim;               /* its errand, the rim's */
	struct arena arena;      /* of entry.patterns */
	bool has_entry;
	struct entry entry;
	int64_t quiet_until_s;   /* nothing is asked before */
	unsigned records;        /* of MTA-STS, in the answer that comes in */
	char id[POLICY_ID + 1];  /* of the last of them */
	char why[240];
	char name[256];
};

struct sts_ops {
	/* False: it cannot be begun. Else sts_record() for each TXT record of _mta-sts.NAME and
	 * sts_looked_up() follow, from the loop. */
	bool (*look_up)(struct sts_domain *d);
	bool (*fetch)(struct sts_domain *d); /* likewise sts_fetched() */
	int64_t (*now_s)(struct sts *s);     /* Unix seconds */
	/* What a report to the domain would tell (RFC 8460 4.3), or a policy that is new. */
	void (*tell)(struct sts_domain *d, const char *result, const char *why);
};

struct sts {
	const struct sts_ops *ops;
	void *owner;
	struct store store;
	struct map domains;
	struct list by_use; /* longest ago first */
	size_t errands;
	uint64_t asked, fetched;
	char refreshed[256]; /* the last domain of this round of sts_refresh(); empty: it begins */
};

void sts_init(struct sts *s, const struct sts_ops *ops, void *owner);
void sts_free(struct sts *s); /* errands are the rim's to end before */
/* domain: A-labels. The answer comes at once or later, once, unless cancelled. */
void sts_ask(struct sts *s, struct span domain, struct sts_waiter *w);
void sts_cancel(struct sts_waiter *w);
/* RFC 8461 3.3, 10.2: looks again at kept policies well before their end, whether mail goes there or not, STS_REFRESH at a
 * time. *more: the round is not over. False: the store cannot be read. */
bool sts_refresh(struct sts *s, bool *more, struct fail *why);

void sts_record(struct sts_domain *d, struct span txt);
void sts_records_void(struct sts_domain *d); /* what came so far is void: it is asked anew */
/* ok: the records are all there are, if any; else why they cannot be known. */
void sts_looked_up(struct sts_domain *d, bool ok, struct span why);
/* result: NULL and the body, or what went wrong (RFC 8460 4.3) and why. */
void sts_fetched(struct sts_domain *d, const char *result, struct span body_or_why);

#endif
