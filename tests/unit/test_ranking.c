/* SPDX-License-Identifier: ISC
 *
 * Texts as numbers: the same for the same text, in the order of the texts,
 * whatever came when.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemons/mailboxd/fold.h"
#include "daemons/mailboxd/ranking.h"

enum { TEXTS = 2000, TEXT_SIZE = 24, CAP = 1 << 24 };

static uint32_t seed = 20261122;

static uint32_t
random_below(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

/* Short ones over few letters, so that many are the same, begin others, or are empty. */
static size_t
make_text(char *out)
{
	size_t n = random_below(6);

	for (size_t i = 0; i < n; i++)
		out[i] = "abz_\xc3\xa4"[random_below(6)];
	return n;
}

static void
test_numbers_order_as_texts_do(void **state)
{
	static char texts[TEXTS][TEXT_SIZE];
	static size_t lengths[TEXTS];
	static uint32_t numbers[TEXTS];
	struct ranking r;
	size_t n = 0;

	(void)state;
	ranking_init(&r, CAP);
	while (n < TEXTS) {
		size_t more = 1 + random_below(n ? 30 : 300);
		const uint32_t *ranks;

		for (; more && n < TEXTS; more--, n++) {
			lengths[n] = make_text(texts[n]);
			numbers[n] = ranking_number(&r, span_of(texts[n], lengths[n]));
			assert_true(numbers[n]);
		}
		ranks = ranking_ranks(&r);
		assert_non_null(ranks);
		for (size_t k = 0; k < 3000; k++) {
			size_t i = random_below((uint32_t)n), j = random_below((uint32_t)n);
			struct span a = span_of(texts[i], lengths[i]), b = span_of(texts[j], lengths[j]);
			uint32_t x = ranks[numbers[i]], y = ranks[numbers[j]];

			assert_int_equal(numbers[i] == numbers[j], span_eq(a, b));
			assert_int_equal(x < y ? -1 : x > y, fold_compare(a, b));
		}
	}
	ranking_free(&r);
}

static void
test_there_may_be_no_room(void **state)
{
	static const char long_text[10000];
	struct ranking r;
	uint32_t number = 1;
	unsigned n = 0;
	char text[16];

	(void)state;
	ranking_init(&r, 8192);
	assert_int_equal(ranking_number(&r, SPAN("first")), 1);
	assert_int_equal(ranking_number(&r, span_of(long_text, sizeof long_text)), 0);
	for (; number && n < 10000; n++)
		number = ranking_number(&r, span_of(text, (size_t)snprintf(text, sizeof text, "%u", n)));
	assert_true(!number && n > 10);
	assert_int_equal(ranking_number(&r, SPAN("first")), 1);
	assert_non_null(ranking_ranks(&r));
	ranking_free(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers_order_as_texts_do),
		cmocka_unit_test(test_there_may_be_no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
