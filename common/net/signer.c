/* SPDX-License-Identifier: ISC */
#include "net/signer.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ipc/channel_sync.h"
#include "ipc/messages.h"

enum {
	SIGN_MS = 2000,      /* for one signature */
	FETCH_MS = 2000,     /* for each message of the chains */
	RETRY_MS = 1000,     /* after keyd did not answer */
	CHAINS_MAX = 1000,
};

struct signer {
	struct channel_sync *channel; /* owned; NULL while keyd is away */
	struct tls_server *server;    /* counted */
	bool only13;
	bool stale;          /* keyd has other chains than server was made of */
	uint32_t generation; /* of the chains in server */
	uint64_t last_id;
	int64_t retry_ms;    /* not before this */
	size_t chains;
	struct tls_ticket_key tickets[2];
	int64_t tickets_ms; /* good until then; 0: none are there */
	int64_t tickets_retry_ms;
};

static const char *const digests[] = { "", "SHA256", "SHA384", "SHA512", "SHA1" };

static int64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct signer *
signer_new(bool only13)
{
	struct signer *s = calloc(1, sizeof(*s));

	if (s) {
		s->only13 = only13;
		s->stale = true;
	}
	return s;
}

void
signer_free(struct signer **at)
{
	struct signer *s = *at;

	if (!s)
		return;
	channel_sync_free(&s->channel);
	tls_server_unref(&s->server);
	explicit_bzero(s, sizeof(*s));
	free(s);
	*at = NULL;
}

void
signer_attach(struct signer *s, struct channel *c)
{
	int fd = channel_take_fd(&c);
	struct fail why;

	channel_sync_free(&s->channel);
	s->channel = fd < 0 ? NULL : channel_sync_new(fd, &ipc_channel_sign, CHANNEL_CLIENT, &why);
	s->stale = true;
	s->retry_ms = 0;
	s->tickets_ms = s->tickets_retry_ms = 0; /* another keyd has other keys */
}

/* The next message of the conversation; anything else breaks the channel. */
static bool
receive(struct signer *s, unsigned *type, const void **m, int timeout_ms, struct fail *why)
{
	if (channel_sync_recv(s->channel, type, m, NULL, timeout_ms, why))
		return true;
	channel_sync_free(&s->channel);
	return false;
}

static bool
send(struct signer *s, unsigned type, const void *m, struct fail *why)
{
	if (!s->channel)
		return fail_set(why, FAIL_TEMP, 0, "keyd is away");
	if (channel_sync_send(s->channel, type, m, -1, SIGN_MS, why))
		return true;
	channel_sync_free(&s->channel);
	return false;
}

/* An answer to an earlier question that was given up is passed over. */
static bool
await_answer(struct signer *s, struct buf *signature, struct fail *why)
{
	const struct ipc_sign_answer *answer;
	const void *m;
	unsigned type;

	do {
		if (!receive(s, &type, &m, SIGN_MS, why))
			return false;
		answer = m;
	} while (type != IPC_sign_answer || answer->id != s->last_id);
	if (answer->generation != s->generation)
		s->stale = true;
	if (!answer->ok)
		return fail_set(why, FAIL_TEMP, 0, "keyd: %.*s", SPAN_ARG(span_sub(answer->why, 0, 200)));
	buf_put(signature, answer->signature);
	return buf_ok(signature) || fail_set(why, FAIL_LIMIT, 0, "the signature is too long");
}

static bool
sign(void *ctx, const struct tls_sign_request *ask, struct buf *signature, struct fail *why)
{
	struct signer *s = ctx;
	struct ipc_sign_ask m = {
		.id = ++s->last_id,
		.key = span_of(ask->key_id, sizeof(ask->key_id)),
		.scheme = (uint8_t)ask->algorithm,
		.digest = span_str(digests[ask->hash]),
		.data = ask->input,
	};

	return send(s, IPC_sign_ask, &m, why) && await_answer(s, signature, why);
}

static bool
fetch_tickets(struct signer *s, struct fail *why)
{
	struct ipc_sign_tickets ask = { .id = ++s->last_id };
	const struct ipc_sign_ticket_keys *keys;
	const void *m;
	unsigned type;

	if (!send(s, IPC_sign_tickets, &ask, why))
		return false;
	do {
		if (!receive(s, &type, &m, FETCH_MS, why))
			return false;
		keys = m;
	} while (type != IPC_sign_ticket_keys || keys->id != s->last_id);
	if (keys->current.n != sizeof(s->tickets[0]) || keys->before.n != sizeof(s->tickets[1]))
		return fail_set(why, FAIL_TEMP, 0, "keyd has no keys for tickets");
	memcpy(&s->tickets[0], keys->current.p, keys->current.n);
	memcpy(&s->tickets[1], keys->before.p, keys->before.n);
	s->tickets_ms = now_ms() + keys->valid_ms;
	return true;
}

static bool
tickets(void *ctx, struct tls_ticket_key keys[2])
{
	struct signer *s = ctx;
	struct fail why;
	int64_t now = now_ms();

	if (now >= s->tickets_ms && (now < s->tickets_retry_ms || !fetch_tickets(s, &why))) {
		if (now >= s->tickets_retry_ms)
			s->tickets_retry_ms = now + RETRY_MS;
		return false;
	}
	memcpy(keys, s->tickets, sizeof(s->tickets));
	return true;
}

static struct tls_server *
build(struct signer *s, uint32_t *generation, size_t *count, struct fail *why)
{
	struct tls_signer by = { sign, s, tickets };
	struct tls_server *server = tls_server_new(&by, why);
	const void *m;
	unsigned type;
	bool more = server != NULL;
	size_t chains = 0;

	if (server && s->only13)
		tls_server_only13(server);
	while (more) {
		if (!receive(s, &type, &m, FETCH_MS, why)) {
			tls_server_unref(&server);
			return NULL;
		}
		if (type == IPC_sign_chain && chains < CHAINS_MAX) {
			const struct ipc_sign_chain *chain = m;

			/* keyd has checked it; one that OpenSSL does not like here harms only itself. */
			if (chain->id == s->last_id && tls_server_add_chain(server, chain->pem, why))
				chains++;
		} else if (type == IPC_sign_chains) {
			const struct ipc_sign_chains *end = m;

			*generation = end->generation;
			more = end->id != s->last_id;
		}
	}
	*count = chains;
	return server;
}

static bool
refresh(struct signer *s, struct fail *why)
{
	struct ipc_sign_fetch fetch = { .id = ++s->last_id };
	struct tls_server *server;
	uint32_t generation = 0;
	size_t chains = 0;

	if (!send(s, IPC_sign_fetch, &fetch, why))
		return false;
	server = build(s, &generation, &chains, why);
	if (!server)
		return false;
	if (generation == 0) { /* it has just been started and has no keys yet */
		tls_server_unref(&server);
		return fail_set(why, FAIL_TEMP, 0, "keyd is not ready");
	}
	tls_server_unref(&s->server);
	s->server = server;
	s->generation = generation;
	s->chains = chains;
	s->stale = chains == 0; /* nobody would tell when there are some */
	return true;
}

struct tls_server *
signer_context(struct signer *s, struct fail *why)
{
	if (s->stale && now_ms() >= s->retry_ms) {
		bool ok = refresh(s, why);

		if (s->stale)
			s->retry_ms = now_ms() + RETRY_MS;
		if (!ok && !s->server)
			return NULL;
	}
	if (!s->server || s->chains == 0 || !s->channel) {
		(void)fail_set(why, FAIL_TEMP, 0, s->channel ? "no certificate is loaded" : "keyd is away");
		return NULL;
	}
	return s->server;
}
