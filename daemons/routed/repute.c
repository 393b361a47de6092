/* SPDX-License-Identifier: ISC */
#include "repute.h"

#include <stdlib.h>
#include <string.h>

#include "net/netaddr.h"

enum {
	DNS_ADDR = 1,          /* of ipc/dns.def */
	PATIENCE_MS = 10 * 1000, /* a client waits for the lists no longer */
	KEEP_LEAST_S = 60, KEEP_MOST_S = 3600,
	SCORE_MAX = 100000,
};

/* One list asked about one client. */
struct question {
	struct lookup lookup;
	struct known *about;
	const struct conf_site *site;
	bool listed;
};

struct known {
	struct map_node by_address;
	struct list recent, waiting; /* waiting: struct repute_question */
	struct repute *repute;
	struct timer patience;
	struct question *asked; /* owned; NULL once all have answered */
	size_t pending;
	int score;
	int64_t until_ms;
	uint32_t ttl;
	struct buf hits;
	char address[NETADDR_TEXT];
};

static void
forget(struct known *k)
{
	struct repute *r = k->repute;

	for (size_t i = 0; k->asked && i < r->nsites; i++)
		lookup_cancel(&k->asked[i].lookup);
	free(k->asked);
	timer_stop(&k->patience);
	map_remove(&r->clients, &k->by_address);
	list_remove(&k->recent);
	r->nclients--;
	buf_free(&k->hits);
	free(k);
}

static struct repute_answer
answer_of(const struct known *k)
{
	return (struct repute_answer){ k->score, buf_span(&k->hits) };
}

/* All lists have answered, or will not be waited for. */
static void
settle(struct known *k)
{
	struct repute_answer a;
	struct list waiting, *node;

	for (size_t i = 0; i < k->repute->nsites; i++) {
		struct question *q = &k->asked[i];

		lookup_cancel(&q->lookup);
		if (!q->listed)
			continue;
		k->score += q->site->weight;
		buf_printf(&k->hits, "%s%.*s*%d", buf_len(&k->hits) ? " " : "", SPAN_ARG(q->site->zone), q->site->weight);
	}
	free(k->asked);
	k->asked = NULL;
	timer_stop(&k->patience);
	k->until_ms = loop_now_ms(k->repute->loop) + (int64_t)(k->ttl < KEEP_LEAST_S ? KEEP_LEAST_S : k->ttl) * 1000;
	a = answer_of(k);
	list_init(&waiting);
	while ((node = list_shift(&k->waiting)))
		list_push(&waiting, node);
	while ((node = list_shift(&waiting))) {
		struct repute_question *q = OWNER_OF(node, struct repute_question, node);

		q->on_answer(q, &a);
	}
}

static void
on_impatient(struct timer *t)
{
	struct known *k = OWNER_OF(t, struct known, patience);

	k->ttl = KEEP_LEAST_S;
	settle(k);
}

static void
on_record(struct lookup *l, const struct ipc_dns_record *m)
{
	struct question *q = OWNER_OF(l, struct question, lookup);

	if (m->data.n == 4)
		q->listed |= conf_site_matches(q->site, (const uint8_t *)m->data.p);
}

static void
on_done(struct lookup *l, const struct ipc_dns_done *m)
{
	struct known *k = OWNER_OF(l, struct question, lookup)->about;
	uint32_t ttl = m->result <= 2 ? m->ttl : KEEP_LEAST_S; /* 3 and 4: no answer worth keeping */

	if (ttl < k->ttl)
		k->ttl = ttl;
	if (--k->pending == 0)
		settle(k);
}

static void
on_again(struct lookup *l)
{
	OWNER_OF(l, struct question, lookup)->listed = false;
}

/* RFC 5782 2.1 and 2.4: 9.2.0.192.ZONE, and for IPv6 all 32 nibbles, last first. */
static void
list_name(const uint8_t bytes[16], bool v4, struct span zone, struct buf *out)
{
	for (size_t i = 16; i-- > (v4 ? 12 : 0);) {
		if (v4)
			buf_printf(out, "%u.", bytes[i]);
		else
			buf_printf(out, "%x.%x.", bytes[i] & 15U, (unsigned)bytes[i] >> 4);
	}
	buf_put(out, zone);
}

static bool
ask_lists(struct known *k, const uint8_t bytes[16], bool v4)
{
	struct repute *r = k->repute;

	k->asked = calloc(r->nsites, sizeof(*k->asked));
	if (!k->asked)
		return false;
	k->ttl = KEEP_MOST_S;
	for (size_t i = 0; i < r->nsites; i++) {
		struct question *q = &k->asked[i];
		struct buf name;

		q->about = k;
		q->site = &r->sites[i];
		q->lookup.on_record = on_record;
		q->lookup.on_done = on_done;
		q->lookup.on_again = on_again;
		buf_init(&name, 512);
		list_name(bytes, v4, q->site->zone, &name);
		k->pending += lookup_start(&r->dns, &q->lookup, DNS_ADDR, buf_span(&name));
		buf_free(&name);
	}
	(void)timer_set(&k->patience, PATIENCE_MS);
	return k->pending > 0;
}

static struct known *
remember(struct repute *r, const char *address, const uint8_t bytes[16], bool v4)
{
	struct known *k;

	if (r->nclients >= REPUTE_CLIENTS_MAX) {
		k = OWNER_OF(r->recent.next, struct known, recent);
		if (k->asked)
			return NULL;
		forget(k);
	}
	k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	memcpy(k->address, address, strlen(address) + 1); /* both hold NETADDR_TEXT */
	k->repute = r;
	list_init(&k->waiting);
	buf_init(&k->hits, REPUTE_HITS_MAX);
	timer_init(&k->patience, r->loop, on_impatient);
	if (!map_put(&r->clients, &k->by_address, span_str(k->address))) {
		free(k);
		return NULL;
	}
	list_push(&r->recent, &k->recent);
	r->nclients++;
	if (ask_lists(k, bytes, v4))
		return k;
	forget(k);
	return NULL;
}

bool
repute_ask(struct repute *r, struct repute_question *q, struct span address, struct repute_answer *a)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	char text[NETADDR_TEXT];
	struct netaddr addr;
	uint8_t bytes[16];
	struct map_node *node;
	struct known *k;

	*a = (struct repute_answer){ 0, SPAN_NONE };
	if (!r->nsites || !netaddr_parse(address, 0, &addr) || !netaddr_bytes(&addr, bytes))
		return true;
	(void)netaddr_text(&addr, text);
	node = map_get(&r->clients, span_str(text));
	k = node ? OWNER_OF(node, struct known, by_address) : NULL;
	if (k && !k->asked && k->until_ms <= loop_now_ms(r->loop)) {
		forget(k);
		k = NULL;
	}
	if (!k && !(k = remember(r, text, bytes, memcmp(bytes, mapped, sizeof(mapped)) == 0)))
		return true;
	list_remove(&k->recent);
	list_push(&r->recent, &k->recent);
	if (!k->asked) {
		*a = answer_of(k);
		return true;
	}
	list_push(&k->waiting, &q->node);
	return false;
}

void
repute_drop(struct repute_question *q)
{
	if (list_linked(&q->node))
		list_remove(&q->node);
}

static void
forget_all(struct repute *r)
{
	LIST_EACH(&r->recent, it) {
		struct known *k = OWNER_OF(it, struct known, recent);

		if (k->asked)
			settle(k);
	}
	LIST_EACH(&r->recent, it)
		forget(OWNER_OF(it, struct known, recent));
}

void
repute_init(struct repute *r, struct loop *loop)
{
	*r = (struct repute){ .loop = loop };
	inquirer_init(&r->dns, &lookup_ops);
	map_init(&r->clients);
	list_init(&r->recent);
}

void
repute_free(struct repute *r)
{
	forget_all(r);
	inquirer_free(&r->dns);
	map_free(&r->clients);
	free(r->sites);
}

bool
repute_configure(struct repute *r, const struct conf_list *sites)
{
	size_t bytes = 0;
	char *text;
	struct fail why;

	forget_all(r);
	free(r->sites);
	r->nsites = 0;
	for (size_t i = 0; i < sites->n; i++)
		bytes += sites->items[i].n;
	r->sites = malloc(sites->n * sizeof(*r->sites) + bytes + 1);
	if (!r->sites)
		return false;
	text = (char *)(r->sites + sites->n); /* the configuration goes with the next reload */
	for (size_t i = 0; i < sites->n; i++) {
		struct span item = sites->items[i];

		memcpy(text, item.p, item.n);
		if (conf_site_parse(span_of(text, item.n), &r->sites[r->nsites], &why))
			r->nsites++;
		text += item.n;
	}
	return true;
}
