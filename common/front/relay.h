/* SPDX-License-Identifier: ISC
 *
 * relay: bytes both ways between a client's stream and the inner end that a
 * mailboxd serves.  Each direction is bounded: a side that does not read stops
 * the other from being read.  Ends of input are passed on, and when the inner
 * side has closed, the client gets all that is left and then the end.
 */
#ifndef FRONT_RELAY_H
#define FRONT_RELAY_H

#include "net/stream.h"

struct relay {
	struct stream *outer; /* the client's; its owner's */
	struct stream inner;
	void (*on_left)(struct relay *r); /* NULL: the end of the inner side is the client's, too */
};

enum { RELAY_IN = 16 << 10, RELAY_OUT = 64 << 10 };

/* Takes fd.  Unread input of outer goes first.  From now on the owner's
 * callbacks of outer pass through relay_outer_*().  False: no memory. */
bool relay_start(struct relay *r, struct stream *outer, int fd, struct loop *loop);
/* The inner side is about to end, the client is not: on_left is called when the client has all that came from
 * there. What was not yet taken there goes to *unread. */
void relay_leave(struct relay *r, struct buf *unread, void (*on_left)(struct relay *r));
void relay_stop(struct relay *r); /* idempotent, and fine on a zeroed struct */

void relay_outer_input(struct relay *r);
void relay_outer_eof(struct relay *r);
void relay_outer_drain(struct relay *r);

#endif
