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

/* The recipients that were left, where others were settled before. */
static bool
list_unsettled(const struct message *m, struct buf *list)
{
	bool ok = true;

	for (uint32_t i = 0; ok && i < m->nrcpts; i++) {
		struct record_result r = { .index = i };

		ok = m->rcpts[i].settled || record_list_put(list, &record_desc_result, &r);
	}
	return ok;
}

void
queue_record_deletion(struct queue *q, struct message *m)
{
	struct buf list;
	bool ok;

	buf_init(&list, 1000000);
	ok = m->unsettled == m->nrcpts || list_unsettled(m, &list);
	if (!ok)
		buf_reset(&list);
	queue_record_outcome(q, m, buf_span(&list), false, !ok ? for_good : m->flags & MESSAGE_HELD ? on_hold : by_hand);
	buf_free(&list);
}

static void
let_go(struct queue *q, const struct deleted *d)
{
	char name[40];

	if (!d->blob || queue_find(q, d->id))
		return; /* it is back, and the file is its own again */
	queue_blob_name(d->id, name);
	queue_remove_blob(q, name, false);
}

void
queue_deleted_note(struct queue *q, const struct message *m, journal_pos outcome)
{
	struct deleted d = { .id = message_id(m), .envelope = m->pos, .outcome = outcome, .blob = (m->flags & MESSAGE_BLOB) != 0 };

	if (q->ndeleted == q->max_deleted) {
		size_t max = q->max_deleted ? q->max_deleted * 2 : 64;
		struct deleted *more = max > DELETED_MAX ? NULL : realloc(q->deleted, max * sizeof(*more));

		if (!more && q->ndeleted == 0) {
			if (!q->recovering)
				let_go(q, &d);
			return;
		}
		if (!more) { /* the oldest half makes room */
			for (size_t i = 0; i < q->ndeleted / 2; i++)
				let_go(q, &q->deleted[i]);
			q->ndeleted -= q->ndeleted / 2;
			memmove(q->deleted, q->deleted + q->max_deleted - q->ndeleted, q->ndeleted * sizeof(*q->deleted));
		} else {
			q->deleted = more;
			q->max_deleted = max;
		}
	}
	q->deleted[q->ndeleted++] = d;
}

static struct deleted *
find(const struct queue *q, uint64_t id)
{
	for (size_t i = q->ndeleted; i > 0; i--)
		if (q->deleted[i - 1].id == id)
			return &q->deleted[i - 1];
	return NULL;
}

bool
queue_was_deleted(const struct queue *q, uint64_t id)
{
	return find(q, id) != NULL;
}

void
queue_deleted_sweep(struct queue *q)
{
	for (size_t n = 0; n < SWEEP && q->ndeleted > 0; n++) {
		struct deleted *d;

		if (q->sweep >= q->ndeleted)
			q->sweep = 0;
		d = &q->deleted[q->sweep];
		if (journal_exists(q->journal, d->envelope)) {
			q->sweep++;
			if (n >= q->ndeleted)
				break;
			continue;
		}
		let_go(q, d);
		*d = q->deleted[--q->ndeleted];
	}
}

void
queue_deleted_free(struct queue *q)
{
	free(q->deleted);
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
	return (record_get(&record_desc_outcome, &r, o) && o->id == d->id) || fail_set(why, FAIL_PERM, 0, "its deletion cannot be read");
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
