/* SPDX-License-Identifier: ISC
 *
 * A session's sequence numbers are the live messages up to v->told merged
 * with those that are gone but not told: nothing is copied per session.
 */
#include "store/state.h"

static const struct index *
index_of(const struct view *v)
{
	return &v->mailbox->file.ix;
}

/* Live messages this session knows. */
static size_t
live(const struct view *v)
{
	return v->ntold - v->ngone;
}

uint32_t
view_uid(const struct view *v, uint32_t seq)
{
	const struct index *ix = index_of(v);
	size_t lo = 0, hi, p = (size_t)seq - 1;

	if (seq == 0 || seq > v->ntold)
		return 0;
	if (uidset_empty(&v->gone))
		return ix->messages[p].uid;
	/* The first live message at or behind place p of the merged order. */
	hi = live(v);
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (mid + uidset_below(&v->gone, ix->messages[mid].uid) < p)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < live(v) && lo + uidset_below(&v->gone, ix->messages[lo].uid) == p)
		return ix->messages[lo].uid;
	return uidset_nth(&v->gone, p - lo);
}

uint32_t
view_seq_from(const struct view *v, uint32_t uid)
{
	size_t at = index_place(index_of(v), uid), most = live(v);

	if (at > most)
		at = most;
	return (uint32_t)(at + uidset_below(&v->gone, uid) + 1);
}

uint32_t
view_seq(const struct view *v, uint32_t uid)
{
	const struct index *ix = index_of(v);
	size_t at = index_place(ix, uid);

	if (uid == 0 || uid > v->told)
		return 0;
	if ((at < ix->n && ix->messages[at].uid == uid) || uidset_has(&v->gone, uid))
		return (uint32_t)(at + uidset_below(&v->gone, uid) + 1);
	return 0;
}

const struct message *
view_by_uid(const struct view *v, uint32_t uid)
{
	return uid <= v->told ? index_find(index_of(v), uid) : NULL;
}

const struct message *
view_message(const struct view *v, uint32_t seq)
{
	if (uidset_empty(&v->gone))
		return seq && seq <= v->ntold ? &index_of(v)->messages[seq - 1] : NULL;
	return view_by_uid(v, view_uid(v, seq));
}

bool
view_recent(const struct view *v, uint32_t uid)
{
	return uidset_has(&v->recent, uid);
}

bool
view_uids(const struct view *v, const struct uidset *seqs, struct uidset *uids)
{
	for (size_t i = 0; i < seqs->n; i++) {
		uint32_t hi = seqs->ranges[i].hi < v->ntold ? seqs->ranges[i].hi : v->ntold;

		for (uint32_t seq = seqs->ranges[i].lo; seq && seq <= hi; seq++) {
			uint32_t uid = view_uid(v, seq);

			uidset_add(uids, uid, uid);
		}
	}
	return !uids->failed;
}

bool
view_known(const struct view *v, const struct uidset *uids, struct uidset *known)
{
	for (size_t i = 0; i < uids->n; i++) {
		uint32_t hi = uids->ranges[i].hi;

		for (uint32_t seq = view_seq_from(v, uids->ranges[i].lo); seq <= v->ntold; seq++) {
			uint32_t uid = view_uid(v, seq);

			if (uid > hi)
				break;
			uidset_add(known, uid, uid);
		}
	}
	return !known->failed;
}

void
view_lose(struct view *v)
{
	v->lost = true;
	v->told = v->ntold = v->ngone = v->held = 0;
	uidset_clear(&v->gone);
	uidset_clear(&v->changed);
	if (v->on_pending)
		v->on_pending(v);
}

/* ---- telling ---- */

/* Takes what has arrived into the view. Returns whether there was something. */
static bool
take_arrivals(struct view *v)
{
	struct mailbox *mb = v->mailbox;
	struct index *ix = mailbox_index(mb);
	size_t upto = index_place(ix, mb->visible + 1), known = live(v);
	union record r;

	if (mb->visible <= v->told)
		return false;
	for (size_t at = upto; at > known && ix->messages[at - 1].uid >= ix->recent_from; at--)
		uidset_add(&v->recent, ix->messages[at - 1].uid, ix->messages[at - 1].uid);
	v->ntold += (uint32_t)(upto - known);
	v->told = mb->visible;
	if (!v->readonly && ix->recent_from <= mb->visible) {
		/* RFC 3501 2.3.2: only the first session sees \Recent. */
		r.recent.uid = mb->visible + 1;
		(void)change_put(mb, RECORD_recent, &r, NULL);
	}
	return upto > known;
}

static void
tell_gone(struct view *v, const struct view_events *events)
{
	while (v->gone.n) {
		uint32_t uid = v->gone.ranges[v->gone.n - 1].hi;
		/* It is the last of those that are gone: all others are before it. */
		uint32_t seq = (uint32_t)index_place(index_of(v), uid) + v->ngone;

		uidset_remove(&v->gone, uid, uid);
		v->ngone--;
		v->ntold--;
		if (events->on_expunge)
			events->on_expunge(v, seq, uid);
	}
}

static void
tell_flags(struct view *v, const struct view_events *events)
{
	struct uidset changed = v->changed;
	const struct index *ix = index_of(v);

	uidset_init(&v->changed);
	for (size_t i = 0; i < changed.n && events->on_flags; i++)
		for (size_t at = index_place(ix, changed.ranges[i].lo); at < ix->n && ix->messages[at].uid <= changed.ranges[i].hi; at++)
			if (ix->messages[at].uid <= v->told)
				events->on_flags(v, view_seq(v, ix->messages[at].uid), &ix->messages[at]);
	uidset_free(&changed);
}

void
view_sync(struct view *v, const struct view_events *events, bool expunges)
{
	/* Messages that arrived are told below with their flags of now. */
	uint32_t before = v->told;

	if (v->lost)
		return;
	if (expunges)
		tell_gone(v, events);
	if (before != UINT32_MAX)
		uidset_remove(&v->changed, before + 1, UINT32_MAX);
	if (take_arrivals(v) && events->on_exists)
		events->on_exists(v, v->ntold, (uint32_t)uidset_count(&v->recent));
	tell_flags(v, events);
	/* What may not be told now is told at a later call; no further notice is needed for it. */
	v->held = v->ngone;
	v->pending = false;
}

static bool
open_view(struct view *v, struct mailbox *mb, bool readonly)
{
	v->mailbox = mb;
	if (!mb)
		return false;
	v->readonly = readonly;
	v->told = v->ntold = v->ngone = v->held = 0;
	v->pending = v->lost = false;
	uidset_init(&v->gone);
	uidset_init(&v->changed);
	uidset_init(&v->recent);
	(void)take_arrivals(v);
	list_push(&v->mailbox->views, &v->node);
	return true;
}

bool
view_open(struct view *v, struct store *store, struct span name, bool readonly, struct fail *why)
{
	return open_view(v, mailbox_use(store, name, why), readonly);
}

bool
view_select(struct view *v, struct store *store, struct span name, bool readonly, struct fail *why)
{
	return open_view(v, mailbox_use_soon(store, name, why), readonly);
}

bool
view_rest(const struct view *v, struct view_rest *out)
{
	const struct mailbox *mb = v->mailbox;
	const struct index *ix = index_of(v);

	if (v->lost || v->pending || v->ngone || v->changed.n || v->told != mb->visible || (ix->n && ix->messages[ix->n - 1].uid > v->told))
		return false;
	out->uidvalidity = ix->uidvalidity;
	out->told = v->told;
	out->ntold = v->ntold;
	out->modseq = ix->modseq;
	out->readonly = v->readonly;
	uidset_add_set(&out->recent, &v->recent);
	return !out->recent.failed;
}

/* What it does not know, as if it had been told of it at the time. */
static bool
catch_up(struct view *v, const struct view_rest *was, struct fail *why)
{
	static const char text[] = "The folder is not what it was";
	const struct index *ix = index_of(v);
	struct uid_range range = { 1, was->told };
	const struct uidset known = { .ranges = &range, .n = was->told ? 1 : 0 };
	size_t upto = index_place(ix, was->told + 1);

	if (ix->uidvalidity != was->uidvalidity || was->told == UINT32_MAX || was->told >= ix->uidnext || was->modseq > ix->modseq ||
	    !mailbox_vanished_of(v->mailbox, was->modseq, &known, &v->gone))
		return fail_set(why, FAIL_PERM, 0, text);
	v->ngone = (uint32_t)uidset_count(&v->gone);
	if (v->gone.failed || upto + v->ngone != was->ntold)
		return fail_set(why, FAIL_PERM, 0, text);
	for (size_t at = 0; at < upto; at++)
		if (ix->messages[at].modseq > was->modseq)
			uidset_add(&v->changed, ix->messages[at].uid, ix->messages[at].uid);
	uidset_add_set(&v->recent, &was->recent);
	for (size_t i = 0; i < v->gone.n; i++)
		uidset_remove(&v->recent, v->gone.ranges[i].lo, v->gone.ranges[i].hi);
	v->told = was->told;
	v->ntold = was->ntold;
	v->pending = v->changed.n || v->ngone || v->mailbox->visible > v->told;
	return !(v->changed.failed || v->recent.failed) || fail_set(why, FAIL_TEMP, 0, "out of memory");
}

bool
view_resume(struct view *v, struct store *store, struct span name, const struct view_rest *was, struct fail *why)
{
	v->mailbox = mailbox_use(store, name, why);
	if (!v->mailbox)
		return false;
	v->readonly = was->readonly;
	v->told = v->ntold = v->ngone = v->held = 0;
	v->pending = v->lost = false;
	uidset_init(&v->gone);
	uidset_init(&v->changed);
	uidset_init(&v->recent);
	list_push(&v->mailbox->views, &v->node);
	if (catch_up(v, was, why))
		return true;
	view_close(v);
	return false;
}

void
view_close(struct view *v)
{
	if (!v->mailbox)
		return;
	list_remove(&v->node);
	uidset_free(&v->gone);
	uidset_free(&v->changed);
	uidset_free(&v->recent);
	mailbox_unuse(v->mailbox);
	v->mailbox = NULL;
}
