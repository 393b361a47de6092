/* SPDX-License-Identifier: ISC
 *
 * scram: SCRAM-SHA-256 (RFC 5802, RFC 7677) without I/O: messages in, messages
 * out, no base64 and no transport around them.
 */
#ifndef NET_SCRAM_H
#define NET_SCRAM_H

#include "base/buf.h"
#include "base/digest.h"
#include "base/fail.h"

enum {
	SCRAM_KEY = DIGEST_SHA256,
	SCRAM_NONCE = 24,            /* characters of a nonce of ours */
	SCRAM_ITERATIONS_MIN = 4096, /* RFC 7677 4 */
	SCRAM_ITERATIONS_MAX = 200000, /* of a foreign server: what it may cost us */
	SCRAM_MESSAGE_MAX = 4096,
};

/* The client's side. */
struct scram_client {
	struct buf bare, auth; /* client-first-message-bare; AuthMessage */
	struct buf bound;      /* cbind-input: gs2-header and channel binding data */
	uint8_t expected[SCRAM_KEY]; /* ServerSignature */
	bool sent;             /* the proof */
};

/* How the client binds to the channel; type and data empty: not at all. */
struct scram_binding {
	struct span type, data; /* "tls-exporter" */
	bool could;             /* it would have, but the server does not offer it (RFC 5802 6) */
};

/* nonce: printable ASCII without comma, never used before. binding may be NULL. Appends client-first-message. */
bool scram_client_first(struct scram_client *s, struct span user, struct span nonce, const struct scram_binding *binding, struct buf *out);
/* Appends client-final-message. False (FAIL_PEER): not a message, or one that asks too much or too little. */
bool scram_client_final(struct scram_client *s, struct span password, struct span server_first, struct buf *out, struct fail *why);
/* Whether the server has shown that it knows the secret, too. */
bool scram_client_verify(const struct scram_client *s, struct span server_final);
void scram_client_end(struct scram_client *s);

#endif
