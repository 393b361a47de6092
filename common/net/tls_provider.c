/* SPDX-License-Identifier: ISC
 *
 * Keys that live elsewhere: a key here is a public key and a signer to ask.
 *
 * OpenSSL is told to prefer anything to what is remote, so that only keys made by
 * tls_remote_key() come here. Exporting such a key gives away only its public
 * half; OpenSSL then finds that no other provider can sign with it and comes
 * back to this one.
 */
#include <openssl/async.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_private.h"

#define PARAM_REMOTE "pillarpost-remote"

struct remote_key {
	const char *type; /* "RSA", "EC", "ED25519" */
	OSSL_LIB_CTX *libctx;
	EVP_PKEY *public_key;
	const struct tls_signer *signer; /* NULL: a mere public key, made for comparison */
	uint8_t id[TLS_KEY_ID];
};

struct remote_sign {
	OSSL_LIB_CTX *libctx;
	const struct remote_key *key;
	EVP_MD *md; /* owned; NULL for Ed25519 */
	bool pss;
};

static const struct {
	int nid;
	enum tls_hash hash;
} hashes[] = {
	{ NID_sha256, TLS_HASH_SHA256 },
	{ NID_sha384, TLS_HASH_SHA384 },
	{ NID_sha512, TLS_HASH_SHA512 },
	{ NID_sha1, TLS_HASH_SHA1 },
};

bool
tls_key_id(EVP_PKEY *public_key, uint8_t id[TLS_KEY_ID])
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(public_key, &der);
	size_t got = 0;
	bool ok = n > 0 && EVP_Q_digest(NULL, "SHA256", NULL, der, (size_t)n, id, &got) && got == TLS_KEY_ID;

	OPENSSL_free(der);
	return ok;
}

/* Key management. */

static void *
key_new(void *provctx, const char *type)
{
	struct remote_key *key = calloc(1, sizeof(*key));

	if (key) {
		key->type = type;
		key->libctx = provctx;
	}
	return key;
}

static void *key_new_rsa(void *provctx) { return key_new(provctx, "RSA"); }
static void *key_new_ec(void *provctx) { return key_new(provctx, "EC"); }
static void *key_new_ed25519(void *provctx) { return key_new(provctx, "ED25519"); }

static void
key_free(void *data)
{
	struct remote_key *key = data;

	if (key)
		EVP_PKEY_free(key->public_key);
	free(key);
}

static int
key_has(const void *data, int selection)
{
	const struct remote_key *key = data;

	if (!key || !key->public_key)
		return 0;
	return key->signer || !(selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY);
}

static int
key_adopt(struct remote_key *key, const struct remote_key *from)
{
	if (!EVP_PKEY_up_ref(from->public_key))
		return 0;
	key->public_key = from->public_key;
	key->signer = from->signer;
	memcpy(key->id, from->id, sizeof(key->id));
	return 1;
}

static int
key_import(void *data, int selection, const OSSL_PARAM params[])
{
	struct remote_key *key = data;
	const OSSL_PARAM *remote = OSSL_PARAM_locate_const(params, PARAM_REMOTE);
	const void *from = NULL;
	size_t used = 0;
	EVP_PKEY_CTX *ctx;
	int ok;

	(void)selection;
	if (remote)
		return OSSL_PARAM_get_octet_ptr(remote, &from, &used) && used == sizeof(*key) ? key_adopt(key, from) : 0;
	ctx = EVP_PKEY_CTX_new_from_name(key->libctx, key->type, "provider=default");
	ok = ctx && EVP_PKEY_fromdata_init(ctx) > 0 &&
	     EVP_PKEY_fromdata(ctx, &key->public_key, EVP_PKEY_PUBLIC_KEY, (OSSL_PARAM *)params) > 0;
	EVP_PKEY_CTX_free(ctx);
	return ok;
}

static const OSSL_PARAM *
key_import_types(int selection)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_DEFN(PARAM_REMOTE, OSSL_PARAM_OCTET_PTR, NULL, 0),
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_END,
	};

	(void)selection;
	return types;
}

static int
key_export(void *data, int selection, OSSL_CALLBACK *callback, void *arg)
{
	struct remote_key *key = data;
	OSSL_PARAM *params = NULL;
	int ok;

	if (!(selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) || selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY)
		return 0;
	ok = EVP_PKEY_todata(key->public_key, EVP_PKEY_PUBLIC_KEY, &params) > 0 && callback(params, arg);
	OSSL_PARAM_free(params);
	return ok;
}

static const OSSL_PARAM *
key_export_types(int selection)
{
	return selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY ? key_import_types(selection) + 1 : NULL;
}

static int
key_get_params(void *data, OSSL_PARAM params[])
{
	struct remote_key *key = data;

	return key->public_key && EVP_PKEY_get_params(key->public_key, params);
}

static const OSSL_PARAM *
key_gettable_params(void *provctx)
{
	static const OSSL_PARAM gettable[] = {
		OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_MANDATORY_DIGEST, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_END,
	};

	(void)provctx;
	return gettable;
}

static int
key_match(const void *a, const void *b, int selection)
{
	const struct remote_key *one = a, *two = b;

	(void)selection;
	return one->public_key && two->public_key && EVP_PKEY_eq(one->public_key, two->public_key) == 1;
}

static const char *key_operation_rsa(int operation) { return (void)operation, "RSA"; }
static const char *key_operation_ec(int operation) { return (void)operation, "ECDSA"; }
static const char *key_operation_ed25519(int operation) { return (void)operation, "ED25519"; }

/* Signing. */

static void *
sign_new(void *provctx, const char *propq)
{
	struct remote_sign *sign = calloc(1, sizeof(*sign));

	(void)propq;
	if (sign)
		sign->libctx = provctx;
	return sign;
}

static void
sign_free(void *data)
{
	struct remote_sign *sign = data;

	if (sign)
		EVP_MD_free(sign->md);
	free(sign);
}

static void *
sign_dup(void *data)
{
	const struct remote_sign *from = data;
	struct remote_sign *sign = malloc(sizeof(*sign));

	if (!sign)
		return NULL;
	*sign = *from;
	if (sign->md && !EVP_MD_up_ref(sign->md))
		sign->md = NULL;
	return sign;
}

static int
sign_set_params(void *data, const OSSL_PARAM params[])
{
	struct remote_sign *sign = data;
	const OSSL_PARAM *pad = params ? OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE) : NULL;
	int mode = 0;

	if (!pad)
		return 1;
	if (pad->data_type == OSSL_PARAM_UTF8_STRING) {
		const char *name = pad->data;

		sign->pss = strcmp(name, OSSL_PKEY_RSA_PAD_MODE_PSS) == 0;
		return sign->pss || strcmp(name, OSSL_PKEY_RSA_PAD_MODE_PKCSV15) == 0;
	}
	if (!OSSL_PARAM_get_int(pad, &mode))
		return 0;
	sign->pss = mode == RSA_PKCS1_PSS_PADDING;
	return sign->pss || mode == RSA_PKCS1_PADDING;
}

/* The salt is always as long as the digest, as RFC 8446 4.2.3 wants it. */
static const OSSL_PARAM *
sign_settable_params(void *data, void *provctx)
{
	static const OSSL_PARAM settable[] = {
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, NULL, 0),
		OSSL_PARAM_END,
	};

	(void)data, (void)provctx;
	return settable;
}

static int
sign_init(void *data, const char *mdname, void *keydata, const OSSL_PARAM params[])
{
	struct remote_sign *sign = data;

	sign->key = keydata;
	EVP_MD_free(sign->md);
	sign->md = NULL;
	if (!sign->key || !sign->key->signer)
		return 0;
	if (mdname && *mdname && !(sign->md = EVP_MD_fetch(sign->libctx, mdname, NULL)))
		return 0;
	return sign_set_params(sign, params);
}

/* Fills ask->hash and ask->input; digest holds what input points to. */
static bool
digest_input(const struct remote_sign *sign, const unsigned char *tbs, size_t n, unsigned char *digest,
             struct tls_sign_request *ask)
{
	unsigned length = 0;

	for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++)
		if (EVP_MD_get_type(sign->md) == hashes[i].nid)
			ask->hash = hashes[i].hash;
	if (ask->hash == TLS_HASH_NONE || !EVP_Digest(tbs, n, digest, &length, sign->md, NULL))
		return false;
	ask->input = span_of(digest, length);
	return true;
}

/* Leaves the handshake's stack until tls_signature_done(). */
static int
sign_later(const struct tls_signer *signer, const struct tls_sign_request *ask, unsigned char *out, size_t *outlen, size_t cap)
{
	struct tls_signature *to = OWNER_OF(signer, const struct tls_context, signer)->shaking;
	struct fail why;
	int ok;

	if (!to || !ASYNC_get_current_job())
		return 0;
	to->done = to->ok = false;
	buf_init(&to->bytes, TLS_SIGNATURE_MAX);
	to->pending = signer->begin(signer->ctx, ask, to, &why);
	while (to->pending && !to->done)
		if (!ASYNC_pause_job())
			return 0;
	ok = to->pending && to->ok && buf_len(&to->bytes) <= cap;
	to->pending = false;
	if (ok) {
		memcpy(out, buf_span(&to->bytes).p, buf_len(&to->bytes));
		*outlen = buf_len(&to->bytes);
	}
	buf_free(&to->bytes);
	return ok;
}

void
tls_signature_done(struct tls_signature *s, struct span bytes)
{
	if (bytes.n)
		buf_put(&s->bytes, bytes);
	s->ok = bytes.n && buf_ok(&s->bytes);
	s->done = true;
	s->on_done(s);
}

static int
sign_ask(struct remote_sign *sign, const struct tls_sign_request *ask, unsigned char *out, size_t *outlen, size_t cap)
{
	const struct tls_signer *signer = sign->key->signer;
	struct buf signature;
	struct fail why;
	int ok;

	if (!signer->sign)
		return sign_later(signer, ask, out, outlen, cap);
	buf_init(&signature, TLS_SIGNATURE_MAX);
	ok = signer->sign(signer->ctx, ask, &signature, &why) && buf_ok(&signature) && buf_len(&signature) <= cap;
	if (ok) {
		memcpy(out, buf_span(&signature).p, buf_len(&signature));
		*outlen = buf_len(&signature);
	}
	buf_free(&signature);
	return ok;
}

static int
digest_sign(void *data, unsigned char *out, size_t *outlen, size_t cap, const unsigned char *tbs, size_t n)
{
	struct remote_sign *sign = data;
	struct tls_sign_request ask = { .input = span_of(tbs, n) };
	unsigned char digest[EVP_MAX_MD_SIZE];
	int most;

	if (!sign->key || (most = EVP_PKEY_get_size(sign->key->public_key)) <= 0)
		return 0;
	if (!out) {
		*outlen = (size_t)most;
		return 1;
	}
	memcpy(ask.key_id, sign->key->id, sizeof(ask.key_id));
	if (strcmp(sign->key->type, "RSA") == 0)
		ask.algorithm = sign->pss ? TLS_SIGN_RSA_PSS : TLS_SIGN_RSA_PKCS1;
	else
		ask.algorithm = strcmp(sign->key->type, "EC") == 0 ? TLS_SIGN_ECDSA : TLS_SIGN_ED25519;
	if (ask.algorithm != TLS_SIGN_ED25519 && !(sign->md && digest_input(sign, tbs, n, digest, &ask)))
		return 0;
	if (ask.input.n > TLS_TBS_MAX)
		return 0;
	return sign_ask(sign, &ask, out, outlen, cap);
}

/* Tables for OpenSSL. */

#define FN(id, f) { id, (void (*)(void))(f) }
#define KEY_TABLE(type)                                                          \
	static const OSSL_DISPATCH keys_##type[] = {                             \
		FN(OSSL_FUNC_KEYMGMT_NEW, key_new_##type),                       \
		FN(OSSL_FUNC_KEYMGMT_FREE, key_free),                            \
		FN(OSSL_FUNC_KEYMGMT_HAS, key_has),                              \
		FN(OSSL_FUNC_KEYMGMT_IMPORT, key_import),                        \
		FN(OSSL_FUNC_KEYMGMT_IMPORT_TYPES, key_import_types),            \
		FN(OSSL_FUNC_KEYMGMT_EXPORT, key_export),                        \
		FN(OSSL_FUNC_KEYMGMT_EXPORT_TYPES, key_export_types),            \
		FN(OSSL_FUNC_KEYMGMT_GET_PARAMS, key_get_params),                \
		FN(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, key_gettable_params),      \
		FN(OSSL_FUNC_KEYMGMT_MATCH, key_match),                          \
		FN(OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, key_operation_##type), \
		{ 0, NULL },                                                     \
	}
KEY_TABLE(rsa);
KEY_TABLE(ec);
KEY_TABLE(ed25519);
#undef KEY_TABLE

static const OSSL_DISPATCH signing[] = {
	FN(OSSL_FUNC_SIGNATURE_NEWCTX, sign_new),
	FN(OSSL_FUNC_SIGNATURE_FREECTX, sign_free),
	FN(OSSL_FUNC_SIGNATURE_DUPCTX, sign_dup),
	FN(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, sign_init),
	FN(OSSL_FUNC_SIGNATURE_DIGEST_SIGN, digest_sign),
	FN(OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, sign_set_params),
	FN(OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, sign_settable_params),
	{ 0, NULL },
};

static const OSSL_ALGORITHM key_algorithms[] = {
	{ "RSA:rsaEncryption:1.2.840.113549.1.1.1", TLS_REMOTE, keys_rsa, "remote RSA key" },
	{ "EC:id-ecPublicKey:1.2.840.10045.2.1", TLS_REMOTE, keys_ec, "remote EC key" },
	{ "ED25519:1.3.101.112", TLS_REMOTE, keys_ed25519, "remote Ed25519 key" },
	{ NULL, NULL, NULL, NULL },
};

static const OSSL_ALGORITHM sign_algorithms[] = {
	{ "RSA:rsaEncryption:1.2.840.113549.1.1.1", TLS_REMOTE, signing, "remote RSA signature" },
	{ "ECDSA", TLS_REMOTE, signing, "remote ECDSA signature" },
	{ "ED25519:1.3.101.112", TLS_REMOTE, signing, "remote Ed25519 signature" },
	{ NULL, NULL, NULL, NULL },
};

static const OSSL_ALGORITHM *
query(void *provctx, int operation, int *no_cache)
{
	(void)provctx;
	*no_cache = 0;
	switch (operation) {
	case OSSL_OP_KEYMGMT: return key_algorithms;
	case OSSL_OP_SIGNATURE: return sign_algorithms;
	case OSSL_OP_KDF: return tls_kdf_algorithms;
	case OSSL_OP_MAC: return tls_mac_algorithms;
	default: return NULL;
	}
}

static const OSSL_DISPATCH provider_table[] = {
	FN(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query),
	{ 0, NULL },
};
#undef FN

int
tls_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **provctx)
{
	OSSL_FUNC_core_get_libctx_fn *get_libctx = NULL;

	for (; in->function_id; in++)
		if (in->function_id == OSSL_FUNC_CORE_GET_LIBCTX)
			get_libctx = OSSL_FUNC_core_get_libctx(in);
	if (!get_libctx)
		return 0;
	/* For a provider inside the program the core's context is the library context itself. */
	*provctx = (void *)get_libctx(handle);
	*out = provider_table;
	return 1;
}

EVP_PKEY *
tls_remote_key(struct tls_context *context, EVP_PKEY *public_key, struct fail *why)
{
	struct remote_key from = { .public_key = public_key, .signer = &context->signer };
	void *at = &from;
	OSSL_PARAM params[2] = { OSSL_PARAM_construct_octet_ptr(PARAM_REMOTE, &at, sizeof(from)), OSSL_PARAM_construct_end() };
	const char *type = EVP_PKEY_is_a(public_key, "RSA") ? "RSA" : EVP_PKEY_is_a(public_key, "EC") ? "EC" :
	                   EVP_PKEY_is_a(public_key, "ED25519") ? "ED25519" : NULL;
	EVP_PKEY_CTX *ctx = NULL;
	EVP_PKEY *key = NULL;

	params[0].data_size = sizeof(from);
	if (!type)
		(void)fail_set(why, FAIL_PERM, 0, "the certificate's key is neither RSA nor EC nor Ed25519");
	else if (!tls_key_id(public_key, from.id) || !(ctx = EVP_PKEY_CTX_new_from_name(context->libctx, type, TLS_REMOTE)) ||
	         EVP_PKEY_fromdata_init(ctx) <= 0 || EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) <= 0)
		(void)tls_failed(why, FAIL_TEMP, "making a remote key");
	EVP_PKEY_CTX_free(ctx);
	return key;
}
