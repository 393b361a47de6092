/* SPDX-License-Identifier: ISC
 *
 * The cache of facts of messages. First octet: bits 0 and 1 say what follows: 0: the file behind its head; 1: pieces of
 * uid u8, length le16, bytes, put there with checksums that are right; 2, 3: a message, whose facts are kept and found again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "crash/memfs.h"
#include "daemons/mailboxd/keptfield.h"
#include "daemons/mailboxd/ranking.h"
#include "daemons/mailboxd/text.h"
#include "daemons/mailboxd/thread.h"
#include "store/facts.h"

enum { UIDS = 4, PLACES = 128 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
put_pieces(struct facts_file *f, struct span in)
{
	struct cursor c = cursor_of(in);

	while (!cursor_end(&c)) {
		uint8_t uid = cursor_u8(&c);
		struct span blob = cursor_bytes(&c, cursor_le16(&c));

		if (!c.ok)
			return;
		(void)facts_put(f, uid % UIDS, blob);
	}
}

static void
put_message(struct facts_file *f, struct span message)
{
	struct arena arena;
	struct buf packed;
	struct facts facts;
	uint32_t where;

	arena_init(&arena, 1 << 24);
	buf_init(&packed, 1 << 22);
	if (text_make_facts(message, &arena, &packed)) {
		where = facts_put(f, 1, buf_span(&packed));
		if (buf_len(&packed) <= FACTS_BLOB_MAX && (!where || !span_eq(facts_get(f, 1, where), buf_span(&packed)) || !text_read_facts(buf_span(&packed), &facts)))
			abort();
	}
	buf_free(&packed);
	arena_free(&arena);
}

struct use {
	struct thread thread;
	struct ranking names, titles;
	struct buf ids, out;
};

/* As THREAD, SORT and FETCH do. */
static void
use(struct use *u, uint32_t number, const struct facts *facts)
{
	struct thread_message m = { .number = number, .date = facts->sent, .reply = facts->reply };

	buf_reset(&u->ids);
	if (!ranking_lines(&u->names, facts->ids, &u->ids) || (facts->subject.n && !(m.subject = ranking_number(&u->titles, facts->subject))))
		u->thread.failed = true;
	m.ids = (const uint32_t *)(const void *)buf_span(&u->ids).p;
	m.nids = buf_len(&u->ids) / sizeof *m.ids;
	thread_add(&u->thread, &m);
	buf_reset(&u->out);
	keptfield_put(facts->fields, UINT64_MAX, &u->out);
}

static void
look(struct facts_file *f)
{
	struct use u;
	struct facts facts;
	uint32_t n = 0;

	thread_init(&u.thread, 1 << 22);
	ranking_init(&u.names, 1 << 22);
	ranking_init(&u.titles, 1 << 22);
	buf_init(&u.ids, 1 << 20);
	buf_init(&u.out, 1 << 20);
	for (uint32_t where = 0; where < PLACES; where++)
		for (uint32_t uid = 0; uid < UIDS; uid++)
			if (text_read_facts(facts_get(f, uid, where), &facts))
				use(&u, ++n, &facts);
	if (!u.thread.failed)
		thread_references(&u.thread);
	if (!u.thread.failed) {
		buf_reset(&u.out);
		thread_put(&u.thread, &u.out);
	}
	buf_free(&u.out);
	buf_free(&u.ids);
	ranking_free(&u.titles);
	ranking_free(&u.names);
	thread_free(&u.thread);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memfs *fs = memfs_new();
	struct facts_file f;
	struct span in;

	if (size == 0) {
		memfs_free(&fs);
		return 0;
	}
	in = span_of(data + 1, size - 1);
	(void)fs->vfs.ops->mkdir(&fs->vfs, "pillarpost");
	facts_init(&f, &fs->vfs);
	if ((data[0] & 3) == 0) {
		int fd = fs->vfs.ops->open(&fs->vfs, FACTS_NAME, VFS_CREATE);

		(void)vfs_write_all(&fs->vfs, fd, "PPFACTS 1\n\0\0\0\0\0\0", 16, 0);
		(void)vfs_write_all(&fs->vfs, fd, in.p, in.n, 16);
		(void)fs->vfs.ops->close(&fs->vfs, fd);
	} else if ((data[0] & 3) == 1) {
		put_pieces(&f, in);
	} else {
		put_message(&f, in);
	}
	look(&f);
	facts_close(&f);
	memfs_free(&fs);
	return 0;
}
