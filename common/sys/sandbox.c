/* SPDX-License-Identifier: ISC */
#include "sys/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SANITIZED
#define SANITIZED 0
#endif

/* Newer than Debian 12's headers (Landlock ABI 4). */
#ifndef LANDLOCK_ACCESS_NET_BIND_TCP
#define LANDLOCK_ACCESS_NET_BIND_TCP (1ULL << 0)
#define LANDLOCK_ACCESS_NET_CONNECT_TCP (1ULL << 1)
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15)
#endif
#ifndef LANDLOCK_SCOPE_SIGNAL
#define LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0)
#define LANDLOCK_SCOPE_SIGNAL (1ULL << 1)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif

struct ruleset_attr { /* struct landlock_ruleset_attr of ABI 6 */
	uint64_t handled_access_fs;
	uint64_t handled_access_net;
	uint64_t scoped;             /* ABI 6 */
};

enum {
	READ_FILE = LANDLOCK_ACCESS_FS_READ_FILE,
	READ = READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
	FIRST_ABI = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1, /* all rights of ABI 1 */
};

static uint64_t
all_rights(int abi)
{
	uint64_t rights = FIRST_ABI;

	if (abi >= 2)
		rights |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		rights |= LANDLOCK_ACCESS_FS_TRUNCATE;
	if (abi >= 5)
		rights |= LANDLOCK_ACCESS_FS_IOCTL_DEV;
	return rights;
}

static bool
allow(int ruleset, const char *path, uint64_t rights, struct fail *why)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = rights };
	struct stat st;
	bool ok;

	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return errno == ENOENT || errno == EACCES || fail_errno(why, 0, "sandbox: %s", path); /* unreachable already */
	if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
		rule.allowed_access &= READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE;
	ok = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
	if (!ok)
		(void)fail_errno(why, 0, "sandbox: allow %s", path);
	(void)close(rule.parent_fd);
	return ok;
}

static bool
allow_ports(int ruleset, const unsigned *ports, struct fail *why)
{
	for (size_t i = 0; i < SANDBOX_PORTS && ports[i]; i++) {
		const uint64_t rule[] = { LANDLOCK_ACCESS_NET_CONNECT_TCP, ports[i] }; /* struct landlock_net_port_attr */

		if (syscall(SYS_landlock_add_rule, ruleset, 2 /* LANDLOCK_RULE_NET_PORT */, rule, 0) < 0)
			return fail_errno(why, 0, "sandbox: allow port %u", ports[i]);
	}
	return true;
}

static bool
raise_walls(const struct sandbox *s, struct sandbox_report *report, struct fail *why)
{
	int abi = report->landlock_abi, ruleset;
	struct ruleset_attr attr = { 0 };
	uint64_t rights = all_rights(abi);
	bool ok = true;

	/* Every ruleset denies moving files between directories unless it says otherwise. */
	attr.handled_access_fs = s->files_open ? rights & LANDLOCK_ACCESS_FS_REFER : rights;
	if (abi >= 4 && !s->tcp_bind)
		attr.handled_access_net |= LANDLOCK_ACCESS_NET_BIND_TCP;
	if (abi >= 4 && (!s->tcp_connect || s->ports[0]))
		attr.handled_access_net |= LANDLOCK_ACCESS_NET_CONNECT_TCP;
	if (abi >= 6 && !s->files_open)
		attr.scoped = LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL;
	if (!attr.handled_access_fs && !attr.handled_access_net)
		return true;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, abi >= 6 ? sizeof(attr) : abi >= 4 ? offsetof(struct ruleset_attr, scoped) : sizeof(attr.handled_access_fs), 0);
	if (ruleset < 0)
		return fail_errno(why, 0, "sandbox: Landlock ruleset");
	if (s->files_open && attr.handled_access_fs)
		ok = allow(ruleset, "/", attr.handled_access_fs, why);
	for (size_t i = 0; ok && !s->files_open && i < SANDBOX_PATHS && s->read[i]; i++)
		ok = allow(ruleset, s->read[i], READ, why);
	for (size_t i = 0; ok && !s->files_open && i < SANDBOX_PATHS && s->write[i]; i++)
		ok = allow(ruleset, s->write[i], rights & ~(uint64_t)LANDLOCK_ACCESS_FS_EXECUTE, why);
	ok = ok && (abi < 4 || !s->tcp_connect || allow_ports(ruleset, s->ports, why));
	if (ok && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		ok = fail_errno(why, 0, "sandbox: Landlock");
	(void)close(ruleset);
	report->file_walls = ok && !s->files_open;
	report->net_walls = ok && attr.handled_access_net;
	report->scoped = ok && attr.scoped;
	return ok;
}

static bool
lower(__rlimit_resource_t what, rlim_t most, struct fail *why)
{
	struct rlimit now;

	if (getrlimit(what, &now) < 0)
		return fail_errno(why, 0, "sandbox: limits");
	if (most >= now.rlim_max) /* it cannot be more than the parent's */
		most = now.rlim_max;
	return setrlimit(what, &(struct rlimit){ most, most }) == 0 || fail_errno(why, 0, "sandbox: limits");
}

static bool
lower_limits(const struct sandbox *s, struct fail *why)
{
	return (!s->files || lower(RLIMIT_NOFILE, s->files, why)) &&
	    (!s->cpu || setrlimit(RLIMIT_CPU, &(struct rlimit){ s->cpu, s->cpu + 5 }) == 0 || fail_errno(why, 0, "sandbox: limits")) &&
	    (SANITIZED || !s->memory || lower(RLIMIT_DATA, (rlim_t)s->memory << 20, why));
}

bool
sandbox_enter(const struct sandbox *s, struct sandbox_report *report, struct fail *why)
{
	int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	*report = (struct sandbox_report){ .landlock_abi = abi > 0 ? abi : 0 };
	if (!lower_limits(s, why))
		return false;
	if (setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 }) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return fail_errno(why, 0, "sandbox: no core");
	report->not_dumpable = true;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fail_errno(why, 0, "sandbox: no_new_privs");
	report->no_new_privs = true;
	return report->landlock_abi == 0 || raise_walls(s, report, why);
}

void
sandbox_append_only(void)
{
	const struct ruleset_attr attr = { .handled_access_fs = LANDLOCK_ACCESS_FS_TRUNCATE };
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr.handled_access_fs), 0);

	if (ruleset < 0)
		return;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
		(void)syscall(SYS_landlock_restrict_self, ruleset, 0);
	(void)close(ruleset);
}
