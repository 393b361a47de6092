/* SPDX-License-Identifier: ISC
 *
 * Tests named m<nn>_ are the rows of shared ACCEPTANCE.md A.3.
 */
#include "mail_test.h"

#include <stdlib.h>

#include "mail/charset.h"
#include "mail/limits.h"
#include "mail/mime.h"

static struct arena arena;
static struct buf out;
static struct span message;

static int
setup(void **state)
{
	(void)state;
	arena_init(&arena, 16 << 20);
	buf_init(&out, 1 << 22);
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

/* Every extent inside the message and inside its parent's body, and counted right. */
static void
check_tree(const struct mime_part *p)
{
	const struct mime_extent *both[2] = { &p->header, &p->body };

	for (size_t i = 0; i < 2; i++) {
		size_t lines = 0, bare = 0;

		assert_true(both[i]->at <= message.n && both[i]->n <= message.n - both[i]->at);
		for (size_t at = both[i]->at; at < both[i]->at + both[i]->n; at++) {
			lines += message.p[at] == '\n';
			bare += message.p[at] == '\n' && (at == 0 || message.p[at - 1] != '\r');
		}
		assert_int_equal(lines, both[i]->lines);
		assert_int_equal(bare, both[i]->bare);
	}
	assert_true(p->type.n && p->subtype.n && p->encoding_text.p);
	assert_int_equal(p->kind == MIME_LEAF, p->children == NULL);
	for (const struct mime_part *it = p->children; it; it = it->next) {
		assert_ptr_equal(it->parent, p);
		check_tree(it);
	}
}

static struct mime_part *
parse(const char *text)
{
	struct mime_part *root;

	message = span_str(text);
	root = mime_parse(message, &arena);
	assert_non_null(root);
	check_tree(root);
	buf_reset(&out);
	mime_describe(root, &out);
	return root;
}

static const struct mime_part *
part(const struct mime_part *root, unsigned a, unsigned b, unsigned c)
{
	const unsigned path[3] = { a, b, c };

	return mime_find(root, path, a && b && c ? 3 : a && b ? 2 : a ? 1 : 0);
}

static struct span
body(const struct mime_part *p)
{
	return mime_span(message, &p->body);
}

static const char *
param_text(const struct param_list *list, const char *name)
{
	static char text[200];
	struct buf b;

	buf_init(&b, sizeof(text) - 1);
	text[0] = '\0';
	if (param_get(list, span_str(name), &b))
		assert_true(span_cstr(buf_span(&b), text, sizeof(text)));
	buf_free(&b);
	return text;
}

static void
m01_plain_message_byte_exact(void **state)
{
	struct mime_part *root =
	    parse("From: alice@crepes.fr\r\nTo: bob@hamburger.edu\r\nSubject: x\r\n\r\nDo you like ketchup?\r\n");

	(void)state;
	assert_span(buf_span(&out), "text/plain");
	assert_false(root->type_given);
	assert_span(mime_span(message, &root->header),
		    "From: alice@crepes.fr\r\nTo: bob@hamburger.edu\r\nSubject: x\r\n\r\n");
	assert_span(body(root), "Do you like ketchup?\r\n");
	assert_int_equal(root->header.n + root->body.n, message.n);
	assert_int_equal(root->body.lines, 1);
	assert_span(root->envelope->subject, "x");
	assert_span(root->envelope->from.first->domain, "crepes.fr");
	assert_ptr_equal(part(root, 1, 0, 0), root);
	assert_null(part(root, 2, 0, 0));
	assert_null(part(root, 1, 1, 0));
}

static void
m05_image_message(void **state)
{
	struct mime_part *root =
	    parse("From: alice@crepes.fr\r\nTo: bob@hamburger.edu\r\nSubject: Picture of yummy crepe.\r\n"
		  "MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\nContent-Type: image/jpeg\r\n\r\n"
		  "/9j/4AAQ\r\n");

	(void)state;
	assert_span(buf_span(&out), "image/jpeg");
	buf_reset(&out);
	assert_true(encoding_decode(root->encoding, body(root), &out));
	assert_true(span_eq(buf_span(&out), SPAN("\xff\xd8\xff\xe0\0\x10")));
}

static void
m07_all_content_fields(void **state)
{
	struct mime_part *root = parse(
	    "MIME-Version: 1.0\r\nContent-Type: Application/PostScript; name=x\r\nContent-Description: a\r\n b\r\n"
	    "Content-ID: <id@x>\r\nContent-Transfer-Encoding: Quoted-Printable\r\nContent-MD5: abc==\r\n"
	    "Content-Disposition: attachment; filename=\"x y\"\r\nContent-Language: en, de (german)\r\n"
	    "Content-Location: http://x\r\nContent-Type: text/html\r\n\r\n");

	(void)state;
	assert_span(root->type, "Application");
	assert_span(root->subtype, "PostScript");
	assert_span(root->description, "a b");
	assert_span(root->id, "<id@x>");
	assert_int_equal(root->encoding, ENCODING_QP);
	assert_span(root->encoding_text, "Quoted-Printable");
	assert_span(root->md5, "abc==");
	assert_span(root->location, "http://x");
	assert_span(root->disposition, "attachment");
	assert_string_equal(param_text(&root->disposition_params, "filename"), "x y");
	assert_int_equal(root->nlanguages, 2);
	assert_span(root->languages[1], "de");
}

static void
m08_to_m12_m14_m15_media_types(void **state)
{
	static const char *const types[] = { "text/plain",
					     "text/enriched",
					     "image/gif",
					     "image/jpeg",
					     "audio/basic",
					     "video/mpeg",
					     "application/octet-stream",
					     "application/postscript",
					     "application/msword",
					     "message/partial",
					     "message/external-body" };

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		char text[200];
		struct mime_part *root;

		snprintf(text, sizeof(text), "Content-Type: %s; id=x; access-type=\"anon-ftp\"\r\n\r\nA: b\r\n\r\nbody",
			 types[i]);
		root = parse(text);
		assert_span(buf_span(&out), types[i]);
		assert_int_equal(root->kind, MIME_LEAF);
		assert_string_equal(param_text(&root->params, "access-type"), "anon-ftp");
		assert_span(body(root), "A: b\r\n\r\nbody");
	}
}

static void
m13_message_in_message(void **state)
{
	struct mime_part *root =
	    parse("Subject: outer\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nsee below\r\n--b\r\n"
		  "Content-Type: message/rfc822\r\n\r\nSubject: inner\r\nFrom: x@y\r\n\r\ninner text\r\n--b--\r\n");
	const struct mime_part *m = part(root, 2, 0, 0);

	(void)state;
	assert_span(buf_span(&out), "multipart/mixed(text/plain, message/rfc822(text/plain))");
	assert_int_equal(m->kind, MIME_MESSAGE);
	assert_span(m->children->envelope->subject, "inner");
	assert_span(mime_span(message, &m->children->header), "Subject: inner\r\nFrom: x@y\r\n\r\n");
	assert_span(body(part(root, 2, 1, 0)), "inner text");
	assert_span(body(m), "Subject: inner\r\nFrom: x@y\r\n\r\ninner text");
	assert_null(part(root, 2, 2, 0));
	assert_null(part(root, 2, 1, 1));
	assert_null(part(root, 3, 0, 0));
	assert_null(part(root, 1, 1, 0));
}

static void
section_paths_through_messages(void **state)
{
	struct mime_part *root = parse(
	    "Content-Type: message/rfc822\r\n\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n"
	    "--b\r\n\r\ntwo\r\n--b--\r\n");

	(void)state;
	assert_ptr_equal(part(root, 1, 0, 0), root);
	assert_span(body(part(root, 1, 2, 0)), "two");
	assert_null(part(root, 2, 0, 0));
	assert_null(part(root, 1, 3, 0));
}

static void
m16_to_m18_multiparts(void **state)
{
	static const char *const types[] = { "mixed", "alternative", "parallel", "Related", "x-unknown" };

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		char text[300], want[100];

		snprintf(text, sizeof(text),
			 "Content-Type: multipart/%s; boundary=\"b\"\r\n\r\npreamble\r\n--b\r\n\r\none\r\n--b\r\n"
			 "Content-Type: text/html\r\n\r\ntwo\r\n\r\n--b--\r\nepilogue\r\n",
			 types[i]);
		snprintf(want, sizeof(want), "multipart/%s(text/plain, text/html)", types[i]);
		parse(text);
		assert_span(buf_span(&out), want);
	}
}

static void
m19_digest_of_messages(void **state)
{
	struct mime_part *root =
	    parse("Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: one\r\n\r\n1\r\n--b\r\n\r\n"
		  "Subject: two\r\n\r\n2\r\n--b\r\nContent-Type: text/plain\r\n\r\n3\r\n--b--\r\n");

	(void)state;
	assert_span(buf_span(&out),
		    "multipart/digest(message/rfc822(text/plain), message/rfc822(text/plain), text/plain)");
	assert_span(part(root, 2, 0, 0)->children->envelope->subject, "two");
	assert_span(body(part(root, 1, 1, 0)), "1");
}

static void
m20_unknown_message_subtype(void **state)
{
	struct mime_part *root = parse("Content-Type: Message/Mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n");

	(void)state;
	assert_span(buf_span(&out), "Message/Mixed");
	assert_int_equal(root->kind, MIME_LEAF);
}

static void
m21_boundaries(void **state)
{
	struct mime_part *root = parse(
	    "MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n\tboundary = \"outer (x) 'y' +_,-./:=?\"\r\n\r\n"
	    "This is the preamble.\r\n--outer\r\n--outer (x) 'y' +_,-./:=?  \r\n"
	    "Content-Type: multipart/alternative ; boundary = inner\r\n\r\n--inner\r\n\r\na1\r\n\r\n--inner\r\n"
	    "Content-Type: text/html\r\n\r\na2\r\n--innermost is text\r\n-- inner\r\n--inner--\r\ninner epilogue\r\n"
	    "--outer (x) 'y' +_,-./:=?\r\n\r\n\r\n--outer (x) 'y' +_,-./:=?--\r\nThe epilogue.\r\n--inner\r\n");
	const struct mime_part *inner = part(root, 1, 0, 0);

	(void)state;
	assert_span(buf_span(&out), "multipart/mixed(multipart/alternative(text/plain, text/html), text/plain)");
	assert_span(body(part(root, 1, 1, 0)), "a1\r\n");
	assert_span(body(part(root, 1, 2, 0)), "a2\r\n--innermost is text\r\n-- inner");
	assert_span(body(part(root, 2, 0, 0)), "");
	assert_true(span_ends(body(inner), SPAN("inner epilogue")));
	assert_true(span_ends(body(root), SPAN("The epilogue.\r\n--inner\r\n")));
}

/* The message of the book, with its blanks. */
static void
m22_pine_message_with_picture(void **state)
{
	struct mime_part *root =
	    parse("From: Jochen Schiller <schiller@example.de>\r\nTo: x@example.de\r\nSubject: "
		  "Picture\r\nMIME-Version: 1.0\r\n"
		  "Content-Type: MULTIPART/MIXED; BOUNDARY= \"8323328-2120168431-824156555=:325\"\r\n\r\n"
		  "  This message is in MIME format.  The first part should be readable text,\r\n"
		  "  while the remaining parts are likely unreadable without MIME-aware tools.\r\n\r\n"
		  "--8323328-2120168431-824156555=:325\r\n"
		  "Content-Type: TEXT/PLAIN; charset=US-ASCII\r\n\r\n"
		  "A picture is in the appendix\r\n\r\n"
		  "--8323328-2120168431-824156555=:325\r\n"
		  "Content-Type: IMAGE/JPEG; name=\"picture.jpg\"\r\n"
		  "Content-Transfer-Encoding: BASE64 (picture.jpg)\r\n"
		  "Content-ID: <PINE.LNX.3.91.960212212235.325B@localhost>\r\n"
		  "Content-Description:\r\n\r\n"
		  "/9j/4AAQSkZJRgABAQEAlgCWAAD/2wBDAAEBAQEBAQEBAQEBAQEBAQIBAQEBAQIBAQECAgICAgIC\r\n"
		  "AgIDAwQDAwMDAwICAwQDAwQEBAQEAgMFBQQEBQQEBAT/2wBDAQEBAQEBAQIBAQIEAwIDBAQEBAQE\r\n"
		  "--8323328-2120168431-824156555=:325--\r\n");
	const struct mime_part *text = part(root, 1, 0, 0), *picture = part(root, 2, 0, 0);

	(void)state;
	assert_span(buf_span(&out), "MULTIPART/MIXED(TEXT/PLAIN, IMAGE/JPEG)");
	assert_int_equal(root->nchildren, 2);
	assert_string_equal(param_text(&root->params, "boundary"), "8323328-2120168431-824156555=:325");
	assert_span(body(text), "A picture is in the appendix\r\n");
	assert_string_equal(param_text(&text->params, "charset"), "US-ASCII");
	assert_string_equal(param_text(&picture->params, "name"), "picture.jpg");
	assert_int_equal(picture->encoding, ENCODING_BASE64);
	assert_span(picture->encoding_text, "BASE64");
	assert_span(picture->id, "<PINE.LNX.3.91.960212212235.325B@localhost>");
	assert_non_null(picture->description.p);
	assert_int_equal(picture->description.n, 0);
	assert_int_equal(picture->body.n, 2 * 78 - 2);
	buf_reset(&out);
	assert_true(encoding_decode(picture->encoding, body(picture), &out));
	assert_true(span_starts(buf_span(&out), SPAN("\xff\xd8\xff\xe0")));
}

static void
m23_outlook_alternative(void **state)
{
	struct mime_part *root =
	    parse("MIME-Version: 1.0\r\nContent-Type: "
		  "multipart/alternative;\r\n\tboundary=\"----_=_NextPart_001_01C85EA4.35AB5B2E\"\r\n"
		  "Content-class: urn:content-classes:message\r\nX-MimeOLE: Produced By Microsoft Exchange V6.5\r\n"
		  "Thread-Index: AcheopDbXpBDMRL3TTS0y3jdQmWoKA==\r\n\r\n"
		  "This is a multi-part message in MIME format.\r\n\r\n"
		  "------_=_NextPart_001_01C85EA4.35AB5B2E\r\n"
		  "Content-Type: text/plain;\r\n\tcharset=\"iso-8859-1\"\r\nContent-Transfer-Encoding: "
		  "quoted-printable\r\n\r\n"
		  "Sch=F6ne Gr=FC=DFe\r\n\r\n"
		  "------_=_NextPart_001_01C85EA4.35AB5B2E\r\n"
		  "Content-Type: text/html;\r\n\tcharset=\"iso-8859-1\"\r\nContent-Transfer-Encoding: "
		  "quoted-printable\r\n\r\n"
		  "<p>Sch=F6ne Gr=FC=DFe</p>\r\n"
		  "------_=_NextPart_001_01C85EA4.35AB5B2E--\r\n");
	const struct mime_part *text = part(root, 1, 0, 0);
	struct buf bytes;

	(void)state;
	assert_span(buf_span(&out), "multipart/alternative(text/plain, text/html)");
	buf_init(&bytes, 1000);
	buf_reset(&out);
	assert_true(encoding_decode(text->encoding, body(text), &bytes));
	assert_true(charset_to_utf8(SPAN("iso-8859-1"), buf_span(&bytes), &out));
	assert_span(buf_span(&out), "Sch\xc3\xb6ne Gr\xc3\xbc\xc3\x9f" "e\r\n");
	assert_string_equal(param_text(&part(root, 2, 0, 0)->params, "charset"), "iso-8859-1");
	buf_free(&bytes);
}

static void
bare_line_feeds_are_counted(void **state)
{
	struct mime_part *root =
	    parse("Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\ntwo\n--b\r\n\r\nthree\r\n\n--b--\n");

	(void)state;
	assert_span(buf_span(&out), "multipart/mixed(text/plain, text/plain)");
	assert_span(body(part(root, 1, 0, 0)), "one\ntwo");
	assert_int_equal(part(root, 1, 0, 0)->body.bare, 1);
	assert_span(body(part(root, 2, 0, 0)), "three\r\n");
}

/* check_tree() counts one by one.  Exact memory, so that the sanitizer sees an octet too many. */
static void
lines_of_any_body_are_counted(void **state)
{
	static const char octets[] = "\r\n\nx\r";
	uint32_t random = 1;

	(void)state;
	for (size_t n = 0; n < 700; n++) {
		char *text = malloc(n + 1);

		text[0] = '\n';
		for (size_t i = 1; i <= n; i++) {
			random = random * 1664525 + 1013904223;
			text[i] = octets[(random >> 24) % (n % 3 ? sizeof octets - 1 : 2)];
		}
		message = span_of(text, n + 1);
		check_tree(mime_parse(message, &arena));
		arena_reset(&arena);
		free(text);
	}
}

static void
broken_structures(void **state)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{ "", "text/plain" },
		{ "\r\n", "text/plain" },
		{ "Content-Type: multipart/mixed\r\n\r\n--b\r\n", "multipart/mixed" },
		{ "Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n", "multipart/mixed" },
		{ "Content-Type: multipart/mixed; boundary=b\r\n\r\nno part", "multipart/mixed(text/plain)" },
		{ "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b--\r\n", "multipart/mixed(text/plain)" },
		{ "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b", "multipart/mixed(text/plain)" },
		{ "Content-Type: multipart/mixed; boundary=b\r\n--b\r\nContent-Type: text/html\r\n--b\r\nA: b\r\n",
		  "multipart/mixed(text/html, text/plain)" },
		{ "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; "
		  "boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"
		  "--b\r\n\r\ny\r\n",
		  "multipart/mixed(multipart/mixed(text/plain), text/plain)" },
		{ "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/mixed; "
		  "boundary=ab\r\n\r\n--ab\r\n\r\nx\r\n"
		  "--a\r\n\r\ny\r\n--ab\r\n",
		  "multipart/mixed(multipart/mixed(text/plain), text/plain)" },
		{ "Content-Type: multipart/mixed; boundary=b:\r\n\r\n--b:\r\n--b: --\r\n\r\n--b:\r\n\r\nx",
		  "multipart/mixed(text/plain, text/plain)" },
		{ "Content-Type: garbage\r\n\r\n", "text/plain" },
		{ "Content-Type: /html\r\n\r\n", "text/plain" },
		{ "Content-Type: text/\r\n\r\n", "text/plain" },
		{ "Content-Type: text; charset=a/b\r\n\r\n", "text/plain" },
		{ "Content-Type: text (x) / (y) html (z); a=b\r\n\r\n", "text/html" },
		{ "Content-Type: message/rfc822\r\n\r\n", "message/rfc822(text/plain)" },
		{ "Content-Type: message/rfc822\r\n", "message/rfc822(text/plain)" },
		{ "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nQTogYg==\r\n",
		  "message/rfc822" },
		{ "not a header\r\nContent-Type: text/html\r\n", "text/plain" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		parse(rows[i].in);
		if (!span_eq(buf_span(&out), span_str(rows[i].want)))
			fail_msg("row %zu: %.*s", i, SPAN_ARG(buf_span(&out)));
	}
}

static unsigned
depth_of(const struct mime_part *p)
{
	unsigned deepest = 0;

	for (const struct mime_part *it = p->children; it; it = it->next) {
		unsigned d = depth_of(it);

		deepest = d > deepest ? d : deepest;
	}
	return deepest + 1;
}

static void
depth_and_parts_are_bounded(void **state)
{
	struct buf b;
	struct mime_part *root;

	(void)state;
	buf_init(&b, 1 << 22);
	for (int i = 0; i < 3000; i++)
		buf_printf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i);
	message = buf_span(&b);
	root = mime_parse(message, &arena);
	check_tree(root);
	assert_true(depth_of(root) <= LIMIT_MIME_DEPTH + 1);
	buf_reset(&b);
	for (int i = 0; i < 3000; i++)
		buf_puts(&b, "Content-Type: message/rfc822\r\n\r\n");
	message = buf_span(&b);
	root = mime_parse(message, &arena);
	check_tree(root);
	assert_true(depth_of(root) <= LIMIT_MIME_DEPTH + 1);
	buf_reset(&b);
	buf_puts(&b, "Content-Type: multipart/mixed; boundary=b\r\n\r\n");
	for (int i = 0; i < 20000; i++)
		buf_puts(&b, "--b\r\n\r\nx\r\n");
	message = buf_span(&b);
	root = mime_parse(message, &arena);
	check_tree(root);
	assert_int_equal(root->nchildren, LIMIT_MIME_PARTS - 1);
	arena_free(&arena);
	arena_init(&arena, 8000); /* out of memory: what fits, and no more */
	root = mime_parse(message, &arena);
	assert_non_null(root);
	check_tree(root);
	arena_free(&arena);
	arena_init(&arena, 10);
	assert_null(mime_parse(message, &arena));
	buf_free(&b);
}

/* A header deep inside a large message is read as well as the first one. */
static void
parts_behind_a_megabyte(void **state)
{
	struct buf b;
	struct mime_part *root;

	(void)state;
	buf_init(&b, 1 << 22);
	buf_puts(&b, "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n");
	for (int i = 0; i < 30000; i++)
		buf_puts(&b, "0123456789012345678901234567890123456789012345678901234567890123456789\r\n");
	buf_puts(&b, "--b\r\nContent-Type: text/html\r\n\r\nx\r\n--b--\r\n");
	message = buf_span(&b);
	root = mime_parse(message, &arena);
	check_tree(root);
	mime_describe(root, &out);
	assert_span(buf_span(&out), "multipart/mixed(text/plain, text/html)");
	buf_free(&b);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(m01_plain_message_byte_exact),
		T(m05_image_message),
		T(m07_all_content_fields),
		T(m08_to_m12_m14_m15_media_types),
		T(m13_message_in_message),
		T(section_paths_through_messages),
		T(m16_to_m18_multiparts),
		T(m19_digest_of_messages),
		T(m20_unknown_message_subtype),
		T(m21_boundaries),
		T(m22_pine_message_with_picture),
		T(m23_outlook_alternative),
		T(bare_line_feeds_are_counted),
		T(lines_of_any_body_are_counted),
		T(broken_structures),
		T(depth_and_parts_are_bounded),
		T(parts_behind_a_megabyte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
