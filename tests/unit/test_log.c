/* SPDX-License-Identifier: ISC
 *
 * log_put: what the log does not take is not missed without a word.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log/log.h"

static const char mark[] = "failure the log took no more for a time: lines are missing before this one";

/* The next line that syslog is sent; "" when none is there. */
static const char *
next_line(int fd)
{
	static char line[4096];
	ssize_t n = recv(fd, line, sizeof(line) - 1, MSG_DONTWAIT);

	line[n > 0 ? n : 0] = '\0';
	return line;
}

static void
test_syslog_that_is_behind(void **state)
{
	unsigned sent = 0, got = 0;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	log_open("test", pair[0], NULL);
	for (; sent < 10000; sent++)
		log_put(LOG_start, "line %u", sent);
	for (const char *line; *(line = next_line(pair[1])); got++)
		assert_null(strstr(line, mark));
	assert_in_range(got, 1, sent - 1);
	log_put(LOG_start, "after");
	log_put(LOG_start, "later");
	assert_non_null(strstr(next_line(pair[1]), mark));
	assert_non_null(strstr(next_line(pair[1]), ": start after"));
	assert_non_null(strstr(next_line(pair[1]), ": start later"));
	(void)close(pair[0]);
	(void)close(pair[1]);
}

static void
test_file_that_finds_no_room(void **state)
{
	struct rlimit all, few;
	FILE *file = tmpfile();
	char text[4096] = "", *at;

	(void)state;
	assert_non_null(file);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &all), 0);
	few = (struct rlimit){ .rlim_cur = 200, .rlim_max = all.rlim_max };
	(void)signal(SIGXFSZ, SIG_IGN);
	log_open("test", fileno(file), NULL);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &few), 0);
	for (unsigned i = 0; i < 10; i++)
		log_put(LOG_start, "line %u", i);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
	log_put(LOG_start, "after");
	assert_true(pread(fileno(file), text, sizeof(text) - 1, 0) > 200);
	assert_null(strstr(text, "line 9"));
	at = strstr(text, mark);
	assert_true(at && at >= text + 200);
	assert_non_null(strstr(at, ": start after\n"));
	log_open("test", STDERR_FILENO, NULL);
	(void)fclose(file);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_syslog_that_is_behind),
		cmocka_unit_test(test_file_that_finds_no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
