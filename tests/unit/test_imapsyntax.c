/* SPDX-License-Identifier: ISC */
#include "net/imapsyntax.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct arena arena;

static struct imap_parse
parse(struct span text)
{
	arena_reset(&arena);
	return imap_parse_of(text, &arena);
}

static void
assert_span(struct span got, const char *want)
{
	if (!span_eq(got, span_str(want)))
		fail_msg("got \"%.*s\", want \"%s\"", SPAN_ARG(got), want);
}

static void
reads_a_plain_command_whatever_the_cut(void **state)
{
	struct span text = SPAN("a NOOP\r\nb");
	struct imap_reader r;
	struct imap_literal lit;

	(void)state;
	imap_reader_init(&r, 100);
	for (size_t n = 0; n < 8; n++)
		assert_int_equal(imap_read(&r, span_sub(text, 0, n), &lit), IMAP_READ_MORE);
	assert_int_equal(imap_read(&r, text, &lit), IMAP_READ_COMMAND);
	assert_int_equal(r.at, 8);
}

static void
stops_at_literals(void **state)
{
	struct span text = SPAN("a LOGIN {3}\r\nbob {4+}\r\nabcd\r\n");
	struct imap_reader r;
	struct imap_literal lit;

	(void)state;
	imap_reader_init(&r, 100);
	assert_int_equal(imap_read(&r, text, &lit), IMAP_READ_LITERAL);
	assert_int_equal(lit.size, 3);
	assert_true(lit.sync);
	assert_int_equal(lit.start, 8);
	assert_int_equal(r.at, 13);
	imap_reader_accept(&r, lit.size);
	assert_int_equal(imap_read(&r, span_sub(text, 0, 14), &lit), IMAP_READ_MORE);
	assert_int_equal(imap_read(&r, text, &lit), IMAP_READ_LITERAL);
	assert_int_equal(lit.size, 4);
	assert_false(lit.sync);
	imap_reader_accept(&r, lit.size);
	assert_int_equal(imap_read(&r, text, &lit), IMAP_READ_COMMAND);
	assert_int_equal(r.at, text.n);
}

static void
tells_literals_from_braces(void **state)
{
	static const char *const plain[] = { "a b{3}\r\n", "{3}\r\n", "a {}\r\n", "a {x}\r\n", "a {3+\r\n", "a 3}\r\n", "a {-3}\r\n" };
	struct imap_literal lit;
	struct imap_reader r;

	(void)state;
	for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
		imap_reader_init(&r, 100);
		assert_int_equal(imap_read(&r, span_str(plain[i]), &lit), IMAP_READ_COMMAND);
	}
	imap_reader_init(&r, 100);
	assert_int_equal(imap_read(&r, SPAN("a ~{3}\r\n"), &lit), IMAP_READ_LITERAL);
	assert_true(lit.binary);
	assert_int_equal(lit.start, 2);
	imap_reader_init(&r, 100);
	assert_int_equal(imap_read(&r, SPAN("a {99999999999999999999}\r\n"), &lit), IMAP_READ_LITERAL);
	assert_true(lit.too_big);
}

static void
bounds_the_text(void **state)
{
	struct imap_literal lit;
	struct imap_reader r;

	(void)state;
	imap_reader_init(&r, 10);
	assert_int_equal(imap_read(&r, SPAN("12345678\r\n"), &lit), IMAP_READ_COMMAND);
	imap_reader_init(&r, 10);
	assert_int_equal(imap_read(&r, SPAN("123456789\r\n"), &lit), IMAP_READ_TOOLONG);
	imap_reader_init(&r, 10);
	assert_int_equal(imap_read(&r, SPAN("12345678901"), &lit), IMAP_READ_TOOLONG);
	imap_reader_init(&r, 12);
	assert_int_equal(imap_read(&r, SPAN("a b {20}\r\n"), &lit), IMAP_READ_LITERAL);
	imap_reader_accept(&r, 20);
	assert_int_equal(imap_read(&r, SPAN("a b {20}\r\n01234567890123456789\r\n"), &lit), IMAP_READ_COMMAND);
}

static void
walks_tokens(void **state)
{
	struct imap_parse p = parse(SPAN("a1 atom \"q\\\"s\" {4}\r\nl t\n 42 \\Seen nil *%x (\r\n"));
	struct span s;
	uint32_t n = 0;

	(void)state;
	assert_true(imap_take_tag(&p, &s));
	assert_span(s, "a1");
	assert_true(imap_take_sp(&p) && imap_take_atom(&p, &s));
	assert_span(s, "atom");
	assert_true(imap_take_sp(&p) && imap_take_astring(&p, &s));
	assert_span(s, "q\"s");
	assert_true(imap_take_sp(&p) && imap_take_string(&p, &s));
	assert_span(s, "l t\n");
	assert_true(imap_take_sp(&p) && imap_take_u32(&p, 1, &n));
	assert_int_equal(n, 42);
	assert_true(imap_take_sp(&p) && imap_take_flag(&p, &s));
	assert_span(s, "\\Seen");
	assert_true(imap_take_sp(&p) && imap_take_nstring(&p, &s));
	assert_null(s.p);
	assert_true(imap_take_sp(&p) && imap_take_list_mailbox(&p, &s));
	assert_span(s, "*%x");
	assert_true(imap_take_sp(&p) && imap_take_char(&p, '('));
	assert_true(imap_take_end(&p));
}

static void
refuses_malformed_strings(void **state)
{
	static const char *const bad[] = { "\"open", "\"a\\b\"", "\"a\\", "{5}\r\nabc", "{5", "{5}abcde", "{x}\r\n", "~", "" };
	struct span s;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct imap_parse p = parse(span_str(bad[i]));

		assert_false(imap_take_string(&p, &s));
		assert_non_null(p.bad);
	}
	struct imap_parse nul = parse(SPAN("{3}\r\na\0b"));

	assert_false(imap_take_string(&nul, &s));
	struct imap_parse literal8 = parse(SPAN("~{3}\r\na\0b"));

	assert_true(imap_take_string(&literal8, &s));
	assert_int_equal(s.n, 3);
}

static void
failure_is_sticky_and_keeps_its_first_reason(void **state)
{
	struct imap_parse p = parse(SPAN("a"));
	struct span s;

	(void)state;
	assert_true(imap_take_atom(&p, &s));
	assert_false(imap_take_sp(&p));
	assert_string_equal(p.bad, "Missing argument");
	assert_false(imap_take_atom(&p, &s));
	assert_string_equal(p.bad, "Missing argument");
	assert_false(imap_at_end(&p));
}

static void
writes_canonical_strings(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	imap_put_string(&b, SPAN("a\"b\\"));
	imap_put_astring(&b, SPAN("INBOX"));
	imap_put_astring(&b, SPAN("nil"));
	imap_put_astring(&b, SPAN("a b"));
	imap_put_astring(&b, SPAN(""));
	imap_put_nstring(&b, SPAN_NONE);
	imap_put_string(&b, SPAN("x\r\n"));
	imap_put_string(&b, SPAN("\xc3\xbc"));
	imap_put_text(&b, SPAN("ok\r\nx"));
	assert_span(buf_span(&b), "\"a\\\"b\\\\\"INBOX\"nil\"\"a b\"\"\"NIL{3}\r\nx\r\n{2}\r\n\xc3\xbcok??x");
	buf_free(&b);
}

static int
set_up(void **state)
{
	(void)state;
	arena_init(&arena, 1 << 20);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_plain_command_whatever_the_cut),
		cmocka_unit_test(stops_at_literals),
		cmocka_unit_test(tells_literals_from_braces),
		cmocka_unit_test(bounds_the_text),
		cmocka_unit_test(walks_tokens),
		cmocka_unit_test(refuses_malformed_strings),
		cmocka_unit_test(failure_is_sticky_and_keeps_its_first_reason),
		cmocka_unit_test(writes_canonical_strings),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
