/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "table/aliaslist.h"

static void
items_of_every_kind(void **state)
{
	static const struct {
		enum aliaslist_kind kind;
		bool final;
		const char *text;
	} want[] = {
		{ ALIASLIST_ADDRESS, false, "alice" },
		{ ALIASLIST_ADDRESS, false, "bob@example.org" },
		{ ALIASLIST_INCLUDE, false, "/etc/list" },
		{ ALIASLIST_INCLUDE, false, "/etc/a list" },
		{ ALIASLIST_COMMAND, false, "/bin/sh -c \"x, y\"" },
		{ ALIASLIST_COMMAND, false, "vacation bob" },
		{ ALIASLIST_FILE, false, "/var/mail/archive" },
		{ ALIASLIST_ADDRESS, true, "carol" },
		{ ALIASLIST_ADDRESS, false, "\"a b, c\"@example.org" },
		{ ALIASLIST_ADDRESS, false, "dave@example.org" },
	};
	struct span rest = SPAN("alice, bob@example.org,,:include:/etc/list , \":include:/etc/a list\", "
				"\"|/bin/sh -c \\\"x, y\\\"\", |\"vacation bob\", /var/mail/archive, \\carol, "
				"\"a b, c\"@example.org, <dave@example.org>");
	struct aliaslist_item item;
	struct arena a;
	size_t n = 0;

	(void)state;
	arena_init(&a, 65536);
	while (aliaslist_next(&rest, &a, &item)) {
		assert_true(n < sizeof(want) / sizeof(want[0]));
		assert_int_equal(item.kind, want[n].kind);
		assert_int_equal(item.final, want[n].final);
		assert_true(span_eq(item.text, span_str(want[n].text)));
		n++;
	}
	assert_int_equal(n, sizeof(want) / sizeof(want[0]));
	arena_free(&a);
}

static void
broken_items_are_named(void **state)
{
	struct span rest = SPAN(":include:, ok, \"open");
	struct aliaslist_item item;
	struct arena a;

	(void)state;
	arena_init(&a, 65536);
	assert_true(aliaslist_next(&rest, &a, &item));
	assert_int_equal(item.kind, ALIASLIST_BAD);
	assert_true(aliaslist_next(&rest, &a, &item));
	assert_int_equal(item.kind, ALIASLIST_ADDRESS);
	assert_true(aliaslist_next(&rest, &a, &item));
	assert_int_equal(item.kind, ALIASLIST_BAD);
	assert_false(aliaslist_next(&rest, &a, &item));
	arena_free(&a);
}

/* Or a command would be an address: "|x" in its quotes is a local part, too. */
static void
nothing_is_said_without_memory(void **state)
{
	struct span rest = SPAN("\"|/bin/x\", ok");
	struct aliaslist_item item;
	struct arena a;

	(void)state;
	arena_init(&a, 16);
	assert_false(aliaslist_next(&rest, &a, &item));
	assert_true(a.failed);
	assert_false(aliaslist_next(&rest, &a, &item));
	arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(items_of_every_kind),
	    cmocka_unit_test(broken_items_are_named), cmocka_unit_test(nothing_is_said_without_memory) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
