/* SPDX-License-Identifier: ISC
 *
 * The filter language: any text parses or is refused with a column inside it,
 * and what parses can be asked about a message.
 */
#include <stdlib.h>

#include "queue/filter.h"

static uint64_t
number(const void *of, enum filter_field f)
{
	(void)of;
	return f == FILTER_age ? 7200000 : 4096;
}

static bool
text(const void *of, enum filter_field f, uint32_t nth, struct span *out)
{
	static const struct span values[] = { SPAN_INIT("alice@example.com"), SPAN_INIT("192.0.2.1"), SPAN_INIT("deferred") };

	(void)of, (void)f;
	if (nth < 3)
		*out = values[nth];
	return nth < 3;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct filter_source source = { number, text };
	struct filter_error error;
	struct filter *f;
	const uint64_t *ids;
	size_t n;

	if (size < 1)
		return 0;
	f = filter_parse(span_of(data + 1, size - 1), 1u << data[0] % 3, &error);
	if (!f) {
		if (!error.text[0] || error.column > size)
			abort();
		return 0;
	}
	if (filter_matches_all(f) && !filter_match(f, &source, NULL))
		abort();
	(void)filter_match(f, &source, NULL);
	if (filter_ids(f, &ids, &n))
		for (size_t i = 0; i < n; i++)
			if (ids[i] == 0)
				abort();
	filter_free(&f);
	return 0;
}
