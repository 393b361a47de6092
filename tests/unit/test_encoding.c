/* SPDX-License-Identifier: ISC */
#include "mail_test.h"

#include "mail/charset.h"
#include "mail/encoding.h"
#include "mail/param.h"
#include "mail/word.h"

static struct buf out;

static int
setup(void **state)
{
	(void)state;
	buf_init(&out, 100000);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	buf_free(&out);
	return 0;
}

/* Whole and byte by byte must agree. */
static void
check_decode(enum encoding kind, const char *in, const char *want, int line)
{
	struct decoder d;

	buf_reset(&out);
	assert_true(encoding_decode(kind, span_str(in), &out));
	assert_span_(buf_span(&out), want, line);
	buf_reset(&out);
	decoder_init(&d, kind);
	for (const char *p = in; *p; p++)
		decoder_feed(&d, span_of(p, 1), &out);
	decoder_end(&d, &out);
	assert_span_(buf_span(&out), want, line);
}
#define decode(kind, in, want) check_decode(kind, in, want, __LINE__)

static void
decoders(void **state)
{
	(void)state;
	decode(ENCODING_BASE64, "SGVsbG8=", "Hello");
	decode(ENCODING_BASE64, "SGVs\r\nbG8=\r\n", "Hello");
	decode(ENCODING_BASE64, "SGVsbG8", "Hello");
	decode(ENCODING_BASE64, "SG!Vs*bG8", "Hello");
	decode(ENCODING_BASE64, "SGVsbG8=SGVsbG8=", "HelloHello");
	decode(ENCODING_BASE64, "====", "");
	decode(ENCODING_BASE64, "S", "");
	decode(ENCODING_QP, "a=3Db=\r\nc=20\r\nd  \r\n e", "a=bc \r\nd\r\n e");
	decode(ENCODING_QP, "a=\nb", "ab");
	decode(ENCODING_QP, "a= \r\nb", "ab");
	decode(ENCODING_QP, "a=c3=BC", "a\xc3\xbc");
	decode(ENCODING_QP, "a=XYb=4", "a=XYb=4");
	decode(ENCODING_QP, "a=", "a");
	decode(ENCODING_QP, "==41", "=A");
	decode(ENCODING_8BIT, "a=3D", "a=3D");
}

static void
names(void **state)
{
	(void)state;
	assert_int_equal(encoding_of(SPAN(" BASE64 (picture.jpg)")), ENCODING_BASE64);
	assert_int_equal(encoding_of(SPAN("quoted-Printable")), ENCODING_QP);
	assert_int_equal(encoding_of(SPAN("")), ENCODING_7BIT);
	assert_int_equal(encoding_of(SPAN("x-foo")), ENCODING_UNKNOWN);
	assert_string_equal(encoding_name(ENCODING_BASE64), "base64");
}

/* S16: to 7 bits and back, nothing lost, lines short. */
static void
round_trip(void **state)
{
	static const enum encoding kinds[] = { ENCODING_QP, ENCODING_BASE64 };
	char all[2000];
	struct buf back;

	(void)state;
	buf_init(&back, 100000);
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (char)(i * 7 + i / 256);
	memcpy(all + 100, "trailing \t\r\n.\r\nFrom me \r\n\r\n", 28);
	for (size_t k = 0; k < 2; k++)
		for (size_t piece = 1; piece < 300; piece += 37) {
			struct encoder e;
			struct span rest;

			buf_reset(&out);
			buf_reset(&back);
			encoder_init(&e, kinds[k]);
			for (size_t at = 0; at < sizeof(all); at += piece)
				encoder_feed(&e, span_sub(span_of(all, sizeof(all)), at, piece), &out);
			encoder_end(&e, &out);
			rest = buf_span(&out);
			while (rest.n) {
				struct span line = span_cut(&rest, '\n');

				assert_true(line.n <= 77);
				assert_false(utf8_has_8bit(line));
				assert_false(span_starts(line, SPAN(".")) || span_starts(line, SPAN("From ")));
				if (line.n > 1)
					assert_false(ascii_blank(line.p[line.n - 2]));
			}
			assert_true(encoding_decode(kinds[k], buf_span(&out), &back));
			assert_true(span_eq(buf_span(&back), span_of(all, sizeof(all))));
		}
	buf_free(&back);
}

static void
words_decode(void **state)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{ "plain text", "plain text" },
		{ "=?ISO-8859-1?Q?Andr=E9?= Pirard", "Andr\xc3\xa9 Pirard" },
		{ "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n "
		  "=?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
		  "If you can read this you understand the example." },
		{ "(=?ISO-8859-1?Q?a?= b)", "(a b)" },
		{ "=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab" },
		{ "=?ISO-8859-1?Q?a_b?=", "a b" },
		{ "=?utf-8*en?q?a?=", "a" },
		{ "=?utf-8?b?w7w=?=", "\xc3\xbc" },
		{ "=?utf-8?b?ww==?= =?utf-8?b?vA==?=", "\xc3\xbc" },
		{ "=?utf-8?q?=C3?=x", "\xef\xbf\xbdx" },
		{ "=?nonsense?q?a?=", "=?nonsense?q?a?=" },
		{ "=?utf-8?x?a?=", "=?utf-8?x?a?=" },
		{ "=?utf-8?q?a", "=?utf-8?q?a" },
		{ "=?=?=?=", "=?=?=?=" },
		{ "raw \xe9", "raw \xc3\xa9" },
		{ "raw \xc3\xa9", "raw \xc3\xa9" },
		{ "folded\r\n text", "folded text" },
		{ "=?koi8-r?B?8NLJ18XU?=", "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82" },
		{ "=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "\xe6\x97\xa5\xe6\x9c\xac" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_reset(&out);
		assert_true(word_decode(span_str(rows[i].in), &out));
		if (!span_eq(buf_span(&out), span_str(rows[i].want)))
			fail_msg("%s: %.*s", rows[i].in, SPAN_ARG(buf_span(&out)));
	}
}

/* M24 */
static void
words_encode(void **state)
{
	static const char *const rows[] = {
		"plain",
		"looks =?like?= one",
		"Gr\xc3\xbc\xc3\x9f"
		"e an alle, die das hier lesen und noch ein bisschen mehr",
		"\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82 \xd0\xbc\xd0\xb8\xd1\x80 "
		"\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82 "
		"\xd0\xbc\xd0\xb8\xd1\x80 \xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82 \xd0\xbc\xd0\xb8\xd1\x80",
		"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e",
		"\xd9\x85\xd8\xb1\xd8\xad\xd8\xa8\xd8\xa7"
	};
	struct buf back;

	(void)state;
	buf_init(&back, 10000);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct span rest, word;

		buf_reset(&out);
		buf_reset(&back);
		word_encode(&out, span_str(rows[i]));
		rest = buf_span(&out);
		assert_false(utf8_has_8bit(rest));
		while (i > 1 && (word = span_word(&rest)).n)
			assert_true(word.n <= 75);
		assert_true(word_decode(buf_span(&out), &back));
		assert_span(buf_span(&back), rows[i]);
	}
	buf_free(&back);
}

static void
charsets(void **state)
{
	struct charset c;

	(void)state;
	assert_true(charset_to_utf8(SPAN("windows-1252"), SPAN("\x80\xe9\x81"), &out));
	assert_span(buf_span(&out), "\xe2\x82\xac\xc3\xa9\xef\xbf\xbd");
	buf_reset(&out);
	assert_true(charset_to_utf8(SPAN("US-ASCII"), SPAN("a\xe9"), &out));
	assert_span(buf_span(&out), "a\xef\xbf\xbd");
	buf_reset(&out);
	assert_true(charset_to_utf8(SPAN("utf-8"), SPAN("\xc3\xbc\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80"), &out));
	assert_true(utf8_valid(buf_span(&out)));
	assert_has(buf_span(&out), "\xc3\xbc");
	assert_true(charset_to_utf8(SPAN("utf+8"), SPAN("\xf4\x96\x8a\x8a."), &out)); /* iconv lets it through */
	assert_true(utf8_valid(buf_span(&out)));
	buf_reset(&out);
	assert_false(charset_known(SPAN("UTF-8//TRANSLIT")));
	assert_false(charset_known(SPAN("../../x")));
	assert_false(charset_known(SPAN("nonsense")));
	buf_reset(&out);
	assert_true(charset_open(&c, SPAN("shift_jis")));
	for (const char *p = "\x93\xfa\x96\x7b"; *p; p++)
		charset_feed(&c, span_of(p, 1), &out);
	charset_feed(&c, SPAN("\x93"), &out);
	charset_end(&c, &out);
	charset_close(&c);
	assert_span(buf_span(&out), "\xe6\x97\xa5\xe6\x9c\xac\xef\xbf\xbd");
}

static void
utf8(void **state)
{
	(void)state;
	for (uint32_t cp = 0; cp <= 0x10ffff; cp += cp < 0x11000 ? 1 : 997) {
		uint32_t back = 0;

		if (cp >= 0xd800 && cp <= 0xdfff)
			continue;
		buf_reset(&out);
		utf8_put(&out, cp);
		assert_int_equal(utf8_next(buf_span(&out), &back), buf_len(&out));
		assert_int_equal(back, cp);
	}
	assert_false(utf8_valid(SPAN("\xc0\x80")));
	assert_false(utf8_valid(SPAN("\xe0\x80\x80")));
	assert_false(utf8_valid(SPAN("\xed\xa0\x80")));
	assert_false(utf8_valid(SPAN("\xf8\x88\x80\x80\x80")));
	assert_false(utf8_valid(SPAN("\xc3")));
	assert_true(utf8_has_8bit(SPAN("0123456789012345678901234567890123456789\xc3")));
	assert_true(utf8_has_8bit(SPAN("\xc3""0123456789012345678901234567890123456789")));
	assert_false(utf8_has_8bit(SPAN("0123456789012345678901234567890123456789")));
}

static void
check_param(const char *raw, const char *name, const char *want, int line)
{
	struct arena a;
	struct param_list list;

	arena_init(&a, 100000);
	buf_reset(&out);
	assert_true(param_parse(&list, span_str(raw), &a));
	if (param_get(&list, span_str(name), &out) != (want != NULL))
		fail_msg("line %d", line);
	if (want)
		assert_span_(buf_span(&out), want, line);
	arena_free(&a);
}
#define param(raw, name, want) check_param(raw, name, want, __LINE__)

static void
params(void **state)
{
	(void)state;
	param("; charset=us-ascii", "charset", "us-ascii");
	param("; charset= \"us-ascii\" (comment) ; x=y", "CHARSET", "us-ascii");
	param("; charset= \"us-ascii\" (comment) ; x=y", "x", "y");
	param("; BOUNDARY= \"a=:b c\"", "boundary", "a=:b c");
	param("; a = b ; c", "a", "b");
	param("; a = b ; c", "c", NULL);
	param(";;; a=\"x\\\"y\\\\z\"; b=2", "a", "x\"y\\z");
	param("; a=\"open", "a", "open");
	param("; name=my file.txt; b=2", "name", "my file.txt");
	param("; filename*=utf-8''%e2%82%ac%20rates", "filename", "\xe2\x82\xac rates");
	param("; filename*=iso-8859-1'en'%A3%20rates", "filename", "\xc2\xa3 rates");
	param("; URL*0=\"ftp://\"; URL*1=\"cs.utk.edu/pub\"", "url", "ftp://cs.utk.edu/pub");
	param("; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2=\"isn't "
	      "it!\"",
	      "title", "This is even more ***fun*** isn't it!");
	param("; t*1=b; t*0=a; t*3=d", "t", "ab");
	param("; name=\"=?utf-8?q?=C3=BC?=.txt\"", "name", "\xc3\xbc.txt");
	param("; filename*=nonsense''%41", "filename", "A");
	param("; filename*=%41%zz", "filename", "A%zz");
	param("", "x", NULL);
	buf_reset(&out);
	param_put(&out, SPAN("a"), SPAN("b"));
	param_put(&out, SPAN("c"), SPAN("d \"e"));
	param_put(&out, SPAN("f"), SPAN("\xc3\xbc x"));
	assert_span(buf_span(&out), "; a=b; c=\"d \\\"e\"; f*=utf-8''%C3%BC%20x");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(decoders, setup, teardown),
		cmocka_unit_test_setup_teardown(names, setup, teardown),
		cmocka_unit_test_setup_teardown(round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(words_decode, setup, teardown),
		cmocka_unit_test_setup_teardown(words_encode, setup, teardown),
		cmocka_unit_test_setup_teardown(charsets, setup, teardown),
		cmocka_unit_test_setup_teardown(utf8, setup, teardown),
		cmocka_unit_test_setup_teardown(params, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
