/* SPDX-License-Identifier: ISC
 *
 * The search index of an open folder: messages without a signature get theirs, a
 * few at a time on a worker thread, in the order of their UIDs; what belongs to
 * expunged ones goes when it is more than half.  Nothing waits for any of it.
 */
#include <errno.h>
#include <stdlib.h>

#include "log/log.h"
#include "store/state.h"
#include "sys/crc32c.h"

enum {
	LATER_MS = 1000, /* those who only come and go are not bothered, several arrivals are one; nor is the search that wants it */
	BATCH = 64,
	BATCH_SIZE = 1 << 20, /* octets of messages */
	SLACK = 1000,         /* signatures of expunged messages that never matter */
};

#define COPY_NAME SEARCHFILE_NAME ".new"

struct signed_message {
	uint32_t uid, check;
	struct content content; /* fd -1: cannot be read, or done */
};

/* From the first message without a signature to the last. */
struct sign_job {
	struct work work;
	struct mailbox *mailbox;
	struct store_search search;
	struct signature_maker maker;
	struct searchfile_draft draft;
	uint32_t behind;     /* what the file ended with when the draft began */
	struct signed_message messages[BATCH];
	size_t n;
	struct uidset alive; /* compaction */
	uint32_t uidvalidity;
	bool running, ok;
};

static bool
enabled(const struct store *store)
{
	return store->search.sign && store->search.share;
}

/* A name is never used twice, even where an index from a backup gives a UID once more. */
static uint32_t
check_of(struct mailbox *mb, const struct message *m)
{
	return crc32c(m->uid, index_base(mailbox_index(mb), m));
}

/* ---- on a thread ---- */

static void
run_sign(struct work *w)
{
	struct sign_job *job = OWNER_OF(w, struct sign_job, work);

	job->ok = true;
	for (size_t i = 0; i < job->n && job->ok && !draft_full(&job->draft); i++) {
		struct signed_message *m = &job->messages[i];
		size_t most = (size_t)(m->content.size * job->search.share / 100);
		bool known = m->content.fd >= 0;

		signature_reset(&job->maker);
		if (known) {
			known = job->search.sign(&m->content, &job->maker) && !job->maker.failed;
			m->content.fd = -1;
		}
		job->ok = draft_add(&job->draft, m->uid, m->check, known ? &job->maker : NULL, most);
	}
}

static void
run_compact(struct work *w)
{
	struct sign_job *job = OWNER_OF(w, struct sign_job, work);
	struct searchfile from;

	searchfile_init(&from);
	job->ok = searchfile_open(&from, job->mailbox->vfs, SEARCHFILE_NAME, job->uidvalidity, VFS_READ) &&
	    searchfile_copy(&from, COPY_NAME, job->uidvalidity, &job->alive);
	searchfile_close(&from);
}

/* ---- the job ---- */

static void
close_contents(struct sign_job *job)
{
	for (size_t i = 0; i < job->n; i++)
		content_close(&job->messages[i].content);
	job->n = 0;
}

static void
end_job(struct mailbox *mb)
{
	struct sign_job *job = mb->signing.job;

	close_contents(job);
	signature_free(&job->maker);
	draft_free(&job->draft);
	uidset_free(&job->alive);
	free(job);
	mb->signing.job = NULL;
}

static void
give_up(struct mailbox *mb, const char *what)
{
	log_put(LOG_mailbox, "folder=%s the search index cannot be written: %s", mb->name, what);
	mb->signing.given_up = true;
}

/* What has been made is in the file; not, if that has become another one meanwhile. */
static bool
flush(struct mailbox *mb)
{
	struct sign_job *job = mb->signing.job;

	if (job->draft.n == 0)
		return true;
	if (searchfile_last(&mb->signing.file) != job->behind) {
		draft_free(&job->draft);
		return true;
	}
	errno = 0;
	if (searchfile_append(&mb->signing.file, &job->draft))
		return true;
	give_up(mb, errno ? "no room, or an error of the disk" : "out of memory");
	return false;
}

/* Opens the next messages. */
static void
collect(struct mailbox *mb, struct sign_job *job)
{
	const struct index *ix = mailbox_index(mb);
	uint32_t last = searchfile_last(&mb->signing.file);
	uint64_t size = 0;

	if (job->draft.n == 0)
		job->behind = last;
	else
		last = job->draft.hi;
	for (size_t at = index_place(ix, last + 1); at < ix->n && job->n < BATCH && size < BATCH_SIZE && ix->messages[at].uid <= mb->visible; at++) {
		job->messages[job->n++] = (struct signed_message){ ix->messages[at].uid, check_of(mb, &ix->messages[at]), { .fd = -1 } };
		size += ix->messages[at].size;
	}
	for (size_t i = 0; i < job->n; i++) /* which may let the index move */
		(void)mailbox_content(mb, job->messages[i].uid, &job->messages[i].content, NULL);
}

static void
submit(struct sign_job *job, void (*run)(struct work *), void (*done)(struct work *))
{
	job->work = (struct work){ .run = run, .done = done };
	job->running = true;
	worker_submit_later(job->mailbox->store->pool, &job->work);
}

static bool
wasteful(struct mailbox *mb)
{
	uint64_t alive = index_place(mailbox_index(mb), searchfile_last(&mb->signing.file) + 1);

	return mb->signing.file.messages > 2 * alive + SLACK;
}

static void step(struct mailbox *mb);

static void
signed_some(struct work *w)
{
	struct sign_job *job = OWNER_OF(w, struct sign_job, work);

	job->running = false;
	close_contents(job);
	if (job->ok) {
		step(job->mailbox);
		return;
	}
	give_up(job->mailbox, "out of memory");
	end_job(job->mailbox);
}

static void
compacted(struct work *w)
{
	struct sign_job *job = OWNER_OF(w, struct sign_job, work);
	struct mailbox *mb = job->mailbox;

	job->running = false;
	if (job->ok && mb->vfs->ops->rename(mb->vfs, COPY_NAME, SEARCHFILE_NAME) == 0 &&
	    searchfile_open(&mb->signing.file, mb->vfs, SEARCHFILE_NAME, job->uidvalidity, VFS_WRITE) && !wasteful(mb)) {
		step(mb); /* what has come meanwhile */
		return;
	}
	(void)mb->vfs->ops->unlink(mb->vfs, COPY_NAME);
	end_job(mb);
}

static void
compact(struct mailbox *mb, struct sign_job *job)
{
	const struct index *ix = mailbox_index(mb);

	uidset_free(&job->alive);
	for (size_t i = 0; i < ix->n; i++)
		uidset_add(&job->alive, ix->messages[i].uid, ix->messages[i].uid);
	if (job->alive.failed)
		end_job(mb);
	else
		submit(job, run_compact, compacted);
}

static void
step(struct mailbox *mb)
{
	struct sign_job *job = mb->signing.job;

	if (mb->failed || mb->signing.given_up || !enabled(mb->store) || (draft_full(&job->draft) && !flush(mb))) {
		end_job(mb);
		return;
	}
	collect(mb, job);
	if (job->n)
		submit(job, run_sign, signed_some);
	else if (!flush(mb) || !wasteful(mb))
		end_job(mb);
	else
		compact(mb, job);
}

static void
begin(struct mailbox *mb)
{
	struct sign_job *job = calloc(1, sizeof(*job));

	if (!job || !signature_init(&job->maker)) {
		free(job);
		return;
	}
	job->mailbox = mb;
	job->search = mb->store->search;
	job->uidvalidity = mailbox_uidvalidity(mb);
	draft_init(&job->draft);
	uidset_init(&job->alive);
	mb->signing.job = job;
	step(mb);
}

/* ---- when ---- */

static bool
opened(struct mailbox *mb)
{
	struct signing *s = &mb->signing;

	if (s->file.fd >= 0)
		return true;
	if (!searchfile_open(&s->file, mb->vfs, SEARCHFILE_NAME, mailbox_uidvalidity(mb), s->wanted ? VFS_CREATE : VFS_WRITE)) {
		if (s->wanted)
			give_up(mb, "it cannot be opened");
		s->absent = true;
		return false;
	}
	if (searchfile_last(&s->file) >= mailbox_index(mb)->uidnext) /* of another time than the index */
		signing_drop(mb);
	return s->file.fd >= 0;
}

static void
on_timer(struct timer *t)
{
	struct mailbox *mb = OWNER_OF(t, struct mailbox, signing.timer);

	if (!mb->store->search.share)
		signing_drop(mb);
	else if (!mb->signing.job && !mb->signing.given_up && !mb->failed && opened(mb))
		begin(mb);
}

void
signing_init(struct mailbox *mb)
{
	searchfile_init(&mb->signing.file);
	timer_init(&mb->signing.timer, mb->store->loop, on_timer);
}

void
signing_later(struct mailbox *mb)
{
	struct signing *s = &mb->signing;

	if (mb->store->search.sign && !s->job && !s->given_up && (s->wanted || !s->absent) && !timer_running(&s->timer))
		(void)timer_set(&s->timer, LATER_MS);
}

void
signing_stop(struct mailbox *mb)
{
	struct sign_job *job = mb->signing.job;

	timer_stop(&mb->signing.timer);
	if (job) {
		if (job->running)
			worker_wait(mb->store->pool, &job->work);
		(void)flush(mb);
		end_job(mb);
	}
	searchfile_close(&mb->signing.file);
}

void
signing_drop(struct mailbox *mb)
{
	signing_stop(mb);
	(void)mb->vfs->ops->unlink(mb->vfs, SEARCHFILE_NAME);
}

void
store_set_search(struct store *store, const struct store_search *search)
{
	store->search = *search;
}

bool
mailbox_may_have(struct mailbox *mb, const struct message *m, const struct signature_query *needle)
{
	struct signing *s = &mb->signing;
	struct span signature;

	if (!enabled(mb->store) || !needle->nshort)
		return true;
	s->wanted = true;
	signature = s->file.fd < 0 ? SPAN_NONE : searchfile_get(&s->file, m->uid, check_of(mb, m));
	if (signature.n)
		return signature_may_have(signature, m->uid, needle);
	if (m->uid > searchfile_last(&s->file))
		signing_later(mb);
	return true;
}
