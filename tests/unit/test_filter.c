/* SPDX-License-Identifier: ISC
 *
 * The filter language: what it means, what its complaints say, and in which
 * order it asks.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "queue/filter.h"

struct subject {
	const char *status, *from, *to[3], *reason, *client[2], *sasl;
	uint64_t id, age, size;
	unsigned *asked; /* for the journal */
};

static uint64_t
number(const void *of, enum filter_field f)
{
	const struct subject *s = of;

	return f == FILTER_id ? s->id : f == FILTER_age ? s->age : f == FILTER_size ? s->size : 1;
}

static bool
text(const void *of, enum filter_field f, uint32_t nth, struct span *out)
{
	const struct subject *s = of;
	const char *found = NULL;

	if (f == FILTER_to || f == FILTER_domain)
		found = nth < 3 ? s->to[nth] : NULL;
	else if (f == FILTER_client)
		found = nth < 2 ? s->client[nth] : NULL;
	else if (nth == 0)
		found = f == FILTER_from ? s->from : f == FILTER_status ? s->status : f == FILTER_reason ? s->reason : f == FILTER_sasl ? s->sasl : NULL;
	if (f >= FILTER_client && s->asked)
		++*s->asked;
	*out = span_str(found);
	return found != NULL;
}

static const struct filter_source source = { number, text };
static const struct subject mail = { .status = "deferred", .from = "Alice@Example.com", .to = { "bob@a.example.org", "carol@b.test" },
	.reason = "connect to mx: Connection timed out", .client = { "host.example", "192.0.2.7" }, .sasl = "alice", .id = 0x123456789abcdef,
	.age = 3 * 3600 * 1000, .size = 2 << 20 };

static bool
matches(const char *filter)
{
	struct filter_error error;
	char *text = strdup(filter); /* is gone before the filter is used */
	struct filter *f = filter_parse(span_str(text), FILTER_QUEUE, &error);
	bool yes;

	memset(text, 'x', strlen(text));
	free(text);

	if (!f)
		fail_msg("%s: column %u: %s", filter, error.column, error.text);
	yes = filter_match(f, &source, &mail);
	filter_free(&f);
	return yes;
}

static void
test_meaning(void **state)
{
	static const struct {
		const char *filter;
		bool yes;
	} cases[] = {
		{ "", true }, { "all", true }, { "not all", false },
		{ "from:alice@example.com", true }, { "from:ALICE@*", true }, { "from:@example.com", true }, { "from:@ample.com", false },
		{ "from:<alice@example.com>", true }, { "from:<>", false }, { "from!=alice@example.com", false }, { "from~lice", true },
		{ "from:\"alice@*\"", false }, { "from:x@y,alice@example.com", true }, { "from:x@y, alice@example.com", true },
		{ "to:carol@b.test", true }, { "to:dave@b.test", false }, { "to:@a.example.org", true }, { "to:*@*.org", true },
		{ "domain:b.test", true }, { "domain:.example.org", true }, { "domain:example.org", false }, { "domain:.b.test", false },
		{ "domain~ample", true }, { "domain~carol", false },
		{ "age>2h", true }, { "age>3h", false }, { "age>=3h", true }, { "age < 1d", true }, { "age>1h30m", true }, { "age<=180m", true },
		{ "size>1M", true }, { "size=2M", true }, { "size!=2M", false }, { "size>2M", false }, { "size>=2048k", true }, { "size<2097153", true },
		{ "status:deferred", true }, { "status:hold,deferred", true }, { "status!=hold", true },
		{ "reason~\"timed out\"", true }, { "reason~TIMED", true }, { "reason!~refused", true }, { "reason:*out", true },
		{ "sasl:alice", true }, { "sasl:\"\"", false },
		{ "client:192.0.2.0/24", true }, { "client:192.0.2.7", true }, { "client:198.51.100.0/24", false }, { "client:host.example", true },
		{ "client:*.example", true }, { "client:local:0", false },
		{ "from:x or to:bob@a.example.org", true }, { "from:x to:bob@a.example.org", false },
		{ "status:deferred and not (from:x or to:y)", true }, { "! status:hold !from:x", true }, { "not not status:deferred", true },
		{ "from:x and to:y or status:deferred", true }, { "from:x and (to:y or status:deferred)", false },
		{ "(status:deferred)(size>1M)", true }, { "NOT from:x AND Status:Deferred", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (matches(cases[i].filter) != cases[i].yes)
			fail_msg("%s", cases[i].filter);
}

static void
test_complaints(void **state)
{
	static const struct {
		const char *filter;
		unsigned where, column;
		const char *says;
	} cases[] = {
		{ "age > x", FILTER_QUEUE, 7, "a time with its unit" },
		{ "age>2", FILTER_QUEUE, 5, "a time with its unit" },
		{ "age:2h", FILTER_QUEUE, 4, "< <= > >=" },
		{ "form:alice", FILTER_QUEUE, 1, "expected a field (id, age" },
		{ "from:alice and", FILTER_QUEUE, 15, "found the end" },
		{ "from:alice or or", FILTER_QUEUE, 15, "found or" },
		{ "(from:alice", FILTER_QUEUE, 12, "\")\" for the \"(\" in column 1, found the end" },
		{ "from:alice)", FILTER_QUEUE, 11, "found )" },
		{ "from:", FILTER_QUEUE, 6, "expected an address, found the end" },
		{ "from alice", FILTER_QUEUE, 6, "expected : or ~ behind from, found alice" },
		{ "reason~timed out", FILTER_QUEUE, 14, "found out" },
		{ "reason~\"timed out", FILTER_QUEUE, 8, "closing quote" },
		{ "status:done", FILTER_QUEUE, 8, "active, incoming, deferred or hold" },
		{ "status:deferred", FILTER_PAST, 8, "delivered, bounced, deleted or partial" },
		{ "from~ü age:1", FILTER_QUEUE, 11, "age cannot be asked with :" },
		{ "size>1X", FILTER_QUEUE, 6, "a size" },
		{ "size>99999999999999999999", FILTER_QUEUE, 6, "a size" },
		{ "id:illegal!", FILTER_QUEUE, 4, "a queue id" },
		{ "age>2h", FILTER_ARRIVAL, 1, "not known when a message arrives" },
		{ "sasl:x", FILTER_PAST, 1, "not known of finished messages" },
		{ "from:a\"b\"c(", FILTER_QUEUE, 12, "expected a test" },
		{ "from:\"a\"b", FILTER_QUEUE, 9, "expected a blank" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct filter_error error;
		struct filter *f = filter_parse(span_str(cases[i].filter), cases[i].where, &error);

		if (f || error.column != cases[i].column || span_find(span_str(error.text), span_str(cases[i].says)) == SIZE_MAX)
			fail_msg("%s: %s column %u: %s", cases[i].filter, f ? "parsed" : "refused", error.column, error.text);
	}
}

static void
test_depth_and_length(void **state)
{
	static char deep[FILTER_TEXT_MAX + 2];
	struct filter_error error;

	(void)state;
	for (size_t i = 0; i < sizeof(deep); i++)
		deep[i] = '(';
	assert_null(filter_parse(span_of(deep, 8000), FILTER_QUEUE, &error));
	assert_int_equal(error.column, FILTER_DEPTH + 1);
	assert_null(filter_parse(span_of(deep, sizeof(deep)), FILTER_QUEUE, &error));
	assert_int_equal(error.column, 0);
}

static void
test_journal_last(void **state)
{
	unsigned asked = 0;
	struct subject s = mail;
	struct filter_error error;
	struct filter *f = filter_parse(SPAN("sasl:alice and client:host.example and (helo:x or status:hold) and size<1k"), FILTER_QUEUE, &error);

	(void)state;
	s.asked = &asked;
	assert_non_null(f);
	assert_false(filter_match(f, &source, &s));
	assert_int_equal(asked, 0); /* the size has decided */
	filter_free(&f);
}

static void
test_ids(void **state)
{
	static const struct {
		const char *filter;
		size_t n; /* 0: any message may match */
	} cases[] = {
		{ "id:3C4D5E6F7G8", 1 }, { "3C4D5E6F7G8", 1 }, { "id:3C4D5E6F7G8,3C4D5E6F7G9", 2 }, { "3C4D5E6F7G8 or 3C4D5E6F7G9 or 3C4D5E6F7GA", 3 },
		{ "3C4D5E6F7G8 status:hold", 1 }, { "not 3C4D5E6F7G8", 0 }, { "3C4D5E6F7G8 or from:x", 0 }, { "from:x", 0 }, { "", 0 },
		{ "id!=3C4D5E6F7G8", 0 }, { "not (3C4D5E6F7G8 or 3C4D5E6F7G9)", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct filter_error error;
		struct filter *f = filter_parse(span_str(cases[i].filter), FILTER_QUEUE, &error);
		const uint64_t *ids;
		size_t n;

		assert_non_null(f);
		if (filter_ids(f, &ids, &n) ? n != cases[i].n || n == 0 : cases[i].n != 0)
			fail_msg("%s: %zu ids", cases[i].filter, n);
		filter_free(&f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_meaning),
		cmocka_unit_test(test_complaints),
		cmocka_unit_test(test_depth_and_length),
		cmocka_unit_test(test_journal_last),
		cmocka_unit_test(test_ids),
	};

	return cmocka_run_group_tests_name("filter", tests, NULL, NULL);
}
