/* SPDX-License-Identifier: ISC
 *
 * What the tests of common/conf share: a text that must be good, or bad at a
 * place; setup() and teardown() for cmocka.
 */
#ifndef CONF_FIXTURE_H
#define CONF_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "conf/conf.h"

struct fixture {
	struct arena arena;
	struct conf_errors errors;
};
static struct fixture f;

static inline int
setup(void **state)
{
	(void)state;
	arena_init(&f.arena, CONF_ARENA_MAX);
	return 0;
}

static inline int
teardown(void **state)
{
	(void)state;
	arena_free(&f.arena);
	return 0;
}

static inline const struct conf *
good(const char *text)
{
	const struct conf *conf = conf_parse(span_str(text), &f.arena, &f.errors);

	if (!conf)
		print_message("%u:%u: %s\n", f.errors.items[0].line, f.errors.items[0].column, f.errors.items[0].text);
	assert_non_null(conf);
	return conf;
}

/* The first error stands at this position and says this. */
static inline void
bad(const char *text, unsigned line, unsigned column, const char *says)
{
	assert_null(conf_parse(span_str(text), &f.arena, &f.errors));
	assert_true(f.errors.n > 0);
	if (!strstr(f.errors.items[0].text, says))
		print_message("%s\n", f.errors.items[0].text);
	assert_non_null(strstr(f.errors.items[0].text, says));
	assert_int_equal(f.errors.items[0].line, line);
	assert_int_equal(f.errors.items[0].column, column);
}

#endif
