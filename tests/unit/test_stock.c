/* SPDX-License-Identifier: ISC
 *
 * Messages that are appended in a row: their names in cur/ become durable together, after they were told; a
 * disk that fails acknowledges nothing and nothing of it stays.
 */
#include <string.h>
#include <sys/stat.h>

#include "log/log.h"
#include "store/promise.h"
#include "store/stock.h"
#include "tests/unit/stock_fixture.h"

enum { ROW = 40 };

static void
a_row_shares_its_syncs(void **state)
{
	struct fixture *f = *state;
	struct view v;

	enter(f, &v);
	assert_int_equal(append(f, 1), 1);
	assert_null(v.mailbox->stock); /* who appends now and then leaves nothing ready */
	for (unsigned i = 2; i <= ROW; i++)
		assert_int_equal(append(f, i), i);
	assert_true(cur_syncs + tmp_syncs < ROW / 2);
	assert_true(stock_unsettled(v.mailbox));
	assert_true(store_rest(f->store) < 0);
	cur_syncs = 0;
	until_settled(f, v.mailbox);
	assert_int_equal(cur_syncs, 1);
	assert_int_equal(count_files(f->dir, "tmp"), 0);
	assert_int_equal(count_files(f->dir, "cur"), ROW);
	v.mailbox->vfs->ops = real;
	view_close(&v);
	store_free(&f->store);
	open_store(f);
	has_numbers(f, ROW, 0);
}

/* All of one command, and what is given up, come out of it, too. */
static void
many_at_once_take_from_it(void **state)
{
	struct fixture *f = *state;
	struct append *left;
	struct view v;

	enter(f, &v);
	worker_pool_alone(f->pool, false);
	for (unsigned i = 1; i <= 9; i += 3)
		assert_int_equal(append_many(f, i, 3), i);
	left = begin_text(f, 0);
	assert_int_equal(append(f, 10), 10);
	append_abort(&left);
	until_settled(f, v.mailbox);
	assert_int_equal(count_files(f->dir, "tmp"), 0);
	v.mailbox->vfs->ops = real;
	view_close(&v);
	has_numbers(f, 10, 0);
}

/* On a file system without links. */
static void
a_row_does_without_links(void **state)
{
	struct fixture *f = *state;
	struct view v;

	enter(f, &v);
	no_links = true;
	for (unsigned i = 1; i <= ROW; i++)
		assert_int_equal(append(f, i), i);
	assert_true(cur_syncs + tmp_syncs < ROW / 2);
	until_settled(f, v.mailbox);
	assert_int_equal(count_files(f->dir, "tmp"), 0);
	assert_int_equal(count_files(f->dir, "cur"), ROW);
	v.mailbox->vfs->ops = real;
	view_close(&v);
	has_numbers(f, ROW, 0);
}

static void
close_settles(void **state)
{
	struct fixture *f = *state;
	struct view v;

	enter(f, &v);
	for (unsigned i = 1; i <= 3; i++)
		assert_int_equal(append(f, i), i);
	assert_true(stock_unsettled(v.mailbox));
	view_close(&v);
	cur_syncs = 0;
	store_free(&f->store);
	assert_int_equal(cur_syncs, 1);
	assert_int_equal(count_files(f->dir, "tmp"), 0);
	open_store(f);
	has_numbers(f, 3, 0);
}

/* So that the directories' times would be believed. */
static void
make_old(struct fixture *f)
{
	static const struct timespec long_ago[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000 } };
	char path[400];

	for (int i = 0; i < 2; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", f->dir, i ? "cur" : "new");
		assert_int_equal(utimensat(AT_FDCWD, path, long_ago, 0), 0);
	}
}

static bool
refused(struct fixture *f, struct mailbox *mb, const char *what, bool in_a_row)
{
	uint32_t uid;

	if (!in_a_row)
		until_settled(f, mb);
	failing = what;
	uid = append(f, 0);
	failing = NULL;
	return !uid;
}

/* Nor is it counted, nor does it take a UID that another would have had; but one that may have come to be in the index does. */
static void
a_failing_disk_leaves_nothing(void **state)
{
	static const char *const kinds[] = { "file", "rename", "cur", "index" };
	struct fixture *f = *state;
	struct quota limit = { .size = 1 << 20 }, before, after;
	uint32_t n = 0;

	store_set_quota(f->store, &limit);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds) * 2; i++) {
		const char *what = kinds[i / 2];
		bool in_a_row = i % 2, index = strcmp(what, "index") == 0;
		struct view v;

		if (in_a_row && strcmp(what, "cur") == 0)
			continue; /* that is told to nobody */
		enter(f, &v);
		for (unsigned k = 0; k < 3; k++, n++)
			assert_true(append(f, n + 1) >= n + 1);
		assert_true(store_used(f->store, &before, NULL));
		assert_true(refused(f, v.mailbox, what, in_a_row));
		assert_int_equal(count_files(f->dir, "cur"), n);
		assert_true(store_used(f->store, &after, NULL));
		assert_int_equal(after.size, before.size);
		assert_int_equal(after.messages, before.messages);
		if (!index)
			assert_int_equal(append(f, n + 1), n + 1), n++;
		view_close(&v);
		store_free(&f->store);
		assert_int_equal(count_files(f->dir, "tmp"), 0);
		open_store(f);
		store_set_quota(f->store, &limit);
		if (!index)
			has_numbers(f, n, 0);
		enter(f, &v);
		assert_int_equal(view_count(&v), n);
		view_close(&v);
	}
}

/* The first waits for its own name, which the others need not. */
static void
all_of_them_or_none(void **state)
{
	struct fixture *f = *state;
	struct view v;

	enter(f, &v);
	failing = "cur";
	assert_int_equal(append_many(f, 1, 3), 0);
	failing = NULL;
	assert_int_equal(count_files(f->dir, "cur"), 0);
	assert_int_equal(append_many(f, 1, 3), 1);
	until_settled(f, v.mailbox);
	assert_int_equal(count_files(f->dir, "tmp"), 0);
	v.mailbox->vfs->ops = real;
	view_close(&v);
	has_numbers(f, 3, 0);
}

static void
a_directory_that_cannot_be_synced_ends_it(void **state)
{
	struct fixture *f = *state;
	uint32_t n = 0, uid;
	struct view v;

	enter(f, &v);
	for (; n < 3; n++)
		assert_int_equal(append(f, n + 1), n + 1);
	failing = "cur";
	for (int i = 0; i < 1000 && !cur_syncs; i++)
		(void)loop_turn(f->loop, 10);
	assert_true(cur_syncs > 0);
	while ((uid = append(f, n + 1))) /* until it has been heard of */
		assert_int_equal(uid, ++n);
	failing = NULL;
	cur_syncs = 0;
	for (unsigned k = 0; k < 3; k++, n++) /* each waits for its own name again */
		assert_int_equal(append(f, n + 1), n + 1);
	assert_int_equal(cur_syncs, 3);
	assert_true(count_files(f->dir, "tmp") >= 2); /* what is durable there alone stays */
	make_old(f);
	v.mailbox->vfs->ops = real;
	view_close(&v);
	store_free(&f->store);
	open_store(f);
	has_numbers(f, n, 0);
	assert_int_equal(count_files(f->dir, "tmp"), 0); /* until the folder is looked through */
}

/* As long as a name is not durable, the directory's time does not say that it is there. */
static void
an_undurable_name_has_no_stamp(void **state)
{
	struct fixture *f = *state;
	struct view v;

	enter(f, &v);
	for (unsigned i = 1; i <= 3; i++)
		assert_int_equal(append(f, i), i);
	assert_true(stock_unsettled(v.mailbox));
	make_old(f);
	assert_true(scan_all(v.mailbox, NULL));
	assert_int_equal(v.mailbox->file.ix.stamp_cur, 0);
	until_settled(f, v.mailbox);
	make_old(f);
	assert_true(scan_all(v.mailbox, NULL));
	assert_int_equal(v.mailbox->file.ix.stamp_cur, 1000000000ull * 1000000000);
	v.mailbox->vfs->ops = real;
	view_close(&v);
}

static const struct vfs_ops *store_ops;
static unsigned before_promise, promises;

static int
on_store_sync_dir(struct vfs *v, const char *dir)
{
	before_promise += strcmp(dir, "cur") == 0 && !promises;
	return store_ops->sync_dir(v, dir);
}

static int
on_store_open(struct vfs *v, const char *name, enum vfs_open how)
{
	promises += how == VFS_CREATE && strcmp(name, PROMISE_NAME) == 0;
	return store_ops->open(v, name, how);
}

static void
copy_all(struct fixture *f, struct view *v)
{
	struct uid_range all = { 1, 3 };
	struct uidset uids = { .ranges = &all, .n = 1 };
	struct wait_op w = { .op.on_done = on_done };

	view_sync(v, &(struct view_events){ .on_exists = NULL }, true);
	before_promise = promises = 0;
	mailbox_copy(v, &uids, SPAN("B"), false, &w.op);
	for (int i = 0; i < 1000 && (!w.done || f->store->linking); i++)
		(void)loop_turn(f->loop, 10);
	assert_true(w.ok);
	assert_int_equal(promises, 1);
}

/* After a crash its links begin from files that are there. */
static void
a_promise_begins_from_durable_names(void **state)
{
	struct fixture *f = *state;
	struct vfs_ops ops;
	struct view v;

	assert_true(store_create(f->store, SPAN("B"), NULL));
	store_set_promise(f->store, 1);
	store_ops = f->store->vfs->ops;
	ops = *store_ops;
	ops.sync_dir = on_store_sync_dir;
	ops.open = on_store_open;
	enter(f, &v);
	for (unsigned i = 1; i <= 3; i++)
		assert_int_equal(append(f, i), i);
	f->store->vfs->ops = &ops;
	copy_all(f, &v);
	assert_int_equal(before_promise, 1);
	until_settled(f, v.mailbox);
	copy_all(f, &v);
	assert_int_equal(before_promise, 0);
	f->store->vfs->ops = store_ops;
	v.mailbox->vfs->ops = real;
	view_close(&v);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_row_shares_its_syncs),
		T(many_at_once_take_from_it),
		T(a_row_does_without_links),
		T(close_settles),
		T(a_failing_disk_leaves_nothing),
		T(all_of_them_or_none),
		T(a_directory_that_cannot_be_synced_ends_it),
		T(an_undurable_name_has_no_stamp),
		T(a_promise_begins_from_durable_names),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
