/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <string.h>

#include "daemons/authd/cache.h"
#include "daemons/authd/guard.h"

static const struct span alice = SPAN_INIT("alice@a.test"), home = SPAN_INIT("192.0.2.1"), evil = SPAN_INIT("203.0.113.9");

static void
test_guessing_gets_slower_and_is_forgotten(void **state)
{
	struct guard g;
	int64_t now = 1000, first, wait = 0;

	(void)state;
	guard_init(&g, 2000);
	first = guard_failed(&g, alice, evil, now);
	assert_int_equal(first, 2000);
	assert_int_equal(guard_before(&g, alice, evil, now), 0);
	for (int i = 0; i < 100; i++)
		wait = guard_failed(&g, alice, evil, now += 10);
	assert_int_equal(wait, 8000);
	assert_int_equal(guard_before(&g, alice, evil, now), 15000);
	/* Another address of the same network does not help, nor another account. */
	assert_true(guard_before(&g, SPAN("bob@a.test"), SPAN("203.0.113.77"), now) > 0);
	assert_int_equal(guard_before(&g, SPAN("bob@a.test"), home, now), 0);
	assert_int_equal(guard_before(&g, alice, evil, now + 60 * 60 * 1000), 0);
	guard_free(&g);
}

static void
test_an_owner_is_not_locked_out(void **state)
{
	struct guard g;
	int64_t now = 1000;

	(void)state;
	guard_init(&g, 2000);
	guard_succeeded(&g, alice, home, now);
	for (int i = 0; i < 1000; i++)
		(void)guard_failed(&g, alice, evil, now);
	assert_int_equal(guard_before(&g, alice, home, now), 0);
	assert_int_equal(guard_before(&g, alice, SPAN("192.0.2.200"), now), 0);
	assert_true(guard_before(&g, alice, SPAN("198.51.100.1"), now) > 0);
	guard_free(&g);
}

static void
test_memory_is_bounded(void **state)
{
	struct guard g;
	char name[32];

	(void)state;
	guard_init(&g, 1);
	for (int i = 0; i < GUARD_ENTRIES + 100; i++) {
		(void)snprintf(name, sizeof(name), "u%d@a.test", i);
		(void)guard_failed(&g, span_str(name), evil, 1);
		guard_succeeded(&g, span_str(name), SPAN("2001:db8::1"), 1);
	}
	assert_int_equal(g.accounts.map.count, GUARD_ENTRIES);
	assert_int_equal(g.known.map.count, GUARD_ENTRIES);
	assert_int_equal(g.networks.map.count, 1);
	/* Names longer than any user's. */
	{
		char text[1000];

		memset(text, 'x', sizeof(text));
		guard_succeeded(&g, span_of(text, sizeof(text)), span_of(text, sizeof(text)), 1);
		(void)guard_failed(&g, span_of(text, sizeof(text)), span_of(text, sizeof(text)), 1);
	}
	guard_free(&g);
}

static void
test_cache_knows_exactly_what_was_put(void **state)
{
	struct cache c;
	struct span stored = SPAN("$6$hash"), password = SPAN("wonderland");
	char name[32];

	(void)state;
	assert_true(cache_init(&c));
	assert_false(cache_has(&c, alice, password, stored, 0));
	cache_put(&c, alice, password, stored, 0);
	assert_true(cache_has(&c, alice, password, stored, 1));
	assert_false(cache_has(&c, alice, SPAN("Wonderland"), stored, 1));
	assert_false(cache_has(&c, alice, password, SPAN("$6$other"), 1)); /* password changed */
	assert_false(cache_has(&c, SPAN("bob@a.test"), password, stored, 1));
	assert_false(cache_has(&c, alice, SPAN("wonderland$6$"), SPAN("hash"), 1)); /* no sliding */
	assert_true(cache_has(&c, alice, password, stored, CACHE_MS - 1));
	assert_false(cache_has(&c, alice, password, stored, CACHE_MS));
	assert_int_equal(c.map.count, 0);
	for (int i = 0; i < CACHE_ENTRIES + 10; i++) {
		(void)snprintf(name, sizeof(name), "u%d@a.test", i);
		cache_put(&c, span_str(name), password, stored, 0);
	}
	assert_int_equal(c.map.count, CACHE_ENTRIES);
	cache_free(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guessing_gets_slower_and_is_forgotten),
		cmocka_unit_test(test_an_owner_is_not_locked_out),
		cmocka_unit_test(test_memory_is_bounded),
		cmocka_unit_test(test_cache_knows_exactly_what_was_put),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
