/* SPDX-License-Identifier: ISC
 *
 * option: a fuzzer's bytes as a table that stands in the configuration itself.
 */
#ifndef FUZZ_OPTION_H
#define FUZZ_OPTION_H

#include "base/buf.h"

static void
option(struct buf *conf, const char *name, struct span text)
{
	buf_printf(conf, "%s = \"inline:{", name);
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '"' || text.p[i] == '\\')
			buf_putc(conf, '\\');
		if (text.p[i] == '$')
			buf_putc(conf, '$');
		buf_putc(conf, text.p[i]);
	}
	buf_puts(conf, "}\"\n");
}

#endif
