/* SPDX-License-Identifier: ISC */
#include "daemons/maild/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log/log.h"
#include "log/target.h"
#include "sys/syscalls.h"

enum {
	SETTLED_MS = 10000,     /* a process that lived so long died by accident, not by nature */
	HASTY_FREE = 5,         /* so many quick ends in a row are restarted at once */
	BACKOFF_MAX_MS = 30000,
	STOP_GRACE_MS = 20000,
};

const struct process_row process_rows[] = {
#define ROOT true
#define OWN false
#define ONE false
#define CORES true
#define PROCESS(name, bit, user, count, caps, promises, job) { #name, bit, user, count, caps, promises },
#include "daemons/maild/processes.def"
#undef ROOT
#undef OWN
#undef ONE
#undef CORES
};
const size_t process_row_count = sizeof(process_rows) / sizeof(process_rows[0]);

static const struct {
	const char *channel, *client, *server;
} wires[] = {
#define WIRE(channel, client, server) { #channel, #client, #server },
#include "daemons/maild/processes.def"
};

/* In the background: whoever reads what the start had to say waits for its end. */
static void
release_terminal(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return;
	(void)dup2(null, STDOUT_FILENO);
	(void)dup2(null, STDERR_FILENO);
	(void)close(null);
}

static bool
on_ctl_ready(struct channel *c, const struct ipc_ctl_ready *m)
{
	struct process *p = channel_owner(c);
	struct suite *s = p->suite;

	(void)m;
	p->ready = true;
	for (unsigned i = 0; i < s->nprocesses; i++)
		if (!s->processes[i].ready)
			return true;
	if (s->ready_pipe >= 0) {
		log_put(LOG_start, "all %u processes serve", s->nprocesses);
		if (write(s->ready_pipe, "", 1) < 0)
			log_put(LOG_failure, "nobody waited for the start");
		(void)close(s->ready_pipe);
		s->ready_pipe = -1;
		release_terminal();
	}
	return true;
}

static bool
on_ctl_state(struct channel *c, const struct ipc_ctl_state *m)
{
	(void)c, (void)m;
	return true; /* nothing is asked yet */
}

#define DISPATCH_DEF "ipc/ctl.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

/* Its end is heard of from the reaper; a daemon that breaks the protocol is ended. */
static void
on_ctl_closed(struct channel *c, const struct fail *why)
{
	struct process *p = channel_owner(c);

	if (!p->suite->stopping && p->pid > 0)
		log_put(LOG_channel, "%s %s: %s", p->row->name, p->label, why->text);
	channel_free(&p->ctl);
	if (p->pid > 0 && !p->suite->stopping)
		(void)kill(p->pid, SIGKILL);
}

static const struct channel_ops ctl_ops = { dispatch_ctl, on_ctl_closed, NULL };

static bool
spawn(struct process *p, struct fail *why)
{
	struct suite *s = p->suite;
	struct launch what = { .directory = s->conf->daemon_directory.p, .name = p->row->name, .label = p->label, .instance = p->instance,
		.instances = p->instances, .unprivileged = s->unprivileged, .promises = p->row->promises, .log = s->log };
	struct priv_identity id;

	if (!s->unprivileged && !setup_identity(s->conf, p->row, &id, why))
		return false;
	what.become = s->unprivileged ? NULL : &id;
	what.config = launch_config(s->conf, p->row->see, why);
	if (what.config < 0)
		return false;
	p->ready = false;
	p->since_ms = loop_now_ms(s->loop);
	p->since_wall_ms = loop_wall_ms(s->loop);
	p->ctl = launch_daemon(s->loop, &what, &ctl_ops, p, &p->pid, why);
	(void)close(what.config);
	return p->ctl != NULL;
}

static void
wire(struct process *client, struct process *server, const char *channel)
{
	struct fail why;

	if (client->ctl && server->ctl && !launch_wire(client->ctl, client->row->name, client->instance, server->ctl, server->row->name,
	    server->instance, channel, &why))
		log_put(LOG_channel, "%s", why.text);
}

/* Every channel that a process has; `both` also those it has with processes before it. */
static void
wire_process(struct process *p, bool both)
{
	struct suite *s = p->suite;

	for (size_t w = 0; w < sizeof(wires) / sizeof(wires[0]); w++)
		for (unsigned i = 0; i < s->nprocesses; i++) {
			struct process *peer = &s->processes[i];

			if (strcmp(p->row->name, wires[w].client) == 0 && strcmp(peer->row->name, wires[w].server) == 0)
				wire(p, peer, wires[w].channel);
			else if (both && strcmp(p->row->name, wires[w].server) == 0 && strcmp(peer->row->name, wires[w].client) == 0)
				wire(peer, p, wires[w].channel);
		}
}

static void
hand_file(struct process *p, const char *purpose, const char *path)
{
	struct ipc_ctl_file file = { .purpose = span_str(purpose), .path = span_str(path) };
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		log_put(LOG_config, "%s %s: %s", purpose, path, strerror(errno));
	else
		(void)ipc_send_ctl_file(p->ctl, &file, fd);
}

/* keyd alone gets private keys, as open files: it needs no path to them. It
 * gets the certificates too, which the others fetch from it; the first file is that of clients that name no host. */
static void
hand_keys(struct process *p)
{
	const struct conf *conf = p->suite->conf;

	if (strcmp(p->row->name, "keyd") != 0)
		return;
	if (conf->smtpd_tls_cert_file.n)
		hand_file(p, "cert", conf->smtpd_tls_cert_file.p);
	if (conf->smtpd_tls_key_file.n && !span_eq(conf->smtpd_tls_key_file, conf->smtpd_tls_cert_file))
		hand_file(p, "key", conf->smtpd_tls_key_file.p);
	for (size_t i = 0; i < conf->smtpd_tls_chain_files.n; i++)
		hand_file(p, "key", conf->smtpd_tls_chain_files.items[i].p);
	for (size_t i = 0; i < conf->nlisteners; i++)
		if (conf->listeners[i].cert_file.n && !span_eq(conf->listeners[i].cert_file, conf->smtpd_tls_cert_file))
			hand_file(p, "cert", conf->listeners[i].cert_file.p);
	for (size_t i = 0; i < conf->nlisteners; i++)
		if (conf->listeners[i].key_file.n && !span_eq(conf->listeners[i].key_file, conf->smtpd_tls_key_file))
			hand_file(p, "key", conf->listeners[i].key_file.p);
}

/* A rotated log is opened anew, for everybody. */
static void
reopen_log(struct suite *s)
{
	struct ipc_ctl_file file = { .purpose = SPAN("log"), .path = s->conf->maillog_file };
	struct fail why;
	int fd = log_target_open(s->conf->maillog_file.p, &why);

	if (fd < 0) {
		log_put(LOG_failure, "%s", why.text);
		return;
	}
	log_flush();
	(void)dup3(fd, s->log, O_CLOEXEC);
	(void)close(fd);
	log_open("maild", s->log, s->loop);
	for (unsigned i = 0; i < s->nprocesses; i++)
		if (s->processes[i].ctl && (fd = fcntl(s->log, F_DUPFD_CLOEXEC, 0)) >= 0)
			(void)ipc_send_ctl_file(s->processes[i].ctl, &file, fd);
}

/* Listeners, files, start: at the start and at each reload. */
static void
hand_over(struct process *p)
{
	struct suite *s = p->suite;
	struct ipc_ctl_start start = { .generation = s->generation };

	for (unsigned i = 0; i < s->nsockets; i++) {
		const struct socket_row *row = &s->sockets[i];
		struct ipc_ctl_listener listener = { .name = span_str(row->name), .control = row->control };
		int fd;

		if (row->process && strcmp(row->process, p->row->name) == 0 && (fd = fcntl(row->fd, F_DUPFD_CLOEXEC, 0)) >= 0)
			(void)ipc_send_ctl_listener(p->ctl, &listener, fd);
	}
	hand_keys(p);
	(void)ipc_send_ctl_start(p->ctl, &start);
}

static void
on_restart(struct timer *t)
{
	struct process *p = OWNER_OF(t, struct process, restart);
	struct fail why = { .text = "" };

	p->restarts++;
	if (!spawn(p, &why)) {
		log_put(LOG_failure, "%s: %s", p->row->name, why.text);
		(void)timer_set(&p->restart, BACKOFF_MAX_MS);
		return;
	}
	wire_process(p, true);
	hand_over(p);
}

static int64_t
backoff_ms(struct process *p)
{
	int64_t wait = 100;

	if (loop_now_ms(p->suite->loop) - p->since_ms > SETTLED_MS)
		p->hasty = 0;
	if (++p->hasty <= HASTY_FREE)
		return 0;
	for (unsigned i = HASTY_FREE; i < p->hasty && wait < BACKOFF_MAX_MS; i++)
		wait *= 2;
	return wait < BACKOFF_MAX_MS ? wait : BACKOFF_MAX_MS;
}

static void
finish_stop(struct suite *s)
{
	for (unsigned i = 0; i < s->nprocesses; i++)
		if (s->processes[i].pid > 0)
			return;
	admin_stopped(s);
	loop_stop(s->loop);
}

static void
on_exit_of(struct child_reaper *r, pid_t pid, int status)
{
	struct suite *s = OWNER_OF(r, struct suite, reaper);
	char text[64];

	child_status_text(status, text, sizeof(text));
	for (unsigned i = 0; i < s->nprocesses; i++) {
		struct process *p = &s->processes[i];
		int64_t wait;

		if (p->pid != pid)
			continue;
		p->pid = 0;
		p->ready = false;
		channel_free(&p->ctl);
		if (s->stopping) {
			finish_stop(s);
			return;
		}
		wait = backoff_ms(p);
		log_put(LOG_child, "%s %s pid=%d ended: %s; restart in %lld ms", p->row->name, p->label, (int)pid, text, (long long)wait);
		(void)timer_set(&p->restart, wait);
		return;
	}
}

static void
on_stop_limit(struct timer *t)
{
	struct suite *s = OWNER_OF(t, struct suite, stop_limit);

	for (unsigned i = 0; i < s->nprocesses; i++)
		if (s->processes[i].pid > 0) {
			log_put(LOG_child, "%s %s did not stop in time: killed", s->processes[i].row->name, s->processes[i].label);
			(void)kill(s->processes[i].pid, SIGKILL);
		}
}

void
suite_stop(struct suite *s)
{
	if (s->stopping)
		return;
	s->stopping = true;
	log_put(LOG_stop, "stopping %u processes", s->nprocesses);
	for (unsigned i = 0; i < s->nprocesses; i++) {
		timer_stop(&s->processes[i].restart);
		if (s->processes[i].ctl)
			(void)ipc_send_ctl_stop(s->processes[i].ctl, &(struct ipc_ctl_stop){ .grace_ms = STOP_GRACE_MS });
	}
	(void)timer_set(&s->stop_limit, STOP_GRACE_MS);
	finish_stop(s);
}

bool
suite_reload(struct suite *s, struct conf_errors *errors, struct fail *why)
{
	struct arena fresh, old = s->arena;
	const struct conf *conf = NULL, *before = s->conf;

	arena_init(&fresh, CONF_ARENA_MAX);
	if (!conf_load(s->config_path, &fresh, &conf, errors, why)) {
		arena_free(&fresh);
		return false;
	}
	s->conf = conf;
	if (!setup_sockets(s, why)) { /* a port that is taken: go on as before */
		s->conf = before;
		arena_free(&fresh);
		return false;
	}
	s->arena = fresh;
	s->generation++;
	reopen_log(s);
	for (unsigned i = 0; i < s->nprocesses; i++) {
		struct process *p = &s->processes[i];
		struct ipc_ctl_reload reload = { .generation = s->generation };
		enum conf_reload need = CONF_LIVE;
		int fd;

		if (!p->ctl)
			continue;
		(void)conf_diff(before, conf, p->row->see, &need, NULL);
		if (need != CONF_LIVE) { /* the reaper starts it again, with the new configuration */
			(void)ipc_send_ctl_stop(p->ctl, &(struct ipc_ctl_stop){ .grace_ms = STOP_GRACE_MS });
			continue;
		}
		if ((fd = launch_config(conf, p->row->see, why)) < 0)
			continue;
		(void)ipc_send_ctl_reload(p->ctl, &reload, fd);
		hand_over(p);
	}
	arena_free(&old);
	log_put(LOG_reload, "generation=%u", s->generation);
	return true;
}

static void
on_signal(struct child_signals *signals, int signal)
{
	struct suite *s = OWNER_OF(signals, struct suite, signals);
	struct fail why = { .text = "" };

	if (signal != SIGHUP)
		suite_stop(s);
	else if (!suite_reload(s, NULL, &why))
		log_put(LOG_config, "reload refused: %s", why.text);
}

static bool
add_processes(struct suite *s, struct fail *why)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned many = s->conf->daemon_processes ? (unsigned)s->conf->daemon_processes : cores > 0 ? (unsigned)cores : 1;

	for (size_t r = 0; r < process_row_count; r++) {
		unsigned instances = process_rows[r].cores ? many : 1;

		for (unsigned i = 0; i < instances; i++) {
			struct process *p = &s->processes[s->nprocesses];

			if (s->nprocesses == SUITE_PROCESSES)
				return fail_set(why, FAIL_LIMIT, 0, "more than %d processes: lower daemon_processes", SUITE_PROCESSES);
			*p = (struct process){ .suite = s, .row = &process_rows[r], .instance = i, .instances = instances };
			(void)snprintf(p->label, sizeof(p->label), "%u", i);
			timer_init(&p->restart, s->loop, on_restart);
			s->nprocesses++;
		}
	}
	return true;
}

bool
suite_start(struct suite *s, struct fail *why)
{
	timer_init(&s->stop_limit, s->loop, on_stop_limit);
	if (!child_reaper_start(&s->reaper, s->loop, on_exit_of, why) || !child_signals_start(&s->signals, s->loop, on_signal, why))
		return false;
	if (!setup_sockets(s, why) || !add_processes(s, why))
		return false;
	for (unsigned i = 0; i < s->nprocesses; i++)
		if (!spawn(&s->processes[i], why))
			return false;
	for (unsigned i = 0; i < s->nprocesses; i++)
		wire_process(&s->processes[i], false);
	for (unsigned i = 0; i < s->nprocesses; i++)
		hand_over(&s->processes[i]);
	return true;
}
