/* SPDX-License-Identifier: ISC */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "log/line.h"

static void
test_lines_are_taken_apart(void **state)
{
	struct log_line l;

	(void)state;
	assert_true(log_line_parse(SPAN("2026-11-21T15:23:12.407Z smtpd[2551]: received id=SG1 client=a[1.2.3.4] session=SG0 helo=x from=<a b@c> to=<d@e>,... message-id=<m@n>"), &l));
	assert_true(span_eq(l.tag, SPAN("smtpd")) && span_eq(l.pid, SPAN("2551")) && span_eq(l.event, SPAN("received")));
	assert_true(l.time_ms == 1795274592407);
	assert_true(span_eq(l.id, SPAN("SG1")) && span_eq(l.session, SPAN("SG0")) && span_eq(l.from, SPAN("a b@c")) && span_eq(l.to, SPAN("d@e")));
	assert_true(span_eq(l.message_id, SPAN("m@n")) && span_eq(l.client, SPAN("a[1.2.3.4]")));
	/* As syslog daemons store it. */
	assert_true(log_line_parse(SPAN("Nov 21 15:23:12 mail queued[7]: removed id=SG2"), &l));
	assert_true(l.time_ms == -1 && span_eq(l.stamp, SPAN("Nov 21 15:23:12 mail")) && span_eq(l.id, SPAN("SG2")));
	assert_true(log_line_parse(SPAN("2026-11-21T17:23:12.407001+02:00 mail queued[7]: removed id=SG2 "), &l));
	assert_true(l.time_ms == 1795274592407);
}

static void
test_strangers_words_are_not_fields(void **state)
{
	struct log_line l;

	(void)state;
	assert_true(log_line_parse(SPAN("t queued[1]: delivery id=SG1 to=<a@b> relay=x status=deferred (450 id=SG9 session=SG8 report=SG7)"), &l));
	assert_true(span_eq(l.id, SPAN("SG1")) && !l.session.n && !l.report.n);
	assert_true(log_line_parse(SPAN("t smtpd[1]: reject client=c[1] session=SG3 helo=y from=<\"x session=SG4 id=SG5\"@c> to=<>"), &l));
	assert_true(span_eq(l.session, SPAN("SG3")) && !l.id.n && l.to.p && l.to.n == 0);
	assert_true(log_line_parse(SPAN("t smtpd[1]: received session=SG3 from=<\"x> id=SG5 \\\"> as=<e@f> y\"@c> to=<d@e> message-id=<m\"n>"), &l));
	assert_true(!l.id.n && !l.as.n && span_eq(l.to, SPAN("d@e")) && span_eq(l.message_id, SPAN("m\"n")));
	assert_true(log_line_parse(SPAN("t smtpd[1]: reject client=c[1] session=SG3 helo=session=SG4"), &l));
	assert_true(span_eq(l.session, SPAN("SG3")));
	assert_string_equal(log_line_value(SPAN("<a b\"c\t(d>=e"), (char[LOG_VALUE]){ 0 }), "?a?b?c?(d?=e");
	assert_string_equal(log_line_value(SPAN_NONE, (char[LOG_VALUE]){ 0 }), "");
	assert_false(log_line_parse(SPAN("Nov 21 15:23:12 mail kernel: id=SG1"), &l));
	assert_false(log_line_parse(SPAN("a[x]: b"), &l));
	assert_false(log_line_parse(SPAN("queued[1]: "), &l));
	assert_false(log_line_parse(SPAN(""), &l));
}

static void
test_times(void **state)
{
	(void)state;
	assert_true(log_time_parse(SPAN("1970-01-01T00:00:00Z")) == 0);
	assert_true(log_time_parse(SPAN("2000-02-29")) == 951782400000);
	assert_true(log_time_parse(SPAN("2026-11-21T08:00")) == 1795248000000);
	assert_true(log_time_parse(SPAN("2026-13-21")) == -1);
	assert_true(log_time_parse(SPAN("yesterday")) == -1);
	assert_true(log_time_parse(SPAN("2026-11-2")) == -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines_are_taken_apart),
		cmocka_unit_test(test_strangers_words_are_not_fields),
		cmocka_unit_test(test_times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
