/* SPDX-License-Identifier: ISC */
#include "users.h"

#include <stdlib.h>
#include <string.h>

#include "log/log.h"

struct cached {
	struct map_node node;
	struct list list;
	struct route_user user;
	char text[]; /* address, then home */
};

static void
forget(struct users *u, struct cached *c)
{
	map_remove(&u->cache, &c->node);
	list_remove(&c->list);
	u->ncached--;
	free(c);
}

static void
forget_all(struct users *u)
{
	LIST_EACH(&u->cached, it)
		forget(u, OWNER_OF(it, struct cached, list));
}

static void
remember(struct users *u, struct span address, const struct route_user *user)
{
	struct map_node *old = map_get(&u->cache, address);
	struct cached *c;

	if (old)
		forget(u, OWNER_OF(old, struct cached, node));
	if (u->ncached >= USERS_CACHE_MAX) /* a flood of made-up names, most likely */
		forget_all(u);
	c = calloc(1, sizeof(*c) + address.n + user->home.n);
	if (!c)
		return;
	memcpy(c->text, address.p, address.n);
	if (user->home.n > 0)
		memcpy(c->text + address.n, user->home.p, user->home.n);
	c->user = *user;
	c->user.home = span_of(c->text + address.n, user->home.n);
	if (!map_put(&u->cache, &c->node, span_of(c->text, address.n))) {
		free(c);
		return;
	}
	list_push(&u->cached, &c->list);
	u->ncached++;
}

static void
take_off(struct users *u, struct users_question *q)
{
	map_remove(&u->by_id, &q->by_id);
	list_remove(&q->node);
}

static void
watch_patience(struct users *u)
{
	struct users_question *oldest;

	if (list_empty(&u->waiting)) {
		timer_stop(&u->patience);
		return;
	}
	oldest = OWNER_OF(u->waiting.next, struct users_question, node);
	if (!timer_running(&u->patience))
		(void)timer_set(&u->patience, oldest->since_ms + USERS_WAIT_MS - loop_now_ms(u->loop) + 1);
}

static void
on_impatient(struct timer *t)
{
	static const struct route_user failed = { .failed = true };
	struct users *u = OWNER_OF(t, struct users, patience);
	int64_t now = loop_now_ms(u->loop);

	while (!list_empty(&u->waiting)) {
		struct users_question *q = OWNER_OF(u->waiting.next, struct users_question, node);

		if (now - q->since_ms < USERS_WAIT_MS)
			break;
		take_off(u, q);
		q->on_answer(q, &failed);
	}
	watch_patience(u);
}

static bool
on_users_answer(struct channel *c, const struct ipc_users_answer *m)
{
	struct users *u = channel_owner(c);
	struct map_node *node = map_get_u64(&u->by_id, m->id);
	struct route_user user = { .exists = m->exists, .failed = m->failed, .home = m->home, .uid = m->uid,
	    .gid = m->gid, .quota = m->quota, .messages = m->messages };
	struct users_question *q;

	if (!node) /* its asker is gone */
		return m->id <= u->last_id;
	q = OWNER_OF(node, struct users_question, by_id);
	take_off(u, q);
	if (!m->failed)
		remember(u, q->address, &user);
	q->on_answer(q, &user);
	watch_patience(u);
	return true;
}

static bool
on_users_changed(struct channel *c, const struct ipc_users_changed *m)
{
	struct users *u = channel_owner(c);
	struct map_node *node = map_get(&u->cache, m->address);

	if (m->address.n == 0)
		forget_all(u);
	else if (node)
		forget(u, OWNER_OF(node, struct cached, node));
	return true;
}

#define DISPATCH_DEF "ipc/users.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

static void
on_users_closed(struct channel *c, const struct fail *why)
{
	struct users *u = channel_owner(c);

	if (why->class == FAIL_PEER && why->text[0])
		log_put(LOG_channel, "authd: %s", why->text);
	if (u->channel == c)
		u->channel = NULL;
	forget_all(u); /* changes meanwhile would not be heard of */
	channel_free(&c);
}

const struct channel_ops users_ops = { dispatch_users, on_users_closed, NULL };

void
users_init(struct users *u, struct loop *loop)
{
	*u = (struct users){ .loop = loop };
	map_init(&u->cache);
	map_init(&u->by_id);
	list_init(&u->cached);
	list_init(&u->waiting);
	timer_init(&u->patience, loop, on_impatient);
}

void
users_free(struct users *u)
{
	forget_all(u);
	map_free(&u->cache);
	map_free(&u->by_id);
	timer_stop(&u->patience);
	if (u->channel)
		channel_free(&u->channel);
}

static void
put_question(struct users *u, struct users_question *q)
{
	struct ipc_users_ask ask = { .id = q->by_id.hash, .address = q->address };

	if (u->channel)
		(void)ipc_send_users_ask(u->channel, &ask); /* unsent, it times out */
}

void
users_open(struct users *u, struct channel *c)
{
	channel_set_owner(c, u);
	if (u->channel)
		channel_free(&u->channel);
	u->channel = c;
	LIST_EACH(&u->waiting, it)
		put_question(u, OWNER_OF(it, struct users_question, node));
}

bool
users_ask(struct users *u, struct users_question *q, struct span address, struct route_user *user)
{
	struct map_node *node = map_get(&u->cache, address);

	*user = (struct route_user){ 0 };
	if (node) {
		*user = OWNER_OF(node, struct cached, node)->user;
		return true;
	}
	if (address.n > B_ADDRESS) /* no user can have such a name */
		return true;
	q->address = address;
	q->since_ms = loop_now_ms(u->loop);
	if (!map_put_u64(&u->by_id, &q->by_id, ++u->last_id)) {
		user->failed = true;
		return true;
	}
	list_push(&u->waiting, &q->node);
	put_question(u, q);
	watch_patience(u);
	return false;
}

void
users_drop(struct users *u, struct users_question *q)
{
	if (list_linked(&q->node))
		take_off(u, q);
}
