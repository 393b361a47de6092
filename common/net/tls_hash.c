/* SPDX-License-Identifier: ISC
 *
 * HMAC and the key schedule of TLS 1.3 (RFC 8446 7.1) by nettle, for the two hashes
 * that its suites have.  A handshake takes some twenty steps; in OpenSSL 3.0 each
 * finds its KDF, its MAC and its digests by name, which costs more than what is hashed.
 */
#include <nettle/hkdf.h>
#include <nettle/hmac.h>
#include <nettle/nettle-meta.h>
#include <nettle/sha2.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_private.h"

enum { HASH_MAX = SHA384_DIGEST_SIZE, FIELD_MAX = 255, KEY_MAX = 64 };

/* A hash of cipher suites, by the names that OpenSSL has for it. */
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

/* ---- the key schedule ---- */

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

/* A step comes with all its parameters, as libssl calls it: there is no state. */
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

static void *kdf_new(void *provctx) { return provctx; }
static void kdf_free(void *ctx) { (void)ctx; }
/* Parameters before the step would be lost. */
static int kdf_set(void *ctx, const OSSL_PARAM params[]) { return (void)ctx, !params || !params->key; }

/* ---- HMAC ---- */

struct mac {
	OSSL_LIB_CTX *libctx;
	const struct suite *suite;
	bool keyed;
	union mac_state state, fresh; /* fresh: the key and nothing else */
	uint8_t key[KEY_MAX];
	size_t key_size;
	EVP_MAC_CTX *padded; /* owned; NULL: not of a record with padding */
};

static void *
mac_new(void *provctx)
{
	struct mac *m = calloc(1, sizeof(*m));

	if (m)
		m->libctx = provctx;
	return m;
}

static void
mac_free(void *ctx)
{
	struct mac *m = ctx;

	if (!m)
		return;
	EVP_MAC_CTX_free(m->padded);
	OPENSSL_cleanse(m, sizeof(*m));
	free(m);
}

static void *
mac_dup(void *ctx)
{
	const struct mac *m = ctx;
	struct mac *copy = malloc(sizeof(*copy));

	if (!copy)
		return NULL;
	memcpy(copy, m, sizeof(*copy));
	if (m->padded && !(copy->padded = EVP_MAC_CTX_dup(m->padded))) {
		mac_free(copy);
		return NULL;
	}
	return copy;
}

static bool
set_key(struct mac *m, struct span key)
{
	if (!m->suite)
		return false;
	if (m->suite->mac == &nettle_hmac_sha256)
		hmac_sha256_set_key(&m->fresh.sha256, key.n, (const uint8_t *)key.p);
	else
		hmac_sha384_set_key(&m->fresh.sha384, key.n, (const uint8_t *)key.p);
	m->state = m->fresh;
	m->keyed = true;
	m->key_size = key.n;
	(void)put(m->key, span_sub(key, 0, sizeof(m->key)));
	return true;
}

/* A record of CBC without encrypt-then-MAC came, where libssl has no cipher for this processor that sees to both: how much of it
 * is padding shall not be seen by how long this takes (Lucky Thirteen), which OpenSSL's own HMAC knows how to do. */
static bool
set_padded(struct mac *m, const OSSL_PARAM *size)
{
	EVP_MAC *mac = EVP_MAC_fetch(m->libctx, OSSL_MAC_NAME_HMAC, "provider=default");
	OSSL_PARAM params[] = { *size, OSSL_PARAM_construct_end(), OSSL_PARAM_construct_end() };

	EVP_MAC_CTX_free(m->padded);
	m->padded = mac ? EVP_MAC_CTX_new(mac) : NULL;
	EVP_MAC_free(mac);
	if (!m->keyed || m->key_size > sizeof(m->key) || !m->padded)
		return false;
	params[1] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t)m->suite->name, 0);
	return EVP_MAC_init(m->padded, m->key, m->key_size, params) == 1;
}

static int
mac_set(void *ctx, const OSSL_PARAM params[])
{
	struct mac *m = ctx;
	const OSSL_PARAM *digest = params ? OSSL_PARAM_locate_const(params, OSSL_MAC_PARAM_DIGEST) : NULL;
	const OSSL_PARAM *key = params ? OSSL_PARAM_locate_const(params, OSSL_MAC_PARAM_KEY) : NULL;
	const OSSL_PARAM *padded = params ? OSSL_PARAM_locate_const(params, OSSL_MAC_PARAM_TLS_DATA_SIZE) : NULL;

	if (digest) {
		m->keyed = false;
		if (!(m->suite = suite_of(span_of(digest->data, digest->data_size))))
			return 0;
	}
	return (!key || set_key(m, span_of(key->data, key->data_size))) && (!padded || set_padded(m, padded));
}

static int
mac_init(void *ctx, const unsigned char *key, size_t n, const OSSL_PARAM params[])
{
	struct mac *m = ctx;

	EVP_MAC_CTX_free(m->padded);
	m->padded = NULL;
	if (!mac_set(m, params) || (key && !set_key(m, span_of(key, n))))
		return 0;
	if (m->keyed)
		m->state = m->fresh;
	return m->keyed;
}

static int
mac_update(void *ctx, const unsigned char *in, size_t n)
{
	struct mac *m = ctx;

	if (m->padded)
		return EVP_MAC_update(m->padded, in, n);
	if (m->keyed)
		m->suite->mac->update(&m->state, n, in);
	return m->keyed;
}

static int
mac_final(void *ctx, unsigned char *out, size_t *n, size_t cap)
{
	struct mac *m = ctx;

	if (m->padded)
		return EVP_MAC_final(m->padded, out, n, cap);
	if (!m->keyed || cap < m->suite->mac->digest_size)
		return 0;
	*n = m->suite->mac->digest_size;
	m->suite->mac->digest(&m->state, *n, out);
	return 1;
}

static int
mac_get(void *ctx, OSSL_PARAM params[])
{
	const struct mac *m = ctx;
	OSSL_PARAM *size = OSSL_PARAM_locate(params, OSSL_MAC_PARAM_SIZE), *block = OSSL_PARAM_locate(params, OSSL_MAC_PARAM_BLOCK_SIZE);

	if (!m->suite)
		return !size && !block;
	return (!size || OSSL_PARAM_set_size_t(size, m->suite->mac->digest_size)) &&
	       (!block || OSSL_PARAM_set_size_t(block, m->suite->hash->block_size));
}

static const OSSL_PARAM *
mac_settable(void *ctx, void *provctx)
{
	static const OSSL_PARAM settable[] = {
		OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_MAC_PARAM_KEY, NULL, 0),
		OSSL_PARAM_size_t(OSSL_MAC_PARAM_TLS_DATA_SIZE, NULL),
		OSSL_PARAM_END,
	};

	(void)ctx, (void)provctx;
	return settable;
}

static const OSSL_PARAM *
mac_gettable(void *ctx, void *provctx)
{
	static const OSSL_PARAM gettable[] = {
		OSSL_PARAM_size_t(OSSL_MAC_PARAM_SIZE, NULL),
		OSSL_PARAM_size_t(OSSL_MAC_PARAM_BLOCK_SIZE, NULL),
		OSSL_PARAM_END,
	};

	(void)ctx, (void)provctx;
	return gettable;
}

/* ---- tables for OpenSSL ---- */

#define FN(id, f) { id, (void (*)(void))(f) }

static const OSSL_DISPATCH kdf_functions[] = {
	FN(OSSL_FUNC_KDF_NEWCTX, kdf_new),
	FN(OSSL_FUNC_KDF_FREECTX, kdf_free),
	FN(OSSL_FUNC_KDF_SET_CTX_PARAMS, kdf_set),
	FN(OSSL_FUNC_KDF_DERIVE, derive),
	{ 0, NULL },
};

static const OSSL_DISPATCH mac_functions[] = {
	FN(OSSL_FUNC_MAC_NEWCTX, mac_new),
	FN(OSSL_FUNC_MAC_FREECTX, mac_free),
	FN(OSSL_FUNC_MAC_DUPCTX, mac_dup),
	FN(OSSL_FUNC_MAC_INIT, mac_init),
	FN(OSSL_FUNC_MAC_UPDATE, mac_update),
	FN(OSSL_FUNC_MAC_FINAL, mac_final),
	FN(OSSL_FUNC_MAC_SET_CTX_PARAMS, mac_set),
	FN(OSSL_FUNC_MAC_SETTABLE_CTX_PARAMS, mac_settable),
	FN(OSSL_FUNC_MAC_GET_CTX_PARAMS, mac_get),
	FN(OSSL_FUNC_MAC_GETTABLE_CTX_PARAMS, mac_gettable),
	{ 0, NULL },
};
#undef FN

const OSSL_ALGORITHM tls_kdf_algorithms[] = {
	{ OSSL_KDF_NAME_TLS1_3_KDF, TLS_QUICK, kdf_functions, "key schedule of TLS 1.3" },
	{ NULL, NULL, NULL, NULL },
};

const OSSL_ALGORITHM tls_mac_algorithms[] = {
	{ OSSL_MAC_NAME_HMAC, TLS_QUICK, mac_functions, "HMAC with SHA-256 and SHA-384" },
	{ NULL, NULL, NULL, NULL },
};
