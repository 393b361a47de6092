/* SPDX-License-Identifier: ISC
 *
 * job: one delivery job of queued: from its next hop to hosts, over their
 * sessions, to a verdict for each recipient.
 *
 * A host that cannot be reached or puts us off gives way to the next; what is
 * then still open is deferred.  Every job ends with a result for each recipient and
 * done, unless queued itself is gone.
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

struct job_lookup {
	struct lookup lookup;
	struct job *job;
	unsigned slot;
};

struct job {
	struct agent_job base;
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
	struct span login;       /* "user:password" for the next hop, in the arena, or empty; wiped */
	struct span hop_login;   /* the same, for the next hop now in work */
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
	unsigned answered;          /* hosts that answered and put us off */
	struct verdict last;        /* of the last host, for who is still pending */
	size_t fallback;            /* next of smtp_fallback_relay */
	enum deliver_health health;
	char host[B_PEER + 1];      /* done.host */
	char trouble[240];          /* done.text */
	uint32_t connect_ms, transfer_ms;
	bool reused;
};

/* For remoted.agent. */
extern const struct agent_ops job_ops;

/* For its session. */
struct client_mail *job_mail(struct job *j);
struct policy *job_policy(const struct job *j);
const struct hop *job_hop(const struct job *j);
const struct remote_content *job_content(const struct job *j);
struct span job_login(const struct job *j); /* for the next hop now in work */
void job_session_over(struct job *j, struct session *s, enum session_over over);

#endif
