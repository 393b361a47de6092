/* SPDX-License-Identifier: ISC
 *
 * filter PROGRAM PID: the system call filter of that program's row in
 * processes.def, for the process PID, as BPF on standard output.  In builds with sanitizers no
 * daemon stands behind its filter; test_takeover.py puts it on the one it breaks into.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <seccomp.h>
#include <unistd.h>

#include "sys/syscalls.h"

static const struct {
	const char *name;
	unsigned promises;
} rows[] = {
	{ "maild", PROMISE_CHILDREN },
	{ "template", PROMISE_FILES | PROMISE_TWINS },
#define PROCESS(name, bit, count, promises, files, memory, cpu, peers, job) { #name, promises },
#define OWNED(name, bit, promises, files, memory, cpu, job) { #name, promises },
#include "daemons/maild/processes.def"
};

static pid_t of;

/* The linker puts these in the place of the real ones (-Wl,--wrap). */
int __wrap_seccomp_load(scmp_filter_ctx filter);
pid_t __wrap_getpid(void);

int
__wrap_seccomp_load(scmp_filter_ctx filter)
{
	return seccomp_export_bpf(filter, STDOUT_FILENO);
}

pid_t
__wrap_getpid(void)
{
	return of;
}

int
main(int argc, char **argv)
{
	struct fail why;

	if (argc != 3)
		return 64;
	of = (pid_t)strtol(argv[2], NULL, 10);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].name, argv[1]) == 0)
			return !syscalls_enforce(rows[i].promises, &why);
	return 64;
}
