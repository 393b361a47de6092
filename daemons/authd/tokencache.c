/* SPDX-License-Identifier: ISC */
#include "daemons/authd/tokencache.h"

#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct entry {
	struct map_node node;
	struct list age;
	uint8_t key[SHA256_DIGEST_SIZE];
	int64_t until_ms;
	char user[B_ADDRESS + 1];
};

bool
tokencache_init(struct tokencache *c)
{
	map_init(&c->map);
	list_init(&c->oldest_first);
	return getrandom(c->seed, sizeof(c->seed), 0) == (ssize_t)sizeof(c->seed);
}

static void
drop(struct tokencache *c, struct entry *e)
{
	map_remove(&c->map, &e->node);
	list_remove(&e->age);
	free(e);
}

void
tokencache_free(struct tokencache *c)
{
	while (!list_empty(&c->oldest_first))
		drop(c, OWNER_OF(c->oldest_first.next, struct entry, age));
	map_free(&c->map);
	explicit_bzero(c->seed, sizeof(c->seed));
}

static void
key_of(const struct tokencache *c, struct span token, uint8_t key[SHA256_DIGEST_SIZE])
{
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	sha256_update(&ctx, sizeof(c->seed), c->seed);
	sha256_update(&ctx, token.n, (const uint8_t *)token.p);
	sha256_digest(&ctx, SHA256_DIGEST_SIZE, key);
	explicit_bzero(&ctx, sizeof(ctx));
}

static struct entry *
find(struct tokencache *c, const uint8_t key[SHA256_DIGEST_SIZE])
{
	struct map_node *node = map_get(&c->map, span_of(key, SHA256_DIGEST_SIZE));

	return node ? OWNER_OF(node, struct entry, node) : NULL;
}

struct span
tokencache_get(struct tokencache *c, struct span token, int64_t now_ms)
{
	uint8_t key[SHA256_DIGEST_SIZE];
	struct entry *e;

	key_of(c, token, key);
	e = find(c, key);
	if (e && e->until_ms > now_ms)
		return span_str(e->user);
	if (e)
		drop(c, e);
	return SPAN_NONE;
}

void
tokencache_put(struct tokencache *c, struct span token, struct span user, int64_t until_ms)
{
	uint8_t key[SHA256_DIGEST_SIZE];
	struct entry *e;

	key_of(c, token, key);
	if ((e = find(c, key)))
		drop(c, e);
	if (c->map.count >= TOKENCACHE_ENTRIES)
		drop(c, OWNER_OF(c->oldest_first.next, struct entry, age));
	e = calloc(1, sizeof(*e));
	if (!e || !span_cstr(user, e->user, sizeof(e->user))) {
		free(e);
		return;
	}
	memcpy(e->key, key, sizeof(key));
	e->until_ms = until_ms;
	if (map_put(&c->map, &e->node, span_of(e->key, sizeof(e->key))))
		list_push(&c->oldest_first, &e->age);
	else
		free(e);
}
