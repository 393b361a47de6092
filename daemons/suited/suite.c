/* SPDX-License-Identifier: ISC */
#include "daemons/suited/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemons/reach.h"
#include "ipc/refuse.h"
#include "log/log.h"
#include "sys/syscalls.h"

enum {
	SETTLED_MS = 10000,     /* a process that lived so long died by accident, not by nature */
	HASTY_FREE = 5,         /* so many quick ends in a row are restarted at once */
	BACKOFF_MAX_MS = 30000,
};

static const struct process_row rows[] = {
#define ONE false
#define CORES true
#define PEERS true
#define PROCESS(name, bit, count, promises, files, memory, cpu, peers, job) { #name, bit, count, promises, files, memory, cpu, peers },
#include "daemons/maild/processes.def"
#undef ONE
#undef CORES
#undef PEERS
};

static const struct {
	const char *channel, *client, *server;
} wires[] = {
#define WIRE(channel, client, server) { #channel, #client, #server },
#include "daemons/maild/processes.def"
};

const struct process_row *
suite_own_row(void)
{
	size_t i = 0;

	while (strcmp(rows[i].name, "suited") != 0)
		i++;
	return &rows[i];
}

void
suite_fail(struct suite *s, int status, const char *text)
{
	log_put(LOG_failure, "%s", text);
	if (s->terminal >= 0)
		(void)dprintf(s->terminal, "maild: %s\n", text);
	s->status = status;
	loop_stop(s->loop); /* the daemons see their ctl channels close and end */
}

static bool
on_ctl_ready(struct channel *c, const struct ipc_ctl_ready *m)
{
	struct process *p = channel_owner(c);
	struct suite *s = p->suite;

	p->ready = true;
	(void)span_cstr(span_sub(m->walls, 0, sizeof(p->walls) - 1), p->walls, sizeof(p->walls));
	for (unsigned i = 0; i < s->nprocesses; i++)
		if (!s->processes[i].ready)
			return true;
	if (!s->serving) {
		s->serving = true;
		timer_stop(&s->start_limit);
		log_put(LOG_start, "all %u processes serve", s->nprocesses);
		(void)ipc_send_root_serving(s->root, &(struct ipc_root_serving){ .processes = s->nprocesses });
		(void)close(s->terminal);
		s->terminal = -1;
	}
	return true;
}

REFUSE(ctl, attempt) /* only mailctl doctor has walls tried */
REFUSE(ctl, forked)  /* templates are userd's */
REFUSE(ctl, gone)
REFUSE(ctl, idle)

static bool
on_ctl_limit(struct channel *c, const struct ipc_ctl_limit *m)
{
	return survey_limit(channel_owner(c), m);
}

static bool
on_ctl_state(struct channel *c, const struct ipc_ctl_state *m)
{
	return survey_counters(channel_owner(c), m);
}

static bool
on_ctl_limits_done(struct channel *c, const struct ipc_ctl_limits_done *m)
{
	return survey_done(channel_owner(c), m->id);
}

#define DISPATCH_DEF "ipc/ctl.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

/* Its end is heard of from the reaper; a daemon that breaks the protocol is ended. */
static void
on_ctl_closed(struct channel *c, const struct fail *why)
{
	struct process *p = channel_owner(c);

	(void)survey_done(p, p->survey_id);
	if (!p->suite->stopping && p->alive) {
		log_put(LOG_channel, "%s %s: %s", p->row->name, p->label, why->text);
		(void)ipc_send_root_kill(p->suite->root, &(struct ipc_root_kill){ .id = p->id });
	}
	channel_free(&p->ctl);
}

static const struct channel_ops ctl_ops = { dispatch_ctl, on_ctl_closed, NULL };

static bool
spawn(struct process *p, struct fail *why)
{
	struct suite *s = p->suite;
	struct launch what = { .root = s->root, .id = ++s->next_id, .name = p->row->name, .label = p->label, .instance = p->instance,
		.instances = p->instances, .unprivileged = s->unprivileged, .promises = p->row->promises,
		.files = p->row->files, .memory = p->row->memory, .cpu = p->row->cpu, .reach = reach_rows, .nreach = REACH_ROWS, .conf = s->conf };

	what.config = launch_config(s->conf, p->row->see, why);
	if (what.config < 0)
		return false;
	p->ready = false;
	p->since_ms = loop_now_ms(s->loop);
	p->since_wall_ms = loop_wall_ms(s->loop);
	p->id = what.id;
	p->pid = 0;
	p->ctl = launch_daemon(s->loop, &what, &ctl_ops, p, why);
	p->alive = p->ctl != NULL;
	if (p->alive)
		peers_arm(p);
	(void)close(what.config);
	return p->alive;
}

/* What it may ask of maild itself. */
static void
wire_root(struct process *p)
{
	struct ipc_ctl_peer peer = { .channel = SPAN("root"), .client = true, .name = SPAN("maild") };
	struct ipc_root_lend lend = { .all = false };
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
		log_put(LOG_channel, "no channel to maild for %s", p->row->name);
		return;
	}
	(void)ipc_send_root_lend(p->suite->root, &lend, fds[0]);
	(void)ipc_send_ctl_peer(p->ctl, &peer, fds[1]);
}

bool
suite_wire(struct process *client, struct process *server, const char *channel, bool mended)
{
	struct launch_end ends[] = {
		{ client->ctl, client->row->name, client->instance, client->crashed },
		{ server->ctl, server->row->name, server->instance, server->crashed },
	};
	struct fail why;

	if (!client->ctl || !server->ctl || launch_wire(&ends[0], &ends[1], channel, mended, &why))
		return true;
	log_put(LOG_channel, "%s", why.text);
	return !why.err; /* who is about to be found dead gets all of them anew */
}

static void
wire(struct process *client, struct process *server, const char *channel)
{
	if (!suite_wire(client, server, channel, false))
		(void)mend_later(client, server, channel);
}

const char *
suite_channel(struct span channel, const struct process *client, const struct process *server)
{
	for (size_t w = 0; w < sizeof(wires) / sizeof(wires[0]); w++)
		if (span_eq(channel, span_str(wires[w].channel)) && strcmp(client->row->name, wires[w].client) == 0 && strcmp(server->row->name, wires[w].server) == 0)
			return wires[w].channel;
	return NULL;
}

/* Every channel that a process has; `both` also those it has with processes before it. */
static void
wire_process(struct process *p, bool both)
{
	struct suite *s = p->suite;

	for (size_t w = 0; w < sizeof(wires) / sizeof(wires[0]); w++) {
		if (strcmp(p->row->name, wires[w].client) == 0 && strcmp(wires[w].server, "maild") == 0)
			wire_root(p);
		for (unsigned i = 0; i < s->nprocesses; i++) {
			struct process *peer = &s->processes[i];

			if (strcmp(p->row->name, wires[w].client) == 0 && strcmp(peer->row->name, wires[w].server) == 0)
				wire(p, peer, wires[w].channel);
			else if (both && strcmp(p->row->name, wires[w].server) == 0 && strcmp(peer->row->name, wires[w].client) == 0)
				wire(peer, p, wires[w].channel);
		}
	}
}

static void
hand_file(struct process *p, const char *purpose, const char *path)
{
	struct ipc_ctl_file file = { .purpose = span_str(purpose), .path = span_str(path) };
	struct fail why;
	int fd = ask_file(p->suite, file.path, false, &why);

	if (fd < 0) {
		log_put(LOG_config, "%s %s", purpose, why.text);
		fd = memfd_create("missing", MFD_CLOEXEC); /* keyd goes on with what it had of that name */
	}
	if (fd >= 0)
		(void)ipc_send_ctl_file(p->ctl, &file, fd);
}

/* What remoted shows to other hosts. */
static void
hand_client_key(struct process *p, struct span cert_file, struct span key_file)
{
	if (cert_file.n)
		hand_file(p, "client key", cert_file.p);
	if (cert_file.n && key_file.n && !span_eq(key_file, cert_file))
		hand_file(p, "client key", key_file.p);
}

/* keyd alone gets private keys, as open files: it needs no path to them. It
 * gets the certificates too, which the others fetch from it; the first file is that of clients that name no host. */
static void
hand_keys(struct process *p)
{
	const struct conf *conf = p->suite->conf;

	if (strcmp(p->row->name, "tokend") == 0 && conf->auth_oauth2_client_secret_file.n)
		hand_file(p, "secret", conf->auth_oauth2_client_secret_file.p);
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
	if (conf->smtpd_tls_CAfile.n)
		hand_file(p, "ca", conf->smtpd_tls_CAfile.p);
	hand_client_key(p, conf->smtp_tls_cert_file, conf->smtp_tls_key_file);
	for (size_t i = 0; i < conf->nroutes; i++)
		if (!span_eq(conf->routes[i].cert_file, conf->smtp_tls_cert_file))
			hand_client_key(p, conf->routes[i].cert_file, conf->routes[i].key_file);
}

bool
suite_open_log(struct suite *s, struct fail *why)
{
	int fd = ask_file(s, s->conf->maillog_file, true, why);

	if (fd < 0)
		return false;
	log_flush();
	(void)dup2(fd, STDERR_FILENO);
	(void)close(fd);
	log_open("suited", STDERR_FILENO, s->loop);
	return true;
}

void
suite_hand_over(struct process *p)
{
	struct suite *s = p->suite;
	struct ipc_ctl_start start = { .generation = s->generation };

	for (unsigned i = 0; i < s->nsockets; i++) {
		const struct socket_row *row = &s->sockets[i];
		struct ipc_ctl_listener listener = { .name = span_str(row->name), .control = row->control };
		int fd;

		if (!row->process || strcmp(row->process, p->row->name) != 0)
			continue;
		if ((fd = fcntl(row->fd, F_DUPFD_CLOEXEC, 0)) >= 0)
			(void)ipc_send_ctl_listener(p->ctl, &listener, fd);
		else
			log_put(LOG_failure, "%s %s does without listener %s: %s", p->row->name, p->label, row->name, strerror(errno));
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
	p->crashed = false; /* all have heard of it */
	suite_hand_over(p);
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
		if (s->processes[i].alive)
			return;
	log_put(LOG_stop, "the suite is down");
	admin_stopped(s);
	loop_stop(s->loop);
}

static struct process *
process_by_id(struct suite *s, uint64_t id)
{
	for (unsigned i = 0; i < s->nprocesses; i++)
		if (s->processes[i].alive && s->processes[i].id == id)
			return &s->processes[i];
	return NULL;
}

static bool
on_root_spawned(struct channel *c, const struct ipc_root_spawned *m)
{
	struct process *p = process_by_id(channel_owner(c), m->id);

	if (p)
		p->pid = (pid_t)m->pid;
	return true;
}

static bool
on_root_ended(struct channel *c, const struct ipc_root_ended *m)
{
	struct suite *s = channel_owner(c);
	struct process *p = process_by_id(s, m->id);
	int64_t wait;

	if (!p)
		return true;
	p->pid = 0;
	p->alive = p->ready = false;
	peers_ended(p, m->crashed, m->why);
	p->crashed = p->crashed || m->crashed;
	channel_free(&p->ctl);
	if (s->stopping) {
		finish_stop(s);
	} else if (m->pid == 0 && !s->serving) {
		char text[B_REPLY];

		(void)snprintf(text, sizeof(text), "%s: %.*s", p->row->name, SPAN_ARG(m->why));
		suite_fail(s, EXIT_FAILURE, text);
	} else if (!m->pid || !start_lost(p, m->why)) {
		wait = m->pid ? backoff_ms(p) : BACKOFF_MAX_MS;
		log_put(LOG_child, "%s %s pid=%u ended: %.*s; restart in %lld ms", p->row->name, p->label, m->pid, SPAN_ARG(m->why), (long long)wait);
		(void)timer_set(&p->restart, wait);
	}
	return true;
}

static bool
on_root_boot(struct channel *c, const struct ipc_root_boot *m, int fd)
{
	struct suite *s = channel_owner(c);

	s->unprivileged = m->unprivileged;
	(void)span_cstr(m->path, s->config_path, sizeof(s->config_path));
	suite_begin(s, fd);
	return true;
}

/* What is asked over this channel is not waited for. */
REFUSE(root, done)
REFUSE_FD(root, given)

#define DISPATCH_DEF "ipc/root.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

static void
on_root_closed(struct channel *c, const struct fail *why)
{
	struct suite *s = channel_owner(c);

	suite_fail(s, EXIT_FAILURE, why->text); /* which goes with the channel */
	channel_free(&s->root);
}

const struct channel_ops suite_root_ops = { dispatch_root, on_root_closed, NULL };

static void
on_stop_limit(struct timer *t)
{
	struct suite *s = OWNER_OF(t, struct suite, stop_limit);

	for (unsigned i = 0; i < s->nprocesses; i++)
		if (s->processes[i].alive) {
			log_put(LOG_child, "%s %s did not stop in time: killed", s->processes[i].row->name, s->processes[i].label);
			(void)ipc_send_root_kill(s->root, &(struct ipc_root_kill){ .id = s->processes[i].id });
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

static void
on_signal(struct child_signals *signals, int signal)
{
	struct suite *s = OWNER_OF(signals, struct suite, signals);

	if (signal == SIGHUP)
		reload_by_signal(s);
	else
		suite_stop(s);
}

static bool
add_processes(struct suite *s, struct fail *why)
{
	unsigned many = s->conf->daemon_processes ? (unsigned)s->conf->daemon_processes : s->cores;

	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		unsigned instances = rows[r].cores ? many : 1;

		for (unsigned i = 0; i < instances && strcmp(rows[r].name, "suited") != 0; i++) {
			struct process *p = &s->processes[s->nprocesses];

			if (s->nprocesses == SUITE_PROCESSES)
				return fail_set(why, FAIL_LIMIT, 0, "more than %d processes: lower daemon_processes", SUITE_PROCESSES);
			*p = (struct process){ .suite = s, .row = &rows[r], .instance = i, .instances = instances };
			(void)snprintf(p->label, sizeof(p->label), "%u", i);
			timer_init(&p->restart, s->loop, on_restart);
			s->nprocesses++;
		}
	}
	return true;
}

bool
suite_listen(struct suite *s, struct fail *why)
{
	timer_init(&s->stop_limit, s->loop, on_stop_limit);
	return child_signals_start(&s->signals, s->loop, on_signal, why);
}

bool
suite_start(struct suite *s, struct fail *why)
{
	if (!setup_sockets(s, why) || !add_processes(s, why))
		return false;
	for (unsigned i = 0; i < s->nprocesses; i++)
		if (!spawn(&s->processes[i], why))
			return false;
	for (unsigned i = 0; i < s->nprocesses; i++)
		wire_process(&s->processes[i], false);
	for (unsigned i = 0; i < s->nprocesses; i++)
		suite_hand_over(&s->processes[i]);
	start_begin(s);
	return true;
}
