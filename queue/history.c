/* SPDX-License-Identifier: ISC */
#include "queue/history.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/blob.h"
#include "log/log.h"
#include "queue/history_impl.h"

enum {
	PENDING_MAX = 8 * 1024 * 1024, /* bytes not written yet; what comes on top is dropped */
	FLUSH_AT = 128 * 1024,
	LISTED = 1000,                 /* recipients of a deleted message */
	PARTS = 16,                    /* files that the allowed bytes make */
};

const char *
history_outcome(unsigned outcome)
{
	return outcome == OUTCOME_FAILED ? "bounced" : outcome == OUTCOME_RELAYED ? "relayed" : outcome == HISTORY_DELETED ? "deleted" : "delivered";
}

const char *
history_state(const struct record_event *e)
{
	struct span list = e->list;
	struct record_event_rcpt r;
	bool ok = true;

	if (e->why.n)
		return "deleted";
	if (!e->final)
		return "partial";
	while (record_list_next(&list, &record_desc_event_rcpt, &r, &ok))
		if (r.outcome == OUTCOME_FAILED)
			return "bounced";
	return "delivered";
}

void
history_name(uint64_t number, char name[40])
{
	(void)snprintf(name, 40, "history/%08" PRIx64, number);
}

/* ---- files ---- */

static bool
on_file(void *arg, const char *name)
{
	struct history *h = arg;
	char *end;
	uint64_t number = strtoull(name, &end, 16);
	struct history_file *at = h->files;

	if (*end || end - name != 8 || h->nfiles == HISTORY_FILES)
		return true;
	while (at < h->files + h->nfiles && at->number < number)
		at++;
	memmove(at + 1, at, (size_t)(h->files + h->nfiles - at) * sizeof(*at));
	*at = (struct history_file){ .number = number };
	h->nfiles++;
	return true;
}

static void
measure(struct history *h, struct history_file *f)
{
	struct vfs *v = h->vfs;
	struct vfs_stat st;
	char name[40];

	history_name(f->number, name);
	if (v->ops->stat && v->ops->stat(v, name, &st) == 0) {
		f->bytes = st.size;
		f->newest_ms = st.mtime_ns / 1000000;
	}
}

static void
remove_oldest(struct history *h)
{
	struct fail why;
	char name[40];

	history_name(h->files[0].number, name);
	if (!blob_remove(h->vfs, name, &why))
		log_put(LOG_failure, "%s", why.text);
	h->total -= h->files[0].bytes;
	memmove(h->files, h->files + 1, --h->nfiles * sizeof(*h->files));
}

static void
trim(struct history *h, int64_t now_ms)
{
	while (h->nfiles > 1 && (h->total > h->limits.bytes || h->nfiles >= HISTORY_FILES ||
	                            h->files[0].newest_ms < now_ms - h->limits.keep_ms))
		remove_oldest(h);
}

struct history *
history_open(struct vfs *v, struct worker_pool *pool, const struct history_limits *limits, struct fail *why)
{
	struct history *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->vfs = v;
	h->pool = pool;
	h->limits = *limits;
	h->fd = -1;
	list_init(&h->waiting);
	buf_init(&h->pending, PENDING_MAX);
	buf_init(&h->writing, PENDING_MAX);
	if (v->ops->mkdir(v, "history") < 0 || v->ops->list(v, "history", on_file, h) < 0) {
		(void)fail_errno(why, 0, "cannot use the directory history");
		free(h);
		return NULL;
	}
	for (size_t i = 0; i < h->nfiles; i++) {
		measure(h, &h->files[i]);
		h->total += h->files[i].bytes;
	}
	h->next = h->nfiles ? h->files[h->nfiles - 1].number + 1 : 1;
	return h;
}

void
history_set_limits(struct history *h, const struct history_limits *limits)
{
	h->limits = *limits;
}

/* ---- writing ---- */

static bool
open_next(struct history *h)
{
	char name[40];

	if (h->nfiles >= HISTORY_FILES)
		return false;
	history_name(h->next, name);
	h->fd = h->vfs->ops->open(h->vfs, name, VFS_CREATE);
	if (h->fd < 0)
		return false;
	h->files[h->nfiles++] = (struct history_file){ .number = h->next++ };
	return true;
}

static void
on_write(struct work *w)
{
	struct history *h = OWNER_OF(w, struct history, work);
	struct span s = buf_span(&h->writing);

	h->failed = !vfs_write_all(h->vfs, h->fd, s.p, s.n, h->write_at);
}

static void
on_written(struct work *w)
{
	struct history *h = OWNER_OF(w, struct history, work);
	struct history_file *f = &h->files[h->nfiles - 1];

	h->busy = false;
	if (h->failed) {
		if (!h->told)
			log_put(LOG_failure, "the history cannot be written; what happens now is missing in it");
		h->told = true;
	} else {
		h->told = false;
		f->bytes += buf_len(&h->writing);
		h->total += buf_len(&h->writing);
	}
	f->newest_ms = h->now_ms;
	if (f->bytes >= h->limits.bytes / PARTS || h->failed) {
		(void)h->vfs->ops->close(h->vfs, h->fd);
		h->fd = -1;
	}
	buf_reset(&h->writing);
	if (h->again) {
		h->again = false;
		history_flush(h, h->now_ms);
	}
	history_scan_written(h);
}

static bool
prepare(struct history *h, int64_t now_ms)
{
	struct buf swap;

	trim(h, now_ms);
	if (buf_len(&h->pending) == 0 || (h->fd < 0 && !open_next(h)))
		return false;
	h->now_ms = now_ms;
	h->write_at = h->files[h->nfiles - 1].bytes;
	swap = h->writing;
	h->writing = h->pending;
	h->pending = swap;
	buf_reset(&h->pending);
	return true;
}

void
history_flush(struct history *h, int64_t now_ms)
{
	h->again = h->busy && buf_len(&h->pending);
	if (h->busy || !prepare(h, now_ms))
		return;
	h->busy = true;
	h->work = (struct work){ .run = on_write, .done = on_written };
	worker_submit(h->pool, &h->work);
}

void
history_close(struct history **at)
{
	struct history *h = *at;

	if (!h)
		return;
	if (prepare(h, h->now_ms)) {
		on_write(&h->work);
		on_written(&h->work);
	}
	if (h->fd >= 0)
		(void)h->vfs->ops->close(h->vfs, h->fd);
	buf_free(&h->pending);
	buf_free(&h->writing);
	free(h);
	*at = NULL;
}

static struct span
cut(struct span s, size_t max)
{
	return span_sub(s, 0, max);
}

static bool
put_recipient(struct history *h, const struct message *m, const struct record_result *r, unsigned outcome)
{
	struct record_event_rcpt to = { .address = text_span(m->rcpts[r->index].address), .outcome = (uint8_t)outcome, .code = cut(r->code, 12),
		.peer = cut(r->peer, 320), .reply = cut(r->reply, 512) };

	return record_list_put(&h->list, &record_desc_event_rcpt, &to);
}

static bool
put_recipients(struct history *h, const struct message *m, const struct record_outcome *o, bool deleted)
{
	struct span list = o->list;
	struct record_result r;
	uint32_t listed = 0;
	bool ok = true;

	if (deleted) {
		for (uint32_t i = 0; i < m->nrcpts && listed < LISTED; i++)
			if (!m->rcpts[i].settled && ++listed && !put_recipient(h, m, &(struct record_result){ .index = i }, HISTORY_DELETED))
				return false;
		return true;
	}
	while (record_list_next(&list, &record_desc_result, &r, &ok))
		if (r.index < m->nrcpts && r.settled && !put_recipient(h, m, &r, r.outcome))
			return false;
	return true;
}

bool
history_note(struct history *h, const struct message *m, const struct record_outcome *o)
{
	struct record_event e = { .id = o->id, .at_ms = o->at_ms, .size = m->size, .sender = text_span(m->sender),
		.final = m->unsettled == 0 || o->removed, .why = o->why };
	bool fresh = buf_len(&h->pending) == 0;

	if (h->limits.keep_ms == 0)
		return false;
	buf_init(&h->list, 1000000);
	buf_init(&h->event, 1100000);
	/* What does not fit is cut off: the log has it. */
	(void)put_recipients(h, m, o, o->removed && o->why.n);
	e.list = buf_ok(&h->list) ? buf_span(&h->list) : SPAN_NONE;
	if ((e.list.n || e.why.n) && desc_encode(&record_desc_event, &e, &h->event))
		history_frame(&h->pending, buf_span(&h->event));
	if (!buf_ok(&h->pending)) { /* the disk does not follow */
		h->pending.failed = false;
		if (!h->told)
			log_put(LOG_failure, "the history is behind; what happens now is missing in it");
		h->told = true;
	}
	buf_free(&h->list);
	buf_free(&h->event);
	return (fresh && buf_len(&h->pending)) || buf_len(&h->pending) >= FLUSH_AT;
}
