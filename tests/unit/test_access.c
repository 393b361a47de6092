/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/site.h"
#include "daemons/routed/access.h"
#include "mail/status.h"

static struct arena arena;
static struct rules *rules;
static struct access_verdict got;

static int
setup(void **state)
{
	(void)state;
	arena_init(&arena, 8 << 20);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	rules_free(&rules);
	arena_free(&arena);
	return 0;
}

static void
configure(const char *text)
{
	static struct conf_errors errors;
	const struct conf *conf = conf_parse(span_str(text), &arena, &errors);
	struct fail why;

	if (!conf)
		print_message("%u: %s\n", errors.items[0].line, errors.items[0].text);
	assert_non_null(conf);
	rules_free(&rules);
	rules = rules_new(conf, NULL, NULL, NULL, &why);
	assert_non_null(rules);
}

static struct access_question
question(void)
{
	return (struct access_question){ .client_addr = SPAN("192.0.2.77"), .client_name = SPAN("out.mail.example.net"),
		.helo = SPAN("helo.example.net"), .login = SPAN("alice@example.org"), .sender = SPAN("alice+shop@Example.NET"),
		.recipient = SPAN("bob@example.org") };
}

static const struct access_verdict *
check(void)
{
	struct access_question q = question();

	access_check(rules, &q, &arena, &got);
	return &got;
}

static void
refused(unsigned status, unsigned reply, const char *text)
{
	(void)check();
	assert_string_equal(status_get(got.status)->name, status_get(status)->name);
	assert_int_equal(got.reply, reply);
	assert_string_equal(arena_cstr(&arena, got.text), text);
}

static void
without_tables_nothing_is_said(void **state)
{
	(void)state;
	configure("");
	(void)check();
	assert_false(got.permit || got.status || got.note || got.hold || got.discard || got.broken);
	assert_int_equal(got.why.n, 0);
}

static void
every_key_of_a_client_is_looked_up(void **state)
{
	static const char *const keys[] = { "192.0.2.77", "192.0.2", "192.0", "192", "out.mail.example.net", ".mail.example.net",
		".example.net", ".net" };
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		snprintf(text, sizeof(text), "smtpd_client_access_maps = inline:{%s=REJECT}\n", keys[i]);
		configure(text);
		refused(STATUS_DENIED, 0, "Client host rejected: Access denied");
	}
	configure("smtpd_client_access_maps = inline:{192.0.2.7=REJECT, example.net=REJECT, mail.example.net=REJECT, .0.2.77=REJECT}\n");
	assert_int_equal(check()->status, 0);
}

static void
senders_belong_to_logins(void **state)
{
	static const struct {
		const char *login, *sender, *client;
		unsigned both, logins_only;
	} rows[] = {
		{ "alice@example.org", "alice@example.org", "192.0.2.1", 0, 0 },
		{ "alice@example.org", "ALICE+news@Example.ORG", "192.0.2.1", 0, 0 },
		{ "alice@example.org", "sales@example.org", "192.0.2.1", 0, 0 },
		{ "bob@example.org", "sales+x@example.org", "192.0.2.1", 0, 0 },
		{ "carol@example.org", "sales@example.org", "192.0.2.1", STATUS_SENDER_NOT_OWNED, STATUS_SENDER_NOT_OWNED },
		{ "carol@example.org", "any@list.example", "192.0.2.1", 0, 0 },
		{ "alice@example.org", "any@list.example", "192.0.2.1", STATUS_SENDER_NOT_OWNED, STATUS_SENDER_NOT_OWNED },
		{ "alice@example.org", "x@elsewhere.example", "192.0.2.1", STATUS_SENDER_NOT_OWNED, STATUS_SENDER_NOT_OWNED },
		{ "alice@example.org", "", "192.0.2.1", 0, 0 },
		{ "", "sales@example.org", "192.0.2.1", STATUS_SENDER_NOT_OWNED, 0 },
		{ "", "x@elsewhere.example", "192.0.2.1", 0, 0 },
		{ "", "sales@example.org", "local:1000", 0, 0 },
	};

	(void)state;
	for (int both = 0; both < 2; both++) {
		configure(both ? "reject_authenticated_sender_login_mismatch = yes\nreject_unauthenticated_sender_login_mismatch = yes\n"
				 "smtpd_sender_login_maps = inline:{sales@example.org={alice@example.org, Bob@Example.org}, @list.example=carol@example.org}\n"
			       : "reject_authenticated_sender_login_mismatch = yes\nsmtpd_sender_access_maps = inline:{<>=OK}\n"
				 "smtpd_sender_login_maps = inline:{sales@example.org={alice@example.org, Bob@Example.org}, @list.example=carol@example.org}\n");
		for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
			struct access_question q = question();

			q.login = span_str(rows[i].login);
			q.sender = span_str(rows[i].sender);
			q.client_addr = span_str(rows[i].client);
			access_check(rules, &q, &arena, &got);
			assert_int_equal(got.status, both ? rows[i].both : rows[i].logins_only);
			assert_int_equal(got.why.n > 0, got.status != 0 || (!both && !rows[i].sender[0]));
		}
	}
}

static void
verifying_is_wished_for_and_the_rest_is_asked(void **state)
{
	(void)state;
	configure("smtpd_client_access_maps = inline:{192.0=reject_unverified_sender}\n"
		  "smtpd_recipient_access_maps = inline:{example.org=REJECT_UNVERIFIED_RECIPIENT}\n");
	(void)check();
	assert_true(got.verify_sender && got.verify_recipient);
	assert_false(got.permit || got.status || got.note || got.broken);
	configure("smtpd_client_access_maps = inline:{192.0=REJECT_UNVERIFIED_SENDER}\nsmtpd_sender_access_maps = inline:{.NET=REJECT}\n");
	refused(STATUS_DENIED, 0, "Sender address rejected: Access denied");
}

static void
the_address_is_asked_before_the_name(void **state)
{
	(void)state;
	configure("smtpd_client_access_maps = inline:{192.0=OK, .example.net=REJECT}\n");
	assert_true(check()->permit);
}

static void
networks_of_ipv6_clients(void **state)
{
	struct access_question q = question();

	(void)state;
	configure("smtpd_client_access_maps = inline:{2001:db8=REJECT our own network}\n");
	q.client_addr = SPAN("2001:db8::25");
	access_check(rules, &q, &arena, &got);
	assert_int_equal(got.status, STATUS_DENIED);
	q.client_addr = SPAN("2001:db80::25");
	access_check(rules, &q, &arena, &got);
	assert_int_equal(got.status, 0);
}

static void
every_key_of_a_sender_is_looked_up(void **state)
{
	static const char *const keys[] = { "alice+shop@example.net", "alice@example.net", "example.net", ".net", "alice+shop@" };
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		snprintf(text, sizeof(text), "smtpd_sender_access_maps = inline:{%s=REJECT}\n", keys[i]);
		configure(text);
		refused(STATUS_DENIED, 0, "Sender address rejected: Access denied");
	}
}

static void
the_null_sender_has_a_key(void **state)
{
	struct access_question q = question();

	(void)state;
	configure("smtpd_sender_access_maps = inline:{<>=DEFER no reports now}\n");
	q.sender = SPAN("");
	access_check(rules, &q, &arena, &got);
	assert_int_equal(got.status, STATUS_DENIED_TEMP);
	assert_int_equal(check()->status, 0);
}

static void
helo_login_and_recipient_have_stages(void **state)
{
	(void)state;
	configure("smtpd_helo_access_maps = inline:{.example.net=REJECT}\n");
	refused(STATUS_DENIED, 0, "Helo name rejected: Access denied");
	configure("smtpd_login_access_maps = inline:{@example.org=REJECT}\n");
	refused(STATUS_DENIED, 0, "Login rejected: Access denied");
	configure("smtpd_recipient_access_maps = inline:{bob@=REJECT}\n");
	refused(STATUS_DENIED, 0, "Recipient address rejected: Access denied");
}

static void
ok_ends_the_questions_dunno_does_not(void **state)
{
	(void)state;
	configure("smtpd_client_access_maps = inline:{192.0.2.77=OK}\nsmtpd_sender_access_maps = inline:{example.net=REJECT}\n");
	assert_true(check()->permit && !got.status);
	configure("smtpd_client_access_maps = inline:{192.0.2.77=dunno, 192.0.2=REJECT}\n");
	assert_true(!check()->permit && !got.status);
	configure("smtpd_client_access_maps = inline:{192.0.2.77=DUNNO}\nsmtpd_sender_access_maps = inline:{example.net=REJECT}\n");
	assert_int_equal(check()->status, STATUS_DENIED);
}

static void
codes_and_texts_are_the_tables(void **state)
{
	(void)state;
	configure("smtpd_client_access_maps = inline:{192=554 Go away}\n");
	refused(STATUS_DENIED, 554, "Go away");
	configure("smtpd_client_access_maps = inline:{192=450 4.2.1 Not now}\n");
	refused(STATUS_MAILBOX_DISABLED_NOW, 450, "Not now");
	configure("smtpd_client_access_maps = inline:{192=REJECT 5.1.1 Nobody}\n");
	refused(STATUS_BAD_MAILBOX, 0, "Nobody");
	configure("smtpd_client_access_maps = inline:{192=DEFER}\n");
	refused(STATUS_DENIED_TEMP, 0, "Client host rejected: Access denied for now, try again later");
}

static void
actions_add_up_over_the_stages(void **state)
{
	(void)state;
	configure("smtpd_client_access_maps = inline:{192=HOLD}\n"
		  "smtpd_helo_access_maps = inline:{helo.example.net=PREPEND X-Seen: at the door}\n"
		  "smtpd_sender_access_maps = inline:{example.net=REDIRECT post@example.org}\n"
		  "smtpd_recipient_access_maps = inline:{example.org=PREPEND X-To: us}\n");
	(void)check();
	assert_true(got.hold && got.note && !got.status && !got.discard);
	assert_string_equal(arena_cstr(&arena, got.prepend), "X-Seen: at the door\r\nX-To: us\r\n");
	assert_string_equal(arena_cstr(&arena, got.redirect), "post@example.org");
	assert_true(span_find(got.why, SPAN("smtpd_client_access_maps inline:{...} 192: HOLD; smtpd_helo")) == 0);
	configure("smtpd_client_access_maps = inline:{192=WARN look}\nsmtpd_sender_access_maps = inline:{example.net=DISCARD}\n");
	assert_true(check()->discard && got.note);
}

/* "No sender but ours" as it is written for Postfix: @example.net alone is not asked about. */
static void
patterns_see_whole_addresses_and_names_only(void **state)
{
	static const char *const stages[] = { "client", "helo", "login", "sender", "recipient" };
	char name[] = "/tmp/test_access.XXXXXX", text[200];
	int fd = mkstemp(name);

	(void)state;
	assert_true(fd >= 0);
	dprintf(fd, "/^(?!192\\.0\\.2\\.77$|(alice.*|bob)@example|out\\.mail\\.|helo\\.)/ REJECT\n");
	close(fd);
	for (size_t i = 0; i < sizeof(stages) / sizeof(*stages); i++) {
		snprintf(text, sizeof(text), "smtpd_%s_access_maps = pcre:%s\n", stages[i], name);
		configure(text);
		assert_int_equal(check()->status, 0);
	}
	snprintf(text, sizeof(text), "reject_authenticated_sender_login_mismatch = yes\nsmtpd_sender_login_maps = pcre:%s\n", name);
	configure(text);
	assert_int_equal(check()->status, STATUS_SENDER_NOT_OWNED);
	assert_non_null(strstr(arena_cstr(&arena, got.why), "nobody there"));
	remove(name);
}

/* A mistake in a table neither loses mail nor opens the door. */
static void
values_nobody_can_obey_put_off(void **state)
{
	static const char *const values[] = { "REJEKT", "BCC eve@example.net", "PREPEND no field", "PREPEND X y: z", "REDIRECT not an address",
		"REDIRECT", "200 welcome", "5540 x" };
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		snprintf(text, sizeof(text), "smtpd_client_access_maps = inline:{192=%s}\n", values[i]);
		configure(text);
		(void)check();
		assert_int_equal(got.status, STATUS_MISCONFIGURED);
		assert_true(got.broken);
	}
}

static void
a_table_that_fails_puts_off(void **state)
{
	(void)state;
	configure("smtpd_client_access_maps = file:/nonexistent/table\n");
	assert_int_equal(check()->status, STATUS_MISCONFIGURED);
}

static void
dns_lists_are_read(void **state)
{
	static const char *const bad[] = { "", "*2", "=127.0.0.1", "list.test*x", "list.test*101", "list.test=127.0.0", "list.test=127.0.0.1.2",
		"list.test=127.0.0.[", "list.test=127.0.0.[]", "list.test=127.0.0.[4..2]", "list.test=127.0.0.256", "a b", "a..b", "list.test=" };
	struct conf_site s;
	struct fail why;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (conf_site_parse(span_str(bad[i]), &s, &why))
			print_message("taken: %s\n", bad[i]);
		assert_false(conf_site_parse(span_str(bad[i]), &s, &why));
	}
	assert_true(conf_site_parse(SPAN("list.test"), &s, &why));
	assert_int_equal(s.weight, 1);
	assert_true(conf_site_matches(&s, (const uint8_t[]){ 127, 0, 0, 2 }));
	assert_false(conf_site_matches(&s, (const uint8_t[]){ 192, 0, 2, 1 }));
	assert_true(conf_site_parse(SPAN("list.test=127.0.[0..3].[1;3;7..9]*-12"), &s, &why));
	assert_int_equal(s.weight, -12);
	assert_true(span_eq(s.zone, SPAN("list.test")));
	assert_true(conf_site_matches(&s, (const uint8_t[]){ 127, 0, 3, 8 }));
	assert_false(conf_site_matches(&s, (const uint8_t[]){ 127, 0, 4, 8 }));
	assert_false(conf_site_matches(&s, (const uint8_t[]){ 127, 0, 3, 4 }));
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(without_tables_nothing_is_said),
		T(every_key_of_a_client_is_looked_up),
		T(senders_belong_to_logins), T(the_address_is_asked_before_the_name), T(verifying_is_wished_for_and_the_rest_is_asked),
		T(networks_of_ipv6_clients),
		T(every_key_of_a_sender_is_looked_up),
		T(the_null_sender_has_a_key),
		T(helo_login_and_recipient_have_stages),
		T(ok_ends_the_questions_dunno_does_not),
		T(codes_and_texts_are_the_tables),
		T(actions_add_up_over_the_stages),
		T(patterns_see_whole_addresses_and_names_only),
		T(values_nobody_can_obey_put_off),
		T(a_table_that_fails_puts_off),
		T(dns_lists_are_read),
	};
#undef T
	return cmocka_run_group_tests(tests, NULL, NULL);
}
