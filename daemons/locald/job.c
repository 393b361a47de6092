/* SPDX-License-Identifier: ISC */
#include "daemons/locald/job.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemons/locald/owner.h"
#include "mail/addresses.h"
#include "mail/downgrade.h"
#include "mail/header.h"
#include "mail/status.h"

enum {
	REPLY_TEXT = 1000, REPLY_NAME = 300, REPLY_FORWARDS = 300, /* octets of each in a reply */
	HEADER_MOST = 8192, /* FIELD(mailbox, put, header) */
	VIA_MOST = 100,     /* of the mailboxes that a message came by stand there; queued itself knows all */
};

static struct job *
job_of(struct agent_job *base)
{
	return OWNER_OF(base, struct job, base);
}

static struct agent_job *
on_job(struct agent *a, const struct ipc_deliver_job *m)
{
	struct job *j = addresses_ok(m->via, '\t', SIZE_MAX) ? calloc(1, sizeof(*j)) : NULL;

	if (!j)
		return NULL;
	j->locald = OWNER_OF(a, struct locald, agent);
	j->size = m->size;
	j->binary = m->binary;
	j->fd = -1;
	list_init(&j->targets);
	arena_init(&j->arena, LOCALD_JOB_ARENA);
	j->sender = arena_dup(&j->arena, m->sender);
	j->via = arena_dup(&j->arena, m->via);
	if (j->arena.failed) {
		arena_free(&j->arena);
		free(j);
		return NULL;
	}
	return &j->base;
}

static bool
on_rcpt(struct agent_job *base, const struct ipc_deliver_rcpt *m)
{
	struct job *j = job_of(base);
	struct target *t;

	if (m->index != j->ntargets || j->ntargets >= LOCALD_RCPTS || !(t = ARENA_NEW(&j->arena, struct target)))
		return false;
	*t = (struct target){
		.job = j,
		.index = m->index,
		.uid = m->uid,
		.gid = m->gid,
		.quota = m->quota,
		.messages = m->messages,
		.forward = m->forward && m->address.n,
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

/* ---- the end ---- */

static void
job_free(struct job *j)
{
	struct locald *l = j->locald;

	if (j->fd >= 0)
		(void)close(j->fd);
	agent_forget(&j->base);
	arena_free(&j->arena);
	free(j);
	locald_check_stop(l);
}

static void
check_done(struct job *j)
{
	struct ipc_deliver_done done = { .id = j->base.id, .health = j->tried ? DELIVER_ANSWERED : DELIVER_UNTRIED };

	if (j->open || j->base.conversation != CONV_WAIT)
		return;
	if (j->base.queued)
		(void)ipc_send_deliver_done(j->base.queued, &done);
	job_free(j);
}

static void
count(struct locald *l, enum deliver_outcome outcome)
{
	*(outcome == DELIVER_DELIVERED ? &l->delivered : outcome == DELIVER_DEFERRED ? &l->deferred : &l->failed) += 1;
}

/* r has what is not the same for all. */
static void
settle(struct target *t, enum deliver_outcome outcome, struct ipc_deliver_result *r)
{
	struct job *j = t->job;

	t->settled = true;
	j->open--;
	count(j->locald, outcome);
	r->id = j->base.id;
	r->index = t->index;
	r->outcome = (uint8_t)outcome;
	r->peer = span_sub(t->home, 0, B_PEER);
	r->crashed = t->crashed;
	if (j->base.queued)
		(void)ipc_send_deliver_result(j->base.queued, r);
	check_done(j);
}

void
target_settle(struct target *t, unsigned status, struct span text, bool maybe_done)
{
	const struct status *row = status_get(status);
	struct ipc_deliver_result r = { .code = span_str(row->code), .maybe_done = maybe_done };
	struct buf reply;

	if (t->settled)
		return;
	buf_init(&reply, B_REPLY);
	text = span_sub(text, 0, REPLY_TEXT);
	buf_printf(&reply, "%s: %.*s", row->text, SPAN_ARG(text));
	r.reply = buf_span(&reply);
	settle(t, row->class == FAIL_PERM ? DELIVER_FAILED : DELIVER_DEFERRED, &r);
	buf_free(&reply);
}

static void
put_forwards(struct buf *out, struct span forwards)
{
	size_t most = buf_len(out) + REPLY_FORWARDS;
	const char *before = "";

	while (forwards.n) {
		struct span address = span_cut(&forwards, '\n');

		if (buf_len(out) + address.n > most) {
			buf_printf(out, "%s...", before);
			return;
		}
		buf_printf(out, "%s<%.*s>", before, SPAN_ARG(address));
		before = ", ";
	}
}

static void
delivered(struct target *t, const struct ipc_mailbox_result *m)
{
	struct ipc_deliver_result r = { .code = span_str(status_get(STATUS_DELIVERED)->code), .forwards = m->forwards, .kept = m->kept };
	struct span name = span_sub(m->text, 0, REPLY_NAME);
	struct buf reply;

	buf_init(&reply, B_REPLY);
	if (m->forwards.n) {
		buf_puts(&reply, "forwarded to ");
		put_forwards(&reply, m->forwards);
	}
	if (m->kept)
		buf_printf(&reply, "%sdelivered to mailbox as %.*s", m->forwards.n ? ", and " : "", SPAN_ARG(name));
	else if (!m->forwards.n)
		buf_puts(&reply, "thrown away by its owner's forward file");
	r.reply = buf_span(&reply);
	settle(t, DELIVER_DELIVERED, &r);
	buf_free(&reply);
}

/* Only who is asked for a forward file has something to say of one, and only of what is delivered. */
bool
target_is_answer(const struct target *t, const struct ipc_mailbox_result *m)
{
	bool asked = m->ok && t->forward;

	return (asked || m->kept == m->ok) && addresses_ok(m->forwards, '\n', asked ? FORWARDS_MOST : 0);
}

void
target_answered(struct target *t, const struct ipc_mailbox_result *m)
{
	t->job->tried = true;
	if (m->ok)
		delivered(t, m);
	else
		target_settle(t, status_get(m->status)->class == FAIL_NONE ? STATUS_MAILBOX_TEMP : m->status, m->text, false);
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

static void
start(struct job *j)
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

static bool
read_whole(const struct job *j, struct buf *to)
{
	char block[65536];

	if (j->fd < 0)
		buf_put(to, j->bytes);
	for (uint64_t at = 0; j->fd >= 0 && at < j->size;) {
		size_t want = j->size - at < sizeof(block) ? (size_t)(j->size - at) : sizeof(block);
		ssize_t got = pread(j->fd, block, want, (off_t)(j->offset + at));

		if (got <= 0 && !(got < 0 && errno == EINTR))
			return false;
		buf_put(to, span_of(block, got > 0 ? (size_t)got : 0));
		at += got > 0 ? (uint64_t)got : 0;
	}
	return buf_ok(to);
}

/* The content is a file in memory from now on. */
static bool
replace_content(struct job *j, struct span by)
{
	int fd = memfd_create("lines", MFD_CLOEXEC);

	for (struct span rest = by; fd >= 0 && rest.n;) {
		ssize_t n = write(fd, rest.p, rest.n);

		if (n < 0 && errno != EINTR) {
			(void)close(fd);
			return false;
		}
		rest = span_from(rest, n > 0 ? (size_t)n : 0);
	}
	if (fd < 0)
		return false;
	if (j->fd >= 0)
		(void)close(j->fd);
	j->fd = fd;
	j->offset = 0;
	j->size = by.n;
	j->bytes = SPAN_NONE;
	return true;
}

/* RFC 3030 3: whoever reads a Maildir expects lines; nothing of what they hold is lost by an encoding. */
static bool
to_lines(struct job *j, struct fail *why)
{
	struct buf in, out;
	struct arena arena;
	bool ok;

	if (j->size > LOCALD_CONVERT)
		return fail_set(why, FAIL_PERM, STATUS_CONVERSION_REQUIRED, "it is binary and too large to be converted");
	buf_init(&in, LOCALD_CONVERT);
	buf_init(&out, (size_t)LOCALD_CONVERT * 4);
	arena_init(&arena, LOCALD_CONVERT);
	ok = read_whole(j, &in) || fail_set(why, FAIL_TEMP, STATUS_SYSTEM_LOCAL_TEMP, "the content cannot be read");
	ok = ok && downgrade(&out, buf_span(&in), DOWNGRADE_BINARY, &arena, why);
	ok = ok && (replace_content(j, buf_span(&out)) || fail_errno(why, STATUS_SYSTEM_LOCAL_TEMP, "converting the message"));
	buf_free(&in);
	buf_free(&out);
	arena_free(&arena);
	return ok;
}

static void
settle_all(struct job *j, const struct fail *why)
{
	j->open++;
	LIST_EACH(&j->targets, it)
		target_settle(OWNER_OF(it, struct target, node), status_of_fail(why), fail_text(why), false);
	j->open--;
	check_done(j);
}

static bool
on_content(struct agent_job *base, const struct agent_content *content)
{
	struct job *j = job_of(base);
	struct fail why;

	j->fd = content->fd;
	j->offset = content->offset;
	j->size = content->size;
	j->bytes = arena_dup(&j->arena, content->bytes);
	if (content->bytes.n && !j->bytes.p)
		return false;
	if (j->binary && !to_lines(j, &why))
		settle_all(j, &why);
	else
		start(j);
	return true;
}

#define DELIVERED_TO "Delivered-To: "
_Static_assert(B_VIA + VIA_MOST * sizeof(DELIVERED_TO) + B_ADDRESS + 2 * B_LONG_ADDRESS + 100 <= HEADER_MOST, "whatever queued says goes in front of a message");

/* RFC 5321 4.4: Return-Path is the first line of what is delivered. */
static void
put_header(const struct target *t, struct buf *out)
{
	struct span via = t->job->via;

	buf_printf(out, "Return-Path: <%.*s>\r\n", SPAN_ARG(t->job->sender));
	if (t->original.n && !span_caseeq(t->original, t->address))
		buf_printf(out, "X-Original-To: %.*s\r\n", SPAN_ARG(t->original));
	buf_printf(out, DELIVERED_TO "%.*s\r\n", SPAN_ARG(t->address));
	for (unsigned n = 0; via.n && n < VIA_MOST; n++) {
		struct span address = span_cut(&via, '\t');

		buf_printf(out, DELIVERED_TO "%.*s\r\n", SPAN_ARG(address));
	}
}

bool
target_send(struct target *t, struct channel *mailbox)
{
	struct job *j = t->job;
	struct ipc_mailbox_put put = { .id = t->id, .home = t->home, .size = j->size, .quota = t->quota, .messages = t->messages,
		.address = t->forward ? t->address : SPAN_NONE };
	struct buf header;
	bool ok;
	int fd = -1;

	if (j->fd >= 0 && (fd = fcntl(j->fd, F_DUPFD_CLOEXEC, 0)) < 0)
		return false;
	buf_init(&header, HEADER_MOST);
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

static void
on_cancel(struct agent_job *base)
{
	if (base->conversation == CONV_WAIT)
		withdraw_all(job_of(base), SPAN("the delivery was called off"));
}

void
job_impatient(struct job *j)
{
	if (j->base.conversation == CONV_WAIT)
		withdraw_all(j, j->locald->userd ? SPAN("no delivery process was to be had") : SPAN("userd is away: no delivery process was to be had"));
}

static void
on_abort(struct agent_job *base)
{
	base->conversation = CONV_WAIT;
	withdraw_all(job_of(base), SPAN("the queue is gone"));
}

const struct agent_ops job_ops = { on_job, on_rcpt, on_content, on_cancel, on_abort };
