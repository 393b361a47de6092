/* SPDX-License-Identifier: ISC
 *
 * The sendmail program's client against a server made of a few lines.
 */
#include "mail_test.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tools/sendmail/sendmail.h"

static char dir[] = "/tmp/test_submit.XXXXXX", path[64], complaint[1000];
static struct conf conf;

int
complain(int status, const char *fmt, ...)
{
	va_list ap;
	size_t n = strlen(complaint);

	va_start(ap, fmt);
	vsnprintf(complaint + n, sizeof(complaint) - n, fmt, ap);
	va_end(ap);
	strncat(complaint, "\n", sizeof(complaint) - strlen(complaint) - 1);
	return status;
}

/* Takes `limit` recipients a transaction, none whose name begins with "bad", and hangs up at `hangup`. */
struct server {
	int fd;
	pthread_t thread;
	unsigned limit;
	const char *hangup, *content_reply;
	struct buf seen; /* all lines, content too */
};

static const char *
answer(struct server *s, const char *line, unsigned *taken)
{
	if (strncmp(line, "EHLO", 4) == 0)
		return "250-test\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-DSN\r\n250 SMTPUTF8\r\n";
	if (strncmp(line, "RCPT TO:<bad", 12) == 0)
		return "550 5.1.1 No such user here\r\n";
	if (strncmp(line, "RCPT TO:<slow", 13) == 0)
		return "450 4.2.0 later\r\n";
	if (strncmp(line, "RCPT", 4) == 0)
		return ++*taken > s->limit ? "452 4.5.3 Too many recipients\r\n" : "250 2.1.5 Ok\r\n";
	if (strncmp(line, "MAIL", 4) == 0)
		*taken = 0;
	if (strncmp(line, "DATA", 4) == 0)
		return "354 go on\r\n";
	return strncmp(line, "QUIT", 4) == 0 ? "221 2.0.0 Bye\r\n" : "250 2.0.0 Ok\r\n";
}

static void *
serve(void *arg)
{
	struct server *s = arg;
	int fd = accept(s->fd, NULL, NULL);
	FILE *f = fdopen(fd, "r+");
	char line[2000];
	bool data = false;
	unsigned taken = 0;

	dprintf(fd, "220 test\r\n");
	while (f && fgets(line, sizeof(line), f)) {
		const char *reply;

		buf_puts(&s->seen, line);
		if (s->hangup && strncmp(line, s->hangup, strlen(s->hangup)) == 0)
			break;
		if (data && strcmp(line, ".\r\n") != 0)
			continue;
		reply = data ? s->content_reply : answer(s, line, &taken);
		data = !data && strncmp(line, "DATA", 4) == 0;
		dprintf(fd, "%s", reply);
		if (strncmp(line, "QUIT", 4) == 0)
			break;
	}
	if (f)
		fclose(f);
	return NULL;
}

static struct server server;

static int
setup(void **state)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	(void)state;
	complaint[0] = '\0';
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/submit", dir);
	memcpy(sun.sun_path, path, strlen(path) + 1);
	conf.run_directory = span_str(dir);
	server = (struct server){ .limit = 1000, .content_reply = "250 2.6.0 queued\r\n" };
	buf_init(&server.seen, 1 << 20);
	server.fd = socket(AF_UNIX, SOCK_STREAM, 0);
	return bind(server.fd, (struct sockaddr *)&sun, sizeof(sun)) || listen(server.fd, 1);
}

static int
teardown(void **state)
{
	(void)state;
	close(server.fd);
	buf_free(&server.seen);
	unlink(path);
	return rmdir(dir);
}

static int
submit(const char *recipients, const char *content, const struct sendmail_options *o)
{
	struct arena arena;
	struct message m = { .nrecipients = 0 };
	struct fail why;
	int status;

	arena_init(&arena, 1 << 20);
	buf_init(&m.content, 10000);
	buf_puts(&m.content, content);
	m.eightbit = strchr(content, '\xc3') != NULL;
	assert_true(address_parse(&m.sender, SPAN("alice@a.test"), 0, NULL));
	assert_true(message_add_recipients(&m, span_str(recipients), SPAN("a.test"), &arena, &why));
	assert_int_equal(pthread_create(&server.thread, NULL, serve, &server), 0);
	status = o->mode == MODE_VERIFY ? submit_verify(o, &conf, &m) : submit_message(o, &conf, &m);
	pthread_join(server.thread, NULL);
	buf_free(&m.content);
	arena_free(&arena);
	return status;
}

static const struct sendmail_options plain = { .mode = MODE_SEND };

static void
sends_and_stuffs(void **state)
{
	struct sendmail_options o = { .notify = "never", .ret = "hdrs", .envid = "a b" };

	(void)state;
	assert_int_equal(submit("bob@b.test, carol", "A: b\r\n\r\n.dot \xc3\xbc\r\n", &o), EX_OK);
	assert_span(buf_span(&server.seen),
		    "EHLO localhost\r\nMAIL FROM:<alice@a.test> SIZE=17 BODY=8BITMIME RET=hdrs ENVID=a+20b\r\n"
		    "RCPT TO:<bob@b.test> NOTIFY=never\r\nRCPT TO:<carol@a.test> NOTIFY=never\r\nDATA\r\nA: b\r\n\r\n"
		    "..dot \xc3\xbc\r\n.\r\nQUIT\r\n");
	assert_string_equal(complaint, "");
}

static void
one_bad_recipient_does_not_stop_the_others(void **state)
{
	(void)state;
	assert_int_equal(submit("bob, bad, carol", "A: b\r\n\r\n", &plain), EX_NOUSER);
	assert_has(span_str(complaint), "bad@a.test: 550 5.1.1 No such user here\n");
	assert_has(buf_span(&server.seen), "DATA\r\nA: b\r\n\r\n.\r\n");
}

static void
only_bad_recipients_send_nothing(void **state)
{
	(void)state;
	assert_int_equal(submit("bad1, bad2", "A: b\r\n\r\n", &plain), EX_NOUSER);
	assert_has_not(buf_span(&server.seen), "DATA");
	assert_has(buf_span(&server.seen), "RSET\r\nQUIT");
}

static void
deferral_is_a_temporary_failure(void **state)
{
	(void)state;
	assert_int_equal(submit("slow", "A: b\r\n\r\n", &plain), EX_TEMPFAIL);
}

static void
more_recipients_than_a_transaction_takes(void **state)
{
	char list[2000] = "";
	struct span rest;
	unsigned data = 0, rcpt = 0, mail = 0;

	(void)state;
	for (int i = 0; i < 120; i++)
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "u%d,", i);
	server.limit = 70;
	assert_int_equal(submit(list, "A: b\r\n\r\n", &plain), EX_OK);
	assert_string_equal(complaint, "");
	rest = buf_span(&server.seen);
	while (rest.n) {
		struct span line = span_cut(&rest, '\n');

		data += span_starts(line, SPAN("DATA"));
		mail += span_starts(line, SPAN("MAIL"));
		rcpt += span_starts(line, SPAN("RCPT"));
	}
	assert_int_equal(data, 2);
	assert_int_equal(mail, 2);
	assert_int_equal(rcpt, 100 + 50); /* thirty asked for twice */
}

static void
refused_content(void **state)
{
	(void)state;
	server.content_reply = "550 5.6.0 Content refused\r\n";
	assert_int_equal(submit("bob", "A: b\r\n\r\n", &plain), EX_DATAERR);
	assert_has(span_str(complaint), "message: 550 5.6.0 Content refused");
}

static void
lost_connections_are_temporary(void **state)
{
	static const char *const points[] = { "EHLO", "MAIL", "RCPT", "DATA", "A: b" };

	(void)state;
	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		server.hangup = points[i];
		assert_int_equal(submit("bob", "A: b\r\n\r\n", &plain), EX_TEMPFAIL);
	}
}

static void
no_server(void **state)
{
	struct message m = { .nrecipients = 0 };

	(void)state;
	conf.run_directory = SPAN("/nonexistent");
	assert_int_equal(submit_message(&plain, &conf, &m), EX_TEMPFAIL);
	assert_has(span_str(complaint), "not to be reached");
}

static void
verifies(void **state)
{
	struct sendmail_options o = { .mode = MODE_VERIFY };

	(void)state;
	assert_int_equal(submit("bob, bad", "", &o), EX_NOUSER);
	assert_has_not(buf_span(&server.seen), "DATA");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(sends_and_stuffs),
		T(one_bad_recipient_does_not_stop_the_others),
		T(only_bad_recipients_send_nothing),
		T(deferral_is_a_temporary_failure),
		T(more_recipients_than_a_transaction_takes),
		T(refused_content),
		T(lost_connections_are_temporary),
		T(no_server),
		T(verifies),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
