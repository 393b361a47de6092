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
	p->server = tls_accept_new(server, p->fd[0], TLS_ASK_NOTHING, &why);
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

/* --- DANE (RFC 7672) --- */

static unsigned
digest_of(const unsigned char *der, int n, const EVP_MD *md, unsigned char out[64])
{
	unsigned len = 0;

	assert_true(n > 0);
	assert_int_equal(EVP_Digest(der, (size_t)n, out, &len, md, NULL), 1);
	return len;
}

static X509 *
first_certificate(const struct buf *pem)
{
	BIO *bio = BIO_new_mem_buf(buf_span(pem).p, (int)buf_len(pem));
	X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	BIO_free(bio);
	assert_non_null(x);
	return x;
}

/* Makes issuer an authority that signs f's certificate, and puts its own behind it. */
static void
issue(struct fixture *f, struct fixture *issuer)
{
	X509 *leaf = first_certificate(&f->chain), *ca = first_certificate(&issuer->chain);
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
	BIO *bio = BIO_new(BIO_s_mem()), *again = BIO_new(BIO_s_mem());
	struct fail why;

	assert_true(ext && X509_add_ext(ca, ext, -1) && X509_sign(ca, issuer->key, EVP_sha256()) > 0);
	X509_EXTENSION_free(ext);
	assert_int_equal(PEM_write_bio_X509(again, ca), 1);
	buf_free(&issuer->chain);
	fixture_pem(&issuer->chain, again);
	assert_int_equal(X509_set_issuer_name(leaf, X509_get_subject_name(ca)), 1);
	assert_true(X509_sign(leaf, issuer->key, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_bio_X509(bio, leaf), 1);
	assert_int_equal(PEM_write_bio_X509(bio, ca), 1);
	buf_free(&f->chain);
	fixture_pem(&f->chain, bio);
	assert_true(tls_chain_key_id(buf_span(&f->chain), f->id, &why));
	X509_free(leaf);
	X509_free(ca);
}

struct dane_try {
	const char *what;
	unsigned usage, selector, matching; /* of the record */
	bool of_issuer, spoiled;
	const char *name, *other; /* base domain and a further name */
	bool good;
};

static void
make_record(const struct dane_try *t, X509 *x, unsigned char mem[4096], struct tls_tlsa *out)
{
	unsigned char *der = NULL;
	int n = t->selector ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der) : i2d_X509(x, &der);
	size_t len = (size_t)n;

	assert_true(n > 0 && n < 4096);
	if (t->matching)
		len = digest_of(der, n, t->matching == 1 ? EVP_sha256() : EVP_sha512(), mem);
	else
		memcpy(mem, der, len);
	OPENSSL_free(der);
	if (t->spoiled)
		mem[len - 1] ^= 1;
	*out = (struct tls_tlsa){ (uint8_t)t->usage, (uint8_t)t->selector, (uint8_t)t->matching, span_of(mem, len) };
}

static void
test_tlsa_records_decide(void **state)
{
	static const struct dane_try tries[] = {
		{ "key, SHA-256", 3, 1, 1, false, false, "elsewhere.test", NULL, true },
		{ "certificate, SHA-512", 3, 0, 2, false, false, "elsewhere.test", NULL, true },
		{ "whole certificate", 3, 0, 0, false, false, "elsewhere.test", NULL, true },
		{ "another key", 3, 1, 1, false, true, "mail.test", NULL, false },
		{ "issuer and name", 2, 0, 1, true, false, "mail.test", NULL, true },
		{ "issuer's key and name", 2, 1, 2, true, false, "mail.test", NULL, true },
		{ "issuer, second name", 2, 0, 1, true, false, "mx.test", "mail.test", true },
		{ "issuer, another name", 2, 0, 1, true, false, "elsewhere.test", NULL, false },
		{ "another issuer", 2, 0, 1, true, true, "mail.test", NULL, false },
	};
	struct fixture f, ca;
	struct fail why = { 0 };
	struct tls_server *server;
	struct tls_client *client = tls_client_new(NULL, "/nonexistent", &why);
	X509 *leaf, *issuer;

	(void)state;
	assert_true(fixture_make(&f, "EC", "mail.test") && fixture_make(&ca, "RSA", "authority"));
	issue(&f, &ca);
	server = server_of(&f);
	leaf = first_certificate(&f.chain);
	issuer = first_certificate(&ca.chain);
	for (size_t i = 0; i < sizeof(tries) / sizeof(*tries); i++) {
		const struct dane_try *t = &tries[i];
		unsigned char mem[4096], one[32] = { 1 };
		struct tls_tlsa records[2] = { { 3, 1, 1, span_of(one, 32) } }; /* one that never fits beside it */
		struct span names[2] = { span_str(t->name), span_str(t->other) };
		struct tls_want want = { .level = TLS_LEVEL_DANE, .sni = names[0], .names = names, .nnames = t->other ? 2 : 1, .tlsa = records, .ntlsa = 2 };
		struct tls_facts facts;
		struct pair p;

		make_record(t, t->of_issuer ? issuer : leaf, mem, &records[1]);
		assert_true(tls_tlsa_usable(&records[1]));
		pair_open(&p, server, client, &want);
		if (shake(&p, &why) != t->good)
			fail_msg("%s: %s", t->what, why.text);
		tls_conn_facts(p.client, &facts);
		if (facts.verified != t->good || (!t->good && tls_conn_problem(p.client) == TLS_PROBLEM_NONE))
			fail_msg("%s: verified %d", t->what, facts.verified);
		pair_close(&p);
	}
	X509_free(leaf);
	X509_free(issuer);
	tls_client_unref(&client);
	tls_server_unref(&server);
	fixture_free(&f);
	fixture_free(&ca);
}

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

static void
test_useless_tlsa_records_are_known(void **state)
{
	static const char digest[64];
	static const struct {
		unsigned usage, selector, matching;
		size_t n;
		bool usable;
	} rows[] = {
		{ 3, 1, 1, 32, true }, { 2, 0, 2, 64, true }, { 3, 0, 0, 9, true }, { 0, 1, 1, 32, false }, { 1, 1, 1, 32, false },
		{ 4, 1, 1, 32, false }, { 3, 2, 1, 32, false }, { 3, 1, 3, 32, false }, { 3, 1, 1, 31, false }, { 3, 1, 2, 32, false }, { 3, 1, 0, 0, false },
	};
	struct fail why = { 0 };
	struct tls_client *client = tls_client_new(NULL, "/nonexistent", &why);
	struct span name = SPAN("mail.test");
	struct tls_tlsa record = { 3, 0, 0, SPAN("no certificate") };
	struct tls_want want = { .level = TLS_LEVEL_DANE, .names = &name, .nnames = 1, .tlsa = &record, .ntlsa = 1 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct tls_tlsa t = { (uint8_t)rows[i].usage, (uint8_t)rows[i].selector, (uint8_t)rows[i].matching, span_of(digest, rows[i].n) };

		assert_int_equal(tls_tlsa_usable(&t), rows[i].usable);
	}
	/* Nothing that could be fulfilled: no connection, rather than one without a condition. */
	assert_null(tls_connect_new(client, -1, &want, &why));
	want.ntlsa = 0;
	assert_null(tls_connect_new(client, -1, &want, &why));
	tls_client_unref(&client);
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

/* A server with two keys, and who asks it. */
struct two {
	struct fixture key[2];
	struct tls_signer signer;
	struct tls_client *client;
	struct tls_server *server;
};

static bool
sign_either(void *ctx, const struct tls_sign_request *ask, struct buf *signature, struct fail *why)
{
	struct two *two = ctx;

	for (size_t i = 0; i < 2; i++)
		if (memcmp(two->key[i].id, ask->key_id, TLS_KEY_ID) == 0)
			return fixture_sign(&two->key[i], ask, signature, why);
	return fail_set(why, FAIL_PERM, 0, "no such key");
}

static void
two_open(struct two *two, const char *kind0, const char *name0, const char *kind1, const char *name1)
{
	two->signer = (struct tls_signer){ sign_either, two, NULL };
	two->client = tls_client_new(NULL, NULL, NULL);
	two->server = tls_server_new(&two->signer, NULL);
	assert_true(fixture_make(&two->key[0], kind0, name0));
	assert_true(fixture_make(&two->key[1], kind1, name1));
}

/* With no certificate yet. */
static void
two_renew(struct two *two)
{
	tls_server_unref(&two->server);
	two->server = tls_server_new(&two->signer, NULL);
}

static bool
two_add(struct two *two, size_t which)
{
	struct fail why = { 0 };
	bool ok = tls_server_add_chain(two->server, buf_span(&two->key[which].chain), &why);

	assert_true(ok || why.class != FAIL_NONE);
	return ok;
}

static void
two_close(struct two *two)
{
	tls_server_unref(&two->server);
	tls_client_unref(&two->client);
	fixture_free(&two->key[0]);
	fixture_free(&two->key[1]);
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
		cmocka_unit_test(test_rsa_pss_key_is_used_remotely),
		cmocka_unit_test(test_ecdsa_key_is_used_remotely),
		cmocka_unit_test(test_ed25519_key_is_used_remotely),
		cmocka_unit_test(test_a_signer_that_refuses_fails_the_handshake),
		cmocka_unit_test(test_verification_refuses_the_wrong_certificate),
		cmocka_unit_test(test_tlsa_records_decide),
		cmocka_unit_test(test_sessions_are_resumed_for_the_same_wants_alone),
		cmocka_unit_test(test_useless_tlsa_records_are_known),
		cmocka_unit_test(test_the_name_asked_for_chooses_the_chain),
		cmocka_unit_test(test_a_chain_that_is_too_weak_leaves_nothing),
		cmocka_unit_test(test_rsa_and_ecdsa_chains_of_one_name_share_it),
		cmocka_unit_test(test_chains_that_share_their_first_name_serve_the_others),
		cmocka_unit_test(test_plaintext_is_not_a_handshake),
		cmocka_unit_test(test_tickets_are_shared_and_rotate),
		cmocka_unit_test(test_channel_binding_of_a_resumed_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
