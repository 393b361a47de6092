/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "table/password.h"

static void
check_kind(enum password_kind kind, const char *prefix)
{
	struct password_cost cost = { kind, 1024 };
	struct fail why = { 0 };
	struct buf one, two;

	buf_init(&one, PASSWORD_HASH_MAX);
	buf_init(&two, PASSWORD_HASH_MAX);
	if (!password_hash(SPAN("wonderland"), &cost, &one, &why))
		fail_msg("%s", why.text);
	assert_true(password_hash(SPAN("wonderland"), &cost, &two, &why));
	assert_true(span_starts(buf_span(&one), span_str(prefix)));
	assert_false(span_eq(buf_span(&one), buf_span(&two))); /* salted */
	assert_true(password_known(buf_span(&one)));
	assert_true(password_check(SPAN("wonderland"), buf_span(&one)));
	assert_false(password_check(SPAN("Wonderland"), buf_span(&one)));
	assert_false(password_check(SPAN(""), buf_span(&one)));
	buf_wipe(&one);
	buf_wipe(&two);
}

static void
test_round_trips(void **state)
{
	(void)state;
	check_kind(PASSWORD_ARGON2ID, "$argon2id$v=19$m=1024,t=");
	check_kind(PASSWORD_YESCRYPT, "$y$");
}

/* Strings made by other programs: openssl passwd -6, the argon2 tool. */
static void
test_strings_of_others(void **state)
{
	struct span sha512 = SPAN(
	    "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1");

	(void)state;
	assert_true(password_check(SPAN("Hello world!"), sha512));
	assert_false(password_check(SPAN("Hello world"), sha512));
	assert_true(password_check(SPAN("password"), SPAN("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4")));
}

/* RFC 4013: however a device writes it; and what was stored as it was given then (printf %b 'cafe\xcc\x81' | openssl passwd -6 -salt prep -stdin). */
static void
test_one_password_in_two_forms(void **state)
{
	static const struct span before = SPAN_INIT("$6$prep$BfXsCXiXts0/gwZF0.8i283jZd2YEXHve6jB36..tLTyOR19zkXZx/s36R6jdr56s0Ht5JGLxif0CucnPpJ89.");
	struct password_cost cost = { PASSWORD_ARGON2ID, 1024 };
	struct span joined = SPAN("caf\xc3\xa9"), apart = SPAN("cafe\xcc\x81");
	struct fail why = { 0 };
	struct buf out;

	(void)state;
	for (int i = 0; i < 2; i++) {
		buf_init(&out, PASSWORD_HASH_MAX);
		assert_true(password_hash(i ? joined : apart, &cost, &out, &why));
		assert_true(password_check(joined, buf_span(&out)));
		assert_true(password_check(apart, buf_span(&out)));
		assert_false(password_check(SPAN("cafe"), buf_span(&out)));
		buf_wipe(&out);
	}
	assert_true(password_check(apart, before));
	assert_false(password_check(joined, before));
}

static void
test_what_matches_nothing(void **state)
{
	static const char *const bad[] = {
		"", "*", "!", "x", "wonderland", "$", "$1$", "$argon2id$", "$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$AAAA",
		"$argon2id$v=19$t=2,p=1$c29tZXNhbHQ$AAAA", "$argon2id$v=19$m=65536,t=4000000000,p=1$c29tZXNhbHQ$AAAA", "$y$", "$6$",
	};
	char longest[PASSWORD_MAX + 2];
	struct password_cost cost = { PASSWORD_ARGON2ID, 1024 };
	struct fail why;
	struct buf out;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (password_check(SPAN("wonderland"), span_str(bad[i])))
			fail_msg("%s", bad[i]);
	memset(longest, 'x', sizeof(longest));
	buf_init(&out, PASSWORD_HASH_MAX);
	assert_false(password_hash(SPAN(""), &cost, &out, &why));
	assert_false(password_hash(span_of(longest, PASSWORD_MAX + 1), &cost, &out, &why));
	assert_false(password_hash(SPAN("a\0b"), &cost, &out, &why));
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_strings_of_others),
		cmocka_unit_test(test_one_password_in_two_forms),
		cmocka_unit_test(test_what_matches_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
