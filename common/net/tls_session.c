/* SPDX-License-Identifier: ISC
 *
 * Sessions that a client can resume (RFC 8446 2.2, RFC 5077).  One is kept under what
 * its connection wanted: peer, level, names, TLSA records; so that a certificate
 * that was good for one policy is never taken for another.
 */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/tls_private.h"

enum {
	PEERS = 256,   /* the one used longest ago goes */
	EACH = 4,      /* sessions of one: connections are made side by side */
	LIFE_S = 3600, /* then the certificate is looked at again */
};

struct sessions {
	struct map_node node;
	struct list by_use;
	uint8_t key[TLS_SESSION_KEY];
	SSL_SESSION *kept[EACH]; /* counted */
	size_t n;
};

static void
drop(struct tls_client *client, struct sessions *s)
{
	while (s->n)
		SSL_SESSION_free(s->kept[--s->n]);
	map_remove(&client->sessions, &s->node);
	list_remove(&s->by_use);
	free(s);
}

static struct sessions *
find(struct tls_client *client, const uint8_t key[TLS_SESSION_KEY])
{
	struct map_node *node = map_get(&client->sessions, span_of(key, TLS_SESSION_KEY));
	struct sessions *s = node ? OWNER_OF(node, struct sessions, node) : NULL;

	if (s) {
		list_remove(&s->by_use);
		list_push(&client->by_use, &s->by_use);
	}
	return s;
}

static struct sessions *
make(struct tls_client *client, const uint8_t key[TLS_SESSION_KEY])
{
	struct sessions *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	memcpy(s->key, key, TLS_SESSION_KEY);
	if (!map_put(&client->sessions, &s->node, span_of(s->key, TLS_SESSION_KEY))) {
		free(s);
		return NULL;
	}
	list_push(&client->by_use, &s->by_use);
	if (client->sessions.count > PEERS)
		drop(client, OWNER_OF(client->by_use.next, struct sessions, by_use));
	return s;
}

bool
tls_session_keep(struct tls_client *client, const uint8_t key[TLS_SESSION_KEY], SSL_SESSION *session)
{
	struct sessions *s = find(client, key);

	if (!SSL_SESSION_is_resumable(session) || (!s && !(s = make(client, key))))
		return false;
	if (s->n == EACH) {
		SSL_SESSION_free(s->kept[0]);
		memmove(s->kept, s->kept + 1, (EACH - 1) * sizeof(*s->kept));
		s->n--;
	}
	s->kept[s->n++] = session;
	return true;
}

static bool
fresh(const SSL_SESSION *session)
{
	long age = (long)time(NULL) - SSL_SESSION_get_time(session);

	return age >= 0 && age < LIFE_S && age < SSL_SESSION_get_timeout(session) && SSL_SESSION_is_resumable(session);
}

/* RFC 8446 C.4: a ticket of TLS 1.3 is used once; one of TLS 1.2 stays until it is replaced. */
void
tls_session_offer(struct tls_client *client, const uint8_t key[TLS_SESSION_KEY], SSL *ssl)
{
	struct sessions *s = find(client, key);

	while (s && s->n) {
		SSL_SESSION *session = s->kept[--s->n];
		bool good = fresh(session), again = SSL_SESSION_get_protocol_version(session) < TLS1_3_VERSION;

		if (good)
			(void)SSL_set_session(ssl, session);
		if (good && again)
			s->n++;
		else
			SSL_SESSION_free(session);
		if (good)
			return;
	}
}

static bool
digest_span(EVP_MD_CTX *md, struct span s)
{
	uint64_t n = s.n; /* counted, so that no two wants are the same bytes */

	return EVP_DigestUpdate(md, &n, sizeof(n)) && (!s.n || EVP_DigestUpdate(md, s.p, s.n));
}

bool
tls_session_key(const struct tls_want *want, uint8_t key[TLS_SESSION_KEY])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	uint8_t head[2] = { (uint8_t)want->level, want->only13 };
	bool ok = md && want->peer.n && EVP_DigestInit_ex(md, EVP_sha256(), NULL) && digest_span(md, span_of(head, 2)) && digest_span(md, want->peer) &&
	    digest_span(md, want->sni) && digest_span(md, want->certificate);

	for (size_t i = 0; ok && i < want->nnames; i++)
		ok = digest_span(md, want->names[i]);
	for (size_t i = 0; ok && i < want->ntlsa; i++) {
		const struct tls_tlsa *t = &want->tlsa[i];
		uint8_t numbers[3] = { t->usage, t->selector, t->matching };

		ok = digest_span(md, span_of(numbers, 3)) && digest_span(md, t->data);
	}
	ok = ok && EVP_DigestFinal_ex(md, key, NULL);
	EVP_MD_CTX_free(md);
	return ok;
}

void
tls_sessions_init(struct tls_client *client)
{
	map_init(&client->sessions);
	list_init(&client->by_use);
}

void
tls_sessions_free(struct tls_client *client)
{
	while (!list_empty(&client->by_use))
		drop(client, OWNER_OF(client->by_use.next, struct sessions, by_use));
	map_free(&client->sessions);
}
