/* SPDX-License-Identifier: ISC
 *
 * tokencache: OAuth tokens that the issuer found good a moment ago, so that a client
 * with ten connections is asked about once. Holds no token: a hash of it, with a seed that
 * never leaves memory.
 */
#ifndef AUTHD_TOKENCACHE_H
#define AUTHD_TOKENCACHE_H

#include "base/list.h"
#include "base/map.h"
#include "ipc/bounds.h"

enum { TOKENCACHE_ENTRIES = 10000 };

struct tokencache {
	struct map map;
	struct list oldest_first;
	uint8_t seed[32];
};

bool tokencache_init(struct tokencache *c); /* false: no randomness */
void tokencache_free(struct tokencache *c);
/* Whose it is; empty: not known, or not any more. Valid until the next call. */
struct span tokencache_get(struct tokencache *c, struct span token, int64_t now_ms);
void tokencache_put(struct tokencache *c, struct span token, struct span user, int64_t until_ms);

#endif
