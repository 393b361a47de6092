/* SPDX-License-Identifier: ISC */
#include "net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_private.h"

struct tls_conn {
	SSL *ssl;
	struct tls_wire wire;
	struct tls_context *context; /* counted */
	bool dead;                   /* after a fatal error OpenSSL wants no more calls */
	bool more;                   /* a read may give something without a new event */
	struct tls_server *server;   /* NULL on the client's side */
	struct tls_client *client;   /* NULL on the server's side, and where no session is to be kept */
	uint8_t session_key[TLS_SESSION_KEY];
	struct tls_signature signature;
	void (*on_ready)(void *arg);
	void *arg;
};

static void
on_signed(struct tls_signature *s)
{
	struct tls_conn *conn = OWNER_OF(s, struct tls_conn, signature);

	if (conn->on_ready)
		conn->on_ready(conn->arg);
}

void
tls_conn_on_ready(struct tls_conn *conn, void (*on_ready)(void *arg), void *arg)
{
	conn->on_ready = on_ready;
	conn->arg = arg;
}

static struct tls_conn *
conn_new(struct tls_context *context, SSL_CTX *ctx, int fd, struct fail *why)
{
	struct tls_conn *conn = calloc(1, sizeof(*conn));
	BIO *bio = BIO_new(context->bio);

	if (!conn || !bio || !(conn->ssl = SSL_new(ctx))) {
		(void)tls_failed(why, FAIL_TEMP, "making a TLS connection");
		BIO_free(bio);
		free(conn);
		return NULL;
	}
	conn->wire = (struct tls_wire){ .fd = fd, .ssl = conn->ssl };
	buf_init(&conn->wire.kept, TLS_KEPT_MAX);
	BIO_set_data(bio, &conn->wire);
	BIO_set_init(bio, 1);
	SSL_set_bio(conn->ssl, bio, bio);
	conn->context = context;
	tls_context_ref(context);
	return conn;
}

struct tls_conn *
tls_accept_new(struct tls_server *server, int fd, enum tls_ask ask, struct fail *why)
{
	struct tls_conn *conn;

	if (!server || !server->chains) {
		(void)fail_set(why, FAIL_TEMP, 0, "no certificate is loaded");
		return NULL;
	}
	conn = conn_new(&server->base, server->chains->ssl, fd, why);
	if (!conn)
		return NULL;
	(void)SSL_set_app_data(conn->ssl, server);
	SSL_set_accept_state(conn->ssl);
	(void)SSL_clear_mode(conn->ssl, SSL_MODE_RELEASE_BUFFERS); /* while there is one message after the other */
	conn->server = server;
	if (!tls_peer_ask(conn->ssl, server, ask)) {
		(void)tls_failed(why, FAIL_TEMP, "asking for a certificate");
		tls_conn_free(&conn);
		return NULL;
	}
	conn->signature.on_done = on_signed;
	if (server->base.signer.begin) /* the handshake runs on a stack of its own, which is left while the signer works */
		(void)SSL_set_mode(conn->ssl, SSL_MODE_ASYNC);
	return conn;
}

bool
tls_tlsa_usable(const struct tls_tlsa *record)
{
	static const size_t lengths[] = { 0, 32, 64 }; /* RFC 6698 2.1.3: all of it, SHA-256, SHA-512 */

	if ((record->usage != 2 && record->usage != 3) || record->selector > 1 || record->matching > 2)
		return false;
	return record->matching == 0 ? record->data.n > 0 : record->data.n == lengths[record->matching];
}

/* RFC 7672 3.1.1: of usage 3 neither names nor dates count, which flag and library see to;
 * 3.2.2: of usage 2 names do, the base domain first. */
static bool
dane_wants(SSL *ssl, const struct tls_want *want)
{
	size_t added = 0;
	char name[256];

	if (!want->nnames || !span_cstr(want->names[0], name, sizeof(name)) || SSL_dane_enable(ssl, name) <= 0)
		return false;
	(void)SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	for (size_t i = 0; i < want->ntlsa; i++) {
		const struct tls_tlsa *t = &want->tlsa[i];

		if (tls_tlsa_usable(t) && SSL_dane_tlsa_add(ssl, t->usage, t->selector, t->matching, (const unsigned char *)t->data.p, t->data.n) > 0)
			added++;
	}
	ERR_clear_error(); /* of a record that holds no certificate */
	return added > 0;
}

static bool
client_wants(SSL *ssl, const struct tls_want *want)
{
	bool must = want->level == TLS_LEVEL_VERIFY || want->level == TLS_LEVEL_DANE;
	char name[256];

	SSL_set_connect_state(ssl);
	SSL_set_verify(ssl, must ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	/* Where any certificate will do, a weak one is better than none at all. */
	SSL_set_security_level(ssl, want->level == TLS_LEVEL_VERIFY ? 2 : 1);
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (want->only13 && !SSL_set_min_proto_version(ssl, TLS1_3_VERSION))
		return false;
	if (want->level == TLS_LEVEL_DANE && !dane_wants(ssl, want))
		return false;
	for (size_t i = want->level == TLS_LEVEL_DANE; i < want->nnames; i++)
		if (!span_cstr(want->names[i], name, sizeof(name)) || !SSL_add1_host(ssl, name))
			return false;
	if (want->sni.n == 0)
		return true;
	return span_cstr(want->sni, name, sizeof(name)) && SSL_set_tlsext_host_name(ssl, name);
}

/* Comes with the handshake's end (TLS 1.2) or later (TLS 1.3); a certificate that was
 * required to be good has been found good before. */
int
tls_on_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls_conn *conn = SSL_get_app_data(ssl);

	return conn && conn->client && tls_session_keep(conn->client, conn->session_key, session);
}

struct tls_conn *
tls_connect_new(struct tls_client *client, int fd, const struct tls_want *want, struct fail *why)
{
	struct tls_conn *conn;

	if (want->level == TLS_LEVEL_VERIFY && want->nnames == 0) {
		(void)fail_set(why, FAIL_PERM, 0, "no name to verify the certificate for");
		return NULL;
	}
	conn = conn_new(&client->base, client->ssl, fd, why);
	if (conn && !client_wants(conn->ssl, want)) {
		(void)tls_failed(why, FAIL_PERM, want->level == TLS_LEVEL_DANE ? "TLSA records for the connection" : "name for the certificate");
		tls_conn_free(&conn);
	}
	if (conn && want->certificate.n && !tls_identity_use(client, conn->ssl, want->certificate, why))
		tls_conn_free(&conn);
	if (conn)
		conn->signature.on_done = on_signed;
	if (conn && tls_session_key(want, conn->session_key)) {
		conn->client = client;
		(void)SSL_set_app_data(conn->ssl, conn);
		tls_session_offer(client, conn->session_key, conn->ssl);
	}
	return conn;
}

/* SSL_free() would lose the stack on which the handshake waits: it is led to its end. */
static void
abandon_signature(struct tls_conn *conn)
{
	struct tls_signature *s = &conn->signature;

	if (!s->pending)
		return;
	if (!s->done)
		conn->context->signer.forget(conn->context->signer.ctx, s);
	s->done = true;
	s->ok = false;
	conn->wire.fd = -1; /* says nothing more */
	(void)SSL_do_handshake(conn->ssl);
	ERR_clear_error();
	buf_free(&s->bytes);
}

void
tls_conn_free(struct tls_conn **conn)
{
	if (!*conn)
		return;
	abandon_signature(*conn);
	SSL_free((*conn)->ssl);
	buf_free(&(*conn)->wire.kept);
	tls_context_unref((*conn)->context);
	free(*conn);
	*conn = NULL;
}

static enum tls_io
outcome(struct tls_conn *conn, int result, const char *doing, struct fail *why)
{
	int saved = errno;
	long verify;

	switch (SSL_get_error(conn->ssl, result)) {
	case SSL_ERROR_NONE:
		return TLS_IO_DONE;
	case SSL_ERROR_WANT_READ:
		return TLS_IO_READ;
	case SSL_ERROR_WANT_WRITE:
		return TLS_IO_WRITE;
	case SSL_ERROR_WANT_ASYNC:
		return TLS_IO_SIGN;
	case SSL_ERROR_ZERO_RETURN:
		return TLS_IO_END;
	case SSL_ERROR_SYSCALL:
		conn->dead = true;
		errno = saved;
		if (saved)
			(void)fail_errno(why, 0, "%s", doing);
		else
			(void)fail_set(why, FAIL_PEER, 0, "%s: the peer closed the connection", doing);
		ERR_clear_error();
		return TLS_IO_FAIL;
	default:
		conn->dead = true;
		verify = SSL_get_verify_result(conn->ssl);
		if (verify != X509_V_OK && ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
			(void)fail_set(why, FAIL_PEER, 0, "%s: certificate not accepted: %s", doing, X509_verify_cert_error_string(verify));
			ERR_clear_error();
		} else {
			(void)tls_failed(why, FAIL_PEER, doing);
		}
		return TLS_IO_FAIL;
	}
}

static void
start(void)
{
	ERR_clear_error();
	errno = 0;
}

enum tls_io
tls_handshake(struct tls_conn *conn, struct fail *why)
{
	enum tls_io io;

	start();
	if (conn->signature.done && !conn->signature.pending) /* what follows needs no stack of its own */
		(void)SSL_clear_mode(conn->ssl, SSL_MODE_ASYNC);
	conn->wire.said = false;
	conn->context->shaking = &conn->signature;
	io = outcome(conn, SSL_do_handshake(conn->ssl), "TLS handshake", why);
	conn->context->shaking = NULL;
	if (io == TLS_IO_SIGN)
		return io;
	if (io == TLS_IO_DONE) {
		(void)SSL_clear_mode(conn->ssl, SSL_MODE_ASYNC);
		(void)SSL_set_mode(conn->ssl, SSL_MODE_RELEASE_BUFFERS);
		(void)SSL_free_buffers(conn->ssl);
	}
	conn->more = true; /* the last flight may have brought data along */
	if (io != TLS_IO_END)
		return io;
	conn->dead = true;
	(void)fail_set(why, FAIL_PEER, 0, "TLS handshake: the peer closed the connection");
	return TLS_IO_FAIL;
}

enum tls_io
tls_read(struct tls_conn *conn, char *to, size_t n, size_t *got, struct fail *why)
{
	enum tls_io io = TLS_IO_DONE;
	size_t total = 0, one;

	if (conn->dead) {
		(void)fail_set(why, FAIL_PEER, 0, "TLS read: the connection broke");
		return TLS_IO_FAIL;
	}
	while (total < n) { /* records are small; the buffer takes several */
		int result;

		start();
		result = SSL_read_ex(conn->ssl, to + total, n - total, &one);
		if (result == 1) {
			total += one;
			if (SSL_has_pending(conn->ssl))
				continue;
			io = TLS_IO_READ; /* if there is more, the system will say so */
			break;
		}
		io = outcome(conn, result, "TLS read", why);
		break;
	}
	*got = total;
	conn->more = total == n || io == TLS_IO_END || io == TLS_IO_FAIL;
	return total > 0 ? TLS_IO_DONE : io;
}

enum tls_io
tls_write(struct tls_conn *conn, struct span from, size_t *taken, struct fail *why)
{
	int result;

	*taken = 0;
	start();
	result = SSL_write_ex(conn->ssl, from.p, from.n, taken);
	return result == 1 ? TLS_IO_DONE : outcome(conn, result, "TLS write", why);
}

void
tls_hold(struct tls_conn *conn)
{
	conn->wire.hold = true;
}

enum tls_io
tls_bye(struct tls_conn *conn)
{
	if (conn->dead)
		return TLS_IO_FAIL;
	if (!conn->wire.bye) {
		conn->wire.bye = true;
		start();
		(void)SSL_shutdown(conn->ssl);
		ERR_clear_error();
	}
	return tls_wire_flush(&conn->wire) ? TLS_IO_DONE : TLS_IO_WRITE;
}

bool
tls_pending(const struct tls_conn *conn)
{
	return conn->more;
}

static void
copy(char *to, size_t cap, const char *from)
{
	(void)snprintf(to, cap, "%s", from ? from : "");
}

enum tls_problem
tls_conn_problem(const struct tls_conn *conn)
{
	switch (SSL_get_verify_result(conn->ssl)) {
	case X509_V_OK:
		return TLS_PROBLEM_HANDSHAKE;
	case X509_V_ERR_HOSTNAME_MISMATCH:
		return TLS_PROBLEM_NAME;
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return TLS_PROBLEM_EXPIRED;
	case X509_V_ERR_DANE_NO_MATCH:
		return TLS_PROBLEM_TLSA;
	default:
		return TLS_PROBLEM_UNTRUSTED;
	}
}

static void
peer_facts(SSL *ssl, struct tls_facts *out)
{
	X509 *peer = SSL_get0_peer_certificate(ssl);
	X509_NAME *subject = peer ? X509_get_subject_name(peer) : NULL;
	long result = SSL_get_verify_result(ssl);

	if (!peer)
		return;
	out->verified = result == X509_V_OK;
	if (!out->verified)
		copy(out->verify_text, sizeof(out->verify_text), X509_verify_cert_error_string(result));
	if (!subject || X509_NAME_get_text_by_NID(subject, NID_commonName, out->peer_subject, sizeof(out->peer_subject)) < 0)
		out->peer_subject[0] = '\0';
	for (char *c = out->peer_subject; *c; c++)
		if (!ascii_print(*c))
			*c = '?';
}

void
tls_conn_facts(const struct tls_conn *conn, struct tls_facts *out)
{
	SSL *ssl = conn->ssl;
	int bits = SSL_get_cipher_bits(ssl, NULL);
	int group = (int)SSL_get_negotiated_group(ssl);

	memset(out, 0, sizeof(*out));
	copy(out->version, sizeof(out->version), SSL_get_version(ssl));
	copy(out->cipher, sizeof(out->cipher), SSL_get_cipher_name(ssl));
	copy(out->group, sizeof(out->group), group > 0 ? SSL_group_to_name(ssl, group) : "");
	copy(out->sni, sizeof(out->sni), SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
	for (char *c = out->sni; *c; c++)
		if (!ascii_print(*c))
			*c = '?';
	out->bits = bits > 0 ? (unsigned)bits : 0;
	out->resumed = SSL_session_reused(ssl) != 0;
	peer_facts(ssl, out);
	out->problem = out->verified ? TLS_PROBLEM_NONE : tls_conn_problem(conn);
	if (conn->server)
		tls_peer_certificate(ssl, &out->certificate);
}

/* RFC 9266 2; before TLS 1.3 only where the master secret covers the handshake (RFC 9266 3). */
static bool
exporter(SSL *ssl, struct buf *out)
{
	static const char label[] = "EXPORTER-Channel-Binding";
	unsigned char data[32];

	if (SSL_version(ssl) < TLS1_3_VERSION && SSL_get_extms_support(ssl) != 1)
		return false;
	if (SSL_export_keying_material(ssl, data, sizeof(data), label, sizeof(label) - 1, (const unsigned char *)"", 0, 1) != 1) {
		ERR_clear_error();
		return false;
	}
	buf_put(out, span_of(data, sizeof(data)));
	OPENSSL_cleanse(data, sizeof(data));
	return true;
}

/* RFC 5929 4.1: by the hash of the certificate's own signature, but SHA-256 for weaker ones. */
static bool
end_point(const struct tls_conn *conn, struct buf *out)
{
	X509 *leaf = conn->server ? SSL_get_certificate(conn->ssl) : SSL_get0_peer_certificate(conn->ssl);
	unsigned char hash[EVP_MAX_MD_SIZE];
	const EVP_MD *md;
	unsigned n = 0;
	int nid = NID_undef;

	/* A resumed session does not say which of several certificates it began with. */
	if (conn->server && SSL_session_reused(conn->ssl) && tls_server_ambiguous(conn->server, SSL_get_SSL_CTX(conn->ssl)))
		return false;
	if (!leaf || !X509_get_signature_info(leaf, &nid, NULL, NULL, NULL) || nid == NID_undef)
		return false;
	md = nid == NID_md5 || nid == NID_sha1 ? EVP_sha256() : EVP_get_digestbynid(nid);
	if (!md || !X509_digest(leaf, md, hash, &n)) {
		ERR_clear_error();
		return false;
	}
	buf_put(out, span_of(hash, n));
	return true;
}

bool
tls_conn_binding(const struct tls_conn *conn, struct span type, struct buf *out)
{
	if (conn->dead || !SSL_is_init_finished(conn->ssl))
		return false;
	if (span_eq(type, SPAN("tls-exporter")))
		return exporter(conn->ssl, out) && buf_ok(out);
	return span_eq(type, SPAN("tls-server-end-point")) && end_point(conn, out) && buf_ok(out);
}
