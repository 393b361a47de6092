/* SPDX-License-Identifier: ISC */
#include "mail/orcpt.h"

#include "mail/address.h"
#include "mail/charset.h"

static bool
special(char c)
{
	return c <= ' ' || c == '\\' || c == '+' || c == '=' || c == 0x7f;
}

/* RFC 3461 4.2: an atom. */
static bool
split(struct span orcpt, struct span *type, struct span *address)
{
	size_t semicolon = span_chr(orcpt, ';');

	if (semicolon == SIZE_MAX || semicolon == 0)
		return false;
	*type = span_sub(orcpt, 0, semicolon);
	*address = span_from(orcpt, semicolon + 1);
	for (size_t i = 0; i < type->n; i++)
		if (!ascii_alnum(type->p[i]) && type->p[i] != '-')
			return false;
	return address->n > 0;
}

/* EmbeddedUnicodeChar at the front: its length, 0 if there is none. */
static size_t
embedded(struct span s, uint32_t *cp)
{
	size_t close;

	if (!span_starts(s, SPAN("\\x{")))
		return 0;
	close = span_chr(s, '}');
	if (close == SIZE_MAX || close < 5 || close > 9)
		return 0;
	*cp = 0;
	for (size_t i = 3; i < close; i++) {
		char c = s.p[i];

		if (!ascii_digit(c) && !(c >= 'A' && c <= 'F'))
			return 0;
		*cp = *cp << 4 | (uint32_t)(ascii_digit(c) ? c - '0' : c - 'A' + 10);
	}
	return *cp > 0x10ffff || (*cp >= 0xd800 && *cp < 0xe000) ? 0 : close + 1;
}

/* False: neither unitext nor an address in UTF-8. */
static bool
unitext_decode(struct buf *out, struct span s)
{
	while (s.n) {
		uint32_t cp = 0;
		size_t n = embedded(s, &cp);

		if (!n && (!(n = utf8_next(s, &cp)) || (cp < 0x80 && special((char)cp))))
			return false;
		utf8_put(out, cp);
		s = span_from(s, n);
	}
	return buf_ok(out);
}

static bool
decode(struct buf *out, struct span type, struct span address)
{
	return span_caseeq(type, SPAN("utf-8")) ? unitext_decode(out, address) : xtext_decode(out, address);
}

bool
orcpt_valid(struct span orcpt, bool utf8)
{
	struct span type, address;
	struct buf raw;
	bool good;

	if (orcpt.n > ORCPT_MAX || !split(orcpt, &type, &address) || (!utf8 && utf8_has_8bit(address)))
		return false;
	buf_init(&raw, 2 * ORCPT_MAX);
	good = decode(&raw, type, address);
	for (size_t i = 0; good && i < buf_len(&raw); i++) {
		unsigned char c = (unsigned char)buf_span(&raw).p[i];

		good = (c >= ' ' && c < 0x7f) || (c >= 0x80 && span_caseeq(type, SPAN("utf-8")));
	}
	buf_free(&raw);
	return good;
}

void
unitext_encode(struct buf *out, struct span s)
{
	while (s.n && buf_ok(out)) {
		uint32_t cp = 0;
		size_t n = utf8_next(s, &cp);

		if (!n) {
			buf_putc(out, '?');
			n = 1;
		} else if (cp < 0x80 && !special((char)cp))
			buf_putc(out, (char)cp);
		else
			buf_printf(out, "\\x{%02X}", (unsigned)cp);
		s = span_from(s, n);
	}
}

void
orcpt_put_decoded(struct buf *out, struct span orcpt, bool utf8)
{
	struct span type, address;
	struct buf raw;

	buf_init(&raw, 4096);
	if (!split(orcpt, &type, &address) || !decode(&raw, type, address)) {
		for (size_t i = 0; i < orcpt.n; i++)
			buf_putc(out, ascii_print(orcpt.p[i]) ? orcpt.p[i] : '?');
	} else {
		buf_put(out, type);
		buf_putc(out, ';');
		if (!utf8 && span_caseeq(type, SPAN("utf-8")))
			unitext_encode(out, buf_span(&raw));
		else
			for (size_t i = 0; i < buf_len(&raw); i++) {
				char c = buf_span(&raw).p[i];

				buf_putc(out, ascii_print(c) || (utf8 && (unsigned char)c >= 0x80) ? c : '?');
			}
	}
	buf_free(&raw);
}

void
orcpt_put(struct buf *out, struct span orcpt, bool utf8)
{
	struct span type, address;
	struct buf raw;

	buf_init(&raw, 4096);
	if (utf8 || !utf8_has_8bit(orcpt) || !split(orcpt, &type, &address) || !unitext_decode(&raw, address)) {
		buf_put(out, orcpt);
	} else {
		buf_put(out, type);
		buf_putc(out, ';');
		unitext_encode(out, buf_span(&raw));
	}
	buf_free(&raw);
}

void
orcpt_make(struct buf *out, struct span address, bool utf8)
{
	bool plain = true;

	if (!utf8_has_8bit(address)) {
		buf_puts(out, "rfc822;");
		xtext_encode(out, address);
		return;
	}
	buf_puts(out, "utf-8;");
	for (size_t i = 0; i < address.n; i++)
		plain = plain && ((unsigned char)address.p[i] >= 0x80 || !special(address.p[i]));
	if (utf8 && plain)
		buf_put(out, address);
	else
		unitext_encode(out, address);
}
