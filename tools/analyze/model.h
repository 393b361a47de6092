/* SPDX-License-Identifier: ISC
 *
 * model: forced into each file that clang-tidy looks at, and into nothing that is built: what its analyzer
 * cannot see because it is behind a call or a pointer.
 */
#ifndef ANALYZE_MODEL_H
#define ANALYZE_MODEL_H

#include "base/buf.h"
#include "base/fail.h"
#include "base/list.h"

/* They return false, always. */
#define fail_set(...) ((void)fail_set(__VA_ARGS__), false)
#define fail_errno(...) ((void)fail_errno(__VA_ARGS__), false)

/* What has octets has memory. */
static inline struct span
model_buf_span(const struct buf *b)
{
	return (struct span){ b->at ? b->mem + b->at : b->mem, b->end - b->at };
}
#define buf_span(b) model_buf_span(b)

/* The first node's `prev` is the list itself. */
static inline struct list *
model_list_shift(struct list *l)
{
	struct list *node = l->next;

	if (node == l)
		return NULL;
	l->next = node->next;
	l->next->prev = l;
	node->next = node->prev = NULL;
	return node;
}
#define list_shift(l) model_list_shift(l)

#endif
