/* SPDX-License-Identifier: ISC
 *
 * mail_test: what the tests of common/mail share.
 */
#ifndef TESTS_MAIL_TEST_H
#define TESTS_MAIL_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"

#define assert_span(got, want) assert_span_(got, want, __LINE__)

static inline void
assert_span_(struct span got, const char *want, int line)
{
	if (want ? !span_eq(got, span_str(want)) : got.p != NULL)
		fail_msg("line %d: got \"%.*s\", want \"%s\"", line, SPAN_ARG(got), want ? want : "(nothing)");
}

#define assert_has(got, want)                                                                            \
	do {                                                                                                 \
		if (span_find(got, span_str(want)) == SIZE_MAX)                                                  \
			fail_msg("line %d: \"%s\" is not in:\n%.*s", __LINE__, want, SPAN_ARG(got));                 \
	} while (0)
#define assert_has_not(got, want)                                                                        \
	do {                                                                                                 \
		if (span_find(got, span_str(want)) != SIZE_MAX)                                                  \
			fail_msg("line %d: \"%s\" is in:\n%.*s", __LINE__, want, SPAN_ARG(got));                     \
	} while (0)

#endif
