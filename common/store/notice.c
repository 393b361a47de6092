/* SPDX-License-Identifier: ISC
 *
 * Hears of changes in open Maildirs at once through inotify.  Our own renames
 * are told apart by their names; what cannot be told apart is looked up.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "log/log.h"
#include "store/state.h"

enum {
	POLL_MS = 1000,   /* where there is no inotify */
	CALM_MS = 5,      /* between looks while many files are named or removed by ourselves */
	OWN_MAX = 65536,
	READ_SIZE = 65536,
};

/* ---- our own doing ---- */

static uint64_t
hash(struct span s)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3u;
	return h ? h : 1;
}

static bool
own_room(struct mailbox *mb)
{
	size_t size = mb->own_size ? mb->own_size * 2 : 64;
	uint64_t *old = mb->own, *fresh;

	if (mb->nown * 2 < mb->own_size)
		return true;
	if (size > OWN_MAX || !(fresh = calloc(size, sizeof(*fresh))))
		return false;
	for (size_t i = 0; i < mb->own_size; i++)
		if (old[i]) {
			size_t at = old[i] & (size - 1);

			while (fresh[at])
				at = (at + 1) & (size - 1);
			fresh[at] = old[i];
		}
	free(old);
	mb->own = fresh;
	mb->own_size = size;
	return true;
}

void
notice_own(struct mailbox *mb, const char *path)
{
	struct span s = span_str(path);
	size_t slash = span_rchr(s, '/'), at;
	uint64_t h = hash(slash == SIZE_MAX ? s : span_from(s, slash + 1));

	if (mb->watch_cur < 0 || !own_room(mb))
		return;
	for (at = h & (mb->own_size - 1); mb->own[at]; at = (at + 1) & (mb->own_size - 1))
		;
	mb->own[at] = h;
	mb->nown++;
}

void
notice_forget(struct mailbox *mb)
{
	if (mb->nown)
		memset(mb->own, 0, mb->own_size * sizeof(*mb->own));
	mb->nown = 0;
}

/* Takes the name out of the set; false: it was not ours. */
static bool
take_own(struct mailbox *mb, struct span name)
{
	uint64_t h = hash(name);
	size_t mask = mb->own_size - 1, at, hole;

	if (!mb->nown)
		return false;
	for (at = h & mask; mb->own[at] != h; at = (at + 1) & mask)
		if (!mb->own[at])
			return false;
	/* Close the hole, so that nothing behind it is lost. */
	mb->own[at] = 0;
	mb->nown--;
	hole = at;
	for (at = (at + 1) & mask; mb->own[at]; at = (at + 1) & mask) {
		size_t home = mb->own[at] & mask;

		if (((at - home) & mask) < ((at - hole) & mask))
			continue;
		mb->own[hole] = mb->own[at];
		mb->own[at] = 0;
		hole = at;
	}
	return true;
}

/* ---- events ---- */

static struct mailbox *
watched(struct store *store, int wd, bool *in_new)
{
	LIST_EACH(&store->mailboxes, it) {
		struct mailbox *mb = OWNER_OF(it, struct mailbox, node);

		*in_new = mb->watch_new == wd;
		if (mb->watch_new == wd || mb->watch_cur == wd)
			return mb;
	}
	return NULL;
}

static void
overflow(struct store *store)
{
	LIST_EACH(&store->mailboxes, it) {
		struct mailbox *mb = OWNER_OF(it, struct mailbox, node);

		mb->dirty = true;
		notice_forget(mb);
	}
}

static void
one_event(struct store *store, const struct inotify_event *e)
{
	struct span name = span_str(e->len ? e->name : "");
	struct mailbox *mb;
	bool in_new;

	if (e->mask & IN_Q_OVERFLOW) {
		overflow(store);
		return;
	}
	mb = watched(store, e->wd, &in_new);
	if (!mb || (e->mask & IN_IGNORED))
		return;
	/* A file appeared: take it in by its name.  One that left may have gone anywhere. */
	if ((e->mask & (IN_MOVED_TO | IN_CREATE)) && name.n)
		mb->dirty |= !scan_arrival(mb, name, in_new);
	else
		mb->dirty |= !take_own(mb, name);
}

static void
settle(struct store *store)
{
	LIST_EACH(&store->mailboxes, it) {
		struct mailbox *mb = OWNER_OF(it, struct mailbox, node);
		struct fail why;

		if (mb->dirty && !mb->failed && !scan_all(mb, &why))
			log_put(LOG_mailbox, "folder=%s cannot be read: %s", mb->name, why.text);
		change_show(mb);
		change_pending(mb, NULL);
	}
}

void
notice_read(struct store *store)
{
	union {
		struct inotify_event align;
		char bytes[READ_SIZE];
	} *in;
	ssize_t n;

	if (store->notice.fd < 0 || !(in = malloc(sizeof(*in))))
		return;
	do {
		n = read(store->notice.fd, in, sizeof(*in));
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const void *)(in->bytes + at);

			one_event(store, e);
			at += (ssize_t)(sizeof(*e) + e->len);
		}
	} while (n > READ_SIZE / 2); /* with room for another there was none */
	free(in);
}

static void
on_ready(struct watch *w, unsigned ready)
{
	struct store *store = OWNER_OF(w, struct store, notice);

	(void)ready;
	notice_read(store);
	settle(store);
	if (store->bulk && timer_set(&store->calm, CALM_MS))
		(void)watch_want(&store->notice, 0);
}

static void
look_again(struct store *store)
{
	timer_stop(&store->calm);
	if (!store->resting && store->notice.fd >= 0)
		(void)watch_want(&store->notice, WATCH_READ);
}

static void
on_calm(struct timer *t)
{
	look_again(OWNER_OF(t, struct store, calm));
}

void
notice_bulk(struct store *store, bool begins)
{
	if (begins)
		store->bulk++;
	else if (--store->bulk == 0)
		look_again(store); /* mail may have come meanwhile */
}

static void
on_poll(struct timer *t)
{
	struct store *store = OWNER_OF(t, struct store, poll);
	bool any = false;

	LIST_EACH(&store->mailboxes, it) {
		struct mailbox *mb = OWNER_OF(it, struct mailbox, node);

		if (list_empty(&mb->views))
			continue;
		any |= mb->watch_new < 0;
		if (mb->watch_new < 0 && scan_stale(mb))
			mb->dirty = true;
	}
	settle(store);
	if (any)
		(void)timer_set(t, POLL_MS);
}

bool
notice_start(struct store *store)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	timer_init(&store->poll, store->loop, on_poll);
	timer_init(&store->calm, store->loop, on_calm);
	store->notice.fd = -1;
	if (fd < 0)
		return false;
	watch_init(&store->notice, store->loop, fd, on_ready);
	return watch_want(&store->notice, WATCH_READ);
}

void
notice_stop(struct store *store)
{
	timer_stop(&store->poll);
	timer_stop(&store->calm);
	if (store->notice.fd < 0)
		return;
	watch_stop(&store->notice);
	(void)close(store->notice.fd);
	store->notice.fd = -1;
}

static int
add_watch(struct mailbox *mb, const char *dir)
{
	char path[64];
	int fd = mb->vfs->ops->open(mb->vfs, dir, VFS_READ), wd;

	if (fd < 0)
		return -1;
	/* By descriptor, so that no name is looked up outside of the folder. */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	wd = inotify_add_watch(mb->store->notice.fd, path, IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE);
	(void)close(fd);
	return wd;
}

void
notice_watch(struct mailbox *mb)
{
	if (mb->store->notice.fd >= 0) {
		mb->watch_new = add_watch(mb, "new");
		mb->watch_cur = add_watch(mb, "cur");
	}
	if (mb->watch_new >= 0 && mb->watch_cur >= 0)
		return;
	notice_unwatch(mb);
	if (!timer_running(&mb->store->poll))
		(void)timer_set(&mb->store->poll, POLL_MS);
}

/* Law 12: a folder that nobody serves is watched by its descriptor alone. */
int
store_rest(struct store *store)
{
	if (store->notice.fd < 0 || store->purging || store->linking || deliverer_busy(store->deliverer))
		return -1;
	LIST_EACH(&store->mailboxes, it) {
		struct mailbox *mb = OWNER_OF(it, struct mailbox, node);

		if (mb->failed || mb->dirty || mb->watch_new < 0 || mb->syncing || mb->stock || mb->lag_lo || mb->file.ix.ndoomed || follow_busy(mb) ||
		    indexfile_busy(&mb->file) || journal_pending(mb->file.journal))
			return -1;
	}
	if (!watch_want(&store->notice, 0))
		return -1;
	store->resting = true;
	return fcntl(store->notice.fd, F_DUPFD_CLOEXEC, 0);
}

void
store_rouse(struct store *store)
{
	store->resting = false;
	if (!watch_want(&store->notice, WATCH_READ))
		log_put(LOG_degraded, "new mail is not noticed at once any more");
}

void
notice_unwatch(struct mailbox *mb)
{
	if (mb->store->resting) {
		mb->watch_new = mb->watch_cur = -1;
		return;
	}
	if (mb->watch_new >= 0)
		(void)inotify_rm_watch(mb->store->notice.fd, mb->watch_new);
	if (mb->watch_cur >= 0)
		(void)inotify_rm_watch(mb->store->notice.fd, mb->watch_cur);
	mb->watch_new = mb->watch_cur = -1;
}
