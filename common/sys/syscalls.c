/* SPDX-License-Identifier: ISC */
#include "sys/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SANITIZED
#define SANITIZED 0
#endif

static const struct {
	unsigned promise;
	int call;
} allowed[] = {
#define CALL(promise, name) { promise, SCMP_SYS(name) },
#include "sys/syscalls.def"
};

static const struct {
	int call;
	bool of_children; /* what a parent of daemons needs */
} hostile[] = {
#define HOSTILE(name) { SCMP_SYS(name), SCMP_SYS(name) == SCMP_SYS(execve) || SCMP_SYS(name) == SCMP_SYS(fork) || SCMP_SYS(name) == SCMP_SYS(vfork) || \
	SCMP_SYS(name) == SCMP_SYS(setuid) || SCMP_SYS(name) == SCMP_SYS(setresuid) || SCMP_SYS(name) == SCMP_SYS(setresgid) || \
	SCMP_SYS(name) == SCMP_SYS(setgroups) || SCMP_SYS(name) == SCMP_SYS(capset) },
#include "sys/syscalls.def"
};

/* "these bits of argument n are value", whole: the library's own macros leave a field out. */
#define ARE(n, mask, value) ((struct scmp_arg_cmp){ (n), SCMP_CMP_MASKED_EQ, (mask), (value) })

/* Several promises may share a call, and one may allow all of what another allows some of. */
static bool
added(int err)
{
	return err == 0 || err == -EEXIST;
}

/* Calls that are harmless with some arguments only. */
static bool
allow_some(scmp_filter_ctx f, unsigned promises)
{
	const scmp_datum_t self = promises & PROMISE_LATER ? SYSCALLS_PID_LATER : (scmp_datum_t)getpid();
	const struct {
		unsigned promise, argument;
		int call;
		scmp_datum_t mask, value;
	} some[] = {
#define BITS(promise, name, n, mask, value) { promise, n, SCMP_SYS(name), mask, (scmp_datum_t)(value) },
#include "sys/syscalls.def"
	};
	bool ok = true;

	for (size_t i = 0; ok && i < sizeof(some) / sizeof(some[0]); i++)
		if (some[i].promise == 0 || some[i].promise & promises)
			ok = added(seccomp_rule_add(f, SCMP_ACT_ALLOW, some[i].call, 1, ARE(some[i].argument, some[i].mask, some[i].value)));
	ok = ok && added(seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 2, ARE(0, ~0ULL, PR_SET_DUMPABLE), ARE(1, ~0ULL, 0)));
	/* Threads, never processes; clone3 hides its flags behind a pointer, so that libc must fall back to clone. */
	ok = ok && added(seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)));
	return ok && seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0;
}

static bool
fill(scmp_filter_ctx f, unsigned promises)
{
	bool parent = promises & PROMISE_CHILDREN, ok = true;

	for (size_t i = 0; ok && i < sizeof(hostile) / sizeof(hostile[0]); i++)
		if (!parent || !hostile[i].of_children)
			ok = seccomp_rule_add(f, SCMP_ACT_KILL_PROCESS, hostile[i].call, 0) == 0;
	if (parent) /* everything else is allowed already: but sockets of the kernel's own, and typing for others */
		return ok && seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_GT, AF_INET6)) == 0 &&
		    seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, TIOCSTI)) == 0;
	for (size_t i = 0; ok && i < sizeof(allowed) / sizeof(allowed[0]); i++)
		if (allowed[i].promise == 0 || allowed[i].promise & promises)
			ok = added(seccomp_rule_add(f, SCMP_ACT_ALLOW, allowed[i].call, 0));
	return ok && allow_some(f, promises);
}

void *
syscalls_compile(unsigned promises)
{
	scmp_filter_ctx filter = seccomp_init(promises & PROMISE_CHILDREN ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM));

	if (filter && seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) == 0 && seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) == 0 &&
	    fill(filter, promises))
		return filter;
	if (filter)
		seccomp_release(filter);
	return NULL;
}

bool
syscalls_enforce(unsigned promises, struct fail *why)
{
	scmp_filter_ctx filter = syscalls_compile(promises);
	bool ok = filter && seccomp_load(filter) == 0;

	if (filter)
		seccomp_release(filter);
	return ok || fail_errno(why, 0, "sandbox: seccomp filter");
}

bool
syscalls_limit(unsigned promises, bool *on, struct fail *why)
{
	*on = !SANITIZED && syscalls_enforce(promises, why);
	return *on || SANITIZED;
}
