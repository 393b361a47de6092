/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <string.h>

#include "store/listing.h"
#include "storetest.h"

enum { FILES = 24000 }; /* more than two pieces of names */

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

static void
a_thread_reads_what_is_read_without_one(void **state)
{
	struct fixture *f = *state;
	struct vfs *v = make_files(f, FILES);
	struct heard one = { .names = calloc(FILES + 1, 64) }, two = { .names = calloc(FILES + 1, 64) };

	assert_int_equal(listing_each(v, NULL, "many", hear, &one), 0);
	assert_int_equal(listing_each(v, f->pool, "many", hear, &two), 0);
	assert_true(one.n == FILES && two.n == FILES && memcmp(one.names, two.names, FILES * (size_t)64) == 0);
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

/* ---- a directory that cannot be read to its end ---- */

static int good_pieces;
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
		cmocka_unit_test_setup_teardown(a_thread_reads_what_is_read_without_one, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_read_is_said, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
