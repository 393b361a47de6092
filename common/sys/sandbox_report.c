/* SPDX-License-Identifier: ISC
 *
 * Which walls stand: in words, and tried.  Not for maild, which has few.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/sandbox.h"

const char *
sandbox_missing(const struct sandbox_report *report, bool seccomp)
{
	/* Each has what the next has not. */
	if (!seccomp && report->landlock_abi == 0)
		return "no system call filter and no Landlock: no walls but the user";
	if (!seccomp)
		return "no system call filter in this build";
	if (report->landlock_abi == 0)
		return "no Landlock in this kernel: no file and network walls";
	if (report->landlock_abi < 4)
		return "Landlock of this kernel has no TCP rules and no scopes";
	return report->landlock_abi < 6 ? "Landlock of this kernel has no scopes: signals to others of the same user" : NULL;
}

static const char *
yes(bool flag)
{
	return flag ? "yes" : "no";
}

const char *
sandbox_words(const struct sandbox_report *report, bool seccomp, char *text, size_t size)
{
	(void)snprintf(text, size, "landlock=%d file_walls=%s net_walls=%s scope=%s seccomp=%s", report->landlock_abi, yes(report->file_walls),
	    yes(report->net_walls), yes(report->scoped), yes(seccomp));
	return text;
}

static bool
no_core(void)
{
	struct rlimit core;

	return getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 && core.rlim_max == 0;
}

static bool
within_files(const struct sandbox *s)
{
	struct rlimit files;

	return !s->files || (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_max <= s->files);
}

/* Nobody's walls leave the root directory in reach. */
static bool
root_is_closed(void)
{
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		(void)close(fd);
	return fd < 0 && (errno == EACCES || errno == EPERM);
}

static bool
ports_are_closed(void)
{
	const struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool taken = fd >= 0 && bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0;

	if (fd >= 0)
		(void)close(fd);
	return !taken;
}

bool
sandbox_verify(const struct sandbox *s, const struct sandbox_report *report, struct fail *why)
{
	const struct {
		bool holds;
		const char *what;
	} walls[] = {
		{ prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "no_new_privs" },
		{ prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0, "not dumpable" },
		{ no_core(), "no core" },
		{ within_files(s), "the limit of files" },
		{ !report->file_walls || root_is_closed(), "file walls (Landlock)" },
		{ !report->net_walls || s->tcp_bind || ports_are_closed(), "network walls (Landlock)" },
	};

	for (size_t i = 0; i < sizeof(walls) / sizeof(walls[0]); i++)
		if (!walls[i].holds)
			return fail_set(why, FAIL_PERM, 0, "sandbox: raised, and does not hold: %s", walls[i].what);
	return true;
}

/* A harmless call that nobody has promised. */
bool
sandbox_verify_calls(struct fail *why)
{
	return (syscall(SYS_getpgid, 0) < 0 && errno == EPERM) || fail_set(why, FAIL_PERM, 0, "sandbox: raised, and does not hold: the system call filter");
}
