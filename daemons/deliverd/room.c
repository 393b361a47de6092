/* SPDX-License-Identifier: ISC */
#include "daemons/deliverd/room.h"

#include <stdlib.h>

struct count {
	struct work work;
	struct worker_pool *pool;
	struct home *account; /* not freed while somebody waits */
	struct quota limit;
	bool ok;
	struct fail why;
};

static void
run(struct work *w)
{
	struct count *c = OWNER_OF(w, struct count, work);

	c->ok = quota_count(&c->account->quota, &c->limit, &c->why);
}

static void
done(struct work *w)
{
	struct count *c = OWNER_OF(w, struct count, work);
	struct home *account = c->account;
	struct list all;
	struct list *it;

	account->counting = false;
	list_init(&all);
	while ((it = list_shift(&account->waiting)))
		list_push(&all, it);
	while ((it = list_shift(&all))) {
		struct room *r = OWNER_OF(it, struct room, node);

		r->counted = true;
		if (c->ok)
			room_ask(r, c->pool);
		else
			r->on_answer(r, &c->why); /* may free r, and the account with the last one */
	}
	free(c);
}

static void
count(struct room *r, struct worker_pool *pool)
{
	struct count *c = calloc(1, sizeof(*c));
	struct fail why;

	if (!c) {
		(void)fail_set(&why, FAIL_TEMP, 0, "out of memory");
		r->on_answer(r, &why);
		return;
	}
	*c = (struct count){ .work = { .run = run, .done = done }, .pool = pool, .account = r->account, .limit = r->limit };
	r->account->counting = true;
	list_push(&r->account->waiting, &r->node);
	worker_submit(pool, &c->work);
}

void
room_ask(struct room *r, struct worker_pool *pool)
{
	struct quota_file *q = &r->account->quota;
	struct fail why;
	bool known, again;

	if (r->account->counting) {
		list_push(&r->account->waiting, &r->node);
		return;
	}
	known = quota_load(q, &r->limit) || r->counted;
	if (known && quota_fits(q, &r->limit, r->size, 1, &again)) {
		q->pending.size += r->size;
		q->pending.messages++;
		r->reserved = true;
		r->on_answer(r, NULL);
	} else if (!known || (again && !r->counted)) {
		count(r, pool);
	} else {
		(void)quota_full(q, &r->limit, &why);
		r->on_answer(r, &why);
	}
}

void
room_done(struct room *r, uint64_t size)
{
	struct quota_file *q = r->account ? &r->account->quota : NULL;

	if (!r->reserved)
		return;
	r->reserved = false;
	q->pending.size -= r->size;
	q->pending.messages--;
	if (size && !r->account->counting)
		quota_add(q, (int64_t)size, 1);
}
