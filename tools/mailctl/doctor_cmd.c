/* SPDX-License-Identifier: ISC
 *
 * doctor --sandbox: each daemon's program is started as its user, with its
 * promises, and tries what is forbidden behind its own walls (service/probe.def)
 * instead of working.  In maild's place, which has no room for it, another mailctl
 * raises maild's walls.  The suite may run meanwhile or not.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemons/maild/maild.h"
#include "daemons/reach.h"
#include "ipc/control.h"
#include "service/launch.h"
#include "service/probe.h"
#include "service/service.h"
#include "sys/child.h"
#include "sys/syscalls.h"
#include "tools/mailctl/mailctl.h"

enum { PROBE_MS = 30000 };

static const struct patient {
	const char *name;
	unsigned see, promises, files, memory, cpu;
	bool owned;
} patients[] = {
	{ "maild", CONF_MAILD, PROMISE_CHILDREN, 0, 0, 0, false },
#define PROCESS(name, bit, count, promises, files, memory, cpu, peers, job) { #name, bit, promises, files, memory, cpu, false },
#define OWNED(name, bit, promises, files, memory, cpu, job) { #name, bit, promises, files, memory, cpu, true },
#include "daemons/maild/processes.def"
};

struct doctor {
	struct mailctl *m;
	char mailbox[B_PATH], control[B_PATH];
	unsigned denied, allowed, jobs;
};

/* Some mailbox, for others to try to open; the base where there is none. */
static void
find_mailbox(struct doctor *d)
{
	const char *base = d->m->conf->virtual_mailbox_base.p;
	struct dirent *entry;
	DIR *dir;

	(void)snprintf(d->mailbox, sizeof(d->mailbox), "%s", base);
	for (int level = 0; level < 2 && (dir = opendir(d->mailbox)); level++) {
		size_t n = strlen(d->mailbox);

		while ((entry = readdir(dir)) && entry->d_name[0] == '.')
			continue;
		if (entry)
			(void)snprintf(d->mailbox + n, sizeof(d->mailbox) - n, "/%s", entry->d_name);
		(void)closedir(dir);
	}
}

static bool
is_root(const struct patient *p)
{
	return strcmp(p->name, "maild") == 0;
}

static void
tell(struct doctor *d, const struct patient *p, uint32_t attempt, enum probe_result result, struct span layer)
{
	static const char *const words[] = { "denied", "ALLOWED", "its job" };
	unsigned *counts[] = { &d->denied, &d->allowed, &d->jobs };

	++*counts[result];
	if (is_root(p) && result == PROBE_JOB)
		layer = SPAN("root");
	if (d->m->json)
		(void)printf("{\"program\":\"%s\",\"attempt\":\"%s\",\"result\":\"%s\",\"layer\":\"%.*s\"}\n", p->name, probe_text((enum probe_attempt)attempt),
		    words[result], SPAN_ARG(layer));
	else
		(void)printf("%-9s  %-34s  %-8s  %.*s\n", p->name, probe_text((enum probe_attempt)attempt), words[result], result == PROBE_JOB && !is_root(p) ? 0 : (int)layer.n,
		    layer.p);
}

/* Why one of them is root. */
static void
explain(const struct doctor *d)
{
	static const char what[] = "run as root", why[] = "starts the suite's programs as their users, binds ports, opens keys and the log; asked by suited and userd alone; reads no network byte";

	if (d->m->json)
		(void)printf("{\"program\":\"maild\",\"attempt\":\"%s\",\"result\":\"its job\",\"layer\":\"%s\"}\n", what, why);
	else
		(void)printf("%-9s  %-34s  %-8s  %s\n", "maild", what, "its job", why);
}

/* Its program; of maild this one. */
static bool
find_program(const struct doctor *d, const struct patient *p, char path[B_PATH], struct fail *why)
{
	ssize_t n = 0;

	if (is_root(p))
		n = readlink("/proc/self/exe", path, B_PATH - 1);
	else
		(void)snprintf(path, B_PATH, "%s/%s", d->m->conf->daemon_directory.p, p->name);
	if (n > 0)
		path[n] = '\0';
	return n >= 0 || fail_errno(why, 0, "/proc/self/exe");
}

static pid_t
start(struct doctor *d, const struct patient *p, int *ctl, struct fail *why)
{
	const struct conf *conf = d->m->conf;
	char program[B_PATH], user[B_NAME * 2];
	struct priv_identity id = { 0 };
	bool service = !is_root(p) && strcmp(p->name, "suited") != 0;
	struct child_spec spec = { .program = program, .name = p->name, .label = service ? "doctor" : PROBE_LABEL, .log = STDERR_FILENO };
	int fds[2], null;
	pid_t pid;

	if (!find_program(d, p, program, why))
		return -1;
	(void)snprintf(user, sizeof(user), "%s%s", p->owned ? "" : conf->daemon_user_prefix.p, p->owned ? conf->virtual_mailbox_user.p : p->name);
	if (geteuid() == 0 && !is_root(p)) {
		if (!priv_lookup(user, &id, why))
			return -1;
		spec.become = &id;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return (void)fail_errno(why, 0, "socketpair"), -1;
	null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (null >= 0 && !getenv("DOCTOR_LOG"))
		spec.log = null;
	spec.ctl = fds[1];
	pid = child_start(&spec, why);
	(void)close(fds[1]);
	(void)close(null);
	*ctl = fds[0];
	return pid;
}

static bool
begin(struct doctor *d, const struct patient *p, struct channel_sync *c, uint32_t from, struct fail *why)
{
	const struct conf *conf = d->m->conf;
	struct ipc_ctl_boot boot = { .name = span_str(p->name), .instances = 1, .unprivileged = geteuid() != 0,
		.promises = p->promises | (d->m->widen ? PROMISE_CHILDREN : 0), .files = p->files, .memory = p->memory, .cpu = p->cpu };
	struct ipc_ctl_probe probe = { .from = from, .spool = conf->queue_directory, .users = conf->user_database, .key = conf->smtpd_tls_key_file,
		.mailboxes = conf->virtual_mailbox_base, .mailbox = span_str(d->mailbox), .control = span_str(d->control) };
	int config = launch_config(conf, p->see, why);
	struct ipc_ctl_reach reach;
	char path[B_PATH];

	if (config < 0 || !channel_sync_send(c, IPC_ctl_boot, &boot, config, PROBE_MS, why))
		return false;
	for (size_t i = 0; i < REACH_ROWS; i++)
		if (launch_reach(&reach_rows[i], conf, p->name, path, &reach) && !channel_sync_send(c, IPC_ctl_reach, &reach, -1, PROBE_MS, why))
			return false;
	return channel_sync_send(c, IPC_ctl_probe, &probe, -1, PROBE_MS, why);
}

/* One process, from attempt `from` on; returns the attempt behind its last, or -1 when it could not even begin. */
static int
examine(struct doctor *d, const struct patient *p, uint32_t from)
{
	struct fail why = { .text = "" };
	uint32_t at = from;
	const void *message;
	unsigned type;
	int fd = -1, status = 0, none;
	pid_t pid = start(d, p, &fd, &why);
	struct channel_sync *c = pid > 0 ? channel_sync_new(fd, &ipc_channel_ctl, CHANNEL_CLIENT, &why) : NULL;

	if (c && begin(d, p, c, from, &why))
		while (at < PROBE_ATTEMPTS && channel_sync_recv(c, &type, &message, &none, PROBE_MS, &why) && type == IPC_ctl_attempt) {
			const struct ipc_ctl_attempt *a = message;

			if (a->attempt == at)
				tell(d, p, at++, (enum probe_result)a->result, a->layer);
		}
	channel_sync_free(&c);
	if (pid > 0)
		(void)waitpid(pid, &status, 0);
	if (at == PROBE_ATTEMPTS)
		return PROBE_ATTEMPTS;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
		tell(d, p, at++, PROBE_DENIED, SPAN("seccomp kills"));
		return (int)at;
	}
	if (at == from) {
		char how[64];

		child_status_text(status, how, sizeof(how));
		return mailctl_fail(-1, "%s: %s (%s)", p->name, why.text, how);
	}
	tell(d, p, at, probe_is_job(p->name, 0, (enum probe_attempt)at) ? PROBE_JOB : PROBE_ALLOWED, SPAN("the process ended")); /* it became another program */
	return (int)at + 1;
}

static bool
on_boot(struct service *s, struct fail *why)
{
	(void)s, (void)why;
	return true;
}

static bool
walls_of_maild(struct service *s, struct sandbox_report *report, struct fail *why)
{
	return maild_walls(s->unprivileged, report, why);
}

int
doctor_in_place_of_maild(int argc, char **argv)
{
	static const struct service_ops ops = { .name = "maild", .see = CONF_MAILD, .on_boot = on_boot, .raise_walls = walls_of_maild };

	return service_main(&ops, argc, argv);
}

int
doctor_cmd(struct mailctl *m)
{
	struct doctor d = { .m = m };
	unsigned broken = 0;

	if (!m->sandbox)
		return mailctl_fail(EX_USAGE_, "doctor: only --sandbox is examined");
	find_mailbox(&d);
	(void)control_path(d.control, m->conf->run_directory, "suite_admin");
	for (size_t i = 0; i < sizeof(patients) / sizeof(patients[0]); i++) {
		int at = 0;

		if (is_root(&patients[i]))
			explain(&d);
		while (at >= 0 && at < PROBE_ATTEMPTS)
			at = examine(&d, &patients[i], (uint32_t)at);
		broken += at < 0;
	}
	if (!m->json)
		(void)printf("%u denied, %u a daemon's job, %u allowed%s\n", d.denied, d.jobs, d.allowed,
		    geteuid() != 0 ? "; not root: one user for everything" : "");
	return d.allowed || broken ? EX_FAILED : EX_OK_;
}
