/* SPDX-License-Identifier: ISC
 *
 * Sessions of smtpd: how many there may be, how slow they may be, what each and what a message costs.
 *
 * With TEST_SMTPD_LOAD=N in the environment also N messages from 50 sessions, with
 * the processor time a message takes; with TEST_SMTPD_RECONNECT each on a connection of its own,
 * without pipelining, as smtp-source does it.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/smtpd_fixture.h"

enum { CLIENTS = 50, IDLE = 400 };

static int
set_up_limits(void **state)
{
	return set_up_with(state, "myhostname = mail.example.test\nmynetworks =\nsmtpd_client_connection_count_limit = 2\n"
	                          "smtpd_session_limit = 4\nlistener smtp { }\n");
}

static int
set_up_few(void **state)
{
	return set_up_with(state, "myhostname = mail.example.test\nsmtpd_client_connection_count_limit = 0\nsmtpd_session_limit = 2\nlistener smtp { }\n");
}

static int
set_up_hasty(void **state)
{
	return set_up_with(state, "myhostname = mail.example.test\nsmtpd_client_connection_count_limit = 0\nsmtpd_timeout = 1s\n"
	                          "smtpd_transaction_time_limit = 2s\nlistener smtp { }\n");
}

static void
three_at_once(struct world *w)
{
	int a = dial(w), b = dial(w), c;

	assert_true(say(a, "", "220"));
	assert_true(say(b, "", "220"));
	c = dial(w);
	assert_true(say(c, "", "421"));
	assert_true(at_end(c));
	(void)close(c);
	(void)close(a);
	assert_true(say(b, "QUIT\r\n", "221"));
	(void)close(b);
	one_message(w);
}

static void
test_limit_of_one_address(void **state)
{
	run(*state, three_at_once);
}

static void
two_and_one(struct world *w)
{
	int a = dial(w), b = dial(w), c;

	assert_true(say(a, "", "220"));
	assert_true(say(b, "", "220"));
	c = dial(w);
	assert_true(say(c, "", "421"));
	assert_true(at_end(c));
	(void)close(c);
	assert_true(say(b, "NOOP\r\n", "250"));
	assert_true(say(a, "QUIT\r\n", "221"));
	assert_true(at_end(a));
	(void)close(a);
	c = dial(w);
	assert_true(say(c, "", "220"));
	(void)close(c);
	(void)close(b);
}

/* Who comes when all sessions are taken is told so, and does not wait for the end of one. */
static void
test_limit_of_all(void **state)
{
	run(*state, two_and_one);
}

/* Each piece in time, all together not. */
static bool
drip(int fd, const char *piece, const char *code)
{
	char in[512];

	for (int i = 0; i < 100; i++) {
		ssize_t n;

		if (write(fd, piece, strlen(piece)) < 0)
			break;
		(void)usleep(300 * 1000);
		n = recv(fd, in, sizeof(in) - 1, MSG_DONTWAIT);
		if (n <= 0)
			continue;
		in[n] = '\0';
		if (strstr(in, code))
			return at_end(fd);
	}
	return false;
}

static void
slow_peers(struct world *w)
{
	static const char *const before[] = { "", "DATA\r\n" }, *const codes[] = { "250", "354" }, *const pieces[] = { "RCPT TO:<b@b.test>\r\n", "x" };

	for (int i = 0; i < 2; i++) {
		int fd = dial(w);

		assert_true(say(fd, "", "220"));
		assert_true(say(fd, "EHLO x.test\r\n", "250"));
		assert_true(say(fd, "MAIL FROM:<a@x.test>\r\n", "250"));
		assert_true(say(fd, "RCPT TO:<b@b.test>\r\n", "250"));
		assert_true(!*before[i] || say(fd, before[i], codes[i]));
		assert_true(drip(fd, pieces[i], "421"));
		(void)close(fd);
	}
	one_message(w);
}

static void
test_slow_peers(void **state)
{
	struct world *w = *state;

	run(w, slow_peers);
	assert_int_equal(w->messages, 1);
}

static void
idle_sessions(struct world *w)
{
	static int fds[IDLE];

	for (int i = 0; i < IDLE; i++) {
		fds[i] = dial(w);
		assert_true(say(fds[i], "", "220"));
		assert_true(say(fds[i], "EHLO x.test\r\n", "250"));
		assert_true(say(fds[i], "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n", "354"));
		assert_true(say(fds[i], "Subject: x\r\n\r\ntext\r\n.\r\n", "250"));
	}
	for (int i = 0; i < IDLE; i++)
		(void)close(fds[i]);
}

static size_t
resident(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long size = 0, pages = 0;

	if (f) {
		if (fscanf(f, "%lu %lu", &size, &pages) != 2)
			pages = 0;
		(void)fclose(f);
	}
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void
memory_client(struct world *w)
{
	size_t before = resident();
	size_t each;

	idle_sessions(w);
	each = (resident() - before) / IDLE;
	print_message("%zu bytes resident a session that has sent a message\n", each);
#ifndef SANITIZED
	assert_in_range(each, 0, 16384);
#endif
}

static void
test_memory(void **state)
{
	run(*state, memory_client);
}

static void *
load_one(void *arg)
{
	struct world *w = arg;
	bool again = getenv("TEST_SMTPD_RECONNECT") != NULL;
	int fd = -1;

	for (unsigned i = 0; i < w->senders; i++) {
		if (fd < 0) {
			fd = dial(w);
			assert_true(say(fd, "", "220"));
			assert_true(say(fd, "EHLO x.test\r\n", "250"));
		}
		if (again) {
			assert_true(say(fd, "MAIL FROM:<a@x.test>\r\n", "250"));
			assert_true(say(fd, "RCPT TO:<b@b.test>\r\n", "250"));
			assert_true(say(fd, "DATA\r\n", "354"));
		} else
			assert_true(say(fd, "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n", "354"));
		assert_true(say(fd, w->body, "250"));
		if (again || i + 1 == w->senders) {
			assert_true(say(fd, "QUIT\r\n", "221"));
			(void)close(fd);
			fd = -1;
		}
	}
	return NULL;
}

static void
load(struct world *w)
{
	pthread_t threads[CLIENTS];

	memset(w->body, 'x', sizeof(w->body) - 1);
	for (size_t i = 70; i + 2 < sizeof(w->body); i += 72)
		memcpy(w->body + i, "\r\n", 2);
	memcpy(w->body, "Subject: load\r\n\r\n", 17);
	memcpy(w->body + sizeof(w->body) - 6, "\r\n.\r\n", 6);
	for (int i = 0; i < CLIENTS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, load_one, w), 0);
	for (int i = 0; i < CLIENTS; i++)
		(void)pthread_join(threads[i], NULL);
}

static double
thread_seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
test_load(void **state)
{
	struct world *w = *state;
	const char *n = getenv("TEST_SMTPD_LOAD");
	double before = thread_seconds();

	w->senders = (unsigned)((n ? atoi(n) : 1000) / CLIENTS);
	run(w, load);
	print_message("%.1f us of processor a message, siblings' ends included\n", (thread_seconds() - before) * 1e6 / w->messages);
	assert_int_equal(w->messages, w->senders * CLIENTS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_limit_of_one_address, set_up_limits, tear_down),
		cmocka_unit_test_setup_teardown(test_limit_of_all, set_up_few, tear_down),
		cmocka_unit_test_setup_teardown(test_slow_peers, set_up_hasty, tear_down),
		cmocka_unit_test_setup_teardown(test_memory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_load, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
