/* SPDX-License-Identifier: ISC */
#include "mail/charset.h"

#include <errno.h>
#include <iconv.h>
#include <string.h>

#include "mail/limits.h"

enum charset_kind { CHARSET_NONE, CHARSET_UTF8, CHARSET_ASCII, CHARSET_LATIN1, CHARSET_WINDOWS1252, CHARSET_ICONV };

static const uint32_t replacement = 0xfffd;

size_t
utf8_next(struct span s, uint32_t *cp)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n;
	uint32_t v;

	if (s.n == 0)
		return 0;
	if (p[0] < 0x80) {
		if (cp)
			*cp = p[0];
		return 1;
	}
	n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || s.n < n)
		return 0;
	v = p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (p[i] & 0x3fu);
	}
	if ((n == 3 && v < 0x800) || (n == 4 && (v < 0x10000 || v > 0x10ffff)) || (v >= 0xd800 && v <= 0xdfff))
		return 0;
	if (cp)
		*cp = v;
	return n;
}

bool
utf8_has_8bit(struct span s)
{
	const uint64_t high = 0x8080808080808080u;
	uint64_t seen = 0;
	size_t i = 0;

	for (; i + 32 <= s.n; i += 32) { /* content passes through here: eight bytes at a time */
		uint64_t v[4];

		memcpy(v, s.p + i, sizeof(v));
		seen |= v[0] | v[1] | v[2] | v[3];
	}
	for (; i < s.n; i++)
		seen |= (unsigned char)s.p[i];
	return (seen & high) != 0;
}

bool
utf8_valid(struct span s)
{
	while (s.n) {
		size_t n = utf8_next(s, NULL);

		if (n == 0)
			return false;
		s = span_from(s, n);
	}
	return true;
}

void
utf8_put(struct buf *out, uint32_t cp)
{
	char b[4];
	size_t n;

	if (cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
		cp = replacement;
	if (cp < 0x80) {
		buf_putc(out, (char)cp);
		return;
	}
	n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
	for (size_t i = n; i-- > 1; cp >>= 6)
		b[i] = (char)(0x80 | (cp & 0x3f));
	b[0] = (char)((0xf00u >> n) | cp);
	buf_put(out, span_of(b, n));
}

static const struct {
	struct span name;
	enum charset_kind kind;
} known[] = {
	{ SPAN_INIT("utf-8"), CHARSET_UTF8 },
	{ SPAN_INIT("utf8"), CHARSET_UTF8 },
	{ SPAN_INIT("us-ascii"), CHARSET_ASCII },
	{ SPAN_INIT("ascii"), CHARSET_ASCII },
	{ SPAN_INIT("iso-8859-1"), CHARSET_LATIN1 },
	{ SPAN_INIT("iso8859-1"), CHARSET_LATIN1 },
	{ SPAN_INIT("latin1"), CHARSET_LATIN1 },
	{ SPAN_INIT("windows-1252"), CHARSET_WINDOWS1252 },
	{ SPAN_INIT("cp1252"), CHARSET_WINDOWS1252 },
};

/* iconv takes file names and options behind a slash: neither is the sender's to choose. */
static bool
open_iconv(struct charset *c, struct span name)
{
	char text[LIMIT_CHARSET_NAME + 1];
	iconv_t cd;

	for (size_t i = 0; i < name.n; i++)
		if (!ascii_alnum(name.p[i]) && !strchr("-_.:+", name.p[i]))
			return false;
	if (name.n == 0 || !span_cstr(name, text, sizeof(text)))
		return false;
	cd = iconv_open("UTF-8", text);
	if (cd == (iconv_t)-1) /* NOLINT: iconv's own idea of a failure */
		return false;
	c->kind = CHARSET_ICONV;
	c->iconv = cd;
	return true;
}

bool
charset_open(struct charset *c, struct span name)
{
	*c = (struct charset){ .kind = CHARSET_NONE };
	name = span_trim(name);
	if (name.n == 0) {
		c->kind = CHARSET_ASCII;
		return true;
	}
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (span_caseeq(name, known[i].name)) {
			c->kind = (int)known[i].kind;
			return true;
		}
	return open_iconv(c, name);
}

void
charset_close(struct charset *c)
{
	if (c->kind == CHARSET_ICONV)
		(void)iconv_close(c->iconv);
	*c = (struct charset){ .kind = CHARSET_NONE };
}

/* Windows-1252, 0x80 to 0x9f; the rest is ISO-8859-1. */
static const uint16_t windows1252[32] = {
	0x20ac, 0xfffd, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
	0x2039, 0x0152, 0xfffd, 0x017d, 0xfffd, 0xfffd, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
	0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0xfffd, 0x017e, 0x0178,
};

static uint32_t
single_byte(int kind, unsigned char c)
{
	if (c < 0x80)
		return c;
	if (kind == CHARSET_ASCII)
		return replacement;
	return kind == CHARSET_WINDOWS1252 && c < 0xa0 ? windows1252[c - 0x80] : c;
}

/* Octets at the front that are ASCII, mostly eight at a time. */
static size_t
ascii_run(struct span s)
{
	size_t n = 0;
	uint64_t word;

	for (; n + sizeof(word) <= s.n; n += sizeof(word)) {
		memcpy(&word, s.p + n, sizeof(word));
		if (word & 0x8080808080808080u)
			break;
	}
	while (n < s.n && (unsigned char)s.p[n] < 0x80)
		n++;
	return n;
}

static void
feed_single(struct charset *c, struct span in, struct buf *out)
{
	while (in.n && buf_ok(out)) {
		size_t n = ascii_run(in);

		buf_put(out, span_sub(in, 0, n));
		if (n < in.n)
			utf8_put(out, single_byte(c->kind, (unsigned char)in.p[n++]));
		in = span_from(in, n);
	}
}

/* s might become a character with more bytes. */
static bool
incomplete(struct span s)
{
	unsigned char c = (unsigned char)s.p[0];
	size_t need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;

	if (c < 0xc2 || c > 0xf4 || s.n >= need)
		return false;
	for (size_t i = 1; i < s.n; i++)
		if (((unsigned char)s.p[i] & 0xc0) != 0x80)
			return false;
	return true;
}

/* Converts complete characters at the front of in; returns the bytes used. */
static size_t
convert_utf8(struct span in, struct buf *out)
{
	size_t good = 0, at = 0;

	while (at < in.n && buf_ok(out)) {
		struct span rest = span_from(in, at);
		size_t n = ascii_run(rest);

		if (!n)
			n = utf8_next(rest, NULL);

		if (n) {
			at += n;
			continue;
		}
		buf_put(out, span_sub(in, good, at - good));
		if (incomplete(rest))
			return at;
		utf8_put(out, replacement);
		good = ++at;
	}
	buf_put(out, span_sub(in, good, at - good));
	return at;
}

/* What iconv wrote: whole characters, but its UTF-8 knows surrogates and more than 0x10ffff. */
static void
put_checked(struct span in, struct buf *out)
{
	if (convert_utf8(in, out) < in.n)
		utf8_put(out, replacement);
}

static size_t
convert_iconv(struct charset *c, struct span in, struct buf *out)
{
	char *from = (char *)(uintptr_t)in.p; /* iconv does not write to it */
	size_t left = in.n;

	while (left && buf_ok(out)) {
		char chunk[1024], *to = chunk;
		size_t room = sizeof(chunk), r = iconv(c->iconv, &from, &left, &to, &room);

		put_checked(span_of(chunk, (size_t)(to - chunk)), out);
		if (r != (size_t)-1 || errno == E2BIG)
			continue;
		if (errno == EINVAL)
			break;
		utf8_put(out, replacement);
		from++;
		left--;
	}
	return in.n - left;
}

static size_t
convert(struct charset *c, struct span in, struct buf *out)
{
	return c->kind == CHARSET_UTF8 ? convert_utf8(in, out) : convert_iconv(c, in, out);
}

/* Completes the held character byte by byte. */
static void
feed_held(struct charset *c, struct span *in, struct buf *out)
{
	while (c->held_n && in->n && buf_ok(out)) {
		size_t used;

		c->held[c->held_n++] = in->p[0];
		*in = span_from(*in, 1);
		used = convert(c, span_of(c->held, c->held_n), out);
		c->held_n -= used;
		memmove(c->held, c->held + used, c->held_n);
		if (c->held_n == sizeof(c->held)) {
			utf8_put(out, replacement);
			c->held_n = 0;
		}
	}
}

void
charset_feed(struct charset *c, struct span in, struct buf *out)
{
	size_t used;

	if (c->kind != CHARSET_UTF8 && c->kind != CHARSET_ICONV) {
		feed_single(c, in, out);
		return;
	}
	feed_held(c, &in, out);
	if (in.n == 0 || !buf_ok(out))
		return;
	used = convert(c, in, out);
	in = span_from(in, used);
	if (in.n > sizeof(c->held) - 1) {
		utf8_put(out, replacement);
		return;
	}
	memcpy(c->held, in.p, in.n);
	c->held_n = in.n;
}

void
charset_end(struct charset *c, struct buf *out)
{
	char chunk[64], *to = chunk;
	size_t room = sizeof(chunk);

	if (c->held_n)
		utf8_put(out, replacement);
	c->held_n = 0;
	if (c->kind == CHARSET_ICONV) {
		(void)iconv(c->iconv, NULL, NULL, &to, &room);
		put_checked(span_of(chunk, (size_t)(to - chunk)), out);
	}
}

bool
charset_to_utf8(struct span name, struct span in, struct buf *out)
{
	struct charset c;

	if (!charset_open(&c, name))
		return false;
	charset_feed(&c, in, out);
	charset_end(&c, out);
	charset_close(&c);
	return buf_ok(out);
}

bool
charset_known(struct span name)
{
	struct charset c;
	bool ok = charset_open(&c, name);

	if (ok)
		charset_close(&c);
	return ok;
}

void
charset_warm(struct charset_warm *w)
{
	static const char *const names[CHARSET_WARM] = {
		"ISO-8859-2",   "ISO-8859-5",   "ISO-8859-6",   "ISO-8859-7",   "ISO-8859-8",   "ISO-8859-9",
		"ISO-8859-15",  "WINDOWS-1250", "WINDOWS-1251", "WINDOWS-1253", "WINDOWS-1254", "WINDOWS-1255",
		"WINDOWS-1256", "WINDOWS-1257", "KOI8-R",       "KOI8-U",       "ISO-2022-JP",  "SHIFT_JIS",
		"EUC-JP",       "GB2312",       "GBK",          "GB18030",      "BIG5",         "EUC-KR",
		"ISO-2022-KR",  "TIS-620",      "UTF-16",       "UTF-7",
	};

	for (size_t i = 0; i < CHARSET_WARM; i++)
		if (!charset_open(&w->kept[i], span_str(names[i])))
			w->kept[i] = (struct charset){ .kind = CHARSET_NONE };
}

void
charset_warm_end(struct charset_warm *w)
{
	for (size_t i = 0; i < CHARSET_WARM; i++)
		charset_close(&w->kept[i]);
}
