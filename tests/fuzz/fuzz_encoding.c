/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "mail/charset.h"
#include "mail/encoding.h"
#include "mail/param.h"
#include "mail/word.h"

/* In pieces and at once are the same. */
static void
decode(enum encoding kind, struct span in, size_t piece, struct buf *a, struct buf *b)
{
	struct decoder d;

	buf_reset(a);
	buf_reset(b);
	(void)encoding_decode(kind, in, a);
	decoder_init(&d, kind);
	for (size_t at = 0; at < in.n; at += piece)
		decoder_feed(&d, span_sub(in, at, piece), b);
	decoder_end(&d, b);
	if (!span_eq(buf_span(a), buf_span(b)))
		abort();
}

static void
encode(enum encoding kind, struct span in, size_t piece, struct buf *a, struct buf *b)
{
	struct encoder e;

	buf_reset(a);
	buf_reset(b);
	encoder_init(&e, kind);
	for (size_t at = 0; at < in.n; at += piece)
		encoder_feed(&e, span_sub(in, at, piece), a);
	encoder_end(&e, a);
	if (!encoding_decode(kind, buf_span(a), b))
		abort();
	if (kind == ENCODING_BASE64 && !span_eq(buf_span(b), in))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const charsets[] = { "utf-8", "iso-8859-1", "iso-2022-jp", "gb18030", "utf-7", "utf-16", "shift_jis", "windows-1252" };
	struct span in;
	size_t piece;
	struct buf a, b;
	struct arena arena;
	struct param_list list;
	struct charset c;

	if (size < 2)
		return 0;
	piece = 1 + data[0] % 32;
	in = span_of(data + 1, size - 1);
	buf_init(&a, 1 << 20);
	buf_init(&b, 1 << 20);
	arena_init(&arena, 1 << 20);
	decode(ENCODING_BASE64, in, piece, &a, &b);
	decode(ENCODING_QP, in, piece, &a, &b);
	encode(ENCODING_BASE64, in, piece, &a, &b);
	encode(ENCODING_QP, in, piece, &a, &b);
	buf_reset(&a);
	if (word_decode(in, &a) && !utf8_valid(buf_span(&a)))
		abort();
	buf_reset(&a);
	word_encode(&a, in);
	(void)param_parse(&list, in, &arena);
	buf_reset(&a);
	if (param_get(&list, SPAN("a"), &a) && !utf8_valid(buf_span(&a)))
		abort();
	buf_reset(&a);
	if (charset_open(&c, span_str(charsets[data[0] % 8]))) {
		for (size_t at = 0; at < in.n; at += piece)
			charset_feed(&c, span_sub(in, at, piece), &a);
		charset_end(&c, &a);
		charset_close(&c);
		if (buf_ok(&a) && !utf8_valid(buf_span(&a)))
			abort();
	}
	buf_free(&a);
	buf_free(&b);
	arena_free(&arena);
	return 0;
}
