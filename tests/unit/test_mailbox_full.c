/* SPDX-License-Identifier: ISC
 *
 * A mailbox on a disk that is full: what cannot be written is refused and
 * leaves everything as it was, and deleting still works.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/state.h"

struct fixture {
	char dir[64];
	struct loop *loop;
	struct worker_pool *pool;
	struct store *store;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct store_config config = { .host = SPAN("test") };
	struct fail why;

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/test_mailbox_full.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	config.loop = f->loop = loop_new();
	config.pool = f->pool = worker_pool_new(f->loop, 2);
	config.base = open(f->dir, O_RDONLY | O_DIRECTORY);
	f->store = store_new(&config, &why);
	assert_non_null(f->store);
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

struct wait_op {
	struct mailbox_op op;
	bool done;
};

static void
on_done(struct mailbox_op *op)
{
	OWNER_OF(op, struct wait_op, op)->done = true;
}

static bool
append(struct fixture *f)
{
	struct fail why = { .text = "" };
	struct append_to to = { .folder = SPAN("INBOX") };
	struct append *a = append_begin(f->store, &to, &why);
	struct wait_op w = { .op.on_done = on_done };

	assert_non_null(a);
	assert_true(append_write(a, SPAN("A: b\r\n\r\n"), &why));
	append_commit(&a, 1, &w.op);
	for (int i = 0; i < 1000 && !w.done; i++)
		(void)loop_turn(f->loop, 10);
	assert_true(w.done);
	if (!w.op.ok)
		assert_int_equal(w.op.why.class, FAIL_LIMIT);
	return w.op.ok;
}

static int64_t
no_space(struct vfs *v)
{
	(void)v;
	return 1000;
}

/* One change after the other until the journal's segment is full. */
static bool
change_until_refused(struct view *v)
{
	struct uid_range range = { 1, 1 };
	struct uidset uids = { .ranges = &range, .n = 1 };
	struct flag_change change = { .flags = FLAG_SEEN, .unchanged_since = UINT64_MAX };

	for (int i = 0; i < 20000; i++) {
		struct fail why = { .text = "" };
		uint64_t before = mailbox_modseq(v->mailbox);

		change.op = i % 2 ? FLAGS_REMOVE : FLAGS_ADD;
		if (mailbox_flags(v, &uids, &change, NULL, &why))
			continue;
		assert_int_equal(why.class, FAIL_LIMIT);
		assert_int_equal(mailbox_modseq(v->mailbox), before);
		return true;
	}
	return false;
}

static void
a_full_disk_keeps_nobody_from_deleting(void **state)
{
	struct fixture *f = *state;
	struct view v = { .owner = NULL };
	struct uid_range range = { 1, 2 };
	struct uidset uids = { .ranges = &range, .n = 1 };
	struct vfs_ops full;
	const struct vfs_ops *real;
	struct fail why = { .text = "" };

	for (int i = 0; i < 3; i++)
		assert_true(append(f));
	assert_true(view_open(&v, f->store, SPAN("INBOX"), false, &why));
	real = v.mailbox->vfs->ops;
	full = *real;
	full.space = no_space;
	v.mailbox->vfs->ops = &full;
	assert_true(change_until_refused(&v));
	assert_false(append(f));
	assert_int_equal(view_count(&v), 3);
	if (!mailbox_remove(&v, &uids, &why))
		fail_msg("%s", why.text);
	view_sync(&v, &(struct view_events){ .on_exists = NULL }, true);
	assert_int_equal(view_count(&v), 1);
	v.mailbox->vfs->ops = real; /* there is room again */
	assert_true(append(f));
	view_sync(&v, &(struct view_events){ .on_exists = NULL }, true);
	assert_int_equal(view_count(&v), 2);
	view_close(&v);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_full_disk_keeps_nobody_from_deleting, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
