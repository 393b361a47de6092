/* SPDX-License-Identifier: ISC
 *
 * job: the inside of one resolution, shared by route.c, expand.c and deliver.c.
 */
#ifndef ROUTED_JOB_H
#define ROUTED_JOB_H

#include "base/list.h"
#include "base/map.h"
#include "mail/status.h"
#include "route.h"

/* One address on its way. */
struct node {
	struct list pending;
	struct node *parent;
	struct map_node seen;
	struct address address;
	struct span sender; /* replaces the reverse-path; empty: keep */
	unsigned depth;
	bool no_virtual, no_alias; /* it stands for itself: not looked up again */
	enum rules_class class;
	struct span *candidates; /* mailbox names to ask for */
	size_t ncandidates, candidate;
};

/* What lookups need of an address. */
struct parts {
	char local_memory[ADDRESS_SIZE], domain_memory[DOMAIN_SIZE];
	struct span full;   /* local part, lower case, unquoted */
	struct span base;   /* without extension; the same as full without one */
	struct span ext;    /* with its delimiter, as written; empty without one */
	struct span domain; /* A-labels, lower case; empty without one */
};

struct route_job {
	struct rules *rules;
	const struct conf *conf;
	struct route_question q;
	struct route_job_ops ops;
	struct arena arena;
	struct list pending;     /* struct node, next first */
	struct list *insert;     /* where the next child of the node in work goes behind */
	struct node *asking;     /* waits for the user database */
	struct map seen;         /* nodes by address and flags */
	struct route_target *first, **last;
	size_t ntargets, nnodes;
	size_t loops;            /* cut */
	bool over;               /* verdict or deferral stands: nothing more is done */
	unsigned verdict;        /* ROUTE_CHECK */
	struct span verdict_text;
	struct buf why;
};

/* ---- route.c ---- */
void job_explain(struct route_job *job, const struct node *node, const char *fmt, ...) __attribute__((format(printf,
    3, 4)));
void job_parts(const struct route_job *job, const struct address *address, struct parts *parts);
/* CHECK: the verdict. RESOLVE: nothing. True in CHECK mode, where all is said then. */
bool job_settle(struct route_job *job, unsigned status, struct span text);
/* A lookup failed for now: the whole recipient is put off. */
void job_put_off(struct route_job *job, const struct node *node, unsigned status, const char *text);
/* A failing target (or verdict). */
void job_refuse(struct route_job *job, const struct node *node, enum route_agent agent, unsigned status,
    struct span text);
struct route_target *job_target(struct route_job *job, const struct node *node, enum route_agent agent);

enum child_flags { CHILD_NO_VIRTUAL = 1, CHILD_NO_ALIAS = 2 };
/* Puts an address that came out of `node` to work.  Loops and repetitions are cut here. */
void job_child(struct route_job *job, struct node *node, struct span text, struct span sender, unsigned flags);

/* ---- expand.c: true if the address was redirected (or settled, or put off) ---- */
bool expand_virtual(struct route_job *job, struct node *node, const struct parts *p);
bool expand_alias(struct route_job *job, struct node *node, const struct parts *p);
bool expand_luser(struct route_job *job, struct node *node, const struct parts *p);

/* ---- deliver.c ---- */
/* A transport map or route block that overrides; true if it settled the node. */
bool deliver_override(struct route_job *job, struct node *node, const struct parts *p);
/* By class, once redirections are done. May set job->asking. */
void deliver_class(struct route_job *job, struct node *node, const struct parts *p);
/* Goes on behind an answer for candidate node->candidate. */
void deliver_answer(struct route_job *job, struct node *node, const struct route_user *user);

#endif
