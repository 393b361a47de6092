/* SPDX-License-Identifier: ISC
 *
 * Two ends of a socket pair in one loop, either a stream or bare, for the tests
 * of streams.
 */
#ifndef STREAM_FIXTURE_H
#define STREAM_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/stream.h"

enum { CAP = 16384 };

/* An owner that records what happens to it. */
struct end {
	struct stream s;
	struct buf got;
	int inputs, eofs, drains, connects, secured, timeouts;
	enum stream_why why;
	bool keep; /* leaves its input unread */
	bool close_in_input, finish_in_input, pause_in_input, starttls;
	struct tls_server *server;
	struct fail failure;
};

extern const struct stream_events events; /* all of them */
extern const struct stream_events plain;  /* without on_eof and others that a stream need not have */
extern const struct stream_limits limits; /* CAP each way */

struct world {
	struct loop *loop;
	struct end a, b;
	int raw; /* the other end when b is not a stream */
};

/* ev: a's; both: b is a stream, too. */
void world_make(struct world *w, const struct stream_events *ev, bool both);
void world_end(struct world *w);
void turns(struct world *w, int n);

#endif
