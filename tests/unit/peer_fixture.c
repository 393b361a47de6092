/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/unit/peer_fixture.h"

struct peer_session {
	struct list node;
	struct peer *peer;
	struct stream stream;
	bool data;
	unsigned rcpts;
};

struct loop *loop;

static void
say(struct peer_session *s, const char *text)
{
	if (*text) {
		stream_puts(&s->stream, text);
		stream_puts(&s->stream, "\r\n");
	} else {
		stream_finish(&s->stream);
	}
}

static void
peer_line(struct peer_session *s, struct span line)
{
	struct peer *p = s->peer;

	if (s->data) {
		buf_put(&p->content, line);
		buf_puts(&p->content, "\n");
		if (!span_eq(line, SPAN(".")))
			return;
		s->data = false;
		p->messages++;
		for (unsigned i = 0; i < (p->lmtp ? s->rcpts : 1u); i++)
			say(s, p->final ? p->final : "250 2.0.0 taken");
		return;
	}
	buf_put(&p->transcript, line);
	buf_puts(&p->transcript, "\n");
	if (span_casestarts(line, SPAN("STARTTLS")) && (p->tls || p->breaks_tls)) {
		say(s, "220 go");
		if (p->tls)
			assert_true(stream_tls_accept(&s->stream, p->tls, TLS_ASK_NOTHING, NULL));
		else
			say(s, ""); /* and hangs up */
	} else if (p->tls && !stream_is_tls(&s->stream) && span_casestarts(line, SPAN("EHLO"))) {
		say(s, "250-peer.test\r\n250 STARTTLS");
	} else if (span_casestarts(line, SPAN("EHLO")) || span_casestarts(line, SPAN("LHLO"))) {
		say(s, p->ehlo ? p->ehlo : "250-peer.test\r\n250-PIPELINING\r\n250-DSN\r\n250-8BITMIME\r\n250 SIZE 100000000");
	} else if (span_casestarts(line, SPAN("HELO"))) {
		say(s, "250 peer.test");
	} else if (span_casestarts(line, SPAN("MAIL"))) {
		s->rcpts = 0;
		say(s, p->mail ? p->mail : "250 ok");
	} else if (span_casestarts(line, SPAN("RCPT"))) {
		if (!p->rcpt)
			s->rcpts++;
		say(s, p->rcpt ? p->rcpt : "250 ok");
	} else if (span_caseeq(line, SPAN("DATA"))) {
		buf_reset(&p->content);
		s->data = !p->data && s->rcpts;
		say(s, p->data ? p->data : s->rcpts ? "354 go on" : "554 no valid recipients");
	} else if (span_caseeq(line, SPAN("RSET"))) {
		say(s, "250 ok");
	} else if (span_caseeq(line, SPAN("QUIT"))) {
		p->quits++;
		say(s, "221 bye");
		stream_finish(&s->stream);
	} else {
		say(s, "500 what");
	}
}

static void
peer_input(struct stream *stream)
{
	struct peer_session *s = OWNER_OF(stream, struct peer_session, stream);
	size_t end;

	while ((end = span_chr(stream_input(stream), '\n')) != SIZE_MAX) {
		char line[70000];
		struct span in = span_sub(stream_input(stream), 0, end);

		assert_true(end < sizeof(line) && end > 0 && in.p[end - 1] == '\r');
		memcpy(line, in.p, end);
		stream_eat(stream, end + 1);
		peer_line(s, span_of(line, end - 1));
	}
}

static void
peer_gone(struct stream *stream, enum stream_why why)
{
	struct peer_session *s = OWNER_OF(stream, struct peer_session, stream);

	(void)why;
	stream_close(&s->stream);
	list_remove(&s->node);
	free(s);
}

static void
peer_accept(struct listener *l, int fd, const struct netaddr *from)
{
	static const struct stream_events events = { .on_input = peer_input, .on_closed = peer_gone };
	static const struct stream_limits limits = { 1 << 20, 1 << 20 };
	struct peer *p = OWNER_OF(l, struct peer, listener);
	struct peer_session *s = calloc(1, sizeof(*s));

	(void)from;
	s->peer = p;
	p->connections++;
	assert_true(stream_open(&s->stream, loop, fd, &events, &limits));
	list_push(&p->sessions, &s->node);
	say(s, p->greeting ? p->greeting : "220 peer.test ready");
}

void
peer_listen(struct peer *p, int fd)
{
	socklen_t len = sizeof(p->address.u);

	*p = (struct peer){ .lmtp = false };
	list_init(&p->sessions);
	buf_init(&p->transcript, 1 << 20);
	buf_init(&p->content, 64 << 20);
	assert_int_equal(getsockname(fd, &p->address.u.sa, &len), 0);
	p->address.len = len;
	assert_true(listener_open(&p->listener, loop, fd, peer_accept));
}

void
peer_open(struct peer *p, const char *unix_path)
{
	struct netaddr at;
	struct fail why;
	int fd;

	assert_true(unix_path ? netaddr_unix(span_str(unix_path), &at) : netaddr_parse(SPAN("127.0.0.1"), 0, &at));
	fd = listener_bind(&at, 64, &why);
	assert_true(fd >= 0);
	peer_listen(p, fd);
}

void
peer_hang_up(struct peer *p)
{
	struct list *node;

	while ((node = list_shift(&p->sessions))) {
		struct peer_session *s = OWNER_OF(node, struct peer_session, node);

		stream_close(&s->stream);
		free(s);
	}
}

void
peer_close(struct peer *p)
{
	peer_hang_up(p);
	listener_close(&p->listener);
	buf_free(&p->transcript);
	buf_free(&p->content);
}

bool
peer_heard(const struct peer *p, const char *what)
{
	return span_find(buf_span(&p->transcript), span_str(what)) != SIZE_MAX;
}

const char *
hop_to(const struct peer *p)
{
	static char text[64];

	(void)snprintf(text, sizeof(text), "[127.0.0.1]:%u", netaddr_port(&p->address));
	return text;
}
