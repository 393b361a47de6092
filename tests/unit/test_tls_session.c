/* SPDX-License-Identifier: ISC
 *
 * Sessions that are resumed: by whom, for how long, and what may be bound to them.
 */
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "tests/unit/tls_pair.h"

/* A connection with some data, which brings the ticket; whether its session was resumed. */
static bool
visit(struct tls_server *server, struct tls_client *client, const struct tls_want *want, bool *verified)
{
	struct tls_facts facts;
	struct fail why = { 0 };
	struct pair p;
	char text[8];
	size_t n;

	pair_open(&p, server, client, want);
	*verified = false;
	if (!shake(&p, &why)) {
		pair_close(&p);
		return false;
	}
	tls_conn_facts(p.client, &facts);
	*verified = facts.verified;
	assert_int_equal(tls_write(p.server, SPAN("hello"), &n, &why), TLS_IO_DONE);
	assert_int_equal(tls_read(p.client, text, sizeof(text), &n, &why), TLS_IO_DONE);
	(void)tls_bye(p.client);
	(void)tls_bye(p.server);
	pair_close(&p);
	return facts.resumed;
}

static void
test_sessions_are_resumed_for_the_same_wants_alone(void **state)
{
	struct fixture f;
	struct fail why = { 0 };
	struct span right = SPAN("a.test"), wrong = SPAN("b.test");
	struct tls_want may = { .level = TLS_LEVEL_MAY, .sni = right, .names = &wrong, .nnames = 1, .peer = SPAN("a.test[192.0.2.1]:25") };
	struct tls_want verify = may, dane = may, stranger;
	struct tls_tlsa record, other;
	uint8_t bytes[32] = { 1 };
	struct tls_server *server;
	struct tls_client *client;
	bool verified;
	char *ca;

	(void)state;
	assert_true(fixture_make(&f, "EC", "a.test"));
	server = server_of(&f);
	ca = write_ca(&f);
	client = tls_client_new(ca, NULL, &why);
	verify.level = TLS_LEVEL_VERIFY;
	record = (struct tls_tlsa){ 3, 1, 1, span_of(f.id, sizeof(f.id)) };
	other = (struct tls_tlsa){ 3, 1, 1, span_of(bytes, sizeof(bytes)) };
	dane.level = TLS_LEVEL_DANE;
	dane.tlsa = &record;
	dane.ntlsa = 1;
	assert_false(visit(server, client, &may, &verified));
	assert_false(verified);
	assert_true(visit(server, client, &may, &verified));
	assert_false(verified); /* as it was */
	/* Same peer, other wants: nothing of that counts. */
	assert_false(visit(server, client, &verify, &verified));
	assert_false(verified);
	verify.names = &right;
	assert_false(visit(server, client, &verify, &verified));
	assert_true(verified);
	assert_true(visit(server, client, &verify, &verified));
	assert_true(verified);
	assert_false(visit(server, client, &dane, &verified));
	assert_true(verified);
	assert_true(visit(server, client, &dane, &verified));
	assert_true(verified);
	dane.tlsa = &other;
	assert_false(visit(server, client, &dane, &verified));
	assert_false(verified);
	stranger = may;
	stranger.peer = SPAN("a.test[192.0.2.2]:25");
	assert_false(visit(server, client, &stranger, &verified));
	stranger.peer = SPAN_NONE;
	assert_false(visit(server, client, &stranger, &verified));
	assert_false(visit(server, client, &stranger, &verified));
	assert_int_equal(f.asked, 8); /* a signature for each that was not resumed; the client hangs up on two of them */
	tls_client_unref(&client);
	tls_server_unref(&server);
	(void)unlink(ca);
	fixture_free(&f);
}

static unsigned char ticket_hour;

static bool
hourly(void *ctx, struct tls_ticket_key keys[2])
{
	(void)ctx;
	memset(&keys[0], ticket_hour, sizeof(keys[0]));
	memset(&keys[1], ticket_hour - 1, sizeof(keys[1]));
	return ticket_hour != 0;
}

/* What the last of the connections below could be bound to. */
static struct {
	bool exporter, end_point;
} bindings;

static bool
can_bind(const struct tls_conn *conn, struct span type)
{
	struct buf data;
	bool can;

	buf_init(&data, 100);
	can = tls_conn_binding(conn, type, &data);
	buf_free(&data);
	return can;
}

/* A TLS 1.2 client with a session; whether it was resumed, and the session afterwards. */
static bool
resumes(struct tls_server *server, SSL_CTX *ctx, SSL_SESSION **session)
{
	enum tls_io io = TLS_IO_READ;
	struct tls_conn *conn;
	struct fail why = { 0 };
	SSL *ssl = SSL_new(ctx);
	bool reused;
	int fd[2], done = 0;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	conn = tls_accept_new(server, fd[0], TLS_ASK_NOTHING, &why);
	(void)SSL_set_fd(ssl, fd[1]);
	SSL_set_connect_state(ssl);
	if (*session)
		(void)SSL_set_session(ssl, *session);
	for (int i = 0; i < 20 && (io != TLS_IO_DONE || done != 1); i++) {
		done = done == 1 ? 1 : SSL_do_handshake(ssl);
		if (io == TLS_IO_READ && (io = tls_handshake(conn, &why)) == TLS_IO_FAIL)
			fail_msg("%s", why.text);
	}
	assert_int_equal(done, 1);
	reused = SSL_session_reused(ssl);
	bindings.exporter = can_bind(conn, SPAN("tls-exporter"));
	bindings.end_point = can_bind(conn, SPAN("tls-server-end-point"));
	SSL_SESSION_free(*session);
	*session = SSL_get1_session(ssl);
	(void)SSL_shutdown(ssl);
	SSL_free(ssl);
	tls_conn_free(&conn);
	(void)close(fd[0]);
	(void)close(fd[1]);
	return reused;
}

static void
test_tickets_are_shared_and_rotate(void **state)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL_SESSION *session = NULL, *old;
	struct tls_server *one, *two;
	struct fail why = { 0 };
	struct fixture f;
	struct tls_signer signer = { fixture_sign, &f, hourly };

	(void)state;
	assert_true(fixture_make(&f, "EC", "a.test"));
	(void)SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
	one = tls_server_new(&signer, &why);
	two = tls_server_new(&signer, &why);
	assert_true(tls_server_add_chain(one, buf_span(&f.chain), &why) && tls_server_add_chain(two, buf_span(&f.chain), &why));
	ticket_hour = 5;
	assert_false(resumes(one, ctx, &session));
	assert_true(resumes(two, ctx, &session)); /* another process of the kind */
	old = SSL_SESSION_dup(session);
	ticket_hour = 6;
	assert_true(resumes(one, ctx, &session)); /* and sealed anew */
	ticket_hour = 7;
	assert_true(resumes(two, ctx, &session));
	assert_false(resumes(one, ctx, &old)); /* two hours old */
	ticket_hour = 0; /* keyd is away: keys of its own, known to no other */
	assert_false(resumes(one, ctx, &session));
	assert_true(resumes(one, ctx, &session));
	assert_false(resumes(two, ctx, &session));
	SSL_SESSION_free(session);
	SSL_SESSION_free(old);
	SSL_CTX_free(ctx);
	tls_server_unref(&one);
	tls_server_unref(&two);
	fixture_free(&f);
}

/* With no certificate yet. */
static void
two_renew(struct two *two)
{
	tls_server_unref(&two->server);
	two->server = tls_server_new(&two->signer, NULL);
}

/* Which of two certificates a resumed session began with is not known any more. */
static void
test_channel_binding_of_a_resumed_session(void **state)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct two two;

	(void)state;
	two_open(&two, "RSA", "a.test", "EC", "a.test");
	two.signer.tickets = hourly;
	(void)SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
	ticket_hour = 5;
	for (int both = 0; both < 2; both++) {
		SSL_SESSION *session = NULL;

		two_renew(&two);
		assert_true(two_add(&two, 0) && (!both || two_add(&two, 1)));
		assert_false(resumes(two.server, ctx, &session));
		assert_true(bindings.exporter && bindings.end_point);
		assert_true(resumes(two.server, ctx, &session));
		assert_true(bindings.exporter && bindings.end_point == !both);
		SSL_SESSION_free(session);
	}
	SSL_CTX_set_options(ctx, SSL_OP_NO_EXTENDED_MASTER_SECRET); /* RFC 9266 3 */
	{
		SSL_SESSION *session = NULL;

		two_renew(&two);
		assert_true(two_add(&two, 0));
		assert_false(resumes(two.server, ctx, &session));
		assert_true(!bindings.exporter && bindings.end_point);
		SSL_SESSION_free(session);
	}
	SSL_CTX_free(ctx);
	two_close(&two);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sessions_are_resumed_for_the_same_wants_alone),
		cmocka_unit_test(test_tickets_are_shared_and_rotate),
		cmocka_unit_test(test_channel_binding_of_a_resumed_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
