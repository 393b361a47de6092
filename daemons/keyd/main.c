/* SPDX-License-Identifier: ISC
 *
 * keyd: holds the private keys of TLS and signs with them for the fronts. It
 * reads no network byte and opens no file; what it reads are key files that maild opened and
 * requests on the sign channel.
 */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemons/keyd/anchors.h"
#include "daemons/keyd/keys.h"
#include "daemons/keyd/tickets.h"
#include "service/service.h"

enum { SECURE_HEAP = 1024 * 1024, SECURE_LEAST = 32, AUDIT_MS = 60 * 1000, RATE_MS = 1000 };

/* The keys of one use; those of the generation before still sign: handshakes overlap a reload. */
struct ring {
	struct keys now, before, next;
};

struct keyd {
	struct ring servers, clients; /* what our servers show, what remoted shows to others: neither signs for the other */
	struct anchors anchors, next_anchors;
	bool anchors_failed;           /* those of before stay */
	uint32_t generation;
	struct tickets tickets;
	uint64_t signed_total, refused;
	struct list fronts;
	struct timer audit; /* runs while there is something to tell */
};

/* A process that speaks TLS. */
struct front {
	struct service *service;
	struct list node;
	char kind[B_NAME + 1]; /* its program */
	struct ring *ring;
	unsigned instance;
	uint64_t asked, refused; /* since the last line of the audit */
	int64_t since_ms;        /* the second that is counted began */
	uint64_t lately;         /* asked for within it */
};

static struct service *
service_of(struct channel *c)
{
	return ((struct front *)channel_owner(c))->service;
}

static void
tell_use(struct front *front)
{
	if (front->asked)
		log_put(LOG_key, "used front=%s/%u signatures=%llu refused=%llu", front->kind, front->instance,
		    (unsigned long long)(front->asked - front->refused), (unsigned long long)front->refused);
	front->asked = front->refused = 0;
}

/* How much each front had signed in the last minute: a taken-over one may ask for as many as it likes. */
static void
on_audit(struct timer *t)
{
	LIST_EACH(&OWNER_OF(t, struct keyd, audit)->fronts, it) {
		struct front *f = OWNER_OF(it, struct front, node);

		limit_count(f->service->loop, LIMIT_tls_signature_rate_limit, 0, f->service->conf->tls_signature_rate_limit);
		tell_use(f);
	}
}

static bool
answer(struct channel *c, const struct keyd *k, uint64_t id, const struct buf *signature, const struct fail *why)
{
	struct ipc_sign_answer m = { .id = id, .ok = signature != NULL, .generation = k->generation };

	if (signature)
		m.signature = buf_span(signature);
	else
		m.why = fail_text(why);
	return ipc_send_sign_answer(c, &m);
}

/* More than its handshakes can need are asked for by somebody who has taken it over. One line a second says so. */
static bool
within_rate(struct front *f, struct fail *why)
{
	struct loop *loop = f->service->loop;
	uint64_t most = f->service->conf->tls_signature_rate_limit;
	int64_t now = loop_now_ms(loop);
	char who[B_NAME + 16];

	if (!most)
		return true;
	if (now - f->since_ms >= RATE_MS || now < f->since_ms) {
		f->since_ms = now;
		f->lately = 0;
	}
	if (f->lately < most) {
		limit_count(loop, LIMIT_tls_signature_rate_limit, ++f->lately, most);
		return true;
	}
	(void)snprintf(who, sizeof(who), "%s/%u", f->kind, f->instance);
	limit_reached(loop, LIMIT_tls_signature_rate_limit, most, span_str(who));
	if (f->lately++ == most)
		log_put(LOG_limit, "tls_signature_rate_limit=%llu front=%s", (unsigned long long)most, who);
	return fail_set(why, FAIL_LIMIT, 0, "too many signatures a second");
}

static bool
on_sign_ask(struct channel *c, const struct ipc_sign_ask *m)
{
	struct front *front = channel_owner(c);
	struct keyd *k = front->service->state;
	struct ring *ring = front->ring;
	struct buf signature;
	struct fail why = { .class = FAIL_NONE };
	bool ok;

	buf_init(&signature, 1024);
	ok = within_rate(front, &why) && keys_sign(&ring->now, m, &signature, &why);
	if (!ok && why.class == FAIL_PERM)
		ok = keys_sign(&ring->before, m, &signature, &why);
	*(ok ? &k->signed_total : &k->refused) += 1;
	front->asked++;
	front->refused += !ok;
	if (!timer_running(&k->audit))
		(void)timer_set(&k->audit, AUDIT_MS);
	if (!ok && why.class != FAIL_LIMIT)
		log_put(LOG_key, "refused scheme=%u digest=%.*s: %s", (unsigned)m->scheme, SPAN_ARG(m->digest), why.text);
	(void)answer(c, k, m->id, ok ? &signature : NULL, &why);
	buf_free(&signature);
	return true;
}

static bool
on_sign_tickets(struct channel *c, const struct ipc_sign_tickets *m)
{
	const struct front *front = channel_owner(c);
	const struct keyd *k = front->service->state;
	uint64_t now = (uint64_t)loop_wall_ms(front->service->loop), length = (uint64_t)front->service->conf->smtpd_tls_session_cache_timeout, period = now / length;
	unsigned char keys[2][TICKETS_KEY];
	struct ipc_sign_ticket_keys answer = { .id = m->id, .current = span_of(keys[0], TICKETS_KEY), .before = span_of(keys[1], TICKETS_KEY),
		.valid_ms = (uint32_t)(length - now % length) };

	if (!tickets_key(&k->tickets, span_str(front->kind), period, keys[0]) || !tickets_key(&k->tickets, span_str(front->kind), period - 1, keys[1]))
		answer.current = answer.before = SPAN_NONE;
	(void)ipc_send_sign_ticket_keys(c, &answer);
	explicit_bzero(keys, sizeof(keys));
	return true;
}

static bool
on_certs_fetch(struct channel *c, const struct ipc_certs_fetch *m)
{
	struct keyd *k = service_of(c)->state;
	const struct ring *ring = ((struct front *)channel_owner(c))->ring;
	struct ipc_certs_chains end = { .id = m->id, .generation = k->generation };
	bool ok = true;

	if (ring == &k->servers)
		LIST_EACH(&k->anchors.list, node) {
		struct ipc_certs_anchor row = { .id = m->id, .pem = buf_span(&OWNER_OF(node, struct anchor, node)->pem) };

		ok = ok && ipc_send_certs_anchor(c, &row);
	}
	for (const struct keys_chain *chain = NULL; (chain = keys_chain_next(&ring->now, chain));) {
		struct ipc_certs_chain row = { .id = m->id, .path = span_str(chain->path), .pem = buf_span(&chain->pem) };

		ok = ok && ipc_send_certs_chain(c, &row);
	}
	return ok && ipc_send_certs_chains(c, &end); /* with fewer it would go on until the next reload */
}

#define DISPATCH_DEF "ipc/sign.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"
#define DISPATCH_DEF "ipc/certs.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
on_closed(struct channel *c, const struct fail *why)
{
	if (why->class == FAIL_PEER && why->text[0])
		log_put(LOG_channel, "%s: %s", channel_type(c)->name, why->text);
	tell_use(channel_owner(c));
	list_remove(&((struct front *)channel_owner(c))->node);
	free(channel_owner(c));
	channel_free(&c);
}

static void
on_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct front *front = calloc(1, sizeof(*front));

	if (!front || !span_cstr(peer, front->kind, sizeof(front->kind))) {
		free(front);
		channel_give_up(&c);
		return;
	}
	front->service = s;
	front->ring = span_eq(peer, SPAN("remoted")) ? &((struct keyd *)s->state)->clients : &((struct keyd *)s->state)->servers;
	front->instance = instance;
	list_push(&((struct keyd *)s->state)->fronts, &front->node);
	channel_set_owner(c, front);
}

static bool
read_file(int fd, size_t most, struct buf *out, struct fail *why)
{
	char *to = buf_room(out, most + 1);
	size_t have = 0;
	ssize_t n = 0;

	if (!to)
		return fail_set(why, FAIL_TEMP, 0, "out of memory");
	while (have < most + 1 && (n = pread(fd, to + have, most + 1 - have, (off_t)have)) > 0)
		have += (size_t)n;
	buf_added(out, have);
	return n >= 0 || fail_errno(why, 0, "reading");
}

static void
take_file(struct ring *ring, struct span path, int fd)
{
	struct buf pem;
	struct fail why = { .class = FAIL_NONE };

	buf_init(&pem, KEYS_FILE_MAX + 1);
	if (!read_file(fd, KEYS_FILE_MAX, &pem, &why) || !keys_add(&ring->next, path, buf_span(&pem), &why))
		log_put(LOG_key, "refused file=%.*s: %s%s", SPAN_ARG(path), why.text,
		    keys_carry(&ring->next, &ring->now, path) ? "; what it held before stays in use" : "");
	buf_wipe(&pem);
}

static void
take_anchors(struct keyd *k, struct span path, int fd)
{
	struct buf pem;
	struct fail why = { .class = FAIL_NONE };

	buf_init(&pem, ANCHORS_FILE_MAX + 1);
	if (!read_file(fd, ANCHORS_FILE_MAX, &pem, &why) || !anchors_read(&k->next_anchors, buf_span(&pem), &why)) {
		log_put(LOG_key, "refused file=%.*s: %s%s", SPAN_ARG(path), why.text, k->anchors.n ? "; what it held before stays in use" : "");
		k->anchors_failed = true;
	}
	buf_free(&pem);
}

static void
on_file(struct service *s, struct span purpose, struct span path, int fd)
{
	struct keyd *k = s->state;

	if (span_eq(purpose, SPAN("key")) || span_eq(purpose, SPAN("cert")))
		take_file(&k->servers, path, fd);
	else if (span_eq(purpose, SPAN("client key")))
		take_file(&k->clients, path, fd);
	else if (span_eq(purpose, SPAN("ca")))
		take_anchors(k, path, fd);
	(void)close(fd);
}

static void
log_line(void *arg, struct span text)
{
	log_put(LOG_key, "%s %.*s", (const char *)arg, SPAN_ARG(text));
}

static void
log_chains(const struct keys *set)
{
	LIST_EACH(&set->chains, node) {
		const struct keys_chain *chain = OWNER_OF(node, struct keys_chain, node);

		log_put(LOG_key, "%s names=%s file=%s", keys_have(set, chain->id) ? "certificate" : "certificate without key", chain->subject,
		    chain->path);
	}
}

static void
ring_init(struct ring *r)
{
	keys_init(&r->now);
	keys_init(&r->before);
	keys_init(&r->next);
}

/* Of a certificate and a key in files of their own one may be written before a reload and the other behind it. */
static void
restore_chains(struct ring *r)
{
	LIST_EACH(&r->next.chains, node) {
		struct keys_chain *chain = OWNER_OF(node, struct keys_chain, node);

		if (!keys_have(&r->next, chain->id) && keys_restore(&r->next, &r->now, chain))
			log_put(LOG_key, "refused file=%s: the key of its certificate is not there; what it held before stays in use", chain->path);
	}
}

static void
ring_turn(struct ring *r)
{
	restore_chains(r);
	keys_each_line(&r->now, log_line, "retired");
	keys_free(&r->before);
	keys_take(&r->before, &r->now);
	keys_take(&r->now, &r->next);
}

static void
ring_log(struct ring *r)
{
	keys_each_line(&r->now, log_line, "loaded");
	log_chains(&r->now);
}

static void
ring_end(struct ring *r)
{
	keys_each_line(&r->now, log_line, "retired");
	keys_free(&r->now);
	keys_free(&r->before);
	keys_free(&r->next);
}

static void
each_ring(struct keyd *k, void (*act)(struct ring *r))
{
	act(&k->servers);
	act(&k->clients);
}

static bool
on_boot(struct service *s, struct fail *why)
{
	struct keyd *k = calloc(1, sizeof(*k));

	if (!k)
		return fail_set(why, FAIL_TEMP, 0, "out of memory");
	(void)OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_LOAD_CRYPTO_STRINGS, NULL);
	/* Locked and guarded memory for the secret parts of keys, where the system lets us. */
	if (CRYPTO_secure_malloc_init(SECURE_HEAP, SECURE_LEAST) != 1)
		log_put(LOG_degraded, "private keys are not locked into memory: RLIMIT_MEMLOCK is below %d KiB", SECURE_HEAP / 1024);
	each_ring(k, ring_init);
	anchors_init(&k->anchors);
	anchors_init(&k->next_anchors);
	list_init(&k->fronts);
	timer_init(&k->audit, s->loop, on_audit);
	s->state = k;
	return tickets_init(&k->tickets, why);
}

static bool
on_start(struct service *s, struct fail *why)
{
	struct keyd *k = s->state;

	(void)why;
	each_ring(k, ring_turn);
	if (!k->anchors_failed)
		anchors_take(&k->anchors, &k->next_anchors);
	if (k->anchors.n)
		log_put(LOG_key, "authorities=%zu for clients' certificates file=%.*s", k->anchors.n, SPAN_ARG(s->conf->smtpd_tls_CAfile));
	k->anchors_failed = false;
	k->generation++;
	limit_count(s->loop, LIMIT_tls_signature_rate_limit, 0, s->conf->tls_signature_rate_limit);
	each_ring(k, ring_log);
	return true;
}

static void
on_state(struct service *s, struct buf *out)
{
	const struct keyd *k = s->state;

	buf_printf(out, "keys=%zu chains=%zu signatures=%llu refused=%llu", k->servers.now.nkeys + k->clients.now.nkeys, k->servers.now.nchains + k->clients.now.nchains,
	    (unsigned long long)k->signed_total, (unsigned long long)k->refused);
}

static void
on_stop(struct service *s)
{
	struct keyd *k = s->state;

	on_audit(&k->audit);
	each_ring(k, ring_end);
	anchors_free(&k->anchors);
	anchors_free(&k->next_anchors);
	tickets_wipe(&k->tickets);
	service_exit(s);
}

static const struct channel_ops sign_ops = { dispatch_sign, on_closed, NULL };
static const struct channel_ops certs_ops = { dispatch_certs, on_closed, NULL };

static const struct service_channel channels[] = {
	{ .type = &ipc_channel_sign, .side = CHANNEL_SERVER, .ops = &sign_ops, .on_open = on_open },
	{ .type = &ipc_channel_certs, .side = CHANNEL_SERVER, .ops = &certs_ops, .on_open = on_open },
};

static const struct service_ops ops = {
	.name = "keyd",
	.see = CONF_KEYD,
	.gathers = true,
	.channels = channels,
	.nchannels = sizeof(channels) / sizeof(channels[0]),
	.on_boot = on_boot,
	.on_file = on_file,
	.on_start = on_start,
	.on_stop = on_stop,
	.on_state = on_state,
};

int
main(int argc, char **argv)
{
	return service_main(&ops, argc, argv);
}
