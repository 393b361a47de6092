/* SPDX-License-Identifier: ISC
 *
 * list: an intrusive doubly linked list with a sentinel.  The node is a member
 * of the listed struct; OWNER_OF gives the struct back.  A node is either
 * unlinked (both pointers NULL) or in one list; list_remove() unlinks.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/owner.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l) { l->next = l->prev = l; }
static inline bool list_empty(const struct list *l) { return l->next == l; }
static inline bool list_linked(const struct list *node) { return node->next != NULL; }

static inline void
list_insert(struct list *after, struct list *node)
{
	node->prev = after;
	node->next = after->next;
	after->next->prev = node;
	after->next = node;
}
static inline void list_push(struct list *l, struct list *node) { list_insert(l->prev, node); } /* at the end */
static inline void list_unshift(struct list *l, struct list *node) { list_insert(l, node); }    /* at the front */

static inline void
list_remove(struct list *node)
{
	if (!node->next)
		return;
	node->prev->next = node->next;
	node->next->prev = node->prev;
	node->next = node->prev = NULL;
}

static inline struct list *
list_shift(struct list *l) /* the first node, unlinked; NULL when empty */
{
	struct list *node = l->next;

	if (node == l)
		return NULL;
	list_remove(node);
	return node;
}

/* Safe against removal of the current node. */
#define LIST_EACH(l, it) \
	for (struct list *it = (l)->next, *it##_next = it->next; it != (l); it = it##_next, it##_next = it->next)

#endif
