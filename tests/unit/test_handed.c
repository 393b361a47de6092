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
#include "service/control.h"
#include "service/handed.h"
#include "service/service.h"

static unsigned opened;
static struct channel *last;

static bool
dispatch(struct channel *c, unsigned type, const void *m, int fd)
{
	(void)c, (void)type, (void)m, (void)fd;
	return true;
}

static void
on_closed(struct channel *c, const struct fail *why)
{
	(void)c, (void)why;
}

static void
on_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	(void)s, (void)peer, (void)instance;
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
	channel_free(&last);
	channel_sync_free(&tool);
	loop_free(&s.loop);
	(void)unlink(path);
	(void)rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_channel_that_cannot_be_had_is_asked_for_again),
		cmocka_unit_test(test_a_control_socket_rests_while_there_are_no_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
