/* SPDX-License-Identifier: ISC
 *
 * scram_server: what a client says within SCRAM (RFC 5802 7), taken apart. No
 * secret comes here: authd has the keys, makes the server's nonce and
 * judges the proof; what it is given is what a front has found well-formed.
 */
#ifndef NET_SCRAM_SERVER_H
#define NET_SCRAM_SERVER_H

#include "base/buf.h"
#include "base/fail.h"

enum {
	SCRAM_PROOF = 32,
	SCRAM_BARE_MAX = 1536,   /* client-first-message-bare */
	SCRAM_NONCE_MAX = 256,   /* the client's part */
	SCRAM_BINDING_MAX = 128, /* channel binding data */
};

/* client-first-message. Spans point into it but for names, which are decoded. */
struct scram_first {
	struct span header;  /* gs2-header, with its last comma */
	struct span binding; /* the type: "tls-exporter"; empty without */
	bool could_bind;     /* "y": the client would have, but thinks we cannot */
	struct span authzid, user;
	struct span bare;    /* client-first-message-bare */
	struct span nonce;   /* its own */
};
/* names: where authzid and user are appended; it must have room already, or its memory moves. */
bool scram_parse_first(struct span message, struct buf *names, struct scram_first *out, struct fail *why);

/* client-final-message */
struct scram_final {
	struct span binding; /* cbind-input in base64 */
	struct span nonce;   /* both parts */
	struct span without; /* client-final-message-without-proof */
	uint8_t proof[SCRAM_PROOF];
};
bool scram_parse_final(struct span message, struct scram_final *out, struct fail *why);

/* The nonce in a server-first-message; empty: that is none. */
struct span scram_server_nonce(struct span server_first);

#endif
