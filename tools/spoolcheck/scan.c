/* SPDX-License-Identifier: ISC */
#include "tools/spoolcheck/scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "sys/crc32c.h"

enum {
	SEGMENTS_MAX = 1 << 20,
	READ_CHUNK = 65536,
	SECTOR = 4096,
	MARKS = 16,  /* candidates for a lost mark */
	EFFORT = 64, /* a file is checksummed at most so often over while searching */
};

struct segment {
	uint32_t number;
	uint64_t seq, prev_seq, size;
	uint32_t mark, prev_end;
	size_t end;   /* where its records are known to end; 0: not known */
	bool guessed; /* nothing says where it stands in the order */
	bool no_file; /* there is only an index */
};

/* One segment under the eye. */
struct view {
	struct scan *s;
	const struct segment *g;
	char name[120];
	struct buf file, idx;
	struct span bytes;
	bool indexed;
	size_t index_end;
	uint32_t batch; /* of the last whole record */
	uint64_t effort;
	enum scan_pass pass;
	size_t from, to; /* of the index, for lost ranges */
	unsigned rescued;
};

size_t
scan_read(struct vfs *v, int fd, char *to, size_t n, uint64_t at, uint64_t *bad)
{
	int64_t size = v->ops->size(v, fd);
	size_t got = 0;

	if (size < 0 || (uint64_t)size <= at)
		return 0;
	if (n > (uint64_t)size - at)
		n = (size_t)((uint64_t)size - at);
	while (got < n) {
		size_t part = n - got < READ_CHUNK ? n - got : READ_CHUNK;

		if (!vfs_read_all(v, fd, to + got, part, at + got))
			for (size_t k = 0; k < part; k += SECTOR) {
				size_t little = part - k < SECTOR ? part - k : SECTOR;

				if (vfs_read_all(v, fd, to + got + k, little, at + got + k))
					continue;
				memset(to + got + k, 0, little);
				if (bad)
					*bad += little;
			}
		got += part;
	}
	return n;
}

static void
damage(struct view *v, uint64_t at, uint64_t n, const char *what)
{
	if (v->pass != SCAN_AFTER)
		v->s->on_damage(v->s->arg, v->name, at, n, what);
}

static bool
load_file(struct view *v, const char *ext, struct buf *into)
{
	struct vfs *vfs = v->s->vfs;
	uint64_t bad = 0;
	int64_t size;
	char *p;
	int fd;

	(void)snprintf(v->name, sizeof(v->name), "%s/%08" PRIx32 ".%s", v->s->dir, v->g->number, ext);
	fd = vfs->ops->open(vfs, v->name, VFS_READ);
	if (fd < 0)
		return false;
	size = vfs->ops->size(vfs, fd);
	if (size > SEGMENT_SIZE_MAX)
		size = SEGMENT_SIZE_MAX;
	p = size > 0 ? buf_room(into, (size_t)size) : NULL;
	if (p)
		buf_added(into, scan_read(vfs, fd, p, (size_t)size, 0, &bad));
	(void)vfs->ops->close(vfs, fd);
	if (bad)
		damage(v, 0, bad, "bytes that the disk does not give back");
	return p != NULL;
}

/* ---- records ---- */

static void
give(struct view *v, struct journal_record *r, size_t at, bool sound)
{
	struct scan_record out = { .file = v->name, .number = v->g->number, .body_at = at + SEGMENT_RECORD + r->head.n, .sound = sound,
		.pass = v->pass };

	r->pos = segment_pos(v->g->seq, at);
	out.r = *r;
	v->s->on_record(v->s->arg, &out);
}

struct frame {
	uint32_t crc, mark, head, body, type, batch;
	size_t size;
};

static bool
frame_at(const struct view *v, size_t at, struct frame *f)
{
	struct cursor c = cursor_of(span_sub(v->bytes, at, SEGMENT_RECORD));

	*f = (struct frame){ .crc = cursor_le32(&c), .mark = cursor_le32(&c), .head = cursor_le32(&c), .body = cursor_le32(&c),
		.type = cursor_le32(&c), .batch = cursor_le32(&c) };
	f->size = segment_record_size(f->head, f->body);
	return c.ok && f->head <= JOURNAL_RECORD_MAX && f->body <= JOURNAL_RECORD_MAX && f->type > 0 && f->type <= JOURNAL_TYPE_MAX;
}

/* This segment's mark, or what a damaged byte made of it; those of former uses differ everywhere. */
static bool
is_mark(const struct view *v, uint32_t found)
{
	return __builtin_popcount(found ^ v->g->mark) <= 8;
}

static void
put32(char *p, uint32_t v)
{
	for (int i = 0; i < 4; i++, v >>= 8)
		p[i] = (char)(v & 0xff);
}

/* The index has the head as it was: with it the rest may be shown to be as it was. */
static bool
mended(const struct view *v, const struct journal_record *r, size_t at, uint32_t batch)
{
	struct frame f = { .crc = 0 };
	char rest[SEGMENT_RECORD - 4];

	(void)frame_at(v, at, &f);
	put32(rest, v->g->mark);
	put32(rest + 4, (uint32_t)r->head.n);
	put32(rest + 8, r->body_size);
	put32(rest + 12, r->type);
	put32(rest + 16, batch);
	return r->body.n == r->body_size && crc32c(crc32c(crc32c(0, span_of(rest, sizeof(rest))), r->head), r->body) == f.crc;
}

/* A record of the index that stands in a damaged range. */
static bool
on_indexed(void *arg, const struct journal_record *found)
{
	struct view *v = arg;
	struct journal_record r = *found;
	size_t at = segment_offset(r.pos);
	struct frame f = { .batch = 0 };

	if (at < v->from || at >= v->to)
		return true;
	(void)frame_at(v, at, &f);
	r.body = span_sub(v->bytes, at + SEGMENT_RECORD + r.head.n, r.body_size);
	v->rescued++;
	/* Without a body all there is of it is known. */
	give(v, &r, at, r.body_size == 0 || mended(v, &r, at, f.batch) || mended(v, &r, at, v->batch));
	return true;
}

/* Without an index: a broken record whose frame fits is taken for what it says. */
static void
take_frames(struct view *v, size_t at, size_t to)
{
	struct journal_record r;
	struct frame f;

	while (at < to && frame_at(v, at, &f) && is_mark(v, f.mark) && at + f.size <= to) {
		r = (struct journal_record){ .type = (uint16_t)f.type, .body_size = f.body };
		r.head = span_sub(v->bytes, at + SEGMENT_RECORD, f.head);
		r.body = span_sub(v->bytes, at + SEGMENT_RECORD + f.head, f.body);
		v->rescued++;
		give(v, &r, at, false);
		at += f.size;
	}
}

static void
lost_range(struct view *v, size_t at, size_t to, const char *what)
{
	uint32_t end;
	bool complete;

	v->rescued = 0;
	v->from = at;
	v->to = to;
	if (v->indexed)
		(void)segment_index_walk(buf_span(&v->idx), v->g->seq, v->g->mark, &end, on_indexed, v, &complete);
	else
		take_frames(v, at, to);
	damage(v, at, to - at, v->rescued ? what : "bytes are damaged, what stood there is lost");
}

/* ---- a segment ---- */

static size_t
next_whole(struct view *v, size_t at)
{
	struct journal_record r;
	uint32_t batch;
	struct frame f;
	size_t size;

	for (at += 8; at + SEGMENT_RECORD <= v->bytes.n && v->effort < (uint64_t)EFFORT * SEGMENT_SIZE_MAX; at += 8) {
		if (!frame_at(v, at, &f) || f.mark != v->g->mark)
			continue;
		v->effort += f.size;
		if (segment_get(span_from(v->bytes, at), v->g->mark, &r, &batch, &size))
			return at;
	}
	return SIZE_MAX;
}

static void
see_end(struct view *v, size_t at)
{
	size_t end = v->g->end ? v->g->end : v->indexed ? v->index_end : 0;
	struct frame f;

	if (at < end) {
		lost_range(v, at, end, at < v->bytes.n ? "bytes are damaged" : "bytes are missing, the file is cut short");
	} else if (!end && at + SEGMENT_RECORD <= v->bytes.n) {
		bool whole = frame_at(v, at, &f);

		if (is_mark(v, f.mark))
			lost_range(v, at, at + (whole ? f.size : SEGMENT_RECORD), "bytes are a last record that is torn or damaged");
	}
}

static void
see_records(struct view *v)
{
	size_t at = SEGMENT_HEADER, size;
	struct journal_record r;

	if (v->g->end && v->g->end < v->bytes.n)
		v->bytes.n = v->g->end;
	while (at + SEGMENT_RECORD <= v->bytes.n) {
		if (segment_get(span_from(v->bytes, at), v->g->mark, &r, &v->batch, &size)) {
			give(v, &r, at, true);
			at += size;
			continue;
		}
		size = next_whole(v, at);
		if (size == SIZE_MAX)
			break;
		lost_range(v, at, size, "bytes are damaged");
		at = size;
	}
	see_end(v, at);
}

static void
see_segment(struct scan *s, const struct segment *g, enum scan_pass pass)
{
	struct view v = { .s = s, .g = g, .pass = pass };
	bool complete;
	uint32_t end;

	buf_init(&v.file, SEGMENT_SIZE_MAX);
	buf_init(&v.idx, SEGMENT_SIZE_MAX);
	v.indexed = load_file(&v, "idx", &v.idx);
	if (v.indexed) {
		v.from = v.to = 0;
		v.indexed = segment_index_walk(buf_span(&v.idx), g->seq, g->mark, &end, on_indexed, &v, &complete);
		v.index_end = v.indexed ? end : 0;
	}
	(void)load_file(&v, "seg", &v.file);
	v.bytes = buf_span(&v.file);
	if (g->no_file)
		lost_range(&v, 0, v.index_end, "bytes are missing, but the heads of its records stand in its index");
	else
		see_records(&v);
	if (pass != SCAN_AFTER) {
		s->done += g->size;
		if (s->on_progress)
			s->on_progress(s->arg, s->done, s->total);
	}
	buf_free(&v.file);
	buf_free(&v.idx);
}

/* ---- which there are ---- */

struct listing {
	struct scan *s;
	struct segment *all;
	size_t n;
	bool ok;
};

static bool
on_name(void *arg, const char *name)
{
	struct listing *l = arg;
	bool index = strlen(name) == 12 && strcmp(name + 8, ".idx") == 0;
	unsigned long number;
	struct segment *g;
	char *end;

	if (!index && (strlen(name) != 12 || strcmp(name + 8, ".seg") != 0))
		return true;
	number = strtoul(name, &end, 16);
	if (end != name + 8 || number >= UINT32_MAX || l->n >= SEGMENTS_MAX)
		return true;
	g = realloc(l->all, (l->n + 1) * sizeof(*g));
	if (!g)
		return l->ok = false;
	l->all = g;
	l->all[l->n++] = (struct segment){ .number = (uint32_t)number, .no_file = index };
	return true;
}

/* Sequence number and mark from an index; whether it is whole shows later. */
static bool
learn_from_index(struct view *v, struct segment *g)
{
	struct cursor c;
	bool complete, ok = load_file(v, "idx", &v->idx);
	uint32_t end;

	c = cursor_of(buf_span(&v->idx));
	(void)cursor_bytes(&c, 12);
	g->mark = cursor_le32(&c);
	g->seq = cursor_le64(&c);
	v->from = v->to = 0;
	return ok && c.ok && segment_index_walk(buf_span(&v->idx), g->seq, g->mark, &end, on_indexed, v, &complete);
}

/* The mark that most of the file's records agree on; 0: there are none. */
static uint32_t
guess_mark(struct view *v)
{
	struct {
		uint32_t mark;
		uint64_t bytes;
	} seen[MARKS] = { { 0, 0 } };
	struct journal_record r;
	size_t size, best = 0;
	uint32_t batch;
	struct frame f;

	for (size_t at = SEGMENT_HEADER; at + SEGMENT_RECORD <= v->bytes.n && v->effort < (uint64_t)EFFORT * SEGMENT_SIZE_MAX;) {
		size_t i = 0;

		if (!frame_at(v, at, &f) || !(f.mark & 1) || at + f.size > v->bytes.n) {
			at += 8;
			continue;
		}
		v->effort += f.size;
		if (!segment_get(span_from(v->bytes, at), f.mark, &r, &batch, &size)) {
			at += 8;
			continue;
		}
		while (i < MARKS && seen[i].bytes && seen[i].mark != f.mark)
			i++;
		if (i < MARKS) {
			seen[i].mark = f.mark;
			seen[i].bytes += size;
			if (seen[i].bytes > seen[best].bytes)
				best = i;
		}
		at += size; /* what a message's content looks like is not looked at */
	}
	return seen[best].bytes ? seen[best].mark : 0;
}

/* A segment whose header does not say what it is. */
static bool
learn_otherwise(struct scan *s, struct segment *g, bool blank)
{
	struct view v = { .s = s, .g = g };
	bool found;

	buf_init(&v.file, SEGMENT_SIZE_MAX);
	buf_init(&v.idx, SEGMENT_SIZE_MAX);
	found = learn_from_index(&v, g);
	if (!found) {
		g->seq = 0;
		(void)load_file(&v, "seg", &v.file);
		v.bytes = buf_span(&v.file);
		g->mark = guess_mark(&v);
		found = g->mark != 0;
	}
	if (!blank || found)
		damage(&v, 0, SEGMENT_HEADER, !found ? "bytes of header are damaged, and no record is found"
		    : g->seq ? "bytes of header are damaged, its index tells what they said" : "bytes of header are damaged, the records behind it are read");
	buf_free(&v.file);
	buf_free(&v.idx);
	return found;
}

/* False: it has no records of ours. */
static bool
learn(struct scan *s, struct segment *g)
{
	char block[SEGMENT_HEADER], name[120];
	struct segment_header h;
	enum segment_state state;
	int64_t size = -1;
	int fd;

	(void)snprintf(name, sizeof(name), "%s/%08" PRIx32 ".seg", s->dir, g->number);
	fd = s->vfs->ops->open(s->vfs, name, VFS_READ);
	memset(block, 0, sizeof(block));
	if (fd >= 0) {
		size = s->vfs->ops->size(s->vfs, fd);
		(void)scan_read(s->vfs, fd, block, sizeof(block), 0, NULL);
		(void)s->vfs->ops->close(s->vfs, fd);
	} else {
		s->on_damage(s->arg, name, 0, 0, "cannot be opened");
		return false;
	}
	g->size = size < 0 ? 0 : (uint64_t)size;
	state = segment_header_get(block, s->kind, &h);
	if (state == SEGMENT_USED) {
		g->seq = h.seq;
		g->mark = h.mark;
		g->prev_seq = h.prev_seq;
		g->prev_end = h.prev_end;
		return true;
	}
	if (state == SEGMENT_NEWER || state == SEGMENT_OTHER_KIND)
		s->on_damage(s->arg, name, 0, 0, state == SEGMENT_NEWER ? "a newer version wrote it" : "it belongs to another journal");
	return (state == SEGMENT_BLANK || state == SEGMENT_DAMAGED) && learn_otherwise(s, g, state == SEGMENT_BLANK);
}

static int
by_number(const void *a, const void *b)
{
	const struct segment *x = a, *y = b;

	return x->number != y->number ? (x->number < y->number ? -1 : 1) : (int)x->no_file - (int)y->no_file;
}

static int
by_seq(const void *a, const void *b)
{
	const struct segment *x = a, *y = b;

	return x->seq != y->seq ? (x->seq < y->seq ? -1 : 1) : by_number(a, b);
}

/* Keeps what has records, and indexes whose segment is missing. */
static void
sort_out(struct scan *s, struct listing *l)
{
	size_t kept = 0;

	if (l->n)
		qsort(l->all, l->n, sizeof(*l->all), by_number);
	for (size_t i = 0; i < l->n; i++) {
		struct segment g = l->all[i];
		bool lone = g.no_file && (i == 0 || l->all[i - 1].number != g.number);
		struct view v = { .s = s, .g = &g };

		buf_init(&v.idx, SEGMENT_SIZE_MAX);
		if (g.no_file ? lone && learn_from_index(&v, &g) : learn(s, &g))
			l->all[kept++] = g;
		buf_free(&v.idx);
		if (!g.no_file && i + 1 < l->n && l->all[i + 1].number == g.number)
			i++; /* its index */
	}
	l->n = kept;
	if (l->n)
		qsort(l->all, l->n, sizeof(*l->all), by_seq);
	for (size_t i = 0; i < l->n; i++)
		s->total += l->all[i].size;
}

static void
link_up(struct scan *s, struct listing *l)
{
	struct segment *before = NULL;

	for (size_t i = 0; i < l->n; i++) {
		struct segment *g = &l->all[i];

		if (!g->seq)
			continue;
		if (before && before->seq == g->prev_seq)
			before->end = g->prev_end;
		if (before && g->seq > before->seq + 1)
			s->gaps += (unsigned)(g->seq - before->seq - 1);
		before = g;
	}
}

bool
scan_run(struct scan *s, struct fail *why)
{
	struct listing l = { .s = s, .ok = true };
	uint64_t invented;

	s->done = s->total = 0;
	if (s->vfs->ops->list(s->vfs, s->dir, on_name, &l) < 0 || !l.ok) {
		free(l.all);
		return fail_errno(why, 0, "cannot read directory %s", s->dir);
	}
	sort_out(s, &l);
	link_up(s, &l);
	s->segments = (unsigned)l.n;
	/* Positions are to differ even where the sequence number is lost. */
	invented = l.n ? l.all[l.n - 1].seq : 0;
	for (size_t i = 0; i < l.n; i++)
		if (!l.all[i].seq) {
			l.all[i].seq = ++invented;
			l.all[i].guessed = true;
			see_segment(s, &l.all[i], SCAN_BEFORE);
		}
	for (size_t i = 0; i < l.n; i++)
		if (!l.all[i].guessed)
			see_segment(s, &l.all[i], SCAN_ONCE);
	for (size_t i = 0; i < l.n; i++)
		if (l.all[i].guessed)
			see_segment(s, &l.all[i], SCAN_AFTER);
	free(l.all);
	return true;
}
