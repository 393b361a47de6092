/* SPDX-License-Identifier: ISC
 *
 * A promise file of whatever octets: those that are accepted stay within the
 * Maildir, and are written as they were read.
 */
#include <stdlib.h>
#include <string.h>

#include "store/promise.h"
#include "sys/crc32c.h"

enum { HEAD = 32, CRC_AT = 28 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
look(struct span file)
{
	struct promise p;

	promise_init(&p);
	if (promise_parse(&p, file)) {
		struct span text = buf_span(&p.text);

		if (text.n != file.n - HEAD || memcmp(text.p, file.p + HEAD, text.n) != 0)
			abort();
		for (size_t i = 0; i < p.n; i++)
			if (strstr(promise_from(&p, i), "..") == promise_from(&p, i) || promise_to(&p, i)[0] == '/' || strstr(promise_to(&p, i), "/../"))
				abort();
	}
	promise_free(&p);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *file = malloc(size ? size : 1);
	uint32_t crc;

	if (size)
		memcpy(file, data, size);
	look(span_of(file, size));
	if (size >= HEAD) { /* once more with the checksum it should have */
		crc = crc32c(0, span_of(file + HEAD, size - HEAD));
		for (unsigned i = 0; i < 4; i++)
			file[CRC_AT + i] = (char)(crc >> 8 * i);
		look(span_of(file, size));
	}
	free(file);
	return 0;
}
