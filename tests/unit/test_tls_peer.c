/* SPDX-License-Identifier: ISC
 *
 * Clients' certificates, shown by a client of OpenSSL's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "net/fingerprint.h"
#include "tests/unit/tls_fixture.h"

static struct tls_server *
server_with(struct fixture *f, const struct fixture *anchor)
{
	struct tls_signer signer = { .sign = fixture_sign, .ctx = f };
	struct fail why = { 0 };
	struct tls_server *server = tls_server_new(&signer, &why);

	assert_non_null(server);
	if (anchor)
		assert_true(tls_server_add_anchors(server, buf_span(&anchor->chain), &why));
	assert_true(tls_server_add_chain(server, buf_span(&f->chain), &why));
	return server;
}

static SSL_CTX *
client_with(const struct fixture *f, int version)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	(void)SSL_CTX_set_max_proto_version(ctx, version);
	if (f) {
		BIO *bio = BIO_new_mem_buf(buf_span(&f->chain).p, (int)buf_len(&f->chain));
		X509 *leaf = PEM_read_bio_X509(bio, NULL, NULL, NULL);

		assert_int_equal(SSL_CTX_use_certificate(ctx, leaf), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey(ctx, f->key), 1);
		X509_free(leaf);
		BIO_free(bio);
	}
	return ctx;
}

/* Whether the server was content; *session goes in and comes out. */
static bool
shake(struct tls_server *server, SSL_CTX *ctx, enum tls_ask ask, SSL_SESSION **session, struct tls_facts *facts)
{
	enum tls_io io = TLS_IO_READ;
	struct fail why = { 0 };
	SSL *ssl = SSL_new(ctx);
	struct tls_conn *conn;
	int fd[2], done = 0;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	conn = tls_accept_new(server, fd[0], ask, &why);
	assert_non_null(conn);
	(void)SSL_set_fd(ssl, fd[1]);
	SSL_set_connect_state(ssl);
	(void)SSL_set_tlsext_host_name(ssl, "mail.example.test");
	if (session && *session)
		(void)SSL_set_session(ssl, *session);
	for (int i = 0; i < 20 && io != TLS_IO_FAIL && (io != TLS_IO_DONE || done != 1); i++) {
		done = done == 1 ? 1 : SSL_do_handshake(ssl);
		if (io == TLS_IO_READ)
			io = tls_handshake(conn, &why);
	}
	if (io == TLS_IO_DONE)
		tls_conn_facts(conn, facts);
	if (io == TLS_IO_DONE && session) {
		SSL_SESSION_free(*session);
		*session = SSL_get1_session(ssl);
		(void)SSL_shutdown(ssl);
	}
	SSL_free(ssl);
	tls_conn_free(&conn);
	(void)close(fd[0]);
	(void)close(fd[1]);
	return io == TLS_IO_DONE;
}

struct world {
	struct fixture server, friend, stranger;
};

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	*state = w;
	return fixture_make(&w->server, "EC", "mail.example.test") && fixture_make(&w->friend, "EC", "Alice") && fixture_make(&w->stranger, "RSA", "Alice") ? 0 : -1;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	fixture_free(&w->server);
	fixture_free(&w->friend);
	fixture_free(&w->stranger);
	free(w);
	return 0;
}

static void
test_what_is_shown_is_described(void **state)
{
	struct world *w = *state;
	struct tls_server *server = server_with(&w->server, &w->friend);
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

	for (size_t i = 0; i < 2; i++) {
		struct fixture *shown[] = { NULL, &w->stranger, &w->friend };

		for (size_t j = 0; j < 3; j++) {
			SSL_CTX *ctx = client_with(shown[j], versions[i]);
			struct tls_facts facts;

			assert_true(shake(server, ctx, TLS_ASK_NOTHING, NULL, &facts));
			assert_false(facts.certificate.shown);
			assert_true(shake(server, ctx, TLS_ASK_CERTIFICATE, NULL, &facts));
			assert_int_equal(facts.certificate.shown, j > 0);
			assert_int_equal(facts.certificate.trusted, j == 2);
			assert_string_equal(facts.certificate.subject, j ? "Alice" : "");
			if (j)
				assert_memory_equal(facts.certificate.key, shown[j]->id, TLS_KEY_ID);
			SSL_CTX_free(ctx);
		}
	}
	tls_server_unref(&server);
}

static void
test_what_is_required_must_be_trusted(void **state)
{
	struct world *w = *state;
	struct tls_server *server = server_with(&w->server, &w->friend);
	struct fixture *shown[] = { NULL, &w->stranger, &w->friend };

	for (size_t j = 0; j < 3; j++) {
		SSL_CTX *ctx = client_with(shown[j], TLS1_2_VERSION);
		struct tls_facts facts;

		assert_int_equal(shake(server, ctx, TLS_REQUIRE_CERTIFICATE, NULL, &facts), j == 2);
		SSL_CTX_free(ctx);
	}
	tls_server_unref(&server);
}

/* Of another listener, without a certificate; of the same one it has its certificate still. */
static void
test_a_session_is_resumed_where_the_same_was_asked_alone(void **state)
{
	struct world *w = *state;
	struct tls_server *server = server_with(&w->server, &w->friend);
	SSL_CTX *bare = client_with(NULL, TLS1_2_VERSION), *ctx = client_with(&w->friend, TLS1_2_VERSION);
	SSL_SESSION *session = NULL;
	struct tls_facts facts;

	assert_true(shake(server, bare, TLS_ASK_NOTHING, &session, &facts));
	assert_true(shake(server, bare, TLS_ASK_NOTHING, &session, &facts) && facts.resumed);
	assert_false(shake(server, bare, TLS_REQUIRE_CERTIFICATE, &session, &facts));
	assert_true(shake(server, bare, TLS_ASK_CERTIFICATE, &session, &facts) && !facts.resumed);
	assert_false(shake(server, bare, TLS_REQUIRE_CERTIFICATE, &session, &facts));
	SSL_SESSION_free(session);
	session = NULL;
	assert_true(shake(server, ctx, TLS_REQUIRE_CERTIFICATE, &session, &facts) && !facts.resumed);
	assert_true(shake(server, ctx, TLS_REQUIRE_CERTIFICATE, &session, &facts) && facts.resumed);
	assert_true(facts.certificate.shown && facts.certificate.trusted);
	assert_string_equal(facts.certificate.subject, "Alice");
	SSL_SESSION_free(session);
	SSL_CTX_free(bare);
	SSL_CTX_free(ctx);
	tls_server_unref(&server);
}

/* A period is in use, and opens until the next one ends. */
static void
test_a_session_may_be_resumed_for_two_periods_of_its_key(void **state)
{
	struct world *w = *state;
	struct tls_signer signer = { .sign = fixture_sign, .ctx = &w->server };
	struct fail why = { 0 };
	struct tls_server *server = tls_server_new(&signer, &why);
	SSL_CTX *ctx = client_with(NULL, TLS1_2_VERSION);
	SSL_SESSION *session = NULL;
	struct tls_facts facts;

	tls_server_ticket_period(server, 12 * 3600);
	assert_true(tls_server_add_chain(server, buf_span(&w->server.chain), &why));
	assert_true(shake(server, ctx, TLS_ASK_NOTHING, &session, &facts));
	assert_int_equal(SSL_SESSION_get_ticket_lifetime_hint(session), 24 * 3600);
	SSL_SESSION_free(session);
	SSL_CTX_free(ctx);
	tls_server_unref(&server);
}

static void
test_what_breaks_later_is_not_the_certificates_fault(void **state)
{
	struct world *w = *state;
	struct tls_server *server = server_with(&w->server, &w->friend);
	SSL_CTX *ctx = client_with(&w->stranger, TLS1_3_VERSION);
	SSL *ssl = SSL_new(ctx);
	enum tls_io io = TLS_IO_READ;
	struct fail why = { 0 };
	struct tls_conn *conn;
	char text[16];
	size_t got;
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	conn = tls_accept_new(server, fd[0], TLS_ASK_CERTIFICATE, &why);
	(void)SSL_set_fd(ssl, fd[1]);
	for (int i = 0; i < 20 && io == TLS_IO_READ; i++) {
		(void)SSL_connect(ssl);
		io = tls_handshake(conn, &why);
	}
	assert_int_equal(io, TLS_IO_DONE);
	assert_int_equal(write(fd[1], "EHLO a\r\n", 8), 8);
	assert_int_equal(tls_read(conn, text, sizeof(text), &got, &why), TLS_IO_FAIL);
	if (span_find(fail_text(&why), SPAN("certificate")) != SIZE_MAX)
		fail_msg("%s", why.text);
	tls_conn_free(&conn);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	tls_server_unref(&server);
	(void)close(fd[0]);
	(void)close(fd[1]);
}

static void
test_rubbish_is_no_authority(void **state)
{
	struct world *w = *state;
	struct tls_signer signer = { .sign = fixture_sign, .ctx = &w->server };
	struct fail why = { 0 };
	struct tls_server *server = tls_server_new(&signer, &why);

	assert_false(tls_server_add_anchors(server, SPAN("-----BEGIN CERTIFICATE-----\nrubbish\n"), &why));
	assert_false(tls_server_add_anchors(server, SPAN(""), &why));
	tls_server_unref(&server);
}

static void
test_fingerprints_are_written_as_ever(void **state)
{
	uint8_t digest[FINGERPRINT] = { 0x00, 0xab, 0x1f };
	char text[FINGERPRINT_TEXT];

	(void)state;
	assert_int_equal(fingerprint_text(digest, text).n, 95);
	assert_memory_equal(text, "00:AB:1F:00:", 12);
	assert_string_equal(text + 90, "00:00");
}

static void
test_a_subject_is_one_word_of_the_log(void **state)
{
	struct tls_certificate c = { .shown = true, .subject = "me id=SG1 from=<a@b> (x" };
	char text[TLS_CERTIFICATE_WORDS];
	struct span words = tls_certificate_words(&c, text);

	(void)state;
	assert_true(span_ends(words, SPAN(" trusted=no subject=me?id=SG1?from=?a@b?" "?(x")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_is_shown_is_described, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_required_must_be_trusted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_session_is_resumed_where_the_same_was_asked_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_session_may_be_resumed_for_two_periods_of_its_key, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_breaks_later_is_not_the_certificates_fault, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rubbish_is_no_authority, setup, teardown),
		cmocka_unit_test(test_fingerprints_are_written_as_ever),
		cmocka_unit_test(test_a_subject_is_one_word_of_the_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
