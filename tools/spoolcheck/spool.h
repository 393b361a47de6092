/* SPDX-License-Identifier: ISC
 *
 * spool: what a scan finds, put together to messages: the queue's replay over
 * again, for a journal with holes.  Where it is in doubt, a message is there.
 */
#ifndef SPOOLCHECK_SPOOL_H
#define SPOOLCHECK_SPOOL_H

#include "queue/export.h"
#include "tools/spoolcheck/scan.h"

/* How much of a message there is. */
enum spool_quality {
	SPOOL_WHOLE,
	SPOOL_BROKEN, /* its envelope or its content is not as it was */
};

struct spool_item {
	struct idnode by_id;
	struct message *m;
	struct span head;    /* encoded envelope, owned */
	uint32_t file;       /* where its content is, unless it is a file of its own */
	uint64_t body_at;
	uint32_t body_n;     /* bytes of it there should be */
	bool sound;
	struct text *destination;
	int64_t next_ms;
};

struct spool {
	struct vfs *vfs;
	void *arg;
	void (*on_damage)(void *arg, const char *file, uint64_t at, uint64_t n, const char *what);
	void (*on_progress)(void *arg, uint64_t done, uint64_t total);
	/* Results: */
	struct idmap items, gone; /* gone: ids of what has left */
	struct words words;
	unsigned damages, segments, gaps, strays; /* strays: large contents without envelope */
	uint64_t records;
	bool no_memory;
	struct record_parts parts; /* of the segment that is being read */
};

void spool_init(struct spool *s, struct vfs *v);
/* False: nothing could be read. */
bool spool_load(struct spool *s, struct fail *why);
void spool_free(struct spool *s);

/* In order of arrival; to be freed by the caller; NULL: no memory. */
struct spool_item **spool_sorted(const struct spool *s, size_t *n);
static inline struct spool_item *
spool_find(const struct spool *s, uint64_t id)
{
	struct idnode *node = idmap_get(&s->items, id);

	return node ? OWNER_OF(node, struct spool_item, by_id) : NULL;
}
/* It was here; it may be here again (deleted, and brought back). */
bool spool_has_left(const struct spool *s, uint64_t id);

/* Its envelope and state; x points into the item and *room. */
bool spool_message(const struct spool_item *i, struct buf *room, struct export_message *x, struct fail *why);
/* Gives what there is of the content to sink (which may say stop) and the size
 * to *size. False: it is not all there, or not as it was: why. */
bool spool_content(struct spool *s, const struct spool_item *i, bool (*sink)(void *arg, struct span bytes), void *arg,
    uint64_t *size, struct fail *why);
/* Large contents that no message speaks of: their ids. */
bool spool_strays(struct spool *s, void (*visit)(void *arg, const char *name, uint64_t id), void *arg, struct fail *why);

#endif
