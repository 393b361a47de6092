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

#include "table/bdb.h"
#include "table/scramkey.h"
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
	static const char *const no_home[] = { "/home/alice/Maildir", "/", "../alice", "a/..", "a//b", "a/", "./a", "a/./b", "1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17" };
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
	for (size_t i = 0; i < sizeof(no_home) / sizeof(no_home[0]); i++)
		if (userdb_home_ok(span_str(no_home[i])))
			fail_msg("taken: %s", no_home[i]);
	assert_true(userdb_home_ok(SPAN("")));
	assert_true(userdb_home_ok(SPAN("example.test/alice")));
	assert_true(userdb_home_ok(SPAN("a..b/.c")));
	assert_true(userdb_home_ok(SPAN("1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16")));
}

static bool
count(void *arg, const struct ipc_user_admin_user *user)
{
	if (span_eq(user->user, SPAN("alice@example.test")))
		assert_true(user->login && user->scram);
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

/* As if hash were of a password. */
static bool
put(const struct ipc_user_admin_set *set, const char *hash, const char *scram, int64_t now_s, struct fail *why)
{
	struct useradmin_secret secret;
	bool ok;

	useradmin_secret_init(&secret, db, set->user, 0);
	buf_puts(&secret.hash, hash);
	buf_puts(&secret.scram, scram);
	ok = useradmin_set(db, set, &secret, now_s, why);
	useradmin_secret_wipe(&secret);
	return ok;
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
	assert_true(put(&set, "$6$one", "keys", 1, &why));
	assert_false(put(&set, "$6$two", "", 1, &why)); /* add twice */
	assert_true(put(&bob, "", "", 1, &why));
	assert_int_equal(listed(""), 2);
	assert_int_equal(listed("example.test"), 1);
	assert_int_equal(listed("@other.test"), 1);
	assert_int_equal(listed("alice@example.test"), 1);
	assert_int_equal(listed("test"), 0);
	/* What was durable is there after the process is gone. */
	userdb_close(&db);
	assert_true(userdb_open(dir, &db, &why));
	set = (struct ipc_user_admin_set){ .user = SPAN("alice@example.test") };
	assert_true(put(&set, "$6$three", "", 2, &why));
	arena_init(&mem, 65536);
	assert_int_equal(userdb_get(db, SPAN("alice@example.test"), &mem, &user, &why), BDB_FOUND);
	assert_true(span_eq(user.hash, SPAN("$6$three")));
	assert_int_equal(user.scram.n, 0); /* keys of the password before are gone */
	assert_true(useradmin_set_scram(db, SPAN("alice@example.test"), SPAN("$6$one"), SPAN("late"), &why));
	assert_int_equal(userdb_get(db, SPAN("alice@example.test"), &mem, &user, &why), BDB_FOUND);
	assert_int_equal(user.scram.n, 0); /* they were of another password */
	assert_true(useradmin_set_scram(db, SPAN("alice@example.test"), SPAN("$6$three"), SPAN("keys"), &why));
	assert_int_equal(userdb_get(db, SPAN("alice@example.test"), &mem, &user, &why), BDB_FOUND);
	assert_true(span_eq(user.scram, SPAN("keys")));
	assert_true(useradmin_set_scram(db, SPAN("nobody@example.test"), SPAN("$6$three"), SPAN("keys"), &why));
	assert_int_equal(userdb_get(db, SPAN("nobody@example.test"), &mem, &user, &why), BDB_NONE);
	assert_int_equal(user.uid, 1000); /* a new password changes nothing else */
	assert_int_equal(user.quota, 7);
	assert_true(span_eq(user.home, SPAN("x/y")));
	assert_true(useradmin_remove(db, &gone, &why));
	assert_false(useradmin_remove(db, &gone, &why));
	assert_false(put(&set, "$6$four", "", 3, &why)); /* passwd of nobody */
	assert_int_equal(userdb_get(db, SPAN("alice@example.test"), &mem, &user, &why), BDB_NONE);
	arena_free(&mem);
}

/* What a release without SCRAM keys wrote: version 1. */
static void
test_a_record_of_version_1(void **state)
{
	struct ipc_user_admin_set set = { .user = SPAN("old@example.test") };
	struct bdb_env *env;
	struct bdb *users;
	struct buf record;
	struct fail why;
	struct arena mem;
	struct user user;

	(void)state;
	userdb_close(&db);
	assert_true(bdb_env_open(dir, &env, &why));
	assert_true(bdb_open(env, "users", BDB_BTREE, &users, &why));
	buf_init(&record, 1000);
	buf_putc(&record, 1);
	buf_le32(&record, 6);
	buf_puts(&record, "$6$old");
	buf_le32(&record, 1000); /* uid, gid, home, quota, changed, flags */
	buf_le32(&record, 100);
	buf_le32(&record, 1);
	buf_puts(&record, "h");
	buf_le64(&record, 7);
	buf_le64(&record, 8);
	buf_le32(&record, 0);
	assert_true(bdb_put(users, SPAN("old@example.test"), buf_span(&record), &why));
	buf_free(&record);
	assert_true(bdb_close(&users, &why));
	bdb_env_close(&env);
	assert_true(userdb_open(dir, &db, &why));
	arena_init(&mem, 65536);
	assert_int_equal(userdb_get(db, SPAN("old@example.test"), &mem, &user, &why), BDB_FOUND);
	assert_true(span_eq(user.hash, SPAN("$6$old")));
	assert_int_equal(user.uid, 1000);
	assert_int_equal(user.quota, 7);
	assert_int_equal(user.scram.n, 0);
	assert_int_equal(user.messages, 0);
	assert_true(useradmin_quota(db, &(struct ipc_user_admin_quota){ .user = set.user, .set_messages = true, .messages = 3 }, &why));
	assert_int_equal(userdb_get(db, SPAN("old@example.test"), &mem, &user, &why), BDB_FOUND);
	assert_true(user.messages == 3 && user.quota == 7);
	assert_true(put(&set, "$6$new", "keys", 2, &why));
	assert_int_equal(userdb_get(db, SPAN("old@example.test"), &mem, &user, &why), BDB_FOUND);
	assert_true(span_eq(user.scram, SPAN("keys")) && span_eq(user.home, SPAN("h")));
	arena_free(&mem);
}

/* e and an accent: é (RFC 4013). */
static void
test_a_user_has_one_name_however_it_is_given(void **state)
{
	const struct span given = SPAN("Andre\xcc\x81@example.test"), prepared = SPAN("andr\xc3\xa9@example.test");
	struct ipc_user_admin_set set = { .user = given, .create = true };
	struct fail why;
	struct arena mem;
	struct user user;

	(void)state;
	arena_init(&mem, 65536);
	assert_true(put(&set, "$6$one", "", 1, &why));
	assert_false(put(&set, "$6$one", "", 1, &why));
	assert_int_equal(listed("Andre\xcc\x81@example.test"), 1);
	set.create = false;
	assert_true(put(&set, "$6$two", "", 2, &why));
	assert_true(useradmin_quota(db, &(struct ipc_user_admin_quota){ .user = given, .set_size = true, .size = 5 }, &why));
	assert_int_equal(userdb_get(db, prepared, &mem, &user, &why), BDB_FOUND);
	assert_true(span_eq(user.hash, SPAN("$6$two")) && user.quota == 5);
	/* Who got his name before names were prepared keeps it. */
	assert_true(userdb_put(db, SPAN("andre\xcc\x81@example.test"), &user, true, &(bool){ false }, &why));
	assert_true(useradmin_remove(db, &(struct ipc_user_admin_remove){ .user = given }, &why));
	assert_int_equal(userdb_get(db, prepared, &mem, &user, &why), BDB_FOUND);
	assert_true(useradmin_remove(db, &(struct ipc_user_admin_remove){ .user = given }, &why));
	assert_int_equal(userdb_get(db, prepared, &mem, &user, &why), BDB_NONE);
	assert_false(useradmin_remove(db, &(struct ipc_user_admin_remove){ .user = given }, &why));
	arena_free(&mem);
}

static void
test_salts_stay_and_tell_nothing(void **state)
{
	uint8_t one[USERDB_SALT], two[USERDB_SALT], again[USERDB_SALT];
	struct useradmin_secret secret;
	struct scramkey key;
	struct fail why;
	struct password_cost cost = { PASSWORD_ARGON2ID, 1024 };

	(void)state;
	userdb_salt(db, SPAN("alice@example.test"), one);
	userdb_salt(db, SPAN("bob@example.test"), two);
	assert_memory_not_equal(one, two, sizeof(one));
	userdb_close(&db);
	assert_true(userdb_open(dir, &db, &why));
	userdb_salt(db, SPAN("alice@example.test"), again);
	assert_memory_equal(one, again, sizeof(one));
	useradmin_secret_init(&secret, db, SPAN("Alice@example.test"), 4096);
	assert_true(useradmin_hash(&secret, SPAN("wonderland"), &cost, &why));
	assert_true(scramkey_parse(buf_span(&secret.scram), &key));
	assert_int_equal(key.iterations, 4096);
	assert_memory_equal(key.salt, one, sizeof(one)); /* as nobody of that name would have */
	useradmin_secret_wipe(&secret);
	useradmin_secret_init(&secret, db, SPAN("alice@example.test"), 0);
	assert_true(useradmin_hash(&secret, SPAN("wonderland"), &cost, &why));
	assert_int_equal(buf_len(&secret.scram), 0);
	useradmin_secret_wipe(&secret);
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

static bool
count_owner(void *arg, struct span owner)
{
	(void)owner;
	++*(int *)arg;
	return true;
}

static int
sharers(const char *guest)
{
	struct fail why;
	int n = 0;

	assert_true(userdb_sharers(db, span_str(guest), count_owner, &n, &why));
	return n;
}

static void
test_shares(void **state)
{
	struct fail why;
	char guest[32];

	(void)state;
	assert_int_equal(userdb_shared(db, SPAN("a@x"), SPAN("b@x"), &why), BDB_NONE);
	assert_true(userdb_share(db, SPAN("a@x"), SPAN("b@x"), true, &why));
	assert_true(userdb_share(db, SPAN("a@x"), SPAN("b@x"), true, &why));
	assert_true(userdb_share(db, SPAN("c@x"), SPAN("b@x"), true, &why));
	assert_true(userdb_share(db, SPAN("c@x"), SPAN("b@xy"), true, &why)); /* no prefix of another */
	assert_int_equal(userdb_shared(db, SPAN("a@x"), SPAN("b@x"), &why), BDB_FOUND);
	assert_int_equal(sharers("b@x"), 2);
	userdb_close(&db);
	assert_true(userdb_open(dir, &db, &why));
	assert_int_equal(sharers("b@x"), 2);
	assert_true(userdb_share(db, SPAN("a@x"), SPAN("b@x"), false, &why));
	assert_true(userdb_share(db, SPAN("a@x"), SPAN("b@x"), false, &why));
	assert_int_equal(sharers("b@x"), 1);
	assert_true(userdb_delete(db, SPAN("c@x"), &why)); /* and what the user gave */
	assert_int_equal(sharers("b@x"), 0);
	assert_int_equal(sharers("b@xy"), 0);
	for (int i = 0; i < USERDB_SHARES_MAX; i++) {
		(void)snprintf(guest, sizeof(guest), "u%d@x", i);
		assert_true(userdb_share(db, SPAN("a@x"), span_str(guest), true, &why));
	}
	assert_false(userdb_share(db, SPAN("a@x"), SPAN("one@more"), true, &why));
	assert_int_equal(why.class, FAIL_LIMIT);
	assert_true(userdb_delete(db, SPAN("u7@x"), &why)); /* and what the user was given */
	assert_int_equal(sharers("u7@x"), 0);
	assert_true(userdb_share(db, SPAN("a@x"), SPAN("one@more"), true, &why));
}

struct seen {
	char text[256];
	unsigned n;
};

static bool
see_crash(void *arg, const struct crash_row *row)
{
	struct seen *s = arg;

	(void)snprintf(s->text, sizeof(s->text), "%.*s %u %llu %.*s", SPAN_ARG(row->user), row->count, (unsigned long long)row->last_ms, SPAN_ARG(row->why));
	s->n++;
	return true;
}

static unsigned
crashes(struct seen *s)
{
	struct fail why;

	s->n = 0;
	assert_true(userdb_crashes(db, see_crash, s, &why));
	return s->n;
}

static bool
crash(const char *user, uint32_t count, struct fail *why)
{
	return userdb_crash(db, &(struct crash_row){ .user = span_str(user), .count = count, .last_ms = 1234, .why = SPAN("signal 11 (Segmentation fault)") }, why);
}

static void
test_crashes(void **state)
{
	struct fail why = { .class = FAIL_NONE };
	struct seen s;
	char user[32];

	(void)state;
	assert_int_equal(crashes(&s), 0);
	assert_true(crash("b@x", 1, &why) && crash("b@x", 2, &why) && crash("b@x", 2, &why));
	userdb_close(&db);
	assert_true(userdb_open(dir, &db, &why));
	assert_int_equal(crashes(&s), 1);
	assert_string_equal(s.text, "b@x 2 1234 signal 11 (Segmentation fault)");
	assert_true(crash("b@x", 0, &why) && crash("b@x", 0, &why));
	assert_int_equal(crashes(&s), 0);
	for (int i = 0; i < USERDB_CRASHES_MAX; i++) {
		(void)snprintf(user, sizeof(user), "u%d@x", i);
		assert_true(crash(user, 1, &why));
	}
	assert_false(crash("one@more", 1, &why));
	assert_int_equal(why.class, FAIL_LIMIT);
	assert_true(crash("u7@x", 2, &why)); /* one that is there */
	assert_true(userdb_delete(db, SPAN("u7@x"), &why)); /* goes with the user */
	assert_true(crash("one@more", 1, &why));
	assert_int_equal(crashes(&s), USERDB_CRASHES_MAX);
}

static void
test_a_count_that_cannot_be_read_is_passed_over(void **state)
{
	static const char *const bad[] = { "", "\3" "2 1234 x", "\1", "\1" "0 1234 x", "\1" "two 1234 x", "\1" "99999999999 1 x", "\1" "2 -1 x" };
	struct bdb_env *env;
	struct bdb *rows;
	struct fail why;
	struct seen s;
	char user[32];

	(void)state;
	userdb_close(&db);
	assert_true(bdb_env_open(dir, &env, &why) && bdb_open(env, "crashes", BDB_BTREE, &rows, &why));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		(void)snprintf(user, sizeof(user), "u%zu@x", i);
		assert_true(bdb_put(rows, span_str(user), span_str(bad[i]), &why));
	}
	assert_true(bdb_put(rows, SPAN("good@x"), SPAN("\1" "2 7 "), &why) && bdb_close(&rows, &why)); /* as older releases have it */
	bdb_env_close(&env);
	assert_true(userdb_open(dir, &db, &why));
	assert_int_equal(crashes(&s), 1);
	assert_string_equal(s.text, "good@x 2 7 ");
}

static bool
see_input(void *arg, const struct crash_row *row)
{
	struct seen *s = arg;

	(void)snprintf(s->text, sizeof(s->text), "%.*s %u %.*s|%.*s", SPAN_ARG(row->user), row->count, SPAN_ARG(row->why), SPAN_ARG(row->input));
	return true;
}

static void
test_the_input_of_a_crash_is_kept_with_it(void **state)
{
	struct crash_row row = { .user = SPAN("smtpd 192.0.2.1"), .count = 2, .last_ms = 7, .why = SPAN("signal 11"), .input = SPAN("EHLO a\nNOOP\n") };
	struct seen s;
	struct fail why;

	(void)state;
	assert_true(userdb_crash(db, &row, &why) && userdb_crash(db, &row, &why) && userdb_crashes(db, see_input, &s, &why));
	assert_string_equal(s.text, "smtpd 192.0.2.1 2 signal 11|EHLO a\nNOOP\n");
	row.input = SPAN_NONE;
	assert_true(userdb_crash(db, &row, &why) && userdb_crashes(db, see_input, &s, &why));
	assert_string_equal(s.text, "smtpd 192.0.2.1 2 signal 11|");
	row.count = 0;
	assert_true(userdb_crash(db, &row, &why));
	assert_int_equal(crashes(&s), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test_setup_teardown(test_life_of_a_user, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_record_of_version_1, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_user_has_one_name_however_it_is_given, setup, teardown),
		cmocka_unit_test_setup_teardown(test_salts_stay_and_tell_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shares, setup, teardown),
		cmocka_unit_test_setup_teardown(test_crashes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_input_of_a_crash_is_kept_with_it, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_count_that_cannot_be_read_is_passed_over, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_one_process_has_it_open, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
