/* SPDX-License-Identifier: ISC
 *
 * remoted whole, in one process: queued and dnsd are the other ends of its
 * channels, peers are scripted servers on loopback.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemons/remoted/job.h"
#include "daemons/remoted/remoted.h"
#include "mail/downgrade.h"
#include "net/listener.h"
#include "tests/unit/tls_fixture.h"

/* --- a scripted peer --------------------------------------------------------- */

struct peer;

struct peer_session {
	struct list node;
	struct peer *peer;
	struct stream stream;
	bool data;
	unsigned rcpts;
};

/* Replies by command; NULL: the usual one. "" closes the connection. */
struct peer {
	struct listener listener;
	struct list sessions;
	const char *greeting, *ehlo, *mail, *rcpt, *data, *final;
	bool lmtp, breaks_tls;
	struct tls_server *tls;
	unsigned connections, messages, quits;
	struct buf transcript, content; /* all commands; the last content, still stuffed */
	struct netaddr address;
};

static struct loop *loop;

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

static void
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

static void
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

/* An address that answers no packet, for nobody takes the connections that wait there, until peer_listen(queue[0]).
 * False: there is no such address here. */
static bool
hole_open(const char *address, uint16_t port, int queue[4])
{
	struct netaddr at;
	struct fail why;

	assert_true(netaddr_parse(span_str(address), port, &at));
	queue[0] = listener_bind(&at, 0, &why);
	for (int i = 1; i < 4; i++) {
		queue[i] = socket(netaddr_family(&at), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)connect(queue[i], &at.u.sa, at.len);
	}
	return queue[0] >= 0;
}

static void
hole_close(int queue[4], bool listening)
{
	for (int i = listening; i < 4; i++)
		(void)close(queue[i]);
}

static void
peer_hang_up(struct peer *p) /* on all who are connected */
{
	struct list *node;

	while ((node = list_shift(&p->sessions))) {
		struct peer_session *s = OWNER_OF(node, struct peer_session, node);

		stream_close(&s->stream);
		free(s);
	}
}

static void
peer_close(struct peer *p)
{
	peer_hang_up(p);
	listener_close(&p->listener);
	buf_free(&p->transcript);
	buf_free(&p->content);
}

static bool
peer_heard(const struct peer *p, const char *what)
{
	return span_find(buf_span(&p->transcript), span_str(what)) != SIZE_MAX;
}

/* --- queued and dnsd ------------------------------------------------------------ */

struct outcome {
	unsigned results, done;
	uint8_t outcome[8], health;
	bool maybe_done, reused;
	char code[8][16], reply[256], peer[256], text[256], tls[256];
};

static struct outcome got[64]; /* by job id */
static struct service service;
static struct channel *queued, *dnsd, *routed;
static struct ipc_callout_answer told; /* the last one; its texts: */
static char told_text[3][400];
static unsigned ntold;
static struct arena conf_arena;
static unsigned asked; /* of dnsd */
static bool dns_mute;

static bool
on_deliver_capacity(struct channel *c, const struct ipc_deliver_capacity *m)
{
	(void)c;
	assert_true(m->jobs > 0);
	return true;
}

static bool
on_deliver_result(struct channel *c, const struct ipc_deliver_result *m)
{
	struct outcome *o = &got[m->id];

	(void)c;
	assert_int_equal(m->index, o->results);
	o->outcome[o->results & 7] = m->outcome;
	(void)span_cstr(m->code, o->code[o->results & 7], sizeof(o->code[0]));
	(void)span_cstr(m->reply, o->reply, sizeof(o->reply));
	(void)span_cstr(m->peer, o->peer, sizeof(o->peer));
	(void)span_cstr(m->tls, o->tls, sizeof(o->tls));
	o->maybe_done = m->maybe_done;
	o->results++;
	return true;
}

static bool
on_deliver_done(struct channel *c, const struct ipc_deliver_done *m)
{
	(void)c;
	got[m->id].done++;
	got[m->id].health = m->health;
	got[m->id].reused = m->reused;
	(void)span_cstr(m->text, got[m->id].text, sizeof(got[m->id].text));
	return true;
}

#define DISPATCH_DEF "ipc/deliver.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

static bool
on_callout_answer(struct channel *c, const struct ipc_callout_answer *m)
{
	(void)c;
	told = *m;
	(void)span_cstr(m->code, told_text[0], sizeof(told_text[0]));
	(void)span_cstr(m->peer, told_text[1], sizeof(told_text[1]));
	(void)span_cstr(m->reply, told_text[2], sizeof(told_text[2]));
	ntold++;
	return true;
}

#define DISPATCH_DEF "ipc/callout.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

static bool
on_dns_ask(struct channel *c, const struct ipc_dns_ask *m)
{
	asked++;
	if (dns_mute)
		return true;
	if (m->type == 0 && span_eq(m->name, SPAN("mx.test"))) {
		assert_true(ipc_send_dns_record(c, &(struct ipc_dns_record){ .id = m->id, .type = 0, .preference = 10, .name = SPAN("dead.test") }));
		assert_true(ipc_send_dns_record(c, &(struct ipc_dns_record){ .id = m->id, .type = 0, .preference = 20, .name = SPAN("live.test") }));
		return ipc_send_dns_done(c, &(struct ipc_dns_done){ .id = m->id });
	}
	if (m->type == 0 && span_eq(m->name, SPAN("null.test"))) {
		assert_true(ipc_send_dns_record(c, &(struct ipc_dns_record){ .id = m->id }));
		return ipc_send_dns_done(c, &(struct ipc_dns_done){ .id = m->id });
	}
	if (m->type == 0)
		return ipc_send_dns_done(c, &(struct ipc_dns_done){ .id = m->id, .result = span_eq(m->name, SPAN("live.test")) ? 2 : 1 });
	for (char n = 2; n < 6 && span_eq(m->name, SPAN("many.test")); n++)
		assert_true(ipc_send_dns_record(c, &(struct ipc_dns_record){ .id = m->id, .type = 1, .data = span_of((char[]){ 127, 0, 0, n }, 4) }));
	if (span_eq(m->name, SPAN("both.test")))
		assert_true(ipc_send_dns_record(c, &(struct ipc_dns_record){ .id = m->id, .type = 1, .data = SPAN("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1") }));
	if (span_eq(m->name, SPAN("slow.test")))
		assert_true(ipc_send_dns_record(c, &(struct ipc_dns_record){ .id = m->id, .type = 1, .data = SPAN("\177\0\0\312") }));
	assert_true(ipc_send_dns_record(c, &(struct ipc_dns_record){ .id = m->id, .type = 1,
	    .data = span_eq(m->name, SPAN("dead.test")) || span_eq(m->name, SPAN("slow.test")) ? SPAN("\177\0\0\311") : SPAN("\177\0\0\1") }));
	return ipc_send_dns_done(c, &(struct ipc_dns_done){ .id = m->id });
}

#define DISPATCH_DEF "ipc/dns.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
channel_gone(struct channel *c, const struct fail *why)
{
	(void)why;
	if (c == queued)
		queued = NULL;
	if (c == dnsd)
		dnsd = NULL;
	if (c == routed)
		routed = NULL;
	channel_free(&c);
}

static const struct channel_ops queued_ops = { dispatch_deliver, channel_gone, NULL };
static const struct channel_ops routed_ops = { dispatch_callout, channel_gone, NULL };
static const struct channel_ops dnsd_ops = { dispatch_dns, channel_gone, NULL };

static struct channel *
wire(const struct ipc_channel *type, enum channel_side ours, const struct channel_ops *ops)
{
	struct channel *c = NULL;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	for (size_t i = 0; i < remoted_ops.nchannels; i++)
		if (remoted_ops.channels[i].type == type) {
			c = channel_new(loop, pair[0], type, remoted_ops.channels[i].side, remoted_ops.channels[i].ops, &service);
			remoted_ops.channels[i].on_open(&service, c, SPAN("test"), 0);
		}
	assert_non_null(c);
	return channel_new(loop, pair[1], type, ours, ops, NULL);
}

static void
start(const char *text)
{
	struct conf_errors errors = { .n = 0 };
	struct fail why;
	char all[2048];

	loop = loop_new();
	arena_init(&conf_arena, 1 << 24);
	(void)snprintf(all, sizeof(all), "myhostname = us.test\n%s%s%s", strstr(text, "inet_protocols") ? "" : "inet_protocols = ipv4\n",
	    strstr(text, "CAfile") ? "" : "smtp_tls_CAfile =\n", text);
	service = (struct service){ .loop = loop, .conf = conf_parse(span_str(all), &conf_arena, &errors), .name = "remoted" };
	if (!service.conf)
		fail_msg("%s", errors.items[0].text);
	assert_true(remoted_ops.on_boot(&service, &why));
	queued = wire(&ipc_channel_deliver, CHANNEL_CLIENT, &queued_ops);
	routed = wire(&ipc_channel_callout, CHANNEL_CLIENT, &routed_ops);
	ntold = 0;
	dnsd = wire(&ipc_channel_dns, CHANNEL_SERVER, &dnsd_ops);
	memset(got, 0, sizeof(got));
	asked = 0;
	dns_mute = false;
}

static struct remoted *
remoted(void)
{
	return service.state;
}

static void
stop(void)
{
	struct remoted *r = remoted();

	pool_close(&r->pool);
	channel_free(&queued);
	channel_free(&routed);
	for (int i = 0; i < 100 && (r->agent.count || r->ncallouts || r->nsessions); i++)
		(void)loop_turn(loop, 20);
	assert_int_equal(r->agent.count, 0);
	assert_int_equal(r->ncallouts, 0);
	assert_int_equal(r->nsessions, 0);
	for (int i = 0; i < 5; i++)
		(void)loop_turn(loop, 5);
	channel_free(&dnsd);
	inquirer_free(&r->dns);
	pool_free(&r->pool);
	map_free(&r->agent.by_id);
	policy_unref(&r->policy);
	signer_free(&r->signer);
	free(r);
	loop_free(&loop);
	arena_free(&conf_arena);
}

/* To a recipient of that domain, by its own MX. */
static void
give_to(uint64_t id, const char *domain)
{
	char address[64];

	(void)snprintf(address, sizeof(address), "bob@%s", domain);
	assert_true(ipc_send_deliver_job(queued, &(struct ipc_deliver_job){ .id = id, .message = id, .nexthop = span_str(domain), .size = 10 }));
	assert_true(ipc_send_deliver_rcpt(queued, &(struct ipc_deliver_rcpt){ .id = id, .address = span_str(address) }));
	assert_true(ipc_send_deliver_content(queued, &(struct ipc_deliver_content){ .id = id, .bytes = SPAN("x\r\n") }));
}

static void
give_head(uint64_t id, const char *nexthop, unsigned rcpts)
{
	assert_true(ipc_send_deliver_job(queued, &(struct ipc_deliver_job){
		.id = id, .message = id, .nexthop = span_str(nexthop), .sender = SPAN("alice@us.test"), .size = 10 }));
	for (unsigned i = 0; i < rcpts; i++) {
		char address[32];

		(void)snprintf(address, sizeof(address), "bob%u@peer.test", i);
		assert_true(ipc_send_deliver_rcpt(queued, &(struct ipc_deliver_rcpt){ .id = id, .index = i, .address = span_str(address), .notify = 2 }));
	}
}

static void
give(uint64_t id, const char *nexthop, unsigned rcpts, const char *content)
{
	give_head(id, nexthop, rcpts);
	assert_true(ipc_send_deliver_content(queued, &(struct ipc_deliver_content){ .id = id, .bytes = span_str(content) }));
}

static struct outcome *
wait_for(uint64_t id)
{
	for (int i = 0; i < 500 && !got[id].done; i++)
		(void)loop_turn(loop, 20);
	assert_int_equal(got[id].done, 1);
	return &got[id];
}

static const char *
hop_to(const struct peer *p)
{
	static char text[64];

	(void)snprintf(text, sizeof(text), "[127.0.0.1]:%u", netaddr_port(&p->address));
	return text;
}

/* --- tests ---------------------------------------------------------------------------- */

static void
give_8bit(uint64_t id, const char *nexthop, const char *content)
{
	assert_true(ipc_send_deliver_job(queued, &(struct ipc_deliver_job){
		.id = id, .message = id, .nexthop = span_str(nexthop), .sender = SPAN("alice@us.test"), .size = strlen(content), .body8 = true }));
	assert_true(ipc_send_deliver_rcpt(queued, &(struct ipc_deliver_rcpt){ .id = id, .address = SPAN("bob@peer.test") }));
	assert_true(ipc_send_deliver_content(queued, &(struct ipc_deliver_content){ .id = id, .bytes = span_str(content) }));
}

/* S15 */
static void
test_8bit_content_is_converted_for_a_7bit_peer(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	p.ehlo = "250-peer.test\r\n250 SIZE 100000000";
	give_8bit(1, hop_to(&p), "Subject: x\r\n\r\n\xc3\xbc\r\n");
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_RELAYED);
	assert_true(span_eq(buf_span(&p.content), SPAN("Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\n"
						       "Content-Transfer-Encoding: quoted-printable\n\n=C3=BC\n.\n")));
	assert_true(peer_heard(&p, "MAIL FROM:<alice@us.test> SIZE=134\n")); /* of what is sent */
	give_8bit(2, hop_to(&p), "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xc3\xbc\r\n--b--\r\n");
	assert_int_equal(wait_for(2)->outcome[0], DELIVER_FAILED);
	assert_string_equal(got[2].code[0], "5.6.3");
	peer_close(&p);
	stop();
}

static void
test_delivers_and_reuses(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	give(1, hop_to(&p), 2, "Subject: x\r\n\r\n.dot\r\n..two\r\nend\r\n");
	assert_int_equal(wait_for(1)->results, 2);
	assert_int_equal(got[1].outcome[0], DELIVER_DELIVERED);
	assert_string_equal(got[1].code[1], "2.0.0");
	assert_string_equal(got[1].reply, "250 2.0.0 taken");
	assert_int_equal(got[1].health, DELIVER_ANSWERED);
	assert_true(span_eq(buf_span(&p.content), SPAN("Subject: x\n\n..dot\n...two\nend\n.\n")));
	assert_true(peer_heard(&p, "EHLO us.test\nMAIL FROM:<alice@us.test> SIZE=32\nRCPT TO:<bob0@peer.test> NOTIFY=FAILURE\n"));
	for (uint64_t id = 2; id < 20; id++) {
		give(id, hop_to(&p), 1, "x\r\n");
		assert_int_equal(wait_for(id)->outcome[0], DELIVER_DELIVERED);
		assert_true(got[id].reused);
	}
	assert_int_equal(p.connections, 1);
	assert_int_equal(p.messages, 19);
	pool_close(&remoted()->pool);
	for (int i = 0; i < 50 && !p.quits; i++)
		(void)loop_turn(loop, 10);
	assert_int_equal(p.quits, 1);
	peer_close(&p);
	stop();
}

/* With sanitizers: there are no bytes that it could be made of. */
static void
test_a_message_without_a_byte_is_converted_to_none(void **state)
{
	struct remote_content c = { .fd = -1 };
	struct fail why;

	(void)state;
	assert_true(content_convert(&c, DOWNGRADE_8BIT, &why));
	assert_int_equal(c.size, 0);
	content_free(&c);
}

/* smtp_connection_reuse_count_limit, smtp_connection_cache_on_demand; each connection ends with QUIT. */
static void
test_connections_end_after_so_many_messages(void **state)
{
	static const struct {
		const char *conf;
		unsigned connections;
	} rows[] = { { "smtp_connection_reuse_count_limit = 3\n", 2 }, { "smtp_connection_cache_on_demand = no\n", 6 }, { "smtp_connection_reuse_time_limit = 0\n", 6 } };
	struct peer p;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		start(rows[i].conf);
		peer_open(&p, NULL);
		for (uint64_t id = 1; id <= 6; id++) {
			give(id, hop_to(&p), 1, "x\r\n");
			assert_int_equal(wait_for(id)->outcome[0], DELIVER_DELIVERED);
		}
		assert_int_equal(p.connections, rows[i].connections);
		for (int turns = 0; turns < 50 && p.quits < p.connections; turns++)
			(void)loop_turn(loop, 10);
		assert_int_equal(p.quits, rows[i].connections);
		peer_close(&p);
		stop();
	}
}

/* smtp_mx_session_limit: hosts that answer and put us off; smtp_mx_address_limit: addresses, whatever they do. */
static void
test_no_more_hosts_than_allowed_are_asked(void **state)
{
	static const struct {
		const char *conf, *greeting;
		unsigned connections;
	} rows[] = {
		{ "", "421 4.3.2 not now", 2 },
		{ "smtp_mx_session_limit = 4\n", "421 4.3.2 not now", 4 },
		{ "smtp_mx_session_limit = 0\n", "421 4.3.2 not now", 5 },
		{ "smtp_mx_session_limit = 0\nsmtp_mx_address_limit = 3\n", "421 4.3.2 not now", 3 },
	};
	struct netaddr at;
	struct fail why;
	struct peer p;
	char hop[64];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		start(rows[i].conf);
		assert_true(netaddr_parse(SPAN("0.0.0.0"), 0, &at));
		peer_listen(&p, listener_bind(&at, 64, &why));
		p.greeting = rows[i].greeting;
		(void)snprintf(hop, sizeof(hop), "[many.test]:%u", netaddr_port(&p.address));
		give(1, hop, 1, "x\r\n");
		assert_int_equal(wait_for(1)->outcome[0], DELIVER_DEFERRED);
		assert_string_equal(got[1].code[0], "4.3.2");
		assert_int_equal(p.connections, rows[i].connections);
		peer_close(&p);
		stop();
	}
}

static void
test_stale_connection_is_no_failure(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	give(1, hop_to(&p), 1, "x\r\n");
	(void)wait_for(1);
	give(2, hop_to(&p), 1, "x\r\n"); /* is on its way when the peer hangs up */
	(void)channel_flush(queued);
	peer_hang_up(&p);
	assert_int_equal(wait_for(2)->outcome[0], DELIVER_DELIVERED);
	assert_int_equal(p.connections, 2);
	peer_close(&p);
	stop();
}

static void
test_partial_and_refusals(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	p.rcpt = "550 5.1.1 no such user";
	give(1, hop_to(&p), 2, "x\r\n");
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_FAILED);
	assert_string_equal(got[1].code[0], "5.1.1");
	assert_string_equal(got[1].reply, "550 5.1.1 no such user");
	assert_int_equal(got[1].health, DELIVER_ANSWERED);
	p.rcpt = NULL;
	p.final = "451 4.3.0 later";
	give(2, hop_to(&p), 1, "x\r\n");
	assert_int_equal(wait_for(2)->outcome[0], DELIVER_DEFERRED);
	assert_true(peer_heard(&p, "RSET\n"));
	p.final = "";
	give(3, hop_to(&p), 1, "x\r\n");
	assert_int_equal(wait_for(3)->outcome[0], DELIVER_DEFERRED);
	assert_true(got[3].maybe_done);
	p.final = NULL;
	p.greeting = "421 4.3.2 busy";
	give(4, hop_to(&p), 1, "x\r\n");
	assert_int_equal(wait_for(4)->outcome[0], DELIVER_DEFERRED);
	assert_int_equal(got[4].health, DELIVER_OVERLOADED);
	assert_false(got[4].maybe_done);
	p.greeting = "554 5.7.1 go away";
	give(5, hop_to(&p), 1, "x\r\n");
	assert_int_equal(wait_for(5)->outcome[0], DELIVER_DEFERRED);
	p.greeting = "521 5.3.2 no mail here";
	give(6, hop_to(&p), 1, "x\r\n");
	assert_int_equal(wait_for(6)->outcome[0], DELIVER_FAILED);
	peer_close(&p);
	stop();
}

static void
test_by_mx(void **state)
{
	struct peer p;
	char hop[64];

	(void)state;
	start("smtp_connect_timeout = 2s");
	peer_open(&p, NULL);
	(void)snprintf(hop, sizeof(hop), "mx.test:%u", netaddr_port(&p.address));
	give(1, hop, 1, "x\r\n"); /* the better MX has nobody on that port */
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_DELIVERED);
	assert_true(strstr(got[1].peer, "live.test[127.0.0.1]:"));
	give_to(2, "null.test");
	assert_int_equal(wait_for(2)->outcome[0], DELIVER_FAILED);
	assert_string_equal(got[2].code[0], "5.1.10");
	assert_int_equal(got[2].health, DELIVER_UNTRIED);
	give_to(3, "nosuch.test");
	assert_int_equal(wait_for(3)->outcome[0], DELIVER_FAILED);
	assert_string_equal(got[3].code[0], "5.1.2");
	give(4, "[127.0.0.201]:1", 1, "x\r\n");
	assert_int_equal(wait_for(4)->outcome[0], DELIVER_DEFERRED);
	assert_string_equal(got[4].code[0], "4.4.1");
	assert_int_equal(got[4].health, DELIVER_UNREACHED);
	give_to(5, "[");
	assert_int_equal(wait_for(5)->outcome[0], DELIVER_FAILED);
	peer_close(&p);
	stop();
}

/* Sends a message to what calls itself what we do. */
static struct outcome *
give_ourselves(uint64_t id, bool own_domain)
{
	struct outcome *o;
	struct peer p;
	char hop[64];

	peer_open(&p, NULL);
	p.ehlo = "250 us.test";
	remoted()->policy->rules.own_port = netaddr_port(&p.address); /* for 25, which a test cannot have */
	(void)snprintf(hop, sizeof(hop), "[127.0.0.1]:%u", netaddr_port(&p.address));
	if (own_domain)
		give_to(id, hop);
	else
		give(id, hop, 1, "x\r\n");
	o = wait_for(id);
	peer_close(&p);
	return o;
}

/* A slip of the administrator, or of whoever runs the smart host's DNS, is no reason to bounce all mail. */
static void
test_a_next_hop_of_ours_that_is_not_there_is_waited_for(void **state)
{
	static const char *const hops[] = { "nosuch.test", "null.test", "smtp:nosuch.test:587", "[" };

	(void)state;
	start("smtp_fallback_relay =");
	for (uint64_t id = 1; id <= 4; id++) {
		give(id, hops[id - 1], 1, "x\r\n");
		assert_int_equal(wait_for(id)->outcome[0], DELIVER_DEFERRED);
		assert_string_equal(got[id].code[0], "4.3.5");
		assert_int_equal(got[id].health, DELIVER_UNREACHED);
	}
	assert_int_equal(give_ourselves(8, false)->outcome[0], DELIVER_DEFERRED);
	assert_string_equal(got[8].code[0], "4.3.5");
	assert_int_equal(give_ourselves(9, true)->outcome[0], DELIVER_FAILED);
	assert_string_equal(got[9].code[0], "5.4.6");
	stop();
	start("smtp_fallback_relay = nosuch.test, [");
	give(5, "[127.0.0.201]:1", 1, "x\r\n");
	assert_int_equal(wait_for(5)->outcome[0], DELIVER_DEFERRED);
	give_to(6, "null.test");
	assert_int_equal(wait_for(6)->outcome[0], DELIVER_DEFERRED);
	stop();
}

/* RFC 5321 5.1: the next address, the other family's first, long before smtp_connect_timeout; and the silent one
 * comes last for a while. */
static void
test_a_silent_address_is_not_waited_for(void **state)
{
	struct peer p;
	char hop[64];
	int queue[4];
	int64_t begun;
	bool there;

	(void)state;
	start("inet_protocols = all\nsmtp_address_preference = ipv6\nsmtp_connect_timeout = 1h\nsmtp_connection_cache_on_demand = no\n");
	peer_open(&p, NULL);
	there = hole_open("::1", netaddr_port(&p.address), queue);
	(void)snprintf(hop, sizeof(hop), "[both.test]:%u", netaddr_port(&p.address));
	for (uint64_t id = 1; there && id <= 3; id++) {
		begun = loop_now_ms(loop);
		give(id, hop, 1, "x\r\n");
		assert_int_equal(wait_for(id)->outcome[0], DELIVER_DELIVERED);
		assert_true(strstr(got[id].peer, "both.test[127.0.0.1]:"));
		begun = loop_now_ms(loop) - begun;
		if (id == 1 ? begun < 2000 || begun > 5000 : begun > 2000)
			fail_msg("message %d took %d ms", (int)id, (int)begun);
	}
	hole_close(queue, false);
	peer_close(&p);
	stop();
	if (!there)
		skip(); /* without IPv6 */
}

/* Where no other is left, it has all the time that a connection has. */
static void
test_a_slow_address_is_waited_for_in_the_end(void **state)
{
	struct peer p;
	struct netaddr slow;
	char hop[64];
	int queue[4];

	(void)state;
	start("smtp_connect_timeout = 1h\nsmtp_randomize_addresses = no\n");
	peer_open(&p, NULL); /* for a port; nobody has it at the other address */
	assert_true(netaddr_parse(SPAN("127.0.0.202"), netaddr_port(&p.address), &slow));
	peer_close(&p);
	assert_true(hole_open("127.0.0.202", netaddr_port(&slow), queue));
	(void)snprintf(hop, sizeof(hop), "[slow.test]:%u", netaddr_port(&slow));
	give(1, hop, 1, "x\r\n");
	for (int i = 0; i < 500 && !pool_recalls(&remoted()->pool, &slow, POOL_DEAD, loop_now_ms(loop)); i++)
		(void)loop_turn(loop, 20);
	assert_int_equal(got[1].done, 0);
	peer_listen(&p, queue[0]);
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_DELIVERED);
	assert_true(strstr(got[1].peer, "slow.test[127.0.0.202]:"));
	hole_close(queue, true);
	peer_close(&p);
	stop();
}

static void
test_dnsd_dies(void **state)
{
	struct peer p;
	char hop[64];

	(void)state;
	start("");
	peer_open(&p, NULL);
	(void)snprintf(hop, sizeof(hop), "live.test:%u", netaddr_port(&p.address));
	dns_mute = true;
	give(1, hop, 1, "x\r\n");
	for (int i = 0; i < 200 && !asked; i++)
		(void)loop_turn(loop, 10);
	assert_int_equal(asked, 1);
	channel_free(&dnsd);
	for (int i = 0; i < 5; i++)
		(void)loop_turn(loop, 10);
	dns_mute = false;
	dnsd = wire(&ipc_channel_dns, CHANNEL_SERVER, &dnsd_ops);
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_DELIVERED);
	peer_close(&p);
	stop();
}

static void
test_queued_dies(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	p.final = "250 ok";
	give(1, hop_to(&p), 1, "x\r\n");
	give_head(2, hop_to(&p), 1);
	give(3, "live.test:9", 1, "x\r\n");
	for (int i = 0; i < 2; i++)
		(void)loop_turn(loop, 10);
	channel_free(&queued);
	for (int i = 0; i < 100 && (remoted()->agent.count || remoted()->nsessions); i++)
		(void)loop_turn(loop, 10);
	assert_int_equal(remoted()->agent.count, 0);
	queued = wire(&ipc_channel_deliver, CHANNEL_CLIENT, &queued_ops);
	give(4, hop_to(&p), 1, "x\r\n");
	assert_int_equal(wait_for(4)->outcome[0], DELIVER_DELIVERED);
	peer_close(&p);
	stop();
}

static void
test_large_content_from_descriptor(void **state)
{
	enum { SIZE = 5 * 1000 * 1000 };
	struct peer p;
	char path[] = "/tmp/pp-content-XXXXXX", *big = malloc(SIZE + 100);
	int fd = mkstemp(path);
	size_t n = 100;

	(void)state;
	(void)unlink(path);
	memset(big, '#', 100);
	while (n + 40 < SIZE)
		n += (size_t)sprintf(big + n, "%sline %zu of a long message\r\n", n % 3 ? "." : "", n);
	assert_int_equal(pwrite(fd, big, n, 0), n);
	start("");
	peer_open(&p, NULL);
	give_head(1, hop_to(&p), 1);
	assert_true(ipc_send_deliver_content_fd(queued, &(struct ipc_deliver_content_fd){ .id = 1, .offset = 100, .size = n - 100 }, fd));
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_DELIVERED);
	assert_true(span_starts(buf_span(&p.content), SPAN("..line 100 of")));
	assert_true(span_ends(buf_span(&p.content), SPAN("message\n.\n")));
	/* Without the dots that were put in front, without CR: the same bytes. */
	{
		struct span rest = buf_span(&p.content), source = span_of(big + 100, n - 100);

		while (rest.n) {
			struct span line = span_cut(&rest, '\n');

			if (span_starts(line, SPAN(".")))
				line = span_from(line, 1);
			if (!rest.n)
				break;
			assert_true(span_starts(source, line));
			source = span_from(source, line.n + 2);
		}
		assert_int_equal(source.n, 0);
	}
	/* A file that is too short: the message must not end well. */
	fd = open("/dev/null", O_RDONLY);
	give_head(2, hop_to(&p), 1);
	assert_true(ipc_send_deliver_content_fd(queued, &(struct ipc_deliver_content_fd){ .id = 2, .size = 10 }, fd));
	assert_int_equal(wait_for(2)->outcome[0], DELIVER_DEFERRED);
	assert_int_equal(p.messages, 1);
	peer_close(&p);
	stop();
	free(big);
}

static void
test_lmtp_on_a_socket(void **state)
{
	struct peer p;
	char dir[] = "/tmp/pp-lmtp-XXXXXX", path[64], hop[96];

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/s", dir);
	(void)snprintf(hop, sizeof(hop), "lmtp:unix:%s", path);
	start("");
	peer_open(&p, path);
	p.lmtp = true;
	p.ehlo = "250-peer\r\n250 PIPELINING";
	give(1, hop, 3, "x\r\n");
	assert_int_equal(wait_for(1)->results, 3);
	assert_int_equal(got[1].outcome[2], DELIVER_RELAYED);
	assert_string_equal(got[1].peer, path);
	assert_true(peer_heard(&p, "LHLO us.test\n"));
	peer_close(&p);
	stop();
	(void)unlink(path);
	(void)rmdir(dir);
}

static void
test_tls_that_fails_is_plain(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	p.ehlo = "250-peer.test\r\n250 STARTTLS"; /* to which it says 500 */
	give(1, hop_to(&p), 1, "x\r\n");
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_RELAYED);
	assert_true(peer_heard(&p, "STARTTLS\nMAIL"));
	peer_close(&p);
	stop();
	start("smtp_tls_security_level = encrypt");
	peer_open(&p, NULL);
	give(1, hop_to(&p), 1, "x\r\n");
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_DEFERRED);
	assert_string_equal(got[1].code[0], "4.7.5");
	assert_int_equal(p.messages, 0);
	peer_close(&p);
	stop();
}

static void
test_handshake_that_breaks_is_plain(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	p.breaks_tls = true;
	p.ehlo = "250-peer.test\r\n250-PIPELINING\r\n250 STARTTLS";
	give(1, hop_to(&p), 1, "x\r\n");
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_RELAYED);
	assert_string_equal(got[1].tls, "");
	assert_int_equal(p.connections, 2);
	give(2, hop_to(&p), 1, "x\r\n");
	(void)wait_for(2);
	pool_close(&remoted()->pool);
	remoted()->pool.closed = false;
	give(3, hop_to(&p), 1, "x\r\n"); /* a new connection: it is remembered that TLS does not work */
	assert_int_equal(wait_for(3)->outcome[0], DELIVER_RELAYED);
	assert_int_equal(p.connections, 3);
	peer_close(&p);
	stop();
}

/* One message to live.test at a peer whose certificate is for `name`. */
static void
over_tls(const char *level, const char *name, const char *trusted, uint8_t outcome, const char *tls)
{
	struct fixture f;
	struct tls_signer signer = { fixture_sign, &f, NULL };
	char path[] = "/tmp/pp-ca-XXXXXX", text[256], hop[64];
	struct fail why;
	struct peer p;
	int fd = mkstemp(path);

	assert_true(fixture_make(&f, "EC", name));
	assert_int_equal(write(fd, buf_span(&f.chain).p, buf_len(&f.chain)), buf_len(&f.chain));
	(void)close(fd);
	(void)snprintf(text, sizeof(text), "smtp_tls_security_level = %s\nsmtp_tls_CAfile = %s\n", level, trusted ? path : "/etc/ssl/certs/ca-certificates.crt");
	start(text);
	peer_open(&p, NULL);
	p.tls = tls_server_new(&signer, &why);
	assert_non_null(p.tls);
	assert_true(tls_server_add_chain(p.tls, buf_span(&f.chain), &why));
	(void)snprintf(hop, sizeof(hop), "live.test:%u", netaddr_port(&p.address));
	give(1, hop, 1, "x\r\n");
	assert_int_equal(wait_for(1)->outcome[0], outcome);
	assert_non_null(strstr(got[1].tls, tls));
	if (outcome == DELIVER_DELIVERED) {
		assert_true(strstr(got[1].tls, "TLSv1."));
		assert_true(span_eq(buf_span(&p.content), SPAN("x\n.\n")));
		give(2, hop, 1, "y\r\n");
		assert_true(wait_for(2)->reused);
	} else {
		assert_string_equal(got[1].code[0], "4.7.5");
		assert_int_equal(p.messages, 0);
	}
	peer_close(&p);
	stop();
	tls_server_unref(&p.tls);
	fixture_free(&f);
	(void)unlink(path);
}

static void
test_tls_levels(void **state)
{
	(void)state;
	over_tls("may", "other.test", NULL, DELIVER_DELIVERED, "unverified");
	over_tls("encrypt", "other.test", NULL, DELIVER_DELIVERED, "unverified");
	over_tls("verify", "live.test", "yes", DELIVER_DELIVERED, " verified");
	over_tls("verify", "other.test", "yes", DELIVER_DEFERRED, "");
	over_tls("secure", "live.test", "yes", DELIVER_DELIVERED, " verified");
	over_tls("verify", "live.test", NULL, DELIVER_DEFERRED, "");
}

static void
test_many_at_once(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	for (uint64_t id = 1; id < 64; id++)
		give(id, hop_to(&p), 1, "x\r\n");
	for (uint64_t id = 1; id < 64; id++)
		assert_int_equal(wait_for(id)->outcome[0], DELIVER_DELIVERED);
	assert_int_equal(p.messages, 63);
	peer_close(&p);
	stop();
}

static void
test_reload_and_fallback(void **state)
{
	struct conf_errors errors = { .n = 0 };
	const struct conf *old;
	char text[256];
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	give(1, hop_to(&p), 1, "x\r\n");
	(void)wait_for(1);
	old = service.conf;
	(void)snprintf(text, sizeof(text), "myhostname = new.test\nsmtp_tls_CAfile =\nsmtp_fallback_relay = %s\n", hop_to(&p));
	service.conf = conf_parse(span_str(text), &conf_arena, &errors);
	assert_non_null(service.conf);
	remoted_ops.on_reload(&service, old);
	give(2, "nosuch.test", 1, "x\r\n");
	assert_int_equal(wait_for(2)->outcome[0], DELIVER_DELIVERED);
	give(3, "[127.0.0.201]:1", 1, "x\r\n");
	assert_int_equal(wait_for(3)->outcome[0], DELIVER_DELIVERED);
	assert_true(peer_heard(&p, "EHLO new.test\n"));
	assert_int_equal(got[3].health, DELIVER_ANSWERED);
	/* Who was refused is not sent to the fallback. */
	p.rcpt = "550 5.1.1 no";
	give(4, hop_to(&p), 1, "x\r\n");
	assert_int_equal(wait_for(4)->outcome[0], DELIVER_FAILED);
	peer_close(&p);
	stop();
}

static void
test_cancel(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	dns_mute = true;
	give(1, "live.test:9", 1, "x\r\n");
	assert_true(ipc_send_deliver_cancel(queued, &(struct ipc_deliver_cancel){ .id = 1 }));
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_DEFERRED);
	assert_int_equal(got[1].results, 1);
	p.greeting = "220-wait"; /* never goes on */
	give(2, hop_to(&p), 2, "x\r\n");
	for (int i = 0; i < 100 && !p.connections; i++)
		(void)loop_turn(loop, 10);
	assert_true(ipc_send_deliver_cancel(queued, &(struct ipc_deliver_cancel){ .id = 2 }));
	assert_int_equal(wait_for(2)->results, 2);
	assert_true(ipc_send_deliver_cancel(queued, &(struct ipc_deliver_cancel){ .id = 2 })); /* crossing its end: no violation */
	p.greeting = NULL;
	give(3, hop_to(&p), 1, "x\r\n");
	assert_int_equal(wait_for(3)->outcome[0], DELIVER_DELIVERED);
	peer_close(&p);
	stop();
}

/* --- callouts ----------------------------------------------------------------------- */

static void
call(uint64_t id, const char *nexthop, const char *address, const char *sender)
{
	unsigned before = ntold;

	assert_true(ipc_send_callout_ask(routed, &(struct ipc_callout_ask){ .id = id, .nexthop = span_str(nexthop), .address = span_str(address), .sender = span_str(sender) }));
	for (int i = 0; i < 500 && ntold == before; i++)
		(void)loop_turn(loop, 20);
	assert_int_equal(ntold, before + 1);
	assert_int_equal(told.id, id);
}

static void
test_callouts(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	call(1, hop_to(&p), "bob@peer.test", "");
	assert_int_equal(told.outcome, CALLOUT_TAKES);
	assert_false(told.unreached);
	assert_string_equal(told_text[0], "2.0.0");
	assert_non_null(strstr(told_text[1], "[127.0.0.1]:"));
	assert_string_equal(told_text[2], "250 ok");
	assert_true(peer_heard(&p, "EHLO us.test\nMAIL FROM:<>\nRCPT TO:<bob@peer.test>\nRSET\n"));
	p.rcpt = "550 5.1.1 nobody";
	call(2, hop_to(&p), "eve@peer.test", "probe@us.test");
	assert_int_equal(told.outcome, CALLOUT_REFUSES);
	assert_string_equal(told_text[0], "5.1.1");
	assert_true(peer_heard(&p, "MAIL FROM:<probe@us.test>\nRCPT TO:<eve@peer.test>\nRSET\n"));
	p.rcpt = "450 4.2.0 greylisted";
	call(3, hop_to(&p), "joe@peer.test", "");
	assert_int_equal(told.outcome, CALLOUT_LATER);
	assert_false(told.unreached);
	p.rcpt = NULL;
	p.mail = "550 no bounces";
	call(4, hop_to(&p), "joe@peer.test", "");
	assert_int_equal(told.outcome, CALLOUT_LATER);
	p.mail = NULL;
	assert_int_equal(p.connections, 1);
	give(1, hop_to(&p), 1, "x\r\n"); /* a delivery goes over the same connection */
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_DELIVERED);
	assert_true(got[1].reused);
	assert_int_equal(p.messages, 1);
	peer_close(&p);
	stop();
}

static void
test_callouts_to_the_dead(void **state)
{
	struct peer p, fallback;
	char text[200], dead[64];

	(void)state;
	start("");
	peer_open(&p, NULL);
	(void)snprintf(dead, sizeof(dead), "%s", hop_to(&p));
	peer_close(&p);
	peer_open(&fallback, NULL);
	(void)snprintf(text, sizeof(text), "myhostname = us.test\nsmtp_tls_CAfile =\nsmtp_fallback_relay = %s\n", hop_to(&fallback));
	service.conf = conf_parse(span_str(text), &conf_arena, &(struct conf_errors){ .n = 0 });
	remoted_ops.on_reload(&service, NULL);
	call(1, dead, "bob@peer.test", "");
	assert_int_equal(told.outcome, CALLOUT_LATER);
	assert_true(told.unreached);
	assert_non_null(strstr(told_text[2], "refused"));
	assert_int_equal(fallback.connections, 0); /* it takes everybody */
	call(2, "gone.test", "bob@gone.test", "");
	call(3, "null.test", "bob@null.test", "");
	assert_int_equal(told.outcome, CALLOUT_REFUSES);
	assert_string_equal(told_text[0], "5.1.10");
	call(4, "[bad", "bob@peer.test", ""); /* which says nothing of bob */
	assert_int_equal(told.outcome, CALLOUT_LATER);
	call(5, "nosuch.test", "bob@peer.test", "");
	assert_int_equal(told.outcome, CALLOUT_LATER);
	peer_close(&fallback);
	stop();
}

static void
test_routed_dies_and_remoted_stops_amid_callouts(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	p.rcpt = "250-wait"; /* and no more */
	for (uint64_t id = 1; id < 6; id++)
		assert_true(ipc_send_callout_ask(routed, &(struct ipc_callout_ask){ .id = id, .nexthop = span_str(hop_to(&p)), .address = SPAN("bob@peer.test") }));
	for (int i = 0; i < 100 && !peer_heard(&p, "RCPT"); i++)
		(void)loop_turn(loop, 10);
	assert_int_equal(remoted()->ncallouts, 5);
	channel_free(&routed);
	for (int i = 0; i < 100 && remoted()->ncallouts; i++)
		(void)loop_turn(loop, 10);
	assert_int_equal(remoted()->ncallouts, 0);
	routed = wire(&ipc_channel_callout, CHANNEL_CLIENT, &routed_ops);
	assert_true(ipc_send_callout_ask(routed, &(struct ipc_callout_ask){ .id = 9, .nexthop = span_str(hop_to(&p)), .address = SPAN("bob@peer.test") }));
	for (int i = 0; i < 100 && !remoted()->ncallouts; i++)
		(void)loop_turn(loop, 10);
	service.stopping = true;
	remoted_ops.on_stop(&service);
	assert_int_equal(remoted()->ncallouts, 0);
	assert_int_equal(ntold, 0);
	peer_hang_up(&p);
	service.stopping = false;
	peer_close(&p);
	stop();
}

static void
test_too_many_callouts(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	p.rcpt = "250-wait";
	for (uint64_t id = 1; id <= 210; id++)
		assert_true(ipc_send_callout_ask(routed, &(struct ipc_callout_ask){ .id = id, .nexthop = span_str(hop_to(&p)), .address = SPAN("bob@peer.test") }));
	for (int i = 0; i < 200 && ntold < 10; i++)
		(void)loop_turn(loop, 10);
	assert_int_equal(ntold, 10);
	assert_int_equal(told.outcome, CALLOUT_LATER);
	assert_int_equal(remoted()->ncallouts, 200);
	peer_close(&p);
	stop();
}

static void
test_violations(void **state)
{
	(void)state;
	start("");
	give_head(1, "[127.0.0.1]:1", 0);
	assert_true(ipc_send_deliver_rcpt(queued, &(struct ipc_deliver_rcpt){ .id = 1, .index = 5, .address = SPAN("a@b") }));
	for (int i = 0; i < 50 && queued; i++)
		(void)loop_turn(loop, 10);
	assert_null(queued);
	assert_int_equal(remoted()->agent.count, 0);
	stop();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delivers_and_reuses),
		cmocka_unit_test(test_8bit_content_is_converted_for_a_7bit_peer),
		cmocka_unit_test(test_a_message_without_a_byte_is_converted_to_none),
		cmocka_unit_test(test_connections_end_after_so_many_messages),
		cmocka_unit_test(test_no_more_hosts_than_allowed_are_asked),
		cmocka_unit_test(test_stale_connection_is_no_failure),
		cmocka_unit_test(test_partial_and_refusals),
		cmocka_unit_test(test_by_mx),
		cmocka_unit_test(test_a_next_hop_of_ours_that_is_not_there_is_waited_for),
		cmocka_unit_test(test_a_silent_address_is_not_waited_for),
		cmocka_unit_test(test_a_slow_address_is_waited_for_in_the_end),
		cmocka_unit_test(test_dnsd_dies),
		cmocka_unit_test(test_queued_dies),
		cmocka_unit_test(test_large_content_from_descriptor),
		cmocka_unit_test(test_lmtp_on_a_socket),
		cmocka_unit_test(test_tls_that_fails_is_plain),
		cmocka_unit_test(test_handshake_that_breaks_is_plain),
		cmocka_unit_test(test_tls_levels),
		cmocka_unit_test(test_many_at_once),
		cmocka_unit_test(test_reload_and_fallback),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_callouts),
		cmocka_unit_test(test_callouts_to_the_dead),
		cmocka_unit_test(test_routed_dies_and_remoted_stops_amid_callouts),
		cmocka_unit_test(test_too_many_callouts),
		cmocka_unit_test(test_violations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
