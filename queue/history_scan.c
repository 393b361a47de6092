/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "base/cursor.h"
#include "queue/history_impl.h"
#include "sys/crc32c.h"

enum { PIECE = 4 * 1024 * 1024, FOUND_MAX = 16 * 1024 * 1024, RECIPIENTS_MAX = 100000 };

void
history_frame(struct buf *out, struct span event)
{
	size_t had = buf_len(out);

	buf_le32(out, (uint32_t)event.n);
	buf_le32(out, crc32c(0, event));
	buf_put(out, event);
	if (!buf_ok(out))
		buf_cut(out, had);
}

bool
history_unframe(struct span *piece, struct span *event, bool *more)
{
	struct cursor c = cursor_of(*piece);
	uint32_t n = cursor_le32(&c), crc = cursor_le32(&c);

	*event = cursor_bytes(&c, n);
	*more = !c.ok && n <= HISTORY_EVENT_MAX;
	if (!c.ok || crc32c(0, *event) != crc)
		return false;
	*piece = cursor_rest(&c);
	return true;
}

/* ---- what a filter asks ---- */

struct subject {
	const struct record_event *e;
	const struct record_event_rcpt *rcpts;
	uint32_t nrcpts;
	int64_t now_ms;
};

static uint64_t
number(const void *of, enum filter_field f)
{
	const struct subject *s = of;

	if (f == FILTER_age)
		return s->now_ms > s->e->at_ms ? (uint64_t)(s->now_ms - s->e->at_ms) : 0;
	return f == FILTER_id ? s->e->id : f == FILTER_size ? s->e->size : 0;
}

static bool
text(const void *of, enum filter_field f, uint32_t nth, struct span *out)
{
	const struct subject *s = of;

	if (f == FILTER_from || f == FILTER_status) {
		*out = f == FILTER_from ? s->e->sender : span_str(history_state(s->e));
		return nth == 0;
	}
	if (nth >= s->nrcpts)
		return false;
	*out = f == FILTER_reason ? s->rcpts[nth].reply : f == FILTER_destination ? s->rcpts[nth].peer : s->rcpts[nth].address;
	return true;
}

static const struct filter_source source = { number, text };

static bool
wanted(const struct history_scan *s, const struct record_event *e, struct record_event_rcpt *rcpts)
{
	struct subject subject = { .e = e, .rcpts = rcpts, .now_ms = s->now_ms };
	struct span list = e->list;
	bool ok = true;

	while (subject.nrcpts < RECIPIENTS_MAX && record_list_next(&list, &record_desc_event_rcpt, &rcpts[subject.nrcpts], &ok))
		subject.nrcpts++;
	return filter_match(s->filter, &source, &subject);
}

/* ---- pieces ---- */

static void
look_at(struct history_scan *s, struct span event, struct record_event_rcpt *rcpts)
{
	struct record_event e;

	s->looked_at++;
	if (!desc_decode(&record_desc_event, event, &e, NULL) || !wanted(s, &e, rcpts))
		return;
	s->matched++;
	buf_le32(&s->found, (uint32_t)event.n);
	buf_put(&s->found, event);
}

/* Reads on in s->file; false: it has no more. */
static bool
read_piece(struct history_scan *s)
{
	struct vfs *v = s->h->vfs;
	char name[40], *room;
	ssize_t got = -1;
	int fd;

	history_name(s->file, name);
	buf_reset(&s->piece);
	fd = v->ops->open(v, name, VFS_READ);
	room = fd >= 0 ? buf_room(&s->piece, PIECE) : NULL;
	if (room)
		got = v->ops->pread(v, fd, room, PIECE, s->at);
	if (got > 0)
		buf_added(&s->piece, (size_t)got);
	if (fd >= 0)
		(void)v->ops->close(v, fd);
	return got > 0;
}

static void
on_run(struct work *w)
{
	struct history_scan *s = OWNER_OF(w, struct history_scan, work);
	struct record_event_rcpt *rcpts = calloc(RECIPIENTS_MAX, sizeof(*rcpts));
	struct span piece, event;
	bool more = false;

	s->end = true; /* of this file */
	if (rcpts && read_piece(s)) {
		piece = buf_span(&s->piece);
		while (piece.n && buf_len(&s->found) < FOUND_MAX / 2 && history_unframe(&piece, &event, &more))
			look_at(s, event, rcpts);
		/* Damage, or a frame that was never written whole, ends the file. */
		s->end = buf_len(&s->piece) == piece.n || (!more && piece.n && buf_len(&s->found) < FOUND_MAX / 2);
		s->at += buf_len(&s->piece) - piece.n;
	}
	free(rcpts);
}

static bool
next_file(struct history_scan *s)
{
	for (size_t i = 0; i < s->h->nfiles; i++)
		if (s->h->files[i].number > s->file) {
			s->file = s->h->files[i].number;
			s->at = 0;
			return true;
		}
	return false;
}

static void
on_done(struct work *w)
{
	struct history_scan *s = OWNER_OF(w, struct history_scan, work);

	if (s->end)
		s->end = !next_file(s);
	s->on_piece(s);
}

void
history_scan_begin(struct history *h, struct history_scan *s, struct filter *filter, int64_t now_ms)
{
	s->h = h;
	s->filter = filter;
	s->now_ms = now_ms;
	s->file = s->at = s->looked_at = s->matched = 0;
	buf_init(&s->found, FOUND_MAX);
	buf_init(&s->piece, PIECE);
	history_flush(h, now_ms);
	s->writes = (unsigned)h->busy + (unsigned)h->again;
	s->end = !next_file(s);
}

static void
start(struct history_scan *s)
{
	s->work = (struct work){ .run = on_run, .done = on_done };
	worker_submit(s->h->pool, &s->work);
}

void
history_scan_next(struct history_scan *s)
{
	buf_reset(&s->found);
	if (s->writes && s->h->busy)
		list_push(&s->h->waiting, &s->node);
	else
		start(s);
}

void
history_scan_written(struct history *h)
{
	LIST_EACH(&h->waiting, it) {
		struct history_scan *s = OWNER_OF(it, struct history_scan, node);

		if (--s->writes && h->busy)
			continue;
		s->writes = 0;
		list_remove(it);
		start(s);
	}
}

void
history_scan_free(struct history_scan *s)
{
	filter_free(&s->filter);
	buf_free(&s->found);
	buf_free(&s->piece);
}
