/* SPDX-License-Identifier: ISC
 *
 * What an administrator deleted and could have back: the journal still holds
 * the envelope until its segment is recycled, and a large content's file is
 * kept as long.  The list is made of the journal at each start.
 */
#include <stdlib.h>
#include <string.h>

#include "queue/impl.h"

enum {
	DELETED_MAX = 1000000,
	SWEEP = 50000, /* entries looked at a minute */
};

static const char by_hand[] = "administrator", on_hold[] = "administrator, on hold", for_good[] = "administrator, for good";

bool
queue_is_deletion(struct span why)
{
	return span_eq(why, span_str(by_hand)) || span_eq(why, span_str(on_hold));
}

static bool
is_as_accepted(const struct message *m)
{
	for (uint32_t i = 0; i < m->nrcpts; i++)
		if (m->rcpts[i].settled || m->rcpts[i].expanded)
			return false;
	return !m->extra || !m->extra->done;
}

/* The recipients that were left, with a code if their success has been told, and what of them is done. */
static bool
list_left(const struct message *m, struct buf *list)
{
	bool ok = true;

	for (uint32_t i = 0; ok && i < m->nrcpts; i++) {
		struct record_result r = { .index = i };

		if (m->rcpts[i].expanded) {
			r.code = SPAN("2.0.0");
			r.owner = message_owner(m, i);
		}
		ok = m->rcpts[i].settled || record_list_put(list, &record_desc_result, &r);
	}
	for (const struct done *d = m->extra ? m->extra->done : NULL; ok && d; d = d->next) {
		struct record_result r = { .index = d->recipient, .target = text_span(d->address) };

		ok = m->rcpts[d->recipient].settled || record_list_put(list, &record_desc_result, &r);
	}
	return ok;
}

void
queue_record_deletion(struct queue *q, struct message *m)
{
	struct buf list;
	bool ok;

	buf_init(&list, 1000000);
	ok = is_as_accepted(m) || (!message_has_added(m) && list_left(m, &list));
	if (!ok) { /* too long for a record, or more than its envelope has: the message is written anew as it stands, and goes as that says */
		buf_reset(&list);
		message_drop_notes(m);
		ok = queue_move(q, m);
	}
	queue_record_outcome(q, m, buf_span(&list), false, !ok ? for_good : m->flags & MESSAGE_HELD ? on_hold : by_hand);
	buf_free(&list);
}

static struct deleted *
find(const struct queue *q, uint64_t id)
{
	struct idnode *node = idmap_get(&q->deletions, id);

	return node ? OWNER_OF(node, struct deleted, by_id) : NULL;
}

static void
forget(struct queue *q, struct deleted *d)
{
	idmap_remove(&q->deletions, &d->by_id);
	list_remove(&d->node);
	free(d);
}

static void
let_go(struct queue *q, struct deleted *d)
{
	char name[40];

	if (d->blob) {
		queue_blob_name(d->by_id.id, name);
		queue_remove_blob(q, name, false);
	}
	forget(q, d);
}

void
queue_deleted_note(struct queue *q, const struct message *m, journal_pos outcome)
{
	struct deleted *d = calloc(1, sizeof(*d));

	queue_deleted_back(q, message_id(m), outcome);
	if (q->deletions.count == DELETED_MAX)
		let_go(q, OWNER_OF(q->deleted.next, struct deleted, node));
	if (!d || !idmap_put(&q->deletions, &d->by_id, message_id(m))) {
		free(d);
		return; /* no memory: it can be had back after a restart */
	}
	d->envelope = m->pos;
	d->outcome = outcome;
	d->blob = (m->flags & MESSAGE_BLOB) != 0;
	list_push(&q->deleted, &d->node);
}

void
queue_deleted_back(struct queue *q, uint64_t id, journal_pos pos)
{
	struct deleted *d = find(q, id);

	if (!d)
		return;
	journal_depend(q->journal, pos, d->envelope);
	forget(q, d);
}

bool
queue_was_deleted(const struct queue *q, uint64_t id)
{
	return find(q, id) != NULL;
}

void
queue_deleted_sweep(struct queue *q)
{
	size_t most = q->deletions.count < SWEEP ? q->deletions.count : SWEEP;

	for (size_t n = 0; n < most; n++) {
		struct deleted *d = OWNER_OF(q->deleted.next, struct deleted, node);

		list_remove(&d->node);
		list_push(&q->deleted, &d->node);
		if (!journal_exists(q->journal, d->envelope))
			let_go(q, d);
	}
}

void
queue_deleted_free(struct queue *q)
{
	LIST_EACH(&q->deleted, it)
		forget(q, OWNER_OF(it, struct deleted, node));
	idmap_free(&q->deletions);
}

/* The deletion names the recipients that were left, if some were settled before. */
static bool
mark_settled(const struct record_outcome *o, bool *settled, uint32_t n)
{
	struct span list = o->list;
	struct record_result r;
	bool ok = true;

	memset(settled, list.n > 0, n);
	while (record_list_next(&list, &record_desc_result, &r, &ok))
		if (r.index < n)
			settled[r.index] = false;
	return ok;
}

static bool
rebuild_list(const struct record_envelope *e, const bool *settled, struct buf *out)
{
	struct span list = e->list;
	struct record_recipient r;
	bool ok = true;

	for (uint32_t i = 0; i < e->recipients && record_list_next(&list, &record_desc_recipient, &r, &ok); i++) {
		r.settled = r.settled || settled[i];
		if (!record_list_put(out, &record_desc_recipient, &r))
			return false;
	}
	return ok;
}

static bool
read_outcome(struct queue *q, const struct deleted *d, struct buf *into, struct record_outcome *o, struct fail *why)
{
	struct journal_record r;

	if (!journal_read(q->journal, d->outcome, into, &r, why))
		return false;
	return (record_get(&record_desc_outcome, &r, o) && o->id == d->by_id.id) || fail_set(why, FAIL_PERM, 0, "its deletion cannot be read");
}

/* What else was known of those that were left. */
static void
put_back(struct queue *q, struct message *m, struct span list)
{
	struct record_result r;
	struct buf known;
	bool ok = true;

	buf_init(&known, 1000000);
	while (record_list_next(&list, &record_desc_result, &r, &ok))
		if (r.target.n || r.code.n) {
			(void)queue_apply_result(q, m, &r, q->now); /* they add nobody */
			queue_put_result(q, m, &known, &r);
		}
	if (buf_len(&known) > 0)
		queue_record_outcome(q, m, buf_span(&known), false, NULL);
	buf_free(&known);
}

static bool
bring_back(struct queue *q, const struct deleted *d, const struct record_envelope *old, struct span body,
    void (*on_done)(void *, uint64_t, const struct fail *), void *arg, struct fail *why)
{
	struct record_envelope e = *old;
	struct record_outcome o;
	struct content *content = e.blob ? NULL : content_new(body.n);
	bool *settled = malloc(e.recipients + 1);
	struct buf list, outcome;
	bool ok = settled && (content || e.blob);

	buf_init(&list, RECORD_HEAD_MAX);
	buf_init(&outcome, (size_t)JOURNAL_RECORD_MAX + 4096);
	if (!ok)
		(void)fail_set(why, FAIL_TEMP, 0, "no memory");
	ok = ok && read_outcome(q, d, &outcome, &o, why);
	ok = ok && ((mark_settled(&o, settled, e.recipients) && rebuild_list(&e, settled, &list)) ||
	    fail_set(why, FAIL_PERM, 0, "its recipients cannot be read"));
	if (content)
		buf_put(&content->bytes, body);
	e.list = buf_span(&list);
	e.held = ok && span_eq(o.why, span_str(on_hold)); /* it stood so when it was deleted */
	if (ok)
		ok = queue_accept(q, &e, content, on_done, arg, why);
	else
		content_free(content);
	if (ok)
		put_back(q, queue_find(q, e.id), o.list);
	buf_free(&list);
	buf_free(&outcome);
	free(settled);
	return ok;
}

bool
queue_undelete(struct queue *q, uint64_t id, void (*on_done)(void *arg, uint64_t id, const struct fail *why), void *arg,
    struct fail *why)
{
	const struct deleted *d = find(q, id);
	struct journal_record r;
	struct record_envelope e;
	struct buf into, list;
	bool ok;

	if (queue_find(q, id))
		return fail_set(why, FAIL_PERM, 0, "it is in the queue");
	if (!d || !journal_exists(q->journal, d->envelope))
		return fail_set(why, FAIL_PERM, 0, "no such message was deleted, or its place in the journal has been used again");
	buf_init(&into, (size_t)JOURNAL_RECORD_MAX + 4096);
	buf_init(&list, RECORD_HEAD_MAX);
	ok = journal_read(q->journal, d->envelope, &into, &r, why);
	if (ok && (!record_get(&record_desc_envelope, &r, &e) || e.id != id))
		ok = fail_set(why, FAIL_PERM, 0, "its envelope cannot be read");
	ok = ok && queue_read_parts(q, &e, &list, why) && bring_back(q, d, &e, r.body, on_done, arg, why);
	buf_free(&list);
	buf_free(&into);
	return ok;
}
