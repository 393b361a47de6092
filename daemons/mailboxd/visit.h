/* SPDX-License-Identifier: ISC
 *
 * visit: a session of this user in another user's mailboxd, as bytes both ways
 * over the socket that the broker has got for it. What is said there is IMAP
 * (abroad.h knows it); the other side is not trusted.
 */
#ifndef MAILBOXD_VISIT_H
#define MAILBOXD_VISIT_H

#include "daemons/mailboxd/user.h"
#include "ipc/bounds.h"

enum {
	VISIT_IN = (4 << 20) + (64 << 10), /* a tagged response with its code, whole */
	VISIT_OUT = 1 << 20,
	VISIT_PATIENCE_MS = 120 * 1000, /* without a word while one is waited for */
	VISIT_IDLE_MS = 60 * 1000,      /* without a command; the owner's process shall not live for it */
};

struct visit {
	struct broker_request request; /* until it is open */
	struct user *user;
	char owner[B_ADDRESS + 1];
	int fd;       /* owned; -1: not open yet, or no longer */
	bool gone;    /* it was refused, has ended, or did not answer */
	bool greeted;
	unsigned enabled; /* ENABLED_ bits that it has been told */
	struct buf in, out;
	struct watch watch;
	struct timer patience;
	bool listening, patient;
	bool kept;    /* however long there is no command */
	void (*on_change)(struct visit *v); /* never from within a call of the owner's */
	void *arg;
};

/* Asks the broker; NULL: no memory. */
struct visit *visit_new(struct user *user, struct span owner, void (*on_change)(struct visit *), void *arg);
void visit_free(struct visit **v);
/* Between commands: it is there, and has said nothing that nobody asked for. */
bool visit_quiet(const struct visit *v);
/* Sends what stands in out, so far as it goes now and later; reads while listening, with patience unless idling. */
void visit_go(struct visit *v, bool listening, bool idling);

#endif
