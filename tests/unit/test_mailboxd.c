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

#include "base/digest.h"
#include "daemons/mailboxd/fetch.h"
#include "daemons/mailboxd/fold.h"
#include "daemons/mailboxd/keptfield.h"
#include "daemons/mailboxd/outq.h"
#include "daemons/mailboxd/pattern.h"
#include "daemons/mailboxd/popmail.h"
#include "daemons/mailboxd/ranking.h"
#include "daemons/mailboxd/subject.h"
#include "daemons/mailboxd/thread.h"
#include "daemons/mailboxd/url.h"
#include "mail/charset.h"

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
	assert_true(span_eq(buf_span(&b), SPAN("abz a\xcc\x88\xc3\x9f\xc3\x97 \xce\xa9 \xd0\x96\xd0\x95\xcc\x88 \xc5\x81 \xff")));
	/* RFC 5051: an accent of its own or not, a ligature, full width, Hangul, a letter of three cases */
	buf_reset(&b);
	fold_text(SPAN("Caf\xc3\xa9 \xef\xac\x81n \xef\xbc\xa1\xef\xbd\x82 \xea\xb0\x81 \xc7\x85 \xf0\x9d\x90\x80"), &b);
	assert_true(span_eq(buf_span(&b), SPAN("cafe\xcc\x81 fin ab \xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8 dz\xcc\x8c a")));
	buf_reset(&b);
	fold_text(SPAN("\xef\xb7\xba"), &b); /* the longest one */
	assert_int_equal(buf_len(&b), 33);
	buf_free(&b);
	for (uint32_t c = 1; c < 0x110000; c++) { /* every character becomes some, never many */
		struct buf folded;
		uint32_t first;

		if (c >= 0xd800 && c < 0xe000)
			continue;
		buf_init(&b, 100);
		buf_init(&folded, 100);
		utf8_put(&b, c);
		fold_text(buf_span(&b), &folded);
		assert_in_range(buf_len(&folded), 1, 33);
		assert_int_not_equal(utf8_next(buf_span(&folded), &first), 0);
		buf_free(&b);
		buf_free(&folded);
	}
	for (int c = 1; c < 0x80; c++) { /* alone, and among others */
		char many[] = "..........?....?....?...........";

		for (size_t at = 0; at < 16; at++) {
			char want[sizeof many];

			memset(many, '.', sizeof many - 1);
			many[at] = many[at + 9] = (char)c;
			memcpy(want, many, sizeof want);
			want[at] = want[at + 9] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : (char)c;
			buf_init(&b, 100);
			fold_text(span_of(many, sizeof many - 1), &b);
			assert_int_equal(buf_len(&b), sizeof many - 1);
			assert_memory_equal(buf_span(&b).p, want, sizeof many - 1);
			buf_free(&b);
		}
	}
	assert_true(fold_compare(SPAN("a"), SPAN("_")) < 0 && fold_compare(SPAN("ab"), SPAN("a")) > 0 && fold_compare(SPAN("x"), SPAN("x")) == 0);
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

/* As RETR has it (RFC 1939 3), an octet after the other. */
static void
dotted_plainly(struct span in, struct buf *to)
{
	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] == '.' && (i == 0 || in.p[i - 1] == '\n'))
			buf_putc(to, '.');
		buf_putc(to, in.p[i]);
	}
	buf_put(to, in.n && in.p[in.n - 1] != '\n' ? SPAN("\r\n.\r\n") : SPAN(".\r\n"));
}

static void
check_dots(struct span text, uint64_t lines)
{
	struct popmail m = { .content = { .fd = temp_file(0), .size = text.n }, .lines = lines, .fresh = true };
	enum popmail_state state = POPMAIL_MORE;
	struct buf got, want, part;

	buf_init(&got, 1 << 20);
	buf_init(&want, 1 << 20);
	buf_init(&part, 1 << 20);
	assert_int_equal(write(m.content.fd, text.p, text.n), text.n);
	dotted_plainly(text, &want);
	while (state == POPMAIL_MORE) {
		state = popmail_put(&m, &part, 1000);
		buf_put(&got, buf_span(&part));
		buf_eat(&part, buf_len(&part));
	}
	assert_int_equal(state, POPMAIL_SENT);
	assert_true(span_eq(buf_span(&got), buf_span(&want)));
	popmail_close(&m);
	buf_free(&got);
	buf_free(&want);
	buf_free(&part);
}

static void
every_line_with_a_dot_gets_another(void **state)
{
	enum { N = 70000, CUTS = 4 };
	static const size_t cuts[CUTS] = { 256, 32768, 65536, N }; /* of blocks and of what is read at once */
	char *text = malloc(N);

	(void)state;
	for (size_t i = 0; i < CUTS; i++)
		for (size_t at = cuts[i] - 5; at < cuts[i] + 5 && at < N; at++) {
			memset(text, '.', N);
			text[at - 2] = '\r';
			text[at - 1] = '\n';
			check_dots(span_of(text, N), POPMAIL_ALL);
			text[0] = 'x';
			check_dots(span_of(text, N), POPMAIL_ALL);
			check_dots(span_of(text, N), UINT32_MAX); /* TOP, of them all */
		}
	for (size_t i = 0; i < N; i++)
		text[i] = ".\n"[i % 2];
	check_dots(span_of(text, N), POPMAIL_ALL);
	check_dots(span_of(text, 0), POPMAIL_ALL);
	free(text);
}

/* Wherever the header ends, within what is read at once or between. */
static void
top_ends_with_its_lines(void **state)
{
	static const char body[] = "\r\n1\r\n2\r\n\r\n3\r\n", want[] = "\r\n\r\n1\r\n.\r\n";

	(void)state;
	for (size_t header = 32768 - 4; header < 32768 + 4; header++) {
		struct popmail m = { .content = { .fd = temp_file(header), .size = header + sizeof(body) - 1 }, .lines = 1, .fresh = true };
		struct buf out;

		assert_int_equal(pwrite(m.content.fd, "\r\n", 2, (off_t)header - 2), 2);
		assert_int_equal(pwrite(m.content.fd, body, sizeof(body) - 1, (off_t)header), sizeof(body) - 1);
		buf_init(&out, 1 << 17);
		assert_int_equal(popmail_put(&m, &out, 1 << 17), POPMAIL_SENT);
		assert_int_equal(buf_len(&out), header + sizeof("\r\n1\r\n.\r\n") - 1);
		assert_true(span_eq(span_from(buf_span(&out), header - 2), span_of(want, sizeof(want) - 1)));
		popmail_close(&m);
		buf_free(&out);
	}
}

static void
a_message_that_ends_too_soon_is_broken(void **state)
{
	struct popmail m = { .content = { .fd = temp_file(10), .size = 11 }, .lines = POPMAIL_ALL, .fresh = true };
	struct buf out;

	(void)state;
	buf_init(&out, 1 << 16);
	assert_int_equal(popmail_put(&m, &out, 1000), POPMAIL_BROKEN);
	popmail_close(&m);
	buf_free(&out);
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
		{ "=?utf-8?q?Re=3A_=C3=84?=", "a\xcc\x88", true },
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
		const uint32_t ids[] = { i, i > 2 ? i - 2 : 0, i - 1 };

		thread_add(&t, &(struct thread_message){ .number = i, .date = i, .subject = 1, .reply = i > 1, .ids = ids, .nids = 3 });
	}
	thread_references(&t);
	assert_false(t.failed);
	thread_put(&t, &out);
	assert_true(span_starts(buf_span(&out), SPAN("(1 2 3 4 ")));
	assert_true(span_find(buf_span(&out), SPAN(" 199999 200000)")) != SIZE_MAX);
	thread_free(&t);
	buf_free(&out);
}

/* Twice the same Message-ID, none, one that refers to itself, a loop, and parents that are not there. */
static void
threads_of_odd_ids(void **state)
{
	static const char *const rows[] = { "a\n", "b\na\n", "\nb\n", "c\nx\ny\n", "a\nc\n", "d\na\nb\nd\n", "", "y\n" };
	struct ranking names;
	struct buf ids, out;
	struct thread t;

	(void)state;
	ranking_init(&names, 1 << 20);
	thread_init(&t, 1 << 20);
	buf_init(&ids, 1 << 16);
	buf_init(&out, 1 << 16);
	for (uint32_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct thread_message m = { .number = i + 1, .date = i, .subject = i % 2 + 1 };

		buf_reset(&ids);
		assert_true(ranking_lines(&names, span_str(rows[i]), &ids));
		m.ids = (const uint32_t *)(const void *)buf_span(&ids).p;
		m.nids = buf_len(&ids) / sizeof *m.ids;
		thread_add(&t, &m);
	}
	thread_references(&t);
	assert_false(t.failed);
	thread_put(&t, &out);
	buf_putc(&out, 0);
	assert_string_equal(buf_span(&out).p, "((1 2 (3)(6))(7))(8 4 5)");
	thread_free(&t);
	ranking_free(&names);
	buf_free(&ids);
	buf_free(&out);
}

static void
kept_fields(void **state)
{
	struct span header = SPAN("Received: x\r\nfrom: a\r\n b\r\nX-Other: y\r\nSUBJECT: c\r\nFrom: again\r\n\r\n");
	struct buf kept, out;
	char many[300];

	(void)state;
	buf_init(&kept, 1 << 20);
	buf_init(&out, 1 << 20);
	assert_true(keptfield_take(header, &kept));
	keptfield_put(buf_span(&kept), keptfield_bit(SPAN("From")) | keptfield_bit(SPAN("x-other")), &out);
	assert_true(span_eq(buf_span(&out), SPAN("from: a\r\n b\r\nFrom: again\r\n")));
	assert_int_equal(keptfield_bit(SPAN("X-Other")), 0);
	for (size_t n = 0; n < buf_len(&kept); n++) { /* what is on the disk may be cut or wrong */
		buf_reset(&out);
		keptfield_put(span_sub(buf_span(&kept), 0, n), UINT64_MAX, &out);
		keptfield_put(span_from(buf_span(&kept), n), UINT64_MAX, &out);
		assert_true(buf_ok(&out));
	}
	buf_reset(&kept);
	buf_reset(&out);
	memset(many, 'x', sizeof many);
	memcpy(many, "To: ", 4);
	memcpy(many + sizeof many - 2, "\r\n", 2);
	for (size_t n = 0; n < KEPTFIELD_MAX; n += sizeof many)
		buf_put(&out, span_of(many, sizeof many));
	assert_false(keptfield_take(buf_span(&out), &kept));
	buf_free(&kept);
	buf_free(&out);
}

/* FIPS 180-4's examples, and the same bytes in parts of every length. */
static void
digests(void **state)
{
	static const struct {
		const char *text, *hex;
	} known[] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
	};
	char text[300], hex[2 * DIGEST_SHA256 + 1];
	uint8_t whole[DIGEST_SHA256], pieces[DIGEST_SHA256];
	struct span parts[sizeof text];

	(void)state;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		digest_sha256(span_str(known[i].text), whole);
		for (size_t k = 0; k < DIGEST_SHA256; k++)
			(void)snprintf(hex + 2 * k, 3, "%02x", whole[k]);
		assert_string_equal(hex, known[i].hex);
	}
	memset(text, 'x', sizeof text);
	digest_sha256(span_of(text, sizeof text), whole);
	for (size_t n = 1; n < sizeof text; n++) {
		size_t count = 0;

		for (size_t at = 0; at < sizeof text; at += n)
			parts[count++] = span_of(text + at, sizeof text - at < n ? sizeof text - at : n);
		digest_parts(parts, count, pieces);
		assert_memory_equal(whole, pieces, DIGEST_SHA256);
	}
}

/* RFC 5092, as far as this session's mailboxes go. */
static void
urls(void **state)
{
	static const char *const wrong[] = {
		"", "/", "imap://h/INBOX/;UID=1", "//h/INBOX/;UID=1", "/INBOX", "/INBOX/;UID=", "/INBOX/;UID=0", "/INBOX/;UID=4294967296",
		"/INBOX/;UID=1/;SECTION=", "/INBOX/;UID=1/", "/INBOX/;UID=1/;PARTIAL=1.0", "/IN BOX/;UID=1", "/a%/;UID=1", "/a%00/;UID=1",
		"/INBOX/;UID=1;URLAUTH=x", "x:y/;UID=1", "/INBOX?SUBJECT%20x", "/INBOX;UIDVALIDITY=0/;UID=1",
	};
	struct arena arena;
	struct url u;

	(void)state;
	arena_init(&arena, 1 << 16);
	assert_true(url_parse(SPAN("/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1.5.9/;partial=0.1024"), &arena, &u));
	assert_true(span_eq(u.mailbox, SPAN("Drafts")) && u.uidvalidity == 385759045 && u.uid == 20 && span_eq(u.section, SPAN("1.5.9")));
	assert_true(u.from == 0 && u.count == 1024);
	assert_true(url_parse(SPAN("a/b%3Bc/;UID=4294967295"), &arena, &u));
	assert_true(span_eq(u.mailbox, SPAN("a/b;c")) && u.uid == UINT32_MAX && !u.section.n && !u.count);
	assert_true(url_parse(SPAN(";UID=3"), &arena, &u) && !u.mailbox.n && u.uid == 3);
	assert_true(url_parse(SPAN("/;UID=3"), &arena, &u) && !u.mailbox.n && u.uid == 3);
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		assert_false(url_parse(span_str(wrong[i]), &arena, &u));
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
		cmocka_unit_test(every_line_with_a_dot_gets_another),
		cmocka_unit_test(top_ends_with_its_lines),
		cmocka_unit_test(a_message_that_ends_too_soon_is_broken),
		cmocka_unit_test(fetch_items),
		cmocka_unit_test(base_subjects),
		cmocka_unit_test(threads_of_any_depth),
		cmocka_unit_test(threads_of_odd_ids),
		cmocka_unit_test(kept_fields),
		cmocka_unit_test(digests),
		cmocka_unit_test(urls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
