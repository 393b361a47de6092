/* SPDX-License-Identifier: ISC
 *
 * idmap: messages by id.  As base/map.h, but a node takes 16 bytes: with a
 * million messages that is worth a module.  Ids are not chosen by strangers.
 */
#ifndef QUEUE_IDMAP_H
#define QUEUE_IDMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct idnode {
	struct idnode *next;
	uint64_t id;
};

struct idmap {
	struct idnode **buckets; /* owned; a power of two */
	size_t nbuckets, count;
};

/* A zeroed idmap is empty. */
void idmap_free(struct idmap *m); /* the buckets; the nodes are their owners' */
bool idmap_put(struct idmap *m, struct idnode *node, uint64_t id); /* false: no memory; the id must not be there */
struct idnode *idmap_get(const struct idmap *m, uint64_t id);
void idmap_remove(struct idmap *m, struct idnode *node);

#endif
