/* SPDX-License-Identifier: ISC
 *
 * A user's quota as mailboxd keeps it: what comes and goes here is said in the
 * quota file (quota.h), and asked of it before something is taken.  And how
 * long what was expunged is kept (kept.h).
 */
#include <stdlib.h>
#include <time.h>

#include "store/kept.h"
#include "store/state.h"

enum {
	PURGE_FIRST_MS = 3 * 1000,
	PURGE_MS = 60 * 60 * 1000,
};

void
store_set_quota(struct store *store, const struct quota *limit)
{
	bool had = quota_limited(&store->limit);

	if (!quota_limited(limit) && (had || !store->limit_known)) {
		quota_close(&store->quota);
		quota_forget(store->vfs);
	}
	store->limit = *limit;
	store->limit_known = true;
}

struct quota
store_quota(const struct store *store)
{
	return store->limit;
}

/* Files of expunged messages that are still there do not count. */
static bool
count(struct store *store, struct fail *why)
{
	struct quota gone = { .size = 0 };

	(void)linking_settle(store, NULL); /* what is counted are files */
	if (!quota_count(&store->quota, &store->limit, why))
		return false;
	LIST_EACH(&store->mailboxes, it) {
		const struct mailbox *mb = OWNER_OF(it, struct mailbox, node);

		for (size_t i = 0; i < mb->file.ix.ndoomed; i++) {
			const struct message *m = &mb->file.ix.doomed[i];
			char path[MAILDIR_NAME_MAX + 5];

			if (!index_path(&mb->file.ix, m, path) || mb->vfs->ops->stat(mb->vfs, path, &(struct vfs_stat){ .size = 0 }) < 0)
				continue;
			gone.size += m->size;
			gone.messages++;
		}
	}
	if (gone.messages)
		quota_add(&store->quota, -(int64_t)gone.size, -(int64_t)gone.messages);
	return !gone.messages || quota_load(&store->quota, &store->limit) || fail_set(why, FAIL_TEMP, 0, "the quota cannot be read");
}

bool
store_used(struct store *store, struct quota *used, struct fail *why)
{
	*used = (struct quota){ .size = 0 };
	if (!quota_limited(&store->limit))
		return true;
	if (!quota_load(&store->quota, &store->limit) && !count(store, why))
		return false;
	*used = quota_used(&store->quota);
	return true;
}

bool
store_fits(struct store *store, uint64_t size, uint64_t messages, struct fail *why)
{
	struct quota used;
	bool again;

	if (!quota_limited(&store->limit))
		return true;
	if (!store_used(store, &used, why))
		return false;
	if (quota_fits(&store->quota, &store->limit, size, messages, &again))
		return true;
	if (again && !count(store, why))
		return false;
	return (again && quota_fits(&store->quota, &store->limit, size, messages, &again)) || quota_full(&store->quota, &store->limit, why);
}

void
store_added(struct store *store, int64_t size, int64_t messages)
{
	if (quota_limited(&store->limit))
		quota_add(&store->quota, size, messages);
}

/* A whole folder went: how much that was is counted when it is asked next. */
void
store_recount(struct store *store)
{
	if (!quota_limited(&store->limit))
		return;
	quota_close(&store->quota);
	quota_forget(store->vfs);
}

/* ---- expunged mail ---- */

struct purge_job {
	struct work work;
	struct store *store;
	struct vfs *vfs;
	int64_t before;
};

static void
run_purge(struct work *w)
{
	const struct purge_job *job = OWNER_OF(w, struct purge_job, work);

	(void)kept_purge(job->vfs, job->before);
}

static void
purge_done(struct work *w)
{
	struct purge_job *job = OWNER_OF(w, struct purge_job, work);

	job->store->purging = NULL;
	free(job);
}

static void
on_purge(struct timer *t)
{
	struct store *store = OWNER_OF(t, struct store, purge);
	int64_t before = (int64_t)time(NULL) - store->keep_s;
	struct purge_job *job;

	(void)timer_set(t, PURGE_MS);
	if (store->purging)
		return;
	if (!kept_due(store->vfs, before)) { /* who only idles needs no thread, and none of the pages that it would leave behind */
		worker_pool_stir(store->pool);
		return;
	}
	if (!(job = malloc(sizeof(*job))))
		return;
	*job = (struct purge_job){ .work = { .run = run_purge, .done = purge_done }, .store = store, .vfs = store->vfs, .before = before };
	store->purging = job;
	worker_submit(store->pool, &job->work);
}

void
store_set_keep(struct store *store, int64_t seconds)
{
	bool changed = seconds != store->keep_s;

	store->keep_s = seconds;
	if (!store->purge.on_fire)
		timer_init(&store->purge, store->loop, on_purge);
	else if (!changed)
		return;
	(void)timer_set(&store->purge, PURGE_FIRST_MS);
}

void
store_stop_purge(struct store *store)
{
	if (store->purge.on_fire)
		timer_stop(&store->purge);
	if (store->purging) {
		worker_wait(store->pool, &store->purging->work);
		purge_done(&store->purging->work);
	}
}
