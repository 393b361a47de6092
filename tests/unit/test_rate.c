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

/* Each option alone: which it is that says no, to how many of what, and whom it does not count. */
static void
each_limit_counts_what_it_says(void **state)
{
	static const struct {
		const char *option;
		bool login;            /* counts logins; else clients */
		unsigned taken[3]; /* of 9 first recipients, further ones, connections, with a limit of 2 */
	} rows[] = {
		{ "smtpd_client_connection_rate_limit", false, { 9, 9, 2 } },
		{ "smtpd_client_message_rate_limit", false, { 2, 9, 9 } },
		{ "smtpd_client_recipient_rate_limit", false, { 2, 2, 9 } },
		{ "smtpd_login_message_rate_limit", true, { 2, 9, 9 } },
		{ "smtpd_login_recipient_rate_limit", true, { 2, 2, 9 } },
	};
	static const uint8_t abouts[] = { RCPT_FIRST, RCPT_FURTHER, RCPT_CONNECTION };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct conf_errors errors = { .n = 0 };
		struct arena mem;
		const struct conf *conf;
		char text[100];

		arena_init(&mem, 1 << 24);
		(void)snprintf(text, sizeof(text), "%s = 2\nmyhostname = us.test\n", rows[i].option);
		conf = conf_parse(span_str(text), &mem, &errors);
		assert_non_null(conf);
		for (unsigned kind = 0; kind < 3; kind++) {
			unsigned taken = 0;
			struct ipc_rcpt_ask m = { .about = abouts[kind], .client_addr = SPAN("192.0.2.1"), .may_relay = rows[i].login };
			const char *no = NULL;
			struct rates r;

			rates_init(&r);
			m.sasl_user = rows[i].login ? SPAN("alice@us.test") : SPAN_NONE;
			while (taken < 9 && !(no = rate_exceeded(&r, conf, &m, 1000)))
				taken++;
			assert_int_equal(taken, rows[i].taken[kind]);
			if (no) { /* somebody else, and who is not counted so */
				assert_string_equal(no, rows[i].option);
				m.client_addr = SPAN("192.0.2.2");
				m.sasl_user = rows[i].login ? SPAN("bob@us.test") : SPAN_NONE;
				assert_null(rate_exceeded(&r, conf, &m, 1000));
				m.client_addr = SPAN("192.0.2.1");
				m.sasl_user = SPAN_NONE;
				m.may_relay = true; /* of mynetworks */
				assert_null(rate_exceeded(&r, conf, &m, 1000));
			}
			rates_free(&r);
		}
		arena_free(&mem);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_window_ends),
		cmocka_unit_test(keys_have_no_case_and_no_limit_counts_nothing),
		cmocka_unit_test(memory_is_bounded),
		cmocka_unit_test(each_limit_counts_what_it_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
