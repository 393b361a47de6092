/* SPDX-License-Identifier: ISC
 *
 * spares: files of blobs that are no longer needed, kept to be written over.
 * A file that is made anew costs its blocks and its inode, one that is removed
 * gives them back, and a file system that trims takes milliseconds for that;
 * writing over one that is there is writing data, and most of its pages are in
 * memory.  None is kept that somebody else still has open (vfs sole): an agent
 * that held on to its descriptor must never see another message in it.
 *
 * They lie in the directory of the blobs as spare.N; whoever opens the
 * directory anew may remove them.  Not for threads, but for what says so.
 */
#ifndef JOURNAL_SPARES_H
#define JOURNAL_SPARES_H

#include "base/list.h"
#include "journal/blob.h"

struct spares {
	struct vfs *vfs;
	const char *dir; /* of the blobs, "blob" */
	struct list files;
	unsigned n, max;  /* those that are being retired included */
	uint64_t largest; /* bytes; larger files are not kept */
	uint64_t number;
};

/* What one becomes. */
struct spare {
	struct list node;
	uint64_t number;
	uint64_t size;
};

void spares_init(struct spares *s, struct vfs *vfs, const char *dir, unsigned max, uint64_t largest);
/* As blob_create(), in a spare file if there is one; size: about how large it will be, 0 if that is not known. */
bool spares_create(struct spares *s, struct blob *b, uint64_t size, const char *temp, const char *name, struct fail *why);
/* A place for one more, or NULL: there are enough, or there is no memory. */
struct spare *spares_place(struct spares *s);
/* The file of a blob that nobody needs takes the place; false: it is as it was. From any thread. */
bool spares_retire(const struct spares *s, struct spare *place, const char *name);
/* After spares_retire(): what it said. */
void spares_keep(struct spares *s, struct spare *place, bool retired);
/* Removes them all, so that others have the space. */
void spares_drop(struct spares *s);

#endif
