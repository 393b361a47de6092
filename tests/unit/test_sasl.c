/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "net/sasl.h"

static struct sasl s;
static struct fail why;

static enum sasl_result
begin(const char *mechanism, const char *initial)
{
	const struct sasl_mechanism *m = sasl_find(span_str(mechanism));

	assert_non_null(m);
	return sasl_begin(&s, m, initial != NULL, span_str(initial), &why);
}

#define assert_span(sp, text) assert_true(span_eq((sp), SPAN(text)))

static void
test_plain(void **state)
{
	(void)state;
	assert_int_equal(begin("plain", "AGFsaWNlAHdvbmRlcmxhbmQ="), SASL_CHECK);
	assert_span(s.user, "alice");
	assert_span(s.password, "wonderland");
	assert_span(s.authzid, "");
	assert_int_equal(begin("PLAIN", "Ym9iAGFsaWNlAHg="), SASL_CHECK);
	assert_span(s.authzid, "bob");
	assert_int_equal(begin("PLAIN", NULL), SASL_CHALLENGE);
	assert_span(sasl_challenge(&s), "");
	assert_int_equal(sasl_step(&s, SPAN("AGFsaWNlAHdvbmRlcmxhbmQ="), &why), SASL_CHECK);
	sasl_end(&s);
	assert_null(s.secret.mem);
	sasl_end(&s);
}

static void
test_login(void **state)
{
	(void)state;
	assert_int_equal(begin("LOGIN", NULL), SASL_CHALLENGE);
	assert_span(sasl_challenge(&s), "VXNlcm5hbWU6");
	assert_int_equal(sasl_step(&s, SPAN("YWxpY2U="), &why), SASL_CHALLENGE);
	assert_span(sasl_challenge(&s), "UGFzc3dvcmQ6");
	assert_int_equal(sasl_step(&s, SPAN("d29uZGVybGFuZA=="), &why), SASL_CHECK);
	assert_span(s.user, "alice");
	assert_span(s.password, "wonderland");
	assert_int_equal(begin("LOGIN", "YWxpY2U="), SASL_CHALLENGE);
	assert_span(sasl_challenge(&s), "UGFzc3dvcmQ6");
	sasl_end(&s);
}

static void
test_what_is_refused(void **state)
{
	static const char *const responses[] = {
		"", "=", "====", "AGFsaWNl", /* one NUL */
		"AABhbGljZQ==",              /* NUL NUL alice: empty name */
		"AGFsaWNlAA==",              /* empty password */
		"AGFsaWNlAHgAeQ==",          /* NUL in the password */
		"AGEKYgB4",                  /* line feed in the name */
		"AGFsaWNlAHdvbmRlcmxhbmQ",   /* no padding */
		"AGFsaWNlAHdvbmRlcmxhbmQ=\r", " AGFsaWNlAHdvbmRlcmxhbmQ=",
	};
	char text[SASL_LINE_MAX + 8];

	(void)state;
	for (size_t i = 0; i < sizeof(responses) / sizeof(responses[0]); i++)
		assert_int_equal(begin("PLAIN", responses[i]), SASL_BAD);
	assert_int_equal(begin("PLAIN", NULL), SASL_CHALLENGE);
	assert_int_equal(sasl_step(&s, SPAN("*"), &why), SASL_CANCELLED);
	assert_int_equal(begin("PLAIN", NULL), SASL_CHALLENGE);
	memset(text, 'A', sizeof(text));
	assert_int_equal(sasl_step(&s, span_of(text, sizeof(text)), &why), SASL_BAD);
	assert_int_equal(begin("LOGIN", NULL), SASL_CHALLENGE);
	memset(text, 'Z', sizeof(text));
	assert_int_equal(sasl_step(&s, span_of(text, 400), &why), SASL_CHALLENGE);
	assert_int_equal(sasl_step(&s, span_of(text, SASL_LINE_MAX), &why), SASL_BAD);
	sasl_end(&s);
	assert_int_equal(sasl_step(&s, SPAN("AAAA"), &why), SASL_BAD);
	assert_null(sasl_find(SPAN("CRAM-MD5")));
	assert_null(sasl_find(SPAN("")));
}

static void
test_list(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	sasl_list(&b, "AUTH=");
	assert_span(buf_span(&b), "AUTH=PLAIN AUTH=LOGIN");
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_login),
		cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
