/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemons/reach.h"
#include "ipc/control.h"
#include "service/launch.h"
#include "sys/child.h"
#include "sys/passrights.h"
#include "sys/syscalls.h"
#include "tests/siblings/siblings.h"

enum { MIB = 1 << 20, SLOW_MS = 60000, START_MS = 60000, EARLY = 8 };

/* The rows of processes.def, with what the rig must know besides. */
const struct target targets[] = {
	{ "maild", 0, 0, false, false, 96 * MIB },
#define PROCESS(name, bit, count, promises, files, memory, cpu, peers, job) { #name, bit, promises, sizeof(#name) == sizeof("suited") && #name[4] == 'e', false, 96 * MIB },
#define OWNED(name, bit, promises, files, memory, cpu, job) { #name, bit, promises, true, true, 96 * MIB },
#include "daemons/maild/processes.def"
};
const size_t ntargets = sizeof(targets) / sizeof(targets[0]);

static const struct wire_row {
	const char *channel, *client, *server;
} wires[] = {
#define WIRE(channel, client, server) { #channel, #client, #server },
#include "daemons/maild/processes.def"
	{ "session", "userd", "mailboxd" }, /* made by userd itself */
	{ "mailbox", "locald", "deliverd" },
	{ "root", "suited", "maild" }, /* lent */
};
enum { MADE_ELSEWHERE = 3 }; /* the last ones: nobody gives them to their clients */

static const struct {
	const char *channel, *server;
} controls[] = {
#define CONTROL(channel, server, mode) { #channel, #server },
#include "daemons/maild/processes.def"
};

static bool
is(const struct rig *r, const char *name)
{
	return strcmp(r->target->name, name) == 0;
}

static bool
pair(int fds[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0;
}

/* ---- its wires ---- */

static void
greet(struct rig *r, struct end *e)
{
	char home[B_PATH];
	struct ipc_session_owner owner = { .user = SPAN("bob@example.test") };

	if (e->type != &ipc_channel_session || e->side != CHANNEL_CLIENT)
		return;
	(void)snprintf(home, sizeof(home), "%s/mail/example.test/bob", r->dir);
	owner.home = span_str(home);
	end_say(r, e, IPC_session_owner, &owner, -1);
}

static void
wire(struct rig *r, const struct ipc_channel *type, bool we_are_client, const char *peer, unsigned instance)
{
	struct ipc_ctl_peer m = { .channel = span_str(type->name), .client = !we_are_client, .name = span_str(peer), .instance = instance };
	bool honest = type == &ipc_channel_root && !we_are_client;
	struct end *e;
	int fds[2];

	if (!pair(fds) || !(e = end_new(r, honest ? END_HONEST : END_WIRE, type, we_are_client ? CHANNEL_CLIENT : CHANNEL_SERVER, peer, fds[0])))
		return;
	e->instance = instance;
	if (is(r, "maild")) {
		end_say(r, r->ctl, IPC_root_lend, &(struct ipc_root_lend){ .all = strcmp(peer, "suited") == 0 }, fds[1]);
		return;
	}
	end_say(r, r->ctl, IPC_ctl_peer, &m, fds[1]);
	greet(r, e);
}

static void
wire_all(struct rig *r)
{
	for (size_t i = 0; i < sizeof(wires) / sizeof(wires[0]); i++) {
		const struct ipc_channel *type = ipc_channel_named(span_str(wires[i].channel));

		if (is(r, wires[i].server))
			wire(r, type, true, wires[i].client, 0);
		else if (is(r, wires[i].client) && i < sizeof(wires) / sizeof(wires[0]) - MADE_ELSEWHERE)
			wire(r, type, false, wires[i].server, 0);
	}
}

static void
control_at(const struct rig *r, const char *channel, struct sockaddr_un *at)
{
	*at = (struct sockaddr_un){ .sun_family = AF_UNIX };
	(void)snprintf(at->sun_path, sizeof(at->sun_path), "%s/sock/%s", r->dir, channel);
}

static void
control_connect(struct rig *r, const char *channel, enum end_kind kind)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un at;

	control_at(r, channel, &at);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0)
		(void)end_new(r, kind, ipc_channel_named(span_str(channel)), CHANNEL_CLIENT, "mailctl", fd);
	else if (fd >= 0)
		(void)close(fd);
}

static void
control_open(struct rig *r)
{
	for (size_t i = 0; i < sizeof(controls) / sizeof(controls[0]); i++) {
		struct ipc_ctl_listener m = { .name = span_str(controls[i].channel), .control = true };
		struct sockaddr_un at;
		struct fail why;

		if (!is(r, controls[i].server))
			continue;
		control_at(r, controls[i].channel, &at);
		end_say(r, r->ctl, IPC_ctl_listener, &m, control_listen(at.sun_path, 0600, &why));
	}
}

static void
control_connect_all(struct rig *r)
{
	for (size_t i = 0; i < sizeof(controls) / sizeof(controls[0]); i++)
		for (int n = 0; n < 3 && is(r, controls[i].server); n++)
			control_connect(r, controls[i].channel, END_CONTROL);
}

void
target_rewire(struct rig *r, struct end *e)
{
	const struct ipc_channel *type = e->type;
	bool client = e->side == CHANNEL_CLIENT;
	struct end *parent = e->parent;
	enum end_kind kind = e->kind;
	const char *peer = e->peer;
	uint64_t child = e->child;
	unsigned instance = e->instance;
	struct tally *tally = e->tally;
	bool left = e->left;

	for (size_t i = 0; i < r->nends; i++) /* a ctl channel takes with it what was given over it */
		if (r->ends[i]->parent == e)
			r->ends[i]->parent = NULL;
	end_free(r, e);
	if (kind == END_CTL) {
		r->ctl = NULL;
		return;
	}
	r->closed++;
	if (!left)
		tally_closed(tally);
	if (kind == END_WIRE && r->ctl)
		wire(r, type, client, peer, instance);
	else if (kind == END_CONTROL || kind == END_TOOL)
		control_connect(r, type->name, kind);
	else if (kind == END_GIVEN && child && parent)
		end_say(r, parent, IPC_root_ended, &(struct ipc_root_ended){ .id = child, .pid = 7, .why = SPAN("signal 11 (Segmentation fault)") }, -1);
}

/* ---- what it asks of its parents ---- */

static bool
told_by_root(struct rig *r, struct end *e, unsigned type, const void *m, int fd)
{
	const struct ipc_root_spawn *spawn = m;
	struct ipc_root_spawned spawned;
	struct end *child;
	char path[B_PATH + 1];
	struct fail why;
	int given;

	switch (type) {
	case IPC_root_settle:
	case IPC_root_lock:
		end_say(r, e, IPC_root_done, &(struct ipc_root_done){ .id = message_id_of(&e->type->messages[type], m), .ok = true }, -1);
		return false;
	case IPC_root_directory:
		if (span_cstr(((const struct ipc_root_directory *)m)->path, path, sizeof(path)))
			(void)mkdir(path, 0755);
		end_say(r, e, IPC_root_done, &(struct ipc_root_done){ .id = ((const struct ipc_root_directory *)m)->id, .ok = true }, -1);
		return false;
	case IPC_root_listen:
		(void)span_cstr(((const struct ipc_root_listen *)m)->path, path, sizeof(path));
		given = path[0] ? control_listen(path, 0600, &why) : fcntl(r->listener, F_DUPFD_CLOEXEC, 0);
		end_say(r, e, IPC_root_given, &(struct ipc_root_given){ .id = ((const struct ipc_root_listen *)m)->id }, given);
		return false;
	case IPC_root_open:
		(void)span_cstr(((const struct ipc_root_open *)m)->path, path, sizeof(path));
		given = ((const struct ipc_root_open *)m)->log ? fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0) : open(path, O_RDONLY | O_CLOEXEC);
		end_say(r, e, IPC_root_given, &(struct ipc_root_given){ .id = ((const struct ipc_root_open *)m)->id }, given);
		return false;
	case IPC_root_lend:
		(void)end_new(r, END_HONEST, &ipc_channel_root, CHANNEL_SERVER, "maild", fd);
		return true;
	case IPC_root_spawn:
		spawned = (struct ipc_root_spawned){ .id = spawn->id, .pid = 7 };
		end_say(r, e, IPC_root_spawned, &spawned, -1);
		child = end_new(r, END_GIVEN, &ipc_channel_ctl, CHANNEL_SERVER, "a daemon", fd);
		if (child) {
			child->child = spawn->id;
			child->parent = e;
			child->gone = r->nends > ENDS / 2;
		} else {
			end_say(r, e, IPC_root_ended, &(struct ipc_root_ended){ .id = spawn->id, .why = SPAN("too many") }, -1);
		}
		return true;
	case IPC_root_serving:
		r->ready = true;
		return false;
	default:
		return false;
	}
}

static bool
told_by_ctl(struct rig *r, struct end *e, unsigned type, const void *m, int fd)
{
	const struct ipc_ctl_peer *peer = m;

	switch (type) {
	case IPC_ctl_ready:
		r->ready = true;
		return false;
	case IPC_ctl_state:
		r->answered = ((const struct ipc_ctl_state *)m)->id;
		return false;
	case IPC_ctl_broken:
		r->broken++;
		return false;
	case IPC_ctl_start: /* we are a daemon now */
		end_say(r, e, IPC_ctl_ready, &(struct ipc_ctl_ready){ .walls = SPAN("landlock=0") }, -1);
		return false;
	case IPC_ctl_stop:
		e->gone = true;
		return false;
	case IPC_ctl_peer:
		if (!is(r, "suited") && rnd(r, 8) && ipc_channel_named(peer->channel) && r->nends < ENDS / 2)
			(void)end_new(r, END_GIVEN, ipc_channel_named(peer->channel), peer->client ? CHANNEL_CLIENT : CHANNEL_SERVER, "a daemon", fd);
		else
			(void)close(fd);
		return true;
	default:
		return false;
	}
}

bool
target_told(struct rig *r, struct end *e, const struct ipc_message *msg, unsigned type, const void *m, int fd)
{
	(void)msg;
	if (e->type == &ipc_channel_root && e->side == CHANNEL_SERVER)
		return told_by_root(r, e, type, m, fd);
	if (e == r->ctl && type == IPC_root_given && e->type == &ipc_channel_root)
		r->answered = ((const struct ipc_root_given *)m)->id;
	if (e->type == &ipc_channel_ctl)
		return told_by_ctl(r, e, type, m, fd);
	if (e->type == &ipc_channel_login && type == IPC_login_result) {
		r->login_id = ((const struct ipc_login_result *)m)->id;
		r->login_ok = ((const struct ipc_login_result *)m)->ok;
	}
	if (e->kind == END_TOOL && type == IPC_suite_admin_done)
		r->answered = ((const struct ipc_suite_admin_done *)m)->id;
	return false;
}

/* ---- its life ---- */

static bool
start_program(struct rig *r, int ctl)
{
	char program[B_PATH], config[B_PATH];
	char *argv[] = { (char *)(uintptr_t)r->target->name, (char *)(uintptr_t)"0", NULL, NULL };
	char *envp[] = { (char *)(uintptr_t)"PATH=/usr/bin:/bin",
		(char *)(uintptr_t)"ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:quarantine_size_mb=4:malloc_context_size=10:allocator_release_to_os_interval_ms=500",
		(char *)(uintptr_t)"UBSAN_OPTIONS=print_stacktrace=1", NULL };

	if (is(r, "maild")) { /* it looks for the others beside itself: see tests/siblings/run */
		(void)snprintf(program, sizeof(program), "%s/place/maild", r->dir);
		(void)snprintf(config, sizeof(config), "-c%s/etc/pillarpost.conf", r->dir);
		argv[1] = (char *)(uintptr_t)"-f";
		argv[2] = config;
	} else {
		(void)snprintf(program, sizeof(program), "daemons/%s/%s", r->target->name, r->target->name);
	}
	r->pid = fork();
	if (r->pid != 0)
		return r->pid > 0 || broke(r, "fork: %s", strerror(errno));
	if (dup2(r->null, 0) >= 0 && dup2(r->null, 1) >= 0 && dup2(ctl, CHILD_CTL) >= 0 && close_range(CHILD_CTL + 1, ~0U, 0) == 0)
		(void)execve(program, argv, envp);
	(void)dprintf(2, "%s: %s\n", program, strerror(errno));
	_exit(127);
}

static void
hand_file(struct rig *r, const char *purpose, const char *name)
{
	char path[B_PATH];
	struct ipc_ctl_file m = { .purpose = span_str(purpose), .path = SPAN("x") };

	(void)snprintf(path, sizeof(path), "%s/tls/%s", r->dir, name);
	end_say(r, r->ctl, IPC_ctl_file, &m, open(path, O_RDONLY | O_CLOEXEC));
}

static bool
alive(struct rig *r)
{
	int status;

	if (!r->pid || waitpid(r->pid, &status, WNOHANG) == 0)
		return r->pid != 0;
	r->pid = 0;
	if (!(r->target->mortal && WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
		char text[80];

		child_status_text(status, text, sizeof(text));
		(void)broke(r, "it ended: %s", text);
	}
	return false;
}

static void
ask(struct rig *r)
{
	if (r->asked != r->answered)
		return;
	r->asked++;
	r->asked_ms = now_ms();
	if (r->ctl && r->ctl->type == &ipc_channel_ctl)
		end_say(r, r->ctl, IPC_ctl_ask, &(struct ipc_ctl_ask){ .id = r->asked }, -1);
	if (r->ctl && is(r, "maild"))
		end_say(r, r->ctl, IPC_root_open, &(struct ipc_root_open){ .id = r->asked, .path = SPAN("/dev/null") }, -1);
	for (size_t i = 0; i < r->nends; i++)
		if (r->ends[i]->kind == END_TOOL)
			end_say(r, r->ends[i], IPC_suite_admin_status, &(struct ipc_suite_admin_status){ .id = r->asked }, -1);
}

/* A sibling need not wait until the daemon has been told to start; it has nothing yet that it could answer with. */
static void
speak_early(struct rig *r)
{
	int64_t began = now_ms();

	if (r->polite)
		return;
	for (size_t i = 0; i < r->nends; i++)
		for (int n = 0; n < EARLY && r->ends[i]->kind == END_WIRE; n++)
			end_attack(r, r->ends[i]);
	ask(r);
	while (r->asked != r->answered && alive(r) && !r->wrong[0]) {
		ends_read(r, 20);
		if (now_ms() - began > START_MS)
			(void)broke(r, "it does not answer before it is told to start");
	}
}

static void
hand_over(struct rig *r)
{
	struct ipc_ctl_boot boot = { .name = span_str(r->target->name), .instances = 1, .unprivileged = true, .promises = r->target->promises };
	struct fail why = { .text = "" };
	struct ipc_ctl_reach reach;
	char path[B_PATH];

	(void)snprintf(path, sizeof(path), "%s/data/%s", r->dir, r->target->name);
	(void)mkdir(path, 0700);
	end_say(r, r->ctl, IPC_ctl_boot, &boot, launch_config(r->conf, r->target->see, &why));
	for (size_t i = 0; i < REACH_ROWS; i++)
		if (launch_reach(&reach_rows[i], r->conf, r->target->name, path, &reach))
			end_say(r, r->ctl, IPC_ctl_reach, &reach, -1);
	wire_all(r);
	control_open(r);
	for (size_t i = 0; i < r->conf->nlisteners; i++)
		if ((is(r, "smtpd") && span_eq(r->conf->listeners[i].name, SPAN("smtp"))) || (is(r, "imapd") && span_eq(r->conf->listeners[i].name, SPAN("imap"))) ||
		    (is(r, "pop3d") && span_eq(r->conf->listeners[i].name, SPAN("pop3"))))
			end_say(r, r->ctl, IPC_ctl_listener, &(struct ipc_ctl_listener){ .name = r->conf->listeners[i].name }, fcntl(r->listener, F_DUPFD_CLOEXEC, 0));
	if (is(r, "keyd")) {
		hand_file(r, "cert", "cert.pem");
		hand_file(r, "key", "key.pem");
	}
	speak_early(r);
	if (r->ctl)
		end_say(r, r->ctl, IPC_ctl_start, &(struct ipc_ctl_start){ .generation = 0 }, -1);
}

/* suited has no ctl channel but a root channel, and maild's word that it may begin. */
static void
hand_over_suite(struct rig *r)
{
	char path[B_PATH];
	struct ipc_root_boot boot = { .unprivileged = true };

	(void)snprintf(path, sizeof(path), "%s/etc/pillarpost.conf", r->dir);
	boot.path = span_str(path);
	end_say(r, r->ctl, IPC_root_boot, &boot, open(path, O_RDONLY | O_CLOEXEC));
}

/* maild starts tests/siblings/stand_in as suited, which passes its root channel on to us. That
 * one is honest: health is asked over it, and hostile ones are lent. */
static int
await_stand_in(struct rig *r, int door)
{
	struct pollfd p = { .fd = door, .events = POLLIN };
	char byte;
	int fds[FRAME_FDS] = { -1 };
	unsigned nfds = 0;
	bool truncated;

	if (poll(&p, 1, START_MS) > 0)
		r->stand_in = accept4(door, NULL, NULL, SOCK_CLOEXEC);
	p.fd = r->stand_in;
	if (r->stand_in >= 0 && poll(&p, 1, START_MS) > 0)
		(void)frame_recv(r->stand_in, &byte, 1, fds, &nfds, &truncated);
	return nfds == 1 ? fds[0] : -1;
}

static bool
start_maild(struct rig *r)
{
	char path[B_PATH];
	struct fail why;
	int door, fd;

	(void)snprintf(path, sizeof(path), "%s/place/rig", r->dir);
	door = control_listen(path, 0600, &why);
	if (door < 0 || !start_program(r, r->null))
		return broke(r, "%s: %s", path, why.text);
	(void)setsockopt(door, SOL_SOCKET, SO_PASSRIGHTS, &(int){ 1 }, sizeof(int)); /* the stand-in gives us its ctl channel */
	fd = await_stand_in(r, door);
	(void)close(door);
	r->ctl = end_new(r, END_CTL, &ipc_channel_root, CHANNEL_CLIENT, "suited", fd);
	if (!r->ctl)
		return broke(r, "it does not start suited");
	for (int i = 0; i < 4; i++)
		wire_all(r);
	r->started++;
	return r->ready = true;
}

bool
target_start(struct rig *r)
{
	bool suite = is(r, "suited");
	int64_t began = now_ms();
	int fds[2];

	r->ready = false;
	r->asked = r->answered = 0;
	if (is(r, "maild"))
		return start_maild(r);
	if (!pair(fds))
		return broke(r, "socketpair: %s", strerror(errno));
	r->ctl = end_new(r, END_CTL, suite ? &ipc_channel_root : &ipc_channel_ctl, suite ? CHANNEL_SERVER : CHANNEL_CLIENT, suite ? "maild" : "suited", fds[0]);
	if (!r->ctl || !start_program(r, fds[1]))
		return false;
	(void)close(fds[1]);
	r->started++;
	if (suite)
		hand_over_suite(r);
	else
		hand_over(r);
	while (!r->ready && alive(r) && !r->wrong[0]) {
		ends_read(r, 20);
		if (now_ms() - began > START_MS)
			return broke(r, "it does not start");
	}
	control_connect_all(r);
	if (suite)
		control_connect(r, "suite_admin", END_TOOL);
	return r->ready && !r->wrong[0];
}

bool
target_healthy(struct rig *r)
{
	if (!alive(r))
		return false;
	if (r->asked != r->answered && now_ms() - r->asked_ms > SLOW_MS)
		return broke(r, "it does not answer any more");
	ask(r);
	return r->wrong[0] == '\0';
}

static void
free_ends(struct rig *r)
{
	while (r->nends)
		end_free(r, r->ends[0]);
	r->ctl = NULL;
}

bool
target_is_wired(const struct rig *r)
{
	return !is(r, "maild") && !is(r, "suited") && !r->target->mortal;
}

void
target_kill(struct rig *r)
{
	(void)kill(r->pid, r->pid ? SIGKILL : 0);
	r->pid = 0;
	free_ends(r);
	target_leave(r);
}

void
target_leave(struct rig *r)
{
	if (r->stand_in >= 0)
		(void)close(r->stand_in); /* which ends it */
	r->stand_in = -1;
}

bool
target_stop(struct rig *r)
{
	int64_t began = now_ms();

	if (r->ctl && r->ctl->type == &ipc_channel_ctl)
		end_say(r, r->ctl, IPC_ctl_stop, &(struct ipc_ctl_stop){ .grace_ms = 1000 }, -1);
	if (r->pid && is(r, "suited"))
		(void)kill(r->pid, SIGTERM);
	free_ends(r);
	target_leave(r);
	while (r->pid && now_ms() - began < SLOW_MS) {
		int status;

		if (waitpid(r->pid, &status, WNOHANG) == r->pid) {
			r->pid = 0;
			if (WIFSIGNALED(status) || WEXITSTATUS(status) > 1)
				return broke(r, "it ended with status 0x%x when it was stopped", (unsigned)status);
		}
		(void)poll(NULL, 0, 10);
	}
	if (r->pid) {
		(void)kill(r->pid, SIGKILL);
		(void)waitpid(r->pid, NULL, 0);
		r->pid = 0;
		return broke(r, "it did not stop");
	}
	return true;
}

size_t
target_rss(const struct rig *r)
{
	char path[64];
	unsigned long pages = 0, resident = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)r->pid);
	f = fopen(path, "re");
	if (f && fscanf(f, "%lu %lu", &pages, &resident) != 2)
		resident = 0;
	if (f)
		(void)fclose(f);
	return (size_t)resident * (size_t)sysconf(_SC_PAGESIZE);
}
