/* SPDX-License-Identifier: ISC */
#include "daemons/keyd/keys.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

enum sign_scheme { SCHEME_RSA_PKCS1, SCHEME_RSA_PSS, SCHEME_ECDSA, SCHEME_ED25519 };

enum { SCHEMES = 4, DIGESTS = 3 };

struct key {
	struct list node;
	EVP_PKEY *key; /* counted */
	EVP_PKEY_CTX *ready[SCHEMES][DIGESTS]; /* owned; what OpenSSL would look up anew for each signature */
	uint8_t id[KEYS_ID];
	uint64_t signatures;
	char path[B_PATH + 1];
};

/* What is signed with what. Anything that has no row is refused. */
static const struct scheme {
	enum sign_scheme scheme;
	const char *type; /* of the key */
	int padding;      /* of RSA, else 0 */
	size_t least, most; /* bytes to sign where there is no digest */
} schemes[SCHEMES] = {
	{ SCHEME_RSA_PKCS1, "RSA", RSA_PKCS1_PADDING, 0, 0 },
	{ SCHEME_RSA_PSS, "RSA", RSA_PKCS1_PSS_PADDING, 0, 0 },
	{ SCHEME_ECDSA, "EC", 0, 0, 0 },
	{ SCHEME_ED25519, "ED25519", 0, 64, 1024 },
};

static const struct digest {
	struct span name;
	size_t size;
} digests[DIGESTS] = {
	{ SPAN_INIT("SHA256"), 32 },
	{ SPAN_INIT("SHA384"), 48 },
	{ SPAN_INIT("SHA512"), 64 },
};

enum { RSA_LEAST_BITS = 2048, RSA_MOST_BITS = 8192, SIGNATURE_MAX = 1024 };

static bool
failed(struct fail *why, const char *doing)
{
	const char *reason = ERR_reason_error_string(ERR_peek_error());

	(void)fail_set(why, FAIL_TEMP, 0, "%s: %s", doing, reason ? reason : "no reason given");
	ERR_clear_error();
	return false;
}

void
keys_init(struct keys *set)
{
	*set = (struct keys){ .nkeys = 0 };
	list_init(&set->keys);
	list_init(&set->chains);
}

static void
key_free(struct key *key)
{
	for (size_t i = 0; i < SCHEMES; i++)
		for (size_t j = 0; j < DIGESTS; j++)
			EVP_PKEY_CTX_free(key->ready[i][j]);
	EVP_PKEY_free(key->key);
	free(key);
}

void
keys_free(struct keys *set)
{
	struct list *node;

	while ((node = list_shift(&set->keys)))
		key_free(OWNER_OF(node, struct key, node));
	while ((node = list_shift(&set->chains))) {
		struct keys_chain *chain = OWNER_OF(node, struct keys_chain, node);

		buf_free(&chain->pem);
		free(chain);
	}
	keys_init(set);
}

static struct key *
find(const struct keys *set, const uint8_t id[KEYS_ID])
{
	LIST_EACH(&set->keys, node) {
		struct key *key = OWNER_OF(node, struct key, node);

		if (memcmp(key->id, id, KEYS_ID) == 0)
			return key;
	}
	return NULL;
}

bool
keys_have(const struct keys *set, const uint8_t id[KEYS_ID])
{
	return find(set, id) != NULL;
}

static bool
public_id(EVP_PKEY *key, uint8_t id[KEYS_ID])
{
	unsigned char *der = NULL;
	int n = key ? i2d_PUBKEY(key, &der) : 0;
	size_t got = 0;
	bool ok = n > 0 && EVP_Q_digest(NULL, "SHA256", NULL, der, (size_t)n, id, &got) && got == KEYS_ID;

	OPENSSL_free(der);
	return ok;
}

/* Takes a reference to pkey. */
static bool
put_key(struct keys *set, EVP_PKEY *pkey, struct span path, struct fail *why)
{
	struct key *key;
	uint8_t id[KEYS_ID];

	if (!public_id(pkey, id))
		return failed(why, "reading the public key");
	if (find(set, id))
		return true;
	if (set->nkeys >= KEYS_MAX || !(key = calloc(1, sizeof(*key))))
		return fail_set(why, FAIL_LIMIT, 0, "too many keys");
	if (!EVP_PKEY_up_ref(pkey)) {
		free(key);
		return failed(why, "keeping the key");
	}
	key->key = pkey;
	memcpy(key->id, id, sizeof(id));
	(void)span_cstr(path, key->path, sizeof(key->path));
	list_push(&set->keys, &key->node);
	set->nkeys++;
	return true;
}

static bool
usable(EVP_PKEY *pkey, struct fail *why)
{
	int bits = EVP_PKEY_get_bits(pkey);

	if (EVP_PKEY_is_a(pkey, "RSA") && (bits < RSA_LEAST_BITS || bits > RSA_MOST_BITS))
		return fail_set(why, FAIL_PERM, 0, "an RSA key of %d bits is not used", bits);
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (EVP_PKEY_is_a(pkey, schemes[i].type))
			return true;
	return fail_set(why, FAIL_PERM, 0, "the key is neither RSA nor EC nor Ed25519");
}

static int
no_passphrase(char *to, int n, int writing, void *arg)
{
	(void)to, (void)n, (void)writing, (void)arg;
	return -1;
}

/* The next block "-----BEGIN ... PRIVATE KEY-----" to its END line; moves *rest
 * behind it. Empty at the end. */
static struct span
next_block(struct span *rest)
{
	static const struct span begin = SPAN_INIT("-----BEGIN "), kind = SPAN_INIT("PRIVATE KEY-----"), end = SPAN_INIT("-----END ");
	size_t at;

	while ((at = span_find(*rest, begin)) != SIZE_MAX) {
		struct span block = span_from(*rest, at);
		struct span line = span_sub(block, 0, span_chr(block, '\n'));
		size_t stop = span_find(block, end), tail;

		if (stop == SIZE_MAX)
			stop = block.n;
		tail = span_chr(span_from(block, stop), '\n');
		stop = tail == SIZE_MAX ? block.n : stop + tail + 1;
		*rest = span_from(block, stop);
		if (span_ends(span_trim(line), kind))
			return span_sub(block, 0, stop);
	}
	return SPAN_NONE;
}

static bool
read_key(struct keys *set, struct span path, struct span block, struct fail *why)
{
	BIO *bio = BIO_new_mem_buf(block.p, (int)block.n);
	EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
	bool ok = pkey ? usable(pkey, why) && put_key(set, pkey, path, why) : failed(why, "the private key cannot be read");

	EVP_PKEY_free(pkey);
	BIO_free(bio);
	ERR_clear_error();
	return ok;
}

/* Adds every key; *found counts them. */
static bool
read_keys(struct keys *set, struct span path, struct span pem, unsigned *found, struct fail *why)
{
	struct span block;

	while ((block = next_block(&pem)).n) {
		if (!read_key(set, path, block, why))
			return false;
		*found += 1;
	}
	return true;
}

static void
name_leaf(struct keys_chain *chain, X509 *leaf)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
	struct buf text;

	buf_init(&text, sizeof(chain->subject) - 1);
	for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type != GEN_DNS || (size_t)ASN1_STRING_length(name->d.dNSName) >= buf_space(&text))
			continue;
		if (buf_len(&text))
			buf_putc(&text, ',');
		buf_put(&text, span_of(ASN1_STRING_get0_data(name->d.dNSName), (size_t)ASN1_STRING_length(name->d.dNSName)));
	}
	(void)span_cstr(buf_span(&text), chain->subject, sizeof(chain->subject));
	buf_free(&text);
	GENERAL_NAMES_free(names);
}

/* Writes the certificates out again, so that nothing else of the file leaves this process. */
static bool
copy_chain(struct keys_chain *chain, BIO *from, BIO *to, unsigned *found)
{
	X509 *certificate;
	bool ok = true;

	while (ok && (certificate = PEM_read_bio_X509(from, NULL, no_passphrase, NULL))) {
		if ((*found)++ == 0) {
			ok = public_id(X509_get0_pubkey(certificate), chain->id);
			name_leaf(chain, certificate);
		}
		ok = ok && PEM_write_bio_X509(to, certificate);
		X509_free(certificate);
	}
	return ok && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE; /* the end, and not one that is broken */
}

static bool
read_chain(struct keys *set, struct span path, struct span pem, unsigned *found, struct fail *why)
{
	struct keys_chain *chain = calloc(1, sizeof(*chain));
	BIO *from = BIO_new_mem_buf(pem.p, (int)pem.n), *to = BIO_new(BIO_s_mem());
	bool ok = chain && from && to && copy_chain(chain, from, to, found);
	char *text = NULL;

	ERR_clear_error();
	if (ok && *found) {
		long n = BIO_get_mem_data(to, &text);

		buf_init(&chain->pem, IPC_DATA_MAX);
		buf_put(&chain->pem, span_of(text, (size_t)n));
		ok = buf_ok(&chain->pem) && span_cstr(path, chain->path, sizeof(chain->path));
	}
	BIO_free(from);
	BIO_free(to);
	if (ok && *found) {
		list_push(&set->chains, &chain->node);
		set->nchains++;
		return true;
	}
	if (chain)
		buf_free(&chain->pem);
	free(chain);
	return ok || fail_set(why, FAIL_PERM, 0, "the certificates cannot be read");
}

void
keys_take(struct keys *to, struct keys *from)
{
	struct list *node;

	while ((node = list_shift(&from->keys)))
		list_push(&to->keys, node);
	while ((node = list_shift(&from->chains)))
		list_push(&to->chains, node);
	to->nkeys += from->nkeys;
	to->nchains += from->nchains;
	keys_init(from);
}

bool
keys_add(struct keys *set, struct span path, struct span pem, struct fail *why)
{
	struct keys one; /* this file's, so that it is added whole or not at all */
	unsigned certificates = 0, found = 0;
	bool ok;

	keys_init(&one);
	ok = pem.n <= KEYS_FILE_MAX || fail_set(why, FAIL_LIMIT, 0, "the file is too large");
	ok = ok && read_keys(&one, path, pem, &found, why) && read_chain(&one, path, pem, &certificates, why);
	if (ok && found + certificates == 0)
		ok = fail_set(why, FAIL_PERM, 0, "neither a key nor a certificate is in it");
	if (ok)
		keys_take(set, &one);
	keys_free(&one);
	return ok;
}

bool
keys_carry(struct keys *set, const struct keys *from, struct span path)
{
	bool any = false;
	struct fail why;

	LIST_EACH(&from->keys, node) {
		struct key *key = OWNER_OF(node, struct key, node);

		if (span_eq(span_str(key->path), path))
			any = put_key(set, key->key, path, &why) || any;
	}
	LIST_EACH(&from->chains, node) {
		const struct keys_chain *chain = OWNER_OF(node, struct keys_chain, node);
		unsigned found = 0;

		if (span_eq(span_str(chain->path), path))
			any = read_chain(set, path, buf_span(&chain->pem), &found, &why) || any;
	}
	return any;
}

bool
keys_restore(struct keys *set, const struct keys *from, struct keys_chain *chain)
{
	struct fail why;

	LIST_EACH(&from->chains, node) {
		const struct keys_chain *old = OWNER_OF(node, struct keys_chain, node);
		struct key *key = strcmp(old->path, chain->path) == 0 ? find(from, old->id) : NULL;

		if (!key || !put_key(set, key->key, span_str(key->path), &why))
			continue;
		buf_reset(&chain->pem);
		buf_put(&chain->pem, buf_span(&old->pem));
		memcpy(chain->subject, old->subject, sizeof(chain->subject));
		memcpy(chain->id, old->id, sizeof(chain->id));
		return buf_ok(&chain->pem);
	}
	return false;
}

const struct keys_chain *
keys_chain_next(const struct keys *set, const struct keys_chain *after)
{
	const struct list *node = after ? after->node.next : set->chains.next;

	for (; node != &set->chains; node = node->next) {
		const struct keys_chain *chain = OWNER_OF(node, struct keys_chain, node);

		if (find(set, chain->id))
			return chain;
	}
	return NULL;
}

static const struct scheme *
scheme_of(const struct key *key, const struct ipc_sign_ask *ask)
{
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (schemes[i].scheme == ask->scheme && EVP_PKEY_is_a(key->key, schemes[i].type))
			return &schemes[i];
	return NULL;
}

/* NULL if the request is not in order. */
static const struct digest *
digest_of(const struct ipc_sign_ask *ask)
{
	for (size_t i = 0; i < sizeof(digests) / sizeof(digests[0]); i++)
		if (span_eq(ask->digest, digests[i].name) && ask->data.n == digests[i].size)
			return &digests[i];
	return NULL;
}

static bool
sign_message(EVP_PKEY *key, struct span data, unsigned char *out, size_t *n)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool ok = md && EVP_DigestSignInit(md, NULL, NULL, NULL, key) > 0 &&
	          EVP_DigestSign(md, out, n, (const unsigned char *)data.p, data.n) > 0;

	EVP_MD_CTX_free(md);
	return ok;
}

static EVP_PKEY_CTX *
prepare(EVP_PKEY *key, int padding, const char *digest)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	bool ok = ctx && EVP_PKEY_sign_init(ctx) > 0;

	if (ok && padding)
		ok = EVP_PKEY_CTX_set_rsa_padding(ctx, padding) > 0;
	ok = ok && EVP_PKEY_CTX_set_signature_md(ctx, EVP_get_digestbyname(digest)) > 0;
	if (ok && padding == RSA_PKCS1_PSS_PADDING)
		ok = EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) > 0;
	if (ok)
		return ctx;
	EVP_PKEY_CTX_free(ctx);
	return NULL;
}

static bool
sign_digest(struct key *key, const struct scheme *scheme, const struct digest *digest, struct span data, unsigned char *out, size_t *n)
{
	EVP_PKEY_CTX **ctx = &key->ready[scheme - schemes][digest - digests];

	if (!*ctx)
		*ctx = prepare(key->key, scheme->padding, digest->name.p);
	if (*ctx && EVP_PKEY_sign(*ctx, out, n, (const unsigned char *)data.p, data.n) > 0)
		return true;
	EVP_PKEY_CTX_free(*ctx);
	*ctx = NULL;
	return false;
}

bool
keys_sign(struct keys *set, const struct ipc_sign_ask *ask, struct buf *signature, struct fail *why)
{
	struct key *key = ask->key.n == KEYS_ID ? find(set, (const uint8_t *)ask->key.p) : NULL;
	const struct scheme *scheme = key ? scheme_of(key, ask) : NULL;
	const struct digest *digest = NULL;
	unsigned char out[SIGNATURE_MAX];
	size_t n = sizeof(out);
	bool ok;

	if (!key)
		return fail_set(why, FAIL_PERM, 0, "no such key");
	if (!scheme)
		return fail_set(why, FAIL_PEER, 0, "scheme %u does not fit the key", (unsigned)ask->scheme);
	if (scheme->most == 0 && !(digest = digest_of(ask)))
		return fail_set(why, FAIL_PEER, 0, "not a digest that is signed");
	if (scheme->most && (ask->digest.n || ask->data.n < scheme->least || ask->data.n > scheme->most))
		return fail_set(why, FAIL_PEER, 0, "%zu bytes are not a message that is signed", ask->data.n);
	ok = digest ? sign_digest(key, scheme, digest, ask->data, out, &n) : sign_message(key->key, ask->data, out, &n);
	if (!ok)
		return failed(why, "signing");
	buf_put(signature, span_of(out, n));
	key->signatures++;
	return buf_ok(signature) || fail_set(why, FAIL_LIMIT, 0, "no memory for the signature");
}

void
keys_each_line(const struct keys *set, void (*line)(void *, struct span), void *arg)
{
	LIST_EACH(&set->keys, node) {
		const struct key *key = OWNER_OF(node, struct key, node);
		struct buf text;

		buf_init(&text, B_PATH + 256);
		buf_puts(&text, "id=");
		for (size_t i = 0; i < 8; i++)
			buf_printf(&text, "%02x", key->id[i]);
		buf_printf(&text, " kind=%s bits=%d signatures=%llu file=%s", EVP_PKEY_get0_type_name(key->key),
		    EVP_PKEY_get_bits(key->key), (unsigned long long)key->signatures, key->path);
		line(arg, buf_span(&text));
		buf_free(&text);
	}
}
