/* SPDX-License-Identifier: ISC */
#include "journal/spares.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/owner.h"

void
spares_init(struct spares *s, struct vfs *vfs, const char *dir, unsigned max, uint64_t largest)
{
	*s = (struct spares){ .vfs = vfs, .dir = dir, .max = vfs->ops->sole ? max : 0, .largest = largest };
	list_init(&s->files);
}

static void
name_of(const struct spares *s, const struct spare *p, char name[BLOB_NAME_MAX + 1])
{
	(void)snprintf(name, BLOB_NAME_MAX + 1, "%s/spare.%" PRIu64, s->dir, p->number);
}

static void
forget(struct spares *s, struct spare *p)
{
	list_remove(&p->node);
	s->n--;
	free(p);
}

/* The smallest that is large enough; without one, or without a size, the one that was used last. */
static struct spare *
choose(const struct spares *s, uint64_t size)
{
	struct spare *best = NULL;

	LIST_EACH(&s->files, it) {
		struct spare *p = OWNER_OF(it, struct spare, node);

		if (size && p->size >= size && (!best || p->size < best->size))
			best = p;
	}
	return best || list_empty(&s->files) ? best : OWNER_OF(s->files.prev, struct spare, node);
}

bool
spares_create(struct spares *s, struct blob *b, uint64_t size, const char *temp, const char *name, struct fail *why)
{
	struct spare *p = choose(s, size);
	char from[BLOB_NAME_MAX + 1];
	bool ok;

	if (!p)
		return blob_create(b, s->vfs, temp, name, why);
	name_of(s, p, from);
	ok = blob_reuse(b, s->vfs, from, temp, name, p->size, why);
	if (!ok)
		(void)blob_remove(s->vfs, from, NULL);
	forget(s, p);
	return ok || blob_create(b, s->vfs, temp, name, why);
}

struct spare *
spares_place(struct spares *s)
{
	struct spare *p = s->n < s->max ? calloc(1, sizeof(*p)) : NULL;

	if (p) {
		s->n++;
		p->number = ++s->number;
	}
	return p;
}

bool
spares_retire(const struct spares *s, struct spare *place, const char *name)
{
	char to[BLOB_NAME_MAX + 1];

	name_of(s, place, to);
	return blob_retire(s->vfs, name, to, s->largest, &place->size);
}

void
spares_keep(struct spares *s, struct spare *place, bool retired)
{
	if (!retired) {
		s->n--;
		free(place);
		return;
	}
	list_push(&s->files, &place->node);
}

void
spares_drop(struct spares *s)
{
	LIST_EACH(&s->files, it) {
		struct spare *p = OWNER_OF(it, struct spare, node);
		char name[BLOB_NAME_MAX + 1];

		name_of(s, p, name);
		(void)blob_remove(s->vfs, name, NULL);
		forget(s, p);
	}
}
