/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "net/sasl.h"

static struct sasl s;
static struct fail why;

static bool
binding(void *arg, struct span type, struct buf *out)
{
	(void)arg;
	if (!span_eq(type, SPAN("tls-exporter")))
		return false;
	buf_puts(out, "EEEE");
	return true;
}

static struct sasl_offer offer = { .mechanisms = (1u << SASL_MECHANISM_COUNT) - 1, .closed = true, .binding = binding };

static enum sasl_result
begin(const char *mechanism, const char *initial)
{
	const struct sasl_mechanism *m = sasl_find(span_str(mechanism));

	assert_non_null(m);
	return sasl_begin(&s, m, &offer, initial != NULL, span_str(initial), &why);
}

/* Text in, as the client would send it. */
static const char *
base64(const char *text)
{
	static char out[2000];
	struct buf b;

	buf_init(&b, sizeof(out) - 1);
	base64_encode(&b, span_str(text));
	assert_true(span_cstr(buf_span(&b), out, sizeof(out)));
	buf_free(&b);
	return out;
}

static enum sasl_result
step(const char *text)
{
	return sasl_step(&s, span_str(base64(text)), &why);
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

#define PROOF ",p=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

static void
test_scram(void **state)
{
	(void)state;
	assert_int_equal(begin("SCRAM-SHA-256", NULL), SASL_CHALLENGE);
	assert_span(sasl_challenge(&s), "");
	assert_int_equal(step("n,a=bob,n=us=2Cer,r=abc"), SASL_BEGIN);
	assert_span(s.user, "us,er");
	assert_span(s.authzid, "bob");
	assert_span(s.bare, "n=us=2Cer,r=abc");
	assert_span(s.nonce, "abc");
	assert_int_equal(sasl_challenged(&s, SPAN("r=abcdef,s=c2FsdA==,i=4096"), &why), SASL_CHALLENGE);
	assert_span(sasl_challenge(&s), "cj1hYmNkZWYscz1jMkZzZEE9PSxpPTQwOTY=");
	assert_int_equal(step("c=bixhPWJvYiw=,r=abcdef" PROOF), SASL_PROVE); /* "n,a=bob," */
	assert_span(s.final.without, "c=bixhPWJvYiw=,r=abcdef");
	assert_int_equal(s.final.proof[0], 0xea);
	assert_int_equal(sasl_proved(&s, SPAN("signature"), &why), SASL_CHALLENGE);
	assert_span(sasl_challenge(&s), "dj1jMmxuYm1GMGRYSmw="); /* v=c2lnbmF0dXJl */
	assert_int_equal(step(""), SASL_DONE);
	assert_int_equal(step(""), SASL_BAD);
	/* Nothing comes out of its turn, whatever the caller does. */
	assert_int_equal(begin("SCRAM-SHA-256", base64("n,,n=user,r=abc")), SASL_BEGIN);
	assert_int_equal(step("c=biws,r=abc" PROOF), SASL_BAD);
	assert_int_equal(begin("SCRAM-SHA-256", base64("n,,n=user,r=abc")), SASL_BEGIN);
	assert_int_equal(sasl_proved(&s, SPAN("signature"), &why), SASL_BAD);
	assert_int_equal(sasl_challenged(&s, SPAN("r=abcdef,s=c2FsdA==,i=4096"), &why), SASL_CHALLENGE);
	assert_int_equal(sasl_challenged(&s, SPAN("r=abcdefg,s=c2FsdA==,i=4096"), &why), SASL_BAD);
	assert_int_equal(step("c=biws,r=abcdef" PROOF), SASL_PROVE);
	assert_int_equal(step(""), SASL_BAD); /* nobody has said that the proof is right */
	sasl_end(&s);
	assert_int_equal(begin("SCRAM-SHA-256", base64("n,,n=user,r=abc")), SASL_BEGIN);
	sasl_end(&s);
}

/* What is bound, and that nobody can talk a client out of it (RFC 5802 6). */
static void
test_scram_channel_binding(void **state)
{
	(void)state;
	assert_int_equal(begin("SCRAM-SHA-256-PLUS", base64("p=tls-exporter,,n=user,r=abc")), SASL_BEGIN);
	assert_int_equal(sasl_challenged(&s, SPAN("r=abcdef,s=c2FsdA==,i=4096"), &why), SASL_CHALLENGE);
	assert_int_equal(step("c=cD10bHMtZXhwb3J0ZXIsLEVFRUU=,r=abcdef" PROOF), SASL_PROVE);
	assert_int_equal(begin("SCRAM-SHA-256-PLUS", base64("p=tls-exporter,,n=user,r=abc")), SASL_BEGIN);
	assert_int_equal(sasl_challenged(&s, SPAN("r=abcdef,s=c2FsdA==,i=4096"), &why), SASL_CHALLENGE);
	assert_int_equal(step("c=cD10bHMtZXhwb3J0ZXIsLEZGRkY=,r=abcdef" PROOF), SASL_BAD); /* another channel */
	assert_int_equal(begin("SCRAM-SHA-256-PLUS", base64("p=tls-unique,,n=user,r=abc")), SASL_BAD);
	assert_int_equal(begin("SCRAM-SHA-256-PLUS", base64("n,,n=user,r=abc")), SASL_BAD);
	assert_int_equal(begin("SCRAM-SHA-256", base64("p=tls-exporter,,n=user,r=abc")), SASL_BAD);
	assert_int_equal(begin("SCRAM-SHA-256", base64("y,,n=user,r=abc")), SASL_BAD); /* we do offer it */
	offer.binding = NULL;
	assert_int_equal(begin("SCRAM-SHA-256", base64("y,,n=user,r=abc")), SASL_BEGIN);
	assert_int_equal(begin("SCRAM-SHA-256-PLUS", base64("p=tls-exporter,,n=user,r=abc")), SASL_BAD);
	offer.binding = binding;
	offer.mechanisms &= ~(1u << SASL_BIT_SCRAM_SHA_256_PLUS);
	assert_int_equal(begin("SCRAM-SHA-256", base64("y,,n=user,r=abc")), SASL_BEGIN); /* we did not */
	offer.mechanisms |= 1u << SASL_BIT_SCRAM_SHA_256_PLUS;
	sasl_end(&s);
}

static void
test_scram_refused(void **state)
{
	static const char *const finals[] = { "c=biws,r=abc" PROOF, "c=biws,r=abcdeg" PROOF, "c=eSws,r=abcdef" PROOF, "c=biw,r=abcdef" PROOF, "c=biws,r=abcdef", "" };
	char name[1200];

	(void)state;
	for (size_t i = 0; i < sizeof(finals) / sizeof(finals[0]); i++) {
		assert_int_equal(begin("SCRAM-SHA-256", base64("n,,n=user,r=abc")), SASL_BEGIN);
		assert_int_equal(sasl_challenged(&s, SPAN("r=abcdef,s=c2FsdA==,i=4096"), &why), SASL_CHALLENGE);
		if (step(finals[i]) != SASL_BAD)
			fail_msg("taken: %s", finals[i]);
	}
	assert_int_equal(begin("SCRAM-SHA-256", base64("n,,n=user,r=abc")), SASL_BEGIN);
	assert_int_equal(sasl_challenged(&s, SPAN("r=abc,s=c2FsdA==,i=4096"), &why), SASL_BAD); /* the sibling adds nothing */
	assert_int_equal(begin("SCRAM-SHA-256", base64("n,,n=user,r=abc")), SASL_BEGIN);
	assert_int_equal(sasl_challenged(&s, SPAN("nonsense"), &why), SASL_BAD);
	(void)snprintf(name, sizeof(name), "n,,n=%0*d,r=abc", SASL_NAME_MAX + 1, 0);
	assert_int_equal(begin("SCRAM-SHA-256", base64(name)), SASL_BAD);
	sasl_end(&s);
	assert_int_equal(sasl_challenged(&s, SPAN("r=abcdef,s=c2FsdA==,i=4096"), &why), SASL_BAD);
}

static void
lists(const char *wanted)
{
	struct buf b;

	buf_init(&b, 200);
	sasl_list(&b, "AUTH=", &offer);
	if (!span_eq(buf_span(&b), span_str(wanted)))
		fail_msg("got %.*s", SPAN_ARG(buf_span(&b)));
	buf_free(&b);
}

static void
test_list(void **state)
{
	static const struct span names[] = { SPAN_INIT("plain"), SPAN_INIT("no-such"), SPAN_INIT("Scram-Sha-256") };
	const struct sasl_offer before = offer;

	(void)state;
	lists("AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=PLAIN AUTH=LOGIN");
	offer.closed = false;
	lists("AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256");
	assert_false(sasl_offered(sasl_find(SPAN("PLAIN")), &offer));
	offer.binding = NULL;
	lists("AUTH=SCRAM-SHA-256");
	offer.closed = true;
	offer.mechanisms = sasl_set(names, 3);
	lists("AUTH=SCRAM-SHA-256 AUTH=PLAIN");
	offer = before;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_login),
		cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_scram),
		cmocka_unit_test(test_scram_channel_binding),
		cmocka_unit_test(test_scram_refused),
		cmocka_unit_test(test_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
