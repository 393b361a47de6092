/* SPDX-License-Identifier: ISC */
#include "mail_test.h"

#include <stdlib.h>

#include "mail/content.h"
#include "mail/limits.h"
#include "mail/status.h"

/* Feeds in pieces of the given size as a receiver does: what is left over comes again in front. */
struct fed {
	struct content c;
	struct buf out;
	size_t used;       /* bytes of the input taken up to the end */
	size_t header_at;  /* bytes put out when the header ended, SIZE_MAX: it did not */
	bool ended;
};

static void
feed(struct fed *f, struct span all, size_t piece, const struct content_limits *limits)
{
	size_t have = 0, done = 0;
	char *copy = malloc(all.n + 1); /* exact size for the sanitizer */

	memcpy(copy, all.p, all.n);
	*f = (struct fed){ .header_at = SIZE_MAX };
	buf_init(&f->out, 1 << 20);
	content_init(&f->c, limits);
	while (!f->ended && have < all.n) {
		struct span in, run;
		enum content_step step;

		have = have + piece > all.n ? all.n : have + piece;
		in = span_of(copy + done, have - done);
		f->c.last = limits->by_length && have == all.n;
		while ((step = content_next(&f->c, &in, &run)) != CONTENT_MORE) {
			if (step == CONTENT_END) {
				f->ended = true;
				break;
			}
			if (step == CONTENT_RUN) {
				assert_true(run.n > 0);
				buf_put(&f->out, run);
			} else {
				assert_int_equal(f->header_at, SIZE_MAX);
				f->header_at = buf_len(&f->out);
			}
		}
		done = have - in.n;
		assert_true(in.n <= LIMIT_FIELD_NAME + 4 || f->ended);
	}
	f->used = done;
	free(copy);
}

static const struct content_limits none = { .size = 0 };

static void
check_good(const char *in, const char *out, unsigned line)
{
	size_t n = strlen(in), end = strstr(in, "\r\n.\r\n") || !strncmp(in, ".\r\n", 3) ? n : 0;

	for (size_t piece = 1; piece <= n; piece++) {
		struct fed f;

		feed(&f, span_of(in, n), piece, &none);
		if (f.c.status || !f.ended || f.used != end || !span_eq(buf_span(&f.out), span_str(out)))
			fail_msg("line %u, pieces of %zu: status %s, ended %d, used %zu of %zu, out \"%.*s\"", line,
				 piece, status_get(f.c.status)->name, f.ended, f.used, end, SPAN_ARG(buf_span(&f.out)));
		assert_int_equal(f.c.size, strlen(out));
		assert_true(f.c.header_done);
		buf_free(&f.out);
	}
}
#define good(in, out) check_good(in, out, __LINE__)

static void
only_crlf_dot_crlf_ends(void **state)
{
	(void)state;
	good("A: b\r\n\r\ntext\r\n.\r\n", "A: b\r\n\r\ntext\r\n");
	good(".\r\n", "");
	good("\r\n.\r\n", "\r\n");
	good("A: b\r\n.\r\n", "A: b\r\n");
	good("A: b\r\n\r\n..\r\n...x\r\n.y\r\n.\r\n", "A: b\r\n\r\n.\r\n..x\r\ny\r\n");
	good("A: b\r\n\r\n.MAIL FROM:<x>\r\n. \r\n.\r\n", "A: b\r\n\r\nMAIL FROM:<x>\r\n \r\n");
	good("Do you like ketchup?\r\nHow about pickles?\r\n.\r\n", "Do you like ketchup?\r\nHow about pickles?\r\n");
	good("..A: b\r\n.\r\n", ".A: b\r\n");
	good(".A: b\r\n..\r\n.\r\n", "A: b\r\n.\r\n");
}

static void
what_follows_the_end_stays(void **state)
{
	struct content c;
	struct span in = SPAN("A: b\r\n\r\nx\r\n.\r\nMAIL FROM:<a@b>\r\n"), run;

	(void)state;
	content_init(&c, &none);
	while (content_next(&c, &in, &run) != CONTENT_END)
		continue;
	assert_span(in, "MAIL FROM:<a@b>\r\n");
}

/* SMTP smuggling (CVE-2023-51764 and its family): none of these may end the data, all are refused. */
static void
smuggled_ends_do_not_end(void **state)
{
	static const struct {
		const char *end;
		unsigned status;
	} rows[] = {
		{ "\n.\n", STATUS_BARE_LF },        { "\n.\r\n", STATUS_BARE_LF },   { "\r.\r", STATUS_BARE_CR },
		{ "\r.\r\n", STATUS_BARE_CR },      { "\r\n.\n", STATUS_BARE_LF },   { "\r\n.\r", STATUS_BARE_CR },
		{ "\n\n.\r\n", STATUS_BARE_LF },    { "\r\r\n.\n", STATUS_BARE_CR }, { "\r\n.\r\r\n", STATUS_BARE_CR },
		{ "\r\n\0.\r\n", STATUS_NUL_BYTE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[200] = "A: b\r\n\r\nfirst";
		size_t n = strlen(text), m = rows[i].status == STATUS_NUL_BYTE ? 7 : strlen(rows[i].end);

		memcpy(text + n, rows[i].end, m);
		n += m;
		memcpy(text + n, "QUIT\r\n.\r\n", 9);
		n += 9;
		for (size_t piece = 1; piece <= n; piece++) {
			struct fed f;

			feed(&f, span_of(text, n), piece, &none);
			if (f.c.status != rows[i].status || !f.ended || f.used != n)
				fail_msg("row %zu, pieces of %zu: status %s, ended %d after %zu of %zu", i, piece,
					 status_get(f.c.status)->name, f.ended, f.used, n);
			buf_free(&f.out);
		}
	}
}

/* Of two faults the first is named, however the input is cut. */
static void
the_first_fault_is_named(void **state)
{
	static const struct content_limits few = { .line = 20, .size = 60 };
	static const struct {
		struct span text;
		unsigned status;
	} rows[] = {
		{ SPAN_INIT("A: b\r\n\r\nx\0y\nz\r\n.\r\n"), STATUS_NUL_BYTE },
		{ SPAN_INIT("A: b\r\n\r\nx\ny\0z\r\n.\r\n"), STATUS_BARE_LF },
		{ SPAN_INIT("A: b\r\n\r\nx\ny\rz\r\n.\r\n"), STATUS_BARE_LF },
		{ SPAN_INIT("A: b\r\n\r\nx\0\r\n123456789 123456789 1\r\n.\r\n"), STATUS_NUL_BYTE },
		{ SPAN_INIT("A: b\r\n\r\n123456789 123456789 1\0\r\n.\r\n"), STATUS_CONTENT_LINE_TOO_LONG },
		{ SPAN_INIT("A: b\r\n\r\n123456789 123\r\n123456789 123\r\n123456789 123\r\n123456789 123456789 1\n\r\n.\r\n"), STATUS_TOO_BIG },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t piece = 1; piece <= rows[i].text.n; piece++) {
			struct fed f;

			feed(&f, rows[i].text, piece, &few);
			if (f.c.status != rows[i].status || !f.ended)
				fail_msg("row %zu, pieces of %zu: status %s", i, piece, status_get(f.c.status)->name);
			buf_free(&f.out);
		}
}

static void
limits(void **state)
{
	struct fed f;
	struct content_limits size = { .size = 10 }, line = { .line = 20 }, hops = { .hops = 2 },
			      header = { .header = 30 };
	char big[3000];

	(void)state;
	feed(&f, SPAN("A: b\r\n\r\nxx\r\n.\r\n"), 3, &size);
	assert_int_equal(f.c.status, STATUS_TOO_BIG);
	assert_true(f.ended);
	buf_free(&f.out);
	feed(&f, SPAN("\r\n123456\r\n.\r\n"), 100, &size);
	assert_int_equal(f.c.status, 0);
	buf_free(&f.out);
	feed(&f, SPAN("\r\n12345678901234567890\r\n.12345678901234567890\r\n.\r\n"), 7, &line);
	assert_int_equal(f.c.status, 0);
	buf_free(&f.out);
	feed(&f, SPAN("\r\n123456789012345678901\r\n.\r\n"), 7, &line);
	assert_int_equal(f.c.status, STATUS_CONTENT_LINE_TOO_LONG);
	buf_free(&f.out);
	feed(&f, SPAN("Received: a\r\nreceived : b\r\nX: y\r\nDelivered-To: z\r\n\r\nReceived: c\r\n.\r\n"), 5, &hops);
	assert_int_equal(f.c.status, 0);
	assert_int_equal(f.c.received, 2);
	assert_int_equal(f.c.delivered_to, 1);
	buf_free(&f.out);
	feed(&f, SPAN("Received: a\r\nreceived : b\r\nRECEIVED: y\r\n\r\n.\r\n"), 5, &hops);
	assert_int_equal(f.c.status, STATUS_LOOP);
	buf_free(&f.out);
	feed(&f, SPAN("A: 89012345678901234567890\r\nB: c\r\n\r\n.\r\n"), 5, &header);
	assert_int_equal(f.c.status, STATUS_HEADER_TOO_LARGE);
	buf_free(&f.out);
	memset(big, 'a', sizeof(big)); /* no colon in sight: not held back for ever */
	memcpy(big + sizeof(big) - 5, "\r\n.\r\n", 5);
	for (size_t piece = 1; piece < 700; piece += 99) {
		feed(&f, span_of(big, sizeof(big)), piece, &(struct content_limits){ .line = 5000 });
		assert_true(f.ended && f.c.need_blank && f.header_at == 0);
		buf_free(&f.out);
	}
}

/* Many lines are taken in one step: a fault at each place of them must still be seen. */
static void
one_fault_anywhere_in_long_content(void **state)
{
	static const struct {
		char with;
		unsigned status;
	} faults[] = { { '\r', STATUS_BARE_CR }, { '\n', STATUS_BARE_LF }, { '\0', STATUS_NUL_BYTE } };
	static const struct content_limits limits = { .line = 78 };
	static const char head[] = "A: b\r\n\r\n", end[] = ".\r\n";
	char text[sizeof(head) + 8 * 80 + sizeof(end)];
	size_t n = sizeof(head) - 1;

	(void)state;
	memcpy(text, head, n);
	for (int line = 0; line < 8; line++) {
		memset(text + n, 'a' + line, 78);
		memcpy(text + n + 78, "\r\n", 2);
		n += 80;
	}
	memcpy(text + n, end, 3);
	n += 3;
	for (size_t at = sizeof(head) - 1; at < n - 5; at++)
		for (unsigned i = 0; i < 3; i++) {
			char was = text[at];
			struct fed f;

			if (was == '\r' || was == '\n')
				continue;
			text[at] = faults[i].with;
			for (size_t piece = 63; piece <= n; piece += 97) {
				feed(&f, span_of(text, n), piece, &limits);
				assert_true(f.ended);
				assert_int_equal(f.c.status, faults[i].status);
				buf_free(&f.out);
			}
			text[at] = '.';
			feed(&f, span_of(text, n), n, &limits);
			assert_true(f.ended && f.used == n && !f.c.status);
			assert_int_equal(buf_len(&f.out), n - 3 - ((at - (sizeof(head) - 1)) % 80 == 0));
			buf_free(&f.out);
			text[at] = was;
		}
	for (int line = 0; line < 8; line++) { /* one byte longer than it may be */
		char longer[sizeof(text) + 1];
		size_t at = sizeof(head) - 1 + (size_t)line * 80;
		struct fed f;

		memcpy(longer, text, at);
		longer[at] = 'x';
		memcpy(longer + at + 1, text + at, n - at);
		feed(&f, span_of(longer, n + 1), n + 1, &limits);
		assert_true(f.ended);
		assert_int_equal(f.c.status, STATUS_CONTENT_LINE_TOO_LONG);
		buf_free(&f.out);
	}
	{
		struct fed f;

		feed(&f, span_of(text, n), n, &limits);
		assert_true(f.ended && !f.c.status);
		assert_memory_equal(f.out.mem + f.out.at, text, n - 3);
		buf_free(&f.out);
	}
}

static void
facts(void **state)
{
	(void)state;
	for (size_t piece = 1; piece < 80; piece++) {
		struct fed f;

		feed(&f, SPAN("Date: x\r\nMessage-Id : y\r\n z\r\nbcc:\r\nFROM:a\r\n\r\nTo: no\r\n\xc3\xbc\r\n.\r\n"),
		     piece, &none);
		assert_int_equal(f.c.fields,
		    CONTENT_FIELD(DATE) | CONTENT_FIELD(MESSAGE_ID) | CONTENT_FIELD(BCC) | CONTENT_FIELD(FROM));
		assert_true(f.c.eightbit && !f.c.header_8bit && !f.c.need_blank);
		assert_int_equal(f.c.lines, 8);
		assert_int_equal(f.header_at, strlen("Date: x\r\nMessage-Id : y\r\n z\r\nbcc:\r\nFROM:a\r\n"));
		buf_free(&f.out);
		feed(&f, SPAN("From: \xc3\xbc\r\nno field\r\n.\r\n"), piece, &none);
		assert_true(f.c.header_8bit && f.c.need_blank);
		assert_int_equal(f.header_at, strlen("From: \xc3\xbc\r\n"));
		buf_free(&f.out);
		feed(&f, SPAN(" starts with a blank\r\n.\r\n"), piece, &none);
		assert_int_equal(f.header_at, 0);
		buf_free(&f.out);
	}
}

static void
by_length(void **state)
{
	struct content_limits limits = { .by_length = true };

	(void)state;
	for (size_t piece = 1; piece < 40; piece++) {
		struct fed f;

		feed(&f, SPAN("A: b\r\n\r\n.\r\n..x\r\n"), piece, &limits);
		assert_int_equal(f.c.status, 0);
		assert_true(f.ended);
		assert_span(buf_span(&f.out), "A: b\r\n\r\n.\r\n..x\r\n");
		buf_free(&f.out);
		feed(&f, SPAN("A: b\r\n\r\nno end"), piece, &limits);
		assert_int_equal(f.c.status, 0);
		assert_true(f.ended);
		assert_span(buf_span(&f.out), "A: b\r\n\r\nno end\r\n");
		buf_free(&f.out);
		feed(&f, SPAN("A: b\r\n\r\ncr\r"), piece, &limits);
		assert_int_equal(f.c.status, STATUS_BARE_CR);
		assert_true(f.ended);
		buf_free(&f.out);
		feed(&f, SPAN("A: b"), piece, &limits);
		assert_span(buf_span(&f.out), "A: b\r\n");
		assert_true(f.ended && f.header_at != SIZE_MAX);
		buf_free(&f.out);
	}
}

static void
stuffing_is_the_way_back(void **state)
{
	static const char *const rows[] = { "",          "a\r\n",
					    ".\r\n",     "..\r\n.a\r\nb.\r\n.\r\n",
					    "\r\n.\r\n", "a.b.c\r\n.d..\r\n" };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t piece = 1; piece <= strlen(rows[i]) + 1; piece++) {
			struct stuff s;
			struct buf wire;
			struct fed f;
			struct span all = span_str(rows[i]), run;
			size_t at = 0;

			buf_init(&wire, 1000);
			stuff_init(&s);
			while (at < all.n) {
				struct span in = span_sub(all, at, piece);

				at += in.n;
				if (stuff_plain(&s, in)) {
					buf_put(&wire, in);
					continue;
				}
				while (stuff_next(&s, &in, &run))
					buf_put(&wire, run);
			}
			buf_put(&wire, stuff_tail(&s));
			feed(&f, buf_span(&wire), 4, &none);
			assert_int_equal(f.c.status, 0);
			assert_true(f.ended && f.used == buf_len(&wire));
			assert_span(buf_span(&f.out), rows[i]);
			buf_free(&f.out);
			buf_free(&wire);
		}
}

static void
what_needs_no_dots_goes_as_it_is(void **state)
{
	char text[200];
	struct stuff s;

	(void)state;
	memset(text, 'x', sizeof(text));
	for (size_t at = 0; at + 1 < sizeof(text); at++) {
		stuff_init(&s);
		memcpy(text + at, "\n.", 2);
		assert_false(stuff_plain(&s, span_of(text, sizeof(text))));
		assert_true(stuff_plain(&s, span_of(text, at + 1)));
		assert_false(stuff_plain(&s, span_of(text + at + 1, sizeof(text) - at - 1)));
		text[at] = text[at + 1] = 'x';
	}
	stuff_init(&s);
	assert_false(stuff_plain(&s, SPAN(".")));
	assert_true(stuff_plain(&s, span_of(text, sizeof(text))));
	assert_true(stuff_plain(&s, SPAN(".")));
	assert_true(stuff_plain(&s, SPAN("\r")));
	assert_true(stuff_plain(&s, SPAN("\n")));
	assert_span(stuff_tail(&s), ".\r\n");
}

static void
unterminated_content_gets_its_line_end(void **state)
{
	struct stuff s;
	struct span in = SPAN("abc"), run;

	(void)state;
	stuff_init(&s);
	assert_true(stuff_next(&s, &in, &run));
	assert_span(stuff_tail(&s), "\r\n.\r\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_crlf_dot_crlf_ends),
		cmocka_unit_test(what_follows_the_end_stays),
		cmocka_unit_test(smuggled_ends_do_not_end),
		cmocka_unit_test(the_first_fault_is_named),
		cmocka_unit_test(limits),
		cmocka_unit_test(one_fault_anywhere_in_long_content),
		cmocka_unit_test(facts),
		cmocka_unit_test(by_length),
		cmocka_unit_test(stuffing_is_the_way_back),
		cmocka_unit_test(what_needs_no_dots_goes_as_it_is),
		cmocka_unit_test(unterminated_content_gets_its_line_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
