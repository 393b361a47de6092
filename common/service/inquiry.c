/* SPDX-License-Identifier: ISC */
#include "service/inquiry.h"

#include "log/log.h"

static void
send_ask(struct inquiry *q)
{
	struct inquirer *i = q->inquirer;

	list_remove(&q->node);
	q->id = ++i->last_id;
	if (map_put_u64(&i->sent, &q->by_id, q->id)) {
		if (i->ops->send(q, i->channel))
			return;
		map_remove(&i->sent, &q->by_id);
	}
	/* No memory, or a channel that is about to be found dead: it goes with the next one. */
	q->id = 0;
	list_push(&i->unsent, &q->node);
}

static void
send_unsent(struct inquirer *i)
{
	struct list waiting, *node;

	list_init(&waiting);
	while ((node = list_shift(&i->unsent)))
		list_push(&waiting, node);
	while ((node = list_shift(&waiting)))
		send_ask(OWNER_OF(node, struct inquiry, node));
}

void
inquiry_start(struct inquirer *i, struct inquiry *q)
{
	inquiry_cancel(q);
	q->inquirer = i;
	list_push(&i->unsent, &q->node);
	if (i->channel)
		send_unsent(i);
}

void
inquiry_cancel(struct inquiry *q)
{
	if (!q->inquirer)
		return;
	if (q->id)
		map_remove(&q->inquirer->sent, &q->by_id);
	list_remove(&q->node);
	q->id = 0;
	q->inquirer = NULL;
}

bool
inquiry_find(struct channel *channel, uint64_t id, struct inquiry **q)
{
	struct inquirer *i = channel_owner(channel);
	struct map_node *node = map_get_u64(&i->sent, id);

	*q = node ? OWNER_OF(node, struct inquiry, by_id) : NULL;
	return id != 0 && id <= i->last_id;
}

static void
collect(struct map_node *node, void *arg)
{
	list_push(arg, &OWNER_OF(node, struct inquiry, by_id)->node);
}

void
inquirer_on_closed(struct channel *channel, const struct fail *why)
{
	struct inquirer *i = channel_owner(channel);
	struct list lost, *node;

	log_put(LOG_channel, "%s: %s", i->ops->peer, why->text);
	i->channel = NULL;
	channel_free(&channel);
	list_init(&lost);
	map_each(&i->sent, collect, &lost);
	while ((node = list_shift(&lost))) {
		struct inquiry *q = OWNER_OF(node, struct inquiry, node);

		map_remove(&i->sent, &q->by_id);
		q->id = 0;
		list_push(&i->unsent, &q->node);
		if (i->ops->on_again)
			i->ops->on_again(q);
	}
}

void
inquirer_init(struct inquirer *i, const struct inquiry_ops *ops)
{
	*i = (struct inquirer){ .ops = ops };
	list_init(&i->unsent);
	map_init(&i->sent);
}

void
inquirer_free(struct inquirer *i)
{
	channel_free(&i->channel);
	map_free(&i->sent);
}

void
inquirer_open(struct inquirer *i, struct channel *channel)
{
	if (i->channel) /* a later peer takes the place of one whose end we have not noticed */
		inquirer_on_closed(i->channel, &(struct fail){ .text = "replaced" });
	i->channel = channel;
	channel_set_owner(channel, i);
	send_unsent(i);
}
