/* SPDX-License-Identifier: ISC */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/queueid.h"
#include "crash/memfs.h"
#include "journal/spares.h"

static struct memfs *fs;

static int
setup(void **state)
{
	(void)state;
	fs = memfs_new();
	fs->record = true;
	(void)fs->vfs.ops->mkdir(&fs->vfs, "blob");
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	memfs_free(&fs);
	return 0;
}

static bool
exists(const char *name)
{
	uint64_t size;

	return memfs_bytes(fs, name, &size) != NULL;
}

static void
it_is_durable_before_it_is_named(void **state)
{
	struct blob b;
	size_t synced = 0, renamed = 0, dir = 0;
	uint64_t size;

	(void)state;
	assert_true(blob_create(&b, &fs->vfs, "blob/x.new", "blob/x", NULL));
	assert_true(blob_write(&b, SPAN("hello ")));
	assert_true(blob_write(&b, SPAN("world")));
	assert_false(exists("blob/x"));
	assert_true(blob_commit_now(&b, NULL));
	assert_memory_equal(memfs_bytes(fs, "blob/x", &size), "hello world", 11);
	assert_int_equal(size, 11);
	assert_false(exists("blob/x.new"));
	for (size_t i = 0; i < fs->nops; i++) {
		synced = fs->ops[i].kind == MEMFS_SYNC ? i : synced;
		renamed = fs->ops[i].kind == MEMFS_RENAME ? i : renamed;
		dir = fs->ops[i].kind == MEMFS_SYNC_DIR ? i : dir;
	}
	assert_true(0 < synced && synced < renamed && renamed < dir);
}

static void
each_failure_is_told_and_leaves_nothing(void **state)
{
	static const enum memfs_kind kinds[] = { MEMFS_WRITE, MEMFS_SYNC, MEMFS_RENAME, MEMFS_SYNC_DIR };
	struct fail why;
	struct blob b;

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		fs->fail_kinds = 1u << kinds[i];
		fs->fail_at = 0;
		fs->fail_errno = ENOSPC;
		assert_true(blob_create(&b, &fs->vfs, "blob/x.new", "blob/x", NULL));
		(void)blob_write(&b, SPAN("hello"));
		assert_false(blob_commit_now(&b, &why));
		assert_int_equal(why.err, ENOSPC);
		assert_false(exists("blob/x"));
		assert_false(exists("blob/x.new"));
	}
}

static void
it_can_be_given_up_and_names_are_not_taken_over(void **state)
{
	struct blob b, c;
	struct fail why;

	(void)state;
	assert_true(blob_create(&b, &fs->vfs, "blob/x.new", "blob/x", NULL));
	assert_false(blob_create(&c, &fs->vfs, "blob/x.new", "blob/x", &why));
	assert_int_equal(why.err, EEXIST);
	blob_abandon(&b);
	blob_abandon(&b);
	assert_false(exists("blob/x.new"));
	assert_int_equal(blob_open(&fs->vfs, "blob/x", &why), -1);
	assert_true(blob_remove(&fs->vfs, "blob/x", &why)); /* it is gone: that is what was wanted */
}

static void
put(struct spares *s, const char *name, struct span content)
{
	char temp[40];
	struct blob b;

	(void)snprintf(temp, sizeof(temp), "%s.new", name);
	assert_true(spares_create(s, &b, content.n, temp, name, NULL));
	assert_true(blob_write(&b, content));
	assert_true(blob_commit_now(&b, NULL));
}

static bool
retire(struct spares *s, const char *name)
{
	struct spare *place = spares_place(s);
	bool retired;

	if (!place)
		return false;
	retired = spares_retire(s, place, name);
	spares_keep(s, place, retired);
	return retired;
}

static void
a_spare_file_is_written_over(void **state)
{
	struct spares s;
	uint64_t size = 0;
	unsigned creates = 0;

	(void)state;
	spares_init(&s, &fs->vfs, "blob", 2, 20);
	put(&s, "blob/a", SPAN("a long secret"));
	put(&s, "blob/b", SPAN("b"));
	put(&s, "blob/c", SPAN("c is larger than the largest"));
	assert_false(retire(&s, "blob/c"));
	assert_true(retire(&s, "blob/a"));
	assert_true(retire(&s, "blob/b"));
	assert_false(retire(&s, "blob/c")); /* enough */
	assert_int_equal(s.n, 2);
	assert_false(exists("blob/a"));
	put(&s, "blob/d", SPAN("short")); /* fits a alone, of which nothing is left */
	assert_memory_equal(memfs_bytes(fs, "blob/d", &size), "short", 5);
	assert_int_equal(size, 5);
	put(&s, "blob/e", SPAN("it grows"));
	assert_memory_equal(memfs_bytes(fs, "blob/e", &size), "it grows", 8);
	assert_int_equal(size, 8);
	put(&s, "blob/f", SPAN("anew"));
	for (size_t i = 0; i < fs->nops; i++)
		creates += fs->ops[i].kind == MEMFS_CREATE;
	assert_int_equal(creates, 4);
	assert_int_equal(s.n, 0);
	assert_true(retire(&s, "blob/f"));
	assert_true(exists("blob/spare.4"));
	fs->fail_kinds = 1u << MEMFS_RENAME;
	fs->fail_at = 0;
	fs->fail_errno = EIO;
	put(&s, "blob/g", SPAN("another")); /* then a new one */
	fs->fail_kinds = 0;
	assert_false(exists("blob/spare.4"));
	assert_true(retire(&s, "blob/g"));
	spares_drop(&s);
	assert_int_equal(s.n, 0);
	assert_false(exists("blob/spare.5"));
	assert_true(exists("blob/d"));
}

static void
what_somebody_has_open_is_not_written_over(void **state)
{
	char dir[] = "/tmp/test_blob.XXXXXX", path[60];
	struct fail why = { .text = "" };
	struct spares s;
	struct vfs *v;
	void *seen;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	v = vfs_posix_new(dir, &why);
	assert_non_null(v);
	spares_init(&s, v, ".", 8, 4096);
	put(&s, "a", SPAN("content"));
	fd = blob_open(v, "a", &why);
	assert_true(fd >= 0);
	assert_false(retire(&s, "a"));
	seen = mmap(NULL, 7, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(seen != MAP_FAILED);
	assert_int_equal(close(fd), 0);
	assert_false(retire(&s, "a"));
	assert_int_equal(munmap(seen, 7), 0);
	assert_true(retire(&s, "a"));
	spares_drop(&s);
	vfs_posix_free(&v);
	(void)snprintf(path, sizeof(path), "%s/a", dir);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(rmdir(dir), 0);
}

static void
queue_ids_are_text_and_back(void **state)
{
	char text[QUEUEID_TEXT + 1];
	uint64_t last = 0, id, again;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		uint64_t before = last;

		id = queueid_new(&last, 1795263687536000 - (i % 7), 3);
		assert_true(id > before);
		assert_true(queueid_parse(queueid_text(id, text), &again));
		assert_int_equal(id, again);
		assert_int_equal(id & 15, 3);
	}
	assert_int_equal(strlen(text), 11);
	assert_true(queueid_parse(queueid_text(UINT64_MAX, text), &again));
	assert_true(again == UINT64_MAX);
	assert_false(queueid_parse(SPAN(""), &again));
	assert_false(queueid_parse(SPAN("0"), &again));
	assert_false(queueid_parse(SPAN("01"), &again));
	assert_false(queueid_parse(SPAN("ABCU"), &again));
	assert_false(queueid_parse(SPAN("ZZZZZZZZZZZZZ"), &again)); /* more than 64 bits */
	assert_true(queueid_parse(SPAN("abc"), &again));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_is_durable_before_it_is_named, setup, teardown),
		cmocka_unit_test_setup_teardown(each_failure_is_told_and_leaves_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(it_can_be_given_up_and_names_are_not_taken_over, setup, teardown),
		cmocka_unit_test_setup_teardown(a_spare_file_is_written_over, setup, teardown),
		cmocka_unit_test(what_somebody_has_open_is_not_written_over),
		cmocka_unit_test(queue_ids_are_text_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
