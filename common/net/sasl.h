/* SPDX-License-Identifier: ISC
 *
 * sasl: the server's side of AUTH exchanges (RFC 4422) without I/O: lines in,
 * challenges and finally credentials out. Whether they are right is authd's
 * to say.
 *
 * EXTERNAL (RFC 4422 A), whose credentials are the certificate of the TLS connection,
 * OAUTHBEARER (RFC 7628) and XOAUTH2, whose credentials are a token that authd has asked about,
 * PLAIN (RFC 4616), LOGIN (in wide use, never standardized), SCRAM-SHA-256 and
 * SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677). In SCRAM authd is asked twice: for the
 * server's first message and about the client's proof.
 */
#ifndef NET_SASL_H
#define NET_SASL_H

#include "base/buf.h"
#include "base/fail.h"
#include "net/scram_server.h"

enum {
	SASL_LINE_MAX = 12288,   /* RFC 4954 4.5, without CRLF: what a front must take as one line */
	SASL_NAME_MAX = 320,
	SASL_PASSWORD_MAX = 1024,
	SASL_CHALLENGE_MAX = 1024, /* base64 */
};

/* Mechanisms, the strongest first. MECHANISM(bit, name) */
#define SASL_MECHANISMS(X)                          \
	X(EXTERNAL, "EXTERNAL")                     \
	X(OAUTHBEARER, "OAUTHBEARER")               \
	X(XOAUTH2, "XOAUTH2")                       \
	X(SCRAM_SHA_256_PLUS, "SCRAM-SHA-256-PLUS") \
	X(SCRAM_SHA_256, "SCRAM-SHA-256")           \
	X(PLAIN, "PLAIN")                           \
	X(LOGIN, "LOGIN")
enum sasl_bit {
#define X(bit, name) SASL_BIT_##bit,
	SASL_MECHANISMS(X)
#undef X
	SASL_MECHANISM_COUNT
};
enum {
	SASL_SCRAM = 1 << SASL_BIT_SCRAM_SHA_256_PLUS | 1 << SASL_BIT_SCRAM_SHA_256,
	SASL_OAUTH = 1 << SASL_BIT_OAUTHBEARER | 1 << SASL_BIT_XOAUTH2,
	SASL_PASSWORD = 1 << SASL_BIT_PLAIN | 1 << SASL_BIT_LOGIN, /* these show the password */
};

/* The set of bits that names have; names of none are passed over. */
unsigned sasl_set(const struct span *names, size_t n);

/* What a connection may use now. */
struct sasl_offer {
	unsigned mechanisms; /* set of bits */
	bool closed; /* nobody listens, so a password may come as it is */
	bool tls;         /* the only way for tokens */
	bool certificate; /* the client has shown one */
	/* Appends the channel binding data of a type (RFC 5929, RFC 9266); false: there is none. NULL without TLS. */
	bool (*binding)(void *arg, struct span type, struct buf *out);
	void *arg;
};

struct sasl_mechanism;

struct sasl {
	const struct sasl_mechanism *mechanism; /* NULL: no exchange goes on */
	struct sasl_offer offer; /* as it was at the begin */
	unsigned step;
	struct buf challenge; /* base64 */
	struct buf secret;    /* decoded; what the spans below point into */
	struct span authzid, user, password; /* password: or token */
	struct span bare, nonce; /* SCRAM: client-first-message-bare, the client's nonce and later the whole */
	struct span binding;     /* SCRAM: the cbind-input that must come */
	struct scram_final final;
};

enum sasl_result {
	SASL_CHALLENGE, /* send sasl_challenge(), take the next line to sasl_step() */
	SASL_CHECK,     /* authzid, user, password are there until sasl_end() */
	SASL_IDENTIFY,  /* authzid is there until sasl_end(), and may be empty: ask whose the certificate is */
	SASL_TOKEN,     /* user and the token as password are there, and may be empty: ask about it; then sasl_end(), or sasl_refused() */
	SASL_REFUSED,   /* the client has heard sasl_refused(): it is over */
	SASL_BEGIN,     /* authzid, user, bare, nonce are there: ask for a challenge, then sasl_challenged() */
	SASL_PROVE,     /* final is there: ask whether the proof is right, then sasl_proved() */
	SASL_DONE,      /* proved before, and the client has seen ours */
	SASL_CANCELLED, /* the client sent "*" */
	SASL_BAD,       /* malformed, or against the rules; why says how */
};

/* Zeroed struct in; nothing is allocated before sasl_begin(). */
void sasl_init(struct sasl *s);
/* Wipes and frees; the struct is as after sasl_init(). Idempotent. */
void sasl_end(struct sasl *s);

/* NULL: no such mechanism. Names compare without case. */
const struct sasl_mechanism *sasl_find(struct span name);
struct span sasl_name(const struct sasl_mechanism *m);
/* Set of the bits that may be used as things are. */
unsigned sasl_usable(const struct sasl_offer *offer);
bool sasl_offered(const struct sasl_mechanism *m, const struct sasl_offer *offer);
/* "SCRAM-SHA-256 PLAIN LOGIN" of what is usable, each with prefix in front ("AUTH=" for IMAP), blanks between. */
void sasl_list(struct buf *out, const char *prefix, const struct sasl_offer *offer);

/* given: the client sent an initial response; "=" stands for an empty one. */
enum sasl_result sasl_begin(struct sasl *s, const struct sasl_mechanism *m, const struct sasl_offer *offer, bool given, struct span initial,
    struct fail *why);
/* A response line without CRLF. */
enum sasl_result sasl_step(struct sasl *s, struct span line, struct fail *why);
/* After SASL_BEGIN: authd's server-first-message. */
enum sasl_result sasl_challenged(struct sasl *s, struct span message, struct fail *why);
/* After SASL_PROVE, when the proof was right: ServerSignature. */
enum sasl_result sasl_proved(struct sasl *s, struct span signature, struct fail *why);
/* After SASL_TOKEN, when the token was no good: what the client is told (RFC 7628 3.2.2). */
enum sasl_result sasl_refused(struct sasl *s, struct span error, struct fail *why);
/* What goes behind "334 " or "+ "; may be empty. */
static inline struct span sasl_challenge(const struct sasl *s) { return buf_span(&s->challenge); }

#endif
