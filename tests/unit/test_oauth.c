/* SPDX-License-Identifier: ISC
 *
 * What clients say within OAUTHBEARER (RFC 7628 3.1) and XOAUTH2.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "net/oauth.h"

static char user[64], token[64];

static bool
parse(bool (*by)(struct span, struct buf *, struct oauth_first *, struct fail *), struct span message)
{
	struct oauth_first first;
	struct fail why;
	struct buf names;
	bool ok;

	buf_init(&names, 64);
	assert_non_null(buf_room(&names, 64));
	ok = by(message, &names, &first, &why) && span_cstr(first.user, user, sizeof(user)) && span_cstr(first.token, token, sizeof(token));
	buf_free(&names);
	return ok;
}

#define BEARER(text) parse(oauth_parse_bearer, SPAN(text))
#define XOAUTH2(text) parse(oauth_parse_xoauth2, SPAN(text))

static void
test_bearer(void **state)
{
	(void)state;
	/* RFC 7628 4.1 */
	assert_true(BEARER("n,a=user@example.com,\x01host=server.example.com\x01port=143\x01" "auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"));
	assert_string_equal(user, "user@example.com");
	assert_string_equal(token, "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
	assert_true(BEARER("y,,\x01" "auth=bearer  a.b-c_d~e+f/g\x01unknown=x=y\x01\x01"));
	assert_string_equal(user, "");
	assert_string_equal(token, "a.b-c_d~e+f/g");
	assert_true(BEARER("n,a=a=2Cb=3Dc,\x01" "auth=Bearer t\x01\x01"));
	assert_string_equal(user, "a,b=c");
	/* RFC 7628 4.3: what is wanted? */
	assert_true(BEARER("n,a=user@example.com,\x01host=server.example.com\x01port=143\x01" "auth=\x01\x01"));
	assert_string_equal(user, "user@example.com");
	assert_string_equal(token, "");
}

static void
test_what_is_none(void **state)
{
	(void)state;
	assert_false(BEARER(""));
	assert_false(BEARER("\x01"));
	assert_false(BEARER("n,,"));
	assert_false(BEARER("n,,\x01"));
	assert_false(BEARER("n,,\x01\x01"));
	assert_false(BEARER("n,,auth=Bearer t\x01\x01"));
	assert_false(BEARER("n,,\x01" "auth=Bearer t\x01"));
	assert_false(BEARER("n,,\x01" "auth=Bearer t"));
	assert_false(BEARER("n,,\x01" "auth=Bearer t\x01\x01x"));
	assert_false(BEARER("n,,\x01" "auth=Bearer t\x01" "auth=Bearer u\x01\x01"));
	assert_false(BEARER("n,,\x01" "auth=\x01" "auth=Bearer t\x01\x01"));
	assert_false(BEARER("n,,\x01" "auth=Bearer t\x01" "auth=\x01\x01"));
	assert_false(BEARER("n,,\x01" "auth=Bearer \x01\x01"));
	assert_false(BEARER("n,,\x01" "auth=Bearer ==\x01\x01"));
	assert_false(BEARER("n,,\x01" "auth=Bearer a b\x01\x01"));
	assert_false(BEARER("n,,\x01" "auth=Bearer a\r\nb\x01\x01"));
	assert_false(BEARER("n,,\x01" "auth=Basic dDp0\x01\x01"));
	assert_false(BEARER("n,,\x01=x\x01" "auth=Bearer t\x01\x01"));
	assert_false(BEARER("p=tls-exporter,,\x01" "auth=Bearer t\x01\x01"));
	assert_false(BEARER("n,b=x,\x01" "auth=Bearer t\x01\x01"));
	assert_false(BEARER("n,a=a=2cb,\x01" "auth=Bearer t\x01\x01"));
}

static void
test_xoauth2(void **state)
{
	(void)state;
	assert_true(XOAUTH2("user=someuser@example.com\x01" "auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\x01\x01"));
	assert_string_equal(user, "someuser@example.com");
	assert_string_equal(token, "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg");
	assert_false(XOAUTH2("user=someuser@example.com"));
	assert_false(XOAUTH2("auth=Bearer t\x01\x01"));
	assert_false(XOAUTH2("user=x\x01" "auth=Bearer t\x01"));
	assert_false(XOAUTH2("n,,\x01" "auth=Bearer t\x01\x01"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bearer),
		cmocka_unit_test(test_what_is_none),
		cmocka_unit_test(test_xoauth2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
