/* SPDX-License-Identifier: ISC */
#include "tools/spoolcheck/spool.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/queueid.h"
#include "queue/impl.h"

enum { CHUNK = 65536 };

struct left { /* a message that is gone */
	struct idnode by_id;
};

static void
item_free(struct spool *s, struct spool_item *i)
{
	if (i->m)
		message_free(&i->m, &s->words);
	free((void *)(uintptr_t)i->head.p);
	free(i->destination);
	free(i);
}

static void
forget(struct spool *s, struct spool_item *i)
{
	idmap_remove(&s->items, &i->by_id);
	item_free(s, i);
}

static void
remember_left(struct spool *s, uint64_t id)
{
	struct left *l;

	if (idmap_get(&s->gone, id))
		return;
	l = calloc(1, sizeof(*l));
	if (!l || !idmap_put(&s->gone, &l->by_id, id)) {
		free(l);
		s->no_memory = true;
	}
}

/* For everybody else, lists are whole. */
static void
take_whole(struct spool *s, const struct scan_record *r, const struct record_envelope *e, struct span encoded)
{
	struct spool_item *i, *old;
	char *head;

	old = spool_find(s, e->id);
	if (old && old->sound && !r->sound)
		return; /* a better one is there */
	i = calloc(1, sizeof(*i));
	head = i ? malloc(encoded.n + 1) : NULL;
	if (i)
		*i = (struct spool_item){ .file = r->number, .body_at = r->body_at, .body_n = r->r.body_size, .sound = r->sound };
	if (head) {
		memcpy(head, encoded.p, encoded.n);
		i->head = span_of(head, encoded.n);
		i->m = message_new(e);
	}
	if (i && i->m) {
		i->m->pos = r->r.pos;
		if (old)
			forget(s, old);
		if (idmap_put(&s->items, &i->by_id, e->id))
			return;
	}
	/* A list that is broken is no envelope; anything else is a lack of memory. */
	s->no_memory |= !i || !head; /* NOLINT(clang-analyzer-unix.Malloc): item_free() frees the head, too */
	if (i)
		item_free(s, i);
}

static void
take_envelope(struct spool *s, const struct scan_record *r)
{
	struct record_envelope e;
	struct buf list, head;

	if (!record_get(&record_desc_envelope, &r->r, &e) || !e.id)
		return;
	if (!e.parts.n) {
		take_whole(s, r, &e, r->r.head);
		return;
	}
	buf_init(&list, RECORD_HEAD_MAX);
	buf_init(&head, 2 * RECORD_HEAD_MAX);
	/* With a part that cannot be read the list is broken: as where it stands in the envelope. */
	if (record_parts_join(&s->parts, &e, &list) && desc_encode(&record_desc_envelope, &e, &head))
		take_whole(s, r, &e, buf_span(&head));
	buf_free(&list);
	buf_free(&head);
}

static void
take_part(struct spool *s, const struct scan_record *r)
{
	struct record_part part;

	if (record_get(&record_desc_part, &r->r, &part))
		s->no_memory |= !record_parts_keep(&s->parts, &r->r);
}

static void
take_outcome(struct spool *s, const struct scan_record *r)
{
	struct record_outcome o;
	struct record_result result;
	struct spool_item *i;
	bool ok = true;

	if (!r->sound || !record_get(&record_desc_outcome, &r->r, &o))
		return;
	i = spool_find(s, o.id);
	if (i) {
		while (record_list_next(&o.list, &record_desc_result, &result, &ok))
			s->no_memory |= !queue_apply_to(i->m, &result, o.at_ms);
		i->m->flags |= MESSAGE_TRIED;
		if (o.reported)
			message_drop_notes(i->m);
		if (o.removed)
			forget(s, i);
	}
	if (o.removed)
		remember_left(s, o.id);
}

static void
take_state(struct spool *s, const struct scan_record *r)
{
	struct record_state st;
	struct spool_item *i;

	if (!r->sound || !record_get(&record_desc_state, &r->r, &st) || !(i = spool_find(s, st.id)))
		return;
	i->m->attempts = st.attempts;
	i->m->flags &= (uint16_t)~(MESSAGE_HELD | MESSAGE_WARNED | MESSAGE_OVERDUE);
	i->m->flags |= (uint16_t)((st.held ? MESSAGE_HELD : 0) | (st.warned ? MESSAGE_WARNED : 0) | (st.overdue ? MESSAGE_OVERDUE : 0) |
	                          MESSAGE_TRIED);
	words_put(&s->words, &i->m->reason);
	i->m->reason = words_get(&s->words, st.reason);
	free(i->destination);
	i->destination = text_new(st.destination);
	i->next_ms = st.next_ms;
}

static void
on_record(void *arg, const struct scan_record *r)
{
	struct spool *s = arg;

	if (r->pass != SCAN_AFTER)
		s->records++;
	if (r->r.type == RECORD_envelope && r->pass != SCAN_AFTER)
		take_envelope(s, r);
	else if (r->r.type == RECORD_part && r->pass != SCAN_AFTER)
		take_part(s, r);
	else if (r->r.type == RECORD_outcome && r->pass != SCAN_BEFORE)
		take_outcome(s, r);
	else if (r->r.type == RECORD_state && r->pass != SCAN_BEFORE)
		take_state(s, r);
}

static void
on_damage(void *arg, const char *file, uint64_t at, uint64_t n, const char *what)
{
	struct spool *s = arg;

	s->damages++;
	if (s->on_damage)
		s->on_damage(s->arg, file, at, n, what);
}

static void
on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct spool *s = arg;

	if (s->on_progress)
		s->on_progress(s->arg, done, total);
}

void
spool_init(struct spool *s, struct vfs *v)
{
	*s = (struct spool){ .vfs = v };
	words_init(&s->words);
	record_parts_init(&s->parts);
}

bool
spool_load(struct spool *s, struct fail *why)
{
	struct scan scan = { .vfs = s->vfs, .dir = "journal", .kind = "queu", .arg = s, .on_record = on_record, .on_damage = on_damage,
		.on_progress = on_progress };

	if (!scan_run(&scan, why))
		return false;
	s->segments = scan.segments;
	s->gaps = scan.gaps;
	return !s->no_memory || fail_set(why, FAIL_TEMP, 0, "no memory for all messages");
}

void
spool_free(struct spool *s)
{
	for (size_t b = 0; b < s->items.nbuckets; b++)
		while (s->items.buckets[b])
			forget(s, OWNER_OF(s->items.buckets[b], struct spool_item, by_id));
	for (size_t b = 0; b < s->gone.nbuckets; b++)
		while (s->gone.buckets[b]) {
			struct left *l = OWNER_OF(s->gone.buckets[b], struct left, by_id);

			idmap_remove(&s->gone, &l->by_id);
			free(l);
		}
	record_parts_drop(&s->parts);
	idmap_free(&s->items);
	idmap_free(&s->gone);
	words_free(&s->words);
}

bool
spool_has_left(const struct spool *s, uint64_t id)
{
	return idmap_get(&s->gone, id) != NULL;
}

static int
by_id(const void *a, const void *b)
{
	uint64_t x = (*(struct spool_item *const *)a)->by_id.id, y = (*(struct spool_item *const *)b)->by_id.id;

	return x < y ? -1 : x > y;
}

struct spool_item **
spool_sorted(const struct spool *s, size_t *n)
{
	struct spool_item **all = malloc((s->items.count + 1) * sizeof(struct spool_item *));

	*n = 0;
	if (!all)
		return NULL;
	for (size_t b = 0; b < s->items.nbuckets; b++)
		for (struct idnode *node = s->items.buckets[b]; node; node = node->next)
			all[(*n)++] = OWNER_OF(node, struct spool_item, by_id);
	if (*n)
		qsort(all, *n, sizeof(struct spool_item *), by_id);
	return all;
}

bool
spool_message(const struct spool_item *i, struct buf *room, struct export_message *x, struct fail *why)
{
	*x = (struct export_message){ .results = SPAN_NONE };
	if (!desc_decode_older(&record_desc_envelope, i->head, &x->envelope, NULL))
		return fail_set(why, FAIL_PERM, 0, "its envelope is not what it should be");
	if (!export_state_of(i->m, room, x, why))
		return false;
	x->state.next_ms = i->next_ms;
	x->state.destination = text_span(i->destination);
	return true;
}

static bool
copy(struct spool *s, const char *name, uint64_t at, uint64_t n, bool (*sink)(void *, struct span), void *arg, uint64_t *size,
    struct fail *why)
{
	int fd = s->vfs->ops->open(s->vfs, name, VFS_READ);
	char *bytes = malloc(CHUNK);
	uint64_t bad = 0;
	bool ok = bytes && fd >= 0;

	if (!ok)
		(void)fail_errno(why, 0, "cannot open %s", name);
	while (ok && *size < n) {
		size_t want = n - *size < CHUNK ? (size_t)(n - *size) : CHUNK, got = scan_read(s->vfs, fd, bytes, want, at + *size, &bad);

		if (got && sink && !sink(arg, span_of(bytes, got)))
			ok = fail_set(why, FAIL_TEMP, 0, "cannot write");
		*size += got;
		if (got < want)
			ok = fail_set(why, FAIL_PERM, 0, "%s has %" PRIu64 " of %" PRIu64 " bytes", name, *size, n);
	}
	if (ok && bad)
		ok = fail_set(why, FAIL_PERM, 0, "%s: %" PRIu64 " bytes could not be read", name, bad);
	if (fd >= 0)
		(void)s->vfs->ops->close(s->vfs, fd);
	free(bytes);
	return ok;
}

bool
spool_content(struct spool *s, const struct spool_item *i, bool (*sink)(void *, struct span), void *arg, uint64_t *size,
    struct fail *why)
{
	struct record_envelope e;
	char name[120];
	bool ok;

	*size = 0;
	if (!desc_decode_older(&record_desc_envelope, i->head, &e, NULL))
		return fail_set(why, FAIL_PERM, 0, "its envelope is not what it should be");
	if (e.blob)
		queue_blob_name(i->by_id.id, name);
	else
		(void)snprintf(name, sizeof(name), "journal/%08" PRIx32 ".seg", i->file);
	ok = e.blob ? copy(s, name, 0, e.size, sink, arg, size, why) : copy(s, name, i->body_at, i->body_n, sink, arg, size, why);
	if (!ok)
		return false;
	if (*size != e.size)
		return fail_set(why, FAIL_PERM, 0, "content is %" PRIu64 " bytes, not %" PRIu64, *size, e.size);
	return i->sound || fail_set(why, FAIL_PERM, 0, "its record in %s is damaged", name);
}

struct strays {
	struct spool *s;
	void (*visit)(void *arg, const char *name, uint64_t id);
	void *arg;
};

static bool
on_blob(void *arg, const char *name)
{
	struct strays *t = arg;
	uint64_t id;

	if (queueid_parse(span_str(name), &id) && !spool_find(t->s, id) && !spool_has_left(t->s, id)) {
		t->s->strays++;
		t->visit(t->arg, name, id);
	}
	return true;
}

bool
spool_strays(struct spool *s, void (*visit)(void *, const char *, uint64_t), void *arg, struct fail *why)
{
	struct strays t = { .s = s, .visit = visit, .arg = arg };

	return s->vfs->ops->list(s->vfs, "blob", on_blob, &t) >= 0 || fail_errno(why, 0, "cannot read directory blob");
}
