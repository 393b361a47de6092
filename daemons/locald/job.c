/* SPDX-License-Identifier: ISC */
#include "daemons/locald/job.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemons/locald/owner.h"
#include "mail/header.h"
#include "mail/status.h"

struct job *
job_new(struct locald *l, struct channel *queued, const struct ipc_deliver_job *m)
{
	struct job *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->locald = l;
	j->queued = queued;
	j->conversation = CONV_NONE;
	j->id = m->id;
	j->size = m->size;
	j->fd = -1;
	list_init(&j->targets);
	arena_init(&j->arena, LOCALD_JOB_ARENA);
	j->sender = arena_dup(&j->arena, m->sender);
	if ((m->sender.n && !j->sender.p) || !map_put_u64(&l->jobs, &j->by_id, m->id)) {
		arena_free(&j->arena);
		free(j);
		return NULL;
	}
	list_push(&l->order, &j->order);
	return j;
}

bool
job_rcpt(struct job *j, const struct ipc_deliver_rcpt *m)
{
	struct target *t;

	if (m->index != j->ntargets || j->ntargets >= LOCALD_RCPTS || !(t = ARENA_NEW(&j->arena, struct target)))
		return false;
	*t = (struct target){
		.job = j,
		.index = m->index,
		.uid = m->uid,
		.gid = m->gid,
		.address = arena_dup(&j->arena, m->address),
		.original = arena_dup(&j->arena, m->original),
		.home = arena_dup(&j->arena, m->home),
	};
	if ((m->address.n && !t->address.p) || (m->original.n && !t->original.p) || (m->home.n && !t->home.p))
		return false;
	list_push(&j->targets, &t->node);
	j->ntargets++;
	j->open++;
	return true;
}

bool
job_content(struct job *j, struct span bytes)
{
	j->bytes = arena_dup(&j->arena, bytes);
	j->size = bytes.n;
	return bytes.n == 0 || j->bytes.p;
}

void
job_content_fd(struct job *j, int fd, uint64_t offset, uint64_t size)
{
	j->fd = fd;
	j->offset = offset;
	j->size = size;
}

/* ---- the end ---- */

static void
job_free(struct job *j)
{
	struct locald *l = j->locald;

	if (j->fd >= 0)
		(void)close(j->fd);
	map_remove(&l->jobs, &j->by_id);
	list_remove(&j->order);
	arena_free(&j->arena);
	free(j);
	locald_check_stop(l);
}

static void
check_done(struct job *j)
{
	struct ipc_deliver_done done = { .id = j->id, .health = j->tried ? LOCALD_ANSWERED : LOCALD_UNTRIED };

	if (j->open || j->conversation != CONV_WAIT)
		return;
	if (j->queued)
		(void)ipc_send_deliver_done(j->queued, &done);
	job_free(j);
}

static void
count(struct locald *l, enum locald_outcome outcome)
{
	*(outcome == LOCALD_DELIVERED ? &l->delivered : outcome == LOCALD_DEFERRED ? &l->deferred : &l->failed) += 1;
}

void
target_settle(struct target *t, unsigned status, struct span text, bool maybe_done)
{
	struct job *j = t->job;
	const struct status *row = status_get(status);
	enum locald_outcome outcome =
	    row->class == FAIL_NONE ? LOCALD_DELIVERED : row->class == FAIL_PERM ? LOCALD_FAILED : LOCALD_DEFERRED;
	struct ipc_deliver_result r = { .id = j->id, .index = t->index, .outcome = (uint8_t)outcome, .code = span_str(row->code),
		.maybe_done = maybe_done };
	struct buf reply;

	if (t->settled)
		return;
	t->settled = true;
	j->open--;
	count(j->locald, outcome);
	buf_init(&reply, B_REPLY);
	if (outcome == LOCALD_DELIVERED)
		buf_printf(&reply, "delivered to mailbox as %.*s", (int)(text.n < 300 ? text.n : 300), text.n ? text.p : "");
	else
		buf_printf(&reply, "%s: %.*s", row->text, (int)(text.n < 1000 ? text.n : 1000), text.n ? text.p : "");
	r.reply = buf_span(&reply);
	r.peer = span_sub(t->home, 0, B_PEER);
	if (j->queued)
		(void)ipc_send_deliver_result(j->queued, &r);
	buf_free(&reply);
	check_done(j);
}

/* ---- delivery ---- */

/* The message's header: all of inline content, the beginning of a file. */
static struct span
read_header(struct job *j, struct buf *space)
{
	size_t n = j->size < LOCALD_HEADER_MAX ? (size_t)j->size : LOCALD_HEADER_MAX;
	ssize_t got;
	char *room;

	if (j->fd < 0)
		return j->bytes;
	if (!(room = buf_room(space, n ? n : 1)))
		return SPAN_NONE;
	do
		got = pread(j->fd, room, n, (off_t)j->offset);
	while (got < 0 && errno == EINTR);
	buf_added(space, got > 0 ? (size_t)got : 0);
	return buf_span(space);
}

/* RFC 9228: a message that has been delivered to this address before goes in a circle. */
static void
mark_loops(struct job *j)
{
	struct buf space;
	struct header_walk w;
	struct header_field f;

	buf_init(&space, LOCALD_HEADER_MAX);
	w = header_walk(read_header(j, &space));
	while (header_next(&w, &f)) {
		if (!span_caseeq(f.name, SPAN("Delivered-To")))
			continue;
		LIST_EACH(&j->targets, it) {
			struct target *t = OWNER_OF(it, struct target, node);

			if (!t->settled && span_caseeq(span_trim(f.value), t->address))
				target_settle(t, STATUS_LOOP, SPAN("it has been delivered to this address before"), false);
		}
	}
	buf_free(&space);
}

void
job_start(struct job *j)
{
	j->since_ms = loop_now_ms(j->locald->service->loop);
	if (!timer_running(&j->locald->patience))
		(void)timer_set(&j->locald->patience, LOCALD_PATIENCE_MS);
	j->open++; /* the job outlives its last target until we are through */
	mark_loops(j);
	LIST_EACH(&j->targets, it) {
		struct target *t = OWNER_OF(it, struct target, node);

		if (t->settled)
			continue;
		if (t->home.n)
			owner_deliver(j->locald, t);
		else
			target_settle(t, STATUS_MISCONFIGURED_PERM, SPAN("this recipient has no mailbox directory"), false);
	}
	j->open--;
	check_done(j);
}

/* RFC 5321 4.4: Return-Path is the first line of what is delivered. */
static void
put_header(const struct target *t, struct buf *out)
{
	buf_printf(out, "Return-Path: <%.*s>\r\n", SPAN_ARG(t->job->sender));
	if (t->original.n && !span_caseeq(t->original, t->address))
		buf_printf(out, "X-Original-To: %.*s\r\n", SPAN_ARG(t->original));
	buf_printf(out, "Delivered-To: %.*s\r\n", SPAN_ARG(t->address));
}

bool
target_send(struct target *t, struct channel *mailbox)
{
	struct job *j = t->job;
	struct ipc_mailbox_put put = { .id = t->id, .home = t->home, .size = j->size };
	struct buf header;
	bool ok;
	int fd = -1;

	if (j->fd >= 0 && (fd = fcntl(j->fd, F_DUPFD_CLOEXEC, 0)) < 0)
		return false;
	buf_init(&header, 8192);
	put_header(t, &header);
	put.header = buf_span(&header);
	ok = buf_ok(&header) && ipc_send_mailbox_put(mailbox, &put);
	buf_free(&header);
	if (j->fd < 0)
		return ok && ipc_send_mailbox_content(mailbox, &(struct ipc_mailbox_content){ .id = t->id, .bytes = j->bytes });
	if (!ok) {
		(void)close(fd);
		return false;
	}
	return ipc_send_mailbox_content_fd(mailbox, &(struct ipc_mailbox_content_fd){ .id = t->id, .offset = j->offset, .size = j->size }, fd);
}

/* ---- giving up ---- */

static void
withdraw_all(struct job *j, struct span why)
{
	j->open++;
	LIST_EACH(&j->targets, it) {
		struct target *t = OWNER_OF(it, struct target, node);

		if (t->settled || t->is_sent)
			continue;
		if (t->owner)
			owner_withdraw(t);
		target_settle(t, STATUS_SYSTEM_LOCAL_TEMP, why, false);
	}
	j->open--;
	check_done(j);
}

void
job_cancel(struct job *j)
{
	if (j->conversation == CONV_WAIT)
		withdraw_all(j, SPAN("the delivery was called off"));
}

void
job_impatient(struct job *j)
{
	if (j->conversation == CONV_WAIT)
		withdraw_all(j, SPAN("no delivery process was to be had"));
}

void
job_abort(struct job *j)
{
	j->queued = NULL;
	j->conversation = CONV_WAIT;
	withdraw_all(j, SPAN("the queue is gone"));
}
