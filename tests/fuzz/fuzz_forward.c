/* SPDX-License-Identifier: ISC
 *
 * Forward files: what is sent on are addresses, each once, and what is not understood is never lost.
 * The first line is the recipient's address.
 */
#include <stdlib.h>
#include <string.h>

#include "daemons/deliverd/forwardlist.h"
#include "ipc/bounds.h"
#include "mail/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
on_bad(void *arg, unsigned line, struct span item, const char *why)
{
	if (line == 0 || (item.n && !item.p) || !*why)
		abort();
	++*(unsigned *)arg;
}

static void
check(const struct forwardlist *list, unsigned bad)
{
	struct span rest = buf_span(&list->to), seen[FORWARDS_MOST];
	struct address a;
	size_t n = 0;

	if (bad && !list->kept)
		abort();
	if (rest.n > B_FORWARDS)
		abort();
	while (rest.n) {
		struct span line = span_cut(&rest, '\n');

		if (n == FORWARDS_MOST || !address_parse(&a, line, ADDRESS_UTF8 | ADDRESS_LONG_LOCAL, NULL) || !span_eq(address_text(&a), line) || !a.has_domain)
			abort();
		for (size_t i = 0; i < n; i++)
			if (span_eq(seen[i], line))
				abort();
		seen[n++] = line;
		if (rest.p && rest.n == 0)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned bad = 0;
	struct forwardlist list;
	struct forwardlist_reader reader = { .delimiters = SPAN("+"), .on_bad = on_bad, .arg = &bad };
	/* a copy, so that what reads behind it is seen */
	char *copy = malloc(size ? size : 1);
	struct span text;

	if (!copy || size > FORWARDLIST_TEXT) {
		free(copy);
		return 0;
	}
	if (size)
		memcpy(copy, data, size);
	text = span_of(copy, size);
	reader.own = span_cut(&text, '\n');
	forwardlist_init(&list);
	if (!forwardlist_parse(&list, text, &reader))
		abort();
	check(&list, bad);
	forwardlist_free(&list);
	free(copy);
	return 0;
}
