/* SPDX-License-Identifier: ISC
 *
 * What tools print: no foreign control characters, lines that keep to a width.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tools/common/term.h"

static void
test_control_characters(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "plain", "plain" }, { "a\033[2Jb", "a?[2Jb" }, { "\x7f\t\x01", "???" }, { "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f" },
		{ "csi \xc2\x9b" "31m", "csi ?31m" }, { "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf out;

		buf_init(&out, 100);
		term_put(&out, span_str(cases[i].in));
		assert_true(span_eq(buf_span(&out), span_str(cases[i].out)));
		buf_free(&out);
	}
}

static void
test_width(void **state)
{
	static const struct {
		const char *line;
		unsigned width;
		const char *out;
	} cases[] = {
		{ "0123456789", 0, "0123456789\n" }, { "0123456789", 10, "0123456789\n" }, { "0123456789", 9, "012345...\n" },
		{ "\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc", 5, "\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\n" },
		{ "\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc", 4, "\xc3\xbc...\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = NULL;
		size_t n = 0;
		FILE *f = open_memstream(&text, &n);

		assert_non_null(f);
		term_line(f, span_str(cases[i].line), cases[i].width);
		(void)fclose(f);
		assert_string_equal(text, cases[i].out);
		free(text);
	}
}

static void
test_sizes_and_ages(void **state)
{
	char text[16];

	(void)state;
	assert_string_equal(term_size(0, text), "0");
	assert_string_equal(term_size(999, text), "999");
	assert_string_equal(term_size(1000, text), "1.0k");
	assert_string_equal(term_size(4200, text), "4.1k");
	assert_string_equal(term_size(12 * 1024 * 1024, text), "12M");
	assert_string_equal(term_size(UINT64_MAX, text), "16E");
	assert_string_equal(term_age(99, text), "99s");
	assert_string_equal(term_age(100, text), "1m");
	assert_string_equal(term_age(7200, text), "2h");
	assert_string_equal(term_age(5 * 86400, text), "5d");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_control_characters),
		cmocka_unit_test(test_width),
		cmocka_unit_test(test_sizes_and_ages),
	};

	return cmocka_run_group_tests_name("term", tests, NULL, NULL);
}
