/* SPDX-License-Identifier: ISC */
#include "table/scramkey.h"

#include <string.h>

#include "base/base64.h"
#include "base/saslprep.h"

static struct span
key_span(const uint8_t key[SCRAMKEY_SIZE])
{
	return span_of(key, SCRAMKEY_SIZE);
}

/* RFC 5802 3: Normalize() is SASLprep. */
void
scramkey_make(struct span password, struct span salt, uint32_t iterations, struct scramkey *out)
{
	uint8_t salted[SCRAMKEY_SIZE], client[SCRAMKEY_SIZE];
	struct buf room;

	*out = (struct scramkey){ .iterations = iterations, .nsalt = salt.n < SCRAMKEY_SALT_MAX ? salt.n : SCRAMKEY_SALT_MAX };
	memcpy(out->salt, salt.p, out->nsalt);
	buf_init(&room, SASLPREP_MAX);
	digest_pbkdf2(saslprep_or_given(password, &room), span_of(out->salt, out->nsalt), iterations, salted);
	digest_hmac(key_span(salted), SPAN("Client Key"), client);
	digest_sha256(key_span(client), out->stored);
	digest_hmac(key_span(salted), SPAN("Server Key"), out->server);
	explicit_bzero(salted, sizeof(salted));
	explicit_bzero(client, sizeof(client));
	buf_wipe(&room);
}

void
scramkey_put(const struct scramkey *key, struct buf *out)
{
	buf_printf(out, "SCRAM-SHA-256$%u:", key->iterations);
	base64_encode(out, span_of(key->salt, key->nsalt));
	buf_putc(out, '$');
	base64_encode(out, key_span(key->stored));
	buf_putc(out, ':');
	base64_encode(out, key_span(key->server));
}

/* The decoded bytes; how many there are, 0 when malformed. */
static size_t
decode(struct span text, uint8_t *to, size_t cap)
{
	struct buf b;
	size_t n;

	buf_init(&b, cap);
	n = base64_decode(&b, text) ? buf_len(&b) : 0;
	if (n)
		memcpy(to, buf_span(&b).p, n);
	buf_wipe(&b);
	return n;
}

bool
scramkey_parse(struct span text, struct scramkey *out)
{
	struct span rest = text, name = span_cut(&rest, '$'), cost = span_cut(&rest, '$'), iterations = span_cut(&cost, ':'), stored = span_cut(&rest, ':');
	uint64_t n;

	*out = (struct scramkey){ .iterations = 0 };
	if (text.n > SCRAMKEY_TEXT_MAX || !span_eq(name, SPAN("SCRAM-SHA-256")) || !span_u64(iterations, SCRAMKEY_ITERATIONS_MAX, &n) || n == 0)
		return false;
	out->iterations = (uint32_t)n;
	out->nsalt = decode(cost, out->salt, sizeof(out->salt));
	return out->nsalt > 0 && decode(stored, out->stored, SCRAMKEY_SIZE) == SCRAMKEY_SIZE && decode(rest, out->server, SCRAMKEY_SIZE) == SCRAMKEY_SIZE;
}

bool
scramkey_check(const struct scramkey *key, struct span auth_message, const uint8_t proof[SCRAMKEY_SIZE], uint8_t signature[SCRAMKEY_SIZE])
{
	uint8_t client[SCRAMKEY_SIZE], stored[SCRAMKEY_SIZE];
	bool good;

	digest_hmac(key_span(key->stored), auth_message, client); /* ClientSignature */
	for (size_t i = 0; i < SCRAMKEY_SIZE; i++)
		client[i] ^= proof[i];
	digest_sha256(key_span(client), stored);
	good = digest_equal(stored, key->stored, SCRAMKEY_SIZE);
	digest_hmac(key_span(key->server), auth_message, signature);
	explicit_bzero(client, sizeof(client));
	return good;
}
