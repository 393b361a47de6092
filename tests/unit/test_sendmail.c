/* SPDX-License-Identifier: ISC */
#include "mail_test.h"

#include "tools/sendmail/sendmail.h"

static struct arena arena;
static char complaint[300];

int
complain(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(complaint, sizeof(complaint), fmt, ap);
	va_end(ap);
	return status;
}

static bool
options(struct sendmail_options *o, ...)
{
	static char *argv[20];
	va_list ap;
	int n = 0;

	va_start(ap, o);
	while ((argv[n] = va_arg(ap, char *)))
		n++;
	va_end(ap);
	return options_parse(o, n, argv);
}

static void
command_lines(void **state)
{
	struct sendmail_options o;

	(void)state;
	assert_true(options(&o, "/usr/sbin/sendmail", "-ti", "-f", "alice@x", "-FAlice", "-oem", "-N", "never", "-R",
			    "hdrs", "-Vid", "bob", "-t", NULL));
	assert_true(o.mode == MODE_SEND && o.from_header && o.dots);
	assert_string_equal(o.sender, "alice@x");
	assert_string_equal(o.full_name, "Alice");
	assert_string_equal(o.notify, "never");
	assert_string_equal(o.ret, "hdrs");
	assert_string_equal(o.envid, "id");
	assert_int_equal(o.nrecipients, 2);
	assert_true(options(&o, "sendmail", "-oi", "--", "-odd@x", NULL));
	assert_true(o.dots && o.nrecipients == 1);
	assert_true(options(&o, "sendmail", "-bs", NULL) && o.mode == MODE_SMTP);
	assert_true(options(&o, "sendmail", "-b", "v", "x", NULL) && o.mode == MODE_VERIFY);
	assert_true(options(&o, "sendmail", "-bp", NULL) && o.mode == MODE_LIST);
	assert_true(options(&o, "sendmail", "-q", NULL) && o.mode == MODE_FLUSH && !o.filter);
	assert_true(options(&o, "sendmail", "-qRb.test", NULL) && o.mode == MODE_FLUSH);
	assert_string_equal(o.filter, "b.test");
	assert_true(options(&o, "./mailq", NULL) && o.mode == MODE_LIST);
	assert_true(options(&o, "/usr/bin/newaliases", NULL) && o.mode == MODE_ALIASES);
	assert_true(options(&o, "sendmail", "-C", "/x/y.conf", NULL));
	assert_string_equal(o.config_path, "/x/y.conf");
	assert_false(options(&o, "sendmail", "-bd", NULL));
	assert_false(options(&o, "sendmail", "-f", NULL));
	assert_false(options(&o, "sendmail", "-y", NULL));
	assert_false(options(&o, "sendmail", "-N", "never\r\nRSET", NULL));
	assert_false(options(&o, "sendmail", "-R", "half", NULL));
}

static void
canonical(const char *in, bool dots, const char *want)
{
	struct buf b;

	buf_init(&b, 10000);
	assert_true(message_canonical(&b, span_str(in), 20, dots));
	assert_span(buf_span(&b), want);
	buf_free(&b);
}

static void
line_ends_become_crlf(void **state)
{
	(void)state;
	canonical("A: b\n\nc\r\nd\re\n", false, "A: b\r\n\r\nc\r\nd\r\ne\r\n");
	canonical("no end", false, "no end\r\n");
	canonical("a\n.\nb\n", false, "a\r\n");
	canonical("a\n.\nb\n", true, "a\r\n.\r\nb\r\n");
	canonical("a\n..\n", false, "a\r\n..\r\n");
	canonical("From me Mon\nA: b\nFrom x\n", false, "A: b\r\nFrom x\r\n");
	canonical("From : me\nA: b\n", false, "From : me\r\nA: b\r\n"); /* a field (RFC 5322 4.5) */
	canonical("", false, "");
	canonical("A: b\n\n123456789012345678901234567890\n", false,
		  "A: b\r\n\r\n12345678901234567890\r\n1234567890\r\n");
	canonical("A: 45678901234567890123456789012345678901\n\n", false,
	    "A: 45678901234567890\r\n 1234567890123456789\r\n 01\r\n\r\n");
}

static void
load(struct message *m, const char *text)
{
	*m = (struct message){ .nrecipients = 0 };
	buf_init(&m->content, 100000);
	assert_true(message_canonical(&m->content, span_str(text), 998, true));
	assert_true(address_parse(&m->sender, SPAN("alice@origin.test"), 0, NULL));
}

static void
check_recipients(const struct message *m, const char *want)
{
	struct buf b;

	buf_init(&b, 10000);
	for (size_t i = 0; i < m->nrecipients; i++)
		buf_printf(&b, "%s%s", i ? " " : "", m->recipients[i].text);
	assert_span(buf_span(&b), want);
	buf_free(&b);
}

/* A15, S25 */
static void
recipients_from_the_header(void **state)
{
	struct message m;
	struct fail why;

	(void)state;
	load(&m, "To: bob, \"Carol C\" <carol@C.test>\nCc: g: dave@d.test;,\n bob@origin.test\nBcc: "
		 "hidden@x.test\nSubject: Bcc\n\nTo: nobody\n");
	assert_true(message_header_recipients(&m, SPAN("origin.test"), &arena, &why));
	check_recipients(&m, "bob@origin.test carol@c.test dave@d.test hidden@x.test");
	assert_true(message_fix_header(&m, SPAN("Alice A.")));
	assert_span(
	    buf_span(&m.content),
	    "To: bob, \"Carol C\" <carol@C.test>\r\nCc: g: dave@d.test;,\r\n bob@origin.test\r\nSubject: Bcc\r\n"
	    "From: \"Alice A.\" <alice@origin.test>\r\n\r\nTo: nobody\r\n");
	buf_free(&m.content);
	load(&m, "To: bob\nResent-To: carol\nResent-Bcc: dave\n\n");
	assert_true(message_header_recipients(&m, SPAN("o"), &arena, &why));
	check_recipients(&m, "carol@o dave@o");
	assert_true(message_fix_header(&m, SPAN("")));
	assert_has_not(buf_span(&m.content), "dave");
	buf_free(&m.content);
	load(&m, "To: a b c <@>\n\n");
	assert_false(message_header_recipients(&m, SPAN("o"), &arena, &why));
	buf_free(&m.content);
}

static void
bodies_without_a_header(void **state)
{
	struct message m;

	(void)state;
	load(&m, "hello there\n");
	assert_true(message_fix_header(&m, SPAN("")));
	assert_span(buf_span(&m.content), "From: <alice@origin.test>\r\n\r\nhello there\r\n");
	buf_free(&m.content);
	load(&m, "FROM: x@y\n");
	assert_true(message_fix_header(&m, SPAN("")));
	assert_span(buf_span(&m.content), "FROM: x@y\r\n\r\n");
	buf_free(&m.content);
}

static void
many_recipients_once_each(void **state)
{
	struct message m = { .nrecipients = 0 };
	struct fail why;

	(void)state;
	for (int i = 0; i < 300; i++) {
		char text[64];

		snprintf(text, sizeof(text), "u%d@x, u%d@X", i, i / 2);
		assert_true(message_add_recipients(&m, span_str(text), SPAN("o"), &arena, &why));
	}
	assert_int_equal(m.nrecipients, 300);
	assert_false(message_add_recipients(&m, SPAN("bad@-x"), SPAN("o"), &arena, &why));
	assert_true(message_add_recipients(&m, SPAN("two words@x"), SPAN("o"), &arena, &why)); /* not made one word */
	assert_string_equal(m.recipients[300].text, "\"two words\"@x");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(command_lines),
		cmocka_unit_test(line_ends_become_crlf),
		cmocka_unit_test(recipients_from_the_header),
		cmocka_unit_test(bodies_without_a_header),
		cmocka_unit_test(many_recipients_once_each),
	};
	int failed;

	arena_init(&arena, 1 << 26);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	arena_free(&arena);
	return failed;
}
