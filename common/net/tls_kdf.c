/* SPDX-License-Identifier: ISC
 *
 * The key schedule of TLS 1.3 (RFC 8446 7.1) by nettle's HKDF.  A handshake takes
 * some twenty steps; in OpenSSL 3.0 each finds its KDF, its MAC and its digests by
 * name, which costs more than what is hashed.
 *
 * A step comes with all its parameters, as libssl calls it: there is no state.
 */
#include <nettle/hkdf.h>
#include <nettle/hmac.h>
#include <nettle/nettle-meta.h>
#include <nettle/sha2.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>

#include "net/tls_private.h"

enum { HASH_MAX = SHA384_DIGEST_SIZE, FIELD_MAX = 255 };

/* The hash of a cipher suite, by the names that OpenSSL has for it. */
struct suite {
	const char *name;
	const struct nettle_mac *mac;
	const struct nettle_hash *hash;
};

struct step {
	int mode; /* EVP_KDF_HKDF_MODE_... */
	const struct suite *suite;
	struct span key, salt, prefix, label, data;
};

union mac_state {
	struct hmac_sha256_ctx sha256;
	struct hmac_sha384_ctx sha384;
};

static const struct suite suites[] = {
	{ "SHA256", &nettle_hmac_sha256, &nettle_sha256 },
	{ "SHA2-256", &nettle_hmac_sha256, &nettle_sha256 },
	{ "SHA384", &nettle_hmac_sha384, &nettle_sha384 },
	{ "SHA2-384", &nettle_hmac_sha384, &nettle_sha384 },
};

static const struct suite *
suite_of(struct span name)
{
	for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++)
		if (span_caseeq(name, span_str(suites[i].name)))
			return &suites[i];
	return NULL;
}

static bool
read_step(struct step *step, const OSSL_PARAM *p)
{
	struct span digest = SPAN_NONE;
	const struct {
		const char *name;
		struct span *to;
	} spans[] = {
		{ OSSL_KDF_PARAM_DIGEST, &digest },
		{ OSSL_KDF_PARAM_KEY, &step->key },
		{ OSSL_KDF_PARAM_SALT, &step->salt },
		{ OSSL_KDF_PARAM_PREFIX, &step->prefix },
		{ OSSL_KDF_PARAM_LABEL, &step->label },
		{ OSSL_KDF_PARAM_DATA, &step->data },
	};

	for (; p && p->key; p++) {
		if (strcmp(p->key, OSSL_KDF_PARAM_MODE) == 0 && !OSSL_PARAM_get_int(p, &step->mode))
			return false;
		for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++)
			if (strcmp(p->key, spans[i].name) == 0)
				*spans[i].to = span_of(p->data, p->data ? p->data_size : 0);
	}
	return (step->suite = suite_of(digest)) != NULL;
}

static uint8_t *
put(uint8_t *p, struct span s)
{
	if (s.n)
		memcpy(p, s.p, s.n);
	return p + s.n;
}

/* HKDF-Expand-Label; the secret is as long as a hash. */
static bool
expand_label(const struct step *step, const uint8_t *secret, struct span data, uint8_t *out, size_t n)
{
	const struct nettle_mac *mac = step->suite->mac;
	union mac_state state;
	uint8_t info[2 + 1 + FIELD_MAX + 1 + FIELD_MAX], *p = info;
	size_t label = step->prefix.n + step->label.n;

	if (n > FIELD_MAX * (size_t)mac->digest_size || label > FIELD_MAX || data.n > FIELD_MAX)
		return false;
	*p++ = (uint8_t)(n >> 8);
	*p++ = (uint8_t)n;
	*p++ = (uint8_t)label;
	p = put(put(p, step->prefix), step->label);
	*p++ = (uint8_t)data.n;
	p = put(p, data);
	mac->set_key(&state, secret);
	hkdf_expand(&state, mac->update, mac->digest, mac->digest_size, (size_t)(p - info), info, n, out);
	OPENSSL_cleanse(&state, sizeof(state));
	return true;
}

/* Derive-Secret(salt, label, "") is the salt; without one, and for a key that is missing, a hash of zeros. */
static bool
extract(const struct step *step, uint8_t *out)
{
	static const uint8_t zeros[HASH_MAX];
	const struct nettle_mac *mac = step->suite->mac;
	const struct nettle_hash *hash = step->suite->hash;
	union {
		struct sha256_ctx sha256;
		struct sha384_ctx sha384;
	} empty;
	union mac_state state;
	uint8_t none[HASH_MAX], salt[HASH_MAX] = { 0 };
	struct span key = step->key.p ? step->key : span_of(zeros, mac->digest_size);

	if (step->salt.p && step->salt.n != mac->digest_size)
		return false;
	if (step->salt.p) {
		hash->init(&empty);
		hash->digest(&empty, hash->digest_size, none);
		if (!expand_label(step, (const uint8_t *)step->salt.p, span_of(none, hash->digest_size), salt, mac->digest_size))
			return false;
	}
	mac->set_key(&state, salt);
	hkdf_extract(&state, mac->update, mac->digest, mac->digest_size, key.n, (const uint8_t *)key.p, out);
	OPENSSL_cleanse(&state, sizeof(state));
	OPENSSL_cleanse(salt, sizeof(salt));
	return true;
}

static int
derive(void *ctx, unsigned char *out, size_t n, const OSSL_PARAM params[])
{
	struct step step = { .mode = -1 };

	(void)ctx;
	if (!read_step(&step, params))
		return 0;
	if (step.mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY)
		return n == step.suite->mac->digest_size && extract(&step, out);
	return step.mode == EVP_KDF_HKDF_MODE_EXPAND_ONLY && step.key.n == step.suite->mac->digest_size &&
	       expand_label(&step, (const uint8_t *)step.key.p, step.data, out, n);
}

static void *ctx_new(void *provctx) { return provctx; }
static void ctx_free(void *ctx) { (void)ctx; }
/* Parameters before the step would be lost. */
static int ctx_set(void *ctx, const OSSL_PARAM params[]) { return (void)ctx, !params || !params->key; }

static const OSSL_DISPATCH functions[] = {
	{ OSSL_FUNC_KDF_NEWCTX, (void (*)(void))ctx_new },
	{ OSSL_FUNC_KDF_FREECTX, (void (*)(void))ctx_free },
	{ OSSL_FUNC_KDF_SET_CTX_PARAMS, (void (*)(void))ctx_set },
	{ OSSL_FUNC_KDF_DERIVE, (void (*)(void))derive },
	{ 0, NULL },
};

const OSSL_ALGORITHM tls_kdf_algorithms[] = {
	{ OSSL_KDF_NAME_TLS1_3_KDF, TLS_QUICK, functions, "key schedule of TLS 1.3" },
	{ NULL, NULL, NULL, NULL },
};
