/* SPDX-License-Identifier: ISC
 *
 * Messages as octets with CRLF, whatever the file has: ours have it and are
 * handed out as they are; a foreign file with bare LF is converted into memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/state.h"

enum { BLOCK = 65536 };

static int
try_open(struct mailbox *mb, uint32_t uid)
{
	char path[MAILDIR_NAME_MAX + 5];
	const struct message *m = index_find(&mb->file.ix, uid);
	const char *source;
	int fd;

	if (!m || !index_path(&mb->file.ix, m, path))
		return -1;
	fd = mb->vfs->ops->open(mb->vfs, path, VFS_READ);
	if (fd < 0 && errno == ENOENT && follow_renaming(mb, uid, path))
		fd = mb->vfs->ops->open(mb->vfs, path, VFS_READ);
	if (fd < 0 && errno == ENOENT && (source = linking_from(mb, uid)))
		fd = mb->store->vfs->ops->open(mb->store->vfs, source, VFS_READ);
	return fd;
}

static int
open_file(struct mailbox *mb, uint32_t uid, struct fail *why)
{
	int fd = try_open(mb, uid);

	if (fd < 0 && errno == ENOENT && index_find(&mb->file.ix, uid)) {
		/* Somebody else renamed or removed it a moment ago. */
		if (linking_from(mb, uid))
			(void)linking_settle(mb->store, mb);
		if (!scan_most(mb, why))
			return -1;
		fd = try_open(mb, uid);
	}
	if (fd >= 0)
		return fd;
	if (index_find(&mb->file.ix, uid))
		(void)fail_errno(why, 0, "The message cannot be read");
	else
		(void)fail_set(why, FAIL_PERM, 0, "The message has been expunged");
	return -1;
}

/* Counts LF without CR; with out >= 0 writes the converted text there. */
static bool
convert(struct vfs *v, int fd, uint64_t size, int out, uint64_t *bare)
{
	char *block = malloc(BLOCK * 3), *to = block ? block + BLOCK : NULL;
	char last = '\0';
	bool ok = block != NULL;

	*bare = 0;
	for (uint64_t at = 0; ok && at < size;) {
		size_t n = size - at < BLOCK ? (size_t)(size - at) : BLOCK, w = 0;

		ok = vfs_read_all(v, fd, block, n, at);
		for (size_t i = 0; ok && i < n; i++) {
			if (block[i] == '\n' && last != '\r') {
				++*bare;
				to[w++] = '\r';
			}
			last = to[w++] = block[i];
		}
		for (size_t done = 0; ok && out >= 0 && done < w;) {
			ssize_t put = write(out, to + done, w - done);

			ok = put > 0;
			done += ok ? (size_t)put : 0;
		}
		at += n;
	}
	free(block);
	return ok;
}

void
content_learn_size(struct mailbox *mb, uint32_t uid, uint64_t size, uint64_t bare)
{
	struct index *ix = mailbox_index(mb);
	struct message *m = index_find(ix, uid);
	uint8_t bits;

	size += bare;
	if (!m || size > UINT32_MAX)
		return;
	bits = (uint8_t)((m->bits & ~MESSAGE_BARE) | MESSAGE_SIZED | (bare ? MESSAGE_BARE : 0));
	if (m->bits == bits && m->size == size) /* writing it again would cost a page of our own */
		return;
	ix->total += size - m->size;
	m->size = (uint32_t)size;
	m->bits = bits;
}

/* Makes message.size RFC822.SIZE; size is the file's. */
static bool
size_file(struct mailbox *mb, uint32_t uid, int fd, uint64_t size, uint64_t *bare, struct fail *why)
{
	const struct message *m = index_find(mailbox_index(mb), uid);

	*bare = 0;
	if (m && (m->bits & MESSAGE_SIZED) && !(m->bits & MESSAGE_BARE) && m->size == size)
		return true;
	if (!convert(mb->vfs, fd, size, -1, bare))
		return fail_errno(why, 0, "The message cannot be read");
	content_learn_size(mb, uid, size, *bare);
	return true;
}

void
content_learn_date(struct mailbox *mb, uint32_t uid, int64_t mtime)
{
	struct message *m = index_find(mailbox_index(mb), uid);

	if (m && !m->date && mtime > 0 && mtime <= UINT32_MAX)
		m->date = (uint32_t)mtime;
}

bool
mailbox_content(struct mailbox *mb, uint32_t uid, struct content *out, struct fail *why)
{
	int fd = open_file(mb, uid, why), copy;
	struct stat st;
	int64_t size = fd < 0 || fstat(fd, &st) < 0 ? -1 : (int64_t)st.st_size;
	uint64_t bare;

	*out = (struct content){ .fd = -1 };
	if (fd < 0)
		return false;
	if (size >= 0)
		content_learn_date(mb, uid, st.st_mtime);
	if (size < 0 || !size_file(mb, uid, fd, (uint64_t)size, &bare, why)) {
		(void)close(fd);
		return size < 0 ? fail_errno(why, 0, "The message cannot be read") : false;
	}
	if (bare == 0) {
		*out = (struct content){ .fd = fd, .size = (uint64_t)size };
		return true;
	}
	copy = memfd_create("message", MFD_CLOEXEC);
	if (copy < 0 || !convert(mb->vfs, fd, (uint64_t)size, copy, &bare)) {
		(void)fail_errno(why, 0, "The message cannot be converted");
		if (copy >= 0)
			(void)close(copy);
		(void)close(fd);
		return false;
	}
	(void)close(fd);
	*out = (struct content){ .fd = copy, .size = (uint64_t)size + bare, .own = true };
	return true;
}

void
content_close(struct content *c)
{
	if (c->fd >= 0)
		(void)close(c->fd);
	c->fd = -1;
}

bool
mailbox_size(struct mailbox *mb, uint32_t uid, uint64_t *size)
{
	const struct message *m = index_find(&mb->file.ix, uid);
	struct content c;

	if (!m)
		return false;
	if (m->bits & MESSAGE_SIZED) {
		*size = m->size;
		return true;
	}
	if (!mailbox_content(mb, uid, &c, NULL))
		return false;
	*size = c.size;
	content_close(&c);
	return true;
}

int64_t
mailbox_date(struct mailbox *mb, uint32_t uid)
{
	struct message *m = index_find(&mb->file.ix, uid);
	char path[MAILDIR_NAME_MAX + 5];
	struct vfs_stat st;
	const char *source;

	if (!m)
		return 0;
	if (m->date)
		return m->date;
	if (!index_path(&mb->file.ix, m, path))
		return 0;
	if (mb->vfs->ops->stat(mb->vfs, path, &st) < 0 &&
	    (!follow_renaming(mb, uid, path) || mb->vfs->ops->stat(mb->vfs, path, &st) < 0) &&
	    (!(source = linking_from(mb, uid)) || mb->store->vfs->ops->stat(mb->store->vfs, source, &st) < 0))
		return m->saved;
	if (st.mtime_ns > 0)
		m->date = (uint32_t)(st.mtime_ns / 1000000000);
	return m->date ? m->date : m->saved;
}
