/* SPDX-License-Identifier: ISC
 *
 * Makes the typed dispatch of one channel for one side; no include guard.
 *
 *   #define DISPATCH_DEF "ipc/intake.def"
 *   #define DISPATCH_SIDE SERVER            (or CLIENT)
 *   #include "ipc/dispatch.h"
 *
 * gives `static bool dispatch_intake(struct channel *, unsigned, const void *, int)` for struct
 * channel_ops, which calls, for each message that comes to this side,
 *   bool on_intake_open(struct channel *c, const struct ipc_intake_open *m)      without,
 *   bool on_ctl_boot(struct channel *c, const struct ipc_ctl_boot *m, int fd)    with a descriptor,
 * which must be defined above: a missing handler does not compile.  A handler
 * owns its fd; its spans live until it returns; false is a violation by the peer.
 */
#define DISPATCH_FD_0
#define DISPATCH_FD_1 , fd
#define DISPATCH_SERVER_TO_SERVER(ch, msg, fds) case IPC_##ch##_##msg: return on_##ch##_##msg(c, m DISPATCH_FD_##fds);
#define DISPATCH_SERVER_TO_CLIENT(ch, msg, fds)
#define DISPATCH_CLIENT_TO_CLIENT(ch, msg, fds) case IPC_##ch##_##msg: return on_##ch##_##msg(c, m DISPATCH_FD_##fds);
#define DISPATCH_CLIENT_TO_SERVER(ch, msg, fds)
#define DISPATCH_PASTE2(side, dir, ch, msg, fds) DISPATCH_##side##_##dir(ch, msg, fds)
#define DISPATCH_PASTE(side, dir, ch, msg, fds) DISPATCH_PASTE2(side, dir, ch, msg, fds)

#define CHANNEL(ch, client, server, doc)                                                           \
	static bool dispatch_##ch(struct channel *c, unsigned type, const void *m, int fd)         \
	{                                                                                          \
		(void)c, (void)m, (void)fd;                                                        \
		switch (type) {
#define MESSAGE(ch, msg, dir, fds, from, next, doc) DISPATCH_PASTE(DISPATCH_SIDE, dir, ch, msg, fds)
#define FIELD(ch, msg, kind, name, bound, doc)
#define END(ch, msg)
#define END_CHANNEL(ch)                \
		default:               \
			return false;  \
		}                      \
	}
#include DISPATCH_DEF
#undef CHANNEL
#undef MESSAGE
#undef FIELD
#undef END
#undef END_CHANNEL
#undef DISPATCH_FD_0
#undef DISPATCH_FD_1
#undef DISPATCH_SERVER_TO_SERVER
#undef DISPATCH_SERVER_TO_CLIENT
#undef DISPATCH_CLIENT_TO_CLIENT
#undef DISPATCH_CLIENT_TO_SERVER
#undef DISPATCH_PASTE
#undef DISPATCH_PASTE2
#undef DISPATCH_DEF
#undef DISPATCH_SIDE
