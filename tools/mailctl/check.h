/* SPDX-License-Identifier: ISC
 *
 * check: what a configuration without errors will not be able to do, as far as
 * it can be seen from here.
 */
#ifndef MAILCTL_CHECK_H
#define MAILCTL_CHECK_H

#include "tools/mailctl/mailctl.h"

struct check {
	const char *file; /* of the configuration */
	const struct conf *conf;
	FILE *to;
	bool unprivileged, running;
	unsigned problems;
};

/* An option of the file and one of its values. */
struct check_option {
	const char *name;
	struct span value;
	enum conf_table table;
	size_t block; /* of a listener or route: which */
};

/* One line each; "FILE:LINE:COLUMN: NAME = VALUE: text" where it is the fault of an option that the file has. */
void check_problem(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void check_problem_of(struct check *c, const struct check_option *option, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* What could not be looked at: no problem. */
void check_note_of(struct check *c, const struct check_option *option, const char *text);

/* False: this user may not read the file, and a note says so. Root is told where the daemon (NULL: maild, as root) may not. */
bool check_readable(struct check *c, const struct check_option *option, const char *path, const char *daemon);

/* Certificates, their keys and the authorities of clients: what keyd would refuse or could not use. */
void check_certificates(struct check *c);
/* Tables that cannot be read, by us or by the daemon that asks them, and what in them does not count. */
void check_tables(struct check *c);

#endif
