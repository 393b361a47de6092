/* SPDX-License-Identifier: ISC
 *
 * frame: the wire form shared by channel.c (loop) and channel_sync.c (tools):
 * frames within a packet, the hello, and the checks on what a peer sent.
 */
#ifndef IPC_FRAME_H
#define IPC_FRAME_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/cursor.h"
#include "ipc/bounds.h"
#include "ipc/channel.h"

enum {
	FRAME_HEADER = 8,
	FRAME_HELLO = 0xffff, /* type of the first frame: ipc_build_hash() */
	FRAME_FDS = 16,       /* most descriptors in one packet */
};

struct frame {
	unsigned type;
	unsigned fds;
	struct span body;
};

/* Large enough and aligned for every message struct. */
union frame_message {
	uint64_t align;
	unsigned char bytes[512];
};

void frame_put_hello(struct buf *out);
/* Appends a frame; false if a field breaks its bound (out is as before). */
bool frame_put(struct buf *out, const struct ipc_channel *type, unsigned msg, const void *m, unsigned fds, size_t limit, bool *full);
/* The next frame of a packet; false when malformed. */
bool frame_take(struct cursor *packet, struct frame *f);
/* Checks type, direction, descriptors and decodes; NULL and *why on a violation. */
const struct ipc_message *frame_decode(const struct ipc_channel *type, enum channel_side side, const struct frame *f,
    union frame_message *m, struct fail *why);
bool frame_check_hello(const struct frame *f, struct fail *why);

/* sendmsg(2)/recvmsg(2) with descriptors. Results as theirs; received ones are close-on-exec. */
ssize_t frame_send(int fd, struct span packet, const int *fds, unsigned nfds, int flags);
ssize_t frame_recv(int fd, char *packet, size_t size, int *fds, unsigned *nfds, bool *truncated);

#endif
