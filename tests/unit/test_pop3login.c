/* SPDX-License-Identifier: ISC
 *
 * What authd knows of POP3: logins that name a folder, and how long ago the last one was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/recent.h"
#include "daemons/authd/folder.h"

static void
parts(const char *login, const char *delimiters, const char *user, const char *folder)
{
	struct span rest = SPAN_NONE;
	struct buf got;

	buf_init(&got, 320);
	assert_true(folder_split(span_str(login), span_str(delimiters), &got, &rest));
	if (!span_eq(buf_span(&got), span_str(user)) || !span_eq(rest, span_str(folder)))
		fail_msg("%s: %.*s and %.*s", login, SPAN_ARG(buf_span(&got)), SPAN_ARG(rest));
	buf_free(&got);
}

static void
test_a_folder_stands_before_or_behind_the_domain(void **state)
{
	(void)state;
	parts("bob@example.test#Archive", "#", "bob@example.test", "Archive");
	parts("bob#Archive@example.test", "#", "bob@example.test", "Archive");
	parts("bob#Archive", "#", "bob", "Archive");
	parts("bob#Archive.2020#a", "#", "bob", "Archive.2020#a");
	parts("bob/a+b", "+/", "bob", "a+b");
	parts("bob@example.test#a@b", "#", "bob@example.test", "a@b");
	parts("bob#a@b@example.test", "#", "bob@example.test", "a@b");
	parts("bob#@example.test", "#", "bob@example.test", "");
	parts("bob#", "#", "bob", "");
	parts("#Archive@example.test", "#", "@example.test", "Archive");
}

static void
test_without_a_delimiter_there_is_no_folder(void **state)
{
	struct span rest;
	struct buf got;

	(void)state;
	buf_init(&got, 10);
	assert_false(folder_split(SPAN("bob#Archive"), SPAN(""), &got, &rest));
	assert_false(folder_split(SPAN("bob@example.test"), SPAN("#+"), &got, &rest));
	assert_false(folder_split(SPAN(""), SPAN("#"), &got, &rest));
	assert_false(folder_split(SPAN("a-long-name@a.long.domain#x"), SPAN("#"), &got, &rest)); /* no room */
	buf_free(&got);
}

enum { MOST = 50000 };

static const struct span alice = SPAN_INIT("alice"), bob = SPAN_INIT("bob");

static void
test_a_login_too_soon_does_not_begin_the_time_anew(void **state)
{
	struct recent r;

	(void)state;
	recent_init(&r, MOST);
	assert_true(recent_admits(&r, alice, 1000, 5000));
	assert_false(recent_admits(&r, alice, 1000, 5000));
	assert_true(recent_admits(&r, bob, 1000, 5500));
	assert_false(recent_admits(&r, alice, 1000, 5999));
	assert_true(recent_admits(&r, alice, 1000, 6000));
	assert_false(recent_admits(&r, bob, 1000, 6499));
	recent_forget(&r, bob); /* it came to nothing */
	assert_true(recent_admits(&r, bob, 1000, 6499));
	/* a setting that is made smaller, or off, holds for those of before */
	assert_true(recent_admits(&r, bob, 100, 6600));
	assert_true(recent_admits(&r, bob, 0, 6600));
	assert_int_equal(r.map.count, 0);
	assert_true(recent_admits(&r, bob, 0, 6600));
	recent_free(&r);
}

static void
test_it_is_bounded(void **state)
{
	struct recent r;
	char name[32];

	(void)state;
	recent_init(&r, MOST);
	for (int i = 0; i <= MOST; i++) {
		int n = snprintf(name, sizeof(name), "user%d", i);

		assert_true(recent_admits(&r, span_of(name, (size_t)n), 1000, 1));
	}
	assert_int_equal(r.map.count, MOST);
	assert_false(recent_admits(&r, SPAN("user1"), 1000, 1));
	assert_true(recent_admits(&r, SPAN("user0"), 1000, 1)); /* forgotten */
	recent_free(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_folder_stands_before_or_behind_the_domain),
		cmocka_unit_test(test_without_a_delimiter_there_is_no_folder),
		cmocka_unit_test(test_a_login_too_soon_does_not_begin_the_time_anew),
		cmocka_unit_test(test_it_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
