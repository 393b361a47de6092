/* SPDX-License-Identifier: ISC
 *
 * suited: rules the suite without any right of its own.  Started by maild
 * with the root channel on descriptor 3; boot comes over it.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemons/suited/suite.h"
#include "log/log.h"
#include "service/probe.h"
#include "service/service.h"
#include "sys/syscalls.h"

enum { EXIT_USAGE = 64, EXIT_CONFIG = 78 };

static bool
load(struct suite *s, int fd)
{
	struct conf_errors *errors = calloc(1, sizeof(*errors));
	struct fail why = { .text = "" };
	bool ok;

	arena_init(&s->arena, CONF_ARENA_MAX);
	ok = conf_load_fd(fd, &s->arena, &s->conf, errors, &why);
	if (!ok)
		conf_errors_print(errors, s->config_path, &why, stderr);
	free(errors);
	(void)close(fd);
	return ok;
}

static bool
raise_walls(struct sandbox_report *report, struct fail *why)
{
	struct sandbox walls = { .files = suite_own_row()->files, .memory = suite_own_row()->memory, .cpu = suite_own_row()->cpu };

	return sandbox_enter(&walls, report, why) && sandbox_verify(&walls, report, why);
}

/* They are those of every daemon: where it may not do without them, none is even started. */
static bool
judge_walls(struct suite *s, const struct sandbox_report *report, bool seccomp, struct fail *why)
{
	const char *missing = sandbox_missing(report, seccomp);

	(void)sandbox_words(report, seccomp, s->walls, sizeof(s->walls));
	if (seccomp && !sandbox_verify_calls(why))
		return false;
	if (missing && s->conf->sandbox_required)
		return fail_set(why, FAIL_PERM, 0, "sandbox_required: %s", missing);
	if (missing)
		log_put(LOG_degraded, "sandbox: %s", missing);
	return true;
}

static bool
set_up(struct suite *s, struct fail *why)
{
	struct sandbox_report report;
	bool seccomp;

	return suite_listen(s, why) && raise_walls(&report, why) && syscalls_limit(suite_own_row()->promises, &seccomp, why) && setup_users(s, why) &&
	    setup_directories(s, why) && suite_open_log(s, why) && judge_walls(s, &report, seccomp, why) &&
	    ask(s, IPC_root_lock, &(struct ipc_root_lock){ .path = s->conf->run_directory }, NULL, why) && admin_open(s, why) && suite_start(s, why);
}

void
suite_begin(struct suite *s, int fd)
{
	struct fail why = { .text = "" };

	if (!load(s, fd)) {
		s->status = EXIT_CONFIG;
		loop_stop(s->loop);
	} else if (!set_up(s, &why)) {
		suite_fail(s, EXIT_FAILURE, why.text);
	} else if (s->unprivileged) {
		log_put(LOG_degraded, "not root: every process runs as uid %u; ports below 1024 and separate users are not available", (unsigned)getuid());
	}
}

static bool
root_is_there(void)
{
	int type = 0;
	socklen_t len = sizeof(type);

	return getsockopt(CHILD_CTL, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET;
}

static bool
on_boot_to_probe(struct service *s, struct fail *why)
{
	(void)s, (void)why;
	return true;
}

static bool
walls_to_probe(struct service *s, struct sandbox_report *report, struct fail *why)
{
	(void)s;
	return raise_walls(report, why);
}

/* mailctl doctor tries the walls: that alone is done as a service is. */
static int
probed(int argc, char **argv)
{
	static const struct service_ops ops = { .name = "suited", .see = CONF_MAILD, .on_boot = on_boot_to_probe, .raise_walls = walls_to_probe };

	return service_main(&ops, argc, argv);
}

int
main(int argc, char **argv)
{
	static struct suite suite = { .terminal = -1 };
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (argc > 1 && strcmp(argv[1], PROBE_LABEL) == 0)
		return probed(argc, argv);
	if (!root_is_there()) {
		(void)fprintf(stderr, "suited is a part of pillarpost and is started by maild; see mailctl(8)\n");
		return EXIT_USAGE;
	}
	(void)fcntl(CHILD_CTL, F_SETFD, FD_CLOEXEC);
	(void)fcntl(CHILD_CTL, F_SETFL, O_NONBLOCK);
	suite.cores = cores > 0 ? (unsigned)cores : 1;
	suite.terminal = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	list_init(&suite.peers);
	list_init(&suite.crashes);
	suite.loop = loop_new();
	if (!suite.loop || chdir("/") < 0) /* we were started in the programs' folder */
		return EXIT_FAILURE;
	suite.since_wall_ms = loop_wall_ms(suite.loop);
	log_open("suited", STDERR_FILENO, suite.loop);
	mend_init(&suite);
	suite.root = channel_new(suite.loop, CHILD_CTL, &ipc_channel_root, CHANNEL_CLIENT, &suite_root_ops, &suite);
	if (!suite.root)
		return EXIT_FAILURE;
	loop_run(suite.loop);
	log_flush();
	return suite.status;
}
