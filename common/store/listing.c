/* SPDX-License-Identifier: ISC */
#include "store/listing.h"

#include <errno.h>
#include <string.h>

#include "base/owner.h"

enum {
	FEW = 64 << 10,   /* octets of names: so many are read before a thread is asked at all */
	MANY = 512 << 10, /* then so many at a time: each time the one waits a moment for the other */
	NAME_ROOM = 256,
};

struct piece {
	struct work work;
	struct vfs *vfs;
	void *listing;
	struct buf names; /* each with its NUL */
	size_t enough;
	int rc, err;
};

static bool
add(void *arg, const char *name)
{
	struct piece *p = arg;

	buf_put(&p->names, span_of(name, strlen(name) + 1));
	return buf_ok(&p->names) && buf_len(&p->names) < p->enough;
}

static void
read_piece(struct piece *p)
{
	buf_reset(&p->names);
	p->rc = p->vfs->ops->list_some(p->vfs, p->listing, add, p);
	p->err = errno;
	if (!buf_ok(&p->names)) {
		p->rc = -1;
		p->err = ENOMEM;
	}
}

static void
run(struct work *w)
{
	read_piece(OWNER_OF(w, struct piece, work));
}

static bool
visit_all(const struct piece *p, bool (*visit)(void *, const char *), void *arg)
{
	struct span names = buf_span(&p->names);
	size_t n;

	for (; names.n; names = span_from(names, n)) {
		n = strlen(names.p) + 1;
		if (!visit(arg, names.p))
			return false;
	}
	return true;
}

/* One piece is looked at here while the thread reads the other. */
static int
each_piece(struct piece pieces[2], struct worker_pool *pool, bool (*visit)(void *, const char *), void *arg)
{
	struct piece *now = &pieces[0], *next = &pieces[1];

	read_piece(now);
	for (;;) {
		bool more = now->rc > 0, stopped;
		struct piece *done = now;

		if (more)
			worker_submit(pool, &next->work);
		stopped = !visit_all(now, visit, arg);
		if (more)
			worker_wait(pool, &next->work);
		if (stopped || !more) {
			errno = now->err;
			return now->rc < 0 ? -1 : 0;
		}
		now = next;
		next = done;
		next->enough = MANY;
	}
}

int
listing_each(struct vfs *v, struct worker_pool *pool, const char *dir, bool (*visit)(void *, const char *), void *arg)
{
	struct piece pieces[2];
	void *listing;
	int rc;

	if (!pool || !v->ops->list_begin)
		return v->ops->list(v, dir, visit, arg);
	if (!(listing = v->ops->list_begin(v, dir)))
		return -1;
	for (size_t i = 0; i < 2; i++) {
		pieces[i] = (struct piece){ .work.run = run, .vfs = v, .listing = listing, .enough = i ? MANY : FEW };
		buf_init(&pieces[i].names, MANY + NAME_ROOM);
	}
	rc = each_piece(pieces, pool, visit, arg);
	for (size_t i = 0; i < 2; i++)
		buf_free(&pieces[i].names);
	v->ops->list_end(v, listing);
	return rc;
}
