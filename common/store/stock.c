/* SPDX-License-Identifier: ISC */
#include "store/stock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log/log.h"
#include "store/state.h"

enum {
	ROW_MS = 1000,  /* two messages within that time are in a row */
	TICK_MS = 1000, /* names in cur/ are not left undurable for longer, or about */
	FIRST_LOT = 4,
	NAMES_MAX = 1 << 20,
};

struct stock {
	struct work work;
	struct mailbox *mailbox;
	struct timer timer;
	struct temp ready[STOCK_MAX]; /* from first on */
	size_t first, n;
	size_t lot;       /* files in the next lot */
	size_t out;       /* taken, and not named or back yet */
	struct buf named; /* in cur/, durable in tmp/ alone: their names there, each with a NUL */
	/* The thread's while `working`: */
	struct temp fresh[STOCK_MAX];
	size_t nfresh;
	struct buf settling; /* of the named ones */
	int err;             /* of cur/ */
	bool working;
	bool failed; /* cur/ could not be synced: each message waits for its own name again, what is in tmp/ stays */
};

/* ---- on any thread ---- */

bool
stock_make(struct vfs *v, struct temp *temps, size_t n)
{
	size_t made = 0;
	bool ok = true;
	int err;

	for (; ok && made < n; made += ok) {
		char unique[MAILDIR_BASE_MAX];

		memcpy(unique, temps[made].unique, sizeof(unique));
		ok = temp_create(&temps[made], v, unique, NULL);
	}
	if (ok && v->ops->sync_dir(v, "tmp") == 0)
		return true;
	err = errno;
	for (size_t i = 0; i < made; i++)
		temp_abandon(&temps[i]);
	errno = err;
	return false;
}

bool
stock_find(struct vfs *v, struct span base, char path[MAILDIR_BASE_MAX + 5])
{
	struct maildir_name name;
	struct vfs_stat st;
	size_t unique = span_chr(base, ',');

	if (unique >= MAILDIR_BASE_MAX || !maildir_name_parse(base, &name))
		return false;
	(void)snprintf(path, MAILDIR_BASE_MAX + 5, "tmp/%.*s", (int)unique, base.p);
	return v->ops->stat(v, path, &st) == 0 && !st.dir && st.size == name.size;
}

bool
stock_restore(struct vfs *v, struct span base, const char *to)
{
	char path[MAILDIR_BASE_MAX + 5];

	return stock_find(v, base, path) && v->ops->rename(v, path, to) == 0;
}

/* Makes the names in cur/ durable, then those in tmp/ can go.  0, or errno. */
static int
settle(struct vfs *v, const struct buf *named)
{
	struct span all = buf_span(named);

	if (all.n && v->ops->sync_dir(v, "cur") < 0)
		return errno;
	for (size_t at = 0; at < all.n; at += strlen(all.p + at) + 1) {
		char path[MAILDIR_NAME_MAX + 5];

		(void)snprintf(path, sizeof(path), "tmp/%s", all.p + at);
		(void)v->ops->unlink(v, path);
	}
	return 0;
}

/* As maildir_unique() has it, but for that K, which nobody else's names have. */
static void
mark(char unique[MAILDIR_BASE_MAX])
{
	unique[strcspn(unique, "Q")] = 'K';
}

static bool
is_marked(const char *name)
{
	int n = 0;

	(void)sscanf(name, "%*d.M%*dP%*dR%*8xK%*d.%n", &n);
	return n > 0;
}

static bool
each_in_tmp(void *arg, const char *name)
{
	if (is_marked(name))
		buf_put(arg, span_of(name, strlen(name) + 1));
	return true;
}

void
stock_sweep(struct vfs *v)
{
	struct buf names;

	buf_init(&names, NAMES_MAX);
	(void)v->ops->list(v, "tmp", each_in_tmp, &names);
	(void)settle(v, &names);
	buf_free(&names);
}

size_t
stock_keep(struct vfs *v)
{
	struct buf names;
	struct span all;
	size_t kept = 0;

	buf_init(&names, NAMES_MAX);
	(void)v->ops->list(v, "tmp", each_in_tmp, &names);
	all = buf_span(&names);
	for (size_t at = 0; at < all.n; at += strlen(all.p + at) + 1) {
		char from[MAILDIR_NAME_MAX + 5], to[MAILDIR_NAME_MAX + 5];
		struct vfs_stat st;

		(void)snprintf(from, sizeof(from), "tmp/%s", all.p + at);
		(void)snprintf(to, sizeof(to), "%s", from);
		to[strcspn(to, "K")] = 'Q';
		if (v->ops->stat(v, from, &st) == 0 && st.size > 0)
			kept += v->ops->rename(v, from, to) == 0;
	}
	if (kept)
		(void)v->ops->sync_dir(v, "tmp");
	buf_free(&names);
	return kept;
}

static void
run(struct work *w)
{
	struct stock *s = OWNER_OF(w, struct stock, work);
	struct vfs *v = s->mailbox->vfs;

	s->err = settle(v, &s->settling);
	if (s->err || !stock_make(v, s->fresh, s->nfresh)) /* after which those are gone for good, too */
		s->nfresh = 0;
}

/* ---- on the loop ---- */

static void
abandon_ready(struct stock *s)
{
	for (; s->n; s->n--)
		temp_abandon(&s->ready[s->first++]);
}

static void
unsettled(struct stock *s, int err)
{
	s->failed = true; /* whatever a later sync says */
	abandon_ready(s);
	log_put(LOG_mailbox, "folder=%s the names of appended messages cannot be made durable: %s", s->mailbox->name, strerror(err));
}

static void
done(struct work *w)
{
	struct stock *s = OWNER_OF(w, struct stock, work);

	s->working = false;
	buf_free(&s->settling);
	if (s->err)
		unsettled(s, s->err);
	if (!s->nfresh)
		return;
	memcpy(s->ready, s->fresh, s->nfresh * sizeof(s->fresh[0]));
	s->first = 0;
	s->n = s->nfresh;
}

/* So that what is not durable in cur/ is never much more than a lot. */
static void
start(struct stock *s, size_t fresh)
{
	struct store *store = s->mailbox->store;

	s->settling = s->named;
	buf_init(&s->named, NAMES_MAX);
	s->nfresh = fresh;
	for (size_t i = 0; i < fresh; i++) {
		maildir_unique(deliverer_namer(store->deliverer), s->fresh[i].unique);
		mark(s->fresh[i].unique);
	}
	s->work = (struct work){ .run = run, .done = done };
	s->working = true;
	if (fresh)
		worker_submit_short(store->pool, &s->work); /* may be over already */
	else
		worker_submit(store->pool, &s->work);
}

static void
drop(struct stock *s)
{
	abandon_ready(s);
	timer_stop(&s->timer);
	buf_free(&s->named);
	s->mailbox->stock = NULL;
	free(s);
}

static void
on_tick(struct timer *t)
{
	struct stock *s = OWNER_OF(t, struct stock, timer);
	bool idle = loop_now_ms(s->mailbox->store->loop) - s->mailbox->appended_ms >= ROW_MS;

	if (s->failed)
		return;
	if (!s->working && buf_len(&s->named))
		start(s, 0);
	else if (!s->working && !s->out && idle) {
		drop(s);
		return;
	}
	(void)timer_set(t, TICK_MS);
}

static struct stock *
begin(struct mailbox *mb)
{
	struct stock *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->mailbox = mb;
	s->lot = FIRST_LOT;
	buf_init(&s->named, NAMES_MAX);
	buf_init(&s->settling, NAMES_MAX);
	timer_init(&s->timer, mb->store->loop, on_tick);
	(void)timer_set(&s->timer, TICK_MS);
	return mb->stock = s;
}

bool
stock_take(struct mailbox *mb, struct temp *out)
{
	int64_t now = loop_now_ms(mb->store->loop), before = mb->appended_ms;
	struct stock *s = mb->stock;

	mb->appended_ms = now;
	if (!s || !s->n)
		maildir_unique(deliverer_namer(mb->store->deliverer), out->unique); /* first, so that it sorts before those of a lot */
	if (!s && (now - before >= ROW_MS || !(s = begin(mb))))
		return false;
	if (!s->n && !s->working && !s->failed) {
		start(s, s->lot);
		s->lot = s->lot * 2 < STOCK_MAX ? s->lot * 2 : STOCK_MAX;
	}
	if (!s->n)
		return false;
	*out = s->ready[s->first++];
	s->n--;
	s->out++;
	return true;
}

void
stock_named(struct mailbox *mb, const char *unique)
{
	struct stock *s = mb->stock;

	s->out--;
	buf_put(&s->named, span_of(unique, strlen(unique) + 1));
}

void
stock_back(struct mailbox *mb)
{
	mb->stock->out--;
}

bool
stock_unsettled(const struct mailbox *mb)
{
	const struct stock *s = mb->stock;

	return s && (s->working || s->failed || buf_len(&s->named));
}

void
stock_stop(struct mailbox *mb)
{
	struct stock *s = mb->stock;

	if (!s)
		return;
	if (s->working) {
		worker_wait(mb->store->pool, &s->work);
		done(&s->work);
	}
	if (!s->failed && (s->err = settle(mb->vfs, &s->named)))
		unsettled(s, s->err);
	mb->dirty |= s->failed; /* who opens it next looks into tmp/ */
	drop(s);
}
