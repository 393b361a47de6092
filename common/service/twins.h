/* SPDX-License-Identifier: ISC
 *
 * twins: the copies of a process that is a template: it has loaded, relocated and
 * parsed everything that does not depend on whom they serve, once, and the copies share those pages.
 * A template reads nothing but its ctl channel.  Requests are kept until its loop
 * has returned, so that a copy begins with an empty stack and a loop of its own.
 */
#ifndef SERVICE_TWINS_H
#define SERVICE_TWINS_H

#include "ipc/messages.h"
#include "sys/child.h"

struct twins {
	struct child_reaper reaper;
	struct loop *loop;
	struct channel *ctl; /* NULL: nobody listens */
	struct list asked, living;
	bool on;
};

bool twins_start(struct twins *t, struct loop *loop, struct channel *ctl, struct fail *why);
/* Keeps the request, and stops the loop; fd is taken. */
void twins_ask(struct twins *t, const struct ipc_ctl_fork *m, int fd);
static inline bool twins_asked(const struct twins *t) { return t->on && !list_empty(&t->asked); }
static inline bool twins_live(const struct twins *t) { return t->on && !list_empty(&t->living); }
/* Outside of the loop: makes all that were asked for.  True in each copy, false in the template. */
bool twins_make(struct twins *t, struct child_label *label);

#endif
