/* SPDX-License-Identifier: ISC
 *
 * channel: one end of a SOCK_SEQPACKET pair between two programs of the suite.
 *
 * Messages are described by tables (all.def) and arrive checked: known type,
 * right direction, every bound, exact number of descriptors.  Anything else is a
 * violation and closes the channel.  The first packet in each direction carries a hash
 * over all rows: a program from another build does not join.
 *
 * Wire: a packet of at most IPC_PACKET_MAX bytes is a run of frames: type u16, descriptors u16,
 * length u32, then the message in desc's binary form.  What is sent within one
 * turn of the loop shares packets, so load makes batches and idleness none.
 */
#ifndef IPC_CHANNEL_H
#define IPC_CHANNEL_H

#include "base/fail.h"
#include "desc/desc.h"
#include "sys/loop.h"

enum ipc_direction { TO_SERVER, TO_CLIENT };

/* States of a conversation. */
enum ipc_state { CONV_NONE = 1, CONV_OPEN = 2, CONV_BODY = 4, CONV_WAIT = 8 };

struct ipc_message {
	struct desc desc;
	enum ipc_direction direction;
	unsigned fds;  /* 0 or 1 */
	unsigned from; /* set of enum ipc_state */
	enum ipc_state next;
};

struct ipc_channel {
	const char *name, *client, *server, *meaning;
	const struct ipc_message *messages;
	size_t nmessages;
};

extern const struct ipc_channel *const ipc_channels[]; /* ends with NULL */
const struct ipc_channel *ipc_channel_named(struct span name); /* NULL: none */
uint64_t ipc_build_hash(void);

enum channel_side { CHANNEL_SERVER, CHANNEL_CLIENT };

struct channel;

struct channel_ops {
	/* Made by ipc/dispatch.h. False: the peer broke the rules. */
	bool (*dispatch)(struct channel *c, unsigned type, const void *m, int fd);
	/* The peer is gone, or was closed for a violation (FAIL_PEER).  Called once, from the
	 * loop, never from within channel_send(); the channel accepts no more and its owner frees
	 * it, here or later. */
	void (*on_closed)(struct channel *c, const struct fail *why);
	/* The backlog has fallen below CHANNEL_LOW after channel_congested() was true, or all of it is
	 * gone after channel_blocked() was. May be NULL. */
	void (*on_drained)(struct channel *c);
};

enum {
	CHANNEL_LOW = 256 * 1024,      /* bytes of backlog at which senders may go on */
	CHANNEL_HIGH = 1024 * 1024,    /* at which they should stop */
	CHANNEL_MAX = 16 * 1024 * 1024 /* at which channel_send() refuses */
};

/* Takes the descriptor (closed by channel_free). NULL: no memory. */
struct channel *channel_new(struct loop *loop, int fd, const struct ipc_channel *type, enum channel_side side,
    const struct channel_ops *ops, void *owner);
void channel_free(struct channel **c); /* what was not sent is dropped; allowed within its own handlers */
/* In a copy of the process: frees it, but leaves its descriptor alone, which is another's by now, and its input (wiped),
 * lest the copy's own data fill a hole of that size among pages that it shares. */
void channel_forget(struct channel **c);
/* Frees one that there is no memory to go on with; its note is told as of a violation. */
void channel_give_up(struct channel **c);
/* The descriptor of a channel that has neither sent nor received yet, copied: for a
 * channel_sync that takes its place. -1: no descriptor to be had. */
int channel_copy_fd(const struct channel *c);
void *channel_owner(const struct channel *c);
void channel_set_owner(struct channel *c, void *owner);
struct loop *channel_loop(const struct channel *c);
const struct ipc_channel *channel_type(const struct channel *c);
bool channel_is_open(const struct channel *c);

/* What somebody beside the owner has to do with a channel. */
struct channel_note {
	/* The peer breaks the rules, or there is no memory for what it says: called once, before on_closed; the channel
	 * is still there and is not to be freed. */
	void (*on_violation)(struct channel *c, struct channel_note *note);
	void (*on_freed)(struct channel_note *note); /* the channel is gone */
};

/* One note; it stays until on_freed. */
void channel_set_note(struct channel *c, struct channel_note *note);

/* Queues a message for the end of this turn.  Takes fd (closed even on failure).
 * False: the channel is closed, its backlog is at CHANNEL_MAX, or a field breaks its own bound. */
bool channel_send(struct channel *c, unsigned type, const void *m, int fd);
bool channel_congested(const struct channel *c);
/* The kernel takes no more now.  For a sender of much that others should not stand behind: what it sends
 * only while this is false never waits here. */
bool channel_blocked(struct channel *c);
bool channel_flush(struct channel *c); /* tries to send now; true when nothing is left */

/* Handles at once what the peer has sent so far, for an owner who learns elsewhere
 * that something must be there. Not from this channel's own handlers. */
void channel_catch_up(struct channel *c);
/* Whether the peer has sent what no handler has seen yet, or is gone. */
bool channel_unread(const struct channel *c);
/* For one of thousands that are quiet for hours: it has a buffer only while it is read from. */
void channel_slim(struct channel *c);

/* Sends all that is queued, waiting if need be, up to timeout_ms: for a last
 * word before exit. */
bool channel_drain(struct channel *c, int timeout_ms);

/* Checks that type may come in *state (of one conversation, CONV_NONE at birth) and
 * moves *state on; false is a violation. */
bool channel_step(const struct channel *c, unsigned type, uint8_t *state);

#endif
