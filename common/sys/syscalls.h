/* SPDX-License-Identifier: ISC
 *
 * syscalls: the seccomp filter made of a program's promises.
 */
#ifndef SYS_SYSCALLS_H
#define SYS_SYSCALLS_H

#include "base/fail.h"

/* What a program promises to keep to: sets of system calls (seccomp).  Reading, writing,
 * memory, clocks, epoll and threads of its own are always there. */
enum {
	PROMISE_FILES = 1 << 0,  /* open, make, rename, remove and sync files, as far as the file walls allow */
	PROMISE_INET = 1 << 1,   /* IPv4 and IPv6 sockets of its own: connect, bind */
	PROMISE_UNIX = 1 << 2,   /* UNIX sockets of its own: connect */
	PROMISE_CHILDREN = 1 << 3, /* fork, become somebody else, exec: only what no daemon needs is refused */
	PROMISE_TWINS = 1 << 4, /* fork copies of itself, which raise walls of their own within its */
	PROMISE_LATER = 1 << 5, /* syscalls_prepare()'s own */
};

enum { SYSCALLS_PID_LATER = 0x70696421 }; /* in a prepared filter, where the process id will stand: no process has it */

/* A libseccomp filter of these promises, the caller's to release; NULL: it could not be made. */
void *syscalls_compile(unsigned promises);

struct syscalls_filter {
	void *code; /* owned; NULL: not prepared */
	size_t n;   /* instructions */
};

/* Limits the calling process and all its threads to the promised system calls
 * for good; *on says whether a filter stands (not in builds with sanitizers).
 * What nobody may ever do (exec, ptrace, mount, ...) kills; the rest gives EPERM. */
bool syscalls_limit(unsigned promises, bool *on, struct fail *why);
/* Compiles what syscalls_limit() will load for these promises, once for this process and its copies. */
bool syscalls_prepare(unsigned promises, struct syscalls_filter *filter, struct fail *why);
/* syscalls_limit() with such a filter. */
bool syscalls_limit_to(const struct syscalls_filter *filter, bool *on, struct fail *why);
/* The same, in every build. */
bool syscalls_enforce(unsigned promises, struct fail *why);

#endif
