/* SPDX-License-Identifier: ISC
 *
 * Messages that were appended in a row when all ended: a crash before their names in cur/ are durable loses none.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log/log.h"
#include "store/look.h"
#include "store/transfer.h"
#include "tests/unit/stock_fixture.h"

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

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_a_crash_left_in_tmp_is_put_back),
		T(what_a_crash_left_in_tmp_is_copied),
		T(what_is_gone_stays_away),
		T(what_was_killed_is_swept_up),
		T(what_a_crash_left_in_tmp_outlives_the_index),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
