/* SPDX-License-Identifier: ISC */
#include "front/conn.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log/line.h"

static struct conn *
conn_of(struct stream *s)
{
	return OWNER_OF(s, struct conn, stream);
}

static void talk(struct conn *c);

void
conn_free(struct conn *c)
{
	struct front *f = c->front;

	if (c->phase == CONN_CHECK || c->phase == CONN_ENTER)
		map_remove(&f->asked, &c->node);
	if (c->phase == CONN_RELAY && c->cookie)
		map_remove(&f->relayed, &c->node);
	buf_free(&c->unread);
	hosts_leave(&f->hosts, &c->host);
	stream_close(&c->stream);
	relay_stop(&c->relay);
	if (c->inner >= 0)
		close(c->inner);
	if (c->kept >= 0)
		close(c->kept);
	if (c->login)
		c->login->ops->free(c->login);
	explicit_bzero(c->ticket, sizeof c->ticket);
	free(c->certificate);
	list_remove(&c->list);
	free(c);
	limit_count(f->service->loop, f->protocol->limit, --f->nconns, f->protocol->session_limit(f->service->conf));
	if (f->service->stopping && f->nconns == 0)
		service_exit(f->service);
	if (f->paused && f->nconns < f->protocol->session_limit(f->service->conf)) {
		f->paused = false;
		for (size_t i = 0; i < f->nlisteners; i++)
			if (f->listeners[i].open)
				listener_resume(&f->listeners[i].listener);
	}
}

static void
last_words(struct conn *c)
{
	c->phase = CONN_LAST;
	stream_finish(&c->stream);
}

void
conn_finish(struct conn *c, const char *text)
{
	if (c->phase == CONN_RELAY || c->phase == CONN_LAST || c->kept >= 0)
		return;
	if (c->phase == CONN_CHECK || c->phase == CONN_ENTER)
		map_remove(&c->front->asked, &c->node);
	c->login->out = stream_out(&c->stream);
	c->login->ops->bye(c->login, text);
	last_words(c);
}

static void
answered(struct conn *c)
{
	map_remove(&c->front->asked, &c->node);
	c->phase = CONN_TALK;
}

struct conn *
conn_asked(struct front *f, uint64_t id)
{
	struct map_node *node = map_get_u64(&f->asked, id);

	return node ? OWNER_OF(node, struct conn, node) : NULL;
}

static void
refuse(struct conn *c, enum login_verdict verdict)
{
	struct login *l = c->login;

	explicit_bzero(c->ticket, sizeof c->ticket);
	c->nticket = 0;
	box_tape_open(c->stream.tape);
	c->phase = CONN_TALK;
	l->want = LOGIN_INPUT;
	l->out = stream_out(&c->stream);
	l->ops->refused(l, verdict);
	stream_resume(&c->stream);
	if (l->want == LOGIN_CLOSE)
		last_words(c);
}

/* The question was sent, or authd is away. */
static void
asked_or_refused(struct conn *c, bool sent)
{
	if (sent)
		return;
	if (c->phase == CONN_CHECK)
		answered(c);
	refuse(c, LOGIN_TEMPORARY);
}

static void
ask_authd(struct conn *c, bool (*question)(struct conn *c))
{
	stream_pause(&c->stream);
	asked_or_refused(c, c->front->auth && question(c));
}

/* The kernel's own name of a socket, which nobody can give to another; 0: it has none. */
static uint64_t
cookie_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t n = sizeof cookie;

	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &n) == 0 && n == sizeof cookie ? cookie : 0;
}

/* What userd gets: the socket itself in the clear, else one end of a new pair.
 * The unread input goes with it in the message. */
static int
hand_out(struct conn *c, struct buf *unread)
{
	int pair[2], fd;

	stream_flush(&c->stream);
	fd = c->tls ? -1 : stream_take_fd(&c->stream, unread);
	if (fd >= 0) {
		c->kept = fd;
		return fcntl(fd, F_DUPFD_CLOEXEC, 3);
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -1;
	buf_put(unread, stream_input(&c->stream));
	stream_eat(&c->stream, buf_len(unread));
	c->inner = pair[0];
	c->cookie = cookie_of(pair[1]);
	return pair[1];
}

static void
enter(struct conn *c, struct span ticket)
{
	struct front *f = c->front;
	struct ipc_login_enter m = {
		.ticket = ticket,
		.service = span_str(f->protocol->service),
		.client_addr = span_str(c->addr),
		.tls = c->tls,
		.tag = span_str(c->login->tag),
	};
	struct buf unread;
	int fd = -1;
	bool ok = f->login && conn_ask(c, CONN_ENTER);

	buf_init(&unread, FRONT_IN);
	if (ok) {
		fd = hand_out(c, &unread);
		m.id = c->id;
		m.pending = buf_span(&unread);
		ok = fd >= 0 && ipc_send_login_enter(f->login, &m, fd);
	}
	buf_free(&unread);
	if (!ok)
		conn_unanswered(c);
}

void
conn_challenged(struct conn *c, const struct ipc_auth_challenge *m)
{
	if (c->phase != CONN_CHECK || c->login->want != LOGIN_BEGIN)
		return;
	answered(c);
	c->login->out = stream_out(&c->stream);
	if (login_challenged(c->login, m->message))
		stream_resume(&c->stream);
	else
		refuse(c, LOGIN_TEMPORARY);
}

/* The client shall see that we know its secret, too, before it gets in. */
static bool
show_signature(struct conn *c, const struct ipc_auth_answer *m)
{
	if (m->ticket.n != sizeof c->ticket || m->signature.n == 0)
		return false;
	memcpy(c->ticket, m->ticket.p, sizeof c->ticket);
	c->nticket = sizeof c->ticket;
	c->login->out = stream_out(&c->stream);
	if (!login_proved(c->login, m->signature))
		return false;
	stream_resume(&c->stream);
	return true;
}

void
conn_checked(struct conn *c, const struct ipc_auth_answer *m)
{
	bool scram = c->login && (c->login->want == LOGIN_BEGIN || c->login->want == LOGIN_PROVE);

	if (c->phase != CONN_CHECK)
		return;
	answered(c);
	log_put(LOG_auth, "client=%s session=%s user=%s service=%s mechanism=%s tls=%d %s%.*s", c->addr, c->session,
	    log_line_value(span_str(c->login->user), (char[LOG_VALUE]){ 0 }), c->front->protocol->service, c->login->mechanism, c->tls, m->ok ? "ok" : "failed: ", SPAN_ARG(m->why));
	if (m->ok && scram) {
		if (!show_signature(c, m))
			refuse(c, LOGIN_TEMPORARY);
		return;
	}
	c->login->out = stream_out(&c->stream);
	if (!m->ok && !m->temporary && m->error.n && c->login->want == LOGIN_TOKEN && login_token_refused(c->login, m->error)) { /* RFC 7628 3.2.3: the client answers, and then it is over */
		stream_resume(&c->stream);
		return;
	}
	login_forget(c->login);
	if (!m->ok)
		refuse(c, m->temporary ? LOGIN_TEMPORARY : m->too_soon ? LOGIN_TOO_SOON : LOGIN_WRONG);
	else
		enter(c, m->ticket);
}

/* With the ticket that the proof was good for. */
static void
enter_proved(struct conn *c)
{
	uint8_t ticket[B_TICKET];
	size_t n = c->nticket;

	memcpy(ticket, c->ticket, sizeof ticket);
	explicit_bzero(c->ticket, sizeof c->ticket);
	c->nticket = 0;
	stream_pause(&c->stream);
	login_forget(c->login);
	enter(c, span_of(ticket, n)); /* the connection may be gone now */
	explicit_bzero(ticket, sizeof ticket);
}

void
conn_entered(struct conn *c, const struct ipc_login_result *m)
{
	if (c->phase != CONN_ENTER)
		return;
	if (!m->ok) {
		log_put(LOG_failure, "client=%s session=%s mailbox not opened: %.*s", c->addr, c->session, SPAN_ARG(m->why));
		conn_unanswered(c);
		return;
	}
	answered(c);
	if (c->kept >= 0) { /* userd has it */
		conn_free(c);
		return;
	}
	c->phase = CONN_RELAY;
	hosts_leave(&c->front->hosts, &c->host);
	c->set = c->login->set;
	c->loopback = c->login->loopback;
	c->login->ops->free(c->login);
	c->login = NULL;
	if (c->cookie && !map_put_u64(&c->front->relayed, &c->node, c->cookie))
		c->cookie = 0;
	stream_timeout(&c->stream, 0);
	if (relay_start(&c->relay, &c->stream, c->inner, c->front->service->loop))
		c->inner = -1;
	else
		conn_free(c);
}

/* ---- UNAUTHENTICATE (RFC 8437 3) ---- */

static bool binding(void *arg, struct span type, struct buf *out);

/* The client has all that mailboxd said: it is as before its login, and TLS stays. */
static void
on_left(struct relay *r)
{
	struct conn *c = OWNER_OF(r, struct conn, relay);
	struct front *f = c->front;
	struct netaddr peer;

	relay_stop(&c->relay);
	c->relay = (struct relay){ .outer = NULL };
	if (c->cookie)
		map_remove(&f->relayed, &c->node);
	c->cookie = 0;
	c->phase = CONN_TALK;
	c->login = f->service->stopping ? NULL : f->protocol->login_new();
	if (!c->login || !stream_unread(&c->stream, buf_span(&c->unread))) {
		last_words(c);
		return;
	}
	buf_free(&c->unread);
	c->login->set = c->set;
	c->login->tls = c->login->tls_offered = true;
	c->login->loopback = c->loopback;
	c->login->certificate = c->certificate != NULL;
	c->login->binding = binding;
	c->login->binding_arg = c;
	if (stream_peer(&c->stream, &peer))
		c->host = hosts_enter(&f->hosts, &peer);
	stream_deadline(&c->stream, f->service->conf->login_timeout);
	stream_resume(&c->stream);
}

void
conn_returned(struct front *f, int fd, struct span pending)
{
	uint64_t cookie = cookie_of(fd);
	struct map_node *node = cookie ? map_get_u64(&f->relayed, cookie) : NULL;
	struct conn *c = node ? OWNER_OF(node, struct conn, node) : NULL;
	ssize_t n;
	char *room;

	if (c && !c->relay.on_left) {
		buf_init(&c->unread, FRONT_IN);
		buf_put(&c->unread, pending);
		while ((room = buf_room(&c->unread, buf_space(&c->unread))) && (n = recv(fd, room, buf_space(&c->unread), MSG_DONTWAIT)) > 0)
			buf_added(&c->unread, (size_t)n); /* what mailboxd had not read */
		relay_leave(&c->relay, &c->unread, on_left);
		if (!buf_ok(&c->unread) || !buf_space(&c->unread)) /* more than anybody sends ahead */
			stream_finish(&c->stream);
	}
	close(fd); /* the end of the inner side, behind all that was written into it */
}

/* The socket of a plain connection is already taken out of its stream: it gets
 * a new one, for the refusal and for what follows. */
static bool
reopen(struct conn *c);

void
conn_unanswered(struct conn *c)
{
	if (c->phase == CONN_CHECK || c->phase == CONN_ENTER)
		answered(c);
	if (c->inner >= 0)
		close(c->inner);
	c->inner = -1;
	if (c->kept < 0) {
		refuse(c, LOGIN_TEMPORARY);
	} else if (reopen(c)) {
		/* what was read ahead went with the message, so the dialogue cannot go on */
		refuse(c, LOGIN_TEMPORARY);
		if (c->phase != CONN_LAST)
			last_words(c);
	} else {
		conn_free(c);
	}
}

/* ---- the stream ---- */

static void
start_tls(struct conn *c)
{
	struct fail why = { .text = "no certificate" };
	struct tls_server *server = signer_context(c->front->signer, &why);

	c->phase = CONN_TLS;
	if (server && stream_tls_accept(&c->stream, server, c->tls_ask, &why))
		return;
	log_put(LOG_tls, "client=%s session=%s failed: %s", c->addr, c->session, why.text);
	conn_free(c);
}

static void
greet(struct conn *c)
{
	c->phase = CONN_TALK;
	c->login->out = stream_out(&c->stream);
	c->login->ops->greet(c->login);
}

/* Lets the core work on what has come, and does what it wants. */
static void
talk(struct conn *c)
{
	struct login *l = c->login;

	l->out = stream_out(&c->stream);
	stream_eat(&c->stream, l->ops->input(l, stream_input(&c->stream)));
	switch (l->want) {
	case LOGIN_INPUT:
		if (stream_input_full(&c->stream))
			conn_finish(c, "Command line too long.");
		return;
	case LOGIN_STARTTLS:
		l->want = LOGIN_INPUT;
		start_tls(c);
		return;
	case LOGIN_CHECK:
		ask_authd(c, ask_check);
		return;
	case LOGIN_IDENTIFY:
		ask_authd(c, ask_identify);
		return;
	case LOGIN_TOKEN:
		ask_authd(c, ask_token);
		return;
	case LOGIN_BEGIN:
		ask_authd(c, ask_scram);
		return;
	case LOGIN_PROVE:
		ask_authd(c, ask_proof);
		return;
	case LOGIN_ENTER:
		enter_proved(c);
		return;
	case LOGIN_CLOSE:
		last_words(c);
		return;
	}
}

static void
on_input(struct stream *s)
{
	struct conn *c = conn_of(s);

	if (c->phase == CONN_RELAY)
		relay_outer_input(&c->relay);
	else if (c->phase == CONN_TALK)
		talk(c);
}

static void
on_eof(struct stream *s)
{
	struct conn *c = conn_of(s);

	if (c->phase == CONN_RELAY)
		relay_outer_eof(&c->relay);
	else if (c->phase == CONN_TALK)
		last_words(c);
}

static void
on_drain(struct stream *s)
{
	struct conn *c = conn_of(s);

	if (c->phase == CONN_RELAY)
		relay_outer_drain(&c->relay);
}

static void
on_tls(struct stream *s, const struct tls_facts *facts)
{
	struct conn *c = conn_of(s);
	char words[TLS_CERTIFICATE_WORDS];

	log_put(LOG_tls, "client=%s session=%s protocol=%s cipher=%s bits=%u%.*s", c->addr, c->session, facts->version, facts->cipher,
	    facts->bits, SPAN_ARG(tls_certificate_words(&facts->certificate, words)));
	c->tls = c->login->tls = true;
	if (facts->certificate.shown && (c->certificate = malloc(sizeof *c->certificate))) {
		*c->certificate = facts->certificate;
		c->login->certificate = true;
	}
	if (c->tls_wanted)
		greet(c);
	c->phase = CONN_TALK;
}

static void
on_timeout(struct stream *s)
{
	struct conn *c = conn_of(s);

	if (c->phase == CONN_TLS || c->phase == CONN_LAST || c->phase == CONN_RELAY)
		conn_free(c);
	else
		conn_finish(c, "Disconnected for inactivity.");
}

static void
on_closed(struct stream *s, enum stream_why why)
{
	struct conn *c = conn_of(s);

	log_put(LOG_disconnect, "client=%s session=%s%s%s", c->addr, c->session, why == STREAM_TLS ? " tls: " : "",
	    why == STREAM_TLS ? stream_failure(s)->text : "");
	conn_free(c);
}

static const struct stream_events events = {
	.on_input = on_input,
	.on_eof = on_eof,
	.on_drain = on_drain,
	.on_tls = on_tls,
	.on_timeout = on_timeout,
	.on_closed = on_closed,
};
static const struct stream_limits limits = { FRONT_IN, FRONT_OUT };

static bool
reopen(struct conn *c)
{
	if (!stream_open(&c->stream, c->front->service->loop, c->kept, &events, &limits))
		return false;
	c->kept = -1;
	return true;
}

static bool
binding(void *arg, struct span type, struct buf *out)
{
	return stream_binding(&((struct conn *)arg)->stream, type, out);
}

static void
configure(struct conn *c, const struct front_listener *l, const struct netaddr *peer)
{
	const struct conf *conf = c->front->service->conf;
	const struct front_protocol *p = c->front->protocol;

	c->login->set = (struct login_settings){
		.banner = span_sub(l->block->banner, 0, sizeof c->banner),
		.disable_plaintext = conf->disable_plaintext_auth,
		.tls_required = l->block->tls == CONF_MODE_ENCRYPT,
		.auth = l->block->auth,
		.textbook = p->textbook && p->textbook(conf),
		.delay = p->login_delay ? p->login_delay(conf) : 0,
		.attempts = (unsigned)conf->auth_attempt_limit,
		.mechanisms = front_mechanisms(conf),
	};
	c->login->binding = binding;
	c->login->binding_arg = c;
	memcpy(c->banner, c->login->set.banner.p, c->login->set.banner.n);
	c->login->set.banner.p = c->banner; /* the configuration may change before it is said */
	c->login->loopback = netaddr_loopback(peer);
	c->login->tls_offered = l->block->tls >= CONF_MODE_MAY && signer_context(c->front->signer, NULL);
	c->tls_wanted = l->block->tls == CONF_MODE_WRAPPER;
	c->tls_ask = (enum tls_ask)(l->block->client_cert - CONF_CERT_NONE);
}

static bool
too_many(struct conn *c, const struct front_listener *l)
{
	uint64_t limit = l->block->connection_limit;

	if (!limit || !c->host || c->login->loopback || c->host->connections <= limit)
		return false;
	log_put(LOG_limit, "client=%s session=%s connections=%u before login", c->addr, c->session, c->host->connections);
	return true;
}

void
conn_accept(struct front_listener *l, int fd, const struct netaddr *peer)
{
	struct front *f = l->front;
	struct conn *c = calloc(1, sizeof *c);

	if (!c || !(c->login = f->protocol->login_new()) ||
	    !stream_open(&c->stream, f->service->loop, fd, &events, &limits)) {
		if (c && c->login)
			c->login->ops->free(c->login);
		free(c);
		close(fd);
		return;
	}
	c->front = f;
	c->inner = c->kept = -1;
	list_push(&f->conns, &c->list);
	f->nconns++;
	(void)netaddr_text(peer, c->addr);
	(void)stream_whose(&c->stream, peer, true);
	front_name_session(f, c->session);
	log_put(LOG_connect, "client=%s session=%s listener=%.*s", c->addr, c->session, SPAN_ARG(l->block->name));
	configure(c, l, peer);
	stream_deadline(&c->stream, f->service->conf->login_timeout);
	c->host = hosts_enter(&f->hosts, peer);
	if (too_many(c, l))
		conn_finish(c, "Too many connections from your address.");
	else if (c->tls_wanted)
		start_tls(c);
	else
		greet(c);
	limit_count(f->service->loop, f->protocol->limit, f->nconns, f->protocol->session_limit(f->service->conf));
	if (f->nconns >= f->protocol->session_limit(f->service->conf) && !f->paused) {
		limit_reached(f->service->loop, f->protocol->limit, f->nconns, SPAN("all clients"));
		log_put(LOG_limit, "sessions=%u", f->nconns);
		f->paused = true;
		for (size_t i = 0; i < f->nlisteners; i++)
			listener_pause(&f->listeners[i].listener);
	}
}
