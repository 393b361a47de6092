/* SPDX-License-Identifier: ISC
 *
 * locald and deliverd in one process: the test is queued and userd.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/unit/locald_fixture.h"

static const char *const bob[] = { "bob@example.test", NULL };
static const char *const two[] = { "bob@example.test", "carol@example.test", NULL };

static void
test_delivers_with_trace_lines(void **state)
{
	struct fixture *f = *state;
	char text[1000];

	send_job(f, 7, two, "Subject: hi\r\n\r\nhello\r\n");
	turn_until(f, 1);
	assert_int_equal(f->nresults, 2);
	assert_int_equal(f->results[0].outcome, DELIVER_DELIVERED);
	assert_string_equal(f->results[0].code, "2.0.0");
	assert_int_equal(f->health, DELIVER_ANSWERED);
	assert_int_equal(f->questions, 1);
	read_new(f, "example.test/bob", text, sizeof(text));
	assert_string_equal(text, "Return-Path: <alice@example.test>\r\nDelivered-To: bob@example.test\r\nSubject: hi\r\n\r\nhello\r\n");
	read_new(f, "example.test/carol", text, sizeof(text));
	assert_non_null(strstr(text, "Delivered-To: carol@example.test\r\n"));
	send_job(f, 8, bob, "Subject: hi\r\n\r\nhello\r\n"); /* the channel is kept */
	turn_until(f, 2);
	assert_int_equal(f->questions, 1);
}

static void
test_cuts_loops(void **state)
{
	struct fixture *f = *state;

	send_job(f, 7, two, "Delivered-To:  Bob@example.TEST\r\nSubject: hi\r\n\r\nDelivered-To: carol@example.test\r\n");
	turn_until(f, 1);
	assert_int_equal(f->nresults, 2);
	assert_int_equal(f->results[0].index, 0);
	assert_int_equal(f->results[0].outcome, DELIVER_FAILED);
	assert_string_equal(f->results[0].code, "5.4.6");
	assert_int_equal(f->results[1].outcome, DELIVER_DELIVERED);
}

static void
test_takes_content_by_descriptor(void **state)
{
	struct fixture *f = *state;
	struct ipc_deliver_job job = { .id = 9, .sender = SPAN(""), .size = 200000 };
	struct ipc_deliver_rcpt rcpt = { .id = 9, .address = SPAN("bob@example.test"), .home = SPAN("example.test/bob") };
	int fd = memfd_create("content", MFD_CLOEXEC);
	char *text = malloc(300000), *back = malloc(300000);

	memset(text, 'x', 200100);
	memcpy(text + 100, "A: b\r\n\r\n", 8);
	assert_int_equal(pwrite(fd, text, 200100, 0), 200100);
	assert_true(ipc_send_deliver_job(f->queue, &job));
	assert_true(ipc_send_deliver_rcpt(f->queue, &rcpt));
	assert_true(ipc_send_deliver_content_fd(f->queue, &(struct ipc_deliver_content_fd){ .id = 9, .offset = 100, .size = 200000 }, fd));
	turn_until(f, 1);
	assert_int_equal(f->results[0].outcome, DELIVER_DELIVERED);
	read_new(f, "example.test/bob", back, 300000);
	assert_memory_equal(back, "Return-Path: <>\r\nDelivered-To: bob@example.test\r\nA: b\r\n\r\nxxx", 60);
	assert_int_equal(strlen(back), 49 + 200000);
	free(text);
	free(back);
}

static void
test_refused_owner_defers(void **state)
{
	struct fixture *f = *state;

	f->refuse = true;
	send_job(f, 7, bob, "\r\nhello\r\n");
	turn_until(f, 1);
	assert_int_equal(f->results[0].outcome, DELIVER_DEFERRED);
	assert_string_equal(f->results[0].code, "4.3.0");
	assert_int_equal(f->health, DELIVER_UNTRIED);
	f->refuse = false;
	send_job(f, 8, bob, "\r\nhello\r\n");
	turn_until(f, 2);
	assert_int_equal(f->results[1].outcome, DELIVER_DELIVERED);
}

static void
test_dead_deliverd_defers_what_it_had(void **state)
{
	struct fixture *f = *state;

	f->hold = true;
	send_job(f, 7, bob, "\r\nhello\r\n");
	for (int i = 0; i < 20; i++)
		(void)loop_turn(f->loop, 5);
	assert_int_equal(f->nresults, 0);
	f->hold = false;
	(void)close(f->held);
	f->held = -1;
	turn_until(f, 1);
	assert_int_equal(f->results[0].outcome, DELIVER_DEFERRED);
	assert_true(f->results[0].maybe_done);
	send_job(f, 8, bob, "\r\nhello\r\n");
	turn_until(f, 2);
	assert_int_equal(f->results[1].outcome, DELIVER_DELIVERED);
}

static void
test_refuses_paths_outside(void **state)
{
	struct fixture *f = *state;
	static const char *const homes[] = { "../x", "a//b", "/etc", "a/../b", ".", "a/./b" };

	for (size_t i = 0; i < sizeof(homes) / sizeof(*homes); i++) {
		struct ipc_deliver_rcpt rcpt = { .id = i, .address = SPAN("bob@example.test"), .home = span_str(homes[i]) };

		assert_true(ipc_send_deliver_job(f->queue, &(struct ipc_deliver_job){ .id = i }));
		assert_true(ipc_send_deliver_rcpt(f->queue, &rcpt));
		assert_true(ipc_send_deliver_content(f->queue, &(struct ipc_deliver_content){ .id = i, .bytes = SPAN("\r\n") }));
		turn_until(f, (unsigned)i + 1);
		assert_int_equal(f->results[i].outcome, DELIVER_FAILED);
	}
}

/* Each to a user with a uid of his own, the home's name. */
static void
send_to_uids(struct fixture *f, uint64_t id, uint32_t lo, uint32_t hi)
{
	struct ipc_deliver_job job = { .id = id, .sender = SPAN(""), .size = 2 };
	char home[40];

	assert_true(ipc_send_deliver_job(f->queue, &job));
	for (uint32_t uid = lo; uid <= hi; uid++) {
		struct ipc_deliver_rcpt rcpt = { .id = id, .index = uid - lo, .address = SPAN("bob@example.test"), .uid = uid, .gid = uid };

		(void)snprintf(home, sizeof(home), "example.test/u%u", uid);
		rcpt.home = span_str(home);
		assert_true(ipc_send_deliver_rcpt(f->queue, &rcpt));
	}
	assert_true(ipc_send_deliver_content(f->queue, &(struct ipc_deliver_content){ .id = id, .bytes = SPAN("\r\n") }));
}

static void
turn_for(struct fixture *f, int64_t ms)
{
	for (int64_t end = loop_now_ms(f->loop) + ms; loop_now_ms(f->loop) < end;)
		(void)loop_turn(f->loop, 5);
}

static void
test_no_more_deliverds_at_once_than_may_be(void **state)
{
	struct fixture *f = *state;
	struct locald *l = f->locald.state;

	l->most_open = 2;
	send_to_uids(f, 1, 1001, 1010);
	for (int i = 0; i < 1000 && f->done < 1; i++) {
		(void)loop_turn(f->loop, 10);
		assert_true(l->nopen <= 2);
	}
	assert_int_equal(f->nresults, 10);
	for (unsigned i = 0; i < f->nresults; i++)
		assert_int_equal(f->results[i].outcome, DELIVER_DELIVERED);
	assert_int_equal(f->questions, 10);
	assert_int_equal(l->owners.count, 2); /* who has nothing to do is forgotten */
	f->nresults = 0;
	send_to_uids(f, 2, 1010, 1010); /* the last is there */
	turn_until(f, 2);
	assert_int_equal(f->questions, 10);
}

static void
test_an_idle_deliverd_is_let_go(void **state)
{
	struct fixture *f = *state;
	struct locald *l = f->locald.state;

	l->rest_ms = 1000;
	send_to_uids(f, 1, 1001, 1003);
	turn_until(f, 1);
	turn_for(f, 700);
	send_to_uids(f, 2, 1002, 1002);
	turn_until(f, 2);
	for (int i = 0; i < 1000 && l->owners.count > 1; i++)
		(void)loop_turn(f->loop, 10);
	assert_non_null(map_get_u64(&l->owners, (uint64_t)1002 << 32 | 1002)); /* who had something to do meanwhile */
	assert_int_equal(f->idle, 0); /* of this deliverd, which has three peers here */
	for (int i = 0; i < 1000 && !f->idle; i++)
		(void)loop_turn(f->loop, 10);
	assert_int_equal(l->owners.count, 0);
	assert_int_equal(l->nopen, 0);
	assert_int_equal(f->idle, 3);
	assert_false(timer_running(&l->rest));
	send_to_uids(f, 3, 1002, 1002);
	turn_until(f, 3);
	assert_int_equal(f->questions, 4);
}

static void
test_makes_a_removed_mailbox_anew(void **state)
{
	struct fixture *f = *state;
	char command[200], text[1000];

	send_job(f, 1, bob, "\r\none\r\n");
	turn_until(f, 1);
	(void)snprintf(command, sizeof(command), "rm -rf %s/example.test/bob", f->dir);
	assert_int_equal(system(command), 0);
	send_job(f, 2, bob, "\r\ntwo\r\n");
	turn_until(f, 2);
	assert_int_equal(f->results[1].outcome, DELIVER_DELIVERED);
	read_new(f, "example.test/bob", text, sizeof(text));
	assert_non_null(strstr(text, "two"));
}

static int
descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Uses the homes u0 to u(n-1), one after the other. */
static void
visit(struct homes *h, int n, bool limited)
{
	const struct quota limit = { .size = 1 << 20 };

	for (int i = 0; i < n; i++) {
		char name[32];
		struct fail why;
		struct home *at;

		(void)snprintf(name, sizeof(name), "example.test/u%d", i);
		if (!(at = homes_use(h, span_str(name), SPAN_NONE, &why)))
			fail_msg("%s: %s", name, why.text);
		if (limited)
			assert_true(quota_load(&at->quota, &limit) || quota_count(&at->quota, &limit, &why));
		homes_unuse(h, at);
	}
}

static void
test_idle_homes_leave_descriptors_to_others(void **state)
{
	struct fixture *f = *state;
	struct rlimit before, few;
	struct homes h;
	struct fail why;
	int used;

	homes_init(&h);
	assert_true(homes_open(&h, span_str(f->dir), &why));
	used = descriptors();
	visit(&h, 20, true);
	visit(&h, 20, true);
	assert_int_equal(h.nidle, 20);
	assert_int_equal(descriptors() - used, 20);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){ (rlim_t)used + 50, before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	visit(&h, 100, false);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	homes_close(&h);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_delivers_with_trace_lines),
		T(test_cuts_loops),
		T(test_takes_content_by_descriptor),
		T(test_refused_owner_defers),
		T(test_dead_deliverd_defers_what_it_had),
		T(test_refuses_paths_outside),
		T(test_no_more_deliverds_at_once_than_may_be),
		T(test_an_idle_deliverd_is_let_go),
		T(test_makes_a_removed_mailbox_anew),
		T(test_idle_homes_leave_descriptors_to_others),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
