/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "net/tls_private.h"

#define SUITES_12                                                                     \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                  \
	"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                  \
	"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"                  \
	"ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256"
#define SUITES_13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256:P-384:P-521"

bool
tls_failed(struct fail *why, enum fail_class class, const char *doing)
{
	unsigned long code = ERR_peek_error();
	const char *reason = !code ? NULL : ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);
	char number[32];

	if (code && !reason)
		ERR_error_string_n(code, number, sizeof(number));
	(void)fail_set(why, class, 0, "%s: %s", doing, reason ? reason : code ? number : "no reason given");
	ERR_clear_error();
	return false;
}

/* A socket BIO that does not raise SIGPIPE, and lets what nobody waits for leave with what follows. */

/* RFC 8446 4.6.1: the ticket; a client that has sent its Finished has no need of it to go on. */
static bool
held(const struct tls_wire *wire)
{
	return wire->hold || (SSL_get_state(wire->ssl) == TLS_ST_SW_SESSION_TICKET && SSL_version(wire->ssl) == TLS1_3_VERSION);
}

/* How much of what is given went; -1 and errno also when only some of what was kept did. */
static ssize_t
send_with_kept(struct tls_wire *wire, struct span more, int flags)
{
	struct span kept = buf_span(&wire->kept);
	struct iovec parts[2] = { { (void *)(uintptr_t)kept.p, kept.n }, { (void *)(uintptr_t)more.p, more.n } };
	struct msghdr m = { .msg_iov = parts, .msg_iovlen = 2 };
	ssize_t sent = kept.n ? sendmsg(wire->fd, &m, flags) : send(wire->fd, more.p, more.n, flags);

	if (sent < 0 || !kept.n)
		return sent;
	if ((size_t)sent < kept.n || (more.n && (size_t)sent == kept.n)) {
		buf_eat(&wire->kept, (size_t)sent);
		errno = EAGAIN;
		return -1;
	}
	buf_free(&wire->kept);
	return sent - (ssize_t)kept.n;
}

bool
tls_wire_flush(struct tls_wire *wire)
{
	if (!buf_len(&wire->kept) || send_with_kept(wire, SPAN_NONE, MSG_NOSIGNAL | MSG_MORE) >= 0)
		return true;
	return errno != EAGAIN && errno != EINTR; /* of what is broken nothing more goes */
}

static int
bio_write(BIO *bio, const char *from, int n)
{
	struct tls_wire *wire = BIO_get_data(bio);
	struct span bytes = span_of(from, (size_t)n);
	bool hold = held(wire);
	ssize_t sent;

	wire->said = true;
	BIO_clear_retry_flags(bio);
	if (hold && bytes.n <= buf_space(&wire->kept)) {
		buf_put(&wire->kept, bytes);
		if (buf_ok(&wire->kept))
			return n;
		errno = ENOMEM;
		return -1;
	}
	sent = send_with_kept(wire, bytes, MSG_NOSIGNAL | (hold ? MSG_MORE : 0));
	if (sent < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_write(bio);
	return (int)sent;
}

static int
bio_read(BIO *bio, char *to, int n)
{
	const struct tls_wire *wire = BIO_get_data(bio);
	ssize_t got = -1;

	BIO_clear_retry_flags(bio);
	if (wire->said && SSL_in_init(wire->ssl) && SSL_is_server(wire->ssl))
		errno = EAGAIN;
	else
		got = read(wire->fd, to, (size_t)n);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_read(bio);
	if (got == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	return (int)got;
}

static long
bio_ctrl(BIO *bio, int command, long number, void *arg)
{
	(void)number, (void)arg;
	if (command == BIO_CTRL_EOF)
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}

BIO_METHOD *
tls_bio_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOCKET, "socket");

	if (m && BIO_meth_set_write(m, bio_write) && BIO_meth_set_read(m, bio_read) && BIO_meth_set_ctrl(m, bio_ctrl))
		return m;
	BIO_meth_free(m);
	return NULL;
}

/* Any provider that is named puts an end to the default one's coming by itself. */
static bool
load_providers(struct tls_context *context)
{
	OSSL_LIB_CTX *libctx = context->libctx;

	return (context->fallback = OSSL_PROVIDER_load(libctx, "default")) && OSSL_PROVIDER_add_builtin(libctx, TLS_PROVIDER, tls_provider_init) &&
	       (context->own = OSSL_PROVIDER_load(libctx, TLS_PROVIDER)) && EVP_set_default_properties(libctx, TLS_PREFER);
}

bool
tls_context_init(struct tls_context *context, struct fail *why)
{
	context->refs = 1;
	/* Hermetic, and inside a sandbox there is no such file. */
	(void)OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	context->libctx = OSSL_LIB_CTX_new();
	context->bio = tls_bio_method();
	if (!context->libctx || !context->bio || !load_providers(context))
		return tls_failed(why, FAIL_TEMP, "making a TLS context");
	return true;
}

void
tls_context_done(struct tls_context *context)
{
	BIO_meth_free(context->bio);
	if (context->own)
		(void)OSSL_PROVIDER_unload(context->own);
	if (context->fallback)
		(void)OSSL_PROVIDER_unload(context->fallback);
	OSSL_LIB_CTX_free(context->libctx);
}

static X509 *
read_certificate(OSSL_LIB_CTX *libctx, BIO *pem)
{
	X509 *certificate = X509_new_ex(libctx, NULL);

	if (certificate && !PEM_read_bio_X509(pem, &certificate, NULL, NULL)) {
		X509_free(certificate);
		return NULL;
	}
	return certificate;
}

bool
tls_read_chain(OSSL_LIB_CTX *libctx, struct span text, X509 **leaf, STACK_OF(X509) *rest, struct fail *why)
{
	BIO *pem = text.n <= TLS_CHAIN_PEM_MAX ? BIO_new_mem_buf(text.p, (int)text.n) : NULL;
	X509 *next;

	if (!pem)
		return fail_set(why, FAIL_LIMIT, 0, "the certificate chain is too large");
	*leaf = read_certificate(libctx, pem);
	while (*leaf && sk_X509_num(rest) < TLS_CHAIN_MAX && (next = read_certificate(libctx, pem)))
		if (!sk_X509_push(rest, next))
			X509_free(next);
	BIO_free(pem);
	if (!*leaf)
		return tls_failed(why, FAIL_PERM, "reading the certificate");
	ERR_clear_error();
	return true;
}

void
tls_context_unref(struct tls_context *context)
{
	if (--context->refs == 0)
		context->destroy(context);
}

bool
tls_context_tune(SSL_CTX *ssl)
{
	(void)SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
	                                   SSL_OP_PRIORITIZE_CHACHA | SSL_OP_IGNORE_UNEXPECTED_EOF);
	(void)SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
	                                SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(ssl, 1);
	(void)SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	return SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) && SSL_CTX_set_cipher_list(ssl, SUITES_12) &&
	       SSL_CTX_set_ciphersuites(ssl, SUITES_13) && SSL_CTX_set1_groups_list(ssl, GROUPS);
}

static void
client_destroy(struct tls_context *context)
{
	struct tls_client *client = OWNER_OF(context, struct tls_client, base);

	tls_sessions_free(client);
	tls_identities_free(client);
	SSL_CTX_free(client->ssl);
	tls_context_done(context);
	free(client);
}

static bool
client_setup(struct tls_client *client, const char *ca_file, const char *ca_path, struct fail *why)
{
	tls_sessions_init(client);
	if (!tls_context_init(&client->base, why))
		return false;
	client->base.destroy = client_destroy;
	client->ssl = SSL_CTX_new_ex(client->base.libctx, NULL, TLS_client_method());
	if (!client->ssl || !tls_context_tune(client->ssl) || SSL_CTX_dane_enable(client->ssl) <= 0)
		return tls_failed(why, FAIL_TEMP, "making a TLS client context");
	(void)SSL_CTX_set_session_cache_mode(client->ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(client->ssl, tls_on_session);
	if (!ca_file && !ca_path)
		return SSL_CTX_set_default_verify_paths(client->ssl) || tls_failed(why, FAIL_TEMP, "the system's trust anchors");
	if (ca_file && !SSL_CTX_load_verify_file(client->ssl, ca_file))
		return tls_failed(why, FAIL_PERM, ca_file);
	if (ca_path && !SSL_CTX_load_verify_dir(client->ssl, ca_path))
		return tls_failed(why, FAIL_PERM, ca_path);
	return true;
}

struct tls_client *
tls_client_new(const char *ca_file, const char *ca_path, struct fail *why)
{
	struct tls_client *client = calloc(1, sizeof(*client));

	if (!client) {
		(void)fail_set(why, FAIL_TEMP, 0, "out of memory");
		return NULL;
	}
	if (!client_setup(client, ca_file, ca_path, why)) {
		client_destroy(&client->base);
		return NULL;
	}
	return client;
}

void
tls_client_only13(struct tls_client *client)
{
	(void)SSL_CTX_set_min_proto_version(client->ssl, TLS1_3_VERSION);
}

void
tls_client_unref(struct tls_client **client)
{
	if (*client)
		tls_context_unref(&(*client)->base);
	*client = NULL;
}
