/* SPDX-License-Identifier: ISC
 *
 * File: HEAD octets (what it is, format, UIDVALIDITY), then blocks: a head of
 * six numbers (mark, messages, units, first and last UID, checksum of all but
 * itself), a table of messages (UID, check, where its units end), the units.
 */
#include "store/searchfile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "sys/crc32c.h"

enum {
	HEAD = 16,
	FORMAT = 1,             /* also of the signatures, and of the texts that they are made of */
	MARK = 0x42535050,      /* "PPSB" */
	BLOCK_HEAD = 24,
	CHECKSUM_AT = 20,
	ENTRY = 12, END_AT = 8,
	BLOCK_FULL = 256 << 10, /* octets of signatures */
	BLOCK_SMALL = 64 << 10, /* below this it is written again with what comes behind it */
	BLOCK_MAX = 1 << 20,
	MESSAGES_MAX = 4096,    /* of a block */
};

void
searchfile_init(struct searchfile *f)
{
	*f = (struct searchfile){ .fd = -1, .loaded = SIZE_MAX };
	buf_init(&f->block, BLOCK_HEAD + (size_t)MESSAGES_MAX * ENTRY + BLOCK_MAX);
}

void
searchfile_close(struct searchfile *f)
{
	if (f->fd >= 0)
		(void)f->vfs->ops->close(f->vfs, f->fd);
	free(f->blocks);
	buf_free(&f->block);
	searchfile_init(f);
}

static size_t
block_size(const struct searchfile_block *b)
{
	return BLOCK_HEAD + (size_t)b->n * ENTRY + (size_t)b->units * SIGNATURE_UNIT;
}

static bool
note_block(struct searchfile *f, const struct searchfile_block *b)
{
	if (f->n == f->size) {
		size_t size = f->size ? f->size * 2 : 64;
		void *more = realloc(f->blocks, size * sizeof(*f->blocks));

		if (!more)
			return false;
		f->blocks = more;
		f->size = size;
	}
	f->blocks[f->n++] = *b;
	f->messages += b->n;
	f->end = b->at + block_size(b);
	return true;
}

/* Without the blocks from here on. */
static void
cut(struct searchfile *f, size_t from)
{
	while (f->n > from) {
		f->n--;
		f->messages -= f->blocks[f->n].n;
		f->end = f->blocks[f->n].at;
	}
	f->loaded = SIZE_MAX;
}

/* ---- opening ---- */

static bool
take_head(struct span head, struct searchfile_block *b)
{
	struct cursor c = cursor_of(head);
	uint32_t mark = cursor_le32(&c);

	b->n = cursor_le32(&c);
	b->units = cursor_le32(&c);
	b->lo = cursor_le32(&c);
	b->hi = cursor_le32(&c);
	return mark == MARK && b->n > 0 && b->n <= MESSAGES_MAX && b->units <= BLOCK_MAX / SIGNATURE_UNIT && b->lo > 0 && b->hi >= b->lo;
}

/* Whatever is not a block in its place ends it: a crash may have left anything there. */
static bool
find_blocks(struct searchfile *f, uint64_t size)
{
	char head[BLOCK_HEAD];

	f->end = HEAD;
	while (f->end + BLOCK_HEAD <= size) {
		struct searchfile_block b = { .at = f->end };

		if (!vfs_read_all(f->vfs, f->fd, head, BLOCK_HEAD, b.at) || !take_head(span_of(head, BLOCK_HEAD), &b) ||
		    b.lo <= searchfile_last(f) || b.at + block_size(&b) > size)
			return true;
		if (!note_block(f, &b))
			return false;
	}
	return true;
}

static bool
good_head(struct searchfile *f, struct span head)
{
	char found[HEAD];

	return vfs_read_all(f->vfs, f->fd, found, HEAD, 0) && memcmp(found, head.p, HEAD) == 0;
}

bool
searchfile_open(struct searchfile *f, struct vfs *v, const char *name, uint32_t uidvalidity, enum vfs_open how)
{
	struct buf head;
	int64_t size;
	bool ok;

	searchfile_close(f);
	f->vfs = v;
	f->fd = v->ops->open(v, name, how == VFS_CREATE ? VFS_WRITE : how);
	if (f->fd < 0 && errno == ENOENT && how == VFS_CREATE)
		f->fd = v->ops->open(v, name, VFS_CREATE);
	if (f->fd < 0)
		return false;
	buf_init(&head, HEAD);
	buf_put(&head, SPAN("PPSEARCH"));
	buf_le32(&head, FORMAT);
	buf_le32(&head, uidvalidity);
	size = v->ops->size(v, f->fd);
	ok = size >= HEAD && good_head(f, buf_span(&head));
	if (!ok && how != VFS_READ) {
		ok = v->ops->truncate(v, f->fd, 0) == 0 && vfs_write_all(v, f->fd, buf_span(&head).p, HEAD, 0);
		size = HEAD;
	}
	ok = ok && find_blocks(f, (uint64_t)size);
	buf_free(&head);
	if (!ok)
		searchfile_close(f);
	return ok;
}

/* ---- reading ---- */

uint32_t
searchfile_last(const struct searchfile *f)
{
	return f->n ? f->blocks[f->n - 1].hi : 0;
}

/* Ends that ascend, to the last unit, none too far; UIDs that ascend. */
static bool
good_table(const struct searchfile_block *b, struct span table)
{
	struct cursor c = cursor_of(table);
	uint32_t uid = b->lo - 1, end = 0;

	for (uint32_t i = 0; i < b->n; i++) {
		uint32_t next_uid = cursor_le32(&c), next_end;

		(void)cursor_le32(&c);
		next_end = cursor_le32(&c);
		if (next_uid <= uid || next_end < end || next_end - end > SIGNATURE_MAX / SIGNATURE_UNIT)
			return false;
		uid = next_uid;
		end = next_end;
	}
	return uid == b->hi && end == b->units;
}

static uint32_t
checksum(struct span block)
{
	return crc32c(crc32c(0, span_sub(block, 0, CHECKSUM_AT)), span_from(block, BLOCK_HEAD));
}

static bool
load(struct searchfile *f, size_t which)
{
	const struct searchfile_block *b = &f->blocks[which];
	struct searchfile_block found = { .at = b->at };
	struct cursor c;
	char *room;

	if (f->loaded == which)
		return true;
	f->loaded = SIZE_MAX;
	buf_reset(&f->block);
	if (!(room = buf_room(&f->block, block_size(b))) || !vfs_read_all(f->vfs, f->fd, room, block_size(b), b->at))
		return false;
	buf_added(&f->block, block_size(b));
	c = cursor_of(span_from(buf_span(&f->block), CHECKSUM_AT));
	if (!take_head(buf_span(&f->block), &found) || memcmp(&found, b, sizeof(found)) != 0 || cursor_le32(&c) != checksum(buf_span(&f->block)) ||
	    !good_table(b, span_sub(buf_span(&f->block), BLOCK_HEAD, (size_t)b->n * ENTRY)))
		return false;
	f->loaded = which;
	f->next = 0;
	return true;
}

/* The block whose range has the UID; SIZE_MAX: none. */
static size_t
block_of(const struct searchfile *f, uint32_t uid)
{
	size_t lo = 0, hi = f->n;

	if (f->loaded != SIZE_MAX && uid >= f->blocks[f->loaded].lo && uid <= f->blocks[f->loaded].hi)
		return f->loaded;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (f->blocks[mid].hi < uid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < f->n && f->blocks[lo].lo <= uid ? lo : SIZE_MAX;
}

/* Within a block that load() has looked at. */
static uint32_t
number_at(struct span block, size_t at)
{
	const unsigned char *p = (const unsigned char *)block.p + at;

	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The nth message of the loaded block. */
static struct span
nth(const struct searchfile *f, uint32_t i, uint32_t *check)
{
	const struct searchfile_block *b = &f->blocks[f->loaded];
	struct span block = buf_span(&f->block);
	size_t at = BLOCK_HEAD + (size_t)i * ENTRY, units = BLOCK_HEAD + (size_t)b->n * ENTRY;
	size_t from = i ? number_at(block, at - ENTRY + END_AT) : 0, to = number_at(block, at + END_AT);

	*check = number_at(block, at + 4);
	return span_sub(block, units + from * SIGNATURE_UNIT, (to - from) * SIGNATURE_UNIT);
}

static uint32_t
nth_uid(const struct searchfile *f, uint32_t i)
{
	return number_at(buf_span(&f->block), BLOCK_HEAD + (size_t)i * ENTRY);
}

struct span
searchfile_get(struct searchfile *f, uint32_t uid, uint32_t check)
{
	size_t which = block_of(f, uid);
	uint32_t lo = 0, hi, found;
	struct span signature;

	if (which == SIZE_MAX)
		return SPAN_NONE;
	if (!load(f, which)) {
		cut(f, which); /* what is missing now is made again */
		return SPAN_NONE;
	}
	hi = f->blocks[which].n;
	if (f->next < hi && nth_uid(f, f->next) == uid) /* asked for in order, mostly */
		lo = hi = f->next;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (nth_uid(f, mid) < uid)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == f->blocks[which].n || nth_uid(f, lo) != uid)
		return SPAN_NONE;
	f->next = lo + 1;
	signature = nth(f, lo, &found);
	return found == check ? signature : SPAN_NONE;
}

bool
searchfile_verify(struct searchfile *f)
{
	for (size_t i = 0; i < f->n; i++)
		if (!load(f, i)) {
			cut(f, i);
			return false;
		}
	return true;
}

/* ---- writing ---- */

void
draft_init(struct searchfile_draft *d)
{
	*d = (struct searchfile_draft){ .n = 0 };
	buf_init(&d->table, (size_t)MESSAGES_MAX * ENTRY);
	buf_init(&d->bits, BLOCK_MAX);
}

void
draft_free(struct searchfile_draft *d)
{
	buf_free(&d->table);
	buf_free(&d->bits);
	draft_init(d);
}

bool
draft_full(const struct searchfile_draft *d)
{
	return buf_len(&d->bits) >= BLOCK_FULL || d->n >= MESSAGES_MAX / 2;
}

static void
enter(struct searchfile_draft *d, uint32_t uid, uint32_t check)
{
	buf_le32(&d->table, uid);
	buf_le32(&d->table, check);
	buf_le32(&d->table, (uint32_t)(buf_len(&d->bits) / SIGNATURE_UNIT));
	d->lo = d->n ? d->lo : uid;
	d->hi = uid;
	d->n++;
}

bool
draft_add(struct searchfile_draft *d, uint32_t uid, uint32_t check, struct signature_maker *maker, size_t most)
{
	if (maker && !signature_put(maker, uid, most, &d->bits))
		return false;
	enter(d, uid, check);
	return buf_ok(&d->table);
}

/* A last block that is small becomes part of the new one. */
static bool
merge_last(struct searchfile *f, const struct searchfile_draft *d, struct searchfile_draft *both)
{
	const struct searchfile_block *last = f->n ? &f->blocks[f->n - 1] : NULL;
	struct span block;
	size_t table;

	if (!last || (size_t)last->units * SIGNATURE_UNIT >= BLOCK_SMALL || last->n + d->n > MESSAGES_MAX)
		return false;
	if (!load(f, f->n - 1)) {
		cut(f, f->n - 1);
		return false;
	}
	block = buf_span(&f->block);
	table = (size_t)last->n * ENTRY;
	buf_put(&both->table, span_sub(block, BLOCK_HEAD, table));
	buf_put(&both->bits, span_from(block, BLOCK_HEAD + table));
	both->n = last->n;
	both->lo = last->lo;
	for (uint32_t i = 0; i < d->n; i++) {
		buf_put(&both->table, span_sub(buf_span(&d->table), (size_t)i * ENTRY, END_AT));
		buf_le32(&both->table, last->units + number_at(buf_span(&d->table), (size_t)i * ENTRY + END_AT));
	}
	buf_put(&both->bits, buf_span(&d->bits));
	both->n += d->n;
	both->hi = d->hi;
	return buf_ok(&both->table) && buf_ok(&both->bits);
}

static bool
write_block(struct searchfile *f, const struct searchfile_draft *d)
{
	struct searchfile_block b = {
		.at = f->end, .lo = d->lo, .hi = d->hi, .n = d->n, .units = (uint32_t)(buf_len(&d->bits) / SIGNATURE_UNIT),
	};
	struct buf block;
	uint32_t sum;
	bool ok;

	buf_init(&block, block_size(&b) + 4);
	buf_le32(&block, MARK);
	buf_le32(&block, b.n);
	buf_le32(&block, b.units);
	buf_le32(&block, b.lo);
	buf_le32(&block, b.hi);
	buf_le32(&block, 0);
	buf_put(&block, buf_span(&d->table));
	buf_put(&block, buf_span(&d->bits));
	ok = buf_ok(&block) && buf_len(&block) == block_size(&b);
	sum = ok ? checksum(buf_span(&block)) : 0;
	for (unsigned i = 0; ok && i < 4; i++)
		block.mem[block.at + CHECKSUM_AT + i] = (char)(sum >> (8 * i));
	ok = ok && vfs_write_all(f->vfs, f->fd, buf_span(&block).p, buf_len(&block), b.at) && note_block(f, &b);
	buf_free(&block);
	return ok;
}

bool
searchfile_append(struct searchfile *f, struct searchfile_draft *d)
{
	struct searchfile_draft both;
	bool ok = d->n > 0 && d->lo > searchfile_last(f);

	draft_init(&both);
	if (ok && merge_last(f, d, &both)) {
		cut(f, f->n - 1);
		ok = write_block(f, &both);
	} else {
		ok = ok && d->lo > searchfile_last(f) && write_block(f, d);
	}
	draft_free(&both);
	draft_free(d);
	return ok;
}

bool
searchfile_copy(struct searchfile *f, const char *name, uint32_t uidvalidity, const struct uidset *uids)
{
	struct searchfile to;
	struct searchfile_draft d;
	bool ok;

	searchfile_init(&to);
	draft_init(&d);
	(void)f->vfs->ops->unlink(f->vfs, name);
	ok = searchfile_open(&to, f->vfs, name, uidvalidity, VFS_CREATE);
	for (size_t i = 0; ok && i < f->n; i++) {
		ok = load(f, i);
		for (uint32_t k = 0; ok && k < f->blocks[i].n; k++) {
			uint32_t check;
			struct span signature = nth(f, k, &check);

			if (!uidset_has(uids, nth_uid(f, k)))
				continue;
			buf_put(&d.bits, signature);
			enter(&d, nth_uid(f, k), check);
			ok = buf_ok(&d.bits) && buf_ok(&d.table) && (!draft_full(&d) || searchfile_append(&to, &d));
		}
	}
	ok = ok && (d.n == 0 || searchfile_append(&to, &d));
	draft_free(&d);
	searchfile_close(&to);
	return ok;
}
