/* SPDX-License-Identifier: ISC
 *
 * The original recipient of a notification, as a client may give it: what is passed on is
 * valid, and what was made of an address comes back as that address.
 */
#include <stdlib.h>

#include "mail/charset.h"
#include "mail/orcpt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* No byte that would end or begin a parameter or a line (RFC 3461 4). */
static void
check_parameter(struct span s, bool utf8)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f || (!utf8 && s.p[i] & 0x80))
			abort();
}

static void
given(struct span in, bool utf8, struct buf *out)
{
	buf_reset(out);
	orcpt_put_decoded(out, in, utf8);
	for (size_t i = 0; i < buf_len(out); i++)
		if (!utf8 && buf_span(out).p[i] & 0x80)
			abort();
	if (!orcpt_valid(in, utf8))
		return;
	if (!utf8_valid(buf_span(out)))
		abort();
	check_parameter(in, utf8);
	for (int to = 0; to < 2; to++) {
		buf_reset(out);
		orcpt_put(out, in, to);
		check_parameter(buf_span(out), to);
		if (buf_len(out) && !orcpt_valid(buf_span(out), to) && buf_len(out) <= ORCPT_MAX)
			abort();
	}
}

/* An address of printable characters. */
static void
made(struct span address, bool utf8, struct buf *out)
{
	struct buf back;

	if (!utf8_valid(address) || !address.n || address.n > 40)
		return;
	for (size_t i = 0; i < address.n; i++)
		if ((unsigned char)address.p[i] < ' ' || address.p[i] == 0x7f)
			return;
	buf_reset(out);
	buf_init(&back, 4096);
	orcpt_make(out, address, utf8);
	if (!orcpt_valid(buf_span(out), utf8))
		abort();
	orcpt_put_decoded(&back, buf_span(out), true);
	if (!span_ends(buf_span(&back), address))
		abort();
	buf_free(&back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data + 1, size ? size - 1 : 0);
	struct buf out;

	if (!size)
		return 0;
	buf_init(&out, 1 << 20);
	given(in, data[0] & 1, &out);
	made(in, data[0] & 1, &out);
	buf_reset(&out);
	unitext_encode(&out, in);
	buf_free(&out);
	return 0;
}
