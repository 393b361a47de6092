/* SPDX-License-Identifier: ISC */
#include "base/digest.h"

#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <nettle/pbkdf2.h>
#include <string.h>

_Static_assert((int)DIGEST_SHA256 == SHA256_DIGEST_SIZE, "SHA-256 has 32 bytes");

static const uint8_t *
bytes(struct span s)
{
	return (const uint8_t *)(s.n ? s.p : "");
}

void
digest_parts(const struct span *parts, size_t n, uint8_t out[DIGEST_SHA256])
{
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	for (size_t i = 0; i < n; i++)
		sha256_update(&ctx, parts[i].n, bytes(parts[i]));
	sha256_digest(&ctx, DIGEST_SHA256, out);
	explicit_bzero(&ctx, sizeof(ctx));
}

void
digest_sha256(struct span text, uint8_t out[DIGEST_SHA256])
{
	digest_parts(&text, 1, out);
}

void
digest_hmac(struct span key, struct span text, uint8_t out[DIGEST_SHA256])
{
	struct hmac_sha256_ctx ctx;

	hmac_sha256_set_key(&ctx, key.n, bytes(key));
	hmac_sha256_update(&ctx, text.n, bytes(text));
	hmac_sha256_digest(&ctx, DIGEST_SHA256, out);
	explicit_bzero(&ctx, sizeof(ctx));
}

void
digest_pbkdf2(struct span password, struct span salt, uint32_t iterations, uint8_t out[DIGEST_SHA256])
{
	pbkdf2_hmac_sha256(password.n, bytes(password), iterations, salt.n, bytes(salt), DIGEST_SHA256, out);
}

bool
digest_equal(const uint8_t *a, const uint8_t *b, size_t n)
{
	return memeql_sec(a, b, n) != 0;
}
