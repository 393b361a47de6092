/* SPDX-License-Identifier: ISC
 *
 * log_target_open: a file to add to and no more; the rest of the process is as before.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log/target.h"

static void
test_what_is_there_stays(void **state)
{
	char dir[] = "/tmp/test_target.XXXXXX", path[64], text[16] = "";
	struct fail why;
	int fd, other;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/log", dir);
	for (int i = 0; i < 2; i++) { /* made, and found */
		fd = log_target_open(path, &why);
		assert_true(fd >= 0);
		assert_int_equal(pwrite(fd, "line\n", 5, 0), 5);
		if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) >= 3) {
			errno = 0;
			assert_true(ftruncate(fd, 0) < 0 && errno == EACCES);
		}
		(void)close(fd);
	}
	assert_int_equal(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
	other = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(read(other, text, sizeof(text) - 1), 10);
	assert_string_equal(text, "line\nline\n");
	assert_int_equal(ftruncate(other, 0), 0);
	(void)close(other);
	(void)unlink(path);
	assert_int_equal(symlink("/dev/null", path), 0);
	assert_int_equal(log_target_open(path, &why), -1);
	assert_int_equal(why.err, ELOOP);
	(void)unlink(path);
	(void)rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_what_is_there_stays) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
