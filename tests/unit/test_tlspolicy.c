/* SPDX-License-Identifier: ISC
 *
 * What the administrator wants, what a domain publishes and what the DNS says
 * of a host, made into a plan.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemons/remoted/tlspolicy.h"

static void
test_entries(void **state)
{
	static const struct {
		const char *value;
		bool ok;
		enum conf_word level;
		size_t names;
	} rows[] = {
		{ "none", true, CONF_TLS_NONE, 0 },
		{ "dane-only", true, CONF_TLS_DANE_ONLY, 0 },
		{ "secure match=.example.org:example.net|x.test servername=nexthop protocols=>=TLSv1.3", true, CONF_TLS_SECURE, 3 },
		{ "  verify   match=a.test:  ", true, CONF_TLS_VERIFY, 1 },
		{ "encrypt protocols=>=TLSv1.2", true, CONF_TLS_ENCRYPT, 0 },
		{ "", false, CONF_TLS_NONE, 0 },
		{ "Encrypt", false, CONF_TLS_NONE, 0 },
		{ "encrypt match=a.test", false, CONF_TLS_NONE, 0 },
		{ "encrypt protocols=TLSv1", false, CONF_TLS_NONE, 0 },
		{ "encrypt ciphers=high", false, CONF_TLS_NONE, 0 },
		{ "verify match=a:b:c:d:e:f:g:h:i", false, CONF_TLS_NONE, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct tlspolicy p;
		struct fail why = { .text = "" };
		bool ok = tlspolicy_parse(span_str(rows[i].value), &p, &why);

		if (ok != rows[i].ok || (ok && (p.level != rows[i].level || p.nmatch != rows[i].names || !p.by_table)))
			fail_msg("%s: %d %s", rows[i].value, ok, why.text);
		assert_true(ok || why.text[0]);
	}
}

static void
test_patterns_of_mta_sts(void **state)
{
	static const struct {
		const char *host;
		bool listed;
	} rows[] = {
		{ "mx.a.test", true }, { "MX.A.test", true }, { "one.b.test", true }, { "b.test", false }, { "one.two.b.test", false },
		{ "mx.a.test.evil", false }, { "xmx.a.test", false }, { ".b.test", false }, { "", false }, { "b", false },
	};
	struct tlspolicy_sts sts;

	(void)state;
	assert_true(tlspolicy_sts_parse(SPAN("enforce mx.a.test *.b.test"), &sts));
	assert_int_equal(sts.mode, STS_ENFORCE);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (tlspolicy_sts_has(&sts, span_str(rows[i].host)) != rows[i].listed)
			fail_msg("%s", rows[i].host);
	assert_false(tlspolicy_sts_parse(SPAN("strict mx.a.test"), &sts));
	assert_int_equal(sts.mode, STS_NONE);
}

struct row {
	enum conf_word level;
	bool by_table;
	const char *sts; /* as stsd answers, or NULL */
	enum tlspolicy_dane dane;
	/* what is expected */
	bool skip;
	enum tls_level becomes;
	enum tlsplan_kind kind;
	const char *names; /* with blanks between */
};

#define HOST "mx.a.test"
static const struct row rows[] = {
	{ CONF_TLS_NONE, false, NULL, DANE_UNASKED, false, TLS_LEVEL_NONE, TLSPLAN_NO_POLICY, HOST },
	{ CONF_TLS_NONE, false, "enforce " HOST, DANE_UNASKED, false, TLS_LEVEL_NONE, TLSPLAN_NO_POLICY, HOST },
	{ CONF_TLS_MAY, false, NULL, DANE_UNASKED, false, TLS_LEVEL_MAY, TLSPLAN_NO_POLICY, HOST },
	{ CONF_TLS_MAY, false, "enforce *.a.test", DANE_UNASKED, false, TLS_LEVEL_VERIFY, TLSPLAN_STS, HOST },
	{ CONF_TLS_MAY, true, "enforce *.b.test", DANE_UNASKED, false, TLS_LEVEL_MAY, TLSPLAN_NO_POLICY, HOST },
	{ CONF_TLS_MAY, false, "enforce *.b.test", DANE_UNASKED, true, TLS_LEVEL_MAY, TLSPLAN_STS, HOST },
	{ CONF_TLS_MAY, false, "testing *.b.test", DANE_UNASKED, false, TLS_LEVEL_MAY, TLSPLAN_STS, HOST },
	{ CONF_TLS_MAY, false, "none", DANE_UNASKED, false, TLS_LEVEL_MAY, TLSPLAN_NO_POLICY, HOST },
	{ CONF_TLS_ENCRYPT, false, "testing *.a.test", DANE_UNASKED, false, TLS_LEVEL_ENCRYPT, TLSPLAN_STS, HOST },
	{ CONF_TLS_ENCRYPT, false, "enforce *.a.test", DANE_UNASKED, false, TLS_LEVEL_VERIFY, TLSPLAN_STS, HOST },
	{ CONF_TLS_DANE, false, NULL, DANE_INSECURE, false, TLS_LEVEL_MAY, TLSPLAN_NO_POLICY, HOST },
	{ CONF_TLS_DANE, false, NULL, DANE_NONE, false, TLS_LEVEL_MAY, TLSPLAN_NO_POLICY, HOST },
	{ CONF_TLS_DANE, false, NULL, DANE_USELESS, false, TLS_LEVEL_ENCRYPT, TLSPLAN_TLSA, HOST },
	{ CONF_TLS_DANE, false, NULL, DANE_USABLE, false, TLS_LEVEL_DANE, TLSPLAN_TLSA, "real.a.test a.test" },
	{ CONF_TLS_DANE, false, NULL, DANE_FAILED, true, TLS_LEVEL_MAY, TLSPLAN_TLSA, HOST },
	{ CONF_TLS_DANE, false, "enforce *.a.test", DANE_INSECURE, false, TLS_LEVEL_VERIFY, TLSPLAN_STS, HOST },
	{ CONF_TLS_DANE, false, "enforce *.a.test", DANE_USELESS, false, TLS_LEVEL_VERIFY, TLSPLAN_STS, HOST },
	{ CONF_TLS_DANE, false, "enforce *.a.test", DANE_USABLE, false, TLS_LEVEL_DANE, TLSPLAN_TLSA, "real.a.test a.test" },
	{ CONF_TLS_DANE, false, "enforce *.b.test", DANE_USABLE, true, TLS_LEVEL_DANE, TLSPLAN_STS, "real.a.test a.test" },
	{ CONF_TLS_DANE, false, "enforce *.a.test", DANE_FAILED, true, TLS_LEVEL_MAY, TLSPLAN_TLSA, HOST },
	{ CONF_TLS_DANE, false, "testing *.a.test", DANE_USABLE, false, TLS_LEVEL_DANE, TLSPLAN_TLSA, "real.a.test a.test" },
	{ CONF_TLS_DANE_ONLY, false, NULL, DANE_INSECURE, true, TLS_LEVEL_DANE, TLSPLAN_NO_POLICY, HOST },
	{ CONF_TLS_DANE_ONLY, false, NULL, DANE_NONE, true, TLS_LEVEL_DANE, TLSPLAN_NO_POLICY, HOST },
	{ CONF_TLS_DANE_ONLY, false, NULL, DANE_USELESS, true, TLS_LEVEL_ENCRYPT, TLSPLAN_TLSA, HOST },
	{ CONF_TLS_DANE_ONLY, false, NULL, DANE_USABLE, false, TLS_LEVEL_DANE, TLSPLAN_TLSA, "real.a.test a.test" },
	{ CONF_TLS_VERIFY, false, "enforce *.b.test", DANE_UNASKED, false, TLS_LEVEL_VERIFY, TLSPLAN_NO_POLICY, HOST },
	{ CONF_TLS_SECURE, false, NULL, DANE_UNASKED, false, TLS_LEVEL_VERIFY, TLSPLAN_NO_POLICY, "a.test .a.test" },
};

static void
check_host(const struct row *r, size_t number, enum tlswish wish, const struct tlspolicy_host *traits)
{
	static const struct tls_tlsa record = { 3, 1, 1, SPAN_INIT("x") };
	struct tlspolicy p = { .level = r->level, .by_table = r->by_table, .wish = wish };
	struct tlspolicy_host host = *traits;
	struct tlspolicy_sts sts = { STS_NONE, SPAN_NONE };
	struct tlsplan plan;
	struct arena arena;
	struct buf names;

	host.name = SPAN(HOST);
	host.base = SPAN("real.a.test");
	host.dane = r->dane;
	host.tlsa = &record;
	host.ntlsa = 1;

	arena_init(&arena, 4096);
	buf_init(&names, 1000);
	assert_true(!r->sts || tlspolicy_sts_parse(span_str(r->sts), &sts));
	tlspolicy_plan(&p, &sts, &host, SPAN("a.test"), &arena, &plan);
	for (size_t i = 0; i < plan.nnames; i++)
		buf_printf(&names, "%s%.*s", i ? " " : "", SPAN_ARG(plan.names[i]));
	if (plan.skip != r->skip || plan.level != r->becomes || plan.kind != r->kind || !span_eq(buf_span(&names), span_str(r->names)))
		fail_msg("row %zu: skip %d level %d kind %d names %.*s (%s)", number, plan.skip, (int)plan.level, (int)plan.kind, SPAN_ARG(buf_span(&names)), plan.why);
	assert_true(!plan.skip || (plan.result && plan.why[0]));
	assert_int_equal(plan.testing, plan.kind == TLSPLAN_STS && sts.mode == STS_TESTING);
	buf_free(&names);
	arena_free(&arena);
}

static void
check(const struct row *r, size_t number, enum tlswish wish, bool secure)
{
	check_host(r, number, wish, &(struct tlspolicy_host){ .secure = secure });
}

/* RFC 8689 4.2.1: what a message requires; and 4.2.2: what TLS-Required: No does away with. */
static void
test_what_senders_want(void **state)
{
	static const struct {
		enum tlswish wish;
		bool secure;
		struct row row;
	} wishes[] = {
		{ TLSWISH_REQUIRED, true, { CONF_TLS_NONE, false, NULL, DANE_UNASKED, false, TLS_LEVEL_VERIFY, TLSPLAN_NO_POLICY, HOST } },
		{ TLSWISH_REQUIRED, true, { CONF_TLS_MAY, true, NULL, DANE_UNASKED, false, TLS_LEVEL_VERIFY, TLSPLAN_NO_POLICY, HOST } },
		{ TLSWISH_REQUIRED, false, { CONF_TLS_MAY, true, NULL, DANE_UNASKED, false, TLS_LEVEL_VERIFY, TLSPLAN_NO_POLICY, "a.test .a.test" } },
		{ TLSWISH_REQUIRED, false, { CONF_TLS_MAY, false, "enforce *.a.test", DANE_INSECURE, false, TLS_LEVEL_VERIFY, TLSPLAN_STS, HOST } },
		{ TLSWISH_REQUIRED, false, { CONF_TLS_MAY, false, "testing *.a.test", DANE_INSECURE, false, TLS_LEVEL_VERIFY, TLSPLAN_STS, "a.test .a.test" } },
		{ TLSWISH_REQUIRED, true, { CONF_TLS_MAY, false, NULL, DANE_USABLE, false, TLS_LEVEL_DANE, TLSPLAN_TLSA, "real.a.test a.test" } },
		{ TLSWISH_REQUIRED, true, { CONF_TLS_DANE, false, NULL, DANE_USELESS, false, TLS_LEVEL_VERIFY, TLSPLAN_TLSA, HOST } },
		{ TLSWISH_REQUIRED, true, { CONF_TLS_DANE, false, NULL, DANE_FAILED, true, TLS_LEVEL_MAY, TLSPLAN_TLSA, HOST } },
		{ TLSWISH_REQUIRED, false, { CONF_TLS_VERIFY, false, NULL, DANE_UNASKED, false, TLS_LEVEL_VERIFY, TLSPLAN_NO_POLICY, HOST } },
		{ TLSWISH_OPTIONAL, true, { CONF_TLS_DANE, false, "enforce *.b.test", DANE_UNASKED, false, TLS_LEVEL_MAY, TLSPLAN_NO_POLICY, HOST } },
		{ TLSWISH_OPTIONAL, true, { CONF_TLS_MAY, false, "enforce *.b.test", DANE_UNASKED, false, TLS_LEVEL_MAY, TLSPLAN_NO_POLICY, HOST } },
		{ TLSWISH_OPTIONAL, true, { CONF_TLS_ENCRYPT, false, "enforce *.b.test", DANE_UNASKED, false, TLS_LEVEL_ENCRYPT, TLSPLAN_NO_POLICY, HOST } },
		{ TLSWISH_OPTIONAL, true, { CONF_TLS_DANE_ONLY, false, NULL, DANE_NONE, true, TLS_LEVEL_DANE, TLSPLAN_NO_POLICY, HOST } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wishes) / sizeof(*wishes); i++)
		check(&wishes[i].row, 1000 + i, wishes[i].wish, wishes[i].secure);
}

/* RFC 7672 2.2.1 */
static void
test_unsigned_mx_records_that_name_signed_hosts(void **state)
{
	static const struct row encrypt[] = {
		{ CONF_TLS_DANE, false, NULL, DANE_USABLE, false, TLS_LEVEL_ENCRYPT, TLSPLAN_TLSA, HOST },
		{ CONF_TLS_DANE, false, "enforce *.a.test", DANE_USABLE, false, TLS_LEVEL_VERIFY, TLSPLAN_STS, HOST },
		{ CONF_TLS_DANE, false, NULL, DANE_NONE, false, TLS_LEVEL_MAY, TLSPLAN_NO_POLICY, HOST },
		{ CONF_TLS_DANE, false, NULL, DANE_FAILED, true, TLS_LEVEL_MAY, TLSPLAN_TLSA, HOST },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(encrypt) / sizeof(*encrypt); i++)
		check_host(&encrypt[i], 2000 + i, TLSWISH_NONE, &(struct tlspolicy_host){ .unsigned_mx = true, .encrypt_only = true });
}

static void
test_the_strictest_applies(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		check(&rows[i], i, TLSWISH_NONE, false);
}

/* Whatever DNS and web say, a level that the administrator requires is not undercut. */
static void
test_nothing_weakens_what_is_required(void **state)
{
	static const char *const texts[] = { NULL, "none", "testing *.a.test", "enforce *.a.test", "enforce *.b.test" };
	static const enum tls_level least[] = { [CONF_TLS_NONE] = TLS_LEVEL_NONE, [CONF_TLS_MAY] = TLS_LEVEL_MAY, [CONF_TLS_ENCRYPT] = TLS_LEVEL_ENCRYPT,
		[CONF_TLS_DANE] = TLS_LEVEL_MAY, [CONF_TLS_DANE_ONLY] = TLS_LEVEL_DANE, [CONF_TLS_VERIFY] = TLS_LEVEL_VERIFY, [CONF_TLS_SECURE] = TLS_LEVEL_VERIFY };

	(void)state;
	for (enum conf_word level = CONF_TLS_NONE; level <= CONF_TLS_SECURE; level++)
		for (enum tlspolicy_dane dane = DANE_UNASKED; dane <= DANE_FAILED; dane++)
			for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
				struct tlspolicy p = { .level = level };
				struct tlspolicy_host host = { .name = SPAN(HOST), .base = SPAN(HOST), .dane = dane };
				struct tlspolicy_sts sts = { STS_NONE, SPAN_NONE };
				struct tlsplan plan;
				struct arena arena;

				if (tlspolicy_wants_dane(&p) == (dane == DANE_UNASKED))
					continue;
				arena_init(&arena, 4096);
				(void)tlspolicy_sts_parse(span_str(texts[i]), &sts);
				tlspolicy_plan(&p, &sts, &host, SPAN("a.test"), &arena, &plan);
				if (!plan.skip && plan.level < least[level])
					fail_msg("level %d dane %d sts %zu: %d", (int)level, (int)dane, i, (int)plan.level);
				arena_free(&arena);
			}
}

static void
test_names_where_there_are_none(void **state)
{
	struct tlspolicy p = { .level = CONF_TLS_SECURE };
	struct tlspolicy_host host = { .name = SPAN("/run/lmtp"), .base = SPAN("/run/lmtp") };
	struct tlspolicy_sts sts = { STS_NONE, SPAN_NONE };
	struct tlsplan plan;
	struct arena arena;

	(void)state;
	arena_init(&arena, 4096);
	tlspolicy_plan(&p, &sts, &host, SPAN_NONE, &arena, &plan);
	assert_true(plan.skip);
	arena_free(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entries),
		cmocka_unit_test(test_patterns_of_mta_sts),
		cmocka_unit_test(test_the_strictest_applies),
		cmocka_unit_test(test_unsigned_mx_records_that_name_signed_hosts),
		cmocka_unit_test(test_what_senders_want),
		cmocka_unit_test(test_nothing_weakens_what_is_required),
		cmocka_unit_test(test_names_where_there_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
