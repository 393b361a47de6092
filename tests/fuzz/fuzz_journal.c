/* SPDX-License-Identifier: ISC
 *
 * fuzz_journal: a journal directory with hostile files: the first byte says
 * whether the rest is a segment, an index, or two segments, and (bit 2) whether
 * its checksums are right; replay, append, reopen.
 */
#include <stdlib.h>
#include <string.h>

#include "bless.h"
#include "crash/memfs.h"
#include "journal/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
on_record(void *arg, const struct journal_record *r)
{
	volatile char last = 0;

	(void)arg;
	if (r->head.n)
		last = r->head.p[r->head.n - 1];
	if (r->body.n)
		last = r->body.p[r->body.n - 1];
	(void)last;
	return true;
}

static void
put_file(struct memfs *fs, const char *name, const uint8_t *data, size_t size)
{
	int fd = fs->vfs.ops->open(&fs->vfs, name, VFS_CREATE);

	(void)vfs_write_all(&fs->vfs, fd, data, size, 0);
}

/* A true header in front, so that records are reached. */
static void
put_segment(struct memfs *fs, const char *name, uint64_t seq, const uint8_t *data, size_t size, bool right)
{
	struct segment_header h = { .used = true, .seq = seq, .stamp = seq * 10, .mark = 0x31313131, .prev_seq = seq - 1 };
	char *file = calloc(1, SEGMENT_HEADER + size);

	segment_header_put(&h, "fuzz", file);
	memcpy(file + SEGMENT_HEADER, data, size);
	if (right)
		bless_records(file + SEGMENT_HEADER, size, h.mark);
	put_file(fs, name, (uint8_t *)file, SEGMENT_HEADER + size);
	free(file);
}

static void
put_index(struct memfs *fs, const char *name, const uint8_t *data, size_t size, bool right)
{
	char *file = malloc(size + 1);

	memcpy(file, data, size);
	if (right)
		bless_segment_index(file, size);
	put_file(fs, name, (uint8_t *)file, size);
	free(file);
}

static void
go(struct memfs *fs)
{
	struct journal_options o = { .vfs = &fs->vfs, .dir = "j", .kind = "fuzz", .segment_size = 65536 };
	struct journal_record r = { .type = 1, .head = SPAN("x") };
	struct journal *j = journal_open(&o, NULL);

	if (!j)
		return;
	if (journal_replay(j, on_record, NULL, NULL, NULL)) {
		(void)journal_append(j, &r, 0, NULL, NULL, NULL);
		(void)journal_sync(j, NULL);
		journal_tidy(j);
	}
	journal_close(&j);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memfs *fs = memfs_new();

	if (size > 0) {
		unsigned how = data[0] & 3;
		bool right = data[0] & 4;

		data++;
		size--;
		if (how == 0) {
			put_file(fs, "j/00000000.seg", data, size);
		} else if (how == 1) {
			put_segment(fs, "j/00000000.seg", 1, data, size, right);
		} else if (how == 2) {
			put_segment(fs, "j/00000000.seg", 1, data, size / 2, right);
			put_segment(fs, "j/00000001.seg", 2, data + size / 2, size - size / 2, right);
		} else {
			put_segment(fs, "j/00000000.seg", 1, data, 0, false);
			put_index(fs, "j/00000000.idx", data, size, right);
			put_segment(fs, "j/00000001.seg", 2, data, 0, false);
		}
	}
	go(fs);
	go(fs);
	memfs_free(&fs);
	return 0;
}
