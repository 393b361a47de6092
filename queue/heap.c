/* SPDX-License-Identifier: ISC */
#include "queue/heap.h"

#include <stdlib.h>

static void
set(struct heap *h, size_t i, struct heap_node *node)
{
	h->items[i] = node;
	node->place = i + 1;
}

static void
sift(struct heap *h, size_t i)
{
	struct heap_node *node = h->items[i];

	while (i > 0 && h->items[(i - 1) / 2]->due_ms > node->due_ms) {
		set(h, i, h->items[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	for (;;) {
		size_t child = 2 * i + 1;

		if (child + 1 < h->n && h->items[child + 1]->due_ms < h->items[child]->due_ms)
			child++;
		if (child >= h->n || h->items[child]->due_ms >= node->due_ms)
			break;
		set(h, i, h->items[child]);
		i = child;
	}
	set(h, i, node);
}

void
heap_take(struct heap *h, struct heap_node *node)
{
	size_t i = node->place - 1;

	if (!node->place)
		return;
	node->place = 0;
	h->n--;
	if (i == h->n)
		return;
	set(h, i, h->items[h->n]);
	sift(h, i);
}

bool
heap_put(struct heap *h, struct heap_node *node, int64_t due_ms)
{
	if (due_ms == INT64_MAX) {
		heap_take(h, node);
		return true;
	}
	node->due_ms = due_ms;
	if (!node->place) {
		if (h->n == h->max) {
			size_t max = h->max ? h->max * 2 : 64;
			struct heap_node **items = realloc(h->items, max * sizeof(*items));

			if (!items)
				return false;
			h->items = items;
			h->max = max;
		}
		set(h, h->n++, node);
	}
	sift(h, node->place - 1);
	return true;
}

void
heap_free(struct heap *h)
{
	free(h->items);
	*h = (struct heap){ .items = NULL };
}
