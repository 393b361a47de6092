/* SPDX-License-Identifier: ISC */
#include "ipc/channel_sync.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ipc/frame.h"

struct channel_sync {
	int fd;
	const struct ipc_channel *type;
	enum channel_side side;
	bool greeted;
	struct buf out;
	struct cursor packet; /* what is left of the packet in in[] */
	int fds[FRAME_FDS];
	unsigned nfds, used;
	union frame_message message;
	char in[IPC_PACKET_MAX];
};

struct channel_sync *
channel_sync_new(int fd, const struct ipc_channel *type, enum channel_side side, struct fail *why)
{
	struct channel_sync *c = calloc(1, sizeof(*c));

	if (!c) {
		(void)fail_errno(why, 0, "channel %s", type->name);
		(void)close(fd);
		return NULL;
	}
	c->fd = fd;
	c->type = type;
	c->side = side;
	c->packet = cursor_of(SPAN_NONE);
	buf_init(&c->out, IPC_PACKET_MAX);
	frame_put_hello(&c->out); /* goes out with the first message */
	return c;
}

struct channel_sync *
channel_sync_connect(const char *path, const struct ipc_channel *type, struct fail *why)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0 || !span_cstr(span_str(path), to.sun_path, sizeof(to.sun_path)) ||
	    connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		(void)fail_errno(why, 0, "%s", path);
		if (fd >= 0)
			(void)close(fd);
		return NULL;
	}
	return channel_sync_new(fd, type, CHANNEL_CLIENT, why);
}

void
channel_sync_free(struct channel_sync **at)
{
	struct channel_sync *c = *at;

	if (!c)
		return;
	while (c->used < c->nfds)
		(void)close(c->fds[c->used++]);
	buf_wipe(&c->out);
	(void)close(c->fd);
	explicit_bzero(c->in, sizeof(c->in));
	free(c);
	*at = NULL;
}

static bool
wait_for(int fd, short events, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n;

	do
		n = poll(&p, 1, timeout_ms);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		errno = ETIMEDOUT;
	return n > 0;
}

bool
channel_sync_send(struct channel_sync *c, unsigned type, const void *m, int fd, int timeout_ms, struct fail *why)
{
	bool full, ok = frame_put(&c->out, c->type, type, m, fd >= 0 ? 1 : 0, IPC_PACKET_MAX, &full);
	ssize_t n = -1;

	if (!ok)
		(void)fail_set(why, FAIL_PERM, 0, "%s: a value is over its bound", c->type->messages[type].desc.name);
	while (ok && n < 0) {
		n = frame_send(c->fd, buf_span(&c->out), &fd, fd >= 0 ? 1 : 0, MSG_DONTWAIT);
		if (n < 0 && errno != EINTR && !((errno == EAGAIN || errno == ENOBUFS) && wait_for(c->fd, POLLOUT, timeout_ms)))
			ok = fail_errno(why, 0, "channel %s: send", c->type->name);
	}
	if (ok)
		buf_reset(&c->out);
	if (fd >= 0)
		(void)close(fd);
	return ok;
}

static bool
next_packet(struct channel_sync *c, int timeout_ms, struct fail *why)
{
	bool truncated = false;
	ssize_t n;

	while (c->used < c->nfds)
		(void)close(c->fds[c->used++]);
	c->used = 0;
	c->nfds = 0;
	if (!wait_for(c->fd, POLLIN, timeout_ms))
		return fail_errno(why, 0, "channel %s: no answer", c->type->name);
	do
		n = frame_recv(c->fd, c->in, sizeof(c->in), c->fds, &c->nfds, &truncated);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return fail_errno(why, 0, "channel %s: receive", c->type->name);
	if (n == 0 || truncated)
		return fail_set(why, FAIL_PEER, 0, "channel %s: the peer closed it", c->type->name);
	c->packet = cursor_of(span_of(c->in, (size_t)n));
	return true;
}

bool
channel_sync_recv(struct channel_sync *c, unsigned *type, const void **m, int *fd, int timeout_ms, struct fail *why)
{
	const struct ipc_message *msg;
	struct frame f;

	do {
		while (cursor_end(&c->packet))
			if (!next_packet(c, timeout_ms, why))
				return false;
		if (!frame_take(&c->packet, &f) || f.fds > c->nfds - c->used)
			return fail_set(why, FAIL_PEER, 0, "channel %s: malformed packet", c->type->name);
		if (c->greeted)
			break;
		if (!frame_check_hello(&f, why))
			return false;
		c->greeted = true;
	} while (true);
	msg = frame_decode(c->type, c->side, &f, &c->message, why);
	if (!msg)
		return false;
	if (msg->fds) {
		if (!fd)
			return fail_set(why, FAIL_PEER, 0, "%s: unexpected descriptor", msg->desc.name);
		*fd = c->fds[c->used++];
	} else if (fd) {
		*fd = -1;
	}
	*type = f.type;
	*m = &c->message;
	return true;
}

bool
channel_sync_ready(const struct channel_sync *c)
{
	return !cursor_end(&c->packet);
}
