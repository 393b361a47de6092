/* SPDX-License-Identifier: ISC */
#include "journal/segment.h"

#include <stddef.h>
#include <string.h>

#include "base/cursor.h"
#include "desc/desc.h"
#include "sys/crc32c.h"

/* name, kind, bound, meaning */
#define HEADER_FIELDS(X)                                                      \
	X(magic, BYTES, 4, "PPJn")                                            \
	X(kind, BYTES, 4, "whose journal")                                    \
	X(version, U16, 0, "format")                                          \
	X(used, BOOL, 0, "holds records")                                     \
	X(seq, U64, 0, "order of segments")                                   \
	X(stamp, U64, 0, "the journal's sync count when this was written")    \
	X(mark, U32, 0, "stands in every record")                             \
	X(prev_seq, U64, 0, "the segment before")                             \
	X(prev_end, U32, 0, "where its valid records end")

static const struct desc_field header_fields[] = {
#define X(name, kind, bound, meaning) { #name, DESC_##kind, bound, offsetof(struct segment_header, name), meaning },
	HEADER_FIELDS(X)
#undef X
};
static const struct desc header_desc = { "segment_header", header_fields, sizeof(header_fields) / sizeof(*header_fields),
	sizeof(struct segment_header), "head of a journal segment" };

static const struct span magic = SPAN_INIT("PPJn");
static const struct span index_magic = SPAN_INIT("PPJx");
static const char zeros[8];

void
segment_header_put(struct segment_header *h, const char kind[4], char *block)
{
	char room[256]; /* not the heap's: a header that found no memory would be a blank one, and all behind it lost */
	struct buf b = { .mem = room, .size = sizeof(room), .cap = sizeof(room) };
	struct span body;
	uint32_t crc;

	h->magic = magic;
	h->kind = span_of(kind, 4);
	h->version = JOURNAL_VERSION;
	(void)desc_encode(&header_desc, h, &b); /* it fits */
	body = buf_span(&b);
	crc = crc32c(0, body);
	memset(block, 0, SEGMENT_HEADER);
	for (size_t copy = 0; copy < SEGMENT_HEADER; copy += SEGMENT_COPY) {
		uint16_t n = (uint16_t)body.n;

		memcpy(block + copy, &crc, 4);
		memcpy(block + copy + 4, &n, 2);
		memcpy(block + copy + 6, body.p, body.n);
	}
}

static bool
header_copy(const char *at, struct segment_header *h)
{
	struct cursor c = cursor_of(span_of(at, SEGMENT_COPY));
	uint32_t crc = cursor_le32(&c);
	uint16_t n = cursor_le16(&c);
	struct span body = cursor_bytes(&c, n);

	return c.ok && n > 0 && crc32c(0, body) == crc && desc_decode(&header_desc, body, h, NULL) && span_eq(h->magic, magic);
}

enum segment_state
segment_header_get(const char *block, const char kind[4], struct segment_header *h)
{
	struct segment_header other;
	bool first = header_copy(block, h), second = header_copy(block + SEGMENT_COPY, &other);
	size_t i = 0;

	if (second && (!first || other.stamp > h->stamp))
		*h = other;
	if (!first && !second) {
		while (i < SEGMENT_HEADER && block[i] == 0)
			i++;
		return i == SEGMENT_HEADER ? SEGMENT_BLANK : SEGMENT_DAMAGED;
	}
	if (h->version > JOURNAL_VERSION)
		return SEGMENT_NEWER;
	if (!span_eq(h->kind, span_of(kind, 4)))
		return SEGMENT_OTHER_KIND;
	return h->used ? SEGMENT_USED : SEGMENT_FREE;
}

static void
put32(char *p, uint32_t v)
{
	for (int i = 0; i < 4; i++, v >>= 8)
		p[i] = (char)(v & 0xff);
}

size_t
segment_head_size(const struct journal_record *r)
{
	return r->desc ? desc_size(r->desc, r->from) : r->head.n;
}

bool
segment_put(struct buf *out, uint32_t mark, uint32_t batch, const struct journal_record *r, size_t head)
{
	size_t at = buf_len(out), used = SEGMENT_RECORD + head + r->body.n;
	char *p = buf_room(out, segment_record_size(head, r->body.n));

	if (!p)
		return false;
	put32(p + 4, mark);
	put32(p + 8, (uint32_t)head);
	put32(p + 12, (uint32_t)r->body.n);
	put32(p + 16, r->type);
	put32(p + 20, batch);
	buf_added(out, SEGMENT_RECORD);
	if (!r->desc)
		buf_put(out, r->head);
	else if (!desc_encode(r->desc, r->from, out)) {
		buf_cut(out, at);
		return false;
	}
	buf_put(out, r->body);
	buf_put(out, span_of(zeros, -used & 7));
	put32(p, crc32c(0, span_of(p + 4, used - 4)));
	return true;
}

bool
segment_get(struct span s, uint32_t mark, struct journal_record *r, uint32_t *batch, size_t *size)
{
	struct cursor c = cursor_of(s);
	uint32_t crc = cursor_le32(&c), found = cursor_le32(&c), head = cursor_le32(&c), body = cursor_le32(&c);
	uint32_t type = cursor_le32(&c);

	*batch = cursor_le32(&c);
	if (!c.ok || found != mark || head > JOURNAL_RECORD_MAX || body > JOURNAL_RECORD_MAX || type > UINT16_MAX)
		return false;
	*r = (struct journal_record){ .type = (uint16_t)type, .body_size = body };
	r->head = cursor_bytes(&c, head);
	r->body = cursor_bytes(&c, body);
	*size = segment_record_size(head, body);
	return c.ok && *size <= s.n && crc32c(0, span_of(s.p + 4, c.at - 4)) == crc;
}

/* The next place behind `at` where a whole record stands; the end if none. */
static size_t
next_record(const struct segment_walk *w, size_t at, uint32_t *batch)
{
	char want[4];
	struct journal_record r;
	size_t size;

	put32(want, w->mark);
	for (at += 8; at + SEGMENT_RECORD <= w->file.n; at += 8)
		if (memcmp(w->file.p + at + 4, want, 4) == 0 &&
		    segment_get(span_from(w->file, at), w->mark, &r, batch, &size))
			return at;
	return w->file.n;
}

/* The greatest batch of any whole record from `at` on. */
static uint32_t
greatest_batch(const struct segment_walk *w, size_t at)
{
	uint32_t greatest = 0, batch = 0;
	struct journal_record r;
	size_t size;

	while (at + SEGMENT_RECORD <= w->file.n) {
		if (!segment_get(span_from(w->file, at), w->mark, &r, &batch, &size)) {
			at = next_record(w, at, &batch);
			continue;
		}
		if (batch > greatest)
			greatest = batch;
		at += size;
	}
	return greatest;
}

/* The batch a broken record says it belongs to; the greatest if it is not even that. */
static uint32_t
claimed_batch(const struct segment_walk *w, size_t at)
{
	struct cursor c = cursor_of(span_sub(w->file, at + 4, SEGMENT_RECORD - 4));
	uint32_t mark = cursor_le32(&c);

	(void)cursor_bytes(&c, 12);
	return mark == w->mark ? cursor_le32(&c) : UINT32_MAX;
}

/* At a broken place: where to go on, or SIZE_MAX if the records end here.
 * before: the batch of the last whole record. */
static size_t
step_over(const struct segment_walk *w, size_t at, uint32_t before, uint32_t *torn_batch)
{
	uint32_t batch = 0, claimed = claimed_batch(w, at);
	size_t next = next_record(w, at, &batch);

	if (next >= w->file.n)
		return SIZE_MAX;
	if (w->end == 0 && w->last) {
		if (*torn_batch == UINT32_MAX)
			*torn_batch = greatest_batch(w, next);
		/* What follows was never reported durable, unless the broken record itself says it is older:
		 * believed only where it fits, for its own header may be torn. */
		if (batch == *torn_batch && (claimed >= *torn_batch || claimed < before))
			return SIZE_MAX;
	}
	return next;
}

size_t
segment_walk(const struct segment_walk *given, bool *complete)
{
	struct segment_walk w = *given;
	size_t at = SEGMENT_HEADER, size = 0;
	uint32_t batch, before = 0, torn_batch = UINT32_MAX;
	struct journal_record r;

	if (complete)
		*complete = true;
	if (w.end && w.end < w.file.n)
		w.file.n = w.end;
	while (at + SEGMENT_RECORD <= w.file.n) {
		if (segment_get(span_from(w.file, at), w.mark, &r, &batch, &size)) {
			r.pos = segment_pos(w.seq, at);
			if (!w.on_record(w.arg, &r, batch)) {
				if (complete)
					*complete = false;
				return at;
			}
			before = batch;
			at += size;
			continue;
		}
		size = step_over(&w, at, before, &torn_batch);
		if (size == SIZE_MAX) {
			if (w.end && at < w.end)
				w.on_damage(w.arg, at, w.end - at);
			return w.end ? w.end : at;
		}
		w.on_damage(w.arg, at, size - at);
		at = size;
	}
	return w.end ? w.end : at;
}

/* An entry: offset / 8 u32 | type u16 | 0 u16 | head size u32 | body size u32 | head | zeros to 8
 * Until it is sealed, LEFT_OUT instead of the second 0 where head and zeros are not there: what is
 * long is not to be kept twice, nor copied while others wait. */
enum { LEFT_OUT = 1, LONG_HEAD = 64 * 1024 };

void
segment_index_add(struct buf *index, size_t at, const struct journal_record *r)
{
	bool out = r->head.n > LONG_HEAD;

	buf_le32(index, (uint32_t)(at >> 3));
	buf_le16(index, r->type);
	buf_le16(index, out ? LEFT_OUT : 0);
	buf_le32(index, (uint32_t)r->head.n);
	buf_le32(index, r->body.n ? (uint32_t)r->body.n : r->body_size);
	if (out)
		return;
	buf_put(index, r->head);
	buf_put(index, span_of(zeros, -r->head.n & 7));
}

/* Entries as they stand in the file. */
static bool
put_entries(struct buf *out, struct span entries, bool (*read)(void *, size_t, char *, size_t), void *arg)
{
	struct cursor c = cursor_of(entries);

	while (c.ok && !cursor_end(&c)) {
		uint32_t at = cursor_le32(&c);
		uint16_t type = cursor_le16(&c), how = cursor_le16(&c);
		uint32_t head = cursor_le32(&c), body = cursor_le32(&c);
		char *to;

		buf_le32(out, at);
		buf_le16(out, type);
		buf_le16(out, 0);
		buf_le32(out, head);
		buf_le32(out, body);
		to = buf_room(out, head + 8);
		if (!to)
			return false;
		if (how == LEFT_OUT) {
			if (!read(arg, ((size_t)at << 3) + SEGMENT_RECORD, to, head))
				return false;
			buf_added(out, head);
			buf_put(out, span_of(zeros, -(size_t)head & 7));
		} else {
			buf_put(out, cursor_bytes(&c, head + (-head & 7)));
		}
	}
	return c.ok;
}

/* Its header: crc32c u32 | magic | version u16 | 0 u16 | mark u32 | seq u64 | end u32 | entries' bytes u32 */
bool
segment_index_seal(struct buf *out, struct span entries, uint64_t seq, uint32_t mark, uint32_t end,
    bool (*read)(void *, size_t, char *, size_t), void *arg)
{
	enum { SIZE_AT = 28, HEADER = 32 };
	size_t start = buf_len(out);
	struct span whole;

	buf_le32(out, 0);
	buf_put(out, index_magic);
	buf_le16(out, JOURNAL_VERSION);
	buf_le16(out, 0);
	buf_le32(out, mark);
	buf_le64(out, seq);
	buf_le32(out, end);
	buf_le32(out, 0);
	if (!put_entries(out, entries, read, arg) || !buf_ok(out))
		return false;
	whole = span_from(buf_span(out), start);
	put32(out->mem + out->at + start + SIZE_AT, (uint32_t)(whole.n - HEADER));
	put32(out->mem + out->at + start, crc32c(0, span_from(whole, 4)));
	return true;
}

bool
segment_index_walk(struct span file, uint64_t seq, uint32_t mark, uint32_t *end,
    bool (*on_record)(void *, const struct journal_record *), void *arg, bool *complete)
{
	struct cursor c = cursor_of(file);
	uint32_t crc = cursor_le32(&c);
	struct span found = cursor_bytes(&c, 4);
	uint32_t version = cursor_le32(&c), its_mark = cursor_le32(&c);
	uint64_t its_seq = cursor_le64(&c);
	uint32_t its_end = cursor_le32(&c), n = cursor_le32(&c);

	*complete = true;
	if (!c.ok || !span_eq(found, index_magic) || version != JOURNAL_VERSION || its_mark != mark || its_seq != seq ||
	    cursor_left(&c) < n || crc32c(0, span_sub(file, 4, c.at - 4 + n)) != crc)
		return false;
	c.in.n = c.at + n;
	while (c.ok && !cursor_end(&c)) {
		size_t at = (size_t)cursor_le32(&c) << 3;
		struct journal_record r = { .type = (uint16_t)cursor_le32(&c), .pos = segment_pos(seq, at) };
		uint32_t head = cursor_le32(&c);

		r.body_size = cursor_le32(&c);
		r.head = cursor_bytes(&c, head);
		(void)cursor_bytes(&c, -(size_t)head & 7);
		if (!c.ok || !(*complete = on_record(arg, &r)))
			break;
	}
	*end = its_end;
	return true;
}
