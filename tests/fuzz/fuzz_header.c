/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "mail/addrlist.h"
#include "mail/envelope.h"
#include "mail/header.h"
#include "mail/msgid.h"
#include "mail/submission.h"
#include "mail/word.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct submission who = { .sender = SPAN_INIT("a@b"), .domain = SPAN_INIT("b"), .unique = SPAN_INIT("1") };
	struct span in = span_of(data, size);
	struct header_walk w = header_walk(in);
	struct header_field f;
	struct arena arena;
	struct buf out;
	struct addrlist list;
	struct envelope e;
	size_t end = 0, n;

	arena_init(&arena, 1 << 20);
	buf_init(&out, 1 << 20);
	while (header_next(&w, &f)) {
		if ((size_t)(f.whole.p - in.p) < end || f.whole.n == 0 || f.name.n == 0)
			abort();
		end = (size_t)(f.whole.p - in.p) + f.whole.n;
		(void)addrlist_parse(&list, f.value, &arena);
		for (const struct addrlist_item *it = list.first; it; it = it->next)
			addrlist_put_address(&out, it);
		(void)word_decode(f.value, &out);
		for (struct span ids = f.value; msgid_next(&ids, &out);)
			if (ids.n >= f.value.n)
				abort();
		buf_reset(&out);
	}
	if (header_size(in, &n) > size || n < end)
		abort();
	(void)addrlist_parse(&list, in, &arena);
	(void)envelope_parse(&e, in, &arena);
	(void)submission_fix(&out, span_sub(in, 0, n), &who);
	buf_free(&out);
	arena_free(&arena);
	return 0;
}
