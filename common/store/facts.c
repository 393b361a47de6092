/* SPDX-License-Identifier: ISC */
#include "store/facts.h"

#include <errno.h>
#include <string.h>

#include "base/cursor.h"
#include "sys/crc32c.h"

enum {
	FACTS_HEAD = 16,  /* of the file: what it is */
	ENTRY_HEAD = 16,  /* of a blob: uid, length, checksum, nothing */
	READ_FIRST = 2048,
	READ_AHEAD = 64 << 10,
	KEEP_MAX = 128 << 10,
	FACTS_UNIT = 16,  /* places are counted in these, so that 32 bits reach 64 GiB */
};


void
facts_init(struct facts_file *f, struct vfs *v)
{
	*f = (struct facts_file){ .vfs = v, .fd = -1 };
	buf_init(&f->blob, FACTS_BLOB_MAX + READ_AHEAD);
}

void
facts_close(struct facts_file *f)
{
	if (f->fd >= 0)
		(void)f->vfs->ops->close(f->vfs, f->fd);
	f->fd = -1;
	buf_free(&f->blob);
}

static bool
ready(struct facts_file *f)
{
	char head[FACTS_HEAD] = "PPFACTS 1\n";
	char found[FACTS_HEAD];
	int64_t size;

	if (f->fd >= 0)
		return true;
	f->fd = f->vfs->ops->open(f->vfs, FACTS_NAME, VFS_WRITE);
	if (f->fd < 0 && errno == ENOENT)
		f->fd = f->vfs->ops->open(f->vfs, FACTS_NAME, VFS_CREATE);
	if (f->fd < 0)
		return false;
	size = f->vfs->ops->size(f->vfs, f->fd);
	if (size < FACTS_HEAD || !vfs_read_all(f->vfs, f->fd, found, FACTS_HEAD, 0) || memcmp(found, head, FACTS_HEAD) != 0) {
		(void)f->vfs->ops->truncate(f->vfs, f->fd, 0);
		if (!vfs_write_all(f->vfs, f->fd, head, FACTS_HEAD, 0)) {
			(void)f->vfs->ops->close(f->vfs, f->fd);
			f->fd = -1;
			return false;
		}
		size = FACTS_HEAD;
	}
	f->end = ((uint64_t)size + FACTS_UNIT - 1) / FACTS_UNIT * FACTS_UNIT;
	return true;
}

/* n octets at a place.  Messages are mostly asked for in the order in which
 * they were put, so who goes on where the last read ended gets more at once. */
static bool
read_at(struct facts_file *f, uint64_t at, size_t n, struct span *out)
{
	uint64_t end = f->at + buf_len(&f->blob);
	size_t want = at >= f->at && at <= end + READ_AHEAD / 8 && end > f->at ? READ_AHEAD : READ_FIRST;
	char *room;

	if (at >= f->at && at + n <= end) {
		*out = span_sub(buf_span(&f->blob), (size_t)(at - f->at), n);
		return true;
	}
	if (at + n > f->end)
		return false;
	if (want < n)
		want = n;
	if (want > f->end - at)
		want = (size_t)(f->end - at);
	buf_reset(&f->blob);
	f->at = at;
	if (!(room = buf_room(&f->blob, want)))
		return false;
	/* what was put is padded to f->end in memory only: the last unit may be short */
	if (!vfs_read_all(f->vfs, f->fd, room, want, at) && (want = n, !vfs_read_all(f->vfs, f->fd, room, n, at)))
		return false;
	buf_added(&f->blob, want);
	*out = span_sub(buf_span(&f->blob), 0, n);
	return true;
}

struct span
facts_get(struct facts_file *f, uint32_t uid, uint32_t where)
{
	uint64_t at = (uint64_t)where * FACTS_UNIT;
	struct span head, blob;
	struct cursor c;
	uint32_t n, sum;

	if (!where || !ready(f) || !read_at(f, at, ENTRY_HEAD, &head))
		return SPAN_NONE;
	c = cursor_of(head);
	if (cursor_le32(&c) != uid)
		return SPAN_NONE;
	n = cursor_le32(&c);
	sum = cursor_le32(&c);
	if (n == 0 || n > FACTS_BLOB_MAX || !read_at(f, at + ENTRY_HEAD, n, &blob))
		return SPAN_NONE;
	return crc32c(uid, blob) == sum ? blob : SPAN_NONE;
}

uint32_t
facts_pack(struct buf *entries, uint32_t uid, struct span blob)
{
	size_t at = buf_len(entries);

	if (blob.n == 0 || blob.n > FACTS_BLOB_MAX)
		return UINT32_MAX;
	buf_le32(entries, uid);
	buf_le32(entries, (uint32_t)blob.n);
	buf_le32(entries, crc32c(uid, blob));
	buf_le32(entries, 0);
	buf_put(entries, blob);
	while (buf_len(entries) % FACTS_UNIT)
		buf_putc(entries, '\0');
	return (uint32_t)(at / FACTS_UNIT);
}

/* What was put is what is asked for next: it need not be read. */
static void
keep(struct facts_file *f, struct buf *entries, uint64_t at)
{
	struct buf read = f->blob;

	if (buf_len(entries) > KEEP_MAX)
		return;
	f->blob = *entries;
	f->at = at;
	*entries = read;
	buf_reset(entries);
}

uint32_t
facts_append(struct facts_file *f, struct buf *entries)
{
	struct span all = buf_span(entries);
	uint64_t at;

	if (all.n == 0 || !ready(f) || (f->end + all.n) / FACTS_UNIT >= UINT32_MAX)
		return 0;
	at = f->end;
	if (at < f->at + buf_len(&f->blob)) /* it lies over what was read */
		buf_reset(&f->blob);
	if (!vfs_write_all(f->vfs, f->fd, all.p, all.n, at))
		return 0;
	f->end += all.n;
	keep(f, entries, at);
	return (uint32_t)(at / FACTS_UNIT);
}

uint32_t
facts_put(struct facts_file *f, uint32_t uid, struct span blob)
{
	struct buf entry;
	uint32_t where = 0;

	buf_init(&entry, FACTS_BLOB_MAX + ENTRY_HEAD + FACTS_UNIT);
	if (facts_pack(&entry, uid, blob) == 0 && buf_ok(&entry))
		where = facts_append(f, &entry);
	buf_free(&entry);
	return where;
}

void
facts_drop(struct facts_file *f)
{
	facts_close(f);
	facts_init(f, f->vfs);
	(void)f->vfs->ops->unlink(f->vfs, FACTS_NAME);
}
