/* SPDX-License-Identifier: ISC */
#include "store/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "sys/crc32c.h"

enum {
	SNAPSHOT_VERSION = 1,
	SNAPSHOT_HEAD = 160, /* octets; the arrays begin here, aligned */
	CHECKED_NAMES = 1 << 20, /* a larger name pool is not read at open: its use is bounded anyway */
};

/* Tells machines apart whose structs differ. */
static const uint32_t byte_order = 0x01020304;

struct head {
	uint64_t upto, modseq, vanished_floor, stamp_new, stamp_cur;
	uint32_t uidvalidity, uidnext, recent_from, n, ndoomed, nvanished, keywords, names;
	uint32_t body_crc, names_crc;
	uint64_t objectid; /* 0 as older releases wrote it */
};

static void
put_head(struct buf *out, const struct head *h)
{
	buf_put(out, SPAN("PPINDEX\n"));
	buf_le32(out, SNAPSHOT_VERSION);
	buf_put(out, span_of(&byte_order, sizeof(byte_order)));
	buf_le64(out, h->upto);
	buf_le64(out, h->modseq);
	buf_le64(out, h->vanished_floor);
	buf_le64(out, h->stamp_new);
	buf_le64(out, h->stamp_cur);
	buf_le32(out, h->uidvalidity);
	buf_le32(out, h->uidnext);
	buf_le32(out, h->recent_from);
	buf_le32(out, h->n);
	buf_le32(out, h->ndoomed);
	buf_le32(out, h->nvanished);
	buf_le32(out, h->keywords);
	buf_le32(out, h->names);
	buf_le32(out, h->body_crc);
	buf_le32(out, h->names_crc);
	buf_le64(out, h->objectid);
	while (buf_len(out) < SNAPSHOT_HEAD - 4)
		buf_putc(out, '\0');
	buf_le32(out, crc32c(0, buf_span(out)));
}

static bool
take_head(struct span file, struct head *h)
{
	struct cursor c = cursor_of(span_sub(file, 0, SNAPSHOT_HEAD));
	uint32_t order;

	if (file.n < SNAPSHOT_HEAD || !span_eq(cursor_bytes(&c, 8), SPAN("PPINDEX\n")) || cursor_le32(&c) != SNAPSHOT_VERSION)
		return false;
	memcpy(&order, cursor_bytes(&c, 4).p, 4);
	if (order != byte_order)
		return false;
	h->upto = cursor_le64(&c);
	h->modseq = cursor_le64(&c);
	h->vanished_floor = cursor_le64(&c);
	h->stamp_new = cursor_le64(&c);
	h->stamp_cur = cursor_le64(&c);
	h->uidvalidity = cursor_le32(&c);
	h->uidnext = cursor_le32(&c);
	h->recent_from = cursor_le32(&c);
	h->n = cursor_le32(&c);
	h->ndoomed = cursor_le32(&c);
	h->nvanished = cursor_le32(&c);
	h->keywords = cursor_le32(&c);
	h->names = cursor_le32(&c);
	h->body_crc = cursor_le32(&c);
	h->names_crc = cursor_le32(&c);
	h->objectid = cursor_le64(&c);
	c.at = SNAPSHOT_HEAD - 4;
	return cursor_le32(&c) == crc32c(0, span_sub(file, 0, SNAPSHOT_HEAD - 4));
}

static void
put_keywords(const struct index *ix, struct buf *out)
{
	for (unsigned i = 0; i < MAILBOX_KEYWORDS_MAX; i++) {
		struct span name = span_str(ix->keywords[i]);

		if (!name.n)
			continue;
		buf_putc(out, (char)i);
		buf_putc(out, (char)name.n);
		buf_put(out, name);
	}
}

bool
snapshot_parts(const struct index *ix, uint64_t upto, struct snapshot_parts *out)
{
	struct head h = {
		.upto = upto,
		.modseq = ix->modseq,
		.vanished_floor = ix->vanished_floor,
		.stamp_new = ix->stamp_new,
		.stamp_cur = ix->stamp_cur,
		.uidvalidity = ix->uidvalidity,
		.uidnext = ix->uidnext,
		.recent_from = ix->recent_from,
		.n = (uint32_t)ix->n,
		.objectid = ix->objectid,
		.ndoomed = (uint32_t)ix->ndoomed,
		.nvanished = (uint32_t)ix->nvanished,
		.names = (uint32_t)(ix->map_names.n + buf_len(&ix->names)),
	};
	enum { HEAD, MESSAGES, DOOMED, VANISHED, KEYWORDS, MAP_NAMES, NAMES };
	struct span *part = out->part;

	buf_init(&out->head, SNAPSHOT_HEAD);
	buf_init(&out->keywords, SIZE_MAX / 2);
	put_keywords(ix, &out->keywords);
	part[MESSAGES] = span_of(ix->messages, ix->n * sizeof(*ix->messages));
	part[DOOMED] = span_of(ix->doomed, ix->ndoomed * sizeof(*ix->doomed));
	part[VANISHED] = span_of(ix->vanished, ix->nvanished * sizeof(*ix->vanished));
	part[KEYWORDS] = buf_span(&out->keywords);
	part[MAP_NAMES] = ix->map_names;
	part[NAMES] = buf_span(&ix->names);
	h.keywords = (uint32_t)part[KEYWORDS].n;
	out->size = SNAPSHOT_HEAD;
	for (size_t i = MESSAGES; i <= NAMES; i++) {
		uint32_t *crc = i <= KEYWORDS ? &h.body_crc : &h.names_crc;

		*crc = crc32c(*crc, part[i]);
		out->size += part[i].n;
	}
	put_head(&out->head, &h);
	part[HEAD] = buf_span(&out->head);
	return buf_ok(&out->head) && buf_ok(&out->keywords);
}

void
snapshot_parts_free(struct snapshot_parts *p)
{
	buf_free(&p->head);
	buf_free(&p->keywords);
}

bool
snapshot_encode(const struct index *ix, uint64_t upto, struct buf *out)
{
	struct snapshot_parts parts;
	bool ok = snapshot_parts(ix, upto, &parts);

	(void)buf_room(out, parts.size); /* once: a large folder's is ten megabytes and more */
	for (size_t i = 0; ok && i < SNAPSHOT_PARTS; i++)
		buf_put(out, parts.part[i]);
	snapshot_parts_free(&parts);
	return ok && buf_ok(out);
}

static bool
sound_message(const struct message *m, const struct head *h)
{
	return m->uid > 0 && m->uid < h->uidnext && m->name_len > 0 && m->flags <= 31 &&
	    (uint64_t)m->name + m->name_len + m->odd_len + ((m->bits & MESSAGE_UIDL) ? 1 : 0) <= h->names;
}

/* Checks every message and counts on the way. */
static bool
check_messages(struct index *ix, const struct head *h)
{
	uint32_t last = 0;

	for (size_t i = 0; i < ix->n; i++) {
		const struct message *m = &ix->messages[i];

		if (!sound_message(m, h) || m->uid <= last)
			return false;
		last = m->uid;
		ix->unseen += !(m->flags & FLAG_SEEN);
		ix->deleted += (m->flags & FLAG_DELETED) != 0;
		ix->total += m->size;
	}
	for (size_t i = 0; i < ix->ndoomed; i++)
		if (!sound_message(&ix->doomed[i], h))
			return false;
	return true;
}

static bool
take_keywords(struct index *ix, struct span text)
{
	struct cursor c = cursor_of(text);

	while (!cursor_end(&c)) {
		union record r = { .keyword.bit = cursor_u8(&c) };
		uint8_t n = cursor_u8(&c);

		r.keyword.name = cursor_bytes(&c, n);
		if (!c.ok || r.keyword.bit >= MAILBOX_KEYWORDS_MAX || n > MAILBOX_KEYWORD_LEN ||
		    !index_apply(ix, RECORD_keyword, &r))
			return false;
	}
	return true;
}

static bool
dup_array(void *to, const char *from, size_t n, size_t each)
{
	void *copy = NULL;

	if (n && !(copy = malloc(n * each)))
		return false;
	if (n)
		memcpy(copy, from, n * each);
	memcpy(to, &copy, sizeof(copy));
	return true;
}

bool
snapshot_load(struct index *ix, char *file, size_t size, uint64_t *upto)
{
	struct head h;
	uint64_t messages, doomed, vanished, body;
	char *at = file + SNAPSHOT_HEAD;

	if (!take_head(span_of(file, size), &h))
		return false;
	messages = (uint64_t)h.n * sizeof(*ix->messages);
	doomed = (uint64_t)h.ndoomed * sizeof(*ix->doomed);
	vanished = (uint64_t)h.nvanished * sizeof(*ix->vanished);
	body = messages + doomed + vanished + h.keywords;
	if (body + h.names != size - SNAPSHOT_HEAD || !h.uidvalidity || !h.uidnext || h.n > INDEX_MESSAGES_MAX ||
	    h.nvanished > INDEX_VANISHED_MAX || h.names > INDEX_POOL_MAX)
		return false;
	if (crc32c(0, span_of(at, body)) != h.body_crc ||
	    (h.names <= CHECKED_NAMES && crc32c(0, span_of(at + body, h.names)) != h.names_crc))
		return false;
	if (!dup_array(&ix->doomed, at + messages, h.ndoomed, sizeof(*ix->doomed)) ||
	    !dup_array(&ix->vanished, at + messages + doomed, h.nvanished, sizeof(*ix->vanished))) {
		ix->failed = true;
		return false;
	}
	ix->ndoomed = ix->doomed_size = h.ndoomed;
	ix->nvanished = ix->vanished_size = h.nvanished;
	ix->messages = (struct message *)(void *)at;
	ix->n = h.n;
	ix->size = 0;
	ix->map_names = span_of(at + body, h.names);
	ix->uidvalidity = h.uidvalidity;
	ix->uidnext = h.uidnext;
	ix->recent_from = h.recent_from;
	ix->modseq = h.modseq;
	ix->objectid = h.objectid;
	ix->vanished_floor = h.vanished_floor;
	ix->stamp_new = h.stamp_new;
	ix->stamp_cur = h.stamp_cur;
	*upto = h.upto;
	return check_messages(ix, &h) && take_keywords(ix, span_of(at + messages + doomed + vanished, h.keywords));
}
