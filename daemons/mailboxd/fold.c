/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/fold.h"

#include <string.h>

#include "mail/charset.h"

struct range {
	uint32_t first, last, step, to, to_step;
};

struct run {
	uint32_t first;
	char text[44]; /* for first, first + 1, ...: each ended by NUL, then an empty one */
};

static const struct range ranges[] = {
#define FOLD_RANGE(first, last, step, to, to_step) { first, last, step, to, to_step },
#include "daemons/mailboxd/fold.def"
#undef FOLD_RANGE
};

static const struct run runs[] = {
#define FOLD_TEXT(first, text) { first, text },
#include "daemons/mailboxd/fold.def"
#undef FOLD_TEXT
};

enum { IDEOGRAPHS = 0x3400, IDEOGRAPHS_LAST = 0xa63f }; /* these and some around them are what they are */

enum { /* Unicode 3.12 */
	HANGUL = 0xac00, HANGUL_LAST = 0xd7a3, LEADS = 0x1100, VOWELS = 0x1161, TRAILS = 0x11a7, NVOWELS = 21, NTRAILS = 28,
};

static bool
put_hangul(uint32_t c, struct buf *out)
{
	uint32_t s = c - HANGUL;

	if (c < HANGUL || c > HANGUL_LAST)
		return false;
	utf8_put(out, LEADS + s / (NVOWELS * NTRAILS));
	utf8_put(out, VOWELS + s % (NVOWELS * NTRAILS) / NTRAILS);
	if (s % NTRAILS)
		utf8_put(out, TRAILS + s % NTRAILS);
	return true;
}

static bool
put_range(uint32_t c, struct buf *out)
{
	size_t lo = 0, hi = sizeof ranges / sizeof *ranges;

	if (c < ranges[0].first) /* Latin, mostly */
		return false;
	while (lo < hi) { /* the first that ends at or behind c */
		size_t mid = lo + (hi - lo) / 2;

		if (ranges[mid].last < c)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == sizeof ranges / sizeof *ranges || ranges[lo].first > c || (c - ranges[lo].first) % ranges[lo].step)
		return false;
	utf8_put(out, ranges[lo].to + (c - ranges[lo].first) / ranges[lo].step * ranges[lo].to_step);
	return true;
}

static bool
put_run(uint32_t c, struct buf *out)
{
	size_t lo = 0, hi = sizeof runs / sizeof *runs;
	const char *text;

	while (lo < hi) { /* the first that begins behind c */
		size_t mid = lo + (hi - lo) / 2;

		if (runs[mid].first <= c)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0)
		return false;
	text = runs[lo - 1].text;
	for (uint32_t n = c - runs[lo - 1].first; n && *text; n--)
		text += strlen(text) + 1;
	if (!*text)
		return false;
	buf_puts(out, text);
	return true;
}

/* One character or octet that is not ASCII; returns its length. */
static size_t
put_wide(struct span at, struct buf *out)
{
	uint32_t c;
	size_t n = utf8_next(at, &c);

	if (!n)
		n = 1; /* not UTF-8 */
	else if ((c < IDEOGRAPHS || c > IDEOGRAPHS_LAST) && (put_range(c, out) || put_run(c, out) || put_hangul(c, out)))
		return n;
	buf_put(out, span_sub(at, 0, n));
	return n;
}

/* Most text is ASCII: eight octets at once. */
static const uint64_t every = UINT64_C(0x0101010101010101);

static uint64_t
eight_at(const char *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

/* The high bit of each octet tells whether it is at least 'A', and whether it is above 'Z'. */
static uint64_t
lower_eight(uint64_t w)
{
	uint64_t from_a = w + every * (0x80 - 'A'), above_z = w + every * (0x7f - 'Z');

	return w | ((from_a & ~above_z & every * 0x80) >> 2);
}

static size_t
ascii_length(struct span s)
{
	size_t n = 0;

	while (n + 8 <= s.n && !(eight_at(s.p + n) & every * 0x80))
		n += 8;
	while (n < s.n && (unsigned char)s.p[n] < 0x80)
		n++;
	return n;
}

static void
lower_ascii(const char *from, char *to, size_t n)
{
	size_t i = 0;

	for (; i + 8 <= n; i += 8) {
		uint64_t w = lower_eight(eight_at(from + i));

		memcpy(to + i, &w, sizeof(w));
	}
	for (; i < n; i++)
		to[i] = ascii_lower(from[i]);
}

void
fold_text(struct span utf8, struct buf *out)
{
	for (size_t at = 0; at < utf8.n;) {
		size_t n = ascii_length(span_from(utf8, at));
		char *room;

		if (n == 0) {
			at += put_wide(span_from(utf8, at), out);
			continue;
		}
		if (!(room = buf_room(out, n)))
			return;
		lower_ascii(utf8.p + at, room, n);
		buf_added(out, n);
		at += n;
	}
}

int
fold_compare(struct span a, struct span b)
{
	size_t n = a.n < b.n ? a.n : b.n;

	for (size_t i = 0; i < n; i++) {
		unsigned char x = (unsigned char)ascii_upper(a.p[i]), y = (unsigned char)ascii_upper(b.p[i]);

		if (x != y)
			return x < y ? -1 : 1;
	}
	return a.n < b.n ? -1 : a.n > b.n;
}
