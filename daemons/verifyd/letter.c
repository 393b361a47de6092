/* SPDX-License-Identifier: ISC */
#include "visit.h"

enum {
	HEADER_ROOM = 65536,     /* of our own fields, beside header_size_limit */
	EDIT_ROOM = 4194304,     /* field structs, and what filters add */
	PIECES = 4,              /* for each pull: half of what makes smtpd's channel to queued full */
};

void
letter_init(struct letter *l)
{
	*l = (struct letter){ .header_done = false };
	buf_init(&l->header, 0);
	buf_init(&l->back, 0);
	spool_init(&l->body);
	spool_init(&l->fresh);
}

void
letter_free(struct letter *l)
{
	buf_free(&l->header);
	buf_free(&l->back);
	spool_free(&l->body);
	spool_free(&l->fresh);
	if (l->editing)
		edit_free(&l->edit);
	letter_init(l);
}

static void
failed(struct visit *v, const struct fail *why)
{
	if (!v->letter.failed)
		log_put(LOG_failure, "session=%.*s content for filters: %s", SPAN_ARG(v->facts.session), why->text);
	v->letter.failed = true;
	spool_free(&v->letter.body);
}

bool
letter_put(struct visit *v, struct span bytes)
{
	struct letter *l = &v->letter;
	const char *directory = v->front->verifyd->directory;
	struct fail why;
	size_t had = buf_len(&l->header), end;

	if (l->editing)
		return false; /* behind END */
	if (l->failed)
		return true;
	if (!l->header_done) {
		l->header.cap = (size_t)v->front->verifyd->service->conf->header_size_limit + HEADER_ROOM;
		/* What follows the header in the same frame may not fit it and need not. */
		buf_put(&l->header, span_sub(bytes, 0, buf_space(&l->header)));
		end = span_find(span_from(buf_span(&l->header), had > 3 ? had - 3 : 0), SPAN("\r\n\r\n"));
		if (end == SIZE_MAX) {
			if (!buf_ok(&l->header) || buf_len(&l->header) - had < bytes.n) {
				(void)fail_set(&why, FAIL_LIMIT, 0, "the header is too large");
				failed(v, &why);
			}
			return true;
		}
		end += (had > 3 ? had - 3 : 0) + 4;
		bytes = span_from(bytes, end - had);
		buf_cut(&l->header, end - 2);
		l->header_done = true;
	}
	if (!spool_put(&l->body, directory, bytes, &why))
		failed(v, &why);
	return true;
}

bool
letter_whole(struct visit *v, size_t hidden, struct fail *why)
{
	struct letter *l = &v->letter;

	if (l->editing)
		return fail_set(why, FAIL_PEER, 0, "ended twice");
	l->editing = true;
	if (!edit_init(&l->edit, buf_span(&l->header), hidden, EDIT_ROOM))
		return fail_set(why, FAIL_LIMIT, 0, "the header has too many fields, or a line that is none");
	return !l->failed || fail_set(why, FAIL_TEMP, 0, "the content could not be kept");
}

bool
letter_replace(struct visit *v, struct span bytes, struct fail *why)
{
	struct letter *l = &v->letter;
	struct buf clean;
	bool good;

	if (l->fresh.size + bytes.n > v->front->verifyd->service->conf->message_size_limit &&
	    v->front->verifyd->service->conf->message_size_limit)
		return fail_set(why, FAIL_LIMIT, 0, "the new body is too large");
	buf_init(&clean, bytes.n * 2 + 8);
	edit_lines_put(&l->lines, &clean, bytes);
	good = buf_ok(&clean) ? spool_put(&l->fresh, v->front->verifyd->directory, buf_span(&clean), why)
	                      : fail_set(why, FAIL_TEMP, 0, "no memory");
	buf_free(&clean);
	l->replaced = true;
	return good;
}

void
letter_not_replaced(struct visit *v)
{
	struct letter *l = &v->letter;

	spool_free(&l->fresh);
	l->lines = (struct edit_lines){ .cr = false };
	l->replaced = false;
}

void
letter_replaced(struct visit *v)
{
	struct letter *l = &v->letter;
	struct buf end;
	struct fail why;

	if (!l->replaced)
		return;
	buf_init(&end, 8);
	edit_lines_end(&l->lines, &end);
	if (!spool_put(&l->fresh, v->front->verifyd->directory, buf_span(&end), &why))
		failed(v, &why);
	buf_free(&end);
	l->eightbit |= l->lines.eightbit;
	l->lines = (struct edit_lines){ .cr = false };
	l->replaced = false;
	l->edit.changed = true;
	spool_free(&l->body);
	l->body = l->fresh;
	spool_init(&l->fresh);
}

/* Header and body as one run of bytes: up to a frame from back_at on. */
static bool
fill(struct letter *l, struct buf *frame, struct fail *why)
{
	size_t head = buf_len(&l->back), room = buf_space(frame);
	char *at;
	struct span got;

	if (l->back_at < head) {
		buf_put(frame, span_sub(buf_span(&l->back), (size_t)l->back_at, room));
		l->back_at += buf_len(frame);
		room = buf_space(frame);
	}
	if (!room || !(at = buf_room(frame, room)))
		return buf_ok(frame) || fail_set(why, FAIL_TEMP, 0, "no memory");
	if (!spool_read(&l->body, l->back_at - head, at, room, &got, why))
		return false;
	if (got.p == at)
		buf_added(frame, got.n);
	else
		buf_put(frame, got);
	l->back_at += got.n;
	return true;
}

static void
begin_back(struct letter *l)
{
	if (buf_len(&l->back))
		return;
	l->back.cap = l->header.cap + EDIT_ROOM + 2;
	edit_put(&l->edit, &l->back);
	if (l->header_done || l->body.size)
		buf_puts(&l->back, "\r\n");
}

bool
letter_send_back(struct visit *v)
{
	struct letter *l = &v->letter;
	struct ipc_filter_piece piece = { .id = v->id, .state = FILTER_PIECE_NEXT };
	struct buf frame;
	struct fail why;

	if (!l->editing || v->busy)
		return false;
	begin_back(l);
	buf_init(&frame, IPC_DATA_MAX);
	for (unsigned i = 0; i < PIECES && piece.state == FILTER_PIECE_NEXT; i++) {
		buf_reset(&frame);
		piece.state = i + 1 == PIECES ? FILTER_PIECE_MORE : FILTER_PIECE_NEXT;
		if (!buf_ok(&l->back) || l->failed || !fill(l, &frame, &why))
			piece.state = FILTER_PIECE_LOST;
		else if (l->back_at == buf_len(&l->back) + l->body.size)
			piece.state = FILTER_PIECE_LAST;
		piece.bytes = buf_span(&frame);
		(void)ipc_send_filter_piece(v->front->channel, &piece);
	}
	buf_free(&frame);
	return true;
}
