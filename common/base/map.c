/* SPDX-License-Identifier: ISC */
#include "base/map.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { FIRST_BUCKETS = 16 };

void
map_init(struct map *m)
{
	*m = (struct map){ .nbuckets = 0 };
	if (getrandom(m->seed, sizeof(m->seed), 0) != (ssize_t)sizeof(m->seed))
		abort(); /* bug: a kernel without randomness */
}

void
map_free(struct map *m)
{
	free(m->buckets);
	m->buckets = NULL;
	m->nbuckets = m->count = 0;
}

static uint64_t
rotl(uint64_t v, int by)
{
	return v << by | v >> (64 - by);
}

static void
sip_round(uint64_t v[4])
{
	v[0] += v[1], v[1] = rotl(v[1], 13), v[1] ^= v[0], v[0] = rotl(v[0], 32);
	v[2] += v[3], v[3] = rotl(v[3], 16), v[3] ^= v[2];
	v[0] += v[3], v[3] = rotl(v[3], 21), v[3] ^= v[0];
	v[2] += v[1], v[1] = rotl(v[1], 17), v[1] ^= v[2], v[2] = rotl(v[2], 32);
}

uint64_t
map_hash(const uint64_t seed[2], struct span key)
{
	uint64_t v[4] = { seed[0] ^ 0x736f6d6570736575u, seed[1] ^ 0x646f72616e646f6du,
		seed[0] ^ 0x6c7967656e657261u, seed[1] ^ 0x7465646279746573u };
	uint64_t last = (uint64_t)key.n << 56;
	size_t at = 0;

	for (; at + 8 <= key.n; at += 8) {
		uint64_t word;

		memcpy(&word, key.p + at, 8);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	for (size_t i = 0; at + i < key.n; i++)
		last |= (uint64_t)(unsigned char)key.p[at + i] << (8 * i);
	v[3] ^= last;
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Spreads the bits of a number over the bucket index (Fibonacci hashing). */
static size_t
bucket_of(const struct map *m, uint64_t hash)
{
	return (size_t)((hash * 0x9e3779b97f4a7c15u) >> 32) & (m->nbuckets - 1);
}

static bool
grow(struct map *m)
{
	size_t n = m->nbuckets ? m->nbuckets * 2 : FIRST_BUCKETS;
	struct map_node **old = m->buckets, **fresh = calloc(n, sizeof(struct map_node *));
	size_t old_n = m->nbuckets;

	if (!fresh)
		return m->nbuckets > 0; /* a crowded table still works */
	m->buckets = fresh;
	m->nbuckets = n;
	for (size_t i = 0; i < old_n; i++)
		for (struct map_node *node = old[i], *next; node; node = next) {
			struct map_node **slot = &m->buckets[bucket_of(m, node->hash)];

			next = node->next;
			node->next = *slot;
			*slot = node;
		}
	free(old);
	return true;
}

static bool
put(struct map *m, struct map_node *node)
{
	struct map_node **slot;

	if (m->count >= m->nbuckets && !grow(m))
		return false;
	slot = &m->buckets[bucket_of(m, node->hash)];
	node->next = *slot;
	*slot = node;
	m->count++;
	return true;
}

bool
map_put(struct map *m, struct map_node *node, struct span key)
{
	node->key = key;
	node->hash = map_hash(m->seed, key);
	return put(m, node);
}

bool
map_put_u64(struct map *m, struct map_node *node, uint64_t key)
{
	node->key = SPAN_NONE;
	node->hash = key;
	return put(m, node);
}

static struct map_node *
find(const struct map *m, uint64_t hash, struct span key)
{
	struct map_node *node;

	if (!m->nbuckets)
		return NULL;
	node = m->buckets[bucket_of(m, hash)];
	while (node && !(node->hash == hash && span_eq(node->key, key)))
		node = node->next;
	return node;
}

struct map_node *
map_get(const struct map *m, struct span key)
{
	return find(m, map_hash(m->seed, key), key);
}

struct map_node *
map_get_u64(const struct map *m, uint64_t key)
{
	return find(m, key, SPAN_NONE);
}

void
map_remove(struct map *m, struct map_node *node)
{
	struct map_node **slot;

	if (!m->nbuckets)
		return;
	slot = &m->buckets[bucket_of(m, node->hash)];
	while (*slot && *slot != node)
		slot = &(*slot)->next;
	if (!*slot)
		return;
	*slot = node->next;
	node->next = NULL;
	m->count--;
}

void
map_each(struct map *m, void (*visit)(struct map_node *, void *), void *arg)
{
	for (size_t i = 0; i < m->nbuckets; i++)
		for (struct map_node *node = m->buckets[i], *next; node; node = next) {
			next = node->next;
			visit(node, arg);
		}
}
