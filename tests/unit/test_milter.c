/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "daemons/verifyd/delegate.h"
#include "daemons/verifyd/milter.h"
#include "mail/status.h"

#define BYTES(literal) ((struct span){ "" literal, sizeof(literal) - 1 })
#define assert_bytes(b, literal) assert_true(span_eq(buf_span(b), BYTES(literal)))

static struct span
value(void *arg, struct span name)
{
	(void)arg;
	return span_eq(name, SPAN("i")) ? SPAN("QID") : span_eq(name, SPAN("{client_addr}")) ? SPAN("192.0.2.1") : SPAN_NONE;
}

static void
what_is_sent(void **state)
{
	struct milter m;
	struct buf out;
	struct span args[] = { SPAN("<a@b>"), SPAN("SIZE=5") };

	(void)state;
	milter_init(&m);
	buf_init(&out, 4096);
	milter_put_offer(&out);
	assert_bytes(&out, "\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\x1f\xf7\xff");
	buf_reset(&out);
	milter_put_connect(&out, SPAN("host"), '4', 25, SPAN("192.0.2.1"));
	assert_bytes(&out, "\0\0\0\x13" "Chost\0" "4\0\x19" "192.0.2.1\0");
	buf_reset(&out);
	milter_put_strings(&out, MILTER_MAIL, args, 2);
	assert_bytes(&out, "\0\0\0\x0eM<a@b>\0SIZE=5\0");
	buf_reset(&out);
	milter_put_header(&m, &out, SPAN("Subject"), SPAN(" one\r\n two"));
	assert_bytes(&out, "\0\0\0\x12LSubject\0one\n two\0");
	buf_reset(&out);
	milter_put_macros(&m, &out, MILTER_DATA, value, NULL);
	assert_bytes(&out, "\0\0\0\x08" "DTi\0QID\0");
	buf_reset(&out);
	milter_put_macros(&m, &out, MILTER_HELO, value, NULL);
	assert_int_equal(buf_len(&out), 0);
	milter_put_bytes(&out, MILTER_END, SPAN_NONE);
	milter_put_abort(&out);
	assert_bytes(&out, "\0\0\0\x01" "E\0\0\0\x01" "A");
	buf_free(&out);
	milter_free(&m);
}

static void
what_is_agreed_on(void **state)
{
	struct milter m;
	struct fail why;
	struct buf out;

	(void)state;
	milter_init(&m);
	/* no HELO, no answers to header fields; its own macros at CONNECT */
	assert_true(milter_negotiated(&m, BYTES("O\0\0\0\x06\0\0\x01\x01\0\0\0\x82\0\0\0\0{client_addr} i\0"), &why));
	assert_false(milter_wants(&m, MILTER_HELO));
	assert_true(milter_wants(&m, MILTER_MAIL));
	assert_false(milter_answers(&m, MILTER_HEADER));
	assert_true(milter_answers(&m, MILTER_END));
	buf_init(&out, 4096);
	milter_put_macros(&m, &out, MILTER_CONNECT, value, NULL);
	assert_bytes(&out, "\0\0\0\x20" "DC{client_addr}\0" "192.0.2.1\0i\0QID\0");
	buf_free(&out);
	milter_free(&m);
	/* an old one does not know DATA */
	assert_true(milter_negotiated(&m, BYTES("O\0\0\0\x02\0\0\0\x3f\0\0\0\0"), &why));
	assert_false(milter_wants(&m, MILTER_DATA));
	milter_free(&m);
	assert_false(milter_negotiated(&m, BYTES("O\0\0\0\x07\0\0\0\0\0\0\0\0"), &why));
	assert_false(milter_negotiated(&m, BYTES("O\0\0\0\x06\0\0\x02\0\0\0\0\0"), &why));
	assert_false(milter_negotiated(&m, BYTES("O\0\0\0\x06\0\0\0\0\0\0"), &why));
	assert_false(milter_negotiated(&m, BYTES("c"), &why));
	assert_false(milter_negotiated(&m, BYTES("O\0\0\0\x06\0\0\x01\0\0\0\0\0\0\0\0\x07x\0"), &why));
	assert_false(milter_negotiated(&m, BYTES("O\0\0\0\x06\0\0\x01\0\0\0\0\0\0\0\0\x01x"), &why));
	milter_free(&m);
}

static bool
take(const struct milter *m, enum milter_event at, struct span packet, struct milter_reply *r)
{
	struct fail why = { .text = "" };
	bool good = milter_take(m, at, packet, r, &why);

	assert_true(good || why.text[0]);
	return good;
}

static void
what_filters_say(void **state)
{
	struct milter m;
	struct milter_reply r;
	struct buf text;

	(void)state;
	milter_init(&m);
	m.actions = 0x1ff;
	assert_true(take(&m, MILTER_MAIL, BYTES("c"), &r) && r.id == MILTER_SAYS_CONTINUE);
	assert_true(take(&m, MILTER_RCPT, BYTES("y451 4.7.1 Come \t 100%% later\0"), &r));
	assert_int_equal(r.code, 451);
	assert_true(span_eq(r.xcode, SPAN("4.7.1")));
	buf_init(&text, 1000);
	milter_put_text(&text, &r);
	assert_bytes(&text, "Come ? 100% later");
	buf_reset(&text);
	assert_true(take(&m, MILTER_END, BYTES("y550-5.7.1 one\r\n550-5.7.1 two\r\n550 5.7.1 three\0"), &r));
	milter_put_text(&text, &r);
	assert_bytes(&text, "one two three");
	buf_free(&text);
	assert_false(take(&m, MILTER_MAIL, BYTES("y250 fine\0"), &r));
	assert_false(take(&m, MILTER_MAIL, BYTES("y550 fine"), &r));
	assert_false(take(&m, MILTER_MAIL, BYTES("y55\0"), &r));
	assert_false(take(&m, MILTER_MAIL, BYTES("y550x\0"), &r));
	assert_true(take(&m, MILTER_END, BYTES("i\0\0\0\x01X-A\0 b\0"), &r));
	assert_int_equal(r.index, 1);
	assert_true(span_eq(r.name, SPAN("X-A")) && span_eq(r.value, SPAN(" b")));
	/* fields that would not be fields */
	assert_false(take(&m, MILTER_END, BYTES("hX A\0b\0"), &r));
	assert_false(take(&m, MILTER_END, BYTES("hX\nY: z\0b\0"), &r));
	assert_false(take(&m, MILTER_END, BYTES("h\0b\0"), &r));
	assert_false(take(&m, MILTER_END, BYTES("hX-A\0b"), &r));
	assert_false(take(&m, MILTER_END, BYTES("m\0\0\0"), &r));
	/* at its place, and agreed on */
	assert_false(take(&m, MILTER_MAIL, BYTES("hX-A\0b\0"), &r));
	assert_false(take(&m, MILTER_MAIL, BYTES("s"), &r));
	assert_true(take(&m, MILTER_BODY, BYTES("s"), &r));
	m.actions = 0;
	assert_false(take(&m, MILTER_END, BYTES("hX-A\0b\0"), &r));
	assert_false(take(&m, MILTER_END, BYTES("?"), &r));
	milter_free(&m);
}

static void
packets(void **state)
{
	struct span in = BYTES("\0\0\0\x02" "pq\0\0\0\x01" "c\0\0"), packet;

	(void)state;
	assert_int_equal(milter_next(&in, &packet), MILTER_PACKET);
	assert_true(span_eq(packet, SPAN("pq")));
	assert_int_equal(milter_next(&in, &packet), MILTER_PACKET);
	assert_true(span_eq(packet, SPAN("c")));
	assert_int_equal(milter_next(&in, &packet), MILTER_NEED);
	assert_int_equal(in.n, 2);
	in = BYTES("\0\0\0\0");
	assert_int_equal(milter_next(&in, &packet), MILTER_BAD);
	in = BYTES("\0\x10\0\0z");
	assert_int_equal(milter_next(&in, &packet), MILTER_BAD);
}

static enum delegate_step
answer(const char *text, struct delegate_answer *a, struct arena *mem)
{
	struct span in = span_str(text);
	struct fail why;

	return delegate_next(&in, mem, a, &why);
}

static void
policy_answers(void **state)
{
	struct delegate_answer a;
	struct arena mem;

	(void)state;
	arena_init(&mem, 65536);
	assert_int_equal(answer("action=DUNNO\n", &a, &mem), DELEGATE_NEED);
	assert_int_equal(answer("action=DUNNO\n\n", &a, &mem), DELEGATE_ANSWER);
	assert_int_equal(a.status, 0);
	assert_int_equal(answer("x=y\naction=REJECT 5.7.25 no name\n\n", &a, &mem), DELEGATE_ANSWER);
	assert_int_equal(a.status, STATUS_NO_REVERSE);
	assert_true(span_eq(a.text, SPAN("no name")));
	assert_int_equal(answer("action=defer_if_permit Greylisted\r\n\r\n", &a, &mem), DELEGATE_ANSWER);
	assert_int_equal(a.status, STATUS_DENIED_TEMP);
	assert_int_equal(answer("action=554 go away\n\n", &a, &mem), DELEGATE_ANSWER);
	assert_int_equal(a.reply, 554);
	assert_int_equal(answer("action=PREPEND X-Policy: fine\n\n", &a, &mem), DELEGATE_ANSWER);
	assert_true(span_eq(a.prepend, SPAN("X-Policy: fine\r\n")));
	assert_int_equal(answer("action=HOLD\n\n", &a, &mem), DELEGATE_ANSWER);
	assert_true(a.hold);
	assert_int_equal(answer("action=REDIRECT trap@example.org\n\n", &a, &mem), DELEGATE_ANSWER);
	assert_true(span_eq(a.redirect, SPAN("trap@example.org")));
	assert_int_equal(answer("action=REDIRECT no address\n\n", &a, &mem), DELEGATE_BAD);
	assert_int_equal(answer("action=FILTER smtp:x\n\n", &a, &mem), DELEGATE_BAD);
	assert_int_equal(answer("action=PREPEND no field\n\n", &a, &mem), DELEGATE_BAD);
	assert_int_equal(answer("action=250 fine\n\n", &a, &mem), DELEGATE_BAD);
	assert_int_equal(answer("\n", &a, &mem), DELEGATE_BAD);
	arena_free(&mem);
}

static void
policy_requests(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 1000);
	delegate_put(&out, "helo_name", SPAN("a\nsender=x"));
	delegate_put_number(&out, "size", 12);
	delegate_put_end(&out);
	assert_bytes(&out, "helo_name=a?sender=x\nsize=12\n\n");
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_sent), cmocka_unit_test(what_is_agreed_on), cmocka_unit_test(what_filters_say),
		cmocka_unit_test(packets), cmocka_unit_test(policy_answers), cmocka_unit_test(policy_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
