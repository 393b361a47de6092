/* SPDX-License-Identifier: ISC */
#include "daemons/locald/owner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mail/status.h"

/* userd shall have heard of a deliverd's end, too, and how it ended, before it is asked for another. */
enum { PAUSE_MS = 100 };

static bool
needed(const struct owner *o)
{
	return !list_empty(&o->waiting) || o->sent.count > 0;
}

/* Behind each change of what it has. */
static void
count_open(struct owner *o)
{
	struct locald *l = o->locald;
	bool open = o->mailbox || o->question;

	l->nopen += (unsigned)open - (unsigned)o->open;
	o->open = open;
	limit_count(l->service->loop, LIMIT_delivery_owners, l->nopen, l->most_open);
	if (!open && !list_empty(&l->queue))
		(void)timer_set(&l->rest, 1);
}

/* Others have their deliverd: it has its turn when one of them is idle. */
static void
stand_in_line(struct owner *o)
{
	struct locald *l = o->locald;
	char who[32];

	if (!list_linked(&o->place))
		list_push(&l->queue, &o->place);
	(void)snprintf(who, sizeof(who), "%u:%u", o->uid, o->gid);
	limit_reached(l->service->loop, LIMIT_delivery_owners, l->most_open, span_str(who));
	if (!list_empty(&l->idle))
		(void)timer_set(&l->rest, 1);
}

static void
ask(struct owner *o)
{
	struct locald *l = o->locald;
	struct ipc_owner_ask m = { .uid = o->uid, .gid = o->gid };

	if (timer_running(&o->pause) || o->mailbox || o->question || !needed(o) || !l->userd)
		return;
	if (!o->open && l->nopen >= l->most_open) {
		stand_in_line(o);
		return;
	}
	list_remove(&o->place);
	m.id = ++l->next_id;
	if (ipc_send_owner_ask(l->userd, &m))
		o->question = m.id;
	count_open(o);
}

/* ---- those that have nothing to do ---- */

/* Its deliverd may be let go, later: the channel may be at work. */
static void
rest(struct owner *o)
{
	struct locald *l = o->locald;

	if (needed(o) || !o->mailbox || list_linked(&o->place))
		return;
	o->idle_ms = loop_now_ms(l->service->loop);
	list_push(&l->idle, &o->place);
	if (!list_empty(&l->queue))
		(void)timer_set(&l->rest, 1);
	else if (!timer_running(&l->rest))
		(void)timer_set(&l->rest, l->rest_ms);
}

/* userd has a deliverd end that no locald has any more. */
static void
let_go(struct owner *o)
{
	list_remove(&o->place);
	channel_free(&o->mailbox);
	count_open(o);
	timer_stop(&o->pause);
	map_remove(&o->locald->owners, &o->node);
	map_free(&o->sent);
	free(o);
}

static struct owner *
first_of(const struct list *line)
{
	return list_empty(line) ? NULL : OWNER_OF(line->next, struct owner, place);
}

void
owner_on_rest(struct timer *t)
{
	struct locald *l = OWNER_OF(t, struct locald, rest);
	int64_t now = loop_now_ms(l->service->loop);
	struct owner *idle, *next;

	while ((next = first_of(&l->queue)) && (l->nopen < l->most_open || first_of(&l->idle))) {
		if (l->nopen >= l->most_open)
			let_go(first_of(&l->idle));
		list_remove(&next->place);
		ask(next);
	}
	while ((idle = first_of(&l->idle)) && idle->idle_ms + l->rest_ms <= now)
		let_go(idle);
	if (idle)
		(void)timer_set(t, idle->idle_ms + l->rest_ms - now);
	else
		timer_stop(t);
}

static void
send_waiting(struct owner *o)
{
	while (o->mailbox && !list_empty(&o->waiting) && o->sent.count < LOCALD_IN_FLIGHT && !channel_congested(o->mailbox)) {
		struct target *t = OWNER_OF(o->waiting.next, struct target, waiting);

		t->id = ++o->locald->next_id;
		if (!map_put_u64(&o->sent, &t->sent, t->id))
			return;
		if (!target_send(t, o->mailbox)) {
			map_remove(&o->sent, &t->sent);
			return;
		}
		list_remove(&t->waiting);
		t->is_sent = true;
	}
}

/* ---- the channel to its deliverd ---- */

static void
take_sent(struct owner *o, struct target *t)
{
	map_remove(&o->sent, &t->sent);
	t->is_sent = false;
	t->owner = NULL;
}

static bool
on_mailbox_result(struct channel *c, const struct ipc_mailbox_result *m)
{
	struct owner *o = channel_owner(c);
	struct map_node *node = map_get_u64(&o->sent, m->id);
	struct target *t = node ? OWNER_OF(node, struct target, sent) : NULL;

	if (!t || !target_is_answer(t, m))
		return false;
	take_sent(o, t);
	target_answered(t, m);
	send_waiting(o);
	rest(o);
	return true;
}

#define DISPATCH_DEF "ipc/mailbox.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

/* What its deliverd had when it ended: deferred, and whether by a crash (then it may be poison) userd says. */
struct loss {
	struct owner *owner;
	bool crashed;
};

static void
lose_one(struct map_node *node, void *arg)
{
	struct target *t = OWNER_OF(node, struct target, sent);
	const struct loss *loss = arg;

	take_sent(loss->owner, t);
	t->crashed = loss->crashed;
	target_settle(t, STATUS_SYSTEM_LOCAL_TEMP, SPAN("the delivery process ended before it answered"), true);
}

static void
lose_sent(struct owner *o, bool crashed)
{
	struct loss loss = { .owner = o, .crashed = crashed };

	map_each(&o->sent, lose_one, &loss);
}

static void
on_mailbox_closed(struct channel *c, const struct fail *why)
{
	struct owner *o = channel_owner(c);

	if (!o->locald->service->stopping)
		log_put(LOG_channel, "deliverd uid=%u: %s", o->uid, why->text);
	channel_free(&o->mailbox);
	list_remove(&o->place);
	count_open(o);
	if (!o->locald->userd || o->locald->service->stopping || !timer_set(&o->pause, PAUSE_MS))
		lose_sent(o, false);
}

static void
on_pause(struct timer *t)
{
	ask(OWNER_OF(t, struct owner, pause));
}

static void
on_mailbox_drained(struct channel *c)
{
	send_waiting(channel_owner(c));
}

static const struct channel_ops mailbox_ops = { dispatch_mailbox, on_mailbox_closed, on_mailbox_drained };

/* ---- userd's answers ---- */

struct search {
	uint64_t question;
	struct owner *found;
};

static void
match(struct map_node *node, void *arg)
{
	struct search *s = arg;
	struct owner *o = OWNER_OF(node, struct owner, node);

	if (o->question == s->question)
		s->found = o;
}

static struct owner *
by_question(struct locald *l, uint64_t id)
{
	struct search s = { .question = id };

	if (id)
		map_each(&l->owners, match, &s);
	if (s.found)
		s.found->question = 0;
	return s.found;
}

bool
owner_on_child(struct locald *l, uint64_t id, bool crashed, int fd)
{
	struct owner *o = by_question(l, id);

	if (!o) {
		(void)close(fd);
		return false;
	}
	lose_sent(o, crashed);
	o->mailbox = channel_new(l->service->loop, fd, &ipc_channel_mailbox, CHANNEL_CLIENT, &mailbox_ops, o);
	if (!o->mailbox)
		log_put(LOG_failure, "no memory for a channel");
	count_open(o);
	send_waiting(o);
	rest(o);
	return true;
}

bool
owner_on_refused(struct locald *l, uint64_t id, struct span why)
{
	struct owner *o = by_question(l, id);
	struct list *it;

	if (!o)
		return false;
	lose_sent(o, false);
	log_put(LOG_failure, "no delivery process for uid=%u: %.*s", o->uid, SPAN_ARG(why));
	while ((it = list_shift(&o->waiting))) {
		struct target *t = OWNER_OF(it, struct target, waiting);

		t->owner = NULL;
		target_settle(t, STATUS_SYSTEM_LOCAL_TEMP, why.n ? why : SPAN("there is no delivery process"), false);
	}
	count_open(o);
	return true;
}

static void
ask_one(struct map_node *node, void *arg)
{
	(void)arg;
	ask(OWNER_OF(node, struct owner, node));
}

void
owner_ask_all(struct locald *l)
{
	map_each(&l->owners, ask_one, NULL);
}

static void
forget_one(struct map_node *node, void *arg)
{
	struct owner *o = OWNER_OF(node, struct owner, node);

	(void)arg;
	o->question = 0;
	count_open(o);
	if (!o->mailbox)
		lose_sent(o, false); /* nobody will say how it ended */
}

void
owner_forget_questions(struct locald *l)
{
	map_each(&l->owners, forget_one, NULL);
}

/* ---- targets ---- */

static struct owner *
owner_of(struct locald *l, uint32_t uid, uint32_t gid)
{
	uint64_t key = (uint64_t)uid << 32 | gid;
	struct map_node *node = map_get_u64(&l->owners, key);
	struct owner *o;

	if (node)
		return OWNER_OF(node, struct owner, node);
	if (!(o = calloc(1, sizeof(*o))))
		return NULL;
	o->locald = l;
	o->uid = uid;
	o->gid = gid;
	list_init(&o->waiting);
	map_init(&o->sent);
	timer_init(&o->pause, l->service->loop, on_pause);
	if (map_put_u64(&l->owners, &o->node, key))
		return o;
	free(o);
	return NULL;
}

void
owner_deliver(struct locald *l, struct target *t)
{
	struct owner *o = owner_of(l, t->uid, t->gid);

	if (!o) {
		target_settle(t, STATUS_SYSTEM_LOCAL_TEMP, SPAN("out of memory"), false);
		return;
	}
	t->owner = o;
	if (o->mailbox)
		list_remove(&o->place); /* it is not idle any more */
	list_push(&o->waiting, &t->waiting);
	send_waiting(o);
	ask(o);
}

void
owner_withdraw(struct target *t)
{
	struct owner *o = t->owner;

	list_remove(&t->waiting);
	t->owner = NULL;
	rest(o);
}
