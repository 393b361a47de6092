/* SPDX-License-Identifier: ISC */
#include "mail/word.h"

#include <string.h>

#include "mail/charset.h"
#include "mail/encoding.h"
#include "mail/limits.h"

/* =?charset*language?encoding?text?= */
struct encoded {
	struct span charset, text;
	bool base64;
	size_t size;
};

static bool
token(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~')
			return false;
	return s.n > 0;
}

/* The encoded word at the front of s, which begins "=?". */
static bool
scan(struct span s, struct encoded *e)
{
	struct span rest = span_sub(s, 2, LIMIT_ENCODED_WORD), encoding;
	size_t end;

	e->charset = span_cut(&rest, '?');
	encoding = span_cut(&rest, '?');
	if (!token(e->charset) || encoding.n != 1 || !rest.p)
		return false;
	e->base64 = ascii_lower(encoding.p[0]) == 'b';
	if (!e->base64 && ascii_lower(encoding.p[0]) != 'q')
		return false;
	end = span_find(rest, SPAN("?="));
	if (end == SIZE_MAX)
		return false;
	e->text = span_sub(rest, 0, end);
	if (span_chr(e->text, '\n') != SIZE_MAX)
		return false;
	e->size = (size_t)(rest.p + end + 2 - s.p);
	end = span_chr(e->charset, '*'); /* RFC 2231 5: the language */
	if (end != SIZE_MAX)
		e->charset = span_sub(e->charset, 0, end);
	return true;
}

/* RFC 2047 4.2: as quoted-printable, but "_" is a blank and line ends mean nothing. */
static void
decode_q(struct span text, struct buf *out)
{
	struct decoder d;

	while (text.n && buf_ok(out)) {
		size_t under = span_chr(text, '_');

		decoder_init(&d, ENCODING_QP);
		decoder_feed(&d, span_sub(text, 0, under), out);
		for (; d.blanks; d.blanks--)
			buf_putc(out, ' ');
		decoder_end(&d, out);
		if (under == SIZE_MAX)
			break;
		buf_putc(out, ' ');
		text = span_from(text, under + 1);
	}
}

/* Characters may be split over words of one charset: against RFC 2047 5, but frequent. */
struct joiner {
	struct charset charset;
	struct span name;
	bool open;
};

static void
join_end(struct joiner *j, struct buf *out)
{
	if (!j->open)
		return;
	charset_end(&j->charset, out);
	charset_close(&j->charset);
	j->open = false;
}

static bool
put_word(struct joiner *j, const struct encoded *e, struct buf *out)
{
	struct buf raw;

	if (j->open && !span_caseeq(j->name, e->charset))
		join_end(j, out);
	if (!j->open && !charset_open(&j->charset, e->charset))
		return false;
	j->open = true;
	j->name = e->charset;
	buf_init(&raw, LIMIT_ENCODED_WORD);
	if (e->base64)
		(void)encoding_decode(ENCODING_BASE64, e->text, &raw);
	else
		decode_q(e->text, &raw);
	charset_feed(&j->charset, buf_span(&raw), out);
	buf_free(&raw);
	return true;
}

/* Text between encoded words: folding undone, the bytes made UTF-8. */
static void
put_plain(struct span s, bool utf8, struct buf *out)
{
	while (s.n) {
		size_t end = 0;

		while (end < s.n && s.p[end] != '\r' && s.p[end] != '\n' && s.p[end] != '\0')
			end++;
		(void)charset_to_utf8(utf8 ? SPAN("utf-8") : SPAN("windows-1252"), span_sub(s, 0, end), out);
		s = span_from(s, end == s.n ? end : end + 1);
	}
}

bool
word_decode(struct span in, struct buf *out)
{
	bool utf8 = utf8_valid(in), after_word = false;
	struct joiner j = { .open = false };
	size_t from = 0, at = 0; /* from: plain text not yet put out */
	struct span looked_at = span_sub(in, 0, LIMIT_FIELD_VALUE);

	while (at < looked_at.n && buf_ok(out)) {
		struct span rest = span_from(looked_at, at);
		size_t next = span_find(rest, SPAN("=?"));
		struct encoded e;

		if (next == SIZE_MAX)
			break;
		at += next;
		if (!scan(span_from(in, at), &e) || !charset_known(e.charset)) {
			at += 2;
			continue;
		}
		if (!after_word || span_trim(span_sub(in, from, at - from)).n) {
			join_end(&j, out);
			put_plain(span_sub(in, from, at - from), utf8, out);
		}
		(void)put_word(&j, &e, out);
		at += e.size;
		from = at;
		after_word = true;
	}
	join_end(&j, out);
	put_plain(span_from(in, from), utf8, out);
	return buf_ok(out);
}

enum { WORD_TEXT = 75 - 12 }; /* "=?UTF-8?Q?" and "?=" */

static bool
plain(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_print(s.p[i]) && s.p[i] != '\t')
			return false;
	return span_find(s, SPAN("=?")) == SIZE_MAX;
}

/* What is safe in a phrase too (RFC 2047 5 (3)). */
static bool
q_literal(char c)
{
	return ascii_alnum(c) || c == '!' || c == '*' || c == '+' || c == '-' || c == '/';
}

/* Bytes at the front of s, whole characters, that fit one word. */
static size_t
word_fit(struct span s, bool base64)
{
	size_t n = 0, cost = 0;

	while (n < s.n) {
		size_t c = utf8_next(span_from(s, n), NULL), more = 0;

		if (c == 0)
			c = 1;
		for (size_t i = 0; i < c; i++)
			more += q_literal(s.p[n + i]) || s.p[n + i] == ' ' ? 1 : 3;
		if (base64 ? (n + c + 2) / 3 * 4 > WORD_TEXT : cost + more > WORD_TEXT)
			break;
		cost += more;
		n += c;
	}
	return n;
}

static void
put_encoded(struct buf *out, struct span s, bool base64)
{
	struct encoder e;

	buf_printf(out, "=?UTF-8?%c?", base64 ? 'B' : 'Q');
	if (base64) {
		encoder_init(&e, ENCODING_BASE64);
		encoder_feed(&e, s, out);
		e.column = 0;
		encoder_end(&e, out);
		if (buf_ok(out) && span_ends(buf_span(out), SPAN("\r\n")))
			buf_cut(out, buf_len(out) - 2);
	} else {
		for (size_t i = 0; i < s.n; i++) {
			if (s.p[i] == ' ')
				buf_putc(out, '_');
			else if (q_literal(s.p[i]))
				buf_putc(out, s.p[i]);
			else
				buf_printf(out, "=%02X", (unsigned char)s.p[i]);
		}
	}
	buf_puts(out, "?=");
}

void
word_encode(struct buf *out, struct span utf8)
{
	size_t escapes = 0;
	bool first = true, base64;

	if (plain(utf8)) {
		buf_put(out, utf8);
		return;
	}
	for (size_t i = 0; i < utf8.n; i++)
		escapes += !q_literal(utf8.p[i]) && utf8.p[i] != ' ';
	base64 = escapes * 2 > utf8.n / 3;
	while (utf8.n && buf_ok(out)) {
		size_t n = word_fit(utf8, base64);

		if (!first)
			buf_putc(out, ' ');
		put_encoded(out, span_sub(utf8, 0, n), base64);
		utf8 = span_from(utf8, n);
		first = false;
	}
}
