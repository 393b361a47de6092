/* SPDX-License-Identifier: ISC
 *
 * SELECT of a folder without an index answers before it is durable which message has which
 * UID.  What a session heard must hold, wherever the server ends behind that answer.
 */
#include <errno.h>
#include <sys/wait.h>

#include "store/state.h"
#include "storetest.h"

enum { FILES = 3 };

struct heard {
	uint32_t uidvalidity, uidnext, count, first;
	uint64_t objectid;
	bool unsettled;
};

static void
hear(struct view *v, struct heard *h)
{
	*h = (struct heard){
		.uidvalidity = mailbox_uidvalidity(v->mailbox),
		.uidnext = mailbox_uidnext(v->mailbox),
		.count = view_count(v),
		.first = view_uid(v, 1),
		.objectid = mailbox_objectid(v->mailbox),
	};
}

enum after { NOTHING, SETTLED, OPENED_AGAIN, CHANGED, CLOSED };

/* By a process that is gone at once behind it. */
static void
select_and_end(struct fixture *f, enum after after, struct heard *h)
{
	int pair[2], status;
	pid_t pid;

	store_free(&f->store);
	assert_int_equal(pipe(pair), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct view v = { .mailbox = NULL }, other = { .mailbox = NULL };
		struct fail why;
		bool ok;

		f->loop = loop_new();
		f->pool = worker_pool_new(f->loop, 2);
		open_store(f);
		ok = view_select(&v, f->store, SPAN("INBOX"), false, &why);
		hear(&v, h);
		h->unsettled = store_unsettled(f->store);
		if (after == SETTLED)
			store_settle(f->store);
		if (after == OPENED_AGAIN)
			ok = ok && view_open(&other, f->store, SPAN("INBOX"), true, &why);
		if (after == CHANGED)
			ok = ok && mailbox_keyword_find(v.mailbox, SPAN("new"), true) >= 0;
		if (after == CLOSED) {
			view_close(&v);
			store_free(&f->store);
		}
		_exit(ok && write(pair[1], h, sizeof *h) == (ssize_t)sizeof *h ? 0 : 1);
	}
	assert_int_equal(read(pair[0], h, sizeof *h), sizeof *h);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	(void)close(pair[0]);
	(void)close(pair[1]);
	open_store(f);
}

static void
put_files(struct fixture *f)
{
	for (unsigned i = 0; i < FILES; i++) {
		char path[64];

		(void)snprintf(path, sizeof path, "cur/17000000%02u.M1P1.host:2,S", i);
		put_file(f, path, "Subject: x\r\n\r\n");
	}
}

static void
expect_after(struct fixture *f, enum after after, bool kept)
{
	struct heard told, now;
	struct view v = { .mailbox = NULL };
	struct fail why;

	put_files(f);
	select_and_end(f, after, &told);
	assert_true(told.unsettled && told.count == FILES && told.uidnext == FILES + 1 && told.first == 1 && told.objectid);
	assert_true(view_open(&v, f->store, SPAN("INBOX"), false, &why));
	hear(&v, &now);
	view_close(&v);
	assert_true(now.uidvalidity == told.uidvalidity && now.objectid == told.objectid && now.count == FILES);
	assert_true(kept ? now.uidnext == told.uidnext && now.first == 1 : now.first >= told.uidnext);
}

static void
uids_that_nobody_heard_of_are_not_given_again(void **state)
{
	expect_after(*state, NOTHING, false);
}

static void
settled_they_stay(void **state)
{
	expect_after(*state, SETTLED, true);
}

static void
whoever_opens_it_too_settles(void **state)
{
	expect_after(*state, OPENED_AGAIN, true);
}

static void
a_change_settles(void **state)
{
	expect_after(*state, CHANGED, true);
}

static void
an_orderly_end_settles(void **state)
{
	expect_after(*state, CLOSED, true);
}

/* Its list is put aside, so that its UIDs are durable before that. */
static void
those_of_dovecot_are_durable_at_once(void **state)
{
	struct fixture *f = *state;
	struct view v = { .mailbox = NULL };
	struct heard told;
	struct fail why;

	put_files(f);
	put_file(f, "dovecot-uidlist", "3 V1234 N90 G00\n70 :1700000000.M1P1.host\n71 :1700000001.M1P1.host\n75 :1700000002.M1P1.host\n");
	select_and_end(f, NOTHING, &told);
	assert_false(told.unsettled);
	assert_true(view_open(&v, f->store, SPAN("INBOX"), false, &why));
	assert_true(told.uidvalidity == 1234 && mailbox_uidvalidity(v.mailbox) == 1234 && mailbox_uidnext(v.mailbox) == 90);
	assert_true(view_uid(&v, 1) == 70 && view_uid(&v, 3) == 75);
	view_close(&v);
}

static int64_t
little_space(struct vfs *v)
{
	(void)v;
	return 1 << 20;
}

static int
failing_sync(struct vfs *v, int fd)
{
	(void)v;
	(void)fd;
	errno = EIO;
	return -1;
}

/* Who has it open is sent away; behind the disk's failure nothing of it was told. */
static void
what_cannot_be_settled_ends_the_session(void **state)
{
	struct fixture *f = *state;
	struct view v = { .mailbox = NULL };
	struct heard told, now;
	const struct vfs_ops *real;
	struct vfs_ops ops;
	struct fail why;

	put_files(f);
	assert_true(view_select(&v, f->store, SPAN("INBOX"), false, &why));
	hear(&v, &told);
	real = v.mailbox->vfs->ops;
	ops = *real;
	ops.sync = failing_sync;
	v.mailbox->vfs->ops = &ops;
	store_settle(f->store);
	assert_true(v.lost && view_count(&v) == 0 && !store_unsettled(f->store));
	v.mailbox->vfs->ops = real;
	view_close(&v);
	assert_true(view_open(&v, f->store, SPAN("INBOX"), false, &why));
	hear(&v, &now);
	assert_true(now.count == FILES && now.uidvalidity == told.uidvalidity && now.first == told.uidnext);
	view_close(&v);
}

/* It is asked before the answer, which then waits for all of it. */
static void
where_room_is_short_nothing_is_left_for_later(void **state)
{
	struct fixture *f = *state;
	struct indexfile file = { .vfs = NULL };
	union record r = { .start = { .uidvalidity = 4711, .uidnext = 1, .modseq = 1 } };
	struct vfs *v = vfs_posix_new(f->dir, NULL);
	enum indexfile_found found;
	struct vfs_ops ops = *v->ops;
	struct fail why;

	ops.space = little_space;
	v->ops = &ops;
	assert_true(indexfile_open(&file, v, NULL, NULL, &found, &why));
	assert_true(index_apply(&file.ix, RECORD_start, &r));
	assert_true(indexfile_begin(&file, &why));
	assert_false(file.begun);
	indexfile_close(&file);
	vfs_posix_free(&v);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(uids_that_nobody_heard_of_are_not_given_again, setup, teardown),
		cmocka_unit_test_setup_teardown(settled_they_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(whoever_opens_it_too_settles, setup, teardown),
		cmocka_unit_test_setup_teardown(a_change_settles, setup, teardown),
		cmocka_unit_test_setup_teardown(an_orderly_end_settles, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_settled_ends_the_session, setup, teardown),
		cmocka_unit_test_setup_teardown(where_room_is_short_nothing_is_left_for_later, setup, teardown),
		cmocka_unit_test_setup_teardown(those_of_dovecot_are_durable_at_once, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
