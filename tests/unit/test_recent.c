/* SPDX-License-Identifier: ISC
 *
 * What happened a moment ago: for how long it counts, and how many are known.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/recent.h"

enum { KNOWN = 4096, TTL = 1000 };

static struct span
key_of(unsigned n)
{
	static unsigned key;

	key = n;
	return span_of(&key, sizeof(key));
}

static void
test_it_counts_for_its_time(void **state)
{
	struct recent p;

	(void)state;
	recent_init(&p, KNOWN);
	assert_false(recent_within(&p, key_of(1), TTL, 0));
	recent_note(&p, key_of(1), 5000);
	assert_true(recent_within(&p, key_of(1), TTL, 5000 + TTL - 1));
	assert_false(recent_within(&p, key_of(1), TTL, 5000 + TTL));
	assert_false(recent_within(&p, key_of(1), 0, 5000));
	assert_false(recent_within(&p, key_of(2), TTL, 5000));
	recent_note(&p, key_of(1), 9000);
	assert_true(recent_within(&p, key_of(1), TTL, 9500));
	assert_int_equal(p.map.count, 1);
	recent_free(&p);
}

static void
test_what_is_longest_ago_is_forgotten_first(void **state)
{
	struct recent p;

	(void)state;
	recent_init(&p, KNOWN);
	for (unsigned i = 0; i < KNOWN; i++)
		recent_note(&p, key_of(i), 1);
	recent_note(&p, key_of(0), 2); /* once more: it is the latest now */
	recent_note(&p, key_of(KNOWN), 3);
	assert_int_equal(p.map.count, KNOWN);
	assert_true(recent_within(&p, key_of(0), TTL, 3));
	assert_false(recent_within(&p, key_of(1), TTL, 3));
	assert_true(recent_within(&p, key_of(2), TTL, 3));
	assert_true(recent_within(&p, key_of(KNOWN), TTL, 3));
	recent_free(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_counts_for_its_time),
		cmocka_unit_test(test_what_is_longest_ago_is_forgotten_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
