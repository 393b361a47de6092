/* SPDX-License-Identifier: ISC
 *
 * A mailbox on a disk that is full: what cannot be written is refused and
 * leaves everything as it was, and deleting still works; a COPY that is refused leaves no copies, and appends no messages.  On
 * one that is slow, or fails: who waits for what was removed is told when it is durable, or that it never will be.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "store/state.h"
#include "storetest.h"

static const struct vfs_ops *real_ops;
static atomic_int gate; /* 0: a sync ends; 1: it waits; -1: it fails */

struct wait_op {
	struct mailbox_op op;
	bool done;
};

static void
on_done(struct mailbox_op *op)
{
	OWNER_OF(op, struct wait_op, op)->done = true;
}

enum { APPENDS_MAX = 40 };

static bool
append_many(struct fixture *f, const char *folder, size_t n)
{
	struct fail why = { .text = "" };
	struct append_to to = { .folder = span_str(folder) };
	struct append *all[APPENDS_MAX];
	struct wait_op w = { .op.on_done = on_done };

	for (size_t i = 0; i < n; i++) {
		assert_non_null(all[i] = append_begin(f->store, &to, &why));
		assert_true(append_write(all[i], SPAN("A: b\r\n\r\n"), &why));
	}
	append_commit(all, n, &w.op);
	for (int i = 0; i < 1000 && !w.done; i++)
		(void)loop_turn(f->loop, 10);
	assert_true(w.done);
	if (!w.op.ok && gate == 0)
		assert_int_equal(w.op.why.class, FAIL_LIMIT);
	return w.op.ok;
}

static bool
append(struct fixture *f)
{
	return append_many(f, "INBOX", 1);
}

static bool
confirm(struct fixture *f, struct view *v)
{
	struct wait_op w = { .op.on_done = on_done };

	mailbox_confirm(v, &w.op);
	for (int i = 0; i < 1000 && !w.done; i++)
		(void)loop_turn(f->loop, 10);
	assert_true(w.done);
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
	assert_true(confirm(f, &v));
	view_sync(&v, &(struct view_events){ .on_exists = NULL }, true);
	assert_int_equal(view_count(&v), 1);
	v.mailbox->vfs->ops = real; /* there is room again */
	assert_true(append(f));
	view_sync(&v, &(struct view_events){ .on_exists = NULL }, true);
	assert_int_equal(view_count(&v), 2);
	view_close(&v);
}

static atomic_uint at_gate;

/* ---- what others did to the files ---- */

static void
what_others_do_on_a_full_disk_keeps_nobody_out(void **state)
{
	struct fixture *f = *state;
	struct view v = { .owner = NULL }, again = { .owner = NULL };
	struct uid_range range = { 1, 1 };
	struct uidset uids = { .ranges = &range, .n = 1 };
	struct vfs_ops full;
	struct fail why = { .text = "" };

	for (int i = 0; i < 2; i++)
		assert_true(append(f));
	assert_true(view_open(&v, f->store, SPAN("INBOX"), false, &why));
	full = *(real_ops = v.mailbox->vfs->ops);
	full.space = no_space;
	v.mailbox->vfs->ops = &full;
	assert_true(change_until_refused(&v));
	v.mailbox->dirty = true;
	assert_true(scan_all(v.mailbox, &why));
	assert_false(v.mailbox->dirty); /* only the stamps found no room, and nothing has changed */
	put_file(f, "new/1700000000.a", "A: b\r\n\r\n");
	for (int i = 0; i < 30; i++)
		(void)loop_turn(f->loop, 10);
	assert_true(v.mailbox->dirty);
	if (!view_open(&again, f->store, SPAN("INBOX"), false, &why))
		fail_msg("%s", why.text);
	assert_int_equal(view_count(&again), 2);
	assert_true(mailbox_remove(&again, &uids, &why));
	view_close(&again);
	v.mailbox->vfs->ops = real_ops; /* there is room again */
	assert_true(view_open(&again, f->store, SPAN("INBOX"), false, &why));
	assert_false(v.mailbox->dirty);
	assert_int_equal(view_count(&again), 2);
	assert_int_equal(view_uid(&again, 2), 3);
	view_close(&again);
	view_close(&v);
}

static void
make_old(struct fixture *f, const char *dir)
{
	struct timespec times[2] = { { .tv_sec = 1700000000 }, { .tv_sec = 1700000000 } };
	char path[600];

	(void)snprintf(path, sizeof(path), "%s/%s", f->dir, dir);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* The times of the directories would say that there is nothing new. */
static void
what_found_no_room_is_looked_for_again(void **state)
{
	struct fixture *f = *state;
	struct view v = { .owner = NULL };
	struct vfs_ops full;
	struct fail why = { .text = "" };

	assert_true(append(f));
	put_file(f, "cur/1700000000.a:2,", "A: b\r\n\r\n");
	for (int i = 0; i < 30; i++)
		(void)loop_turn(f->loop, 10);
	assert_true(view_open(&v, f->store, SPAN("INBOX"), false, &why));
	assert_int_equal(view_count(&v), 2);
	full = *(real_ops = v.mailbox->vfs->ops);
	full.space = no_space;
	v.mailbox->vfs->ops = &full;
	assert_true(change_until_refused(&v));
	move_file(f, "cur/1700000000.a:2,", "cur/1700000000.a:2,F");
	make_old(f, "new");
	make_old(f, "cur");
	assert_true(scan_all(v.mailbox, &why));
	assert_true(v.mailbox->dirty);
	assert_int_equal(mailbox_index(v.mailbox)->stamp_cur, 0);
	v.mailbox->vfs->ops = real_ops;
	view_close(&v);
}

static int
gated_sync(struct vfs *v, int fd)
{
	at_gate++;
	while (gate > 0)
		(void)usleep(1000);
	if (gate == 0)
		return real_ops->sync(v, fd);
	errno = EIO;
	return -1;
}

/* Three messages, all durable; then each sync goes by the gate. */
static struct vfs_ops
enter_gated(struct fixture *f, struct view *v)
{
	struct vfs_ops gated;
	struct fail why;

	for (int i = 0; i < 3; i++)
		assert_true(append(f));
	assert_true(view_open(v, f->store, SPAN("INBOX"), false, &why));
	assert_true(confirm(f, v));
	real_ops = v->mailbox->vfs->ops;
	gated = *real_ops;
	gated.sync = gated_sync;
	at_gate = 0;
	return gated;
}

/* ---- COPY ---- */

static bool
copy(struct fixture *f, struct view *v, uint32_t n, const char *to)
{
	struct uid_range range = { 1, n };
	struct uidset uids = { .ranges = &range, .n = 1 };
	struct wait_op w = { .op.on_done = on_done };

	mailbox_copy(v, &uids, span_str(to), false, &w.op);
	for (int i = 0; i < 1000 && !w.done; i++)
		(void)loop_turn(f->loop, 10);
	assert_true(w.done);
	return w.op.ok;
}

static uint32_t
files(const struct fixture *f, const char *folder)
{
	char path[128];
	struct dirent *e;
	uint32_t n = 0;
	DIR *d;

	(void)snprintf(path, sizeof(path), "%s/.%s/cur", f->dir, folder);
	assert_non_null(d = opendir(path));
	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static void
rest(struct fixture *f)
{
	for (int i = 0; i < 30; i++)
		(void)loop_turn(f->loop, 10);
}

/* So many messages and files, now and for who opens it next. */
static void
has_still(struct fixture *f, const char *folder, uint32_t n)
{
	struct view v = { .owner = NULL };
	struct fail why;

	rest(f);
	assert_int_equal(files(f, folder), n);
	store_free(&f->store);
	open_store(f);
	assert_true(view_open(&v, f->store, span_str(folder), false, &why));
	assert_int_equal(view_count(&v), n);
	assert_int_equal(files(f, folder), n);
	view_close(&v);
}

/* n messages in INBOX, and the empty folder T. */
static void
enter_copies(struct fixture *f, struct view *v, int n)
{
	struct fail why;

	for (int i = 0; i < n; i++)
		assert_true(append(f));
	assert_true(store_create(f->store, SPAN("T"), &why));
	assert_true(view_open(v, f->store, SPAN("INBOX"), false, &why));
}

static void
refuse_a_copy(struct fixture *f)
{
	enum { N = 40 };
	struct view v = { .owner = NULL }, t = { .owner = NULL };
	struct vfs_ops full;
	struct fail why;
	uint32_t there = 1;

	enter_copies(f, &v, N);
	assert_true(copy(f, &v, 1, "T")); /* the journal begins */
	assert_true(view_open(&t, f->store, SPAN("T"), false, &why));
	real_ops = t.mailbox->vfs->ops;
	full = *real_ops;
	full.space = no_space;
	t.mailbox->vfs->ops = &full;
	while (copy(f, &v, N, "T")) /* until only some of them find room in the journal */
		there += N;
	assert_true(there > 1);
	rest(f); /* a promise is kept */
	assert_int_equal(files(f, "T"), there);
	there += copy(f, &v, N, "T") ? N : 0; /* a client that tries again */
	rest(f);
	assert_int_equal(files(f, "T"), there);
	t.mailbox->vfs->ops = real_ops;
	view_close(&t);
	view_close(&v);
	has_still(f, "T", there);
}

static void
fail_a_copy(struct fixture *f)
{
	struct view v = { .owner = NULL }, t = { .owner = NULL };
	struct vfs_ops gated;
	struct fail why;

	enter_copies(f, &v, 3);
	assert_true(copy(f, &v, 1, "T"));
	rest(f);
	assert_true(view_open(&t, f->store, SPAN("T"), false, &why));
	assert_true(confirm(f, &t));
	real_ops = t.mailbox->vfs->ops;
	gated = *real_ops;
	gated.sync = gated_sync;
	t.mailbox->vfs->ops = &gated;
	gate = -1;
	assert_false(copy(f, &v, 3, "T"));
	gate = 0;
	t.mailbox->vfs->ops = real_ops;
	view_close(&t);
	view_close(&v);
	has_still(f, "T", 1);
}

static void
a_copy_that_is_refused_leaves_no_copies(void **state)
{
	refuse_a_copy(*state);
}

static void
a_copy_that_is_refused_leaves_no_promise(void **state)
{
	struct fixture *f = *state;

	store_set_promise(f->store, 1);
	refuse_a_copy(f);
}

static void
a_copy_that_failed_leaves_no_copies(void **state)
{
	fail_a_copy(*state);
}

static void
a_copy_that_failed_leaves_no_promise(void **state)
{
	struct fixture *f = *state;

	store_set_promise(f->store, 1);
	fail_a_copy(f);
}

/* ---- several appends at once (RFC 3502) ---- */

/* The folder T with one message, its index on such a disk. */
static void
enter_appends(struct fixture *f, struct view *t, struct vfs_ops *ops)
{
	struct fail why;

	assert_true(store_create(f->store, SPAN("T"), &why));
	assert_true(append_many(f, "T", 1)); /* the journal begins */
	assert_true(view_open(t, f->store, SPAN("T"), false, &why));
	assert_true(confirm(f, t));
	*ops = *(real_ops = t->mailbox->vfs->ops);
	t->mailbox->vfs->ops = ops;
}

static void
messages_appended_together_are_refused_together(void **state)
{
	struct fixture *f = *state;
	struct view t = { .owner = NULL };
	struct vfs_ops full;
	uint32_t there = 1;

	enter_appends(f, &t, &full);
	full.space = no_space;
	while (append_many(f, "T", APPENDS_MAX)) /* until only some of them find room in the journal */
		there += APPENDS_MAX;
	assert_true(there > 1);
	assert_int_equal(mailbox_index(t.mailbox)->n, there); /* nor for a moment */
	rest(f);
	assert_int_equal(files(f, "T"), there);
	t.mailbox->vfs->ops = real_ops;
	view_close(&t);
	has_still(f, "T", there);
}

static void
messages_appended_together_fail_together(void **state)
{
	struct fixture *f = *state;
	struct view t = { .owner = NULL };
	struct vfs_ops gated;

	enter_appends(f, &t, &gated);
	gated.sync = gated_sync;
	gate = -1;
	assert_false(append_many(f, "T", 3));
	gate = 0;
	t.mailbox->vfs->ops = real_ops;
	view_close(&t);
	has_still(f, "T", 1);
}

/* Octets of a record that the journal's segment still takes. */
static size_t
room(const struct mailbox *mb)
{
	size_t n = 0;

	while (journal_stays(mb->file.journal, journal_segment(mb->file.last), n + 1, 0))
		n++;
	return n;
}

/* A record's head, and so many UID ranges of 8 octets, of no messages. */
static void
take_room(struct mailbox *mb, size_t ranges)
{
	union record r;
	struct buf uids;

	buf_init(&uids, 8192);
	for (uint32_t i = 0; i < ranges; i++)
		record_put_uids(&uids, &(struct uid_range){ 1000 + i * 2, 1000 + i * 2 }, 1);
	r.removed.uids = buf_span(&uids);
	assert_true(change_put(mb, RECORD_removed, &r, NULL));
	buf_free(&uids);
}

static void
leave_room(struct mailbox *mb, size_t n)
{
	size_t before = room(mb), head;

	take_room(mb, 0);
	head = before - room(mb);
	while (room(mb) > n + head + 8192)
		take_room(mb, 512);
	take_room(mb, (room(mb) - n - head) / 8);
	assert_in_range(room(mb), n, n + 7);
}

static int
no_segment(struct vfs *v, const char *name, enum vfs_open how)
{
	if (how != VFS_CREATE || !strstr(name, ".seg"))
		return real_ops->open(v, name, how);
	errno = ENOSPC;
	return -1;
}

/* Its record finds room, and what says that it is durable does not. */
static void
a_message_that_will_not_be_durable_is_refused(void **state)
{
	struct fixture *f = *state;
	struct view t = { .owner = NULL };
	struct vfs_ops full;
	size_t before;

	enter_appends(f, &t, &full);
	full.space = no_space;
	full.open = no_segment;
	before = room(t.mailbox);
	assert_true(append_many(f, "T", 1));
	leave_room(t.mailbox, before - room(t.mailbox) - 40);
	assert_false(append_many(f, "T", 1));
	assert_int_equal(mailbox_index(t.mailbox)->uidnext, 4); /* it had got so far */
	assert_int_equal(files(f, "T"), 2);
	t.mailbox->vfs->ops = real_ops; /* there is room again */
	assert_true(append_many(f, "T", 1));
	assert_int_equal(mailbox_index(t.mailbox)->n, 3);
	view_close(&t);
	has_still(f, "T", 3);
}

/* ---- what was removed ---- */

static void
what_was_removed_is_waited_for(void **state)
{
	struct fixture *f = *state;
	struct view v = { .owner = NULL };
	struct uid_range range = { 1, 2 };
	struct uidset uids = { .ranges = &range, .n = 1 };
	struct wait_op w = { .op.on_done = on_done }, again = { .op.on_done = on_done };
	struct vfs_ops gated = enter_gated(f, &v);
	struct vfs *vfs = v.mailbox->vfs;
	struct fail why;

	mailbox_confirm(&v, &again.op);
	assert_true(again.done && again.op.ok); /* there is nothing to wait for */
	vfs->ops = &gated;
	gate = 1;
	assert_true(mailbox_remove(&v, &uids, &why));
	mailbox_confirm(&v, &w.op);
	view_close(&v);
	while (!at_gate)
		(void)loop_turn(f->loop, 1);
	for (int i = 0; i < 50; i++)
		(void)loop_turn(f->loop, 1);
	assert_false(w.done);
	gate = 0;
	for (int i = 0; i < 1000 && !w.done; i++)
		(void)loop_turn(f->loop, 10);
	assert_true(w.done && w.op.ok);
	vfs->ops = real_ops;
}

static void
what_cannot_be_removed_for_good_is_said(void **state)
{
	struct fixture *f = *state;
	struct view v = { .owner = NULL };
	struct uid_range range = { 1, 2 };
	struct uidset uids = { .ranges = &range, .n = 1 };
	struct vfs_ops gated = enter_gated(f, &v);
	struct fail why;

	v.mailbox->vfs->ops = &gated;
	gate = -1;
	assert_true(mailbox_remove(&v, &uids, &why));
	assert_false(confirm(f, &v));
	assert_false(confirm(f, &v)); /* nor later */
	gate = 0;
	v.mailbox->vfs->ops = real_ops;
	view_close(&v);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_full_disk_keeps_nobody_from_deleting, setup, teardown),
		cmocka_unit_test_setup_teardown(what_others_do_on_a_full_disk_keeps_nobody_out, setup, teardown),
		cmocka_unit_test_setup_teardown(what_found_no_room_is_looked_for_again, setup, teardown),
		cmocka_unit_test_setup_teardown(a_copy_that_is_refused_leaves_no_copies, setup, teardown),
		cmocka_unit_test_setup_teardown(a_copy_that_is_refused_leaves_no_promise, setup, teardown),
		cmocka_unit_test_setup_teardown(a_copy_that_failed_leaves_no_copies, setup, teardown),
		cmocka_unit_test_setup_teardown(a_copy_that_failed_leaves_no_promise, setup, teardown),
		cmocka_unit_test_setup_teardown(messages_appended_together_are_refused_together, setup, teardown),
		cmocka_unit_test_setup_teardown(messages_appended_together_fail_together, setup, teardown),
		cmocka_unit_test_setup_teardown(a_message_that_will_not_be_durable_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_removed_is_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_removed_for_good_is_said, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
