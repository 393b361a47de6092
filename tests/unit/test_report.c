/* SPDX-License-Identifier: ISC */
#include "mail_test.h"

#include "mail/header.h"
#include "mail/mime.h"
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
	assert_has(human, "<bob@b.test>\r\n    There is no mailbox of that name.");
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
		cmocka_unit_test(full_original),
		cmocka_unit_test(utf8_report),
		cmocka_unit_test(refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
