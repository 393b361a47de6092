/* SPDX-License-Identifier: ISC */
#include "mail_test.h"

#include "mail/header.h"
#include "mail/limits.h"
#include "mail/submission.h"

static void
walks_fields(void **state)
{
	struct header_walk w = header_walk(SPAN("A: 1\r\nB : 2\r\n\t3\r\nC:\nD-e:x\ny: z\r\n\r\nE: body\r\n"));
	struct header_field f;

	(void)state;
	assert_true(header_next(&w, &f));
	assert_span(f.name, "A");
	assert_span(f.value, " 1");
	assert_span(f.whole, "A: 1\r\n");
	assert_true(header_next(&w, &f));
	assert_span(f.name, "B");
	assert_span(f.value, " 2\r\n\t3");
	assert_true(header_next(&w, &f));
	assert_span(f.name, "C");
	assert_span(f.value, "");
	assert_true(header_next(&w, &f));
	assert_span(f.name, "D-e");
	assert_true(header_next(&w, &f));
	assert_false(header_next(&w, &f));
	assert_false(header_next(&w, &f));
	assert_span(span_from(w.in, w.at), "\r\nE: body\r\n");
}

/* M04: lines of a body that look like commands or an mbox separator are text. */
static void
header_ends(void **state)
{
	size_t n;

	(void)state;
	assert_int_equal(header_size(SPAN("A: 1\r\n\r\nB"), &n), 8);
	assert_int_equal(n, 6);
	assert_int_equal(header_size(SPAN("A: 1\n\nB"), &n), 6);
	assert_int_equal(header_size(SPAN("A: 1\r\nMAIL FROM:<x>\r\n"), &n), 6);
	assert_int_equal(header_size(SPAN("A: 1"), &n), 4);
	assert_int_equal(header_size(SPAN(""), &n), 0);
	assert_int_equal(header_size(SPAN("From x Mon Jan\r\nA: 1\r\n\r\n"), &n), 24);
	assert_true(header_mbox_line(SPAN(">From x Mon Jan 10:00\r\n")));
	assert_false(header_mbox_line(SPAN("From : x@y.test\r\n"))); /* RFC 5322 4.5 */
	assert_int_equal(header_size(SPAN(" x\r\nA: 1\r\n\r\n"), &n), 0);
	assert_int_equal(header_size(SPAN(": x\r\n\r\n"), &n), 0);
}

static void
finds_and_counts(void **state)
{
	struct span m = SPAN("Received: a\r\nTo: x\r\nRECEIVED: b\r\n\r\nReceived: c\r\n");
	struct header_field f;

	(void)state;
	assert_int_equal(header_count(m, SPAN("received")), 2);
	assert_true(header_find(m, SPAN("received"), &f));
	assert_span(f.value, " a");
	assert_true(header_find_last(m, SPAN("received"), &f));
	assert_span(f.value, " b");
	assert_false(header_find(m, SPAN("cc"), &f));
}

static void
unfolds(void **state)
{
	struct arena a;
	struct buf b;
	struct span raw = SPAN(" plain ");

	(void)state;
	arena_init(&a, 10000);
	buf_init(&b, 1000);
	assert_ptr_equal(header_unfold(raw, &a).p, raw.p + 1);
	assert_span(header_unfold(SPAN(" a\r\n\tb\n c "), &a), "a\tb c");
	assert_non_null(header_unfold(SPAN("  "), &a).p);
	buf_puts(&b, "x");
	header_unfold_put(&b, SPAN(" a\r\n b"));
	assert_span(buf_span(&b), "xa b");
	buf_reset(&b);
	header_put(&b, SPAN("Subject"), SPAN("a\r\nBcc: evil"));
	assert_span(buf_span(&b), "Subject: a Bcc: evil\r\n");
	buf_reset(&b);
	header_put(&b, SPAN("X"),
		   SPAN("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb c"));
	assert_span(
	    buf_span(&b),
	    "X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb c\r\n");
	buf_free(&b);
	arena_free(&a);
}

static bool
drop_received(const struct header_field *f, void *arg)
{
	(void)arg;
	return span_caseeq(f->name, SPAN("received"));
}

static void
filters(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	header_filter(&b, SPAN("A: 1\r\nReceived: x\r\n y\r\nB: 2\r\n\r\nReceived: z\r\n"), drop_received, NULL);
	assert_span(buf_span(&b), "A: 1\r\nB: 2\r\n\r\nReceived: z\r\n");
	buf_free(&b);
}

static void
bounds(void **state)
{
	struct buf b;
	size_t n;

	(void)state;
	buf_init(&b, 1 << 22);
	for (unsigned i = 0; i < LIMIT_HEADER_FIELDS + 10; i++)
		buf_puts(&b, "A:1\r\n");
	assert_int_equal(header_count(buf_span(&b), SPAN("a")), LIMIT_HEADER_FIELDS);
	assert_int_equal(header_size(buf_span(&b), &n), buf_len(&b));
	buf_reset(&b);
	for (unsigned i = 0; i < LIMIT_FIELD_NAME; i++)
		buf_puts(&b, "a");
	buf_puts(&b, ": x\r\n");
	assert_int_equal(header_count(buf_span(&b), SPAN("a")), 0);
	buf_free(&b);
}

static const struct submission who = { .sender = SPAN_INIT("alice@crepes.fr"), .full_name = SPAN_INIT("Al \"Ice\", x"),
	.domain = SPAN_INIT("crepes.fr"), .unique = SPAN_INIT("1.a"), .time = 908206059 };

/* M02, M03, S25 */
static void
submission_adds_what_is_missing(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 10000);
	assert_true(submission_fix(&b, SPAN("Subject: x\r\nBcc: secret@x,\r\n two@y\r\nCc:\r\n"), &who));
	assert_span(buf_span(&b),
		    "Subject: x\r\nFrom: \"Al \\\"Ice\\\", x\" <alice@crepes.fr>\r\nTo: undisclosed-recipients:;\r\n"
		    "Date: Mon, 12 Oct 1998 15:27:39 +0000\r\nMessage-ID: <1.a@crepes.fr>\r\n");
	buf_reset(&b);
	assert_true(
	    submission_fix(&b, SPAN("FROM: a@b\r\ndate: x\r\nmessage-id: <y>\r\nCC: c\r\nresent-bcc: z\r\n"), &who));
	assert_span(buf_span(&b), "FROM: a@b\r\ndate: x\r\nmessage-id: <y>\r\nCC: c\r\n");
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(walks_fields),
		cmocka_unit_test(header_ends),
		cmocka_unit_test(finds_and_counts),
		cmocka_unit_test(unfolds),
		cmocka_unit_test(filters),
		cmocka_unit_test(bounds),
		cmocka_unit_test(submission_adds_what_is_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
