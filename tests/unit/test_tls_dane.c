/* SPDX-License-Identifier: ISC
 *
 * DANE (RFC 7672): which certificates TLSA records accept.
 */
#include "tests/unit/tls_pair.h"

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tlsa_records_decide),
		cmocka_unit_test(test_useless_tlsa_records_are_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
