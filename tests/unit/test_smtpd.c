/* SPDX-License-Identifier: ISC
 *
 * smtpd's rim on real sockets: the loop, doors and channels in this thread with
 * siblings that answer, the clients in another.  What is said in the dialogue is
 * the business of tests/dialog.
 *
 * With TEST_SMTPD_LOAD=N in the environment also N messages from 50 sessions, with
 * the processor time a message takes; with TEST_SMTPD_RECONNECT each on a connection of its own,
 * without pipelining, as smtp-source does it.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemons/smtpd/smtpd.h"
#include "mail/status.h"

enum { CLIENTS = 50, IDLE = 400 };

struct world {
	struct service service;
	struct arena arena;
	struct smtpd *smtpd;
	struct channel *routed, *queued; /* the siblings' ends */
	struct netaddr at;
	struct buf content;
	unsigned messages;
	unsigned opens, aborts;
	atomic_uint told;                /* recipients of the present message */
	bool held, refuses;              /* queued: was to hold it; says no to the next */
	atomic_uint senders;
	atomic_bool hush;                /* queued does not answer */
	atomic_bool done;
	void (*client)(struct world *w);
	char body[4096];                 /* what load_one() sends; not written while its threads run */
};

/* Siblings. */

static bool
on_rcpt_ask(struct channel *c, const struct ipc_rcpt_ask *m)
{
	bool unknown = span_starts(m->address, SPAN("nobody"));

	return ipc_send_rcpt_answer(c, &(struct ipc_rcpt_answer){ .id = m->id, .status = unknown ? STATUS_BAD_MAILBOX : STATUS_RECIPIENT_OK,
		.hold = span_starts(m->address, SPAN("hold")) });
}

static bool
on_intake_open(struct channel *c, const struct ipc_intake_open *m)
{
	struct world *w = channel_owner(c);

	buf_reset(&w->content);
	atomic_store(&w->told, 0);
	w->opens++;
	w->held = m->hold;
	if (!w->refuses)
		return true;
	w->refuses = false;
	return ipc_send_intake_refused(c, &(struct ipc_intake_refused){ .id = m->id, .status = STATUS_CONGESTION });
}

static bool
on_intake_rcpt(struct channel *c, const struct ipc_intake_rcpt *m)
{
	(void)m;
	atomic_fetch_add(&((struct world *)channel_owner(c))->told, 1);
	return true;
}

static bool
on_intake_data(struct channel *c, const struct ipc_intake_data *m)
{
	buf_put(&((struct world *)channel_owner(c))->content, m->bytes);
	return true;
}

static bool
on_intake_end(struct channel *c, const struct ipc_intake_end *m)
{
	struct world *w = channel_owner(c);

	w->messages++;
	return w->hush || ipc_send_intake_accepted(c, &(struct ipc_intake_accepted){ .id = m->id });
}

static bool
on_intake_abort(struct channel *c, const struct ipc_intake_abort *m)
{
	(void)m;
	((struct world *)channel_owner(c))->aborts++;
	return true;
}

#define DISPATCH_SIDE SERVER
#define DISPATCH_DEF "ipc/rcpt.def"
#include "ipc/dispatch.h"
#define DISPATCH_SIDE SERVER
static bool
on_intake_flush(struct channel *c, const struct ipc_intake_flush *m)
{
	return ipc_send_intake_flushed(c, &(struct ipc_intake_flushed){ .id = m->id });
}

#define DISPATCH_DEF "ipc/intake.def"
#include "ipc/dispatch.h"

static void
on_sibling_closed(struct channel *c, const struct fail *why)
{
	struct world *w = channel_owner(c);

	(void)why;
	if (w->routed == c)
		w->routed = NULL;
	if (w->queued == c)
		w->queued = NULL;
	channel_free(&c);
}

static const struct channel_ops routed_ops = { dispatch_rcpt, on_sibling_closed, NULL };
static const struct channel_ops queued_ops = { dispatch_intake, on_sibling_closed, NULL };

static struct channel *
wire(struct world *w, const struct ipc_channel *type, const struct channel_ops *ops)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	for (size_t i = 0; i < SMTPD_CHANNELS; i++)
		if (smtpd_channels[i].type == type)
			smtpd_channels[i].on_open(&w->service, channel_new(w->service.loop, pair[0], type, CHANNEL_CLIENT, smtpd_channels[i].ops, &w->service),
			    SPAN("test"), 0);
	return channel_new(w->service.loop, pair[1], type, CHANNEL_SERVER, ops, w);
}

/* The world. */

static void
open_door(struct world *w)
{
	struct fail why = { .text = "" };
	socklen_t len = sizeof(w->at.u);
	int fd;

	if (!w->at.len)
		assert_true(netaddr_parse(SPAN("127.0.0.1"), 0, &w->at));
	fd = listener_bind(&w->at, 1024, &why);
	assert_true(fd >= 0);
	assert_int_equal(getsockname(fd, &w->at.u.sa, &len), 0);
	smtpd_ops.on_listener(&w->service, &w->service.conf->listeners[0], fd);
}

static int
set_up_with(void **state, const char *conf)
{
	struct world *w = calloc(1, sizeof(*w));
	struct conf_errors errors = { .n = 0 };
	struct fail why = { .text = "" };
	const char *log = getenv("TEST_SMTPD_LOG");

	arena_init(&w->arena, CONF_ARENA_MAX);
	buf_init(&w->content, 1 << 24);
	w->service.loop = loop_new();
	w->service.name = "smtpd";
	w->service.conf = conf_parse(span_str(conf), &w->arena, &errors);
	assert_non_null(w->service.conf);
	log_open("smtpd", STDERR_FILENO, w->service.loop);
	log_set_level(log ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
	assert_true(smtpd_ops.on_boot(&w->service, &why));
	w->smtpd = w->service.state;
	w->routed = wire(w, &ipc_channel_rcpt, &routed_ops);
	w->queued = wire(w, &ipc_channel_intake, &queued_ops);
	open_door(w);
	*state = w;
	return 0;
}

static int
set_up(void **state)
{
	return set_up_with(state, "myhostname = mail.example.test\nsmtpd_client_connection_count_limit = 0\nlistener smtp { }\n");
}

static int
set_up_list(void **state)
{
	return set_up_with(state, "myhostname = mail.example.test\nsmtpd_client_connection_count_limit = 0\nsmtpd_recipient_limit = 2000\n"
	                          "listener smtp { }\n");
}

static int
set_up_limits(void **state)
{
	return set_up_with(state, "myhostname = mail.example.test\nmynetworks =\nsmtpd_client_connection_count_limit = 2\n"
	                          "smtpd_session_limit = 4\nlistener smtp { }\n");
}

static int
set_up_few(void **state)
{
	return set_up_with(state, "myhostname = mail.example.test\nsmtpd_client_connection_count_limit = 0\nsmtpd_session_limit = 2\nlistener smtp { }\n");
}

static int
set_up_hasty(void **state)
{
	return set_up_with(state, "myhostname = mail.example.test\nsmtpd_client_connection_count_limit = 0\nsmtpd_timeout = 1s\n"
	                          "smtpd_transaction_time_limit = 2s\nlistener smtp { }\n");
}

static void *
client_thread(void *arg)
{
	struct world *w = arg;

	w->client(w);
	atomic_store(&w->done, true);
	return NULL;
}

static void
run(struct world *w, void (*client)(struct world *))
{
	pthread_t thread;

	w->client = client;
	atomic_store(&w->done, false);
	assert_int_equal(pthread_create(&thread, NULL, client_thread, w), 0);
	while (!atomic_load(&w->done))
		(void)loop_turn(w->service.loop, 20);
	(void)pthread_join(thread, NULL);
	for (int i = 0; i < 100 && w->smtpd->nclients; i++)
		(void)loop_turn(w->service.loop, 20);
	assert_int_equal(w->smtpd->nclients, 0);
}

static int
tear_down(void **state)
{
	struct world *w = *state;

	smtpd_ops.on_stop(&w->service);
	for (int i = 0; i < 100 && w->smtpd->nclients; i++)
		(void)loop_turn(w->service.loop, 20);
	channel_free(&w->routed);
	channel_free(&w->queued);
	smtpd_free(&w->smtpd);
	loop_free(&w->service.loop);
	buf_free(&w->content);
	arena_free(&w->arena);
	free(w);
	return 0;
}

/* Clients: blocking sockets, in the other thread. */

static int
dial(struct world *w)
{
	struct timeval limit = { .tv_sec = 60 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	assert_int_equal(connect(fd, &w->at.u.sa, w->at.len), 0);
	return fd;
}

/* Sends text; reads until a line that begins with code and a blank has come. */
static bool
say(int fd, const char *text, const char *code)
{
	char in[8192];
	size_t n = 0, len = strlen(text);

	if (len && write(fd, text, len) != (ssize_t)len)
		return false;
	while (n < sizeof(in) - 1) {
		ssize_t got = read(fd, in + n, sizeof(in) - 1 - n);
		char *line = in, *end;

		if (got <= 0)
			return false;
		n += (size_t)got;
		in[n] = '\0';
		while ((end = strstr(line, "\r\n"))) {
			if (strncmp(line, code, strlen(code)) == 0 && line[strlen(code)] == ' ')
				return true;
			line = end + 2;
		}
	}
	return false;
}

static bool
at_end(int fd)
{
	char byte;

	return read(fd, &byte, 1) == 0;
}

static void
one_message(struct world *w)
{
	int fd = dial(w);

	assert_true(say(fd, "", "220"));
	assert_true(say(fd, "EHLO x.test\r\n", "250"));
	assert_true(say(fd, "MAIL FROM:<a@x.test>\r\nRCPT TO:<nobody@b.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n", "354"));
	assert_true(say(fd, "Subject: x\r\n\r\ntext\r\n.\r\n", "250"));
	assert_true(say(fd, "QUIT\r\n", "221"));
	assert_true(at_end(fd));
	(void)close(fd);
}

static void
test_one_message(void **state)
{
	struct world *w = *state;

	run(w, one_message);
	assert_int_equal(w->messages, 1);
	assert_true(span_starts(buf_span(&w->content), SPAN("Received: from x.test (localhost [127.0.0.1])\r\n")));
	assert_true(span_ends(buf_span(&w->content), SPAN("Subject: x\r\n\r\ntext\r\n")));
}

/* 1,500 recipients, the last of whom is `last`; begins: how the content is. */
static void
send_list(struct world *w, const char *last, const char *begins)
{
	enum { RECIPIENTS = 1500, GROUP = 50 };
	char group[GROUP * 40];
	int fd = dial(w);

	assert_true(say(fd, "", "220"));
	assert_true(say(fd, "EHLO x.test\r\n", "250"));
	assert_true(say(fd, "MAIL FROM:<a@x.test>\r\n", "250"));
	for (int i = 0; i < RECIPIENTS - 1;) {
		size_t n = 0;

		for (int k = 0; k < GROUP && i < RECIPIENTS - 1; k++)
			n += (size_t)snprintf(group + n, sizeof(group) - n, "RCPT TO:<member%d@b.test>\r\n", i++);
		(void)snprintf(group + n, sizeof(group) - n, "NOOP\r\n");
		assert_true(say(fd, group, "250 2.0.0"));
	}
	(void)snprintf(group, sizeof(group), "RCPT TO:<%s@b.test>\r\nRCPT TO:<nobody@b.test>\r\n", last);
	assert_true(say(fd, group, "550"));
	assert_true(atomic_load(&w->told) > 0);
	if (*begins == 'B') {
		assert_true(say(fd, "BDAT 18 LAST\r\nSubject: x\r\n\r\nabcd", "250 2.0.0"));
	} else {
		assert_true(say(fd, "DATA\r\n", "354"));
		assert_true(say(fd, "Subject: x\r\n\r\ntext\r\n.\r\n", "250 2.0.0"));
	}
	assert_int_equal(atomic_load(&w->told), RECIPIENTS);
	assert_true(say(fd, "QUIT\r\n", "221"));
	(void)close(fd);
}

static void
plain_list(struct world *w)
{
	send_list(w, "other", "DATA");
}

static void
chunked_list(struct world *w)
{
	send_list(w, "other", "BDAT");
}

static void
held_list(struct world *w)
{
	send_list(w, "hold", "DATA");
}

/* queued hears of a very long list while it comes; what it was told too early is taken back. */
static void
test_long_list(void **state)
{
	struct world *w = *state;

	run(w, plain_list);
	assert_int_equal(w->messages, 1);
	assert_int_equal(w->opens, 1);
	assert_int_equal(w->aborts, 0);
	run(w, chunked_list);
	assert_int_equal(w->messages, 2);
	assert_int_equal(w->opens, 2);
	run(w, held_list);
	assert_int_equal(w->messages, 3);
	assert_int_equal(w->opens, 4);
	assert_int_equal(w->aborts, 1);
	assert_true(w->held);
	w->refuses = true; /* it is asked again behind DATA */
	run(w, plain_list);
	assert_int_equal(w->messages, 4);
	assert_int_equal(w->opens, 6);
	assert_int_equal(w->aborts, 1);
}

static void
half_closed(struct world *w)
{
	int fd = dial(w);

	assert_true(say(fd, "", "220"));
	assert_true(say(fd, "EHLO x.test\r\n", "250"));
	assert_true(say(fd, "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n", "354"));
	assert_int_equal(write(fd, "Subject: x\r\n\r\ntext\r\n.\r\nQUIT\r\n", 30), 30);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_true(say(fd, "", "250"));
	(void)close(fd);
}

/* A client that sends all and closes its direction still gets its answer. */
static void
test_half_closed(void **state)
{
	struct world *w = *state;

	run(w, half_closed);
	assert_int_equal(w->messages, 1);
}

static void
queued_dies(struct world *w)
{
	int fd = dial(w);

	w->hush = true;
	assert_true(say(fd, "", "220"));
	assert_true(say(fd, "EHLO x.test\r\n", "250"));
	assert_true(say(fd, "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n", "354"));
	assert_true(say(fd, "Subject: x\r\n\r\ntext\r\n.\r\n", "451"));
	assert_true(say(fd, "QUIT\r\n", "221"));
	(void)close(fd);
}

struct killer {
	struct timer timer;
	struct world *world;
};

static void
die(struct timer *t)
{
	channel_free(&OWNER_OF(t, struct killer, timer)->world->queued);
}

static void
test_queued_dies(void **state)
{
	struct world *w = *state;
	struct killer t = { .world = w };

	timer_init(&t.timer, w->service.loop, die);
	(void)timer_set(&t.timer, 200);
	run(w, queued_dies);
	w->hush = false;
	w->queued = wire(w, &ipc_channel_intake, &queued_ops);
	run(w, one_message);
	assert_int_equal(w->messages, 2);
}

static void
three_at_once(struct world *w)
{
	int a = dial(w), b = dial(w), c;

	assert_true(say(a, "", "220"));
	assert_true(say(b, "", "220"));
	c = dial(w);
	assert_true(say(c, "", "421"));
	assert_true(at_end(c));
	(void)close(c);
	(void)close(a);
	assert_true(say(b, "QUIT\r\n", "221"));
	(void)close(b);
	one_message(w);
}

static void
test_limit_of_one_address(void **state)
{
	run(*state, three_at_once);
}

static void
two_and_one(struct world *w)
{
	int a = dial(w), b = dial(w), c;

	assert_true(say(a, "", "220"));
	assert_true(say(b, "", "220"));
	c = dial(w);
	assert_true(say(c, "", "421"));
	assert_true(at_end(c));
	(void)close(c);
	assert_true(say(b, "NOOP\r\n", "250"));
	assert_true(say(a, "QUIT\r\n", "221"));
	assert_true(at_end(a));
	(void)close(a);
	c = dial(w);
	assert_true(say(c, "", "220"));
	(void)close(c);
	(void)close(b);
}

/* Who comes when all sessions are taken is told so, and does not wait for the end of one. */
static void
test_limit_of_all(void **state)
{
	run(*state, two_and_one);
}

/* Each piece in time, all together not. */
static bool
drip(int fd, const char *piece, const char *code)
{
	char in[512];

	for (int i = 0; i < 100; i++) {
		ssize_t n;

		if (write(fd, piece, strlen(piece)) < 0)
			break;
		(void)usleep(300 * 1000);
		n = recv(fd, in, sizeof(in) - 1, MSG_DONTWAIT);
		if (n <= 0)
			continue;
		in[n] = '\0';
		if (strstr(in, code))
			return at_end(fd);
	}
	return false;
}

static void
slow_peers(struct world *w)
{
	static const char *const before[] = { "", "DATA\r\n" }, *const codes[] = { "250", "354" }, *const pieces[] = { "RCPT TO:<b@b.test>\r\n", "x" };

	for (int i = 0; i < 2; i++) {
		int fd = dial(w);

		assert_true(say(fd, "", "220"));
		assert_true(say(fd, "EHLO x.test\r\n", "250"));
		assert_true(say(fd, "MAIL FROM:<a@x.test>\r\n", "250"));
		assert_true(say(fd, "RCPT TO:<b@b.test>\r\n", "250"));
		assert_true(!*before[i] || say(fd, before[i], codes[i]));
		assert_true(drip(fd, pieces[i], "421"));
		(void)close(fd);
	}
	one_message(w);
}

static void
test_slow_peers(void **state)
{
	struct world *w = *state;

	run(w, slow_peers);
	assert_int_equal(w->messages, 1);
}

static void
idle_sessions(struct world *w)
{
	static int fds[IDLE];

	for (int i = 0; i < IDLE; i++) {
		fds[i] = dial(w);
		assert_true(say(fds[i], "", "220"));
		assert_true(say(fds[i], "EHLO x.test\r\n", "250"));
		assert_true(say(fds[i], "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n", "354"));
		assert_true(say(fds[i], "Subject: x\r\n\r\ntext\r\n.\r\n", "250"));
	}
	for (int i = 0; i < IDLE; i++)
		(void)close(fds[i]);
}

static size_t
resident(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long size = 0, pages = 0;

	if (f) {
		if (fscanf(f, "%lu %lu", &size, &pages) != 2)
			pages = 0;
		(void)fclose(f);
	}
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void
memory_client(struct world *w)
{
	size_t before = resident();
	size_t each;

	idle_sessions(w);
	each = (resident() - before) / IDLE;
	print_message("%zu bytes resident a session that has sent a message\n", each);
#ifndef SANITIZED
	assert_in_range(each, 0, 16384);
#endif
}

static void
test_memory(void **state)
{
	run(*state, memory_client);
}

static void
reloaded(struct world *w)
{
	int fd = dial(w);

	assert_true(say(fd, "", "220"));
	w->senders = 1; /* now the other thread reloads */
	while (w->senders)
		(void)usleep(1000);
	assert_true(say(fd, "EHLO x.test\r\n", "250"));
	(void)close(fd);
	fd = dial(w);
	assert_true(say(fd, "", "220"));
	(void)close(fd);
}

static void
test_reload(void **state)
{
	struct world *w = *state;
	pthread_t thread;

	w->client = reloaded;
	assert_int_equal(pthread_create(&thread, NULL, client_thread, w), 0);
	while (!atomic_load(&w->done)) {
		(void)loop_turn(w->service.loop, 5);
		if (w->senders) {
			smtpd_ops.on_reload(&w->service, w->service.conf);
			open_door(w);
			w->senders = 0;
		}
	}
	(void)pthread_join(thread, NULL);
}

static void *
load_one(void *arg)
{
	struct world *w = arg;
	bool again = getenv("TEST_SMTPD_RECONNECT") != NULL;
	int fd = -1;

	for (unsigned i = 0; i < w->senders; i++) {
		if (fd < 0) {
			fd = dial(w);
			assert_true(say(fd, "", "220"));
			assert_true(say(fd, "EHLO x.test\r\n", "250"));
		}
		if (again) {
			assert_true(say(fd, "MAIL FROM:<a@x.test>\r\n", "250"));
			assert_true(say(fd, "RCPT TO:<b@b.test>\r\n", "250"));
			assert_true(say(fd, "DATA\r\n", "354"));
		} else
			assert_true(say(fd, "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n", "354"));
		assert_true(say(fd, w->body, "250"));
		if (again || i + 1 == w->senders) {
			assert_true(say(fd, "QUIT\r\n", "221"));
			(void)close(fd);
			fd = -1;
		}
	}
	return NULL;
}

static void
load(struct world *w)
{
	pthread_t threads[CLIENTS];

	memset(w->body, 'x', sizeof(w->body) - 1);
	for (size_t i = 70; i + 2 < sizeof(w->body); i += 72)
		memcpy(w->body + i, "\r\n", 2);
	memcpy(w->body, "Subject: load\r\n\r\n", 17);
	memcpy(w->body + sizeof(w->body) - 6, "\r\n.\r\n", 6);
	for (int i = 0; i < CLIENTS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, load_one, w), 0);
	for (int i = 0; i < CLIENTS; i++)
		(void)pthread_join(threads[i], NULL);
}

static double
thread_seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
test_load(void **state)
{
	struct world *w = *state;
	const char *n = getenv("TEST_SMTPD_LOAD");
	double before = thread_seconds();

	w->senders = (unsigned)((n ? atoi(n) : 1000) / CLIENTS);
	run(w, load);
	print_message("%.1f us of processor a message, siblings' ends included\n", (thread_seconds() - before) * 1e6 / w->messages);
	assert_int_equal(w->messages, w->senders * CLIENTS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_message, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_long_list, set_up_list, tear_down),
		cmocka_unit_test_setup_teardown(test_half_closed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_queued_dies, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_limit_of_one_address, set_up_limits, tear_down),
		cmocka_unit_test_setup_teardown(test_limit_of_all, set_up_few, tear_down),
		cmocka_unit_test_setup_teardown(test_slow_peers, set_up_hasty, tear_down),
		cmocka_unit_test_setup_teardown(test_memory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_reload, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_load, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
