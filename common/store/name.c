/* SPDX-License-Identifier: ISC */
#include "store/name.h"

#include "store/mailbox.h"

/* Modified base64: ',' in place of '/', no padding (RFC 3501 5.1.3). */
static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int
digit_value(char c)
{
	for (int i = 0; i < 64; i++)
		if (alphabet[i] == c)
			return i;
	return -1;
}

static void
put_utf8(struct buf *out, uint32_t c)
{
	if (c < 0x80) {
		buf_putc(out, (char)c);
		return;
	}
	if (c < 0x800) {
		buf_putc(out, (char)(0xc0 | c >> 6));
	} else {
		if (c < 0x10000) {
			buf_putc(out, (char)(0xe0 | c >> 12));
		} else {
			buf_putc(out, (char)(0xf0 | c >> 18));
			buf_putc(out, (char)(0x80 | (c >> 12 & 0x3f)));
		}
		buf_putc(out, (char)(0x80 | (c >> 6 & 0x3f)));
	}
	buf_putc(out, (char)(0x80 | (c & 0x3f)));
}

/* One code point; 0 for anything malformed, overlong, a surrogate or NUL. */
static uint32_t
take_utf8(struct span s, size_t *at)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char first = (unsigned char)s.p[(*at)++];
	unsigned len = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
	uint32_t c = len == 1 ? first : first & (0x7fu >> len);

	if (len == 0 || s.n - *at < len - 1)
		return 0;
	for (unsigned i = 1; i < len; i++) {
		unsigned char more = (unsigned char)s.p[(*at)++];

		if ((more & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (more & 0x3f);
	}
	return c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : c;
}

/* A run of base64 without '&' and '-' to code points. */
static bool
decode_run(struct span run, struct buf *out)
{
	uint32_t bits = 0, high = 0;
	unsigned nbits = 0;

	for (size_t i = 0; i < run.n; i++) {
		int v = digit_value(run.p[i]);
		uint32_t unit;

		if (v < 0)
			return false;
		bits = (bits << 6 | (uint32_t)v) & 0x3fffff;
		if ((nbits += 6) < 16)
			continue;
		nbits -= 16;
		unit = bits >> nbits & 0xffff;
		if (unit < 0x20 || (unit >= 0x20 && unit < 0x7f) || unit == 0x7f)
			return false; /* printable ASCII stands for itself; controls are refused */
		if (high && (unit < 0xdc00 || unit > 0xdfff))
			return false;
		if (high)
			put_utf8(out, 0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00));
		else if (unit < 0xd800 || unit > 0xdfff)
			put_utf8(out, unit);
		else if (unit > 0xdbff)
			return false;
		high = !high && unit >= 0xd800 && unit <= 0xdbff ? unit : 0;
	}
	return !high && nbits < 6 && (bits & ((1u << nbits) - 1)) == 0;
}

bool
name_to_utf8(struct span disk, struct buf *out)
{
	bool after_run = false;

	for (size_t i = 0; i < disk.n; i++) {
		char c = disk.p[i];
		struct span run;

		if (c < 0x20 || c > 0x7e)
			return false;
		if (c != '&') {
			buf_putc(out, c);
			after_run = false;
			continue;
		}
		run = span_from(disk, i + 1);
		run.n = span_chr(run, '-');
		if (run.n == SIZE_MAX || (after_run && run.n > 0))
			return false; /* unterminated, or two runs that should be one */
		if (run.n == 0)
			buf_putc(out, '&');
		else if (!decode_run(run, out))
			return false;
		after_run = run.n > 0;
		i += run.n + 1;
	}
	return buf_ok(out);
}

struct encoder {
	struct buf *out;
	uint32_t bits;
	unsigned nbits;
	bool open;
};

static void
encode_unit(struct encoder *e, uint32_t unit)
{
	if (!e->open)
		buf_putc(e->out, '&');
	e->open = true;
	e->bits = e->bits << 16 | unit;
	for (e->nbits += 16; e->nbits >= 6; e->nbits -= 6)
		buf_putc(e->out, alphabet[e->bits >> (e->nbits - 6) & 0x3f]);
	e->bits &= (1u << e->nbits) - 1;
}

static void
encode_close(struct encoder *e)
{
	if (!e->open)
		return;
	if (e->nbits)
		buf_putc(e->out, alphabet[e->bits << (6 - e->nbits) & 0x3f]);
	buf_putc(e->out, '-');
	e->bits = e->nbits = 0;
	e->open = false;
}

bool
name_from_utf8(struct span utf8, struct buf *out)
{
	struct encoder e = { .out = out };

	for (size_t at = 0; at < utf8.n;) {
		uint32_t c = take_utf8(utf8, &at);

		if (c < 0x20 || c == 0x7f)
			return false;
		if (c < 0x7f) {
			encode_close(&e);
			buf_putc(out, (char)c);
			if (c == '&')
				buf_putc(out, '-');
		} else if (c < 0x10000) {
			encode_unit(&e, c);
		} else {
			encode_unit(&e, 0xd800 + ((c - 0x10000) >> 10));
			encode_unit(&e, 0xdc00 + ((c - 0x10000) & 0x3ff));
		}
	}
	encode_close(&e);
	return buf_ok(out);
}

bool
name_valid(struct span disk)
{
	struct span rest = disk;
	struct buf utf8;
	bool ok;

	if (disk.n == 0 || disk.n > STORE_NAME_MAX || span_chr(disk, '/') != SIZE_MAX)
		return false;
	while (rest.p)
		if (span_cut(&rest, '.').n == 0)
			return false;
	buf_init(&utf8, (size_t)STORE_NAME_MAX * 4);
	ok = name_to_utf8(disk, &utf8);
	buf_free(&utf8);
	return ok;
}

struct span
name_fold(struct span disk)
{
	return span_caseeq(disk, SPAN("INBOX")) ? SPAN("INBOX") : disk;
}
