/* SPDX-License-Identifier: ISC
 *
 * maild: all of the suite that is root.  It starts programs as other users,
 * binds ports, opens files and makes directories, at the word of suited (and
 * of userd, for mailbox owners' programs), and decides nothing but what may be asked.
 *
 *   main.c  its life: suited, signals, the end of children
 *   root.c  the requests of the root channel
 */
#ifndef MAILD_MAILD_H
#define MAILD_MAILD_H

#include "ipc/messages.h"
#include "sys/child.h"
#include "sys/sandbox.h"

/* Rows of processes.def that are programs. */
enum maild_row {
#define PROCESS(name, ...) ROW_##name,
#define OWNED(name, ...) ROW_##name,
#include "daemons/maild/processes.def"
	ROWS
};

struct maild {
	struct loop *loop;
	bool unprivileged;
	bool locked;       /* all is set up: directories are refused, capabilities are few */
	int log;           /* -1: not open yet, the terminal then */
	char log_name[B_PATH + 1]; /* of the log until the end: whoever takes suited over must not have others written */
	int ready_pipe;    /* to the process that waits for the start, or -1 */
	int status;        /* of exit */
	char programs[B_PATH]; /* maild's own directory; others are not executed */
	struct priv_identity ids[ROWS];
	pid_t suited;      /* 0: it is gone */
	bool killed, stopped; /* not by its own will; by a signal to maild */
	struct list wards; /* struct ward: every other child */
	struct child_reaper reaper;
	struct child_signals signals;
	struct timer patience; /* with those that outlive suited */
	struct timer again;    /* suited was killed: another is started */
	const char *user, *config; /* suited's */
};

/* Who asks. */
struct client {
	struct maild *maild;
	struct channel *channel;
	bool all; /* suited; otherwise userd */
};

struct ward {
	struct list node;
	struct client *client; /* NULL: it is gone */
	uint64_t id;
	pid_t pid;
};

/* Set up: from now on it can do what it is asked for, and not much else.  mailctl doctor tries them. */
static inline bool
maild_walls(bool unprivileged, struct sandbox_report *report, struct fail *why)
{
	return (unprivileged || priv_keep(PRIV_SETUID | PRIV_SETPCAP | PRIV_BIND | PRIV_READ | PRIV_KILL, why)) &&
	    sandbox_enter(&(struct sandbox){ .files_open = true, .tcp_bind = true, .tcp_connect = true }, report, why);
}

/* False: no memory; fd is closed. */
bool root_serve(struct maild *m, int fd, bool all, struct channel **c);
/* Forks and executes a row's program; ctl is not closed. */
pid_t root_start(struct maild *m, enum maild_row row, const char *label, const struct priv_identity *id, int ctl, struct fail *why);

#endif
