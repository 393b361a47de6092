/* SPDX-License-Identifier: ISC
 *
 * Folders get other names: with all their inferiors and what belongs to them, or not at all.  INBOX stays and its messages go, all or none.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "storetest.h"
#include "store/state.h"

static void
create(struct fixture *f, const char *name)
{
	struct fail why;

	assert_true(store_create(f->store, span_str(name), &why));
}

static bool
exists(const struct fixture *f, const char *name)
{
	return store_exists(f->store, span_str(name));
}

static void
each_note(void *arg, struct span folder, struct span entry, struct span value)
{
	(void)folder, (void)entry, (void)value;
	++*(int *)arg;
}

static int
notes(struct fixture *f, const char *folder)
{
	struct fail why;
	int n = 0;

	assert_true(metadata_each(f->store, span_str(folder), false, each_note, &n, &why));
	return n;
}

/* A, which has a note, A.b and A.c */
static void
enter(struct fixture *f)
{
	struct metadata_change note = { SPAN("/private/comment"), SPAN("of A") };
	struct fail why;

	create(f, "A");
	create(f, "A.b");
	create(f, "A.c");
	assert_true(metadata_set(f->store, SPAN("A"), &note, 1, &why));
}

static void
refused(struct fixture *f, const char *to)
{
	char below[STORE_NAME_MAX + 1];
	struct fail why;

	assert_false(store_rename(f->store, SPAN("A"), span_str(to), &why));
	assert_true(exists(f, "A") && exists(f, "A.b") && exists(f, "A.c"));
	assert_false(exists(f, to));
	(void)snprintf(below, sizeof(below), "%s.b", to);
	assert_false(exists(f, below));
	assert_int_equal(notes(f, "A"), 1);
	assert_int_equal(notes(f, to), 0);
}

static void
inferiors_and_annotations_go_along(void **state)
{
	struct fixture *f = *state;
	struct fail why;

	enter(f);
	assert_true(store_rename(f->store, SPAN("A"), SPAN("B"), &why));
	assert_false(exists(f, "A") || exists(f, "A.b") || exists(f, "A.c"));
	assert_true(exists(f, "B") && exists(f, "B.b") && exists(f, "B.c"));
	assert_int_equal(notes(f, "A"), 0);
	assert_int_equal(notes(f, "B"), 1);
}

static void
an_inferior_that_is_open_keeps_all(void **state)
{
	struct fixture *f = *state;
	struct view v = { .owner = NULL };
	struct fail why;

	enter(f);
	assert_true(view_open(&v, f->store, SPAN("A.c"), false, &why));
	refused(f, "B");
	view_close(&v);
}

static void
an_inferior_whose_name_is_taken_or_too_long_keeps_all(void **state)
{
	struct fixture *f = *state;
	char longest[STORE_NAME_MAX + 1];

	enter(f);
	memset(longest, 'x', STORE_NAME_MAX);
	longest[STORE_NAME_MAX] = '\0';
	refused(f, longest);
	create(f, "B.c");
	refused(f, "B");
}

static void
a_rename_that_fails_is_undone(void **state)
{
	struct fixture *f = *state;
	char path[128];

	enter(f);
	(void)snprintf(path, sizeof(path), "%s/.B.c", f->dir); /* no Maildir, and not empty */
	assert_int_equal(mkdir(path, 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/.B.c/x", f->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	refused(f, "B");
}

static void
an_inferior_takes_the_name_of_one_that_goes(void **state)
{
	struct fixture *f = *state;
	struct fail why;

	create(f, "A.b");
	create(f, "A.b.b");
	create(f, "A.b.z");
	create(f, "A.b.b.z");
	assert_true(store_rename(f->store, SPAN("A.b"), SPAN("A"), &why));
	assert_true(exists(f, "A") && exists(f, "A.b") && exists(f, "A.z") && exists(f, "A.b.z"));
	assert_false(exists(f, "A.b.b") || exists(f, "A.b.b.z"));
}

/* ---- INBOX: its messages go, it stays ---- */

static const struct vfs_ops *real_ops;
static int left; /* operations until one fails: the disk is full */

static bool
fails(void)
{
	errno = ENOSPC;
	return left-- == 0;
}

static int
failing_rename(struct vfs *v, const char *from, const char *to)
{
	return fails() ? -1 : real_ops->rename(v, from, to);
}

static int
failing_mkdir(struct vfs *v, const char *name)
{
	return fails() ? -1 : real_ops->mkdir(v, name);
}

static int
failing_sync_dir(struct vfs *v, const char *dir)
{
	return fails() ? -1 : real_ops->sync_dir(v, dir);
}

static uint32_t
count(struct fixture *f, const char *folder, uint32_t *uidvalidity)
{
	struct mailbox_status now;
	struct fail why;

	assert_true(store_status(f->store, span_str(folder), &now, &why));
	*uidvalidity = now.uidvalidity;
	return now.messages;
}

static void
inbox_is_renamed_or_as_it_was(void **state)
{
	struct fixture *f = *state;
	uint32_t before, now, tries = 0;
	struct vfs_ops failing;
	bool done = false;
	struct fail why;

	put_file(f, "new/1700000000.a", "A: b\r\n\r\n");
	put_file(f, "cur/1700000001.b:2,S", "A: b\r\n\r\n");
	assert_int_equal(count(f, "INBOX", &before), 2);
	real_ops = f->store->vfs->ops;
	failing = *real_ops;
	failing.rename = failing_rename;
	failing.mkdir = failing_mkdir;
	failing.sync_dir = failing_sync_dir;
	for (; !done; tries++) {
		f->store->vfs->ops = &failing;
		left = (int)tries;
		done = store_rename(f->store, SPAN("INBOX"), SPAN("B"), &why);
		f->store->vfs->ops = real_ops;
		assert_int_equal(exists(f, "B"), done);
		assert_int_equal(count(f, done ? "B" : "INBOX", &now), 2);
		assert_int_equal(now, before);
	}
	assert_true(tries > 5);
	assert_int_equal(count(f, "INBOX", &now), 0);
	assert_int_not_equal(now, before);
}

/* Mail that comes while it is undone keeps what was there before out of new/: both can be read. */
static int
failing_rename_back(struct vfs *v, const char *from, const char *to)
{
	if (strcmp(to, "new") == 0) {
		errno = ENOTEMPTY;
		return -1;
	}
	return failing_rename(v, from, to);
}

static void
what_cannot_go_back_to_inbox_stays_in_sight(void **state)
{
	struct fixture *f = *state;
	struct vfs_ops failing;
	uint32_t validity;
	struct fail why;

	put_file(f, "new/1700000000.a", "A: b\r\n\r\n");
	put_file(f, "cur/1700000001.b:2,S", "A: b\r\n\r\n");
	real_ops = f->store->vfs->ops;
	failing = *real_ops;
	failing.rename = failing_rename_back;
	f->store->vfs->ops = &failing;
	left = 1; /* new/ has gone */
	assert_false(store_rename(f->store, SPAN("INBOX"), SPAN("B"), &why));
	f->store->vfs->ops = real_ops;
	assert_true(maildir_make(f->store->vfs, "", &why));
	assert_int_equal(count(f, "INBOX", &validity), 1);
	assert_int_equal(count(f, "B", &validity), 1);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(inferiors_and_annotations_go_along),
		T(an_inferior_that_is_open_keeps_all),
		T(an_inferior_whose_name_is_taken_or_too_long_keeps_all),
		T(a_rename_that_fails_is_undone),
		T(an_inferior_takes_the_name_of_one_that_goes),
		T(inbox_is_renamed_or_as_it_was),
		T(what_cannot_go_back_to_inbox_stays_in_sight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
