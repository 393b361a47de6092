/* SPDX-License-Identifier: ISC */
#include "service/service.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "service/control.h"
#include "service/early.h"
#include "service/handed.h"
#include "service/probe.h"
#include "service/twins.h"
#include "service/walls.h"
#include "sys/child.h"
#include "sys/limits.h"
#include "sys/memory.h"
#include "sys/scheduling.h"
#include "sys/syscalls.h"

struct skeleton {
	struct service service;
	const struct service_ops *ops;
	struct channel *ctl;
	struct arena arena; /* of service.conf */
	struct list controls; /* service/control.h */
	struct list early;    /* service/early.h: until it is open */
	struct sandbox_report sandbox;
	struct twins twins; /* of a template */
	struct child_label label; /* argv[1] */
	unsigned promises; /* of system calls, from the parent */
	bool seccomp;      /* they are kept by the kernel */
	struct walls walls; /* from the parent */
	struct syscalls_filter filter; /* of a template, for its copies */
	void *filling; /* of a template: memory_fill() */
	bool booted, open, started, twin; /* open: its siblings are heard; twin: a copy of a template */
	int status; /* exit status */
};

static bool
give_up(struct skeleton *k, const struct fail *why)
{
	log_put(LOG_failure, "%s", why->text);
	k->status = 1;
	loop_stop(k->service.loop);
	return true;
}

/* Without a channel or a listener that nobody gives it again it would be of no use; it is started anew. */
static const struct fail no_room = { .class = FAIL_TEMP, .text = "no memory for what it is given" };

static const struct service_channel *
find_channel(const struct skeleton *k, struct span name, enum channel_side side)
{
	for (size_t i = 0; i < k->ops->nchannels; i++)
		if (k->ops->channels[i].side == side && span_eq(name, span_str(k->ops->channels[i].type->name)))
			return &k->ops->channels[i];
	return NULL;
}

/* Makes the configuration in fd the one in force; the old one is left in *old. */
static bool
take_config(struct skeleton *k, int fd, struct arena *old, struct fail *why)
{
	struct arena fresh;
	const struct conf *conf = NULL;
	bool ok;

	arena_init(&fresh, CONF_ARENA_MAX);
	ok = conf_load_fd(fd, &fresh, &conf, NULL, why);
	(void)close(fd);
	if (!ok) {
		arena_free(&fresh);
		return false;
	}
	*old = k->arena;
	k->arena = fresh;
	k->service.conf = conf;
	log_set_level((enum log_level)(conf->log_level - CONF_LOG_DEBUG));
	return true;
}

static bool
on_ctl_boot(struct channel *c, const struct ipc_ctl_boot *m, int fd)
{
	struct skeleton *k = channel_owner(c);
	struct fail why = { .text = "" };
	struct arena none;

	if (k->booted) {
		(void)close(fd);
		return false;
	}
	k->booted = true;
	k->service.instance = m->instance;
	k->service.instances = m->instances;
	k->service.unprivileged = m->unprivileged;
	k->promises = m->promises;
	walls_limit(&k->walls, m);
	if (!take_config(k, fd, &none, &why) || !k->ops->on_boot(&k->service, &why))
		return give_up(k, &why);
	return true;
}

static bool
on_ctl_reach(struct channel *c, const struct ipc_ctl_reach *m)
{
	struct skeleton *k = channel_owner(c);

	return k->booted && !k->started && walls_grant(&k->walls, m);
}

static bool
on_ctl_template(struct channel *c, const struct ipc_ctl_template *m)
{
	struct skeleton *k = channel_owner(c);
	struct sandbox walls = { .files = 0 };
	struct fail why = { .text = "" };

	if (!k->booted || k->started || k->twin || k->twins.on || !k->ops->on_template)
		return false;
	k->ops->on_template(&k->service, &walls);
	if (!syscalls_prepare(k->promises, &k->filter, &why) || !sandbox_enter(&walls, &k->sandbox, &why) ||
	    !syscalls_limit(k->promises | PROMISE_TWINS, &k->seccomp, &why))
		return give_up(k, &why);
	k->filling = memory_fill();
	if (!twins_start(&k->twins, k->service.loop, c, &why))
		return give_up(k, &why);
	child_rename("template");
	k->service.generation = m->generation;
	log_put(LOG_start, "template generation=%u", m->generation);
	return true;
}

static bool
on_ctl_fork(struct channel *c, const struct ipc_ctl_fork *m, int fd)
{
	struct skeleton *k = channel_owner(c);

	if (k->twins.on && !k->service.stopping) {
		twins_ask(&k->twins, m, fd);
		return true;
	}
	(void)close(fd);
	return k->twins.on;
}

static bool
on_ctl_born(struct channel *c, const struct ipc_ctl_born *m)
{
	struct skeleton *k = channel_owner(c);
	struct fail why = { .text = "" };

	if (!k->twin || k->booted)
		return false;
	k->booted = true;
	k->service.generation = m->generation;
	return k->ops->on_boot(&k->service, &why) || give_up(k, &why);
}

static bool
on_ctl_peer(struct channel *c, const struct ipc_ctl_peer *m, int fd)
{
	struct skeleton *k = channel_owner(c);
	const struct service_channel *sc = find_channel(k, m->channel, m->client ? CHANNEL_CLIENT : CHANNEL_SERVER);

	if (!k->booted || !sc) {
		log_put(LOG_channel, "no place for channel %.*s to %.*s", SPAN_ARG(m->channel), SPAN_ARG(m->name));
		(void)close(fd);
		return k->booted;
	}
	if (!k->open)
		return early_peer(&k->early, m, fd) || give_up(k, &no_room);
	k->service.peer_crashed = m->crashed;
	handed_sibling(&k->service, sc, fd, m);
	k->service.peer_crashed = false;
	return true;
}

static bool
on_ctl_listener(struct channel *c, const struct ipc_ctl_listener *m, int fd)
{
	struct skeleton *k = channel_owner(c);

	if (!k->open)
		return early_listener(&k->early, m, fd) || give_up(k, &no_room);
	if (m->control) {
		const struct service_channel *sc = find_channel(k, m->name, CHANNEL_SERVER);

		if (sc) {
			control_open(&k->controls, &k->service, sc, fd);
			return true;
		}
	} else if (k->ops->on_listener && k->service.conf) {
		const struct conf_listener *block = conf_listener_find(k->service.conf, m->name);

		if (block) {
			k->ops->on_listener(&k->service, block, fd);
			return true;
		}
	}
	log_put(LOG_failure, "no place for listener %.*s", SPAN_ARG(m->name));
	(void)close(fd);
	return true;
}

static bool
on_ctl_file(struct channel *c, const struct ipc_ctl_file *m, int fd)
{
	struct skeleton *k = channel_owner(c);

	if (span_eq(m->purpose, SPAN("log"))) {
		log_flush();
		if (dup2(fd, STDERR_FILENO) >= 0)
			log_open(k->service.name, STDERR_FILENO, k->service.loop);
		(void)close(fd);
		if (k->ops->on_log && k->booted)
			k->ops->on_log(&k->service);
	} else if (span_eq(m->purpose, SPAN("box"))) {
		handed_box(k->service.loop, fd);
	} else if (k->ops->on_file) {
		k->ops->on_file(&k->service, m->purpose, m->path, fd);
	} else {
		(void)close(fd);
	}
	return true;
}

static struct sandbox
walls_of(struct skeleton *k)
{
	struct sandbox found = k->walls.granted;

	if (k->ops->on_sandbox)
		k->ops->on_sandbox(&k->service, &found);
	return walls_within(&k->walls, found);
}

static bool
enter_sandbox(struct skeleton *k, struct fail *why)
{
	struct sandbox walls = walls_of(k);
	const char *missing;

	if (!sandbox_enter(&walls, &k->sandbox, why) || !sandbox_verify(&walls, &k->sandbox, why) ||
	    !(k->filter.code ? syscalls_limit_to(&k->filter, &k->seccomp, why) : syscalls_limit(k->promises, &k->seccomp, why)) ||
	    (k->seccomp && !sandbox_verify_calls(why)))
		return false;
	missing = sandbox_missing(&k->sandbox, k->seccomp);
	if (missing && k->service.conf->sandbox_required)
		return fail_set(why, FAIL_PERM, 0, "sandbox_required: %s", missing);
	if (missing)
		log_put(LOG_degraded, "sandbox: %s", missing);
	return true;
}

static bool
on_ctl_probe(struct channel *c, const struct ipc_ctl_probe *m)
{
	struct skeleton *k = channel_owner(c);
	struct probe probe = { .what = m, .program = k->service.name, .promises = k->promises };
	struct fail why = { .text = "" };
	struct sandbox walls;

	if (!k->booted || k->started)
		return false;
	k->service.probing = true;
	probe_bare(&probe);
	walls = walls_of(k);
	probe.tcp_bind = walls.tcp_bind;
	if (!(k->ops->raise_walls ? k->ops->raise_walls(&k->service, &k->sandbox, &why) : sandbox_enter(&walls, &k->sandbox, &why)) ||
	    !syscalls_enforce(k->promises, &why))
		return give_up(k, &why);
	probe_all(&probe, c);
	service_exit(&k->service);
	return true;
}

static bool
tell_ready(struct skeleton *k)
{
	char walls[128];
	struct ipc_ctl_ready ready = { .generation = k->service.generation, .walls = span_str(sandbox_words(&k->sandbox, k->seccomp, walls, sizeof(walls))) };

	return ipc_send_ctl_ready(k->ctl, &ready);
}

void
service_walls(struct service *s, const struct sandbox_report *report)
{
	struct skeleton *k = OWNER_OF(s, struct skeleton, service);

	k->sandbox = *report;
	(void)tell_ready(k);
}

static bool
on_ctl_start(struct channel *c, const struct ipc_ctl_start *m)
{
	struct skeleton *k = channel_owner(c);
	struct fail why = { .text = "" };

	if (!k->booted)
		return false;
	if (!k->started && !enter_sandbox(k, &why))
		return give_up(k, &why);
	k->service.generation = m->generation;
	k->open = true;
	early_hand_on(&k->early, c, on_ctl_peer, on_ctl_listener);
	if (k->ops->on_start && !k->ops->on_start(&k->service, &why))
		return give_up(k, &why);
	log_put(k->started ? LOG_reload : LOG_start, "instance=%u generation=%u", k->service.instance, m->generation);
	k->started = true;
	return tell_ready(k);
}

static bool
on_ctl_reload(struct channel *c, const struct ipc_ctl_reload *m, int fd)
{
	struct skeleton *k = channel_owner(c);
	const struct conf *before = k->service.conf;
	struct fail why = { .text = "" };
	struct arena old;

	(void)m;
	if (!k->booted) {
		(void)close(fd);
		return false;
	}
	if (!take_config(k, fd, &old, &why)) {
		log_put(LOG_config, "reload refused: %s", why.text);
		return true;
	}
	control_close(&k->controls);
	if (k->ops->on_reload)
		k->ops->on_reload(&k->service, before);
	arena_free(&old);
	return true;
}

static void
begin_stop(struct skeleton *k)
{
	if (k->service.stopping)
		return;
	k->service.stopping = true;
	control_close(&k->controls);
	if (twins_live(&k->twins)) /* who would die with it: they end by themselves */
		k->twins.ctl = NULL;
	else if (k->ops->on_stop && k->started)
		k->ops->on_stop(&k->service);
	else
		service_exit(&k->service);
}

static bool
on_ctl_stop(struct channel *c, const struct ipc_ctl_stop *m)
{
	(void)m;
	begin_stop(channel_owner(c));
	return true;
}

static bool
on_ctl_ask(struct channel *c, const struct ipc_ctl_ask *m)
{
	struct skeleton *k = channel_owner(c);
	struct buf text;
	bool ok;

	buf_init(&text, B_REPLY);
	if (k->ops->on_state)
		k->ops->on_state(&k->service, &text);
	ok = ipc_send_ctl_state(c, &(struct ipc_ctl_state){ .id = m->id, .text = buf_span(&text) });
	buf_free(&text);
	return ok;
}

static bool
on_ctl_limits(struct channel *c, const struct ipc_ctl_limits *m)
{
	return handed_limits(c, m);
}

static bool
on_ctl_suspect(struct channel *c, const struct ipc_ctl_suspect *m)
{
	return handed_suspect(channel_loop(c), m);
}

static bool
on_ctl_crash(struct channel *c, const struct ipc_ctl_crash *m)
{
	struct skeleton *k = channel_owner(c);

	return k->ops->on_crash && k->booted && k->ops->on_crash(&k->service, m);
}

#define DISPATCH_DEF "ipc/ctl.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

/* What stands behind the message that made it give up counts on what there is not. */
static bool
on_ctl_message(struct channel *c, unsigned type, const void *m, int fd)
{
	const struct skeleton *k = channel_owner(c);

	if (!k->status)
		return dispatch_ctl(c, type, m, fd);
	if (fd >= 0)
		(void)close(fd);
	return true;
}

/* Without a parent nobody could wire or stop this daemon. */
static void
on_ctl_closed(struct channel *c, const struct fail *why)
{
	struct skeleton *k = channel_owner(c);

	(void)why;
	if (!k->service.stopping)
		log_put(LOG_stop, "the parent is gone");
	begin_stop(k);
}

static const struct channel_ops ctl_ops = { on_ctl_message, on_ctl_closed, NULL };

void
service_exit(struct service *s)
{
	loop_stop(s->loop);
}

const char *
service_data_path(const struct service *s, char *path)
{
	(void)snprintf(path, B_PATH, "%s/%s", s->conf->data_directory.p, s->name);
	return path;
}

static bool
ctl_is_there(void)
{
	int type = 0;
	socklen_t len = sizeof(type);

	return getsockopt(CHILD_CTL, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET;
}

static bool
open_ctl(struct skeleton *k)
{
	(void)fcntl(CHILD_CTL, F_SETFD, FD_CLOEXEC);
	(void)ioctl(CHILD_CTL, FIONBIO, &(int){ 1 });
	list_init(&k->controls);
	list_init(&k->early);
	list_init(&k->service.siblings);
	k->service.loop = loop_new();
	if (!k->service.loop)
		return false;
	log_open(k->ops->name, STDERR_FILENO, k->service.loop);
	k->ctl = channel_new(k->service.loop, CHILD_CTL, &ipc_channel_ctl, CHANNEL_SERVER, &ctl_ops, k);
	k->service.ruler = k->ctl;
	return k->ctl != NULL;
}

/* In a copy: the template's loop and channel go first, whose descriptors are closed.  Their pages are the
 * copy's own in any case, since the template goes on writing to them: its own loop lies there then. */
static bool
become_twin(struct skeleton *k)
{
	log_open(k->ops->name, STDERR_FILENO, NULL);
	channel_forget(&k->ctl);
	loop_free(&k->service.loop);
	k->twins = (struct twins){ .on = false };
	k->booted = false;
	k->twin = true;
	child_rename(k->ops->name);
	if (!open_ctl(k))
		return false;
	channel_slim(k->ctl);
	return true;
}

struct start {
	const struct service_ops *ops;
	struct child_label label;
};

/* Its frame, and those of the loop above it, are what a copy of a template has of the stack. */
static int
serve(void *arg)
{
	const struct start *s = arg;
	struct skeleton k = { .ops = s->ops, .service = { .name = s->ops->name }, .label = s->label };

	if (!open_ctl(&k))
		return 71;
	for (;;) {
		loop_run(k.service.loop);
		if (k.status || k.service.stopping || !twins_asked(&k.twins))
			break;
		if (twins_make(&k.twins, &k.label) && !become_twin(&k))
			return 71;
	}
	if (s->ops->on_end)
		s->ops->on_end(&k.service);
	(void)channel_drain(k.ctl, 100);
	log_put(LOG_stop, "status=%d", k.status);
	log_flush();
	return k.status;
}

int
service_main(const struct service_ops *ops, int argc, char **argv)
{
	struct start start = { ops };

	if (argc > 1)
		start.label = (struct child_label){ argv[1], strlen(argv[1]) + 1 };
	if (!ctl_is_there()) {
		(void)fprintf(stderr, "%s is a part of pillarpost and is started by maild; see mailctl(8)\n", ops->name);
		return 64;
	}
	if (chdir("/") < 0) /* we were started in the programs' folder */
		return 71;
	(void)signal(SIGPIPE, SIG_IGN);
	scheduling_of_daemon(ops->gathers);
	return memory_on_page(serve, &start);
}
