/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/queueid.h"
#include "log/line.h"
#include "net/shun.h"
#include "smtpd.h"
#include "transaction.h"

enum {
	IN_CAP = 65536,
	OUT_CAP = 65536,
	REPLIES_MAX = 64 << 20, /* LMTP: one for each recipient */
	GROUP_MAX = 64, /* commands taken before others get their turn */
	PACE_GROUP = 32, PACE_MS = 4, /* recipients of a long list in so many milliseconds */
};

/* What the client is waited for. */
enum phase { PHASE_IDLE, PHASE_ENVELOPE, PHASE_CONTENT };

_Static_assert((int)IN_CAP > (int)SESSION_LINE_MAX, "the longest line must fit the input buffer");

/* Without printf: three lines of the log for each session have it. */
struct span
client_label(const struct client *c, char text[400])
{
	const struct session *s = &c->session;
	char id[QUEUEID_TEXT + 1];
	const struct span parts[] = { s->name.n ? s->name : SPAN("unknown"), SPAN("["), s->address, SPAN("] session="), queueid_text(c->id, id) };
	size_t n = 0;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		struct span part = span_sub(parts[i], 0, 400 - n);

		if (part.n)
			memcpy(text + n, part.p, part.n);
		n += part.n;
	}
	return span_of(text, n);
}

/* Numbers of clients. */

static bool
take_slot(struct smtpd *d, struct client *c)
{
	if (!d->nfree) {
		size_t n = d->nslots ? d->nslots * 2 : 64;
		struct client **slots = realloc(d->slots, n * sizeof(*slots));
		uint32_t *free_slots;

		if (!slots)
			return false;
		d->slots = slots;
		free_slots = realloc(d->free_slots, n * sizeof(*free_slots));
		if (!free_slots)
			return false;
		d->free_slots = free_slots;
		for (size_t i = n; i > d->nslots; i--) {
			d->slots[i - 1] = NULL;
			d->free_slots[d->nfree++] = (uint32_t)(i - 1);
		}
		d->nslots = n;
	}
	c->slot = d->free_slots[--d->nfree];
	d->slots[c->slot] = c;
	return true;
}

struct client *
client_of_id(struct smtpd *d, uint64_t id)
{
	uint64_t slot = id >> 32;

	return slot < d->nslots ? d->slots[slot] : NULL;
}

uint64_t
client_new_id(struct client *c)
{
	return (uint64_t)c->slot << 32 | ++c->door->smtpd->serial;
}

bool
client_id_given(const struct smtpd *d, uint64_t id)
{
	return id >> 32 < d->nslots && d->serial - (uint32_t)id <= INT32_MAX; /* numbers begin anew after 2^32 */
}

void
clients_each(struct smtpd *d, void (*visit)(struct client *c, void *arg), void *arg)
{
	LIST_EACH(&d->clients, it)
		visit(OWNER_OF(it, struct client, node), arg);
}

/* Life. */

static void
client_free(struct client *c)
{
	struct smtpd *d = c->door->smtpd;

	turn_cancel(&c->part);
	timer_stop(&c->pace);
	session_free(&c->session);
	stream_close(&c->stream);
	if (c->hands_over)
		map_remove(&d->messages, &c->message);
	if (c->in_crowd)
		crowd_leave(d, c->key);
	d->slots[c->slot] = NULL;
	d->free_slots[d->nfree++] = c->slot;
	list_remove(&c->node);
	d->nclients--;
	door_release(c->door);
	buf_free(&c->replies);
	free(c->lookup);
	free(c);
	if (d->service->stopping && !d->nclients)
		service_exit(d->service);
	else
		doors_balance(d);
}

static void
on_closed(struct stream *s, enum stream_why why)
{
	static const char *const words[] = {
		[STREAM_EOF] = "end of input", [STREAM_FINISHED] = "closed", [STREAM_TIMEOUT] = "timeout",
		[STREAM_RESET] = "connection lost", [STREAM_TLS] = "TLS failed", [STREAM_LIMIT] = "output limit",
	};
	struct client *c = OWNER_OF(s, struct client, stream);
	char label[400];

	log_put(LOG_disconnect, "client=%.*s messages=%u errors=%u why=%s%s%s", SPAN_ARG(client_label(c, label)), c->session.messages,
	    c->session.errors, words[why] ? words[why] : "?", why == STREAM_TLS ? ": " : "",
	    why == STREAM_TLS ? stream_failure(s)->text : "");
	client_free(c);
}

/* Replies leave together (RFC 2920 3.2): while a sibling's answer to a command of the group is
 * due, which takes far less than a millisecond, those before it wait. */
static void
send_replies(struct client *c)
{
	const struct session *s = &c->session;
	bool due = (s->mail && s->mail->asked) || s->wait == WAIT_RCPT || s->wait == WAIT_VRFY || s->wait == WAIT_COMMIT;

	struct span part;

	if (!buf_len(&c->replies) || (due && s->state != SESSION_CLOSED))
		return;
	part = span_sub(buf_span(&c->replies), 0, OUT_CAP - stream_unsent(&c->stream));
	stream_put(&c->stream, part);
	buf_eat(&c->replies, part.n);
	if (buf_len(&c->replies))
		(void)stream_full(&c->stream); /* on_drain goes on */
	else
		buf_free(&c->replies);
}

static enum phase
phase_of(const struct session *s)
{
	if (s->state & (SESSION_DATA | SESSION_CHUNK) || (s->mail && s->mail->id))
		return PHASE_CONTENT;
	return s->mail ? PHASE_ENVELOPE : PHASE_IDLE;
}

/* A client that says a byte now and then holds a session no longer than one that says nothing:
 * all the time for which it has been waited counts, and only content that comes fast enough is a credit. */
static void
charge(struct client *c)
{
	const struct session *s = &c->session;
	const struct conf *conf = c->door->policy.conf;
	int64_t rate = (int64_t)conf->smtpd_min_data_rate, now = loop_now_ms(c->door->smtpd->loop);
	enum phase phase = phase_of(s);

	if (phase != c->phase || s->begun != c->begun)
		c->patience_ms = phase == PHASE_CONTENT ? conf->smtpd_timeout : conf->smtpd_transaction_time_limit;
	else if (c->since_ms)
		c->patience_ms -= now - c->since_ms;
	if (phase == PHASE_CONTENT) {
		c->patience_ms += rate ? (int64_t)c->content * 1000 / rate : conf->smtpd_timeout;
		if (c->patience_ms > conf->smtpd_timeout)
			c->patience_ms = conf->smtpd_timeout;
	}
	c->phase = (uint8_t)phase;
	c->begun = s->begun;
	c->content = 0;
	c->since_ms = phase != PHASE_IDLE && s->wait == WAIT_CLIENT && !(s->mail && s->mail->asked) ? now : 0;
}

static void
wait_anew(struct client *c)
{
	int64_t ms = session_wait_ms(&c->session);

	charge(c);
	if (c->since_ms && c->patience_ms < ms)
		ms = c->patience_ms > 0 ? c->patience_ms : 1;
	stream_deadline(&c->stream, ms);
}

static void
finish(struct client *c)
{
	c->finishing = true;
	stream_finish(&c->stream);
}

/* The next reply would be taken for the answer to what had this one. */
static void
give_up(struct client *c)
{
	char label[400];

	log_put(LOG_failure, "client=%.*s no memory for a reply: the connection is closed", SPAN_ARG(client_label(c, label)));
	finish(c);
}

/* After everything that moved the session. */
static void
settle(struct client *c)
{
	struct session *s = &c->session;

	if (c->finishing)
		return;
	if (!buf_ok(&c->replies) || !buf_ok(&s->held)) {
		give_up(c);
		return;
	}
	send_replies(c);
	if (c->tls_due) {
		struct smtpd *d = c->door->smtpd;
		struct fail why = { .text = "no certificate" };
		struct tls_server *server = signer_context(d->signer, &why);

		c->tls_due = false;
		if (!server || !stream_tls_accept(&c->stream, server, (enum tls_ask)(c->door->policy.listener->client_cert - CONF_CERT_NONE), &why)) {
			log_put(LOG_failure, "TLS: %s", why.text);
			s->state = SESSION_CLOSED;
			s->wait = WAIT_CLIENT;
		}
	}
	if (c->eof && s->wait == WAIT_CLIENT && !(s->mail && s->mail->asked) && !timer_running(&c->pace)) /* then there is more to read */
		session_on_eof(s);
	if (session_closed(s) && !buf_len(&c->replies)) {
		finish(c);
		return;
	}
	if (c->progress != s->progress || c->wait != s->wait) {
		c->progress = s->progress;
		c->wait = s->wait;
		wait_anew(c);
	}
}

/* A client that names recipients as fast as can be keeps three programs busy, which everybody else's mail goes through. */
static bool
must_pause(struct client *c)
{
	const struct transaction *t = c->session.state == SESSION_RCPT ? c->session.mail : NULL;

	if (timer_running(&c->pace))
		return true;
	if (!t || !list_is_long(t) || t->good < c->paced)
		c->paced = 0;
	if (!t || !list_is_long(t) || t->good - c->paced < PACE_GROUP)
		return false;
	c->paced = t->good;
	return timer_set(&c->pace, PACE_MS);
}

/* Of a suspect's input: a response to a challenge is secret, what comes behind it is not. */
static void
guard_secrets(struct client *c)
{
	if (c->session.state & SESSION_AUTH)
		c->stream.tape->secret = true;
	else if (!stream_input(&c->stream).n)
		box_tape_open(c->stream.tape);
}

static void
work(struct client *c)
{
	session_list_part(&c->session);
	for (unsigned i = 0; !c->finishing; i++) {
		struct span in = stream_input(&c->stream);
		bool content = (c->session.state & (SESSION_DATA | SESSION_CHUNK)) != 0;
		size_t n;

		if (!in.n || stream_full(&c->stream) || buf_len(&c->replies) > OUT_CAP || must_pause(c))
			break;
		if (i == GROUP_MAX) {
			stream_again(&c->stream);
			break;
		}
		n = session_input(&c->session, in);
		stream_eat(&c->stream, n);
		c->content += content ? n : 0;
		if (!n)
			break;
	}
	if (session_list_due(&c->session))
		turn_later(&c->part, c->door->smtpd->loop);
	if (c->stream.tape)
		guard_secrets(c);
	settle(c);
}

void
client_pump(struct client *c)
{
	struct box *box = *loop_box(c->door->smtpd->loop);
	struct box_now before = box_enter(box, c->stream.whose);

	work(c); /* it may be gone behind this */
	box_leave(box, before);
}

static void
on_part(struct turn *t)
{
	client_pump(OWNER_OF(t, struct client, part));
}

static void
on_pace(struct timer *t)
{
	client_pump(OWNER_OF(t, struct client, pace));
}

static void
on_input(struct stream *s)
{
	client_pump(OWNER_OF(s, struct client, stream));
}

static void
on_eof(struct stream *s)
{
	struct client *c = OWNER_OF(s, struct client, stream);

	c->eof = true;
	client_pump(c);
}

static void
on_timeout(struct stream *s)
{
	struct client *c = OWNER_OF(s, struct client, stream);

	if (c->session.wait == WAIT_CLIENT && stream_unsent(s)) { /* who reads nothing is told nothing */
		stream_abandon(s);
		on_closed(s, STREAM_TIMEOUT);
		return;
	}
	if (c->session.wait == WAIT_GREET)
		recent_note(&c->door->smtpd->patient, span_of(c->key, sizeof(c->key)), loop_now_ms(c->door->smtpd->loop));
	session_on_timeout(&c->session);
	c->progress--; /* a new wait begins in any case */
	client_pump(c);
}

static void
on_tls(struct stream *s, const struct tls_facts *facts)
{
	struct client *c = OWNER_OF(s, struct client, stream);
	char text[128], label[400], certificate[TLS_CERTIFICATE_WORDS];
	int n = snprintf(text, sizeof(text), "%s cipher %s", facts->version, facts->cipher);

	log_put(LOG_tls, "client=%.*s protocol=%s cipher=%s sni=%s%s%.*s", SPAN_ARG(client_label(c, label)), facts->version, facts->cipher,
	    log_line_value(span_str(facts->sni), (char[LOG_VALUE]){ 0 }), facts->resumed ? " resumed" : "", SPAN_ARG(tls_certificate_words(&facts->certificate, certificate)));
	session_on_tls(&c->session, span_of(text, n > 0 ? (size_t)n : 0), &facts->certificate);
	if (c->door->policy.wrapper)
		session_ask_greeting(&c->session);
	client_pump(c);
}

static const struct stream_events events = {
	.on_input = on_input,
	.on_eof = on_eof,
	.on_drain = on_input,
	.on_tls = on_tls,
	.on_timeout = on_timeout,
	.on_closed = on_closed,
};

bool
client_rights(const struct client *c, const struct netaddr *at, struct session_peer *who)
{
	const struct conf_listener *block = c->door->policy.listener;
	uint8_t bytes[16];

	if (!netaddr_bytes(at, bytes))
		return false;
	who->trusted = conf_nets_match(&block->mynetworks, bytes);
	who->xforward = conf_nets_match(&block->xforward_hosts, bytes);
	who->etrn = conf_nets_match(&block->etrn_hosts, bytes);
	who->xclient = conf_nets_match(&block->xclient_hosts, bytes);
	return true;
}

/* Who it is, for the session. On a UNIX socket the kernel says which user. */
static void
identify(struct client *c, int fd, const struct netaddr *peer, struct session_peer *who, char address[NETADDR_TEXT],
    struct buf *literal)
{
	struct smtpd *d = c->door->smtpd;
	struct ucred user;
	socklen_t len = sizeof(user);

	netaddr_put_literal(literal, peer);
	who->literal = buf_span(literal);
	who->tls = signer_context(d->signer, NULL) != NULL;
	if (client_rights(c, peer, who)) {
		who->address = netaddr_text(peer, address);
		netaddr_network(peer, 32, 64, c->key);
		who->patient = recent_within(&d->patient, span_of(c->key, sizeof(c->key)), c->door->policy.conf->smtpd_greet_ttl, loop_now_ms(d->loop));
		return;
	}
	who->address = SPAN("local");
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &user, &len) == 0) {
		int n = snprintf(address, NETADDR_TEXT, "local:%u", (unsigned)user.uid);

		who->address = span_of(address, (size_t)n);
	}
}

static struct client *
client_new(struct door *door, int fd)
{
	static const struct stream_limits limits = { .in_cap = IN_CAP, .out_cap = OUT_CAP };
	struct smtpd *d = door->smtpd;
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->door = door;
	turn_init(&c->part, on_part);
	timer_init(&c->pace, door->smtpd->loop, on_pace);
	buf_init(&c->replies, REPLIES_MAX);
	if (!take_slot(d, c)) {
		free(c);
		return NULL;
	}
	if (!stream_open(&c->stream, d->loop, fd, &events, &limits)) {
		d->slots[c->slot] = NULL;
		d->free_slots[d->nfree++] = c->slot;
		free(c);
		return NULL;
	}
	door->sessions++;
	d->nclients++;
	d->connects++;
	list_push(&d->clients, &c->node);
	return c;
}

/* RFC 5321 4.5.3.2 has no word on it; a client that takes every session there is hurts the others. */
static bool
too_many(struct client *c, const struct netaddr *peer, bool trusted)
{
	struct smtpd *d = c->door->smtpd;
	size_t limit = trusted ? 0 : (size_t)c->door->policy.listener->connection_limit;

	if (netaddr_family(peer) == AF_UNIX)
		return false;
	c->in_crowd = crowd_enter(d, c->key, limit);
	return !c->in_crowd;
}

static void
greet(struct client *c, const struct netaddr *peer, bool trusted)
{
	char label[400];

	if (too_many(c, peer, trusted)) {
		limit_reached(c->door->smtpd->service->loop, LIMIT_smtpd_client_connection_count_limit, (uint64_t)c->door->policy.listener->connection_limit,
		    client_label(c, label));
		log_put(LOG_limit, "smtpd_client_connection_count_limit: client=%.*s", SPAN_ARG(client_label(c, label)));
		session_turn_away(&c->session, "4.7.0", "Too many connections from your address");
	} else if (door_full(c->door)) {
		log_put(LOG_limit, "smtpd_session_limit: client=%.*s", SPAN_ARG(client_label(c, label)));
		session_turn_away(&c->session, "4.3.2", "Too many connections, try again later");
	} else if (c->door->policy.wrapper) {
		c->session.wait = WAIT_TLS;
		c->tls_due = true;
	} else
		session_ask_greeting(&c->session);
	c->wait = UINT8_MAX;
	settle(c);
}

/* Its sessions have crashed smtpd: fd is closed. */
static bool
shunned(const struct door *door, int fd, const struct netaddr *peer)
{
	char line[512], text[NETADDR_TEXT];
	int n = snprintf(line, sizeof(line), "421 4.7.0 %.*s Service not available, try again later\r\n", SPAN_ARG(door->policy.conf->myhostname));

	if (!shun_client(door->smtpd->loop, fd, peer, door->policy.wrapper ? SPAN_NONE : span_of(line, (size_t)n)))
		return false;
	log_put(LOG_quarantine, "client=%.*s is not served: its sessions have crashed smtpd", SPAN_ARG(netaddr_text(peer, text)));
	return true;
}

void
client_begin(struct door *door, int fd, const struct netaddr *peer)
{
	struct client *c = shunned(door, fd, peer) ? NULL : client_new(door, fd);
	struct session_peer who = { .trusted = false };
	char address[NETADDR_TEXT], label[400];
	struct buf literal;

	if (!c) {
		(void)close(fd);
		return;
	}
	buf_init(&literal, 128);
	c->peer = *peer;
	(void)stream_whose(&c->stream, peer, true);
	identify(c, fd, peer, &who, address, &literal);
	c->id = queueid_new(&door->smtpd->last_queue_id, loop_wall_ms(door->smtpd->loop) * 1000, door->smtpd->service->instance % QUEUEID_INSTANCES);
	session_init(&c->session, &door->policy, &who, &client_ports, c);
	buf_free(&literal);
	if (netaddr_loopback(peer))
		session_on_name(&c->session, SPAN("localhost"));
	else
		lookup_start(c, peer);
	log_put(LOG_connect, "client=%.*s listener=%s", SPAN_ARG(client_label(c, label)), door->name);
	greet(c, peer, who.trusted);
	doors_balance(door->smtpd);
}

void
client_accept(struct listener *l, int fd, const struct netaddr *peer)
{
	struct door *door = OWNER_OF(l, struct door, listener);
	uint8_t bytes[16];

	if (netaddr_bytes(peer, bytes) && conf_nets_match(&door->policy.listener->proxy_hosts, bytes))
		arrival_begin(door, fd, peer);
	else
		client_begin(door, fd, peer);
}
