/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "mail/charset.h"
#include "mail/html.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);
	struct buf out;

	buf_init(&out, 1 << 20);
	html_text(in, &out);
	if (buf_len(&out) > size) /* nothing is written longer than it was */
		abort();
	if (utf8_valid(in) && !utf8_valid(buf_span(&out)))
		abort();
	buf_free(&out);
	return 0;
}
