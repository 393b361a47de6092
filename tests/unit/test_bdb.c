/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "table/bdb.h"

static char dir[] = "/tmp/test_bdb.XXXXXX";

static int
setup(void **state)
{
	(void)state;
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
	return mkdtemp(dir) ? 0 : -1;
}

static int
teardown(void **state)
{
	char cmd[100];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static bool
count(void *arg, struct span key, struct span value)
{
	(void)key;
	(void)value;
	++*(size_t *)arg;
	return true;
}

static void
env_keeps_what_was_put(void **state)
{
	struct bdb_env *env;
	struct bdb *db;
	struct arena a;
	struct span v;
	struct fail why;
	bool taken;
	size_t n = 0;

	(void)state;
	arena_init(&a, 65536);
	assert_true(bdb_env_open(dir, &env, &why));
	assert_true(bdb_open(env, "users.db", BDB_BTREE, &db, &why));
	assert_true(bdb_put(db, SPAN("a/alice"), SPAN("1"), &why));
	assert_true(bdb_add(db, SPAN("a/bob"), SPAN("2"), &taken, &why));
	assert_true(taken);
	assert_true(bdb_add(db, SPAN("a/bob"), SPAN("3"), &taken, &why));
	assert_false(taken);
	assert_true(bdb_put(db, SPAN("b/carol"), SPAN("4"), &why));
	assert_true(bdb_batch_begin(env, &why));
	assert_true(bdb_put(db, SPAN("never"), SPAN("x"), &why));
	bdb_batch_abort(env);
	assert_true(bdb_close(&db, &why));
	bdb_env_close(&env);

	assert_true(bdb_env_open(dir, &env, &why));
	assert_true(bdb_open(env, "users.db", BDB_BTREE, &db, &why));
	assert_int_equal(bdb_get(db, SPAN("a/bob"), &a, &v, &why), BDB_FOUND);
	assert_true(span_eq(v, SPAN("2")));
	assert_int_equal(bdb_get(db, SPAN("never"), &a, &v, &why), BDB_NONE);
	assert_true(bdb_each(db, SPAN("a/"), count, &n, &why));
	assert_int_equal(n, 2);
	assert_true(bdb_del(db, SPAN("a/bob"), &why));
	assert_true(bdb_del(db, SPAN("a/bob"), &why));
	assert_int_equal(bdb_get(db, SPAN("a/bob"), &a, &v, &why), BDB_NONE);
	assert_true(bdb_close(&db, &why));
	bdb_env_close(&env);
	arena_free(&a);
}

static void
killed_writer_loses_nothing_committed(void **state)
{
	struct bdb_env *env;
	struct bdb *db;
	struct arena a;
	struct span v;
	struct fail why;
	pid_t pid;

	(void)state;
	arena_init(&a, 65536);
	pid = fork();
	if (pid == 0) {
		if (!bdb_env_open(dir, &env, &why) || !bdb_open(env, "u.db", BDB_HASH, &db, &why))
			_exit(1);
		for (int i = 0; i < 200; i++) {
			char key[16];

			snprintf(key, sizeof(key), "key%d", i);
			if (!bdb_put(db, span_str(key), SPAN("value"), &why))
				_exit(1);
		}
		if (bdb_batch_begin(env, &why))
			(void)bdb_put(db, SPAN("half"), SPAN("done"), &why);
		_exit(0); /* neither closed nor committed */
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(bdb_env_open(dir, &env, &why));
	assert_true(bdb_open(env, "u.db", BDB_HASH, &db, &why));
	assert_int_equal(bdb_get(db, SPAN("key0"), &a, &v, &why), BDB_FOUND);
	assert_int_equal(bdb_get(db, SPAN("key199"), &a, &v, &why), BDB_FOUND);
	assert_int_equal(bdb_get(db, SPAN("half"), &a, &v, &why), BDB_NONE);
	assert_true(bdb_close(&db, &why));
	bdb_env_close(&env);
	arena_free(&a);
}

static void
second_process_is_refused(void **state)
{
	struct bdb_env *env, *other;
	struct fail why;

	(void)state;
	assert_true(bdb_env_open(dir, &env, &why));
	assert_false(bdb_env_open(dir, &other, &why));
	assert_int_equal(why.class, FAIL_TEMP);
	bdb_env_close(&env);
	assert_true(bdb_env_open(dir, &other, &why));
	bdb_env_close(&other);
}

static void
plain_file_is_built_and_read(void **state)
{
	char path[64];
	struct bdb *db;
	struct arena a;
	struct span v;
	struct fail why;

	(void)state;
	arena_init(&a, 65536);
	snprintf(path, sizeof(path), "%s/t.db", dir);
	assert_false(bdb_file_open(path, &db, &why));
	assert_true(bdb_file_create(path, BDB_HASH, &db, &why));
	assert_true(bdb_put(db, SPAN("k"), SPAN("v"), &why));
	assert_true(bdb_close(&db, &why));
	assert_false(bdb_file_create(path, BDB_HASH, &db, &why));
	assert_true(bdb_file_open(path, &db, &why));
	assert_int_equal(bdb_get(db, SPAN("k"), &a, &v, &why), BDB_FOUND);
	assert_true(span_eq(v, SPAN("v")));
	assert_false(bdb_put(db, SPAN("k"), SPAN("w"), &why));
	assert_true(bdb_close(&db, &why));
	arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(env_keeps_what_was_put, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_writer_loses_nothing_committed, setup, teardown),
		cmocka_unit_test_setup_teardown(second_process_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(plain_file_is_built_and_read, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
