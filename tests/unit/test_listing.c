/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

#include "store/listing.h"
#include "storetest.h"

enum { FILES = 24000 }; /* several pieces of names for each thread */

struct heard {
	char *names; /* one after the other, as they came */
	size_t n, stop;
};

static bool
hear(void *arg, const char *name)
{
	struct heard *h = arg;

	(void)snprintf(h->names + h->n++ * 64, 64, "%s", name);
	return h->n != h->stop;
}

static struct vfs *
make_files(struct fixture *f, unsigned n)
{
	struct vfs *v = vfs_posix_new(f->dir, NULL);

	assert_non_null(v);
	assert_int_equal(v->ops->mkdir(v, "many"), 0);
	for (unsigned i = 0; i < n; i++) {
		char path[80];
		int fd;

		(void)snprintf(path, sizeof path, "many/1700000000.M%06uP77.a.longer.name.of.a.host,S=1,W=1", i);
		fd = v->ops->open(v, path, VFS_CREATE);
		assert_true(fd >= 0);
		(void)v->ops->close(v, fd);
	}
	return v;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void
must_be_same(struct heard *a, struct heard *b)
{
	assert_int_equal(a->n, b->n);
	qsort(a->names, a->n, 64, by_name);
	qsort(b->names, b->n, 64, by_name);
	for (size_t i = 0; i < a->n; i++)
		assert_string_equal(a->names + i * 64, b->names + i * 64);
}

static void
threads_read_what_is_read_without_one(void **state)
{
	struct fixture *f = *state;
	struct vfs *v = make_files(f, FILES);
	struct heard one = { .names = calloc(FILES + 1, 64) }, two = { .names = calloc(FILES + 1, 64) };

	assert_int_equal(listing_each(v, NULL, "many", hear, &one), 0);
	assert_int_equal(listing_each(v, f->pool, "many", hear, &two), 0);
	assert_int_equal(one.n, FILES);
	must_be_same(&one, &two);
	for (size_t stop = 1; stop < FILES; stop += stop / 2 + 1) {
		two.n = 0;
		two.stop = stop;
		assert_int_equal(listing_each(v, f->pool, "many", hear, &two), 0);
		assert_int_equal(two.n, stop);
	}
	free(one.names);
	free(two.names);
	vfs_posix_free(&v);
}

/* Parts of it, each split as soon as some of it was read, as long as it can be. */
static void
hear_parts(struct vfs *v, void *listing, struct heard *h, unsigned *nparts)
{
	void *rest;
	int rc;

	++*nparts;
	do {
		h->stop = h->n + 300;
		rc = v->ops->list_some(v, listing, hear, h);
		assert_true(rc >= 0);
		if (rc > 0 && *nparts < 16 && (rest = v->ops->list_split(v, listing)))
			hear_parts(v, rest, h, nparts);
	} while (rc > 0);
	v->ops->list_end(v, listing);
}

static void
parts_have_each_name_once(void **state)
{
	struct fixture *f = *state;
	struct vfs *v = make_files(f, 4000);
	struct heard one = { .names = calloc(4001, 64) }, two = { .names = calloc(4001, 64) };
	unsigned nparts = 0;
	struct statfs st;

	assert_int_equal(v->ops->list(v, "many", hear, &one), 0);
	hear_parts(v, v->ops->list_begin(v, "many"), &two, &nparts);
	must_be_same(&one, &two);
	assert_true(statfs(f->dir, &st) == 0 && (nparts > 4) == (st.f_type == EXT4_SUPER_MAGIC));
	free(one.names);
	free(two.names);
	vfs_posix_free(&v);
}

/* ---- a directory that cannot be read to its end ---- */

static _Atomic int good_pieces; /* threads ask */
static const struct vfs_ops *real;

static int
fails_some_time(struct vfs *v, void *listing, bool (*visit)(void *, const char *), void *arg)
{
	if (good_pieces-- > 0)
		return real->list_some(v, listing, visit, arg);
	errno = EIO;
	return -1;
}

static void
what_cannot_be_read_is_said(void **state)
{
	struct fixture *f = *state;
	struct vfs *v = make_files(f, FILES);
	struct heard h = { .names = calloc(FILES + 1, 64) };
	struct vfs_ops ops = *v->ops;

	assert_int_equal(listing_each(v, f->pool, "none", hear, &h), -1);
	assert_true(errno == ENOENT && h.n == 0);
	real = v->ops;
	ops.list_some = fails_some_time;
	v->ops = &ops;
	for (int good = 0; good < 3; good++) {
		good_pieces = good;
		h.n = 0;
		assert_int_equal(listing_each(v, f->pool, "many", hear, &h), -1);
		assert_true(errno == EIO && h.n < FILES && (h.n > 0) == (good > 0));
	}
	v->ops = real;
	free(h.names);
	vfs_posix_free(&v);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(threads_read_what_is_read_without_one, setup, teardown),
		cmocka_unit_test_setup_teardown(parts_have_each_name_once, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_read_is_said, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
