/* SPDX-License-Identifier: ISC
 *
 * A session that rests: what changed while nobody served the folder is told to
 * it as if it had been there.
 */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "storetest.h"

struct told {
	struct uidset expunged, flags;
	uint32_t exists;
};

static void
on_expunge(struct view *v, uint32_t seq, uint32_t uid)
{
	struct told *t = v->owner;

	(void)seq;
	uidset_add(&t->expunged, uid, uid);
}

static void
on_exists(struct view *v, uint32_t count, uint32_t recent)
{
	struct told *t = v->owner;

	(void)recent;
	t->exists = count;
}

static void
on_flags(struct view *v, uint32_t seq, const struct message *m)
{
	struct told *t = v->owner;

	(void)seq;
	uidset_add(&t->flags, m->uid, m->uid);
}

static void
put_message(struct fixture *f, const char *dir, unsigned number)
{
	char path[200];

	(void)snprintf(path, sizeof(path), "%s/%u.x%s", dir, 1700000000 + number, strcmp(dir, "cur") == 0 ? ":2," : "");
	put_file(f, path, "A: b\r\n\r\n");
}

static void
remove_file(struct fixture *f, unsigned number)
{
	char path[200];

	(void)snprintf(path, sizeof(path), "%s/cur/%u.x:2,", f->dir, 1700000000 + number);
	assert_int_equal(unlink(path), 0);
}

static void
flag_file(struct fixture *f, unsigned number)
{
	char from[200], to[200];

	(void)snprintf(from, sizeof(from), "%s/cur/%u.x:2,", f->dir, 1700000000 + number);
	(void)snprintf(to, sizeof(to), "%s/cur/%u.x:2,F", f->dir, 1700000000 + number);
	assert_int_equal(rename(from, to), 0);
}

/* The store at rest; the descriptor that is left behind. */
static int
leave(struct fixture *f, struct view *v, struct view_rest *was)
{
	int fd = -1;

	for (int i = 0; i < 200 && fd < 0; i++) {
		(void)loop_turn(f->loop, 10);
		fd = store_rest(f->store);
	}
	assert_true(fd >= 0);
	*was = (struct view_rest){ 0 };
	uidset_init(&was->recent);
	assert_true(view_rest(v, was));
	view_close(v);
	store_free(&f->store);
	return fd;
}

static bool
stirs(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1;
}

static void
test_what_happened_meanwhile_is_told(void **state)
{
	static const struct view_events events = { on_expunge, on_exists, on_flags };
	struct fixture *f = *state;
	struct told told = { .exists = 0 };
	struct view v = { .owner = &told };
	struct view_rest was;
	struct fail why;
	int fd;

	for (unsigned i = 1; i <= 8; i++)
		put_message(f, "cur", i);
	assert_true(view_open(&v, f->store, SPAN("INBOX"), false, &why));
	assert_int_equal(view_count(&v), 8);
	fd = leave(f, &v, &was);
	assert_false(stirs(fd, 50)); /* its own end is no event */
	remove_file(f, 3);
	assert_true(stirs(fd, 1000));
	remove_file(f, 8);
	flag_file(f, 5);
	put_message(f, "new", 9);
	close(fd);
	open_store(f);
	v = (struct view){ .owner = &told };
	assert_true(view_resume(&v, f->store, SPAN("INBOX"), &was, &why));
	assert_true(v.pending);
	assert_int_equal(view_count(&v), 8); /* until it is told */
	assert_int_equal(view_uid(&v, 3), 3);
	assert_null(view_message(&v, 3));
	view_sync(&v, &events, true);
	assert_int_equal(uidset_count(&told.expunged), 2);
	assert_true(uidset_has(&told.expunged, 3) && uidset_has(&told.expunged, 8));
	assert_int_equal(uidset_count(&told.flags), 1);
	assert_true(uidset_has(&told.flags, 5));
	assert_int_equal(told.exists, 7);
	assert_int_equal(view_uid(&v, 7), 9);
	view_close(&v);
	uidset_free(&told.expunged);
	uidset_free(&told.flags);
	uidset_free(&was.recent);
}

static void
test_another_folder_of_that_name_is_no_resumption(void **state)
{
	struct fixture *f = *state;
	struct view v = { .owner = NULL };
	struct view_rest was;
	struct fail why;

	put_message(f, "cur", 1);
	assert_true(view_open(&v, f->store, SPAN("INBOX"), false, &why));
	close(leave(f, &v, &was));
	open_store(f);
	was.uidvalidity++;
	assert_false(view_resume(&v, f->store, SPAN("INBOX"), &was, &why));
	was.uidvalidity--;
	was.ntold = 2;
	assert_false(view_resume(&v, f->store, SPAN("INBOX"), &was, &why));
	was.ntold = 1;
	was.told = 7;
	assert_false(view_resume(&v, f->store, SPAN("INBOX"), &was, &why));
	was.told = 1;
	assert_true(view_resume(&v, f->store, SPAN("INBOX"), &was, &why));
	view_close(&v);
	uidset_free(&was.recent);
}

/* Not while it has something to say, nor while files follow. */
static void
test_no_rest_before_all_is_told(void **state)
{
	struct fixture *f = *state;
	struct view a = { .owner = NULL }, b = { .owner = NULL };
	struct uid_range range = { 1, 1 };
	struct uidset uids = { .ranges = &range, .n = 1 };
	struct flag_change change = { .op = FLAGS_ADD, .flags = FLAG_SEEN, .unchanged_since = UINT64_MAX };
	struct view_rest was = { 0 };
	struct fail why;

	put_message(f, "cur", 1);
	assert_true(view_open(&a, f->store, SPAN("INBOX"), false, &why));
	assert_true(view_open(&b, f->store, SPAN("INBOX"), false, &why));
	assert_true(mailbox_flags(&a, &uids, &change, NULL, &why));
	uidset_init(&was.recent);
	assert_false(view_rest(&b, &was));
	assert_int_equal(store_rest(f->store), -1); /* the name has no S yet */
	view_close(&a);
	view_close(&b);
	uidset_free(&was.recent);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_what_happened_meanwhile_is_told),
		T(test_another_folder_of_that_name_is_no_resumption),
		T(test_no_rest_before_all_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
