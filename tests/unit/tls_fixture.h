/* SPDX-License-Identifier: ISC
 *
 * Keys and self-signed certificates made on the spot, and a signer that has
 * the private key at hand: what keyd is to the real thing.
 */
#ifndef TLS_FIXTURE_H
#define TLS_FIXTURE_H

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls.h"

struct fixture {
	EVP_PKEY *key;
	struct buf chain, private_key; /* PEM */
	uint8_t id[TLS_KEY_ID];
	unsigned asked;
	enum tls_algorithm last;
	bool refuse;
};

static inline bool
fixture_extension(X509 *x, const char *name)
{
	char text[300];
	X509_EXTENSION *ext;
	bool ok;

	(void)snprintf(text, sizeof(text), "DNS:%s", name);
	ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, text);
	ok = ext && X509_add_ext(x, ext, -1);
	X509_EXTENSION_free(ext);
	return ok;
}

static inline void
fixture_pem(struct buf *out, BIO *bio)
{
	char *text = NULL;
	long n = BIO_get_mem_data(bio, &text);

	buf_init(out, 65536);
	buf_put(out, span_of(text, (size_t)n));
	BIO_free(bio);
}

/* kind: "RSA", "RSA512" (which no TLS here takes), "EC", "ED25519" */
static inline bool
fixture_make(struct fixture *f, const char *kind, const char *name)
{
	X509 *x = X509_new();
	BIO *bio = BIO_new(BIO_s_mem()), *secret = BIO_new(BIO_s_mem());
	struct fail why;

	*f = (struct fixture){ 0 };
	if (strncmp(kind, "RSA", 3) == 0)
		f->key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)(kind[3] ? 512 : 2048));
	else if (strcmp(kind, "EC") == 0)
		f->key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	else
		f->key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	if (!f->key || !X509_set_version(x, 2) || !ASN1_INTEGER_set(X509_get_serialNumber(x), rand() + 1L) ||
	    !X509_gmtime_adj(X509_getm_notBefore(x), -3600) || !X509_gmtime_adj(X509_getm_notAfter(x), 86400) ||
	    !X509_set_pubkey(x, f->key) ||
	    !X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0) ||
	    !X509_set_issuer_name(x, X509_get_subject_name(x)) || !fixture_extension(x, name) ||
	    !X509_sign(x, f->key, strcmp(kind, "ED25519") == 0 ? NULL : EVP_sha256()) || !PEM_write_bio_X509(bio, x) ||
	    !PEM_write_bio_PrivateKey(secret, f->key, NULL, NULL, 0, NULL, NULL))
		return false;
	X509_free(x);
	fixture_pem(&f->chain, bio);
	fixture_pem(&f->private_key, secret);
	return tls_chain_key_id(buf_span(&f->chain), f->id, &why);
}

static inline void
fixture_free(struct fixture *f)
{
	EVP_PKEY_free(f->key);
	buf_free(&f->chain);
	buf_wipe(&f->private_key);
}

static inline bool
fixture_sign(void *ctx, const struct tls_sign_request *ask, struct buf *signature, struct fail *why)
{
	static const char *const names[] = { "", "SHA256", "SHA384", "SHA512", "SHA1" };
	struct fixture *f = ctx;
	unsigned char out[TLS_SIGNATURE_MAX];
	size_t n = sizeof(out);
	bool ok = false;

	f->asked++;
	f->last = ask->algorithm;
	if (f->refuse || memcmp(ask->key_id, f->id, TLS_KEY_ID) != 0)
		return fail_set(why, FAIL_PERM, 0, "no such key");
	if (ask->algorithm == TLS_SIGN_ED25519) {
		EVP_MD_CTX *md = EVP_MD_CTX_new();

		ok = EVP_DigestSignInit(md, NULL, NULL, NULL, f->key) > 0 &&
		     EVP_DigestSign(md, out, &n, (const unsigned char *)ask->input.p, ask->input.n) > 0;
		EVP_MD_CTX_free(md);
	} else {
		EVP_PKEY_CTX *pctx = EVP_PKEY_CTX_new(f->key, NULL);

		ok = EVP_PKEY_sign_init(pctx) > 0 && EVP_PKEY_CTX_set_signature_md(pctx, EVP_get_digestbyname(names[ask->hash])) > 0;
		if (ask->algorithm == TLS_SIGN_RSA_PSS)
			ok = ok && EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) > 0 &&
			     EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) > 0;
		ok = ok && EVP_PKEY_sign(pctx, out, &n, (const unsigned char *)ask->input.p, ask->input.n) > 0;
		EVP_PKEY_CTX_free(pctx);
	}
	buf_put(signature, span_of(out, n));
	return ok || fail_set(why, FAIL_TEMP, 0, "signing failed");
}

#endif
