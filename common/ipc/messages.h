/* SPDX-License-Identifier: ISC
 *
 * Every message of every channel as a struct, a type number and a typed
 * send function, made from the rows of all.def.
 *
 *   struct ipc_CHANNEL_MESSAGE                what handlers get and senders fill
 *   IPC_CHANNEL_MESSAGE                       its number on the wire
 *   ipc_send_CHANNEL_MESSAGE(c, &m[, fd])     queues it; see channel_send()
 *   ipc_channel_CHANNEL                       the channel's table
 */
#ifndef IPC_MESSAGES_H
#define IPC_MESSAGES_H

#include "desc/desc.h"
#include "ipc/bounds.h"
#include "ipc/channel.h"

/* structs */
#define CHANNEL(ch, client, server, doc)
#define MESSAGE(ch, msg, dir, fds, from, next, doc) struct ipc_##ch##_##msg {
#define FIELD(ch, msg, kind, name, bound, doc) desc_##kind##_type name;
#define END(ch, msg) };
#define END_CHANNEL(ch)
#include "ipc/all.def"
#undef CHANNEL
#undef MESSAGE
#undef FIELD
#undef END
#undef END_CHANNEL

/* numbers and tables */
#define CHANNEL(ch, client, server, doc) enum ipc_##ch##_message {
#define MESSAGE(ch, msg, dir, fds, from, next, doc) IPC_##ch##_##msg,
#define FIELD(ch, msg, kind, name, bound, doc)
#define END(ch, msg)
#define END_CHANNEL(ch)             \
	IPC_##ch##_COUNT            \
	}                           \
	;                           \
	extern const struct ipc_channel ipc_channel_##ch;
#include "ipc/all.def"
#undef CHANNEL
#undef MESSAGE
#undef FIELD
#undef END
#undef END_CHANNEL

/* typed sending */
#define IPC_SEND_0(ch, msg) \
	static inline bool ipc_send_##ch##_##msg(struct channel *c, const struct ipc_##ch##_##msg *m) { return channel_send(c, IPC_##ch##_##msg, m, -1); }
#define IPC_SEND_1(ch, msg) \
	static inline bool ipc_send_##ch##_##msg(struct channel *c, const struct ipc_##ch##_##msg *m, int fd) { return channel_send(c, IPC_##ch##_##msg, m, fd); }
#define CHANNEL(ch, client, server, doc)
#define MESSAGE(ch, msg, dir, fds, from, next, doc) IPC_SEND_##fds(ch, msg)
#define FIELD(ch, msg, kind, name, bound, doc)
#define END(ch, msg)
#define END_CHANNEL(ch)
#include "ipc/all.def"
#undef CHANNEL
#undef MESSAGE
#undef FIELD
#undef END
#undef END_CHANNEL
#undef IPC_SEND_0
#undef IPC_SEND_1

#endif
