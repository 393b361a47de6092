/* SPDX-License-Identifier: ISC
 *
 * snapshot: an index as one file: a checked header, then the arrays as they
 * are in memory.  Own stored data is input too: everything is verified before it is
 * used, a file that fails is as good as none.
 */
#ifndef STORE_SNAPSHOT_H
#define STORE_SNAPSHOT_H

#include "store/index.h"

/* The whole file; upto: the journal position it goes to. False: no memory. */
bool snapshot_encode(const struct index *ix, uint64_t upto, struct buf *out);
/* Fills an empty index from a file in memory, which must stay (and be writable)
 * as long as the index: messages and names are used in place.  False: it is no good, or ix->failed: no memory. */
bool snapshot_load(struct index *ix, char *file, size_t size, uint64_t *upto);

#endif
