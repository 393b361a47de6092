/* SPDX-License-Identifier: ISC
 *
 * Lists that come to the journal in parts, ahead of their envelope.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/cursor.h"
#include "queue/impl.h"
#include "sim/sim.h"

enum { MANY = 3000 };

static struct sim_answer
refuse(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	(void)s, (void)name, (void)recipient, (void)job;
	return (struct sim_answer){ .outcome = OUTCOME_DEFERRED, .health = HEALTH_UNREACHED, .takes_ms = 10, .code = "4.4.1", .reply = "refused" };
}

static void
begin(struct sim *s)
{
	sim_init(s);
	s->segment = 256 * 1024;
	s->parts = 1000;
	sim_open(s);
	sim_host_add(s, "dead", refuse);
}

static uint64_t
accept_many(struct sim *s)
{
	static char to[MANY * 16];
	size_t n = 0;
	uint64_t id;

	for (unsigned i = 0; i < MANY; i++)
		n += (size_t)snprintf(to + n, sizeof(to) - n, "m%u@dead ", i);
	id = sim_accept(s, "a@x", to);
	assert_true(id != 0);
	return id;
}

static void
check_many(const struct sim *s, uint64_t id)
{
	const struct message *m = queue_find(s->queue, id);
	char want[20];

	assert_non_null(m);
	assert_int_equal(m->nrcpts, MANY);
	for (unsigned i = 0; i < MANY; i++) {
		(void)snprintf(want, sizeof(want), "m%u@dead", i);
		assert_true(span_eq(text_span(m->rcpts[i].address), span_str(want)));
	}
}

/* How many parts its envelope names. */
static size_t
parts_of(const struct sim *s, uint64_t id)
{
	const struct message *m = queue_find(s->queue, id);
	struct journal_record r;
	struct record_envelope e;
	struct fail why;
	struct buf into;
	size_t n;

	buf_init(&into, 1 << 20);
	assert_true(journal_read(s->journal, m->pos, &into, &r, &why));
	assert_true(record_get(&record_desc_envelope, &r, &e));
	n = e.parts.n / sizeof(uint64_t);
	buf_free(&into);
	return n;
}

static void
test_a_list_in_parts_is_whole_behind_a_restart(void **state)
{
	struct sim s;
	uint64_t id, small;

	(void)state;
	begin(&s);
	id = accept_many(&s);
	small = sim_accept(&s, "a@x", "b@dead");
	assert_true(parts_of(&s, id) > 20);
	assert_int_equal(parts_of(&s, small), 0);
	check_many(&s, id);
	for (int i = 0; i < 2; i++) {
		sim_restart(&s);
		check_many(&s, id);
		assert_int_equal(queue_find(s.queue, small)->nrcpts, 1);
	}
	sim_free(&s);
}

/* Wherever in a segment it begins: what would not be in one segment stands in the envelope. */
static void
test_parts_and_envelope_share_a_segment(void **state)
{
	unsigned whole = 0, parted = 0;
	uint64_t ids[24];
	struct sim s;

	(void)state;
	begin(&s);
	for (unsigned i = 0; i < 24; i++) {
		ids[i] = accept_many(&s);
		*(parts_of(&s, ids[i]) ? &parted : &whole) += 1;
	}
	assert_true(parted > 3);
	assert_true(whole > 3);
	sim_restart(&s);
	for (unsigned i = 0; i < 24; i++)
		check_many(&s, ids[i]);
	sim_free(&s);
}

static void
test_compaction_takes_the_list_along(void **state)
{
	struct sim s;
	uint64_t id, segment;

	(void)state;
	begin(&s);
	id = accept_many(&s);
	assert_true(parts_of(&s, id) > 20);
	segment = journal_segment(queue_find(s.queue, id)->pos);
	while (journal_stays(s.journal, segment, 0, 0)) /* until it is sealed */
		(void)sim_accept(&s, "a@x", "b@dead");
	queue_compact(s.queue, segment);
	assert_true(journal_segment(queue_find(s.queue, id)->pos) != segment);
	assert_int_equal(parts_of(&s, id), 0);
	assert_true(journal_sync(s.journal, NULL));
	sim_restart(&s);
	check_many(&s, id);
	sim_free(&s);
}

/* One recipient that is a list, of which many members have the message. */
static void
test_compaction_takes_along_who_has_it_already(void **state)
{
	enum { MEMBERS = 3500 };
	char address[40];
	struct message *m;
	struct sim s;
	uint64_t id, segment;

	(void)state;
	begin(&s);
	id = sim_accept(&s, "a@x", "list@dead");
	m = queue_find(s.queue, id);
	for (unsigned i = 0; i < MEMBERS; i++) {
		(void)snprintf(address, sizeof(address), "member-number-%u@good", i);
		assert_true(message_add_done(m, 0, span_str(address)));
	}
	segment = journal_segment(m->pos);
	while (journal_stays(s.journal, segment, 0, 0)) /* until it is sealed */
		(void)sim_accept(&s, "a@x", "b@dead");
	queue_compact(s.queue, segment);
	assert_true(journal_segment(m->pos) != segment);
	assert_true(journal_sync(s.journal, NULL));
	sim_restart(&s);
	m = queue_find(s.queue, id);
	assert_non_null(m);
	for (unsigned i = 0; i < MEMBERS; i += 100) {
		(void)snprintf(address, sizeof(address), "member-number-%u@good", i);
		assert_true(message_is_done(m, 0, span_str(address)));
	}
	sim_free(&s);
}

/* Parts without an envelope are nothing; so are positions that come from anywhere but the queue itself. */
static void
test_what_no_envelope_names_is_nothing(void **state)
{
	struct record_recipient r = { .address = SPAN("never@dead") };
	struct queue_parts p;
	struct buf list;
	struct sim s;
	uint64_t id;

	(void)state;
	begin(&s);
	buf_init(&list, 1000);
	assert_true(record_list_put(&list, &record_desc_recipient, &r));
	queue_parts_init(&p, 1);
	queue_put_part(s.queue, &p, 4711, buf_span(&list));
	assert_int_equal(p.n, buf_len(&list));
	queue_parts_free(&p);
	buf_free(&list);
	s.with.parts = SPAN("12345678");
	id = sim_accept(&s, "a@x", "b@dead");
	s.with.parts = SPAN_NONE;
	assert_int_equal(parts_of(&s, id), 0);
	sim_restart(&s);
	assert_int_equal(queue_stats(s.queue).messages, 1);
	assert_int_equal(queue_find(s.queue, id)->nrcpts, 1);
	sim_free(&s);
}

static void
test_a_missing_part_is_no_shorter_list(void **state)
{
	struct record_parts p;
	struct record_part part = { .id = 7, .list = SPAN("abc") };
	struct record_envelope e = { .id = 7, .parts = SPAN("\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0"), .list = SPAN("rest") }, copy;
	struct buf head, list;

	(void)state;
	for (unsigned has = 0; has < 4; has++) {
		record_parts_init(&p);
		for (unsigned i = 0; i < 2; i++) {
			struct journal_record r = { .type = RECORD_part, .pos = i + 1 };

			buf_init(&head, 1000);
			assert_true(desc_encode(&record_desc_part, &part, &head));
			r.head = buf_span(&head);
			if (has & 1u << i)
				assert_true(record_parts_keep(&p, &r));
			buf_free(&head);
		}
		buf_init(&list, 1000);
		copy = e;
		assert_int_equal(record_parts_join(&p, &copy, &list), has == 3);
		if (has == 3)
			assert_true(span_eq(copy.list, SPAN("abcabcrest")) && copy.parts.n == 0);
		buf_reset(&list);
		copy = e;
		assert_false(record_parts_join(&p, &copy, &list)); /* they were taken */
		record_parts_drop(&p);
		buf_free(&list);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_list_in_parts_is_whole_behind_a_restart),
		cmocka_unit_test(test_parts_and_envelope_share_a_segment),
		cmocka_unit_test(test_compaction_takes_the_list_along),
		cmocka_unit_test(test_compaction_takes_along_who_has_it_already),
		cmocka_unit_test(test_what_no_envelope_names_is_nothing),
		cmocka_unit_test(test_a_missing_part_is_no_shorter_list),
	};

	return cmocka_run_group_tests_name("parts", tests, NULL, NULL);
}
