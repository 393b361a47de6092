/* SPDX-License-Identifier: ISC
 *
 * channel_sync: a channel for programs without a loop (tools), and for the few
 * places that must wait for an answer (suited for maild, a front for its certificates).
 */
#ifndef IPC_CHANNEL_SYNC_H
#define IPC_CHANNEL_SYNC_H

#include "ipc/channel.h"

struct channel_sync;

/* Takes fd. NULL: no memory, or the hello could not be sent. */
struct channel_sync *channel_sync_new(int fd, const struct ipc_channel *type, enum channel_side side, struct fail *why);
/* Connects to a daemon's control socket as its client. */
struct channel_sync *channel_sync_connect(const char *path, const struct ipc_channel *type, struct fail *why);
void channel_sync_free(struct channel_sync **c);

/* Sends now (blocking up to timeout_ms). Use with IPC_CHANNEL_MESSAGE and its struct; fd is taken. */
bool channel_sync_send(struct channel_sync *c, unsigned type, const void *m, int fd, int timeout_ms, struct fail *why);
/* The next message; its spans live until the next call.  *fd (may be NULL if
 * no message of this channel carries one) is the caller's. */
bool channel_sync_recv(struct channel_sync *c, unsigned *type, const void **m, int *fd, int timeout_ms, struct fail *why);
/* One is here already, of which poll() will not tell. */
bool channel_sync_ready(const struct channel_sync *c);

#endif
