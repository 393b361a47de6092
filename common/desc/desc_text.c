/* SPDX-License-Identifier: ISC
 *
 * The forms that people and other programs read; who only sends and takes packets, as maild does, is without them.
 */
#include "desc/desc_private.h"

#include <inttypes.h>
#include <string.h>

static bool
plain_word(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_print(s.p[i]) || s.p[i] == ' ' || s.p[i] == '"' || s.p[i] == '\\')
			return false;
	return s.n > 0;
}

static void
put_value(const struct desc_field *f, const void *from, struct buf *out, bool json)
{
	struct span s;

	switch (f->kind) {
	case DESC_BOOL:
		buf_puts(out, desc_number_at(f, from) ? "true" : "false");
		break;
	case DESC_I64:
		buf_printf(out, "%" PRId64, (int64_t)desc_number_at(f, from));
		break;
	case DESC_SECRET:
		buf_puts(out, json ? "\"***\"" : "***");
		break;
	case DESC_TEXT:
	case DESC_BYTES:
		s = desc_span_at(f, from);
		if (!json && plain_word(s))
			buf_put(out, s);
		else
			desc_json_string(out, s);
		break;
	default:
		buf_put_u64(out, desc_number_at(f, from));
		break;
	}
}

void
desc_text(const struct desc *d, const void *from, struct buf *out)
{
	for (size_t i = 0; i < d->nfields; i++) {
		buf_printf(out, "%s%s=", i ? " " : "", d->fields[i].name);
		put_value(&d->fields[i], from, out, false);
	}
}

void
desc_json(const struct desc *d, const void *from, struct buf *out)
{
	buf_putc(out, '{');
	for (size_t i = 0; i < d->nfields; i++) {
		buf_printf(out, "%s\"%s\":", i ? "," : "", d->fields[i].name);
		put_value(&d->fields[i], from, out, true);
	}
	buf_putc(out, '}');
}

/* Length of the UTF-8 sequence at s (RFC 3629), 0 if it is none. */
static size_t
utf8_length(struct span s)
{
	unsigned char c = (unsigned char)s.p[0];
	size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
	unsigned char next;

	if (n == 0 || n > s.n)
		return 0;
	for (size_t i = 1; i < n; i++)
		if (((unsigned char)s.p[i] & 0xc0) != 0x80)
			return 0;
	next = n > 1 ? (unsigned char)s.p[1] : 0;
	if ((c == 0xe0 && next < 0xa0) || (c == 0xed && next > 0x9f) || (c == 0xf0 && next < 0x90) || (c == 0xf4 && next > 0x8f))
		return 0; /* overlong, surrogate, or beyond U+10FFFF */
	return n;
}

void
desc_json_string(struct buf *out, struct span s)
{
	buf_putc(out, '"');
	for (size_t i = 0; i < s.n;) {
		unsigned char c = (unsigned char)s.p[i];
		size_t n = utf8_length(span_from(s, i));

		if (n == 0) {
			buf_puts(out, "\\ufffd");
			n = 1;
		} else if (c == '"' || c == '\\') {
			buf_putc(out, '\\');
			buf_putc(out, (char)c);
		} else if (c < ' ' || c == 0x7f) {
			buf_printf(out, "\\u%04x", c);
		} else if (c == 0xc2 && (unsigned char)s.p[i + 1] < 0xa0) { /* C1: somebody may look at it on a terminal */
			buf_printf(out, "\\u%04x", (unsigned char)s.p[i + 1]);
		} else {
			buf_put(out, span_sub(s, i, n));
		}
		i += n;
	}
	buf_putc(out, '"');
}

void
desc_lines(const struct desc *d, const void *from, struct buf *out)
{
	for (const struct desc_field *f = d->fields; f < d->fields + d->nfields; f++) {
		if (f->kind == DESC_BYTES || f->kind == DESC_SECRET || (desc_counted(f) ? desc_span_at(f, from).n == 0 : desc_number_at(f, from) == 0))
			continue;
		buf_printf(out, "%s: ", f->name);
		if (desc_counted(f))
			buf_put(out, desc_span_at(f, from));
		else
			put_value(f, from, out, false);
		buf_putc(out, '\n');
	}
}

static bool
parse_number(const struct desc_field *f, struct span s, uint64_t *v)
{
	size_t width = desc_kinds[f->kind].width;
	uint64_t max = width == 8 ? UINT64_MAX : ((uint64_t)1 << 8 * width) - 1;
	bool minus = f->kind == DESC_I64 && s.n > 1 && s.p[0] == '-';

	if (f->kind == DESC_BOOL) {
		*v = span_eq(s, SPAN("true"));
		return *v || span_eq(s, SPAN("false"));
	}
	if (f->kind == DESC_I64)
		max = INT64_MAX;
	if (!span_u64(span_from(s, minus), max, v))
		return false;
	if (minus)
		*v = -*v;
	return true;
}

bool
desc_set(const struct desc *d, struct span name, struct span value, void *to)
{
	for (const struct desc_field *f = d->fields; f < d->fields + d->nfields; f++) {
		uint64_t v = 0;

		if (!span_eq(name, span_str(f->name)))
			continue;
		if (f->kind == DESC_BYTES || f->kind == DESC_SECRET)
			return false;
		if (desc_counted(f)) {
			memcpy((char *)to + f->offset, &value, sizeof(value));
			return desc_text_ok(f, value);
		}
		if (!parse_number(f, value, &v) || !desc_number_ok(f, v))
			return false;
		desc_set_number(f, to, v);
		return true;
	}
	return false;
}

void
desc_doc(const struct desc *d, struct buf *out)
{
	for (const struct desc_field *f = d->fields; f < d->fields + d->nfields; f++) {
		buf_printf(out, "%s\t%s", f->name, desc_kinds[f->kind].meaning);
		if (f->bound)
			buf_printf(out, ", at most %" PRIu64, f->bound);
		buf_printf(out, "\t%s\n", f->meaning);
	}
}
