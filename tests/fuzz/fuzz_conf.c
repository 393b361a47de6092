/* SPDX-License-Identifier: ISC
 *
 * A configuration that parses must print as one that parses to the same.
 */
#include <stdlib.h>

#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct conf_errors errors;
	const struct conf *conf, *again;
	enum conf_reload reload;
	struct arena arena;
	struct buf out;

	arena_init(&arena, 16 * 1024 * 1024);
	buf_init(&out, 8 * 1024 * 1024);
	conf = conf_parse(span_of(data, size), &arena, &errors);
	if (conf) {
		conf_canonical(conf, CONF_ALL, &out);
		again = buf_ok(&out) ? conf_parse(buf_span(&out), &arena, &errors) : NULL;
		if (!again || conf_diff(conf, again, CONF_ALL, &reload, NULL))
			abort();
	}
	buf_free(&out);
	arena_free(&arena);
	return 0;
}
