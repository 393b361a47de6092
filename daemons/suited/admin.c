/* SPDX-License-Identifier: ISC
 *
 * the control socket suite_admin: status, limits, reload, stop, for mailctl.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemons/suited/suite.h"
#include "ipc/control.h"
#include "log/log.h"

static bool
answer(struct channel *c, uint64_t id, bool ok, const char *text)
{
	return ipc_send_suite_admin_done(c, &(struct ipc_suite_admin_done){ .id = id, .ok = ok, .text = span_str(text) });
}

static const char *
user_of(const struct suite *s, const struct process_row *row, char *name, size_t size)
{
	if (s->unprivileged)
		(void)snprintf(name, size, "uid %u", (unsigned)getuid());
	else
		(void)snprintf(name, size, "%s%s", s->conf->daemon_user_prefix.p, row->name);
	return name;
}

/* Itself: no row of the others' table. */
static bool
tell_itself(struct channel *c, const struct suite *s, uint64_t id)
{
	char user[B_NAME];
	struct ipc_suite_admin_process row = { .id = id, .name = SPAN("suited"), .pid = (uint32_t)getpid(), .user = span_str(user_of(s, suite_own_row(), user, sizeof(user))),
		.since_ms = (uint64_t)s->since_wall_ms, .ready = s->serving, .text = span_str(s->walls) };

	return ipc_send_suite_admin_process(c, &row);
}

static bool
on_suite_admin_status(struct channel *c, const struct ipc_suite_admin_status *m)
{
	const struct suite *s = ((struct admin_request *)channel_owner(c))->suite;

	if (m->walls && !tell_itself(c, s, m->id))
		return false;
	for (unsigned i = 0; i < s->nprocesses; i++) {
		const struct process *p = &s->processes[i];
		char user[B_NAME];
		struct ipc_suite_admin_process row = { .id = m->id, .name = span_str(p->row->name), .instance = p->instance, .pid = (uint32_t)p->pid,
			.user = span_str(user_of(s, p->row, user, sizeof(user))), .restarts = p->restarts,
			.since_ms = (uint64_t)p->since_wall_ms, .ready = p->ready, .text = span_str(p->walls) };

		if (!ipc_send_suite_admin_process(c, &row))
			return false;
	}
	return answer(c, m->id, true, "");
}

static bool
survey(struct channel *c, enum survey_of of, uint64_t id)
{
	struct admin_request *r = channel_owner(c);

	return survey_begin(r->suite, of, r, id) || answer(c, id, false, "somebody else is asking; try again");
}

static bool
on_suite_admin_limits(struct channel *c, const struct ipc_suite_admin_limits *m)
{
	return survey(c, SURVEY_LIMITS, m->id);
}

static bool
on_suite_admin_count(struct channel *c, const struct ipc_suite_admin_count *m)
{
	return survey(c, SURVEY_COUNTERS, m->id);
}

static bool
on_suite_admin_reload(struct channel *c, const struct ipc_suite_admin_reload *m)
{
	struct suite *s = ((struct admin_request *)channel_owner(c))->suite;
	struct conf_errors *errors = calloc(1, sizeof(*errors));
	struct fail why = { .text = "" };
	char line[B_REPLY];
	struct buf later;
	bool ok;

	buf_init(&later, sizeof(line) - 1);
	ok = reload(s, &later, errors, &why);
	for (size_t i = 0; conf_errors_line(errors, i, s->config_path, line, sizeof(line)); i++)
		(void)ipc_send_suite_admin_error(c, &(struct ipc_suite_admin_error){ .id = m->id, .text = span_str(line) });
	free(errors);
	(void)span_cstr(buf_span(&later), line, sizeof(line));
	buf_free(&later);
	return answer(c, m->id, ok, ok ? line : why.text);
}

static bool
on_suite_admin_stop(struct channel *c, const struct ipc_suite_admin_stop *m)
{
	struct admin_request *r = channel_owner(c);

	r->stop_id = m->id;
	r->suite->stopper = r;
	suite_stop(r->suite);
	return true;
}

#define DISPATCH_DEF "ipc/suite_admin.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
on_closed(struct channel *c, const struct fail *why)
{
	struct admin_request *r = channel_owner(c);

	(void)why;
	survey_forget(r->suite, r);
	if (r->suite->stopper == r)
		r->suite->stopper = NULL;
	channel_free(&r->channel);
	free(r);
}

static const struct channel_ops admin_ops = { dispatch_suite_admin, on_closed, NULL };

static void
on_admin(struct listener *l, int fd, const struct netaddr *peer)
{
	struct admin_request *r = calloc(1, sizeof(*r));

	(void)peer;
	if (!r) {
		(void)close(fd);
		return;
	}
	r->suite = OWNER_OF(l, struct suite, admin);
	r->channel = channel_new(l->watch.loop, fd, &ipc_channel_suite_admin, CHANNEL_SERVER, &admin_ops, r);
	if (!r->channel)
		free(r);
}

void
admin_stopped(struct suite *s)
{
	if (!s->stopper)
		return;
	(void)answer(s->stopper->channel, s->stopper->stop_id, true, "");
	(void)channel_drain(s->stopper->channel, 1000);
}

bool
admin_open(struct suite *s, struct fail *why)
{
	char path[B_PATH];
	int fd = ask_control(s, control_path(path, s->conf->run_directory, "suite_admin"), 0600, why);

	return fd >= 0 && listener_open(&s->admin, s->loop, fd, on_admin);
}
