/* SPDX-License-Identifier: ISC */
#include "front/relay.h"

#include "base/owner.h"

static struct relay *
relay_of(struct stream *inner)
{
	return OWNER_OF(inner, struct relay, inner);
}

/* All unread input of one side to the other, as far as it takes it. */
static void
pass(struct stream *from, struct stream *to)
{
	struct span in = stream_input(from);

	if (!stream_is_open(to))
		return;
	stream_put(to, in);
	stream_eat(from, in.n);
	if (stream_is_open(to) && stream_full(to))
		stream_pause(from);
}

static void
on_inner_input(struct stream *s)
{
	pass(s, relay_of(s)->outer);
}

static void
on_inner_drain(struct stream *s)
{
	if (!relay_of(s)->on_left)
		stream_resume(relay_of(s)->outer);
}

/* mailboxd is done with this session: what it said goes out, then the end. */
static void
on_inner_eof(struct stream *s)
{
	struct relay *r = relay_of(s);

	stream_close(s);
	if (r->on_left)
		r->on_left(r);
	else
		stream_finish(r->outer);
}

static void
on_inner_closed(struct stream *s, enum stream_why why)
{
	(void)why;
	stream_finish(relay_of(s)->outer);
}

bool
relay_start(struct relay *r, struct stream *outer, int fd, struct loop *loop)
{
	static const struct stream_events events = {
		.on_input = on_inner_input,
		.on_eof = on_inner_eof,
		.on_drain = on_inner_drain,
		.on_closed = on_inner_closed,
	};
	static const struct stream_limits limits = { RELAY_IN, RELAY_OUT };

	r->outer = outer;
	if (!stream_open(&r->inner, loop, fd, &events, &limits))
		return false;
	stream_resume(outer);
	return true;
}

void
relay_leave(struct relay *r, struct buf *unread, void (*on_left)(struct relay *r))
{
	struct buf *out = stream_out(&r->inner);

	stream_pause(r->outer);
	buf_put(unread, buf_span(out));
	buf_eat(out, buf_len(out));
	r->on_left = on_left;
}

void
relay_stop(struct relay *r)
{
	stream_close(&r->inner);
}

void
relay_outer_input(struct relay *r)
{
	pass(r->outer, &r->inner);
}

void
relay_outer_eof(struct relay *r)
{
	if (stream_is_open(&r->inner))
		stream_shutdown(&r->inner);
}

void
relay_outer_drain(struct relay *r)
{
	if (stream_is_open(&r->inner))
		stream_resume(&r->inner);
}
