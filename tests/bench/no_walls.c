/* SPDX-License-Identifier: ISC
 *
 * no_walls: preloaded into the suite while the price of its walls is measured
 * (bench.py's row relay-sandbox).  To the programs it is a kernel without Landlock, which the log
 * says, and their system call filters are built but not loaded.  Nothing that is installed
 * reads it: root must put it into /etc/ld.so.preload, which the benchmark does in a mount namespace.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

int seccomp_load(const void *filter);

int
seccomp_load(const void *filter)
{
	(void)filter;
	return 0;
}

/* Landlock is called in no other way, nor is what each program tries to see that its filter holds. */
long
syscall(long number, ...)
{
	static long (*real)(long, ...);
	long a[6];
	va_list ap;

	if (number == SYS_landlock_create_ruleset || number == SYS_getpgid) {
		errno = number == SYS_getpgid ? EPERM : ENOSYS;
		return -1;
	}
	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "syscall");
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
