/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "net/cidr.h"

static struct netaddr
addr(const char *text, uint16_t port)
{
	struct netaddr a;

	assert_true(netaddr_parse(span_str(text), port, &a));
	return a;
}

static void
test_text_is_canonical(void **state)
{
	static const struct {
		const char *in, *text, *with_port, *literal;
	} cases[] = {
		{ "192.0.2.1", "192.0.2.1", "192.0.2.1:25", "[192.0.2.1]" },
		{ "2001:DB8:0:0:0:0:0:1", "2001:db8::1", "[2001:db8::1]:25", "[IPv6:2001:db8::1]" },
		{ "::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1:25", "[192.0.2.1]" },
	};
	char text[NETADDR_TEXT];
	struct buf b;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct netaddr a = addr(cases[i].in, 25);

		(void)netaddr_text(&a, text);
		assert_string_equal(text, cases[i].text);
		(void)netaddr_text_port(&a, text);
		assert_string_equal(text, cases[i].with_port);
		buf_init(&b, 100);
		netaddr_put_literal(&b, &a);
		assert_true(span_eq(buf_span(&b), span_str(cases[i].literal)));
		buf_free(&b);
		assert_int_equal(netaddr_port(&a), 25);
	}
}

static void
test_what_is_no_address(void **state)
{
	static const char *const bad[] = { "", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "host", "::1%lo", "[::1]", "1.2.3.4 ", ":::" };
	struct netaddr a;
	char path[200];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(netaddr_parse(span_str(bad[i]), 0, &a));
	memset(path, 'x', sizeof(path));
	assert_false(netaddr_unix(span_of(path, sizeof(path)), &a));
	assert_false(netaddr_unix(SPAN(""), &a));
	assert_false(netaddr_of(path, 1, &a));
	assert_false(netaddr_of(path, 16, &a));
	a = addr("::1", 0);
	assert_false(netaddr_of(&a.u, sizeof(a.u.in6) - 1, &a));
}

static void
test_mapped_counts_as_ipv4(void **state)
{
	struct netaddr four = addr("127.1.2.3", 1), six = addr("::ffff:127.1.2.3", 1), un;
	uint8_t a[16], b[16];

	(void)state;
	assert_true(netaddr_eq(&four, &six));
	assert_true(netaddr_loopback(&four) && netaddr_loopback(&six));
	netaddr_network(&four, 24, 64, a);
	netaddr_network(&six, 24, 64, b);
	assert_memory_equal(a, b, 16);
	assert_int_equal(a[15], 0);
	assert_int_equal(a[14], 2);
	six = addr("2001:db8:1:2:3::4", 0);
	assert_false(netaddr_loopback(&six));
	netaddr_network(&six, 24, 56, a);
	assert_int_equal(a[6], 0);
	assert_int_equal(a[7], 0);
	assert_true(netaddr_unix(SPAN("/run/x"), &un));
	assert_true(netaddr_loopback(&un));
	assert_false(netaddr_eq(&un, &four));
}

static void
test_networks(void **state)
{
	struct arena mem;
	struct cidr_list l;
	struct cidr c;
	struct fail why;
	struct netaddr a;

	(void)state;
	arena_init(&mem, 65536);
	assert_true(cidr_list_parse(SPAN("!10.1.0.0/16, 10.0.0.0/8 [::1]/128\t192.0.2.7"), &mem, &l, &why));
	assert_int_equal(l.count, 4);
	a = addr("10.2.3.4", 0);
	assert_true(cidr_list_match(&l, &a));
	a = addr("10.1.3.4", 0);
	assert_false(cidr_list_match(&l, &a));
	a = addr("::ffff:192.0.2.7", 0);
	assert_true(cidr_list_match(&l, &a));
	a = addr("192.0.2.8", 0);
	assert_false(cidr_list_match(&l, &a));
	a = addr("::1", 0);
	assert_true(cidr_list_match(&l, &a));
	assert_true(cidr_list_parse(SPAN(" , "), &mem, &l, &why));
	assert_int_equal(l.count, 0);
	assert_true(cidr_parse(SPAN("0.0.0.0/0"), &c, &why));
	a = addr("2001:db8::1", 0);
	assert_false(cidr_match(&c, &a)); /* all of IPv4 is not all */
	assert_true(cidr_parse(SPAN("::/0"), &c, &why));
	assert_true(cidr_match(&c, &a));
	a = addr("192.0.2.8", 0);
	assert_false(cidr_match(&c, &a)); /* nor is all of IPv6 */
	assert_false(cidr_parse(SPAN("10.0.0.1/8"), &c, &why));
	assert_false(cidr_parse(SPAN("10.0.0.0/33"), &c, &why));
	assert_false(cidr_parse(SPAN("10.0.0.0/"), &c, &why));
	assert_false(cidr_parse(SPAN("/8"), &c, &why));
	assert_false(cidr_parse(SPAN("example.org/8"), &c, &why));
	arena_free(&mem);
}

static void
check_split(const char *text, const char *host, uint16_t port, bool bracketed)
{
	struct span h;
	uint16_t p = 0;
	bool b;

	assert_true(hostport_split(span_str(text), &h, &p, &b));
	assert_true(span_eq(h, span_str(host)));
	assert_int_equal(p, port);
	assert_int_equal(b, bracketed);
}

static void
test_hosts_with_ports(void **state)
{
	static const char *const bad[] = { "", ":25", "[]", "[x", "[x]25", "x:", "x:0", "x:65536", "x:abc", "[x]:" };
	struct span h;
	uint16_t p;

	(void)state;
	check_split("mail.test", "mail.test", 0, false);
	check_split("mail.test:587", "mail.test", 587, false);
	check_split("[mail.test]", "mail.test", 0, true);
	check_split("[mail.test]:587", "mail.test", 587, true);
	check_split("[2001:db8::1]:25", "2001:db8::1", 25, true);
	check_split("2001:db8::1", "2001:db8::1", 0, false);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(hostport_split(span_str(bad[i]), &h, &p, NULL));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_is_canonical),
		cmocka_unit_test(test_what_is_no_address),
		cmocka_unit_test(test_mapped_counts_as_ipv4),
		cmocka_unit_test(test_networks),
		cmocka_unit_test(test_hosts_with_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
