/* SPDX-License-Identifier: ISC
 *
 * Handlers for messages that the channel's table allows: for those that this side never asks
 * for, so that whoever sends one breaks the rules, and for those that tell it nothing.
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
#define IGNORE(ch, msg)                                                          \
	static bool                                                              \
	on_##ch##_##msg(struct channel *c, const struct ipc_##ch##_##msg *m)     \
	{                                                                        \
		(void)c, (void)m;                                                \
		return true;                                                     \
	}

/* REFUSE for one that carries a descriptor. */
#define REFUSE_FD(ch, msg)                                                               \
	static bool                                                                      \
	on_##ch##_##msg(struct channel *c, const struct ipc_##ch##_##msg *m, int fd)     \
	{                                                                                \
		(void)c, (void)m;                                                        \
		(void)close(fd);                                                         \
		return false;                                                            \
	}

#endif
