/* SPDX-License-Identifier: ISC
 *
 * spoolcheck: the queue directory while no queued is running.
 */
#ifndef SPOOLCHECK_SPOOLCHECK_H
#define SPOOLCHECK_SPOOLCHECK_H

#include "tools/common/term.h"
#include "tools/spoolcheck/spool.h"

enum { EXIT_GOOD = 0, EXIT_DAMAGED = 1, EXIT_TROUBLE = 2, EXIT_USAGE = 64 };

struct spoolcheck_id {
	uint64_t id;
	bool there;
};

struct spoolcheck {
	const char *dir; /* the queue's */
	struct spool spool;
	bool json, dry_run, maildir;
	char **args; /* behind the verb */
	int nargs;
	struct spoolcheck_id *ids; /* owned: of these, those that were asked for by id */
	size_t nids;
	/* Counts for the last line. */
	uint64_t messages, bytes, broken, twice;
	struct term_progress progress;
};

int spoolcheck_verify(struct spoolcheck *c);
int spoolcheck_list(struct spoolcheck *c);
int spoolcheck_print(struct spoolcheck *c);
int spoolcheck_export(struct spoolcheck *c);
int spoolcheck_salvage(struct spoolcheck *c);
int spoolcheck_import(struct spoolcheck *c);

/* Prints why and returns EXIT_TROUBLE. */
int spoolcheck_fail(const char *about, const struct fail *why);
bool spoolcheck_load(struct spoolcheck *c);
/* Whether the message was asked for: all are where no ids are given. */
bool spoolcheck_wanted(struct spoolcheck *c, uint64_t id);
void spoolcheck_progress(struct spoolcheck *c, const char *what, uint64_t done, uint64_t total);

#endif
