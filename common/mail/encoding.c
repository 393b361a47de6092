/* SPDX-License-Identifier: ISC */
#include "mail/encoding.h"

#include <string.h>

static const char *const names[] = {
	[ENCODING_7BIT] = "7bit",
	[ENCODING_8BIT] = "8bit",
	[ENCODING_BINARY] = "binary",
	[ENCODING_QP] = "quoted-printable",
	[ENCODING_BASE64] = "base64",
	[ENCODING_UNKNOWN] = "unknown",
};

const char *
encoding_name(enum encoding e)
{
	return names[e];
}

enum encoding
encoding_of(struct span value)
{
	size_t n = 0;

	value = span_trim(value);
	while (n < value.n && !ascii_blank(value.p[n]) && !strchr("(;\r\n\"", value.p[n]))
		n++;
	value = span_sub(value, 0, n);
	if (value.n == 0)
		return ENCODING_7BIT;
	for (unsigned i = 0; i < ENCODING_UNKNOWN; i++)
		if (span_caseeq(value, span_str(names[i])))
			return (enum encoding)i;
	return ENCODING_UNKNOWN;
}

void
decoder_init(struct decoder *d, enum encoding kind)
{
	*d = (struct decoder){ .kind = kind };
}

#define NOT (-1)
#define PAD (-2)

static int
base64_value(unsigned char c)
{
	static const signed char values[128] = {
		NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT,
		NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT,
		NOT, NOT, NOT, NOT, NOT, 62,  NOT, NOT, NOT, 63,  52,  53,  54,  55,  56,  57,  58,  59,  60,
		61,  NOT, NOT, NOT, PAD, NOT, NOT, NOT, 0,   1,   2,   3,   4,   5,   6,   7,   8,   9,   10,
		11,  12,  13,  14,  15,  16,  17,  18,  19,  20,  21,  22,  23,  24,  25,  NOT, NOT, NOT, NOT,
		NOT, NOT, 26,  27,  28,  29,  30,  31,  32,  33,  34,  35,  36,  37,  38,  39,  40,  41,  42,
		43,  44,  45,  46,  47,  48,  49,  50,  51,  NOT, NOT, NOT, NOT, NOT,
	};

	return c < 128 ? values[c] : NOT;
}

static void
put_base64(struct decoder *d, struct buf *out)
{
	static const unsigned bytes_of[5] = { 0, 0, 1, 2, 3 };
	uint32_t v = d->bits << (6 * (4 - d->count));
	char triple[3] = { (char)(v >> 16 & 0xff), (char)(v >> 8 & 0xff), (char)(v & 0xff) };

	d->bad |= d->count == 1;
	buf_put(out, span_of(triple, bytes_of[d->count]));
	d->bits = 0;
	d->count = 0;
}

/* Several encoded runs one behind the other occur in the wild: padding ends only a run. */
static void
feed_base64(struct decoder *d, struct span in, struct buf *out)
{
	for (size_t i = 0; i < in.n; i++) {
		int six = base64_value((unsigned char)in.p[i]);

		if (six >= 0) {
			d->bits = d->bits << 6 | (uint32_t)six;
			if (++d->count == 4)
				put_base64(d, out);
		} else if (six == PAD) {
			if (d->count)
				put_base64(d, out);
		} else if (!ascii_blank(in.p[i]) && in.p[i] != '\r' && in.p[i] != '\n') {
			d->bad = true;
		}
	}
}

static int
hex_value(char c)
{
	if (ascii_digit(c))
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void
put_blanks(struct decoder *d, struct buf *out)
{
	while (d->blanks) {
		buf_putc(out, ' ');
		d->blanks--;
	}
}

static void
put_held(struct decoder *d, struct buf *out)
{
	buf_put(out, span_of(d->held, d->count));
	d->bad |= d->count > 0;
	d->count = 0;
}

/* Behind "=": a hexadecimal pair, or a soft line end (RFC 2045 6.7). True when c was used up. */
static bool
feed_escape(struct decoder *d, char c, struct buf *out)
{
	if (d->count == 1) {
		if (hex_value(c) >= 0) {
			d->held[d->count++] = c;
			return true;
		}
		if (c == '\r' || ascii_blank(c)) /* blanks behind it are the transport's */
			return true;
		if (c == '\n') {
			d->count = 0;
			return true;
		}
	} else if (hex_value(c) >= 0) {
		buf_putc(out, (char)(hex_value(d->held[1]) << 4 | hex_value(c)));
		d->count = 0;
		return true;
	}
	put_held(d, out);
	return false;
}

static void
feed_qp(struct decoder *d, struct span in, struct buf *out)
{
	for (size_t i = 0; i < in.n && buf_ok(out); i++) {
		char c = in.p[i];
		size_t plain = i;

		if (d->count && feed_escape(d, c, out))
			continue;
		if (ascii_blank(c)) { /* kept only if the line goes on */
			if (c == ' ') {
				d->blanks++;
			} else {
				put_blanks(d, out);
				buf_putc(out, c);
			}
			continue;
		}
		if (c == '\r' || c == '\n')
			d->blanks = 0;
		else
			put_blanks(d, out);
		if (c == '=') {
			d->held[0] = c;
			d->count = 1;
			continue;
		}
		while (i + 1 < in.n && in.p[i + 1] != '=' && !ascii_blank(in.p[i + 1]) && in.p[i + 1] != '\r' &&
		       in.p[i + 1] != '\n')
			i++;
		buf_put(out, span_sub(in, plain, i + 1 - plain));
	}
}

void
decoder_feed(struct decoder *d, struct span in, struct buf *out)
{
	if (d->kind == ENCODING_BASE64)
		feed_base64(d, in, out);
	else if (d->kind == ENCODING_QP)
		feed_qp(d, in, out);
	else
		buf_put(out, in);
}

void
decoder_end(struct decoder *d, struct buf *out)
{
	if (d->kind == ENCODING_BASE64) {
		if (d->count)
			put_base64(d, out);
	} else if (d->kind == ENCODING_QP) {
		if (d->count > 1)
			put_held(d, out);
		d->count = 0;
	}
}

bool
encoding_decode(enum encoding kind, struct span in, struct buf *out)
{
	struct decoder d;

	decoder_init(&d, kind);
	decoder_feed(&d, in, out);
	decoder_end(&d, out);
	return buf_ok(out);
}

enum { LINE_MAX_ENCODED = 76 };

void
encoder_init(struct encoder *e, enum encoding kind)
{
	*e = (struct encoder){ .kind = kind };
}

static void
put_quad(struct encoder *e, struct buf *out)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t v = (uint32_t)e->held[0] << 16 | (e->count > 1 ? (uint32_t)e->held[1] << 8 : 0) |
		     (e->count > 2 ? e->held[2] : 0);
	char quad[4] = { alphabet[v >> 18 & 63], alphabet[v >> 12 & 63], e->count > 1 ? alphabet[v >> 6 & 63] : '=',
		e->count > 2 ? alphabet[v & 63] : '=' };

	buf_put(out, span_of(quad, 4));
	e->count = 0;
	e->column += 4;
	if (e->column >= LINE_MAX_ENCODED) {
		buf_puts(out, "\r\n");
		e->column = 0;
	}
}

static void
encode_base64(struct encoder *e, struct span in, struct buf *out)
{
	for (size_t i = 0; i < in.n; i++) {
		e->held[e->count++] = (unsigned char)in.p[i];
		if (e->count == 3)
			put_quad(e, out);
	}
}

/* One unit of the line, with a soft line end in front where it would not leave room for the next "=". */
static void
put_unit(struct encoder *e, struct span unit, struct buf *out)
{
	if (e->column + unit.n > LINE_MAX_ENCODED - 1) {
		buf_puts(out, "=\r\n");
		e->column = 0;
	}
	buf_put(out, unit);
	e->column += (unsigned)unit.n;
}

static void
put_escaped(struct encoder *e, unsigned char c, struct buf *out)
{
	static const char digits[] = "0123456789ABCDEF";
	const char unit[3] = { '=', digits[c >> 4], digits[c & 15] };

	put_unit(e, span_of(unit, 3), out);
}

/* The next byte stands first in its line: a dot or "From " there meets old software, and a soft line end in front of
 * "--" must not make a boundary of it. */
static bool
starts_line(const struct encoder *e)
{
	return e->column == 0 || e->column + 1 > LINE_MAX_ENCODED - 1;
}

/* held[0] with count 1 is a blank whose line may end behind it. */
static void
flush_qp(struct encoder *e, bool line_ends, struct buf *out)
{
	if (e->count && line_ends)
		put_escaped(e, e->held[0], out);
	else if (e->count)
		put_unit(e, span_of(e->held, 1), out);
	e->count = 0;
	if (e->cr)
		put_escaped(e, '\r', out);
	e->cr = false;
}

static void
encode_qp(struct encoder *e, struct span in, struct buf *out)
{
	for (size_t i = 0; i < in.n && buf_ok(out); i++) {
		char c = in.p[i];

		if (c == '\n' && e->cr) {
			e->cr = false;
			flush_qp(e, true, out);
			buf_puts(out, "\r\n");
			e->column = 0;
			continue;
		}
		if (c == '\r' && !e->cr) {
			e->cr = true;
			continue;
		}
		flush_qp(e, false, out);
		if (c == '\r') {
			e->cr = true;
		} else if (ascii_blank(c)) {
			e->held[0] = (unsigned char)c;
			e->count = 1;
		} else if (!ascii_print(c) || c == '=' || (starts_line(e) && (c == '.' || c == 'F' || c == '-'))) {
			put_escaped(e, (unsigned char)c, out);
		} else {
			put_unit(e, span_sub(in, i, 1), out);
		}
	}
}

void
encoder_feed(struct encoder *e, struct span in, struct buf *out)
{
	if (e->kind == ENCODING_BASE64)
		encode_base64(e, in, out);
	else if (e->kind == ENCODING_QP)
		encode_qp(e, in, out);
	else
		buf_put(out, in);
}

void
encoder_end(struct encoder *e, struct buf *out)
{
	if (e->kind == ENCODING_BASE64) {
		if (e->count)
			put_quad(e, out);
		if (e->column)
			buf_puts(out, "\r\n");
		e->column = 0;
	} else if (e->kind == ENCODING_QP) {
		flush_qp(e, true, out);
	}
}
