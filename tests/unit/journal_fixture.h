/* SPDX-License-Identifier: ISC
 *
 * A journal on a file system in memory, and what is seen of it when it is opened.
 */
#ifndef JOURNAL_FIXTURE_H
#define JOURNAL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crash/memfs.h"
#include "journal/journal.h"

enum { SEGMENT = 64 * 1024 };

struct seen {
	struct journal *j;
	unsigned n, damaged, events;
	char heads[4096];
	journal_pos last;
};

/* for journal_options and journal_replay(); arg: struct seen */
void on_event(void *arg, const struct fail *what);
bool on_record(void *arg, const struct journal_record *r);

/* Replayed; its records are live. */
struct journal *open_on(struct memfs *fs, struct seen *seen);
/* A record with so many bytes as its body, live or not. */
journal_pos add(struct journal *j, const char *head, size_t body);
journal_pos add_dead(struct journal *j, const char *head, size_t body);

#endif
