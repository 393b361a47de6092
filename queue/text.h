/* SPDX-License-Identifier: ISC
 *
 * text: short immutable strings as the queue keeps a million of them: a packed
 * copy, and a pool that keeps equal ones once.
 */
#ifndef QUEUE_TEXT_H
#define QUEUE_TEXT_H

#include "base/map.h"

/* A packed copy; NULL: no memory. The empty text is NULL as well. */
struct text {
	uint16_t n;
	char bytes[];
};
struct text *text_new(struct span s); /* cut at 65535 */
/* Into *at, which is replaced; false: no memory. */
bool text_keep(struct text **at, struct span s);
void text_drop(struct text **at);
static inline struct span text_span(const struct text *t) { return t ? (struct span){ t->bytes, t->n } : SPAN_NONE; }

/* A shared one, counted. NULL stands for the empty text. */
struct word {
	struct map_node node;
	uint32_t refs;
	uint32_t n;
	char bytes[];
};
struct words {
	struct map map;
};
void words_init(struct words *w);
void words_free(struct words *w);
struct word *words_get(struct words *w, struct span s); /* one more reference */
void words_put(struct words *w, struct word **word);    /* one less */
static inline struct word *word_again(struct word *word) { if (word) word->refs++; return word; }
static inline struct span word_span(const struct word *w) { return w ? (struct span){ w->bytes, w->n } : SPAN_NONE; }

#endif
