/* SPDX-License-Identifier: ISC
 *
 * Records that come back, damaged ones that do not, segments that are used again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "desc/desc.h"
#include "journal/segment.h"
#include "sys/crc32c.h"
#include "tests/unit/journal_fixture.h"
#include "tests/unit/no_memory.h"

static bool no_memory;

static bool
memory_fails(void)
{
	return no_memory;
}

static void
checksum_is_castagnoli(void **state)
{
	char bytes[1000];

	(void)state;
	assert_int_equal(crc32c(0, SPAN("123456789")), 0xe3069283u);
	assert_int_equal(crc32c_portable(0, SPAN("123456789")), 0xe3069283u);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 7);
	for (size_t n = 0; n < sizeof(bytes); n += 13)
		assert_int_equal(crc32c(5, span_of(bytes + n % 3, n)), crc32c_portable(5, span_of(bytes + n % 3, n)));
}

static void
appended_records_come_back(void **state)
{
	struct memfs *fs = memfs_new();
	struct seen seen;
	struct journal *j = open_on(fs, &seen);
	struct journal_record r;
	struct buf b;
	journal_pos pos;

	(void)state;
	assert_int_equal(seen.n, 0);
	(void)add(j, "one", 0);
	pos = add(j, "two", 5000);
	(void)add(j, "three", 1);
	assert_true(journal_sync(j, NULL));
	buf_init(&b, SEGMENT);
	assert_true(journal_read(j, pos, &b, &r, NULL));
	assert_int_equal(r.body.n, 5000);
	assert_true(span_eq(r.head, SPAN("two")));
	buf_free(&b);
	journal_close(&j);
	j = open_on(fs, &seen);
	assert_string_equal(seen.heads, "one two three ");
	(void)add(j, "four", 3);
	journal_close(&j);
	j = open_on(fs, &seen);
	assert_string_equal(seen.heads, "one two three four ");
	assert_int_equal(seen.damaged, 0);
	journal_close(&j);
	memfs_free(&fs);
}

static void
many_segments_keep_order_and_use_indexes(void **state)
{
	struct memfs *fs = memfs_new();
	struct seen seen;
	struct journal *j = open_on(fs, &seen);
	uint64_t size;

	(void)state;
	for (int i = 0; i < 100; i++) {
		char head[8];

		(void)snprintf(head, sizeof(head), "%d", i);
		(void)add(j, head, 4096);
		assert_true(journal_sync(j, NULL));
	}
	journal_close(&j);
	assert_non_null(memfs_bytes(fs, "j/00000000.idx", &size));
	assert_int_equal(fs->syncs > 100, 1);
	j = open_on(fs, &seen);
	assert_int_equal(seen.n, 100);
	assert_memory_equal(seen.heads, "0 1 2 3 ", 8);
	journal_close(&j);
	/* A broken index is done without. */
	memfs_bytes(fs, "j/00000000.idx", &size)[40] ^= 1;
	j = open_on(fs, &seen);
	assert_int_equal(seen.n, 100);
	journal_close(&j);
	memfs_free(&fs);
}

struct fact {
	uint32_t number;
	struct span word;
};

static const struct desc_field fact_fields[] = {
	{ "number", DESC_U32, 0, offsetof(struct fact, number), "a number" },
	{ "word", DESC_TEXT, 5, offsetof(struct fact, word), "a word" },
};
static const struct desc fact_desc = { "fact", fact_fields, 2, sizeof(struct fact), "a fact" };

static bool
on_fact(void *arg, const struct journal_record *r)
{
	struct fact f;

	assert_true(desc_decode(&fact_desc, r->head, &f, NULL));
	assert_int_equal(f.number, 7);
	assert_true(span_eq(f.word, SPAN("seven")));
	assert_true(span_eq(r->body, SPAN("body")));
	++*(unsigned *)arg;
	return true;
}

static void
a_struct_is_encoded_where_it_goes(void **state)
{
	struct memfs *fs = memfs_new();
	struct seen seen;
	struct journal *j = open_on(fs, &seen);
	struct fact good = { 7, SPAN("seven") }, bad = { 8, SPAN("eighth") }, wrong = { 9, SPAN("\n") };
	struct journal_record r = { .type = 1, .desc = &fact_desc, .from = &good, .body = SPAN("body") };
	struct journal_options o = { .vfs = &fs->vfs, .dir = "j", .kind = "test", .segment_size = SEGMENT };
	struct fail why;
	unsigned n = 0;

	(void)state;
	assert_true(journal_append(j, &r, 0, NULL, NULL, &why));
	r.from = &bad;
	assert_false(journal_append(j, &r, 0, NULL, NULL, &why));
	assert_int_equal(why.class, FAIL_LIMIT);
	r.from = &wrong;
	assert_false(journal_append(j, &r, 0, NULL, NULL, &why));
	r.from = &good;
	assert_true(journal_append(j, &r, 0, NULL, NULL, &why));
	journal_close(&j);
	j = journal_open(&o, &why);
	assert_non_null(j);
	assert_true(journal_replay(j, on_fact, &n, NULL, &why));
	assert_int_equal(n, 2);
	journal_close(&j);
	memfs_free(&fs);
}

enum { LONG = 100 * 1000, LONG_SEGMENT = 1024 * 1024 };

struct heads {
	unsigned n, longs;
};

static bool
on_long(void *arg, const struct journal_record *r)
{
	struct heads *h = arg;

	h->longs += r->head.n == LONG;
	assert_true(r->head.n == LONG || span_eq(r->head, SPAN("short")));
	for (size_t i = 0; r->head.n == LONG && i < LONG; i++)
		assert_int_equal(r->head.p[i], (char)('a' + h->n % 26));
	h->n++;
	return true;
}

/* Appends some when it is given LONG bytes for them. */
static struct heads
replay_longs(struct memfs *fs, char *head)
{
	struct journal_options o = { .vfs = &fs->vfs, .dir = "j", .kind = "test", .segment_size = LONG_SEGMENT };
	struct journal *j = journal_open(&o, NULL);
	struct heads h = { 0 };

	assert_non_null(j);
	assert_true(journal_replay(j, on_long, &h, NULL, NULL));
	for (unsigned i = 0; head && i < 40; i++) {
		struct journal_record r = { .type = 1, .head = i % 2 ? SPAN("short") : span_of(head, LONG) };

		memset(head, (int)('a' + i % 26), LONG);
		assert_true(journal_append(j, &r, 0, NULL, NULL, NULL));
		assert_true(journal_sync(j, NULL));
	}
	journal_close(&j);
	return h;
}

/* They are not kept in memory for it, but read again when the index is written. */
static void
long_heads_are_in_the_index(void **state)
{
	static char bytes[LONG];
	struct memfs *fs = memfs_new();
	struct heads h;
	uint64_t size;

	(void)state;
	(void)replay_longs(fs, bytes);
	assert_non_null(memfs_bytes(fs, "j/00000000.idx", &size));
	assert_true(size > 5 * LONG);
	memfs_bytes(fs, "j/00000000.seg", &size)[4096 + 500] ^= 1; /* not looked at while there is an index */
	h = replay_longs(fs, NULL);
	assert_int_equal(h.n, 40);
	assert_int_equal(h.longs, 20);
	memfs_free(&fs);
}

static void
damage_in_the_middle_is_skipped_and_told(void **state)
{
	struct memfs *fs = memfs_new();
	struct seen seen;
	struct journal *j = open_on(fs, &seen);
	uint64_t size;

	(void)state;
	(void)add(j, "one", 0);
	assert_true(journal_sync(j, NULL));
	(void)add(j, "two", 3000);
	assert_true(journal_sync(j, NULL));
	(void)add(j, "three", 10);
	(void)add(j, "four", 10);
	journal_close(&j);
	memfs_bytes(fs, "j/00000000.seg", &size)[4096 + 500] ^= 1;
	j = open_on(fs, &seen);
	assert_string_equal(seen.heads, "one three four ");
	assert_int_equal(seen.damaged, 1);
	assert_int_equal(seen.events, 1);
	journal_close(&j);
	memfs_free(&fs);
}

static void
torn_tail_ends_the_replay_silently(void **state)
{
	struct memfs *fs = memfs_new();
	struct seen seen;
	struct journal *j = open_on(fs, &seen);
	uint64_t size;

	(void)state;
	(void)add(j, "one", 0);
	assert_true(journal_sync(j, NULL));
	(void)add(j, "two", 3000);
	(void)add(j, "three", 10); /* the same batch: was never reported durable */
	journal_close(&j);
	memfs_bytes(fs, "j/00000000.seg", &size)[4096 + 500] ^= 1;
	j = open_on(fs, &seen);
	assert_string_equal(seen.heads, "one ");
	assert_int_equal(seen.damaged, 0);
	/* and what is appended now is not followed by what was given up */
	(void)add(j, "new", 0);
	journal_close(&j);
	j = open_on(fs, &seen);
	assert_string_equal(seen.heads, "one new ");
	assert_int_equal(seen.damaged, 0);
	journal_close(&j);
	memfs_free(&fs);
}

static void
dead_segments_are_recycled_in_dependency_order(void **state)
{
	struct memfs *fs = memfs_new();
	struct seen seen;
	struct journal *j = open_on(fs, &seen);
	journal_pos first = add_dead(j, "envelope", 0), last;

	(void)state;
	journal_live(j, first, 1);
	for (int i = 0; i < 40; i++)
		(void)add_dead(j, "filler", 10000);
	last = add_dead(j, "removed", 0);
	journal_depend(j, last, first);
	for (int i = 0; i < 10; i++)
		(void)add_dead(j, "filler", 10000);
	assert_true(journal_sync(j, NULL));
	journal_tidy(j);
	assert_true(journal_exists(j, first));
	assert_true(journal_exists(j, last));
	assert_int_equal(journal_stats(j).segments, 3);
	journal_live(j, first, -1);
	journal_tidy(j);
	assert_false(journal_exists(j, first));
	assert_false(journal_exists(j, last));
	assert_int_equal(journal_stats(j).segments, 1);
	/* Recycled files are used again. */
	for (int i = 0; i < 30; i++)
		(void)add_dead(j, "again", 10000);
	assert_true(journal_sync(j, NULL));
	journal_close(&j);
	j = open_on(fs, &seen);
	assert_null(strstr(seen.heads, "envelope"));
	assert_null(strstr(seen.heads, "removed"));
	assert_int_equal(seen.damaged, 0);
	journal_close(&j);
	memfs_free(&fs);
}

/* An index lost its entries when it was written a second time, and with them the segment its records. */
static void
a_segment_that_is_last_again_keeps_its_index(void **state)
{
	struct memfs *fs = memfs_new();
	struct seen seen;
	struct journal *j = open_on(fs, &seen);
	journal_pos last;

	(void)state;
	(void)add(j, "kept", 0);
	for (int i = 0; i < 7; i++)
		last = add_dead(j, "filler", 10000);
	assert_int_equal(journal_segment(last), 2);
	assert_true(journal_sync(j, NULL));
	journal_close(&j);
	j = open_on(fs, &seen);
	journal_live(j, seen.last, -1); /* the second segment is not needed */
	journal_tidy(j);
	assert_false(journal_exists(j, last));
	(void)add_dead(j, "new", 0);
	assert_true(journal_sync(j, NULL));
	journal_close(&j);
	j = open_on(fs, &seen);
	assert_non_null(strstr(seen.heads, "kept"));
	journal_close(&j);
	memfs_free(&fs);
}

static void
what_replaces_a_record_is_durable_before_its_segment_goes(void **state)
{
	struct memfs *fs = memfs_new();
	struct seen seen;
	struct journal *j = open_on(fs, &seen);
	journal_pos first = add(j, "first", 0);

	(void)state;
	for (int i = 0; i < 7; i++)
		(void)add_dead(j, "filler", 10000);
	assert_true(journal_sync(j, NULL));
	(void)add(j, "first", 0); /* moved */
	journal_live(j, first, -1);
	journal_tidy(j);
	assert_true(journal_exists(j, first));
	assert_true(journal_sync(j, NULL));
	journal_tidy(j);
	assert_false(journal_exists(j, first));
	journal_close(&j);
	memfs_free(&fs);
}

static void
foreign_and_newer_segments_are_left_alone(void **state)
{
	struct memfs *fs = memfs_new();
	struct seen seen;
	struct journal *j = open_on(fs, &seen);
	struct journal_options o = { .vfs = &fs->vfs, .dir = "j", .kind = "othr", .segment_size = SEGMENT, .on_event = on_event, .arg = &seen };

	(void)state;
	(void)add(j, "one", 0);
	journal_close(&j);
	j = journal_open(&o, NULL);
	assert_non_null(j);
	assert_true(journal_replay(j, on_record, &seen, NULL, NULL));
	assert_int_equal(seen.n, 0);
	assert_int_equal(seen.events, 1);
	(void)add(j, "other", 0);
	journal_close(&j);
	j = open_on(fs, &seen);
	assert_string_equal(seen.heads, "one ");
	journal_close(&j);
	memfs_free(&fs);
}

/* A blank one would lose what is acknowledged behind it. */
static void
a_header_needs_no_memory(void **state)
{
	struct segment_header h = { .used = true, .seq = 7, .stamp = 3, .mark = 0xfeedbeef, .prev_seq = 6, .prev_end = 4096 }, back;
	char block[SEGMENT_HEADER];

	(void)state;
	no_memory = true;
	segment_header_put(&h, "test", block);
	no_memory = false;
	assert_int_equal(segment_header_get(block, "test", &back), SEGMENT_USED);
	assert_int_equal(back.mark, h.mark);
	assert_int_equal(back.prev_end, h.prev_end);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checksum_is_castagnoli),
		cmocka_unit_test(appended_records_come_back),
		cmocka_unit_test(many_segments_keep_order_and_use_indexes),
		cmocka_unit_test(a_struct_is_encoded_where_it_goes),
		cmocka_unit_test(long_heads_are_in_the_index),
		cmocka_unit_test(damage_in_the_middle_is_skipped_and_told),
		cmocka_unit_test(torn_tail_ends_the_replay_silently),
		cmocka_unit_test(dead_segments_are_recycled_in_dependency_order),
		cmocka_unit_test(a_segment_that_is_last_again_keeps_its_index),
		cmocka_unit_test(what_replaces_a_record_is_durable_before_its_segment_goes),
		cmocka_unit_test(a_header_needs_no_memory),
		cmocka_unit_test(foreign_and_newer_segments_are_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
