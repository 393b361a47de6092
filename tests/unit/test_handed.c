/* SPDX-License-Identifier: ISC
 *
 * Channels that cannot be had at once: of one to a sibling the parent is asked for another, one at a control socket waits.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "ipc/channel_sync.h"
#include "ipc/control.h"
#include "net/listener.h"
#include "service/control.h"
#include "service/early.h"
#include "service/handed.h"
#include "service/launch.h"
#include "service/lookup.h"
#include "service/service.h"
#include "tests/unit/no_memory.h"

static unsigned opened, heard;
static struct channel *last;
static unsigned countdown; /* the allocation that fails: 1 is the next one; 0: none */

static bool
memory_fails(void)
{
	return countdown && --countdown == 0;
}

static bool
dispatch(struct channel *c, unsigned type, const void *m, int fd)
{
	(void)c, (void)type, (void)m, (void)fd;
	heard++;
	return true;
}

static void
on_closed(struct channel *c, const struct fail *why)
{
	(void)why;
	free(channel_owner(c));
	channel_free(&c);
}

/* As daemons do that keep something of each. */
static void
on_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	void *own = calloc(1, 100);

	(void)s, (void)peer, (void)instance;
	if (!own) {
		channel_give_up(&c);
		return;
	}
	channel_set_owner(c, own);
	last = c;
	opened++;
}

static const struct channel_ops ops = { dispatch, on_closed, NULL };

static void
test_a_channel_that_cannot_be_had_is_asked_for_again(void **state)
{
	const struct service_channel auth = { &ipc_channel_auth, CHANNEL_CLIENT, &ops, on_open };
	const struct ipc_ctl_peer peer = { .channel = SPAN("auth"), .client = true, .name = SPAN("authd"), .instance = 3 };
	struct service s = { .name = "imapd", .loop = loop_new() };
	const struct ipc_ctl_broken *said;
	struct channel_sync *ruler;
	const void *m;
	struct fail why;
	unsigned type;
	int fds[2];

	(void)state;
	list_init(&s.siblings);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	s.ruler = channel_new(s.loop, fds[0], &ipc_channel_ctl, CHANNEL_SERVER, &ops, &s);
	ruler = channel_sync_new(fds[1], &ipc_channel_ctl, CHANNEL_CLIENT, &why);
	handed_sibling(&s, &auth, open("/dev/null", O_RDWR | O_CLOEXEC), &peer); /* the kernel watches no such descriptor */
	assert_int_equal(opened, 0);
	for (int i = 0; i < 3; i++)
		(void)loop_turn(s.loop, 0);
	assert_true(channel_sync_recv(ruler, &type, &m, NULL, 1000, &why));
	assert_int_equal(type, IPC_ctl_broken);
	said = m;
	assert_true(span_eq(said->channel, SPAN("auth")) && span_eq(said->name, SPAN("authd")) && said->client && said->instance == 3);
	channel_sync_free(&ruler);
	channel_free(&s.ruler);
	loop_free(&s.loop);
}

/* Our end of a channel to authd, and the other. allocation: which fails; 0: none. */
static bool
is_heard(struct service *s, const struct service_channel *auth, const struct ipc_ctl_peer *peer, unsigned allocation)
{
	struct channel_sync *authd;
	int fds[2];
	char hello;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	authd = channel_sync_new(fds[1], &ipc_channel_auth, CHANNEL_SERVER, NULL);
	(void)channel_sync_send(authd, IPC_auth_answer, &(struct ipc_auth_answer){ .id = 1 }, -1, 0, NULL);
	heard = 0;
	countdown = allocation;
	handed_sibling(s, auth, fds[0], peer);
	for (int i = 0; i < 3; i++)
		(void)loop_turn(s->loop, 0);
	countdown = 0;
	assert_true(!heard || recv(fds[1], &hello, 1, MSG_PEEK | MSG_DONTWAIT) == 1);
	channel_sync_free(&authd);
	return heard > 0;
}

/* Whatever there is no memory for, nobody is left with a channel that is none. */
static void
test_whichever_allocation_fails_the_channel_works_or_another_is_asked_for(void **state)
{
	const struct service_channel auth = { &ipc_channel_auth, CHANNEL_CLIENT, &ops, on_open };
	const struct ipc_ctl_peer peer = { .channel = SPAN("auth"), .client = true, .name = SPAN("authd") };
	struct service s = { .name = "imapd", .loop = loop_new() };
	struct channel_sync *ruler;
	unsigned worked = 0, failed = 0, type;
	const void *m;
	int fds[2];

	(void)state;
	list_init(&s.siblings);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	s.ruler = channel_new(s.loop, fds[0], &ipc_channel_ctl, CHANNEL_SERVER, &ops, NULL);
	ruler = channel_sync_new(fds[1], &ipc_channel_ctl, CHANNEL_CLIENT, NULL);
	assert_true(is_heard(&s, &auth, &peer, 0));
	for (unsigned n = 1; worked < 3; n++) {
		bool works = is_heard(&s, &auth, &peer, n), asked;

		worked += works;
		asked = channel_sync_recv(ruler, &type, &m, NULL, 0, NULL);
		failed += asked;
		if (works == asked)
			fail_msg("allocation %u: it works: %d, another is asked for: %d", n, works, asked);
		for (int i = 0; i < 3; i++)
			(void)loop_turn(s.loop, 0);
	}
	assert_true(failed >= 4);
	channel_sync_free(&ruler);
	channel_free(&s.ruler);
	loop_free(&s.loop);
}

/* Of two, the first of which there is no memory to ask at first. */
static void
test_a_question_that_could_not_be_asked_goes_with_the_next(void **state)
{
	struct lookup one = { .type = 1 }, two = { .type = 1 };
	struct loop *loop = loop_new();
	struct channel_sync *dnsd;
	struct inquirer dns;
	const void *m;
	unsigned type;
	int fds[2];

	(void)state;
	inquirer_init(&dns, &lookup_ops);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	dnsd = channel_sync_new(fds[1], &ipc_channel_dns, CHANNEL_SERVER, NULL);
	inquirer_open(&dns, channel_new(loop, fds[0], &ipc_channel_dns, CHANNEL_CLIENT, &lookup_channel_ops, NULL));
	countdown = 1;
	assert_true(lookup_start(&dns, &one, 1, SPAN("one.test")));
	assert_int_equal(countdown, 0);
	assert_true(lookup_start(&dns, &two, 1, SPAN("two.test")));
	for (int i = 0; i < 3; i++)
		(void)loop_turn(loop, 0);
	for (int i = 0; i < 2; i++) {
		assert_true(channel_sync_recv(dnsd, &type, &m, NULL, 1000, NULL));
		assert_true(span_eq(((const struct ipc_dns_ask *)m)->name, i ? SPAN("two.test") : SPAN("one.test")));
	}
	lookup_cancel(&one);
	lookup_cancel(&two);
	inquirer_free(&dns);
	channel_sync_free(&dnsd);
	loop_free(&loop);
}

static void
test_what_there_is_no_memory_for_before_the_start_is_told(void **state)
{
	const struct ipc_ctl_peer peer = { .channel = SPAN("auth"), .client = true, .name = SPAN("authd") };
	const struct ipc_ctl_listener listener = { .name = SPAN("imap") };
	struct list early;
	bool ok;

	(void)state;
	list_init(&early);
	countdown = 1;
	ok = early_peer(&early, &peer, open("/dev/null", O_RDWR | O_CLOEXEC));
	assert_false(ok);
	countdown = 1;
	ok = early_listener(&early, &listener, open("/dev/null", O_RDWR | O_CLOEXEC));
	assert_false(ok);
	assert_true(list_empty(&early));
}

static void
test_a_program_that_there_is_no_memory_to_launch_leaves_nothing_open(void **state)
{
	struct launch what = { .name = "locald", .config = open("/dev/null", O_RDONLY | O_CLOEXEC) };
	struct loop *loop = loop_new();
	int lowest = dup(what.config);
	struct channel *ctl;
	struct fail why;

	(void)state;
	(void)close(lowest);
	countdown = 1;
	ctl = launch_daemon(loop, &what, &ops, NULL, &why);
	assert_null(ctl);
	assert_int_equal(dup(what.config), lowest);
	(void)close(lowest);
	(void)close(what.config);
	loop_free(&loop);
}

static int64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void
test_a_control_socket_rests_while_there_are_no_descriptors(void **state)
{
	const struct service_channel view = { &ipc_channel_queue_view, CHANNEL_SERVER, &ops, on_open };
	struct service s = { .name = "queued", .loop = loop_new() };
	char dir[] = "/tmp/pp-handed-XXXXXX", path[64];
	struct channel_sync *tool;
	struct rlimit before, none;
	struct list controls;
	int64_t since;
	struct fail why;

	(void)state;
	opened = 0;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/view", dir);
	list_init(&controls);
	control_open(&controls, &s, &view, control_listen(path, 0600, &why));
	tool = channel_sync_connect(path, &ipc_channel_queue_view, &why);
	assert_non_null(tool);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	(void)loop_turn(s.loop, 0);
	since = now_ms();
	for (int i = 0; i < 3; i++)
		(void)loop_turn(s.loop, 20);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_true(now_ms() - since >= 50);
	assert_int_equal(opened, 0);
	while (!opened && now_ms() - since < 5000)
		(void)loop_turn(s.loop, 20);
	assert_int_equal(opened, 1);
	control_close(&controls);
	ops.on_closed(last, NULL);
	channel_sync_free(&tool);
	loop_free(&s.loop);
	(void)unlink(path);
	(void)rmdir(dir);
}

static void
on_accept(struct listener *l, int fd, const struct netaddr *peer)
{
	(void)l, (void)peer, (void)close(fd);
	opened++;
}

/* In the place of a kernel that has no memory to watch it: a file that it never watches. */
static void
try_to_listen(bool resumed)
{
	char dir[] = "/tmp/pp-handed-XXXXXX", path[64];
	struct loop *loop = loop_new();
	int fd, kept, null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct channel_sync *tool;
	struct listener l;
	struct fail why;
	int64_t since = now_ms();

	opened = 0;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/view", dir);
	fd = control_listen(path, 0600, &why);
	kept = dup(fd);
	if (resumed) {
		assert_true(listener_open(&l, loop, fd, on_accept));
		listener_pause(&l);
	}
	assert_int_equal(dup2(null, fd), fd);
	if (resumed)
		listener_resume(&l);
	else
		assert_true(listener_open(&l, loop, fd, on_accept));
	assert_int_equal(dup2(kept, fd), fd);
	tool = channel_sync_connect(path, &ipc_channel_queue_view, &why);
	assert_non_null(tool);
	while (!opened && now_ms() - since < 2000)
		(void)loop_turn(loop, 20);
	assert_int_equal(opened, 1);
	channel_sync_free(&tool);
	listener_close(&l);
	(void)close(kept);
	(void)close(null);
	loop_free(&loop);
	(void)unlink(path);
	(void)rmdir(dir);
}

static void
test_a_listener_that_cannot_be_watched_now_is_later(void **state)
{
	(void)state;
	try_to_listen(true);
	try_to_listen(false);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_channel_that_cannot_be_had_is_asked_for_again),
		cmocka_unit_test(test_whichever_allocation_fails_the_channel_works_or_another_is_asked_for),
		cmocka_unit_test(test_a_question_that_could_not_be_asked_goes_with_the_next),
		cmocka_unit_test(test_what_there_is_no_memory_for_before_the_start_is_told),
		cmocka_unit_test(test_a_program_that_there_is_no_memory_to_launch_leaves_nothing_open),
		cmocka_unit_test(test_a_control_socket_rests_while_there_are_no_descriptors),
		cmocka_unit_test(test_a_listener_that_cannot_be_watched_now_is_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
