/* SPDX-License-Identifier: ISC */
#include "net/signer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ipc/channel_sync.h"
#include "ipc/messages.h"
#include "log/log.h"

enum {
	SIGN_MS = 10000,     /* for one signature; only its own handshake waits */
	LOOK_MS = 2000,      /* how often that is looked at */
	FETCH_MS = 3000,     /* for all chains: a hostile keyd never ends */
	SLOW_MS = 500,       /* who waits cannot serve: after a fetch that took longer none is waited for any more */
	A_TURN = 8,          /* chains then, before others have theirs */
	RETRY_MS = 1000,     /* after keyd did not answer, */
	FETCHES_MAX = 8,     /* or as often as this in so long: no more, whatever keyd says */
	CHAINS_MAX = 1000,
	ANCHORS_MAX = 1000,
};

/* What comes with one fetch. */
struct harvest {
	struct tls_server *server; /* counted; NULL for a client */
	struct list lendable;
	uint32_t generation;
	size_t chains, anchors;
	uint64_t id;      /* of the question */
	int64_t begun_ms; /* 0: there is none under way */
};

struct signer {
	struct channel_sync *certs; /* owned; NULL while keyd is away */
	struct watch arrival;       /* of what comes by it, where nobody waits for that */
	struct harvest harvest;
	bool slow;                  /* a fetch took long, once */
	struct channel *sign;       /* owned; NULL while keyd is away */
	struct list pending;        /* struct tls_signature, oldest first */
	struct timer patience;
	struct tls_server *server;  /* counted */
	bool client;
	struct list lendable;       /* struct lendable: of a client */
	bool only13;
	unsigned ticket_s;
	bool stale;          /* keyd has other chains than server was made of */
	uint32_t generation; /* of the chains in server */
	uint64_t last_id;
	int64_t retry_ms;    /* not before this */
	int64_t fetched_ms;  /* the first of these */
	unsigned fetches;
	size_t chains;
	struct tls_ticket_key tickets[2];
	bool have_tickets;
	int64_t tickets_ms;  /* to be asked for again then */
};

/* A chain as keyd gave it. */
struct lendable {
	struct list node;
	struct buf pem;
	char path[B_PATH + 1];
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
signer_new(bool only13, int64_t ticket_ms)
{
	struct signer *s = calloc(1, sizeof(*s));

	if (s) {
		s->only13 = only13;
		s->ticket_s = (unsigned)(ticket_ms / 1000);
		s->stale = true;
		list_init(&s->pending);
		list_init(&s->lendable);
		list_init(&s->harvest.lendable);
	}
	return s;
}

struct signer *
signer_new_client(void)
{
	struct signer *s = signer_new(false, 0);

	if (s)
		s->client = true;
	return s;
}

static void
drop_chains(struct list *chains)
{
	struct list *node;

	while ((node = list_shift(chains))) {
		struct lendable *l = OWNER_OF(node, struct lendable, node);

		buf_free(&l->pem);
		free(l);
	}
}

static void
end_fetch(struct signer *s)
{
	watch_stop(&s->arrival);
	tls_server_unref(&s->harvest.server);
	drop_chains(&s->harvest.lendable);
	s->harvest.begun_ms = 0;
}

static void
leave_keyd(struct signer *s)
{
	watch_stop(&s->arrival);
	channel_sync_free(&s->certs);
}

/* keyd is gone, or this front: no handshake gets its signature any more. */
static void
fail_pending(struct signer *s)
{
	struct list *node;

	while ((node = list_shift(&s->pending)))
		tls_signature_done(OWNER_OF(node, struct tls_signature, node), SPAN_NONE);
	timer_stop(&s->patience);
}

void
signer_free(struct signer **at)
{
	struct signer *s = *at;

	if (!s)
		return;
	while (list_shift(&s->pending))
		continue;
	timer_stop(&s->patience);
	channel_free(&s->sign);
	end_fetch(s);
	leave_keyd(s);
	tls_server_unref(&s->server);
	drop_chains(&s->lendable);
	explicit_bzero(s, sizeof(*s));
	free(s);
	*at = NULL;
}

/* signatures */

static void
on_patience(struct timer *t)
{
	struct signer *s = OWNER_OF(t, struct signer, patience);
	int64_t before = now_ms() - SIGN_MS;

	LIST_EACH(&s->pending, it) {
		struct tls_signature *to = OWNER_OF(it, struct tls_signature, node);

		if (to->since_ms > before)
			break;
		list_remove(&to->node);
		tls_signature_done(to, SPAN_NONE);
	}
	if (!list_empty(&s->pending))
		(void)timer_set(t, LOOK_MS);
}

static bool
begin(void *ctx, const struct tls_sign_request *ask, struct tls_signature *to, struct fail *why)
{
	struct signer *s = ctx;
	struct ipc_sign_ask m = {
		.id = ++s->last_id,
		.key = span_of(ask->key_id, sizeof(ask->key_id)),
		.scheme = (uint8_t)ask->algorithm,
		.digest = span_str(digests[ask->hash]),
		.data = ask->input,
	};

	if (!s->sign || !ipc_send_sign_ask(s->sign, &m))
		return fail_set(why, FAIL_TEMP, 0, "keyd is away");
	to->id = m.id;
	to->since_ms = now_ms();
	list_push(&s->pending, &to->node);
	if (!timer_running(&s->patience))
		(void)timer_set(&s->patience, LOOK_MS);
	return true;
}

static void
forget(void *ctx, struct tls_signature *to)
{
	(void)ctx;
	list_remove(&to->node);
}

static bool refresh_if_due(struct signer *s, struct fail *why);

/* Who waits asks when it needs them, who does not at once. */
static void
outdated(struct signer *s)
{
	s->stale = true;
	if (s->slow)
		(void)refresh_if_due(s, NULL);
}

static bool
given(const struct signer *s, uint64_t id)
{
	return id > 0 && id <= s->last_id;
}

/* An answer that nobody waits for any more is passed over; one that nobody ever asked for is none. */
static bool
on_sign_answer(struct channel *c, const struct ipc_sign_answer *m)
{
	struct signer *s = channel_owner(c);

	if (!given(s, m->id))
		return false;
	if (m->generation != s->generation)
		outdated(s);
	LIST_EACH(&s->pending, it) {
		struct tls_signature *to = OWNER_OF(it, struct tls_signature, node);

		if (to->id != m->id)
			continue;
		list_remove(&to->node);
		tls_signature_done(to, m->ok ? m->signature : SPAN_NONE);
		break;
	}
	return true;
}

/* tickets */

static void
ask_tickets(struct signer *s)
{
	s->tickets_ms = now_ms() + RETRY_MS;
	if (s->sign)
		(void)ipc_send_sign_tickets(s->sign, &(struct ipc_sign_tickets){ .id = ++s->last_id });
}

static bool
on_sign_ticket_keys(struct channel *c, const struct ipc_sign_ticket_keys *m)
{
	struct signer *s = channel_owner(c);

	if (!given(s, m->id))
		return false;
	if (m->current.n != sizeof(s->tickets[0]) || m->before.n != sizeof(s->tickets[1]))
		return m->current.n == 0;
	memcpy(&s->tickets[0], m->current.p, m->current.n);
	memcpy(&s->tickets[1], m->before.p, m->before.n);
	s->have_tickets = true;
	s->tickets_ms = now_ms() + m->valid_ms;
	return true;
}

/* Until fresh ones are here those of the hour before serve on: the others still open them. */
static bool
tickets(void *ctx, struct tls_ticket_key keys[2])
{
	struct signer *s = ctx;

	if (now_ms() >= s->tickets_ms)
		ask_tickets(s);
	if (s->have_tickets)
		memcpy(keys, s->tickets, sizeof(s->tickets));
	return s->have_tickets;
}

/* channels */

#define DISPATCH_DEF "ipc/sign.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

static void
on_closed(struct channel *c, const struct fail *why)
{
	struct signer *s = channel_owner(c);

	log_put(LOG_channel, "keyd: %s", why->text);
	if (s->sign == c)
		s->sign = NULL;
	channel_free(&c);
	if (!s->sign)
		fail_pending(s);
}

const struct channel_ops signer_channel_ops = { dispatch_sign, on_closed, NULL };

void
signer_attach_sign(struct signer *s, struct channel *c)
{
	channel_free(&s->sign);
	fail_pending(s);
	s->sign = c;
	channel_set_owner(c, s);
	timer_init(&s->patience, channel_loop(c), on_patience);
	s->have_tickets = false; /* another keyd has other keys */
	if (!s->client)
		ask_tickets(s);
}

static void on_arrival(struct watch *w, unsigned ready);

void
signer_attach_certs(struct signer *s, struct channel *c)
{
	int fd = channel_copy_fd(c);
	struct fail why;

	end_fetch(s);
	leave_keyd(s);
	watch_init(&s->arrival, channel_loop(c), fd, on_arrival);
	s->certs = fd < 0 ? NULL : channel_sync_new(fd, &ipc_channel_certs, CHANNEL_CLIENT, &why);
	(s->certs ? channel_free : channel_give_up)(&c);
	s->retry_ms = 0;
	outdated(s);
}

/* chains */

static const struct tls_signer *
signs(struct signer *s, struct tls_signer *by)
{
	*by = (struct tls_signer){ .ctx = s, .tickets = s->client ? NULL : tickets, .begin = begin, .forget = forget };
	return by;
}

static bool
keep_chain(struct harvest *h, const struct ipc_certs_chain *m)
{
	struct lendable *l = calloc(1, sizeof(*l));

	if (!l || !span_cstr(m->path, l->path, sizeof(l->path))) {
		free(l);
		return false;
	}
	buf_init(&l->pem, IPC_DATA_MAX);
	buf_put(&l->pem, m->pem);
	list_push(&h->lendable, &l->node);
	return true;
}

/* keyd has checked them; one that OpenSSL does not like here harms only itself. True: that were all. */
static bool
take(struct harvest *h, unsigned type, const void *m)
{
	const struct ipc_certs_anchor *anchor = m;
	const struct ipc_certs_chain *chain = m;
	const struct ipc_certs_chains *end = m;
	struct fail why;

	switch (type) {
	case IPC_certs_anchor:
		if (h->server && anchor->id == h->id && h->anchors < ANCHORS_MAX)
			h->anchors += tls_server_add_anchors(h->server, anchor->pem, &why);
		return false;
	case IPC_certs_chain:
		if (chain->id == h->id && h->chains < CHAINS_MAX)
			h->chains += h->server ? tls_server_add_chain(h->server, chain->pem, &why) : keep_chain(h, chain);
		return false;
	case IPC_certs_chains:
		h->generation = end->generation;
		return end->id == h->id;
	default:
		return false;
	}
}

static void
adopt(struct signer *s)
{
	struct harvest *h = &s->harvest;
	struct list *node;

	tls_server_unref(&s->server);
	s->server = h->server;
	h->server = NULL;
	drop_chains(&s->lendable);
	while ((node = list_shift(&h->lendable)))
		list_push(&s->lendable, node);
	s->generation = h->generation;
	s->chains = h->chains;
	s->stale = h->chains == 0; /* nobody would tell when there are some */
}

static bool
begin_fetch(struct signer *s, struct fail *why)
{
	struct ipc_certs_fetch fetch = { .id = ++s->last_id };
	struct tls_signer by;

	s->harvest.id = fetch.id;
	s->harvest.begun_ms = now_ms();
	s->harvest.generation = 0;
	s->harvest.chains = s->harvest.anchors = 0;
	if (!s->certs)
		return fail_set(why, FAIL_TEMP, 0, "keyd is away");
	if (!s->client && !(s->harvest.server = tls_server_new(signs(s, &by), why)))
		return false;
	if (s->harvest.server && s->only13)
		tls_server_only13(s->harvest.server);
	if (s->harvest.server)
		tls_server_ticket_period(s->harvest.server, s->ticket_s);
	if (channel_sync_send(s->certs, IPC_certs_fetch, &fetch, -1, s->slow ? 0 : SLOW_MS, why))
		return true;
	leave_keyd(s);
	return false;
}

static int
left_ms(const struct signer *s)
{
	int64_t left = s->harvest.begun_ms + FETCH_MS - now_ms();

	return left > 0 ? (int)left : 0;
}

enum fetch_state { FETCH_MORE, FETCH_WHOLE, FETCH_FAILED };

/* Takes what comes, or else what has come, for a while.  What comes too late belongs to an id
 * that is asked for no more; only a channel that broke is given up. */
static enum fetch_state
gather(struct signer *s, bool wait, struct fail *why)
{
	const void *m = NULL;
	unsigned type = 0;

	for (unsigned n = 0; left_ms(s) && (wait || n < A_TURN || channel_sync_ready(s->certs)); n++) {
		errno = 0;
		if (!channel_sync_recv(s->certs, &type, &m, NULL, wait ? left_ms(s) : 0, why)) {
			if (errno == ETIMEDOUT)
				break;
			leave_keyd(s);
			return FETCH_FAILED;
		}
		if (take(&s->harvest, type, m))
			return FETCH_WHOLE;
	}
	if (left_ms(s))
		return FETCH_MORE;
	(void)fail_set(why, FAIL_PEER, 0, "keyd does not come to an end");
	return FETCH_FAILED;
}

/* The next one not at each use, while keyd does not answer or says each time that there is something new. */
static bool
settle(struct signer *s, enum fetch_state state, struct fail *why)
{
	bool ok = state == FETCH_WHOLE && (s->harvest.generation != 0 || fail_set(why, FAIL_TEMP, 0, "keyd is not ready")); /* just started */

	if (ok)
		adopt(s);
	s->slow |= FETCH_MS - left_ms(s) > SLOW_MS;
	end_fetch(s);
	if (now_ms() - s->fetched_ms > RETRY_MS) {
		s->fetched_ms = now_ms();
		s->fetches = 0;
	}
	if (++s->fetches >= FETCHES_MAX || s->stale)
		s->retry_ms = now_ms() + RETRY_MS;
	return ok;
}

static void
on_arrival(struct watch *w, unsigned ready)
{
	struct signer *s = OWNER_OF(w, struct signer, arrival);
	struct fail why;
	enum fetch_state state = gather(s, false, &why);

	(void)ready;
	if (state != FETCH_MORE)
		(void)settle(s, state, &why);
}

/* False: it failed now. */
static bool
refresh_if_due(struct signer *s, struct fail *why)
{
	if (s->harvest.begun_ms) /* beside everything else */
		return left_ms(s) || settle(s, gather(s, false, why), why);
	if (!s->stale || now_ms() < s->retry_ms)
		return true;
	if (!begin_fetch(s, why))
		return settle(s, FETCH_FAILED, why);
	if (s->slow && watch_want(&s->arrival, WATCH_READ))
		return true;
	return settle(s, gather(s, !s->slow, why), why);
}

struct tls_server *
signer_context(struct signer *s, struct fail *why)
{
	if (!refresh_if_due(s, why) && !s->server)
		return NULL;
	if (!s->server || s->chains == 0 || !s->sign) {
		(void)fail_set(why, FAIL_TEMP, 0, s->sign ? "no certificate is loaded" : "keyd is away");
		return NULL;
	}
	return s->server;
}

void
signer_reload(struct signer *s)
{
	s->retry_ms = 0;
	outdated(s);
}

bool
signer_lend(struct signer *s, struct tls_client *client, struct span path, struct fail *why)
{
	struct tls_signer by;

	(void)refresh_if_due(s, why);
	if (!s->sign)
		return fail_set(why, FAIL_TEMP, 0, "keyd is away");
	LIST_EACH(&s->lendable, node) {
		const struct lendable *l = OWNER_OF(node, struct lendable, node);

		if (!span_eq(span_str(l->path), path))
			continue;
		tls_client_sign_by(client, signs(s, &by));
		return tls_client_put_chain(client, path, buf_span(&l->pem), why);
	}
	return fail_set(why, FAIL_TEMP, 0, "keyd has no certificate with its key from %.*s", SPAN_ARG(span_sub(path, 0, 200)));
}
