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

void
fold_text(struct span utf8, struct buf *out)
{
	for (size_t at = 0; at < utf8.n;) {
		size_t end = at;
		char *room;

		while (end < utf8.n && (unsigned char)utf8.p[end] < 0x80)
			end++;
		if (end == at) {
			at += put_wide(span_from(utf8, at), out);
			continue;
		}
		if (!(room = buf_room(out, end - at)))
			return;
		for (size_t i = 0; i < end - at; i++)
			room[i] = ascii_lower(utf8.p[at + i]);
		buf_added(out, end - at);
		at = end;
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
