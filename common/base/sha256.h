/* SPDX-License-Identifier: ISC
 *
 * sha256: FIPS 180-4, for programs that must not load a cryptographic library:
 * names made of content (RFC 8474).  Nothing secret passes through it; whoever
 * checks passwords or signs uses OpenSSL.
 */
#ifndef BASE_SHA256_H
#define BASE_SHA256_H

#include "base/span.h"

enum { SHA256_SIZE = 32, SHA256_BLOCK = 64 };

struct sha256 {
	uint32_t state[8];
	uint64_t n; /* octets so far */
	uint8_t block[SHA256_BLOCK];
};

void sha256_init(struct sha256 *s);
void sha256_put(struct sha256 *s, struct span bytes);
void sha256_end(struct sha256 *s, uint8_t out[SHA256_SIZE]);

#endif
