/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/content.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mail/downgrade.h"
#include "mail/status.h"

void
content_free(struct remote_content *c)
{
	free(c->bytes);
	if (c->fd >= 0)
		(void)close(c->fd);
	*c = (struct remote_content){ .fd = -1 };
}

/* A block from `at` on, in `block` if it has to be read; empty: unreadable. */
static struct span
block_at(const struct remote_content *c, uint64_t at, char block[CONTENT_BLOCK])
{
	size_t want = c->size - at < CONTENT_BLOCK ? (size_t)(c->size - at) : CONTENT_BLOCK;
	ssize_t got;

	if (at < c->head.n)
		return span_from(c->head, (size_t)at);
	at -= c->head.n;
	if (c->bytes)
		return span_of(c->bytes + at, want);
	do
		got = pread(c->fd, block, want, (off_t)(c->offset + at));
	while (got < 0 && errno == EINTR);
	return span_of(block, got > 0 ? (size_t)got : 0);
}

bool
content_is_8bit(const struct remote_content *c)
{
	char block[CONTENT_BLOCK];
	uint64_t at = 0;

	while (at < c->size) {
		struct span s = block_at(c, at, block);

		for (size_t i = 0; i < s.n; i++)
			if ((unsigned char)s.p[i] >= 0x80)
				return true;
		if (s.n == 0)
			return true; /* unknown: on the safe side */
		at += s.n;
	}
	return false;
}

/* All of it, into in. */
static bool
read_whole(const struct remote_content *c, struct buf *in)
{
	char block[CONTENT_BLOCK];

	for (uint64_t at = 0; at < c->size;) {
		struct span s = block_at(c, at, block);

		if (s.n == 0)
			return false;
		buf_put(in, s);
		at += s.n;
	}
	return buf_ok(in);
}

static bool
replace(struct remote_content *c, struct span by, struct fail *why)
{
	char *bytes = malloc(by.n ? by.n : 1);

	if (!bytes)
		return fail_errno(why, STATUS_SYSTEM_LOCAL_TEMP, "converting the message");
	if (by.n)
		memcpy(bytes, by.p, by.n);
	content_free(c);
	*c = (struct remote_content){ .bytes = bytes, .fd = -1, .size = by.n };
	return true;
}

bool
content_convert(struct remote_content *c, unsigned what, struct fail *why)
{
	struct buf in, out;
	struct arena arena;
	bool ok;

	if (c->size > CONTENT_CONVERT)
		return fail_set(why, FAIL_PERM, STATUS_CONVERSION_REQUIRED, "it is too large");
	buf_init(&in, CONTENT_CONVERT);
	buf_init(&out, (size_t)CONTENT_CONVERT * 4);
	arena_init(&arena, CONTENT_CONVERT);
	ok = read_whole(c, &in) || fail_set(why, FAIL_TEMP, STATUS_SYSTEM_LOCAL_TEMP, "the content cannot be read");
	ok = ok && downgrade(&out, buf_span(&in), what, &arena, why) && replace(c, buf_span(&out), why);
	buf_free(&in);
	buf_free(&out);
	arena_free(&arena);
	return ok;
}

void
content_writer_init(struct content_writer *w, const struct remote_content *c, bool raw)
{
	*w = (struct content_writer){ .content = c, .raw = raw };
	stuff_init(&w->stuff);
}

/* Out, with what dots it needs. */
static void
put_stuffed(struct content_writer *w, struct stream *to, struct span in)
{
	struct span run;

	while (stuff_next(&w->stuff, &in, &run))
		stream_put(to, run);
}

/* A block is read to where it goes out from, and moved only when it needs dots. 0: unreadable. */
static size_t
read_block(struct content_writer *w, struct stream *to)
{
	char block[CONTENT_BLOCK];
	struct buf *out = stream_out(to);
	char *room = buf_room(out, CONTENT_BLOCK);
	struct span in;

	if (!room)
		return 0;
	in = block_at(w->content, w->at, room);
	if (w->raw || stuff_plain(&w->stuff, in)) {
		buf_added(out, in.n);
		return in.n;
	}
	memcpy(block, in.p, in.n);
	put_stuffed(w, to, span_of(block, in.n));
	return in.n;
}

static size_t
copy_block(struct content_writer *w, struct stream *to)
{
	struct span in = block_at(w->content, w->at, NULL);

	if (w->raw)
		stream_put(to, in);
	else
		put_stuffed(w, to, in);
	return in.n;
}

enum content_written
content_write(struct content_writer *w, struct stream *to)
{
	size_t n;

	while (w->at < w->content->size) {
		if (stream_full(to))
			return CONTENT_BLOCKED;
		n = w->content->bytes || w->at < w->content->head.n ? copy_block(w, to) : read_block(w, to);
		if (n == 0)
			return CONTENT_UNREADABLE;
		w->at += n;
	}
	if (!w->raw)
		stream_put(to, stuff_tail(&w->stuff));
	return CONTENT_WRITTEN;
}
