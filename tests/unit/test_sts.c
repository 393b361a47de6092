/* SPDX-License-Identifier: ISC
 *
 * MTA-STS: records and policies, what is kept, and when what is asked, with a
 * scripted clock, DNS and web.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemons/stsd/sts.h"

static bool no_memory;

/* The linker puts this in the place of the real one (-Wl,--wrap). */
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *
__wrap_calloc(size_t n, size_t size)
{
	return no_memory ? NULL : __real_calloc(n, size);
}

/* --- parsers ------------------------------------------------------------------ */

static void
test_records(void **state)
{
	static const struct {
		const char *txt, *id;
	} rows[] = {
		{ "v=STSv1; id=20160831085700Z;", "20160831085700Z" },
		{ "v=STSv1;id=a", "a" },
		{ "v=STSv1 ; foo=bar; id=1 ; more=x", "1" },
		{ "v=STSv1; id=1; id=2", "1" },
		{ "v=STSv1;", NULL },
		{ "v=STSv1; id=", NULL },
		{ "v=STSv1; id=has-dash", NULL },
		{ "v=STSv1; id=123456789012345678901234567890123", NULL },
		{ "v=STSv2; id=1", NULL },
		{ "v=spf1 -all", NULL },
		{ "id=1; v=STSv1", NULL },
		{ "", NULL },
	};
	char id[POLICY_ID + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		bool ok = policy_record(span_str(rows[i].txt), id);

		if (ok != (rows[i].id != NULL) || (ok && strcmp(id, rows[i].id) != 0))
			fail_msg("%s: %s", rows[i].txt, ok ? id : "none");
	}
}

static void
test_policies(void **state)
{
	static const struct {
		const char *body;
		int mode; /* -1: refused */
		int64_t age;
		const char *patterns;
	} rows[] = {
		{ "version: STSv1\nmode: enforce\nmx: Mail.Example.com\nmx: *.example.net\nmax_age: 604800\n", POLICY_ENFORCE, 604800, "mail.example.com *.example.net" },
		{ "version: STSv1\r\nmode:testing\r\nmx: a.test  \r\nmax_age:1", POLICY_TESTING, 1, "a.test" },
		{ "version: STSv1\nmode: none\nmax_age: 99999999\n", POLICY_NONE, POLICY_AGE_MAX, "" },
		{ "version: STSv1\nmode: testing\nmode: enforce\nmax_age: 5\nmax_age: 6\nmx: a.test\nfoo: bar\n\n", POLICY_TESTING, 5, "a.test" },
		{ "mode: enforce\nmx: a.test\nmax_age: 1\n", -1, 0, NULL },
		{ "version: STSv2\nmode: enforce\nmx: a.test\nmax_age: 1\n", -1, 0, NULL },
		{ "version: STSv1\nmode: strict\nmx: a.test\nmax_age: 1\n", -1, 0, NULL },
		{ "version: STSv1\nmode: enforce\nmax_age: 1\n", -1, 0, NULL },
		{ "version: STSv1\nmode: enforce\nmx: a.test\n", -1, 0, NULL },
		{ "version: STSv1\nmode: enforce\nmx: a.test\nmax_age: -1\n", -1, 0, NULL },
		{ "version: STSv1\nmode: enforce\nmx: *.*.test\nmax_age: 1\n", -1, 0, NULL },
		{ "version: STSv1\nmode: enforce\nmx: a b\nmax_age: 1\n", -1, 0, NULL },
		{ "<html>not found</html>", -1, 0, NULL },
		{ "", -1, 0, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct buf patterns;
		struct policy p;
		struct fail why = { .text = "" };
		bool ok;

		buf_init(&patterns, POLICY_PATTERNS_MAX);
		ok = policy_parse(span_str(rows[i].body), &p, &patterns, &why);
		if (ok != (rows[i].mode >= 0) || (ok && ((int)p.mode != rows[i].mode || p.max_age_s != rows[i].age ||
		        !span_eq(buf_span(&patterns), span_str(rows[i].patterns)))))
			fail_msg("row %zu: %d %s", i, ok, why.text);
		assert_true(ok || why.text[0]);
		buf_free(&patterns);
	}
}

static void
test_a_policy_with_too_many_patterns_is_refused(void **state)
{
	struct buf body, patterns;
	struct policy p;
	struct fail why;

	(void)state;
	buf_init(&body, 65536);
	buf_init(&patterns, POLICY_PATTERNS_MAX);
	buf_puts(&body, "version: STSv1\nmode: enforce\nmax_age: 1\n");
	for (int i = 0; i <= POLICY_MX_MAX; i++)
		buf_printf(&body, "mx: m%d.test\n", i);
	assert_false(policy_parse(buf_span(&body), &p, &patterns, &why));
	assert_int_equal(why.class, FAIL_LIMIT);
	buf_free(&body);
	buf_free(&patterns);
}

static void
test_what_is_stored_is_read_back(void **state)
{
	struct entry e = { POLICY_ENFORCE, 1000, 2000, "abc1", SPAN_INIT("a.test *.b.test") }, back;
	struct buf out;

	(void)state;
	buf_init(&out, 1000);
	store_encode(&out, &e);
	assert_true(store_decode(buf_span(&out), &back));
	assert_int_equal(back.mode, POLICY_ENFORCE);
	assert_int_equal(back.fetched_s, 1000);
	assert_int_equal(back.expires_s, 2000);
	assert_string_equal(back.id, "abc1");
	assert_true(span_eq(back.patterns, e.patterns));
	for (size_t n = 0; n < 23; n++)
		assert_false(store_decode(span_sub(buf_span(&out), 0, n), &back));
	buf_free(&out);
}

/* --- the core ---------------------------------------------------------------------- */

static struct script {
	struct sts sts;
	int64_t now;
	unsigned lookups, fetches;
	struct sts_domain *looking, *fetching;
	char told[300];
} world;

static bool
look_up(struct sts_domain *d)
{
	world.lookups++;
	world.looking = d;
	return true;
}

static bool
fetch(struct sts_domain *d)
{
	world.fetches++;
	world.fetching = d;
	return true;
}

static int64_t
now_s(struct sts *s)
{
	(void)s;
	return world.now;
}

static void
tell(struct sts_domain *d, const char *result, const char *why)
{
	(void)snprintf(world.told, sizeof(world.told), "%s %s %s", d->name, result ? result : "new", why ? why : "");
}

static const struct sts_ops ops = { look_up, fetch, now_s, tell };

struct asker {
	struct sts_waiter waiter;
	unsigned answers;
	enum sts_known known;
	enum policy_mode mode;
	char patterns[200];
};

static void
on_answer(struct sts_waiter *w, const struct sts_answer *a)
{
	struct asker *asker = OWNER_OF(w, struct asker, waiter);

	asker->answers++;
	asker->known = a->known;
	asker->mode = a->policy ? a->policy->mode : POLICY_NONE;
	(void)span_cstr(a->policy ? a->policy->patterns : SPAN_NONE, asker->patterns, sizeof(asker->patterns));
}

/* As answered at once; what waits is left to wait. */
static struct asker
ask(const char *domain)
{
	static struct asker all[64];
	static size_t used;
	struct asker *a = &all[used++ % 64];

	*a = (struct asker){ .waiter.on_answer = on_answer };
	sts_ask(&world.sts, span_str(domain), &a->waiter);
	return *a;
}

static void
begin(void)
{
	memset(&world, 0, sizeof(world));
	world.now = 1700000000;
	sts_init(&world.sts, &ops, NULL);
}

static void
record(const char *txt)
{
	struct sts_domain *d = world.looking;

	assert_non_null(d);
	world.looking = NULL;
	if (txt)
		sts_record(d, span_str(txt));
	sts_looked_up(d, true, SPAN_NONE);
}

static void
body(const char *text)
{
	struct sts_domain *d = world.fetching;

	assert_non_null(d);
	world.fetching = NULL;
	sts_fetched(d, NULL, span_str(text));
}

static void
no_body(const char *result)
{
	struct sts_domain *d = world.fetching;

	assert_non_null(d);
	world.fetching = NULL;
	sts_fetched(d, result, SPAN("it is not there"));
}

#define ENFORCE "version: STSv1\nmode: enforce\nmx: mx.a.test\nmax_age: 1000\n"
#define TESTING "version: STSv1\nmode: testing\nmx: mx.a.test\nmax_age: 1000\n"

static void
learn(const char *id, const char *policy)
{
	struct asker w = { .waiter.on_answer = on_answer };
	char txt[100];

	sts_ask(&world.sts, SPAN("a.test"), &w.waiter);
	assert_int_equal(w.answers, 0);
	(void)snprintf(txt, sizeof(txt), "v=STSv1; id=%s", id);
	record(txt);
	assert_int_equal(w.answers, 0);
	body(policy);
	assert_int_equal(w.answers, 1);
	assert_int_equal(w.known, STS_HAS_POLICY);
}

static void
test_the_first_question_waits_and_the_next_do_not(void **state)
{
	struct asker a = { .waiter.on_answer = on_answer }, b = a, later;

	(void)state;
	begin();
	sts_ask(&world.sts, SPAN("A.test"), &a.waiter);
	sts_ask(&world.sts, SPAN("a.TEST"), &b.waiter);
	assert_int_equal(world.lookups, 1);
	record("v=STSv1; id=1;");
	body(ENFORCE);
	assert_int_equal(a.answers + b.answers, 2);
	assert_int_equal(a.mode, POLICY_ENFORCE);
	assert_string_equal(b.patterns, "mx.a.test");
	assert_string_equal(world.told, "a.test new ");
	later = ask("a.test");
	assert_int_equal(later.answers, 1);
	assert_int_equal(world.lookups, 1);
	sts_free(&world.sts);
}

static void
test_a_changed_id_is_fetched_behind_the_answer(void **state)
{
	struct asker a;

	(void)state;
	begin();
	learn("1", ENFORCE);
	world.now += STS_CHECK_S;
	a = ask("a.test");
	assert_int_equal(a.mode, POLICY_ENFORCE);
	assert_int_equal(world.lookups, 2);
	record("v=STSv1; id=1;");
	assert_int_equal(world.fetches, 1);
	world.now += STS_CHECK_S;
	a = ask("a.test");
	record("v=STSv1; id=2;");
	assert_int_equal(world.fetches, 2);
	a = ask("a.test");
	assert_int_equal(a.mode, POLICY_ENFORCE); /* the old one, meanwhile */
	body(TESTING);
	a = ask("a.test");
	assert_int_equal(a.mode, POLICY_TESTING);
	sts_free(&world.sts);
}

static void
test_a_policy_that_there_is_no_memory_for_leaves_the_old_one(void **state)
{
	struct buf policy;
	struct asker a;

	(void)state;
	begin();
	buf_init(&policy, 4096);
	buf_puts(&policy, TESTING);
	for (int i = 0; i < 60; i++)
		buf_printf(&policy, "mx: a-host-with-a-long-name-%d.example.test\n", i);
	buf_putc(&policy, '\0');
	learn("1", ENFORCE);
	world.now += STS_CHECK_S;
	(void)ask("a.test");
	record("v=STSv1; id=2;");
	no_memory = true;
	body(buf_span(&policy).p);
	no_memory = false;
	a = ask("a.test");
	assert_int_equal(a.known, STS_HAS_POLICY);
	assert_int_equal(a.mode, POLICY_ENFORCE);
	assert_string_equal(a.patterns, "mx.a.test");
	buf_free(&policy);
	sts_free(&world.sts);
}

/* RFC 8461 10.2: taking the record away does not take the policy away. */
static void
test_a_policy_holds_until_it_expires(void **state)
{
	struct asker a, w = { .waiter.on_answer = on_answer };

	(void)state;
	begin();
	learn("1", ENFORCE);
	world.now += 999;
	a = ask("a.test");
	assert_int_equal(a.mode, POLICY_ENFORCE);
	record(NULL);
	a = ask("a.test");
	assert_int_equal(a.known, STS_HAS_POLICY);
	world.now += STS_NONE_S;
	sts_ask(&world.sts, SPAN("a.test"), &w.waiter);
	assert_int_equal(w.answers, 0);
	record(NULL);
	assert_int_equal(w.known, STS_HAS_NONE);
	sts_free(&world.sts);
}

static void
test_a_failed_fetch_is_no_policy_and_is_not_repeated_at_once(void **state)
{
	struct asker w = { .waiter.on_answer = on_answer }, a;

	(void)state;
	begin();
	sts_ask(&world.sts, SPAN("a.test"), &w.waiter);
	record("v=STSv1; id=1;");
	no_body("sts-webpki-invalid");
	assert_int_equal(w.known, STS_HAS_NONE);
	assert_non_null(strstr(world.told, "sts-webpki-invalid"));
	a = ask("a.test");
	assert_int_equal(a.answers, 1);
	assert_int_equal(world.lookups, 1);
	world.now -= 1000000; /* a clock that was wrong */
	w.answers = 0;
	sts_ask(&world.sts, SPAN("a.test"), &w.waiter);
	assert_int_equal(world.lookups, 2);
	record("v=STSv1; id=1;");
	body("nonsense");
	assert_int_equal(w.known, STS_HAS_NONE);
	assert_non_null(strstr(world.told, "sts-policy-invalid"));
	sts_free(&world.sts);
}

static void
test_a_bad_new_policy_leaves_the_old_one(void **state)
{
	struct asker a;

	(void)state;
	begin();
	learn("1", ENFORCE);
	world.now += STS_CHECK_S;
	(void)ask("a.test");
	record("v=STSv1; id=2;");
	no_body("sts-policy-fetch-error");
	a = ask("a.test");
	assert_int_equal(a.mode, POLICY_ENFORCE);
	assert_string_equal(a.patterns, "mx.a.test");
	sts_free(&world.sts);
}

static void
test_two_records_are_none_and_cancelled_questions_are_silent(void **state)
{
	struct asker w = { .waiter.on_answer = on_answer }, gone = w;
	struct sts_domain *d;

	(void)state;
	begin();
	sts_ask(&world.sts, SPAN("a.test"), &w.waiter);
	sts_ask(&world.sts, SPAN("a.test"), &gone.waiter);
	sts_cancel(&gone.waiter);
	d = world.looking;
	sts_record(d, SPAN("v=STSv1; id=1"));
	sts_record(d, SPAN("v=STSv1; id=2"));
	sts_looked_up(d, true, SPAN_NONE);
	assert_int_equal(w.known, STS_HAS_NONE);
	assert_int_equal(gone.answers, 0);
	assert_int_equal(world.fetches, 0);
	sts_free(&world.sts);
}

static void
test_many_domains_are_bounded(void **state)
{
	char name[64];
	struct asker *all = calloc(STS_ERRANDS + 1, sizeof(*all));

	(void)state;
	begin();
	for (unsigned i = 0; i <= STS_ERRANDS; i++) {
		all[i].waiter.on_answer = on_answer;
		(void)snprintf(name, sizeof(name), "d%u.test", i);
		sts_ask(&world.sts, span_str(name), &all[i].waiter);
	}
	assert_int_equal(world.lookups, STS_ERRANDS);
	assert_int_equal(all[STS_ERRANDS].answers, 1);
	assert_int_equal(all[STS_ERRANDS].known, STS_UNKNOWN);
	for (unsigned i = 0; i < STS_ERRANDS; i++)
		sts_cancel(&all[i].waiter);
	sts_free(&world.sts);
	free(all);
}

static void
test_old_policies_are_refreshed_without_a_question(void **state)
{
	enum { N = STS_REFRESH + 6 };
	struct entry e = { .mode = POLICY_ENFORCE, .id = "1", .patterns = SPAN("mx.a.test") };
	char dir[] = "/tmp/test_sts.XXXXXX", cmd[64], name[40];
	struct fail why;
	bool more;

	(void)state;
	begin();
	assert_non_null(mkdtemp(dir));
	assert_true(store_open(&world.sts.store, dir, &why));
	for (unsigned i = 0; i < N + 3; i++) { /* fresh ones, one of mode none and one that is over are left alone */
		e.fetched_s = world.now - (i == N ? 3600 : 10 * 86400);
		e.expires_s = i == N + 2 ? world.now - 1 : world.now + 5 * 86400;
		e.mode = i == N + 1 ? POLICY_NONE : i & 1 ? POLICY_ENFORCE : POLICY_TESTING;
		(void)snprintf(name, sizeof(name), "d%03u.test", i);
		assert_true(store_put(&world.sts.store, span_str(name), &e, &why));
	}
	assert_true(sts_refresh(&world.sts, &more, &why));
	assert_true(more);
	assert_int_equal(world.lookups, STS_REFRESH);
	assert_true(sts_refresh(&world.sts, &more, &why));
	assert_false(more);
	assert_int_equal(world.lookups, N);
	assert_string_equal(world.looking->name, "d069.test");
	record("v=STSv1; id=1;"); /* the same, and yet fetched again */
	assert_int_equal(world.fetches, 1);
	body("version: STSv1\nmode: enforce\nmx: mx.b.test\nmax_age: 2000000\n");
	assert_string_equal(ask("d069.test").patterns, "mx.b.test");
	assert_true(sts_refresh(&world.sts, &more, &why)); /* the next round: what is being asked is not asked twice */
	assert_int_equal(world.lookups, N);
	sts_free(&world.sts);
	(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	assert_int_equal(system(cmd), 0);
}

static void
test_a_restart_forgets_nothing(void **state)
{
	char dir[] = "/tmp/test_sts.XXXXXX", command[100];
	struct asker a;
	struct fail why = { .text = "" };

	(void)state;
	assert_non_null(mkdtemp(dir));
	begin();
	if (!store_open(&world.sts.store, dir, &why))
		fail_msg("%s", why.text);
	learn("1", ENFORCE);
	sts_free(&world.sts);
	begin();
	assert_true(store_open(&world.sts.store, dir, &why));
	a = ask("a.test");
	assert_int_equal(a.mode, POLICY_ENFORCE);
	assert_string_equal(a.patterns, "mx.a.test");
	record("v=STSv1; id=1;");
	assert_int_equal(world.fetches, 0);
	assert_true(store_sweep(&world.sts.store, world.now + 1001, &why));
	sts_free(&world.sts);
	begin();
	assert_true(store_open(&world.sts.store, dir, &why));
	a = ask("a.test");
	assert_int_equal(a.answers, 0);
	sts_free(&world.sts);
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_a_policy_with_too_many_patterns_is_refused),
		cmocka_unit_test(test_what_is_stored_is_read_back),
		cmocka_unit_test(test_the_first_question_waits_and_the_next_do_not),
		cmocka_unit_test(test_a_changed_id_is_fetched_behind_the_answer),
		cmocka_unit_test(test_a_policy_that_there_is_no_memory_for_leaves_the_old_one),
		cmocka_unit_test(test_a_policy_holds_until_it_expires),
		cmocka_unit_test(test_a_failed_fetch_is_no_policy_and_is_not_repeated_at_once),
		cmocka_unit_test(test_a_bad_new_policy_leaves_the_old_one),
		cmocka_unit_test(test_two_records_are_none_and_cancelled_questions_are_silent),
		cmocka_unit_test(test_many_domains_are_bounded),
		cmocka_unit_test(test_old_policies_are_refreshed_without_a_question),
		cmocka_unit_test(test_a_restart_forgets_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
