/* SPDX-License-Identifier: ISC */
#include "mail_test.h"

#include "mail/date.h"

static void
dates_of_mail(void **state)
{
	static const struct {
		const char *in;
		int64_t time;
		int zone;
		bool known;
	} rows[] = {
		{ "Mon, 12 Oct 1998 15:27:39 +0000", 908206059, 0, true },
		{ " 12 Oct 98 15:27:39 GMT", 908206059, 0, true }, /* M06 */
		{ "12 Oct 98 15:27 GMT", 908206020, 0, true },
		{ "Fri, 21 Nov 1997 09:55:06 -0600", 880127706, -360, true },
		{ "21 Nov 97 09:55:06 CST", 880127706, -360, true },
		{ "Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", 880127706, -360, true },
		{ "Thu,\r\n\t13\r\n\tFeb\r\n\t1969\r\n\t23:32\r\n\t-0330 (Newfoundland Time)", -27723480, -210, true },
		{ "Thu, 01 Jan 1970 00:00:00 -0000", 0, 0, false },
		{ "1 Jan 1970 00:00:00", 0, 0, false },
		{ "1 Jan 1970 00:00:00 A", 0, 0, false },
		{ "1 Jan 1970 00:00:00 XYZ", 0, 0, false },
		{ "1 Jan 1970 02:00:00 CEST", 0, 120, true },
		{ "1 Jan 1970 02:00:00 GMT+0200", 0, 120, true },
		{ "1 Jan 1970 02:00:00 +02:00", 0, 120, true },
		{ "29 Feb 2000 00:00:00 +0000", 951782400, 0, true },
		{ "1 Jan 101 00:00:00 +0000", 978307200, 0, true },
		{ "31 Dec 49 00:00:00 UT", 2524521600, 0, true },
		{ "31 Dec 1998 23:59:60 +0000", 915148800, 0, true },
		{ "Thu Jan  1 00:00:01 1970", 1, 0, false },
		{ "Thu Jan  1 00:00:01 GMT 1970", 1, 0, true },
		{ "Thu Jan  1 02:00:01 1970 +0200", 1, 120, true },
		{ "12-Oct-1998 15:27:39 +0000", 908206059, 0, true },
		{ "Monday, 12 October 1998 15:27:39 +0000", 908206059, 0, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct date d;

		if (!date_parse(&d, span_str(rows[i].in)))
			fail_msg("%s", rows[i].in);
		if (d.time != rows[i].time || d.zone != rows[i].zone || d.zone_known != rows[i].known)
			fail_msg("%s: %lld %d %d", rows[i].in, (long long)d.time, d.zone, d.zone_known);
	}
}

static void
no_dates(void **state)
{
	static const char *const rows[] = { "",
					    "x",
					    "12",
					    "12 Oct",
					    "12 Oct 98",
					    "32 Oct 98 00:00 GMT",
					    "30 Feb 2000 00:00 GMT",
					    "29 Feb 1900 00:00 GMT",
					    "12 Oct 98 24:00 GMT",
					    "12 Oct 98 00:60 GMT",
					    "12 Oct 12345 00:00",
					    "0 Oct 98 00:00",
					    "12 Foo 98 00:00",
					    "(((((",
					    "Mon, ",
					    "99999999999999999999 Oct 98 00:00" };
	struct date d;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (date_parse(&d, span_str(rows[i])))
			fail_msg("%s", rows[i]);
}

static void
imap_dates(void **state)
{
	struct date d;
	int64_t days;
	char out[DATE_SIZE];

	(void)state;
	assert_true(date_parse_imap(&d, SPAN("17-Jul-1996 02:44:25 -0700")));
	assert_int_equal(d.time, 837596665);
	assert_int_equal(d.zone, -420);
	assert_string_equal(date_format_imap(out, d.time, d.zone), "17-Jul-1996 02:44:25 -0700");
	assert_true(date_parse_imap(&d, SPAN(" 1-Jan-1970 00:00:00 +0000")));
	assert_string_equal(date_format_imap(out, 0, 0), " 1-Jan-1970 00:00:00 +0000");
	assert_string_equal(date_format_imap(out, -59011459201, -570), "31-Dec-0099 14:29:59 -0930"); /* the second before the year 100 in UTC */
	assert_false(date_parse_imap(&d, SPAN("17-Jul-1996 02:44:25")));
	assert_false(date_parse_imap(&d, SPAN("17-Jul-1996 02:44:25 -07000")));
	assert_false(date_parse_imap(&d, SPAN("17-Jul-96 02:44:25 -0700")));
	assert_true(date_parse_day(&days, SPAN("1-Feb-1994")));
	assert_int_equal(days * 86400, 760060800);
	assert_false(date_parse_day(&days, SPAN("1-Feb-1994 ")));
	assert_false(date_parse_day(&days, SPAN("31-Feb-1994")));
}

/* RFC 3339 5.6 */
static void
iso_dates(void **state)
{
	static const char *const bad[] = { "", "2001-09-09", "2001-09-09T01:46:40", "2001-09-09 01:46:40Z", "2001-9-09T01:46:40Z", "2001-02-29T00:00:00Z",
		"2001-13-01T00:00:00Z", "2001-01-01T24:00:00Z", "2001-01-01T00:60:00Z", "2001-01-01T00:00:61Z", "2001-01-01T00:00:00.Z",
		"2001-01-01T00:00:00+1:00", "2001-01-01T00:00:00+01:60", "2001-01-01T00:00:00+0100", "2001-01-01T00:00:00ZZ", "0000-01-01T00:00:00Z",
		"20010-01-01T00:00:00Z", "-001-01-01T00:00:00Z" };
	int64_t t;

	(void)state;
	assert_true(date_parse_iso(&t, SPAN("2001-09-09T01:46:40Z")));
	assert_int_equal(t, 1000000000);
	assert_true(date_parse_iso(&t, SPAN("2001-09-08t23:16:40.123456789-02:30")));
	assert_int_equal(t, 1000000000);
	assert_true(date_parse_iso(&t, SPAN("2000-02-29T00:00:00z")));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(date_parse_iso(&t, span_str(bad[i])));
}

static void
formats(void **state)
{
	char out[DATE_SIZE];
	struct date d;

	(void)state;
	assert_string_equal(date_format(out, 908206059, 0), "Mon, 12 Oct 1998 15:27:39 +0000");
	assert_string_equal(date_format(out, 908206059, -210), "Mon, 12 Oct 1998 11:57:39 -0330");
	assert_string_equal(date_format(out, -1, 0), "Wed, 31 Dec 1969 23:59:59 +0000");
	assert_string_equal(date_format_iso(out, 0), "1970-01-01T00:00:00Z");
	for (int64_t t = -62135596800; t < 253402300799; t += 86400 * 97 + 12345) {
		int64_t again;

		assert_true(date_parse_iso(&again, span_str(date_format_iso(out, t))));
		assert_int_equal(again, t);
	}
	(void)date_format(out, INT64_MAX / 2, 0);
	(void)date_format(out, INT64_MIN / 2, 0);
	for (int64_t t = -62135596800; t < 253402300799; t += 86400 * 97 + 12345) {
		assert_true(date_parse(&d, span_str(date_format(out, t, 0))) || t < -61504000000);
		if (t > -30000000000)
			assert_int_equal(d.time, t);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dates_of_mail),
		cmocka_unit_test(no_dates),
		cmocka_unit_test(imap_dates),
		cmocka_unit_test(iso_dates),
		cmocka_unit_test(formats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
