/* SPDX-License-Identifier: ISC */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "log/line.h"
#include "net/fingerprint.h"
#include "net/tls_private.h"

enum { ANCHORS_MAX = 256 * 1024 };

/* Anchors. */

static bool
add_each(struct tls_server *server, BIO *pem, struct fail *why)
{
	unsigned found = 0;
	bool ok = true, more = true;

	while (ok && more) {
		X509 *certificate = X509_new_ex(server->base.libctx, NULL);

		more = certificate && PEM_read_bio_X509(pem, &certificate, NULL, NULL);
		if (more)
			ok = X509_STORE_add_cert(server->anchors, certificate) == 1;
		found += more;
		X509_free(certificate);
	}
	if (!ok || !found)
		return tls_failed(why, FAIL_PERM, "reading the authorities for clients' certificates");
	ERR_clear_error();
	return true;
}

bool
tls_server_add_anchors(struct tls_server *server, struct span pem, struct fail *why)
{
	BIO *bio = pem.n <= ANCHORS_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool ok;

	if (!server->anchors)
		server->anchors = X509_STORE_new();
	ok = bio && md && server->anchors && EVP_DigestInit_ex(md, EVP_sha256(), NULL) && EVP_DigestUpdate(md, server->anchors_id, sizeof(server->anchors_id)) &&
	     EVP_DigestUpdate(md, pem.p, pem.n) && EVP_DigestFinal_ex(md, server->anchors_id, NULL);
	ok = ok ? add_each(server, bio, why) : fail_set(why, FAIL_TEMP, 0, "no memory for authorities");
	EVP_MD_CTX_free(md);
	BIO_free(bio);
	return ok;
}

/* Asking. */

/* Any certificate gets through the handshake; what is wrong with it stays in the verify result. */
static int
on_verify(int good, X509_STORE_CTX *store)
{
	(void)good, (void)store;
	return 1;
}

/* A session that began without a certificate, or when others were trusted, is no way round the question. */
bool
tls_peer_ask(SSL *ssl, const struct tls_server *server, enum tls_ask ask)
{
	unsigned char context[32], seed[sizeof(server->anchors_id) + 1];
	size_t n = 0;

	if (ask == TLS_ASK_NOTHING)
		return true;
	memcpy(seed, server->anchors_id, sizeof(server->anchors_id));
	seed[sizeof(seed) - 1] = (unsigned char)ask;
	if (!EVP_Q_digest(NULL, "SHA256", NULL, seed, sizeof(seed), context, &n) || !SSL_set_session_id_context(ssl, context, sizeof(context)))
		return false;
	if (ask == TLS_REQUIRE_CERTIFICATE)
		SSL_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	else
		SSL_set_verify(ssl, SSL_VERIFY_PEER, on_verify);
	return true;
}

/* Describing. */

struct span
tls_certificate_words(const struct tls_certificate *c, char text[TLS_CERTIFICATE_WORDS])
{
	char fingerprint[FINGERPRINT_TEXT];
	int n;

	if (!c->shown)
		return SPAN_NONE;
	n = snprintf(text, TLS_CERTIFICATE_WORDS, " certificate=%.*s trusted=%s subject=%s", SPAN_ARG(fingerprint_text(c->fingerprint, fingerprint)),
	    c->trusted ? "yes" : "no", c->subject[0] ? log_line_value(span_str(c->subject), (char[LOG_VALUE]){ 0 }) : "-");
	return span_of(text, n > 0 && n < TLS_CERTIFICATE_WORDS ? (size_t)n : 0);
}

/* Neither NUL nor control characters, which could make one name look like another. */
static bool
clean(struct span s, bool blanks)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < (blanks ? ' ' : '!') || s.p[i] == 0x7f)
			return false;
	return s.n > 0;
}

/* Of several the last one, which is the most specific. */
static void
common_name(X509 *peer, char subject[128])
{
	X509_NAME *name = X509_get_subject_name(peer);
	unsigned char *utf8 = NULL;
	int at = -1, next, n;

	while (name && (next = X509_NAME_get_index_by_NID(name, NID_commonName, at)) >= 0)
		at = next;
	if (at < 0)
		return;
	n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
	if (n > 0 && clean(span_of(utf8, (size_t)n), true) && !span_cstr(span_of(utf8, (size_t)n), subject, 128))
		subject[0] = '\0';
	OPENSSL_free(utf8);
}

static void
email_names(X509 *peer, char emails[512])
{
	GENERAL_NAMES *names = X509_get_ext_d2i(peer, NID_subject_alt_name, NULL, NULL);
	size_t at = 0;

	for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		struct span text;

		if (name->type != GEN_EMAIL)
			continue;
		text = span_of(ASN1_STRING_get0_data(name->d.rfc822Name), (size_t)ASN1_STRING_length(name->d.rfc822Name));
		if (!clean(text, false) || at + text.n + 2 > 512)
			continue;
		if (at)
			emails[at++] = ' ';
		memcpy(emails + at, text.p, text.n);
		at += text.n;
	}
	emails[at] = '\0';
	GENERAL_NAMES_free(names);
}

void
tls_peer_certificate(SSL *ssl, struct tls_certificate *out)
{
	X509 *peer = SSL_get0_peer_certificate(ssl);
	EVP_PKEY *key = peer ? X509_get0_pubkey(peer) : NULL;
	unsigned n = 0;

	*out = (struct tls_certificate){ .shown = false };
	if (key && X509_digest(peer, EVP_sha256(), out->fingerprint, &n) && n == sizeof(out->fingerprint) && tls_key_id(key, out->key)) {
		out->shown = true;
		out->trusted = SSL_get_verify_result(ssl) == X509_V_OK;
		common_name(peer, out->subject);
		email_names(peer, out->emails);
	}
	ERR_clear_error();
}
