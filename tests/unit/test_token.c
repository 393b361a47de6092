/* SPDX-License-Identifier: ISC
 *
 * Which issuers are asked, as whom, and what they say of tokens (RFC 7662 2.2).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemons/tokend/ask.h"
#include "daemons/tokend/reply.h"

static struct reply got;

static enum token_result
read_as(const char *attribute, const char *scope, const char *audience, const char *body)
{
	struct reply_want want = { span_str(attribute), span_str(scope), span_str(audience) };

	reply_read(span_str(body), &want, 1000, &got);
	return got.result;
}

#define READ(body) read_as("username", "", "", body)

static void
test_a_good_one(void **state)
{
	(void)state;
	assert_int_equal(READ("{\"active\":true,\"username\":\"alice@example.test\"}"), TOKEN_GOOD);
	assert_string_equal(got.user, "alice@example.test");
	assert_int_equal(got.seconds, 0);
	assert_int_equal(READ("{\"active\":true,\"username\":\"bob\",\"exp\":1060,\"nbf\":1000,\"token_type\":\"Bearer\"}"), TOKEN_GOOD);
	assert_int_equal(got.seconds, 60);
	assert_int_equal(READ("{\"active\":true,\"username\":\"bob\",\"exp\":1060.9}"), TOKEN_GOOD);
	assert_int_equal(got.seconds, 60);
	assert_int_equal(READ("{\"active\":true,\"username\":\"bob\",\"exp\":1000.9}"), TOKEN_GOOD);
	assert_int_equal(got.seconds, 1);
	assert_int_equal(READ("{\"active\":true,\"username\":\"bob\",\"exp\":1e300}"), TOKEN_GOOD);
	assert_int_equal(got.seconds, 1000000000);
	assert_int_equal(read_as("ext.mail", "", "", "{\"active\":true,\"ext\":{\"mail\":\"bob\"}}"), TOKEN_GOOD);
	assert_int_equal(read_as("https://x.test/mail", "", "", "{\"active\":true,\"https://x.test/mail\":\"bob\"}"), TOKEN_GOOD);
}

static void
test_what_is_not_good(void **state)
{
	(void)state;
	assert_int_equal(READ("{\"active\":false}"), TOKEN_BAD);
	assert_int_equal(READ("{\"active\":false,\"username\":\"alice\"}"), TOKEN_BAD);
	assert_string_equal(got.user, "");
	assert_int_equal(READ("{\"active\":true,\"username\":\"bob\",\"exp\":1000}"), TOKEN_BAD);
	assert_int_equal(READ("{\"active\":true,\"username\":\"bob\",\"nbf\":1001}"), TOKEN_BAD);
	assert_int_equal(READ("{\"active\":true,\"username\":\"bob\",\"token_type\":\"mac\"}"), TOKEN_BAD);
	assert_int_equal(READ("{\"active\":true}"), TOKEN_BAD);
	assert_int_equal(READ("{\"active\":true,\"username\":\"\"}"), TOKEN_BAD);
	assert_int_equal(READ("{\"active\":true,\"username\":7}"), TOKEN_BAD);
	assert_int_equal(READ("{\"active\":true,\"username\":\"bob smith\"}"), TOKEN_BAD);
	assert_int_equal(READ("{\"active\":true,\"username\":\"bob\\nsmith\"}"), TOKEN_BAD);
	assert_int_equal(read_as("sub", "", "", "{\"active\":true,\"username\":\"bob\"}"), TOKEN_BAD);
}

static void
test_what_says_nothing(void **state)
{
	static const char *const bodies[] = { "", "[]", "null", "true", "{", "{}", "{\"active\":\"true\"}", "{\"active\":1}", "<html>", "{\"active\":true,\"active\":false}",
		"{\"active\":true} x" };

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++)
		if (READ(bodies[i]) != TOKEN_UNKNOWN)
			fail_msg("%s", bodies[i]);
}

static void
test_scope_and_audience(void **state)
{
	static const char some[] = "{\"active\":true,\"username\":\"bob\",\"scope\":\"mail openid\",\"aud\":\"imap\"}";
	static const char lists[] = "{\"active\":true,\"username\":\"bob\",\"scope\":[\"mail\",\"openid\"],\"aud\":[\"web\",\"imap\"]}";

	(void)state;
	assert_int_equal(read_as("username", "mail", "", some), TOKEN_GOOD);
	assert_int_equal(read_as("username", "openid mail", "imap", some), TOKEN_GOOD);
	assert_int_equal(read_as("username", "openid mail", "imap", lists), TOKEN_GOOD);
	assert_int_equal(read_as("username", "mail admin", "", some), TOKEN_SCOPE);
	assert_int_equal(read_as("username", "mai", "", some), TOKEN_SCOPE);
	assert_int_equal(read_as("username", "", "im", some), TOKEN_SCOPE);
	assert_int_equal(read_as("username", "", "smtp", lists), TOKEN_SCOPE);
	assert_int_equal(read_as("username", "mail", "", "{\"active\":true,\"username\":\"bob\"}"), TOKEN_SCOPE);
	assert_string_equal(got.user, "");
}

static void
test_which_urls_are_asked(void **state)
{
	static const struct {
		const char *url;
		bool asked, literal;
	} rows[] = {
		{ "https://issuer.test/introspect", true, false },
		{ "http://issuer.test/introspect", false, false },
		{ "http://localhost:8080/introspect", true, true },
		{ "http://127.0.0.1:8080/introspect", true, true },
		{ "http://[::1]:8080/introspect", true, true },
		{ "http://192.0.2.1/introspect", false, true },
		{ "http://[2001:db8::1]/introspect", false, true },
		{ "https://[2001:db8::1]/introspect", true, true },
		{ "https://who:secret@issuer.test/", false, false },
		{ "ftp://localhost/", false, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct ask_target t = { .port = 0 };
		struct fail why = { .text = "" };
		bool asked = ask_target(&t, span_str(rows[i].url), &why);

		if (asked != rows[i].asked || (asked && t.literal != rows[i].literal))
			fail_msg("%s: %d, literal %d: %s", rows[i].url, asked, t.literal, why.text);
	}
}

/* RFC 6749 2.3.1. */
static void
test_whom_they_are_asked_as(void **state)
{
	static const char secret[] = "a-b._~c:d+e %\xc3\xa9";
	struct ask_target t = { .port = 0 };
	char all[400];

	(void)state;
	assert_true(ask_credentials(&t, SPAN("urn:mail"), span_str(secret)));
	assert_string_equal(t.credentials, "urn%3Amail:a-b._~c%3Ad%2Be%20%25%C3%A9");
	memset(all, ':', sizeof(all));
	assert_true(ask_credentials(&t, span_of(all, 100), span_of(all, sizeof(all)))); /* what the options allow */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_which_urls_are_asked),
		cmocka_unit_test(test_whom_they_are_asked_as),
		cmocka_unit_test(test_a_good_one),
		cmocka_unit_test(test_what_is_not_good),
		cmocka_unit_test(test_what_says_nothing),
		cmocka_unit_test(test_scope_and_audience),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
