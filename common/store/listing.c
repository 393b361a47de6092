/* SPDX-License-Identifier: ISC */
#include "store/listing.h"

#include <errno.h>
#include <string.h>

#include "base/owner.h"

enum {
	FEW = 64 << 10,   /* octets of names: so many are read before a thread is asked at all */
	MANY = 256 << 10, /* then so many at a time: each time the one waits a moment for the other */
	NAME_ROOM = 256,
	SHARES = 4, /* parts of the directory that are read at a time, where it can be parted */
};

struct piece {
	struct work work;
	struct vfs *vfs;
	void *listing;
	struct buf names; /* each with its NUL */
	size_t enough;
	int rc, err;
};

/* One piece of it is looked at here while a thread reads the other. */
struct share {
	struct piece pieces[2];
	unsigned turn; /* the one that was read last, or is being read */
	bool busy;     /* it is being read, or not yet looked at */
};

struct reading {
	struct vfs *vfs;
	struct worker_pool *pool;
	bool (*visit)(void *arg, const char *name);
	void *arg;
	bool stopped;
	int err;
	struct share shares[SHARES];
	unsigned n;
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

static struct share *
add_share(struct reading *r, void *listing)
{
	struct share *s = &r->shares[r->n++];

	*s = (struct share){ .busy = true };
	for (size_t i = 0; i < 2; i++) {
		s->pieces[i] = (struct piece){ .work.run = run, .vfs = r->vfs, .listing = listing, .enough = MANY };
		buf_init(&s->pieces[i].names, MANY + NAME_ROOM);
	}
	return s;
}

static void
submit(const struct reading *r, struct share *s)
{
	s->busy = true;
	worker_submit(r->pool, &s->pieces[s->turn].work);
}

/* There is more of it; where the directory can be parted, it is enough for two threads. */
static void
go_on(struct reading *r, struct share *s)
{
	const struct vfs_ops *ops = r->vfs->ops;
	void *half = r->n < SHARES && ops->list_split ? ops->list_split(r->vfs, s->pieces[0].listing) : NULL;

	s->turn = !s->turn;
	submit(r, s);
	if (half)
		submit(r, add_share(r, half));
}

static void
visit_all(struct reading *r, const struct piece *p)
{
	struct span names = buf_span(&p->names);
	size_t n;

	for (; names.n && !r->stopped; names = span_from(names, n)) {
		n = strlen(names.p) + 1;
		r->stopped = !r->visit(r->arg, names.p);
	}
}

/* What was read last, while what comes next is read. */
static void
look_at(struct reading *r, struct share *s)
{
	const struct piece *p = &s->pieces[s->turn];

	s->busy = false;
	if (p->rc > 0 && !r->stopped)
		go_on(r, s);
	visit_all(r, p);
	if (p->rc < 0 && !r->stopped) {
		r->stopped = true;
		r->err = p->err;
	}
}

static void
look_at_all(struct reading *r)
{
	bool busy;

	do {
		busy = false;
		for (unsigned i = 0; i < r->n; i++) {
			struct share *s = &r->shares[i];

			if (!s->busy)
				continue;
			worker_wait(r->pool, &s->pieces[s->turn].work);
			look_at(r, s);
			busy |= s->busy;
		}
	} while (busy);
}

int
listing_each(struct vfs *v, struct worker_pool *pool, const char *dir, bool (*visit)(void *, const char *), void *arg)
{
	struct reading r = { .vfs = v, .pool = pool, .visit = visit, .arg = arg };
	struct piece *first;
	void *listing;

	if (!pool || !v->ops->list_begin)
		return v->ops->list(v, dir, visit, arg);
	if (!(listing = v->ops->list_begin(v, dir)))
		return -1;
	first = add_share(&r, listing)->pieces;
	first->enough = FEW;
	read_piece(first);
	first->enough = MANY;
	look_at(&r, &r.shares[0]);
	look_at_all(&r);
	for (unsigned i = 0; i < r.n; i++) {
		for (size_t k = 0; k < 2; k++)
			buf_free(&r.shares[i].pieces[k].names);
		v->ops->list_end(v, r.shares[i].pieces[0].listing);
	}
	errno = r.err;
	return r.err ? -1 : 0;
}
