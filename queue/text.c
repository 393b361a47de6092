/* SPDX-License-Identifier: ISC */
#include "queue/text.h"

#include <stdlib.h>
#include <string.h>

struct text *
text_new(struct span s)
{
	struct text *t;

	if (s.n == 0)
		return NULL;
	if (s.n > UINT16_MAX)
		s.n = UINT16_MAX;
	t = malloc(sizeof(*t) + s.n);
	if (!t)
		return NULL;
	t->n = (uint16_t)s.n;
	memcpy(t->bytes, s.p, s.n);
	return t;
}

bool
text_keep(struct text **at, struct span s)
{
	free(*at);
	*at = text_new(s);
	return *at || s.n == 0;
}

void
text_drop(struct text **at)
{
	free(*at);
	*at = NULL;
}

void
words_init(struct words *w)
{
	map_init(&w->map);
}

static void
drop(struct map_node *node, void *arg)
{
	(void)arg;
	free(OWNER_OF(node, struct word, node));
}

void
words_free(struct words *w)
{
	map_each(&w->map, drop, NULL);
	map_free(&w->map);
}

struct word *
words_get(struct words *w, struct span s)
{
	struct map_node *node;
	struct word *word;

	if (s.n == 0)
		return NULL;
	node = map_get(&w->map, s);
	if (node)
		return word_again(OWNER_OF(node, struct word, node));
	word = malloc(sizeof(*word) + s.n);
	if (!word)
		return NULL;
	word->refs = 1;
	word->n = (uint32_t)s.n;
	memcpy(word->bytes, s.p, s.n);
	if (map_put(&w->map, &word->node, span_of(word->bytes, s.n)))
		return word;
	free(word);
	return NULL;
}

void
words_put(struct words *w, struct word **at)
{
	struct word *word = *at;

	*at = NULL;
	if (!word || --word->refs > 0)
		return;
	map_remove(&w->map, &word->node);
	free(word);
}
