/* SPDX-License-Identifier: ISC */
#include "rate.h"

#include <stdlib.h>
#include <string.h>

#include "ipc/bounds.h"
#include "net/netaddr.h"

struct counter {
	struct map_node by_key;
	struct list by_start;
	int64_t start_ms;
	uint64_t n;
	uint16_t key_n;
	char key[]; /* the kind in front */
};

void
rates_init(struct rates *r)
{
	map_init(&r->counters);
	list_init(&r->by_start);
	r->n = 0;
}

static void
forget(struct rates *r, struct counter *c)
{
	map_remove(&r->counters, &c->by_key);
	list_remove(&c->by_start);
	r->n--;
	free(c);
}

void
rates_free(struct rates *r)
{
	while (!list_empty(&r->by_start))
		forget(r, OWNER_OF(r->by_start.next, struct counter, by_start));
	map_free(&r->counters);
}

static struct counter *
counter_of(struct rates *r, struct span key, int64_t now_ms)
{
	struct map_node *node = map_get(&r->counters, key);
	struct counter *c = node ? OWNER_OF(node, struct counter, by_key) : calloc(1, sizeof(*c) + key.n);

	if (node || !c)
		return c;
	memcpy(c->key, key.p, key.n);
	c->key_n = (uint16_t)key.n;
	if (!map_put(&r->counters, &c->by_key, span_of(c->key, key.n))) {
		free(c);
		return NULL;
	}
	c->start_ms = now_ms;
	list_push(&r->by_start, &c->by_start);
	if (++r->n > RATE_COUNTERS_MAX)
		forget(r, OWNER_OF(r->by_start.next, struct counter, by_start));
	return c;
}

bool
rate_count(struct rates *r, enum rate_kind kind, struct span key, uint64_t limit, int64_t unit_ms, int64_t now_ms)
{
	char text[RATE_KEY_MAX + 1];
	struct counter *c;

	if (!limit || !key.n)
		return true;
	key = span_sub(key, 0, RATE_KEY_MAX);
	text[0] = (char)('A' + kind);
	for (size_t i = 0; i < key.n; i++)
		text[i + 1] = ascii_lower(key.p[i]);
	/* Windows that are over go first: what is left is in use. */
	while (!list_empty(&r->by_start) && now_ms - OWNER_OF(r->by_start.next, struct counter, by_start)->start_ms >= unit_ms)
		forget(r, OWNER_OF(r->by_start.next, struct counter, by_start));
	c = counter_of(r, span_of(text, key.n + 1), now_ms);
	return !c || ++c->n <= limit;
}

/* Hosts of one network of IPv6 are one client, as for smtpd_client_connection_count_limit. */
static struct span
client_key(struct span client_addr, char key[16])
{
	struct netaddr a;

	if (!netaddr_parse(client_addr, 0, &a))
		return SPAN_NONE;
	netaddr_network(&a, 32, 64, (uint8_t *)key);
	return span_of(key, 16);
}

const char *
rate_exceeded(struct rates *r, const struct conf *conf, const struct ipc_rcpt_ask *m, int64_t now_ms)
{
	const struct {
		const char *option;
		uint64_t limit;
		unsigned about; /* set of rcpt_about */
		bool login;
	} rows[RATE_KIND_COUNT] = {
#define X(name, option, login, about, text) [RATE_##name] = { #option, conf->option, about, login },
		RATE_KINDS(X)
#undef X
	};
	char memory[16];
	bool friend = m->may_relay && !m->sasl_user.n;
	struct span client = friend ? SPAN_NONE : client_key(m->client_addr, memory);

	for (unsigned i = 0; i < RATE_KIND_COUNT; i++)
		if (rows[i].about & 1u << m->about && !rate_count(r, (enum rate_kind)i, rows[i].login ? m->sasl_user : client,
		        rows[i].limit, conf->anvil_rate_time_unit, now_ms))
			return rows[i].option;
	return NULL;
}
