/* SPDX-License-Identifier: ISC */
#include "desc/desc.h"

#include <inttypes.h>
#include <string.h>

#include "base/cursor.h"

static const struct {
	const char *name, *meaning;
	size_t width; /* of a number; 0 for counted bytes */
} kinds[] = {
#define X(kind, type, meaning) [DESC_##kind] = { #kind, meaning, sizeof(type) == sizeof(struct span) ? 0 : sizeof(type) },
	DESC_KINDS(X)
#undef X
};

static uint64_t
number_at(const struct desc_field *f, const void *base)
{
	const char *p = (const char *)base + f->offset;
	uint64_t v = 0;
	uint32_t v32;
	uint16_t v16;

	switch (kinds[f->kind].width) {
	case 1:
		return *(const unsigned char *)p;
	case 2:
		memcpy(&v16, p, 2);
		return v16;
	case 4:
		memcpy(&v32, p, 4);
		return v32;
	default:
		memcpy(&v, p, 8);
		return v;
	}
}

static void
set_number(const struct desc_field *f, void *base, uint64_t v)
{
	char *p = (char *)base + f->offset;
	uint8_t v8 = (uint8_t)v;
	uint16_t v16 = (uint16_t)v;
	uint32_t v32 = (uint32_t)v;

	switch (kinds[f->kind].width) {
	case 1:
		memcpy(p, &v8, 1);
		break;
	case 2:
		memcpy(p, &v16, 2);
		break;
	case 4:
		memcpy(p, &v32, 4);
		break;
	default:
		memcpy(p, &v, 8);
		break;
	}
}

static struct span
span_at(const struct desc_field *f, const void *base)
{
	struct span s;

	memcpy(&s, (const char *)base + f->offset, sizeof(s));
	return s;
}

static bool
counted(const struct desc_field *f)
{
	return kinds[f->kind].width == 0;
}

static bool
text_ok(const struct desc_field *f, struct span s)
{
	if (s.n > f->bound)
		return false;
	if (f->kind != DESC_TEXT)
		return true;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '\0' || s.p[i] == '\r' || s.p[i] == '\n')
			return false;
	return true;
}

static bool
number_ok(const struct desc_field *f, uint64_t v)
{
	if (f->kind == DESC_BOOL)
		return v <= 1;
	return f->bound == 0 || v <= f->bound;
}

static void
put_number(struct buf *out, uint64_t v, size_t width)
{
	char bytes[8];

	for (size_t i = 0; i < width; i++, v >>= 8)
		bytes[i] = (char)(v & 0xff);
	buf_put(out, span_of(bytes, width));
}

bool
desc_encode(const struct desc *d, const void *from, struct buf *out)
{
	for (const struct desc_field *f = d->fields; f < d->fields + d->nfields; f++) {
		if (counted(f)) {
			struct span s = span_at(f, from);

			if (!text_ok(f, s))
				return false;
			buf_le32(out, (uint32_t)s.n);
			buf_put(out, s);
		} else {
			uint64_t v = number_at(f, from);

			if (!number_ok(f, v))
				return false;
			put_number(out, v, kinds[f->kind].width);
		}
	}
	return buf_ok(out);
}

size_t
desc_size(const struct desc *d, const void *from)
{
	size_t n = 0;

	for (const struct desc_field *f = d->fields; f < d->fields + d->nfields; f++) {
		if (counted(f) ? !text_ok(f, span_at(f, from)) : !number_ok(f, number_at(f, from)))
			return SIZE_MAX;
		n += counted(f) ? 4 + span_at(f, from).n : kinds[f->kind].width;
	}
	return n;
}

static uint64_t
take_number(struct cursor *c, size_t width)
{
	struct span s = cursor_bytes(c, width);
	uint64_t v = 0;

	for (size_t i = s.n; i-- > 0;)
		v = v << 8 | (unsigned char)s.p[i];
	return v;
}

static bool
decode(const struct desc *d, struct span in, void *to, const struct desc_field **bad, bool older)
{
	struct cursor c = cursor_of(in);

	memset(to, 0, d->size);
	for (const struct desc_field *f = d->fields; f < d->fields + d->nfields; f++) {
		bool ok;

		if (older && f > d->fields && cursor_end(&c))
			break;
		if (counted(f)) {
			uint32_t n = cursor_le32(&c);
			struct span s = cursor_bytes(&c, n);

			ok = c.ok && text_ok(f, s);
			memcpy((char *)to + f->offset, &s, sizeof(s));
		} else {
			uint64_t v = take_number(&c, kinds[f->kind].width);

			ok = c.ok && number_ok(f, v);
			if (ok) /* a BOOL object must never hold anything but 0 and 1 */
				set_number(f, to, v);
		}
		if (!ok) {
			if (bad)
				*bad = f;
			return false;
		}
	}
	if (bad)
		*bad = NULL;
	return cursor_end(&c);
}

bool
desc_decode(const struct desc *d, struct span in, void *to, const struct desc_field **bad)
{
	return decode(d, in, to, bad, false);
}

bool
desc_decode_older(const struct desc *d, struct span in, void *to, const struct desc_field **bad)
{
	return decode(d, in, to, bad, true);
}

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
		buf_puts(out, number_at(f, from) ? "true" : "false");
		break;
	case DESC_I64:
		buf_printf(out, "%" PRId64, (int64_t)number_at(f, from));
		break;
	case DESC_SECRET:
		buf_puts(out, json ? "\"***\"" : "***");
		break;
	case DESC_TEXT:
	case DESC_BYTES:
		s = span_at(f, from);
		if (!json && plain_word(s))
			buf_put(out, s);
		else
			desc_json_string(out, s);
		break;
	default:
		buf_put_u64(out, number_at(f, from));
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
		if (f->kind == DESC_BYTES || f->kind == DESC_SECRET || (counted(f) ? span_at(f, from).n == 0 : number_at(f, from) == 0))
			continue;
		buf_printf(out, "%s: ", f->name);
		if (counted(f))
			buf_put(out, span_at(f, from));
		else
			put_value(f, from, out, false);
		buf_putc(out, '\n');
	}
}

static bool
parse_number(const struct desc_field *f, struct span s, uint64_t *v)
{
	size_t width = kinds[f->kind].width;
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
		if (counted(f)) {
			memcpy((char *)to + f->offset, &value, sizeof(value));
			return text_ok(f, value);
		}
		if (!parse_number(f, value, &v) || !number_ok(f, v))
			return false;
		set_number(f, to, v);
		return true;
	}
	return false;
}

void
desc_doc(const struct desc *d, struct buf *out)
{
	for (const struct desc_field *f = d->fields; f < d->fields + d->nfields; f++) {
		buf_printf(out, "%s\t%s", f->name, kinds[f->kind].meaning);
		if (f->bound)
			buf_printf(out, ", at most %" PRIu64, f->bound);
		buf_printf(out, "\t%s\n", f->meaning);
	}
}

static uint64_t
mix(uint64_t h, const void *p, size_t n)
{
	const unsigned char *b = p;

	h ^= 0xcbf29ce484222325u; /* FNV-1a: no secret, only two builds to tell apart */
	for (size_t i = 0; i < n; i++)
		h = (h ^ b[i]) * 0x100000001b3u;
	return h;
}

uint64_t
desc_hash(const struct desc *d, uint64_t h)
{
	h = mix(h, d->name, strlen(d->name));
	for (const struct desc_field *f = d->fields; f < d->fields + d->nfields; f++) {
		h = mix(h, f->name, strlen(f->name));
		h = mix(h, &f->kind, sizeof(f->kind));
		h = mix(h, &f->bound, sizeof(f->bound));
	}
	return h;
}
