/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemons/verifyd/edit.h"
#include "daemons/verifyd/spool.h"
#include "daemons/verifyd/way.h"

static const char header[] = "Received: us\r\nReceived: them\r\nSubject: a\r\n b\r\nX: 1\r\nx: 2\r\n";

static void
expect(const struct edit *e, const char *text)
{
	struct buf out;

	buf_init(&out, 65536);
	edit_put(e, &out);
	if (!span_eq(buf_span(&out), span_str(text)))
		print_message("got: %.*s\nnot: %s\n", SPAN_ARG(buf_span(&out)), text);
	assert_true(span_eq(buf_span(&out), span_str(text)));
	buf_free(&out);
}

static void
begin(struct edit *e)
{
	assert_true(edit_init(e, span_str(header), strlen("Received: us\r\n"), 65536));
	expect(e, header);
	assert_false(e->changed);
}

static void
our_received_is_not_shown(void **state)
{
	struct edit e;
	const struct field *f;

	(void)state;
	begin(&e);
	f = edit_next(&e, NULL);
	assert_true(span_eq(f->value, SPAN(" them")));
	assert_true(edit_change(&e, 1, SPAN("received"), SPAN("x")));
	expect(&e, "Received: us\r\nreceived: x\r\nSubject: a\r\n b\r\nX: 1\r\nx: 2\r\n");
	edit_free(&e);
}

static void
fields_are_put_in(void **state)
{
	struct edit e;

	(void)state;
	begin(&e);
	assert_true(edit_insert(&e, 0, SPAN("Top"), SPAN("0")));
	assert_true(edit_insert(&e, 1, SPAN("First"), SPAN(" 1")));
	assert_true(edit_insert(&e, 3, SPAN("Third"), SPAN("3")));
	assert_true(edit_insert(&e, 100, SPAN("Last"), SPAN("n")));
	assert_true(edit_add(&e, SPAN("Added"), SPAN("y")));
	expect(&e, "Top: 0\r\nFirst: 1\r\nReceived: us\r\nThird: 3\r\nReceived: them\r\nSubject: a\r\n b\r\nX: 1\r\nx: 2\r\nLast: n\r\nAdded: y\r\n");
	assert_true(e.changed);
	edit_free(&e);
}

static void
fields_are_changed(void **state)
{
	struct edit e;

	(void)state;
	begin(&e);
	assert_true(edit_change(&e, 2, SPAN("X"), SPAN("two")));
	assert_true(edit_change(&e, 1, SPAN("X"), SPAN_NONE));
	assert_true(edit_change(&e, 7, SPAN("X"), SPAN_NONE));
	assert_true(edit_change(&e, 1, SPAN("New"), SPAN("n")));
	expect(&e, "Received: us\r\nReceived: them\r\nSubject: a\r\n b\r\nX: two\r\nNew: n\r\n");
	edit_free(&e);
}

/* A line of a value cannot become a field, nor end the header. */
static void
values_stay_within_their_field(void **state)
{
	struct edit e;

	(void)state;
	assert_true(edit_init(&e, SPAN(""), 0, 65536));
	assert_true(edit_add(&e, SPAN("A"), SPAN("1\n 2\r\n\t3\nBcc: x\n\ny\n")));
	expect(&e, "A: 1\r\n 2\r\n\t3\r\n\tBcc: x\r\n\t\r\n\ty\r\n");
	assert_false(e.eightbit);
	assert_true(edit_add(&e, SPAN("B"), SPAN("\xc3\xa9")));
	assert_true(e.eightbit);
	edit_free(&e);
}

static void
what_is_no_field_is_not_passed_by(void **state)
{
	struct edit e;

	(void)state;
	assert_false(edit_init(&e, SPAN("A: b\r\nno field\r\nC: d\r\n"), 0, 65536));
	edit_free(&e);
}

static void
lines(const char *in, size_t cut, const char *out)
{
	struct edit_lines l = { .cr = false };
	struct span s = span_str(in);
	struct buf b;

	buf_init(&b, 1000);
	edit_lines_put(&l, &b, span_sub(s, 0, cut));
	edit_lines_put(&l, &b, span_from(s, cut));
	edit_lines_end(&l, &b);
	assert_true(span_eq(buf_span(&b), span_str(out)));
	buf_free(&b);
}

static void
bodies_are_made_canonical(void **state)
{
	(void)state;
	for (size_t cut = 0; cut < 10; cut++) {
		lines("a\r\nb\nc\rd", cut, "a\r\nb\r\nc\r\nd\r\n");
		lines("\r\n\r\n", cut, "\r\n\r\n");
		lines("a\r\r\n.\r\n", cut, "a\r\n\r\n.\r\n");
		lines("", cut, "");
	}
}

static void
content_waits_in_memory_or_in_a_file(void **state)
{
	char directory[] = "/tmp/test-spool-XXXXXX", room[70000], want[50000];
	struct spool s;
	struct span got;
	struct fail why;

	(void)state;
	assert_non_null(mkdtemp(directory));
	spool_init(&s);
	for (int i = 0; i < 10; i++) {
		memset(want, 'a' + i, sizeof(want));
		assert_true(spool_put(&s, directory, span_of(want, sizeof(want)), &why));
		assert_true(spool_read(&s, (uint64_t)i * sizeof(want), room, sizeof(room), &got, &why));
		assert_true(span_eq(got, span_of(want, sizeof(want))));
	}
	assert_true(s.fd >= 0);
	assert_true(spool_read(&s, 1, room, 3, &got, &why) && span_eq(got, SPAN("aaa")));
	spool_free(&s);
	assert_false(spool_put(&s, "/nonexistent", span_of(room, sizeof(room)), &why) && spool_put(&s, "/nonexistent", span_of(room, sizeof(room)), &why) &&
	    spool_put(&s, "/nonexistent", span_of(room, sizeof(room)), &why) && spool_put(&s, "/nonexistent", span_of(room, sizeof(room)), &why));
	spool_free(&s);
	assert_int_equal(rmdir(directory), 0); /* nothing is left */
}

static void
addresses_of_filters(void **state)
{
	struct way w;
	struct fail why;

	(void)state;
	assert_true(way_parse(SPAN("inet:127.0.0.1:11332"), &w, &why));
	assert_true(way_parse(SPAN("inet:[::1]:11332"), &w, &why));
	assert_true(way_parse(SPAN("inet:localhost:8891"), &w, &why));
	assert_true(way_parse(SPAN("unix:/run/x.sock"), &w, &why));
	assert_true(way_parse(SPAN("local:/run/x.sock"), &w, &why));
	assert_true(way_parse(SPAN("inet:host.example:8891"), &w, &why));
	assert_string_equal(w.host, "host.example");
	assert_false(way_parse(SPAN("inet:host..example:8891"), &w, &why));
	assert_false(way_parse(SPAN("inet:127.0.0.1"), &w, &why));
	assert_false(way_parse(SPAN("unix:relative"), &w, &why));
	assert_false(way_parse(SPAN("8891@127.0.0.1"), &w, &why));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(our_received_is_not_shown), cmocka_unit_test(fields_are_put_in), cmocka_unit_test(fields_are_changed),
		cmocka_unit_test(values_stay_within_their_field), cmocka_unit_test(what_is_no_field_is_not_passed_by),
		cmocka_unit_test(bodies_are_made_canonical), cmocka_unit_test(content_waits_in_memory_or_in_a_file), cmocka_unit_test(addresses_of_filters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
