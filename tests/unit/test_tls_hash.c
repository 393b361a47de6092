/* SPDX-License-Identifier: ISC
 *
 * HMAC and the steps of the key schedule, beside those of OpenSSL's own provider, and which of the two a handshake gets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/provider.h>
#include "net/tls_private.h"

enum { OUT_MAX = 1024 };

struct step {
	int mode;
	const char *digest, *label;
	struct span key, salt, data;
};

static bool
derive(OSSL_LIB_CTX *libctx, const char *properties, const struct step *s, uint8_t *out, size_t n)
{
	EVP_KDF *kdf = EVP_KDF_fetch(libctx, "TLS13-KDF", properties);
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
	OSSL_PARAM params[8], *p = params;
	int mode = s->mode;
	bool ok;

	assert_non_null(ctx);
	*p++ = OSSL_PARAM_construct_int("mode", &mode);
	*p++ = OSSL_PARAM_construct_utf8_string("digest", (char *)(uintptr_t)s->digest, 0);
	if (s->key.p)
		*p++ = OSSL_PARAM_construct_octet_string("key", (void *)(uintptr_t)s->key.p, s->key.n);
	if (s->salt.p)
		*p++ = OSSL_PARAM_construct_octet_string("salt", (void *)(uintptr_t)s->salt.p, s->salt.n);
	*p++ = OSSL_PARAM_construct_octet_string("prefix", (char[]){ "tls13 " }, 6);
	*p++ = OSSL_PARAM_construct_octet_string("label", (void *)(uintptr_t)s->label, strlen(s->label));
	if (s->data.p)
		*p++ = OSSL_PARAM_construct_octet_string("data", (void *)(uintptr_t)s->data.p, s->data.n);
	*p = OSSL_PARAM_construct_end();
	ok = EVP_KDF_derive(ctx, out, n, params) == 1;
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return ok;
}

static void
assert_same(OSSL_LIB_CTX *libctx, const struct step *s, size_t n)
{
	uint8_t own[OUT_MAX] = { 1 }, theirs[OUT_MAX] = { 2 };

	assert_true(derive(libctx, TLS_QUICK, s, own, n));
	assert_true(derive(libctx, "provider=default", s, theirs, n));
	assert_memory_equal(own, theirs, n);
}

static void
each_length(OSSL_LIB_CTX *libctx, struct step *s, const uint8_t *bytes, size_t hash)
{
	static const size_t keys[] = { 1, 32, 48, 65, 128, 256 }, outs[] = { 1, 12, 16, 32, 48, 49, 1000 }, data[] = { 0, 8, 32, 48, 249 };

	s->mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
	for (size_t i = 0; i <= sizeof(keys) / sizeof(keys[0]); i++)
		for (int salted = 0; salted < 2; salted++) {
			s->key = i ? span_of(bytes, keys[i - 1]) : SPAN_NONE;
			s->salt = salted ? span_of(bytes + 300, hash) : SPAN_NONE;
			assert_same(libctx, s, hash);
		}
	s->mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	s->key = span_of(bytes, hash);
	s->salt = SPAN_NONE;
	for (size_t i = 0; i < sizeof(outs) / sizeof(outs[0]); i++)
		for (size_t j = 0; j < sizeof(data) / sizeof(data[0]); j++) {
			s->data = span_of(bytes + 400, data[j]);
			assert_same(libctx, s, outs[i]);
		}
	s->data = SPAN_NONE;
}

static void
test_each_step_is_openssls(void **state)
{
	static const char *const digests[] = { "SHA256", "SHA2-256", "sha384", "SHA2-384" };
	struct tls_context *context = *state;
	uint8_t bytes[700];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 167 + i / 256);
	for (size_t i = 0; i < sizeof(digests) / sizeof(digests[0]); i++) {
		struct step s = { .digest = digests[i], .label = i % 2 ? "derived" : "s ap traffic" };

		each_length(context->libctx, &s, bytes, i < 2 ? 32 : 48);
	}
}

/* RFC 8448 3: the early secret of a handshake without PSK. */
static void
test_the_early_secret(void **state)
{
	static const uint8_t want[] = { 0x33, 0xad, 0x0a, 0x1c, 0x60, 0x7e, 0xc0, 0x3b, 0x09, 0xe6, 0xcd, 0x98, 0x93, 0x68, 0x0c, 0xe2,
		                        0x10, 0xad, 0xf3, 0x00, 0xaa, 0x1f, 0x26, 0x60, 0xe1, 0xb2, 0x2e, 0x10, 0xf1, 0x70, 0xf9, 0x2a };
	struct tls_context *context = *state;
	struct step s = { .mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY, .digest = "SHA256", .label = "derived" };
	uint8_t out[32];

	assert_true(derive(context->libctx, TLS_QUICK, &s, out, sizeof(out)));
	assert_memory_equal(out, want, sizeof(want));
}

static void
test_what_is_no_step_is_refused(void **state)
{
	char long_label[251] = { 0 };
	static const uint8_t bytes[300];
	struct tls_context *context = *state;
	const struct step good = { .mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY, .digest = "SHA256", .label = "key", .key = span_of(bytes, 32) };
	struct step bad[] = { good, good, good, good, good, good, good };
	uint8_t *out = malloc(255 * 32 + 1);

	bad[0].digest = "SHA1";
	bad[1].label = long_label;
	bad[2].key = span_of(bytes, 31);
	bad[3].key = SPAN_NONE;
	bad[4].data = span_of(bytes, 256);
	bad[5].mode = EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND;
	bad[6].mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
	bad[6].salt = span_of(bytes, 48);
	assert_non_null(out);
	memset(long_label, 'x', sizeof(long_label) - 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(derive(context->libctx, TLS_QUICK, &bad[i], out, 32));
	assert_true(derive(context->libctx, TLS_QUICK, &good, out, 255 * 32));
	assert_false(derive(context->libctx, TLS_QUICK, &good, out, 255 * 32 + 1)); /* RFC 5869 2.3 */
	free(out);
}

static void
test_a_parameter_ahead_of_its_step_is_refused(void **state)
{
	struct tls_context *context = *state;
	EVP_KDF *kdf = EVP_KDF_fetch(context->libctx, "TLS13-KDF", NULL);
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
	OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string("key", (char[]){ "secret" }, 6), OSSL_PARAM_construct_end() };

	assert_non_null(ctx);
	assert_int_equal(EVP_KDF_CTX_set_params(ctx, params), 0);
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
}

static EVP_MAC_CTX *
mac_open(OSSL_LIB_CTX *libctx, const char *properties, const char *digest)
{
	OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string("digest", (char *)(uintptr_t)digest, 0), OSSL_PARAM_construct_end() };
	EVP_MAC *mac = EVP_MAC_fetch(libctx, "HMAC", properties);
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);

	EVP_MAC_free(mac);
	assert_non_null(ctx);
	assert_int_equal(EVP_MAC_CTX_set_params(ctx, params), 1);
	return ctx;
}

/* In two pieces, with a copy between them that is ended, too; then once more with the same key. */
static size_t
mac_twice(EVP_MAC_CTX *ctx, struct span key, struct span data, uint8_t out[3][64])
{
	const unsigned char *p = (const unsigned char *)data.p;
	size_t half = data.n / 2, n = 0;
	EVP_MAC_CTX *copy;

	assert_int_equal(EVP_MAC_init(ctx, (const unsigned char *)key.p, key.n, NULL), 1);
	assert_int_equal(EVP_MAC_update(ctx, p, half), 1);
	assert_non_null(copy = EVP_MAC_CTX_dup(ctx));
	assert_int_equal(EVP_MAC_update(ctx, p + half, data.n - half), 1);
	assert_int_equal(EVP_MAC_final(ctx, out[0], &n, 64), 1);
	assert_int_equal(n, EVP_MAC_CTX_get_mac_size(ctx));
	assert_int_equal(EVP_MAC_final(copy, out[1], &n, 64), 1);
	EVP_MAC_CTX_free(copy);
	assert_int_equal(EVP_MAC_init(ctx, NULL, 0, NULL), 1);
	assert_int_equal(EVP_MAC_update(ctx, p, data.n), 1);
	assert_int_equal(EVP_MAC_init(ctx, NULL, 0, NULL), 1); /* what was said is forgotten */
	assert_int_equal(EVP_MAC_update(ctx, p, data.n), 1);
	assert_int_equal(EVP_MAC_final(ctx, out[2], &n, 64), 1);
	assert_memory_equal(out[0], out[2], n);
	return n;
}

static void
test_hmac_is_openssls(void **state)
{
	static const size_t keys[] = { 1, 20, 32, 48, 64, 65, 128, 129, 200 }, data[] = { 0, 1, 63, 64, 65, 300 };
	static const char *const digests[] = { "SHA256", "SHA2-256", "SHA384", "SHA2-384" };
	struct tls_context *context = *state;
	uint8_t bytes[700], ours[3][64], theirs[3][64];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 131 + i / 256);
	for (size_t d = 0; d < sizeof(digests) / sizeof(digests[0]); d++)
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
			for (size_t j = 0; j < sizeof(data) / sizeof(data[0]); j++) {
				EVP_MAC_CTX *one = mac_open(context->libctx, TLS_QUICK, digests[d]), *other = mac_open(context->libctx, "provider=default", digests[d]);
				struct span key = span_of(bytes, keys[i]), text = span_of(bytes + 300, data[j]);
				size_t n = mac_twice(one, key, text, ours);

				assert_int_equal(mac_twice(other, key, text, theirs), n);
				assert_int_equal(EVP_MAC_CTX_get_block_size(one), EVP_MAC_CTX_get_block_size(other));
				assert_memory_equal(ours[0], theirs[0], n);
				assert_memory_equal(ours[1], theirs[1], n);
				EVP_MAC_CTX_free(one);
				EVP_MAC_CTX_free(other);
			}
}

/* The way that tickets and OpenSSL's own PRF of TLS 1.2 take. */
static void
test_hmac_by_its_parameters(void **state)
{
	static const unsigned char key[] = "key", text[] = "The quick brown fox jumps over the lazy dog";
	static const uint8_t want[] = { 0xf7, 0xbc, 0x83, 0xf4, 0x30, 0x53, 0x84, 0x24 };
	struct tls_context *context = *state;
	EVP_MAC *mac = EVP_MAC_fetch(context->libctx, "HMAC", NULL);
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
	OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string("key", (void *)(uintptr_t)key, 3),
		                OSSL_PARAM_construct_utf8_string("digest", (char[]){ "SHA256" }, 0), OSSL_PARAM_construct_end() };
	uint8_t out[64];
	size_t n = 0;

	assert_int_equal(EVP_MAC_CTX_set_params(ctx, params), 1);
	assert_int_equal(EVP_MAC_update(ctx, text, sizeof(text) - 1), 1);
	assert_int_equal(EVP_MAC_final(ctx, out, &n, sizeof(out)), 1);
	assert_int_equal(n, 32);
	assert_memory_equal(out, want, sizeof(want));
	EVP_MAC_CTX_free(ctx);
	assert_non_null(EVP_Q_mac(context->libctx, "HMAC", NULL, "SHA256", NULL, key, 3, text, sizeof(text) - 1, out, sizeof(out), &n));
	assert_memory_equal(out, want, sizeof(want));
	EVP_MAC_free(mac);
}

/* What is due for a record of CBC takes OpenSSL's own, whose time does not tell how much of it is padding: it alone
 * knows a size that the data cannot have. */
static void
test_hmac_of_a_padded_record_is_openssls(void **state)
{
	static const unsigned char header[13] = { 9 }, data[400] = { 7 };
	static const char *const digests[] = { "SHA256", "SHA384" };
	struct tls_context *context = *state;
	size_t size = 340;
	OSSL_PARAM params[] = { OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_TLS_DATA_SIZE, &size), OSSL_PARAM_construct_end() };
	uint8_t out[2][64];

	for (size_t d = 0; d < 2; d++) {
		EVP_MAC_CTX *both[] = { mac_open(context->libctx, NULL, digests[d]), mac_open(context->libctx, "provider=default", digests[d]) };

		for (size_t i = 0; i < 2; i++)
			assert_int_equal(EVP_MAC_init(both[i], data, 48, NULL), 1);
		for (size_t n = 36; n <= 292; n += 16) { /* as libssl does: a copy for each record */
			for (size_t i = 0; i < 2; i++) {
				EVP_MAC_CTX *one = EVP_MAC_CTX_dup(both[i]);
				size_t got;

				assert_int_equal(EVP_MAC_CTX_set_params(one, params), 1);
				assert_int_equal(EVP_MAC_update(one, header, sizeof(header)), 1);
				assert_int_equal(EVP_MAC_update(one, data, n), 1);
				assert_int_equal(EVP_MAC_final(one, out[i], &got, sizeof(out[i])), 1);
				EVP_MAC_CTX_free(one);
			}
			assert_memory_equal(out[0], out[1], d ? 48 : 32);
		}
		for (size_t i = 0; i < 2; i++) {
			assert_int_equal(EVP_MAC_CTX_set_params(both[i], params), 1);
			assert_int_equal(EVP_MAC_update(both[i], header, sizeof(header)), 1);
			assert_int_equal(EVP_MAC_update(both[i], data, size + 1), 0);
			EVP_MAC_CTX_free(both[i]);
		}
	}
}

static void
test_hmac_without_key_or_hash_is_refused(void **state)
{
	struct tls_context *context = *state;
	EVP_MAC *mac = EVP_MAC_fetch(context->libctx, "HMAC", TLS_QUICK);
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
	OSSL_PARAM sha1[] = { OSSL_PARAM_construct_utf8_string("digest", (char[]){ "SHA1" }, 0), OSSL_PARAM_construct_end() };
	OSSL_PARAM sha256[] = { OSSL_PARAM_construct_utf8_string("digest", (char[]){ "SHA256" }, 0), OSSL_PARAM_construct_end() };
	unsigned char out[64] = "x";
	size_t n = 0;

	assert_int_equal(EVP_MAC_init(ctx, out, 1, NULL), 0);
	assert_int_equal(EVP_MAC_CTX_set_params(ctx, sha1), 0);
	assert_int_equal(EVP_MAC_CTX_set_params(ctx, sha256), 1);
	assert_int_equal(EVP_MAC_init(ctx, NULL, 0, NULL), 0);
	assert_int_equal(EVP_MAC_update(ctx, out, 1), 0);
	assert_int_equal(EVP_MAC_final(ctx, out, &n, sizeof(out)), 0);
	EVP_MAC_CTX_free(ctx);
	EVP_MAC_free(mac);
}

/* Ours where it is quick, never where it is remote. */
static void
test_which_provider_is_taken(void **state)
{
	struct tls_context *context = *state;
	EVP_KDF *kdf = EVP_KDF_fetch(context->libctx, "TLS13-KDF", NULL);
	EVP_KEYMGMT *keys = EVP_KEYMGMT_fetch(context->libctx, "RSA", NULL);
	EVP_SIGNATURE *signature = EVP_SIGNATURE_fetch(context->libctx, "ECDSA", NULL);
	EVP_MD *md = EVP_MD_fetch(context->libctx, "SHA256", NULL);
	EVP_MAC *mac = EVP_MAC_fetch(context->libctx, "HMAC", NULL);

	assert_string_equal(OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(kdf)), TLS_PROVIDER);
	assert_string_equal(OSSL_PROVIDER_get0_name(EVP_KEYMGMT_get0_provider(keys)), "default");
	assert_string_equal(OSSL_PROVIDER_get0_name(EVP_SIGNATURE_get0_provider(signature)), "default");
	assert_string_equal(OSSL_PROVIDER_get0_name(EVP_MD_get0_provider(md)), "default");
	assert_string_equal(OSSL_PROVIDER_get0_name(EVP_MAC_get0_provider(mac)), TLS_PROVIDER);
	EVP_MAC_free(mac);
	EVP_KDF_free(kdf);
	EVP_KEYMGMT_free(keys);
	EVP_SIGNATURE_free(signature);
	EVP_MD_free(md);
}

static int
setup(void **state)
{
	struct tls_context *context = calloc(1, sizeof(*context));
	struct fail why;

	assert_non_null(context);
	assert_true(tls_context_init(context, &why));
	*state = context;
	return 0;
}

static int
teardown(void **state)
{
	tls_context_done(*state);
	free(*state);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_step_is_openssls),
		cmocka_unit_test(test_the_early_secret),
		cmocka_unit_test(test_what_is_no_step_is_refused),
		cmocka_unit_test(test_a_parameter_ahead_of_its_step_is_refused),
		cmocka_unit_test(test_hmac_is_openssls),
		cmocka_unit_test(test_hmac_by_its_parameters),
		cmocka_unit_test(test_hmac_of_a_padded_record_is_openssls),
		cmocka_unit_test(test_hmac_without_key_or_hash_is_refused),
		cmocka_unit_test(test_which_provider_is_taken),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
