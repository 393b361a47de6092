/* SPDX-License-Identifier: ISC
 *
 * fcntl() for programs with a library that makes its sockets non-blocking by
 * F_SETFL (libunbound, libcurl), which no daemon has: it takes the mark for appending off the
 * log.  The program's own stands before libc's; FIONBIO changes that one flag alone.
 */
#include <linux/fcntl.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int fcntl(int fd, int what, ...);

int
fcntl(int fd, int what, ...)
{
	va_list ap;
	long argument;

	va_start(ap, what);
	argument = va_arg(ap, long);
	va_end(ap);
	if (what == F_SETFL)
		return ioctl(fd, FIONBIO, &(int){ (argument & O_NONBLOCK) != 0 });
	return (int)syscall(SYS_fcntl, fd, what, argument);
}
