/* SPDX-License-Identifier: ISC */
#include <sys/socket.h>
#include <unistd.h>

#include "daemons/suited/suite.h"

enum { ANSWER_MS = 30000 };

static bool
ask_channel(struct suite *s, struct fail *why)
{
	struct ipc_root_lend lend = { .all = true };
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return fail_errno(why, 0, "socketpair");
	s->asks = channel_sync_new(fds[0], &ipc_channel_root, CHANNEL_CLIENT, why);
	if (!ipc_send_root_lend(s->root, &lend, fds[1]) || !channel_flush(s->root))
		return fail_set(why, FAIL_TEMP, 0, "maild takes no questions");
	return s->asks != NULL;
}

bool
ask(struct suite *s, unsigned type, const void *m, int *fd, struct fail *why)
{
	const struct ipc_root_done *done;
	const void *answer;
	unsigned got;

	if (!s->asks && !ask_channel(s, why))
		return false;
	if (!channel_sync_send(s->asks, type, m, -1, ANSWER_MS, why) || !channel_sync_recv(s->asks, &got, &answer, fd, ANSWER_MS, why)) {
		channel_sync_free(&s->asks); /* else the next question would get this one's answer, when it comes */
		return false;
	}
	if (got == IPC_root_given)
		return true;
	done = answer;
	if (got != IPC_root_done)
		return fail_set(why, FAIL_PEER, 0, "maild gave a strange answer");
	return done->ok || fail_set(why, FAIL_TEMP, 0, "%.*s", SPAN_ARG(span_sub(done->why, 0, 200)));
}

int
ask_file(struct suite *s, struct span path, bool log, struct fail *why)
{
	int fd = -1;

	return ask(s, IPC_root_open, &(struct ipc_root_open){ .path = path, .log = log }, &fd, why) ? fd : -1;
}

int
ask_control(struct suite *s, const char *path, mode_t mode, struct fail *why)
{
	int fd = -1;

	return ask(s, IPC_root_listen, &(struct ipc_root_listen){ .path = span_str(path), .mode = (uint32_t)mode }, &fd, why) ? fd : -1;
}
