/* SPDX-License-Identifier: ISC
 *
 * What suited asks of maild: the answer to one question is never taken for
 * that to another.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemons/suited/suite.h"

enum { WAIT_MS = 10000 };

static bool
nothing(struct channel *c, unsigned type, const void *m, int fd)
{
	(void)c, (void)type, (void)m, (void)fd;
	return true;
}

static void
on_closed(struct channel *c, const struct fail *why)
{
	(void)c, (void)why;
}

static const struct channel_ops ops = { nothing, on_closed, NULL };

/* The next channel that suited lends, and the question that comes over it. */
static struct channel_sync *
question(struct channel_sync *root, char path[B_PATH])
{
	struct channel_sync *lent;
	struct fail why;
	const void *m;
	unsigned type;
	int fd = -1;

	path[0] = '\0';
	if (!channel_sync_recv(root, &type, &m, &fd, WAIT_MS, &why) || type != IPC_root_lend)
		return NULL;
	lent = channel_sync_new(fd, &ipc_channel_root, CHANNEL_SERVER, &why);
	if (lent && channel_sync_recv(lent, &type, &m, &fd, WAIT_MS, &why) && type == IPC_root_open)
		(void)span_cstr(((const struct ipc_root_open *)m)->path, path, B_PATH);
	return lent;
}

/* It has no answer to the first question, and one to the second. */
static void *
maild(void *root)
{
	struct ipc_root_given given = { .id = 0 };
	struct channel_sync *lent;
	static char path[B_PATH];
	struct fail why;

	lent = question(root, path);
	if (lent)
		channel_sync_free(&lent);
	lent = question(root, path);
	if (lent && strcmp(path, "/second") == 0)
		(void)channel_sync_send(lent, IPC_root_given, &given, open("/dev/null", O_RDONLY | O_CLOEXEC), WAIT_MS, &why);
	if (lent)
		channel_sync_free(&lent);
	return NULL;
}

static void
test_a_question_without_an_answer_spoils_no_other(void **state)
{
	static struct suite s;
	struct channel_sync *root;
	pthread_t thread;
	struct fail why;
	int fds[2], fd;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	s.loop = loop_new();
	s.root = channel_new(s.loop, fds[0], &ipc_channel_root, CHANNEL_CLIENT, &ops, &s);
	root = channel_sync_new(fds[1], &ipc_channel_root, CHANNEL_SERVER, &why);
	assert_true(s.root && root);
	assert_int_equal(pthread_create(&thread, NULL, maild, root), 0);
	assert_int_equal(ask_file(&s, SPAN("/first"), false, &why), -1);
	fd = ask_file(&s, SPAN("/second"), false, &why);
	(void)pthread_join(thread, NULL);
	assert_true(fd >= 0);
	(void)close(fd);
	channel_sync_free(&s.asks);
	channel_sync_free(&root);
	channel_free(&s.root);
	loop_free(&s.loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_question_without_an_answer_spoils_no_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
