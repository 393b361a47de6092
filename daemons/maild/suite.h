/* SPDX-License-Identifier: ISC
 *
 * suite: the running set of daemons: started, wired by processes.def,
 * restarted when they die, reloaded, stopped.  Reads no network byte.
 */
#ifndef MAILD_SUITE_H
#define MAILD_SUITE_H

#include "service/launch.h"

enum { SUITE_PROCESSES = 256, SUITE_LISTENERS = 128 };

struct process_row {
	const char *name;
	unsigned see; /* CONF_* */
	bool root, cores;
	unsigned caps;     /* PRIV_* */
	unsigned promises; /* PROMISE_* */
};

struct process {
	struct suite *suite;
	const struct process_row *row;
	unsigned instance, instances;
	char label[16];
	struct channel *ctl; /* NULL while it is down */
	pid_t pid;           /* 0 while it is down */
	bool ready;
	unsigned restarts, hasty; /* hasty: ends soon after start, in a row */
	int64_t since_ms, since_wall_ms;
	struct timer restart;
};

/* A listening socket, kept open over restarts and reloads. */
struct socket_row {
	char name[B_NAME];
	char address[B_PATH];
	const char *process;
	bool control, fresh; /* fresh: wanted by the configuration in force */
	int fd;
};

struct suite {
	struct loop *loop;
	const char *config_path;
	struct arena arena; /* of conf */
	const struct conf *conf;
	bool unprivileged, stopping;
	unsigned generation, nprocesses, nsockets;
	int log;
	struct process processes[SUITE_PROCESSES];
	struct socket_row sockets[SUITE_LISTENERS];
	struct child_reaper reaper;
	struct child_signals signals;
	struct timer stop_limit;
	struct watch admin;   /* the control socket of maild itself */
	struct list requests; /* admin connections */
	struct admin_request *stopper; /* who waits for the end */
	int ready_pipe;       /* to the process that waits for the start, or -1 */
};

/* setup.c: directories with their owners, the sockets. */
bool setup_directories(const struct conf *conf, bool unprivileged, struct fail *why);
/* Opens what the configuration wants and is not open yet, closes the rest. */
bool setup_sockets(struct suite *s, struct fail *why);
bool setup_identity(const struct conf *conf, const struct process_row *row, struct priv_identity *id, struct fail *why);

/* suite.c */
extern const struct process_row process_rows[];
extern const size_t process_row_count;
bool suite_start(struct suite *s, struct fail *why);
bool suite_reload(struct suite *s, struct conf_errors *errors, struct fail *why);
void suite_stop(struct suite *s);

/* admin.c: mailctl's requests. */
bool admin_open(struct suite *s, struct fail *why);
void admin_stopped(struct suite *s); /* the last daemon is gone */
const char *suite_user(const struct suite *s, const struct process_row *row, char *name, size_t size);

#endif
