/* SPDX-License-Identifier: ISC
 *
 * found: names of files found in a Maildir, in the order in which they become
 * messages: that of the time they begin with, then of the name.
 */
#ifndef STORE_FOUND_H
#define STORE_FOUND_H

#include "base/buf.h"
#include "store/maildir.h"

struct found_file {
	uint64_t time; /* 0: its name does not begin with one */
	uint64_t next; /* the octets behind the time, which tell two base names of one time apart where not 0 */
	uint32_t at;   /* of its name in names */
	uint32_t letters, size, vsize; /* of a plain one */
	uint8_t n, nbase;  /* octets of the name, of its base name */
	bool plain;        /* what its name says is all here: it need not be read again */
	bool in_new, used; /* used: the caller's */
};

struct found {
	struct buf names;
	struct found_file *files; /* owned */
	size_t n, size;
};

void found_init(struct found *f);
void found_free(struct found *f);
/* parsed: the name's parts.  False: out of memory, or too many. */
bool found_add(struct found *f, struct span name, const struct maildir_name *parsed, bool in_new);
bool found_sort(struct found *f); /* false: out of memory */
struct span found_name(const struct found *f, const struct found_file *file);
/* The same, where one file after the other is asked for: has those behind it fetched meanwhile. */
struct span found_next(const struct found *f, const struct found_file *file);
/* The parts of found_next(). */
void found_parts(const struct found *f, const struct found_file *file, struct maildir_name *out);

uint64_t found_time(struct span name);
/* The order, of two names of these times. */
int found_compare(uint64_t ta, struct span a, uint64_t tb, struct span b);

#endif
