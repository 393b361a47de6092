/* SPDX-License-Identifier: ISC
 *
 * Messages that a tool brings from another queue, or from an export: as if
 * smtpd had handed them in, but with what was known of them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/queueid.h"
#include "daemons/queued/tool.h"
#include "journal/blob.h"
#include "queue/export.h"

enum { ENVELOPE_MAX = 16 * 1024 * 1024 };

struct import {
	struct tool *t; /* NULL: nobody waits any more */
	struct answer *answer;
	bool hold, parsed, is_blob, with_disk;
	struct fail why; /* the first thing that was wrong; the rest is passed over */
	struct buf text, room;
	struct export_message x;
	struct content *content;
	struct blob blob;
	uint64_t size;
	struct queued *q;
};

static void
free_import(struct import *i)
{
	if (i->is_blob && !i->with_disk)
		blob_abandon(&i->blob);
	content_free(i->content);
	buf_free(&i->text);
	buf_free(&i->room);
	free(i);
}

void
import_stop(struct import **at)
{
	struct import *i = *at;

	*at = NULL;
	if (!i)
		return;
	i->t = NULL;
	answer_on_done(i->answer, 0, &i->why); /* its tool has gone: only freed */
	i->answer = NULL;
	if (!i->with_disk)
		free_import(i);
}

bool
import_start(struct tool *t, uint64_t request, bool hold)
{
	struct import *i = calloc(1, sizeof(*i));
	struct answer *a = i ? answer_new(t, request) : NULL;

	if (!a) {
		free(i);
		return false;
	}
	i->t = t;
	i->q = t->q;
	i->answer = a;
	i->hold = hold;
	buf_init(&i->text, ENVELOPE_MAX);
	buf_init(&i->room, EXPORT_TEXT_MAX);
	i->content = content_new(t->q->inline_max + IPC_DATA_MAX);
	if (!i->content)
		(void)fail_set(&i->why, FAIL_TEMP, 0, "no memory");
	t->import = i;
	return true;
}

bool
import_envelope(struct import *i, struct span bytes)
{
	buf_put(&i->text, bytes);
	return true;
}

/* Once, when all of the envelope is there. */
static void
parse(struct import *i)
{
	struct queue *q = i->q->queue;
	uint64_t *id = &i->x.envelope.id;

	if (i->parsed || i->why.class)
		return;
	i->parsed = true;
	if (!buf_ok(&i->text))
		(void)fail_set(&i->why, FAIL_LIMIT, 0, "the envelope is too large");
	else if (!export_parse(buf_span(&i->text), &i->room, &i->x, &i->why))
		return;
	if (!*id)
		*id = queueid_new(&i->q->last_import, loop_wall_ms(i->q->service->loop) * 1000, QUEUEID_INSTANCES - 2);
	if (queue_find(q, *id))
		(void)fail_set(&i->why, FAIL_PERM, 0, "it is in the queue already");
	i->x.envelope.held |= i->hold;
	i->x.envelope.blob = false;
}

static void
to_blob(struct import *i)
{
	if (i->q->vfs->ops->space(i->q->vfs) < (int64_t)(i->q->service->conf->queue_minfree + i->size)) {
		(void)fail_set(&i->why, FAIL_LIMIT, 0, "free space is down to queue_minfree");
		return;
	}
	if (!queued_new_blob(i->q, &i->blob, i->x.envelope.id, i->size, &i->why))
		return;
	i->is_blob = i->x.envelope.blob = true;
	(void)blob_write(&i->blob, buf_span(&i->content->bytes));
	content_free(i->content);
	i->content = NULL;
}

bool
import_bytes(struct import *i, struct span bytes)
{
	parse(i);
	if (i->why.class)
		return true;
	i->size += bytes.n;
	if (!i->is_blob && i->size > i->q->inline_max)
		to_blob(i);
	if (i->why.class)
		return true;
	if (i->is_blob)
		(void)blob_write(&i->blob, bytes);
	else
		buf_put(&i->content->bytes, bytes);
	return true;
}

static void
on_accepted(void *arg, uint64_t id, const struct fail *why)
{
	struct import *i = arg;

	if (i->answer)
		answer_on_done(i->answer, id, why);
	free_import(i);
}

static void
insert(struct import *i)
{
	struct content *content = i->content;
	char id[QUEUEID_TEXT + 1];
	bool ok;

	i->content = NULL;
	i->x.envelope.size = i->size;
	i->with_disk = true;
	ok = export_insert(i->q->queue, &i->x, content, on_accepted, i, &i->why);
	if (ok) {
		log_put(LOG_queue, "id=%s imported", queueid_text(i->x.envelope.id, id).p);
		return;
	}
	if (i->is_blob)
		(void)blob_remove(i->q->vfs, i->blob.name, NULL);
	on_accepted(i, i->x.envelope.id, &i->why);
}

static void
on_blob(struct blob *b, const struct fail *why)
{
	struct import *i = OWNER_OF(b, struct import, blob);

	if (why)
		on_accepted(i, i->x.envelope.id, why);
	else
		insert(i);
}

bool
import_end(struct import *i)
{
	parse(i);
	i->t->import = NULL; /* the answer finds its tool itself */
	i->t = NULL;
	if (i->why.class) {
		on_accepted(i, i->x.envelope.id, &i->why);
	} else if (i->is_blob) {
		i->with_disk = true;
		blob_commit(&i->blob, i->q->files, on_blob);
	} else {
		insert(i);
	}
	return true;
}
