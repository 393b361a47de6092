/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemons/authd/certmap.h"

#define PRINT "01:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00"
#define KEY "02:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00"

static void
on_event(void *arg, const char *text)
{
	(void)arg, (void)text;
}

/* What a table of one line has for a certificate; NULL: nothing, "?": it failed. */
static const char *
find(const char *table, uint8_t print, uint8_t key, bool trusted, const char *emails, const char *subject)
{
	static char text[256];
	uint8_t digests[2][B_KEY] = { { print }, { key } };
	struct ipc_auth_certificate m = { .fingerprint = span_of(digests[0], B_KEY), .key = span_of(digests[1], B_KEY), .trusted = trusted,
		.emails = span_str(emails), .subject = span_str(subject) };
	struct span spec = span_str(table), logins;
	struct conf_list specs = { &spec, 1 };
	enum table_found found;
	struct certmap map;
	struct arena mem;
	struct fail why;

	arena_init(&mem, 1024 * 1024);
	assert_true(certmap_open(&map, &specs, on_event));
	found = certmap_find(&map, &m, 0, &mem, &logins, &why);
	if (found == TABLE_FOUND)
		assert_true(span_cstr(logins, text, sizeof(text)));
	certmap_close(&map);
	arena_free(&mem);
	return found == TABLE_FOUND ? text : found == TABLE_NONE ? NULL : "?";
}

static void
test_by_fingerprint_and_key(void **state)
{
	(void)state;
	assert_string_equal(find("inline:{" PRINT "=alice}", 1, 9, false, "", ""), "alice");
	assert_string_equal(find("inline:{" KEY "=bob carol}", 9, 2, false, "", ""), "bob carol");
	assert_null(find("inline:{" PRINT "=alice}", 3, 9, true, "", ""));
}

static void
test_by_name_only_with_an_authority(void **state)
{
	(void)state;
	assert_string_equal(find("inline:{email:a@b.test=alice}", 1, 2, true, "x@b.test a@b.test", ""), "alice");
	assert_null(find("inline:{email:a@b.test=alice}", 1, 2, false, "a@b.test", ""));
	assert_string_equal(find("inline:{cn:Alice=alice}", 1, 2, true, "", "Alice"), "alice");
	assert_null(find("inline:{cn:Alice=alice}", 1, 2, false, "", "Alice"));
	/* An address is no common name, nor a fingerprint. */
	assert_null(find("inline:{email:a@b.test=alice}", 1, 2, true, "", "a@b.test"));
	assert_null(find("inline:{" PRINT "=alice}", 3, 4, true, PRINT, PRINT));
}

static void
test_a_broken_table_fails(void **state)
{
	(void)state;
	assert_string_equal(find("file:/nonexistent/certs", 1, 2, true, "", ""), "?");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_fingerprint_and_key),
		cmocka_unit_test(test_by_name_only_with_an_authority),
		cmocka_unit_test(test_a_broken_table_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
