/* SPDX-License-Identifier: ISC
 *
 * logfile: the lines of a log and of what was rotated away from it, oldest
 * first, in bounded memory.
 */
#ifndef MAILCTL_LOGFILE_H
#define MAILCTL_LOGFILE_H

#include "base/fail.h"

enum { LOGFILES_MAX = 400, LOGFILE_PATH = 1100 };

struct logfiles {
	size_t n;
	struct logfile {
		char path[LOGFILE_PATH];
		int64_t mtime_ms;
	} files[LOGFILES_MAX]; /* the last is the one being written */
	uint64_t end; /* how much of the last is read: what comes later is followed */
	void (*on_progress)(void *arg, const char *path, unsigned percent); /* while a file is read; may be NULL */
	void *arg;
};

/* path, and path.1, path.2.gz, path-20260101... beside it. */
bool logfiles_find(struct logfiles *l, const char *path, struct fail *why);
/* Every line from that time on (0: all), without its end; stops when on_line says
 * false. False: a file could not be read. */
bool logfiles_each(const struct logfiles *l, int64_t since_ms, bool (*on_line)(void *arg, struct span line), void *arg, struct fail *why);

/* What is appended from now on, until on_line or go_on says false; go_on is
 * asked whenever there is nothing new. Rotation is noticed. */
bool logfiles_follow(const struct logfiles *l, bool (*on_line)(void *arg, struct span line), bool (*go_on)(void *arg), void *arg,
    struct fail *why);

#endif
