/* SPDX-License-Identifier: ISC */
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_private.h"

static struct tls_identity **
find(struct tls_client *client, struct span name)
{
	struct tls_identity **at = &client->identities;

	while (*at && !span_eq(span_of((*at)->name, (*at)->n), name))
		at = &(*at)->next;
	return at;
}

static void
identity_free(struct tls_identity *one)
{
	X509_free(one->leaf);
	EVP_PKEY_free(one->key);
	sk_X509_pop_free(one->rest, X509_free);
	buf_free(&one->pem);
	free(one);
}

void
tls_identities_free(struct tls_client *client)
{
	struct tls_identity *one;

	while ((one = client->identities)) {
		client->identities = one->next;
		identity_free(one);
	}
}

static bool
has_signer(const struct tls_client *client)
{
	return client->base.signer.sign || client->base.signer.begin;
}

void
tls_client_sign_by(struct tls_client *client, const struct tls_signer *signer)
{
	if (!has_signer(client))
		client->base.signer = *signer;
}

/* Connections that show the one before keep it. */
bool
tls_client_put_chain(struct tls_client *client, struct span name, struct span pem, struct fail *why)
{
	struct tls_identity **at = find(client, name), *one, *old = *at;
	bool ok;

	if (old && span_eq(buf_span(&old->pem), pem))
		return true;
	if (!has_signer(client))
		return fail_set(why, FAIL_PERM, 0, "nobody signs for this client");
	one = calloc(1, sizeof(*one) + name.n + 1);
	if (!one)
		return fail_set(why, FAIL_TEMP, 0, "out of memory");
	memcpy(one->name, name.p, name.n);
	one->n = name.n;
	one->rest = sk_X509_new_null();
	buf_init(&one->pem, TLS_CHAIN_PEM_MAX);
	buf_put(&one->pem, pem);
	ok = one->rest && buf_ok(&one->pem) && tls_read_chain(client->base.libctx, pem, &one->leaf, one->rest, why);
	if (ok && !X509_get0_pubkey(one->leaf))
		ok = tls_failed(why, FAIL_PERM, "reading the certificate's key");
	ok = ok && (one->key = tls_remote_key(&client->base, X509_get0_pubkey(one->leaf), why));
	if (!ok) {
		identity_free(one);
		return false;
	}
	one->next = old ? old->next : NULL;
	*at = one;
	if (old) {
		tls_sessions_free(client); /* they would go on with the one before */
		tls_sessions_init(client);
		identity_free(old);
	}
	return true;
}

bool
tls_identity_use(const struct tls_client *client, SSL *ssl, struct span name, struct fail *why)
{
	const struct tls_identity *one = *find((struct tls_client *)client, name);

	if (!one)
		return fail_set(why, FAIL_TEMP, 0, "there is no certificate %.*s", SPAN_ARG(span_sub(name, 0, 80)));
	if (SSL_use_cert_and_key(ssl, one->leaf, one->key, one->rest, 1) != 1)
		return tls_failed(why, FAIL_PERM, "using the certificate");
	(void)SSL_set_mode(ssl, SSL_MODE_ASYNC); /* the handshake runs on a stack of its own, which is left while the signer works */
	return true;
}
