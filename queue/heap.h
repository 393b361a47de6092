/* SPDX-License-Identifier: ISC
 *
 * heap: things that want to be looked at at a time, the earliest first; each
 * has its node embedded.
 */
#ifndef QUEUE_HEAP_H
#define QUEUE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
	size_t place; /* index + 1; 0: in none */
	int64_t due_ms;
};

struct heap {
	struct heap_node **items;
	size_t n, max;
};

/* In, or to another time; INT64_MAX takes it out. False: no memory, it is not in. */
bool heap_put(struct heap *h, struct heap_node *node, int64_t due_ms);
/* The earliest; NULL: none. */
static inline struct heap_node *heap_first(const struct heap *h) { return h->n ? h->items[0] : NULL; }
void heap_take(struct heap *h, struct heap_node *node); /* no effect when it is in none */
void heap_free(struct heap *h);                         /* its nodes are not looked at any more */

#endif
