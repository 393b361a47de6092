/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/state.h"
#include "store/stock.h"

struct append {
	struct store *store;
	struct mailbox *mailbox; /* used */
	struct delivery delivery;
	struct incoming incoming;
	struct commit *commit;
	bool stocked; /* its file is of the stock, and has not been accounted for */
	uint8_t flags;
	uint64_t keywords;
	int64_t date;
};

/* Several appends that come into being together. */
struct commit {
	struct mailbox_op *op;
	struct mailbox *mailbox;
	struct append **all; /* owned */
	size_t n, waiting;   /* for their files */
	struct waiter waiter;
};

struct append *
append_begin(struct store *store, const struct append_to *to, struct fail *why)
{
	struct append *a = calloc(1, sizeof(*a));
	char unique[MAILDIR_BASE_MAX];

	if (!a) {
		(void)fail_set(why, FAIL_TEMP, 0, "out of memory");
		return NULL;
	}
	a->store = store;
	a->flags = to->flags & LETTER_FLAGS;
	a->date = to->date;
	a->delivery.temp.fd = -1;
	if (!(a->mailbox = mailbox_use(store, to->folder, why))) {
		free(a);
		return NULL;
	}
	if (!store_fits(store, to->size, 1, why)) {
		mailbox_unuse(a->mailbox);
		free(a);
		return NULL;
	}
	for (size_t i = 0; i < to->nkeywords; i++) {
		int bit = mailbox_keyword_find(a->mailbox, to->keywords[i], true);

		a->keywords |= bit >= 0 ? 1ull << bit : 0; /* RFC 3501 6.3.11 lets flags be dropped */
	}
	if ((a->stocked = stock_take(a->mailbox, &a->delivery.temp)))
		return a;
	memcpy(unique, a->delivery.temp.unique, sizeof(unique));
	if (!temp_create(&a->delivery.temp, a->mailbox->vfs, unique, why))
		append_abort(&a);
	return a;
}

bool
append_write(struct append *a, struct span bytes, struct fail *why)
{
	return temp_write(&a->delivery.temp, bytes, why);
}

static void
append_free(struct append *a)
{
	list_remove(&a->incoming.node);
	if (a->stocked)
		stock_back(a->mailbox);
	mailbox_unuse(a->mailbox);
	free(a);
}

void
append_abort(struct append **a)
{
	if (!*a)
		return;
	temp_abandon(&(*a)->delivery.temp);
	append_free(*a);
	*a = NULL;
}

/* ---- commit ---- */

/* RFC822.SIZE */
static uint32_t
size_of(const struct append *a)
{
	return (uint32_t)(a->delivery.temp.size + a->delivery.temp.bare);
}

static void
finish(struct commit *c)
{
	struct mailbox_op *op = c->op;
	struct uidset to = op->to;

	for (size_t i = 0; i < c->n; i++)
		append_free(c->all[i]);
	free(c->all);
	free(c);
	op->on_done(op); /* may free the op */
	uidset_free(&to);
}

/* All or none (RFC 3502 3): what was named goes again, and what has a UID.  Nobody has been told of it. */
static void
take_back(struct commit *c)
{
	uint64_t counted = uidset_count(&c->op->to);

	notice_read(c->mailbox->store); /* that they came, while they are known as incoming: nobody else's message */
	for (size_t i = 0; i < c->n; i++) {
		struct delivery *d = &c->all[i]->delivery;
		char path[MAILDIR_NAME_MAX + 5];

		if (d->ok && maildir_path(path, span_str(d->base), SPAN_NONE, d->letters, false) && d->vfs->ops->unlink(d->vfs, path) == 0)
			notice_own(c->mailbox, path);
	}
	change_take_back(c->mailbox, &c->op->to); /* and what else was read */
	if (c->mailbox->failed && uidset_empty(&c->op->to))
		for (size_t i = 0; i < counted; i++)
			store_added(c->mailbox->store, -(int64_t)size_of(c->all[i]), -1); /* no scan by this index will do it */
	finish(c);
}

static void
on_visible(struct waiter *w, const struct fail *why)
{
	struct commit *c = OWNER_OF(w, struct commit, waiter);

	c->op->ok = why == NULL;
	if (!why) {
		finish(c);
		return;
	}
	c->op->why = *why;
	take_back(c);
}

static bool
give_uids(struct commit *c)
{
	struct mailbox *mb = c->mailbox;

	for (size_t i = 0; i < c->n; i++) {
		struct append *a = c->all[i];
		struct delivery *d = &a->delivery;
		struct record_message r = {
			.flags = a->flags,
			.keywords = a->keywords,
			.letters = d->letters,
			.base = span_str(d->base),
			.size = size_of(a),
			.bits = MESSAGE_SIZED | (d->temp.bare ? MESSAGE_BARE : 0),
			.date = a->date > 0 && a->date <= UINT32_MAX ? (uint32_t)a->date : 0,
		};

		if (!change_arrive(mb, &r, &c->op->why))
			return false;
		store_added(mb->store, r.size, 1);
		list_remove(&a->incoming.node);
		uidset_add(&c->op->to, r.uid, r.uid);
		c->waiter.uid = r.uid;
	}
	return true;
}

static void
on_file(struct delivery *d)
{
	struct append *a = OWNER_OF(d, struct append, delivery);
	struct commit *c = a->commit;

	if (!d->ok)
		c->op->why = d->why;
	else if (a->stocked) {
		stock_named(c->mailbox, d->temp.unique);
		a->stocked = false;
	}
	if (--c->waiting)
		return;
	for (size_t i = 0; i < c->n; i++)
		if (!c->all[i]->delivery.ok) {
			take_back(c);
			return;
		}
	if (!give_uids(c)) {
		take_back(c);
		return;
	}
	c->op->uidvalidity = mailbox_uidvalidity(c->mailbox);
	c->waiter.on_visible = on_visible;
	change_wait(c->mailbox, &c->waiter);
}

static void
submit(struct append *a, struct commit *c)
{
	struct delivery *d = &a->delivery;
	struct temp temp = d->temp;

	delivery_init(d, a->mailbox->vfs, on_file);
	d->temp = temp;
	d->in_cur = true;
	d->lasting = a->stocked;
	d->letters = a->flags | (uint32_t)a->keywords << LETTER_KEYWORD_SHIFT;
	d->date = a->date;
	if (!a->date)
		a->date = loop_wall_ms(a->store->loop) / 1000; /* the file's, as it has just been written: nobody need ask for it */
	(void)snprintf(d->base, sizeof(d->base), "%s", temp.unique);
	(void)snprintf(a->incoming.base, sizeof(a->incoming.base), "%s", temp.unique);
	list_push(&a->mailbox->incoming, &a->incoming.node);
	a->commit = c;
	deliverer_put(a->store->deliverer, d);
}

/* All together, as they have become. */
static bool
all_fit(struct append **all, size_t n, struct fail *why)
{
	uint64_t size = 0;

	for (size_t i = 0; i < n; i++)
		size += all[i]->delivery.temp.size + all[i]->delivery.temp.bare;
	return n == 0 || store_fits(all[0]->store, size, n, why);
}

void
append_commit(struct append **all, size_t n, struct mailbox_op *op)
{
	struct commit *c = calloc(1, sizeof(*c));

	op->ok = false;
	uidset_init(&op->from);
	uidset_init(&op->to);
	(void)fail_set(&op->why, FAIL_TEMP, 0, "out of memory");
	if (c && !all_fit(all, n, &op->why)) {
		free(c);
		c = NULL;
	}
	if (c)
		c->all = calloc(n, sizeof(struct append *));
	if (!c || !c->all || n == 0) {
		free(c);
		for (size_t i = 0; i < n; i++)
			append_abort(&all[i]);
		op->on_done(op);
		return;
	}
	memcpy(c->all, all, n * sizeof(struct append *));
	c->op = op;
	c->mailbox = all[0]->mailbox;
	c->n = c->waiting = n;
	for (size_t i = 0; i < n; i++) {
		struct append *a = all[i];

		all[i] = NULL;
		submit(a, c);
	}
}
