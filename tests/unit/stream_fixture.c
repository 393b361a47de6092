/* SPDX-License-Identifier: ISC */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/stream_fixture.h"

static void
on_input(struct stream *s)
{
	struct end *e = OWNER_OF(s, struct end, s);

	e->inputs++;
	if (e->close_in_input) {
		stream_close(s);
		return;
	}
	if (e->starttls && span_starts(stream_input(s), SPAN("STARTTLS\r\n"))) {
		stream_eat(s, 10);
		stream_puts(s, "220 go\r\n");
		assert_true(stream_tls_accept(s, e->server, TLS_ASK_NOTHING, NULL));
		return;
	}
	if (e->keep)
		return;
	buf_put(&e->got, stream_input(s));
	stream_eat(s, stream_input(s).n);
	if (e->pause_in_input)
		stream_pause(s);
	if (e->finish_in_input) {
		stream_puts(s, "bye");
		stream_finish(s);
	}
}

static void on_eof(struct stream *s) { OWNER_OF(s, struct end, s)->eofs++; }
static void on_drain(struct stream *s) { OWNER_OF(s, struct end, s)->drains++; }
static void on_connected(struct stream *s) { OWNER_OF(s, struct end, s)->connects++; }
static void on_timeout(struct stream *s) { OWNER_OF(s, struct end, s)->timeouts++; }
static void on_tls(struct stream *s, const struct tls_facts *f) { OWNER_OF(s, struct end, s)->secured += f->bits > 0; }

static void
on_closed(struct stream *s, enum stream_why why)
{
	struct end *e = OWNER_OF(s, struct end, s);

	e->why = why;
	e->failure = *stream_failure(s);
}

const struct stream_events events = { on_input, on_eof, on_drain, on_connected, on_tls, on_timeout, on_closed };
const struct stream_events plain = { .on_input = on_input, .on_connected = on_connected, .on_closed = on_closed };
const struct stream_limits limits = { CAP, CAP };

void
world_make(struct world *w, const struct stream_events *ev, bool both)
{
	int fd[2];

	memset(w, 0, sizeof(*w));
	w->loop = loop_new();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
	buf_init(&w->a.got, 1 << 24);
	buf_init(&w->b.got, 1 << 24);
	assert_true(stream_open(&w->a.s, w->loop, fd[0], ev, &limits));
	w->raw = -1;
	if (both)
		assert_true(stream_open(&w->b.s, w->loop, fd[1], ev, &limits));
	else
		w->raw = fd[1];
}

void
world_end(struct world *w)
{
	stream_close(&w->a.s);
	stream_close(&w->b.s);
	buf_free(&w->a.got);
	buf_free(&w->b.got);
	if (w->raw >= 0)
		(void)close(w->raw);
	loop_free(&w->loop);
}

void
turns(struct world *w, int n)
{
	while (n-- > 0)
		(void)loop_turn(w->loop, 5);
}
