/* SPDX-License-Identifier: ISC
 *
 * smtpd's rim on real sockets: the loop, doors and channels in this thread with
 * siblings that answer, the clients in another.  What is said in the dialogue is
 * the business of tests/dialog.
 *
 * With TEST_SMTPD_LOG in the environment smtpd logs what it does.
 */
#ifndef SMTPD_FIXTURE_H
#define SMTPD_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemons/smtpd/smtpd.h"

struct world {
	struct service service;
	struct arena arena;
	struct smtpd *smtpd;
	struct channel *routed, *queued; /* the siblings' ends */
	struct netaddr at;
	struct buf content;
	unsigned messages;
	unsigned opens, aborts;
	atomic_uint told;                /* recipients of the present message */
	bool held, refuses;              /* queued: was to hold it; says no to the next */
	atomic_uint senders;
	atomic_bool hush;                /* queued does not answer */
	atomic_bool done;
	void (*client)(struct world *w);
	char body[4096];                 /* what load_one() sends; not written while its threads run */
};

/* for cmocka: *state is the struct world; with this configuration, or a common one */
int set_up_with(void **state, const char *conf);
int set_up(void **state);
int tear_down(void **state);

/* queued's channel to smtpd, when it is started again */
void wire_queued(struct world *w);
/* Listens, at the same place if it is not the first time. */
void open_door(struct world *w);

/* Runs client in a thread of its own until it is through, and the sessions are. */
void run(struct world *w, void (*client)(struct world *));
void *client_thread(void *world); /* w->client; then w->done is set */

/* Clients: blocking sockets, in the other thread. */
int dial(struct world *w);
/* Sends text; reads until a line that begins with code and a blank has come. */
bool say(int fd, const char *text, const char *code);
bool at_end(int fd);
void one_message(struct world *w);

#endif
