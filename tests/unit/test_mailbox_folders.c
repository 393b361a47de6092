/* SPDX-License-Identifier: ISC
 *
 * Folders get other names: with all their inferiors and what belongs to them, or not at all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "storetest.h"
#include "store/metadata.h"

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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
