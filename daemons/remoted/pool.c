/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/pool.h"

#include <stdlib.h>
#include <string.h>

#include "daemons/remoted/remoted.h"
#include "daemons/remoted/session.h"

/* The idle sessions of one destination. */
struct slot {
	struct map_node node;
	struct list sessions; /* by session.same; the last used first */
	char key[];
};

struct host {
	struct map_node node;
	struct list by_age;
	int64_t until[2]; /* by enum pool_trait; 0: not so */
	uint8_t key[18];
};

void
pool_init(struct pool *p)
{
	*p = (struct pool){ .nidle = 0 };
	map_init(&p->by_key);
	map_init(&p->hosts);
	list_init(&p->idle);
	list_init(&p->memory);
}

static void
drop_host(struct pool *p, struct host *h)
{
	map_remove(&p->hosts, &h->node);
	list_remove(&h->by_age);
	free(h);
}

void
pool_free(struct pool *p)
{
	while (!list_empty(&p->memory))
		drop_host(p, OWNER_OF(p->memory.next, struct host, by_age));
	map_free(&p->by_key);
	map_free(&p->hosts);
}

static struct slot *
slot_of(struct pool *p, struct span key)
{
	struct map_node *node = map_get(&p->by_key, key);
	struct slot *slot;

	if (node)
		return OWNER_OF(node, struct slot, node);
	slot = calloc(1, sizeof(*slot) + key.n);
	if (!slot)
		return NULL;
	memcpy(slot->key, key.p, key.n);
	list_init(&slot->sessions);
	if (map_put(&p->by_key, &slot->node, span_of(slot->key, key.n)))
		return slot;
	free(slot);
	return NULL;
}

bool
pool_put(struct session *s)
{
	struct pool *p = &s->remoted->pool;
	const struct policy *policy = s->policy;
	int64_t age = loop_now_ms(s->remoted->loop) - s->opened_ms;
	struct slot *slot;

	if (p->closed || policy != s->remoted->policy || policy->keep_ms <= 0 || age >= policy->reuse_ms)
		return false;
	if (s->client.mail_max && s->client.mails >= s->client.mail_max) /* RFC 9422 4.1 */
		return false;
	if (policy->reuse_count && s->client.messages >= policy->reuse_count)
		return false;
	slot = slot_of(p, span_str(s->key));
	if (!slot)
		return false;
	if (p->nidle >= POOL_IDLE)
		session_quit(OWNER_OF(p->idle.next, struct session, idle));
	list_push(&p->idle, &s->idle);
	list_unshift(&slot->sessions, &s->same);
	p->nidle++;
	stream_deadline(&s->stream, policy->keep_ms);
	return true;
}

void
pool_remove(struct session *s)
{
	struct pool *p = &s->remoted->pool;
	struct map_node *node;

	if (!list_linked(&s->idle))
		return;
	list_remove(&s->idle);
	list_remove(&s->same);
	p->nidle--;
	node = map_get(&p->by_key, span_str(s->key));
	if (node && list_empty(&OWNER_OF(node, struct slot, node)->sessions)) {
		map_remove(&p->by_key, node);
		free(OWNER_OF(node, struct slot, node));
	}
}

struct session *
pool_take(struct pool *p, struct span key)
{
	struct map_node *node = map_get(&p->by_key, key);
	struct session *s;

	if (!node)
		return NULL;
	s = OWNER_OF(OWNER_OF(node, struct slot, node)->sessions.next, struct session, same);
	pool_remove(s);
	return s;
}

void
pool_close(struct pool *p)
{
	p->closed = true;
	while (!list_empty(&p->idle))
		session_quit(OWNER_OF(p->idle.next, struct session, idle));
}

static bool
key_of(const struct netaddr *a, uint8_t key[18])
{
	uint16_t port = netaddr_port(a);

	memcpy(key + 16, &port, 2);
	return netaddr_bytes(a, key);
}

static struct host *
host_of(const struct pool *p, const struct netaddr *a)
{
	uint8_t key[18];
	struct map_node *node = key_of(a, key) ? map_get(&p->hosts, span_of(key, sizeof(key))) : NULL;

	return node ? OWNER_OF(node, struct host, node) : NULL;
}

void
pool_remember(struct pool *p, const struct netaddr *a, enum pool_trait trait, int64_t now_ms)
{
	struct host *h = host_of(p, a);

	if (!h) {
		h = calloc(1, sizeof(*h));
		if (!h)
			return;
		if (!key_of(a, h->key) || !map_put(&p->hosts, &h->node, span_of(h->key, sizeof(h->key)))) {
			free(h);
			return;
		}
		list_push(&p->memory, &h->by_age);
		if (p->hosts.count > POOL_HOSTS)
			drop_host(p, OWNER_OF(p->memory.next, struct host, by_age));
	}
	h->until[trait] = now_ms + (trait == POOL_DEAD ? POOL_DEAD_MS : POOL_PLAIN_MS);
}

void
pool_forget(struct pool *p, const struct netaddr *a)
{
	struct host *h = p->hosts.count ? host_of(p, a) : NULL;

	if (h)
		h->until[POOL_DEAD] = 0;
}

bool
pool_recalls(const struct pool *p, const struct netaddr *a, enum pool_trait trait, int64_t now_ms)
{
	const struct host *h = p->hosts.count ? host_of(p, a) : NULL;

	return h && h->until[trait] > now_ms;
}
