/* SPDX-License-Identifier: ISC
 *
 * Forward files: what they may say, and which of them are read.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemons/deliverd/forward.h"
#include "ipc/bounds.h"
#include "log/log.h"
#include "tests/unit/no_memory.h"

static unsigned countdown; /* the allocation that fails: 1 is the next one; 0: none */

static bool
memory_fails(void)
{
	return countdown && --countdown == 0;
}

/* ---- what they say ---- */

static char said[4000]; /* "LINE: ITEM: WHY|" */

static void
on_bad(void *arg, unsigned line, struct span item, const char *why)
{
	size_t n = strlen(said);

	(void)arg;
	(void)snprintf(said + n, sizeof(said) - n, "%u: %.*s: %s|", line, SPAN_ARG(item), why);
}

static struct forwardlist list;

static bool
parse(const char *own, struct span text)
{
	struct forwardlist_reader reader = { .own = span_str(own), .delimiters = SPAN("+"), .on_bad = on_bad };

	said[0] = '\0';
	forwardlist_init(&list);
	return forwardlist_parse(&list, text, &reader);
}

#define COMMAND "mail is not given to commands|"
#define NO_FILE "mail is not given to files|"

static void
test_what_a_file_may_say(void **state)
{
	static const struct {
		const char *text, *to;
		bool kept;
		const char *bad;
	} cases[] = {
		{ "", "", true, "" },
		{ "\n# nothing\n  # at all, carol@example.org\n", "", true, "" },
		{ "carol@example.org", "carol@example.org", false, "" },
		{ "carol@example.org\r\ndave@example.org\r\n", "carol@example.org\ndave@example.org", false, "" },
		{ "carol@EXAMPLE.org,,dave@example.org ,\n\tcarol@example.org", "carol@example.org\ndave@example.org", false, "" },
		{ "<carol@example.org>", "carol@example.org", false, "" },
		{ "carol", "carol@example.test", false, "" },
		{ "\\carol, \\dave@example.org", "carol@example.test\ndave@example.org", false, "" },
		{ "\"a b, c\"@example.org, \"d\"", "\"a b, c\"@example.org\nd@example.test", false, "" },
		{ "\xef\xbb\xbf" "carol", "carol@example.test", false, "" },
		{ "x@\xc3\xb6.example", "x@xn--nda.example", false, "" },
		{ "bob", "", true, "" },
		{ "\\bob", "", true, "" },
		{ "BOB@Example.Test, bob, carol", "carol@example.test", true, "" },
		{ "bob@example.org", "bob@example.org", false, "" },
		{ "/dev/null", "", false, "" },
		{ "\"/dev/null\"\n", "", false, "" },
		{ "/dev/null, carol", "carol@example.test", false, "" },
		{ "/dev/null\n\\bob", "", true, "" },
		{ "carol\n|/bin/x", "carol@example.test", true, "2: /bin/x: " COMMAND },
		{ "\\bob, \"|/usr/bin/vacation bob, x\"", "", true, "1: /usr/bin/vacation bob, x: " COMMAND },
		{ "/var/mail/bob, ~/Mail/x, ./x", "", true, "1: /var/mail/bob: " NO_FILE "1: ~/Mail/x: " NO_FILE "1: ./x: " NO_FILE },
		{ "/dev/null, /x", "", true, "1: /x: " NO_FILE },
		{ ":include:/x", "", true, "1: /x: no other file is read|" },
		{ ":include:", "", true, "1: : it cannot be understood|" },
		{ "\"open\n\ncarol", "carol@example.test", true, "1: \"open: it cannot be understood|" },
		{ "carol # comment", "", true, "1: carol # comment: bad address: something behind it|" },
		{ "carol@, @x, a..b@x, \"carol@example.org\", \"\"", "", true, "1: carol@: bad address: domain not valid|1: @x: bad address: local part not valid|"
		  "1: a..b@x: bad address: local part not valid|1: \"carol@example.org\": bad address: domain missing|1: \"\": bad address: local part not valid|" },
		{ "carol@example.org\rdave@example.org", "", true, "1: carol@example.org\rdave@example.org: bad address: something behind it|" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_true(parse("bob@example.test", span_str(cases[i].text)));
		if (!span_eq(buf_span(&list.to), span_str(cases[i].to)) || list.kept != cases[i].kept || strcmp(said, cases[i].bad) != 0)
			fail_msg("%s: kept %d, to \"%.*s\", bad \"%s\"", cases[i].text, list.kept, SPAN_ARG(buf_span(&list.to)), said);
		forwardlist_free(&list);
	}
}

static void
test_an_extension_is_the_owner_too(void **state)
{
	(void)state;
	assert_true(parse("bob+shop@example.test", SPAN("\\bob, bob+shop, bob+x, carol")));
	assert_true(list.kept);
	assert_true(span_eq(buf_span(&list.to), SPAN("bob+x@example.test\ncarol@example.test")));
	forwardlist_free(&list);
}

static void
test_an_owner_without_a_sound_address(void **state)
{
	(void)state;
	assert_true(parse("bob", SPAN("bob, carol@example.org")));
	assert_true(list.kept);
	assert_true(span_eq(buf_span(&list.to), SPAN("carol@example.org")));
	assert_string_equal(said, "1: bob: bad address: domain missing|");
	forwardlist_free(&list);
}

static void
test_no_more_addresses_than_may_be(void **state)
{
	struct buf text;

	(void)state;
	buf_init(&text, FORWARDLIST_TEXT);
	for (int i = 0; i < FORWARDS_MOST; i++)
		buf_printf(&text, "u%d\n", i);
	assert_true(parse("bob@example.test", buf_span(&text)));
	assert_false(list.kept);
	assert_string_equal(said, "");
	forwardlist_free(&list);
	buf_puts(&text, "u7, one.more"); /* u7 is there */
	assert_true(parse("bob@example.test", buf_span(&text)));
	assert_true(list.kept);
	assert_string_equal(said, "101: one.more: there are too many addresses before it|");
	assert_true(span_ends(buf_span(&list.to), SPAN("\nu99@example.test")));
	forwardlist_free(&list);
	buf_reset(&text);
	for (int i = 0; i < FORWARDS_MOST; i++)
		buf_printf(&text, "%.230d@example.test\n", i);
	assert_true(parse("bob@example.test", buf_span(&text)));
	assert_true(list.kept);
	assert_true(buf_len(&list.to) <= B_FORWARDS);
	assert_non_null(strstr(said, "there are too many addresses before it|"));
	forwardlist_free(&list);
	buf_free(&text);
}

static void
test_the_longest_items_have_room(void **state)
{
	char *text = malloc(FORWARDLIST_TEXT);

	(void)state;
	memset(text, 'x', FORWARDLIST_TEXT);
	memcpy(text, "\":include:\"", 11);
	text[FORWARDLIST_TEXT - 1] = '"';
	assert_true(parse("bob@example.test", span_of(text, FORWARDLIST_TEXT)));
	assert_true(list.kept);
	forwardlist_free(&list);
	memset(text, ',', FORWARDLIST_TEXT);
	for (size_t i = 0; i < FORWARDLIST_TEXT; i += 2)
		text[i] = (char)('a' + i % 26);
	assert_true(parse("bob@example.test", span_of(text, FORWARDLIST_TEXT)));
	assert_false(list.kept);
	forwardlist_free(&list);
	free(text);
}

static void
test_without_memory_no_list_is_shorter(void **state)
{
	static const char text[] = "carol@example.org, \"|command\", \":include:/x\",\n\"a b\"@example.org, \\bob";
	unsigned at = 0;
	bool done = false;

	(void)state;
	while (!done) {
		countdown = ++at;
		done = parse("bob@example.test", SPAN("a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t"));
		if (done)
			assert_int_equal(buf_len(&list.to), 20 * 15 - 1);
		countdown = 0;
		forwardlist_free(&list);
	}
	assert_true(at > 3);
	for (at = 1, done = false; !done; at++) {
		countdown = at;
		done = parse("bob@example.test", span_str(text));
		countdown = 0;
		if (done)
			assert_true(list.kept && span_eq(buf_span(&list.to), SPAN("carol@example.org\n\"a b\"@example.org")));
		forwardlist_free(&list);
	}
	assert_true(at > 3);
}

/* ---- which are read ---- */

static char dir[64], log_text[20000];
static FILE *log_file;
static struct homes homes;
static const struct span nearby[] = { SPAN_INIT("../.forward"), SPAN_INIT(".forward") };
static struct conf conf = { .forward_path = { .items = nearby, .n = 2 }, .recipient_delimiter = SPAN_INIT("+") };

static void
path_of(char out[200], const char *name)
{
	assert_true(snprintf(out, 200, "%s/%s", dir, name) < 200);
}

static void
put_file(const char *name, const char *text)
{
	char path[200];
	FILE *out;

	path_of(path, name);
	out = fopen(path, "w");
	assert_non_null(out);
	(void)fputs(text, out);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(chmod(path, 0644), 0);
}

static int
setup(void **state)
{
	static const char *const folders[] = { "home", "home/bob", "home/bob/Maildir", "single" };
	struct fail why;
	char path[200];

	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/test_forward.XXXXXX");
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
		path_of(path, folders[i]);
		assert_int_equal(mkdir(path, 0755), 0);
	}
	homes_init(&homes);
	assert_true(homes_open(&homes, span_str(dir), &why));
	log_file = tmpfile();
	assert_non_null(log_file);
	log_open("test", fileno(log_file), NULL);
	return 0;
}

static int
teardown(void **state)
{
	char command[128];

	(void)state;
	log_open("test", STDERR_FILENO, NULL);
	(void)fclose(log_file);
	homes_close(&homes);
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

/* What the log has said since the last time. */
static const char *
logged(void)
{
	rewind(log_file);
	log_text[fread(log_text, 1, sizeof(log_text) - 1, log_file)] = '\0';
	assert_int_equal(ftruncate(fileno(log_file), 0), 0);
	rewind(log_file);
	return log_text;
}

static struct fail failure;

static bool
look(const char *home)
{
	forwardlist_init(&list);
	return forward_read(&homes, &conf, span_str(home), SPAN("bob@example.test"), &list, &failure);
}

/* Where mail of home goes: to these, and (kept) to the mailbox; the log has these words, or nothing. */
static void
leads(const char *home, const char *to, bool kept, const char *words)
{
	const char *log;

	assert_true(look(home));
	log = logged();
	if (!span_eq(buf_span(&list.to), span_str(to)) || list.kept != kept || (words ? !strstr(log, words) : *log != '\0'))
		fail_msg("kept %d, to \"%.*s\", log \"%s\" instead of \"%s\"", list.kept, SPAN_ARG(buf_span(&list.to)), log, words ? words : "");
	forwardlist_free(&list);
}

#define HOME "home/bob/Maildir"

static void
test_the_first_path_counts(void **state)
{
	char absolute[200];

	(void)state;
	path_of(absolute, HOME "/");
	leads(HOME, "", true, NULL);
	put_file(HOME "/.forward", "inner@example.org");
	leads(HOME, "inner@example.org", false, NULL);
	put_file("home/bob/.forward", "outer@example.org");
	leads(HOME, "outer@example.org", false, NULL);
	leads(absolute, "outer@example.org", false, NULL);
	conf.forward_path.n = 0;
	leads(HOME, "", true, NULL);
	conf.forward_path.n = 2;
}

static void
test_nothing_is_read_beside_the_base(void **state)
{
	(void)state;
	put_file(".forward", "above@example.org");
	leads("single", "", true, NULL);
	put_file("single/.forward", "inner@example.org");
	leads("single", "inner@example.org", false, NULL);
	assert_false(look("../single"));
	assert_int_equal(failure.class, FAIL_PERM);
}

static void
test_a_folder_of_that_name_is_none(void **state)
{
	char path[200];

	(void)state;
	path_of(path, "home/bob/.forward");
	assert_int_equal(mkdir(path, 0700), 0);
	leads(HOME, "", true, NULL);
	put_file(HOME "/.forward", "inner@example.org");
	leads(HOME, "inner@example.org", false, NULL);
}

static void
test_a_home_that_is_not_there_has_none(void **state)
{
	(void)state;
	put_file("home/file", "x@example.org");
	leads("home/nobody/Maildir", "", true, NULL);
	leads("home/file/Maildir", "", true, NULL);
}

/* Each has a sound file behind it, which is not taken instead. */
static void
refused(const char *words)
{
	put_file(HOME "/.forward", "inner@example.org");
	leads(HOME, "", true, words);
}

static void
test_files_that_others_may_write_are_refused(void **state)
{
	static const mode_t modes[] = { 0666, 0664, 0602 };
	char path[200];

	(void)state;
	put_file("home/bob/.forward", "outer@example.org");
	path_of(path, "home/bob/.forward");
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		assert_int_equal(chmod(path, modes[i]), 0);
		refused("/home/bob/.forward is not used, and mail is kept: others may write it (chmod go-w)");
	}
	assert_int_equal(chmod(path, 0400), 0);
	leads(HOME, "outer@example.org", false, NULL);
}

static void
test_files_of_others_are_refused(void **state)
{
	char path[200];

	(void)state;
	if (geteuid() != 0)
		skip();
	put_file("home/bob/.forward", "outer@example.org");
	path_of(path, "home/bob/.forward");
	assert_int_equal(chown(path, 54321, 54321), 0);
	refused("it belongs to another user (chown)");
	assert_int_equal(chown(path, 0, 54321), 0);
	leads(HOME, "outer@example.org", false, NULL);
}

static void
test_links_are_refused(void **state)
{
	char path[200], other[200];

	(void)state;
	put_file("home/bob/other", "outer@example.org");
	path_of(path, "home/bob/.forward");
	path_of(other, "home/bob/other");
	assert_int_equal(symlink("other", path), 0);
	refused("it is, or is reached by, a symbolic link");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/dev/null", path), 0);
	refused("it is, or is reached by, a symbolic link");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(link(other, path), 0);
	refused("it has more than one name");
	assert_int_equal(unlink(other), 0);
	leads(HOME, "outer@example.org", false, NULL);
	path_of(path, "home/linked");
	assert_int_equal(symlink("bob", path), 0);
	leads("home/linked/Maildir", "", true, "symbolic link");
}

static void
test_what_is_no_regular_file_is_refused(void **state)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	char path[200];
	int fd;

	(void)state;
	path_of(path, "home/bob/.forward");
	assert_int_equal(mkfifo(path, 0600), 0);
	(void)alarm(10); /* it may not wait for a writer */
	refused("it is no regular file");
	(void)alarm(0);
	assert_int_equal(unlink(path), 0);
	(void)snprintf(at.sun_path, sizeof(at.sun_path), "%.100s", path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	refused("it is no regular file");
	(void)close(fd);
}

static void
test_a_file_that_its_owner_may_not_read_is_refused(void **state)
{
	bool root = geteuid() == 0; /* who may read everything */
	char path[200];

	(void)state;
	put_file("home/bob/.forward", "outer@example.org");
	put_file(HOME "/.forward", "inner@example.org");
	path_of(path, "home/bob/.forward");
	assert_int_equal(chmod(path, 0), 0);
	if (root) {
		assert_int_equal(chmod(dir, 0755), 0);
		assert_int_equal(chown(path, 54321, 54321), 0);
		assert_int_equal(seteuid(54321), 0);
	}
	leads(HOME, "", true, "its owner may not read it (chmod u+r)");
	if (root)
		assert_int_equal(seteuid(0), 0);
}

static void
test_large_and_binary_files_are_refused(void **state)
{
	char path[200];
	int fd;

	(void)state;
	path_of(path, "home/bob/.forward");
	put_file("home/bob/.forward", "#");
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, FORWARDLIST_TEXT + 1), 0);
	refused("it is larger than 64 KiB");
	assert_int_equal(ftruncate(fd, FORWARDLIST_TEXT), 0);
	refused("it is no text: there is a NUL in it");
	(void)close(fd);
}

static void
test_what_is_not_done_is_said(void **state)
{
	const char *log, *at;
	int lines = 0;

	(void)state;
	put_file("home/bob/.forward", "# mine\ncarol@example.org, \"|/bin/x\"\n");
	leads(HOME, "carol@example.org", true, "/home/bob/.forward line 2: \"/bin/x\" is not done, and a copy is kept: mail is not given to commands\n");
	put_file("home/bob/.forward", "/a\n/b\n/c\n/d\n/e\n/f\n/g\n/h\n/i\n/j\n/k\n/l\n/m\n");
	assert_true(look(HOME));
	log = logged();
	for (at = log; (at = strchr(at, '\n')); at++)
		lines++;
	assert_int_equal(lines, 11);
	assert_non_null(strstr(log, "there is more that is not done\n"));
}

static void
test_what_cannot_be_known_now_is_put_off(void **state)
{
	struct rlimit before, few;

	(void)state;
	put_file("home/bob/.forward", "carol@example.org");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){ 0, before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_false(look(HOME));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(failure.class, FAIL_TEMP);
	assert_true(list.kept);
	for (unsigned at = 1;; at++) {
		bool ok;

		countdown = at;
		ok = look(HOME);
		countdown = 0;
		if (ok)
			assert_true(!list.kept && span_eq(buf_span(&list.to), SPAN("carol@example.org")));
		else
			assert_int_equal(failure.class, FAIL_TEMP);
		forwardlist_free(&list);
		if (ok) {
			assert_true(at > 2);
			break;
		}
	}
	assert_string_equal(logged(), "");
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_a_file_may_say),
		cmocka_unit_test(test_an_extension_is_the_owner_too),
		cmocka_unit_test(test_an_owner_without_a_sound_address),
		cmocka_unit_test(test_no_more_addresses_than_may_be),
		cmocka_unit_test(test_the_longest_items_have_room),
		cmocka_unit_test(test_without_memory_no_list_is_shorter),
		T(test_the_first_path_counts),
		T(test_nothing_is_read_beside_the_base),
		T(test_a_folder_of_that_name_is_none),
		T(test_a_home_that_is_not_there_has_none),
		T(test_files_that_others_may_write_are_refused),
		T(test_files_of_others_are_refused),
		T(test_links_are_refused),
		T(test_what_is_no_regular_file_is_refused),
		T(test_a_file_that_its_owner_may_not_read_is_refused),
		T(test_large_and_binary_files_are_refused),
		T(test_what_is_not_done_is_said),
		T(test_what_cannot_be_known_now_is_put_off),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
