/* SPDX-License-Identifier: ISC */
#include "mail_test.h"

#include "mail/address.h"

static void
good_paths(void **state)
{
	static const struct {
		const char *in, *canonical;
		unsigned flags;
	} rows[] = {
		{ "<alice@crepes.fr>", "alice@crepes.fr", 0 },
		{ "<Alice@CREPES.Fr>", "Alice@crepes.fr", 0 },
		{ "<>", "", ADDRESS_NULL },
		{ "<postmaster>", "postmaster", ADDRESS_POSTMASTER },
		{ "<PostMaster>", "PostMaster", ADDRESS_POSTMASTER },
		{ "<@a.example,@b.example:bob@c.example>", "bob@c.example", 0 },
		{ "<\"john\"@x.example>", "john@x.example", 0 },
		{ "<\"john doe\"@x.example>", "\"john doe\"@x.example", 0 },
		{ "<\"a\\\"b\\\\c\\d\"@x.example>", "\"a\\\"b\\\\cd\"@x.example", 0 },
		{ "<\"a..b\"@x.example>", "\"a..b\"@x.example", 0 },
		{ "<\"<@>\"@x.example>", "\"<@>\"@x.example", 0 },
		{ "<bob@[192.0.2.1]>", "bob@[192.0.2.1]", 0 },
		{ "<bob@[IPv6:2001:DB8::1]>", "bob@[ipv6:2001:db8::1]", 0 },
		{ "<a!b%c@x>", "a!b%c@x", 0 },
		{ "<j\xc3\xbcrgen@x.example>", "j\xc3\xbcrgen@x.example", ADDRESS_UTF8 },
		{ "<a@b\xc3\xbc" "cher.example>", "a@xn--bcher-kva.example", ADDRESS_UTF8 },
		{ "<a@B\xc3\x9c" "CHER.example>", "a@xn--bcher-kva.example", ADDRESS_UTF8 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char line[200];
		struct address a, again;
		struct fail why = { .class = FAIL_NONE };
		size_t used;

		snprintf(line, sizeof(line), "%s SIZE=1", rows[i].in);
		if (!address_parse_path(&a, span_str(line), rows[i].flags, &used, &why))
			fail_msg("%s: %s", rows[i].in, why.text);
		assert_span(address_text(&a), rows[i].canonical);
		assert_int_equal(used, strlen(rows[i].in));
		/* canonical is a fixed point */
		assert_true(address_parse(&again, address_text(&a), rows[i].flags, NULL));
		assert_true(address_eq(&a, &again));
	}
}

static void
bad_paths_fail_closed(void **state)
{
	static const char *const rows[] = { "",
					    "<",
					    "<>",
					    "<a",
					    "<a@b",
					    "alice@b",
					    "<postmaster>",
					    "<a@>",
					    "<@b>",
					    "<a b@c>",
					    "<a@b c>",
					    "<.a@b>",
					    "<a.@b>",
					    "<a..b@c>",
					    "<a@b.>",
					    "<a@.b>",
					    "<a@b..c>",
					    "<a@-b>",
					    "<a@b->",
					    "<\"\"@b>",
					    "<\"a@b>",
					    "<\"a\"b@c>",
					    "<\"a\"@>",
					    "<a\"b\"@c>",
					    "<a@[1.2.3]>",
					    "<a@[1.2.3.4>",
					    "<a@[IPv6:1.2.3.4]>",
					    "<a@[x]>",
					    "<@:a@b>",
					    "<@a,:b@c>",
					    "<a@b:c@d>",
					    "<a@b@c>",
					    "<a;b@c>",
					    "<a@b;c>",
					    "<a@b/c>",
					    "<a(c)@b>",
					    "<\"a\tb\"@c>",
					    "<j\xc3\xbcrgen@x>",
					    "<a@b\xc3\xbc.c>",
					    "<$(id)@x y>",
					    "<|id>",
					    "<a@b\r\n>",
					    "<a\\b@c>",
					    "<a@*>" };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct address a;
		struct fail why = { .class = FAIL_NONE };
		size_t used;

		if (address_parse_path(&a, span_str(rows[i]), 0, &used, &why))
			fail_msg("accepted %s", rows[i]);
		assert_int_equal(why.class, FAIL_PERM);
		assert_true(address_null(&a) && !a.has_domain && a.text[0] == '\0');
	}
}

static void
bytes_that_never_pass(void **state)
{
	(void)state;
	for (int c = 0; c < 256; c++) {
		char plain[] = "<aXb@c.example>", quoted[] = "<\"aXb\"@c.example>", escaped[] = "<\"a\\Xb\"@c.example>",
		     domain[] = "<a@cXd>";
		char *all[] = { plain, quoted, escaped, domain };

		for (size_t i = 0; i < 4; i++) {
			struct address a;
			size_t n = strlen(all[i]), used;

			*strchr(all[i], 'X') = (char)c;
			if (!address_parse_path(&a, span_of(all[i], n), 0, &used, NULL) || used < n)
				continue;
			assert_true(c >= ' ' && c < 0x7f);
			if (i == 3)
				assert_true(ascii_alnum((char)c) || strchr("._-", c));
		}
	}
}

static void
lengths(void **state)
{
	char s[400];
	struct address a;

	(void)state;
	memset(s, 'a', sizeof(s));
	memcpy(s + 64, "@x.example", 10);
	assert_true(address_parse(&a, span_of(s, 74), 0, NULL));
	memset(s, 'a', sizeof(s));
	memcpy(s + 65, "@x.example", 10);
	assert_false(address_parse(&a, span_of(s, 75), 0, NULL));
	assert_true(address_parse(&a, span_of(s, 75), ADDRESS_LONG_LOCAL, NULL));
	memset(s, 'a', sizeof(s));
	s[1] = '@';
	for (size_t i = 60; i < 254; i += 60)
		s[i] = '.';
	assert_true(address_parse(&a, span_of(s, 254), 0, NULL));
	assert_false(address_parse(&a, span_of(s, 255), 0, NULL));
	s[60] = 'a';
	assert_false(address_parse(&a, span_of(s, 100), 0, NULL)); /* a label of 64 and more */
	assert_false(address_parse(&a, span_of(s, 400), ADDRESS_LONG_LOCAL, NULL));
}

static void
parts(void **state)
{
	struct address a;
	char raw[ADDRESS_SIZE];
	struct span user, detail;

	(void)state;
	assert_true(address_parse(&a, SPAN("\"a \\\"b\"@X.example"), 0, NULL));
	assert_span(address_local(&a), "\"a \\\"b\"");
	assert_span(address_local_raw(&a, raw), "a \"b");
	assert_span(address_domain(&a), "x.example");
	assert_true(address_parse(&a, SPAN("bob+lists+c@x"), 0, NULL));
	assert_true(address_subaddress(address_local_raw(&a, raw), SPAN("+-"), &user, &detail));
	assert_span(user, "bob");
	assert_span(detail, "lists+c");
	assert_false(address_subaddress(SPAN("+bob"), SPAN("+"), &user, &detail));
	assert_false(address_subaddress(SPAN("bob+"), SPAN("+"), &user, &detail));
	assert_span(user, "bob+");
	assert_true(address_make(&a, SPAN("x y"), SPAN("Z.example"), 0, NULL));
	assert_span(address_text(&a), "\"x y\"@z.example");
	assert_false(address_make(&a, SPAN("x\ny"), SPAN("z"), 0, NULL));
	assert_false(address_make(&a, SPAN(""), SPAN("z"), 0, NULL));
	assert_false(address_make(&a, SPAN("x"), SPAN(""), 0, NULL));
	assert_true(address_make(&a, SPAN("x"), SPAN(""), ADDRESS_NO_DOMAIN, NULL));
}

static void
domains(void **state)
{
	char out[DOMAIN_SIZE];
	struct span s;
	struct domain_literal lit;

	(void)state;
	assert_true(domain_valid(SPAN("a-b.c_d.example"), false));
	assert_false(domain_valid(SPAN("a.example."), false));
	assert_true(domain_to_ascii(SPAN("Stra\xc3\x9f" "e.example"), out, &s));
	assert_span(s, "xn--strae-oqa.example");
	assert_false(domain_to_ascii(SPAN("a\xff.example"), out, &s));
	assert_true(domain_within(SPAN("a.Example"), SPAN("example")));
	assert_true(domain_within(SPAN("example"), SPAN("example")));
	assert_false(domain_within(SPAN("anexample"), SPAN("example")));
	assert_true(domain_literal(SPAN("[IPv6:::1]"), &lit));
	assert_int_equal(lit.bytes[15], 1);
	assert_false(domain_literal(SPAN("[1.2.3.4]x"), &lit));
	assert_false(domain_literal(SPAN("[]"), &lit));
}

static void
xtext(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	xtext_encode(&b, SPAN("a+b=c d\xc3\xbc"));
	assert_span(buf_span(&b), "a+2Bb+3Dc+20d+C3+BC");
	buf_reset(&b);
	assert_true(xtext_decode(&b, SPAN("a+2Bb+3Dc+20d")));
	assert_span(buf_span(&b), "a+b=c d");
	buf_reset(&b);
	assert_false(xtext_decode(&b, SPAN("a+2")));
	assert_false(xtext_decode(&b, SPAN("a+2b")));
	assert_false(xtext_decode(&b, SPAN("a=b")));
	assert_false(xtext_decode(&b, SPAN("a b")));
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_paths),
		cmocka_unit_test(bad_paths_fail_closed),
		cmocka_unit_test(bytes_that_never_pass),
		cmocka_unit_test(lengths),
		cmocka_unit_test(parts),
		cmocka_unit_test(domains),
		cmocka_unit_test(xtext),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
