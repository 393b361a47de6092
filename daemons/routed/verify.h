/* SPDX-License-Identifier: ISC
 *
 * verify: whether an address is taken by the host that its mail goes to, found
 * out by a callout and remembered for long: what is known and not too old is the
 * answer at once; what gets old is asked again behind it.
 *
 * Key: the address in lower case.  Value: version byte 1, enum callout_outcome
 * (u8), Unix seconds when that was said and when it was last asked (u64), then next
 * hop, enhanced code, host and reply, each with its length (u16); little-endian.
 */
#ifndef ROUTED_VERIFY_H
#define ROUTED_VERIFY_H

#include "callout.h"
#include "memo.h"

enum { VERIFY_ENTRIES_MAX = 500000 /* remembered; more is asked each time */ };

struct verify {
	struct memo memo;
	const char *dir;      /* of the memo, which is opened when it is first needed */
	bool unusable;        /* it was tried */
	struct callouts callouts;
	const struct conf *conf;
	struct map asked;     /* struct pending by address */
	struct list pending;  /* the same */
	struct list patience; /* who waits, longest first */
	struct timer impatient;
};

struct verify_way {
	struct span nexthop, address, sender, logins; /* as for a delivery; sender is the callout's */
};

struct verify_answer {
	enum callout_outcome outcome;
	struct span code, peer, reply; /* peer empty: no host said it */
	int64_t age_s;                 /* since it was said; -1: it was asked for now */
};

/* Embedded in who asks; zeroed before. */
struct verify_question {
	struct list node, patience;
	struct pending *of; /* NULL: it does not wait */
	int64_t due_ms;
	void (*on_answer)(struct verify_question *q, const struct verify_answer *a);
};

void verify_init(struct verify *v, struct loop *loop, const struct conf *conf);
void verify_free(struct verify *v);
/* dir is ours to make, and outlives it. */
void verify_configure(struct verify *v, const struct conf *conf, const char *dir);

/* Whether address is the sender of callouts, which none is made for. */
bool verify_is_ours(const struct verify *v, struct span address);
/* The sender of callouts; empty: the null sender. */
struct span verify_sender(const struct conf *conf);

/* True: *a is known now, its texts in the arena. False: q waits, address_verify_wait_time at most. fresh: what is remembered
 * does not count. */
bool verify_ask(struct verify *v, struct verify_question *q, struct span address, const struct verify_way *way, bool fresh,
    struct arena *arena, struct verify_answer *a);
void verify_drop(struct verify *v, struct verify_question *q);

/* ---- for mailctl ---- */
struct verify_known {
	struct span address, nexthop;
	struct verify_answer answer;
	int64_t left_s; /* until it is forgotten; less than 0: it counts no more */
};
/* Of one address, of @domain, or of all (empty), until visit says false. */
bool verify_each(struct verify *v, struct span which, bool (*visit)(void *arg, const struct verify_known *k), void *arg, struct fail *why);
/* *n: how many are known. */
bool verify_count(struct verify *v, struct span which, uint64_t *n, struct fail *why);
/* *n: how many were known. At most VERIFY_FORGET_MAX at once: there may be more. */
enum { VERIFY_FORGET_MAX = 20000 };
bool verify_forget(struct verify *v, struct span which, uint64_t *n, struct fail *why);

#endif
