/* SPDX-License-Identifier: ISC
 *
 * map: an intrusive hash table keyed by bytes or by number, with a secret seed
 * so that foreign keys cannot be chosen to collide.  The node is a member of
 * the mapped struct; the map owns only its buckets.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/owner.h"
#include "base/span.h"

struct map_node {
	struct map_node *next;
	struct span key; /* points into the owner; empty for number keys */
	uint64_t hash;   /* of the key, or the number itself */
};

struct map {
	struct map_node **buckets; /* owned; a power of two */
	size_t nbuckets, count;
	uint64_t seed[2];
};

void map_init(struct map *m);
void map_free(struct map *m); /* the buckets; the nodes are their owners' */

/* False when memory is exhausted. The key must not be present already. */
bool map_put(struct map *m, struct map_node *node, struct span key);
bool map_put_u64(struct map *m, struct map_node *node, uint64_t key);
struct map_node *map_get(const struct map *m, struct span key);
struct map_node *map_get_u64(const struct map *m, uint64_t key);
void map_remove(struct map *m, struct map_node *node);

/* Visits every node in no order; the current one may be removed. */
void map_each(struct map *m, void (*visit)(struct map_node *, void *), void *arg);

uint64_t map_hash(const uint64_t seed[2], struct span key); /* SipHash-1-3 */

#endif
