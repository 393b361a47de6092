/* SPDX-License-Identifier: ISC */
#include "conf/site.h"

#include <string.h>

enum { WEIGHT_MAX = 100 };

static bool
take_number(struct span *s, unsigned *n)
{
	size_t digits = 0;

	*n = 0;
	while (digits < s->n && digits < 3 && ascii_digit(s->p[digits]))
		*n = *n * 10 + (unsigned)(s->p[digits++] - '0');
	*s = span_from(*s, digits);
	return digits > 0 && *n <= 255;
}

static bool
take_byte(struct span *s, char c)
{
	if (!s->n || s->p[0] != c)
		return false;
	*s = span_from(*s, 1);
	return true;
}

/* 2..11 or 7; *in: the number is in it. */
static bool
take_range(struct span *s, unsigned number, bool *in)
{
	unsigned low, high;

	if (!take_number(s, &low))
		return false;
	high = low;
	if (span_starts(*s, SPAN(".."))) {
		*s = span_from(*s, 2);
		if (!take_number(s, &high) || high < low)
			return false;
	}
	*in |= number >= low && number <= high;
	return true;
}

/* False: not a pattern. */
static bool
take_pattern(struct span *s, unsigned number, bool *in)
{
	unsigned only;

	*in = false;
	if (!take_byte(s, '[')) {
		if (!take_number(s, &only))
			return false;
		*in = only == number;
		return true;
	}
	do
		if (!take_range(s, number, in))
			return false;
	while (take_byte(s, ';'));
	return take_byte(s, ']');
}

static bool
filter_ok(struct span filter, const uint8_t answer[4], bool *matches)
{
	*matches = true;
	for (size_t i = 0; i < 4; i++) {
		bool in;

		if ((i && !take_byte(&filter, '.')) || !take_pattern(&filter, answer[i], &in))
			return false;
		*matches &= in;
	}
	return filter.n == 0;
}

static bool
zone_ok(struct span zone)
{
	for (size_t i = 0; i < zone.n; i++)
		if (!ascii_alnum(zone.p[i]) && !strchr("-_.", zone.p[i]))
			return false;
	/* 64 for an IPv6 address's labels (RFC 5782 2.4), 253 for all (RFC 1035 2.3.4) */
	return zone.n > 0 && zone.n < 253 - 64 && zone.p[0] != '.' && span_find(zone, SPAN("..")) == SIZE_MAX;
}

bool
conf_site_parse(struct span item, struct conf_site *out, struct fail *why)
{
	static const uint8_t any[4];
	struct span rest = item;
	size_t star = span_chr(item, '*'), equals;
	uint64_t weight = 1;
	bool minus = false, matches;

	if (star != SIZE_MAX) {
		struct span w = span_from(item, star + 1);

		minus = take_byte(&w, '-');
		if (!span_u64(w, WEIGHT_MAX, &weight))
			return fail_set(why, FAIL_PERM, 0, "\"%.*s\": the weight is a number from -100 to 100", SPAN_ARG(item));
		rest = span_sub(item, 0, star);
	}
	equals = span_chr(rest, '=');
	*out = (struct conf_site){ .zone = span_sub(rest, 0, equals), .weight = minus ? -(int)weight : (int)weight };
	if (equals != SIZE_MAX)
		out->filter = span_from(rest, equals + 1);
	if (!zone_ok(out->zone))
		return fail_set(why, FAIL_PERM, 0, "\"%.*s\" does not begin with a domain", SPAN_ARG(item));
	if (equals != SIZE_MAX && !filter_ok(out->filter, any, &matches))
		return fail_set(why, FAIL_PERM, 0, "\"%.*s\": a filter is written like 127.0.0.[2..11]", SPAN_ARG(item));
	return true;
}

bool
conf_site_matches(const struct conf_site *site, const uint8_t answer[4])
{
	bool matches;

	/* RFC 5782 2.1: an answer elsewhere is not the list speaking */
	if (!site->filter.n)
		return answer[0] == 127;
	return filter_ok(site->filter, answer, &matches) && matches;
}
