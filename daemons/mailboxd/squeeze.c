/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/squeeze.h"

#include <stdlib.h>
#include <zlib.h>

enum {
	OUT_WINDOW = 12, /* 4 KiB: with MEMORY about 40 KiB a session */
	MEMORY = 5,
	LEVEL = 3,
	IN_WINDOW = 15,  /* whatever the client uses */
	STEP = 16 << 10,
};

struct squeeze {
	z_stream out, in;
};

struct squeeze *
squeeze_new(void)
{
	struct squeeze *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	if (deflateInit2(&s->out, LEVEL, Z_DEFLATED, -OUT_WINDOW, MEMORY, Z_DEFAULT_STRATEGY) != Z_OK) {
		free(s);
		return NULL;
	}
	if (inflateInit2(&s->in, -IN_WINDOW) != Z_OK) {
		(void)deflateEnd(&s->out);
		free(s);
		return NULL;
	}
	return s;
}

void
squeeze_free(struct squeeze **s)
{
	if (!*s)
		return;
	(void)deflateEnd(&(*s)->out);
	(void)inflateEnd(&(*s)->in);
	free(*s);
	*s = NULL;
}

bool
squeeze_put(struct squeeze *s, struct span in, bool flush, struct buf *out)
{
	s->out.next_in = (z_const Bytef *)in.p;
	s->out.avail_in = (uInt)in.n;
	do {
		char *room = buf_room(out, STEP);

		if (!room)
			return false;
		s->out.next_out = (Bytef *)room;
		s->out.avail_out = STEP;
		if (deflate(&s->out, flush ? Z_SYNC_FLUSH : Z_NO_FLUSH) == Z_STREAM_ERROR)
			return false;
		buf_added(out, STEP - s->out.avail_out);
	} while (s->out.avail_out == 0 || s->out.avail_in);
	return true;
}

bool
squeeze_take(struct squeeze *s, struct buf *raw, struct buf *out)
{
	while (buf_len(raw) && buf_space(out)) {
		struct span in = buf_span(raw);
		size_t n = buf_space(out) < STEP ? buf_space(out) : STEP;
		char *room = buf_room(out, n);
		int result;

		if (!room)
			return false;
		s->in.next_in = (z_const Bytef *)in.p;
		s->in.avail_in = (uInt)in.n;
		s->in.next_out = (Bytef *)room;
		s->in.avail_out = (uInt)n;
		result = inflate(&s->in, Z_SYNC_FLUSH);
		buf_added(out, n - s->in.avail_out);
		buf_eat(raw, in.n - s->in.avail_in);
		if (result != Z_OK && result != Z_BUF_ERROR)
			return false;
	}
	return true;
}
