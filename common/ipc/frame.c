/* SPDX-License-Identifier: ISC */
#include "ipc/frame.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ipc/messages.h"

/* every message fits into union frame_message */
#define CHANNEL(ch, client, server, doc)
#define MESSAGE(ch, msg, dir, fds, from, next, doc) \
	_Static_assert(sizeof(struct ipc_##ch##_##msg) <= sizeof(union frame_message), "union frame_message is too small");
#define FIELD(ch, msg, kind, name, bound, doc)
#define END(ch, msg)
#define END_CHANNEL(ch)
#include "ipc/all.def"
#undef CHANNEL
#undef MESSAGE
#undef FIELD
#undef END
#undef END_CHANNEL

static void
put_header(struct buf *out, unsigned type, unsigned fds, size_t length)
{
	buf_le16(out, (uint16_t)type);
	buf_le16(out, (uint16_t)fds);
	buf_le32(out, (uint32_t)length);
}

void
frame_put_hello(struct buf *out)
{
	put_header(out, FRAME_HELLO, 0, 8);
	buf_le64(out, ipc_build_hash());
}

bool
frame_put(struct buf *out, const struct ipc_channel *type, unsigned msg, const void *m, unsigned fds, size_t limit, bool *full)
{
	size_t before = buf_len(out);
	char *header;
	size_t length;

	*full = false;
	put_header(out, msg, fds, 0);
	if (!desc_encode(&type->messages[msg].desc, m, out) && buf_ok(out)) {
		buf_cut(out, before);
		return false;
	}
	if (!buf_ok(out) || buf_len(out) > limit) {
		out->failed = false;
		buf_cut(out, before);
		*full = true;
		return false;
	}
	length = buf_len(out) - before - FRAME_HEADER;
	header = out->mem + out->at + before;
	for (size_t i = 0; i < 4; i++)
		header[4 + i] = (char)(length >> (8 * i) & 0xff);
	return true;
}

bool
frame_take(struct cursor *packet, struct frame *f)
{
	f->type = cursor_le16(packet);
	f->fds = cursor_le16(packet);
	f->body = cursor_bytes(packet, cursor_le32(packet));
	return packet->ok;
}

const struct ipc_message *
frame_decode(const struct ipc_channel *type, enum channel_side side, const struct frame *f, union frame_message *m, struct fail *why)
{
	enum ipc_direction ours = side == CHANNEL_SERVER ? TO_SERVER : TO_CLIENT;
	const struct desc_field *bad = NULL;
	const struct ipc_message *msg;

	if (f->type >= type->nmessages || type->messages[f->type].direction != ours) {
		(void)fail_set(why, FAIL_PEER, 0, "channel %s: message %u may not come this way", type->name, f->type);
		return NULL;
	}
	msg = &type->messages[f->type];
	if (f->fds != msg->fds) {
		(void)fail_set(why, FAIL_PEER, 0, "%s carries %u descriptors, not %u", msg->desc.name, f->fds, msg->fds);
		return NULL;
	}
	if (!desc_decode(&msg->desc, f->body, m, &bad)) {
		(void)fail_set(why, FAIL_PEER, 0, "%s: bad %s", msg->desc.name, bad ? bad->name : "length");
		return NULL;
	}
	return msg;
}

bool
frame_check_hello(const struct frame *f, struct fail *why)
{
	struct cursor c = cursor_of(f->body);

	if (f->type == FRAME_HELLO && f->fds == 0 && cursor_le64(&c) == ipc_build_hash() && c.ok)
		return true;
	(void)fail_set(why, FAIL_PEER, 0, "the peer is from another build: the suite has to be stopped and started");
	if (why)
		why->err = EPROTONOSUPPORT;
	return false;
}

ssize_t
frame_send(int fd, struct span packet, const int *fds, unsigned nfds, int flags)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FRAME_FDS * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)packet.p, .iov_len = packet.n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (nfds) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	return sendmsg(fd, &msg, flags | MSG_NOSIGNAL);
}

ssize_t
frame_recv(int fd, char *packet, size_t size, int *fds, unsigned *nfds, bool *truncated)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FRAME_FDS * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = packet, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes) };
	ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);

	*nfds = 0;
	if (n < 0)
		return n;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		size_t count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int got;

			memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (*nfds < FRAME_FDS)
				fds[(*nfds)++] = got;
			else
				(void)close(got);
		}
	}
	*truncated = (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
	return n;
}
