/* SPDX-License-Identifier: ISC */
#include "journal/batch.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096 };

struct batch *
batch_new(struct slots *slots, struct slot *slot, uint64_t number, size_t max)
{
	struct batch *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	*b = (struct batch){ .slots = slots, .slot = slot, .number = number, .at = slot->end };
	b->tail = &b->tickets;
	buf_init(&b->data, max);
	return b;
}

void
batch_free(struct batch *b)
{
	buf_free(&b->data);
	free(b);
}

bool
batch_put(struct batch *b, const struct journal_record *r, size_t head, struct journal_ticket *t)
{
	if (!segment_put(&b->data, b->slot->head.mark, (uint32_t)(b->number - b->slot->head.stamp), r, head)) {
		b->data.failed = false; /* it is as it was; the next record may find memory */
		return false;
	}
	b->bytes = buf_len(&b->data);
	if (t) {
		t->next = NULL;
		*b->tail = t;
		b->tail = &t->next;
	}
	return true;
}

/* Whole pages are written, so that the kernel never has to read the rest of a
 * recycled page first; the next batch writes over the zeros. */
void
batch_pad(struct batch *b)
{
	size_t end = b->at + b->bytes, room = -end & (PAGE - 1);
	char *p = end + room <= b->slots->segment_size ? buf_room(&b->data, room) : NULL;

	if (!p)
		return;
	memset(p, 0, room);
	buf_added(&b->data, room);
}

bool
batch_get(const struct batch *b, size_t at, struct span *whole)
{
	if (at < b->at || at >= b->at + b->bytes)
		return false;
	*whole = span_sub(buf_span(&b->data), at - b->at, b->bytes - (at - b->at));
	return true;
}

void
batch_write(struct batch *b)
{
	struct vfs *v = b->slots->vfs;
	char block[SEGMENT_HEADER], name[120];

	slots_name(b->slots, b->slot->number, "seg", name);
	if (b->slot->header_due) {
		segment_header_put(&b->slot->head, b->slots->kind, block);
		if (!vfs_write_all(v, b->slot->fd, block, sizeof(block), 0)) {
			(void)fail_errno(&b->why, 0, "cannot write %s", name);
			return;
		}
	}
	if (!vfs_write_all(v, b->slot->fd, buf_span(&b->data).p, buf_len(&b->data), b->at))
		(void)fail_errno(&b->why, 0, "cannot write %s", name);
	else if (v->ops->sync(v, b->slot->fd) < 0)
		(void)fail_errno(&b->why, 0, "cannot sync %s", name);
}

void
batch_tell(struct batch *b, const struct fail *why)
{
	struct journal_ticket *t = b->tickets;

	b->tickets = NULL;
	b->tail = &b->tickets;
	while (t) {
		struct journal_ticket *next = t->next; /* its owner may free it */

		t->on_durable(t, why);
		t = next;
	}
}

void
job_make(struct work *w)
{
	struct job *job = OWNER_OF(w, struct job, work);

	job->fd = slots_make_file(job->slots, job->number, job->fill, &job->why);
}

void
job_retire(struct work *w)
{
	struct job *job = OWNER_OF(w, struct job, work);
	char name[120];

	if (!slots_write_free(job->slots, job->slot, job->stamp, &job->why))
		return;
	slots_name(job->slots, job->slot->number, "idx", name);
	(void)job->slots->vfs->ops->unlink(job->slots->vfs, name);
}

/* What the entries leave out, from the segment itself. */
static bool
read_segment(void *arg, size_t at, char *to, size_t n)
{
	struct job *job = arg;
	struct vfs *v = job->slots->vfs;
	char name[120];
	bool ok;
	int fd;

	slots_name(job->slots, job->slot->number, "seg", name);
	fd = v->ops->open(v, name, VFS_READ);
	ok = fd >= 0 && vfs_read_all(v, fd, to, n, at);
	if (!ok)
		(void)fail_errno(&job->why, 0, "cannot read %s for its index", name);
	if (fd >= 0)
		(void)v->ops->close(v, fd);
	return ok;
}

/* Not synced: an index that did not survive is not believed, and done without. */
void
job_index(struct work *w)
{
	struct job *job = OWNER_OF(w, struct job, work);
	const struct segment_header *h = &job->slot->head;
	struct vfs *v = job->slots->vfs;
	char name[120];
	struct buf s;
	int fd;

	buf_init(&s, SEGMENT_SIZE_MAX);
	if (!buf_ok(&job->content) ||
	    !segment_index_seal(&s, buf_span(&job->content), h->seq, h->mark, job->slot->end, read_segment, job)) {
		if (job->why.class == FAIL_NONE)
			(void)fail_set(&job->why, FAIL_LIMIT, 0, "no memory for the index of a segment");
		buf_free(&s);
		return;
	}
	slots_name(job->slots, job->slot->number, "idx", name);
	(void)v->ops->unlink(v, name);
	fd = v->ops->open(v, name, VFS_CREATE);
	if (fd < 0 || !vfs_write_all(v, fd, buf_span(&s).p, buf_len(&s), 0)) {
		(void)fail_errno(&job->why, 0, "cannot write %s", name);
		(void)v->ops->unlink(v, name);
	}
	if (fd >= 0)
		(void)v->ops->close(v, fd);
	buf_free(&s);
}
