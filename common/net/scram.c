/* SPDX-License-Identifier: ISC */
#include "net/scram.h"

#include <string.h>

#include "base/base64.h"
#include "base/saslprep.h"

static struct span
key_span(const uint8_t key[SCRAM_KEY])
{
	return span_of(key, SCRAM_KEY);
}

/* RFC 5802 5.1: "," and "=" of a name are written otherwise. */
static void
put_name(struct buf *out, struct span name)
{
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == ',')
			buf_puts(out, "=2C");
		else if (name.p[i] == '=')
			buf_puts(out, "=3D");
		else
			buf_putc(out, name.p[i]);
	}
}

/* gs2-header (RFC 5802 7), then the data. */
static void
put_binding(struct scram_client *s, const struct scram_binding *b, struct buf *out)
{
	if (b && b->type.n)
		buf_printf(&s->bound, "p=%.*s,,", SPAN_ARG(b->type));
	else
		buf_puts(&s->bound, b && b->could ? "y,," : "n,,");
	buf_put(out, buf_span(&s->bound));
	if (b && b->type.n)
		buf_put(&s->bound, b->data);
}

bool
scram_client_first(struct scram_client *s, struct span user, struct span nonce, const struct scram_binding *binding, struct buf *out)
{
	struct buf room;

	*s = (struct scram_client){ .sent = false };
	buf_init(&room, SASLPREP_MAX);
	buf_init(&s->bare, SCRAM_MESSAGE_MAX);
	buf_init(&s->auth, 3 * SCRAM_MESSAGE_MAX);
	buf_puts(&s->bare, "n=");
	put_name(&s->bare, saslprep_or_given(user, &room)); /* RFC 5802 5.1 */
	buf_free(&room);
	buf_puts(&s->bare, ",r=");
	buf_put(&s->bare, nonce);
	buf_init(&s->bound, SCRAM_MESSAGE_MAX);
	put_binding(s, binding, out);
	buf_put(out, buf_span(&s->bare));
	return buf_ok(&s->bare) && buf_ok(&s->bound) && buf_ok(out);
}

/* "k=value" at the front of *rest, up to the comma. */
static bool
attribute(struct span *rest, char key, struct span *value)
{
	struct span item = span_cut(rest, ',');

	if (item.n < 2 || item.p[0] != key || item.p[1] != '=')
		return false;
	*value = span_from(item, 2);
	return true;
}

static bool
parse_first(const struct scram_client *s, struct span m, struct span *nonce, struct buf *salt, uint64_t *iterations)
{
	struct span ours = buf_span(&s->bare), text;
	size_t at = span_find(ours, SPAN(",r="));

	ours = span_from(ours, at + 3);
	return attribute(&m, 'r', nonce) && span_starts(*nonce, ours) && nonce->n > ours.n && attribute(&m, 's', &text) &&
	       base64_decode(salt, text) && buf_len(salt) > 0 && attribute(&m, 'i', &text) && span_u64(text, UINT32_MAX, iterations);
}

/* RFC 5802 3, where Normalize() is SASLprep: from the password to proof and expected signature. */
static void
prove(struct scram_client *s, struct span password, struct span salt, uint32_t iterations, uint8_t proof[SCRAM_KEY])
{
	uint8_t salted[SCRAM_KEY], client[SCRAM_KEY], stored[SCRAM_KEY], server[SCRAM_KEY], signature[SCRAM_KEY];
	struct buf room;

	buf_init(&room, SASLPREP_MAX);
	digest_pbkdf2(saslprep_or_given(password, &room), salt, iterations, salted);
	digest_hmac(key_span(salted), SPAN("Client Key"), client);
	digest_sha256(key_span(client), stored);
	digest_hmac(key_span(stored), buf_span(&s->auth), signature);
	digest_hmac(key_span(salted), SPAN("Server Key"), server);
	digest_hmac(key_span(server), buf_span(&s->auth), s->expected);
	for (size_t i = 0; i < SCRAM_KEY; i++)
		proof[i] = client[i] ^ signature[i];
	explicit_bzero(salted, sizeof(salted));
	explicit_bzero(client, sizeof(client));
	explicit_bzero(server, sizeof(server));
	buf_wipe(&room);
}

bool
scram_client_final(struct scram_client *s, struct span password, struct span server_first, struct buf *out, struct fail *why)
{
	uint8_t proof[SCRAM_KEY];
	struct span nonce;
	struct buf salt, without;
	uint64_t iterations = 0;
	bool ok;

	buf_init(&salt, SCRAM_MESSAGE_MAX);
	buf_init(&without, SCRAM_MESSAGE_MAX);
	ok = server_first.n <= SCRAM_MESSAGE_MAX && !s->sent && parse_first(s, server_first, &nonce, &salt, &iterations);
	if (!ok)
		(void)fail_set(why, FAIL_PEER, 0, "a SCRAM challenge that is none");
	else if (iterations < SCRAM_ITERATIONS_MIN || iterations > SCRAM_ITERATIONS_MAX)
		ok = fail_set(why, FAIL_PEER, 0, "SCRAM with %llu iterations", (unsigned long long)iterations);
	if (ok) {
		buf_puts(&without, "c=");
		base64_encode(&without, buf_span(&s->bound));
		buf_printf(&without, ",r=%.*s", SPAN_ARG(nonce));
		buf_printf(&s->auth, "%.*s,%.*s,%.*s", SPAN_ARG(buf_span(&s->bare)), SPAN_ARG(server_first), SPAN_ARG(buf_span(&without)));
		ok = (buf_ok(&s->auth) && buf_ok(&without)) || fail_set(why, FAIL_TEMP, 0, "SCRAM cannot be computed");
	}
	if (ok) {
		prove(s, password, buf_span(&salt), (uint32_t)iterations, proof);
		buf_put(out, buf_span(&without));
		buf_puts(out, ",p=");
		base64_encode(out, key_span(proof));
		s->sent = true;
	}
	buf_free(&salt);
	buf_free(&without);
	return ok && buf_ok(out);
}

bool
scram_client_verify(const struct scram_client *s, struct span server_final)
{
	struct span text;
	struct buf got;
	bool ok;

	buf_init(&got, 256);
	ok = s->sent && attribute(&server_final, 'v', &text) && base64_decode(&got, text) && buf_len(&got) == SCRAM_KEY &&
	     digest_equal((const uint8_t *)buf_span(&got).p, s->expected, SCRAM_KEY);
	buf_free(&got);
	return ok;
}

void
scram_client_end(struct scram_client *s)
{
	buf_free(&s->bare);
	buf_free(&s->auth);
	buf_wipe(&s->bound);
	explicit_bzero(s, sizeof(*s));
}
