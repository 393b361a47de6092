/* SPDX-License-Identifier: ISC */
#include "mail/date.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cursor.h"

static const char months[12][4] = {
	"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"
};
static const char weekdays[7][4] = { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" }; /* 1970-01-01 was a Thursday */

int64_t
date_days(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year; /* years begin in March, so that February's end is the year's */
	int64_t era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

struct calendar {
	int year, month, day, hour, minute, second;
};

static struct calendar
calendar_of(int64_t t)
{
	int64_t days = t >= 0 ? t / 86400 : -((86399 - t) / 86400), left = t - days * 86400;
	int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, of_era = z - era * 146097;
	int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * year + year / 4 - year / 100), m = (5 * of_year + 2) / 153;
	struct calendar c = {
		.day = (int)(of_year - (153 * m + 2) / 5 + 1),
		.month = (int)(m < 10 ? m + 3 : m - 9),
		.hour = (int)(left / 3600),
		.minute = (int)(left / 60 % 60),
		.second = (int)(left % 60),
	};

	c.year = (int)(year + era * 400 + (c.month <= 2));
	return c;
}

static bool
valid(const struct calendar *c)
{
	static const int lengths[12] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (c->year % 4 == 0 && c->year % 100 != 0) || c->year % 400 == 0;

	return c->year >= 1 && c->year <= 9999 && c->month >= 1 && c->month <= 12 && c->day >= 1 &&
	       c->day <= lengths[c->month - 1] && (c->month != 2 || c->day <= 28 || leap) && c->hour <= 23 &&
	       c->minute <= 59 && c->second <= 60;
}

static bool
finish(struct date *d, const struct calendar *c)
{
	if (!valid(c))
		return false;
	d->time =
	    date_days(c->year, c->month, c->day) * 86400 + c->hour * 3600 + c->minute * 60 + c->second - d->zone * 60;
	return true;
}

/* Blanks, line ends, commas and comments. */
static void
skip(struct cursor *c)
{
	while (!cursor_end(c)) {
		char ch = cursor_peek(c);

		if (ch == '(') {
			int depth = 0;

			do {
				ch = c->in.p[c->at];
				if (ch == '\\' && c->at + 1 < c->in.n)
					c->at++;
				depth += (ch == '(') - (ch == ')');
				c->at++;
			} while (depth && !cursor_end(c));
		} else if (ascii_blank(ch) || ch == '\r' || ch == '\n' || ch == ',') {
			c->at++;
		} else {
			break;
		}
	}
}

/* A number of at most max_digits; its digits are counted. False: there is none, or it is longer. */
static bool
number(struct cursor *c, unsigned max_digits, int *value, unsigned *digits)
{
	unsigned n = 0;
	int v = 0;

	while (ascii_digit(cursor_peek(c))) {
		if (++n > max_digits)
			return false;
		v = v * 10 + (cursor_peek(c) - '0');
		c->at++;
	}
	*value = v;
	*digits = n;
	return n > 0;
}

static int
month_of(struct span word)
{
	for (int i = 0; i < 12; i++)
		if (word.n >= 3 && span_caseeq(span_sub(word, 0, 3), span_str(months[i])))
			return i + 1;
	return 0;
}

/* RFC 5322 4.3 */
static int
full_year(int year, unsigned digits)
{
	if (digits == 2)
		return year < 50 ? year + 2000 : year + 1900;
	return digits == 3 ? year + 1900 : year;
}

static bool
clock_time(struct cursor *c, struct calendar *to)
{
	unsigned digits;

	if (!number(c, 2, &to->hour, &digits))
		return false;
	skip(c);
	if (!cursor_char(c, ':') && !cursor_char(c, '.'))
		return false;
	skip(c);
	if (!number(c, 2, &to->minute, &digits))
		return false;
	skip(c);
	to->second = 0;
	if (!cursor_char(c, ':') && !cursor_char(c, '.'))
		return true;
	skip(c);
	return number(c, 2, &to->second, &digits);
}

static const struct {
	struct span name;
	int minutes;
} zones[] = {
	{ SPAN_INIT("UT"), 0 }, { SPAN_INIT("GMT"), 0 }, { SPAN_INIT("UTC"), 0 }, { SPAN_INIT("Z"), 0 },
	{ SPAN_INIT("EST"), -300 }, { SPAN_INIT("EDT"), -240 }, { SPAN_INIT("CST"), -360 }, { SPAN_INIT("CDT"), -300 },
	{ SPAN_INIT("MST"), -420 }, { SPAN_INIT("MDT"), -360 }, { SPAN_INIT("PST"), -480 }, { SPAN_INIT("PDT"), -420 },
	/* beyond the RFCs, but unambiguous and frequent */
	{ SPAN_INIT("WET"), 0 }, { SPAN_INIT("WEST"), 60 }, { SPAN_INIT("CET"), 60 }, { SPAN_INIT("MET"), 60 },
	{ SPAN_INIT("MEZ"), 60 }, { SPAN_INIT("CEST"), 120 }, { SPAN_INIT("MEST"), 120 }, { SPAN_INIT("MESZ"), 120 },
	{ SPAN_INIT("EET"), 120 }, { SPAN_INIT("EEST"), 180 }, { SPAN_INIT("MSK"), 180 }, { SPAN_INIT("JST"), 540 },
};

/* "+0200", also "+02:00" and "+2"; leaves the cursor behind it. */
static bool
numeric_zone(struct cursor *c, struct date *d)
{
	bool west = cursor_peek(c) == '-';
	int value, minutes = 0;
	unsigned digits;

	c->at++;
	if (!number(c, 4, &value, &digits))
		return false;
	if (digits > 2) {
		minutes = value % 100;
		value /= 100;
	} else if (cursor_char(c, ':') && !number(c, 2, &minutes, &digits)) {
		return false;
	}
	if (minutes > 59 || value > 99)
		return false;
	d->zone = (value * 60 + minutes) * (west ? -1 : 1);
	d->zone_known = d->zone != 0 || !west;
	return true;
}

/* An unknown zone is UTC with zone_known false: the date stands (RFC 5322 4.3). */
static void
zone(struct cursor *c, struct date *d)
{
	struct cursor at = *c;
	struct span word;

	d->zone = 0;
	d->zone_known = false;
	if (cursor_peek(c) == '"')
		c->at++;
	word = cursor_while(c, ascii_alpha);
	for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++)
		if (word.n && span_caseeq(word, zones[i].name)) {
			d->zone = zones[i].minutes;
			d->zone_known = true;
		}
	if ((cursor_peek(c) == '+' || cursor_peek(c) == '-') && !numeric_zone(c, d)) {
		d->zone = 0;
		d->zone_known = false;
	}
	if (!d->zone_known && word.n == 0 && c->at == at.at)
		*c = at;
}

/* Behind the weekday: "Jul  1 02:44:25 1999", the zone in front of or behind the year. */
static bool
ctime_rest(struct date *d, struct cursor *c)
{
	struct calendar cal = { .month = month_of(cursor_while(c, ascii_alpha)) };
	unsigned digits;

	skip(c);
	if (!cal.month || !number(c, 2, &cal.day, &digits))
		return false;
	skip(c);
	if (!clock_time(c, &cal))
		return false;
	skip(c);
	zone(c, d);
	skip(c);
	if (!number(c, 4, &cal.year, &digits))
		return false;
	cal.year = full_year(cal.year, digits);
	skip(c);
	if (!d->zone_known)
		zone(c, d);
	return finish(d, &cal);
}

bool
date_parse(struct date *d, struct span s)
{
	struct cursor c = cursor_of(s);
	struct calendar cal = { .year = 0 };
	unsigned digits;

	*d = (struct date){ .time = 0 };
	skip(&c);
	if (ascii_alpha(cursor_peek(&c))) {
		struct cursor first = c;

		if (month_of(cursor_while(&c, ascii_alpha)))
			return ctime_rest(d, &first);
		(void)cursor_char(&c, '.');
		skip(&c);
	}
	if (ascii_alpha(cursor_peek(&c)))
		return ctime_rest(d, &c);
	if (!number(&c, 2, &cal.day, &digits))
		return false;
	skip(&c);
	(void)cursor_char(&c, '-');
	cal.month = month_of(cursor_while(&c, ascii_alpha));
	skip(&c);
	(void)cursor_char(&c, '-');
	if (!number(&c, 4, &cal.year, &digits))
		return false;
	cal.year = full_year(cal.year, digits);
	skip(&c);
	if (!clock_time(&c, &cal))
		return false;
	skip(&c);
	zone(&c, d);
	return finish(d, &cal);
}

bool
date_parse_ctime(struct date *d, struct span s)
{
	struct cursor c = cursor_of(s);

	*d = (struct date){ .time = 0 };
	skip(&c);
	(void)cursor_while(&c, ascii_alpha);
	skip(&c);
	return ctime_rest(d, &c);
}

/* "1-Feb-1994" */
static bool
day_text(struct cursor *c, struct calendar *cal)
{
	unsigned digits;
	struct span word;

	if (!number(c, 2, &cal->day, &digits) || !cursor_char(c, '-'))
		return false;
	word = cursor_while(c, ascii_alpha);
	cal->month = month_of(word);
	return word.n == 3 && cal->month && cursor_char(c, '-') && number(c, 4, &cal->year, &digits) && digits == 4;
}

bool
date_parse_imap(struct date *d, struct span s)
{
	struct cursor c = cursor_of(s);
	struct calendar cal = { .year = 0 };
	size_t from;

	*d = (struct date){ .time = 0 };
	(void)cursor_char(&c, ' ');
	if (!day_text(&c, &cal) || !cursor_char(&c, ' ') || !clock_time(&c, &cal) || !cursor_char(&c, ' '))
		return false;
	from = c.at;
	if ((cursor_peek(&c) != '+' && cursor_peek(&c) != '-') || !numeric_zone(&c, d) || c.at - from != 5 ||
	    !cursor_end(&c))
		return false;
	return finish(d, &cal);
}

bool
date_parse_day(int64_t *days, struct span s)
{
	struct cursor c = cursor_of(s);
	struct calendar cal = { .year = 0 };

	if (!day_text(&c, &cal) || !cursor_end(&c) || !valid(&cal))
		return false;
	*days = date_days(cal.year, cal.month, cal.day);
	return true;
}

/* What four digits of a year can show. */
static struct calendar
shown(int64_t *time, int zone_minutes)
{
	const int64_t first = -62135596800, last = 253402300799;
	int64_t t = *time + (int64_t)zone_minutes * 60;

	if (t < first)
		t = first;
	if (t > last)
		t = last;
	*time = t;
	return calendar_of(t);
}

const char *
date_format(char out[DATE_SIZE], int64_t time, int zone_minutes)
{
	struct calendar c = shown(&time, zone_minutes);
	unsigned z = (unsigned)(zone_minutes < 0 ? -zone_minutes : zone_minutes) % 6000;
	int64_t days = date_days(c.year, c.month, c.day);

	(void)snprintf(out, DATE_SIZE, "%s, %d %s %04d %02d:%02d:%02d %c%02u%02u", weekdays[(days % 7 + 7) % 7], c.day,
	    months[c.month - 1], c.year, c.hour, c.minute, c.second, zone_minutes < 0 ? '-' : '+', z / 60, z % 60);
	return out;
}

static char *
two_digits(char *to, unsigned n)
{
	to[0] = (char)('0' + n / 10 % 10);
	to[1] = (char)('0' + n % 10);
	return to + 2;
}

/* By hand: one stands before each message of a folder (FETCH INTERNALDATE). */
const char *
date_format_imap(char out[DATE_SIZE], int64_t time, int zone_minutes)
{
	struct calendar c = shown(&time, zone_minutes);
	unsigned z = (unsigned)(zone_minutes < 0 ? -zone_minutes : zone_minutes) % 6000;
	char *to = two_digits(out, (unsigned)c.day);

	if (out[0] == '0')
		out[0] = ' ';
	*to++ = '-';
	memcpy(to, months[c.month - 1], 3);
	to[3] = '-';
	to = two_digits(two_digits(to + 4, (unsigned)c.year / 100), (unsigned)c.year % 100);
	*to++ = ' ';
	to = two_digits(to, (unsigned)c.hour);
	*to++ = ':';
	to = two_digits(to, (unsigned)c.minute);
	*to++ = ':';
	to = two_digits(to, (unsigned)c.second);
	*to++ = ' ';
	*to++ = zone_minutes < 0 ? '-' : '+';
	*two_digits(two_digits(to, z / 60), z % 60) = '\0';
	return out;
}

const char *
date_format_iso(char out[DATE_SIZE], int64_t time)
{
	struct calendar c = shown(&time, 0);

	(void)snprintf(out, DATE_SIZE, "%04d-%02d-%02dT%02d:%02d:%02dZ", c.year, c.month, c.day, c.hour, c.minute,
		       c.second);
	return out;
}

/* Exactly n digits, with what stands behind them. */
static bool
iso_number(struct span *s, unsigned n, const char *behind, int least, int most, int *to)
{
	*to = 0;
	if (s->n < n || !n)
		return false;
	for (unsigned i = 0; i < n; i++) {
		if (!ascii_digit(s->p[i]))
			return false;
		*to = *to * 10 + (s->p[i] - '0');
	}
	*s = span_from(*s, n);
	if (*behind) {
		if (!s->n || ascii_lower(s->p[0]) != *behind)
			return false;
		*s = span_from(*s, 1);
	}
	return *to >= least && *to <= most;
}

static bool
iso_zone(struct span s, int *minutes)
{
	int hour, minute, sign;

	*minutes = 0;
	if (s.n == 1 && ascii_lower(s.p[0]) == 'z')
		return true;
	if (s.n != 6 || (s.p[0] != '+' && s.p[0] != '-'))
		return false;
	sign = s.p[0] == '-' ? -1 : 1;
	s = span_from(s, 1);
	if (!iso_number(&s, 2, ":", 0, 23, &hour) || !iso_number(&s, 2, "", 0, 59, &minute))
		return false;
	*minutes = sign * (hour * 60 + minute);
	return true;
}

bool
date_parse_iso(int64_t *time, struct span s)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int year, month, day, hour, minute, second, zone;
	bool leap;

	if (!iso_number(&s, 4, "-", 1, 9999, &year) || !iso_number(&s, 2, "-", 1, 12, &month) || !iso_number(&s, 2, "t", 1, 31, &day) ||
	    !iso_number(&s, 2, ":", 0, 23, &hour) || !iso_number(&s, 2, ":", 0, 59, &minute) || !iso_number(&s, 2, "", 0, 60, &second))
		return false;
	leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	if (day > days[month - 1] + (month == 2 && leap))
		return false;
	if (s.n > 1 && s.p[0] == '.' && ascii_digit(s.p[1]))
		do
			s = span_from(s, 1);
		while (s.n && ascii_digit(s.p[0]));
	if (!iso_zone(s, &zone))
		return false;
	*time = date_days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - zone * 60;
	return true;
}

int
date_local_zone(int64_t time)
{
	time_t t = (time_t)time;
	struct tm tm;

	return localtime_r(&t, &tm) ? (int)(tm.tm_gmtoff / 60) : 0;
}
