/* SPDX-License-Identifier: ISC
 *
 * Channels to siblings that cannot be had at once: the parent is asked for another.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "ipc/channel_sync.h"
#include "service/handed.h"
#include "service/service.h"

static unsigned opened;

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
	(void)s, (void)c, (void)peer, (void)instance;
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_channel_that_cannot_be_had_is_asked_for_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
