/* SPDX-License-Identifier: ISC */
#include "mail_test.h"

#include "mail/addrlist.h"
#include "mail/envelope.h"
#include "mail/limits.h"

static void
put(struct buf *b, const char *tag, struct span s)
{
	if (s.p)
		buf_printf(b, "%s[%.*s]", tag, SPAN_ARG(s));
}

/* n = name, r = route, l = local, d = domain */
static void
show(struct buf *b, const struct addrlist *list)
{
	for (const struct addrlist_item *it = list->first; it; it = it->next) {
		if (it->kind == ADDRLIST_GROUP_END) {
			buf_puts(b, "}");
			continue;
		}
		put(b, it->kind == ADDRLIST_GROUP ? "group" : "n", it->name);
		if (it->kind == ADDRLIST_GROUP)
			buf_puts(b, "{");
		put(b, "r", it->route);
		put(b, "l", it->local);
		put(b, "d", it->domain);
		if (it->next && it->kind == ADDRLIST_MAILBOX && it->next->kind != ADDRLIST_GROUP_END)
			buf_puts(b, " ");
	}
}

static void
lists(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "alice@crepes.fr", "l[alice]d[crepes.fr]" },
		{ " <alice@crepes.fr>", "l[alice]d[crepes.fr]" },
		{ "Alice  B.\r\n Smith <alice@crepes.fr>", "n[Alice B. Smith]l[alice]d[crepes.fr]" },
		{ "\"Smith, Alice\" <alice@crepes.fr>, bob@x", "n[Smith, Alice]l[alice]d[crepes.fr] l[bob]d[x]" },
		{ "\"Joe \\\"Q\\\" P\" <a@b>", "n[Joe \"Q\" P]l[a]d[b]" },
		{ "alice@crepes.fr (Alice (the) Cook)", "n[Alice (the) Cook]l[alice]d[crepes.fr]" },
		{ "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "n[Pete]l[pete]d[silly.test]" },
		{ "A Group(Some people)\r\n :Chris Jones <c@(Chris's host.)public.example>,\r\n joe@example.org,\r\n "
		  "John <jdoe@one.test> (my dear "
		  "friend); (the end of the group)",
		  "group[A Group]{n[Chris Jones]l[c]d[public.example] l[joe]d[example.org] "
		  "n[John]l[jdoe]d[one.test]}" },
		{ "(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;", "group[Hidden recipients]{}" },
		{ "undisclosed-recipients:;", "group[undisclosed-recipients]{}" },
		{ "Joe Q. Public <john.q.public@example.com>", "n[Joe Q. Public]l[john.q.public]d[example.com]" },
		{ "Mary Smith <@node.test,@a.test:mary@example.net>, , jdoe@test  . example",
		  "n[Mary Smith]r[@node.test,@a.test]l[mary]d[example.net] l[jdoe]d[test.example]" },
		{ "\"a b\"@c", "l[a b]d[c]" },
		{ "bob@[192.0.2.1]", "l[bob]d[[192.0.2.1]]" },
		{ "=?utf-8?q?J=C3=BCrgen?= <j@x>", "n[=?utf-8?q?J=C3=BCrgen?=]l[j]d[x]" },
		{ "alice", "l[alice]" },
		{ "Alice Smith", "l[Alice Smith]" },
		{ "alice smith @ x . y", "l[alice smith]d[x.y]" },
		{ "a@b <c@d>", "n[a@b]l[c]d[d]" },
		{ "<>", "l[]" },
		{ "", "" },
		{ " , ;,", "" },
		{ "a: b@c", "group[a]{l[b]d[c]}" },
		{ "a:b:c@d;", "group[a]{l[b:c]d[d]}" },
		{ "\"open", "l[open]" },
		{ "(open", "" },
		{ "<open", "l[open]" },
		{ "a@[open", "l[a]d[[open]" },
		{ "x <a@b> trailing, c@d", "n[x]l[a]d[b] l[c]d[d]" },
		{ "first <a@b> <c@d>", "n[first]l[a]d[b]" },
	};
	struct arena a;
	struct buf b;

	(void)state;
	buf_init(&b, 10000);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct addrlist list;

		arena_init(&a, 100000);
		buf_reset(&b);
		assert_true(addrlist_parse(&list, span_str(rows[i].in), &a));
		show(&b, &list);
		if (!span_eq(buf_span(&b), span_str(rows[i].out)))
			fail_msg("%s: %.*s", rows[i].in, SPAN_ARG(buf_span(&b)));
		arena_free(&a);
	}
	buf_free(&b);
}

static void
bounded(void **state)
{
	struct arena a;
	struct addrlist list;
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	arena_init(&a, 1 << 22);
	for (int i = 0; i < 50000; i++)
		buf_puts(&b, "a,");
	assert_true(addrlist_parse(&list, buf_span(&b), &a));
	assert_true(list.count <= LIMIT_ADDRESSES);
	buf_reset(&b);
	for (int i = 0; i < 100000; i++)
		buf_puts(&b, "(");
	assert_true(addrlist_parse(&list, buf_span(&b), &a));
	arena_free(&a);
	arena_init(&a, 100);
	assert_false(addrlist_parse(&list, SPAN("a,b,c,d,e,f,g"), &a));
	arena_free(&a);
	buf_free(&b);
}

static void
writes_addresses(void **state)
{
	struct buf b;
	struct addrlist_item it = { .local = SPAN("a b\""), .domain = SPAN("c") };

	(void)state;
	buf_init(&b, 100);
	addrlist_put_address(&b, &it);
	assert_span(buf_span(&b), "\"a b\\\"\"@c");
	buf_free(&b);
}

/* M02 */
static void
envelope_of_a_header(void **state)
{
	struct arena a;
	struct envelope e;

	(void)state;
	arena_init(&a, 100000);
	assert_true(envelope_parse(&e,
				   SPAN("DATE: x\r\nSubject: one\r\n two\r\nsubject: second\r\nFrom: a@b\r\nTo: "
					"c@d\r\nTo: e@f\r\nMessage-Id: <m>\r\nReply-To:\r\n"
					"In-Reply-To: <r>\r\nBcc: g@h\r\n\r\n"),
				   &a));
	assert_span(e.date, "x");
	assert_span(e.subject, "one two");
	assert_int_equal(e.to.count, 2);
	assert_span(e.to.first->next->local, "e");
	assert_span(e.message_id, "<m>");
	assert_span(e.in_reply_to, "<r>");
	assert_ptr_equal(envelope_sender(&e), &e.from);
	assert_ptr_equal(envelope_reply_to(&e), &e.from);
	assert_int_equal(e.bcc.count, 1);
	assert_int_equal(e.cc.count, 0);
	assert_true(envelope_parse(&e, SPAN("X: y\r\n\r\n"), &a));
	assert_null(e.subject.p);
	arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists),
		cmocka_unit_test(bounded),
		cmocka_unit_test(writes_addresses),
		cmocka_unit_test(envelope_of_a_header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
