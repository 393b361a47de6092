/* SPDX-License-Identifier: ISC
 *
 * quota and kept: the files that say how much there is, and those that come back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/kept.h"
#include "store/quota.h"

static char dir[64];
static struct vfs *v;
static const struct quota limit = { .size = 1000, .messages = 10 };

static int
setup(void **state)
{
	struct fail why;

	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/test_quota.XXXXXX");
	assert_non_null(mkdtemp(dir));
	v = vfs_posix_new(dir, &why);
	assert_non_null(v);
	assert_true(maildir_make(v, "", &why));
	return 0;
}

static int
teardown(void **state)
{
	char command[128];

	(void)state;
	vfs_posix_free(&v);
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
	return 0;
}

static void
put(const char *name, const char *text, int more)
{
	char path[256];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | more, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void
used_is(struct quota_file *q, uint64_t size, uint64_t messages)
{
	struct quota used;

	assert_true(quota_load(q, &limit));
	used = quota_used(q);
	assert_int_equal(used.size, size);
	assert_int_equal(used.messages, messages);
}

static void
names_are_counted_and_changes_are_shared(void **state)
{
	struct quota_file a, b;
	struct fail why;

	(void)state;
	put("new/1.a,S=100,W=110", "", 0);
	put("cur/2.b,S=50:2,S", "", 0);
	put("cur/3.c:2,", "seven b", 0); /* no size in its name */
	assert_true(maildir_make(v, ".Sent", &why));
	put(".Sent/cur/4.d,S=1,W=1:2,", "", 0);
	quota_init(&a, v);
	quota_init(&b, v);
	assert_false(quota_load(&a, &limit));
	assert_true(quota_count(&a, &limit, &why));
	used_is(&a, 168, 4);
	used_is(&b, 168, 4);
	quota_add(&a, 10, 1);
	quota_add(&b, -100, -2);
	used_is(&a, 78, 3);
	used_is(&b, 78, 3);
	assert_true(quota_count(&b, &limit, &why)); /* a new file: the other one sees that */
	used_is(&a, 168, 4);
	quota_add(&a, 2, 1);
	used_is(&b, 170, 5);
	quota_close(&a);
	quota_close(&b);
}

static void
foreign_text_is_bounded_and_checked(void **state)
{
	static const char *const bad[] = { "1000S,10C\nx y\n", "10X\n1 1\n", "1000S,10C\n9223372036854775807 1\n9 9\n", "1000S,10C", "",
		"1000S,10C\n4611686018427387000 1\n4611686018427387000 1\n4611686018427387000 1\n", "999S,10C\n1 1\n" };
	struct quota_file q;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		put(QUOTA_FILE, bad[i], O_TRUNC);
		quota_init(&q, v);
		if (quota_load(&q, &limit))
			fail_msg("believed: %s", bad[i]);
		quota_close(&q);
	}
	put(QUOTA_FILE, "1000S,10C\n5 1\n-7 -2\n3 1", O_TRUNC); /* the last line is being written */
	quota_init(&q, v);
	used_is(&q, 0, 0);
	put(QUOTA_FILE, "0 1\n", O_APPEND);
	used_is(&q, 1, 9);
	quota_close(&q);
}

static void
a_long_file_is_summed_up(void **state)
{
	struct quota_file q, other;
	struct vfs_stat st;
	struct fail why;

	(void)state;
	quota_init(&q, v);
	quota_init(&other, v);
	assert_true(quota_count(&q, &limit, &why));
	used_is(&other, 0, 0);
	for (int i = 0; i < 2000; i++)
		quota_add(&q, 3, 1);
	used_is(&q, 6000, 2000);
	assert_int_equal(v->ops->stat(v, QUOTA_FILE, &st), 0);
	assert_true(st.size < 100);
	used_is(&other, 6000, 2000);
	quota_close(&q);
	quota_close(&other);
}

static void
limits_hold_without_overflow(void **state)
{
	struct quota_file q;
	struct quota none = { .size = 0 }, large = { .size = UINT64_MAX };
	struct fail why = { .text = "" };
	bool again;

	(void)state;
	quota_init(&q, v);
	q.size = 900;
	q.messages = 9;
	assert_true(quota_fits(&q, &limit, 100, 1, &again));
	assert_false(quota_fits(&q, &limit, 101, 1, &again));
	assert_true(again); /* nothing was counted here */
	assert_false(quota_fits(&q, &limit, 1, 2, &again));
	assert_false(quota_fits(&q, &limit, UINT64_MAX, 1, &again));
	assert_true(quota_fits(&q, &none, UINT64_MAX, 1, &again));
	assert_false(quota_fits(&q, &large, UINT64_MAX, 1, &again));
	q.pending = (struct quota){ 50, 1 };
	assert_false(quota_fits(&q, &limit, 50, 1, &again));
	assert_false(quota_full(&q, &limit, &why));
	assert_non_null(strstr(why.text, "900 B of 1000 B, 9 of 10 messages"));
}

/* ---- kept ---- */

static bool
take_first(void *arg, const struct kept *k)
{
	struct kept *out = arg;
	static char path[512];

	*out = *k;
	(void)snprintf(path, sizeof(path), "%s", k->path);
	out->path = path;
	return false;
}

static void
a_kept_file_comes_back_under_a_name_of_its_own(void **state)
{
	char path[KEPT_PATH_MAX], name[300], from[320];
	struct maildir_namer namer;
	struct fail why = { .text = "" };
	struct kept k = { .uid = 0 };

	(void)state;
	assert_int_equal(v->ops->mkdir(v, "pillarpost"), 0);
	assert_int_equal(v->ops->mkdir(v, KEPT_DIR), 0);
	kept_path(path, 1700000000, 42, "cur/1.x,S=5,W=6:2,FTa");
	assert_string_equal(path, KEPT_DIR "/1700000000.42,1.x,S=5,W=6:2,FTa");
	put("cur/1.x,S=5,W=6:2,FTa", "hello", 0);
	assert_int_equal(v->ops->rename(v, "cur/1.x,S=5,W=6:2,FTa", path), 0);
	put(KEPT_DIR "/nonsense", "", 0);
	put(KEPT_DIR "/17.x,1.y", "", 0);
	assert_true(kept_each(v, SPAN("INBOX"), take_first, &k, &why));
	assert_int_equal(k.uid, 42);
	assert_int_equal(k.since, 1700000000);
	k.folder = SPAN("INBOX");
	maildir_namer_init(&namer, SPAN("host"));
	assert_true(kept_restore(v, &namer, &k, &why));
	k.uid = 0;
	assert_true(kept_each(v, SPAN("INBOX"), take_first, &k, &why));
	assert_int_equal(k.uid, 0);
	/* A name of full length still leaves room for time and UID. */
	memset(name, 'n', sizeof(name));
	(void)snprintf(from, sizeof(from), "cur/%.240s:2,S", name);
	kept_path(path, 1700000000, UINT32_MAX, from);
	assert_true(strlen(path) - strlen(KEPT_DIR "/") <= MAILDIR_NAME_MAX);
	assert_non_null(strstr(path, ":2,S"));
}

static void
time_takes_what_was_kept(void **state)
{
	struct fail why;
	struct kept k = { .uid = 0 };
	char path[KEPT_PATH_MAX];

	(void)state;
	assert_true(maildir_make(v, ".A", &why));
	assert_int_equal(v->ops->mkdir(v, ".A/pillarpost"), 0);
	assert_int_equal(v->ops->mkdir(v, ".A/" KEPT_DIR), 0);
	put(".A/" KEPT_DIR "/100.1,1.a:2,", "", 0);
	put(".A/" KEPT_DIR "/300.2,1.b:2,", "", 0);
	assert_int_equal(v->ops->mkdir(v, "pillarpost-deleted-1.M2"), 0);
	put("pillarpost-deleted-1.M2/file", "", 0);
	assert_true(kept_due(v, 50)); /* what was being removed */
	assert_int_equal(kept_purge(v, 200), 1);
	assert_false(kept_due(v, 300));
	assert_true(kept_due(v, 301));
	assert_true(kept_each(v, SPAN("A"), take_first, &k, &why));
	assert_int_equal(k.uid, 2);
	assert_int_equal(v->ops->stat(v, "pillarpost-deleted-1.M2", &(struct vfs_stat){ .size = 0 }), -1);
	/* A whole folder, and back; not over one that was made meanwhile. */
	assert_true(kept_folder_path(path, 150000, SPAN("A")));
	assert_int_equal(v->ops->rename(v, ".A", path), 0);
	assert_true(kept_each_folder(v, take_first, &k, &why));
	assert_int_equal(k.uid, 0);
	assert_int_equal(k.since, 150);
	assert_false(kept_due(v, 150));
	assert_true(kept_due(v, 151));
	k.folder = SPAN("A");
	assert_true(maildir_make(v, ".A", &why));
	assert_false(kept_restore_folder(v, &k, &why));
	kept_remove_tree(v, ".A", 0);
	assert_true(kept_restore_folder(v, &k, &why));
	assert_int_equal(v->ops->rename(v, ".A", path), 0);
	assert_int_equal(kept_purge(v, 151), 1);
	assert_false(maildir_exists(v, ".A"));
}

/* Then a thread looks. */
static void
much_that_is_kept_is_not_looked_through(void **state)
{
	char name[64];

	(void)state;
	assert_false(kept_due(v, 50));
	assert_int_equal(v->ops->mkdir(v, "pillarpost"), 0);
	assert_int_equal(v->ops->mkdir(v, KEPT_DIR), 0);
	for (unsigned i = 0; i < 100; i++) {
		if (i < 50)
			assert_false(kept_due(v, 50));
		(void)snprintf(name, sizeof(name), KEPT_DIR "/100.%u,1.a:2,", i + 1);
		put(name, "", 0);
	}
	assert_true(kept_due(v, 50));
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(names_are_counted_and_changes_are_shared),
		T(foreign_text_is_bounded_and_checked),
		T(a_long_file_is_summed_up),
		T(limits_hold_without_overflow),
		T(a_kept_file_comes_back_under_a_name_of_its_own),
		T(time_takes_what_was_kept),
		T(much_that_is_kept_is_not_looked_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
