/* SPDX-License-Identifier: ISC
 *
 * fuzz_spool: journal files as an enemy would write them, read by the salvage
 * scan.  The first byte: bit 0 a true header, bit 1 an index as well.
 */
#include <stdlib.h>
#include <string.h>

#include "bless.h"
#include "crash/memfs.h"
#include "log/log.h"
#include "tools/spoolcheck/spool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
put_file(struct memfs *fs, const char *name, const void *data, size_t size)
{
	int fd = fs->vfs.ops->open(&fs->vfs, name, VFS_CREATE);

	(void)vfs_write_all(&fs->vfs, fd, data, size, 0);
	(void)fs->vfs.ops->close(&fs->vfs, fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct segment_header h = { .used = true, .seq = 7, .stamp = 9, .mark = 0x31313131, .prev_seq = 6 };
	struct memfs *fs = memfs_new();
	struct spool s;
	struct spool_item **all;
	size_t n = size > 1 ? size - 1 : 0, count = 0;
	uint8_t how = size ? data[0] : 0;
	char *file = calloc(1, SEGMENT_HEADER + n + 1);
	struct export_message x;
	struct buf room;
	uint64_t got;

	log_set_level(LOG_LEVEL_ERROR + 1);
	if (how & 1)
		segment_header_put(&h, "queu", file);
	if (n)
		memcpy(file + SEGMENT_HEADER, data + 1, n);
	bless_records(file + SEGMENT_HEADER, n, h.mark);
	(void)fs->vfs.ops->mkdir(&fs->vfs, "journal");
	(void)fs->vfs.ops->mkdir(&fs->vfs, "blob");
	put_file(fs, "journal/00000000.seg", file, SEGMENT_HEADER + n);
	if (how & 2)
		put_file(fs, "journal/00000000.idx", file + SEGMENT_HEADER, n);
	spool_init(&s, &fs->vfs);
	if (spool_load(&s, NULL)) {
		all = spool_sorted(&s, &count);
		buf_init(&room, EXPORT_TEXT_MAX);
		for (size_t i = 0; i < count; i++) {
			(void)spool_message(all[i], &room, &x, NULL);
			(void)spool_content(&s, all[i], NULL, NULL, &got, NULL);
			buf_reset(&room);
		}
		buf_free(&room);
		free(all);
	}
	spool_free(&s);
	memfs_free(&fs);
	free(file);
	return 0;
}
