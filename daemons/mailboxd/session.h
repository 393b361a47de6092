/* SPDX-License-Identifier: ISC
 *
 * session: what IMAP and POP3 sessions have in common: bytes in, bytes out.
 *
 * A session does no I/O of its own.  The rim (client.c, or a test) puts bytes
 * into `in` while session_wants_input() says so, calls session_run(), and
 * takes bytes from `out`.  session_run() works until it lacks input, room in
 * `out` or an answer of the store; it returns early with `more` set when it
 * has worked long enough and others shall have their turn.
 */
#ifndef MAILBOXD_SESSION_H
#define MAILBOXD_SESSION_H

#include "base/list.h"
#include "daemons/mailboxd/bounds.h"
#include "daemons/mailboxd/outq.h"

struct session;

struct session_ops {
	const char *service; /* "imap", "pop3" */
	void (*run)(struct session *s);
	bool (*wants_input)(const struct session *s);
	void (*eof)(struct session *s);     /* the client is gone: drop what is not acknowledged */
	void (*idle)(struct session *s);    /* for idle_ms no input, and none of the output that waits was taken; again after each further idle_ms */
	void (*shutdown)(struct session *s); /* the server goes down: say so and close */
	/* Appends what a later process needs to go on with it; false: it is not idling, or has
	 * something to say.  NULL: never. */
	bool (*rest)(const struct session *s, struct buf *state);
	/* All is said and sent, and nothing has come: time to prepare what will be asked for next.  NULL: nothing. */
	void (*ahead)(struct session *s);
	void (*free)(struct session *s);
};

struct session {
	const struct session_ops *ops;
	struct buf in;
	struct outq out;
	struct list node;    /* of its user's sessions */
	int64_t idle_ms;     /* when to call ops->idle */
	bool more;           /* run again without new input */
	bool closing;        /* close when out is empty */
	bool waiting;        /* for the store; session_wake() ends it */
	bool may_leave;      /* the connection can go back to its front */
	bool leaving;        /* it shall, when out is empty, with what is left in `in` */
	uint64_t front;      /* which that is */
	void *rim;                          /* who drives it */
	void (*on_wake)(struct session *s); /* the rim: run soon; never runs at once */
};

static inline void session_run(struct session *s) { s->more = false; s->ops->run(s); }
static inline bool session_wants_input(const struct session *s) { return !s->closing && s->ops->wants_input(s); }
static inline void
session_ahead(struct session *s)
{
	if (s->ops->ahead && !s->closing && !s->waiting && !s->more && outq_empty(&s->out))
		s->ops->ahead(s);
}
/* Something happened that the session may want to say or go on with. */
static inline void session_wake(struct session *s) { if (s->on_wake) s->on_wake(s); }

#endif
