/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "table/bdb.h"
#include "table/table.h"

static char dir[] = "/tmp/test_table.XXXXXX";
static char events[4000];
static struct arena arena;
static int64_t now;

static void
on_event(void *arg, const char *text)
{
	(void)arg;
	strncat(events, text, sizeof(events) - strlen(events) - 1);
	strncat(events, "\n", sizeof(events) - strlen(events) - 1);
}

static int
setup(void **state)
{
	(void)state;
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
	events[0] = '\0';
	arena_init(&arena, 4 << 20);
	return mkdtemp(dir) ? 0 : -1;
}

static int
teardown(void **state)
{
	char cmd[100];

	(void)state;
	arena_free(&arena);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static void
put_file(const char *name, const char *text)
{
	char path[200], temp[220];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	snprintf(temp, sizeof(temp), "%s.new", path);
	f = fopen(temp, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	fclose(f);
	assert_int_equal(rename(temp, path), 0);
}

static struct table *
open_table(const char *type, const char *name, enum table_syntax syntax, const char *cache)
{
	struct table_options options = { .syntax = syntax, .cache_dir = cache, .on_event = on_event };
	struct table *t;
	struct fail why;
	char spec[300];

	snprintf(spec, sizeof(spec), "%s:%s/%s", type, dir, name);
	assert_true(table_open(span_str(spec), &options, &t, &why));
	return t;
}

static void
is(struct table *t, const char *key, const char *want)
{
	struct span value;
	struct fail why = { 0 };
	enum table_found found = table_lookup(t, span_str(key), &arena, &value, &why);

	if (!want) {
		assert_int_equal(found, TABLE_NONE);
		return;
	}
	if (found == TABLE_FAILED)
		print_message("%s\n", why.text);
	assert_int_equal(found, TABLE_FOUND);
	if (!span_eq(value, span_str(want)))
		print_message("%s: %.*s\n", key, SPAN_ARG(value));
	assert_true(span_eq(value, span_str(want)));
}

static void
fails(struct table *t, const char *key, const char *says)
{
	struct span value;
	struct fail why;

	assert_int_equal(table_lookup(t, span_str(key), &arena, &value, &why), TABLE_FAILED);
	assert_int_equal(why.class, FAIL_TEMP);
	assert_non_null(strstr(why.text, says));
}

static const char map_text[] = "# comment\n"
			       "Alice@Example.org  alice\n"
			       "bob@example.org\tbob@one.example,\n"
			       "  # inside\n"
			       "\n"
			       "\tbob@two.example\n"
			       "\"a b\"@example.org quoted\n"
			       "broken\n"
			       "alice@example.org second\n"
			       "@example.net   all";

static void
check_map(struct table *t)
{
	is(t, "alice@example.org", "alice");
	is(t, "ALICE@example.ORG", "alice");
	is(t, "bob@example.org", "bob@one.example, bob@two.example");
	is(t, "a b@example.org", "quoted");
	is(t, "@example.net", "all");
	is(t, "broken", NULL);
	is(t, "", NULL);
	is(t, "carol", NULL);
	assert_non_null(strstr(events, "line 8: the entry has no value"));
	assert_non_null(strstr(events, "line 9: \"alice@example.org\" is there a second time"));
}

static void
file_table(void **state)
{
	struct table *t;

	(void)state;
	put_file("map", map_text);
	t = open_table("file", "map", TABLE_MAP, NULL);
	check_map(t);
	put_file("map", "carol new\n");
	table_refresh(t, now += 1001);
	is(t, "carol", "new");
	is(t, "alice@example.org", NULL);
	table_close(&t);
}

/* Into the file that is there, as `some-script > map` does. */
static void
write_in_place(const char *name, const char *text, time_t age_s)
{
	struct timespec times[2] = { { .tv_sec = time(NULL) - age_s }, { .tv_sec = time(NULL) - age_s } };
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* Else whoever is not in it yet is refused for good. */
static void
a_file_that_is_being_written_is_left_alone(void **state)
{
	static const char *const types[] = { "file", "db" };

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		struct table *t;

		put_file("map", "alice here\nbob here\n");
		t = open_table(types[i], "map", TABLE_MAP, NULL);
		is(t, "bob", "here");
		write_in_place("map", "", -30);
		table_refresh(t, now += 1001);
		is(t, "bob", "here");
		write_in_place("map", "alice there\n", -30);
		table_refresh(t, now += 1001);
		is(t, "bob", "here");
		write_in_place("map", "alice there\nbob there\n", 10);
		table_refresh(t, now += 1001);
		is(t, "bob", "there");
		write_in_place("map", "bob again\n", -3600); /* a clock that is wrong keeps nothing out for ever */
		table_refresh(t, now += 1001);
		is(t, "bob", "again");
		table_close(&t);
	}
}

static void
a_missing_file_fails_until_it_is_there(void **state)
{
	struct table *t = open_table("file", "later", TABLE_MAP, NULL);

	(void)state;
	fails(t, "x", "later");
	fails(t, "x", "later");
	put_file("later", "x y\n");
	table_refresh(t, now += 1001);
	is(t, "x", "y");
	table_close(&t);
}

static void
db_table_is_rebuilt(void **state)
{
	const char *types[] = { "db", "hash", "btree", "db:btree", "db:hash" };
	struct stat st;
	char path[200];

	(void)state;
	snprintf(path, sizeof(path), "%s/map.db", dir);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct table *t;

		events[0] = '\0';
		put_file("map", map_text);
		t = open_table(types[i], "map", TABLE_MAP, NULL);
		check_map(t);
		assert_int_equal(stat(path, &st), 0);
		put_file("map", "carol new\n");
		table_refresh(t, now += 1001);
		is(t, "carol", "new");
		is(t, "bob@example.org", NULL);
		table_close(&t);
		/* opened again, it is used as it is */
		events[0] = '\0';
		t = open_table(types[i], "map", TABLE_MAP, NULL);
		is(t, "carol", "new");
		assert_string_equal(events, "");
		table_close(&t);
	}
}

static void
db_table_in_the_cache(void **state)
{
	char cache[200], sources[200];
	struct table *t;
	FILE *f;

	(void)state;
	/* a PATH.db that cannot be written: a directory of that name stands in for permissions, as tests may run as root */
	snprintf(cache, sizeof(cache), "%s/cache", dir);
	assert_int_equal(mkdir(cache, 0700), 0);
	put_file("map", "a b\n");
	snprintf(sources, sizeof(sources), "%s/map.db", dir);
	assert_int_equal(mkdir(sources, 0700), 0);
	snprintf(sources, sizeof(sources), "%s/map.db/x", dir);
	f = fopen(sources, "w");
	assert_non_null(f);
	fclose(f);
	t = open_table("hash", "map", TABLE_MAP, NULL);
	fails(t, "a", "rename");
	table_close(&t);
	t = open_table("hash", "map", TABLE_MAP, cache);
	is(t, "a", "b");
	table_close(&t);
}

/* As Postfix's postmap makes it, put into its place from elsewhere. */
static void
put_foreign_db(const char *name, const char *key, const char *value)
{
	char path[200], temp[220];
	struct bdb *db;
	struct fail why;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	snprintf(temp, sizeof(temp), "%s.new", path);
	assert_true(bdb_file_create(temp, BDB_HASH, &db, &why));
	assert_true(bdb_put(db, span_of(key, strlen(key) + 1), span_of(value, strlen(value) + 1), &why));
	assert_true(bdb_close(&db, &why));
	assert_int_equal(rename(temp, path), 0);
}

static void
a_foreign_db_without_source(void **state)
{
	struct table *t;

	(void)state;
	put_foreign_db("made.db", "root", "bob");
	t = open_table("hash", "made", TABLE_MAP, NULL);
	is(t, "root", "bob");
	is(t, "toor", NULL);
	put_foreign_db("made.db", "toor", "eve");
	table_refresh(t, now += 1001);
	is(t, "toor", "eve");
	is(t, "root", NULL);
	put_file("made", "root alice\n");
	table_refresh(t, now += 1001);
	is(t, "root", "alice");
	events[0] = '\0';
	for (int i = 0; i < 3; i++)
		table_refresh(t, now += 1001);
	assert_string_equal(events, "");
	table_close(&t);
}

static void
alias_source(void **state)
{
	struct table *t;

	(void)state;
	put_file("aliases",
	    "# a\npostmaster: root\nRoot : alice,\n  bob\n\"two words\": carol\nlist: :include:/x\nno colon\n: x\n");
	for (int i = 0; i < 2; i++) {
		t = open_table(i ? "hash" : "file", "aliases", TABLE_ALIASES, NULL);
		is(t, "postmaster", "root");
		is(t, "root", "alice, bob");
		is(t, "two words", "carol");
		is(t, "list", ":include:/x");
		is(t, "no", NULL);
		table_close(&t);
	}
	assert_non_null(strstr(events, "line 7: there is no colon"));
}

static void
a_file_full_of_nonsense_is_told_briefly(void **state)
{
	char text[3000] = "";
	struct table *t;
	size_t lines = 0;

	(void)state;
	for (int i = 0; i < 100; i++)
		strcat(text, "nonsense\n");
	put_file("bad", text);
	t = open_table("file", "bad", TABLE_MAP, NULL);
	is(t, "nonsense", NULL);
	for (const char *p = events; (p = strchr(p, '\n')); p++)
		lines++;
	assert_int_equal(lines, 21);
	assert_non_null(strstr(events, "and 80 things more"));
	table_close(&t);
}

static void
pcre_table(void **state)
{
	struct table *t;

	(void)state;
	put_file("p", "/^(.*)-list@(.*)$/  owner-${1}@$2\n"
		      "!/@/   local$$1\n"
		      "if /@example\\.org$/\n"
		      "/^(bob|rob)@/ found $(1)$9\n"
		      "endif\n"
		      "/case/i sensitive\n"
		      "#x\n"
		      "/(/ broken\n"
		      "/x/Q broken\n"
		      "/noresult/\n"
		      "|^a/b@| bar\n"
		      "/^(a+)+$/ slow\n"
		      "endif\n");
	t = open_table("pcre", "p", TABLE_MAP, NULL);
	is(t, "dev-list@example.org", "owner-dev@example.org");
	is(t, "word", "local$1");
	is(t, "rob@example.org", "found rob");
	is(t, "rob@example.net", NULL);
	is(t, "a/b@x", "bar");
	is(t, "noresult@x", NULL);
	assert_non_null(strstr(events, "line 8:"));
	assert_non_null(strstr(events, "line 9: a flag"));
	assert_non_null(strstr(events, "line 10: the rule has no result"));
	assert_non_null(strstr(events, "line 13: an endif without if"));
	table_close(&t);
}

/* What was to hold for some would hold for all. */
static void
what_stands_in_a_broken_if_does_not_count(void **state)
{
	struct table *t;

	(void)state;
	put_file("p", "if /(/\nif /a/\n/b/ inner\nendif\n/b/ outer\nendif\n/b/ behind\n");
	t = open_table("pcre", "p", TABLE_MAP, NULL);
	is(t, "ab", "behind");
	assert_non_null(strstr(events, "line 1:"));
	assert_null(strstr(events, "endif"));
	table_close(&t);
	put_file("c", "if !300.1.1.1\n0.0.0.0/0 inner\nendif\n10.0.0.0/8 behind\n");
	t = open_table("cidr", "c", TABLE_MAP, NULL);
	is(t, "10.2.3.4", "behind");
	is(t, "192.0.2.1", NULL);
	table_close(&t);
}

static void
a_pattern_cannot_hang(void **state)
{
	struct table *t;

	(void)state;
	put_file("slow", "/^(a+)+$/ x\n");
	t = open_table("pcre", "slow", TABLE_MAP, NULL);
	fails(t, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", "too long");
	table_close(&t);
}

static void
cidr_table(void **state)
{
	struct table *t;

	(void)state;
	put_file("c", "::/0 all six\n");
	t = open_table("cidr", "c", TABLE_MAP, NULL);
	is(t, "2001:db8::1", "all six");
	is(t, "192.0.2.5", NULL);
	is(t, "::ffff:192.0.2.5", NULL);
	table_close(&t);
	put_file("c", "!192.0.2.0/24 elsewhere\nif !2001:db8::/32\n2001:db9::/32 nine\n0.0.0.0/0 four\nendif\n");
	t = open_table("cidr", "c", TABLE_MAP, NULL);
	is(t, "10.0.0.1", "elsewhere");
	is(t, "192.0.2.1", NULL);
	is(t, "2001:db9::1", "nine");
	is(t, "2001:db8::1", NULL);
	table_close(&t);
	put_file("c", "192.0.2.5 one\n192.0.2.0/24 net\nif 10.0.0.0/8\n!10.1.0.0/16 ten\n10.1.2.3 special\nendif\n"
		      "[2001:db8::]/32 six\n300.1.1.1 broken\n0.0.0.0/0 rest\n");
	t = open_table("cidr", "c", TABLE_MAP, NULL);
	is(t, "192.0.2.5", "one");
	is(t, "192.0.2.6", "net");
	is(t, "10.2.3.4", "ten");
	is(t, "10.1.2.3", "special");
	is(t, "2001:db8::1", "six");
	is(t, "2001:db9::1", NULL);
	is(t, "10.1.0.1", "rest");
	is(t, "name", NULL);
	assert_non_null(strstr(events, "line 8"));
	table_close(&t);
}

static void
inline_and_static(void **state)
{
	struct table_options options = { .on_event = on_event };
	struct table *t;
	struct fail why;

	(void)state;
	assert_true(table_open(SPAN("inline:{A=b, {c = d, e}, f=, g={h, i}}"), &options, &t, &why));
	is(t, "a", "b");
	is(t, "C", "d, e");
	is(t, "f", "");
	is(t, "g", "h, i");
	is(t, "h", NULL);
	table_close(&t);
	assert_true(table_open(SPAN("static:yes sir"), &options, &t, &why));
	is(t, "anything", "yes sir");
	table_close(&t);
	assert_false(table_open(SPAN("inline:a=b"), &options, &t, &why));
	assert_false(table_open(SPAN("inline:{a}"), &options, &t, &why));
	assert_false(table_open(SPAN("static:"), &options, &t, &why));
	assert_false(table_open(SPAN("nis:x"), &options, &t, &why));
	assert_false(table_open(SPAN("/etc/x"), &options, &t, &why));
	assert_false(table_open(SPAN("file:relative"), &options, &t, &why));
	assert_int_equal(why.class, FAIL_PERM);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = { T(file_table), T(a_file_that_is_being_written_is_left_alone), T(a_missing_file_fails_until_it_is_there),
	    T(db_table_is_rebuilt), T(db_table_in_the_cache),
		T(a_foreign_db_without_source), T(alias_source), T(a_file_full_of_nonsense_is_told_briefly), T(pcre_table), T(what_stands_in_a_broken_if_does_not_count), T(a_pattern_cannot_hang),
		    T(cidr_table), T(inline_and_static) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
