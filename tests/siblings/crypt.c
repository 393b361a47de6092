/* SPDX-License-Identifier: ISC
 *
 * TLS of clients and of the mail host that the rig plays, without judging anybody; and the
 * key that keyd would sign with.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/siblings/siblings.h"

struct crypts {
	SSL_CTX *client, *server;
};

struct crypt {
	SSL *ssl;
};

static int
accept_anyone(int good, X509_STORE_CTX *ctx)
{
	(void)good, (void)ctx;
	return 1;
}

/* Both show the instance's certificate, and want to see one. */
static SSL_CTX *
context(const struct rig *r, const SSL_METHOD *method)
{
	SSL_CTX *ctx = SSL_CTX_new(method);
	char cert[B_PATH], key[B_PATH];

	(void)snprintf(cert, sizeof(cert), "%s/tls/cert.pem", r->dir);
	(void)snprintf(key, sizeof(key), "%s/tls/key.pem", r->dir);
	if (!ctx || SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 || SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, accept_anyone);
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET); /* who resumes a session shows no certificate, and asks for no signature */
	(void)SSL_CTX_set_num_tickets(ctx, 0);
	return ctx;
}

bool
crypts_open(struct rig *r)
{
	if (!r->crypts && (r->crypts = calloc(1, sizeof(*r->crypts)))) {
		r->crypts->client = context(r, TLS_client_method());
		r->crypts->server = context(r, TLS_server_method());
	}
	return r->crypts && r->crypts->client && r->crypts->server;
}

struct crypt *
crypt_new(const struct rig *r, int fd, bool server)
{
	struct crypt *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->ssl = SSL_new(server ? r->crypts->server : r->crypts->client);
	if (!c->ssl || SSL_set_fd(c->ssl, fd) != 1) {
		crypt_free(&c);
		return NULL;
	}
	if (server)
		SSL_set_accept_state(c->ssl);
	else
		SSL_set_connect_state(c->ssl);
	return c;
}

void
crypt_free(struct crypt **c)
{
	if (*c)
		SSL_free((*c)->ssl);
	free(*c);
	*c = NULL;
}

ssize_t
crypt_recv(struct crypt *c, char *bytes, size_t n)
{
	int got, error;

	ERR_clear_error();
	got = SSL_read(c->ssl, bytes, (int)n);
	if (got > 0)
		return got;
	error = SSL_get_error(c->ssl, got);
	errno = EAGAIN;
	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? -1 : 0;
}

void
crypt_send(struct crypt *c, const char *bytes, size_t n)
{
	ERR_clear_error();
	(void)SSL_write(c->ssl, bytes, (int)n);
}

bool
crypt_sign(const struct rig *r, const struct ipc_sign_ask *ask, struct buf *signature)
{
	EVP_PKEY *key = r->crypts ? SSL_CTX_get0_privatekey(r->crypts->server) : NULL;
	EVP_PKEY_CTX *ctx = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;
	unsigned char out[256];
	size_t n = sizeof(out);
	bool ok = ctx && EVP_PKEY_sign_init(ctx) > 0 && EVP_PKEY_sign(ctx, out, &n, (const unsigned char *)ask->data.p, ask->data.n) > 0;

	EVP_PKEY_CTX_free(ctx);
	ERR_clear_error();
	if (ok)
		buf_put(signature, span_of((const char *)out, n));
	return ok;
}
