/* SPDX-License-Identifier: ISC
 *
 * digest: SHA-256, HMAC and PBKDF2 with it, by nettle: what logins, and names made
 * of content (RFC 8474), need where no TLS library is wanted. Who uses it links
 * NETTLE_LIBS.
 */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include "base/span.h"

enum { DIGEST_SHA256 = 32 };

void digest_sha256(struct span text, uint8_t out[DIGEST_SHA256]);
/* Of the parts one behind the other. */
void digest_parts(const struct span *parts, size_t n, uint8_t out[DIGEST_SHA256]);
/* RFC 2104. */
void digest_hmac(struct span key, struct span text, uint8_t out[DIGEST_SHA256]);
/* RFC 8018 5.2; takes about half a microsecond an iteration. iterations > 0. */
void digest_pbkdf2(struct span password, struct span salt, uint32_t iterations, uint8_t out[DIGEST_SHA256]);
/* In a time that tells nothing about where they differ. */
bool digest_equal(const uint8_t *a, const uint8_t *b, size_t n);

#endif
