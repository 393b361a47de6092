/* SPDX-License-Identifier: ISC
 *
 * The small parts of mailboxd: patterns, folding, output queue, fetch items.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemons/mailboxd/fetch.h"
#include "daemons/mailboxd/fold.h"
#include "daemons/mailboxd/outq.h"
#include "daemons/mailboxd/pattern.h"

static void
patterns(void **state)
{
	static const struct {
		const char *pattern, *name;
		bool match;
	} rows[] = {
		{ "*", "a.b.c", true },
		{ "%", "a", true },
		{ "%", "a.b", false },
		{ "%.%", "a.b", true },
		{ "%.%", "a.b.c", false },
		{ "a*c", "a.b.c", true },
		{ "a%c", "abc", true },
		{ "a%c", "a.c", false },
		{ "*.c", "a.b.c", true },
		{ "%*", "a.b", true },
		{ "*%", "a.b", true },
		{ "", "", true },
		{ "", "a", false },
		{ "inbox", "INBOX", true },
		{ "InBoX.x", "INBOX.x", true },
		{ "InBoX.x", "INBOX.X", false },
		{ "A", "a", false },
		{ "**************************b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false },
	};
	char many[PATTERN_MAX + 2];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (pattern_match(span_str(rows[i].pattern), span_str(rows[i].name)) != rows[i].match)
			fail_msg("\"%s\" against \"%s\"", rows[i].pattern, rows[i].name);
	memset(many, '*', sizeof many);
	assert_true(pattern_match(span_of(many, PATTERN_MAX), SPAN("a")));
	assert_false(pattern_match(span_of(many, PATTERN_MAX + 1), SPAN("a")));
}

static void
folding(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	fold_text(SPAN("aBZ \xc3\x84\xc3\x9f\xc3\x97 \xce\xa9 \xd0\x96\xd0\x81 \xc5\x81 \xff"), &b);
	assert_true(span_eq(buf_span(&b), SPAN("abz \xc3\xa4\xc3\x9f\xc3\x97 \xcf\x89 \xd0\xb6\xd1\x91 \xc5\x82 \xff")));
	buf_free(&b);
}

static int
temp_file(size_t n)
{
	char name[] = "/tmp/test_mailboxd.XXXXXX";
	int fd = mkstemp(name);

	unlink(name);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(write(fd, &"0123456789"[i % 10], 1), 1);
	return fd;
}

static void
output_is_bounded_and_in_order(void **state)
{
	int fd = temp_file(OUTQ_FILE_MIN + 100), pair[2];
	struct outq q;
	char *got = malloc(OUTQ_FILE_MIN + 8192);
	size_t n = 0;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	outq_init(&q);
	buf_put(&q.mem, SPAN("head "));
	assert_true(outq_put_file(&q, fd, 3, 4));
	assert_true(outq_room(&q)); /* a short range is copied */
	assert_true(outq_put_file(&q, fd, 0, OUTQ_FILE_MIN));
	assert_false(outq_room(&q)); /* a long one must leave first */
	while (!outq_empty(&q)) {
		ssize_t r;

		assert_true(outq_send(&q, pair[0]));
		while ((r = read(pair[1], got + n, 4096)) > 0)
			n += (size_t)r;
	}
	assert_int_equal(n, 9 + OUTQ_FILE_MIN);
	assert_memory_equal(got, "head 34560123456789", 19);
	assert_true(outq_room(&q));
	close(pair[1]);
	buf_put(&q.mem, SPAN("x"));
	assert_false(outq_send(&q, pair[0])); /* the peer is gone */
	close(pair[0]);
	outq_free(&q);
	close(fd);
	free(got);
}

static void
a_truncated_file_ends_the_stream(void **state)
{
	int fd = temp_file(OUTQ_FILE_MIN), pair[2];
	struct outq q;
	bool ok = true;
	char sink[4096];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	outq_init(&q);
	assert_true(outq_put_file(&q, fd, 0, OUTQ_FILE_MIN));
	assert_int_equal(ftruncate(fd, 10), 0);
	for (int i = 0; ok && i < 100; i++) {
		ok = outq_send(&q, pair[0]);
		while (read(pair[1], sink, sizeof sink) > 0)
			continue;
	}
	assert_false(ok);
	outq_free(&q);
	close(pair[0]);
	close(pair[1]);
	close(fd);
}

static void
fetch_items(void **state)
{
	struct arena arena;
	struct imap_parse p;
	struct fetch_item *i;

	(void)state;
	arena_init(&arena, 1 << 20);
	p = imap_parse_of(SPAN("(FLAGS BODY.PEEK[1.2.HEADER.FIELDS (From \"To\")]<5.7> body[TEXT] BODY)"), &arena);
	i = fetch_parse(&p);
	assert_non_null(i);
	assert_int_equal(i->kind, FETCH_KIND_FLAGS);
	i = i->next;
	assert_int_equal(i->kind, FETCH_KIND_SECTION);
	assert_int_equal(i->section.what, SECTION_FIELDS);
	assert_int_equal(i->section.npath, 2);
	assert_int_equal(i->section.path[1], 2);
	assert_int_equal(i->section.nfields, 2);
	assert_int_equal(i->from, 5);
	assert_int_equal(i->count, 7);
	assert_true(span_eq(i->label, SPAN("BODY[1.2.HEADER.FIELDS (From To)]<5>")));
	assert_true(i->flags & FETCH_PEEK);
	i = i->next;
	assert_true(span_eq(i->label, SPAN("BODY[TEXT]")));
	assert_false(i->flags & FETCH_PEEK);
	i = i->next;
	assert_int_equal(i->kind, FETCH_KIND_BODY);
	assert_null(i->next);
	p = imap_parse_of(SPAN("FULLER"), &arena);
	assert_null(fetch_parse(&p));
	arena_free(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(patterns),
		cmocka_unit_test(folding),
		cmocka_unit_test(output_is_bounded_and_in_order),
		cmocka_unit_test(a_truncated_file_ends_the_stream),
		cmocka_unit_test(fetch_items),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
