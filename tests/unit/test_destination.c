/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "daemons/remoted/destination.h"
#include "mail/status.h"

/* A scripted resolver: "TYPE name result records" with records "10:mx.test" or "127.0.0.1", ';' behind each. */
struct script {
	const char *type, *name;
	enum destination_result result;
	const char *records;
};

static struct arena arena;
static struct destination d;
static struct destination_rules rules;
static struct netaddr own;
static unsigned asked;

static uint32_t
not_random(void)
{
	return 7;
}

static int
setup(void **state)
{
	(void)state;
	arena_init(&arena, 1 << 22);
	rules = (struct destination_rules){ .myself = SPAN("us.test"), .own_port = 25, .limit = 0, .v4 = true, .v6 = true, .prefer = DESTINATION_V6 };
	asked = 0;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

static void
answer(unsigned slot, const struct script *s)
{
	struct span rest = span_str(s->records);

	while (rest.n) {
		struct span r = span_cut(&rest, ';');

		if (s->type[0] == 'M') {
			struct span preference = span_cut(&r, ':');
			uint64_t n = 0;

			assert_true(span_u64(preference, 65535, &n));
			destination_mx(&d, slot, (uint16_t)n, r);
		} else {
			struct netaddr a;

			assert_true(netaddr_parse(r, 0, &a));
			destination_address(&d, slot, netaddr_family(&a) == AF_INET ? span_of(&a.u.in4.sin_addr, 4) : span_of(&a.u.in6.sin6_addr, 16));
		}
	}
	destination_answer(&d, slot, s->result, false, SPAN("scripted"));
}

static void
run(const char *nexthop, const struct script *scripts)
{
	enum destination_type type;
	struct span name;
	struct hop hop;
	unsigned slot;
	struct fail why;

	assert_true(hop_parse(span_str(nexthop), 25, &hop, &why));
	destination_start(&d, &hop, &rules, &arena);
	while (destination_question(&d, &slot, &type, &name)) {
		const struct script *s = scripts;

		asked++;
		while (s->type && ((s->type[0] == 'M') != (type == DESTINATION_MX) || !span_eq(name, span_str(s->name))))
			s++;
		if (!s->type)
			fail_msg("unscripted question %.*s", SPAN_ARG(name));
		answer(slot, s);
	}
	assert_int_not_equal(d.state, DESTINATION_ASKING);
}

/* "host[address]:port ..." in order. */
static const char *
targets(void)
{
	static char text[2048];
	size_t n = 0;

	text[0] = '\0';
	assert_int_equal(d.state, DESTINATION_READY);
	for (size_t i = 0; i < d.ntargets; i++) {
		char address[NETADDR_TEXT];

		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.*s=%.*s", i ? " " : "", SPAN_ARG(d.targets[i].host),
		    SPAN_ARG(netaddr_text_port(&d.targets[i].address, address)));
	}
	return text;
}

static void
assert_failed(unsigned status, enum fail_class class)
{
	assert_int_equal(d.state, DESTINATION_FAILED);
	assert_string_equal(status_get(d.why.status)->name, status_get(status)->name);
	assert_int_equal(d.why.class, class);
	assert_true(d.why.text[0]);
}

static void
test_mx_by_preference(void **state)
{
	(void)state;
	run("a.test", (struct script[]){
		{ "MX", "a.test", DESTINATION_OK, "20:mx2.test;10:mx1.test;30:mx3.test" },
		{ "A", "mx1.test", DESTINATION_OK, "10.0.0.1" },
		{ "A", "mx2.test", DESTINATION_OK, "10.0.0.2;10.0.1.2" },
		{ "A", "mx3.test", DESTINATION_NO_NAME, "" },
		{ NULL } });
	assert_string_equal(targets(), "mx1.test=10.0.0.1:25 mx2.test=10.0.0.2:25 mx2.test=10.0.1.2:25");
	assert_int_equal(asked, 4);
}

static void
test_equals_are_spread(void **state)
{
	const struct script scripts[] = {
		{ "MX", "a.test", DESTINATION_OK, "10:m1.test;10:m2.test;10:m3.test;20:m4.test" },
		{ "A", "m1.test", DESTINATION_OK, "10.0.0.1" },
		{ "A", "m2.test", DESTINATION_OK, "10.0.0.2" },
		{ "A", "m3.test", DESTINATION_OK, "10.0.0.3" },
		{ "A", "m4.test", DESTINATION_OK, "10.0.0.4" },
		{ NULL } };

	(void)state;
	rules.random = not_random; /* 7 % 3 = 1, 7 % 2 = 1 */
	run("a.test", scripts);
	assert_string_equal(targets(), "m1.test=10.0.0.1:25 m3.test=10.0.0.3:25 m2.test=10.0.0.2:25 m4.test=10.0.0.4:25");
}

static void
test_families_alternate(void **state)
{
	const struct script scripts[] = {
		{ "MX", "a.test", DESTINATION_OK, "10:m1.test" },
		{ "A", "m1.test", DESTINATION_OK, "10.0.0.1;10.0.0.2;2001:db8::1;2001:db8::2" },
		{ NULL } };

	(void)state;
	run("a.test", scripts);
	assert_string_equal(targets(), "m1.test=[2001:db8::1]:25 m1.test=10.0.0.1:25 m1.test=[2001:db8::2]:25 m1.test=10.0.0.2:25");
	rules.prefer = DESTINATION_V4;
	rules.limit = 3;
	run("a.test", scripts);
	assert_string_equal(targets(), "m1.test=10.0.0.1:25 m1.test=[2001:db8::1]:25 m1.test=10.0.0.2:25");
	rules.v6 = false;
	run("a.test", scripts);
	assert_string_equal(targets(), "m1.test=10.0.0.1:25 m1.test=10.0.0.2:25");
	rules.v4 = false;
	run("a.test", scripts);
	assert_failed(STATUS_UNROUTABLE, FAIL_PERM);
}

static void
test_implicit_mx(void **state)
{
	(void)state;
	run("a.test:2525", (struct script[]){ { "MX", "a.test", DESTINATION_NO_DATA, "" }, { "A", "a.test", DESTINATION_OK, "10.0.0.1" }, { NULL } });
	assert_string_equal(targets(), "a.test=10.0.0.1:2525");
	run("a.test", (struct script[]){ { "MX", "a.test", DESTINATION_NO_DATA, "" }, { "A", "a.test", DESTINATION_NO_DATA, "" }, { NULL } });
	assert_failed(STATUS_UNROUTABLE, FAIL_PERM);
	run("a.test", (struct script[]){ { "MX", "a.test", DESTINATION_NO_DATA, "" }, { "A", "a.test", DESTINATION_LATER, "" }, { NULL } });
	assert_failed(STATUS_DIRECTORY_TEMP, FAIL_TEMP);
}

static void
test_null_mx(void **state)
{
	(void)state;
	run("a.test", (struct script[]){ { "MX", "a.test", DESTINATION_OK, "0:" }, { NULL } });
	assert_failed(STATUS_NULL_MX, FAIL_PERM);
	assert_int_equal(asked, 1);
}

static void
test_no_answer_kinds(void **state)
{
	(void)state;
	run("a.test", (struct script[]){ { "MX", "a.test", DESTINATION_NO_NAME, "" }, { NULL } });
	assert_failed(STATUS_BAD_SYSTEM, FAIL_PERM);
	run("a.test", (struct script[]){ { "MX", "a.test", DESTINATION_LATER, "" }, { NULL } });
	assert_failed(STATUS_DIRECTORY_TEMP, FAIL_TEMP);
	assert_non_null(strstr(d.why.text, "scripted"));
	run("a.test", (struct script[]){ { "MX", "a.test", DESTINATION_BOGUS, "" }, { NULL } });
	assert_failed(STATUS_DIRECTORY_TEMP, FAIL_TEMP);
	run("a.test", (struct script[]){ { "MX", "a.test", DESTINATION_OK, "10:not a name;20:-bad-.test" }, { NULL } });
	assert_failed(STATUS_UNROUTABLE, FAIL_PERM);
	run("a.test", (struct script[]){ { "MX", "a.test", DESTINATION_OK, "10:m1.test;20:m2.test" },
		{ "A", "m1.test", DESTINATION_NO_NAME, "" }, { "A", "m2.test", DESTINATION_LATER, "" }, { NULL } });
	assert_failed(STATUS_DIRECTORY_TEMP, FAIL_TEMP);
	run("a.test", (struct script[]){ { "MX", "a.test", DESTINATION_OK, "10:m1.test" }, { "A", "m1.test", DESTINATION_NO_NAME, "" }, { NULL } });
	assert_failed(STATUS_UNROUTABLE, FAIL_PERM);
	run("[h.test]", (struct script[]){ { "A", "h.test", DESTINATION_NO_NAME, "" }, { NULL } });
	assert_failed(STATUS_BAD_SYSTEM, FAIL_PERM);
}

static void
test_loops(void **state)
{
	const struct script scripts[] = {
		{ "MX", "a.test", DESTINATION_OK, "10:m1.test;20:US.test;30:m3.test" },
		{ "A", "m1.test", DESTINATION_OK, "10.0.0.1" },
		{ NULL } };

	(void)state;
	run("a.test", scripts); /* a backup MX goes to those before it only */
	assert_string_equal(targets(), "m1.test=10.0.0.1:25");
	run("a.test", (struct script[]){ scripts[0], { "A", "m1.test", DESTINATION_NO_NAME, "" }, { NULL } }); /* and keeps the mail while they are away */
	assert_failed(STATUS_UNROUTABLE_TEMP, FAIL_TEMP);
	run("b.test", (struct script[]){ { "MX", "b.test", DESTINATION_OK, "10:us.test;20:m2.test" }, { NULL } });
	assert_failed(STATUS_LOOP, FAIL_PERM);
	assert_true(netaddr_parse(SPAN("10.0.0.9"), 0, &own));
	rules.own = &own;
	rules.nown = 1;
	run("c.test", (struct script[]){ { "MX", "c.test", DESTINATION_OK, "10:m9.test" }, { "A", "m9.test", DESTINATION_OK, "10.0.0.9" }, { NULL } });
	assert_failed(STATUS_LOOP, FAIL_PERM);
	run("c.test", (struct script[]){ { "MX", "c.test", DESTINATION_OK, "10:m1.test;20:m9.test" }, { "A", "m1.test", DESTINATION_NO_DATA, "" },
		{ "A", "m9.test", DESTINATION_OK, "10.0.0.9" }, { NULL } });
	assert_failed(STATUS_UNROUTABLE_TEMP, FAIL_TEMP);
	/* At another port, and for a host named outright, it is meant so. */
	run("c.test:2525", (struct script[]){ { "MX", "c.test", DESTINATION_OK, "10:m9.test" }, { "A", "m9.test", DESTINATION_OK, "10.0.0.9" }, { NULL } });
	assert_string_equal(targets(), "m9.test=10.0.0.9:2525");
	run("[us.test]", (struct script[]){ { "A", "us.test", DESTINATION_OK, "10.0.0.9" }, { NULL } });
	assert_string_equal(targets(), "us.test=10.0.0.9:25");
}

static void
test_hop_shapes(void **state)
{
	const struct script host[] = { { "A", "h.test", DESTINATION_OK, "10.0.0.1" }, { NULL } };

	(void)state;
	run("[10.1.2.3]", host);
	assert_string_equal(targets(), "10.1.2.3=10.1.2.3:25");
	run("[IPv6:2001:db8::1]:2525", host);
	assert_string_equal(targets(), "2001:db8::1=[2001:db8::1]:2525");
	run("[h.test]:587", host);
	assert_string_equal(targets(), "h.test=10.0.0.1:587");
	run("lmtp:inet:h.test", host);
	assert_string_equal(targets(), "h.test=10.0.0.1:24");
	assert_true(d.hop.lmtp);
	run("lmtp:inet:h.test:2400", host);
	assert_string_equal(targets(), "h.test=10.0.0.1:2400");
	run("lmtp:unix:/run/x/lmtp", host);
	assert_string_equal(targets(), "/run/x/lmtp=unix:/run/x/lmtp");
	run("smtp:[h.test]", host);
	assert_string_equal(targets(), "h.test=10.0.0.1:25");
	run("b\xc3\xbc""cher.test", (struct script[]){ { "MX", "xn--bcher-kva.test", DESTINATION_NO_DATA, "" }, { "A", "xn--bcher-kva.test", DESTINATION_OK, "10.0.0.1" }, { NULL } });
	assert_string_equal(targets(), "xn--bcher-kva.test=10.0.0.1:25");
}

static void
test_bad_hops(void **state)
{
	static const char *const bad[] = { "", "[", "[]", "[h.test", "h.test:", "h.test:0", "h.test:65536", "h test", "unix:/x", "lmtp:unix:x", "lmtp:unix:", "-x.test", "a..b" };
	struct hop hop;
	struct fail why;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (hop_parse(span_str(bad[i]), 25, &hop, &why))
			fail_msg("taken: %s", bad[i]);
}

static void
test_too_much(void **state)
{
	static char mx[20000], a[20000];
	struct script scripts[16] = { { "MX", "a.test", DESTINATION_OK, mx } };
	static char names[DESTINATION_HOSTS_MAX][32];
	size_t n = 0, k = 0;

	(void)state;
	for (int i = 0; i < 500; i++)
		n += (size_t)snprintf(mx + n, sizeof(mx) - n, "%d:m%d.test;", i, i);
	for (int i = 0; i < 100; i++)
		k += (size_t)snprintf(a + k, sizeof(a) - k, "10.0.0.%d;", i);
	mx[n - 1] = a[k - 1] = '\0';
	for (int i = 0; i < DESTINATION_HOSTS_MAX; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "m%d.test", i);
		scripts[i + 1] = (struct script){ "A", names[i], DESTINATION_OK, a };
	}
	run("a.test", scripts);
	assert_int_equal(d.state, DESTINATION_READY);
	assert_int_equal(d.ntargets, DESTINATION_TARGETS_MAX);
	assert_int_equal(asked, 1 + DESTINATION_HOSTS_MAX);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_mx_by_preference), T(test_equals_are_spread), T(test_families_alternate), T(test_implicit_mx), T(test_null_mx),
		T(test_no_answer_kinds), T(test_loops), T(test_hop_shapes), T(test_bad_hops), T(test_too_much),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
