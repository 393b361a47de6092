/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/ranking.h"

#include <stdlib.h>

#include "daemons/mailboxd/fold.h"

struct ranked {
	struct map_node node;
	uint32_t number;
};

void
ranking_init(struct ranking *r, size_t cap)
{
	*r = (struct ranking){ .n = 0 };
	map_init(&r->map);
	arena_init(&r->arena, cap);
}

void
ranking_free(struct ranking *r)
{
	map_free(&r->map);
	arena_free(&r->arena);
	free(r->order);
	free(r->ranks);
	r->order = NULL;
	r->ranks = NULL;
	r->n = r->nranked = 0;
}

uint32_t
ranking_number(struct ranking *r, struct span text)
{
	struct map_node *found = map_get(&r->map, text);
	struct span own = SPAN_NONE;
	struct ranked *new;

	if (found)
		return OWNER_OF(found, struct ranked, node)->number;
	new = ARENA_NEW(&r->arena, struct ranked);
	if (text.n && !(own = arena_dup(&r->arena, text)).p)
		return 0; /* not as the empty one */
	if (!new || r->n == UINT32_MAX - 1 || !map_put(&r->map, &new->node, own))
		return 0;
	return new->number = ++r->n;
}

bool
ranking_lines(struct ranking *r, struct span lines, struct buf *out)
{
	while (lines.n) {
		struct span line = span_cut(&lines, '\n');
		uint32_t number = line.n ? ranking_number(r, line) : 0;

		if (line.n && !number)
			return false;
		buf_put(out, span_of(&number, sizeof number));
	}
	return buf_ok(out);
}

/* ---- order ---- */

struct latest {
	const struct ranking *ranking;
	struct ranked **to;
};

static void
take_latest(struct map_node *node, void *arg)
{
	struct latest *l = arg;
	struct ranked *one = OWNER_OF(node, struct ranked, node);

	if (one->number > l->ranking->nranked)
		*l->to++ = one;
}

static int
by_text(const void *a, const void *b)
{
	return fold_compare((*(struct ranked *const *)a)->node.key, (*(struct ranked *const *)b)->node.key);
}

/* latest, in order, into what was in order before. */
static void
merge(struct ranking *r, struct ranked **latest, size_t n, struct ranked **order)
{
	size_t i = 0, k = 0;

	while (i < r->nranked || k < n)
		if (k == n || (i < r->nranked && by_text(&r->order[i], &latest[k]) < 0))
			*order++ = r->order[i++];
		else
			*order++ = latest[k++];
}

const uint32_t *
ranking_ranks(struct ranking *r)
{
	size_t n = r->n - r->nranked;
	struct ranked **latest, **order;
	uint32_t *ranks;

	if (n == 0 && r->ranks)
		return r->ranks;
	latest = calloc(n + 1, sizeof(struct ranked *));
	order = calloc((size_t)r->n + 1, sizeof(struct ranked *));
	ranks = calloc((size_t)r->n + 1, sizeof *ranks);
	if (!latest || !order || !ranks) {
		free(latest);
		free(order);
		free(ranks);
		return NULL;
	}
	map_each(&r->map, take_latest, &(struct latest){ r, latest });
	if (n)
		qsort(latest, n, sizeof(struct ranked *), by_text);
	merge(r, latest, n, order);
	for (uint32_t i = 0; i < r->n; i++)
		ranks[order[i]->number] = i + 1;
	free(latest);
	free(r->order);
	free(r->ranks);
	r->order = order;
	r->ranks = ranks;
	r->nranked = r->n;
	return ranks;
}
