/* SPDX-License-Identifier: ISC
 *
 * homes: the Maildirs that were delivered into lately, kept open.  Everything
 * is opened below one base directory, without following symbolic links.
 */
#ifndef DELIVERD_HOMES_H
#define DELIVERD_HOMES_H

#include "base/list.h"
#include "base/map.h"
#include "store/maildir.h"
#include "store/quota.h"

enum { HOMES_OPEN = 512 }; /* kept open when idle, at most; a descriptor each */

struct home {
	struct map_node node;
	struct list idle; /* homes.idle, oldest first; not linked while used */
	struct vfs *vfs;
	uint64_t device, inode; /* the directory: another one may have its name by now */
	unsigned users;
	bool stale;       /* not to be used again */
	struct quota_file quota; /* of the whole Maildir, if this is its INBOX */
	bool counting;           /* a thread has quota */
	bool unlimited;          /* known to be, and no quota file is left */
	struct list waiting;     /* who waits for the count; deliverd.c's */
	char path[];
};

struct homes {
	int base; /* owned; -1 before homes_open() */
	char prefix[1025];
	struct map by_path;
	struct list idle;
	size_t nidle;
};

void homes_init(struct homes *h);
/* base: an absolute path that exists. */
bool homes_open(struct homes *h, struct span base, struct fail *why);
void homes_close(struct homes *h);

/* Makes a home (below the base, or absolute within it) the path below it, without "." and ".."; false and *why: FAIL_PERM. */
bool homes_below(const struct homes *h, struct span *home, struct fail *why);
/* The Maildir of home (below the base, or absolute within it) and folder (empty:
 * INBOX), made if it is not there; counted as used.  NULL and *why: FAIL_PERM for
 * a path that is no good. */
struct home *homes_use(struct homes *h, struct span home, struct span folder, struct fail *why);
/* Counts one that is in use once more. */
static inline struct home *homes_again(struct home *at) { at->users++; return at; }
void homes_unuse(struct homes *h, struct home *at);
/* The directory is not what it was (deleted, moved): opened anew next time. */
void homes_drop(struct homes *h, struct home *at);

#endif
