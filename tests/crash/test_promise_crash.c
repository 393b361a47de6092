/* SPDX-License-Identifier: ISC
 *
 * The promise of a large COPY or MOVE under power cuts, by enumeration, as
 * test_store_crash.c does it: after every prefix of what is done to the files, with what was
 * not synced lost in several ways, and again after every prefix of the recovery.
 *
 * Once it is made, every message is where it was promised; what was
 * removed after it was kept stays away; nothing else appears.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crash/cut.h"
#include "log/log.h"
#include "store/maildir.h"
#include "store/promise.h"

enum { FILES = 7, GONE = 3, RENAMED = 5, RANDOM_STATES = 6 };

struct moments { /* operations when ... */
	size_t made, promised, gone_goes, gone, sources_go, sources_gone, back_promised;
};

static void
source_path(char *out, size_t size, unsigned i)
{
	(void)snprintf(out, size, "%s/a%u%s", i % 2 ? "cur" : "new", i, i % 2 ? ":2,F" : "");
}

static void
target_path(char *out, size_t size, unsigned i)
{
	(void)snprintf(out, size, ".T/cur/b%u:2,S", i);
}

static void
back_path(char *out, size_t size, unsigned i)
{
	(void)snprintf(out, size, "cur/c%u:2,S", i);
}

static void
make_sources(struct memfs *fs)
{
	struct vfs *v = &fs->vfs;
	struct fail why;
	char path[100];

	assert_true(maildir_make(v, "", &why));
	assert_true(maildir_make(v, ".T", &why));
	for (unsigned i = 0; i < FILES; i++) {
		int fd;

		source_path(path, sizeof(path), i);
		fd = v->ops->open(v, path, VFS_CREATE);
		assert_true(fd >= 0 && vfs_write_all(v, fd, &(char){ (char)('a' + i) }, 1, 0) && v->ops->sync(v, fd) == 0);
	}
	assert_int_equal(v->ops->sync_dir(v, "new") + v->ops->sync_dir(v, "cur"), 0);
}

static void
promise_all(struct promise *p, void (*from_path)(char *, size_t, unsigned), void (*to_path)(char *, size_t, unsigned), bool all)
{
	char from[100], to[100];

	promise_init(p);
	for (unsigned i = 0; i < FILES; i++) {
		from_path(from, sizeof(from), i);
		to_path(to, sizeof(to), i);
		assert_true((!all && i == GONE) || promise_add(p, from, to));
	}
}

/* A MOVE of which one is expunged at once, then a COPY of the rest while another program renames a file. */
static void
workload(struct memfs *fs, struct moments *at)
{
	struct vfs *v = &fs->vfs;
	struct promise p;
	size_t lost = 0;
	char path[100];

	make_sources(fs);
	at->made = fs->nops;
	promise_all(&p, source_path, target_path, true);
	assert_true(promise_write(&p, v));
	at->promised = fs->nops;
	assert_false(promise_write(&p, v));
	assert_int_equal(errno, EEXIST);
	assert_true(promise_keep(&p, v, false, &lost));
	assert_int_equal(lost, 0);
	promise_free(&p);
	at->gone_goes = fs->nops;
	target_path(path, sizeof(path), GONE);
	assert_int_equal(v->ops->unlink(v, path) + v->ops->sync_dir(v, ".T/cur"), 0);
	at->gone = at->sources_go = fs->nops;
	for (unsigned i = 0; i < FILES; i++) {
		source_path(path, sizeof(path), i);
		assert_int_equal(v->ops->unlink(v, path), 0);
	}
	assert_int_equal(v->ops->sync_dir(v, "new") + v->ops->sync_dir(v, "cur"), 0);
	at->sources_gone = fs->nops;
	promise_all(&p, target_path, back_path, false);
	assert_true(promise_write(&p, v));
	at->back_promised = fs->nops;
	target_path(path, sizeof(path), RENAMED);
	assert_int_equal(v->ops->rename(v, path, ".T/cur/b5:2,DS"), 0);
	assert_true(promise_keep(&p, v, false, &lost));
	assert_int_equal(lost, 0);
	promise_free(&p);
}

static bool
has(struct memfs *fs, const char *path, unsigned i)
{
	uint64_t size;
	const char *bytes = memfs_bytes(fs, path, &size);

	if (bytes && (size != 1 || bytes[0] != (char)('a' + i)))
		fail_msg("%s has not the octets of message %u", path, i);
	return bytes != NULL;
}

static void
check(struct memfs *fs, const struct moments *at, size_t n, const char *how)
{
	char source[100], target[100], back[100];

	for (unsigned i = 0; i < FILES && n >= at->made; i++) {
		bool in_source, in_target, is_back;

		source_path(source, sizeof(source), i);
		target_path(target, sizeof(target), i);
		back_path(back, sizeof(back), i);
		in_source = has(fs, source, i);
		in_target = has(fs, target, i) || (i == RENAMED && has(fs, ".T/cur/b5:2,DS", i));
		is_back = has(fs, back, i);
		if (n <= at->sources_go && !in_source)
			fail_msg("operation %zu, %s: message %u is not in the source", n, how, i);
		if (n >= at->promised && !in_target && (i != GONE || n <= at->gone_goes))
			fail_msg("operation %zu, %s: message %u was promised and is not in the target", n, how, i);
		if ((n >= at->sources_gone && in_source) || (i == GONE && n >= at->gone && (in_target || is_back)))
			fail_msg("operation %zu, %s: message %u came back", n, how, i);
		if (n >= at->back_promised && i != GONE && !is_back)
			fail_msg("operation %zu, %s: message %u was promised and is not back", n, how, i);
	}
	if (memfs_find(fs, PROMISE_NAME))
		fail_msg("operation %zu, %s: a promise is left", n, how);
}

static void
redo(struct memfs *fs, size_t n, const char *how)
{
	struct fail why = { .text = "" };

	if (!promise_redo(&fs->vfs, &why))
		fail_msg("operation %zu, %s: %s", n, how, why.text);
}

/* The power fails in the recovery, too. */
static void
check_again(const struct moments *at, size_t n, struct cut *c)
{
	static const char *const how[] = { "cut again, all kept", "cut again, all lost", "cut again, some lost" };
	unsigned char reached[64];

	do
		for (unsigned k = 0; k < 3; k++) {
			struct memfs *after;

			assert_true(c->units < sizeof(reached));
			for (size_t u = 0; u < sizeof(reached); u++)
				reached[u] = k == 0 || (k == 2 && (u * 7 + c->n + n) % 3 == 0);
			after = cut_make(c, reached);
			redo(after, n, how[k]);
			check(after, at, n, how[k]);
			memfs_free(&after);
		}
	while (cut_forward(c));
}

static void
check_cut(const struct memfs *fs, const struct moments *at, size_t n, enum memfs_loss loss, uint64_t seed)
{
	struct memfs *after = memfs_crash(fs, n, loss, seed), *before = memfs_clone(after);
	struct cut c;

	after->record = true;
	redo(after, n, "cut");
	check(after, at, n, "cut");
	cut_init(&c, after, before);
	check_again(at, n, &c);
	cut_free(&c);
	memfs_free(&before);
	memfs_free(&after);
}

static void
promises_are_kept(void **state)
{
	struct memfs *fs = memfs_new();
	struct moments at;

	(void)state;
	fs->record = true;
	workload(fs, &at);
	print_message("%zu file operations\n", fs->nops);
	for (size_t n = 0; n <= fs->nops; n++) {
		check_cut(fs, &at, n, MEMFS_KEEP_ALL, 0);
		check_cut(fs, &at, n, MEMFS_DROP_ALL, 0);
		for (uint64_t seed = 1; seed <= RANDOM_STATES; seed++)
			check_cut(fs, &at, n, seed % 2 ? MEMFS_RANDOM : MEMFS_DROP_ONE, seed + n * 100);
	}
	memfs_free(&fs);
}

/* What cannot be done now stays promised; what cannot be promised leaves nothing. */
static void
failing_disk_keeps_the_promise(void **state)
{
	static const enum memfs_kind writing[] = { MEMFS_CREATE, MEMFS_WRITE, MEMFS_SYNC, MEMFS_SYNC_DIR };
	static const enum memfs_kind keeping[] = { MEMFS_LINK, MEMFS_SYNC_DIR, MEMFS_UNLINK };
	struct moments at = { .made = 0, .promised = 0, .sources_go = 1, .sources_gone = SIZE_MAX, .gone_goes = 1, .gone = SIZE_MAX, .back_promised = SIZE_MAX };
	struct promise p;

	(void)state;
	promise_all(&p, source_path, target_path, true);
	for (size_t k = 0; k < sizeof(writing) / sizeof(*writing); k++) {
		struct memfs *fs = memfs_new();

		make_sources(fs);
		fs->fail_kinds = 1u << writing[k];
		fs->fail_at = 0;
		fs->fail_errno = ENOSPC;
		assert_false(promise_write(&p, &fs->vfs));
		assert_int_equal(errno, ENOSPC);
		assert_null(memfs_find(fs, PROMISE_NAME));
		assert_true(promise_write(&p, &fs->vfs));
		memfs_free(&fs);
	}
	for (size_t k = 0; k < sizeof(keeping) / sizeof(*keeping); k++) {
		struct memfs *fs = memfs_new();
		struct fail why;
		size_t lost = 0;

		make_sources(fs);
		assert_true(promise_write(&p, &fs->vfs));
		fs->fail_kinds = 1u << keeping[k];
		fs->fail_errno = ENOSPC;
		fs->fail_at = keeping[k] == MEMFS_LINK ? 3 : 0;
		assert_false(promise_keep(&p, &fs->vfs, false, &lost));
		assert_int_equal(errno, ENOSPC);
		fs->fail_at = 0;
		assert_false(promise_redo(&fs->vfs, &why));
		assert_int_equal(why.err, ENOSPC);
		assert_non_null(memfs_find(fs, PROMISE_NAME));
		assert_true(promise_keep(&p, &fs->vfs, true, &lost));
		assert_int_equal(lost, 0);
		check(fs, &at, 0, "after a full disk");
		memfs_free(&fs);
	}
	promise_free(&p);
}

/* A file that another program removed is missing, and the rest is there. */
static void
what_is_gone_is_counted(void **state)
{
	struct memfs *fs = memfs_new();
	struct promise p;
	size_t lost = 0;
	char path[100];

	(void)state;
	make_sources(fs);
	promise_all(&p, source_path, target_path, true);
	assert_true(promise_write(&p, &fs->vfs));
	source_path(path, sizeof(path), 2);
	assert_int_equal(fs->vfs.ops->unlink(&fs->vfs, path), 0);
	source_path(path, sizeof(path), 4); /* from new/ to cur/ */
	assert_int_equal(fs->vfs.ops->rename(&fs->vfs, path, "cur/a4:2,RS"), 0);
	assert_true(promise_keep(&p, &fs->vfs, false, &lost));
	assert_int_equal(lost, 1);
	for (unsigned i = 0; i < FILES; i++) {
		target_path(path, sizeof(path), i);
		assert_int_equal(has(fs, path, i), i != 2);
	}
	promise_free(&p);
	memfs_free(&fs);
}

/* One that was made already and has another name now is not made once more. */
static void
what_was_renamed_is_left(void **state)
{
	struct memfs *fs = memfs_new();
	struct promise p;
	struct fail why;
	char path[100];

	(void)state;
	make_sources(fs);
	promise_all(&p, source_path, target_path, true);
	assert_true(promise_write(&p, &fs->vfs));
	source_path(path, sizeof(path), 1);
	assert_int_equal(fs->vfs.ops->link(&fs->vfs, path, ".T/cur/b1:2,FS"), 0);
	assert_true(promise_redo(&fs->vfs, &why));
	target_path(path, sizeof(path), 1);
	assert_false(has(fs, path, 1));
	target_path(path, sizeof(path), 2);
	assert_true(has(fs, path, 2));
	promise_free(&p);
	memfs_free(&fs);
}

/* ---- the file ---- */

static void
put_promise(struct memfs *fs, struct span bytes)
{
	int fd;

	(void)fs->vfs.ops->unlink(&fs->vfs, PROMISE_NAME);
	fd = fs->vfs.ops->open(&fs->vfs, PROMISE_NAME, VFS_CREATE);
	assert_true(fd >= 0 && vfs_write_all(&fs->vfs, fd, bytes.p, bytes.n, 0));
}

static void
only_whole_ones_count(void **state)
{
	struct memfs *fs = memfs_new();
	struct promise p, q;
	struct fail why;
	uint64_t size;
	char *bytes, *copy;
	bool torn;

	(void)state;
	make_sources(fs);
	promise_all(&p, source_path, target_path, true);
	assert_true(promise_write(&p, &fs->vfs));
	bytes = memfs_bytes(fs, PROMISE_NAME, &size);
	copy = malloc(size);
	memcpy(copy, bytes, size);
	for (uint64_t n = 0; n <= size; n++) {
		promise_init(&q);
		assert_int_equal(promise_parse(&q, span_of(copy, n)), n == size);
		assert_int_equal(n == size ? q.n : FILES, FILES);
		promise_free(&q);
	}
	for (uint64_t n = 0; n < size; n++) {
		copy[n] ^= 0x20;
		promise_init(&q);
		assert_false(promise_parse(&q, span_of(copy, size)));
		promise_free(&q);
		copy[n] ^= 0x20;
	}
	put_promise(fs, span_of(copy, size - 1));
	promise_init(&q);
	assert_true(promise_load(&q, &fs->vfs, &torn, &why) && torn && q.n == 0);
	assert_true(promise_redo(&fs->vfs, &why));
	assert_null(memfs_find(fs, PROMISE_NAME));
	copy[19] = '2'; /* of a release to come */
	put_promise(fs, span_of(copy, size));
	assert_false(promise_redo(&fs->vfs, &why));
	assert_non_null(memfs_find(fs, PROMISE_NAME));
	free(copy);
	promise_free(&p);
	memfs_free(&fs);
}

static void
paths_stay_in_the_maildir(void **state)
{
	static const char *const bad[] = { "/etc/passwd", "cur/../x", "../cur/x", "cur/", "cur", "", "tmp/x", "..x/cur/x", ".a..b/cur/x",
		".a/b/cur/x", "cur/.hidden", ".T/cur", "/cur/x", "./cur/x", "pillarpost/x", "xcur/y" };
	struct memfs *fs = memfs_new();

	(void)state;
	for (size_t i = 0; i <= sizeof(bad) / sizeof(*bad) * 2; i++) {
		bool good = i == sizeof(bad) / sizeof(*bad) * 2;
		struct promise p, q;
		uint64_t size;
		char *bytes;

		promise_init(&p);
		promise_init(&q);
		assert_true(promise_add(&p, i % 2 || good ? "cur/x" : bad[i / 2], i % 2 ? bad[i / 2] : ".T/cur/y"));
		assert_true(promise_write(&p, &fs->vfs));
		bytes = memfs_bytes(fs, PROMISE_NAME, &size);
		if (promise_parse(&q, span_of(bytes, size)) != good)
			fail_msg("from %s to %s", promise_from(&p, 0), promise_to(&p, 0));
		assert_int_equal(fs->vfs.ops->unlink(&fs->vfs, PROMISE_NAME), 0);
		promise_free(&p);
		promise_free(&q);
	}
	memfs_free(&fs);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(promises_are_kept),
		cmocka_unit_test(failing_disk_keeps_the_promise),
		cmocka_unit_test(what_is_gone_is_counted),
		cmocka_unit_test(what_was_renamed_is_left),
		cmocka_unit_test(only_whole_ones_count),
		cmocka_unit_test(paths_stay_in_the_maildir),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
