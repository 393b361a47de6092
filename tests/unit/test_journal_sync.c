/* SPDX-License-Identifier: ISC
 *
 * Syncs of a journal: who shares them, who waits, and what comes of those that fail.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sys/loop.h"
#include "sys/worker.h"
#include "tests/unit/journal_fixture.h"

static struct fail told;
static int tickets;

static void
on_durable(struct journal_ticket *t, const struct fail *why)
{
	(void)t;
	tickets++;
	told = why ? *why : (struct fail){ .class = FAIL_NONE };
}

static void
failed_sync_kills_the_journal(void **state)
{
	struct memfs *fs = memfs_new();
	struct seen seen;
	struct journal *j = open_on(fs, &seen);
	struct journal_record r = { .type = 1, .head = SPAN("x") };
	struct journal_ticket t = { .on_durable = on_durable };
	struct fail why;

	(void)state;
	(void)add(j, "one", 0);
	assert_true(journal_sync(j, NULL));
	fs->fail_kinds = 1u << MEMFS_SYNC;
	fs->fail_at = 0;
	fs->fail_errno = EIO;
	tickets = 0;
	assert_true(journal_append(j, &r, 0, &t, NULL, &why));
	assert_false(journal_sync(j, &why));
	assert_int_equal(tickets, 1);
	assert_int_equal(told.class, FAIL_TEMP);
	assert_int_equal(told.err, EIO);
	/* The next sync would succeed, but nobody may believe it. */
	assert_false(journal_append(j, &r, 0, &t, NULL, &why));
	assert_false(journal_sync(j, &why));
	assert_false(journal_alive(j));
	assert_int_equal(seen.events, 1);
	journal_close(&j);
	memfs_free(&fs);
}

static void
full_disk_refuses_but_lives(void **state)
{
	struct memfs *fs = memfs_new();
	struct seen seen;
	struct journal *j = open_on(fs, &seen);
	struct journal_record r = { .type = 1, .head = SPAN("x") };
	struct fail why;
	char body[10000] = { 0 };
	int n = 0;

	(void)state;
	r.body = span_of(body, sizeof(body));
	(void)add(j, "one", 0);
	fs->space = 0;
	while (n < 1000 && journal_append(j, &r, 0, NULL, NULL, &why))
		n++;
	assert_in_range(n, 3, 6);
	assert_int_equal(why.class, FAIL_LIMIT);
	assert_true(journal_append(j, &r, JOURNAL_INTERNAL, NULL, NULL, &why));
	fs->space = INT64_MAX / 2;
	assert_true(journal_append(j, &r, 0, NULL, NULL, &why));
	assert_true(journal_sync(j, NULL));
	journal_close(&j);
	memfs_free(&fs);
}

static void
group_commit_shares_syncs_and_keeps_order(void **state)
{
	char dir[] = "/tmp/test_journal.XXXXXX";
	struct loop *loop = loop_new();
	struct worker_pool *pool = worker_pool_new(loop, 2);
	struct seen seen = { 0 };
	struct journal_ticket t[200];
	struct journal *j;
	struct vfs *v;
	struct journal_record r = { .type = 7, .head = SPAN("h") };
	char cmd[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	v = vfs_posix_new(dir, NULL);
	j = journal_open(&(struct journal_options){ .vfs = v, .dir = "j", .kind = "test", .segment_size = SEGMENT, .spares = 1,
	    .loop = loop, .pool = pool, .on_event = on_event, .arg = &seen }, NULL);
	assert_non_null(j);
	assert_true(journal_replay(j, on_record, &seen, NULL, NULL));
	tickets = 0;
	for (int i = 0; i < 200; i++) {
		t[i] = (struct journal_ticket){ .on_durable = on_durable };
		assert_true(journal_append(j, &r, 0, &t[i], NULL, NULL));
		if (i % 50 == 0)
			(void)loop_turn(loop, 0);
	}
	for (int i = 0; i < 1000 && tickets < 200; i++)
		(void)loop_turn(loop, 100);
	assert_int_equal(tickets, 200);
	assert_true(journal_stats(j).syncs < 10);
	assert_int_equal(journal_pending(j), 0);
	/* lazily: within a moment, by itself */
	assert_true(journal_append(j, &r, JOURNAL_LAZY, &t[0], NULL, NULL));
	for (int i = 0; i < 20 && tickets < 201; i++)
		(void)loop_turn(loop, 50);
	assert_int_equal(tickets, 201);
	worker_pool_free(&pool);
	journal_close(&j);
	vfs_posix_free(&v);
	loop_free(&loop);
	(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	assert_int_equal(system(cmd), 0);
}

/* Patience is for crowds: whoever comes alone is synced at once. */
static void
a_lone_record_does_not_wait_for_company(void **state)
{
	enum { PATIENCE_MS = 20000 };
	char dir[] = "/tmp/test_journal.XXXXXX", cmd[64];
	struct loop *loop = loop_new();
	struct worker_pool *pool = worker_pool_new(loop, 2);
	struct seen seen = { 0 };
	struct journal_ticket t = { .on_durable = on_durable };
	struct journal_record r = { .type = 7, .head = SPAN("h") };
	struct journal *j;
	struct vfs *v;
	int64_t began;

	(void)state;
	assert_non_null(mkdtemp(dir));
	v = vfs_posix_new(dir, NULL);
	j = journal_open(&(struct journal_options){ .vfs = v, .dir = "j", .kind = "test", .segment_size = SEGMENT, .loop = loop,
	    .pool = pool, .on_event = on_event, .arg = &seen, .patience_ms = PATIENCE_MS }, NULL);
	assert_non_null(j);
	assert_true(journal_replay(j, on_record, &seen, NULL, NULL));
	for (int i = 0; i < 5; i++) {
		(void)usleep(20000); /* the crowd, if there was one, is gone */
		tickets = 0;
		began = loop_now_ms(loop);
		assert_true(journal_append(j, &r, 0, &t, NULL, NULL));
		for (int k = 0; k < 100 && tickets == 0; k++)
			(void)loop_turn(loop, 200);
		assert_int_equal(tickets, 1);
		assert_true(loop_now_ms(loop) - began < PATIENCE_MS / 2);
	}
	/* What nobody waits for is no company either, however much it is. */
	(void)usleep(20000);
	for (int i = 0; i < 2; i++) {
		began = loop_now_ms(loop);
		tickets = 0;
		for (int lazy = i ? 5 : 20; lazy > 0; lazy--)
			assert_true(journal_append(j, &r, JOURNAL_LAZY, NULL, NULL, NULL));
		assert_true(journal_append(j, &r, 0, &t, NULL, NULL));
		for (int k = 0; k < 100 && tickets == 0; k++)
			(void)loop_turn(loop, 200);
		assert_int_equal(tickets, 1);
		assert_true(loop_now_ms(loop) - began < PATIENCE_MS / 2);
	}
	worker_pool_free(&pool);
	journal_close(&j);
	vfs_posix_free(&v);
	loop_free(&loop);
	(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	assert_int_equal(system(cmd), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(failed_sync_kills_the_journal),
		cmocka_unit_test(full_disk_refuses_but_lives),
		cmocka_unit_test(group_commit_shares_syncs_and_keeps_order),
		cmocka_unit_test(a_lone_record_does_not_wait_for_company),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
