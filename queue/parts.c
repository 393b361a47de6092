/* SPDX-License-Identifier: ISC
 *
 * The list of a message that comes in bit by bit goes to the journal bit by
 * bit: millions of bytes in one record would be what everybody else's sync
 * waits for.  The envelope then says where the parts stand, if it comes to
 * stand in the same segment; otherwise it has the whole list as ever, and
 * nobody misses the parts.  So a segment never needs another one for them, and
 * its envelope answers for them.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "queue/impl.h"

enum { PARTS_MAX = 65536 / sizeof(uint64_t) };

/* ---- writing ---- */

void
queue_parts_init(struct queue_parts *p, size_t least)
{
	*p = (struct queue_parts){ .least = least };
	buf_init(&p->at, PARTS_MAX * sizeof(uint64_t));
}

void
queue_parts_free(struct queue_parts *p)
{
	buf_free(&p->at);
}

void
queue_put_part(struct queue *q, struct queue_parts *p, uint64_t id, struct span list)
{
	struct record_part part = { .id = id, .list = span_from(list, p->n) };
	journal_pos pos;

	if (p->given_up || part.list.n < p->least)
		return;
	if (!queue_append(q, RECORD_part, &record_desc_part, &part, SPAN_NONE, JOURNAL_LAZY, NULL, &pos, NULL) ||
	    (p->n && journal_segment(pos) != p->segment)) {
		p->given_up = true;
		return;
	}
	p->segment = journal_segment(pos);
	p->n = list.n;
	buf_le64(&p->at, pos);
	p->given_up = !buf_ok(&p->at);
}

void
queue_name_parts(const struct queue *q, const struct queue_parts *p, struct record_envelope *e, size_t body)
{
	struct span whole = e->list;

	e->parts = SPAN_NONE;
	if (!p || p->given_up || !p->n || p->n > whole.n)
		return;
	e->parts = buf_span(&p->at);
	e->list = span_from(whole, p->n);
	if (journal_stays(q->journal, p->segment, desc_size(&record_desc_envelope, e), body))
		return;
	e->parts = SPAN_NONE;
	e->list = whole;
}

/* ---- reading ---- */

bool
queue_read_parts(struct queue *q, struct record_envelope *e, struct buf *list, struct fail *why)
{
	struct cursor c = cursor_of(e->parts);
	struct journal_record r;
	struct record_part part;
	struct buf into;
	bool ok = true;

	if (!e->parts.n)
		return true;
	buf_init(&into, (size_t)JOURNAL_RECORD_MAX + 4096);
	while (ok && c.ok && !cursor_end(&c)) {
		buf_reset(&into);
		ok = journal_read(q->journal, cursor_le64(&c), &into, &r, why);
		if (ok && (!record_get(&record_desc_part, &r, &part) || part.id != e->id))
			ok = fail_set(why, FAIL_PERM, 0, "a part of its list is not what it should be");
		if (ok)
			buf_put(list, part.list);
	}
	buf_free(&into);
	buf_put(list, e->list);
	if (ok && (!c.ok || !buf_ok(list)))
		ok = fail_set(why, FAIL_LIMIT, 0, "its list cannot be put together");
	e->list = buf_span(list);
	e->parts = SPAN_NONE;
	return ok;
}

struct held {
	struct list node;
	uint64_t id;
	journal_pos pos;
	size_t n;
	char list[];
};

void
record_parts_init(struct record_parts *p)
{
	list_init(&p->held);
}

static void
drop(struct held *h)
{
	list_remove(&h->node);
	free(h);
}

void
record_parts_drop(struct record_parts *p)
{
	LIST_EACH(&p->held, it)
		drop(OWNER_OF(it, struct held, node));
}

bool
record_parts_keep(struct record_parts *p, const struct journal_record *r)
{
	struct record_part part;
	struct held *h;

	if (!list_empty(&p->held) && journal_segment(OWNER_OF(p->held.next, struct held, node)->pos) != journal_segment(r->pos))
		record_parts_drop(p);
	if (!record_get(&record_desc_part, r, &part))
		return false;
	h = malloc(sizeof(*h) + part.list.n);
	if (!h)
		return false;
	h->node = (struct list){ .next = NULL };
	h->id = part.id;
	h->pos = r->pos;
	h->n = part.list.n;
	if (h->n)
		memcpy(h->list, part.list.p, h->n);
	list_push(&p->held, &h->node);
	return true;
}

static struct held *
find(const struct record_parts *p, journal_pos pos, uint64_t id)
{
	LIST_EACH(&p->held, it) {
		struct held *h = OWNER_OF(it, struct held, node);

		if (h->pos == pos && h->id == id)
			return h;
	}
	return NULL;
}

bool
record_parts_join(struct record_parts *p, struct record_envelope *e, struct buf *list)
{
	struct cursor c = cursor_of(e->parts);

	if (!e->parts.n)
		return true;
	while (c.ok && !cursor_end(&c)) {
		struct held *h = find(p, cursor_le64(&c), e->id);

		if (!h)
			return false;
		buf_put(list, span_of(h->list, h->n));
		drop(h);
	}
	buf_put(list, e->list);
	e->list = buf_span(list);
	e->parts = SPAN_NONE;
	return c.ok && buf_ok(list);
}
