/* SPDX-License-Identifier: ISC */
#include "log/line.h"

#include <string.h>

/* Days since 1970 of a date of the proleptic Gregorian calendar. */
static int64_t
days_of(int64_t y, int64_t m, int64_t d)
{
	int64_t era, of_era, of_year;

	y -= m <= 2;
	era = y / 400;
	of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	of_era = (y - era * 400) * 365 + (y - era * 400) / 4 - (y - era * 400) / 100 + of_year;
	return era * 146097 + of_era - 719468;
}

static bool
digits(struct span s, size_t at, size_t n, int64_t *out)
{
	*out = 0;
	if (at + n > s.n)
		return false;
	for (size_t i = at; i < at + n; i++) {
		if (!ascii_digit(s.p[i]))
			return false;
		*out = *out * 10 + (s.p[i] - '0');
	}
	return true;
}

int64_t
log_time_parse(struct span s)
{
	int64_t y, mo, d, h = 0, mi = 0, sec = 0, ms = 0, zone = 0, zh, zm;
	size_t at = 19;

	if (!digits(s, 0, 4, &y) || !digits(s, 5, 2, &mo) || !digits(s, 8, 2, &d) || s.p[4] != '-' || s.p[7] != '-' || mo < 1 || mo > 12)
		return -1;
	if (s.n > 10 && ((s.p[10] != 'T' && s.p[10] != ' ') || !digits(s, 11, 2, &h) || !digits(s, 14, 2, &mi)))
		return -1;
	if (s.n > 16 && !digits(s, 17, 2, &sec))
		return -1;
	if (at < s.n && s.p[at] == '.') {
		int64_t unit = 100;

		for (at++; at < s.n && ascii_digit(s.p[at]); at++, unit /= 10)
			ms += (s.p[at] - '0') * unit;
	}
	if (at + 6 <= s.n && (s.p[at] == '+' || s.p[at] == '-') && digits(s, at + 1, 2, &zh) && digits(s, at + 4, 2, &zm))
		zone = (s.p[at] == '-' ? -1 : 1) * (zh * 60 + zm) * 60;
	return (((days_of(y, mo, d) * 24 + h) * 60 + mi) * 60 + sec - zone) * 1000 + ms;
}

static bool
tag_char(char c)
{
	return ascii_alnum(c) || c == '_' || c == '-';
}

/* "tag[pid]: " wherever it stands within the first part of the line. */
static bool
find_tag(struct span text, struct log_line *l)
{
	size_t close = span_find(span_sub(text, 0, 200), SPAN("]: ")), open, start;

	if (close == SIZE_MAX)
		return false;
	open = span_rchr(span_sub(text, 0, close), '[');
	if (open == SIZE_MAX || open + 1 == close)
		return false;
	for (size_t i = open + 1; i < close; i++)
		if (!ascii_digit(text.p[i]))
			return false;
	for (start = open; start > 0 && tag_char(text.p[start - 1]); start--) {}
	if (start == open || (start > 0 && text.p[start - 1] != ' '))
		return false;
	l->tag = span_sub(text, start, open - start);
	l->pid = span_sub(text, open + 1, close - open - 1);
	l->stamp = span_sub(text, 0, start ? start - 1 : 0);
	l->rest = span_from(text, close + 3);
	return true;
}

/* Where what began with < ends: a quoted local part may hold a >. */
static size_t
closing(struct span s)
{
	bool quoted = false;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\' && quoted)
			i++;
		else if (s.p[i] == '"')
			quoted = !quoted;
		else if (s.p[i] == '>' && !quoted)
			return i;
	}
	return span_chr(s, '>');
}

/* A value: in angle brackets or quotes, or up to a blank. *at: behind it. */
static struct span
value(struct span s, size_t *at)
{
	char end = *at < s.n && s.p[*at] == '<' ? '>' : *at < s.n && s.p[*at] == '"' ? '"' : ' ';
	size_t from = *at + (end != ' '), n = end == '>' ? closing(span_from(s, from)) : span_chr(span_from(s, from), end);
	struct span v = span_sub(s, from, n == SIZE_MAX ? s.n : n);

	*at = from + v.n + (end != ' ');
	return v;
}

static void
note_key(struct log_line *l, struct span key, struct span v)
{
#define X(name)                                                                                                   \
	if (!l->name.p && (span_eq(key, SPAN(#name)))) {                                                          \
		l->name = v;                                                                                      \
		return;                                                                                           \
	}
	LOG_LINE_KEYS(X)
#undef X
	if (!l->message_id.p && span_eq(key, SPAN("message-id")))
		l->message_id = v;
}

static void
find_keys(struct log_line *l)
{
	struct span s = l->rest;
	size_t reply = span_find(s, SPAN(" (")), at = 0;

	if (reply != SIZE_MAX)
		s.n = reply;
	while (at < s.n) {
		const char *equal = memchr(s.p + at, '=', s.n - at);
		size_t start, eq;
		struct span v;

		if (!equal)
			break;
		eq = (size_t)(equal - s.p);
		for (start = eq; start > at && (tag_char(s.p[start - 1])); start--) {}
		at = eq + 1;
		v = value(s, &at);
		if (start == 0 || s.p[start - 1] == ' ')
			note_key(l, span_sub(s, start, eq - start), v);
	}
}

const char *
log_line_value(struct span text, char room[LOG_VALUE])
{
	size_t n = text.n < LOG_VALUE ? text.n : LOG_VALUE - 1;

	for (size_t i = 0; i < n; i++)
		room[i] = ascii_blank(text.p[i]) || span_chr(SPAN("\"<>"), text.p[i]) != SIZE_MAX ? '?' : text.p[i];
	room[n] = '\0';
	return room;
}

bool
log_line_parse(struct span text, struct log_line *l)
{
	*l = (struct log_line){ .time_ms = -1 };
	if (!find_tag(text, l))
		return false;
	l->event = span_sub(l->rest, 0, span_chr(l->rest, ' '));
	l->rest = span_from(l->rest, l->event.n + 1);
	l->time_ms = log_time_parse(l->stamp);
	find_keys(l);
	return l->event.n > 0;
}
