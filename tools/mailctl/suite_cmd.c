/* SPDX-License-Identifier: ISC
 *
 * start, stop, reload, status.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "tools/common/term.h"
#include "tools/mailctl/check.h"

/* The suite does without a certificate that is of no use, and its log says so: who starts or changes it should hear of it now. */
static void
warn_of_certificates(const struct mailctl *m)
{
	struct check c = { .file = m->config_path, .conf = m->conf, .to = stderr, .unprivileged = geteuid() != 0 };

	check_certificates(&c);
}

/* maild goes into the background by itself and its foreground end waits
 * until every process serves, so mailctl simply becomes it. */
int
suite_cmd_start(struct mailctl *m)
{
	char program[B_PATH], user[B_NAME * 2];

	warn_of_certificates(m);
	(void)snprintf(program, sizeof(program), "%s/maild", m->conf->daemon_directory.p);
	(void)snprintf(user, sizeof(user), "%ssuited", m->conf->daemon_user_prefix.p);
	(void)execl(program, "maild", "-c", m->config_path, "-u", user, (char *)NULL);
	return mailctl_fail(EX_UNAVAILABLE_, "%s: %s", program, strerror(errno));
}

static int
wait_done(struct channel_sync *c)
{
	const void *m;
	unsigned type;

	while (mailctl_recv(c, &type, &m)) {
		if (type == IPC_suite_admin_error) {
			const struct ipc_suite_admin_error *e = m;

			(void)fprintf(stderr, "%.*s\n", SPAN_ARG(e->text));
		} else if (type == IPC_suite_admin_done) {
			const struct ipc_suite_admin_done *d = m;

			if (d->ok && d->text.n)
				return mailctl_fail(EX_OK_, "not changed until the next start: %.*s", SPAN_ARG(d->text));
			return d->ok ? EX_OK_ : mailctl_fail(EX_FAILED, "%.*s", SPAN_ARG(d->text));
		}
	}
	return EX_FAILED;
}

/* suited says so before the end of maild, who kills after 20 s what outlives suited: its lock goes with it, and only
 * then can another start.  flock has no timeout, hence the steps. */
static int
wait_unlocked(const struct mailctl *m)
{
	char path[B_PATH];
	bool locked = true;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/maild.pid", m->conf->run_directory.p);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	for (int step = 0; step < 3000 && (locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0); step++)
		(void)nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	if (fd >= 0)
		(void)close(fd);
	return locked ? mailctl_fail(EX_FAILED, "some process has not ended yet: maild waits for it") : EX_OK_;
}

static int
maild_pid(const struct mailctl *m)
{
	char path[B_PATH], line[32];
	int pid = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/maild.pid", m->conf->run_directory.p);
	if ((f = fopen(path, "re"))) {
		(void)(fgets(line, sizeof(line), f) && sscanf(line, "%d", &pid) == 1); /* NOLINT(cert-err34-c): of maild's own file */
		(void)fclose(f);
	}
	return pid;
}

/* A suite that was started before its programs were replaced does not speak with the new ones; a signal it knows. */
static int
stop_another_build(const struct mailctl *m)
{
	int pid = maild_pid(m);

	if (pid <= 0 || kill(pid, SIGTERM) < 0)
		return mailctl_fail(EX_FAILED, "maild could not be sent a signal: %s", pid <= 0 ? "maild.pid tells no process" : strerror(errno));
	return mailctl_fail(EX_OK_, "maild, process %d, was sent SIGTERM", pid);
}

int
suite_cmd_stop(struct mailctl *m)
{
	struct channel_sync *c = mailctl_connect(m, &ipc_channel_suite_admin);
	int status = EX_UNAVAILABLE_;

	if (c && mailctl_send(c, IPC_suite_admin_stop, &(struct ipc_suite_admin_stop){ .id = 1 })) {
		status = wait_done(c);
		if (status == EX_FAILED && errno == EPROTONOSUPPORT)
			status = stop_another_build(m);
	}
	channel_sync_free(&c);
	return status == EX_OK_ ? wait_unlocked(m) : status;
}

int
suite_cmd_reload(struct mailctl *m)
{
	struct channel_sync *c = mailctl_connect(m, &ipc_channel_suite_admin);
	int status = EX_UNAVAILABLE_;

	if (c)
		warn_of_certificates(m);
	if (c && mailctl_send(c, IPC_suite_admin_reload, &(struct ipc_suite_admin_reload){ .id = 1 }))
		status = wait_done(c);
	channel_sync_free(&c);
	return status;
}

/* Its walls, and in words what the kernel or the build lacks. */
static void
print_walls(const struct ipc_suite_admin_process *p)
{
	static const struct {
		struct span no;
		const char *missing;
	} words[] = {
		{ SPAN_INIT("landlock=0"), "no Landlock in this kernel" },
		{ SPAN_INIT("file_walls=no"), "no file walls of its own yet" },
		{ SPAN_INIT("net_walls=no"), "no TCP walls" },
		{ SPAN_INIT("scope=no"), "signals not scoped" },
		{ SPAN_INIT("seccomp=no"), "no system call filter" },
	};

	(void)printf("%-10.*s %8u  %-72.*s", SPAN_ARG(p->name), p->instance, SPAN_ARG(p->text));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (span_find(p->text, words[i].no) != SIZE_MAX)
			(void)printf("  %s", words[i].missing);
	(void)putchar('\n');
}

static void
print_process(const struct mailctl *m, const struct ipc_suite_admin_process *p)
{
	time_t since = (time_t)(p->since_ms / 1000);
	char when[32] = "";
	struct tm tm;

	if (m->sandbox && !m->json) {
		print_walls(p);
		return;
	}
	if (m->json) {
		(void)printf("{\"name\":\"%.*s\",\"instance\":%u,\"pid\":%u,\"user\":\"%.*s\",\"restarts\":%u,\"since\":%llu,\"ready\":%s,\"walls\":\"%.*s\"}\n",
		    SPAN_ARG(p->name), p->instance, p->pid, SPAN_ARG(p->user), p->restarts, (unsigned long long)(p->since_ms / 1000),
		    p->ready ? "true" : "false", SPAN_ARG(p->text));
		return;
	}
	if (localtime_r(&since, &tm))
		(void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	(void)printf("%-10.*s %8u  %7u  %-14.*s  %-8s  %8u  %s\n", SPAN_ARG(p->name), p->instance, p->pid, SPAN_ARG(p->user),
	    p->ready ? "serving" : p->pid ? "starting" : "down", p->restarts, when);
}

/* Root's own: what the kernel says of it. */
static void
print_maild(const struct mailctl *m)
{
	char path[B_PATH], line[256], caps[32] = "?";
	int pid = maild_pid(m), privs = 0, filter = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (pid <= 0 || !(f = fopen(path, "re")))
		return;
	while (fgets(line, sizeof(line), f))
		(void)(sscanf(line, "NoNewPrivs: %d", &privs) == 1 || sscanf(line, "Seccomp: %d", &filter) == 1 || sscanf(line, "CapEff: %31s", caps) == 1); /* NOLINT(cert-err34-c) */
	(void)fclose(f);
	if (m->json)
		(void)printf("{\"name\":\"maild\",\"instance\":0,\"pid\":%d,", pid);
	else
		(void)printf("%-10s %8u  ", "maild", 0u);
	(void)printf(m->json ? "\"walls\":\"no_new_privs=%s seccomp=%s capabilities=%s\"}\n" : "no_new_privs=%s seccomp=%s capabilities=%s\n", privs ? "yes" : "no", filter == 2 ? "yes" : "no", caps);
}

static void
print_owned_row(const struct mailctl *m, const struct ipc_mailbox_admin_process *row)
{
	struct buf label;

	buf_init(&label, 8 * B_ADDRESS);
	(m->json ? desc_json_string : term_put)(&label, row->label); /* a quoted local part may have anything in it */
	if (!m->json)
		(void)printf("%-10.*s %8u  %.*s  %.*s\n", SPAN_ARG(row->name), 0u, SPAN_ARG(row->walls), SPAN_ARG(buf_span(&label)));
	else
		(void)printf("{\"name\":\"%.*s\",\"instance\":0,\"label\":%.*s,\"pid\":%u,\"walls\":\"%.*s\"}\n", SPAN_ARG(row->name), SPAN_ARG(buf_span(&label)), row->pid, SPAN_ARG(row->walls));
	buf_free(&label);
}

/* What userd rules: it is told of here alone, for there may be many. */
static void
print_owned(const struct mailctl *m)
{
	struct channel_sync *c = mailctl_connect(m, &ipc_channel_mailbox_admin);
	const void *answer;
	unsigned type;

	if (c && mailctl_send(c, IPC_mailbox_admin_processes, &(struct ipc_mailbox_admin_processes){ .id = 1 }))
		while (mailctl_recv(c, &type, &answer) && type == IPC_mailbox_admin_process)
			print_owned_row(m, answer);
	channel_sync_free(&c);
}

int
suite_rows(const struct mailctl *m, struct channel_sync *c, unsigned row, void (*print)(const struct mailctl *m, const void *row))
{
	const void *answer;
	unsigned type;

	while (mailctl_recv(c, &type, &answer)) {
		const struct ipc_suite_admin_done *done = answer;

		if (type == IPC_suite_admin_done)
			return done->ok ? EX_OK_ : mailctl_fail(EX_FAILED, "%.*s", SPAN_ARG(done->text));
		if (type == row)
			print(m, answer);
	}
	return EX_UNAVAILABLE_;
}

static void
print_counters(const struct mailctl *m, const void *answer)
{
	const struct ipc_suite_admin_counters *row = answer;
	struct buf line;

	buf_init(&line, 6 * (B_REPLY + B_NAME) + 512);
	if (m->json)
		desc_json(&ipc_channel_suite_admin.messages[IPC_suite_admin_counters].desc, row, &line);
	else
		buf_printf(&line, "%-10.*s %8u  %.*s", SPAN_ARG(row->process), row->instance, SPAN_ARG(row->text));
	term_line(stdout, buf_span(&line), 0);
	buf_free(&line);
}

static int
status_counters(const struct mailctl *m, struct channel_sync *c)
{
	if (!m->json)
		(void)printf("%-10s %8s  %s\n", "PROCESS", "INSTANCE", "COUNTERS");
	if (!mailctl_send(c, IPC_suite_admin_count, &(struct ipc_suite_admin_count){ .id = 1 }))
		return EX_UNAVAILABLE_;
	return suite_rows(m, c, IPC_suite_admin_counters, print_counters);
}

static int
status_processes(const struct mailctl *m, struct channel_sync *c)
{
	unsigned type = 0, down = 0;
	const void *answer;

	if (!m->json && m->sandbox)
		(void)printf("%-10s %8s  %s\n", "PROCESS", "INSTANCE", "WALLS");
	else if (!m->json)
		(void)printf("%-10s %8s  %7s  %-14s  %-8s  %8s  %s\n", "PROCESS", "INSTANCE", "PID", "USER", "STATE", "RESTARTS", "SINCE");
	if (m->sandbox)
		print_maild(m);
	if (mailctl_send(c, IPC_suite_admin_status, &(struct ipc_suite_admin_status){ .id = 1, .walls = m->sandbox }))
		while (mailctl_recv(c, &type, &answer) && type == IPC_suite_admin_process) {
			print_process(m, answer);
			down += !((const struct ipc_suite_admin_process *)answer)->ready;
		}
	if (type != IPC_suite_admin_done)
		return EX_UNAVAILABLE_;
	if (m->sandbox)
		print_owned(m);
	return down ? EX_FAILED : 0;
}

int
suite_cmd_status(struct mailctl *m)
{
	struct channel_sync *c = mailctl_connect(m, &ipc_channel_suite_admin);
	int status = c ? (m->counters ? status_counters : status_processes)(m, c) : EX_UNAVAILABLE_;

	channel_sync_free(&c);
	return status;
}
