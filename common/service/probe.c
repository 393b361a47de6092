/* SPDX-License-Identifier: ISC */
#include "service/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "sys/syscalls.h"

/* Each returns 0 when it worked, or errno. Some are given nonsense: EFAULT or EINVAL
 * then says that the kernel was reached, which is as bad. */

static int
outcome(long result)
{
	return result < 0 ? errno : 0;
}

static int
done(long fd)
{
	int error = outcome(fd);

	if (!error)
		(void)close((int)fd);
	return error;
}

static int
open_path(struct span path, int flags)
{
	char text[B_PATH + 1];

	return span_cstr(path, text, sizeof(text)) && text[0] ? done(open(text, flags | O_CLOEXEC)) : EPERM;
}

static int try_passwd(const struct probe *p) { return (void)p, open_path(SPAN("/etc/passwd"), O_RDONLY); }
static int try_spool(const struct probe *p) { return open_path(p->what->spool, O_RDONLY | O_DIRECTORY); }
static int try_users(const struct probe *p) { return open_path(p->what->users, O_RDONLY | O_DIRECTORY); }
static int try_key(const struct probe *p) { return open_path(p->what->key, O_RDONLY); }
static int try_mailboxes(const struct probe *p) { return open_path(p->what->mailboxes, O_RDONLY | O_DIRECTORY); }
static int try_mailbox(const struct probe *p) { return open_path(p->what->mailbox, O_RDONLY | O_DIRECTORY); }

static int
try_create(const struct probe *p)
{
	char path[64];
	int error;

	(void)p;
	(void)snprintf(path, sizeof(path), "/tmp/pillarpost-probe.%d", (int)getpid());
	error = done(open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
	if (!error)
		(void)unlink(path);
	return error;
}

static int
try_link(const struct probe *p)
{
	char path[64];
	int error;

	(void)p;
	(void)snprintf(path, sizeof(path), "/tmp/pillarpost-link.%d", (int)getpid());
	error = outcome(symlink("/etc/passwd", path));
	if (!error)
		(void)unlink(path);
	return error;
}

static int
try_memory(const struct probe *p)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/mem", p->parent);
	return open_path(span_str(path), O_RDONLY);
}

static int
try_control(const struct probe *p)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), error = outcome(fd);

	if (!error && span_cstr(p->what->control, at.sun_path, sizeof(at.sun_path)))
		error = outcome(connect(fd, (struct sockaddr *)&at, sizeof(at)));
	if (fd >= 0)
		(void)close(fd);
	return error;
}

static int try_unix(const struct probe *p) { return (void)p, done(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); }
static int try_udp(const struct probe *p) { return (void)p, done(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)); }
static int try_raw(const struct probe *p) { return (void)p, done(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP)); }
static int try_packet(const struct probe *p) { return (void)p, done(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)); }
static int try_netlink(const struct probe *p) { return (void)p, done(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0)); }
static int try_alg(const struct probe *p) { return (void)p, done(socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)); }

static int
tcp(int (*act)(int, const struct sockaddr *, socklen_t), uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), error = outcome(fd);

	if (!error)
		error = outcome(act(fd, (struct sockaddr *)&at, sizeof(at)));
	if (fd >= 0)
		(void)close(fd);
	return error;
}

static int try_tcp(const struct probe *p) { return (void)p, tcp(connect, 9); }
static int try_listen(const struct probe *p) { return (void)p, tcp(bind, 0); }

static int try_signal(const struct probe *p) { return outcome(syscall(SYS_kill, p->parent, 0)); }

/* The child, if there is one, must not go on in our place. */
static int
child(long pid)
{
	if (pid == 0)
		(void)syscall(SYS_exit_group, 0);
	return outcome(pid);
}

static int try_clone(const struct probe *p) { return (void)p, child(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)); }

static int
try_clone3(const struct probe *p)
{
	struct clone_args args = { .exit_signal = SIGCHLD };

	(void)p;
	return child(syscall(SYS_clone3, &args, sizeof(args)));
}

static int
try_fork(const struct probe *p)
{
	(void)p;
#ifdef SYS_fork
	return child(syscall(SYS_fork));
#else
	return ENOSYS;
#endif
}

static int
try_exec(const struct probe *p)
{
	char *argv[] = { (char *)(uintptr_t)"true", NULL }, *envp[] = { NULL };

	(void)p;
	return outcome(syscall(SYS_execve, "/bin/true", argv, envp));
}

static int
try_vm(const struct probe *p)
{
	char bytes[8];
	struct iovec here = { bytes, sizeof(bytes) }, there = { bytes, sizeof(bytes) };

	return outcome(syscall(SYS_process_vm_readv, p->parent, &here, 1, &there, 1, 0));
}

static int
try_capset(const struct probe *p)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { .effective = 1, .permitted = 1 } };

	(void)p;
	return outcome(syscall(SYS_capset, &header, data));
}

static int try_hostname(const struct probe *p) { return (void)p, outcome(syscall(SYS_sethostname, NULL, 0)); }
static int try_clock(const struct probe *p) { return (void)p, outcome(syscall(SYS_settimeofday, &(struct timeval){ 0 }, NULL)); }
static int try_terminal(const struct probe *p) { return (void)p, outcome(ioctl(STDIN_FILENO, TIOCSTI, "x")); }
static int try_linger(const struct probe *p) { return (void)p, outcome(setsockopt(STDIN_FILENO, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 1 }, sizeof(struct linger))); }
static int try_ptrace(const struct probe *p) { return outcome(syscall(SYS_ptrace, 16 /* PTRACE_ATTACH */, p->parent, 0, 0)); }
static int try_setuid(const struct probe *p) { return (void)p, outcome(syscall(SYS_setresuid, 0, 0, 0)); }
static int try_groups(const struct probe *p) { return (void)p, outcome(syscall(SYS_setgroups, 1, &(gid_t){ 0 })); }
static int try_mount(const struct probe *p) { return (void)p, outcome(syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, NULL)); }
static int try_chroot(const struct probe *p) { return (void)p, outcome(syscall(SYS_chroot, "/tmp")); }
static int try_userns(const struct probe *p) { return (void)p, outcome(syscall(SYS_unshare, CLONE_NEWUSER)); }
static int try_setns(const struct probe *p) { return (void)p, outcome(syscall(SYS_setns, 0, 0)); }
static int try_bpf(const struct probe *p) { return (void)p, outcome(syscall(SYS_bpf, 0, NULL, 0)); }
static int try_perf(const struct probe *p) { return (void)p, outcome(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0)); }
static int try_uring(const struct probe *p) { return (void)p, outcome(syscall(SYS_io_uring_setup, 1, NULL)); }
static int try_keyctl(const struct probe *p) { return (void)p, outcome(syscall(SYS_keyctl, 0, -3, 1)); }
static int try_userfault(const struct probe *p) { return (void)p, done(syscall(SYS_userfaultfd, 0)); }
static int try_module(const struct probe *p) { return (void)p, outcome(syscall(SYS_finit_module, -1, "", 0)); }
static int try_kexec(const struct probe *p) { return (void)p, outcome(syscall(SYS_kexec_load, 0, 0, NULL, 0)); }
static int try_mknod(const struct probe *p) { return (void)p, outcome(syscall(SYS_mknodat, AT_FDCWD, "/tmp/pillarpost-null", S_IFCHR | 0600, 0x103)); }
static int try_handle(const struct probe *p) { return (void)p, outcome(syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, 0)); }
static int try_personality(const struct probe *p) { return (void)p, outcome(syscall(SYS_personality, 0x0040000 /* ADDR_NO_RANDOMIZE */)); }

static const struct {
	int (*act)(const struct probe *p);
	bool bare;
	unsigned promise;
	const char *program, *text;
} attempts[] = {
#define BARE 1
#define ATTEMPT(name, bare, promise, program, what) { try_##name, bare, promise, program, what },
#include "service/probe.def"
#undef BARE
};

const char *
probe_text(enum probe_attempt at)
{
	return attempts[at].text;
}

void
probe_bare(struct probe *p)
{
	p->parent = (int)getppid();
	for (size_t i = 0; i < PROBE_ATTEMPTS; i++)
		p->bare[i] = attempts[i].bare ? attempts[i].act(p) : 0;
}

static bool
denial(int error)
{
	return error == EPERM || error == EACCES || error == ENOSYS;
}

/* A word of the row's list. */
static bool
named(const char *list, const char *program)
{
	struct span rest = span_str(list);

	while (rest.n)
		if (span_eq(span_cut(&rest, ' '), span_str(program)))
			return true;
	return false;
}

bool
probe_is_job(const char *program, unsigned promises, enum probe_attempt at)
{
	return (promises & attempts[at].promise) || named(attempts[at].program, program);
}

/* What denied it goes to layer. */
static enum probe_result
try_one(const struct probe *p, enum probe_attempt at, char layer[64])
{
	bool job = probe_is_job(p->program, p->promises, at) || (at == PROBE_listen && p->tcp_bind), by_user;
	int error = attempts[at].act(p);

	by_user = attempts[at].bare && denial(p->bare[at]);
	if (!denial(error)) {
		(void)snprintf(layer, 64, "%s", job ? "its job" : error ? strerror(error) : "it worked");
		return job ? PROBE_JOB : PROBE_ALLOWED;
	}
	if (strcmp(p->program, "maild") == 0) /* its filter kills, but for two */
		(void)snprintf(layer, 64, "no capability, or seccomp");
	else
		(void)snprintf(layer, 64, "%s%s", error == EACCES && by_user ? "user, or Landlock" : error == EACCES ? "Landlock" : by_user && error == EPERM && p->bare[at] == EPERM ? "user, or seccomp" : "seccomp",
		    by_user && error == EPERM && p->bare[at] == EACCES ? ", user" : "");
	return PROBE_DENIED;
}

void
probe_all(const struct probe *p, struct channel *ctl)
{
	char layer[64];

	for (uint32_t i = p->what->from; i < PROBE_ATTEMPTS; i++) {
		struct ipc_ctl_attempt attempt = { .attempt = i, .result = (uint8_t)try_one(p, (enum probe_attempt)i, layer) };

		attempt.layer = span_str(layer);
		if (!ipc_send_ctl_attempt(ctl, &attempt) || !channel_drain(ctl, 1000))
			break;
	}
}
