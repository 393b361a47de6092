/* SPDX-License-Identifier: ISC
 *
 * fuzz_export: any text as an exported envelope; what is understood says the
 * same when it is written and read again.
 */
#include <stdlib.h>
#include <string.h>

#include "queue/export.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct export_message x, y;
	struct buf room, text, again;
	struct fail why;

	buf_init(&room, EXPORT_TEXT_MAX);
	buf_init(&text, EXPORT_TEXT_MAX);
	buf_init(&again, EXPORT_TEXT_MAX);
	if (export_parse(span_of(data, size), &room, &x, &why)) {
		if (!export_text(&x, &text) || !export_parse(buf_span(&text), &room, &y, &why) || !export_text(&y, &again) ||
		    !span_eq(buf_span(&text), buf_span(&again)))
			abort();
	}
	buf_free(&room);
	buf_free(&text);
	buf_free(&again);
	return 0;
}
