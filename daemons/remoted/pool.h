/* SPDX-License-Identifier: ISC
 *
 * pool: idle sessions kept for the next message to the same destination, and
 * a short memory of hosts that did not answer or whose TLS does not work.
 */
#ifndef REMOTED_POOL_H
#define REMOTED_POOL_H

#include "base/map.h"
#include "net/netaddr.h"
#include "sys/loop.h"

enum {
	POOL_IDLE = 256,             /* idle sessions; the oldest goes for a new one */
	POOL_HOSTS = 2048,           /* hosts remembered; the oldest memory goes */
	POOL_DEAD_MS = 60 * 1000,    /* a host that did not answer comes last for this long */
	POOL_PLAIN_MS = 600 * 1000,  /* a host whose handshake failed is not offered TLS, where that is optional */
};

struct session;

struct pool {
	struct map by_key;   /* of a destination -> idle sessions */
	struct list idle;    /* oldest first */
	size_t nidle;
	struct map hosts;    /* by address and port */
	struct list memory;  /* oldest first */
	bool closed;         /* keeps nothing any more */
};

void pool_init(struct pool *p);
void pool_free(struct pool *p); /* idle sessions are their owner's to end */
/* False: it shall not be kept (too old, used often enough, no keeping). */
bool pool_put(struct session *s);
struct session *pool_take(struct pool *p, struct span key); /* the one used last; NULL: none */
void pool_remove(struct session *s); /* no effect if it is not in */
/* Says QUIT to all that idle and keeps no more. */
void pool_close(struct pool *p);

enum pool_trait { POOL_DEAD, POOL_PLAIN };
void pool_remember(struct pool *p, const struct netaddr *host, enum pool_trait trait, int64_t now_ms);
void pool_forget(struct pool *p, const struct netaddr *host); /* it answers */
bool pool_recalls(const struct pool *p, const struct netaddr *host, enum pool_trait trait, int64_t now_ms);

#endif
