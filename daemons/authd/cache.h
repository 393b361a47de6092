/* SPDX-License-Identifier: ISC
 *
 * cache: credentials found good a moment ago, so that a client that logs in a
 * thousand times a second does not pay for a thousand argon2id.
 *
 * Holds no password: a keyed hash, with a key that never leaves memory, of
 * name, password and stored hash. A changed password or user therefore misses.
 */
#ifndef AUTHD_CACHE_H
#define AUTHD_CACHE_H

#include "base/list.h"
#include "base/map.h"

enum { CACHE_ENTRIES = 10000, CACHE_MS = 60 * 1000 };

struct cache {
	struct map map;
	struct list oldest_first;
	uint64_t seed[2][2];
};

bool cache_init(struct cache *c); /* false: no randomness */
void cache_free(struct cache *c);
bool cache_has(struct cache *c, struct span name, struct span password, struct span stored, int64_t now_ms);
void cache_put(struct cache *c, struct span name, struct span password, struct span stored, int64_t now_ms);

#endif
