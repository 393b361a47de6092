/* SPDX-License-Identifier: ISC
 *
 * The rim of a session, which here counts what it hears: compressed input
 * reaches it to the last octet, and it is idle when nothing moves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemons/mailboxd/client.h"
#include "sys/loop.h"

enum { IN_CAP = 32 << 10, INPUT = 2 << 20, OUTPUT = 4 << 20, SOCKET_ROOM = 16 << 10, LONG = 60000, SHORT = 400, TURNS = 500 };

struct counter {
	struct session base;
	uint64_t *heard; /* octets */
};

static bool gone;

static void
count(struct session *s)
{
	struct counter *c = OWNER_OF(s, struct counter, base);

	*c->heard += buf_len(&s->in);
	buf_eat(&s->in, buf_len(&s->in));
}

static bool
wants_input(const struct session *s)
{
	(void)s;
	return true;
}

static void
on_eof(struct session *s)
{
	s->closing = true;
}

static void
counter_free(struct session *s)
{
	buf_free(&s->in);
	outq_free(&s->out);
	free(OWNER_OF(s, struct counter, base));
}

static const struct session_ops ops = {
	.service = "count",
	.run = count,
	.wants_input = wants_input,
	.eof = on_eof,
	.idle = on_eof,
	.shutdown = on_eof,
	.free = counter_free,
};

static void
on_gone(struct user *user)
{
	(void)user;
	gone = true;
}

static void
on_quiet(struct timer *t)
{
	(void)t;
}

struct fixture {
	struct user user;
	struct counter *counter; /* the client's */
	uint64_t heard;
	int peer;
};

static void
start(struct fixture *f, int64_t idle_ms, bool compressed)
{
	int pair[2], room = SOCKET_ROOM;

	memset(f, 0, sizeof *f);
	f->user.loop = loop_new();
	list_init(&f->user.sessions);
	timer_init(&f->user.quiet, f->user.loop, on_quiet);
	f->counter = calloc(1, sizeof *f->counter);
	assert_non_null(f->counter);
	f->counter->heard = &f->heard;
	f->counter->base.ops = &ops;
	f->counter->base.idle_ms = idle_ms;
	buf_init(&f->counter->base.in, IN_CAP);
	outq_init(&f->counter->base.out);
	assert_true(!compressed || outq_squeeze(&f->counter->base.out));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
	f->peer = pair[1];
	gone = false;
	assert_true(client_new(&f->user, pair[0], &f->counter->base, SPAN_NONE, on_gone));
}

static void
end(struct fixture *f)
{
	close(f->peer);
	for (unsigned i = 0; i < TURNS && !gone; i++)
		(void)loop_turn(f->user.loop, 10);
	assert_true(gone);
	timer_stop(&f->user.quiet);
	loop_free(&f->user.loop);
}

/* Of INPUT octets that are all the same hardly anything is left. */
static void
say_compressed(struct fixture *f)
{
	struct squeeze *squeeze = squeeze_new();
	char *text = calloc(1, INPUT);
	struct buf packed;

	buf_init(&packed, INPUT);
	assert_non_null(text);
	assert_true(squeeze_put(squeeze, span_of(text, INPUT), true, &packed));
	assert_int_equal(write(f->peer, buf_span(&packed).p, buf_len(&packed)), buf_len(&packed));
	buf_free(&packed);
	free(text);
	squeeze_free(&squeeze);
}

static void
what_expands_to_more_than_there_is_room_for_is_read_to_its_end(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, LONG, true);
	say_compressed(&f);
	for (unsigned i = 0; i < TURNS && f.heard < INPUT; i++)
		(void)loop_turn(f.user.loop, 10);
	assert_int_equal(f.heard, INPUT);
	end(&f);
}

static void
it_is_also_where_the_client_has_nothing_more_to_say(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, LONG, true);
	say_compressed(&f);
	assert_int_equal(shutdown(f.peer, SHUT_WR), 0);
	for (unsigned i = 0; i < TURNS && !gone; i++)
		(void)loop_turn(f.user.loop, 10);
	assert_int_equal(f.heard, INPUT);
	end(&f);
}

static void
a_client_that_reads_is_not_idle(void **state)
{
	static char text[OUTPUT / TURNS];
	struct fixture f;
	unsigned reads = 0;

	(void)state;
	start(&f, SHORT, false);
	for (unsigned i = 0; i < TURNS; i++)
		buf_put(&f.counter->base.out.mem, span_of(text, sizeof text));
	for (int64_t end_ms = loop_now_ms(f.user.loop) + 3 * SHORT; loop_now_ms(f.user.loop) < end_ms; reads++) {
		(void)loop_turn(f.user.loop, 10);
		assert_false(gone || f.counter->base.closing);
		assert_int_not_equal(recv(f.peer, text, sizeof text, 0), -1);
		(void)usleep(5000);
	}
	assert_in_range(reads, 1, TURNS / 2); /* there was more */
	for (unsigned i = 0; i < TURNS && !f.counter->base.closing; i++)
		(void)loop_turn(f.user.loop, 10);
	assert_true(f.counter->base.closing);
	end(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_expands_to_more_than_there_is_room_for_is_read_to_its_end),
		cmocka_unit_test(it_is_also_where_the_client_has_nothing_more_to_say),
		cmocka_unit_test(a_client_that_reads_is_not_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
