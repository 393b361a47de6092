/* SPDX-License-Identifier: ISC
 *
 * job: from a next hop to hosts, over their sessions, to a verdict for each
 * recipient.  Whose job it is, its kind says: a delivery of queued (delivery.c),
 * a callout of routed (callout.c).
 *
 * A host that cannot be reached or puts us off gives way to the next; what is
 * then still open is deferred.  Every job ends with a verdict for each recipient, unless
 * its owner itself is gone.
 */
#ifndef REMOTED_JOB_H
#define REMOTED_JOB_H

#include "daemons/remoted/content.h"
#include "service/lookup.h"
#include "daemons/remoted/session.h"
#include "daemons/remoted/tlslookup.h"
#include "service/agent.h"

enum {
	JOB_RCPTS = 10000,         /* more is a violation by queued */
	JOB_ARENA = 16 * 1024 * 1024,
	JOB_LOOKUPS = 1 + DESTINATION_HOSTS_MAX,
};

/* Of one recipient, beside its verdict. */
struct job_origin {
	struct span peer, tls; /* of the host whose verdict it is; empty: none */
	struct verdict held;   /* what an earlier host said, while another is asked, */
	struct span held_peer, held_tls; /* and which */
};

struct callout;

struct job_lookup {
	struct lookup lookup;
	struct job *job;
	unsigned slot;
};

struct job_kind {
	bool fallback;                  /* smtp_fallback_relay may have it */
	void (*tell)(struct job *j);    /* all verdicts are there */
	void (*forget)(struct job *j);  /* it is about to be freed */
};

struct job {
	const struct job_kind *kind;
	struct agent_job base;          /* of a delivery */
	struct callout *callout;        /* or this */
	struct remoted *remoted;
	struct policy *policy;   /* a reference */
	struct arena arena;
	struct client_mail mail;
	size_t rcpts_size;       /* allocated in mail.rcpts and origins */
	struct job_origin *origins;
	struct remote_content content;
	uint64_t message;        /* queue id, for the log */
	int64_t by_ms;           /* Unix time by which it is to be delivered, when mail.by_mode */
	char nexthop[B_NEXTHOP + 1];
	char key[JOB_KEY];
	struct span logins;      /* net/logins.h, in the arena; wiped */
	struct span login;       /* of the next hop now in work: "user:password", or empty */
	struct hop hop;
	struct span way;         /* the next hop now in work, in the arena */
	struct tlslookup plans;
	bool tls_optional;       /* TLS-Required: No: the recipient's own policies (DANE, MTA-STS) do not hold it up */
	struct destination destination;
	struct job_lookup *lookups; /* JOB_LOOKUPS, in the arena, once needed */
	struct timer timer;         /* of the lookups */
	struct session *session;
	size_t target;              /* next of destination.targets */
	bool plain;                 /* this target again without TLS */
	bool hurried;               /* the last target is one that was given up in a hurry before */
	unsigned answered;          /* hosts that answered and put us off */
	struct verdict last;        /* of the last host, for who is still pending */
	size_t fallback;            /* next of smtp_fallback_relay */
	enum deliver_health health;
	char host[B_PEER + 1];      /* done.host */
	char trouble[240];          /* done.text */
	uint32_t connect_ms, transfer_ms;
	bool reused;
};

/* NULL: no memory. */
struct job *job_new(struct remoted *r, const struct job_kind *kind, struct span nexthop, struct span logins);
/* False: more than JOB_RCPTS, or no memory. */
bool job_add(struct job *j, struct span address, struct span orcpt, uint8_t notify);
/* It is complete; it may be over when this returns. */
void job_run(struct job *j);
/* What was not handed on yet is deferred. */
void job_call_off(struct job *j);
/* Without a word to its owner. */
void job_free(struct job *j);

/* For its session. */
struct client_mail *job_mail(struct job *j);
struct policy *job_policy(const struct job *j);
const struct hop *job_hop(const struct job *j);
uint64_t job_message(const struct job *j); /* queue id; 0: a callout */
const struct remote_content *job_content(const struct job *j);
struct span job_login(const struct job *j); /* for the next hop now in work */
bool job_source(const struct job *j, int family, struct netaddr *from); /* likewise; false: the system chooses */
void job_session_over(struct job *j, struct session *s, enum session_over over);

#endif
