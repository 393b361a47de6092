/* SPDX-License-Identifier: ISC
 *
 * scramkey: what is stored of a password for SCRAM-SHA-256 (RFC 5802 2.2, RFC 7677):
 * enough to check a client's proof, not enough to make one. As text it is as
 * RFC 5803 2 has it: SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY, in base64.
 */
#ifndef TABLE_SCRAMKEY_H
#define TABLE_SCRAMKEY_H

#include "base/buf.h"
#include "base/digest.h"

enum {
	SCRAMKEY_SIZE = DIGEST_SHA256,
	SCRAMKEY_SALT = 16,         /* bytes of a salt of ours */
	SCRAMKEY_SALT_MAX = 64,     /* of one from elsewhere */
	SCRAMKEY_TEXT_MAX = 256,
	SCRAMKEY_ITERATIONS_MIN = 4096, /* RFC 7677 4 */
	SCRAMKEY_ITERATIONS_MAX = 10000000,
};

struct scramkey {
	uint32_t iterations;
	size_t nsalt;
	uint8_t salt[SCRAMKEY_SALT_MAX];
	uint8_t stored[SCRAMKEY_SIZE], server[SCRAMKEY_SIZE]; /* StoredKey, ServerKey */
};

/* Takes half a microsecond an iteration: on a worker thread. salt: at most SCRAMKEY_SALT_MAX bytes. */
void scramkey_make(struct span password, struct span salt, uint32_t iterations, struct scramkey *out);
void scramkey_put(const struct scramkey *key, struct buf *out);
bool scramkey_parse(struct span text, struct scramkey *out);
/* Whether proof is of who knows the password; signature (ServerSignature) is made in any case. */
bool scramkey_check(const struct scramkey *key, struct span auth_message, const uint8_t proof[SCRAMKEY_SIZE], uint8_t signature[SCRAMKEY_SIZE]);

#endif
