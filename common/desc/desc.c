/* SPDX-License-Identifier: ISC */
#include "desc/desc_private.h"

#include <string.h>

#include "base/cursor.h"

const struct desc_shape desc_kinds[] = {
#define X(kind, type, meaning) [DESC_##kind] = { #kind, meaning, sizeof(type) == sizeof(struct span) ? 0 : sizeof(type) },
	DESC_KINDS(X)
#undef X
};

uint64_t
desc_number_at(const struct desc_field *f, const void *base)
{
	const char *p = (const char *)base + f->offset;
	uint64_t v = 0;
	uint32_t v32;
	uint16_t v16;

	switch (desc_kinds[f->kind].width) {
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

void
desc_set_number(const struct desc_field *f, void *base, uint64_t v)
{
	char *p = (char *)base + f->offset;
	uint8_t v8 = (uint8_t)v;
	uint16_t v16 = (uint16_t)v;
	uint32_t v32 = (uint32_t)v;

	switch (desc_kinds[f->kind].width) {
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

struct span
desc_span_at(const struct desc_field *f, const void *base)
{
	struct span s;

	memcpy(&s, (const char *)base + f->offset, sizeof(s));
	return s;
}

bool
desc_counted(const struct desc_field *f)
{
	return desc_kinds[f->kind].width == 0;
}

bool
desc_text_ok(const struct desc_field *f, struct span s)
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

bool
desc_number_ok(const struct desc_field *f, uint64_t v)
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
		if (desc_counted(f)) {
			struct span s = desc_span_at(f, from);

			if (!desc_text_ok(f, s))
				return false;
			buf_le32(out, (uint32_t)s.n);
			buf_put(out, s);
		} else {
			uint64_t v = desc_number_at(f, from);

			if (!desc_number_ok(f, v))
				return false;
			put_number(out, v, desc_kinds[f->kind].width);
		}
	}
	return buf_ok(out);
}

size_t
desc_size(const struct desc *d, const void *from)
{
	size_t n = 0;

	for (const struct desc_field *f = d->fields; f < d->fields + d->nfields; f++) {
		if (desc_counted(f) ? !desc_text_ok(f, desc_span_at(f, from)) : !desc_number_ok(f, desc_number_at(f, from)))
			return SIZE_MAX;
		n += desc_counted(f) ? 4 + desc_span_at(f, from).n : desc_kinds[f->kind].width;
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
		if (desc_counted(f)) {
			uint32_t n = cursor_le32(&c);
			struct span s = cursor_bytes(&c, n);

			ok = c.ok && desc_text_ok(f, s);
			memcpy((char *)to + f->offset, &s, sizeof(s));
		} else {
			uint64_t v = take_number(&c, desc_kinds[f->kind].width);

			ok = c.ok && desc_number_ok(f, v);
			if (ok) /* a BOOL object must never hold anything but 0 and 1 */
				desc_set_number(f, to, v);
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
