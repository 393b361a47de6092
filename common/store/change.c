/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log/log.h"
#include "store/state.h"

static const struct fail problem = { .class = FAIL_TEMP, .text = "The mailbox has a problem, try again later" };

/* ---- telling views ---- */

void
change_pending(struct mailbox *mb, const struct view *but)
{
	LIST_EACH(&mb->views, it) {
		struct view *v = OWNER_OF(it, struct view, node);
		bool any = v->told < mb->visible || v->ngone != v->held || !uidset_empty(&v->changed);

		if (v->changed.failed || v->gone.failed) { /* no memory for what it was to be told */
			view_lose(v);
			continue;
		}
		if (!any || v->pending)
			continue;
		v->pending = true;
		if (v != but && v->on_pending)
			v->on_pending(v);
	}
}

/* The index cannot be written any more.  Who has the folder open is sent away: the next to open it finds what is on the disk. */
static bool
broken(struct mailbox *mb, const struct fail *why)
{
	if (mb->failed)
		return false;
	log_put(LOG_mailbox, "folder=%s cannot write its index: %s", mb->name, why ? why->text : "out of memory");
	mb->failed = true;
	LIST_EACH(&mb->views, it)
		view_lose(OWNER_OF(it, struct view, node));
	return false;
}

void
store_settle(struct store *store)
{
	struct fail why;

	if (!store->unsettled)
		return;
	store->unsettled = false;
	LIST_EACH(&store->mailboxes, it) {
		struct mailbox *mb = OWNER_OF(it, struct mailbox, node);

		if (!indexfile_settle(&mb->file, &why))
			(void)broken(mb, &why);
	}
}

/* The journal took nothing: a limit that was reached (a full disk) leaves the
 * index as it was, anything else is its end. */
static bool
refused(struct mailbox *mb, const struct fail *why)
{
	return why->class == FAIL_LIMIT ? false : broken(mb, why);
}

/* Not while renames are meant: a snapshot does not hold that. */
void
change_tidy(struct mailbox *mb)
{
	if (!mb->job)
		indexfile_tidy(&mb->file);
}

/* Whether the index and its journal agree: a record that found no memory to be applied is in the journal alone. */
static bool
sound(struct mailbox *mb)
{
	return !mb->failed && (!mb->file.ix.failed || broken(mb, NULL));
}

bool
change_put(struct mailbox *mb, unsigned type, union record *r, struct fail *why)
{
	struct fail local;

	if (!sound(mb))
		return fail_set(why, FAIL_TEMP, 0, "%s", problem.text);
	if (!indexfile_put(&mb->file, type, r, NULL, why ? why : &local))
		return refused(mb, why ? why : &local);
	return sound(mb) || fail_set(why, FAIL_TEMP, 0, "Out of memory");
}

static bool
put_uids(struct mailbox *mb, unsigned type, union record *r, struct span *field, const struct uidset *uids, struct fail *why)
{
	struct fail local;

	if (!sound(mb) || uids->failed)
		return fail_set(why, FAIL_TEMP, 0, "%s", problem.text);
	if (!indexfile_put_uids(&mb->file, type, r, field, uids, why ? why : &local))
		return refused(mb, why ? why : &local);
	if (!sound(mb))
		return fail_set(why, FAIL_TEMP, 0, "Out of memory");
	change_tidy(mb);
	return true;
}

/* ---- arrivals ---- */

static void
tell_waiters(struct mailbox *mb, const struct fail *why)
{
	LIST_EACH(&mb->waiters, it) {
		struct waiter *w = OWNER_OF(it, struct waiter, node);

		if (!why && w->uid > mb->visible)
			continue;
		list_remove(&w->node);
		w->on_visible(w, why);
	}
}

static void
on_durable(struct journal_ticket *t, const struct fail *why)
{
	struct mailbox *mb = OWNER_OF(t, struct mailbox, ticket);

	if (why) {
		mb->syncing = 0;
		(void)broken(mb, why);
		tell_waiters(mb, why);
		return;
	}
	mb->visible = mb->syncing > mb->visible ? mb->syncing : mb->visible;
	mb->syncing = 0;
	change_show(mb);
	tell_waiters(mb, NULL);
	if (mb->failed) /* meanwhile: nobody shows what came behind it */
		tell_waiters(mb, &problem);
	change_pending(mb, NULL);
	signing_later(mb);
	making_later(mb);
}

static uint32_t
newest(const struct mailbox *mb)
{
	return mb->file.ix.n ? mb->file.ix.messages[mb->file.ix.n - 1].uid : 0;
}

/* One ticket at a time stands for all that has come so far.  False: who waits has been told why it will not. */
static bool
show(struct mailbox *mb, struct fail *why)
{
	if (mb->syncing || newest(mb) <= mb->visible || mb->failed)
		return true;
	mb->syncing = newest(mb);
	mb->ticket.on_durable = on_durable;
	if (indexfile_told(&mb->file, &mb->ticket, why))
		return true;
	mb->syncing = 0;
	(void)refused(mb, why);
	tell_waiters(mb, why);
	return false;
}

void
change_show(struct mailbox *mb)
{
	struct fail why;

	(void)show(mb, &why);
}

bool
change_show_now(struct mailbox *mb, struct fail *why)
{
	if (newest(mb) <= mb->visible)
		return true;
	if (!indexfile_sync(&mb->file, why))
		return broken(mb, why);
	if (newest(mb) > mb->visible)
		mb->visible = newest(mb);
	tell_waiters(mb, NULL);
	change_pending(mb, NULL);
	signing_later(mb);
	making_later(mb);
	return true;
}

void
change_wait(struct mailbox *mb, struct waiter *w)
{
	struct fail why = problem;
	bool shown = show(mb, &why);

	if (w->uid <= mb->visible)
		w->on_visible(w, NULL);
	else if (!shown || mb->failed)
		w->on_visible(w, &why);
	else
		list_push(&mb->waiters, &w->node);
}

bool
change_arrive(struct mailbox *mb, struct record_message *r, struct fail *why)
{
	struct index *ix = mailbox_index(mb);
	union record rec;

	if (r->uid == 0)
		r->uid = ix->uidnext;
	if (r->uid == UINT32_MAX || ix->n >= INDEX_MESSAGES_MAX)
		return fail_set(why, FAIL_LIMIT, 0, "The mailbox is full");
	r->modseq = ix->modseq + 1;
	if (!r->saved)
		r->saved = (uint32_t)time(NULL);
	rec.message = *r;
	if (!change_put(mb, RECORD_message, &rec, why))
		return false;
	if (mb->names.slots && !index_names_add(&mb->names, ix, &ix->messages[ix->n - 1]))
		index_names_free(&mb->names);
	if (index_lags(&ix->messages[ix->n - 1]))
		follow_later(mb, r->uid, r->uid);
	change_tidy(mb);
	return true;
}

/* ---- keywords ---- */

/* Other readers of the Maildir learn the letters from this file, as Dovecot's do. */
static void
write_keywords(struct mailbox *mb)
{
	const struct vfs_ops *ops = mb->vfs->ops;
	struct buf text;
	int fd;

	buf_init(&text, 65536);
	for (unsigned i = 0; i < 26; i++)
		if (mb->file.ix.keywords[i])
			buf_printf(&text, "%u %s\n", i, mb->file.ix.keywords[i]);
	(void)ops->unlink(mb->vfs, "dovecot-keywords.new");
	fd = ops->open(mb->vfs, "dovecot-keywords.new", VFS_CREATE);
	if (fd >= 0) {
		bool ok = vfs_write_all(mb->vfs, fd, buf_span(&text).p, buf_len(&text), 0);

		(void)ops->close(mb->vfs, fd);
		if (ok)
			(void)ops->rename(mb->vfs, "dovecot-keywords.new", "dovecot-keywords");
	}
	buf_free(&text);
}

/* Another program's letter without a name has no meaning, and is not to get that of a new keyword. */
static bool
clear_letter(struct mailbox *mb, unsigned bit)
{
	const struct index *ix = mailbox_index(mb);
	union record r = { .flags = { .op = FLAGS_REMOVE, .keywords = 1ull << bit, .modseq = ix->modseq + 1 } };
	struct uidset uids;
	bool ok = true;

	uidset_init(&uids);
	for (size_t i = 0; i < ix->n; i++)
		if (ix->messages[i].keywords & r.flags.keywords)
			uidset_add(&uids, ix->messages[i].uid, ix->messages[i].uid);
	if (uids.failed || !uidset_empty(&uids))
		ok = put_uids(mb, RECORD_flags, &r, &r.flags.uids, &uids, NULL);
	if (!uidset_empty(&uids)) {
		follow_later(mb, uids.ranges[0].lo, uids.ranges[uids.n - 1].hi);
		LIST_EACH(&mb->views, it)
			uidset_add_set(&OWNER_OF(it, struct view, node)->changed, &uids);
	}
	uidset_free(&uids);
	return ok;
}

int
change_keyword(struct mailbox *mb, struct span name)
{
	union record r = { .keyword = { .name = name } };

	if (name.n == 0 || name.n > MAILBOX_KEYWORD_LEN)
		return -1;
	while (r.keyword.bit < MAILBOX_KEYWORDS_MAX && mb->file.ix.keywords[r.keyword.bit])
		r.keyword.bit++;
	if (r.keyword.bit == MAILBOX_KEYWORDS_MAX || !clear_letter(mb, r.keyword.bit) || !change_put(mb, RECORD_keyword, &r, NULL))
		return -1;
	if (r.keyword.bit < 26)
		write_keywords(mb);
	return r.keyword.bit;
}

/* ---- flags ---- */

static bool
would_change(const struct message *m, const struct flag_change *c)
{
	switch (c->op) {
	case FLAGS_ADD:
		return (c->flags & ~m->flags) || (c->keywords & ~m->keywords);
	case FLAGS_REMOVE:
		return (c->flags & m->flags) || (c->keywords & m->keywords);
	default:
		return c->flags != m->flags || c->keywords != m->keywords;
	}
}

/* Which of uids the change concerns. */
static void
select_changed(const struct mailbox *mb, const struct uidset *uids, const struct flag_change *change, struct uidset *out,
    struct uidset *modified)
{
	const struct index *ix = &mb->file.ix;

	for (size_t i = 0; i < uids->n; i++)
		for (size_t at = index_place(ix, uids->ranges[i].lo); at < ix->n && ix->messages[at].uid <= uids->ranges[i].hi; at++) {
			const struct message *m = &ix->messages[at];

			if (m->uid > mb->visible)
				return;
			if (m->modseq > change->unchanged_since) {
				if (modified)
					uidset_add(modified, m->uid, m->uid);
			} else if (would_change(m, change)) {
				uidset_add(out, m->uid, m->uid);
			}
		}
}

bool
mailbox_flags(struct view *v, const struct uidset *uids, const struct flag_change *change, struct uidset *modified,
    struct fail *why)
{
	struct mailbox *mb = v->mailbox;
	union record r = { .flags = { .op = (uint8_t)change->op, .flags = change->flags & 31, .keywords = change->keywords } };
	struct uidset changed;
	bool ok = true;

	uidset_init(&changed);
	select_changed(mb, uids, change, &changed, modified);
	r.flags.modseq = mb->file.ix.modseq + 1;
	if (changed.failed || (modified && modified->failed))
		ok = fail_set(why, FAIL_TEMP, 0, "Out of memory");
	else if (!uidset_empty(&changed))
		ok = put_uids(mb, RECORD_flags, &r, &r.flags.uids, &changed, why);
	if (!uidset_empty(&changed)) { /* in part also where the journal did not take all */
		follow_later(mb, changed.ranges[0].lo, changed.ranges[changed.n - 1].hi);
		LIST_EACH(&mb->views, it) {
			struct view *other = OWNER_OF(it, struct view, node);

			if (other != v)
				uidset_add_set(&other->changed, &changed);
		}
		change_pending(mb, v);
	}
	uidset_free(&changed);
	return ok;
}

/* ---- expunge ---- */

/* Those of uids that are gone, where the journal did not take all of them. */
static void
keep_gone(struct mailbox *mb, struct uidset *uids)
{
	const struct index *ix = mailbox_index(mb);
	struct uidset gone;

	uidset_init(&gone);
	for (size_t i = 0; i < uids->n; i++)
		for (uint32_t uid = uids->ranges[i].lo; uid <= uids->ranges[i].hi; uid++)
			if (!index_find(ix, uid))
				uidset_add(&gone, uid, uid);
	if (gone.failed)
		(void)broken(mb, NULL);
	uidset_free(uids);
	*uids = gone;
}

bool
change_expunge(struct mailbox *mb, struct uidset *uids, struct fail *why)
{
	union record r = { .expunge.modseq = mb->file.ix.modseq + 1 };
	uint64_t size = mb->file.ix.total;
	size_t n = mb->file.ix.n;
	bool ok = uidset_empty(uids) || put_uids(mb, RECORD_expunge, &r, &r.expunge.uids, uids, why);

	if (!ok)
		keep_gone(mb, uids);
	if (uidset_empty(uids))
		return ok;
	if (n > mb->file.ix.n)
		store_added(mb->store, (int64_t)(mb->file.ix.total - size), (int64_t)mb->file.ix.n - (int64_t)n);
	LIST_EACH(&mb->views, it) {
		struct view *v = OWNER_OF(it, struct view, node);

		for (size_t i = 0; i < uids->n && uids->ranges[i].lo <= v->told; i++) {
			uint32_t hi = uids->ranges[i].hi < v->told ? uids->ranges[i].hi : v->told;

			uidset_add(&v->gone, uids->ranges[i].lo, hi);
			uidset_remove(&v->changed, uids->ranges[i].lo, hi);
			uidset_remove(&v->recent, uids->ranges[i].lo, hi);
		}
		v->ngone = (uint32_t)uidset_count(&v->gone);
		if (v->gone.failed)
			view_lose(v);
	}
	follow_later(mb, 0, 0);
	return ok;
}

void
change_take_back(struct mailbox *mb, struct uidset *uids)
{
	mb->dirty |= !change_expunge(mb, uids, NULL);
	(void)timer_set(&mb->store->poll, 1);
}

static bool
expunge(struct view *v, const struct uidset *uids, bool any, struct fail *why)
{
	static const struct uid_range everything = { 1, UINT32_MAX };
	struct mailbox *mb = v->mailbox;
	const struct index *ix = &mb->file.ix;
	const struct uid_range *ranges = uids ? uids->ranges : &everything;
	struct uidset out;
	bool ok;

	uidset_init(&out);
	for (size_t i = 0; i < (uids ? uids->n : 1); i++)
		for (size_t at = index_place(ix, ranges[i].lo); at < ix->n && ix->messages[at].uid <= ranges[i].hi; at++)
			if (ix->messages[at].uid <= mb->visible && (any || (ix->messages[at].flags & FLAG_DELETED)))
				uidset_add(&out, ix->messages[at].uid, ix->messages[at].uid);
	ok = !out.failed || fail_set(why, FAIL_LIMIT, 0, "Too many messages at once");
	ok = ok && change_expunge(mb, &out, why);
	uidset_free(&out);
	change_pending(mb, v);
	return ok;
}

bool
mailbox_expunge(struct view *v, const struct uidset *uids, struct fail *why)
{
	return expunge(v, uids, false, why);
}

bool
mailbox_remove(struct view *v, const struct uidset *uids, struct fail *why)
{
	return expunge(v, uids, true, why);
}

/* ---- durable ---- */

struct confirming {
	struct journal_ticket ticket;
	struct mailbox *mailbox; /* used */
	struct mailbox_op *op;
};

static void
on_confirmed(struct journal_ticket *t, const struct fail *why)
{
	struct confirming *c = OWNER_OF(t, struct confirming, ticket);
	struct mailbox_op *op = c->op;

	op->ok = why == NULL;
	if (why) {
		op->why = *why;
		(void)broken(c->mailbox, why);
	}
	mailbox_unuse(c->mailbox);
	free(c);
	op->on_done(op); /* may free the op */
}

void
mailbox_confirm(struct view *v, struct mailbox_op *op)
{
	struct mailbox *mb = v->mailbox;
	struct confirming *c;

	op->ok = !mb->failed && journal_alive(mb->file.journal) && !journal_pending(mb->file.journal);
	if (op->ok) {
		op->on_done(op);
		return;
	}
	if (!(c = calloc(1, sizeof(*c)))) {
		(void)fail_set(&op->why, FAIL_TEMP, 0, "out of memory");
		op->on_done(op);
		return;
	}
	*c = (struct confirming){ .ticket.on_durable = on_confirmed, .mailbox = mb, .op = op };
	mb->users++;
	if (indexfile_told(&mb->file, &c->ticket, &op->why))
		return;
	mailbox_unuse(mb);
	free(c);
	op->on_done(op);
}
