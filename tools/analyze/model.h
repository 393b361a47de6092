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

/* A node that was removed, by whatever way, is in its list no more. */
bool model_list_empty(struct list *l); /* not const: after it nothing is known of the list */
struct list *model_list_first(struct list *l);
#define list_empty(l) model_list_empty((struct list *)(l))
struct list *model_list_shift(struct list *l);
#define list_shift(l) model_list_shift(l)
void model_list_remove(struct list *node);
#define list_remove(node) model_list_remove(node)
#undef LIST_EACH
#define LIST_EACH(l, it) \
	for (struct list *it = model_list_first((struct list *)(l)), *it##_next = it->next; it != (l); it = it##_next, it##_next = it->next)

#endif
