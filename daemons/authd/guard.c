/* SPDX-License-Identifier: ISC */
#include "daemons/authd/guard.h"

#include <stdlib.h>
#include <string.h>

enum {
	HALF_MS = 5 * 60 * 1000,
	FREE_FAILURES = 10,       /* before checks themselves are held up */
	BEFORE_MAX_MS = 15 * 1000, /* clients give up at some 30 s */
	AFTER_TIMES_MAX = 4,
	BITS4 = 24,
	BITS6 = 56,
	KEY_MAX = 340,
};

struct entry {
	struct map_node node;
	struct list recent;
	double failures;
	int64_t at_ms; /* of failures */
	size_t n;
	char key[];
};

static void
table_init(struct guard_table *t)
{
	map_init(&t->map);
	list_init(&t->recent);
}

static void
drop(struct guard_table *t, struct entry *e)
{
	map_remove(&t->map, &e->node);
	list_remove(&e->recent);
	free(e);
}

static void
table_free(struct guard_table *t)
{
	while (!list_empty(&t->recent))
		drop(t, OWNER_OF(t->recent.next, struct entry, recent));
	map_free(&t->map);
}

static struct entry *
find(struct guard_table *t, struct span key)
{
	struct map_node *node = map_get(&t->map, key);
	struct entry *e = node ? OWNER_OF(node, struct entry, node) : NULL;

	if (e) {
		list_remove(&e->recent);
		list_push(&t->recent, &e->recent);
	}
	return e;
}

static struct entry *
make(struct guard_table *t, struct span key)
{
	struct entry *e = find(t, key);

	if (e)
		return e;
	if (t->map.count >= GUARD_ENTRIES)
		drop(t, OWNER_OF(t->recent.next, struct entry, recent));
	e = calloc(1, sizeof(*e) + key.n);
	if (!e)
		return NULL;
	memcpy(e->key, key.p, key.n);
	if (!map_put(&t->map, &e->node, span_of(e->key, key.n))) {
		free(e);
		return NULL;
	}
	list_push(&t->recent, &e->recent);
	return e;
}

/* Failures as they count now. */
static double
faded(const struct entry *e, int64_t now_ms)
{
	int64_t halves = e ? (now_ms - e->at_ms) / HALF_MS : 0;
	double f = e ? e->failures : 0;

	for (; halves > 0 && f >= 0.01; halves--)
		f /= 2;
	return f;
}

static double
add(struct guard_table *t, struct span key, int64_t now_ms)
{
	struct entry *e = make(t, key);
	double f = faded(e, now_ms);

	if (!e)
		return f;
	if (now_ms - e->at_ms >= HALF_MS || e->failures == 0) {
		e->failures = f;
		e->at_ms = now_ms;
	}
	return e->failures += 1;
}

/* The network of an address in text; what is no address is its own. */
static struct span
network_key(struct span client, char key[KEY_MAX])
{
	struct netaddr a;
	uint8_t bytes[16];

	if (netaddr_parse(client, 0, &a)) {
		netaddr_network(&a, BITS4, BITS6, bytes);
		memcpy(key, bytes, sizeof(bytes));
		return span_of(key, sizeof(bytes));
	}
	client = span_sub(client, 0, 64);
	if (client.n)
		memcpy(key, client.p, client.n);
	return span_of(key, client.n);
}

static struct span
both_key(struct span account, struct span client, char key[KEY_MAX + 64])
{
	size_t n = network_key(client, key).n;

	account = span_sub(account, 0, KEY_MAX - 16);
	if (account.n)
		memcpy(key + n, account.p, account.n);
	return span_of(key, n + account.n);
}

static struct guard_client
client_within(struct span client, unsigned bits4, unsigned bits6)
{
	struct guard_client c = { .bytes = "t" };
	struct netaddr a;

	if (netaddr_parse(client, 0, &a)) {
		c.bytes[0] = 'a';
		netaddr_network(&a, bits4, bits6, (uint8_t *)c.bytes + 1);
	} else if (client.n) {
		memcpy(c.bytes + 1, client.p, client.n < sizeof(c.bytes) - 1 ? client.n : sizeof(c.bytes) - 1);
	}
	return c;
}

struct guard_client
guard_client(struct span client)
{
	return client_within(client, 32, 64);
}

struct guard_client
guard_network(struct span client)
{
	return client_within(client, BITS4, BITS6);
}

bool
guard_same_client(const struct guard_client *a, const struct guard_client *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

void
guard_init(struct guard *g, int64_t delay_ms)
{
	*g = (struct guard){ .delay_ms = delay_ms };
	table_init(&g->accounts);
	table_init(&g->networks);
	table_init(&g->known);
}

void
guard_free(struct guard *g)
{
	table_free(&g->accounts);
	table_free(&g->networks);
	table_free(&g->known);
}

bool
guard_knows(struct guard *g, struct span account, struct span client)
{
	char key[KEY_MAX + 64];

	return find(&g->known, both_key(account, client, key)) != NULL;
}

int64_t
guard_before(struct guard *g, struct span account, struct span client, int64_t now_ms)
{
	char key[KEY_MAX];
	double f, network;
	int64_t wait;

	if (g->delay_ms == 0 || guard_knows(g, account, client))
		return 0;
	f = faded(find(&g->accounts, account), now_ms);
	network = faded(find(&g->networks, network_key(client, key)), now_ms);
	if (network > f)
		f = network;
	if (f < FREE_FAILURES)
		return 0;
	wait = (int64_t)((double)g->delay_ms * f / FREE_FAILURES);
	return wait < BEFORE_MAX_MS ? wait : BEFORE_MAX_MS;
}

int64_t
guard_failed(struct guard *g, struct span account, struct span client, int64_t now_ms)
{
	char key[KEY_MAX];
	double f = add(&g->accounts, account, now_ms), network = add(&g->networks, network_key(client, key), now_ms);
	int64_t times;

	times = 1 + (int64_t)((network > f ? network : f) / 3);
	return g->delay_ms * (times < AFTER_TIMES_MAX ? times : AFTER_TIMES_MAX);
}

void
guard_succeeded(struct guard *g, struct span account, struct span client, int64_t now_ms)
{
	char key[KEY_MAX + 64];
	struct entry *e = make(&g->known, both_key(account, client, key));

	if (e)
		e->at_ms = now_ms;
}
