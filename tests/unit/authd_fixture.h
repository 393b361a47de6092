/* SPDX-License-Identifier: ISC
 *
 * authd between a front, userd and mailctl that the test plays; its users are
 * alice@example.test, whose password is "wonderland", and nologin@example.test.
 */
#ifndef AUTHD_FIXTURE_H
#define AUTHD_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemons/authd/authd.h"
#include "net/scram.h"

struct world {
	struct service service;
	struct authd a;
	struct arena mem;
	char dir[64];
	struct channel *front, *userd, *tool, *routed; /* our ends */
	struct channel *served[4];
	/* what came */
	int answers, grants, dones, changes, owners, sharers, answered, limits, shared;
	uint64_t answered_id; /* of the last answer */
	bool told_first; /* shared, before answered */
	unsigned recalled; /* crashes that authd has told of; 100 for the end of them */
	uint64_t size, messages; /* of owner or limits */
	bool ok, temporary, too_soon, done_ok, grant_first, answered_ok;
	char sharer[B_ADDRESS + 1], folder[B_ADDRESS + 1];
	const char *scram_service; /* NULL: imap */
	char user[B_ADDRESS + 1], text[256], granted_home[256];
	uint8_t ticket[B_TICKET], granted[B_TICKET];
	size_t ticket_n;
	struct scram_client scram;
	char challenge[B_SCRAM + 1];
	bool proved; /* authd has shown that it knows the password, too */
};

/* for cmocka: *state is the struct world */
int setup(void **state);
int teardown(void **state);

/* A user as a release before SCRAM left it: no keys. */
void put_user(struct world *w, const char *name, const char *password);
/* What mailctl's user add or passwd does; returns when it is done. */
void tool_does(struct world *w, bool create, const char *user, const char *password);
/* Logs in with PLAIN; returns with the answer. */
void ask(struct world *w, const char *service, const char *user, const char *password);
/* Some turns of the loop. */
void turns(struct world *w);

#endif
