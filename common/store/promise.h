/* SPDX-License-Identifier: ISC
 *
 * promise: the links of a large COPY or MOVE that are still to be made, as the
 * file "pillarpost-promise" beside the INBOX.
 *
 * Once it is durable the target's messages may be acknowledged: whoever opens
 * the mailbox first makes the links that are missing.  As long as it is there nobody removes
 * the files it begins from, and none that it ends in; it goes, durably, when the links are durable.
 *
 *   "pillarpost promise 1\n" 0 0 0 | count u32 | crc32c of the rest u32 | { from NUL to NUL }
 *
 * Paths are below the user's Maildir: [.FOLDER/](new|cur)/NAME, all of one folder to cur/ of one.
 * One that is torn was never acknowledged.
 */
#ifndef STORE_PROMISE_H
#define STORE_PROMISE_H

#include "base/buf.h"
#include "journal/vfs.h"

#define PROMISE_NAME "pillarpost-promise"

enum { PROMISE_SIZE_MAX = 64 << 20 };

struct promise_link {
	size_t from, to; /* places in text */
};

struct promise {
	struct buf text;
	struct promise_link *links; /* owned */
	size_t n, size;
};

void promise_init(struct promise *p);
void promise_free(struct promise *p);
bool promise_add(struct promise *p, const char *from, const char *to); /* false: too many, or no memory */
const char *promise_from(const struct promise *p, size_t i);
const char *promise_to(const struct promise *p, size_t i);

/* What the file says. False: it makes no sense. */
bool promise_parse(struct promise *p, struct span file);
/* Durable when it returns true; false and errno: nothing is there (EEXIST: another one is). v is the Maildir's. */
bool promise_write(const struct promise *p, struct vfs *v);
/* Takes the file away, durably. False and errno: it may be there. */
bool promise_drop(struct vfs *v);
/* What is on disk, empty if there is none.  False and *why: it cannot be read; torn (may be NULL): nobody relied on it. */
bool promise_load(struct promise *p, struct vfs *v, bool *torn, struct fail *why);
/* Makes the links, durably, and takes the file away, durably; on any thread.  lost: files that are not there any more,
 * under any name.  again: some may be made already, and renamed since.  False and errno: not all, it stays. */
bool promise_keep(const struct promise *p, struct vfs *v, bool again, size_t *lost);
/* What an end without notice left: before anything else is done to the Maildir. False: that cannot be done now. */
bool promise_redo(struct vfs *v, struct fail *why);

#endif
