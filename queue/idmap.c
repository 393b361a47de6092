/* SPDX-License-Identifier: ISC */
#include "queue/idmap.h"

#include <stdlib.h>

enum { FIRST = 1024 };

static struct idnode **
slot(const struct idmap *m, uint64_t id)
{
	return &m->buckets[(size_t)((id * 0x9e3779b97f4a7c15u) >> 32) & (m->nbuckets - 1)];
}

static bool
grow(struct idmap *m)
{
	struct idmap wider = { .nbuckets = m->nbuckets ? m->nbuckets * 2 : FIRST, .count = m->count };

	wider.buckets = calloc(wider.nbuckets, sizeof(struct idnode *));
	if (!wider.buckets)
		return m->nbuckets > 0; /* a crowded table still works */
	for (size_t i = 0; i < m->nbuckets; i++)
		for (struct idnode *node = m->buckets[i], *next; node; node = next) {
			struct idnode **at = slot(&wider, node->id);

			next = node->next;
			node->next = *at;
			*at = node;
		}
	free(m->buckets);
	*m = wider;
	return true;
}

void
idmap_free(struct idmap *m)
{
	free(m->buckets);
	*m = (struct idmap){ .nbuckets = 0 };
}

bool
idmap_put(struct idmap *m, struct idnode *node, uint64_t id)
{
	struct idnode **at;

	if (m->count >= m->nbuckets && !grow(m))
		return false;
	node->id = id;
	at = slot(m, id);
	node->next = *at;
	*at = node;
	m->count++;
	return true;
}

struct idnode *
idmap_get(const struct idmap *m, uint64_t id)
{
	struct idnode *node = m->nbuckets ? *slot(m, id) : NULL;

	while (node && node->id != id)
		node = node->next;
	return node;
}

void
idmap_remove(struct idmap *m, struct idnode *node)
{
	struct idnode **at = m->nbuckets ? slot(m, node->id) : NULL;

	while (at && *at && *at != node)
		at = &(*at)->next;
	if (!at || !*at)
		return;
	*at = node->next;
	node->next = NULL;
	m->count--;
}
