/* SPDX-License-Identifier: ISC
 *
 * The small parts of mailboxd: patterns, folding, output queue, fetch items.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemons/mailboxd/fetch.h"
#include "daemons/mailboxd/fold.h"
#include "daemons/mailboxd/outq.h"
#include "daemons/mailboxd/pattern.h"
#include "daemons/mailboxd/subject.h"
#include "daemons/mailboxd/thread.h"

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

static void
base_subjects(void **state)
{
	static const struct {
		const char *raw, *base;
		bool reply;
	} rows[] = {
		{ "Hello", "hello", false },
		{ " \t Re: Re [5] : hello \t world ", "hello world", true },
		{ "[list] hello", "hello", false },
		{ "[list]", "[list]", false },
		{ "[list] [all] fw: [x] hello (fwd) (FWD)", "hello", true },
		{ "[Fwd: [Fwd: Re: hello] ]", "hello", true },
		{ "[fwd: ", "[fwd:", false },
		{ "reset: hello", "reset: hello", false },
		{ "re hello", "re hello", false },
		{ "=?utf-8?q?Re=3A_=C3=84?=", "\xc3\xa4", true },
		{ "Re:", "", true },
		{ "", "", false },
		{ "[[[[[[[[ re: [", "[[[[[[[[ re: [", false },
	};
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		bool reply;

		buf_reset(&b);
		reply = subject_base(span_str(rows[i].raw), &b);
		if (reply != rows[i].reply || !span_eq(buf_span(&b), span_str(rows[i].base)))
			fail_msg("\"%s\" gives \"%.*s\"", rows[i].raw, SPAN_ARG(buf_span(&b)));
	}
	buf_free(&b);
}

/* A chain as long as a mailbox: no step may call itself or look back at all before it. */
static void
threads_of_any_depth(void **state)
{
	enum { N = 200000 };
	struct thread t;
	struct buf out;

	(void)state;
	thread_init(&t, 256 << 20);
	buf_init(&out, 16 << 20);
	for (uint32_t i = N; i > 0; i--) {
		char ids[64];

		(void)snprintf(ids, sizeof ids, "%u\n%u\n%u\n", (unsigned)i, (unsigned)i - 2, (unsigned)i - 1);
		thread_add(&t, &(struct thread_message){ .number = i, .date = i, .subject = SPAN("s"), .reply = i > 1, .ids = span_str(ids) });
	}
	thread_references(&t);
	assert_false(t.failed);
	thread_put(&t, &out);
	assert_true(span_starts(buf_span(&out), SPAN("(1 2 3 4 ")));
	assert_true(span_find(buf_span(&out), SPAN(" 199999 200000)")) != SIZE_MAX);
	thread_free(&t);
	buf_free(&out);
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
		cmocka_unit_test(base_subjects),
		cmocka_unit_test(threads_of_any_depth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
