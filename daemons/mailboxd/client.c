/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log/log.h"
#include "sys/box.h"
#include "sys/loop.h"

enum {
	READ_SIZE = 16 << 10,
	READ_BULK = 128 << 10, /* when the last read was full */
	RAW_MAX = 64 << 10,
	ROUNDS = 4,            /* of run and send in one turn */
	LINGER_MS = 1000,
	QUIET_MS = 2000,
	LEAVE_MAX = 16384, /* as the message's row has it */
	CLIENT_STATE_MAX = 8192,
};

struct client {
	struct session *session; /* owned */
	struct user *user;
	int fd;
	struct watch watch;
	struct timer timer;
	struct turn turn;
	int64_t timer_ms; /* what the timer was last set to, */
	uint64_t sent;    /* and what had been sent by then */
	struct box_tape *tape; /* owned; NULL: no mailboxd of this user has crashed */
	struct buf raw;   /* compressed input that is not expanded yet */
	int64_t heard_ms; /* when it last said something */
	bool early; /* it says something that is not yet wanted */
	bool bulk, eof, gone, lingering, held;
	void (*on_gone)(struct user *);
};

static struct client *
client_of(struct session *s)
{
	return s->rim;
}

static void
client_free(struct client *c)
{
	struct user *user = c->user;
	void (*on_gone)(struct user *) = c->on_gone;

	watch_stop(&c->watch);
	timer_stop(&c->timer);
	turn_cancel(&c->turn);
	list_remove(&c->session->node);
	user->nsessions--;
	c->session->ops->free(c->session);
	if (c->fd >= 0)
		close(c->fd);
	buf_free(&c->raw);
	free(c->tape);
	free(c);
	on_gone(user);
}

/* The connection is dead.  A session that waits for the store is freed when
 * the store has answered. */
static void
drop(struct client *c)
{
	if (!c->gone)
		c->session->ops->eof(c->session);
	c->gone = true;
	watch_stop(&c->watch);
	if (!c->session->waiting)
		client_free(c);
}

static void
set_timer(struct client *c)
{
	c->timer_ms = c->session->idle_ms;
	c->sent = c->session->out.sent;
	(void)timer_set(&c->timer, c->timer_ms);
}

/* False: what the client sends is not compressed as it should be. */
static bool
expand(struct client *c)
{
	struct session *s = c->session;
	size_t before = buf_len(&s->in);
	bool ok = !s->out.squeeze || !session_wants_input(s) || squeeze_take(s->out.squeeze, &c->raw, &s->in);

	if (c->tape && buf_len(&s->in) > before)
		box_tape_note(c->tape, span_from(buf_span(&s->in), before));
	return ok;
}

/* Compressed input for which there is room by now. */
static bool
holds_raw(const struct client *c)
{
	const struct session *s = c->session;

	return buf_len(&c->raw) && session_wants_input(s) && buf_space(&s->in);
}

/* What was to be heard or said found no room: half of it would be worse than an end. */
static bool
broken(const struct client *c)
{
	const struct session *s = c->session;

	if (buf_ok(&s->in) && buf_ok(&s->out.mem) && buf_ok(&c->raw))
		return false;
	log_put(LOG_failure, "user=%.*s service=%s: no memory for what is read or said: the connection is closed", SPAN_ARG(c->user->name),
	    s->ops->service);
	return true;
}

/* RFC 8437 3: what the client has sent behind it is for the next login. */
static void
leave(struct client *c)
{
	struct session *s = c->session;
	int fd = c->fd;

	watch_stop(&c->watch);
	if (buf_len(&s->in) <= LEAVE_MAX) {
		c->fd = -1;
		(void)c->user->leave(c->user, s->front, fd, buf_span(&s->in));
	}
	drop(c);
}

/* Runs and sends until there is nothing to do without the peer or a turn of others. */
static void
pump(struct client *c)
{
	struct session *s = c->session;
	unsigned wants = 0;

	if (c->held)
		return;
	for (unsigned n = 0; n < ROUNDS; n++) {
		bool full;

		if (!expand(c)) {
			drop(c);
			return;
		}
		session_run(s);
		if (broken(c)) {
			drop(c);
			return;
		}
		s->more = s->more || holds_raw(c);
		full = !outq_room(&s->out);
		if (s->more && !full && n + 1 < ROUNDS && !store_unsettled(c->user->store)) /* one send for several slices of small answers */
			continue;
		if (!outq_empty(&s->out) && !outq_send(&s->out, c->fd)) {
			drop(c);
			return;
		}
		if (!s->more && !(full && outq_room(&s->out))) /* what stopped it is still so */
			break;
		s->more = s->more || full;
	}
	if (s->leaving && outq_empty(&s->out)) {
		leave(c);
		return;
	}
	if (s->closing || (c->eof && !s->more && !s->waiting)) {
		if (outq_empty(&s->out)) {
			drop(c);
			return;
		}
	}
	if (s->more)
		turn_later(&c->turn, c->user->loop);
	if (!c->eof && session_wants_input(s) && buf_space(&s->in) && buf_space(&c->raw))
		wants |= WATCH_READ;
	else if (!c->eof && s->waiting && !c->early) /* soon it will be wanted again */
		wants |= c->watch.wants & WATCH_READ;
	if (!outq_empty(&s->out))
		wants |= WATCH_WRITE;
	if (c->timer_ms != s->idle_ms)
		set_timer(c);
	if (!watch_want(&c->watch, wants))
		drop(c);
	else
		session_ahead(s);
}

static void
read_some(struct client *c)
{
	struct buf *in = c->session->out.squeeze ? &c->raw : &c->session->in;
	size_t n = c->bulk ? READ_BULK : READ_SIZE;
	char *room;
	ssize_t got;

	if (n > buf_space(in))
		n = buf_space(in);
	room = n ? buf_room(in, n) : NULL;
	if (!room)
		return;
	got = recv(c->fd, room, n, MSG_DONTWAIT);
	if (got > 0) {
		buf_added(in, (size_t)got);
		if (c->tape && in != &c->raw)
			box_tape_note(c->tape, span_of(room, (size_t)got));
		c->bulk = (size_t)got == n;
		c->heard_ms = loop_now_ms(c->user->loop);
		(void)timer_set(&c->user->quiet, QUIET_MS);
		set_timer(c);
	} else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
		c->eof = true;
	}
}

static void
on_ready(struct watch *w, unsigned ready)
{
	struct client *c = OWNER_OF(w, struct client, watch);

	c->early = (ready & WATCH_READ) && !session_wants_input(c->session);
	if ((ready & WATCH_READ) && !c->early)
		read_some(c);
	pump(c);
}

static void
on_turn(struct turn *t)
{
	struct client *c = OWNER_OF(t, struct client, turn);

	if (c->gone)
		drop(c);
	else
		pump(c);
}

static void
on_wake(struct session *s)
{
	struct client *c = client_of(s);

	turn_later(&c->turn, c->user->loop);
}

/* It says nothing because it is busy with what it is told. */
static bool
reads_on(const struct client *c)
{
	const struct outq *out = &c->session->out;

	return !outq_empty(out) && out->sent != c->sent;
}

static void
on_timer(struct timer *t)
{
	struct client *c = OWNER_OF(t, struct client, timer);

	if (c->lingering || c->session->closing) {
		drop(c);
		return;
	}
	if (c->held || reads_on(c)) {
		set_timer(c);
		return;
	}
	c->session->ops->idle(c->session);
	set_timer(c);
	pump(c);
}

bool
client_new(struct user *user, int fd, struct session *session, struct span pending, void (*on_gone)(struct user *))
{
	struct client *c = calloc(1, sizeof *c);

	buf_put(&session->in, pending);
	if (!c || !buf_ok(&session->in)) {
		free(c);
		session->ops->free(session);
		close(fd);
		return false;
	}
	c->session = session;
	c->user = user;
	c->fd = fd;
	c->on_gone = on_gone;
	buf_init(&c->raw, RAW_MAX);
	c->heard_ms = loop_now_ms(user->loop);
	if (*loop_box(user->loop) && (c->tape = box_tape_new(*loop_box(user->loop), false)))
		box_tape_note(c->tape, pending);
	session->rim = c;
	session->on_wake = on_wake;
	list_push(&user->sessions, &session->node);
	user->nsessions++;
	watch_init(&c->watch, user->loop, fd, on_ready);
	timer_init(&c->timer, user->loop, on_timer);
	turn_init(&c->turn, on_turn);
	set_timer(c);
	turn_later(&c->turn, user->loop);
	return true;
}

bool
clients_rest(const struct user *user, int64_t quiet_ms)
{
	int64_t before = loop_now_ms(user->loop) - quiet_ms;
	struct buf state;
	bool ok = true;

	buf_init(&state, CLIENT_STATE_MAX);
	LIST_EACH(&user->sessions, node) {
		struct session *s = OWNER_OF(node, struct session, node);
		const struct client *c = client_of(s);

		buf_reset(&state);
		ok = ok && c->heard_ms <= before && !c->eof && !c->gone && !c->lingering && !buf_len(&c->raw) && s->ops->rest && s->ops->rest(s, &state);
	}
	buf_free(&state);
	return ok;
}

void
clients_hold(struct user *user, bool on)
{
	LIST_EACH(&user->sessions, node) {
		struct client *c = client_of(OWNER_OF(node, struct session, node));

		c->held = on;
		if (on)
			watch_stop(&c->watch);
		else
			turn_later(&c->turn, user->loop);
	}
}

int
client_leave(struct session *s, struct buf *state)
{
	struct client *c = client_of(s);
	int fd = s->ops->rest(s, state) ? fcntl(c->fd, F_DUPFD_CLOEXEC, 0) : -1;

	client_free(c);
	return fd;
}

void
clients_shutdown(struct user *user)
{
	LIST_EACH(&user->sessions, node) {
		struct session *s = OWNER_OF(node, struct session, node);
		struct client *c = client_of(s);

		if (!s->closing)
			s->ops->shutdown(s);
		c->lingering = true;
		(void)timer_set(&c->timer, LINGER_MS);
		turn_later(&c->turn, user->loop);
	}
}

static void
last_word(int fd, struct span text)
{
	ssize_t n = write(fd, text.p, text.n); /* what does not fit is not worth waiting for */

	(void)n;
	close(fd);
}

void
client_turn_away(int fd, struct span service, struct span tag, const char *text)
{
	struct buf b;

	buf_init(&b, 2048);
	if (span_eq(service, SPAN("pop3")))
		buf_printf(&b, "-ERR [SYS/TEMP] %s\r\n", text);
	else
		buf_printf(&b, "%.*s NO [UNAVAILABLE] %s\r\n* BYE %s\r\n", SPAN_ARG(tag), text, text);
	last_word(fd, buf_span(&b));
	buf_free(&b);
}

void
client_no_folder(int fd)
{
	last_word(fd, SPAN("-ERR [SYS/PERM] There is no such folder.\r\n"));
}
