/* SPDX-License-Identifier: ISC
 *
 * Found messages in another order than that of their arrival: gathered,
 * sorted on a thread, then looked up again.
 */
#include <stdlib.h>

#include "base/queueid.h"
#include "daemons/queued/tool.h"

enum { ORDER_MAX = 4000000, POOL_MAX = 512 * 1024 * 1024 };

enum key { KEY_AGE, KEY_SIZE, KEY_ATTEMPTS, KEY_NEXT, KEY_SENDER, KEY_DOMAIN, KEYS };

struct item {
	uint64_t key; /* a number, or where in the pool its text begins */
	uint64_t id;
};

struct order {
	struct work work;
	struct queued *q;
	enum key key;
	bool down, sorting, orphan;
	struct item *items;
	size_t n, max, at;
	struct buf pool; /* texts, each with a NUL behind */
	void (*on_sorted)(void *arg);
	void *arg;
};

struct order *
order_new(struct queued *q, struct span key, bool *ok)
{
	static const char *const names[KEYS] = {
		[KEY_AGE] = "age", [KEY_SIZE] = "size", [KEY_ATTEMPTS] = "attempts", [KEY_NEXT] = "next", [KEY_SENDER] = "sender", [KEY_DOMAIN] = "domain"
	};
	bool down = span_starts(key, SPAN("-"));
	struct order *o;
	unsigned i = 0;

	*ok = key.n == 0 || span_eq(key, SPAN("arrival"));
	if (*ok)
		return NULL;
	key = span_from(key, down);
	if (span_eq(key, SPAN("from")))
		key = SPAN("sender");
	while (i < KEYS && !span_eq(key, span_str(names[i])))
		i++;
	o = i < KEYS ? calloc(1, sizeof(*o)) : NULL;
	if (!o)
		return NULL;
	*ok = true;
	o->q = q;
	o->key = i;
	o->down = down;
	buf_init(&o->pool, POOL_MAX);
	return o;
}

static struct span
first_domain(const struct message *m)
{
	for (uint32_t i = 0; i < m->nrcpts; i++)
		if (!m->rcpts[i].settled) {
			struct span address = text_span(m->rcpts[i].address);
			size_t at = span_rchr(address, '@');

			return at == SIZE_MAX ? SPAN_NONE : span_from(address, at + 1);
		}
	return SPAN_NONE;
}

static uint64_t
put_text(struct order *o, struct span s)
{
	uint64_t at = buf_len(&o->pool);
	char *room = buf_room(&o->pool, s.n + 1);

	if (!room)
		return 0;
	for (size_t i = 0; i < s.n; i++)
		room[i] = ascii_lower(s.p[i]);
	room[s.n] = '\0';
	buf_added(&o->pool, s.n + 1);
	return at;
}

static uint64_t
next_attempt(const struct message *m)
{
	uint64_t first = m->flags & MESSAGE_LATER ? (uint64_t)m->extra->release_ms : UINT64_MAX;

	for (const struct entry *e = &m->first; e; e = e->next)
		if (e->state == ENTRY_WAITING) {
			int64_t at = e->due_ms > e->d->until_ms ? e->due_ms : e->d->until_ms;

			first = (uint64_t)at < first ? (uint64_t)at : first;
		}
	return first;
}

static uint64_t
key_of(struct order *o, const struct message *m)
{
	switch (o->key) {
	case KEY_AGE:
		return UINT64_MAX - message_id(m);
	case KEY_SIZE:
		return m->size;
	case KEY_ATTEMPTS:
		return m->attempts;
	case KEY_NEXT:
		return next_attempt(m);
	case KEY_SENDER:
		return put_text(o, text_span(m->sender));
	default:
		return put_text(o, first_domain(m));
	}
}

bool
order_add(struct order *o, const struct message *m)
{
	if (o->n == o->max) {
		size_t max = o->max ? o->max * 2 : 1024;
		struct item *more = max > ORDER_MAX * 2 ? NULL : realloc(o->items, max * sizeof(*more));

		if (!more)
			return false;
		o->items = more;
		o->max = max;
	}
	o->items[o->n++] = (struct item){ key_of(o, m), message_id(m) };
	return buf_ok(&o->pool);
}

static int
by_id(const struct item *x, const struct item *y)
{
	return x->id < y->id ? -1 : x->id > y->id;
}

static int
by_number(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	return x->key != y->key ? (x->key < y->key ? -1 : 1) : by_id(x, y);
}

/* The pool has stopped growing: keys are the texts' addresses now. */
static int
by_text(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	int c = span_cmp(span_str((const char *)(uintptr_t)x->key), span_str((const char *)(uintptr_t)y->key));

	return c ? c : by_id(x, y);
}

static void
on_run(struct work *w)
{
	struct order *o = OWNER_OF(w, struct order, work);
	bool texts = o->key == KEY_SENDER || o->key == KEY_DOMAIN;

	for (size_t i = 0; texts && i < o->n; i++)
		o->items[i].key = (uint64_t)(uintptr_t)(buf_span(&o->pool).p + o->items[i].key);
	if (o->n)
		qsort(o->items, o->n, sizeof(*o->items), texts ? by_text : by_number);
}

static void
on_done(struct work *w)
{
	struct order *o = OWNER_OF(w, struct order, work);

	o->sorting = false;
	if (o->orphan)
		order_free(&o);
	else
		o->on_sorted(o->arg);
}

void
order_sort(struct order *o, void (*on_sorted)(void *), void *arg)
{
	o->on_sorted = on_sorted;
	o->arg = arg;
	o->sorting = true;
	o->work = (struct work){ .run = on_run, .done = on_done };
	worker_submit(o->q->files, &o->work);
}

bool
order_take(struct order *o, uint64_t *id)
{
	if (o->at == o->n)
		return false;
	*id = o->items[o->down ? o->n - 1 - o->at : o->at].id;
	o->at++;
	return true;
}

void
order_free(struct order **at)
{
	struct order *o = *at;

	*at = NULL;
	if (!o)
		return;
	if (o->sorting) {
		o->orphan = true;
		return;
	}
	free(o->items);
	buf_free(&o->pool);
	free(o);
}
