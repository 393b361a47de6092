/* SPDX-License-Identifier: ISC
 *
 * COPY and MOVE: hard links made on a worker thread, one sync of the target's
 * directory, then UIDs.  The contents are durable since they were delivered.
 * Of many messages the links are only promised, durably, before the UIDs are given, and made
 * after the answer (linking.h).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/state.h"
#include "store/stock.h"

enum { PATHS_MAX = 1 << 30, TRIES_MAX = 8, RETRY_MS = 5 };

struct item {
	uint32_t uid, letters;
	size_t from, other, to, base; /* C strings in paths; other: where it may be renamed to, or from */
	bool linked;
};

struct copy {
	struct work work;
	struct mailbox_op *op;
	struct store *store;
	struct mailbox *source, *target; /* used */
	struct incoming incoming;
	struct waiter waiter;
	struct journal_ticket gone; /* MOVE: of the source's messages */
	struct linking *linking; /* NULL: the links are made before the UIDs are given */
	struct linking_wait wait;
	struct uidset uids;     /* asked for */
	struct buf paths;
	struct item *items; /* owned */
	size_t n;
	bool move, ok;
	unsigned tries;
	struct timer retry;
	bool unsettled;        /* names in source_dir are not durable */
	char source_dir[STORE_NAME_MAX + 8], target_dir[STORE_NAME_MAX + 8];
	int err;
};

static const char *
path_at(const struct copy *c, size_t at)
{
	return buf_span(&c->paths).p + at;
}

/* ---- on a thread ---- */

static bool
make_one(struct copy *c, struct item *it)
{
	struct vfs *v = c->store->vfs;
	const char *from = path_at(c, it->from), *other = path_at(c, it->other), *to = path_at(c, it->to);

	return maildir_link(v, from, to) || (errno == ENOENT && it->other != it->from && maildir_link(v, other, to));
}

static void
promise(struct work *w)
{
	struct copy *c = OWNER_OF(w, struct copy, work);
	struct promise *p = &c->linking->promise;
	struct vfs *v = c->store->vfs;

	c->ok = !c->unsettled || v->ops->sync_dir(v, c->source_dir) == 0; /* it is found there after a crash */
	for (size_t i = 0; c->ok && i < c->n; i++)
		c->ok = promise_add(p, path_at(c, c->items[i].from), path_at(c, c->items[i].to));
	c->ok = c->ok && promise_write(p, v);
}

static void
run(struct work *w)
{
	struct copy *c = OWNER_OF(w, struct copy, work);
	struct vfs *v = c->store->vfs;

	c->ok = true;
	for (size_t i = 0; c->ok && i < c->n; i++) {
		c->ok = c->items[i].linked = make_one(c, &c->items[i]);
		c->err = c->ok ? 0 : errno;
	}
	if (c->ok && v->ops->sync_dir(v, c->target_dir) < 0) {
		c->ok = false;
		c->err = errno;
	}
	for (size_t i = 0; !c->ok && i < c->n; i++)
		if (c->items[i].linked)
			(void)v->ops->unlink(v, path_at(c, c->items[i].to));
}

/* ---- on the loop ---- */

static void
copy_free(struct copy *c)
{
	list_remove(&c->incoming.node);
	list_remove(&c->wait.node);
	if (c->source) {
		follow_release(c->source);
		mailbox_unuse(c->source);
	}
	if (c->target)
		mailbox_unuse(c->target);
	uidset_free(&c->uids);
	buf_free(&c->paths);
	free(c->items);
	free(c);
}

static void
finish(struct copy *c)
{
	struct mailbox_op *op = c->op;
	struct uidset from = op->from, to = op->to;
	struct linking *linking = c->linking;

	copy_free(c);
	op->on_done(op); /* may free the op */
	if (linking)
		linking_begin(linking);
	uidset_free(&from);
	uidset_free(&to);
}

/* RFC 3501 6.4.7: the folder is as it was. Nobody has been told of those that have UIDs. */
static void
take_back(struct copy *c)
{
	struct linking *linking = c->linking;
	struct vfs *v = c->store->vfs;

	for (size_t i = 0; i < c->n; i++)
		if (c->items[i].linked && v->ops->unlink(v, path_at(c, c->items[i].to)) == 0)
			notice_own(c->target, path_at(c, c->items[i].to));
	change_take_back(c->target, &c->op->to);
	c->linking = NULL;
	if (linking) {
		(void)promise_drop(v);
		linking_drop(linking);
	}
	finish(c);
}

/* Those that moved away, and not (any more) those that could not. */
static void
mark_moved(struct copy *c, bool moved, struct uidset *still)
{
	for (size_t i = 0; i < c->n; i++) {
		struct message *m = index_find(&c->source->file.ix, c->items[i].uid);

		if (!m)
			continue;
		m->bits = (uint8_t)(moved ? m->bits | MESSAGE_MOVED : m->bits & ~MESSAGE_MOVED);
		if (still)
			uidset_add(still, m->uid, m->uid);
	}
}

static void
on_gone(struct journal_ticket *t, const struct fail *why)
{
	struct copy *c = OWNER_OF(t, struct copy, gone);

	c->op->ok = why == NULL;
	if (why)
		c->op->why = *why;
	finish(c);
}

/* Who is told that they have moved does not find them there again after a crash. */
static void
remove_source(struct copy *c)
{
	struct uidset still;

	uidset_init(&still);
	mark_moved(c, true, &still);
	c->op->ok = change_expunge(c->source, &still, &c->op->why);
	mark_moved(c, false, NULL);
	uidset_free(&still);
	change_pending(c->source, NULL);
	c->gone.on_durable = on_gone;
	if (c->op->ok && indexfile_told(&c->source->file, &c->gone, &c->op->why))
		return;
	c->op->ok = false;
	finish(c);
}

static void
on_visible(struct waiter *w, const struct fail *why)
{
	struct copy *c = OWNER_OF(w, struct copy, waiter);

	c->op->ok = why == NULL;
	if (why) {
		c->op->why = *why;
		take_back(c);
	} else if (c->move) {
		remove_source(c);
	} else {
		finish(c);
	}
}

/* Keywords have bits of their own in each folder. */
static uint64_t
map_keywords(struct copy *c, uint64_t keywords)
{
	uint64_t out = 0;

	if (c->source == c->target || !keywords)
		return keywords;
	for (unsigned i = 0; i < MAILBOX_KEYWORDS_MAX; i++) {
		struct span name = keywords >> i & 1 ? mailbox_keyword(c->source, i) : SPAN_NONE;
		int bit = name.n ? mailbox_keyword_find(c->target, name, true) : -1;

		out |= bit >= 0 ? 1ull << bit : 0;
	}
	return out;
}

static bool
give_uid(struct copy *c, struct item *it)
{
	const struct message *m = index_find(&c->source->file.ix, it->uid);
	struct record_message r = { .letters = it->letters, .base = span_str(path_at(c, it->base)) };

	if (m) {
		r.flags = m->flags;
		r.keywords = map_keywords(c, m->keywords);
		r.size = m->size;
		r.bits = m->bits & (MESSAGE_SIZED | MESSAGE_BARE);
		r.date = m->date; /* a link has the file's time, where that is it */
	}
	if (!change_arrive(c->target, &r, &c->op->why))
		return false;
	if (c->linking) {
		c->linking->lo = c->linking->lo ? c->linking->lo : r.uid;
		c->linking->hi = r.uid;
	}
	store_added(c->store, r.size, 1);
	uidset_add(&c->op->from, it->uid, it->uid);
	uidset_add(&c->op->to, r.uid, r.uid);
	c->waiter.uid = r.uid;
	return true;
}

static bool prepare(struct copy *c);

static void
fail(struct copy *c)
{
	errno = c->err;
	(void)fail_errno(&c->op->why, 0, "The messages cannot be copied");
	finish(c);
}

/* With the names of now. */
static void
try_again(struct timer *t)
{
	struct copy *c = OWNER_OF(t, struct copy, retry);

	if (follow_busy(c->source)) { /* until our own renames are done, a scan does not tell */
		(void)timer_set(t, RETRY_MS);
		return;
	}
	list_remove(&c->incoming.node);
	buf_reset(&c->paths);
	free(c->items);
	c->items = NULL;
	c->n = 0;
	if (!scan_all(c->source, NULL) || !prepare(c)) {
		fail(c);
		return;
	}
	list_push(&c->target->incoming, &c->incoming.node);
	notice_bulk(c->store, true);
	worker_submit(c->store->pool, &c->work);
}

/* They are there, or promised. */
static void
give_uids(struct copy *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (!give_uid(c, &c->items[i])) {
			take_back(c);
			return;
		}
	list_remove(&c->incoming.node);
	c->op->uidvalidity = mailbox_uidvalidity(c->target);
	c->waiter.on_visible = on_visible;
	change_wait(c->target, &c->waiter);
}

static void
done(struct work *w)
{
	struct copy *c = OWNER_OF(w, struct copy, work);

	notice_bulk(c->store, false);
	notice_read(c->store); /* of our doing, while they are known as incoming */
	(void)timer_set(&c->store->poll, 1);
	if (!c->ok && c->err == ENOENT && ++c->tries <= TRIES_MAX) {
		/* Another program renamed or removed a file a moment ago. */
		timer_init(&c->retry, c->store->loop, try_again);
		(void)timer_set(&c->retry, RETRY_MS);
		return;
	}
	if (!c->ok)
		fail(c);
	else
		give_uids(c);
}

static void
link_now(struct copy *c)
{
	c->work = (struct work){ .run = run, .done = done };
	notice_bulk(c->store, true);
	worker_submit(c->store->pool, &c->work);
}

static void
promised(struct work *w)
{
	struct copy *c = OWNER_OF(w, struct copy, work);
	struct linking *l = c->linking;

	if (c->ok) {
		give_uids(c);
		return;
	}
	c->linking = NULL; /* a full disk, or too many: the usual way, which also says why */
	linking_drop(l);
	link_now(c);
}

static void start(struct copy *c);

static void
on_settled(struct linking_wait *w)
{
	start(OWNER_OF(w, struct copy, wait));
}

/* Not before the links are there that this one would begin from, or that it would promise, too. */
static void
start(struct copy *c)
{
	bool many = c->n >= c->store->promise_min;

	c->wait.on_settled = on_settled;
	if (linking_wait(c->store, many ? NULL : c->source, &c->wait))
		return;
	if (!many || !(c->linking = linking_new(c->source, c->target))) {
		link_now(c);
		return;
	}
	c->unsettled = stock_unsettled(c->source);
	c->work = (struct work){ .run = promise, .done = promised };
	worker_submit(c->store->pool, &c->work);
}

static size_t
put_path(struct copy *c, const char *folder, const char *path)
{
	size_t at = buf_len(&c->paths);

	if (*folder) {
		buf_puts(&c->paths, folder);
		buf_putc(&c->paths, '/');
	}
	buf_put(&c->paths, span_of(path, strlen(path) + 1));
	return at;
}

static bool
add_item(struct copy *c, const struct message *m, const char *from_dir, const char *to_dir, const char *base)
{
	const struct index *ix = &c->source->file.ix;
	struct item *it = &c->items[c->n];
	char path[MAILDIR_NAME_MAX + 5], name[MAILDIR_BASE_MAX];
	struct maildir_name parsed;

	*it = (struct item){ .uid = m->uid, .letters = m->flags | (uint32_t)map_keywords(c, m->keywords) << LETTER_KEYWORD_SHIFT };
	(void)snprintf(name, sizeof(name), "%.*s_%zu%s", (int)strlen(c->incoming.base) - 1, base, c->n, base + strlen(c->incoming.base) - 1);
	if (maildir_name_parse(index_base(ix, m), &parsed) && parsed.size != UINT64_MAX && parsed.vsize != UINT64_MAX)
		maildir_add_sizes(name, parsed.size, parsed.vsize);
	it->base = put_path(c, "", name);
	if (!index_path(ix, m, path))
		return false;
	it->from = it->other = put_path(c, from_dir, path);
	if (follow_renaming(c->source, m->uid, path))
		it->other = put_path(c, from_dir, path);
	if (!maildir_path(path, span_str(name), SPAN_NONE, it->letters, false))
		return false;
	it->to = put_path(c, to_dir, path);
	c->n++;
	return buf_ok(&c->paths);
}

static bool
prepare(struct copy *c)
{
	const struct index *ix = &c->source->file.ix;
	const struct uidset *uids = &c->uids;
	char from_dir[STORE_NAME_MAX + 2], to_dir[STORE_NAME_MAX + 2], base[MAILDIR_BASE_MAX], *dot;
	uint64_t most = uidset_count(uids) < ix->n ? uidset_count(uids) : ix->n;

	folder_dir(span_str(c->source->name), from_dir);
	folder_dir(span_str(c->target->name), to_dir);
	(void)snprintf(c->source_dir, sizeof(c->source_dir), "%s%scur", from_dir, *from_dir ? "/" : "");
	(void)snprintf(c->target_dir, sizeof(c->target_dir), "%s%scur", to_dir, *to_dir ? "/" : "");
	maildir_unique(deliverer_namer(c->store->deliverer), base);
	/* "<time>.<unique>_" begins them all: a scan leaves them alone until they have UIDs. */
	if (!(dot = strchr(base, '.')) || !(dot = strchr(dot + 1, '.')))
		return false;
	(void)snprintf(c->incoming.base, sizeof(c->incoming.base), "%.*s_", (int)(dot - base), base);
	if (!(c->items = calloc(most ? (size_t)most : 1, sizeof(*c->items))))
		return false;
	for (size_t i = 0; i < uids->n; i++)
		for (size_t at = index_place(ix, uids->ranges[i].lo); at < ix->n && ix->messages[at].uid <= uids->ranges[i].hi; at++)
			if (!add_item(c, &ix->messages[at], from_dir, to_dir, base))
				return false;
	return true;
}

/* What moves is there already. */
static bool
has_room(struct copy *c, struct fail *why)
{
	uint64_t size = 0;

	if (c->move)
		return true;
	for (size_t i = 0; i < c->n; i++)
		size += index_find(&c->source->file.ix, c->items[i].uid)->size;
	return store_fits(c->store, size, c->n, why);
}

static bool
begin(struct copy *c, struct view *v, const struct uidset *uids, struct span to, struct fail *why)
{
	c->store = v->mailbox->store;
	if (!(c->target = mailbox_use(c->store, to, why)))
		return false;
	c->source = v->mailbox;
	c->source->users++;
	follow_hold(c->source);
	uidset_add_set(&c->uids, uids);
	if (c->uids.failed || !prepare(c))
		return fail_set(why, FAIL_TEMP, 0, "out of memory for a copy");
	if (!has_room(c, why))
		return false;
	list_push(&c->target->incoming, &c->incoming.node);
	return true;
}

void
mailbox_copy(struct view *v, const struct uidset *uids, struct span to, bool move, struct mailbox_op *op)
{
	struct copy *c = calloc(1, sizeof(*c));

	op->ok = false;
	uidset_init(&op->from);
	uidset_init(&op->to);
	if (!c) {
		(void)fail_set(&op->why, FAIL_TEMP, 0, "out of memory");
		op->on_done(op);
		return;
	}
	c->op = op;
	c->move = move;
	buf_init(&c->paths, PATHS_MAX);
	if (!begin(c, v, uids, to, &op->why)) {
		finish(c);
		return;
	}
	if (c->n == 0) { /* nothing is left of them: no messages, no UIDs */
		op->ok = true;
		op->uidvalidity = mailbox_uidvalidity(c->target);
		finish(c);
		return;
	}
	start(c);
}

void
store_set_promise(struct store *store, size_t messages)
{
	store->promise_min = messages;
}
