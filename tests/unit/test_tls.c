/* SPDX-License-Identifier: ISC
 *
 * Handshakes with keys that only the signer has: kinds of keys, names, what is refused.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/tls_pair.h"

/* Both ends have the same, or neither has any. */
static void
check_binding(const struct pair *p, const char *type, size_t n)
{
	struct buf a, b;

	buf_init(&a, 100);
	buf_init(&b, 100);
	assert_int_equal(tls_conn_binding(p->client, span_str(type), &a), n > 0);
	assert_int_equal(tls_conn_binding(p->server, span_str(type), &b), n > 0);
	assert_int_equal(buf_len(&a), n);
	assert_true(span_eq(buf_span(&a), buf_span(&b)));
	buf_free(&a);
	buf_free(&b);
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
	check_binding(&p, "tls-exporter", 32);
	check_binding(&p, "tls-server-end-point", strcmp(kind, "ED25519") == 0 ? 0 : 32); /* RFC 5929 4.1: no hash, no binding */
	check_binding(&p, "tls-unique", 0);
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

static void
test_the_name_asked_for_chooses_the_chain(void **state)
{
	struct fail why = { 0 };
	struct two two;

	(void)state;
	two_open(&two, "EC", "a.test", "RSA", "*.b.test");
	assert_true(two_add(&two, 0));
	assert_false(tls_server_add_chain(two.server, SPAN("-----BEGIN CERTIFICATE-----\nrubbish\n"), &why));
	assert_true(two_add(&two, 1));
	check_name(two.server, two.client, "a.test", "a.test");
	check_name(two.server, two.client, "imap.B.test", "*.b.test");
	check_name(two.server, two.client, "x.y.b.test", "a.test");
	check_name(two.server, two.client, "unknown.test", "a.test");
	check_name(two.server, two.client, "", "a.test");
	two_close(&two);
}

/* One bad chain harms only itself: nothing of it is left, nor touched (with the sanitizers). */
static void
test_a_chain_that_is_too_weak_leaves_nothing(void **state)
{
	struct two two;

	(void)state;
	two_open(&two, "RSA512", "a.test", "EC", "b.test");
	assert_false(two_add(&two, 0));
	assert_true(two_add(&two, 1));
	check_name(two.server, two.client, "a.test", "b.test");
	two_close(&two);
}

static void
test_rsa_and_ecdsa_chains_of_one_name_share_it(void **state)
{
	struct two two;

	(void)state;
	two_open(&two, "RSA", "a.test", "EC", "a.test");
	assert_true(two_add(&two, 0));
	assert_true(two_add(&two, 1));
	check_name(two.server, two.client, "a.test", "a.test");
	assert_int_equal(two.key[1].asked, 1); /* a modern client prefers ECDSA */
	assert_int_equal(two.key[0].asked, 0);
	two_close(&two);
}

/* Two hosts' certificates, each with the name of both in front. */
static void
test_chains_that_share_their_first_name_serve_the_others(void **state)
{
	struct two two;

	(void)state;
	two_open(&two, "EC", "both.test,DNS:a.test", "EC", "both.test,DNS:b.test");
	assert_true(two_add(&two, 0));
	assert_true(two_add(&two, 1));
	assert_false(two_add(&two, 1)); /* it is there */
	check_name(two.server, two.client, "both.test", "both.test,DNS:a.test");
	check_name(two.server, two.client, "a.test", "both.test,DNS:a.test");
	check_name(two.server, two.client, "b.test", "both.test,DNS:b.test");
	check_name(two.server, two.client, "", "both.test,DNS:a.test");
	two_close(&two);
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
	conn = tls_accept_new(server, fd[0], TLS_ASK_NOTHING, &why);
	assert_int_equal(write(fd[1], "NOOP\r\nNOOP\r\nNOOP\r\n", 18), 18);
	assert_int_equal(tls_handshake(conn, &why), TLS_IO_FAIL);
	assert_true(why.text[0] != '\0');
	tls_conn_free(&conn);
	tls_server_unref(&server);
	(void)close(fd[0]);
	(void)close(fd[1]);
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
		cmocka_unit_test(test_a_chain_that_is_too_weak_leaves_nothing),
		cmocka_unit_test(test_rsa_and_ecdsa_chains_of_one_name_share_it),
		cmocka_unit_test(test_chains_that_share_their_first_name_serve_the_others),
		cmocka_unit_test(test_plaintext_is_not_a_handshake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
