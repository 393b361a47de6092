/* SPDX-License-Identifier: ISC
 *
 * The relay between a client's stream and a mailboxd's end of a socket pair.
 */
#include "front/relay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct rig {
	struct loop *loop;
	int client, inner; /* the far ends */
	struct stream outer;
	struct relay relay;
	bool closed;
};

static struct rig rig;

static void
on_input(struct stream *s)
{
	(void)s;
	relay_outer_input(&rig.relay);
}

static void
on_eof(struct stream *s)
{
	(void)s;
	relay_outer_eof(&rig.relay);
}

static void
on_drain(struct stream *s)
{
	(void)s;
	relay_outer_drain(&rig.relay);
}

static void
on_closed(struct stream *s, enum stream_why why)
{
	(void)s;
	(void)why;
	rig.closed = true;
}

static int
set_up(void **state)
{
	static const struct stream_events events = { .on_input = on_input, .on_eof = on_eof, .on_drain = on_drain, .on_closed = on_closed };
	static const struct stream_limits limits = { RELAY_IN, RELAY_OUT };
	int a[2], b[2];

	(void)state;
	memset(&rig, 0, sizeof rig);
	rig.loop = loop_new();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b) < 0)
		return -1;
	rig.client = a[1];
	rig.inner = b[1];
	return stream_open(&rig.outer, rig.loop, a[0], &events, &limits) && relay_start(&rig.relay, &rig.outer, b[0], rig.loop) ? 0 : -1;
}

static int
tear_down(void **state)
{
	(void)state;
	stream_close(&rig.outer);
	relay_stop(&rig.relay);
	close(rig.client);
	close(rig.inner);
	loop_free(&rig.loop);
	return 0;
}

static void
turn(void)
{
	for (int i = 0; i < 5; i++)
		(void)loop_turn(rig.loop, 1);
}

/* What comes out at fd, up to n. */
static size_t
take(int fd, char *to, size_t n)
{
	size_t have = 0;
	ssize_t got;

	while (have < n && (got = read(fd, to + have, n - have)) > 0)
		have += (size_t)got;
	return have;
}

static void
carries_both_ways(void **state)
{
	char text[16];

	(void)state;
	assert_int_equal(write(rig.client, "ping", 4), 4);
	assert_int_equal(write(rig.inner, "pong", 4), 4);
	turn();
	assert_int_equal(take(rig.inner, text, sizeof text), 4);
	assert_memory_equal(text, "ping", 4);
	assert_int_equal(take(rig.client, text, sizeof text), 4);
	assert_memory_equal(text, "pong", 4);
}

static void
a_reader_that_stops_stops_the_writer(void **state)
{
	static char block[4096], back[4096];
	size_t sent = 0, got = 0;
	ssize_t n;

	(void)state;
	for (size_t i = 0; i < sizeof block; i++)
		block[i] = (char)('a' + i % 26);
	for (int i = 0; i < 500; i++) {
		while (sent < (8u << 20) && (n = write(rig.inner, block, sizeof block)) > 0)
			sent += (size_t)n;
		(void)loop_turn(rig.loop, 0);
	}
	assert_true(sent < (2u << 20)); /* bounded by the buffers of kernel and relay */
	assert_false(rig.closed);
	while (got < sent) {
		size_t k = take(rig.client, back, sizeof back);

		for (size_t i = 0; i < k; i++)
			if (back[i] != block[(got + i) % 4096])
				fail_msg("octet %zu differs", got + i);
		got += k;
		(void)loop_turn(rig.loop, 0);
	}
	assert_int_equal(got, sent);
}

static void
the_clients_half_close_reaches_the_inner_end_and_answers_still_come(void **state)
{
	char text[16];

	(void)state;
	assert_int_equal(write(rig.client, "bye", 3), 3);
	shutdown(rig.client, SHUT_WR);
	turn();
	assert_int_equal(take(rig.inner, text, sizeof text), 3);
	assert_int_equal(read(rig.inner, text, 1), 0);
	assert_int_equal(write(rig.inner, "so long", 7), 7);
	turn();
	assert_int_equal(take(rig.client, text, sizeof text), 7);
}

static void
the_inner_end_closes_after_its_last_words(void **state)
{
	char text[16];

	(void)state;
	assert_int_equal(write(rig.inner, "* BYE", 5), 5);
	close(rig.inner);
	rig.inner = -1;
	turn();
	assert_int_equal(take(rig.client, text, sizeof text), 5);
	assert_int_equal(read(rig.client, text, 1), 0);
	assert_true(rig.closed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(carries_both_ways, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_reader_that_stops_stops_the_writer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_clients_half_close_reaches_the_inner_end_and_answers_still_come, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_inner_end_closes_after_its_last_words, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
