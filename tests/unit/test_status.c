/* SPDX-License-Identifier: ISC */
#include "mail_test.h"

#include "mail/status.h"

static void
rows_are_consistent(void **state)
{
	(void)state;
	for (unsigned i = 1; i < STATUS_COUNT; i++) {
		const struct status *s = status_get(i);
		unsigned class = s->reply / 100;

		assert_int_equal(s->code[0] - '0', class);
		assert_int_equal(s->class, class == 2 ? FAIL_NONE : class == 4 ? FAIL_TEMP : FAIL_PERM);
		assert_true(s->text[0] && s->report[0]);
		assert_true(status_find_code(span_str(s->code)) <= i);
		assert_string_equal(status_get(status_find_code(span_str(s->code)))->code, s->code);
		assert_int_equal(status_find_name(span_str(s->name)), i);
	}
}

static void
codes_are_found(void **state)
{
	(void)state;
	assert_int_equal(status_find_code(SPAN("5.1.1")), STATUS_BAD_MAILBOX);
	assert_int_equal(status_find_code(SPAN("5.1.99")), STATUS_ADDRESS_PERM);
	assert_int_equal(status_find_code(SPAN("4.9.9")), STATUS_TEMP);
	assert_int_equal(status_find_code(SPAN("5.9.9")), STATUS_PERM);
	assert_int_equal(status_find_code(SPAN("5.1")), STATUS_NONE);
	assert_int_equal(status_find_code(SPAN("3.1.1")), STATUS_NONE);
	assert_int_equal(status_find_code(SPAN("5.1.1234")), STATUS_NONE);
	assert_int_equal(status_find_code(SPAN("")), STATUS_NONE);
	assert_true(status_temporary(status_find_reply(450)));
	assert_true(status_permanent(status_find_reply(599)));
	assert_int_equal(status_get(12345)->reply, 0);
}

static void
code_is_taken_from_reply(void **state)
{
	struct span text = SPAN("5.1.1 <bob@x>: no such user"), none = SPAN("4.1.1 odd"), more = SPAN("5.1.1x");

	(void)state;
	assert_span(status_take_code(550, &text), "5.1.1");
	assert_span(text, "<bob@x>: no such user");
	assert_int_equal(status_take_code(550, &none).n, 0);
	assert_span(none, "4.1.1 odd");
	assert_int_equal(status_take_code(550, &more).n, 0);
}

static void
fail_has_a_status(void **state)
{
	struct fail why;

	(void)state;
	(void)fail_set(&why, FAIL_PERM, STATUS_NONE, "x");
	assert_int_equal(status_of_fail(&why), STATUS_PERM);
	(void)fail_set(&why, FAIL_TEMP, STATUS_DISK_FULL, "x");
	assert_int_equal(status_of_fail(&why), STATUS_DISK_FULL);
	(void)fail_set(&why, FAIL_TEMP, 9999, "x");
	assert_int_equal(status_of_fail(&why), STATUS_TEMP);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_consistent),
		cmocka_unit_test(codes_are_found),
		cmocka_unit_test(code_is_taken_from_reply),
		cmocka_unit_test(fail_has_a_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
