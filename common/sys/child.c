/* SPDX-License-Identifier: ISC */
#include "sys/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* Descriptors 0 to 3 as the child shall have them, everything else closed. */
static bool
arrange_descriptors(int ctl, int log)
{
	int null = open("/dev/null", O_RDWR); /* stays where it is, if that is one of them */

	/* Out of the way first: ctl and log may stand where others must go. */
	ctl = fcntl(ctl, F_DUPFD_CLOEXEC, CHILD_CTL + 1);
	log = fcntl(log, F_DUPFD_CLOEXEC, CHILD_CTL + 1);
	return null >= 0 && ctl >= 0 && log >= 0 && dup2(null, 0) == 0 && dup2(null, 1) == 1 && dup2(log, 2) == 2 &&
	    dup2(ctl, CHILD_CTL) == CHILD_CTL && close_range(CHILD_CTL + 1, ~0U, 0) == 0;
}

static void
reset_signals(void)
{
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
}

/* Whom the child becomes need not be able to walk there (a suite in a closed home). */
static bool
find_folder(const char *program, int *folder, const char **base, struct fail *why)
{
	const char *slash = strrchr(program, '/');
	char dir[4096];

	if (!slash || slash == program || (size_t)(slash - program) >= sizeof(dir))
		return fail_set(why, FAIL_PERM, 0, "%s is not the path of a program", program);
	memcpy(dir, program, (size_t)(slash - program));
	dir[slash - program] = '\0';
	*base = slash + 1;
	*folder = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return *folder >= 0 || fail_errno(why, 0, "%s", dir);
}

#define TUNABLES "GLIBC_TUNABLES=glibc.pthread.stack_cache_size=0" /* a thread's stack ends with it */

_Noreturn static void
become_program(const struct child_spec *spec)
{
	char *argv[] = { (char *)(uintptr_t)spec->name, (char *)(uintptr_t)spec->label, NULL };
	char *envp[] = { (char *)(uintptr_t)"PATH=/usr/bin:/bin", (char *)(uintptr_t)"TZ=UTC",
		(char *)(uintptr_t)(spec->busy ? TUNABLES ":glibc.malloc.tcache_count=200" : TUNABLES),
		(char *)(uintptr_t)"ASAN_OPTIONS=detect_leaks=0:abort_on_error=1", NULL };
	struct fail why = { .text = "" };
	const char *base = NULL;
	int folder = -1;

	reset_signals();
	if (!arrange_descriptors(spec->ctl, spec->log))
		(void)fail_errno(&why, 0, "descriptors");
	else if (find_folder(spec->program, &folder, &base, &why) && (!spec->become || priv_become(spec->become, &why))) {
		if (fchdir(folder) == 0)
			(void)execve(base, argv, envp);
		(void)fail_errno(&why, 0, "%s", spec->program);
	}
	(void)dprintf(2, "%s: could not start: %s\n", spec->name, why.text);
	_exit(127);
}

pid_t
child_start(const struct child_spec *spec, struct fail *why)
{
	pid_t pid = fork();

	if (pid == 0)
		become_program(spec);
	if (pid < 0)
		(void)fail_errno(why, 0, "fork for %s", spec->name);
	return pid;
}

static void
become_twin(int ctl, const char *label, struct child_label *at, pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent || dup2(ctl, CHILD_CTL) != CHILD_CTL ||
	    close_range(CHILD_CTL + 1, ~0U, 0) < 0)
		_exit(127);
	reset_signals();
	if (at->n) {
		memset(at->p, 0, at->n);
		(void)snprintf(at->p, at->n, "%s", label);
	}
}

pid_t
child_twin(int ctl, const char *label, struct child_label *at, struct fail *why)
{
	pid_t parent = getpid(), pid = _Fork(); /* there are no threads: what fork() does for them would be four pages of each copy's own */

	if (pid == 0)
		become_twin(ctl, label, at, parent);
	if (pid < 0)
		(void)fail_errno(why, 0, "fork for %s", label);
	return pid;
}

void
child_rename(const char *name)
{
	(void)prctl(PR_SET_NAME, name, 0, 0, 0);
}

static void
on_chld(struct watch *w, unsigned ready)
{
	struct child_reaper *r = OWNER_OF(w, struct child_reaper, watch);
	struct signalfd_siginfo info;
	pid_t pid;
	int status;

	(void)ready;
	while (read(w->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		continue;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		r->on_exit(r, pid, status);
}

static int
open_signals(const sigset_t *set, struct fail *why)
{
	int fd = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);

	if (fd < 0 || sigprocmask(SIG_BLOCK, set, NULL) < 0)
		(void)fail_errno(why, 0, "signalfd");
	return fd;
}

bool
child_reaper_start(struct child_reaper *r, struct loop *loop, void (*on_exit)(struct child_reaper *, pid_t, int), struct fail *why)
{
	sigset_t set;
	int fd;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	r->on_exit = on_exit;
	fd = open_signals(&set, why);
	watch_init(&r->watch, loop, fd, on_chld);
	return fd >= 0 && watch_want(&r->watch, WATCH_READ);
}

static void
on_signals(struct watch *w, unsigned ready)
{
	struct child_signals *s = OWNER_OF(w, struct child_signals, watch);
	struct signalfd_siginfo info;

	(void)ready;
	while (read(w->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		s->on_signal(s, (int)info.ssi_signo);
}

bool
child_signals_start(struct child_signals *s, struct loop *loop, void (*on_signal)(struct child_signals *, int), struct fail *why)
{
	sigset_t set;
	int fd;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	s->on_signal = on_signal;
	fd = open_signals(&set, why);
	watch_init(&s->watch, loop, fd, on_signals);
	return fd >= 0 && watch_want(&s->watch, WATCH_READ);
}

bool
child_crashed(int status)
{
	int by = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	return by && by != SIGKILL && by != SIGTERM && by != SIGINT && by != SIGHUP && by != SIGQUIT;
}

void
child_status_text(int status, char *text, size_t size)
{
	if (WIFSIGNALED(status))
		(void)snprintf(text, size, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		(void)snprintf(text, size, "exit status %d", WEXITSTATUS(status));
}

bool
child_daemonize(int *ready, struct fail *why)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0 || (pid = fork()) < 0)
		return fail_errno(why, 0, "go into the background");
	if (pid > 0) {
		unsigned char status = 1;

		(void)close(fds[1]);
		while (read(fds[0], &status, 1) < 0 && errno == EINTR)
			continue;
		_exit(status);
	}
	(void)close(fds[0]);
	*ready = fds[1];
	return setsid() >= 0 || fail_errno(why, 0, "setsid");
}
