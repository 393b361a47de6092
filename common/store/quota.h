/* SPDX-License-Identifier: ISC
 *
 * quota: how much one user may keep in all folders, and how much there is.
 *
 * The sums are in the file "maildirsize" of the Maildir, as Maildir++ has it:
 * the limits, then a line "octets messages" for each change.  Whoever makes a
 * change appends one, so that deliverd, mailboxd and other programs agree
 * without talking, and a delivery costs no walk.  The file names are counted
 * when there is no such file, when the limits are others, and again before
 * anything is refused if that was not done lately: an error of the sums, after
 * a crash or by a program that does not know the file, never refuses mail.
 *
 * Sizes are about RFC822.SIZE, as the index has them.  The octets in
 * "pillarpost" directories (indexes, expunged mail) do not count.
 */
#ifndef STORE_QUOTA_H
#define STORE_QUOTA_H

#include "base/buf.h"
#include "journal/vfs.h"

struct quota {
	uint64_t size;     /* octets; as a limit 0: none */
	uint64_t messages; /* as a limit 0: none */
};

#define QUOTA_FILE "maildirsize"

enum {
	QUOTA_FILE_MAX = 5120,            /* Maildir++: then it is summed up anew */
	QUOTA_COUNT_AGAIN_MS = 60 * 1000, /* and after so long it is not believed that there is no room */
};

struct quota_file {
	struct vfs *vfs;      /* of the user's Maildir; outlives this */
	int fd;               /* -1: not open */
	uint64_t inode, at;   /* of which file, how much of it is in sums */
	struct quota limit;   /* what its first line says */
	int64_t size, messages;
	struct quota pending; /* on their way: kept by the caller, seen by quota_fits() */
	int64_t counted_ms;   /* monotonic time of the last count here; 0: none yet */
};

static inline bool quota_limited(const struct quota *limit) { return limit->size || limit->messages; }

void quota_init(struct quota_file *q, struct vfs *v);
void quota_close(struct quota_file *q);
/* Reads what was added; false: it has to be counted. */
bool quota_load(struct quota_file *q, const struct quota *limit);
/* Counts the names of all files of the Maildir and, for a limit, writes a new
 * file.  May be called from any thread that has q to itself. */
bool quota_count(struct quota_file *q, const struct quota *limit, struct fail *why);
/* Whether this much more has room; of what quota_load() found.  *again: if not, count first. */
bool quota_fits(const struct quota_file *q, const struct quota *limit, uint64_t size, uint64_t messages, bool *again);
/* Says what was added (or removed: negative). */
void quota_add(struct quota_file *q, int64_t size, int64_t messages);
struct quota quota_used(const struct quota_file *q);
/* There is no limit (any more): what the file says will not be kept true. */
void quota_forget(struct vfs *v);
/* Fills why: FAIL_LIMIT, STATUS_MAILBOX_FULL. Returns false. */
bool quota_full(const struct quota_file *q, const struct quota *limit, struct fail *why);
/* "12.3 MB of 1 GB, 200 of 500 messages" */
void quota_text(const struct quota *used, const struct quota *limit, struct buf *out);

#endif
