/* SPDX-License-Identifier: ISC
 *
 * fuzz_line: any text as a log line; what is found lies within it.
 */
#include <stdlib.h>

#include "log/line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_of(data, size);
	struct log_line l;

	if (!log_line_parse(text, &l))
		return 0;
#define X(key)                                                                              \
	if (l.key.p && (l.key.p < text.p || l.key.p + l.key.n > text.p + text.n))           \
		abort();
	LOG_LINE_KEYS(X)
#undef X
	return 0;
}
