/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemons/routed/rate.h"

static void
a_window_ends(void **state)
{
	struct rates r;

	(void)state;
	rates_init(&r);
	for (int i = 0; i < 3; i++)
		assert_true(rate_count(&r, RATE_CLIENT_MESSAGES, SPAN("192.0.2.1"), 3, 60000, 1000 + i));
	assert_false(rate_count(&r, RATE_CLIENT_MESSAGES, SPAN("192.0.2.1"), 3, 60000, 60999));
	assert_true(rate_count(&r, RATE_CLIENT_MESSAGES, SPAN("192.0.2.2"), 3, 60000, 60999));
	assert_true(rate_count(&r, RATE_CLIENT_RECIPIENTS, SPAN("192.0.2.1"), 3, 60000, 60999));
	assert_true(rate_count(&r, RATE_CLIENT_MESSAGES, SPAN("192.0.2.1"), 3, 60000, 61000));
	assert_int_equal(r.n, 3);
	rates_free(&r);
}

static void
keys_have_no_case_and_no_limit_counts_nothing(void **state)
{
	struct rates r;

	(void)state;
	rates_init(&r);
	assert_true(rate_count(&r, RATE_LOGIN_MESSAGES, SPAN("Alice@x"), 1, 60000, 1));
	assert_false(rate_count(&r, RATE_LOGIN_MESSAGES, SPAN("alice@X"), 1, 60000, 2));
	assert_true(rate_count(&r, RATE_LOGIN_MESSAGES, SPAN("bob@x"), 0, 60000, 2));
	assert_true(rate_count(&r, RATE_LOGIN_MESSAGES, SPAN(""), 1, 60000, 2));
	assert_int_equal(r.n, 1);
	rates_free(&r);
}

static void
memory_is_bounded(void **state)
{
	struct rates r;
	char key[32];

	(void)state;
	rates_init(&r);
	for (int i = 0; i < RATE_COUNTERS_MAX + 500; i++) {
		int n = snprintf(key, sizeof(key), "k%d", i);

		assert_true(rate_count(&r, RATE_CLIENT_CONNECTIONS, span_of(key, (size_t)n), 1, 60000, 5));
	}
	assert_int_equal(r.n, RATE_COUNTERS_MAX);
	assert_true(rate_count(&r, RATE_CLIENT_CONNECTIONS, SPAN("k0"), 1, 60000, 5)); /* the first was forgotten */
	assert_false(rate_count(&r, RATE_CLIENT_CONNECTIONS, SPAN("k100000"), 1, 60000, 5));
	rates_free(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_window_ends),
		cmocka_unit_test(keys_have_no_case_and_no_limit_counts_nothing),
		cmocka_unit_test(memory_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
