/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "net/scram.h"
#include "net/scram_server.h"
#include "table/scramkey.h"

#define assert_span(sp, text) assert_true(span_eq((sp), span_str(text)))

/* RFC 7677 3 */
#define NONCE "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define FIRST "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
#define CHALLENGE "r=" NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define FINAL "c=biws,r=" NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define SIGNATURE "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

static struct fail why;

static struct scramkey
key_of(const char *password)
{
	struct scramkey key;
	struct buf salt;

	buf_init(&salt, 64);
	assert_true(base64_decode(&salt, SPAN("W22ZaJ0SNY7soEsUEjb6gQ==")));
	scramkey_make(span_str(password), buf_span(&salt), 4096, &key);
	buf_free(&salt);
	return key;
}

static void
test_the_example_of_rfc7677(void **state)
{
	struct scramkey key = key_of("pencil");
	struct scram_first first;
	struct scram_final final;
	struct buf names, message, text;
	uint8_t signature[SCRAMKEY_SIZE];

	(void)state;
	buf_init(&names, 1000);
	buf_init(&message, 1000);
	buf_init(&text, 100);
	assert_non_null(buf_room(&names, 1000));
	assert_true(scram_parse_first(SPAN(FIRST), &names, &first, &why));
	assert_span(first.user, "user");
	assert_span(first.header, "n,,");
	assert_span(first.nonce, "rOprNGfwEbeRWgbNEkqO");
	assert_true(scram_parse_final(SPAN(FINAL), &final, &why));
	assert_span(final.nonce, NONCE);
	assert_span(final.binding, "biws");
	assert_span(scram_server_nonce(SPAN(CHALLENGE)), NONCE);
	buf_printf(&message, "%.*s,%s,%.*s", SPAN_ARG(first.bare), CHALLENGE, SPAN_ARG(final.without));
	assert_true(scramkey_check(&key, buf_span(&message), final.proof, signature));
	base64_encode(&text, span_of(signature, sizeof(signature)));
	assert_span(buf_span(&text), SIGNATURE);
	final.proof[31] ^= 1;
	assert_false(scramkey_check(&key, buf_span(&message), final.proof, signature));
	final.proof[31] ^= 1;
	buf_putc(&message, 'x');
	assert_false(scramkey_check(&key, buf_span(&message), final.proof, signature));
	buf_free(&names);
	buf_free(&message);
	buf_free(&text);
}

static void
test_keys_as_text(void **state)
{
	static const char *const bad[] = { "", "SCRAM-SHA-256", "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==",
		"SCRAM-SHA-1$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
		"SCRAM-SHA-256$0:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
		"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4g==:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=" };
	struct scramkey key = key_of("pencil"), again;
	struct buf text;

	(void)state;
	buf_init(&text, SCRAMKEY_TEXT_MAX);
	scramkey_put(&key, &text);
	/* The values that other servers store for this example, too. */
	assert_span(buf_span(&text),
	    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
	assert_true(scramkey_parse(buf_span(&text), &again));
	assert_int_equal(again.iterations, 4096);
	assert_int_equal(again.nsalt, 16);
	assert_memory_equal(again.stored, key.stored, SCRAMKEY_SIZE);
	assert_memory_equal(again.server, key.server, SCRAMKEY_SIZE);
	buf_free(&text);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (scramkey_parse(span_str(bad[i]), &again))
			fail_msg("taken: %s", bad[i]);
}

static void
test_our_client_against_our_server(void **state)
{
	static const char *const passwords[] = { "pencil", "", "p,=\xc3\xbc", "a much longer password than the block of SHA-256, which is hashed before it becomes a key" };
	static const struct scram_binding bound = { .type = SPAN_INIT("tls-exporter"), .data = SPAN_INIT("0123456789") };
	struct scram_client c;
	struct scramkey key;
	struct scram_first first;
	struct scram_final final;
	struct buf names, out, message;
	uint8_t signature[SCRAMKEY_SIZE];

	(void)state;
	buf_init(&names, 4000);
	buf_init(&out, 4000);
	buf_init(&message, 8000);
	assert_non_null(buf_room(&names, 4000));
	for (size_t i = 0; i < sizeof(passwords) / sizeof(passwords[0]); i++) {
		buf_reset(&names);
		buf_reset(&out);
		buf_reset(&message);
		key = key_of(passwords[i]);
		assert_true(scram_client_first(&c, SPAN("a,b=c"), SPAN("rOprNGfwEbeRWgbNEkqO"), i % 2 ? &bound : NULL, &out));
		assert_true(scram_parse_first(buf_span(&out), &names, &first, &why));
		assert_span(first.user, "a,b=c");
		buf_printf(&message, "%.*s,%s,", SPAN_ARG(first.bare), CHALLENGE);
		buf_reset(&out);
		assert_true(scram_client_final(&c, span_str(passwords[i]), SPAN(CHALLENGE), &out, &why));
		assert_true(scram_parse_final(buf_span(&out), &final, &why));
		assert_span(final.binding, i % 2 ? "cD10bHMtZXhwb3J0ZXIsLDAxMjM0NTY3ODk=" : "biws");
		buf_put(&message, final.without);
		assert_true(scramkey_check(&key, buf_span(&message), final.proof, signature));
		buf_reset(&out);
		buf_puts(&out, "v=");
		base64_encode(&out, span_of(signature, sizeof(signature)));
		assert_true(scram_client_verify(&c, buf_span(&out)));
		assert_false(scram_client_verify(&c, SPAN("v=" SIGNATURE "AAAA")));
		scram_client_end(&c);
	}
	buf_free(&names);
	buf_free(&out);
	buf_free(&message);
}

static void
test_first_messages(void **state)
{
	static const char *const good[] = { "n,,n=user,r=x", "y,,n=u,r=x,ext=1", "p=tls-exporter,,n=u,r=x", "n,a=admin=2Cx,n=u=3D,r=!~" };
	static const char *const bad[] = { "", "n", "n,", "n,,", "n,,n=user", "n,,r=x", "n,,n=,r=x", "n,,n=user,r=", "x,,n=user,r=x", "n,b=x,n=user,r=x",
		"n,a=,n=user,r=x", "p=,,n=user,r=x", "p=tls exporter,,n=user,r=x", "p,,n=user,r=x", "n,,m=x,n=user,r=x", "n,,n=us=er,r=x", "n,,n=user=2,r=x",
		"n,,n=user,r=a b", "n,,n=user,r=\xc3\xbc", "n,,n=us\ner,r=x", "n,,n=user,x=y,r=x", "nn,,n=user,r=x" };
	struct scram_first first;
	struct buf names;
	char nonce[SCRAM_NONCE_MAX + 64];

	(void)state;
	buf_init(&names, 1000);
	assert_non_null(buf_room(&names, 1000));
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!scram_parse_first(span_str(good[i]), &names, &first, &why))
			fail_msg("refused: %s: %s", good[i], why.text);
	assert_span(first.authzid, "admin,x");
	assert_span(first.user, "u=");
	assert_span(first.header, "n,a=admin=2Cx,");
	assert_true(scram_parse_first(SPAN("p=tls-exporter,,n=u,r=x"), &names, &first, &why));
	assert_span(first.binding, "tls-exporter");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (scram_parse_first(span_str(bad[i]), &names, &first, &why))
			fail_msg("taken: %s", bad[i]);
	(void)snprintf(nonce, sizeof(nonce), "n,,n=u,r=%0*d", SCRAM_NONCE_MAX, 0);
	assert_true(scram_parse_first(span_str(nonce), &names, &first, &why));
	(void)snprintf(nonce, sizeof(nonce), "n,,n=u,r=%0*d", SCRAM_NONCE_MAX + 1, 0);
	assert_false(scram_parse_first(span_str(nonce), &names, &first, &why));
	buf_free(&names);
}

static void
test_final_messages(void **state)
{
	static const char *const bad[] = { "", "c=biws,r=x", "c=biws,r=x,p=", "c=biws,r=x,p=AAAA", "r=x,c=biws,p=" SIGNATURE, "c=biws,p=" SIGNATURE,
		"c=biws,r=,p=" SIGNATURE, "c=biws,r=x,p=" SIGNATURE ",x=y", "c=biws,r=x,p=!" SIGNATURE, "c=biws,r=a b,p=" SIGNATURE, "p=" SIGNATURE };
	struct scram_final final;

	(void)state;
	assert_true(scram_parse_final(SPAN("c=biws,r=x,ext=1,p=" SIGNATURE), &final, &why));
	assert_span(final.without, "c=biws,r=x,ext=1");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (scram_parse_final(span_str(bad[i]), &final, &why))
			fail_msg("taken: %s", bad[i]);
	assert_span(scram_server_nonce(SPAN("s=x,r=y")), "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_example_of_rfc7677),
		cmocka_unit_test(test_keys_as_text),
		cmocka_unit_test(test_our_client_against_our_server),
		cmocka_unit_test(test_first_messages),
		cmocka_unit_test(test_final_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
