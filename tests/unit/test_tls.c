/* SPDX-License-Identifier: ISC
 *
 * Handshakes over a socketpair with keys that only the signer has.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>
#include "tests/unit/tls_fixture.h"

struct pair {
	int fd[2];
	struct tls_conn *server, *client;
};

static char *
write_ca(const struct fixture *f)
{
	static char path[] = "/tmp/test_tls_ca.XXXXXX";
	int fd;

	(void)snprintf(path, sizeof(path), "/tmp/test_tls_ca.XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, buf_span(&f->chain).p, buf_len(&f->chain)), buf_len(&f->chain));
	(void)close(fd);
	return path;
}

static void
pair_open(struct pair *p, struct tls_server *server, struct tls_client *client, const struct tls_want *want)
{
	struct fail why = { 0 };

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p->fd), 0);
	p->server = tls_accept_new(server, p->fd[0], &why);
	assert_non_null(p->server);
	p->client = tls_connect_new(client, p->fd[1], want, &why);
	assert_non_null(p->client);
}

static void
pair_close(struct pair *p)
{
	tls_conn_free(&p->server);
	tls_conn_free(&p->client);
	(void)close(p->fd[0]);
	(void)close(p->fd[1]);
}

static bool
shake(struct pair *p, struct fail *why)
{
	enum tls_io a = TLS_IO_READ, b = TLS_IO_READ;

	for (int i = 0; i < 20 && (a != TLS_IO_DONE || b != TLS_IO_DONE); i++) {
		if (a != TLS_IO_DONE)
			a = tls_handshake(p->client, why);
		if (a == TLS_IO_FAIL)
			return false;
		if (b != TLS_IO_DONE)
			b = tls_handshake(p->server, why);
		if (b == TLS_IO_FAIL)
			return false;
	}
	return a == TLS_IO_DONE && b == TLS_IO_DONE;
}

static struct tls_server *
server_of(struct fixture *f)
{
	struct tls_signer signer = { fixture_sign, f, NULL };
	struct fail why = { 0 };
	struct tls_server *server = tls_server_new(&signer, &why);

	if (!server || !tls_server_add_chain(server, buf_span(&f->chain), &why))
		fail_msg("%s", why.text);
	return server;
}

static void
check_exchange(const char *kind)
{
	struct fixture f;
	struct fail why = { 0 };
	struct span name = SPAN("mail.example.test");
	struct tls_want want = { TLS_LEVEL_VERIFY, name, &name, 1 };
	struct tls_server *server;
	struct tls_client *client;
	struct tls_facts facts;
	struct pair p;
	char text[64], *ca;
	size_t n = 0;

	assert_true(fixture_make(&f, kind, "mail.example.test"));
	server = server_of(&f);
	ca = write_ca(&f);
	client = tls_client_new(ca, NULL, &why);
	assert_non_null(client);
	pair_open(&p, server, client, &want);
	tls_server_unref(&server); /* the connection keeps it */
	if (!shake(&p, &why))
		fail_msg("%s: %s", kind, why.text);
	assert_int_equal(f.asked, 1);
	tls_conn_facts(p.client, &facts);
	assert_true(facts.verified);
	assert_string_equal(facts.version, "TLSv1.3");
	assert_string_equal(facts.peer_subject, "mail.example.test");
	tls_conn_facts(p.server, &facts);
	assert_string_equal(facts.sni, "mail.example.test");
	assert_false(facts.verified);
	assert_int_equal(tls_write(p.client, SPAN("hello"), &n, &why), TLS_IO_DONE);
	assert_int_equal(n, 5);
	assert_int_equal(tls_read(p.server, text, sizeof(text), &n, &why), TLS_IO_DONE);
	assert_int_equal(n, 5);
	assert_memory_equal(text, "hello", 5);
	assert_int_equal(tls_read(p.server, text, sizeof(text), &n, &why), TLS_IO_READ);
	(void)tls_bye(p.client);
	assert_int_equal(tls_read(p.server, text, sizeof(text), &n, &why), TLS_IO_END);
	pair_close(&p);
	tls_client_unref(&client);
	(void)unlink(ca);
	fixture_free(&f);
}

static void test_rsa_pss_key_is_used_remotely(void **state) { (void)state; check_exchange("RSA"); }
static void test_ecdsa_key_is_used_remotely(void **state) { (void)state; check_exchange("EC"); }
static void test_ed25519_key_is_used_remotely(void **state) { (void)state; check_exchange("ED25519"); }

static void
test_a_signer_that_refuses_fails_the_handshake(void **state)
{
	struct fixture f;
	struct fail why = { 0 };
	struct tls_want want = { TLS_LEVEL_MAY, SPAN_NONE, NULL, 0 };
	struct tls_client *client = tls_client_new(NULL, NULL, &why);
	struct tls_server *server;
	struct pair p;

	(void)state;
	assert_true(fixture_make(&f, "EC", "a.test"));
	f.refuse = true;
	server = server_of(&f);
	pair_open(&p, server, client, &want);
	assert_false(shake(&p, &why));
	pair_close(&p);
	tls_server_unref(&server);
	tls_client_unref(&client);
	fixture_free(&f);
}

/* An unknown authority, and a trusted certificate for another name. */
static void
test_verification_refuses_the_wrong_certificate(void **state)
{
	struct fixture f;
	struct fail why = { 0 };
	struct span wrong = SPAN("b.test"), right = SPAN("a.test");
	struct tls_want want = { TLS_LEVEL_VERIFY, wrong, &wrong, 1 };
	struct tls_server *server;
	struct tls_client *client;
	struct tls_facts facts;
	struct pair p;
	char *ca;

	(void)state;
	assert_true(fixture_make(&f, "EC", "a.test"));
	server = server_of(&f);
	ca = write_ca(&f);
	client = tls_client_new(ca, NULL, &why);
	pair_open(&p, server, client, &want);
	assert_false(shake(&p, &why));
	assert_non_null(strstr(why.text, "not accepted"));
	pair_close(&p);
	tls_client_unref(&client);
	client = tls_client_new(NULL, "/nonexistent", &why);
	want.names = &right;
	pair_open(&p, server, client, &want);
	assert_false(shake(&p, &why));
	pair_close(&p);
	/* The same is good enough where any certificate will do, and is told. */
	want.level = TLS_LEVEL_ENCRYPT;
	pair_open(&p, server, client, &want);
	assert_true(shake(&p, &why));
	tls_conn_facts(p.client, &facts);
	assert_false(facts.verified);
	assert_true(facts.verify_text[0] != '\0');
	pair_close(&p);
	tls_client_unref(&client);
	tls_server_unref(&server);
	(void)unlink(ca);
	fixture_free(&f);
}

static void
check_name(struct tls_server *server, struct tls_client *client, const char *sni, const char *subject)
{
	struct tls_want want = { TLS_LEVEL_MAY, span_str(sni), NULL, 0 };
	struct tls_facts facts;
	struct fail why = { 0 };
	struct pair p;

	pair_open(&p, server, client, &want);
	if (!shake(&p, &why))
		fail_msg("%s: %s", sni, why.text);
	tls_conn_facts(p.client, &facts);
	assert_string_equal(facts.peer_subject, subject);
	pair_close(&p);
}

struct two {
	struct fixture *f[2];
};

static bool
sign_either(void *ctx, const struct tls_sign_request *ask, struct buf *signature, struct fail *why)
{
	struct two *two = ctx;

	for (size_t i = 0; i < 2; i++)
		if (memcmp(two->f[i]->id, ask->key_id, TLS_KEY_ID) == 0)
			return fixture_sign(two->f[i], ask, signature, why);
	return fail_set(why, FAIL_PERM, 0, "no such key");
}

static void
test_the_name_asked_for_chooses_the_chain(void **state)
{
	struct fixture a, b;
	struct two two = { { &a, &b } };
	struct tls_signer signer = { sign_either, &two, NULL };
	struct fail why = { 0 };
	struct tls_client *client = tls_client_new(NULL, NULL, &why);
	struct tls_server *server = tls_server_new(&signer, &why);

	(void)state;
	assert_true(fixture_make(&a, "EC", "a.test"));
	assert_true(fixture_make(&b, "RSA", "*.b.test"));
	assert_true(tls_server_add_chain(server, buf_span(&a.chain), &why));
	assert_false(tls_server_add_chain(server, SPAN("-----BEGIN CERTIFICATE-----\nrubbish\n"), &why));
	assert_true(tls_server_add_chain(server, buf_span(&b.chain), &why));
	check_name(server, client, "a.test", "a.test");
	check_name(server, client, "imap.B.test", "*.b.test");
	check_name(server, client, "x.y.b.test", "a.test");
	check_name(server, client, "unknown.test", "a.test");
	check_name(server, client, "", "a.test");
	tls_server_unref(&server);
	tls_client_unref(&client);
	fixture_free(&a);
	fixture_free(&b);
}

static void
test_rsa_and_ecdsa_chains_of_one_name_share_it(void **state)
{
	struct fixture a, b;
	struct two two = { { &a, &b } };
	struct tls_signer signer = { sign_either, &two, NULL };
	struct fail why = { 0 };
	struct tls_client *client = tls_client_new(NULL, NULL, &why);
	struct tls_server *server = tls_server_new(&signer, &why);

	(void)state;
	assert_true(fixture_make(&a, "RSA", "a.test"));
	assert_true(fixture_make(&b, "EC", "a.test"));
	assert_true(tls_server_add_chain(server, buf_span(&a.chain), &why));
	assert_true(tls_server_add_chain(server, buf_span(&b.chain), &why));
	check_name(server, client, "a.test", "a.test");
	assert_int_equal(b.asked, 1); /* a modern client prefers ECDSA */
	assert_int_equal(a.asked, 0);
	tls_server_unref(&server);
	tls_client_unref(&client);
	fixture_free(&a);
	fixture_free(&b);
}

static void
test_plaintext_is_not_a_handshake(void **state)
{
	struct fixture f;
	struct fail why = { 0 };
	struct tls_server *server;
	struct tls_conn *conn;
	int fd[2];

	(void)state;
	assert_true(fixture_make(&f, "EC", "a.test"));
	server = server_of(&f);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	conn = tls_accept_new(server, fd[0], &why);
	assert_int_equal(write(fd[1], "NOOP\r\nNOOP\r\nNOOP\r\n", 18), 18);
	assert_int_equal(tls_handshake(conn, &why), TLS_IO_FAIL);
	assert_true(why.text[0] != '\0');
	tls_conn_free(&conn);
	tls_server_unref(&server);
	(void)close(fd[0]);
	(void)close(fd[1]);
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
	conn = tls_accept_new(server, fd[0], &why);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rsa_pss_key_is_used_remotely),
		cmocka_unit_test(test_ecdsa_key_is_used_remotely),
		cmocka_unit_test(test_ed25519_key_is_used_remotely),
		cmocka_unit_test(test_a_signer_that_refuses_fails_the_handshake),
		cmocka_unit_test(test_verification_refuses_the_wrong_certificate),
		cmocka_unit_test(test_the_name_asked_for_chooses_the_chain),
		cmocka_unit_test(test_rsa_and_ecdsa_chains_of_one_name_share_it),
		cmocka_unit_test(test_plaintext_is_not_a_handshake),
		cmocka_unit_test(test_tickets_are_shared_and_rotate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
