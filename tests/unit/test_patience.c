/* SPDX-License-Identifier: ISC
 *
 * Who has waited for the greeting: for how long it counts, and how many are known.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemons/smtpd/smtpd.h"

enum { KNOWN = 4096, TTL = 1000 };

static uint8_t *
key_of(unsigned n)
{
	static uint8_t key[16];

	memcpy(key, &n, sizeof(n));
	return key;
}

static void
test_a_wait_counts_for_its_time(void **state)
{
	struct patience p;

	(void)state;
	patience_init(&p);
	assert_false(patience_shown(&p, key_of(1), 0, TTL));
	patience_show(&p, key_of(1), 5000);
	assert_true(patience_shown(&p, key_of(1), 5000 + TTL - 1, TTL));
	assert_false(patience_shown(&p, key_of(1), 5000 + TTL, TTL));
	assert_false(patience_shown(&p, key_of(1), 5000, 0));
	assert_false(patience_shown(&p, key_of(2), 5000, TTL));
	patience_show(&p, key_of(1), 9000);
	assert_true(patience_shown(&p, key_of(1), 9500, TTL));
	assert_int_equal(p.by_key.count, 1);
	patience_free(&p);
}

static void
test_who_waited_longest_ago_is_forgotten_first(void **state)
{
	struct patience p;

	(void)state;
	patience_init(&p);
	for (unsigned i = 0; i < KNOWN; i++)
		patience_show(&p, key_of(i), 1);
	patience_show(&p, key_of(0), 2); /* once more: it is the latest now */
	patience_show(&p, key_of(KNOWN), 3);
	assert_int_equal(p.by_key.count, KNOWN);
	assert_true(patience_shown(&p, key_of(0), 3, TTL));
	assert_false(patience_shown(&p, key_of(1), 3, TTL));
	assert_true(patience_shown(&p, key_of(2), 3, TTL));
	assert_true(patience_shown(&p, key_of(KNOWN), 3, TTL));
	patience_free(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_wait_counts_for_its_time),
		cmocka_unit_test(test_who_waited_longest_ago_is_forgotten_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
