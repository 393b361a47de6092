/* SPDX-License-Identifier: ISC */
#include "journal/slots.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"

enum { FILL_CHUNK = 1024 * 1024, DEPENDANTS_MAX = 8 * 65536 };

void
slots_event(const struct slots *s, const struct fail *what)
{
	if (s->on_event)
		s->on_event(s->arg, what);
}

void
slots_name(const struct slots *s, uint32_t number, const char *ext, char name[120])
{
	(void)snprintf(name, 120, "%s/%08" PRIx32 ".%s", s->dir, number, ext);
}

bool
slots_fd(struct slots *s, struct slot *slot, struct fail *why)
{
	char name[120];

	if (slot->fd >= 0)
		return true;
	slots_name(s, slot->number, "seg", name);
	slot->fd = s->vfs->ops->open(s->vfs, name, s->read_only ? VFS_READ : VFS_WRITE);
	return slot->fd >= 0 || fail_errno(why, 0, "cannot open %s", name);
}

static struct slot *
slot_new(uint32_t number, int fd)
{
	struct slot *slot = calloc(1, sizeof(*slot));

	if (!slot)
		return NULL;
	slot->number = number;
	slot->fd = fd;
	buf_init(&slot->dependants, DEPENDANTS_MAX);
	buf_init(&slot->index, SEGMENT_SIZE_MAX);
	return slot;
}

static void
slot_free(struct slots *s, struct slot *slot)
{
	if (slot->fd >= 0)
		(void)s->vfs->ops->close(s->vfs, slot->fd);
	buf_free(&slot->dependants);
	buf_free(&slot->index);
	list_remove(&slot->node);
	free(slot);
}

/* Keeps the used ones in order of age. */
static void
insert_used(struct slots *s, struct slot *slot)
{
	struct list *after = s->used.prev;

	while (after != &s->used && OWNER_OF(after, struct slot, node)->head.seq > slot->head.seq)
		after = after->prev;
	list_insert(after, &slot->node);
	s->nused++;
}

/* False: no memory. */
static bool
classify(struct slots *s, struct slot *slot, enum segment_state state)
{
	struct fail what;

	switch (state) {
	case SEGMENT_USED:
		slot->state = SLOT_SEALED;
		if (slots_by_seq(s, slot->head.seq))
			break;
		if (!map_put_u64(&s->by_seq, &slot->by_seq, slot->head.seq))
			return false;
		insert_used(s, slot);
		return true;
	case SEGMENT_BLANK:
	case SEGMENT_FREE:
		slot->state = SLOT_FREE;
		list_push(&s->free, &slot->node);
		s->nfree++;
		return true;
	default:
		break;
	}
	slot->state = SLOT_SET_ASIDE;
	list_push(&s->aside, &slot->node);
	(void)fail_set(&what, FAIL_PERM, 0, "%s/%08" PRIx32 ".seg is left aside: %s", s->dir, slot->number,
	    state == SEGMENT_NEWER	  ? "a newer version wrote it"
	    : state == SEGMENT_OTHER_KIND ? "it belongs to another journal"
					  : "its header is damaged");
	slots_event(s, &what);
	return true;
}

static bool
load(struct slots *s, uint32_t number, struct fail *why)
{
	char block[SEGMENT_HEADER], name[120];
	struct slot *slot = slot_new(number, -1);
	int64_t size;

	if (!slot)
		return fail_set(why, FAIL_TEMP, 0, "no memory for journal segments");
	if (!slots_fd(s, slot, why)) {
		slot_free(s, slot);
		return false;
	}
	slots_name(s, number, "seg", name);
	size = s->vfs->ops->size(s->vfs, slot->fd);
	if (size >= 0 && size < SEGMENT_HEADER) { /* its making was cut short: it never held anything */
		if (!s->read_only)
			(void)s->vfs->ops->unlink(s->vfs, name);
		slot_free(s, slot);
		return true;
	}
	if (size < 0 || !vfs_read_all(s->vfs, slot->fd, block, sizeof(block), 0)) {
		(void)fail_errno(why, 0, "cannot read %s", name);
		slot_free(s, slot);
		return false;
	}
	if (!classify(s, slot, segment_header_get(block, s->kind, &slot->head))) {
		slot_free(s, slot);
		return fail_set(why, FAIL_TEMP, 0, "no memory for journal segments");
	}
	if (slot->state == SLOT_FREE && (uint64_t)size < s->segment_size && !s->read_only &&
	    s->vfs->ops->allocate(s->vfs, slot->fd, s->segment_size) < 0) {
		s->nfree--;
		slot_free(s, slot);
		return true;
	}
	if (slot->state != SLOT_SET_ASIDE) {
		if (slot->head.seq > s->last_seq)
			s->last_seq = slot->head.seq;
		if (slot->head.stamp > s->last_stamp)
			s->last_stamp = slot->head.stamp;
	}
	return true;
}

struct scan {
	struct slots *s;
	struct buf numbers;
};

static bool
on_name(void *arg, const char *name)
{
	struct scan *scan = arg;
	unsigned long number;
	char *end;

	if (strlen(name) != 12 || strcmp(name + 8, ".seg") != 0)
		return true;
	number = strtoul(name, &end, 16);
	if (end != name + 8 || number > UINT32_MAX - 1)
		return true;
	buf_le32(&scan->numbers, (uint32_t)number);
	if (number >= scan->s->next_number)
		scan->s->next_number = (uint32_t)number + 1;
	return true;
}

bool
slots_open(struct slots *s, struct fail *why)
{
	struct scan scan = { .s = s };
	struct cursor c;
	bool ok = true;

	list_init(&s->used);
	list_init(&s->free);
	list_init(&s->aside);
	map_init(&s->by_seq);
	buf_init(&scan.numbers, 4 * 1024 * 1024);
	if (!s->read_only && s->vfs->ops->mkdir(s->vfs, s->dir) < 0)
		return fail_errno(why, 0, "cannot make directory %s", s->dir);
	if (s->vfs->ops->list(s->vfs, s->dir, on_name, &scan) < 0)
		ok = fail_errno(why, 0, "cannot read directory %s", s->dir);
	if (!buf_ok(&scan.numbers))
		ok = fail_set(why, FAIL_TEMP, 0, "no memory for the names in %s", s->dir);
	c = cursor_of(buf_span(&scan.numbers));
	while (ok && !cursor_end(&c))
		ok = load(s, cursor_le32(&c), why);
	buf_free(&scan.numbers);
	for (struct list *it = s->used.next; ok && it != &s->used && it->next != &s->used; it = it->next) {
		const struct slot *next = OWNER_OF(it->next, struct slot, node);
		struct slot *slot = OWNER_OF(it, struct slot, node);

		if (next->head.prev_seq == slot->head.seq) {
			slot->end = next->head.prev_end;
			slot->end_known = true;
		}
	}
	return ok;
}

void
slots_close(struct slots *s)
{
	struct list *lists[] = { &s->used, &s->free, &s->aside };

	for (size_t i = 0; i < 3; i++)
		LIST_EACH(lists[i], it)
			slot_free(s, OWNER_OF(it, struct slot, node));
	map_free(&s->by_seq);
}

struct slot *
slots_by_seq(const struct slots *s, uint64_t seq)
{
	struct map_node *node = map_get_u64(&s->by_seq, seq);

	return node ? OWNER_OF(node, struct slot, by_seq) : NULL;
}

static bool
fill_zeros(struct vfs *v, int fd, size_t size)
{
	char *zeros = calloc(1, FILL_CHUNK);
	bool ok = zeros != NULL;

	for (size_t at = 0; ok && at < size; at += FILL_CHUNK)
		ok = vfs_write_all(v, fd, zeros, size - at < FILL_CHUNK ? size - at : FILL_CHUNK, at);
	free(zeros);
	return ok;
}

int
slots_make_file(const struct slots *s, uint32_t number, bool fill, struct fail *why)
{
	const struct vfs_ops *ops = s->vfs->ops;
	char name[120];
	int fd;

	slots_name(s, number, "seg", name);
	fd = ops->open(s->vfs, name, VFS_CREATE);
	if (fd < 0) {
		(void)fail_errno(why, 0, "cannot create %s", name);
		return -1;
	}
	if (ops->allocate(s->vfs, fd, s->segment_size) < 0 || (fill && !fill_zeros(s->vfs, fd, s->segment_size)) ||
	    ops->sync(s->vfs, fd) < 0 || ops->sync_dir(s->vfs, s->dir) < 0) {
		(void)fail_errno(why, 0, "cannot make %s ready", name);
		(void)ops->close(s->vfs, fd);
		(void)ops->unlink(s->vfs, name);
		return -1;
	}
	return fd;
}

struct slot *
slots_add_free(struct slots *s, uint32_t number, int fd)
{
	struct slot *slot = slot_new(number, fd);

	if (!slot)
		return NULL;
	list_push(&s->free, &slot->node);
	s->nfree++;
	return slot;
}

static uint32_t
new_mark(const struct slots *s, const struct slot *slot, uint64_t stamp)
{
	uint64_t seed = s->last_seq ^ (uint64_t)slot->number << 32 ^ stamp;
	uint64_t mixed = map_hash(s->by_seq.seed, span_of(&seed, sizeof(seed))); /* secret: nobody outside can guess a mark */

	return (uint32_t)mixed | 1; /* never what blank blocks hold */
}

struct slot *
slots_use(struct slots *s, const struct slot *prev, uint64_t stamp)
{
	struct list *node = list_shift(&s->free);
	struct slot *slot;

	if (!node)
		return NULL;
	slot = OWNER_OF(node, struct slot, node);
	s->nfree--;
	slot->head = (struct segment_header){
		.used = true,
		.seq = ++s->last_seq,
		.stamp = stamp,
		.mark = new_mark(s, slot, stamp),
		.prev_seq = prev ? prev->head.seq : 0,
		.prev_end = prev ? prev->end : 0,
	};
	slot->state = SLOT_ACTIVE;
	slot->end = SEGMENT_HEADER;
	slot->end_known = slot->offered = slot->indexed = false;
	slot->moved = slot->unlived = 0;
	slot->header_due = true;
	slot->records = slot->pins = 0;
	slot->live = 0;
	buf_reset(&slot->index);
	buf_reset(&slot->dependants);
	if (!map_put_u64(&s->by_seq, &slot->by_seq, slot->head.seq)) {
		list_push(&s->free, &slot->node);
		s->nfree++;
		return NULL;
	}
	insert_used(s, slot);
	return slot;
}

bool
slots_write_free(const struct slots *s, const struct slot *slot, uint64_t stamp, struct fail *why)
{
	struct segment_header h = slot->head;
	char block[SEGMENT_HEADER];

	h.used = false;
	h.stamp = stamp;
	segment_header_put(&h, s->kind, block);
	if (!vfs_write_all(s->vfs, slot->fd, block, sizeof(block), 0) || s->vfs->ops->sync(s->vfs, slot->fd) < 0)
		return fail_errno(why, 0, "cannot recycle %s/%08" PRIx32 ".seg", s->dir, slot->number);
	return true;
}

void
slots_freed(struct slots *s, struct slot *slot)
{
	struct cursor c = cursor_of(buf_span(&slot->dependants));

	while (!cursor_end(&c)) {
		struct slot *dependant = slots_by_seq(s, cursor_le64(&c));

		if (dependant && dependant->pins > 0)
			dependant->pins--;
	}
	map_remove(&s->by_seq, &slot->by_seq);
	list_remove(&slot->node);
	s->nused--;
	slot->state = SLOT_FREE;
	list_push(&s->free, &slot->node);
	s->nfree++;
	buf_free(&slot->dependants);
	buf_free(&slot->index);
}

void
slots_forget(struct slots *s, struct slot *slot)
{
	s->nfree--;
	slot_free(s, slot);
}

void
slots_depend(struct slots *s, struct slot *record, struct slot *about)
{
	struct cursor c = cursor_of(buf_span(&about->dependants));
	uint64_t seq = record->head.seq;

	(void)s;
	if (record == about)
		return;
	/* Appends are about recent segments again and again: look from the end. */
	for (size_t n = c.in.n; n >= 8; n -= 8) {
		uint64_t had;

		memcpy(&had, c.in.p + n - 8, 8);
		if (had == seq)
			return;
	}
	buf_put(&about->dependants, span_of(&seq, 8));
	if (buf_ok(&about->dependants))
		record->pins++;
	else
		record->live++; /* too many to remember: it simply stays */
}

struct walk {
	struct slots *s;
	struct slot *slot;
	bool (*on_record)(void *, const struct journal_record *);
	void *arg;
	unsigned damaged;
	uint32_t batch;
	bool collect;
};

static bool
walk_record(void *arg, const struct journal_record *r, uint32_t batch)
{
	struct walk *w = arg;

	w->batch = batch;
	if (w->collect) {
		segment_index_add(&w->slot->index, segment_offset(r->pos), r);
		w->slot->records++;
	}
	return w->on_record(w->arg, r);
}

static bool
index_record(void *arg, const struct journal_record *r)
{
	struct walk *w = arg;

	if (w->collect)
		w->slot->records++;
	return w->on_record(w->arg, r);
}

static void
walk_damage(void *arg, size_t at, size_t n)
{
	struct walk *w = arg;
	struct fail what;

	w->damaged++;
	(void)fail_set(&what, FAIL_PERM, 0, "%s/%08" PRIx32 ".seg: %zu bytes at %zu are damaged and skipped", w->s->dir,
	    w->slot->number, n, at);
	slots_event(w->s, &what);
}

static bool
read_file(struct slots *s, const char *name, int fd, struct buf *into, struct fail *why)
{
	int own = fd < 0 ? s->vfs->ops->open(s->vfs, name, VFS_READ) : fd;
	int64_t size = own < 0 ? -1 : s->vfs->ops->size(s->vfs, own);
	char *p = size <= 0 ? NULL : buf_room(into, (size_t)size);
	bool ok = p && vfs_read_all(s->vfs, own, p, (size_t)size, 0);

	if (ok)
		buf_added(into, (size_t)size);
	else
		(void)fail_errno(why, 0, "cannot read %s", name);
	if (fd < 0 && own >= 0)
		(void)s->vfs->ops->close(s->vfs, own);
	return ok;
}

static bool
walk_index(struct walk *w, bool *complete)
{
	char name[120];
	struct buf file;
	uint32_t end;
	bool ok;

	slots_name(w->s, w->slot->number, "idx", name);
	buf_init(&file, SEGMENT_SIZE_MAX);
	ok = read_file(w->s, name, -1, &file, NULL) &&
	     segment_index_walk(buf_span(&file), w->slot->head.seq, w->slot->head.mark, &end, index_record, w, complete);
	if (ok && w->collect) {
		w->slot->end = end;
		w->slot->end_known = w->slot->indexed = true;
	}
	buf_free(&file);
	return ok;
}

bool
slots_walk(struct slots *s, struct slot *slot, bool last, bool whole,
    bool (*on_record)(void *, const struct journal_record *), void *arg, bool *complete, unsigned *damaged, struct fail *why)
{
	struct walk w = { .s = s, .slot = slot, .on_record = on_record, .arg = arg, .collect = slot->records == 0 };
	struct segment_walk walk = { .seq = slot->head.seq, .mark = slot->head.mark, .last = last,
		.end = slot->end_known ? slot->end : 0, .on_record = walk_record, .on_damage = walk_damage, .arg = &w };
	char name[120];
	struct buf file;
	size_t end;
	bool ok;

	*complete = true;
	if (!whole && !last && walk_index(&w, complete))
		return true;
	if (!slots_fd(s, slot, why))
		return false;
	slots_name(s, slot->number, "seg", name);
	buf_init(&file, SEGMENT_SIZE_MAX);
	ok = read_file(s, name, slot->fd, &file, why);
	if (ok) {
		walk.file = buf_span(&file);
		end = segment_walk(&walk, complete);
		if (w.collect && *complete) {
			slot->end = (uint32_t)end;
			slot->end_known = true;
			if (slot->head.stamp + w.batch > s->last_stamp)
				s->last_stamp = slot->head.stamp + w.batch;
		}
		if (damaged)
			*damaged += w.damaged;
	}
	buf_free(&file);
	return ok;
}
