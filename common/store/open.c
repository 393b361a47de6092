/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "log/log.h"
#include "store/name.h"
#include "store/state.h"
#include "store/stock.h"

enum {
	LINGER_MS = 30 * 1000, /* a folder stays open after its last session: the next one finds it warm */
	RETRY_MS = 50,
	PROMISE_MIN = 256, /* below that the links are made sooner than a promise is durable, or about */
};

void
folder_dir(struct span name, char out[STORE_NAME_MAX + 2])
{
	out[0] = '\0';
	if (span_eq(name, SPAN("INBOX")))
		return;
	out[0] = '.';
	if (!span_cstr(name, out + 1, STORE_NAME_MAX + 1))
		out[0] = '\0';
}

/* ---- the store ---- */

struct store *
store_new(const struct store_config *config, struct fail *why)
{
	struct store *store = calloc(1, sizeof(*store));
	int again;

	if (!store) {
		(void)fail_set(why, FAIL_TEMP, 0, "out of memory");
		return NULL;
	}
	store->loop = config->loop;
	store->pool = config->pool;
	store->base = config->base;
	/* A repair has it whole (look.h), many that serve it would share it. */
	if (!config->locked && flock(store->base, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
		(void)fail_set(why, FAIL_TEMP, 0, "the mailbox is being repaired");
		store->notice.fd = -1;
		list_init(&store->mailboxes);
		store_free(&store);
		return NULL;
	}
	store->notice.fd = -1;
	list_init(&store->mailboxes);
	again = fcntl(store->base, F_DUPFD_CLOEXEC, 3);
	store->vfs = again < 0 ? NULL : vfs_posix_at(again);
	store->deliverer = deliverer_new(store->loop, store->pool, config->host);
	quota_init(&store->quota, store->vfs);
	if (!store->vfs || !store->deliverer) {
		if (!store->vfs && again >= 0)
			(void)close(again);
		(void)fail_set(why, FAIL_TEMP, 0, "out of memory or descriptors");
		store_free(&store);
		return NULL;
	}
	if (!maildir_exists(store->vfs, "") && !maildir_make(store->vfs, "", why)) {
		store_free(&store);
		return NULL;
	}
	store->promise_min = PROMISE_MIN;
	if (!promise_redo(store->vfs, why)) {
		store_free(&store);
		return NULL;
	}
	if (!notice_start(store))
		log_put(LOG_degraded, "no inotify instance to be had: new mail is noticed by looking every second");
	return store;
}

static bool
busy(const struct mailbox *mb)
{
	return follow_busy(mb) || indexfile_busy(&mb->file) || mb->users > 0;
}

static void
close_mailbox(struct mailbox *mb)
{
	signing_stop(mb);
	stock_stop(mb);
	if (!mb->failed && !mb->file.ix.failed && indexfile_settle(&mb->file, NULL))
		scan_stamp(mb);
	making_stop(mb);
	notice_unwatch(mb);
	list_remove(&mb->node);
	indexfile_close(&mb->file);
	timer_stop(&mb->linger); /* last: what came to light above may have set them */
	timer_stop(&mb->follow);
	facts_close(&mb->facts);
	index_names_free(&mb->names);
	vfs_posix_free(&mb->vfs);
	if (mb->memo)
		mb->memo->free(mb->memo);
	free(mb->own);
	free(mb);
}

void
store_free(struct store **at)
{
	struct store *store = *at;

	if (!store)
		return;
	while (!list_empty(&store->mailboxes)) {
		struct mailbox *mb = OWNER_OF(store->mailboxes.next, struct mailbox, node);

		linking_leave(store);
		while (busy(mb) && list_empty(&mb->views) && loop_turn(store->loop, 100))
			linking_leave(store);
		close_mailbox(mb);
	}
	store_stop_purge(store);
	while (store->deliverer && deliverer_busy(store->deliverer) && loop_turn(store->loop, 100))
		;
	metadata_free(store);
	notice_stop(store);
	deliverer_free(&store->deliverer);
	if (store->vfs)
		quota_close(&store->quota);
	vfs_posix_free(&store->vfs);
	if (store->base >= 0)
		(void)close(store->base);
	free(store);
	*at = NULL;
}

/* ---- one folder ---- */

uint64_t
objectid_new(void)
{
	uint64_t id;

	return getrandom(&id, sizeof(id), 0) == (ssize_t)sizeof(id) ? id : 0;
}

static void
on_linger(struct timer *t)
{
	struct mailbox *mb = OWNER_OF(t, struct mailbox, linger);

	if (mb->users)
		return;
	if (busy(mb) || deliverer_busy(mb->store->deliverer))
		(void)timer_set(t, RETRY_MS);
	else
		close_mailbox(mb);
}

static void
on_event(void *arg, const struct fail *what)
{
	struct mailbox *mb = arg;

	log_put(LOG_mailbox, "folder=%s index: %s", mb->name, what->text);
}

/* A folder of an older release gets its id at its first opening, durable before it can be told. */
static void
give_objectid(struct mailbox *mb)
{
	union record r = { .objectid.id = objectid_new() };

	if (!mb->file.ix.objectid && r.objectid.id && change_put(mb, RECORD_objectid, &r, NULL) && !indexfile_sync(&mb->file, NULL))
		mb->failed = true;
}

static bool
load(struct mailbox *mb, struct fail *why)
{
	enum indexfile_found found;
	size_t kept;
	bool ok;

	mb->file.on_event = on_event;
	mb->file.arg = mb;
	if (!indexfile_open(&mb->file, mb->vfs, mb->store->loop, mb->store->pool, &found, why))
		return false;
	notice_watch(mb); /* before the first look, so that nothing falls in between */
	if (found != INDEXFILE_GOOD) {
		if (found == INDEXFILE_LOST)
			log_put(LOG_mailbox, "folder=%s the index is lost or damaged and is rebuilt", mb->name);
		kept = stock_keep(mb->vfs);
		if (kept)
			log_put(LOG_mailbox, "folder=%s files=%zu in tmp/ may be messages that were appended just before a crash, and stay there", mb->name, kept);
		return takeover(mb, found, why);
	}
	mb->visible = mb->file.ix.n ? mb->file.ix.messages[mb->file.ix.n - 1].uid : 0;
	give_objectid(mb);
	if (!scan_stale(mb))
		return true;
	mb->opening = true;
	ok = scan_most(mb, why);
	mb->opening = false;
	if (!ok)
		return false;
	/* In a large folder they are half of what it takes, and arrivals may be long in coming. */
	index_names_free(&mb->names);
	indexfile_cool(&mb->file);
	return true;
}

static struct mailbox *
open_mailbox(struct store *store, struct span name, struct fail *why)
{
	char dir[STORE_NAME_MAX + 2];
	struct mailbox *mb;
	struct vfs *v;

	folder_dir(name, dir);
	if (!(v = maildir_vfs(store->base, dir, why)))
		return NULL;
	if (!(mb = calloc(1, sizeof(*mb)))) {
		vfs_posix_free(&v);
		(void)fail_set(why, FAIL_TEMP, 0, "out of memory");
		return NULL;
	}
	mb->store = store;
	mb->vfs = v;
	mb->watch_new = mb->watch_cur = -1;
	(void)span_cstr(name, mb->name, sizeof(mb->name));
	list_init(&mb->views);
	list_init(&mb->waiters);
	list_init(&mb->incoming);
	timer_init(&mb->linger, store->loop, on_linger);
	facts_init(&mb->facts, v);
	signing_init(mb);
	making_init(mb);
	follow_later(mb, 0, 0);
	list_push(&store->mailboxes, &mb->node);
	if (!load(mb, why)) {
		mb->failed = true;
		close_mailbox(mb);
		return NULL;
	}
	follow_later(mb, 0, 0); /* what an end without notice left to be removed */
	signing_later(mb);
	return mb;
}

struct mailbox *
mailbox_find(struct store *store, struct span name)
{
	name = name_fold(name);
	LIST_EACH(&store->mailboxes, it) {
		struct mailbox *mb = OWNER_OF(it, struct mailbox, node);

		if (span_eq(span_str(mb->name), name))
			return mb;
	}
	return NULL;
}

struct mailbox *
mailbox_use_soon(struct store *store, struct span name, struct fail *why)
{
	struct mailbox *mb;

	name = name_fold(name);
	if (!store_exists(store, name)) {
		(void)fail_set(why, FAIL_PERM, 0, "There is no such mailbox");
		return NULL;
	}
	mb = mailbox_find(store, name);
	if (mb && (mb->failed || mb->file.ix.failed || !journal_alive(mb->file.journal))) {
		if (mb->users || busy(mb)) {
			(void)fail_set(why, FAIL_TEMP, 0, "The mailbox has a problem, try again later");
			return NULL;
		}
		close_mailbox(mb);
		mb = NULL;
	}
	if (!mb && !(mb = open_mailbox(store, name, why)))
		return NULL;
	/* Without inotify the times of the directories tell. */
	if ((mb->dirty || mb->watch_new < 0) && scan_stale(mb) && !scan_most(mb, why))
		return NULL;
	mb->users++;
	store->unsettled |= mb->file.begun;
	timer_stop(&mb->linger);
	if (!change_show_now(mb, why)) {
		mailbox_unuse(mb);
		return NULL;
	}
	return mb;
}

struct mailbox *
mailbox_use(struct store *store, struct span name, struct fail *why)
{
	struct mailbox *mb = mailbox_use_soon(store, name, why);

	if (mb && !indexfile_settle(&mb->file, why)) {
		mailbox_unuse(mb);
		mb = NULL;
	}
	return mb;
}

bool
store_unsettled(const struct store *store)
{
	return store && store->unsettled;
}

void
mailbox_unuse(struct mailbox *mb)
{
	if (--mb->users == 0)
		(void)timer_set(&mb->linger, LINGER_MS);
}

bool
mailbox_forget(struct store *store, struct span name, struct fail *why)
{
	struct mailbox *mb = mailbox_find(store, name);

	if (!mb)
		return true;
	if (!list_empty(&mb->views))
		return fail_set(why, FAIL_PERM, 0, "The mailbox is in use");
	(void)linking_settle(store, mb);
	if (busy(mb))
		return fail_set(why, FAIL_TEMP, 0, "The mailbox is busy, try again");
	close_mailbox(mb);
	return true;
}

bool
store_status(struct store *store, struct span name, struct mailbox_status *out, struct fail *why)
{
	struct mailbox *mb = mailbox_use(store, name, why);

	if (!mb)
		return false;
	mailbox_counts(mb, out);
	mailbox_unuse(mb);
	return true;
}

/* ---- facts ---- */

uint64_t
mailbox_objectid(const struct mailbox *mb)
{
	return mb->file.ix.objectid;
}

struct span
mailbox_name(const struct mailbox *mb)
{
	return span_str(mb->name);
}

uint32_t
mailbox_uidvalidity(const struct mailbox *mb)
{
	return mb->file.ix.uidvalidity;
}

/* Never the UID of a message that is not told yet. */
uint32_t
mailbox_uidnext(const struct mailbox *mb)
{
	const struct index *ix = &mb->file.ix;

	return ix->n && ix->messages[ix->n - 1].uid > mb->visible ? mb->visible + 1 : ix->uidnext;
}

/* Not beyond the arrival of a message that is not told yet: who asks for what
 * changed since must get it. */
uint64_t
mailbox_modseq(const struct mailbox *mb)
{
	const struct index *ix = &mb->file.ix;
	size_t at = ix->n;

	while (at > 0 && ix->messages[at - 1].uid > mb->visible)
		at--;
	return at < ix->n && ix->messages[at].modseq <= ix->modseq ? ix->messages[at].modseq - 1 : ix->modseq;
}

static uint64_t
deleted_size(const struct index *ix)
{
	uint64_t size = 0;

	for (size_t i = 0, left = ix->deleted; left && i < ix->n; i++)
		if (ix->messages[i].flags & FLAG_DELETED) {
			size += ix->messages[i].size;
			left--;
		}
	return size;
}

void
mailbox_counts(const struct mailbox *mb, struct mailbox_status *out)
{
	const struct index *ix = &mb->file.ix;

	*out = (struct mailbox_status){
		.messages = (uint32_t)index_place(ix, mb->visible + 1),
		.recent = (uint32_t)(ix->n - index_place(ix, ix->recent_from)),
		.unseen = ix->unseen,
		.deleted = ix->deleted,
		.uidnext = mailbox_uidnext(mb),
		.uidvalidity = ix->uidvalidity,
		.highest_modseq = mailbox_modseq(mb),
		.size = ix->total,
		.deleted_size = deleted_size(ix),
		.objectid = ix->objectid,
	};
}

struct span
mailbox_keyword(const struct mailbox *mb, unsigned i)
{
	return i < MAILBOX_KEYWORDS_MAX ? span_str(mb->file.ix.keywords[i]) : SPAN_NONE;
}

int
mailbox_keyword_find(struct mailbox *mb, struct span name, bool make)
{
	int bit = index_keyword(mailbox_index(mb), name);

	return bit >= 0 || !make ? bit : change_keyword(mb, name);
}

/* All UIDs of [lo, hi] that no message has. */
static void
add_missing(const struct index *ix, uint32_t lo, uint32_t hi, struct uidset *out)
{
	size_t at = index_place(ix, lo);

	for (; lo <= hi; at++) {
		uint32_t next = at < ix->n ? ix->messages[at].uid : UINT32_MAX;

		if (next > lo)
			uidset_add(out, lo, next - 1 < hi ? next - 1 : hi);
		if (next >= hi)
			return;
		lo = next + 1;
	}
}

/* Ascending ranges of what is in both. */
static void
intersect(const struct uidset *a, const struct uidset *b, struct uidset *out)
{
	for (size_t i = 0, k = 0; i < a->n && k < b->n;) {
		uint32_t lo = a->ranges[i].lo > b->ranges[k].lo ? a->ranges[i].lo : b->ranges[k].lo;
		uint32_t hi = a->ranges[i].hi < b->ranges[k].hi ? a->ranges[i].hi : b->ranges[k].hi;

		if (lo <= hi)
			uidset_add(out, lo, hi);
		if (a->ranges[i].hi < b->ranges[k].hi)
			i++;
		else
			k++;
	}
}

bool
mailbox_vanished_of(const struct mailbox *mb, uint64_t modseq, const struct uidset *uids, struct uidset *out)
{
	const struct index *ix = &mb->file.ix;
	struct uid_range all = { 1, ix->uidnext - 1 };
	const struct uidset everything = { .ranges = &all, .n = ix->uidnext > 1 ? 1 : 0 };
	struct uidset gone;

	if (!uids)
		uids = &everything;
	if (modseq < ix->vanished_floor) {
		for (size_t i = 0; i < uids->n; i++)
			if (uids->ranges[i].lo <= all.hi)
				add_missing(ix, uids->ranges[i].lo, uids->ranges[i].hi < all.hi ? uids->ranges[i].hi : all.hi, out);
		return false;
	}
	uidset_init(&gone);
	for (size_t i = 0; i < ix->nvanished; i++)
		if (ix->vanished[i].modseq > modseq)
			uidset_add(&gone, ix->vanished[i].lo, ix->vanished[i].hi);
	intersect(&gone, uids, out);
	uidset_free(&gone);
	return true;
}

void
mailbox_uidl(const struct mailbox *mb, const struct message *m, struct buf *out)
{
	struct span own = index_uidl(&mb->file.ix, m);

	/* Dovecot's default form, so that a takeover changes nothing. */
	if (own.n)
		buf_put(out, own);
	else
		buf_printf(out, "%08x%08x", m->uid, mb->file.ix.uidvalidity);
}

struct mailbox_memo **
mailbox_memo(struct mailbox *mb)
{
	return &mb->memo;
}
