/* SPDX-License-Identifier: ISC
 *
 * Alias files and the lists in them.
 */
#include <stdlib.h>

#include "table/aliaslist.h"
#include "table/maptext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
on_entry(void *arg, unsigned line, struct span key, struct span value)
{
	struct aliaslist_item item;

	(void)line;
	if (key.n == 0 || value.n == 0)
		abort();
	while (aliaslist_next(&value, arg, &item))
		if (!item.text.p && item.text.n > 0)
			abort();
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena;
	struct maptext_visitor v = { on_entry, NULL, &arena };

	arena_init(&arena, 16 << 20);
	(void)maptext_walk(span_of(data, size), TABLE_ALIASES, &v);
	arena_free(&arena);
	return 0;
}
