/* SPDX-License-Identifier: ISC
 *
 * The files of large contents: made, and removed or kept to be written over
 * (journal/spares.h).
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemons/queued/queued.h"

enum { SPARES = 64, SPARE_MAX = 4 * 1024 * 1024 }; /* a quarter of a gigabyte of the disk at most */

struct removal {
	struct work work;
	struct queued *q;
	struct spare *place; /* NULL: it goes */
	char name[40];
	struct fail why;
	bool kept, ok;
};

static void
remove_file(struct work *w)
{
	struct removal *r = OWNER_OF(w, struct removal, work);

	r->kept = r->place && spares_retire(&r->q->spares, r->place, r->name);
	r->ok = r->kept || blob_remove(r->q->vfs, r->name, &r->why);
}

static void
file_removed(struct work *w)
{
	struct removal *r = OWNER_OF(w, struct removal, work);

	if (!r->ok)
		log_put(LOG_failure, "%s", r->why.text);
	if (r->place)
		spares_keep(&r->q->spares, r->place, r->kept);
	free(r);
}

/* A file system that trims takes milliseconds to remove a file: not in the loop. */
void
queued_remove_blob(void *arg, const char *name, bool again)
{
	struct queued *q = arg;
	struct removal *r = calloc(1, sizeof(*r));

	if (!r)
		return; /* the next start sweeps it away */
	r->work = (struct work){ .run = remove_file, .done = file_removed };
	r->q = q;
	r->place = again && !q->stopping && !q->full ? spares_place(&q->spares) : NULL;
	(void)span_cstr(span_str(name), r->name, sizeof(r->name));
	if (q->files) {
		worker_submit(q->files, &r->work);
		return;
	}
	remove_file(&r->work);
	file_removed(&r->work);
}

void
queued_open_files(struct queued *q)
{
	spares_init(&q->spares, q->vfs, "blob", SPARES, SPARE_MAX);
}

bool
queued_new_blob(struct queued *q, struct blob *b, uint64_t id, uint64_t size, struct fail *why)
{
	char name[40], temp[48];

	queue_blob_name(id, name);
	(void)snprintf(temp, sizeof(temp), "%s.new", name);
	return spares_create(&q->spares, b, size, temp, name, why);
}
