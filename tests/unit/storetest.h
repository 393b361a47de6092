/* SPDX-License-Identifier: ISC
 *
 * storetest: one user's store in a directory of its own, for the tests of it;
 * setup() and teardown() for cmocka.
 */
#ifndef TESTS_STORETEST_H
#define TESTS_STORETEST_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/mailbox.h"

struct fixture {
	char dir[64];
	struct loop *loop;
	struct worker_pool *pool;
	struct store *store;
};

static inline void
open_store(struct fixture *f)
{
	struct fail why;
	struct store_config config = { .loop = f->loop, .pool = f->pool, .base = open(f->dir, O_RDONLY | O_DIRECTORY), .host = SPAN("test") };

	assert_true(config.base >= 0);
	f->store = store_new(&config, &why);
	assert_non_null(f->store);
}

static inline int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/test_mailbox.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->loop = loop_new();
	f->pool = worker_pool_new(f->loop, 4);
	open_store(f);
	*state = f;
	return 0;
}

static inline int
teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	store_free(&f->store);
	worker_pool_free(&f->pool);
	loop_free(&f->loop);
	(void)snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

/* Paths from the store's directory on. */
static inline void
put_file(struct fixture *f, const char *path, const char *text)
{
	char full[400];
	FILE *out;

	(void)snprintf(full, sizeof(full), "%s/%s", f->dir, path);
	out = fopen(full, "w");
	assert_non_null(out);
	assert_true(fputs(text, out) >= 0);
	assert_int_equal(fclose(out), 0);
}

static inline bool
file_exists(struct fixture *f, const char *path)
{
	char full[400];

	(void)snprintf(full, sizeof(full), "%s/%s", f->dir, path);
	return access(full, F_OK) == 0;
}

static inline void
move_file(struct fixture *f, const char *from, const char *to)
{
	char a[400], b[400];

	(void)snprintf(a, sizeof(a), "%s/%s", f->dir, from);
	(void)snprintf(b, sizeof(b), "%s/%s", f->dir, to);
	assert_int_equal(rename(a, b), 0);
}

#endif
