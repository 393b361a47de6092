/* SPDX-License-Identifier: ISC
 *
 * What a client may send as compressed: it is expanded within bounds or refused; and
 * what we compress comes back.
 */
#include <stdlib.h>

#include "daemons/mailboxd/squeeze.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROOM = 8192 };

/* As a session takes it: a little room, which is emptied. */
static bool
expand(struct squeeze *s, struct buf *raw, struct buf *all)
{
	struct buf out;
	bool ok;

	buf_init(&out, ROOM);
	while ((ok = squeeze_take(s, raw, &out)) && buf_len(&out)) {
		buf_put(all, buf_span(&out));
		buf_reset(&out);
		if (!buf_ok(all))
			break;
	}
	buf_free(&out);
	return ok;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct squeeze *ours = squeeze_new(), *theirs = squeeze_new();
	struct span in = span_of(data, size);
	struct buf raw, all;

	if (!ours || !theirs)
		abort();
	buf_init(&raw, 1 << 20);
	buf_init(&all, 1 << 20);
	for (size_t at = 0; at < in.n; at += 100) {
		buf_put(&raw, span_sub(in, at, 100));
		if (!expand(ours, &raw, &all))
			break;
	}
	buf_reset(&raw);
	buf_reset(&all);
	if (!squeeze_put(ours, span_sub(in, 0, size / 2), true, &raw) || !squeeze_put(ours, span_from(in, size / 2), true, &raw) ||
	    !expand(theirs, &raw, &all) || !span_eq(buf_span(&all), in))
		abort();
	squeeze_free(&ours);
	squeeze_free(&theirs);
	buf_free(&raw);
	buf_free(&all);
	return 0;
}
