/* SPDX-License-Identifier: ISC
 *
 * snapshot: an index as one file: a checked header, then the arrays as they
 * are in memory.  Own stored data is input too: everything is verified before it is
 * used, a file that fails is as good as none.
 */
#ifndef STORE_SNAPSHOT_H
#define STORE_SNAPSHOT_H

#include "store/index.h"

enum { SNAPSHOT_PARTS = 7 };

/* A whole file in pieces, most of them the index's own: good as long as that is not changed. */
struct snapshot_parts {
	struct span part[SNAPSHOT_PARTS];
	size_t size; /* of all */
	struct buf head, keywords;
};

/* upto: the journal position it goes to. False: no memory.  To be freed in any case. */
bool snapshot_parts(const struct index *ix, uint64_t upto, struct snapshot_parts *out);
void snapshot_parts_free(struct snapshot_parts *p);
/* The same as one. */
bool snapshot_encode(const struct index *ix, uint64_t upto, struct buf *out);
/* Fills an empty index from a file in memory, which must stay (and be writable)
 * as long as the index: messages and names are used in place.  False: it is no good, or ix->failed: no memory. */
bool snapshot_load(struct index *ix, char *file, size_t size, uint64_t *upto);

#endif
