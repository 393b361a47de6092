/* SPDX-License-Identifier: ISC */
#include "rate.h"

#include <stdlib.h>
#include <string.h>

struct counter {
	struct map_node by_key;
	struct list by_start;
	int64_t start_ms;
	uint64_t n;
	uint16_t key_n;
	char key[]; /* the kind in front */
};

void
rates_init(struct rates *r)
{
	map_init(&r->counters);
	list_init(&r->by_start);
	r->n = 0;
}

static void
forget(struct rates *r, struct counter *c)
{
	map_remove(&r->counters, &c->by_key);
	list_remove(&c->by_start);
	r->n--;
	free(c);
}

void
rates_free(struct rates *r)
{
	while (!list_empty(&r->by_start))
		forget(r, OWNER_OF(r->by_start.next, struct counter, by_start));
	map_free(&r->counters);
}

static struct counter *
counter_of(struct rates *r, struct span key, int64_t now_ms)
{
	struct map_node *node = map_get(&r->counters, key);
	struct counter *c = node ? OWNER_OF(node, struct counter, by_key) : calloc(1, sizeof(*c) + key.n);

	if (node || !c)
		return c;
	memcpy(c->key, key.p, key.n);
	c->key_n = (uint16_t)key.n;
	if (!map_put(&r->counters, &c->by_key, span_of(c->key, key.n))) {
		free(c);
		return NULL;
	}
	c->start_ms = now_ms;
	list_push(&r->by_start, &c->by_start);
	if (++r->n > RATE_COUNTERS_MAX)
		forget(r, OWNER_OF(r->by_start.next, struct counter, by_start));
	return c;
}

bool
rate_count(struct rates *r, enum rate_kind kind, struct span key, uint64_t limit, int64_t unit_ms, int64_t now_ms)
{
	char text[RATE_KEY_MAX + 1];
	struct counter *c;

	if (!limit || !key.n)
		return true;
	key = span_sub(key, 0, RATE_KEY_MAX);
	text[0] = (char)('A' + kind);
	for (size_t i = 0; i < key.n; i++)
		text[i + 1] = ascii_lower(key.p[i]);
	/* Windows that are over go first: what is left is in use. */
	while (!list_empty(&r->by_start) && now_ms - OWNER_OF(r->by_start.next, struct counter, by_start)->start_ms >= unit_ms)
		forget(r, OWNER_OF(r->by_start.next, struct counter, by_start));
	c = counter_of(r, span_of(text, key.n + 1), now_ms);
	return !c || ++c->n <= limit;
}

const char *
rate_option(enum rate_kind kind)
{
	static const char *const names[] = {
#define X(name, option, text) [RATE_##name] = #option,
		RATE_KINDS(X)
#undef X
	};

	return names[kind];
}
