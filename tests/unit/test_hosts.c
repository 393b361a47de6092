/* SPDX-License-Identifier: ISC */
#include "front/hosts.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void
counts_connections_of_one_address(void **state)
{
	struct netaddr a, a2, b, b2, c;
	struct map hosts;
	struct host *one, *two, *other, *neighbour, *stranger;

	(void)state;
	assert_true(netaddr_parse(SPAN("192.0.2.1"), 1000, &a));
	assert_true(netaddr_parse(SPAN("192.0.2.1"), 2000, &a2));
	assert_true(netaddr_parse(SPAN("2001:db8::1"), 1000, &b));
	map_init(&hosts);
	one = hosts_enter(&hosts, &a);
	two = hosts_enter(&hosts, &a2); /* another port is the same client */
	other = hosts_enter(&hosts, &b);
	assert_ptr_equal(one, two);
	assert_int_equal(one->connections, 2);
	assert_int_equal(other->connections, 1);
	assert_true(netaddr_parse(SPAN("2001:db8::ffff:1"), 1000, &b2));
	assert_true(netaddr_parse(SPAN("2001:db8:0:1::1"), 1000, &c));
	neighbour = hosts_enter(&hosts, &b2); /* a /64 is one client's */
	stranger = hosts_enter(&hosts, &c);
	assert_ptr_equal(neighbour, other);
	assert_ptr_not_equal(stranger, other);
	hosts_leave(&hosts, &neighbour);
	hosts_leave(&hosts, &stranger);
	hosts_leave(&hosts, &one);
	assert_null(one);
	assert_int_equal(two->connections, 1);
	hosts_leave(&hosts, &one); /* twice is nothing */
	assert_int_equal(two->connections, 1);
	hosts_leave(&hosts, &two);
	hosts_leave(&hosts, &other);
	assert_int_equal(hosts.count, 0);
	map_free(&hosts);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(counts_connections_of_one_address) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
