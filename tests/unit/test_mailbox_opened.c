/* SPDX-License-Identifier: ISC
 *
 * Mailboxes as they are found when they are opened: what other programs and crashes left there, and how its names are read.
 */
#include <string.h>

#include "journal/vfs.h"
#include "tests/unit/mailbox_fixture.h"

static void
test_bare_lf_is_converted(void **state)
{
	struct fixture *f = *state;
	struct session s;
	struct content c;
	struct fail why;
	uint64_t size;
	char text[64];

	put_file(f, "cur/1700000000.a:2,S", "A: b\n\nhi\n");
	enter(&s, f, "INBOX");
	assert_int_equal(view_count(&s.view), 1);
	assert_int_equal(view_message(&s.view, 1)->flags, FLAG_SEEN);
	assert_true(mailbox_size(s.view.mailbox, 1, &size));
	assert_int_equal(size, 12);
	assert_true(mailbox_content(s.view.mailbox, 1, &c, &why));
	assert_int_equal(c.size, 12);
	assert_int_equal(pread(c.fd, text, sizeof(text), 0), 12);
	assert_memory_equal(text, "A: b\r\n\r\nhi\r\n", 12);
	content_close(&c);
	view_close(&s.view);
}

static void
test_external_delete_and_arrival_while_closed(void **state)
{
	struct fixture *f = *state;
	struct session s;

	put_file(f, "cur/1700000000.a:2,", "A: b\r\n\r\n");
	put_file(f, "cur/1700000001.b:2,S", "A: b\r\n\r\n");
	enter(&s, f, "INBOX");
	assert_int_equal(view_count(&s.view), 2);
	view_close(&s.view);
	store_free(&f->store);
	move_file(f, "cur/1700000000.a:2,", "tmp/away");
	put_file(f, "new/1699999999.c", "A: b\r\n\r\n");
	open_store(f);
	enter(&s, f, "INBOX");
	assert_int_equal(view_count(&s.view), 2);
	assert_int_equal(view_uid(&s.view, 1), 2);
	assert_int_equal(view_uid(&s.view, 2), 3);
	view_close(&s.view);
}

static void
test_takes_over_dovecot(void **state)
{
	struct fixture *f = *state;
	struct session s;
	struct buf uidl;

	put_file(f, "cur/1700000000.a,S=8,W=8:2,Sa", "A: b\r\n\r\n");
	put_file(f, "cur/1700000001.b,S=8,W=8:2,", "A: b\r\n\r\n");
	put_file(f, "new/1700000002.c,S=8,W=8", "A: b\r\n\r\n");
	put_file(f, "dovecot-uidlist", "3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1\n"
				       "25006 :1700000001.b,S=8,W=8\n"
				       "25010 W8 Pspecial-uidl :1700000000.a,S=8,W=8\n");
	put_file(f, "dovecot-keywords", "0 $Label1\n1 Junk\n");
	put_file(f, "subscriptions", "V\t2\n\nWork\t2024\nINBOX\n");
	enter(&s, f, "INBOX");
	assert_int_equal(mailbox_uidvalidity(s.view.mailbox), 1275660208);
	assert_int_equal(view_count(&s.view), 3);
	assert_int_equal(view_uid(&s.view, 1), 25006);
	assert_int_equal(view_uid(&s.view, 2), 25010);
	assert_int_equal(view_uid(&s.view, 3), 25022);
	assert_int_equal(view_message(&s.view, 2)->flags, FLAG_SEEN);
	assert_int_equal(view_message(&s.view, 2)->keywords, 1);
	assert_true(span_eq(mailbox_keyword(s.view.mailbox, 0), SPAN("$Label1")));
	buf_init(&uidl, 200);
	mailbox_uidl(s.view.mailbox, view_message(&s.view, 1), &uidl);
	assert_true(span_eq(buf_span(&uidl), SPAN("000061ae4c0907b0")));
	buf_reset(&uidl);
	mailbox_uidl(s.view.mailbox, view_message(&s.view, 2), &uidl);
	assert_true(span_eq(buf_span(&uidl), SPAN("special-uidl")));
	buf_free(&uidl);
	view_close(&s.view);
}

static void
test_lost_index_gets_a_new_uidvalidity(void **state)
{
	struct fixture *f = *state;
	struct session s;
	uint32_t before;
	char command[128];

	put_file(f, "cur/1700000000.a:2,F", "A: b\r\n\r\n");
	enter(&s, f, "INBOX");
	before = mailbox_uidvalidity(s.view.mailbox);
	view_close(&s.view);
	store_free(&f->store);
	(void)snprintf(command, sizeof(command), "echo garbage > %s/pillarpost/snapshot", f->dir);
	assert_int_equal(system(command), 0);
	open_store(f);
	enter(&s, f, "INBOX");
	assert_int_equal(view_count(&s.view), 1);
	assert_int_equal(view_message(&s.view, 1)->flags, FLAG_FLAGGED);
	assert_true(mailbox_uidvalidity(s.view.mailbox) > before);
	view_close(&s.view);
}

/* A folder whose names fill pages: after a scan they are let go, and are what they were when they are needed. */
static void
test_names_of_a_large_folder_come_back(void **state)
{
	enum { MANY = 400, ONE = 77 };
	struct fixture *f = *state;
	struct content c;
	struct session s;
	struct fail why;
	char path[160];

	for (unsigned i = 0; i < MANY; i++) {
		(void)snprintf(path, sizeof(path), "cur/17000%05u.M1P1.a-host-with-a-name-that-is-long-enough.example.test:2,S", i);
		put_file(f, path, "A: b\r\n\r\n");
	}
	enter(&s, f, "INBOX");
	assert_int_equal(view_count(&s.view), MANY);
	view_close(&s.view);
	store_free(&f->store);
	put_file(f, "new/1700099999.c", "A: b\r\n\r\n"); /* so that it is looked through */
	open_store(f);
	enter(&s, f, "INBOX");
	assert_int_equal(view_count(&s.view), MANY + 1);
	for (uint32_t n = 1; n <= MANY + 1; n++) {
		assert_true(mailbox_content(s.view.mailbox, view_uid(&s.view, n), &c, &why));
		content_close(&c);
	}
	(void)snprintf(path, sizeof(path), "cur/17000%05u.M1P1.a-host-with-a-name-that-is-long-enough.example.test:2,S", ONE);
	/* and found by its name */
	move_file(f, path, "cur/1700000077.M1P1.a-host-with-a-name-that-is-long-enough.example.test:2,FS");
	turn_until(f, has_pending, &s);
	assert_int_equal(view_message(&s.view, ONE + 1)->flags, FLAG_SEEN | FLAG_FLAGGED);
	view_close(&s.view);
}

/* What was changed beside what is let go stays changed. */
static void
test_only_whole_pages_are_let_go(void **state)
{
	enum { PAGE = 4096, SIZE = 3 * PAGE };
	struct fixture *f = *state;
	struct fail why;
	struct vfs *v = vfs_posix_new(f->dir, &why);
	char text[SIZE], *map;
	int fd;

	memset(text, 'a', sizeof(text));
	fd = v->ops->open(v, "mapped", VFS_CREATE);
	assert_true(fd >= 0 && vfs_write_all(v, fd, text, sizeof(text), 0));
	map = v->ops->map(v, fd, SIZE);
	assert_non_null(map);
	memset(map, 'b', SIZE);
	v->ops->cool(v, map + 1, PAGE - 1);
	v->ops->cool(v, map, PAGE - 1);
	assert_true(map[0] == 'b' && map[PAGE - 1] == 'b');
	v->ops->cool(v, map + PAGE - 1, SIZE - PAGE);
	assert_true(map[0] == 'b' && map[PAGE - 1] == 'b');
	assert_true(map[PAGE] == 'a' && map[2 * PAGE - 1] == 'a');
	assert_true(map[2 * PAGE] == 'b' && map[SIZE - 1] == 'b');
	v->ops->unmap(v, map, SIZE);
	(void)v->ops->close(v, fd);
	vfs_posix_free(&v);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_bare_lf_is_converted),
		T(test_external_delete_and_arrival_while_closed),
		T(test_takes_over_dovecot),
		T(test_lost_index_gets_a_new_uidvalidity),
		T(test_names_of_a_large_folder_come_back),
		T(test_only_whole_pages_are_let_go),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
