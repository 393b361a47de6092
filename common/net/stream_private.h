/* SPDX-License-Identifier: ISC
 *
 * What stream.c (lifecycle, what owners call) and stream_io.c (what the loop
 * calls) share. Functions that return bool say whether the stream still lives.
 */
#ifndef NET_STREAM_PRIVATE_H
#define NET_STREAM_PRIVATE_H

#include "net/stream.h"

enum stream_state {
	S_NONE,
	S_CONNECTING,
	S_PLAIN,
	S_SWITCHING, /* plaintext output leaves, then the handshake begins */
	S_HANDSHAKE,
	S_TLS,
};

/* Calls back; false when the owner closed the stream meanwhile. */
bool stream_call(struct stream *s, void (*callback)(struct stream *));
/* Always the last thing done to s: the owner may free it. Returns false. */
bool stream_closed(struct stream *s, enum stream_why why);
/* Closed at the end of the turn. */
void stream_doom(struct stream *s, enum stream_why why);
struct fail *stream_failure_of(struct stream *s); /* NULL: no memory for one */
/* Tells the loop what the stream waits for. */
void stream_await(struct stream *s, bool write);
/* Sends what the socket takes; STREAM_OPEN or what killed it. */
enum stream_why stream_send(struct stream *s);

void stream_on_ready(struct watch *w, unsigned ready);
void stream_on_timer(struct timer *t);
void stream_on_turn(struct turn *h);

#endif
