/* SPDX-License-Identifier: ISC
 *
 * Two rules keep this file safe against owners that vanish: a callback is
 * either the last thing done or made through stream_call(), which notices; and what
 * an owner calls never calls back, it leaves a mark for the turn hook.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/stream_private.h"

enum {
	READ_FROM = 4096,      /* first size of a read; doubles while reads are filled */
	FINISH_MS = 30 * 1000, /* without progress after stream_finish() */
	FINISH_RATE = 512,     /* bytes a second that a peer must take then */
};

bool
stream_call(struct stream *s, void (*callback)(struct stream *))
{
	bool gone = false;
	bool *outer = s->gone;

	s->gone = &gone;
	callback(s);
	if (gone) {
		if (outer)
			*outer = true;
		return false;
	}
	s->gone = outer;
	return true;
}

struct fail *
stream_failure_of(struct stream *s)
{
	if (!s->failure)
		s->failure = calloc(1, sizeof(*s->failure));
	return s->failure;
}

const struct fail *
stream_failure(const struct stream *s)
{
	static const struct fail none = { .class = FAIL_TEMP, .text = "connection closed" };

	return s->failure ? s->failure : &none;
}

static void
release(struct stream *s)
{
	watch_stop(&s->watch);
	if (s->timer.loop)
		timer_stop(&s->timer);
	turn_cancel(&s->turn);
	tls_conn_free(&s->tls);
	free(s->tape);
	s->tape = NULL;
	buf_free(&s->in);
	buf_free(&s->out);
	s->state = S_NONE;
}

void
stream_close(struct stream *s)
{
	if (s->gone)
		*s->gone = true;
	s->gone = NULL;
	if (s->state) {
		int fd = s->watch.fd;

		release(s);
		(void)close(fd);
	}
	free(s->failure);
	s->failure = NULL;
}

void
stream_abandon(struct stream *s)
{
	const unsigned patience_ms = 1;

	if (s->state) /* not SO_LINGER, which no daemon has (sys/syscalls.def) */
		(void)setsockopt(s->watch.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof(patience_ms));
	stream_close(s);
}

/* Always the last thing done to s: the owner may free it. False, for callers
 * that return whether the stream lives. */
bool
stream_closed(struct stream *s, enum stream_why why)
{
	int fd = s->watch.fd;

	release(s);
	(void)close(fd);
	s->why = (uint8_t)why;
	if (s->gone)
		*s->gone = true;
	s->gone = NULL;
	s->events->on_closed(s, why);
	return false;
}

void
stream_doom(struct stream *s, enum stream_why why)
{
	if (!s->doom)
		s->doom = (uint8_t)why;
	turn_later(&s->turn, s->watch.loop);
}

static bool
may_read(const struct stream *s)
{
	if (s->state == S_SWITCHING || s->state == S_CONNECTING)
		return false;
	return !s->eof && !s->parked;
}

/* Tells the loop what the stream waits for. */
void
stream_await(struct stream *s, bool write)
{
	unsigned wants = (may_read(s) ? WATCH_READ : 0u) | (write ? WATCH_WRITE : 0u);

	if (!watch_want(&s->watch, wants))
		stream_doom(s, STREAM_LIMIT);
}

static void
unpark(struct stream *s)
{
	s->parked = false;
	stream_await(s, (s->watch.wants & WATCH_WRITE) != 0);
}

static void
prepare(struct stream *s, struct loop *loop, int fd, const struct stream_events *events,
        const struct stream_limits *limits)
{
	*s = (struct stream){ .events = events, .read_size = READ_FROM, .state = S_PLAIN };
	watch_init(&s->watch, loop, fd, stream_on_ready);
	timer_init(&s->timer, loop, stream_on_timer);
	turn_init(&s->turn, stream_on_turn);
	buf_init(&s->in, limits->in_cap);
	buf_init(&s->out, limits->out_cap);
}

bool
stream_open(struct stream *s, struct loop *loop, int fd, const struct stream_events *events,
            const struct stream_limits *limits)
{
	prepare(s, loop, fd, events, limits);
	if (watch_want(&s->watch, WATCH_READ))
		return true;
	release(s);
	return false;
}

static bool
connect_fd(int fd, const struct netaddr *to, const struct netaddr *from, struct fail *why)
{
	char text[NETADDR_TEXT];
	int one = 1;

	if (netaddr_family(to) != AF_UNIX)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (from && from->len && bind(fd, &from->u.sa, from->len) < 0)
		return fail_errno(why, 0, "binding to %.*s", SPAN_ARG(netaddr_text_port(from, text)));
	if (connect(fd, &to->u.sa, to->len) < 0 && errno != EINPROGRESS)
		return fail_errno(why, 0, "connecting to %.*s", SPAN_ARG(netaddr_text_port(to, text)));
	return true;
}

bool
stream_connect(struct stream *s, struct loop *loop, const struct netaddr *to, const struct netaddr *from,
               int64_t timeout_ms, const struct stream_events *events, const struct stream_limits *limits,
               struct fail *why)
{
	int fd = socket(netaddr_family(to), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct fail failed;

	*s = (struct stream){ .events = events };
	if (fd < 0)
		return fail_errno(why, 0, "making a socket");
	prepare(s, loop, fd, events, limits);
	s->state = S_CONNECTING;
	if (!connect_fd(fd, to, from, &failed)) {
		struct fail *keep = stream_failure_of(s);

		if (keep)
			*keep = failed;
		stream_doom(s, STREAM_CONNECT);
		return true;
	}
	stream_deadline(s, timeout_ms);
	stream_await(s, true);
	return true;
}

/* What owners call. */

void
stream_eat(struct stream *s, size_t n)
{
	buf_eat(&s->in, n);
	if (!s->state || s->paused)
		return;
	if (s->parked)
		unpark(s);
	if (s->tls && tls_pending(s->tls))
		stream_again(s);
}

void
stream_again(struct stream *s)
{
	if (!s->state)
		return;
	s->again = true;
	turn_later(&s->turn, s->watch.loop);
}

bool
stream_unread(struct stream *s, struct span data)
{
	struct buf all;

	buf_init(&all, s->in.cap);
	buf_put(&all, data);
	buf_put(&all, buf_span(&s->in));
	if (!buf_ok(&all)) {
		buf_free(&all);
		return false;
	}
	buf_free(&s->in);
	s->in = all;
	return true;
}

void
stream_pause(struct stream *s)
{
	s->paused = true;
}

void
stream_resume(struct stream *s)
{
	if (!s->paused || !s->state)
		return;
	s->paused = false;
	if (s->parked && buf_space(&s->in))
		unpark(s);
	if (buf_len(&s->in) || s->eof || (s->tls && tls_pending(s->tls)))
		stream_again(s);
}

struct buf *
stream_out(struct stream *s)
{
	if (s->state)
		turn_later(&s->turn, s->watch.loop);
	return &s->out;
}

void
stream_put(struct stream *s, struct span data)
{
	if (s->state)
		buf_put(stream_out(s), data);
}

void
stream_puts(struct stream *s, const char *text)
{
	stream_put(s, span_str(text));
}

void
stream_printf(struct stream *s, const char *fmt, ...)
{
	va_list ap;

	if (!s->state)
		return;
	va_start(ap, fmt);
	buf_vprintf(stream_out(s), fmt, ap);
	va_end(ap);
}

bool
stream_full(struct stream *s)
{
	if (buf_len(&s->out) < s->out.cap / 2)
		return false;
	s->wants_drain = true;
	return true;
}

void
stream_flush(struct stream *s)
{
	enum stream_why dead = stream_send(s);

	if (dead)
		stream_doom(s, dead);
	else if (buf_len(&s->out) || s->state == S_SWITCHING)
		turn_later(&s->turn, s->watch.loop);
}

void
stream_finish(struct stream *s)
{
	if (!s->state || s->finishing)
		return;
	s->finishing = true;
	s->paused = false;
	s->end_ms = loop_now_ms(s->watch.loop) + FINISH_MS + (int64_t)buf_len(&s->out) * 1000 / FINISH_RATE;
	stream_timeout(s, FINISH_MS);
	if (s->state == S_CONNECTING || s->state == S_HANDSHAKE)
		stream_doom(s, STREAM_FINISHED);
	turn_later(&s->turn, s->watch.loop);
}

void
stream_shutdown(struct stream *s)
{
	s->half_closing = true;
	if (s->state)
		turn_later(&s->turn, s->watch.loop);
}

void
stream_timeout(struct stream *s, int64_t ms)
{
	if (!s->state)
		return;
	s->idle_ms = ms;
	if (ms > 0)
		(void)timer_set(&s->timer, ms);
	else
		timer_stop(&s->timer);
}

void
stream_deadline(struct stream *s, int64_t ms)
{
	stream_timeout(s, ms);
	s->idle_ms = 0;
}

static bool
tls_start(struct stream *s, struct tls_conn *conn)
{
	if (!conn)
		return false;
	s->tls = conn;
	/* Law 10: nothing that came in plaintext is seen behind the switch. */
	buf_free(&s->in);
	s->paused = s->again = false;
	s->state = S_SWITCHING; /* what the loop is to wait for the flush at the end of this turn knows */
	turn_later(&s->turn, s->watch.loop);
	return true;
}

bool
stream_tls_accept(struct stream *s, struct tls_server *server, enum tls_ask ask, struct fail *why)
{
	if (s->state != S_PLAIN)
		return fail_set(why, FAIL_PERM, 0, "TLS is already on");
	s->serving = true;
	return tls_start(s, tls_accept_new(server, s->watch.fd, ask, why));
}

bool
stream_tls_connect(struct stream *s, struct tls_client *client, const struct tls_want *want, struct fail *why)
{
	if (s->state != S_PLAIN)
		return fail_set(why, FAIL_PERM, 0, "TLS is already on");
	return tls_start(s, tls_connect_new(client, s->watch.fd, want, why));
}

int
stream_take_fd(struct stream *s, struct buf *unread)
{
	int fd = s->watch.fd;

	if (s->state != S_PLAIN || buf_len(&s->out) || s->eof)
		return -1;
	if (buf_len(&s->in) > buf_space(unread))
		return -1;
	buf_put(unread, buf_span(&s->in));
	if (!buf_ok(unread))
		return -1;
	if (s->gone)
		*s->gone = true;
	s->gone = NULL;
	release(s);
	return fd;
}

enum box_level
stream_whose(struct stream *s, const struct netaddr *peer, bool sticky)
{
	struct box *b = *loop_box(s->watch.loop);
	enum box_level level;
	uint8_t bytes[16];

	if (!b || !netaddr_bytes(peer, bytes))
		return BOX_CLEAR;
	s->whose.name = box_name(bytes);
	level = box_level(b, s->whose.name);
	if (level == BOX_SUSPECT && !s->tape)
		s->tape = box_tape_new(b, sticky);
	return level;
}

bool
stream_peer(const struct stream *s, struct netaddr *out)
{
	struct sockaddr_storage from;
	socklen_t n = sizeof(from);

	return getpeername(s->watch.fd, (struct sockaddr *)&from, &n) == 0 && netaddr_of(&from, n, out);
}

bool
stream_local(const struct stream *s, struct netaddr *out)
{
	struct sockaddr_storage at;
	socklen_t n = sizeof(at);

	return getsockname(s->watch.fd, (struct sockaddr *)&at, &n) == 0 && netaddr_of(&at, n, out);
}
