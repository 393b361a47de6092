/* SPDX-License-Identifier: ISC */
#include "store/linking.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log/log.h"
#include "store/state.h"

enum { STUCK_MS = 60 * 1000 }; /* links could not be made */

static void on_retry(struct timer *t);

struct linking *
linking_new(struct mailbox *source, struct mailbox *target)
{
	struct store *store = source->store;
	struct linking *l = store->linking ? NULL : calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->store = store;
	l->source = source;
	l->target = target;
	source->users++;
	target->users++;
	follow_hold(source);
	follow_hold(target);
	promise_init(&l->promise);
	list_init(&l->waiters);
	timer_init(&l->retry, store->loop, on_retry);
	store->linking = l;
	return l;
}

/* Those of now: one of them may have the next promise, and others may wait for that. */
static void
tell(struct list *from)
{
	struct list waiters;

	list_init(&waiters);
	while (!list_empty(from)) {
		struct list *node = from->next;

		list_remove(node);
		list_push(&waiters, node);
	}
	while (!list_empty(&waiters)) {
		struct linking_wait *w = OWNER_OF(waiters.next, struct linking_wait, node);

		list_remove(&w->node);
		w->on_settled(w);
	}
}

static void
let_go(struct mailbox *mb)
{
	follow_release(mb);
	mailbox_unuse(mb);
}

void
linking_drop(struct linking *l)
{
	l->store->linking = NULL;
	timer_stop(&l->retry);
	let_go(l->source);
	let_go(l->target);
	promise_free(&l->promise);
	tell(&l->waiters);
	free(l);
}

/* ---- on a thread ---- */

static void
run(struct work *w)
{
	struct linking *l = OWNER_OF(w, struct linking, work);

	l->lost = 0;
	l->kept = promise_keep(&l->promise, l->store->vfs, l->again, &l->lost);
	l->err = l->kept ? 0 : errno;
}

/* ---- on the loop ---- */

static void submit(struct linking *l);

static void
on_retry(struct timer *t)
{
	submit(OWNER_OF(t, struct linking, retry));
}

static void
done(struct work *w)
{
	struct linking *l = OWNER_OF(w, struct linking, work);

	l->running = false;
	notice_bulk(l->store, false);
	notice_read(l->store);
	(void)timer_set(&l->store->poll, 1);
	if (l->kept) {
		if (l->lost)
			log_put(LOG_mailbox, "folder=%s missing=%zu messages were removed from folder %s by another program while they were copied",
			    l->target->name, l->lost, l->source->name);
		l->target->dirty |= l->lost || l->missed;
		linking_drop(l);
		return;
	}
	if (!l->stuck)
		log_put(LOG_mailbox, "folder=%s the files of copied messages cannot be made for now: %s", l->target->name, strerror(l->err));
	l->stuck = l->again = true;
	(void)timer_set(&l->retry, STUCK_MS);
	tell(&l->waiters);
}

static void
submit(struct linking *l)
{
	l->work = (struct work){ .run = run, .done = done };
	l->running = true;
	notice_bulk(l->store, true);
	worker_submit(l->store->pool, &l->work);
}

void
linking_begin(struct linking *l)
{
	submit(l);
}

/* ---- for others ---- */

static bool
concerns(const struct linking *l, const struct mailbox *mb)
{
	return l && (!mb || l->source == mb || l->target == mb);
}

bool
linking_wait(struct store *store, const struct mailbox *mb, struct linking_wait *w)
{
	if (!concerns(store->linking, mb) || store->linking->stuck)
		return false;
	list_push(&store->linking->waiters, &w->node);
	return true;
}

const char *
linking_from(const struct mailbox *mb, uint32_t uid)
{
	const struct linking *l = mb->store->linking;

	return l && l->target == mb && l->lo && uid >= l->lo && uid <= l->hi ? promise_from(&l->promise, uid - l->lo) : NULL;
}

bool
linking_settle(struct store *store, const struct mailbox *mb)
{
	struct linking *l = store->linking;

	if (!concerns(l, mb))
		return true;
	if (!l->running)
		return false;
	worker_wait(store->pool, &l->work);
	l->work.done(&l->work);
	return store->linking != l || !concerns(store->linking, mb);
}

void
linking_leave(struct store *store)
{
	(void)linking_settle(store, NULL);
	if (!store->linking || !store->linking->stuck)
		return;
	follow_hold(store->linking->source); /* for good: nothing is removed until another has kept it */
	follow_hold(store->linking->target);
	linking_drop(store->linking);
}
