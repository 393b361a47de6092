/* SPDX-License-Identifier: ISC
 *
 * sandbox: what a daemon gives up for good before it reads a foreign byte.
 * The walls of each program are rows of daemons/maild/processes.def and daemons/reach.def.
 */
#ifndef SYS_SANDBOX_H
#define SYS_SANDBOX_H

#include "base/fail.h"

enum { SANDBOX_PATHS = 8, SANDBOX_PORTS = 4 };

/* What may be reached, and how. */
enum {
	REACH_READ = 1 << 0,
	REACH_WRITE = 1 << 1,
	REACH_CONNECT = 1 << 2,
	REACH_BIND = 1 << 3,
};

struct sandbox {
	/* Directories (or files) that stay reachable, NULL-terminated. Ignored if files_open. */
	const char *read[SANDBOX_PATHS];
	const char *write[SANDBOX_PATHS];
	bool files_open;   /* no file system walls (maild) */
	bool tcp_connect;  /* may connect to TCP ports: to these, 0-terminated, or to any */
	unsigned ports[SANDBOX_PORTS];
	bool tcp_bind;     /* may bind TCP ports */
	unsigned files;    /* most descriptors; 0: as before */
	unsigned memory;   /* most MiB of data, not in builds with sanitizers; 0: as before */
	unsigned cpu;      /* most seconds of processor time; 0: as before */
};

/* Which walls stand, for the log and `mailctl status`. */
struct sandbox_report {
	bool no_new_privs, not_dumpable;
	int landlock_abi; /* 0: none; 1..: version */
	bool file_walls, net_walls;
	bool scoped; /* no signal and no abstract socket out of the sandbox (ABI 6) */
};

/* no_new_privs, not dumpable, no core, limits of files and memory, Landlock. False: a wall that the kernel
 * offers could not be raised. */
bool sandbox_enter(const struct sandbox *s, struct sandbox_report *report, struct fail *why);
/* The calling thread alone: what it opens from now on nobody can truncate, whoever gets the descriptor (Landlock ABI 3). */
void sandbox_append_only(void);
/* What this kernel or build does not give, in words; NULL when nothing is missing. */
const char *sandbox_missing(const struct sandbox_report *report, bool seccomp);
/* For status: name=value words; returns text. */
const char *sandbox_words(const struct sandbox_report *report, bool seccomp, char *text, size_t size);
/* Behind the walls: each that is said to stand is tried.  Before the filter of system calls, which would hide holes. */
bool sandbox_verify(const struct sandbox *s, const struct sandbox_report *report, struct fail *why);
bool sandbox_verify_calls(struct fail *why); /* the filter: syscalls_limit() said that it is on */

#endif
