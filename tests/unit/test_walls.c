/* SPDX-License-Identifier: ISC
 *
 * sandbox_verify: walls that stand pass, and each that is only said to stand is named.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/sandbox.h"

/* In a process of its own: what it is for good, no other test shall be. */
static void
apart(int (*act)(void))
{
	int status = 1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(act());
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	assert_int_equal(status, 0);
}

static bool
says(const struct sandbox *s, const struct sandbox_report *report, const char *word)
{
	struct fail why = { .text = "" };

	return !sandbox_verify(s, report, &why) && strstr(why.text, word);
}

static int
raised(void)
{
	const struct sandbox walls = { .files = 64 };
	struct sandbox_report report;
	struct fail why;

	return !sandbox_enter(&walls, &report, &why) || !sandbox_verify(&walls, &report, &why);
}

static int
said(void)
{
	const struct sandbox walls = { .files = 64 };
	struct sandbox_report none = { 0 }, files = { .file_walls = true }, net = { .net_walls = true };
	bool ok = says(&walls, &none, "no_new_privs") && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;

	ok = ok && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0 && says(&walls, &none, "not dumpable") && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
	ok = ok && setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 }) == 0 && says(&walls, &none, "files");
	ok = ok && setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 64, 64 }) == 0 && sandbox_verify(&walls, &none, &(struct fail){ .text = "" });
	return !(ok && says(&walls, &files, "file walls") && says(&walls, &net, "network walls") && !sandbox_verify_calls(&(struct fail){ .text = "" }));
}

static void
test_walls_that_stand_are_found_to(void **state)
{
	(void)state;
	apart(raised);
}

static void
test_each_wall_that_is_only_said_to_stand_is_named(void **state)
{
	(void)state;
	apart(said);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_walls_that_stand_are_found_to),
		cmocka_unit_test(test_each_wall_that_is_only_said_to_stand_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
