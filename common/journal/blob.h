/* SPDX-License-Identifier: ISC
 *
 * blob: an immutable file: written once under a temporary name, made durable,
 * then named, and the name made durable.  What has its final name is whole.
 * For large message contents and for Maildir deliveries.
 */
#ifndef JOURNAL_BLOB_H
#define JOURNAL_BLOB_H

#include "journal/vfs.h"
#include "sys/worker.h"

enum { BLOB_NAME_MAX = 200 };

struct blob {
	struct vfs *vfs;
	int fd;                       /* -1 when closed */
	uint64_t size;                /* bytes written */
	uint64_t old_size;            /* of what the file held before */
	char temp[BLOB_NAME_MAX + 1]; /* below the vfs root */
	char name[BLOB_NAME_MAX + 1];
	struct fail why;              /* class FAIL_NONE while all is well; sticky */
	struct work work;
	void (*on_durable)(struct blob *b, const struct fail *why);
};

/* Creates the temporary file, which must not exist ("tmp/x"; both names with
 * at most one directory, which must exist). */
bool blob_create(struct blob *b, struct vfs *v, const char *temp, const char *name, struct fail *why);
/* The same in a file that is there already: its name was `from`, and it holds old_size
 * bytes of something else (blob_retire()). False: nothing was changed. */
bool blob_reuse(struct blob *b, struct vfs *v, const char *from, const char *temp, const char *name, uint64_t old_size, struct fail *why);
/* A blob that nobody needs becomes `to`, to be written over. False: it is larger than `most`, or somebody has it open or
 * that cannot be known; it is as it was. */
bool blob_retire(struct vfs *v, const char *name, const char *to, uint64_t most, uint64_t *size);
/* Appends; a failure is kept and reported by blob_commit as well. */
bool blob_write(struct blob *b, struct span s);
/* Makes it durable and gives it its name on a thread of the pool; on_durable
 * (why == NULL: done) runs on the loop. The blob must live until then; its
 * descriptor is closed and on failure the temporary file is gone. */
void blob_commit(struct blob *b, struct worker_pool *pool, void (*on_durable)(struct blob *b, const struct fail *why));
/* The same, at once and in this thread. */
bool blob_commit_now(struct blob *b, struct fail *why);
/* Gives it up: closes and removes the temporary file. No effect once committed. */
void blob_abandon(struct blob *b);

/* A read-only descriptor that reaches this one file; -1 and *why. */
int blob_open(struct vfs *v, const char *name, struct fail *why);
bool blob_remove(struct vfs *v, const char *name, struct fail *why);

#endif
