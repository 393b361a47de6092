/* SPDX-License-Identifier: ISC
 *
 * tls: TLS contexts and connections. All that knows OpenSSL is net/tls*.c and
 * keyd. Connections are driven by net/stream; daemons make contexts, hand
 * them to stream_tls_accept() or stream_tls_connect() and read the facts.
 *
 * A server context has certificates but no private key: each signature is
 * asked of the signer (keyd over the `sign` channel). TLS 1.2 and later, only
 * suites with forward secrecy and AEAD first; RFC 9325.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "base/buf.h"
#include "base/fail.h"
#include "base/list.h"

/* A key is named by the SHA-256 of its public key (DER SubjectPublicKeyInfo). */
enum { TLS_KEY_ID = 32, TLS_SIGNATURE_MAX = 1024, TLS_TBS_MAX = 1024 };

enum tls_algorithm { TLS_SIGN_RSA_PKCS1, TLS_SIGN_RSA_PSS, TLS_SIGN_ECDSA, TLS_SIGN_ED25519 };
enum tls_hash { TLS_HASH_NONE, TLS_HASH_SHA256, TLS_HASH_SHA384, TLS_HASH_SHA512, TLS_HASH_SHA1 };

struct tls_sign_request {
	uint8_t key_id[TLS_KEY_ID];
	enum tls_algorithm algorithm;
	enum tls_hash hash;  /* NONE for Ed25519, which signs the message itself */
	struct span input;   /* the digest, or the message for Ed25519 */
};

/* What session tickets are sealed with (RFC 5077 4). */
struct tls_ticket_key {
	unsigned char name[16], cipher[32], mac[32];
};

/* A signature that a handshake waits for; part of its connection. */
struct tls_signature {
	struct list node; /* the signer's */
	uint64_t id;      /* the signer's */
	int64_t since_ms; /* the signer's */
	struct buf bytes; /* once done */
	bool pending, done, ok;
	void (*on_done)(struct tls_signature *s);
};
/* The signer has it, or never will (bytes empty). */
void tls_signature_done(struct tls_signature *s, struct span bytes);

/* Makes signatures. PSS salt is as long as the digest; ECDSA signatures are DER. */
struct tls_signer {
	/* At once; or NULL, and: */
	bool (*sign)(void *ctx, const struct tls_sign_request *ask, struct buf *signature, struct fail *why);
	void *ctx;
	/* The keys in force, to be asked for at each use: keys[0] seals and opens, keys[1] opens
	 * still. NULL or false: the context makes keys of its own, which no other process knows. */
	bool (*tickets)(void *ctx, struct tls_ticket_key keys[2]);
	/* Asks; tls_signature_done() comes later, from the loop, while other connections go on. */
	bool (*begin)(void *ctx, const struct tls_sign_request *ask, struct tls_signature *to, struct fail *why);
	void (*forget)(void *ctx, struct tls_signature *to); /* nobody waits for it any more */
};

/* Why a peer's certificate is not what was wanted; as reports tell it (RFC 8460 4.3). */
enum tls_problem {
	TLS_PROBLEM_NONE,
	TLS_PROBLEM_HANDSHAKE, /* none of the following: the protocol failed */
	TLS_PROBLEM_UNTRUSTED, /* no chain to a trust anchor */
	TLS_PROBLEM_NAME,      /* for another name */
	TLS_PROBLEM_EXPIRED,   /* or not valid yet */
	TLS_PROBLEM_TLSA,      /* no TLSA record fits */
};

/* What a client has shown and proved to have the key of. */
struct tls_certificate {
	bool shown;
	bool trusted;            /* by one of the server's anchors, for clients, and valid now */
	uint8_t fingerprint[32]; /* SHA-256 of the certificate */
	uint8_t key[TLS_KEY_ID];
	char subject[128];       /* common name; "" if it has none, or one that is no clean text */
	char emails[512];        /* rfc822Name of the subject's alternative names, blanks between */
};
/* " certificate=AB:CD:... trusted=yes subject=..." for the log; empty if none was shown. */
enum { TLS_CERTIFICATE_WORDS = 300 };
struct span tls_certificate_words(const struct tls_certificate *c, char text[TLS_CERTIFICATE_WORDS]);

/* What is worth recording of a finished handshake. */
struct tls_facts {
	char version[12];   /* "TLSv1.3" */
	char cipher[48];    /* "TLS_AES_256_GCM_SHA384" */
	char group[24];     /* key exchange group, "" if unknown */
	unsigned bits;      /* of the cipher */
	char sni[256];      /* the name asked for, "" if none */
	bool resumed;
	bool verified;      /* the peer's chain is trusted and, where names were given, names the peer */
	char verify_text[96]; /* why it is not, "" when verified or when there is no certificate */
	enum tls_problem problem;
	char peer_subject[128]; /* common name of the peer's certificate, "" without one */
	struct tls_certificate certificate; /* of a client, on the server's side */
};

/* Server contexts. Reference counted: a connection keeps its context alive,
 * so a reload just makes a new one and lets go of the old. */
struct tls_server;
struct tls_server *tls_server_new(const struct tls_signer *signer, struct fail *why);
void tls_server_unref(struct tls_server **server);
void tls_server_only13(struct tls_server *server); /* before chains are added */
void tls_server_ticket_period(struct tls_server *server, unsigned seconds); /* how often the signer's ticket keys change; likewise */
/* Authorities (PEM) that clients' certificates are judged by; before chains are added. */
bool tls_server_add_anchors(struct tls_server *server, struct span pem, struct fail *why);
/* A PEM chain, leaf first. Served for the DNS names in the leaf (exact and
 * one-label wildcards); the first one added also for every other name and
 * for clients that send none. Of several that have a name the first is served, or one a kind of key
 * where it is the first name of each. One bad chain harms only itself. */
bool tls_server_add_chain(struct tls_server *server, struct span pem, struct fail *why);
bool tls_server_add_chain_file(struct tls_server *server, const char *path, struct fail *why);
/* The key id of the leaf of a chain, for asking keyd whether it holds the key. */
bool tls_chain_key_id(struct span pem, uint8_t id[TLS_KEY_ID], struct fail *why);

/* Client contexts, reference counted likewise. */
struct tls_client;
/* ca_file, ca_path: trust anchors, either may be NULL; both NULL: the system's. */
struct tls_client *tls_client_new(const char *ca_file, const char *ca_path, struct fail *why);
void tls_client_only13(struct tls_client *client);
void tls_client_unref(struct tls_client **client);

/* Who signs for the certificates that this client shows; once is enough. */
void tls_client_sign_by(struct tls_client *client, const struct tls_signer *signer);
/* A PEM chain, leaf first, to be shown where struct tls_want names it, if the server asks; takes the place of
 * another of that name. */
bool tls_client_put_chain(struct tls_client *client, struct span name, struct span pem, struct fail *why);

enum tls_level {
	TLS_LEVEL_NONE,    /* no TLS */
	TLS_LEVEL_MAY,     /* when offered; any certificate will do */
	TLS_LEVEL_ENCRYPT, /* required; any certificate will do */
	TLS_LEVEL_VERIFY,  /* required; trusted and for one of the names */
	TLS_LEVEL_DANE,    /* required; as one of the TLSA records says (RFC 7672) */
};

/* A TLSA record (RFC 6698 2.1). */
struct tls_tlsa {
	uint8_t usage, selector, matching;
	struct span data;
};
enum { TLS_TLSA_MAX = 32 }; /* more of one host are not looked at */
/* Whether SMTP can use it: RFC 7672 3.1 has usages 2 and 3 alone; digests have their length. */
bool tls_tlsa_usable(const struct tls_tlsa *record);

/* How a client connection shall be made. NONE is not for here. */
struct tls_want {
	enum tls_level level;
	struct span sni;          /* server name to ask for; empty for none */
	const struct span *names; /* acceptable names in the certificate; ".example.org" also below; DANE: the TLSA base domain first */
	size_t nnames;
	const struct tls_tlsa *tlsa; /* DANE: usable ones */
	size_t ntlsa;
	bool only13;
	struct span certificate; /* of tls_client_put_chain(); empty: none is shown */
	struct span peer; /* who it is: a session is resumed with the same peer and the same wants alone; empty: none is */
};

/* One connection; for net/stream. All calls are non-blocking. */
struct tls_conn;
enum tls_io {
	TLS_IO_DONE,
	TLS_IO_READ,  /* again when the descriptor is readable */
	TLS_IO_WRITE, /* again when it is writable */
	TLS_IO_SIGN,  /* again when on_ready is called: the signer was asked */
	TLS_IO_END,   /* the peer closed its direction properly */
	TLS_IO_FAIL,  /* the connection is dead */
};
/* Whether a client is asked for its certificate. */
enum tls_ask {
	TLS_ASK_NOTHING,
	TLS_ASK_CERTIFICATE,     /* any will do, and none: the facts say which it is */
	TLS_REQUIRE_CERTIFICATE, /* and a trusted one, or the handshake fails */
};
struct tls_conn *tls_accept_new(struct tls_server *server, int fd, enum tls_ask ask, struct fail *why);
struct tls_conn *tls_connect_new(struct tls_client *client, int fd, const struct tls_want *want, struct fail *why);
/* Whom to call after TLS_IO_SIGN; from the loop, not from within a call of ours. */
void tls_conn_on_ready(struct tls_conn *conn, void (*on_ready)(void *arg), void *arg);
void tls_conn_free(struct tls_conn **conn); /* does not close the descriptor */
enum tls_io tls_handshake(struct tls_conn *conn, struct fail *why);
enum tls_io tls_read(struct tls_conn *conn, char *to, size_t n, size_t *got, struct fail *why);
/* May take less than n. After TLS_IO_WRITE the same bytes must be offered again (their address may differ). */
enum tls_io tls_write(struct tls_conn *conn, struct span from, size_t *taken, struct fail *why);
void tls_hold(struct tls_conn *conn); /* what is written from now on leaves with the end of the connection: close(2) or shutdown(2) */
/* Sends close_notify, does not wait for the peer's. TLS_IO_WRITE: the last words are not out yet; to be called again. */
enum tls_io tls_bye(struct tls_conn *conn);
bool tls_pending(const struct tls_conn *conn); /* a read may give something without a new event */
void tls_conn_facts(const struct tls_conn *conn, struct tls_facts *out);
enum tls_problem tls_conn_problem(const struct tls_conn *conn); /* of a handshake that failed */
/* Appends the channel binding data of a type, after the handshake: tls-exporter (RFC 9266),
 * tls-server-end-point (RFC 5929 4). False: another type, or there is none of it on this connection. */
bool tls_conn_binding(const struct tls_conn *conn, struct span type, struct buf *out);

#endif
