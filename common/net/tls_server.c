/* SPDX-License-Identifier: ISC
 *
 * One SSL_CTX a chain; chains for the same first name but with different
 * kinds of key share one, and the client's abilities choose.
 */
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/tls_private.h"

enum {
	PEM_MAX = TLS_CHAIN_PEM_MAX,
	NAMES_MAX = 20000,      /* in one context */
	TICKET_SECONDS = 3600,  /* where nobody says another period: a key encrypts for one, decrypts for two of these */
};

/* Session tickets. */

/* False: there are none for now, which costs the client a full handshake. */
static bool
ticket_keys(struct tls_server *server, struct tls_ticket_key keys[2])
{
	time_t now = time(NULL), *made = server->tickets_made;

	if (server->base.signer.tickets && server->base.signer.tickets(server->base.signer.ctx, keys))
		return true;
	if (!made[0] || now - made[0] >= server->ticket_period || now < made[0]) {
		server->tickets[1] = server->tickets[0];
		made[1] = made[0];
		if (RAND_bytes((unsigned char *)&server->tickets[0], sizeof(server->tickets[0])) <= 0)
			return false;
		made[0] = now;
		if (!made[1])
			server->tickets[1] = server->tickets[0];
	}
	memcpy(keys, server->tickets, sizeof(server->tickets));
	return true;
}

static bool
ticket_ready(struct tls_server *server, const struct tls_ticket_key *key, const unsigned char *iv, EVP_CIPHER_CTX *cipher,
             EVP_MAC_CTX *mac, int encrypt)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key->mac, sizeof(key->mac)),
		                OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end() };

	return EVP_MAC_CTX_set_params(mac, params) && EVP_CipherInit_ex(cipher, server->ticket_cipher, NULL, key->cipher, iv, encrypt);
}

static int
on_ticket(SSL *ssl, unsigned char name[16], unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt)
{
	struct tls_server *server = SSL_get_app_data(ssl);
	struct tls_ticket_key keys[2];
	int result = 0;

	if (!ticket_keys(server, keys))
		return -1;
	if (encrypt) {
		memcpy(name, keys[0].name, sizeof(keys[0].name));
		result = RAND_bytes(iv, EVP_MAX_IV_LENGTH) > 0 && ticket_ready(server, &keys[0], iv, cipher, mac, 1) ? 1 : -1;
	}
	for (int i = 0; i < 2 && !encrypt && result == 0; i++)
		if (memcmp(name, keys[i].name, sizeof(keys[i].name)) == 0)
			result = ticket_ready(server, &keys[i], iv, cipher, mac, 0) ? i + 1 : -1; /* 2: take it and issue a new one */
	OPENSSL_cleanse(keys, sizeof(keys));
	return result;
}

/* Names. */

static struct tls_chain *
chain_by_name(struct tls_server *server, struct span name)
{
	struct map_node *node = map_get(&server->names, name);

	return node ? OWNER_OF(node, struct tls_name, node)->chain : NULL;
}

static int
on_server_name(SSL *ssl, int *alert, void *arg)
{
	struct tls_server *server = SSL_get_app_data(ssl);
	struct span name = span_str(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
	struct tls_chain *chain;
	char lower[256];
	size_t dot;

	(void)alert, (void)arg;
	if (!server || name.n == 0 || name.n >= sizeof(lower))
		return SSL_TLSEXT_ERR_NOACK;
	for (size_t i = 0; i < name.n; i++)
		lower[i] = ascii_lower(name.p[i]);
	name = span_of(lower, name.n);
	chain = chain_by_name(server, name);
	dot = span_chr(name, '.');
	if (!chain && dot != SIZE_MAX && dot > 0) {
		lower[dot - 1] = '*';
		chain = chain_by_name(server, span_from(name, dot - 1));
	}
	if (!chain)
		return SSL_TLSEXT_ERR_NOACK;
	if (chain->ssl != SSL_get_SSL_CTX(ssl))
		(void)SSL_set_SSL_CTX(ssl, chain->ssl);
	return SSL_TLSEXT_ERR_OK;
}

static bool
name_add(struct tls_server *server, struct tls_chain *chain, struct span text)
{
	struct tls_name *name;

	if (text.n == 0 || text.n > 255 || server->names.count >= NAMES_MAX)
		return true;
	name = calloc(1, sizeof(*name) + text.n);
	if (!name)
		return false;
	for (size_t i = 0; i < text.n; i++)
		name->text[i] = ascii_lower(text.p[i]);
	if (chain_by_name(server, span_of(name->text, text.n))) { /* the chain added first keeps it */
		free(name);
		return true;
	}
	name->chain = chain;
	name->next = server->name_list;
	server->name_list = name;
	return map_put(&server->names, &name->node, span_of(name->text, text.n));
}

static struct span
dns_name(const GENERAL_NAMES *names, int i)
{
	const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

	if (!name || name->type != GEN_DNS)
		return SPAN_NONE;
	return span_of(ASN1_STRING_get0_data(name->d.dNSName), (size_t)ASN1_STRING_length(name->d.dNSName));
}

static struct span
common_name(X509 *leaf, char text[256])
{
	X509_NAME *subject = X509_get_subject_name(leaf);
	int n = subject ? X509_NAME_get_text_by_NID(subject, NID_commonName, text, 256) : -1;

	return n > 0 ? span_of(text, (size_t)n) : SPAN_NONE;
}

/* The first name goes to first; with chain the whole list is added for it. */
static bool
leaf_names(struct tls_server *server, X509 *leaf, struct tls_chain *chain, char first[256])
{
	GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
	char common[256];
	bool ok = true;

	first[0] = '\0';
	for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
		struct span text = dns_name(names, i);

		if (text.n == 0)
			continue;
		if (!first[0])
			(void)span_cstr(text, first, 256);
		ok = ok && (!chain || name_add(server, chain, text));
	}
	if (!first[0] && span_cstr(common_name(leaf, common), first, 256))
		ok = !chain || name_add(server, chain, span_str(first));
	GENERAL_NAMES_free(names);
	return ok;
}

/* Chains. */

bool
tls_chain_key_id(struct span pem, uint8_t id[TLS_KEY_ID], struct fail *why)
{
	STACK_OF(X509) *rest = sk_X509_new_null();
	X509 *leaf = NULL;
	bool ok = rest && tls_read_chain(NULL, pem, &leaf, rest, why);

	if (ok && !(X509_get0_pubkey(leaf) && tls_key_id(X509_get0_pubkey(leaf), id)))
		ok = tls_failed(why, FAIL_PERM, "reading the certificate's key");
	X509_free(leaf);
	sk_X509_pop_free(rest, X509_free);
	return ok;
}

static SSL_CTX *
server_ctx(struct tls_server *server)
{
	SSL_CTX *ssl = SSL_CTX_new_ex(server->base.libctx, NULL, TLS_server_method());

	if (!ssl || !tls_context_tune(ssl) || (server->only13 && !SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION)) || !SSL_CTX_set_num_tickets(ssl, 1) ||
	    !SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, on_ticket) ||
	    !SSL_CTX_set_session_id_context(ssl, (const unsigned char *)TLS_PROVIDER, sizeof(TLS_PROVIDER) - 1)) {
		SSL_CTX_free(ssl);
		return NULL;
	}
	(void)SSL_CTX_set_timeout(ssl, 2L * server->ticket_period);
	(void)SSL_CTX_set_tlsext_servername_callback(ssl, on_server_name);
	if (server->anchors)
		SSL_CTX_set1_cert_store(ssl, server->anchors);
	return ssl;
}

/* Another certificate with that kind of key is in it. */
static bool
taken(const struct tls_chain *chain, X509 *leaf)
{
	for (unsigned i = 0; i < chain->nleaves; i++)
		if (EVP_PKEY_get_base_id(X509_get0_pubkey(chain->leaves[i])) == EVP_PKEY_get_base_id(X509_get0_pubkey(leaf)))
			return X509_cmp(chain->leaves[i], leaf) != 0;
	return false;
}

static struct tls_chain *
chain_for(struct tls_server *server, X509 *leaf, struct fail *why)
{
	struct tls_chain *chain;
	char first[256];

	(void)leaf_names(server, leaf, NULL, first);
	for (chain = server->chains; chain; chain = chain->next)
		if (first[0] && span_caseeq(span_str(chain->name), span_str(first)) && !taken(chain, leaf))
			return chain;
	chain = calloc(1, sizeof(*chain));
	if (!chain || !(chain->ssl = server_ctx(server))) {
		free(chain);
		(void)tls_failed(why, FAIL_TEMP, "making a TLS server context");
		return NULL;
	}
	memcpy(chain->name, first, sizeof(chain->name));
	return chain;
}

static bool
use_chain(struct tls_server *server, X509 *leaf, STACK_OF(X509) *rest, struct fail *why)
{
	struct tls_chain *chain;
	EVP_PKEY *public_key = X509_get0_pubkey(leaf);
	EVP_PKEY *key = public_key ? tls_remote_key(&server->base, public_key, why) : NULL;
	char first[256];
	bool fresh, ok;

	if (!public_key)
		return tls_failed(why, FAIL_PERM, "reading the certificate's key");
	if (!key)
		return false;
	chain = chain_for(server, leaf, why);
	if (!chain) {
		EVP_PKEY_free(key);
		return false;
	}
	fresh = chain->next == NULL && server->last != &chain->next;
	ok = SSL_CTX_use_cert_and_key(chain->ssl, leaf, key, rest, 0) == 1 || tls_failed(why, FAIL_PERM, "using the certificate");
	EVP_PKEY_free(key);
	if (!ok && fresh) {
		SSL_CTX_free(chain->ssl);
		free(chain);
	}
	if (!ok)
		return false;
	if (fresh) {
		*server->last = chain;
		server->last = &chain->next;
	}
	chain->leaves[chain->nleaves++] = leaf;
	return leaf_names(server, leaf, chain, first) || fail_set(why, FAIL_TEMP, 0, "out of memory");
}

bool
tls_server_add_chain(struct tls_server *server, struct span pem, struct fail *why)
{
	STACK_OF(X509) *rest = sk_X509_new_null();
	X509 *leaf = NULL;
	bool ok = rest && tls_read_chain(server->base.libctx, pem, &leaf, rest, why) && use_chain(server, leaf, rest, why);

	X509_free(leaf);
	sk_X509_pop_free(rest, X509_free);
	return ok;
}

bool
tls_server_add_chain_file(struct tls_server *server, const char *path, struct fail *why)
{
	FILE *file = fopen(path, "re");
	struct buf pem;
	char *to;
	bool ok;

	if (!file)
		return fail_errno(why, 0, "opening %s", path);
	buf_init(&pem, PEM_MAX);
	to = buf_room(&pem, PEM_MAX);
	if (to)
		buf_added(&pem, fread(to, 1, PEM_MAX, file));
	ok = to && !ferror(file) ? tls_server_add_chain(server, buf_span(&pem), why) : fail_errno(why, 0, "reading %s", path);
	(void)fclose(file);
	buf_free(&pem);
	return ok;
}

bool
tls_server_ambiguous(const struct tls_server *server, const SSL_CTX *ssl)
{
	const struct tls_chain *chain = server->chains;

	while (chain && chain->ssl != ssl)
		chain = chain->next;
	return !chain || chain->nleaves != 1;
}

/* The context. */

static void
server_destroy(struct tls_context *context)
{
	struct tls_server *server = OWNER_OF(context, struct tls_server, base);
	struct tls_chain *chain;
	struct tls_name *name;

	map_free(&server->names);
	while ((name = server->name_list)) {
		server->name_list = name->next;
		free(name);
	}
	while ((chain = server->chains)) {
		server->chains = chain->next;
		SSL_CTX_free(chain->ssl);
		free(chain);
	}
	X509_STORE_free(server->anchors);
	EVP_CIPHER_free(server->ticket_cipher);
	tls_context_done(context);
	OPENSSL_cleanse(server->tickets, sizeof(server->tickets));
	free(server);
}

static bool
server_setup(struct tls_server *server, const struct tls_signer *signer, struct fail *why)
{
	map_init(&server->names);
	server->last = &server->chains;
	server->base.destroy = server_destroy;
	server->ticket_period = TICKET_SECONDS;
	if (!tls_context_init(&server->base, why))
		return false;
	server->base.signer = *signer;
	server->ticket_cipher = EVP_CIPHER_fetch(server->base.libctx, "AES-256-CBC", NULL);
	return server->ticket_cipher || tls_failed(why, FAIL_TEMP, "making a TLS context");
}

void
tls_server_ticket_period(struct tls_server *server, unsigned seconds)
{
	server->ticket_period = seconds;
}

struct tls_server *
tls_server_new(const struct tls_signer *signer, struct fail *why)
{
	struct tls_server *server = calloc(1, sizeof(*server));

	if (!server) {
		(void)fail_set(why, FAIL_TEMP, 0, "out of memory");
		return NULL;
	}
	if (!server_setup(server, signer, why)) {
		server_destroy(&server->base);
		return NULL;
	}
	return server;
}

void
tls_server_only13(struct tls_server *server)
{
	server->only13 = true;
}

void
tls_server_unref(struct tls_server **server)
{
	if (*server)
		tls_context_unref(&(*server)->base);
	*server = NULL;
}
