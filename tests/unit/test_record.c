/* SPDX-License-Identifier: ISC */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "queue/message.h"
#include "queue/record.h"

static const struct desc *const all[] = {
#define RECORD(record, number, doc) &record_desc_##record,
#define FIELD(record, kind, name, bound, doc)
#define END(record)
#include "queue/record.def"
#undef RECORD
#undef FIELD
#undef END
};

/* Fills every field with something at its bound. */
static void
fill(const struct desc *d, char *to, const char *text, size_t delta)
{
	memset(to, 0, d->size);
	for (size_t i = 0; i < d->nfields; i++) {
		const struct desc_field *f = &d->fields[i];
		struct span s = { text, (size_t)f->bound + delta };
		uint64_t v = f->bound ? f->bound + delta : 1;

		if (f->kind == DESC_TEXT || f->kind == DESC_BYTES)
			memcpy(to + f->offset, &s, sizeof(s));
		else
			memcpy(to + f->offset, &v, f->kind == DESC_U8 || f->kind == DESC_BOOL ? 1 : f->kind == DESC_U32 ? 4 : 8);
	}
}

static void
every_record_goes_round_and_every_truncation_is_refused(void **state)
{
	static char text[9 * 1024 * 1024];
	char a[512], b[512];
	const struct desc_field *bad;
	struct buf out;

	(void)state;
	memset(text, 'x', sizeof(text));
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		struct span s;

		assert_true(all[i]->size <= sizeof(a));
		buf_init(&out, 16 * 1024 * 1024);
		fill(all[i], a, text, 0);
		assert_true(desc_encode(all[i], a, &out));
		s = buf_span(&out);
		assert_true(desc_decode(all[i], s, b, &bad));
		for (size_t n = 0; n < s.n; n += s.n > 100000 ? 9973 : 1)
			assert_false(desc_decode(all[i], span_sub(s, 0, n), b, &bad));
		buf_free(&out);
		buf_init(&out, 16 * 1024 * 1024);
		fill(all[i], a, text, 1);
		assert_false(desc_encode(all[i], a, &out)); /* each has a bounded field */
		buf_free(&out);
	}
}

static void
a_broken_list_is_no_message(void **state)
{
	struct record_recipient r = { .address = SPAN("b@example.test") };
	struct record_envelope e = { .id = 7, .recipients = 2 };
	struct message *m;
	struct buf list;

	(void)state;
	buf_init(&list, 4096);
	assert_true(record_list_put(&list, &record_desc_recipient, &r));
	e.list = buf_span(&list);
	assert_null(message_new(&e)); /* one too few */
	assert_true(record_list_put(&list, &record_desc_recipient, &r));
	e.list = buf_span(&list);
	m = message_new(&e);
	assert_non_null(m);
	assert_int_equal(m->unsettled, 2);
	message_free(&m, NULL);
	e.recipients = 1;
	assert_null(message_new(&e)); /* one too many */
	e.recipients = 2;
	for (size_t n = 0; n < buf_len(&list); n++) {
		e.list = span_sub(buf_span(&list), 0, n);
		assert_null(message_new(&e));
	}
	buf_free(&list);
}

static void
what_does_not_fit_a_list_leaves_it_as_it_was(void **state)
{
	static char many[900];
	struct record_recipient good = { .address = SPAN("b@example.test") }, out;
	struct record_recipient bad = { .address = span_of(memset(many, 'x', sizeof(many)), sizeof(many)) };
	struct span rest;
	struct buf list;
	size_t n;
	bool ok = true;

	(void)state;
	buf_init(&list, 100);
	assert_true(record_list_put(&list, &record_desc_recipient, &good));
	n = buf_len(&list);
	assert_false(record_list_put(&list, &record_desc_recipient, &bad)); /* over its bound */
	bad.address.n = 90;
	assert_false(record_list_put(&list, &record_desc_recipient, &bad)); /* no room */
	assert_int_equal(buf_len(&list), n);
	assert_true(record_list_put(&list, &record_desc_recipient, &good));
	rest = buf_span(&list);
	for (int i = 0; i < 2; i++)
		assert_true(record_list_next(&rest, &record_desc_recipient, &out, &ok));
	assert_false(record_list_next(&rest, &record_desc_recipient, &out, &ok));
	assert_true(ok);
	buf_free(&list);
}

static void
a_waiting_message_with_one_recipient_is_small(void **state)
{
	(void)state;
	/* Of 400 bytes a message; addresses, the index and the allocator take the rest. */
	assert_true(sizeof(struct message) <= 272);
	assert_true(sizeof(struct recipient) <= 24);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_record_goes_round_and_every_truncation_is_refused),
		cmocka_unit_test(a_broken_list_is_no_message),
		cmocka_unit_test(what_does_not_fit_a_list_leaves_it_as_it_was),
		cmocka_unit_test(a_waiting_message_with_one_recipient_is_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
