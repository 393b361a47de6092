/* SPDX-License-Identifier: ISC
 *
 * locald and deliverd in one process, with a mailbox directory of their own: the test is queued and userd.
 */
#ifndef LOCALD_FIXTURE_H
#define LOCALD_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemons/deliverd/deliverd.h"
#include "daemons/locald/locald.h"

enum { RESULTS = 64 };

struct result {
	unsigned index, outcome;
	char code[16], reply[1000], forwards[B_FORWARDS + 1];
	bool maybe_done, kept;
};

struct fixture {
	char dir[64];
	struct loop *loop;
	struct conf conf;
	struct service locald, deliverd;
	struct channel *queue; /* our end */
	struct channel *userd; /* our end */
	struct channel *ruler, *ruled; /* deliverd's ctl: our end, and its own */
	uint64_t idle;         /* that deliverd has said: peers that have come and gone */
	struct result results[RESULTS];
	unsigned nresults, done, health, questions;
	bool refuse, hold; /* how the test's userd answers */
	bool may_violate, violated; /* queued's channel is closed */
	int held;          /* the deliverd end that nobody serves */
};

int setup(void **state);
int teardown(void **state);

/* Until so many jobs are done in all. */
void turn_until(struct fixture *f, unsigned done);
/* One message to each of them, whose home is example.test/NAME. */
void send_job(struct fixture *f, uint64_t id, const char *const *addresses, const char *text);
/* The only message in new/ of a home. */
void read_new(struct fixture *f, const char *home, char *out, size_t size);

#endif
