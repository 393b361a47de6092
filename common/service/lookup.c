/* SPDX-License-Identifier: ISC */
#include "service/lookup.h"

#include <string.h>

#include "log/log.h"

static void
detach(struct lookup *l)
{
	if (l->id && l->client)
		map_remove(&l->client->sent, &l->by_id);
	list_remove(&l->node);
	l->id = 0;
	l->client = NULL;
}

static void
send_ask(struct lookup *l)
{
	struct lookup_client *c = l->client;

	list_remove(&l->node);
	l->id = ++c->last_id;
	if (map_put_u64(&c->sent, &l->by_id, l->id) &&
	    ipc_send_dns_ask(c->channel, &(struct ipc_dns_ask){ .id = l->id, .type = l->type, .name = span_str(l->name) }))
		return;
	/* No memory, or a channel that is about to be found dead: it will be asked again or run out of time. */
	map_remove(&c->sent, &l->by_id);
	l->id = 0;
	list_push(&c->unsent, &l->node);
}

bool
lookup_start(struct lookup_client *c, struct lookup *l, uint8_t type, struct span name)
{
	if (!span_cstr(name, l->name, sizeof(l->name)))
		return false;
	l->client = c;
	l->type = type;
	l->id = 0;
	list_push(&c->unsent, &l->node);
	if (c->channel)
		send_ask(l);
	return true;
}

void
lookup_cancel(struct lookup *l)
{
	if (l->client)
		detach(l);
}

static struct lookup *
find(struct channel *channel, uint64_t id)
{
	struct lookup_client *c = channel_owner(channel);
	struct map_node *node = map_get_u64(&c->sent, id);

	return node ? OWNER_OF(node, struct lookup, by_id) : NULL;
}

static bool
on_dns_record(struct channel *c, const struct ipc_dns_record *m)
{
	struct lookup *l = find(c, m->id);

	if (l && l->type == m->type)
		l->on_record(l, m);
	return true;
}

static bool
on_dns_done(struct channel *c, const struct ipc_dns_done *m)
{
	struct lookup *l = find(c, m->id);

	if (l) {
		detach(l);
		l->on_done(l, m);
	}
	return true;
}

#define DISPATCH_DEF "ipc/dns.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

static void
collect(struct map_node *node, void *arg)
{
	struct lookup *l = OWNER_OF(node, struct lookup, by_id);

	list_push(arg, &l->node);
}

static void
on_closed(struct channel *channel, const struct fail *why)
{
	struct lookup_client *c = channel_owner(channel);
	struct list lost, *node;

	log_put(LOG_channel, "dnsd: %s", why->text);
	c->channel = NULL;
	channel_free(&channel);
	list_init(&lost);
	map_each(&c->sent, collect, &lost);
	while ((node = list_shift(&lost))) {
		struct lookup *l = OWNER_OF(node, struct lookup, node);

		map_remove(&c->sent, &l->by_id);
		l->id = 0;
		list_push(&c->unsent, &l->node);
		l->on_again(l);
	}
}

const struct channel_ops lookup_channel_ops = { dispatch_dns, on_closed, NULL };

void
lookup_client_init(struct lookup_client *c)
{
	*c = (struct lookup_client){ 0 };
	list_init(&c->unsent);
	map_init(&c->sent);
}

void
lookup_client_free(struct lookup_client *c)
{
	channel_free(&c->channel);
	map_free(&c->sent);
}

void
lookup_client_open(struct lookup_client *c, struct channel *channel)
{
	struct list waiting, *node;

	if (c->channel) /* a later dnsd takes the place of one whose end we have not noticed */
		on_closed(c->channel, &(struct fail){ .text = "replaced" });
	c->channel = channel;
	channel_set_owner(channel, c);
	list_init(&waiting);
	while ((node = list_shift(&c->unsent)))
		list_push(&waiting, node);
	while ((node = list_shift(&waiting)))
		send_ask(OWNER_OF(node, struct lookup, node));
}
