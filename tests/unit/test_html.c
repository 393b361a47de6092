/* SPDX-License-Identifier: ISC */
#include "mail_test.h"

#include <stdlib.h>
#include <time.h>

#include "mail/charset.h"
#include "mail/html.h"

static void
texts(void **state)
{
	static const struct {
		const char *html, *text;
	} rows[] = {
		{ "", "" },
		{ "plain", "plain" },
		{ "<p>One</p>\r\n<p>Two</p>", "One Two" },
		{ "hay<b>st</b>ack", "haystack" },
		{ "one<br>two<br/>three", "one two three" },
		{ "a \r\n\t b", "a b" },
		{ "a&nbsp;&nbsp;b&#160;c", "a b c" },
		{ "&lt;b&gt; &amp;amp; &quot;x&quot; &#39;&#x27;", "<b> &amp; \"x\" ''" },
		{ "Gr&uuml;&szlig;e &Auml;&euro; &Alpha;&thetasym;", "Gr\xc3\xbc\xc3\x9f""e \xc3\x84\xe2\x82\xac \xce\x91\xcf\x91" },
		{ "&unknown; &amp &; & &#; &#x; &#xd800; &#1114112; &#x1f600;", "&unknown; &amp &; & &#; &#x; &#xd800; &#1114112; \xf0\x9f\x98\x80" },
		{ "&#99999999999999999999999999;", "&#99999999999999999999999999;" },
		{ "1 < 2, <3", "1 < 2, <3" },
		{ "x<", "x<" },
		{ "<title>No</title><style>p { a > b }</style><body>Yes<script>if (a</b>) x()</script>!", "Yes!" },
		{ "<STYLE type=x>p</sTyLe >y", "y" },
		{ "<head><meta charset=utf-8><body>said", "said" },
		{ "a<!-- <p> -- > no -->b", "ab" },
		{ "a<!-- never ends", "a" },
		{ "<!DOCTYPE html PUBLIC \"-//W3C//DTD\"><?xml version='1.0'?>x", "x" },
		{ "<a href=\"x>y\" title='a>b'>link</a>", "link" },
		{ "<a href=it's>link's</a>", "link's" },
		{ "<a href=\"open>still <b>here</b>", "still here" },
		{ "<a href='1'>a</a><a href='2>b</a>", "ab" },
		{ "cut <a href", "cut" },
		{ "<td>1</td><td>2</td>", "1 2" },
		{ "\xff<i>\xfe", "\xff\xfe" },
	};
	struct buf out;

	(void)state;
	buf_init(&out, 1 << 20);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct span text;

		buf_reset(&out);
		html_text(span_str(rows[i].html), &out);
		text = buf_span(&out);
		if (!span_eq(text, span_str(rows[i].text)))
			fail_msg("%s: \"%.*s\"", rows[i].html, SPAN_ARG(text));
	}
	buf_free(&out);
}

/* What opens and never closes, many times. */
static void
is_linear(void **state)
{
	static const char *const pieces[] = { "<a x=\"", "<a x='", "<", "<!--", "&", "&#", "<script>", "</", "<a x=\"><b y='", "<style></styl" };
	struct buf in, out;

	(void)state;
	buf_init(&in, 8 << 20);
	buf_init(&out, 16 << 20);
	for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
		clock_t begun;

		buf_reset(&in);
		buf_reset(&out);
		while (buf_len(&in) < 2 << 20)
			buf_puts(&in, pieces[i]);
		begun = clock();
		html_text(buf_span(&in), &out);
		if (clock() - begun > 10 * CLOCKS_PER_SEC) /* milliseconds; quadratic it would be hours */
			fail_msg("\"%s\" repeated takes long", pieces[i]);
	}
	buf_free(&in);
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts),
		cmocka_unit_test(is_linear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
