/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/tlsask.h"

#include "log/log.h"

static void
detach(struct tlsask *a)
{
	if (a->id && a->client)
		map_remove(&a->client->sent, &a->by_id);
	list_remove(&a->node);
	a->id = 0;
	a->client = NULL;
}

static void
send_ask(struct tlsask *a)
{
	struct tlsask_client *c = a->client;

	list_remove(&a->node);
	a->id = ++c->last_id;
	if (map_put_u64(&c->sent, &a->by_id, a->id)) {
		if (ipc_send_tlspolicy_ask(c->channel, &(struct ipc_tlspolicy_ask){ .id = a->id, .name = span_str(a->name) }))
			return;
		map_remove(&c->sent, &a->by_id);
	}
	a->id = 0; /* no memory, or a channel that is about to be found dead */
	list_push(&c->unsent, &a->node);
}

bool
tlsask_start(struct tlsask_client *c, struct tlsask *a, struct span name)
{
	tlsask_cancel(a);
	if (!span_cstr(name, a->name, sizeof(a->name)))
		return false;
	a->client = c;
	list_push(&c->unsent, &a->node);
	if (c->channel)
		send_ask(a);
	return true;
}

void
tlsask_cancel(struct tlsask *a)
{
	if (a->client)
		detach(a);
}

static bool
on_tlspolicy_answer(struct channel *channel, const struct ipc_tlspolicy_answer *m)
{
	struct tlsask_client *c = channel_owner(channel);
	struct map_node *node = map_get_u64(&c->sent, m->id);
	struct tlsask *a = node ? OWNER_OF(node, struct tlsask, by_id) : NULL;

	if (a) {
		detach(a);
		a->on_answer(a, m);
	}
	return true;
}

#define DISPATCH_DEF "ipc/tlspolicy.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

static void
put_back(struct map_node *node, void *arg)
{
	struct tlsask *a = OWNER_OF(node, struct tlsask, by_id);

	map_remove(&a->client->sent, node);
	a->id = 0;
	list_push(arg, &a->node);
}

static void
on_closed(struct channel *channel, const struct fail *why)
{
	struct tlsask_client *c = channel_owner(channel);

	log_put(LOG_channel, "tlspolicy: %s", why->text);
	c->channel = NULL;
	channel_free(&channel);
	map_each(&c->sent, put_back, &c->unsent);
}

const struct channel_ops tlsask_channel_ops = { dispatch_tlspolicy, on_closed, NULL };

void
tlsask_client_init(struct tlsask_client *c)
{
	*c = (struct tlsask_client){ 0 };
	list_init(&c->unsent);
	map_init(&c->sent);
}

void
tlsask_client_open(struct tlsask_client *c, struct channel *channel)
{
	struct list waiting, *node;

	if (c->channel) /* one whose end we have not noticed */
		on_closed(c->channel, &(struct fail){ .text = "replaced" });
	c->channel = channel;
	channel_set_owner(channel, c);
	list_init(&waiting);
	while ((node = list_shift(&c->unsent)))
		list_push(&waiting, node);
	while ((node = list_shift(&waiting)))
		send_ask(OWNER_OF(node, struct tlsask, node));
}
