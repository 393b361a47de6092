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

#include <cmocka.h>

#include "store/mailbox.h"

struct fixture {
	char dir[64];
	struct loop *loop;
	struct worker_pool *pool;
	struct store *store;
};

static void
open_store(struct fixture *f)
{
	struct fail why;
	struct store_config config = { .loop = f->loop, .pool = f->pool, .base = open(f->dir, O_RDONLY | O_DIRECTORY), .host = SPAN("test") };

	assert_true(config.base >= 0);
	f->store = store_new(&config, &why);
	assert_non_null(f->store);
}

static int
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

static int
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

#endif
