/* SPDX-License-Identifier: ISC
 *
 * callout: has remoted ask next hops whether they take an address; so many at
 * once, so many of one next hop, the rest in its turn.  A next hop that
 * was not reached is left alone for a while.
 */
#ifndef ROUTED_CALLOUT_H
#define ROUTED_CALLOUT_H

#include "conf/conf.h"
#include "service/inquiry.h"
#include "sys/loop.h"

enum {
	CALLOUT_REMOTEDS = 256,    /* processes */
	CALLOUT_WAITING_MAX = 10000,
	CALLOUT_HOPS_MAX = 20000,  /* known at once, most of them as not reached */
	CALLOUT_MOST_MS = 10 * 60 * 1000, /* remoted has given up long before */
};

struct callout_hop;

/* Embedded in who asks; zeroed before its first start. */
struct callout {
	struct inquiry inquiry;
	struct list node;
	struct callout_hop *hop; /* NULL: not under way */
	int64_t since_ms;        /* it has run; 0: it waits for its turn */
	/* The owner's: what is said, and who hears of it. The texts of *a are gone when on_answer returns. */
	struct span nexthop, address, sender, logins;
	void (*on_answer)(struct callout *c, const struct ipc_callout_answer *a);
};

struct callouts {
	struct loop *loop;
	const struct conf *conf; /* the owner's to change at a reload */
	struct inquirer remoteds[CALLOUT_REMOTEDS];
	size_t nremoteds;
	struct map hops;
	struct list ring;     /* next hops of which one may be asked */
	struct list shunned;  /* next hops that were not reached, that of longest ago first */
	struct list running;  /* oldest first */
	size_t nrunning, nwaiting;
	struct timer most;
};

extern const struct channel_ops callout_channel_ops;

void callouts_init(struct callouts *cs, struct loop *loop, const struct conf *conf);
void callouts_free(struct callouts *cs); /* nothing is under way */
void callouts_open(struct callouts *cs, struct channel *c, unsigned instance);

/* True: on_answer will be called, never before this returns. False: *a says why not; its texts live until the next turn. */
bool callout_start(struct callouts *cs, struct callout *c, struct ipc_callout_answer *a);
/* Nobody wants to know any more. No effect if it is not under way. */
void callout_drop(struct callouts *cs, struct callout *c);

#endif
