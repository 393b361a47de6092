/* SPDX-License-Identifier: ISC
 *
 * What a stream does when its socket, its timer or the end of the turn calls.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/stream_private.h"

enum {
	READ_MAX = 65536,
	LINGER_MS = 2 * 1000, /* for unread input of a finished stream to end */
};

static bool
broken(struct stream *s, enum stream_why why, const char *doing)
{
	(void)fail_errno(stream_failure_of(s), 0, "%s", doing);
	return stream_closed(s, why);
}

static void
moved(struct stream *s)
{
	int64_t ms = s->idle_ms, left = s->end_ms - loop_now_ms(s->watch.loop);

	if (ms)
		(void)timer_set(&s->timer, s->end_ms && left < ms ? left : ms);
}

static bool
connected(struct stream *s)
{
	int err = 0;
	socklen_t n = sizeof(err);

	if (getsockopt(s->watch.fd, SOL_SOCKET, SO_ERROR, &err, &n) < 0)
		err = errno;
	if (err) {
		errno = err;
		return broken(s, STREAM_CONNECT, "connecting");
	}
	s->state = S_PLAIN;
	timer_stop(&s->timer);
	stream_await(s, false);
	if (s->events->on_connected && !stream_call(s, s->events->on_connected))
		return false;
	return true;
}

/* Offers input, then the end of input. */
static bool
offer(struct stream *s)
{
	s->again = false;
	if (s->paused || s->finishing || (s->state != S_PLAIN && s->state != S_TLS))
		return true;
	if (buf_len(&s->in) && !stream_call(s, s->events->on_input))
		return false;
	if (buf_len(&s->in) == 0)
		buf_free(&s->in);
	if (s->tls && !s->eof && tls_pending(s->tls) && buf_space(&s->in) && !s->paused)
		stream_again(s); /* the system will not say that these are there */
	if (!s->eof || s->eof_told || s->paused || s->finishing || s->again)
		return true;
	s->eof_told = true;
	if (!s->events->on_eof)
		return stream_closed(s, STREAM_EOF);
	return stream_call(s, s->events->on_eof);
}

static bool
read_plain(struct stream *s, char *to, size_t n)
{
	ssize_t got = read(s->watch.fd, to, n);

	if (got > 0) {
		buf_added(&s->in, (size_t)got);
		if (s->tape)
			box_tape_note(s->tape, span_of(to, (size_t)got));
		if ((size_t)got == n && s->read_size < READ_MAX)
			s->read_size *= 2;
		moved(s);
		return true;
	}
	if (got == 0) {
		s->eof = true;
		return true;
	}
	if (errno == EAGAIN || errno == EINTR)
		return true;
	return broken(s, STREAM_RESET, "reading");
}

static bool
read_tls(struct stream *s, char *to, size_t n)
{
	size_t got = 0;
	struct fail why;

	switch (tls_read(s->tls, to, n, &got, &why)) {
	case TLS_IO_DONE:
		buf_added(&s->in, got);
		if (s->tape)
			box_tape_note(s->tape, span_of(to, got));
		if (got == n && s->read_size < READ_MAX)
			s->read_size *= 2;
		moved(s);
		return true;
	case TLS_IO_END:
		s->eof = true;
		return true;
	case TLS_IO_READ:
		return true;
	case TLS_IO_WRITE:
		s->crossed = true;
		return true;
	case TLS_IO_SIGN: /* in handshakes alone */
	case TLS_IO_FAIL:
		break;
	}
	if (stream_failure_of(s))
		*s->failure = why;
	return stream_closed(s, STREAM_TLS);
}

static bool
take_input(struct stream *s)
{
	size_t space = buf_space(&s->in);
	size_t n = s->read_size < space ? s->read_size : space;
	char *to;

	if (s->eof)
		return true;
	if (s->paused || n == 0) { /* paused sessions pay for this only if the peer goes on sending */
		s->parked = true;
		stream_await(s, (s->watch.wants & WATCH_WRITE) != 0);
		return true;
	}
	to = buf_room(&s->in, n);
	if (!to) {
		(void)fail_set(stream_failure_of(s), FAIL_LIMIT, 0, "out of memory");
		return stream_closed(s, STREAM_LIMIT);
	}
	if (!(s->tls ? read_tls(s, to, n) : read_plain(s, to, n)))
		return false;
	if (s->eof || s->crossed)
		stream_await(s, s->crossed || (s->watch.wants & WATCH_WRITE) != 0);
	if (buf_len(&s->in) == 0)
		buf_free(&s->in);
	return offer(s);
}

/* Reads and forgets what a finished peer still sends, so that closing does
 * not answer it with a reset that destroys our last words. */
static bool
linger(struct stream *s)
{
	char sink[4096];
	ssize_t got = read(s->watch.fd, sink, sizeof(sink));

	if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
		return true;
	return stream_closed(s, STREAM_FINISHED);
}

/* Closing would then be a reset, and the system forgets what it has not sent yet, our last words first. */
static bool
has_unread(const struct stream *s)
{
	char c;

	return buf_len(&s->in) > 0 || s->parked || recv(s->watch.fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static bool
finished(struct stream *s)
{
	if (s->tls && tls_bye(s->tls) == TLS_IO_WRITE) {
		stream_await(s, true);
		return true;
	}
	if (s->eof || !has_unread(s))
		return stream_closed(s, STREAM_FINISHED); /* with it leaves what was held back: one segment */
	(void)shutdown(s->watch.fd, SHUT_WR);
	s->lingering = true;
	s->parked = false;
	buf_free(&s->in);
	stream_deadline(s, LINGER_MS);
	stream_await(s, false);
	return true;
}

static bool
handshake(struct stream *s)
{
	struct fail why;
	struct tls_facts facts;

	s->signing = false;
	switch (tls_handshake(s->tls, &why)) {
	case TLS_IO_DONE:
		break;
	case TLS_IO_READ:
		stream_await(s, false);
		return true;
	case TLS_IO_WRITE:
		stream_await(s, true);
		return true;
	case TLS_IO_SIGN:
		s->signing = true;
		stream_await(s, false);
		return true;
	default:
		s->tls_problem = (uint8_t)tls_conn_problem(s->tls);
		if (stream_failure_of(s))
			*s->failure = why;
		return stream_closed(s, STREAM_TLS);
	}
	s->state = S_TLS;
	moved(s);
	stream_await(s, false);
	if (s->events->on_tls) {
		bool gone = false;
		bool *outer = s->gone;

		tls_conn_facts(s->tls, &facts);
		s->gone = &gone;
		s->events->on_tls(s, &facts);
		if (gone) {
			if (outer)
				*outer = true;
			return false;
		}
		s->gone = outer;
	}
	stream_again(s); /* input may have come with the last flight */
	return true;
}

static void
on_signed(void *arg)
{
	stream_again(arg);
}

static bool
begin_handshake(struct stream *s)
{
	s->state = S_HANDSHAKE;
	tls_conn_on_ready(s->tls, on_signed, s);
	s->parked = false;
	if (!s->serving)
		return handshake(s);
	stream_await(s, false); /* the first word is the client's */
	return true;
}

/* True while there may be more to send right now. */
static bool
send_plain(struct stream *s, enum stream_why *dead)
{
	ssize_t n = send(s->watch.fd, buf_span(&s->out).p, buf_len(&s->out), MSG_NOSIGNAL | (s->finishing ? MSG_MORE : 0));

	if (n >= 0) {
		bool all = (size_t)n == buf_len(&s->out);

		buf_eat(&s->out, (size_t)n);
		moved(s);
		return !all;
	}
	if (errno == EINTR)
		return true;
	if (errno != EAGAIN) {
		(void)fail_errno(stream_failure_of(s), 0, "writing");
		*dead = STREAM_RESET;
	}
	return false;
}

static bool
send_tls(struct stream *s, enum stream_why *dead)
{
	size_t taken = 0;
	struct fail why;

	switch (tls_write(s->tls, buf_span(&s->out), &taken, &why)) {
	case TLS_IO_DONE:
		buf_eat(&s->out, taken);
		moved(s);
		return true;
	case TLS_IO_READ:
	case TLS_IO_WRITE:
		return false;
	default:
		if (stream_failure_of(s))
			*s->failure = why;
		*dead = STREAM_TLS;
		return false;
	}
}

/* Sends what the socket takes; STREAM_OPEN or what killed it. */
enum stream_why
stream_send(struct stream *s)
{
	enum stream_why dead = STREAM_OPEN;

	if (s->state != S_PLAIN && s->state != S_SWITCHING && s->state != S_TLS)
		return STREAM_OPEN;
	if (s->finishing && s->tls)
		tls_hold(s->tls);
	while (buf_len(&s->out) && (s->tls && s->state == S_TLS ? send_tls(s, &dead) : send_plain(s, &dead)))
		;
	if (buf_len(&s->out) == 0 && s->out.size)
		buf_free(&s->out);
	return dead;
}

static bool
flush(struct stream *s)
{
	enum stream_why dead = stream_send(s);
	size_t unsent = buf_len(&s->out);

	if (dead)
		return stream_closed(s, dead);
	if (s->state == S_CONNECTING || s->state == S_HANDSHAKE)
		return true;
	if (unsent == 0 && s->state == S_SWITCHING)
		return begin_handshake(s);
	if (unsent == 0 && s->finishing)
		return finished(s);
	if (unsent == 0 && s->half_closing && !s->half_closed) {
		s->half_closed = true;
		if (s->tls)
			(void)tls_bye(s->tls);
		else
			(void)shutdown(s->watch.fd, SHUT_WR);
	}
	stream_await(s, unsent > 0 || s->crossed);
	if (s->wants_drain && unsent <= s->out.cap / 4 && !s->finishing) {
		s->wants_drain = false;
		if (s->events->on_drain)
			return stream_call(s, s->events->on_drain);
	}
	return true;
}

static void
work_on_ready(struct stream *s, unsigned ready)
{
	bool crossed = s->crossed;

	if (s->state == S_CONNECTING) {
		(void)connected(s);
		return;
	}
	if (s->state == S_HANDSHAKE) {
		if (s->signing) /* what the peer says meanwhile, as few do, has time */
			watch_stop(&s->watch);
		else
			(void)handshake(s);
		return;
	}
	if (s->lingering) {
		(void)linger(s);
		return;
	}
	/* Reading comes first: a peer that has broken off may have said why, and writing fails. */
	if (ready & WATCH_READ && !crossed && !take_input(s))
		return;
	if (crossed)
		s->crossed = false;
	if ((ready & WATCH_WRITE || crossed) && !flush(s))
		return;
	if (crossed)
		(void)take_input(s);
}

static void
work_on_turn(struct stream *s)
{
	if (s->again && s->state == S_HANDSHAKE && !s->doom) {
		s->again = false;
		if (!handshake(s) || s->state != S_TLS)
			return;
	}
	if (s->again) {
		bool more = s->state == S_TLS && !s->eof && tls_pending(s->tls) && !s->paused && !s->finishing && buf_space(&s->in);

		s->again = false;
		if (!(more ? take_input(s) : offer(s)))
			return;
	}
	if (!buf_ok(&s->out) && !s->doom) {
		(void)fail_set(stream_failure_of(s), FAIL_LIMIT, 0, "more output than the connection may buffer");
		s->doom = STREAM_LIMIT;
	}
	if (s->doom) {
		(void)stream_closed(s, (enum stream_why)s->doom);
		return;
	}
	if (!s->again)
		turn_cancel(&s->turn); /* what the owner put just now leaves with this flush */
	(void)flush(s);
}

static void
work_on_timer(struct stream *s)
{
	if (s->lingering) {
		(void)stream_closed(s, STREAM_FINISHED);
		return;
	}
	(void)fail_set(stream_failure_of(s), FAIL_TEMP, 0, "timed out");
	if (s->state == S_CONNECTING)
		(void)stream_closed(s, STREAM_CONNECT);
	else if (s->finishing || !s->events->on_timeout)
		(void)stream_closed(s, STREAM_TIMEOUT);
	else
		(void)stream_call(s, s->events->on_timeout);
}

/* Whom it works for stands in the box meanwhile; the stream may be gone behind it. */
void
stream_on_ready(struct watch *w, unsigned ready)
{
	struct stream *s = OWNER_OF(w, struct stream, watch);
	struct box *b = *loop_box(w->loop);
	struct box_now before = box_enter(b, s->whose);

	work_on_ready(s, ready);
	box_leave(b, before);
}

void
stream_on_turn(struct turn *h)
{
	struct stream *s = OWNER_OF(h, struct stream, turn);
	struct box *b = *loop_box(s->watch.loop);
	struct box_now before = box_enter(b, s->whose);

	work_on_turn(s);
	box_leave(b, before);
}

void
stream_on_timer(struct timer *t)
{
	struct stream *s = OWNER_OF(t, struct stream, timer);
	struct box *b = *loop_box(t->loop);
	struct box_now before = box_enter(b, s->whose);

	work_on_timer(s);
	box_leave(b, before);
}
