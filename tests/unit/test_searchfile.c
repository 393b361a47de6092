/* SPDX-License-Identifier: ISC
 *
 * Signatures of texts, and the file that keeps them.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/searchfile.h"

enum { VALIDITY = 77, MOST = 1 << 20 };

struct fixture {
	char dir[64];
	struct vfs *v;
	struct signature_maker maker;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct fail why;

	(void)snprintf(f->dir, sizeof f->dir, "/tmp/test_searchfile.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->v = vfs_posix_new(f->dir, &why);
	assert_non_null(f->v);
	assert_int_equal(f->v->ops->mkdir(f->v, "pillarpost"), 0);
	assert_true(signature_init(&f->maker));
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	signature_free(&f->maker);
	vfs_posix_free(&f->v);
	(void)snprintf(command, sizeof command, "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

/* ---- signatures ---- */

static bool
may_have(struct span signature, uint32_t salt, struct span needle)
{
	struct signature_query q;

	signature_query(&q, needle);
	return signature_may_have(signature, salt, &q);
}

static void
all_that_is_there_is_found(void **state)
{
	struct fixture *f = *state;
	char text[5000];
	struct buf out;
	uint32_t seed = 1, missed = 0, tried = 0;

	for (size_t i = 0; i < sizeof text; i++) {
		seed = seed * 1103515245 + 12345;
		text[i] = (char)(seed >> 16);
	}
	buf_init(&out, 1 << 20);
	for (size_t n = 0; n < sizeof text; n = n * 2 + 1) { /* also of no text, and where most bounds it */
		signature_reset(&f->maker);
		signature_add(&f->maker, span_of(text, n));
		for (size_t most = 0; most <= MOST; most = most * 4 + 8) {
			buf_reset(&out);
			assert_true(signature_put(&f->maker, (uint32_t)(most + n), most, &out));
			assert_true(buf_len(&out) <= (most < SIGNATURE_UNIT ? SIGNATURE_UNIT : most) && buf_len(&out) % SIGNATURE_UNIT == 0);
			for (size_t at = 0; at < n; at += 7)
				for (size_t len = 0; len < 40 && at + len <= n; len++)
					assert_true(may_have(buf_span(&out), (uint32_t)(most + n), span_of(text + at, len)));
			assert_true(may_have(buf_span(&out), (uint32_t)(most + n), span_of(text, n))); /* longer than what is looked for */
		}
	}
	/* and that others are not: random needles of eight octets, in the last and largest */
	buf_reset(&out);
	assert_true(signature_put(&f->maker, 7, MOST, &out));
	for (size_t at = sizeof text - 600; at + 8 < sizeof text; at += 8) {
		char needle[8];

		for (size_t k = 0; k < sizeof needle; k++)
			needle[k] = (char)(text[at + k] ^ 0x55);
		tried++;
		missed += !may_have(buf_span(&out), 7, span_of(needle, sizeof needle));
	}
	assert_true(tried > 50 && missed >= tried - 1);
	buf_free(&out);
}

/* No run reaches over the end of a text; a large text; what a reset leaves. */
static void
texts_are_apart(void **state)
{
	struct fixture *f = *state;
	size_t n = 6 << 20;
	char *large = malloc(n);
	struct buf out;
	uint64_t seed = 88172645463325252u;

	buf_init(&out, 1 << 20);
	signature_add(&f->maker, SPAN("abcd"));
	signature_add(&f->maker, SPAN("efgh"));
	assert_true(signature_put(&f->maker, 7, MOST, &out));
	assert_true(may_have(buf_span(&out), 7, SPAN("efgh")));
	assert_false(may_have(buf_span(&out), 7, SPAN("cdef")));
	for (size_t i = 0; i < n; i++) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		large[i] = (char)(seed >> 20);
	}
	signature_reset(&f->maker);
	signature_add(&f->maker, span_of(large, n));
	buf_reset(&out);
	assert_true(signature_put(&f->maker, 7, MOST, &out));
	assert_int_equal(buf_len(&out), SIGNATURE_MAX);
	for (size_t at = 0; at + 30 < n; at += 10007)
		assert_true(may_have(buf_span(&out), 7, span_of(large + at, 30)));
	signature_reset(&f->maker);
	buf_reset(&out);
	assert_true(signature_put(&f->maker, 7, MOST, &out));
	assert_int_equal(buf_len(&out), SIGNATURE_UNIT);
	assert_false(may_have(buf_span(&out), 7, SPAN("abc")));
	assert_true(may_have(buf_span(&out), 7, SPAN("ab"))); /* too short to tell */
	buf_free(&out);
	free(large);
}

/* ---- the file ---- */

static uint32_t
check_of(uint32_t uid)
{
	return uid * 17;
}

static void
open_file(struct fixture *f, struct searchfile *file, enum vfs_open how)
{
	searchfile_init(file);
	assert_true(searchfile_open(file, f->v, SEARCHFILE_NAME, VALIDITY, how));
}

/* Messages lo to hi with a text each that names it. */
static void
append(struct fixture *f, struct searchfile *file, uint32_t lo, uint32_t hi, uint32_t step)
{
	struct searchfile_draft d;

	draft_init(&d);
	for (uint32_t uid = lo; uid <= hi; uid += step) {
		char text[401];

		for (unsigned i = 0; i < sizeof text / 8; i++)
			(void)snprintf(text + (size_t)8 * i, 9, "%06x%02x", uid, i);
		signature_reset(&f->maker);
		signature_add(&f->maker, span_of(text, sizeof text - 1));
		assert_true(draft_add(&d, uid, check_of(uid), uid % 10 == 0 ? NULL : &f->maker, MOST));
		if (draft_full(&d))
			assert_true(searchfile_append(file, &d));
	}
	assert_true(d.n == 0 || searchfile_append(file, &d));
	draft_free(&d);
}

static bool
knows(struct searchfile *file, uint32_t uid)
{
	struct span signature = searchfile_get(file, uid, check_of(uid));
	char own[9], other[40];

	if (!signature.n)
		return false;
	(void)snprintf(own, sizeof own, "%06x%02x", uid, 7u);
	(void)snprintf(other, sizeof other, "%u was never written", uid);
	assert_true(may_have(signature, uid, span_of(own, 8)));
	assert_false(may_have(signature, uid, span_str(other)));
	return true;
}

static void
what_was_put_is_there_again(void **state)
{
	struct fixture *f = *state;
	struct searchfile file;

	open_file(f, &file, VFS_CREATE);
	assert_int_equal(searchfile_last(&file), 0);
	assert_int_equal(searchfile_get(&file, 1, 0).n, 0);
	append(f, &file, 3, 3000, 3);
	for (uint32_t uid = 3001; uid < 3100; uid++) /* one by one: few blocks none the less */
		append(f, &file, uid, uid, 1);
	assert_true(file.n < 20);
	searchfile_close(&file);
	open_file(f, &file, VFS_READ);
	assert_int_equal(searchfile_last(&file), 3099);
	assert_int_equal(file.messages, 1099);
	for (uint32_t uid = 1; uid < 3200; uid++)
		assert_int_equal(knows(&file, uid), uid % 10 != 0 && uid < 3100 && (uid > 3000 || uid % 3 == 0));
	assert_int_equal(searchfile_get(&file, 3, check_of(3) + 1).n, 0); /* another message's */
	assert_true(searchfile_verify(&file));
	searchfile_close(&file);
	searchfile_init(&file);
	assert_false(searchfile_open(&file, f->v, SEARCHFILE_NAME, VALIDITY + 1, VFS_READ)); /* another mailbox's */
	assert_true(searchfile_open(&file, f->v, SEARCHFILE_NAME, VALIDITY + 1, VFS_WRITE));
	assert_int_equal(searchfile_last(&file), 0);
	searchfile_close(&file);
}

static void
only_what_ascends_is_taken(void **state)
{
	struct fixture *f = *state;
	struct searchfile file;
	struct searchfile_draft d;

	open_file(f, &file, VFS_CREATE);
	append(f, &file, 10, 20, 1);
	draft_init(&d);
	assert_true(draft_add(&d, 20, 0, NULL, MOST));
	assert_false(searchfile_append(&file, &d));
	assert_true(knows(&file, 11) && searchfile_last(&file) == 20);
	draft_free(&d);
	searchfile_close(&file);
}

static void
expunged_ones_go(void **state)
{
	struct fixture *f = *state;
	struct searchfile file;
	struct uidset left;
	uint64_t before;

	uidset_init(&left);
	uidset_add(&left, 100, 200);
	uidset_add(&left, 1999, 2500);
	open_file(f, &file, VFS_CREATE);
	append(f, &file, 1, 2000, 1);
	before = file.end;
	assert_true(searchfile_copy(&file, SEARCHFILE_NAME ".new", VALIDITY, &left));
	searchfile_close(&file);
	assert_int_equal(f->v->ops->rename(f->v, SEARCHFILE_NAME ".new", SEARCHFILE_NAME), 0);
	open_file(f, &file, VFS_WRITE);
	assert_int_equal(file.messages, 103);
	assert_true(file.end < before / 10);
	for (uint32_t uid = 1; uid <= 2000; uid++)
		assert_int_equal(knows(&file, uid), uid % 10 != 0 && uidset_has(&left, uid));
	searchfile_close(&file);
	uidset_free(&left);
}

/* Whatever happens to the file: what it still says is true, and it can be written on. */
static void
damage_is_never_believed(void **state)
{
	struct fixture *f = *state;
	char path[128], *good;
	struct stat st;
	uint32_t seed = 5;
	int fd;

	struct searchfile file;

	open_file(f, &file, VFS_CREATE);
	append(f, &file, 1, 4000, 1);
	searchfile_close(&file);
	(void)snprintf(path, sizeof path, "%s/%s", f->dir, SEARCHFILE_NAME);
	fd = open(path, O_RDWR);
	assert_int_equal(fstat(fd, &st), 0);
	good = malloc((size_t)st.st_size);
	assert_int_equal(pread(fd, good, (size_t)st.st_size, 0), st.st_size);
	for (unsigned round = 0; round < 60; round++) {
		uint32_t last, kept = 0;
		off_t at;

		seed = seed * 1103515245 + 12345;
		at = (off_t)((uint64_t)(seed >> 1) % (uint64_t)st.st_size);
		if (round % 3 == 0) {
			assert_int_equal(ftruncate(fd, at), 0);
		} else {
			char zeros[300] = { 0 };
			char wrong = (char)(good[at] ^ (1 << (round & 7)));

			if (round % 3 == 1)
				assert_int_equal(pwrite(fd, &wrong, 1, at), 1);
			else
				assert_int_equal(pwrite(fd, zeros, sizeof zeros, at), sizeof zeros);
		}
		open_file(f, &file, VFS_WRITE);
		for (uint32_t uid = 1; uid <= 4000; uid++)
			kept += knows(&file, uid);
		last = searchfile_last(&file);
		assert_true(kept <= 3600);
		if (last < 4000) {
			append(f, &file, last + 1, 4000, 1);
			kept = 0;
			for (uint32_t uid = 1; uid <= 4000; uid++)
				kept += knows(&file, uid);
			assert_int_equal(kept, 3600);
		}
		searchfile_close(&file);
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, good, (size_t)st.st_size, 0), st.st_size);
	}
	close(fd);
	free(good);
}

/* A run that found no memory is seen and in no list; the next text has it all the same. */
static void
no_memory_for_one_text_spoils_no_other(void **state)
{
	struct fixture *f = *state;
	struct buf out;

	buf_init(&out, 1 << 20);
	signature_add(&f->maker, SPAN("needle"));
	f->maker.n = 0;
	f->maker.failed = true;
	assert_false(signature_put(&f->maker, 1, MOST, &out));
	signature_reset(&f->maker);
	signature_add(&f->maker, SPAN("a needle and more"));
	assert_true(signature_put(&f->maker, 1, MOST, &out));
	assert_true(may_have(buf_span(&out), 1, SPAN("needle")));
	buf_free(&out);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(all_that_is_there_is_found),
		T(texts_are_apart),
		T(no_memory_for_one_text_spoils_no_other),
		T(what_was_put_is_there_again),
		T(only_what_ascends_is_taken),
		T(expunged_ones_go),
		T(damage_is_never_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
