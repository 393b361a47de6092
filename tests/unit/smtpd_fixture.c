/* SPDX-License-Identifier: ISC */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mail/status.h"
#include "tests/unit/smtpd_fixture.h"

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

void
wire_queued(struct world *w)
{
	w->queued = wire(w, &ipc_channel_intake, &queued_ops);
}

/* The world. */

void
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

int
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
	wire_queued(w);
	open_door(w);
	*state = w;
	return 0;
}

int
set_up(void **state)
{
	return set_up_with(state, "myhostname = mail.example.test\nsmtpd_client_connection_count_limit = 0\nlistener smtp { }\n");
}

void *
client_thread(void *arg)
{
	struct world *w = arg;

	w->client(w);
	atomic_store(&w->done, true);
	return NULL;
}

void
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

int
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

int
dial(struct world *w)
{
	struct timeval limit = { .tv_sec = 60 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	assert_int_equal(connect(fd, &w->at.u.sa, w->at.len), 0);
	return fd;
}

bool
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

bool
at_end(int fd)
{
	char byte;

	return read(fd, &byte, 1) == 0;
}

void
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
