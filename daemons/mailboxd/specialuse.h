/* SPDX-License-Identifier: ISC
 *
 * specialuse: what folders are for (RFC 6154, RFC 8457): what was said so at
 * CREATE or by annotation, else the usual names.
 */
#ifndef MAILBOXD_SPECIALUSE_H
#define MAILBOXD_SPECIALUSE_H

#include "base/arena.h"
#include "store/metadata.h"

enum { SPECIALUSES = 6 };

struct specialuse {
	struct arena *arena;
	struct {
		struct span folder, uses;
	} said[METADATA_ENTRIES_MAX / 10];
	size_t n;
	unsigned taken; /* uses that some folder was given; one bit each */
};

bool specialuse_known(struct span use);
/* "\Sent \Archive" and the like, every one of them known. */
bool specialuse_valid(struct span uses);
/* In place; the texts are in the arena. */
void specialuse_load(struct specialuse *u, struct store *store, struct arena *arena);
struct span specialuse_of(const struct specialuse *u, struct span folder); /* empty: none */

#endif
