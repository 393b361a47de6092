/* SPDX-License-Identifier: ISC */
#include "base/recent.h"

#include <stdlib.h>
#include <string.h>

struct entry {
	struct map_node node;
	struct list order;
	int64_t at_ms;
	char who[];
};

void
recent_init(struct recent *r, size_t most)
{
	r->most = most;
	map_init(&r->map);
	list_init(&r->order);
}

static void
drop(struct recent *r, struct entry *e)
{
	map_remove(&r->map, &e->node);
	list_remove(&e->order);
	free(e);
}

static struct entry *
oldest(struct recent *r)
{
	return list_empty(&r->order) ? NULL : OWNER_OF(r->order.next, struct entry, order);
}

void
recent_free(struct recent *r)
{
	while (oldest(r))
		drop(r, oldest(r));
	map_free(&r->map);
}

static struct entry *
find(const struct recent *r, struct span who)
{
	struct map_node *node = map_get(&r->map, who);

	return node ? OWNER_OF(node, struct entry, node) : NULL;
}

void
recent_forget(struct recent *r, struct span who)
{
	struct entry *e = find(r, who);

	if (e)
		drop(r, e);
}

void
recent_note(struct recent *r, struct span who, int64_t now_ms)
{
	struct entry *e;

	recent_forget(r, who);
	if (r->map.count >= r->most)
		drop(r, oldest(r));
	e = calloc(1, sizeof(*e) + who.n);
	if (!e)
		return;
	e->at_ms = now_ms;
	if (who.n)
		memcpy(e->who, who.p, who.n);
	if (map_put(&r->map, &e->node, span_of(e->who, who.n)))
		list_push(&r->order, &e->order);
	else
		free(e);
}

bool
recent_within(const struct recent *r, struct span who, int64_t ms, int64_t now_ms)
{
	const struct entry *e = find(r, who);

	return e && now_ms - e->at_ms < ms;
}

bool
recent_admits(struct recent *r, struct span who, int64_t delay_ms, int64_t now_ms)
{
	struct entry *e;

	while ((e = oldest(r)) && now_ms - e->at_ms >= delay_ms)
		drop(r, e);
	if (find(r, who))
		return false;
	if (delay_ms > 0)
		recent_note(r, who, now_ms);
	return true;
}
