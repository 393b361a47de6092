/* SPDX-License-Identifier: ISC
 *
 * sasl: the server's side of AUTH exchanges (RFC 4422) without I/O: lines in,
 * challenges and finally credentials out. Whether they are right is authd's
 * to say.
 *
 * PLAIN (RFC 4616) and LOGIN (in wide use, never standardized). Mechanisms
 * that need the stored secret (SCRAM) will answer SASL_VERIFY with messages
 * for authd in between; callers treat it as SASL_BAD until then.
 */
#ifndef NET_SASL_H
#define NET_SASL_H

#include "base/buf.h"
#include "base/fail.h"

enum {
	SASL_LINE_MAX = 12288,   /* RFC 4954 4.5, without CRLF: what a front must take as one line */
	SASL_NAME_MAX = 320,
	SASL_PASSWORD_MAX = 1024,
};

struct sasl_mechanism;

struct sasl {
	const struct sasl_mechanism *mechanism; /* NULL: no exchange goes on */
	unsigned step;
	struct buf challenge; /* base64 */
	struct buf secret;    /* decoded; what the spans below point into */
	struct span authzid, user, password;
};

enum sasl_result {
	SASL_CHALLENGE, /* send sasl_challenge(), take the next line to sasl_step() */
	SASL_CHECK,     /* authzid, user, password are there until sasl_end() */
	SASL_CANCELLED, /* the client sent "*" */
	SASL_BAD,       /* malformed; why says how */
};

/* Zeroed struct in; nothing is allocated before sasl_begin(). */
void sasl_init(struct sasl *s);
/* Wipes and frees; the struct is as after sasl_init(). Idempotent. */
void sasl_end(struct sasl *s);

/* NULL: no such mechanism. Names compare without case. */
const struct sasl_mechanism *sasl_find(struct span name);
struct span sasl_name(const struct sasl_mechanism *m);
/* "PLAIN LOGIN", each with prefix in front ("AUTH=" for IMAP), blanks between. */
void sasl_list(struct buf *out, const char *prefix);

/* given: the client sent an initial response; "=" stands for an empty one. */
enum sasl_result sasl_begin(struct sasl *s, const struct sasl_mechanism *m, bool given, struct span initial, struct fail *why);
/* A response line without CRLF. */
enum sasl_result sasl_step(struct sasl *s, struct span line, struct fail *why);
/* What goes behind "334 " or "+ "; may be empty. */
static inline struct span sasl_challenge(const struct sasl *s) { return buf_span(&s->challenge); }

#endif
