/* SPDX-License-Identifier: ISC */
#include "mail_test.h"

#include "mail/charset.h"
#include "mail/downgrade.h"
#include "mail/limits.h"
#include "mail/mime.h"
#include "mail/status.h"

static struct arena arena;
static struct buf out;
static struct fail why;

static int
setup(void **state)
{
	(void)state;
	arena_init(&arena, 1 << 20);
	buf_init(&out, 1 << 20);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	arena_free(&arena);
	buf_free(&out);
	return 0;
}

#define convert(in, want)                                                        \
	do {                                                                     \
		buf_reset(&out);                                                 \
		assert_true(downgrade(&out, span_str(in), DOWNGRADE_8BIT, &arena, &why));        \
		assert_span(buf_span(&out), want);                               \
	} while (0)

/* S15: the 7-bit path never alters. */
static void
seven_bits_pass_unchanged(void **state)
{
	static const char *const rows[] = { "A: b\r\n\r\nbody\r\n", "", "no header\r\n", "A: b\r\n",
		"Content-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n--b\r\n\r\nx\r\n--b--\r\npost\r\n",
		"Content-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\nplain after all\r\n" };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		convert(rows[i], rows[i]);
}

static void
single_parts(void **state)
{
	(void)state;
	convert("Subject: x\r\n\r\nGr\xc3\xbc\xc3\x9f" "e = \r\n",
	    "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
	    "Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe =3D=20\r\n");
	convert("MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\xc3\xbc\r\n",
	    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC\r\n");
	convert("MIME-Version: 1.0\r\nContent-Type: image/gif\r\n\r\n\xff\xfe\r\n",
	    "MIME-Version: 1.0\r\nContent-Type: image/gif\r\nContent-Transfer-Encoding: base64\r\n\r\n//4NCg==\r\n");
	convert("MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=41\xff\r\n",
	    "MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=41=FF\r\n");
}

/* Bytes beyond ASCII in what is encoded already. Without them a line must not turn into a field or a boundary. */
static void
stray_bytes_in_encoded_parts(void **state)
{
#define CTE "Content-Transfer-Encoding: "
#define MIXED "Content-Type: multipart/mixed; boundary=\"=FFb\"\r\n\r\n--=FFb\r\n"
	(void)state;
	convert(CTE "base64\r\n\r\nQU\xff" "JD\r\n*\r\n", CTE "base64\r\n\r\nQUJD\r\n*\r\n");
	convert(CTE "base64\r\n\xd2" "Content-Type: a/b\r\n", CTE "base64\r\n\r\nContentTypea/b\r\n");
	convert(CTE "quoted-printable\r\n\xd2" "Content-Type: a/b\r\n", CTE "quoted-printable\r\n\r\n=D2Content-Type: a/b\r\n");
	convert(MIXED CTE "base64\r\n\r\n\xff--=FFb\r\n", MIXED CTE "base64\r\n\r\n=FFb\r\n");
	convert(MIXED CTE "quoted-printable\r\n\r\n--\xff" "b\r\n", MIXED CTE "quoted-printable\r\n\r\n=2D-=FFb\r\n");
#undef CTE
#undef MIXED
}

static void
only_parts_that_need_it(void **state)
{
	(void)state;
	convert("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\npre \xff\r\n--b\r\n\r\nplain\r\n"
		"--b\r\nContent-Type: text/html\r\n\r\n<\xc3\xbc>\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\n\xc3\xbc\r\n--b--\r\npost\r\n",
	    "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\r\n--b\r\n\r\nplain\r\n"
	    "--b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<=C3=BC>\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
	    "Subject: in\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
	    "Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC\r\n--b--\r\npost\r\n");
	assert_false(utf8_has_8bit(buf_span(&out)));
}

/* A soft line end would put "--b" on a line of its own. */
static void
no_boundary_comes_of_folding(void **state)
{
	struct mime_part *root;
	char line[400];

	(void)state;
	for (int n = 60; n < 90; n++) {
		int at = snprintf(line, sizeof(line), "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n\xc3\xbc");

		memset(line + at, 'x', (size_t)n);
		snprintf(line + at + n, sizeof(line) - (size_t)(at + n), "--b\r\nend\r\n--b--\r\n");
		buf_reset(&out);
		assert_true(downgrade(&out, span_str(line), DOWNGRADE_8BIT, &arena, &why));
		root = mime_parse(buf_span(&out), &arena);
		assert_int_equal(root->nchildren, 1);
	}
}

static void
what_must_not_change(void **state)
{
	(void)state;
	assert_false(downgrade(&out,
	    SPAN("Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xc3\xbc\r\n--b\r\n\r\nsig\r\n--b--\r\n"), DOWNGRADE_8BIT, &arena, &why));
	assert_int_equal(why.status, STATUS_CONVERSION_REQUIRED);
	assert_false(downgrade(&out, SPAN("Content-Type: message/partial; id=x\r\n\r\n\xc3\xbc\r\n"), DOWNGRADE_8BIT, &arena, &why));
	assert_int_equal(why.status, STATUS_CONVERSION_REQUIRED);
}

/* RFC 1847 2.1: not a label of what has been signed, either. */
static void
what_is_signed_keeps_its_labels(void **state)
{
#define TEXT "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: text/plain\r\n"
#define SIGNED "\r\n--a\r\nContent-Type: multipart/signed; boundary=s\r\n\r\n"                                     \
	"--s\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"            \
	"--b\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\nplain\r\n--b--\r\n"               \
	"--s\r\n\r\nsig\r\n--s--\r\n--a--\r\n"
	(void)state;
	for (unsigned more = 0; more <= DOWNGRADE_BINARY; more += DOWNGRADE_BINARY) {
		buf_reset(&out);
		assert_true(downgrade(&out, SPAN(TEXT "\r\n\xc3\xbc" SIGNED), DOWNGRADE_8BIT | more, &arena, &why));
		assert_span(buf_span(&out), TEXT "Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC" SIGNED);
	}
#undef TEXT
#undef SIGNED
}

/* What stands between its parts means nothing; but where it has none, that is the message. */
static void
multipart_without_parts(void **state)
{
	static const char *const rows[] = {
		"Content-Type: multipart/mixed; boundary=b\r\n\r\nGr\xc3\xbc\xc3\x9f" "e\r\n--c\r\n\r\n\xc3\xbc\r\n--c--\r\n",
		"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\xc3\xbc\r\n--a--\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_reset(&out);
		if (downgrade(&out, span_str(rows[i]), DOWNGRADE_8BIT, &arena, &why))
			fail_msg("row %zu: %.*s", i, SPAN_ARG(buf_span(&out)));
		assert_int_equal(why.status, STATUS_CONVERSION_REQUIRED);
	}
}

/* As many parts as that, the last one of a byte beyond ASCII. */
static void
put_parts(struct buf *to, unsigned n)
{
	buf_init(to, 1 << 20);
	buf_puts(to, "Content-Type: multipart/mixed; boundary=b\r\n\r\n");
	for (unsigned i = 1; i < n; i++)
		buf_puts(to, "--b\r\n\r\nplain\r\n");
	buf_puts(to, "--b\r\n\r\n\xc3\xbc\r\n--b--\r\n");
	assert_true(buf_ok(to));
}

/* Parts that the tree has no room for would become text of the one before them. */
static void
more_parts_than_are_known(void **state)
{
	static const struct {
		unsigned parts;
		size_t memory;
		unsigned status;
	} rows[] = {
		{ LIMIT_MIME_PARTS / 2, 64 << 20, 0 },
		{ LIMIT_MIME_PARTS + 1, 64 << 20, STATUS_CONVERSION_REQUIRED },
		{ LIMIT_MIME_PARTS / 2, 64 << 10, STATUS_SYSTEM_LOCAL_TEMP },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct arena own;
		struct buf in;

		arena_init(&own, rows[i].memory);
		put_parts(&in, rows[i].parts);
		buf_reset(&out);
		why = (struct fail){ .class = FAIL_NONE };
		if (downgrade(&out, buf_span(&in), DOWNGRADE_8BIT, &own, &why) != !rows[i].status)
			fail_msg("row %zu: %s", i, why.text);
		assert_int_equal(why.status, rows[i].status);
		buf_free(&in);
		arena_free(&own);
	}
}

static void
check_lines(unsigned what, struct span in, const char *want)
{
	buf_reset(&out);
	if (!downgrade(&out, in, what, &arena, &why))
		fail_msg("%s: %.*s", why.text, SPAN_ARG(buf_span(&out)));
	assert_span(buf_span(&out), want);
}

/* RFC 3030 3: for a peer without BINARYMIME; and the same where it has not even 8BITMIME. */
static void
binary_becomes_lines(void **state)
{
	static const char mixed[] = "Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: binary\r\n\r\n"
	    "pre\nx\r\n--b\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\n\r\r\n--b\r\n\r\n\xc3\xbc\r\n--b--\r\npost\0\r\n";
	char text[1100];

	(void)state;
	check_lines(DOWNGRADE_BINARY, span_of(mixed, sizeof(mixed) - 1),
	    "Content-Type: multipart/mixed; boundary=b\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
	    "\r\nx\r\n--b\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\nAAoN\r\n\r\n--b\r\n\r\n\xc3\xbc\r\n--b--\r\n\r\n");
	check_lines(DOWNGRADE_BINARY | DOWNGRADE_8BIT, span_of(mixed, sizeof(mixed) - 1),
	    "Content-Type: multipart/mixed; boundary=b\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
	    "\r\nx\r\n--b\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\nAAoN\r\n\r\n--b\r\n"
	    "Content-Type: text/plain; charset=unknown-8bit\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC\r\n--b--\r\n\r\n");
	/* Only its label is binary. */
	check_lines(DOWNGRADE_BINARY, SPAN("MIME-Version: 1.0\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\nab\r\nc"),
	    "MIME-Version: 1.0\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: 7bit\r\n\r\nab\r\nc");
	/* A boundary behind a bare LF is one all the same. */
	check_lines(DOWNGRADE_BINARY, SPAN("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\na\n--b--\r\n"),
	    "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\na\r\n--b--\r\n");
	/* A line of 998 fits, one of 999 does not (RFC 2045 2.8). */
	for (size_t n = 998; n <= 999; n++) {
		int at = snprintf(text, sizeof(text), "MIME-Version: 1.0\r\nContent-Type: a/b\r\n\r\n");

		memset(text + at, 'x', n);
		buf_reset(&out);
		assert_true(downgrade(&out, span_of(text, (size_t)at + n), DOWNGRADE_BINARY, &arena, &why));
		assert_int_equal(span_find(buf_span(&out), SPAN("base64")) == SIZE_MAX, n == 998);
	}
}

static void
what_cannot_become_lines(void **state)
{
	static const char rows[][120] = {
		"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\na\nb\r\n--b--\r\n",
		"Content-Transfer-Encoding: base64\r\n\r\nAA\nAA\r\n",
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: a/b\nX: y\r\n\r\n\n\r\n--b--\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_reset(&out);
		if (downgrade(&out, span_str(rows[i]), DOWNGRADE_BINARY, &arena, &why))
			fail_msg("row %zu: %.*s", i, SPAN_ARG(buf_span(&out)));
		assert_int_equal(why.status, STATUS_CONVERSION_REQUIRED);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(seven_bits_pass_unchanged),
		T(single_parts),
		T(stray_bytes_in_encoded_parts),
		T(only_parts_that_need_it),
		T(no_boundary_comes_of_folding),
		T(what_must_not_change),
		T(what_is_signed_keeps_its_labels),
		T(multipart_without_parts),
		T(more_parts_than_are_known),
		T(binary_becomes_lines), T(what_cannot_become_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
