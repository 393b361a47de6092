/* SPDX-License-Identifier: ISC */
#include "base/span.h"

#include <string.h>

struct span
span_of(const void *p, size_t n)
{
	return (struct span){ p, n };
}

struct span
span_str(const char *cstr)
{
	return (struct span){ cstr, cstr ? strlen(cstr) : 0 };
}

static size_t
min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

bool
span_eq(struct span a, struct span b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

int
span_cmp(struct span a, struct span b)
{
	size_t n = min_size(a.n, b.n);
	int c = n ? memcmp(a.p, b.p, n) : 0;

	return c ? c : (a.n > b.n) - (a.n < b.n);
}

int
span_casecmp(struct span a, struct span b)
{
	size_t n = min_size(a.n, b.n);

	for (size_t i = 0; i < n; i++) {
		int d = (unsigned char)ascii_lower(a.p[i]) - (unsigned char)ascii_lower(b.p[i]);

		if (d)
			return d;
	}
	return (a.n > b.n) - (a.n < b.n);
}

bool
span_starts(struct span s, struct span prefix)
{
	return s.n >= prefix.n && span_eq(span_sub(s, 0, prefix.n), prefix);
}

bool
span_casestarts(struct span s, struct span prefix)
{
	return s.n >= prefix.n && span_caseeq(span_sub(s, 0, prefix.n), prefix);
}

bool
span_ends(struct span s, struct span suffix)
{
	return s.n >= suffix.n && span_eq(span_from(s, s.n - suffix.n), suffix);
}

bool
span_caseends(struct span s, struct span suffix)
{
	return s.n >= suffix.n && span_caseeq(span_from(s, s.n - suffix.n), suffix);
}

struct span
span_sub(struct span s, size_t at, size_t n)
{
	if (at > s.n)
		at = s.n;
	if (n > s.n - at)
		n = s.n - at;
	return (struct span){ s.p ? s.p + at : NULL, n };
}

struct span
span_from(struct span s, size_t at)
{
	return span_sub(s, at, SIZE_MAX);
}

static bool
is_space(char c)
{
	return ascii_blank(c) || c == '\r' || c == '\n';
}

struct span
span_trim(struct span s)
{
	while (s.n && is_space(s.p[0]))
		s.p++, s.n--;
	while (s.n && is_space(s.p[s.n - 1]))
		s.n--;
	return s;
}

size_t
span_chr(struct span s, char c)
{
	const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

	return at ? (size_t)(at - s.p) : SIZE_MAX;
}

size_t
span_rchr(struct span s, char c)
{
	for (size_t i = s.n; i-- > 0;)
		if (s.p[i] == c)
			return i;
	return SIZE_MAX;
}

size_t
span_find(struct span s, struct span needle)
{
	const char *at;

	if (needle.n == 0)
		return 0;
	at = s.n >= needle.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
	return at ? (size_t)(at - s.p) : SIZE_MAX;
}

/* Those of n octets, n < 256, the octet before which may be looked at: short enough for sums of one octet each, which the
 * compiler makes a vector of. */
static inline void
add_lines(const char *at, size_t n, size_t *lines, size_t *bare)
{
	const char *before = at - 1;
	uint8_t all = 0, lone = 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t lf = at[i] == '\n', no_cr = before[i] != '\r';

		all = (uint8_t)(all + lf);
		lone = (uint8_t)(lone + (lf & no_cr));
	}
	*lines += all;
	*bare += lone;
}

size_t
span_lines(struct span s, size_t *bare)
{
	enum { MANY = 128 };
	size_t i = 1, lines = s.n && s.p[0] == '\n';

	*bare = lines;
	for (; i + MANY <= s.n; i += MANY)
		add_lines(s.p + i, MANY, &lines, bare);
	if (i < s.n)
		add_lines(s.p + i, s.n - i, &lines, bare);
	return lines;
}

size_t
span_casefind(struct span s, struct span needle)
{
	if (needle.n == 0)
		return 0;
	for (size_t i = 0; i + needle.n <= s.n; i++)
		if (ascii_lower(s.p[i]) == ascii_lower(needle.p[0]) &&
		    span_caseeq(span_sub(s, i, needle.n), needle))
			return i;
	return SIZE_MAX;
}

struct span
span_cut(struct span *rest, char c)
{
	size_t at = span_chr(*rest, c);
	struct span head = *rest;

	if (at == SIZE_MAX) {
		*rest = SPAN_NONE;
		return head;
	}
	head.n = at;
	*rest = span_from(*rest, at + 1);
	return head;
}

bool
span_is_below(struct span path, unsigned most)
{
	unsigned n = 0;

	if (path.n == 0)
		return false;
	while (path.p) {
		struct span part = span_cut(&path, '/');

		if (part.n == 0 || span_eq(part, SPAN(".")) || span_eq(part, SPAN("..")) || ++n > most)
			return false;
	}
	return true;
}

struct span
span_word(struct span *rest)
{
	size_t n = 0;
	struct span word;

	while (rest->n && ascii_blank(rest->p[0]))
		rest->p++, rest->n--;
	while (n < rest->n && !ascii_blank(rest->p[n]))
		n++;
	word = span_sub(*rest, 0, n);
	*rest = span_from(*rest, n);
	return word;
}

bool
span_u64(struct span s, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		uint64_t digit;

		if (!ascii_digit(s.p[i]))
			return false;
		digit = (uint64_t)(s.p[i] - '0');
		if (v > (UINT64_MAX - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	if (v > max)
		return false;
	*out = v;
	return true;
}

bool
span_cstr(struct span s, char *dst, size_t cap)
{
	if (s.n >= cap || span_chr(s, '\0') != SIZE_MAX) {
		if (cap)
			dst[0] = '\0';
		return false;
	}
	if (s.n)
		memcpy(dst, s.p, s.n);
	dst[s.n] = '\0';
	return true;
}
