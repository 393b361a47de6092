/* SPDX-License-Identifier: ISC
 *
 * Streams without TLS, and how they come to be: sockets, listeners, connecting.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/listener.h"
#include "sys/passrights.h"
#include "tests/unit/stream_fixture.h"

static void
test_bytes_pass_and_idle_holds_no_buffers(void **state)
{
	struct world w;

	(void)state;
	world_make(&w, &events, true);
	stream_puts(&w.a.s, "one ");
	stream_printf(&w.a.s, "%d", 2);
	assert_int_equal(stream_unsent(&w.a.s), 5);
	turns(&w, 4);
	assert_int_equal(w.b.inputs, 1); /* one write, one read */
	assert_memory_equal(buf_span(&w.b.got).p, "one 2", 5);
	assert_null(w.a.s.out.mem);
	assert_null(w.b.s.in.mem);
	world_end(&w);
}

static void
test_back_pressure_and_drain(void **state)
{
	struct world w;
	char block[1024];
	size_t sent = 0;

	(void)state;
	memset(block, 'x', sizeof(block));
	world_make(&w, &events, true);
	stream_pause(&w.b.s);
	for (int i = 0; i < 2000 && sent < 1000000; i++) {
		while (!stream_full(&w.a.s) && sent < 1000000) {
			stream_put(&w.a.s, span_of(block, sizeof(block)));
			sent += sizeof(block);
		}
		if (i == 100)
			stream_resume(&w.b.s);
		(void)loop_turn(w.loop, 1);
	}
	turns(&w, 100);
	assert_int_equal(buf_len(&w.b.got), sent);
	assert_true(w.a.drains > 0);
	assert_int_equal(w.a.why, STREAM_OPEN);
	world_end(&w);
}

static void
test_too_much_output_closes(void **state)
{
	struct world w;
	static char block[CAP + 1];

	(void)state;
	world_make(&w, &events, false);
	stream_put(&w.a.s, span_of(block, sizeof(block)));
	turns(&w, 2);
	assert_int_equal(w.a.why, STREAM_LIMIT);
	assert_false(stream_is_open(&w.a.s));
	world_end(&w);
}

static void
test_eof_comes_after_the_last_input_even_when_paused(void **state)
{
	struct world w;

	(void)state;
	world_make(&w, &events, false);
	w.a.pause_in_input = true;
	assert_int_equal(write(w.raw, "abc", 3), 3);
	turns(&w, 2);
	assert_int_equal(w.a.inputs, 1);
	assert_int_equal(write(w.raw, "def", 3), 3);
	(void)shutdown(w.raw, SHUT_WR);
	turns(&w, 3);
	assert_int_equal(w.a.inputs, 1);
	w.a.pause_in_input = false;
	stream_resume(&w.a.s);
	turns(&w, 4);
	assert_int_equal(buf_len(&w.a.got), 6);
	assert_int_equal(w.a.eofs, 1);
	assert_int_equal(w.a.why, STREAM_OPEN);
	stream_puts(&w.a.s, "still");
	turns(&w, 2);
	{
		char text[8];

		assert_int_equal(read(w.raw, text, sizeof(text)), 5);
	}
	world_end(&w);
}

static void
test_eof_without_a_handler_closes(void **state)
{
	struct world w;

	(void)state;
	world_make(&w, &plain, false);
	(void)shutdown(w.raw, SHUT_WR);
	turns(&w, 2);
	assert_int_equal(w.a.why, STREAM_EOF);
	world_end(&w);
}

static void
test_finish_sends_all_then_closes(void **state)
{
	struct world w;
	char text[8];

	(void)state;
	world_make(&w, &events, false);
	w.a.finish_in_input = true;
	assert_int_equal(write(w.raw, "q", 1), 1);
	turns(&w, 3);
	assert_int_equal(w.a.why, STREAM_FINISHED);
	assert_int_equal(read(w.raw, text, sizeof(text)), 3);
	assert_int_equal(read(w.raw, text, sizeof(text)), 0);
	world_end(&w);
}

static void
tcp_pair(int fd[2])
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);
	int door = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(door, (struct sockaddr *)&at, n), 0);
	assert_int_equal(listen(door, 1), 0);
	assert_int_equal(getsockname(door, (struct sockaddr *)&at, &n), 0);
	fd[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd[1], (struct sockaddr *)&at, n), 0);
	fd[0] = accept4(door, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(fd[0] >= 0);
	(void)close(door);
}

static void
world_make_tcp(struct world *w)
{
	int fd[2];

	world_make(w, &events, false);
	stream_close(&w->a.s);
	(void)close(w->raw);
	tcp_pair(fd);
	w->raw = fd[1];
	assert_true(stream_open(&w->a.s, w->loop, fd[0], &events, &limits));
}

/* Closing a TCP socket that has unread bytes is a reset, and what was to go out in front of it does not. */
static void
test_last_words_reach_a_peer_that_goes_on_talking(void **state)
{
	static char block[CAP * 4];
	struct world w;
	char text[8];

	(void)state;
	world_make_tcp(&w);
	w.a.finish_in_input = true;
	assert_int_equal(write(w.raw, block, sizeof(block)), sizeof(block));
	turns(&w, 3);
	assert_int_equal(write(w.raw, block, 100), 100);
	turns(&w, 3);
	assert_int_equal(recv(w.raw, text, sizeof(text), MSG_DONTWAIT), 3);
	assert_int_equal(recv(w.raw, text, sizeof(text), MSG_DONTWAIT), 0);
	assert_int_equal(w.a.why, STREAM_OPEN);
	(void)shutdown(w.raw, SHUT_WR);
	for (int i = 0; i < 100 && w.a.why == STREAM_OPEN; i++)
		turns(&w, 1);
	assert_int_equal(w.a.why, STREAM_FINISHED);
	world_end(&w);
}

/* A server that has enough says so and closes, which is a reset where it has not read all. */
static void
test_a_peers_last_words_are_heard_though_writing_fails(void **state)
{
	static char block[CAP / 2];
	struct world w;

	(void)state;
	world_make_tcp(&w);
	while (!stream_unsent(&w.a.s)) { /* until the system takes no more */
		stream_put(&w.a.s, span_of(block, sizeof(block)));
		turns(&w, 2);
	}
	assert_int_equal(write(w.raw, "552 no\r\n", 8), 8);
	(void)close(w.raw);
	w.raw = -1;
	turns(&w, 3);
	assert_int_equal(buf_len(&w.a.got), 8);
	assert_int_equal(w.a.why, STREAM_RESET);
	world_end(&w);
}

static void
test_owner_may_close_in_a_callback(void **state)
{
	struct world w;

	(void)state;
	world_make(&w, &events, false);
	w.a.close_in_input = true;
	assert_int_equal(write(w.raw, "q", 1), 1);
	turns(&w, 3);
	assert_int_equal(w.a.why, STREAM_OPEN);
	assert_false(stream_is_open(&w.a.s));
	world_end(&w);
}

static void
test_unread_input_is_offered_again_on_demand(void **state)
{
	struct world w;

	(void)state;
	world_make(&w, &events, false);
	w.a.keep = true;
	assert_int_equal(write(w.raw, "abc", 3), 3);
	turns(&w, 3);
	assert_int_equal(w.a.inputs, 1);
	assert_int_equal(stream_input(&w.a.s).n, 3);
	stream_again(&w.a.s);
	turns(&w, 2);
	assert_int_equal(w.a.inputs, 2);
	world_end(&w);
}

static void
test_a_full_input_buffer_stops_reading_without_spinning(void **state)
{
	struct world w;
	static char block[CAP * 4];

	(void)state;
	world_make(&w, &events, false);
	w.a.keep = true;
	assert_true(write(w.raw, block, sizeof(block)) > CAP);
	turns(&w, 12);
	assert_true(stream_input_full(&w.a.s));
	assert_true(w.a.s.parked);
	w.a.keep = false;
	stream_again(&w.a.s);
	turns(&w, 20);
	assert_int_equal(buf_len(&w.a.got), sizeof(block));
	world_end(&w);
}

static void
test_timeouts_follow_activity_deadlines_do_not(void **state)
{
	struct world w;

	(void)state;
	world_make(&w, &events, false);
	stream_timeout(&w.a.s, 60);
	for (int i = 0; i < 6; i++) {
		assert_int_equal(write(w.raw, "x", 1), 1);
		(void)loop_turn(w.loop, 20);
		(void)usleep(20000);
	}
	assert_int_equal(w.a.timeouts, 0);
	for (int i = 0; i < 20 && !w.a.timeouts; i++)
		(void)loop_turn(w.loop, 20);
	assert_int_equal(w.a.timeouts, 1);
	stream_deadline(&w.a.s, 60);
	for (int i = 0; i < 10 && w.a.timeouts == 1; i++) {
		assert_int_equal(write(w.raw, "x", 1), 1);
		(void)loop_turn(w.loop, 20);
		(void)usleep(20000);
	}
	assert_int_equal(w.a.timeouts, 2);
	world_end(&w);
}

static void
test_a_socket_is_handed_on_with_its_unread_input(void **state)
{
	struct world w;
	struct buf unread;
	int fd;

	(void)state;
	world_make(&w, &events, false);
	buf_init(&unread, 4096);
	w.a.keep = true;
	assert_int_equal(write(w.raw, "a1 NOOP\r\n", 9), 9);
	turns(&w, 2);
	stream_puts(&w.a.s, "* hello\r\n");
	assert_int_equal(stream_take_fd(&w.a.s, &unread), -1);
	turns(&w, 2);
	fd = stream_take_fd(&w.a.s, &unread);
	assert_true(fd >= 0);
	assert_int_equal(buf_len(&unread), 9);
	assert_false(stream_is_open(&w.a.s));
	assert_int_equal(write(fd, "x", 1), 1);
	(void)close(fd);
	buf_free(&unread);
	world_end(&w);
}

/* A TCP connection to peer, who has been sent more than it and the kernel take. */
static int
stuffed(int *peer)
{
	static const char block[65536];
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);
	int door = socket(AF_INET, SOCK_STREAM, 0), fd;

	assert_true(bind(door, (struct sockaddr *)&at, n) == 0 && listen(door, 1) == 0 && getsockname(door, (struct sockaddr *)&at, &n) == 0);
	*peer = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(*peer, (struct sockaddr *)&at, n), 0);
	fd = accept4(door, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	(void)close(door);
	while (write(fd, block, sizeof(block)) > 0)
		;
	return fd;
}

static void
test_who_takes_nothing_is_given_up_by_the_system_too(void **state)
{
	struct world w;
	struct pollfd same = { 0 };
	struct end e = { 0 };
	int peer, error = 0, fd = stuffed(&peer);
	socklen_t n = sizeof(error);

	(void)state;
	world_make(&w, &events, false);
	same.fd = dup(fd);
	assert_true(stream_open(&e.s, w.loop, fd, &events, &limits));
	stream_abandon(&e.s);
	assert_int_equal(poll(&same, 1, 20000), 1);
	assert_int_equal(getsockopt(same.fd, SOL_SOCKET, SO_ERROR, &error, &n), 0);
	assert_int_equal(error, ETIMEDOUT);
	(void)close(same.fd);
	(void)close(peer);
	world_end(&w);
}

static struct end accepted;

static void
on_accept(struct listener *l, int fd, const struct netaddr *peer)
{
	assert_true(netaddr_loopback(peer));
	assert_true(stream_open(&accepted.s, l->watch.loop, fd, &events, &limits));
}

static void
test_connect_and_accept(void **state)
{
	struct world w;
	struct netaddr at;
	struct listener l;
	struct fail why = { 0 };
	struct end e = { 0 };
	struct sockaddr_storage bound;
	socklen_t n = sizeof(bound);
	int fd;

	(void)state;
	world_make(&w, &events, true);
	memset(&accepted, 0, sizeof(accepted));
	buf_init(&accepted.got, 100);
	buf_init(&e.got, 100);
	assert_true(netaddr_parse(SPAN("127.0.0.1"), 0, &at));
	fd = listener_bind(&at, 16, &why);
	assert_true(fd >= 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&bound, &n), 0);
	assert_true(netaddr_of(&bound, n, &at));
	assert_true(listener_open(&l, w.loop, fd, on_accept));
	assert_true(stream_connect(&e.s, w.loop, &at, NULL, 1000, &events, &limits, &why));
	turns(&w, 4);
	assert_int_equal(e.connects, 1);
	stream_puts(&e.s, "hi");
	turns(&w, 3);
	assert_int_equal(buf_len(&accepted.got), 2);
	stream_close(&e.s);
	listener_close(&l);
	stream_close(&accepted.s);
	buf_free(&accepted.got);
	/* Nobody listens there any more. */
	assert_true(stream_connect(&e.s, w.loop, &at, NULL, 1000, &events, &limits, &why));
	turns(&w, 3);
	assert_int_equal(e.why, STREAM_CONNECT);
	assert_int_equal(e.failure.err, 111);
	stream_close(&e.s);
	assert_true(netaddr_unix(SPAN("/nonexistent/socket"), &at));
	e.why = STREAM_OPEN;
	assert_true(stream_connect(&e.s, w.loop, &at, NULL, 1000, &events, &limits, &why));
	turns(&w, 3);
	assert_int_equal(e.why, STREAM_CONNECT);
	stream_close(&e.s);
	buf_free(&e.got);
	world_end(&w);
}

/* Where anybody may connect nobody hands over a descriptor, which we would have to close. */
static void
test_a_socket_for_everybody_takes_no_descriptors(void **state)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .align = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	struct iovec iov = { .iov_base = (char[]){ 'x' }, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes) };
	int door, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), passes;
	socklen_t n = sizeof(passes);
	struct netaddr at;
	struct fail why;
	char path[64];

	(void)state;
	if (getsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &passes, &n) < 0)
		skip(); /* before Linux 6.16 */
	(void)snprintf(path, sizeof(path), "/tmp/test_stream.%d", (int)getpid());
	assert_true(netaddr_unix(span_str(path), &at));
	door = listener_bind(&at, 16, &why);
	assert_true(door >= 0);
	assert_int_equal(connect(fd, &at.u.sa, at.len), 0);
	assert_int_equal(sendmsg(fd, &msg, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(write(fd, "x", 1), 1);
	(void)close(fd);
	(void)close(door);
	(void)unlink(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes_pass_and_idle_holds_no_buffers),
		cmocka_unit_test(test_back_pressure_and_drain),
		cmocka_unit_test(test_too_much_output_closes),
		cmocka_unit_test(test_eof_comes_after_the_last_input_even_when_paused),
		cmocka_unit_test(test_eof_without_a_handler_closes),
		cmocka_unit_test(test_finish_sends_all_then_closes),
		cmocka_unit_test(test_last_words_reach_a_peer_that_goes_on_talking),
		cmocka_unit_test(test_a_peers_last_words_are_heard_though_writing_fails),
		cmocka_unit_test(test_owner_may_close_in_a_callback),
		cmocka_unit_test(test_unread_input_is_offered_again_on_demand),
		cmocka_unit_test(test_a_full_input_buffer_stops_reading_without_spinning),
		cmocka_unit_test(test_timeouts_follow_activity_deadlines_do_not),
		cmocka_unit_test(test_a_socket_is_handed_on_with_its_unread_input),
		cmocka_unit_test(test_who_takes_nothing_is_given_up_by_the_system_too),
		cmocka_unit_test(test_connect_and_accept),
		cmocka_unit_test(test_a_socket_for_everybody_takes_no_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
