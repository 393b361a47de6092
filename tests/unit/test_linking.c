/* SPDX-License-Identifier: ISC
 *
 * COPY and MOVE between their answer and their links: what is read, what others
 * may do to either folder meanwhile, and what is left when it cannot be done.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "log/log.h"
#include "store/look.h"
#include "store/state.h"
#include "storetest.h"

enum { MESSAGES = 5, WAIT_TURNS = 1000 };

/* ---- links as slow as a test wants them ---- */

static atomic_bool held;     /* none is made */
static atomic_uint delay_ms; /* each takes so long */
static atomic_int trouble;   /* errno: none can be made */
static struct vfs_ops slow_ops;
static int (*real_link)(struct vfs *v, const char *from, const char *to);

static int
slow_link(struct vfs *v, const char *from, const char *to)
{
	for (unsigned i = 0; i < 10000 && atomic_load(&held); i++)
		(void)usleep(1000);
	(void)usleep(atomic_load(&delay_ms) * 1000);
	if (!atomic_load(&trouble))
		return real_link(v, from, to);
	errno = atomic_load(&trouble);
	return -1;
}

static void
slow_down(struct fixture *f)
{
	atomic_store(&held, false);
	atomic_store(&delay_ms, 0);
	atomic_store(&trouble, 0);
	slow_ops = *f->store->vfs->ops;
	real_link = slow_ops.link == slow_link ? real_link : slow_ops.link;
	slow_ops.link = slow_link;
	f->store->vfs->ops = &slow_ops;
	store_set_promise(f->store, 1);
}

/* ---- helpers ---- */

struct wait_op {
	struct mailbox_op op;
	bool done;
	uint64_t count;
};

static void
on_done(struct mailbox_op *op)
{
	struct wait_op *w = OWNER_OF(op, struct wait_op, op);

	w->done = true;
	w->count = uidset_count(&op->to);
}

static void
turn_until(struct fixture *f, const bool *done)
{
	for (int i = 0; i < WAIT_TURNS && !*done; i++)
		(void)loop_turn(f->loop, 10);
	assert_true(*done);
}

static void
quiet(struct fixture *f)
{
	for (int i = 0; i < WAIT_TURNS && f->store->linking; i++)
		(void)loop_turn(f->loop, 10);
	assert_null(f->store->linking);
	for (int i = 0; i < 60; i++)
		(void)loop_turn(f->loop, 10);
}

static void
fill(struct fixture *f, const char *folder)
{
	for (unsigned i = 0; i < MESSAGES; i++) {
		struct append_to to = { .folder = span_str(folder), .flags = FLAG_FLAGGED, .date = 1234567890 + i };
		struct wait_op w = { .op.on_done = on_done };
		struct append *a = append_begin(f->store, &to, NULL);
		char text[32];

		assert_non_null(a);
		assert_true(append_write(a, span_of(text, (size_t)snprintf(text, sizeof(text), "A: %c\r\n\r\n", 'a' + (int)i)), NULL));
		append_commit(&a, 1, &w.op);
		turn_until(f, &w.done);
		assert_true(w.op.ok);
	}
}

static void
enter(struct fixture *f, struct view *v, const char *folder)
{
	struct fail why = { .text = "" };

	memset(v, 0, sizeof(*v));
	if (!view_open(v, f->store, span_str(folder), false, &why))
		fail_msg("%s", why.text);
}

static void
begin_copy(struct view *v, const char *to, bool move, struct wait_op *w)
{
	struct uid_range all = { 1, UINT32_MAX - 1 };
	struct uidset uids = { .ranges = &all, .n = 1 };

	*w = (struct wait_op){ .op.on_done = on_done };
	mailbox_copy(v, &uids, span_str(to), move, &w->op);
}

static void
copy(struct fixture *f, struct view *v, const char *to, bool move)
{
	struct wait_op w;

	begin_copy(v, to, move, &w);
	turn_until(f, &w.done);
	assert_true(w.op.ok);
	assert_int_equal(w.count, MESSAGES);
}

/* The folder has these letters, in this order, with their dates. */
static void
has_letters(struct fixture *f, const char *folder, const char *letters)
{
	struct view v;

	enter(f, &v, folder);
	assert_int_equal(view_count(&v), strlen(letters));
	for (uint32_t seq = 1; letters[seq - 1]; seq++) {
		struct content c;
		char text[16] = "";
		struct fail why = { .text = "" };

		if (!mailbox_content(v.mailbox, view_uid(&v, seq), &c, &why))
			fail_msg("%s %u: %s", folder, seq, why.text);
		assert_true(pread(c.fd, text, sizeof(text) - 1, 0) > 3);
		assert_int_equal(text[3], letters[seq - 1]);
		assert_int_equal(mailbox_date(v.mailbox, view_uid(&v, seq)), 1234567890 + (letters[seq - 1] - 'a'));
		content_close(&c);
	}
	view_close(&v);
}

static unsigned
count_files(struct fixture *f, const char *dir)
{
	char command[200];
	unsigned n = 0;
	FILE *in;

	(void)snprintf(command, sizeof(command), "ls %s/%s | wc -l", f->dir, dir);
	in = popen(command, "r");
	assert_non_null(in);
	assert_int_equal(fscanf(in, "%u", &n), 1);
	(void)pclose(in);
	return n;
}

static bool
promise_there(struct fixture *f)
{
	char path[100];

	(void)snprintf(path, sizeof(path), "%s/" PROMISE_NAME, f->dir);
	return access(path, F_OK) == 0;
}

static void
remove_uid(struct view *v, uint32_t uid)
{
	struct uid_range range = { uid, uid };
	struct uidset uids = { .ranges = &range, .n = 1 };

	assert_true(mailbox_remove(v, &uids, NULL));
}

static void
begin(struct fixture *f, struct view *v)
{
	slow_down(f);
	assert_true(store_create(f->store, SPAN("A"), NULL) && store_create(f->store, SPAN("B"), NULL));
	fill(f, "A");
	quiet(f);
	enter(f, v, "A");
}

/* ---- tests ---- */

static void
messages_are_there_before_their_files(void **state)
{
	struct fixture *f = *state;
	struct flag_change change = { .op = FLAGS_ADD, .flags = FLAG_SEEN, .unchanged_since = UINT64_MAX };
	struct uid_range all = { 1, UINT32_MAX };
	struct uidset everything = { .ranges = &all, .n = 1 };
	struct view a, b;
	struct look look;

	begin(f, &a);
	atomic_store(&held, true);
	copy(f, &a, "B", false);
	assert_true(promise_there(f));
	assert_int_equal(count_files(f, ".B/cur"), 0);
	has_letters(f, "B", "abcde");
	enter(f, &b, "B");
	assert_true(scan_all(b.mailbox, NULL));
	has_letters(f, "B", "abcde");
	assert_true(look_folder(f->store->base, SPAN("B"), true, &look, NULL));
	assert_int_equal(look.status.messages, MESSAGES);
	assert_int_equal(look.missing, 0);
	assert_true(mailbox_flags(&b, &everything, &change, NULL, NULL));
	remove_uid(&b, 2); /* in the target */
	remove_uid(&a, 4); /* and in the source: its file is still needed */
	assert_true(store_rest(f->store) < 0);
	for (int i = 0; i < 40; i++)
		(void)loop_turn(f->loop, 10);
	assert_int_equal(count_files(f, ".A/cur"), MESSAGES);
	has_letters(f, "B", "acde");
	atomic_store(&held, false);
	quiet(f);
	assert_false(promise_there(f));
	assert_int_equal(count_files(f, ".A/cur"), MESSAGES - 1);
	assert_int_equal(count_files(f, ".B/cur"), MESSAGES - 1);
	assert_int_equal(count_files(f, ".B/cur/*:2,FS"), MESSAGES - 1);
	has_letters(f, "A", "abce");
	has_letters(f, "B", "acde");
	view_close(&a);
	view_close(&b);
}

static void
folders_may_go_at_once(void **state)
{
	struct fixture *f = *state;
	struct view a;
	struct fail why = { .text = "" };

	begin(f, &a);
	atomic_store(&delay_ms, 20);
	copy(f, &a, "B", true);
	view_close(&a);
	if (!store_delete(f->store, SPAN("A"), &why))
		fail_msg("%s", why.text);
	has_letters(f, "B", "abcde");
	assert_true(store_create(f->store, SPAN("A"), NULL));
	enter(f, &a, "B");
	copy(f, &a, "A", false);
	view_close(&a);
	if (!store_rename(f->store, SPAN("A"), SPAN("C"), &why))
		fail_msg("%s", why.text);
	has_letters(f, "C", "abcde");
	assert_int_equal(count_files(f, ".C/cur"), MESSAGES);
	quiet(f);
	assert_int_equal(count_files(f, ".B/cur"), MESSAGES);
	assert_false(promise_there(f));
}

/* What is not there yet can be copied on. */
static void
one_after_the_other(void **state)
{
	struct fixture *f = *state;
	struct wait_op w[3];
	struct view a, b;

	begin(f, &a);
	atomic_store(&delay_ms, 20);
	copy(f, &a, "B", false);
	enter(f, &b, "B");
	begin_copy(&b, "INBOX", false, &w[0]);
	begin_copy(&a, "A", false, &w[1]);
	begin_copy(&b, "A", true, &w[2]);
	for (size_t i = 0; i < 3; i++) {
		turn_until(f, &w[i].done);
		assert_true(w[i].op.ok);
		assert_int_equal(w[i].count, MESSAGES);
	}
	view_close(&a);
	view_close(&b);
	atomic_store(&delay_ms, 0);
	quiet(f);
	has_letters(f, "INBOX", "abcde");
	has_letters(f, "A", "abcdeabcdeabcde");
	has_letters(f, "B", "");
	assert_int_equal(count_files(f, ".B/cur"), 0);
	assert_int_equal(count_files(f, ".A/cur"), 3 * MESSAGES);
}

/* Answered, so it must be there: now from the source's files, later when there is room. */
static void
a_full_disk_only_delays_it(void **state)
{
	struct fixture *f = *state;
	struct fail why;
	struct view a;

	begin(f, &a);
	atomic_store(&trouble, ENOSPC);
	copy(f, &a, "B", true);
	for (int i = 0; i < WAIT_TURNS && !f->store->linking->stuck; i++)
		(void)loop_turn(f->loop, 10);
	assert_true(f->store->linking->stuck);
	has_letters(f, "B", "abcde");
	view_close(&a);
	assert_false(store_delete(f->store, SPAN("A"), &why));
	assert_int_equal(why.class, FAIL_TEMP);
	for (int i = 0; i < 40; i++)
		(void)loop_turn(f->loop, 10);
	assert_int_equal(count_files(f, ".A/cur"), MESSAGES);
	store_free(&f->store);
	assert_true(promise_there(f));
	assert_int_equal(count_files(f, ".A/cur"), MESSAGES);
	open_store(f);
	assert_false(promise_there(f));
	assert_int_equal(count_files(f, ".B/cur"), MESSAGES);
	has_letters(f, "B", "abcde");
	has_letters(f, "A", "");
}

/* Where no links can be made there are copies, also after the answer. */
static void
copies_have_their_times(void **state)
{
	struct fixture *f = *state;
	struct view a;

	begin(f, &a);
	atomic_store(&trouble, EPERM);
	copy(f, &a, "B", false);
	quiet(f);
	store_set_promise(f->store, SIZE_MAX);
	copy(f, &a, "INBOX", true);
	view_close(&a);
	quiet(f);
	assert_int_equal(count_files(f, ".A/cur"), 0);
	assert_int_equal(count_files(f, ".B/tmp") + count_files(f, "tmp"), 0);
	store_free(&f->store);
	open_store(f);
	has_letters(f, "B", "abcde");
	has_letters(f, "INBOX", "abcde");
}

static void
what_another_program_removed_vanishes(void **state)
{
	struct fixture *f = *state;
	char command[200];
	struct view a;

	begin(f, &a);
	atomic_store(&held, true);
	copy(f, &a, "B", true);
	(void)snprintf(command, sizeof(command), "cd %s/.A/cur && rm -f $(ls | head -1) && mv $(ls | head -1) renamed:2,", f->dir);
	assert_int_equal(system(command), 0);
	atomic_store(&held, false);
	view_close(&a);
	quiet(f);
	has_letters(f, "B", "cde"); /* the second has another base name: it is another message */
	assert_false(promise_there(f));
}

static void
the_quota_counts_them(void **state)
{
	struct fixture *f = *state;
	struct quota used, again;
	struct view a;

	begin(f, &a);
	store_set_quota(f->store, &(struct quota){ .messages = 1000 });
	atomic_store(&delay_ms, 20);
	assert_true(store_used(f->store, &used, NULL));
	assert_int_equal(used.messages, MESSAGES);
	copy(f, &a, "B", false);
	store_recount(f->store);
	assert_true(store_used(f->store, &again, NULL));
	assert_int_equal(again.messages, 2 * MESSAGES);
	assert_int_equal(again.size, 2 * used.size);
	view_close(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(messages_are_there_before_their_files, setup, teardown),
		cmocka_unit_test_setup_teardown(folders_may_go_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(one_after_the_other, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_disk_only_delays_it, setup, teardown),
		cmocka_unit_test_setup_teardown(copies_have_their_times, setup, teardown),
		cmocka_unit_test_setup_teardown(what_another_program_removed_vanishes, setup, teardown),
		cmocka_unit_test_setup_teardown(the_quota_counts_them, setup, teardown),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
