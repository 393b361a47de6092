/* SPDX-License-Identifier: ISC
 *
 * Tests named t<nn>_ are the rows of shared ACCEPTANCE.md A.4.
 */
#include "mail_test.h"

#include "mail/received.h"

/* Nine hops as in the book: a list host with qmail, Sendmail, an Exchange host, and a spam filter that hands back. */
static const char nine_hops[] =
    "Return-Path: schiller@leibniz.example\r\n"
    "Delivered-To: bob@inf.example\r\n"
    "Received: from leibniz.math.example ([160.45.40.10])\r\n"
    "\tby mail.inf.example (8.14.2/8.14.2) with ESMTP id m0OGEabt015579\r\n"
    "\tfor <bob@inf.example>; Thu, 24 Jan 2008 17:14:36 +0100 (CET)\r\n"
    "Received: (qmail 27890 invoked by alias); 24 Jan 2008 16:14:35 -0000\r\n"
    "Received: (qmail 27886 invoked from network); 24 Jan 2008 16:14:35 -0000\r\n"
    "Received: from unknown (HELO lusin.math.example) (160.45.40.20)\r\n"
    "  by leibniz.math.example with (DHE-RSA-AES256-SHA encrypted) SMTP; 24 Jan 2008 16:14:34 -0000\r\n"
    "Received: from localhost (localhost [127.0.0.1])\r\n"
    "\tby lusin.math.example (Postfix) with ESMTP id 0E3A41B8C\r\n"
    "\tfor <list@math.example>; Thu, 24 Jan 2008 17:14:30 +0100 (CET)\r\n"
    "Received: from lusin.math.example ([127.0.0.1])\r\n"
    "\tby localhost (lusin.math.example [127.0.0.1]) (amavisd-new, port 10024)\r\n"
    "\twith ESMTP id 12345-06; Thu, 24 Jan 2008 16:41:30 +0100 (CET)\r\n"
    "Received: from leibniz.math.example (leibniz.math.example [160.45.40.10])\r\n"
    "\tby lusin.math.example (Postfix) with SMTP id A1B2C3\r\n"
    "\tfor <list@math.example>; Thu, 24 Jan 2008 16:41:29 +0100 (CET)\r\n"
    "Received: (qmail 27000 invoked by uid 9804); 24 Jan 2008 15:41:28 -0000\r\n"
    "Received: from EXCH.cs.example ([10.1.2.3]) by GATE.cs.example with Microsoft SMTPSVC(6.0.3790.3959);\r\n"
    "\t Thu, 24 Jan 2008 16:41:27 +0100\r\n"
    "From: x@cs.example\r\n\r\n";

static void
t01_t04_nine_hops(void **state)
{
	struct arena a;
	struct received_trail t;
	const struct received *r;
	struct buf b;

	(void)state;
	arena_init(&a, 1 << 20);
	buf_init(&b, 10000);
	assert_true(received_trail(&t, span_str(nine_hops), &a));
	assert_int_equal(t.count, 9);
	assert_int_equal(t.delivered_to, 1);

	r = &t.hops[0].r;
	assert_span(r->from, "EXCH.cs.example");
	assert_span(r->from_ip, "10.1.2.3");
	assert_span(r->by, "GATE.cs.example");
	assert_span(r->with, "Microsoft SMTPSVC");
	assert_false(t.hops[0].has_delay);
	assert_false(r->encrypted);

	assert_span(t.hops[1].r.invoked, "by uid 9804");
	assert_true(t.hops[1].filter);
	assert_int_equal(t.hops[1].delay, 1);

	assert_span(t.hops[2].r.id, "A1B2C3");
	assert_span(t.hops[2].r.for_, "list@math.example");
	assert_false(t.hops[2].filter);

	assert_true(t.hops[3].filter && t.hops[4].filter);
	assert_int_equal(t.hops[4].delay, 33 * 60); /* the filter's 33 minutes */

	r = &t.hops[5].r;
	assert_span(r->from, "unknown");
	assert_span(r->from_ip, "160.45.40.20");
	assert_has(r->from_comment, "HELO lusin.math.example");
	assert_span(r->tls, "DHE-RSA-AES256-SHA");
	assert_span(r->with, "SMTP");
	assert_true(r->encrypted);
	assert_false(t.hops[5].filter);

	assert_span(t.hops[6].r.invoked, "from network");
	assert_span(t.hops[7].r.invoked, "by alias");

	r = &t.hops[8].r;
	assert_span(r->from, "leibniz.math.example");
	assert_span(r->id, "m0OGEabt015579");
	assert_span(r->for_, "bob@inf.example");
	assert_int_equal(r->date.zone, 60);

	assert_int_equal(received_judge(&t, span_str(nine_hops), 50, SPAN("alice@inf.example")), RECEIVED_REINJECTED);
	assert_int_equal(received_judge(&t, span_str(nine_hops), 50, SPAN("Bob@inf.example")), RECEIVED_LOOP);
	assert_int_equal(received_judge(&t, span_str(nine_hops), 8, SPAN_NONE), RECEIVED_LOOP);

	received_trail_text(&t, &b);
	assert_has(buf_span(&b), "5. localhost [127.0.0.1] -> lusin.math.example  ESMTP  plain  2008-01-24T16:14:30Z  "
				 "+1980s  (inside the host)\n");
	assert_has(buf_span(&b), "TLS (DHE-RSA-AES256-SHA)");
	buf_free(&b);
	arena_free(&a);
}

static void
real_loops_are_cut(void **state)
{
	struct arena a;
	struct received_trail t;
	struct buf b;

	(void)state;
	arena_init(&a, 1 << 20);
	buf_init(&b, 100000);
	for (int i = 0; i < 6; i++)
		buf_puts(&b, "Received: from a.example by b.example with SMTP; 24 Jan 2008 16:14:35 -0000\r\n"
			     "Received: from b.example by a.example with SMTP; 24 Jan 2008 16:14:35 -0000\r\n");
	buf_puts(&b, "\r\n");
	assert_true(received_trail(&t, buf_span(&b), &a));
	assert_int_equal(received_judge(&t, buf_span(&b), 50, SPAN_NONE), RECEIVED_LOOP);
	assert_true(received_trail(&t, SPAN("Received: from a by b; x\r\nReceived: from c by a; y\r\n\r\n"), &a));
	assert_int_equal(received_judge(&t, SPAN(""), 50, SPAN_NONE), RECEIVED_FINE);
	assert_true(received_delivered_to(SPAN("A: b\r\nDelivered-To: <x@y>\r\n\r\n"), SPAN("X@y")));
	assert_false(received_delivered_to(SPAN("A: b\r\n\r\nDelivered-To: x@y\r\n"), SPAN("x@y")));
	buf_free(&b);
	arena_free(&a);
}

static void
foreign_forms(void **state)
{
	static const struct {
		const char *in, *from, *ip, *by, *with, *id, *tls;
		bool date;
	} rows[] = {
		{ " from crepes.fr by hamburger.edu; 12 Oct 98 15:27:39 GMT", "crepes.fr", "", "hamburger.edu", "", "",
		  "", true }, /* M06 */
		{ " from mail.x (mail.x [IPv6:2001:db8::1]) (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 "
		  "bits)) by y (Postfix) with "
		  "ESMTPS id 4F for <a@b>; Thu, 24 Jan 2008 16:41:27 +0100",
		  "mail.x", "2001:db8::1", "y", "ESMTPS", "4F",
		  "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)", true },
		{ "by 10.0.0.1 with SMTP id abc; Thu, 24 Jan 2008 16:41:27 -0800 (PST)", "", "", "10.0.0.1", "SMTP",
		  "abc", "", true },
		{ "from user@localhost by host.example (8.13/Submit) id m0; Thu, 24 Jan 2008 16:41:27 +0100",
		  "user@localhost", "", "host.example", "", "m0", "", true },
		{ "from x ([1.2.3.4]) by y with esmtps (TLS1.2:ECDHE:256) (Exim 4.9) (envelope-from <a@b>) id 1x-2; "
		  "Thu, 24 Jan 2008 16:41:27 +0100",
		  "x", "1.2.3.4", "y", "esmtps", "1x-2", "TLS1.2:ECDHE:256", true },
		{ "(((", "", "", "", "", "", "", false },
		{ ";;;;", "", "", "", "", "", "", false },
		{ "", "", "", "", "", "", "", false },
		{ "\"a;b(c\" from x", "", "", "", "", "", "", false },
	};
	struct arena a;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct received r;

		arena_init(&a, 10000);
		assert_true(received_parse(&r, span_str(rows[i].in), &a));
		assert_span(r.from, rows[i].from);
		assert_span(r.from_ip, rows[i].ip);
		assert_span(r.by, rows[i].by);
		assert_span(r.with, rows[i].with);
		assert_span(r.id, rows[i].id);
		assert_span(r.tls, rows[i].tls);
		assert_int_equal(r.has_date, rows[i].date);
		arena_free(&a);
	}
}

static void
t02_builds_the_field(void **state)
{
	struct received_new n = { .helo = SPAN("crepes.fr"),
				  .client_name = SPAN("mx.crepes.fr"),
				  .client_ip = SPAN("192.0.2.1"),
				  .by = SPAN("hamburger.edu"),
				  .protocol = received_protocol(false, true, true, true, false),
				  .tls = SPAN("TLSv1.3 cipher TLS_AES_256_GCM_SHA384"),
				  .id = SPAN("4Fx"),
				  .recipient = SPAN("bob@hamburger.edu"),
				  .time = 908206059 };
	struct arena a;
	struct buf b;
	struct received r;

	(void)state;
	arena_init(&a, 10000);
	buf_init(&b, 10000);
	received_build(&b, &n);
	assert_span(
	    buf_span(&b),
	    "Received: from crepes.fr (mx.crepes.fr [192.0.2.1])\r\n\tby hamburger.edu with ESMTPSA (TLSv1.3 cipher "
	    "TLS_AES_256_GCM_SHA384) id 4Fx\r\n\tfor <bob@hamburger.edu>;\r\n\tMon, 12 Oct 1998 15:27:39 +0000\r\n");
	assert_true(received_parse(&r, span_from(buf_span(&b), 9), &a));
	assert_span(r.from, "crepes.fr");
	assert_span(r.from_ip, "192.0.2.1");
	assert_span(r.by, "hamburger.edu");
	assert_span(r.with, "ESMTPSA");
	assert_span(r.id, "4Fx");
	assert_span(r.for_, "bob@hamburger.edu");
	assert_true(r.encrypted && r.has_date && r.date.time == 908206059);

	buf_reset(&b); /* a client cannot leave its clause */
	n.helo = SPAN("x) by evil; \r\nBcc: a");
	n.client_ip = SPAN("2001:db8::1");
	n.client_name = SPAN_NONE;
	n.recipient = SPAN_NONE;
	received_build(&b, &n);
	assert_has(buf_span(&b), "from x??by?evil????Bcc:?a (unknown [IPv6:2001:db8::1])\r\n");
	assert_has_not(buf_span(&b), "for <");

	buf_reset(&b);
	n = (struct received_new){ .by = SPAN("h"), .id = SPAN("1"), .auth_user = SPAN("uid 1000") };
	received_build(&b, &n);
	assert_span(buf_span(&b),
		    "Received: by h (authenticated as uid 1000) id 1;\r\n\tThu, 1 Jan 1970 00:00:00 +0000\r\n");
	buf_free(&b);
	arena_free(&a);
}

static void
protocol_words(void **state)
{
	(void)state;
	assert_span(received_protocol(false, false, false, false, false), "SMTP");
	assert_span(received_protocol(false, true, false, false, false), "ESMTP");
	assert_span(received_protocol(false, true, true, false, false), "ESMTPS");
	assert_span(received_protocol(false, true, false, true, false), "ESMTPA");
	assert_span(received_protocol(false, true, true, true, true), "UTF8SMTPSA");
	assert_span(received_protocol(true, true, false, false, false), "LMTP");
	assert_span(received_protocol(true, true, true, true, true), "UTF8LMTPSA");
}

static void
t10_return_path_without_brackets(void **state)
{
	(void)state;
	assert_span(received_return_path(SPAN(" a@b ")), "a@b");
	assert_span(received_return_path(SPAN(" <a@b>")), "a@b");
	assert_span(received_return_path(SPAN("<>")), "");
	assert_span(received_return_path(SPAN("<a@b")), "a@b");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(t01_t04_nine_hops),
		cmocka_unit_test(real_loops_are_cut),
		cmocka_unit_test(foreign_forms),
		cmocka_unit_test(t02_builds_the_field),
		cmocka_unit_test(protocol_words),
		cmocka_unit_test(t10_return_path_without_brackets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
