/* SPDX-License-Identifier: ISC
 *
 * What the parts of net/tls share; for net/tls*.c alone.
 *
 * tls.c            connections
 * tls_context.c    client contexts, what both kinds of context share
 * tls_session.c    sessions that a client resumes
 * tls_identity.c   certificates that a client shows
 * tls_server.c     server contexts: chains by name, session tickets
 * tls_peer.c       clients' certificates: asked for, judged, described
 * tls_provider.c   an OpenSSL provider whose keys sign by asking the signer
 * tls_hash.c       the provider's HMAC and key schedule of TLS 1.3
 */
#ifndef NET_TLS_PRIVATE_H
#define NET_TLS_PRIVATE_H

#include <openssl/ssl.h>

#include "base/map.h"
#include "net/tls.h"

/* What a context of either kind begins with; refs counts connections and the owner. */
struct tls_context {
	size_t refs;
	OSSL_LIB_CTX *libctx; /* owned; no configuration file of the system is read */
	BIO_METHOD *bio;      /* owned */
	void (*destroy)(struct tls_context *context);
	OSSL_PROVIDER *fallback, *own;
	struct tls_signer signer; /* whom keys of tls_remote_key() ask; set before one is made */
	struct tls_signature *shaking; /* of the connection that is in SSL_do_handshake() now */
};

enum { TLS_SESSION_KEY = 32, TLS_CHAIN_PEM_MAX = 256 * 1024, TLS_CHAIN_MAX = 10 /* certificates */, TLS_KEPT_MAX = 1024 };

/* A certificate that a client may show. */
struct tls_identity {
	struct tls_identity *next;
	struct buf pem; /* what it was made of */
	X509 *leaf;
	EVP_PKEY *key;
	STACK_OF(X509) *rest;
	size_t n;
	char name[]; /* NUL behind */
};

struct tls_client {
	struct tls_context base;
	SSL_CTX *ssl;
	struct tls_identity *identities; /* owned */
	struct map sessions;
	struct list by_use; /* longest ago first */
};

void tls_sessions_init(struct tls_client *client);
void tls_sessions_free(struct tls_client *client);
/* What two connections have in common that may share a session. False: none may. */
bool tls_session_key(const struct tls_want *want, uint8_t key[TLS_SESSION_KEY]);
/* True: the session is taken over. */
bool tls_session_keep(struct tls_client *client, const uint8_t key[TLS_SESSION_KEY], SSL_SESSION *session);
void tls_session_offer(struct tls_client *client, const uint8_t key[TLS_SESSION_KEY], SSL *ssl);
/* For SSL_CTX_sess_set_new_cb(). */
int tls_on_session(SSL *ssl, SSL_SESSION *session);

struct tls_chain {
	SSL_CTX *ssl;
	char name[256]; /* first DNS name of the leaf */
	X509 *leaves[3]; /* ssl's; one of each kind of key */
	unsigned nleaves;
	struct tls_chain *next;
};

struct tls_name {
	struct map_node node;
	struct tls_chain *chain;
	struct tls_name *next;
	size_t n;
	char text[];
};

struct tls_server {
	struct tls_context base;
	bool only13;
	unsigned ticket_period; /* seconds */
	struct tls_chain *chains, **last; /* owned; the first is the default */
	struct map names;
	struct tls_name *name_list;        /* owned */
	X509_STORE *anchors;               /* counted; NULL: none */
	uint8_t anchors_id[32];            /* of all that was added */
	struct tls_ticket_key tickets[2];  /* our own: the one in use and the one before */
	time_t tickets_made[2];            /* 0: none */
	EVP_CIPHER *ticket_cipher;         /* owned */
};

bool tls_context_init(struct tls_context *context, struct fail *why);
void tls_context_done(struct tls_context *context);
/* A PEM chain, leaf first; both are the caller's to free, also after false. */
bool tls_read_chain(OSSL_LIB_CTX *libctx, struct span text, X509 **leaf, STACK_OF(X509) *rest, struct fail *why);
/* Sees to it that the connection shows that certificate. */
bool tls_identity_use(const struct tls_client *client, SSL *ssl, struct span name, struct fail *why);
void tls_identities_free(struct tls_client *client);
static inline void tls_context_ref(struct tls_context *context) { context->refs++; }
void tls_context_unref(struct tls_context *context);
/* Versions, suites, options, modes that hold for both sides. */
bool tls_context_tune(SSL_CTX *ssl);
/* The first OpenSSL error as a fail; the queue is empty afterwards. */
bool tls_failed(struct fail *why, enum fail_class class, const char *doing);

/* Sees to it that the client is asked; sessions are resumed where the same was asked and the anchors are the same. */
bool tls_peer_ask(SSL *ssl, const struct tls_server *server, enum tls_ask ask);
void tls_peer_certificate(SSL *ssl, struct tls_certificate *out);

/* Whether more than one leaf could be the one that is served. */
bool tls_server_ambiguous(const struct tls_server *server, const SSL_CTX *ssl);

/* What our BIO works on. */
struct tls_wire {
	int fd;
	SSL *ssl;
	struct buf kept; /* a few bytes that nobody waits for; they leave with what comes next */
	bool hold; /* tls_hold() */
	bool bye;  /* close_notify was said */
	bool said; /* something in this call of a server's handshake: what the client says to it cannot be there yet */
};
BIO_METHOD *tls_bio_method(void);
/* Sends what is kept, to leave with the end of the connection. False: the system takes no more for now. */
bool tls_wire_flush(struct tls_wire *wire);

/* An EVP_PKEY that signs through the context's signer, for the public key of a certificate.
 * The context must outlive it. NULL and *why. */
EVP_PKEY *tls_remote_key(struct tls_context *context, EVP_PKEY *public_key, struct fail *why);
bool tls_key_id(EVP_PKEY *public_key, uint8_t id[TLS_KEY_ID]);
OSSL_provider_init_fn tls_provider_init;
extern const OSSL_ALGORITHM tls_kdf_algorithms[], tls_mac_algorithms[];
#define TLS_PROVIDER "pillarpost"
/* Remote keys are the last choice for anything, what is quick is the first. OpenSSL 3.0 takes no names of
 * properties but its own few, so these stand for what they do not say. */
#define TLS_REMOTE "provider=" TLS_PROVIDER
#define TLS_QUICK "provider=" TLS_PROVIDER "-quick,version=quick"
#define TLS_PREFER "?provider!=" TLS_PROVIDER ",?version=quick"

#endif
