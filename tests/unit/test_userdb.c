/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "table/useradmin.h"

static char dir[64];
static struct userdb *db;

static int
setup(void **state)
{
	struct fail why;

	(void)state;
	(void)strcpy(dir, "/tmp/test_userdb.XXXXXX");
	return mkdtemp(dir) && userdb_open(dir, &db, &why) ? 0 : -1;
}

static int
teardown(void **state)
{
	char path[512];
	struct dirent *e;
	DIR *d;

	(void)state;
	userdb_close(&db);
	d = opendir(dir);
	while (d && (e = readdir(d))) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		(void)unlink(path);
	}
	if (d)
		(void)closedir(d);
	return rmdir(dir);
}

static void
test_names(void **state)
{
	static const char *const bad[] = {
		"", "alice", "@example.test", "alice@", "a@b@c", "../../etc/passwd@x", "a/b@c", "a@../x", ".a@b", "a@.b", "a b@c", "a\n@b", "a\\@b", "a@b\x7f",
		"<a@b>",
	};
	char name[USERDB_NAME + 1], longest[USERDB_NAME + 2];
	struct fail why;

	(void)state;
	assert_true(userdb_name(SPAN("Alice.B+c@Example.TEST"), name, &why));
	assert_string_equal(name, "alice.b+c@example.test");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (userdb_name(span_str(bad[i]), name, &why))
			fail_msg("taken: %s", bad[i]);
	memset(longest, 'x', sizeof(longest));
	longest[3] = '@';
	assert_true(userdb_name(span_of(longest, USERDB_NAME), name, &why));
	assert_false(userdb_name(span_of(longest, USERDB_NAME + 1), name, &why));
	assert_true(userdb_home_ok(SPAN("example.test/alice"), 0));
	assert_true(userdb_home_ok(SPAN("a..b/c"), 0));
	assert_true(userdb_home_ok(SPAN("/home/alice/Maildir"), 1000));
	assert_false(userdb_home_ok(SPAN("/home/alice/Maildir"), 0));
	assert_false(userdb_home_ok(SPAN("../alice"), 1000));
	assert_false(userdb_home_ok(SPAN("a/.."), 0));
}

static bool
count(void *arg, const struct ipc_user_admin_user *user)
{
	if (span_eq(user->user, SPAN("bob@other.test")))
		assert_true(span_eq(user->home, SPAN("other.test/bob")) && !user->login);
	*(int *)arg += 1;
	return true;
}

static int
listed(const char *match)
{
	struct ipc_user_admin_list list = { .match = span_str(match) };
	struct fail why;
	int n = 0;

	assert_true(useradmin_list(db, &list, count, &n, &why));
	return n;
}

static void
test_life_of_a_user(void **state)
{
	struct ipc_user_admin_set set = { .user = SPAN("Alice@Example.test"), .create = true, .quota = 7, .uid = 1000, .gid = 100, .home = SPAN("x/y") };
	struct ipc_user_admin_set bob = { .user = SPAN("bob@other.test"), .create = true };
	struct ipc_user_admin_remove gone = { .user = SPAN("ALICE@example.test") };
	struct fail why;
	struct arena mem;
	struct user user;

	(void)state;
	assert_true(useradmin_set(db, &set, SPAN("$6$one"), 1, &why));
	assert_false(useradmin_set(db, &set, SPAN("$6$two"), 1, &why)); /* add twice */
	assert_true(useradmin_set(db, &bob, SPAN_NONE, 1, &why));
	assert_int_equal(listed(""), 2);
	assert_int_equal(listed("example.test"), 1);
	assert_int_equal(listed("@other.test"), 1);
	assert_int_equal(listed("alice@example.test"), 1);
	assert_int_equal(listed("test"), 0);
	/* What was durable is there after the process is gone. */
	userdb_close(&db);
	assert_true(userdb_open(dir, &db, &why));
	set = (struct ipc_user_admin_set){ .user = SPAN("alice@example.test") };
	assert_true(useradmin_set(db, &set, SPAN("$6$three"), 2, &why));
	arena_init(&mem, 65536);
	assert_int_equal(userdb_get(db, SPAN("alice@example.test"), &mem, &user, &why), BDB_FOUND);
	assert_true(span_eq(user.hash, SPAN("$6$three")));
	assert_int_equal(user.uid, 1000); /* a new password changes nothing else */
	assert_int_equal(user.quota, 7);
	assert_true(span_eq(user.home, SPAN("x/y")));
	assert_true(useradmin_remove(db, &gone, &why));
	assert_false(useradmin_remove(db, &gone, &why));
	assert_false(useradmin_set(db, &set, SPAN("$6$four"), 3, &why)); /* passwd of nobody */
	assert_int_equal(userdb_get(db, SPAN("alice@example.test"), &mem, &user, &why), BDB_NONE);
	arena_free(&mem);
}

static void
test_only_one_process_has_it_open(void **state)
{
	struct userdb *second;
	struct fail why;

	(void)state;
	assert_false(userdb_open(dir, &second, &why));
	assert_int_equal(why.class, FAIL_TEMP);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test_setup_teardown(test_life_of_a_user, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_one_process_has_it_open, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
