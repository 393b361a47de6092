/* SPDX-License-Identifier: ISC
 *
 * Handlers for messages that the channel's table allows but that this side never
 * asks for, so that whoever sends one breaks the rules.
 */
#ifndef IPC_REFUSE_H
#define IPC_REFUSE_H

#include <unistd.h>

#include "ipc/messages.h"

#define REFUSE(ch, msg)                                                          \
	static bool                                                              \
	on_##ch##_##msg(struct channel *c, const struct ipc_##ch##_##msg *m)     \
	{                                                                        \
		(void)c, (void)m;                                                \
		return false;                                                    \
	}
/* The same for one that carries a descriptor. */
#define REFUSE_FD(ch, msg)                                                               \
	static bool                                                                      \
	on_##ch##_##msg(struct channel *c, const struct ipc_##ch##_##msg *m, int fd)     \
	{                                                                                \
		(void)c, (void)m;                                                        \
		(void)close(fd);                                                         \
		return false;                                                            \
	}

#endif
