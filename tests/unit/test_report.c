/* SPDX-License-Identifier: ISC */
#include "mail_test.h"

#include "mail/header.h"
#include "mail/mime.h"
#include "mail/orcpt.h"
#include "mail/report.h"
#include "mail/status.h"

static const struct span original[] = { SPAN_INIT("Received: x\r\nFrom: alice@a.test\r\nSubj"),
					SPAN_INIT("ect: hello\r\n\r"), SPAN_INIT("\nbody text\r\n.dot\r\n") };

static const struct report_recipient recipients[] = {
	{ .action = REPORT_DELAYED,
	  .final = SPAN_INIT("carol@c.test"),
	  .status = STATUS_NO_ANSWER,
	  .reply = SPAN_INIT("connect: timed out"),
	  .retry_until = 908206059 + 86400,
	  .last_attempt = 908206059 },
	{ .action = REPORT_FAILED,
	  .final = SPAN_INIT("bob@b.test"),
	  .original = SPAN_INIT("rfc822;bob@alias.test"),
	  .code = SPAN_INIT("5.1.1"),
	  .status = STATUS_BAD_MAILBOX,
	  .remote_mta = SPAN_INIT("mx.b.test"),
	  .reply = SPAN_INIT("550-5.1.1 first\r\n550 5.1.1 <bob@b.test> no such user\r\nevil: header"),
	  .log_id = SPAN_INIT("4F") },
};

static const struct report base = { .reporting_mta = SPAN_INIT("mail.a.test"),
				    .from = SPAN_INIT("MAILER-DAEMON@mail.a.test"),
				    .to = SPAN_INIT("alice@a.test"),
				    .envelope_id = SPAN_INIT("env+1"),
				    .queue_id = SPAN_INIT("4Fx"),
				    .unique = SPAN_INIT("1.4Fx"),
				    .arrival = 908206059,
				    .now = 908206060,
				    .recipients = recipients,
				    .nrecipients = 2,
				    .original = original,
				    .noriginal = 3 };

/* Parses as what it claims to be, in canonical lines. */
static struct mime_part *
check(struct span m, struct arena *a, const char *want)
{
	struct mime_part *root = mime_parse(m, a);
	struct buf b;

	buf_init(&b, 1000);
	mime_describe(root, &b);
	assert_span(buf_span(&b), want);
	buf_free(&b);
	assert_int_equal(root->body.bare + root->header.bare, 0);
	for (size_t i = 0; i < m.n; i++)
		assert_false(m.p[i] == '\r' && (i + 1 == m.n || m.p[i + 1] != '\n'));
	return root;
}

static void
failure_with_header(void **state)
{
	struct arena a;
	struct buf b;
	struct mime_part *root;
	struct span status, human;
	struct header_field f;

	(void)state;
	arena_init(&a, 1 << 20);
	buf_init(&b, 1 << 20);
	assert_true(report_build(&base, &b, NULL));
	root = check(buf_span(&b), &a, "multipart/report(text/plain, message/delivery-status, text/rfc822-headers)");
	assert_span(root->envelope->subject, "Undelivered Mail Returned to Sender");
	assert_span(root->envelope->to.first->local, "alice");
	assert_true(header_find(buf_span(&b), SPAN("Auto-Submitted"), &f));

	human = mime_span(buf_span(&b), &root->children->body);
	assert_has(human, "<bob@b.test>\r\n    (you wrote to bob@alias.test)\r\n    There is no mailbox of that name.");
	assert_has(human, "Check the address for mistakes and send the message again");
	assert_has(human, "The mail server mx.b.test said:\r\n      550-5.1.1 first\r\n      550 5.1.1 <bob@b.test> no "
			  "such user\r\n");
	assert_has(human,
		   "<carol@c.test>\r\n    The recipient's mail server did not answer.\r\n      connect: timed out\r\n"
		   "    It will be tried until Tue, 13 Oct 1998 15:27:39 +0000.\r\n");

	status = mime_span(buf_span(&b), &root->children->next->body);
	assert_has(status, "Original-Envelope-Id: env+1\r\nReporting-MTA: dns; mail.a.test\r\nArrival-Date: Mon, 12 "
			   "Oct 1998 15:27:39 +0000\r\n\r\n");
	assert_has(status, "Original-Recipient: rfc822;bob@alias.test\r\nFinal-Recipient: rfc822; "
			   "bob@b.test\r\nAction: failed\r\nStatus: 5.1.1\r\n"
			   "Remote-MTA: dns; mx.b.test\r\nDiagnostic-Code: smtp; 550-5.1.1 first 550 5.1.1 "
			   "<bob@b.test> no such user evil: header\r\n"
			   "Final-Log-ID: 4F\r\n");
	assert_has(status, "Final-Recipient: rfc822; carol@c.test\r\nAction: delayed\r\nStatus: "
			   "4.4.1\r\nDiagnostic-Code: x-pillarpost; connect: timed "
			   "out\r\nLast-Attempt-Date: Mon, 12 Oct 1998 15:27:39 +0000\r\nWill-Retry-Until: Tue, 13 Oct "
			   "1998 15:27:39 +0000\r\n");
	assert_has_not(status, "\r\nevil:");

	assert_span(mime_span(buf_span(&b), &root->children->next->next->body),
		    "Received: x\r\nFrom: alice@a.test\r\nSubject: hello\r\n");
	buf_free(&b);
	arena_free(&a);
}

/* RFC 2852 5: the time that the sender set. */
static void
deliver_by_date(void **state)
{
	struct report r = base;
	struct buf b;

	(void)state;
	r.deliver_by = 908206119;
	buf_init(&b, 1 << 20);
	assert_true(report_build(&r, &b, NULL));
	assert_has(buf_span(&b), "Oct 1998 15:27:39 +0000\r\nDeliver-By-Date: Mon, 12 Oct 1998 15:28:39 +0000\r\n\r\n");
	buf_free(&b);
}

static void
full_original(void **state)
{
	struct arena a;
	struct buf b;
	struct mime_part *root;
	struct report r = base;

	(void)state;
	arena_init(&a, 1 << 20);
	buf_init(&b, 1 << 20);
	r.full = true;
	assert_true(report_build(&r, &b, NULL));
	root = check(buf_span(&b), &a,
		     "multipart/report(text/plain, message/delivery-status, message/rfc822(text/plain))");
	assert_span(mime_span(buf_span(&b), &root->children->next->next->body),
	    "Received: x\r\nFrom: alice@a.test\r\nSubject: hello\r\n\r\nbody text\r\n.dot\r\n");
	buf_free(&b);
	arena_free(&a);
}

static void
utf8_report(void **state)
{
	struct arena a;
	struct buf b;
	struct report r = base;
	struct report_recipient rcpt = { .action = REPORT_DELIVERED, .final = SPAN("j\xc3\xbcrgen@b.test") };

	(void)state;
	arena_init(&a, 1 << 20);
	buf_init(&b, 1 << 20);
	r.recipients = &rcpt;
	r.nrecipients = 1;
	assert_true(report_build(&r, &b, NULL));
	check(buf_span(&b), &a, "multipart/report(text/plain, message/delivery-status, text/rfc822-headers)");
	assert_has(buf_span(&b),
		   "Final-Recipient: utf-8; j\\x{FC}rgen@b.test\r\nAction: delivered\r\nStatus: 2.0.0\r\n");
	assert_has(buf_span(&b), "Subject: Successful Mail Delivery Report\r\n");
	r.utf8 = true;
	buf_reset(&b);
	assert_true(report_build(&r, &b, NULL));
	check(buf_span(&b), &a, "multipart/report(text/plain, message/global-delivery-status, message/global-headers)");
	assert_has(buf_span(&b), "Final-Recipient: utf-8; j\xc3\xbcrgen@b.test\r\n");
	buf_free(&b);
	arena_free(&a);
}

static struct span
part_of(struct mime_part *root, struct span m, int n)
{
	struct mime_part *p = root->children;

	while (n-- > 0)
		p = p->next;
	return mime_span(m, &p->body);
}

/* What the machine part says of one recipient: the rules of RFC 3461 6.3 and RFC 3464 2.3. */
static void
fields_of_a_recipient(void **state)
{
	static const struct {
		struct report_recipient r;
		const char *has, *has_not, *human;
	} rows[] = {
		/* RFC 3461 6.3 (d): as given, its xtext undone; its absence stays an absence */
		{ { .action = REPORT_FAILED, .final = SPAN_INIT("B.ob@b.test"), .original = SPAN_INIT("rfc822;B+2Bob+20x@b.test"), .code = SPAN_INIT("5.0.0") },
		  "\r\nOriginal-Recipient: rfc822;B+ob x@b.test\r\nFinal-Recipient: rfc822; B.ob@b.test\r\n", "Remote-MTA", "(you wrote to B+ob x@b.test)" },
		{ { .action = REPORT_FAILED, .final = SPAN_INIT("b@b.test"), .code = SPAN_INIT("5.1.1") }, "Action: failed\r\nStatus: 5.1.1\r\n", "Original-Recipient", "Check the address" },
		/* what cannot be decoded is copied */
		{ { .action = REPORT_FAILED, .final = SPAN_INIT("b@b.test"), .original = SPAN_INIT("rfc822;b+zz") }, "Original-Recipient: rfc822;b+zz\r\n", "\r\n ", "" },
		{ { .action = REPORT_FAILED, .final = SPAN_INIT("b@b.test"), .original = SPAN_INIT("utf-8;j\\x{FC}r+3D@b.test") }, "Original-Recipient: utf-8;j\\x{FC}r+3D@b.test\r\n", "\xfc", "" },
		/* RFC 3461 6.3 (h), (i), 9.2 */
		{ { .action = REPORT_FAILED, .final = SPAN_INIT("b@b.test"), .code = SPAN_INIT("5.2.2"), .remote_mta = SPAN_INIT("mx.b.test"), .reply = SPAN_INIT("552 5.2.2 full") },
		  "Remote-MTA: dns; mx.b.test\r\nDiagnostic-Code: smtp; 552 5.2.2 full\r\n", "x-pillarpost", "The mail server mx.b.test said:\r\n      552 5.2.2 full\r\n" },
		{ { .action = REPORT_FAILED, .final = SPAN_INIT("b@b.test"), .code = SPAN_INIT("4.4.2"), .remote_mta = SPAN_INIT("mx.b.test"), .reply = SPAN_INIT("timeout while waiting") },
		  "Remote-MTA: dns; mx.b.test\r\nDiagnostic-Code: x-pillarpost; timeout while waiting\r\n", "smtp;", "While sending to the mail server mx.b.test:\r\n" },
		{ { .action = REPORT_FAILED, .final = SPAN_INIT("b@b.test"), .code = SPAN_INIT("5.0.0"), .remote_mta = SPAN_INIT("192.0.2.1"), .reply = SPAN_INIT("550 no") }, "Remote-MTA: dns; [192.0.2.1]\r\n", "Last-Attempt", "" },
		{ { .action = REPORT_FAILED, .final = SPAN_INIT("b@b.test"), .code = SPAN_INIT("5.0.0"), .remote_mta = SPAN_INIT("2001:db8::1"), .reply = SPAN_INIT("550 no") }, "Remote-MTA: dns; [IPv6:2001:db8::1]\r\n", "Will-Retry", "" },
		/* tried for as long as may be */
		{ { .action = REPORT_FAILED, .final = SPAN_INIT("b@b.test"), .code = SPAN_INIT("4.4.7"), .reply = SPAN_INIT("no answer") }, "Status: 4.4.7\r\n", "Will-Retry", "could not be delivered within the time allowed" },
		/* RFC 3464 2.3.9: in delayed reports alone */
		{ { .action = REPORT_DELAYED, .final = SPAN_INIT("b@b.test"), .retry_until = 908206059 }, "Action: delayed\r\nStatus: 4.0.0\r\nWill-Retry-Until: Mon, 12 Oct 1998 15:27:39 +0000\r\n", "Last-Attempt", "You need to do nothing" },
		{ { .action = REPORT_DELIVERED, .final = SPAN_INIT("b@b.test"), .retry_until = 908206059, .last_attempt = 908206059 }, "Action: delivered\r\nStatus: 2.0.0\r\nLast-Attempt-Date: Mon, 12 Oct 1998 15:27:39 +0000\r\n", "Will-Retry", "was delivered" },
		{ { .action = REPORT_RELAYED, .final = SPAN_INIT("b@b.test"), .code = SPAN_INIT("2.0.0"), .remote_mta = SPAN_INIT("mx.b.test"), .reply = SPAN_INIT("250 ok") }, "Action: relayed\r\nStatus: 2.0.0\r\nRemote-MTA: dns; mx.b.test\r\n", "Will-Retry", "may send no report" },
		{ { .action = REPORT_EXPANDED, .final = SPAN_INIT("b@b.test"), .code = SPAN_INIT("2.0.0") }, "Action: expanded\r\nStatus: 2.0.0\r\n", "Remote-MTA", "handed on" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct report r = base;
		struct arena a;
		struct buf b;
		struct mime_part *root;

		arena_init(&a, 1 << 20);
		buf_init(&b, 1 << 20);
		r.recipients = &rows[i].r;
		r.nrecipients = 1;
		assert_true(report_build(&r, &b, NULL));
		root = check(buf_span(&b), &a, "multipart/report(text/plain, message/delivery-status, text/rfc822-headers)");
		assert_has(part_of(root, buf_span(&b), 1), rows[i].has);
		assert_has_not(part_of(root, buf_span(&b), 1), rows[i].has_not);
		assert_has(part_of(root, buf_span(&b), 0), rows[i].human);
		buf_free(&b);
		arena_free(&a);
	}
}

/* RFC 6533 4.5: the sender's host may not take SMTPUTF8, so that all is in seven bits. */
static void
utf8_original_to_an_ascii_sender(void **state)
{
	static const struct span mail[] = { SPAN_INIT("Subject: gr\xc3\xbc\xc3\x9f\x65\r\n\r\nbody\r\n") };
	struct arena a;
	struct buf b;
	struct report r = base;

	(void)state;
	arena_init(&a, 1 << 20);
	buf_init(&b, 1 << 20);
	r.original_utf8 = r.original_8bit = true;
	r.original = mail;
	r.noriginal = 1;
	assert_true(report_build(&r, &b, NULL));
	check(buf_span(&b), &a, "multipart/report(text/plain, message/delivery-status, message/global-headers)");
	assert_has(buf_span(&b), "Content-Transfer-Encoding: base64\r\nContent-Description: Message header\r\n\r\nU3ViamVjdDogZ3LDvMOfZQ0K\r\n");
	for (size_t i = 0; i < buf_len(&b); i++)
		assert_true((unsigned char)buf_span(&b).p[i] < 0x80);
	buf_reset(&b);
	r.full = true;
	assert_true(report_build(&r, &b, NULL));
	assert_has(buf_span(&b), "Content-Type: message/global\r\nContent-Transfer-Encoding: base64\r\n");
	buf_free(&b);
	arena_free(&a);
}

/* What a human reads is decoded; what it is in has to say so. */
static void
utf8_orcpt_is_declared(void **state)
{
	static const struct report_recipient rcpt = { .action = REPORT_FAILED, .final = SPAN_INIT("jurgen@b.test"), .original = SPAN_INIT("utf-8;j\\x{FC}rgen@b.test") };
	struct arena a;
	struct buf b;
	struct report r = base;
	struct mime_part *root;

	(void)state;
	arena_init(&a, 1 << 20);
	buf_init(&b, 1 << 20);
	r.recipients = &rcpt;
	r.nrecipients = 1;
	assert_true(report_build(&r, &b, NULL));
	root = check(buf_span(&b), &a, "multipart/report(text/plain, message/delivery-status, text/rfc822-headers)");
	assert_has(part_of(root, buf_span(&b), 0), "(you wrote to j\xc3\xbcrgen@b.test)");
	assert_int_equal(root->encoding, ENCODING_8BIT);
	assert_int_equal(root->children->encoding, ENCODING_8BIT);
	assert_has(mime_span(buf_span(&b), &root->children->header), "charset=utf-8");
	buf_free(&b);
	arena_free(&a);
}

static void
orcpt_forms(void **state)
{
	static const struct {
		const char *text;
		bool ascii, utf8;
	} rows[] = {
		{ "rfc822;a@b.test", true, true }, { "rfc822;a+2Bb@c", true, true }, { "x-400;+20", true, true },
		{ "rfc822;", false, false }, { ";a", false, false }, { "a", false, false }, { "r c;a", false, false },
		{ "rfc822;a+2", false, false }, { "rfc822;a+2b", false, false }, { "rfc822;a=b", false, false }, { "rfc822;+0Aevil", false, false },
		{ "rfc822;j\xc3\xbc@b", false, false }, { "utf-8;j\xc3\xbc@b", false, true }, { "utf-8;j\\x{FC}@b", true, true },
		{ "UTF-8;j\\x{1F4E7}@b", true, true }, { "utf-8;j\\x{D800}@b", false, false }, { "utf-8;j\\x{110000}@b", false, false },
		{ "utf-8;j\\x{fc}@b", false, false }, { "utf-8;j+FC@b", false, false }, { "utf-8;j\xfc@b", false, false }, { "utf-8;a\\x{0A}b", false, false },
	};
	struct buf b;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_int_equal(orcpt_valid(span_str(rows[i].text), false), rows[i].ascii);
		assert_int_equal(orcpt_valid(span_str(rows[i].text), true), rows[i].utf8);
	}
	buf_init(&b, 4096);
	orcpt_put(&b, SPAN("utf-8;j\xc3\xbc@b"), false);
	assert_span(buf_span(&b), "utf-8;j\\x{FC}@b");
	buf_reset(&b);
	orcpt_put(&b, SPAN("utf-8;j\xc3\xbc@b"), true);
	assert_span(buf_span(&b), "utf-8;j\xc3\xbc@b");
	buf_reset(&b);
	orcpt_make(&b, SPAN("a+b@c"), false);
	assert_span(buf_span(&b), "rfc822;a+2Bb@c");
	buf_reset(&b);
	orcpt_make(&b, SPAN("\xc3\xbc+b@c"), true);
	assert_span(buf_span(&b), "utf-8;\\x{FC}\\x{2B}b@c");
	buf_free(&b);
}

static void
refusals(void **state)
{
	struct buf b;
	struct report r = base;
	struct fail why;

	(void)state;
	buf_init(&b, 500);
	assert_false(report_build(&r, &b, &why));
	assert_int_equal(why.class, FAIL_LIMIT);
	r.nrecipients = 0;
	assert_false(report_build(&r, &b, &why));
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(failure_with_header),
		cmocka_unit_test(deliver_by_date), cmocka_unit_test(full_original),
		cmocka_unit_test(utf8_report),
		cmocka_unit_test(fields_of_a_recipient),
		cmocka_unit_test(utf8_original_to_an_ascii_sender),
		cmocka_unit_test(utf8_orcpt_is_declared),
		cmocka_unit_test(orcpt_forms),
		cmocka_unit_test(refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
