/* SPDX-License-Identifier: ISC */
#include "base/cursor.h"

struct span
cursor_bytes(struct cursor *c, size_t n)
{
	struct span s;

	if (!c->ok || cursor_left(c) < n) {
		c->ok = false;
		return SPAN_NONE;
	}
	s = span_sub(c->in, c->at, n);
	c->at += n;
	return s;
}

static uint64_t
take_le(struct cursor *c, size_t n)
{
	struct span s = cursor_bytes(c, n);
	uint64_t v = 0;

	for (size_t i = s.n; i-- > 0;)
		v = v << 8 | (unsigned char)s.p[i];
	return v;
}

uint8_t
cursor_u8(struct cursor *c)
{
	return (uint8_t)take_le(c, 1);
}

uint16_t
cursor_le16(struct cursor *c)
{
	return (uint16_t)take_le(c, 2);
}

uint32_t
cursor_le32(struct cursor *c)
{
	return (uint32_t)take_le(c, 4);
}

uint64_t
cursor_le64(struct cursor *c)
{
	return take_le(c, 8);
}

bool
cursor_char(struct cursor *c, char ch)
{
	if (!c->ok || cursor_end(c) || c->in.p[c->at] != ch)
		return false;
	c->at++;
	return true;
}

bool
cursor_word(struct cursor *c, struct span literal)
{
	if (!c->ok || !span_casestarts(cursor_rest(c), literal))
		return false;
	c->at += literal.n;
	return true;
}

struct span
cursor_while(struct cursor *c, bool (*is)(char))
{
	size_t from = c->at;

	if (!c->ok)
		return SPAN_NONE;
	while (!cursor_end(c) && is(c->in.p[c->at]))
		c->at++;
	return span_sub(c->in, from, c->at - from);
}

uint64_t
cursor_number(struct cursor *c, uint64_t max)
{
	size_t from = c->at;
	uint64_t v = 0;

	while (!cursor_end(c) && ascii_digit(c->in.p[c->at]))
		c->at++;
	if (!c->ok || !span_u64(span_sub(c->in, from, c->at - from), max, &v)) {
		c->ok = false;
		return 0;
	}
	return v;
}
