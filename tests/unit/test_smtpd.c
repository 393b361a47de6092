/* SPDX-License-Identifier: ISC
 *
 * Messages through smtpd, long lists too; clients that close, a queued that dies, a reload.
 */
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/smtpd_fixture.h"

static int
set_up_list(void **state)
{
	return set_up_with(state, "myhostname = mail.example.test\nsmtpd_client_connection_count_limit = 0\nsmtpd_recipient_limit = 2000\n"
	                          "listener smtp { }\n");
}

static void
test_one_message(void **state)
{
	struct world *w = *state;

	run(w, one_message);
	assert_int_equal(w->messages, 1);
	assert_true(span_starts(buf_span(&w->content), SPAN("Received: from x.test (localhost [127.0.0.1])\r\n")));
	assert_true(span_ends(buf_span(&w->content), SPAN("Subject: x\r\n\r\ntext\r\n")));
}

/* 1,500 recipients, the last of whom is `last`; begins: how the content is. */
static void
send_list(struct world *w, const char *last, const char *begins)
{
	enum { RECIPIENTS = 1500, GROUP = 50 };
	char group[GROUP * 40];
	int fd = dial(w);

	assert_true(say(fd, "", "220"));
	assert_true(say(fd, "EHLO x.test\r\n", "250"));
	assert_true(say(fd, "MAIL FROM:<a@x.test>\r\n", "250"));
	for (int i = 0; i < RECIPIENTS - 1;) {
		size_t n = 0;

		for (int k = 0; k < GROUP && i < RECIPIENTS - 1; k++)
			n += (size_t)snprintf(group + n, sizeof(group) - n, "RCPT TO:<member%d@b.test>\r\n", i++);
		(void)snprintf(group + n, sizeof(group) - n, "NOOP\r\n");
		assert_true(say(fd, group, "250 2.0.0"));
	}
	(void)snprintf(group, sizeof(group), "RCPT TO:<%s@b.test>\r\nRCPT TO:<nobody@b.test>\r\n", last);
	assert_true(say(fd, group, "550"));
	assert_true(atomic_load(&w->told) > 0);
	if (*begins == 'B') {
		assert_true(say(fd, "BDAT 18 LAST\r\nSubject: x\r\n\r\nabcd", "250 2.0.0"));
	} else {
		assert_true(say(fd, "DATA\r\n", "354"));
		assert_true(say(fd, "Subject: x\r\n\r\ntext\r\n.\r\n", "250 2.0.0"));
	}
	assert_int_equal(atomic_load(&w->told), RECIPIENTS);
	assert_true(say(fd, "QUIT\r\n", "221"));
	(void)close(fd);
}

static void
plain_list(struct world *w)
{
	send_list(w, "other", "DATA");
}

static void
chunked_list(struct world *w)
{
	send_list(w, "other", "BDAT");
}

static void
held_list(struct world *w)
{
	send_list(w, "hold", "DATA");
}

/* queued hears of a very long list while it comes; what it was told too early is taken back. */
static void
test_long_list(void **state)
{
	struct world *w = *state;

	run(w, plain_list);
	assert_int_equal(w->messages, 1);
	assert_int_equal(w->opens, 1);
	assert_int_equal(w->aborts, 0);
	run(w, chunked_list);
	assert_int_equal(w->messages, 2);
	assert_int_equal(w->opens, 2);
	run(w, held_list);
	assert_int_equal(w->messages, 3);
	assert_int_equal(w->opens, 4);
	assert_int_equal(w->aborts, 1);
	assert_true(w->held);
	w->refuses = true; /* it is asked again behind DATA */
	run(w, plain_list);
	assert_int_equal(w->messages, 4);
	assert_int_equal(w->opens, 6);
	assert_int_equal(w->aborts, 1);
}

static void
half_closed(struct world *w)
{
	int fd = dial(w);

	assert_true(say(fd, "", "220"));
	assert_true(say(fd, "EHLO x.test\r\n", "250"));
	assert_true(say(fd, "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n", "354"));
	assert_int_equal(write(fd, "Subject: x\r\n\r\ntext\r\n.\r\nQUIT\r\n", 30), 30);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_true(say(fd, "", "250"));
	(void)close(fd);
}

/* A client that sends all and closes its direction still gets its answer. */
static void
test_half_closed(void **state)
{
	struct world *w = *state;

	run(w, half_closed);
	assert_int_equal(w->messages, 1);
}

static void
queued_dies(struct world *w)
{
	int fd = dial(w);

	w->hush = true;
	assert_true(say(fd, "", "220"));
	assert_true(say(fd, "EHLO x.test\r\n", "250"));
	assert_true(say(fd, "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n", "354"));
	assert_true(say(fd, "Subject: x\r\n\r\ntext\r\n.\r\n", "451"));
	assert_true(say(fd, "QUIT\r\n", "221"));
	(void)close(fd);
}

struct killer {
	struct timer timer;
	struct world *world;
};

static void
die(struct timer *t)
{
	channel_free(&OWNER_OF(t, struct killer, timer)->world->queued);
}

static void
test_queued_dies(void **state)
{
	struct world *w = *state;
	struct killer t = { .world = w };

	timer_init(&t.timer, w->service.loop, die);
	(void)timer_set(&t.timer, 200);
	run(w, queued_dies);
	w->hush = false;
	wire_queued(w);
	run(w, one_message);
	assert_int_equal(w->messages, 2);
}

static void
reloaded(struct world *w)
{
	int fd = dial(w);

	assert_true(say(fd, "", "220"));
	w->senders = 1; /* now the other thread reloads */
	while (w->senders)
		(void)usleep(1000);
	assert_true(say(fd, "EHLO x.test\r\n", "250"));
	(void)close(fd);
	fd = dial(w);
	assert_true(say(fd, "", "220"));
	(void)close(fd);
}

static void
test_reload(void **state)
{
	struct world *w = *state;
	pthread_t thread;

	w->client = reloaded;
	assert_int_equal(pthread_create(&thread, NULL, client_thread, w), 0);
	while (!atomic_load(&w->done)) {
		(void)loop_turn(w->service.loop, 5);
		if (w->senders) {
			smtpd_ops.on_reload(&w->service, w->service.conf);
			open_door(w);
			w->senders = 0;
		}
	}
	(void)pthread_join(thread, NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_message, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_long_list, set_up_list, tear_down),
		cmocka_unit_test_setup_teardown(test_half_closed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_queued_dies, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_reload, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
