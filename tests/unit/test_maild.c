/* SPDX-License-Identifier: ISC
 *
 * What maild does, and what it refuses, for suited and for userd.  Nothing
 * is started: the programs are not there, or may not be.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemons/maild/maild.h"
#include "ipc/channel_sync.h"

static struct maild m;
static char dir[] = "/tmp/test_maild.XXXXXX";

static struct channel_sync *
client(bool all)
{
	struct channel *c;
	struct fail why;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	assert_true(root_serve(&m, fds[1], all, &c));
	return channel_sync_new(fds[0], &ipc_channel_root, CHANNEL_CLIENT, &why);
}

/* The type of the answer, -1 when the channel was closed; its words and descriptor go to the caller. */
static int
answer(struct channel_sync *c, unsigned type, const void *message, int fd, char text[256], int *given)
{
	const void *got;
	unsigned kind;
	struct fail why;

	*given = -1;
	text[0] = '\0';
	assert_true(channel_sync_send(c, type, message, fd, 1000, &why));
	for (int i = 0; i < 5; i++)
		(void)loop_turn(m.loop, 0);
	if (!channel_sync_recv(c, &kind, &got, given, 100, &why))
		return -1;
	if (kind == IPC_root_done)
		(void)span_cstr(((const struct ipc_root_done *)got)->why, text, 256);
	if (kind == IPC_root_ended) {
		assert_int_equal(((const struct ipc_root_ended *)got)->pid, 0);
		(void)span_cstr(((const struct ipc_root_ended *)got)->why, text, 256);
	}
	return (int)kind;
}

static void
refused(bool all, const char *program, uint32_t uid, uint32_t gid, const char *why)
{
	struct ipc_root_spawn q = { .id = 1, .program = span_str(program), .label = SPAN("x"), .uid = uid, .gid = gid };
	struct channel_sync *c = client(all);
	char text[256];
	int given;

	assert_int_equal(answer(c, IPC_root_spawn, &q, open("/dev/null", O_RDONLY | O_CLOEXEC), text, &given), IPC_root_ended);
	if (!strstr(text, why))
		fail_msg("%s for %u:%u: \"%s\"", program, uid, gid, text);
	channel_sync_free(&c);
	(void)loop_turn(m.loop, 0);
}

static void
test_programs_belong_to_who_may_ask(void **state)
{
	(void)state;
	refused(false, "queued", 0, 0, "no such program");
	refused(false, "suited", 0, 0, "no such program");
	refused(true, "suited", 0, 0, "no such program");
	refused(true, "mailboxd", 1234, 1234, "no such program");
	refused(true, "../../bin/sh", 0, 0, "no such program");
	refused(false, "", 0, 0, "no such program");
}

static void
test_nothing_runs_as_root_or_as_a_daemon(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ROWS; i++)
		m.ids[i] = (struct priv_identity){ .uid = 900 + i, .gid = 900 + i };
	refused(false, "mailboxd", 900 + ROW_queued, 1234, "may not belong to queued");
	refused(false, "deliverd", 1234, 900 + ROW_authd, "may not belong to authd");
	refused(false, "mailboxd", 1234, 0, "may not run as root");
	m.ids[ROW_mailboxd].uid = 0;
	refused(false, "mailboxd", 0, 0, "may not run as root");
	m.ids[ROW_smtpd].gid = 0;
	refused(true, "smtpd", 0, 0, "may not run as root");
}

static void
test_a_missing_program_is_an_answer(void **state)
{
	(void)state;
	m.ids[ROW_dnsd] = (struct priv_identity){ .uid = 1, .gid = 1 };
	refused(true, "dnsd", 0, 0, "No such file");
}

static void
test_userd_may_ask_for_nothing_else(void **state)
{
	char text[256];
	int given;

	(void)state;
#define CLOSES(type, ...)                                                                                           \
	do {                                                                                                        \
		struct channel_sync *c = client(false);                                                             \
		assert_int_equal(answer(c, IPC_root_##type, &(struct ipc_root_##type){ __VA_ARGS__ }, -1, text, &given), -1); \
		channel_sync_free(&c);                                                                              \
	} while (0)
	CLOSES(open, .path = SPAN("/etc/hostname"));
	CLOSES(open, .path = SPAN("/tmp/x"), .log = true);
	CLOSES(listen, .path = SPAN("/tmp/x"));
	CLOSES(directory, .path = SPAN("/tmp/x"), .user = SPAN("root"));
	CLOSES(settle, .prefix = SPAN("pp-"), .mail = SPAN("root"));
	CLOSES(lock, .path = SPAN("/tmp"));
	CLOSES(serving, .processes = 1);
#undef CLOSES
}

static void
test_suited_gets_files_sockets_and_directories(void **state)
{
	struct channel_sync *c = client(true);
	char text[256], path[128];
	struct stat st;
	int given;

	(void)state;
	m.unprivileged = true;
	assert_int_equal(answer(c, IPC_root_open, &(struct ipc_root_open){ .path = SPAN("/etc/passwd") }, -1, text, &given), IPC_root_given);
	assert_int_equal(fcntl(given, F_GETFL) & O_ACCMODE, O_RDONLY);
	(void)close(given);
	assert_int_equal(answer(c, IPC_root_open, &(struct ipc_root_open){ .path = SPAN("/nonexistent") }, -1, text, &given), IPC_root_done);
	assert_non_null(strstr(text, "No such file"));
	(void)snprintf(path, sizeof(path), "%s/a/b", dir);
	assert_int_equal(answer(c, IPC_root_directory, &(struct ipc_root_directory){ .path = span_str(path), .user = SPAN("queued"), .mode = 0700 }, -1, text, &given), IPC_root_done);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	(void)snprintf(path, sizeof(path), "%s/a/control", dir);
	assert_int_equal(answer(c, IPC_root_listen, &(struct ipc_root_listen){ .path = span_str(path) }, -1, text, &given), IPC_root_given);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	(void)close(given);
	m.locked = true; /* from now on directories are looked at, not made or changed */
	assert_int_equal(chmod(dir, 0710), 0);
	assert_int_equal(answer(c, IPC_root_directory, &(struct ipc_root_directory){ .path = span_str(dir), .user = SPAN("root"), .mode = 0755 }, -1, text, &given), IPC_root_done);
	assert_string_equal(text, "");
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0710);
	(void)snprintf(path, sizeof(path), "%s/later", dir);
	assert_int_equal(answer(c, IPC_root_directory, &(struct ipc_root_directory){ .path = span_str(path), .user = SPAN("root"), .mode = 0755 }, -1, text, &given), IPC_root_done);
	assert_non_null(strstr(text, "needs stop and start"));
	assert_int_equal(stat(path, &st), -1);
	m.locked = m.unprivileged = false;
	channel_sync_free(&c);
}

/* Mode 0711 is what the directory of mailboxes has: others pass through it. */
static void
settle_base(struct channel_sync *c, const char *path, mode_t before, uid_t owner, mode_t after)
{
	const struct ipc_root_directory base = { .path = span_str(path), .user = SPAN("mailboxd"), .mode = 0711 };
	char text[256];
	struct stat st;
	int given;

	if (before)
		assert_int_equal(mkdir(path, before), 0);
	assert_int_equal(answer(c, IPC_root_directory, &base, -1, text, &given), IPC_root_done);
	assert_string_equal(text, "");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, owner);
	assert_int_equal(st.st_mode & 07777, after);
	assert_int_equal(rmdir(path), 0);
}

static void
test_a_directory_that_root_has_for_others_stays_roots(void **state)
{
	const uid_t mail = 1234;
	struct channel_sync *c;
	char path[128];

	(void)state;
	if (geteuid() != 0)
		skip();
	c = client(true);
	m.ids[ROW_mailboxd] = (struct priv_identity){ .uid = mail, .gid = mail };
	(void)snprintf(path, sizeof(path), "%s/home", dir);
	settle_base(c, path, 0755, 0, 0755);
	settle_base(c, path, 0, mail, 0711);
	settle_base(c, path, 0700, mail, 0711); /* made, and not given away any more */
	m.ids[ROW_mailboxd] = (struct priv_identity){ 0 };
	channel_sync_free(&c);
}

static void
test_no_file_but_the_first_log_is_written_or_removed(void **state)
{
	struct channel_sync *c = client(true);
	char text[256], log[128], other[128];
	struct stat first, again;
	int given;

	(void)state;
	(void)snprintf(log, sizeof(log), "%s/log", dir);
	(void)snprintf(other, sizeof(other), "%s/other", dir);
	assert_int_equal(answer(c, IPC_root_open, &(struct ipc_root_open){ .path = span_str(log), .log = true }, -1, text, &given), IPC_root_given);
	assert_int_equal(fstat(given, &first), 0);
	(void)close(given);
	m.locked = true;
	assert_int_equal(answer(c, IPC_root_open, &(struct ipc_root_open){ .path = span_str(other), .log = true }, -1, text, &given), IPC_root_given);
	assert_int_equal(fstat(given, &again), 0);
	assert_int_equal(first.st_ino, again.st_ino);
	(void)close(given);
	assert_int_equal(stat(other, &again), -1);
	assert_int_equal(answer(c, IPC_root_listen, &(struct ipc_root_listen){ .path = span_str(log) }, -1, text, &given), IPC_root_done);
	assert_int_equal(stat(log, &again), 0);
	assert_int_equal(first.st_ino, again.st_ino);
	m.locked = false;
	channel_sync_free(&c);
}

static int
setup(void **state)
{
	(void)state;
	m = (struct maild){ .log = -1, .ready_pipe = -1, .loop = loop_new() };
	(void)snprintf(m.programs, sizeof(m.programs), "%s", dir);
	list_init(&m.wards);
	return m.loop && mkdtemp(dir) ? 0 : -1;
}

static int
teardown(void **state)
{
	char command[128];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_programs_belong_to_who_may_ask),
		cmocka_unit_test(test_a_missing_program_is_an_answer),
		cmocka_unit_test(test_nothing_runs_as_root_or_as_a_daemon),
		cmocka_unit_test(test_userd_may_ask_for_nothing_else),
		cmocka_unit_test(test_suited_gets_files_sockets_and_directories),
		cmocka_unit_test(test_a_directory_that_root_has_for_others_stays_roots),
		cmocka_unit_test(test_no_file_but_the_first_log_is_written_or_removed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
