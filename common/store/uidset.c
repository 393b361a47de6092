/* SPDX-License-Identifier: ISC */
#include "store/uidset.h"

#include <stdlib.h>
#include <string.h>

void
uidset_init(struct uidset *s)
{
	*s = (struct uidset){ .n = 0 };
}

void
uidset_free(struct uidset *s)
{
	free(s->ranges);
	uidset_init(s);
}

void
uidset_clear(struct uidset *s)
{
	s->n = 0;
	s->failed = false;
}

/* The first range that ends at or behind uid. */
static size_t
find(const struct uidset *s, uint32_t uid)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (s->ranges[mid].hi < uid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool
room(struct uidset *s, size_t n)
{
	size_t size = s->size ? s->size : 8;
	struct uid_range *more;

	if (n <= s->size)
		return true;
	while (size < n)
		size *= 2;
	if (s->failed || n > UIDSET_MAX_RANGES || !(more = realloc(s->ranges, size * sizeof(*more)))) {
		s->failed = true;
		return false;
	}
	s->ranges = more;
	s->size = size;
	return true;
}

static void
open_gap(struct uidset *s, size_t at)
{
	memmove(s->ranges + at + 1, s->ranges + at, (s->n - at) * sizeof(*s->ranges));
	s->n++;
}

static void
close_gap(struct uidset *s, size_t at, size_t n)
{
	memmove(s->ranges + at, s->ranges + at + n, (s->n - at - n) * sizeof(*s->ranges));
	s->n -= n;
}

void
uidset_add(struct uidset *s, uint32_t lo, uint32_t hi)
{
	size_t at = find(s, lo ? lo - 1 : 0), end = at;

	if (s->failed || lo > hi)
		return;
	while (end < s->n && s->ranges[end].lo <= (hi == UINT32_MAX ? hi : hi + 1))
		end++;
	if (at == end) {
		if (!room(s, s->n + 1))
			return;
		open_gap(s, at);
		s->ranges[at] = (struct uid_range){ lo, hi };
		return;
	}
	if (s->ranges[at].lo > lo)
		s->ranges[at].lo = lo;
	if (s->ranges[end - 1].hi > hi)
		hi = s->ranges[end - 1].hi;
	s->ranges[at].hi = hi;
	close_gap(s, at + 1, end - at - 1);
}

void
uidset_add_set(struct uidset *s, const struct uidset *more)
{
	for (size_t i = 0; i < more->n; i++)
		uidset_add(s, more->ranges[i].lo, more->ranges[i].hi);
	s->failed |= more->failed;
}

void
uidset_add_slice(struct uidset *s, const struct uidset *from, uint64_t first, uint64_t n)
{
	for (size_t i = 0; i < from->n && n; i++) {
		const struct uid_range *r = &from->ranges[i];
		uint64_t size = (uint64_t)r->hi - r->lo + 1, take;

		if (first >= size) {
			first -= size;
			continue;
		}
		take = size - first < n ? size - first : n;
		uidset_add(s, (uint32_t)(r->lo + first), (uint32_t)(r->lo + first + take - 1));
		first = 0;
		n -= take;
	}
}

void
uidset_remove(struct uidset *s, uint32_t lo, uint32_t hi)
{
	size_t at = find(s, lo), end;

	if (at == s->n || lo > hi)
		return;
	if (s->ranges[at].lo < lo && s->ranges[at].hi > hi) { /* a hole */
		if (!room(s, s->n + 1))
			return;
		open_gap(s, at);
		s->ranges[at].hi = lo - 1;
		s->ranges[at + 1].lo = hi + 1;
		return;
	}
	if (s->ranges[at].lo < lo)
		s->ranges[at++].hi = lo - 1;
	for (end = at; end < s->n && s->ranges[end].hi <= hi;)
		end++;
	close_gap(s, at, end - at);
	if (at < s->n && s->ranges[at].lo <= hi)
		s->ranges[at].lo = hi + 1;
}

bool
uidset_has(const struct uidset *s, uint32_t uid)
{
	size_t at = find(s, uid);

	return at < s->n && s->ranges[at].lo <= uid;
}

uint64_t
uidset_count(const struct uidset *s)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += (uint64_t)s->ranges[i].hi - s->ranges[i].lo + 1;
	return n;
}

uint32_t
uidset_nth(const struct uidset *s, uint64_t nth)
{
	for (size_t i = 0; i < s->n; i++) {
		uint64_t here = (uint64_t)s->ranges[i].hi - s->ranges[i].lo + 1;

		if (nth < here)
			return s->ranges[i].lo + (uint32_t)nth;
		nth -= here;
	}
	return 0;
}

uint64_t
uidset_below(const struct uidset *s, uint32_t uid)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s->n && s->ranges[i].lo < uid; i++)
		n += (s->ranges[i].hi < uid ? (uint64_t)s->ranges[i].hi + 1 : uid) - s->ranges[i].lo;
	return n;
}

void
uidset_text(const struct uidset *s, struct buf *out)
{
	for (size_t i = 0; i < s->n; i++) {
		if (i)
			buf_putc(out, ',');
		buf_put_u64(out, s->ranges[i].lo);
		if (s->ranges[i].hi == s->ranges[i].lo)
			continue;
		buf_putc(out, ':');
		buf_put_u64(out, s->ranges[i].hi);
	}
}

static bool
parse_number(struct span text, uint32_t star, uint32_t *out)
{
	uint64_t v;

	if (span_eq(text, SPAN("*"))) {
		*out = star;
		return true;
	}
	/* RFC 3501 nz-number: no leading zero. */
	if (!span_u64(text, UINT32_MAX, &v) || text.p[0] == '0')
		return false;
	*out = (uint32_t)v;
	return true;
}

bool
uidset_parse(struct uidset *s, struct span text, uint32_t star)
{
	while (text.p) {
		struct span range = span_cut(&text, ','), from = span_cut(&range, ':');
		uint32_t lo, hi;

		if (!parse_number(from, star, &lo))
			return false;
		hi = lo;
		if (range.p && !parse_number(range, star, &hi))
			return false;
		uidset_add(s, lo < hi ? lo : hi, lo < hi ? hi : lo);
	}
	return !s->failed;
}
