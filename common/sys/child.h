/* SPDX-License-Identifier: ISC
 *
 * child: starts a program with exactly the identity and descriptors it is
 * meant to have, and hears of its end.  Nothing else in the suite forks.
 */
#ifndef SYS_CHILD_H
#define SYS_CHILD_H

#include "sys/loop.h"
#include "sys/priv.h"

enum { CHILD_CTL = 3 }; /* the descriptor of its ctl channel; 0 and 1 are /dev/null, 2 the log */

struct child_spec {
	const char *program;               /* path */
	const char *name;                  /* argv[0] */
	const char *label;                 /* argv[1], for ps: instance or user */
	const struct priv_identity *become; /* NULL: stay who we are */
	bool busy;                         /* few run, for everybody: what they free stays at hand */
	int ctl, log;                      /* the caller's descriptors, not closed here */
};

/* argv[1], which a copy of a process may write its own label over. */
struct child_label {
	char *p;
	size_t n;
};

/* Returns the pid, or -1 and *why.  What fails between fork and exec is logged
 * by the child and ends it with status 127. */
pid_t child_start(const struct child_spec *spec, struct fail *why);

/* A copy of the calling process, which must have one thread: 0 in the copy, which has descriptors 0
 * to 2 and ctl as CHILD_CTL and no others, is called `label`, and dies with its parent.  Returns as fork() does; -1 and *why. */
pid_t child_twin(int ctl, const char *label, struct child_label *at, struct fail *why);

void child_rename(const char *name); /* in ps and /proc/PID/comm: the calling process */

/* Calls on_exit for each ended child, from the loop (SIGCHLD through a signalfd). */
struct child_reaper {
	struct watch watch;
	void (*on_exit)(struct child_reaper *r, pid_t pid, int status);
};
bool child_reaper_start(struct child_reaper *r, struct loop *loop, void (*on_exit)(struct child_reaper *, pid_t, int), struct fail *why);
/* It ended by a signal that says it is broken: not by one of those that are sent to end a program. */
bool child_crashed(int status);
/* "exit status 1", "signal 9 (Killed)" */
void child_status_text(int status, char *text, size_t size);

/* Calls on_signal for SIGTERM, SIGINT, SIGHUP, from the loop. */
struct child_signals {
	struct watch watch;
	void (*on_signal)(struct child_signals *s, int signal);
};
bool child_signals_start(struct child_signals *s, struct loop *loop, void (*on_signal)(struct child_signals *, int), struct fail *why);

/* Goes into the background: the caller returns in a session of its own with
 * *ready the write end of a pipe; the original process waits for one byte on it (0:
 * all is well) and exits with that status. */
bool child_daemonize(int *ready, struct fail *why);

#endif
