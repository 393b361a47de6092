/* SPDX-License-Identifier: ISC
 *
 * listener: accepts connections in batches with a budget per turn, so that a
 * flood of new connections does not starve the sessions there are, and rests
 * a little when descriptors run out instead of spinning.
 */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "net/netaddr.h"
#include "sys/loop.h"

struct listener {
	struct watch watch;
	struct timer rest;
	bool paused;
	int64_t patient_ms; /* 0, or of listener_patient() */
	/* fd is non-blocking, close-on-exec and the callee's. */
	void (*on_accept)(struct listener *l, int fd, const struct netaddr *peer);
};

/* Takes over a listening descriptor. */
bool listener_open(struct listener *l, struct loop *loop, int fd,
                   void (*on_accept)(struct listener *l, int fd, const struct netaddr *peer));
void listener_close(struct listener *l); /* closes the descriptor */
void listener_pause(struct listener *l); /* connections wait in the backlog */
void listener_resume(struct listener *l);
/* Takes a connection only when nobody else who listens there has within ms; 0: at once again. */
void listener_patient(struct listener *l, int64_t ms);

/* socket, bind, listen: non-blocking, close-on-exec, SO_REUSEADDR, IPv6 only
 * for IPv6 addresses. A UNIX socket's stale name is replaced. -1 and *why. */
int listener_bind(const struct netaddr *at, int backlog, struct fail *why);

#endif
