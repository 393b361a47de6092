/* SPDX-License-Identifier: ISC
 *
 * sandbox_verify: walls that stand pass, and each that is only said to stand is named.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/sandbox.h"
#include "sys/syscalls.h"

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

/* The kernel looks at the lower half of the option, whatever the upper half is. No descriptor: EBADF is what came through. */
static int
options(void)
{
	static const unsigned long upper[] = { 0, 1UL << 32, 0x5555555500000000, 0xffffffff00000000 };
	struct fail why;
	bool ok = syscalls_enforce(0, &why);

	for (unsigned long option = 0; option < 128; option++)
		for (size_t i = 0; i < sizeof(upper) / sizeof(upper[0]); i++)
			ok = ok && syscall(SYS_setsockopt, -1, SOL_SOCKET, upper[i] | option, NULL, 0) == -1 && errno == (option == SO_LINGER ? EPERM : EBADF);
	return !ok;
}

static void
test_any_socket_option_may_be_set_but_the_one_that_has_others_wait(void **state)
{
	(void)state;
	apart(options);
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
		cmocka_unit_test(test_any_socket_option_may_be_set_but_the_one_that_has_others_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
