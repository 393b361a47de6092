/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "daemons/dnsd/hosts.h"
#include "daemons/dnsd/rdata.h"

static struct arena arena;

static int
setup(void **state)
{
	(void)state;
	arena_init(&arena, 1 << 20);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

#define assert_span(s, literal) assert_true(span_eq((s), SPAN(literal)))

static void
test_mx(void **state)
{
	struct rdata r;

	(void)state;
	assert_true(rdata_parse(DNS_MX, SPAN("\0\12\2MX\1a\4test\0"), &arena, &r));
	assert_int_equal(r.preference, 10);
	assert_span(r.name, "mx.a.test");
	assert_true(rdata_parse(DNS_MX, SPAN("\0\0\0"), &arena, &r));
	assert_int_equal(r.name.n, 0);
	assert_false(rdata_parse(DNS_MX, SPAN("\0\0"), &arena, &r));
	assert_false(rdata_parse(DNS_MX, SPAN("\0\12\2mx\1a\4test"), &arena, &r));
	assert_false(rdata_parse(DNS_MX, SPAN("\0\12\2mx\0more"), &arena, &r));
}

static void
test_names_that_are_none(void **state)
{
	struct rdata r;
	char wire[400];
	size_t n = 0;

	(void)state;
	assert_false(rdata_parse(DNS_PTR, SPAN("\0"), &arena, &r));
	assert_false(rdata_parse(DNS_PTR, SPAN("\3a b\0"), &arena, &r));
	assert_false(rdata_parse(DNS_PTR, SPAN("\3a.b\0"), &arena, &r));
	assert_false(rdata_parse(DNS_PTR, SPAN("\3a\nb\0"), &arena, &r));
	assert_false(rdata_parse(DNS_PTR, SPAN("\300\14"), &arena, &r)); /* compressed */
	while (n < 260) { /* longer than a name may be */
		wire[n++] = 3;
		memcpy(wire + n, "abc", 3);
		n += 3;
	}
	wire[n++] = 0;
	assert_false(rdata_parse(DNS_PTR, span_of(wire, n), &arena, &r));
}

static void
test_address_text_tlsa(void **state)
{
	struct rdata r;

	(void)state;
	assert_true(rdata_parse(DNS_ADDR, SPAN("\1\2\3\4"), &arena, &r));
	assert_true(rdata_parse(DNS_ADDR, SPAN("0123456789abcdef"), &arena, &r));
	assert_false(rdata_parse(DNS_ADDR, SPAN("\1\2\3"), &arena, &r));
	assert_true(rdata_parse(DNS_TXT, SPAN("\2ab\0\1c"), &arena, &r));
	assert_span(r.data, "abc");
	assert_true(rdata_parse(DNS_TXT, SPAN("\0"), &arena, &r));
	assert_int_equal(r.data.n, 0);
	assert_false(rdata_parse(DNS_TXT, SPAN("\3ab"), &arena, &r));
	assert_true(rdata_parse(DNS_TLSA, SPAN("\3\1\1x"), &arena, &r));
	assert_false(rdata_parse(DNS_TLSA, SPAN("\3\1\1"), &arena, &r));
	assert_true(rdata_parse(DNS_CNAME, SPAN("\2MX\1a\4test\0"), &arena, &r));
	assert_true(span_eq(r.name, SPAN("mx.a.test")));
	assert_false(rdata_parse(DNS_CNAME, SPAN("\0"), &arena, &r));
}

static void
test_reverse(void **state)
{
	char text[RDATA_NAME];

	(void)state;
	assert_true(rdata_reverse(SPAN("192.0.2.1"), text));
	assert_string_equal(text, "1.2.0.192.in-addr.arpa");
	assert_true(rdata_reverse(SPAN("2001:db8::1"), text));
	assert_string_equal(text, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
	assert_false(rdata_reverse(SPAN("mx.test"), text));
}

static void
test_hosts(void **state)
{
	struct hosts h;
	const struct hosts_address *a;

	(void)state;
	hosts_init(&h, SPAN("# comment\n10.0.0.1\tMail.Test mail # me\n10.0.0.2 mail.test\r\nfe80::1%eth0 bad\nnonsense\n10.0.0.1 mail.test\n"));
	a = hosts_addresses(&h, SPAN("mail.TEST"));
	assert_non_null(a);
	assert_span(a->bytes, "\12\0\0\1");
	assert_non_null(a->next);
	assert_null(a->next->next);
	assert_span(hosts_name(&h, SPAN("\12\0\0\1")), "mail.test");
	assert_null(hosts_addresses(&h, SPAN("bad")));
	assert_non_null(hosts_addresses(&h, SPAN("localhost")));
	assert_non_null(hosts_addresses(&h, SPAN("LOCALHOST"))->next);
	assert_span(hosts_name(&h, SPAN("\177\0\0\1")), "localhost");
	hosts_free(&h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_mx, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names_that_are_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_address_text_tlsa, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reverse, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hosts, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
