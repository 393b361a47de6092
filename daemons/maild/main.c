/* SPDX-License-Identifier: ISC
 *
 * maild: the parent.  Started by mailctl or the service manager as
 *   maild -c FILE [-f]        -f: stay in the foreground
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemons/maild/suite.h"
#include "log/log.h"
#include "log/target.h"

enum { EXIT_USAGE = 64, EXIT_CONFIG = 78, KEEP = PRIV_SETUID | PRIV_SETPCAP | PRIV_BIND | PRIV_READ | PRIV_KILL };

static bool
load(struct suite *s)
{
	struct conf_errors *errors = calloc(1, sizeof(*errors));
	struct fail why = { .text = "" };
	struct buf text;
	bool ok;

	arena_init(&s->arena, CONF_ARENA_MAX);
	buf_init(&text, 1 << 20);
	ok = errors && conf_load(s->config_path, &s->arena, &s->conf, errors, &why);
	if (!ok && errors && errors->n)
		conf_errors_print(errors, s->config_path, &text);
	else if (!ok)
		buf_printf(&text, "%s\n", why.text);
	(void)fprintf(stderr, "%.*s", SPAN_ARG(buf_span(&text)));
	buf_free(&text);
	free(errors);
	return ok;
}

/* One suite an instance: the lock lives as long as maild. */
static bool
lock_pid_file(const struct conf *conf, struct fail *why)
{
	char path[B_PATH], pid[16];
	int fd, n;

	(void)snprintf(path, sizeof(path), "%s/maild.pid", conf->run_directory.p);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return fail_errno(why, 0, "%s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return fail_set(why, FAIL_PERM, 0, "already running (%s is locked)", path);
	n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) < 0 || write(fd, pid, (size_t)n) != n)
		return fail_errno(why, 0, "%s", path);
	return true;
}

static void
raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static bool
begin(struct suite *s, bool foreground, struct fail *why)
{
	if (!setup_directories(s->conf, s->unprivileged, why) || (s->log = log_target_open(s->conf->maillog_file.p, why)) < 0)
		return false;
	if (!foreground && !child_daemonize(&s->ready_pipe, why))
		return false;
	raise_file_limit();
	if (!lock_pid_file(s->conf, why))
		return false;
	s->loop = loop_new();
	if (!s->loop)
		return fail_errno(why, 0, "event loop");
	log_open("maild", s->log, s->loop);
	if (!admin_open(s, why))
		return false;
	if (s->unprivileged)
		log_put(LOG_degraded, "not root: every process runs as uid %u; ports below 1024 and separate users are not available", (unsigned)getuid());
	else if (!priv_keep(KEEP, why))
		return false;
	return suite_start(s, why);
}

int
main(int argc, char **argv)
{
	static struct suite suite = { .log = -1, .ready_pipe = -1, .config_path = SYSCONFDIR "/pillarpost.conf" };
	struct fail why = { .text = "" };
	bool foreground = false;
	int opt;

	while ((opt = getopt(argc, argv, "c:f")) != -1)
		switch (opt) {
		case 'c':
			suite.config_path = optarg;
			break;
		case 'f':
			foreground = true;
			break;
		default:
			(void)fprintf(stderr, "usage: maild [-c FILE] [-f]\n");
			return EXIT_USAGE;
		}
	suite.unprivileged = geteuid() != 0;
	if (!load(&suite))
		return EXIT_CONFIG;
	if (!begin(&suite, foreground, &why)) {
		(void)fprintf(stderr, "maild: %s\n", why.text);
		if (suite.log >= 0)
			log_put(LOG_failure, "%s", why.text);
		log_flush();
		return 1; /* the children see their ctl channels close and end */
	}
	loop_run(suite.loop);
	log_put(LOG_stop, "the suite is down");
	log_flush();
	return 0;
}
