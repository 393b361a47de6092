/* SPDX-License-Identifier: ISC
 *
 * Messages that are appended in a row: their names in cur/ become durable together, after they were told; a
 * crash in between loses none; a disk that fails acknowledges nothing and nothing of it stays.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log/log.h"
#include "store/look.h"
#include "store/promise.h"
#include "store/state.h"
#include "store/stock.h"
#include "store/transfer.h"
#include "storetest.h"

enum { ROW = 40 };

static const struct vfs_ops *real;
static struct vfs_ops ours;
static unsigned cur_syncs, tmp_syncs;
static bool no_links;
static const char *failing; /* "file", "rename", "cur", "tmp", "index"; NULL: nothing */

static bool
fails(const char *what)
{
	errno = EIO;
	return failing && strcmp(failing, what) == 0;
}

static int
on_sync(struct vfs *v, int fd)
{
	char link[64], path[300];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	assert_true(n > 0);
	path[n] = '\0';
	return fails(strstr(path, "/pillarpost/") ? "index" : "file") ? -1 : real->sync(v, fd);
}

static int
on_sync_dir(struct vfs *v, const char *dir)
{
	cur_syncs += strcmp(dir, "cur") == 0;
	tmp_syncs += strcmp(dir, "tmp") == 0;
	return fails(dir) ? -1 : real->sync_dir(v, dir);
}

static int
on_rename(struct vfs *v, const char *from, const char *to)
{
	return fails("rename") ? -1 : real->rename(v, from, to);
}

static int
on_link(struct vfs *v, const char *from, const char *to)
{
	return no_links || fails("rename") ? -1 : real->link(v, from, to);
}

/* INBOX, its operations counted and refused from here on. */
static void
enter(struct fixture *f, struct view *v)
{
	struct fail why = { .text = "" };

	*v = (struct view){ .owner = NULL };
	if (!view_open(v, f->store, SPAN("INBOX"), false, &why))
		fail_msg("%s", why.text);
	if (v->mailbox->vfs->ops != &ours)
		real = v->mailbox->vfs->ops;
	ours = *real;
	ours.sync = on_sync;
	ours.sync_dir = on_sync_dir;
	ours.rename = on_rename;
	ours.link = on_link;
	v->mailbox->vfs->ops = &ours;
	cur_syncs = tmp_syncs = 0;
	failing = NULL;
	no_links = false;
	worker_pool_alone(f->pool, true); /* what lies ready is ready at once */
}

static unsigned
count_files(const char *base, const char *dir)
{
	char path[400];
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	(void)snprintf(path, sizeof(path), "%s/%s", base, dir);
	assert_non_null(d = opendir(path));
	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	(void)closedir(d);
	return n;
}

struct wait_op {
	struct mailbox_op op;
	bool done, ok;
	uint32_t uid;
};

static void
on_done(struct mailbox_op *op)
{
	struct wait_op *w = OWNER_OF(op, struct wait_op, op);

	w->done = true;
	w->ok = op->ok;
	w->uid = op->ok ? uidset_nth(&op->to, 0) : 0;
}

static struct append *
begin_text(struct fixture *f, unsigned number)
{
	struct append *a = append_begin(f->store, &(struct append_to){ .folder = SPAN("INBOX") }, NULL);
	char text[64];

	assert_non_null(a);
	assert_true(append_write(a, span_of(text, (size_t)snprintf(text, sizeof(text), "Number: %u\r\n\r\n", number)), NULL));
	return a;
}

/* The UID; 0: it was refused. */
static uint32_t
append_many(struct fixture *f, unsigned number, size_t n)
{
	struct wait_op w = { .op.on_done = on_done };
	struct append *all[4];

	for (size_t i = 0; i < n; i++)
		all[i] = begin_text(f, number + (unsigned)i);
	append_commit(all, n, &w.op);
	for (int i = 0; i < 1000 && !w.done; i++)
		(void)loop_turn(f->loop, 10);
	assert_true(w.done);
	return w.uid;
}

static uint32_t
append(struct fixture *f, unsigned number)
{
	return append_many(f, number, 1);
}

static void
until_settled(struct fixture *f, const struct mailbox *mb)
{
	for (int i = 0; i < 1000 && mb->stock; i++)
		(void)loop_turn(f->loop, 10);
	assert_null(mb->stock);
}

/* UID n has number n, for all n up to `last` but `but`. */
static void
has_numbers(struct fixture *f, uint32_t last, uint32_t but)
{
	struct view v = { .owner = NULL };
	struct content c;
	struct fail why;

	assert_true(view_open(&v, f->store, SPAN("INBOX"), false, &why));
	assert_int_equal(view_count(&v), last - (but ? 1 : 0));
	for (uint32_t uid = 1; uid <= last; uid++) {
		char text[64] = "", want[64];

		if (uid == but)
			continue;
		(void)snprintf(want, sizeof(want), "Number: %u\r\n\r\n", (unsigned)uid);
		assert_true(mailbox_content(v.mailbox, uid, &c, &why));
		assert_int_equal(pread(c.fd, text, sizeof(text) - 1, 0), strlen(want));
		assert_string_equal(text, want);
		content_close(&c);
	}
	view_close(&v);
}

/* ---- tests ---- */

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

/* It has the name in tmp/ alone, as a power cut may have it. */
static void
back_to_tmp(const char *dir, const char *base)
{
	char from[400], to[400];

	(void)snprintf(from, sizeof(from), "%s/cur/%s:2,", dir, base);
	(void)snprintf(to, sizeof(to), "%s/tmp/%.*s", dir, (int)strcspn(base, ","), base);
	assert_int_equal(access(to, F_OK), 0);
	assert_int_equal(unlink(from), 0);
}

static void
copy_dir(const char *from, const char *to)
{
	char command[300];

	(void)snprintf(command, sizeof(command), "rm -rf %s && cp -a %s %s", to, from, to);
	assert_int_equal(system(command), 0);
}

static void
remove_uid(struct fixture *f, struct view *v, uint32_t uid)
{
	struct uid_range range = { uid, uid };
	struct uidset uids = { .ranges = &range, .n = 1 };
	struct wait_op w = { .op.on_done = on_done };

	view_sync(v, &(struct view_events){ .on_exists = NULL }, true);
	assert_true(mailbox_remove(v, &uids, NULL));
	mailbox_confirm(v, &w.op);
	for (int i = 0; i < 1000 && !w.done; i++)
		(void)loop_turn(f->loop, 10);
	assert_true(w.ok);
}

/* As after a crash: 5 messages, of which 2, 4 and 5 are in tmp/ alone, and 2 is expunged. */
static void
leave_crashed(struct fixture *f, const char *dir)
{
	char bases[6][MAILDIR_BASE_MAX] = { "" };
	struct view v;

	enter(f, &v);
	for (uint32_t uid = 1; uid <= 5; uid++) {
		const struct index *ix = &v.mailbox->file.ix;

		assert_int_equal(append(f, uid), uid);
		assert_true(span_cstr(index_base(ix, index_find(ix, uid)), bases[uid], sizeof(bases[uid])));
	}
	remove_uid(f, &v, 2);
	copy_dir(f->dir, dir);
	back_to_tmp(dir, bases[2]);
	back_to_tmp(dir, bases[4]);
	back_to_tmp(dir, bases[5]);
	v.mailbox->vfs->ops = real;
	view_close(&v);
}

static void
open_instead(struct fixture *f, const char *dir)
{
	copy_dir(dir, f->dir);
	open_store(f);
}

static void
what_a_crash_left_in_tmp_is_put_back(void **state)
{
	struct fixture *f = *state;
	char dir[100];
	struct look look;
	int base;

	(void)snprintf(dir, sizeof(dir), "%s.crashed", f->dir);
	leave_crashed(f, dir);
	store_free(&f->store);
	base = open(dir, O_RDONLY | O_DIRECTORY);
	assert_true(look_folder(base, SPAN("INBOX"), true, &look, NULL));
	assert_int_equal(look.status.messages, 4);
	assert_int_equal(look.missing, 0);
	(void)close(base);
	open_instead(f, dir);
	has_numbers(f, 5, 2);
	assert_int_equal(count_files(f->dir, "cur"), 4);
	copy_dir("/dev/null", dir);
	assert_int_equal(remove(dir), 0);
}

/* It is also taken along by who copies the mailbox before anybody has opened it. */
static void
what_a_crash_left_in_tmp_is_copied(void **state)
{
	struct fixture *f = *state;
	struct transfer t = { .from = -1 };
	struct fail why = { .text = "" };
	char dir[100], to[120];

	(void)snprintf(dir, sizeof(dir), "%s.crashed", f->dir);
	(void)snprintf(to, sizeof(to), "%s.copy", f->dir);
	leave_crashed(f, dir);
	store_free(&f->store);
	assert_int_equal(mkdir(to, 0700), 0);
	t.from = open(dir, O_RDONLY | O_DIRECTORY);
	t.to = open(to, O_RDONLY | O_DIRECTORY);
	if (!transfer_folder(&t, SPAN("INBOX"), "", &why))
		fail_msg("%s", why.text);
	assert_int_equal(t.missing, 0);
	assert_int_equal(t.messages, 4);
	(void)close(t.from);
	(void)close(t.to);
	open_instead(f, to);
	has_numbers(f, 5, 2);
	copy_dir("/dev/null", dir);
	copy_dir("/dev/null", to);
	assert_int_equal(remove(dir) + remove(to), 0);
}

/* What others delete is gone, and what is not whole is no message. */
static void
what_is_gone_stays_away(void **state)
{
	struct fixture *f = *state;
	char dir[100], path[400], base[MAILDIR_BASE_MAX];
	struct view v;

	(void)snprintf(dir, sizeof(dir), "%s.crashed", f->dir);
	enter(f, &v);
	for (unsigned i = 1; i <= 4; i++)
		assert_int_equal(append(f, i), i);
	copy_dir(f->dir, dir);
	for (uint32_t uid = 3; uid <= 4; uid++) {
		const struct index *ix = &v.mailbox->file.ix;

		assert_true(span_cstr(index_base(ix, index_find(ix, uid)), base, sizeof(base)));
		back_to_tmp(dir, base);
		(void)snprintf(path, sizeof(path), "%s/tmp/%.*s", dir, (int)strcspn(base, ","), base);
		assert_int_equal(uid == 3 ? truncate(path, 3) : unlink(path), 0);
	}
	v.mailbox->vfs->ops = real;
	view_close(&v);
	store_free(&f->store);
	open_instead(f, dir);
	has_numbers(f, 2, 0);
	assert_int_equal(count_files(f->dir, "cur"), 2);
	copy_dir("/dev/null", dir);
	assert_int_equal(remove(dir), 0);
}

static void
make_file(const char *dir, const char *name, const char *text)
{
	char path[400];
	FILE *out;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_non_null(out = fopen(path, "w"));
	assert_true(fputs(text, out) >= 0);
	assert_int_equal(fclose(out), 0);
}

/* A process that was killed leaves names in tmp/ that have done their duty, and some that nobody needed; another
 * program's are its own. */
static void
what_was_killed_is_swept_up(void **state)
{
	struct fixture *f = *state;
	char dir[100];
	struct view v;

	(void)snprintf(dir, sizeof(dir), "%s.crashed", f->dir);
	enter(f, &v);
	for (unsigned i = 1; i <= 4; i++)
		assert_int_equal(append(f, i), i);
	copy_dir(f->dir, dir);
	assert_int_equal(count_files(dir, "tmp"), 4); /* all of the first lot, the last one empty */
	v.mailbox->vfs->ops = real;
	view_close(&v);
	store_free(&f->store);
	make_file(dir, "tmp/1700000000.M1P77Rdeadbeef.Kiel.test", "");
	open_instead(f, dir);
	has_numbers(f, 4, 0);
	assert_int_equal(count_files(f->dir, "tmp"), 1);
	copy_dir("/dev/null", dir);
	assert_int_equal(remove(dir), 0);
}

static void
has_count(struct fixture *f, size_t n)
{
	struct fail why = { .text = "" };
	struct view v = { .owner = NULL };

	assert_true(view_open(&v, f->store, SPAN("INBOX"), false, &why));
	assert_int_equal(view_count(&v), n);
	view_close(&v);
}

/* Without an index nobody can say what of tmp/ is whole and what was expunged: nothing of it is lost, then or later. */
static void
what_a_crash_left_in_tmp_outlives_the_index(void **state)
{
	struct fixture *f = *state;
	char dir[100], index[120];
	unsigned had;

	(void)snprintf(dir, sizeof(dir), "%s.crashed", f->dir);
	(void)snprintf(index, sizeof(index), "%s/pillarpost", dir);
	leave_crashed(f, dir);
	store_free(&f->store);
	had = count_files(dir, "tmp");
	assert_true(had >= 3);
	copy_dir("/dev/null", index);
	assert_int_equal(remove(index), 0);
	open_instead(f, dir);
	has_count(f, 2);
	store_free(&f->store);
	make_file(f->dir, "new/1700000000.M1P77Rdeadbeef.Quito.test", "x\n"); /* so that it is looked at */
	open_store(f);
	has_count(f, 3);
	assert_true(count_files(f->dir, "tmp") >= 3 && count_files(f->dir, "tmp") <= had);
	copy_dir("/dev/null", dir);
	assert_int_equal(remove(dir), 0);
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
		T(what_a_crash_left_in_tmp_is_put_back),
		T(what_a_crash_left_in_tmp_is_copied),
		T(what_is_gone_stays_away),
		T(what_was_killed_is_swept_up),
		T(what_a_crash_left_in_tmp_outlives_the_index),
		T(a_failing_disk_leaves_nothing),
		T(all_of_them_or_none),
		T(a_directory_that_cannot_be_synced_ends_it),
		T(an_undurable_name_has_no_stamp),
		T(a_promise_begins_from_durable_names),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
