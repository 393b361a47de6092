/* SPDX-License-Identifier: ISC
 *
 * Files of a Maildir in the order in which they become messages, and what it
 * stands on: numbers in order without comparing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/radix.h"
#include "store/found.h"

enum { ITEMS = 3000, ROUNDS = 40 };

static uint64_t seed = 88172645463325252ull;

static uint64_t
random_u64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void
numbers_in_order(uint64_t mask, uint64_t offset)
{
	struct radix_item *items = calloc(ITEMS, 2 * sizeof *items), *got;
	uint64_t *keys = calloc(ITEMS, sizeof *keys);
	char *seen = calloc(ITEMS, 1);

	assert_true(items && keys && seen);
	for (size_t i = 0; i < ITEMS; i++)
		items[i] = (struct radix_item){ keys[i] = (random_u64() & mask) + offset, i };
	got = radix_sort(items, ITEMS);
	for (size_t i = 0; i < ITEMS; i++) {
		assert_true(got[i].key == keys[got[i].at] && !seen[got[i].at]);
		seen[got[i].at] = 1;
		if (i)
			assert_true(got[i - 1].key < got[i].key || (got[i - 1].key == got[i].key && got[i - 1].at < got[i].at));
	}
	free(items);
	free(keys);
	free(seen);
}

static void
test_numbers_of_any_size(void **state)
{
	struct radix_item two[4] = { { UINT64_MAX, 0 }, { 0, 1 } }, *got;

	(void)state;
	for (unsigned bits = 1; bits < 64; bits++)
		numbers_in_order((1ull << bits) - 1, random_u64() & (UINT64_MAX >> 1));
	numbers_in_order(0, 7);
	numbers_in_order(UINT64_MAX, 0);
	got = radix_sort(two, 2);
	assert_true(got[0].at == 1 && got[1].at == 0);
	assert_ptr_equal(radix_sort(two, 0), two);
}

/* Of few times and few names, so that all that can be equal is. */
static size_t
make_name(char *out, size_t size)
{
	static const char *const behind[] = { "", ",S=5:2,S", ",S=5,W=7:2,FSab", ",S=4294967295,W=4294967296:2,", ",S=5,W=7:2,SF", ",S=5,W=7:1," };
	uint64_t kind = random_u64();
	unsigned time = 1700000000u + (unsigned)(random_u64() % 50), n = (unsigned)(random_u64() % 40);

	if (kind % 16 == 0)
		return (size_t)snprintf(out, size, "x%u", n);
	if (kind % 16 == 1)
		return (size_t)snprintf(out, size, "%u", time);
	if (kind % 16 == 2)
		return (size_t)snprintf(out, size, "99999999999999999999999.M%u", n);
	if (kind % 16 == 3) /* the same time, in other digits */
		return (size_t)snprintf(out, size, "0%u.M%uP1.host", time, n);
	if (kind % 16 == 4)
		return (size_t)snprintf(out, size, "%u:2,S.%u", time, n);
	return (size_t)snprintf(out, size, "%u.M%uP1.host%s", time, n, behind[kind / 16 % 6]);
}

static int
model(const void *a, const void *b)
{
	struct span x = span_str(a), y = span_str(b);
	uint64_t tx = found_time(x), ty = found_time(y);

	return tx < ty ? -1 : tx > ty ? 1 : span_cmp(x, y);
}

static void
test_files_by_time_and_name(void **state)
{
	char(*names)[64] = calloc(ITEMS, sizeof *names);

	(void)state;
	assert_non_null(names);
	for (unsigned round = 0; round < ROUNDS; round++) {
		size_t n = (size_t)(random_u64() % (round % 2 ? ITEMS : 20));
		struct maildir_name parts, again;
		struct found f;

		found_init(&f);
		for (size_t i = 0; i < n; i++) {
			struct span name = span_of(names[i], make_name(names[i], sizeof names[i]));

			assert_true(maildir_name_parse(name, &parts) && found_add(&f, name, &parts, name.n % 2));
		}
		assert_true(found_sort(&f));
		if (n)
			qsort(names, n, sizeof *names, model);
		for (size_t i = 0; i < n; i++) {
			struct span name = found_name(&f, &f.files[i]);

			assert_true(span_eq(name, span_str(names[i])) && span_eq(found_next(&f, &f.files[i]), name));
			assert_true(f.files[i].in_new == name.n % 2 && !f.files[i].used);
			found_parts(&f, &f.files[i], &again);
			assert_true(maildir_name_parse(name, &parts) && span_eq(parts.base, again.base) && span_eq(parts.odd, again.odd));
			assert_true(parts.letters == again.letters && parts.size == again.size && parts.vsize == again.vsize);
		}
		found_free(&f);
	}
	free(names);
}

static void
test_a_time_is_a_number_before_a_dot(void **state)
{
	(void)state;
	assert_int_equal(found_time(SPAN("1700000000.M1P2.host")), 1700000000);
	assert_int_equal(found_time(SPAN("1700000000")), 1700000000);
	assert_int_equal(found_time(SPAN("1700000000:2,S")), 1700000000);
	assert_int_equal(found_time(SPAN("1700000000:2,S.x")), 1700000000);
	assert_int_equal(found_time(SPAN("17x.M1")), 0);
	assert_int_equal(found_time(SPAN("99999999999999999999999.M1")), 0);
	assert_int_equal(found_time(SPAN(".M1")), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers_of_any_size),
		cmocka_unit_test(test_files_by_time_and_name),
		cmocka_unit_test(test_a_time_is_a_number_before_a_dot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
