/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/saslprep.h"

static void
test_what_it_makes(void **state)
{
	/* RFC 4013 3, and what its tables say */
	static const struct {
		const char *given, *made; /* NULL: none */
	} rows[] = {
		{ "I\xc2\xadX", "IX" },                /* soft hyphen: to nothing */
		{ "user", "user" },
		{ "USER", "USER" },
		{ "\xc2\xaa", "a" },                   /* U+00AA by NFKC */
		{ "\xe2\x85\xa8", "IX" },              /* U+2168 */
		{ "\x07", NULL },                      /* prohibited */
		{ "\xd8\xa7" "1", NULL },              /* RFC 3454 6: right to left, and does not end so */
		{ "a\xc2\xa0" "b", "a b" },            /* no-break space: a space */
		{ "a\xe3\x80\x80" "b", "a b" },        /* ideographic space */
		{ "caf" "e\xcc\x81", "caf\xc3\xa9" },  /* e, accent: one letter */
		{ "caf\xc3\xa9", "caf\xc3\xa9" },
		{ "\xc3\xa9\x7f", NULL },
		{ "\xee\x80\x80", NULL },              /* private use */
		{ "\xc2\xad", NULL },                  /* nothing is left */
		{ "", NULL },
		{ "\xff", NULL },                      /* not UTF-8 */
		{ "\xc3", NULL },
		{ "\xed\xa0\x80", NULL },              /* a surrogate */
		{ "\xc0\xaf", NULL },                  /* longer than it may be */
		{ "\xc8\xa1", "\xc8\xa1" },            /* U+0221, unassigned in Unicode 3.2 */
	};
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool made = saslprep(span_str(rows[i].given), &out);

		if (made != (rows[i].made != NULL) || (made && !span_eq(buf_span(&out), span_str(rows[i].made))))
			fail_msg("row %zu: %s", i, made ? "another text" : "nothing");
		assert_true(made || buf_len(&out) == 0);
		buf_reset(&out);
	}
	assert_false(saslprep(span_of("\xc3\xa9\0x", 4), &out));
	buf_free(&out);
}

static void
test_what_has_no_form_counts_as_given(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, SASLPREP_MAX);
	assert_true(span_eq(saslprep_or_given(SPAN("\xff"), &out), SPAN("\xff")));
	assert_true(span_eq(saslprep_or_given(SPAN("\xe2\x85\xa8"), &out), SPAN("IX")));
	assert_true(span_eq(saslprep_or_given(SPAN("user"), &out), SPAN("user")));
	buf_free(&out);
}

static void
test_the_longest(void **state)
{
	char most[SASLPREP_MAX + 1];
	struct buf out;

	(void)state;
	for (size_t i = 0; i < sizeof(most); i++)
		most[i] = "\xef\xb7\xba"[i % 3]; /* U+FDFA: 18 code points */
	buf_init(&out, 65536);
	assert_true(saslprep(span_of(most, SASLPREP_MAX / 3 * 3), &out));
	assert_int_equal(buf_len(&out), SASLPREP_MAX / 3 * 33);
	assert_false(saslprep(span_of(most, SASLPREP_MAX + 1), &out));
	buf_free(&out);
	buf_init(&out, SASLPREP_MAX); /* no room for it: as given */
	assert_int_equal(saslprep_or_given(span_of(most, 999), &out).n, 999);
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_it_makes),
		cmocka_unit_test(test_what_has_no_form_counts_as_given),
		cmocka_unit_test(test_the_longest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
