/* SPDX-License-Identifier: ISC */
#include "store/facts.h"

#include <errno.h>
#include <string.h>

#include "base/cursor.h"
#include "store/indexfile.h"
#include "sys/crc32c.h"

enum {
	FACTS_HEAD = 16,  /* of the file: what it is */
	ENTRY_HEAD = 16,  /* of a blob: uid, length, checksum, nothing */
	FACTS_UNIT = 16,  /* places are counted in these, so that 32 bits reach 64 GiB */
};

#define FACTS_NAME INDEXFILE_DIR "/facts"

void
facts_init(struct facts_file *f, struct vfs *v)
{
	*f = (struct facts_file){ .vfs = v, .fd = -1 };
	buf_init(&f->blob, FACTS_BLOB_MAX + ENTRY_HEAD);
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

struct span
facts_get(struct facts_file *f, uint32_t uid, uint32_t where)
{
	uint64_t at = (uint64_t)where * FACTS_UNIT;
	char head[ENTRY_HEAD], *room;
	struct cursor c;
	uint32_t n, sum;

	if (!where || !ready(f) || at + ENTRY_HEAD > f->end || !vfs_read_all(f->vfs, f->fd, head, ENTRY_HEAD, at))
		return SPAN_NONE;
	c = cursor_of(span_of(head, ENTRY_HEAD));
	if (cursor_le32(&c) != uid)
		return SPAN_NONE;
	n = cursor_le32(&c);
	sum = cursor_le32(&c);
	buf_reset(&f->blob);
	if (n == 0 || n > FACTS_BLOB_MAX || !(room = buf_room(&f->blob, n)) ||
	    !vfs_read_all(f->vfs, f->fd, room, n, at + ENTRY_HEAD))
		return SPAN_NONE;
	buf_added(&f->blob, n);
	return crc32c(uid, buf_span(&f->blob)) == sum ? buf_span(&f->blob) : SPAN_NONE;
}

uint32_t
facts_put(struct facts_file *f, uint32_t uid, struct span blob)
{
	struct buf entry;
	uint64_t at;
	bool ok;

	if (blob.n == 0 || blob.n > FACTS_BLOB_MAX || !ready(f) || f->end / FACTS_UNIT >= UINT32_MAX)
		return 0;
	buf_init(&entry, FACTS_BLOB_MAX + ENTRY_HEAD + FACTS_UNIT);
	buf_le32(&entry, uid);
	buf_le32(&entry, (uint32_t)blob.n);
	buf_le32(&entry, crc32c(uid, blob));
	buf_le32(&entry, 0);
	buf_put(&entry, blob);
	while (buf_len(&entry) % FACTS_UNIT)
		buf_putc(&entry, '\0');
	at = f->end;
	ok = buf_ok(&entry) && vfs_write_all(f->vfs, f->fd, buf_span(&entry).p, buf_len(&entry), at);
	f->end += ok ? buf_len(&entry) : 0;
	buf_free(&entry);
	return ok ? (uint32_t)(at / FACTS_UNIT) : 0;
}
