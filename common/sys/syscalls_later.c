/* SPDX-License-Identifier: ISC
 *
 * Filters that are compiled before the process is there that they are for: a template's.
 * Apart from the rest, which maild links.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/syscalls.h"

#ifndef SANITIZED
#define SANITIZED 0
#endif

static bool
take_code(int fd, struct syscalls_filter *filter)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_size <= 0 || !(filter->code = malloc((size_t)st.st_size)))
		return false;
	filter->n = (size_t)st.st_size / sizeof(struct sock_filter);
	return pread(fd, filter->code, (size_t)st.st_size, 0) == st.st_size;
}

bool
syscalls_prepare(unsigned promises, struct syscalls_filter *filter, struct fail *why)
{
	scmp_filter_ctx made = syscalls_compile(promises | PROMISE_LATER);
	int fd = memfd_create("filter", MFD_CLOEXEC);
	bool ok = made && fd >= 0 && seccomp_export_bpf(made, fd) == 0 && take_code(fd, filter);

	if (made)
		seccomp_release(made);
	if (fd >= 0)
		(void)close(fd);
	return ok || fail_errno(why, 0, "sandbox: seccomp filter");
}

bool
syscalls_limit_to(const struct syscalls_filter *filter, bool *on, struct fail *why)
{
	struct sock_filter *code = SANITIZED ? NULL : malloc(filter->n * sizeof(*code));
	struct sock_fprog program = { .len = (unsigned short)filter->n, .filter = code };
	unsigned marks = 0;

	*on = false;
	if (!code)
		return SANITIZED || fail_errno(why, 0, "sandbox: seccomp filter");
	memcpy(code, filter->code, filter->n * sizeof(*code)); /* the template's page stays what it is */
	for (size_t i = 0; i < filter->n; i++)
		if (code[i].code == (BPF_JMP | BPF_JEQ | BPF_K) && code[i].k == SYSCALLS_PID_LATER) {
			code[i].k = (unsigned)getpid();
			marks++;
		}
	*on = marks && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
	free(code);
	return *on || fail_errno(why, 0, "sandbox: seccomp filter");
}
