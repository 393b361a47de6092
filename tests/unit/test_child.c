/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/child.h"

#define SCRIPT "for i in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$i ] && printf '%s ' $i $(readlink /proc/$$/fd/$i) >&2; done"

/* The caller's descriptors 0 to closed-1 are closed, as a parent may leave them. */
static void
look(int closed)
{
	char path[] = "/tmp/test_child.XXXXXX", got[400] = "";
	int script = mkstemp(path), log[2], ctl[2], aside[2], status = -1;
	struct child_spec spec = { .program = "/bin/sh", .name = "sh", .label = path };
	struct fail why;
	pid_t pid;

	assert_int_equal(write(script, SCRIPT, strlen(SCRIPT)), strlen(SCRIPT));
	assert_int_equal(pipe2(log, O_CLOEXEC), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ctl), 0);
	spec.log = log[1];
	spec.ctl = ctl[0];
	for (int fd = 0; fd < closed; fd++) {
		aside[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 10);
		(void)close(fd);
	}
	pid = child_start(&spec, &why);
	for (int fd = 0; fd < closed; fd++) {
		(void)dup2(aside[fd], fd);
		(void)close(aside[fd]);
	}
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	assert_true(read(log[0], got, sizeof(got) - 1) > 0);
	if (strncmp(got, "0 /dev/null 1 /dev/null 2 pipe:", 31) != 0 || !strstr(got, "] 3 socket:") || strstr(got, "4 "))
		fail_msg("%d closed: %s", closed, got);
	(void)unlink(path);
	for (int i = 0; i < 2; i++)
		(void)close(log[i]), (void)close(ctl[i]);
	(void)close(script);
}

static void
test_a_child_has_four_descriptors(void **state)
{
	(void)state;
	for (int closed = 0; closed <= 2; closed++)
		look(closed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_child_has_four_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
