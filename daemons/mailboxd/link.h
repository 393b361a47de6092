/* SPDX-License-Identifier: ISC
 *
 * link: the broker (broker.h) over the session channel to userd.
 */
#ifndef MAILBOXD_LINK_H
#define MAILBOXD_LINK_H

#include "daemons/mailboxd/user.h"
#include "ipc/messages.h"

struct link {
	struct channel *session; /* NULL: userd is away, and everything is refused */
	struct list asked;       /* struct broker_request */
	uint64_t last;
	/* Who shares with this user, as userd said when it was last asked; until link_shared(). */
	struct buf sharers;      /* names, each with NUL behind it */
	bool sharers_known;
	uint64_t sharers_asked;  /* the request that fills it; 0: none */
};

extern const struct broker link_broker;

void link_init(struct link *l);
void link_opened(struct link *l, struct channel *session);
void link_closed(struct link *l); /* whoever waits is refused */

/* What userd says; false: nothing that was asked. */
bool link_arrived(struct link *l, const struct ipc_session_arrived *m, int fd);
bool link_sharer(struct link *l, const struct ipc_session_sharer *m);
bool link_quota_is(struct link *l, const struct ipc_session_quota_is *m);
bool link_answered(struct link *l, const struct ipc_session_answered *m);

/* Who shares with the user may have changed. */
void link_shared(struct link *l);

/* What userd asks for. */
void link_limits(struct user *user, const struct ipc_session_limits *m);
bool link_measure(struct user *user, const struct ipc_session_measure *m); /* false: the answer cannot be sent */

#endif
