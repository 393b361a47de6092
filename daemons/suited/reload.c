/* SPDX-License-Identifier: ISC
 *
 * A changed configuration for a suite that runs: read whole or refused, then
 * handed to each daemon, or the daemon started anew where it needs that.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemons/suited/suite.h"
#include "log/log.h"

/* A rotated log is opened anew, for everybody. */
static void
reopen_log(struct suite *s)
{
	struct ipc_ctl_file file = { .purpose = SPAN("log"), .path = s->conf->maillog_file };
	struct fail why;
	int fd;

	if (!suite_open_log(s, &why)) {
		log_put(LOG_failure, "%s", why.text);
		return;
	}
	for (unsigned i = 0; i < s->nprocesses; i++)
		if (s->processes[i].ctl && (fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)) >= 0)
			(void)ipc_send_ctl_file(s->processes[i].ctl, &file, fd);
}

static bool
load_again(struct suite *s, struct arena *arena, const struct conf **conf, struct buf *later, struct conf_errors *errors, struct fail *why)
{
	struct conf_running running = { s->conf, later };
	int fd = ask_file(s, span_str(s->config_path), false, why);
	bool ok = fd >= 0 && conf_reload_fd(fd, &running, arena, conf, errors, why);

	if (fd >= 0)
		(void)close(fd);
	return ok;
}

/* Each error is a line of the log, whoever asked. */
static bool
refused(const struct suite *s, const struct conf_errors *errors, const struct fail *why)
{
	char line[B_REPLY];

	for (size_t i = 0; conf_errors_line(errors, i, s->config_path, line, sizeof(line)); i++)
		log_put(LOG_config, "%s", line);
	log_put(LOG_config, "reload refused: %s", why->text);
	return false;
}

bool
reload(struct suite *s, struct buf *later, struct conf_errors *errors, struct fail *why)
{
	struct arena fresh, old = s->arena;
	const struct conf *conf = NULL, *before = s->conf;
	struct fail known;
	unsigned left = 0;

	reopen_log(s); /* it may have been rotated, whatever the configuration is like */
	arena_init(&fresh, CONF_ARENA_MAX);
	if (!load_again(s, &fresh, &conf, later, errors, why)) {
		arena_free(&fresh);
		return refused(s, errors, why);
	}
	s->conf = conf;
	if (!setup_users(s, why) || !setup_sockets(s, why)) { /* a port that is taken: go on as before */
		s->conf = before;
		(void)(setup_users(s, &known) && setup_sockets(s, &known)); /* whose sockets are there: the others go */
		arena_free(&fresh);
		return refused(s, errors, why);
	}
	s->arena = fresh;
	s->generation++;
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
		if ((fd = launch_config(conf, p->row->see, why)) < 0) {
			log_put(LOG_failure, "%s %s goes on as it was configured: %s", p->row->name, p->label, why->text);
			left++;
			continue;
		}
		(void)ipc_send_ctl_reload(p->ctl, &reload, fd);
		suite_hand_over(p);
	}
	arena_free(&old);
	log_put(LOG_reload, "generation=%u%s%.*s", s->generation, buf_len(later) ? "; at the next start: " : "", SPAN_ARG(buf_span(later)));
	return left == 0 || fail_set(why, FAIL_TEMP, 0, "%u processes go on as they were configured: the log says why", left);
}

void
reload_by_signal(struct suite *s)
{
	struct conf_errors *errors = calloc(1, sizeof(*errors));
	struct fail why = { .text = "" };
	struct buf later;

	buf_init(&later, B_REPLY);
	(void)reload(s, &later, errors, &why);
	buf_free(&later);
	free(errors);
}
