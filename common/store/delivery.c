/* SPDX-License-Identifier: ISC */
#include "store/delivery.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	BATCH_MAX = 256,
	BATCHES = 2,
	HANDS = 16, /* threads at work on one batch: syncs that wait together are merged by the kernel */
	COPY_SIZE = 65536,
};

struct batch;

struct hand {
	struct work work;
	struct batch *batch;
};

struct batch {
	struct deliverer *owner;
	struct list deliveries;
	struct delivery *all[BATCH_MAX];
	size_t n;
	atomic_size_t next;   /* the first of all[] that no hand has taken */
	atomic_uint working;  /* hands that have not finished */
	unsigned told;        /* hands whose completion has run on the loop */
	unsigned nhands;      /* 0: the batch is free */
	struct hand hands[HANDS];
};

struct deliverer {
	struct loop *loop;
	struct worker_pool *pool;
	struct maildir_namer namer;
	struct turn turn;
	struct list waiting;
	size_t nwaiting, untold; /* untold: handed in, result not told yet */
	struct batch batches[BATCHES];
};

/* ---- one file ---- */

static void
temp_path(const struct temp *t, char out[MAILDIR_BASE_MAX + 5])
{
	(void)snprintf(out, MAILDIR_BASE_MAX + 5, "tmp/%s", t->unique);
}

bool
temp_create(struct temp *t, struct vfs *v, const char *unique, struct fail *why)
{
	char path[MAILDIR_BASE_MAX + 5];

	*t = (struct temp){ .vfs = v, .fd = -1 };
	(void)snprintf(t->unique, sizeof(t->unique), "%s", unique);
	temp_path(t, path);
	t->fd = v->ops->open(v, path, VFS_CREATE);
	return t->fd >= 0 || fail_errno(why, 0, "cannot create %s", path);
}

static void
count_bare(struct temp *t, struct span s)
{
	size_t bare;

	if (s.n == 0)
		return;
	(void)span_lines(s, &bare);
	t->bare += bare - (s.p[0] == '\n' && t->last == '\r');
	t->last = s.p[s.n - 1];
}

bool
temp_write(struct temp *t, struct span s, struct fail *why)
{
	if (s.n == 0)
		return true;
	if (!vfs_write_all(t->vfs, t->fd, s.p, s.n, t->size))
		return fail_errno(why, 0, "cannot write tmp/%s", t->unique);
	count_bare(t, s);
	t->size += s.n;
	return true;
}

static void
temp_close(struct temp *t)
{
	if (t->fd >= 0)
		(void)t->vfs->ops->close(t->vfs, t->fd);
	t->fd = -1;
}

void
temp_abandon(struct temp *t)
{
	char path[MAILDIR_BASE_MAX + 5];

	if (t->fd < 0)
		return;
	temp_close(t);
	temp_path(t, path);
	(void)t->vfs->ops->unlink(t->vfs, path);
}

/* ---- one batch, on a thread ---- */

static bool
copy_fd(struct delivery *d)
{
	char *block = malloc(COPY_SIZE);
	uint64_t at = d->body_at, left = d->body_n;
	bool ok = block || fail_set(&d->why, FAIL_TEMP, 0, "out of memory");

	while (ok && left > 0) {
		ssize_t n = pread(d->body_fd, block, left < COPY_SIZE ? (size_t)left : COPY_SIZE, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			ok = fail_errno(&d->why, 0, "cannot read the message");
		else if (n == 0)
			ok = fail_set(&d->why, FAIL_TEMP, 0, "the message is shorter than was said");
		else
			ok = temp_write(&d->temp, span_of(block, (size_t)n), &d->why);
		at += n > 0 ? (uint64_t)n : 0;
		left -= n > 0 ? (uint64_t)n : 0;
	}
	free(block);
	return ok;
}

/* Head and body in one call, as nearly every message is written. */
static bool
write_spans(struct delivery *d)
{
	struct temp *t = &d->temp;
	struct iovec iov[2] = {
		{ (void *)(uintptr_t)d->head.p, d->head.n },
		{ (void *)(uintptr_t)d->body.p, d->body.n },
	};
	size_t all = d->head.n + d->body.n;
	ssize_t put = all ? t->vfs->ops->pwritev(t->vfs, t->fd, iov, 2, 0) : 0;

	if (put < 0 || (size_t)put != all) { /* the rare ways: with their errors */
		(void)t->vfs->ops->truncate(t->vfs, t->fd, 0);
		return temp_write(t, d->head, &d->why) && temp_write(t, d->body, &d->why);
	}
	count_bare(t, d->head);
	count_bare(t, d->body);
	t->size = all;
	return true;
}

static bool
write_one(struct delivery *d)
{
	struct temp *t = &d->temp;
	struct vfs *v = d->vfs;

	if (t->fd < 0 && (!temp_create(t, v, d->base, &d->why) || !write_spans(d) || (d->body_fd >= 0 && !copy_fd(d))))
		return false;
	maildir_add_sizes(d->base, t->size, t->size + t->bare);
	d->size = t->size;
	if (d->date && v->ops->touch(v, t->fd, d->date) < 0)
		return fail_errno(&d->why, 0, "cannot set the time of tmp/%s", t->unique);
	return true;
}

static bool
name_one(struct delivery *d)
{
	char temp[MAILDIR_BASE_MAX + 5], path[MAILDIR_NAME_MAX + 5];

	temp_path(&d->temp, temp);
	if (!maildir_path(path, span_str(d->base), SPAN_NONE, d->letters, !d->in_cur))
		return fail_set(&d->why, FAIL_PERM, 0, "file name too long");
	/* A name that is durable stays until the other one is; where there are no links the rename does as well. */
	if ((!d->lasting || d->vfs->ops->link(d->vfs, temp, path) < 0) && d->vfs->ops->rename(d->vfs, temp, path) < 0)
		return fail_errno(&d->why, 0, "cannot rename %s to %s", temp, path);
	temp_close(&d->temp); /* from here on it is the message, not to be abandoned */
	return true;
}

/* Makes the names of all that share d's directory durable, of those that have no others. */
static void
sync_names(struct list *all, struct delivery *d)
{
	const char *dir = d->in_cur ? "cur" : "new";
	bool synced = d->vfs->ops->sync_dir(d->vfs, dir) == 0;
	int err = errno;

	for (struct list *it = &d->node; it != all; it = it->next) {
		struct delivery *other = OWNER_OF(it, struct delivery, node);
		char path[MAILDIR_NAME_MAX + 5];

		if (!other->ok || other->lasting || other->vfs != d->vfs || other->in_cur != d->in_cur)
			continue;
		other->synced = synced;
		if (synced)
			continue;
		errno = err;
		other->ok = fail_errno(&other->why, 0, "cannot sync directory %s", dir);
		if (maildir_path(path, span_str(other->base), SPAN_NONE, other->letters, !other->in_cur))
			(void)other->vfs->ops->unlink(other->vfs, path);
	}
}

static void
write_and_sync(struct delivery *d)
{
	d->ok = write_one(d);
	if (d->ok && d->vfs->ops->sync(d->vfs, d->temp.fd) < 0)
		d->ok = fail_errno(&d->why, 0, "cannot sync tmp/%s", d->temp.unique);
}

static void
name_all(struct list *all)
{
	LIST_EACH(all, it) {
		struct delivery *d = OWNER_OF(it, struct delivery, node);

		d->ok = d->ok && name_one(d);
		if (!d->ok)
			temp_abandon(&d->temp);
	}
	LIST_EACH(all, it) {
		struct delivery *d = OWNER_OF(it, struct delivery, node);

		if (d->ok && !d->synced && !d->lasting)
			sync_names(all, d);
	}
}

void
delivery_write_now(struct list *all)
{
	LIST_EACH(all, it)
		write_and_sync(OWNER_OF(it, struct delivery, node));
	name_all(all);
}

/* ---- batches ---- */

static void
run_hand(struct work *w)
{
	struct batch *b = OWNER_OF(w, struct hand, work)->batch;
	size_t i;

	while ((i = atomic_fetch_add(&b->next, 1)) < b->n)
		write_and_sync(b->all[i]);
	if (atomic_fetch_sub(&b->working, 1) == 1)
		name_all(&b->deliveries); /* the last one out: all contents are durable */
}

static void start_batches(struct deliverer *dr);

static void
hand_done(struct work *w)
{
	struct batch *b = OWNER_OF(w, struct hand, work)->batch;
	struct deliverer *dr = b->owner;
	struct list done;
	struct list *it;

	if (++b->told < b->nhands)
		return;
	list_init(&done);
	while ((it = list_shift(&b->deliveries)))
		list_push(&done, it);
	b->n = b->nhands = 0;
	start_batches(dr); /* first, so that the disk works while the results are told */
	while ((it = list_shift(&done))) {
		struct delivery *d = OWNER_OF(it, struct delivery, node);

		dr->untold--;
		d->on_done(d);
	}
}

static void
start_batch(struct deliverer *dr, struct batch *b)
{
	while (b->n < BATCH_MAX && !list_empty(&dr->waiting)) {
		struct list *it = list_shift(&dr->waiting);

		list_push(&b->deliveries, it);
		b->all[b->n++] = OWNER_OF(it, struct delivery, node);
		dr->nwaiting--;
	}
	b->nhands = b->n < HANDS ? (unsigned)b->n : HANDS;
	b->told = 0;
	atomic_store(&b->next, 0);
	atomic_store(&b->working, b->nhands);
	if (b->n == 1) { /* nothing to be done side by side */
		b->hands[0] = (struct hand){ .work = { .run = run_hand, .done = hand_done }, .batch = b };
		worker_submit_short(dr->pool, &b->hands[0].work); /* may be over already */
		return;
	}
	for (unsigned i = 0; i < b->nhands; i++) {
		b->hands[i] = (struct hand){ .work = { .run = run_hand, .done = hand_done }, .batch = b };
		worker_submit(dr->pool, &b->hands[i].work);
	}
}

static void
start_batches(struct deliverer *dr)
{
	for (size_t i = 0; i < BATCHES && !list_empty(&dr->waiting); i++)
		if (dr->batches[i].nhands == 0)
			start_batch(dr, &dr->batches[i]);
}

static void
on_turn(struct turn *h)
{
	start_batches(OWNER_OF(h, struct deliverer, turn));
}

struct deliverer *
deliverer_new(struct loop *loop, struct worker_pool *pool, struct span host)
{
	struct deliverer *dr = calloc(1, sizeof(*dr));

	if (!dr)
		return NULL;
	dr->loop = loop;
	dr->pool = pool;
	maildir_namer_init(&dr->namer, host);
	turn_init(&dr->turn, on_turn);
	list_init(&dr->waiting);
	for (size_t i = 0; i < BATCHES; i++) {
		dr->batches[i].owner = dr;
		list_init(&dr->batches[i].deliveries);
	}
	return dr;
}

void
deliverer_free(struct deliverer **dr)
{
	if (!*dr)
		return;
	turn_cancel(&(*dr)->turn);
	free(*dr);
	*dr = NULL;
}

struct maildir_namer *
deliverer_namer(struct deliverer *dr)
{
	return &dr->namer;
}

void
delivery_init(struct delivery *d, struct vfs *v, void (*on_done)(struct delivery *))
{
	*d = (struct delivery){ .vfs = v, .temp.fd = -1, .body_fd = -1, .on_done = on_done };
}

void
deliverer_put(struct deliverer *dr, struct delivery *d)
{
	if (!d->base[0])
		maildir_unique(&dr->namer, d->base);
	d->synced = false;
	list_push(&dr->waiting, &d->node);
	dr->nwaiting++;
	dr->untold++;
	turn_later(&dr->turn, dr->loop);
}

size_t
deliverer_busy(const struct deliverer *dr)
{
	return dr->untold;
}
