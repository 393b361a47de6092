/* SPDX-License-Identifier: ISC */
#include "daemons/authd/cache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/buf.h"

struct entry {
	struct map_node node;
	struct list age;
	int64_t until_ms;
	uint64_t tag[2];
	size_t n;
	char name[];
};

bool
cache_init(struct cache *c)
{
	map_init(&c->map);
	list_init(&c->oldest_first);
	return getrandom(c->seed, sizeof(c->seed), 0) == (ssize_t)sizeof(c->seed);
}

static void
drop(struct cache *c, struct entry *e)
{
	map_remove(&c->map, &e->node);
	list_remove(&e->age);
	explicit_bzero(e->tag, sizeof(e->tag));
	free(e);
}

void
cache_free(struct cache *c)
{
	while (!list_empty(&c->oldest_first))
		drop(c, OWNER_OF(c->oldest_first.next, struct entry, age));
	map_free(&c->map);
	explicit_bzero(c->seed, sizeof(c->seed));
}

/* 128 bits over the three, each with its length, by two keyed hashes. */
static bool
make_tag(const struct cache *c, struct span name, struct span password, struct span stored, uint64_t tag[2])
{
	struct buf text;
	bool ok;

	buf_init(&text, 4096);
	(void)buf_room(&text, 8 + name.n + password.n + stored.n); /* what grows leaves a copy of the password behind */
	buf_le32(&text, (uint32_t)name.n);
	buf_put(&text, name);
	buf_le32(&text, (uint32_t)password.n);
	buf_put(&text, password);
	buf_put(&text, stored);
	ok = buf_ok(&text);
	tag[0] = map_hash(c->seed[0], buf_span(&text));
	tag[1] = map_hash(c->seed[1], buf_span(&text));
	buf_wipe(&text);
	return ok;
}

bool
cache_has(struct cache *c, struct span name, struct span password, struct span stored, int64_t now_ms)
{
	struct map_node *node = map_get(&c->map, name);
	struct entry *e = node ? OWNER_OF(node, struct entry, node) : NULL;
	uint64_t tag[2];

	if (!e)
		return false;
	if (e->until_ms <= now_ms) {
		drop(c, e);
		return false;
	}
	if (!make_tag(c, name, password, stored, tag))
		return false;
	return ((tag[0] ^ e->tag[0]) | (tag[1] ^ e->tag[1])) == 0;
}

void
cache_put(struct cache *c, struct span name, struct span password, struct span stored, int64_t now_ms)
{
	struct map_node *node = map_get(&c->map, name);
	struct entry *e;

	if (node)
		drop(c, OWNER_OF(node, struct entry, node));
	else if (c->map.count >= CACHE_ENTRIES)
		drop(c, OWNER_OF(c->oldest_first.next, struct entry, age));
	e = calloc(1, sizeof(*e) + name.n);
	if (!e)
		return;
	memcpy(e->name, name.p, name.n);
	e->until_ms = now_ms + CACHE_MS;
	if (!make_tag(c, name, password, stored, e->tag) || !map_put(&c->map, &e->node, span_of(e->name, name.n))) {
		free(e);
		return;
	}
	list_push(&c->oldest_first, &e->age);
}
