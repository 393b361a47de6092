/* SPDX-License-Identifier: ISC
 *
 * fuzz_searchfile: a search index with hostile blocks: as they come, or (first
 * octet odd) one block with a checksum that is right.
 */
#include <stdlib.h>
#include <string.h>

#include "crash/memfs.h"
#include "store/searchfile.h"
#include "sys/crc32c.h"

enum { VALIDITY = 7, UIDS = 300, BLOCK_HEAD = 24, CHECKSUM_AT = 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
put_block(struct buf *file, struct span in)
{
	struct buf block;
	uint32_t sum;

	if (in.n < BLOCK_HEAD) {
		buf_put(file, in);
		return;
	}
	buf_init(&block, in.n);
	buf_put(&block, in);
	memcpy(block.mem + block.at, "PPSB", 4);
	sum = crc32c(crc32c(0, span_sub(buf_span(&block), 0, CHECKSUM_AT)), span_from(buf_span(&block), BLOCK_HEAD));
	for (unsigned i = 0; i < 4; i++)
		block.mem[block.at + CHECKSUM_AT + i] = (char)(sum >> (8 * i));
	buf_put(file, buf_span(&block));
	buf_free(&block);
}

static void
use(struct searchfile *f)
{
	struct signature_query q;
	uint32_t last = 0;

	signature_query(&q, SPAN("needle"));
	for (size_t i = 0; i < f->n; i++) {
		if (f->blocks[i].lo <= last || f->blocks[i].hi < f->blocks[i].lo)
			abort();
		last = f->blocks[i].hi;
	}
	for (uint32_t uid = 0; uid < UIDS; uid++) {
		struct span signature = searchfile_get(f, uid, 0);

		if (signature.n % SIGNATURE_UNIT)
			abort();
		if (signature.n)
			(void)signature_may_have(signature, uid, &q);
	}
}

static void
go(struct memfs *fs, enum vfs_open how)
{
	struct signature_maker maker;
	struct searchfile_draft d;
	struct searchfile f;
	struct uidset all;

	searchfile_init(&f);
	if (!searchfile_open(&f, &fs->vfs, SEARCHFILE_NAME, VALIDITY, how))
		return;
	use(&f);
	if (how == VFS_WRITE && searchfile_verify(&f) && searchfile_last(&f) < UINT32_MAX && signature_init(&maker)) {
		uint32_t uid = searchfile_last(&f) + 1;

		signature_add(&maker, SPAN("a needle"));
		draft_init(&d);
		if (!draft_add(&d, uid, 1, &maker, 1000) || !searchfile_append(&f, &d) || !searchfile_get(&f, uid, 1).n)
			abort();
		draft_free(&d);
		signature_free(&maker);
		uidset_init(&all);
		uidset_add(&all, 1, UINT32_MAX);
		if (!searchfile_copy(&f, SEARCHFILE_NAME ".new", VALIDITY, &all))
			abort();
		uidset_free(&all);
		use(&f);
	}
	searchfile_close(&f);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memfs *fs = memfs_new();
	struct buf file;
	int fd;

	if (size == 0) {
		memfs_free(&fs);
		return 0;
	}
	buf_init(&file, size + 100);
	buf_put(&file, SPAN("PPSEARCH"));
	buf_le32(&file, 1);
	buf_le32(&file, VALIDITY);
	if (data[0] & 1)
		put_block(&file, span_of(data + 1, size - 1));
	else
		buf_put(&file, span_of(data + 1, size - 1));
	(void)fs->vfs.ops->mkdir(&fs->vfs, "pillarpost");
	fd = fs->vfs.ops->open(&fs->vfs, SEARCHFILE_NAME, VFS_CREATE);
	(void)vfs_write_all(&fs->vfs, fd, buf_span(&file).p, buf_len(&file), 0);
	(void)fs->vfs.ops->close(&fs->vfs, fd);
	go(fs, VFS_READ);
	go(fs, VFS_WRITE);
	go(fs, VFS_WRITE);
	buf_free(&file);
	memfs_free(&fs);
	return 0;
}
