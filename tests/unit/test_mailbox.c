/* SPDX-License-Identifier: ISC
 *
 * Mailboxes as sessions work on them: messages, flags, folders.
 */
#include <string.h>
#include <sys/stat.h>

#include "sys/crc32c.h"
#include "tests/unit/mailbox_fixture.h"

static void
reopen(struct fixture *f)
{
	store_free(&f->store);
	open_store(f);
}

/* ---- operations ---- */

struct wait_op {
	struct mailbox_op op;
	bool done, ok;
	uint32_t first_from, first_to;
	uint64_t count;
};

static void
on_done(struct mailbox_op *op)
{
	struct wait_op *w = OWNER_OF(op, struct wait_op, op);

	w->done = true;
	w->ok = op->ok;
	w->first_from = uidset_nth(&op->from, 0);
	w->first_to = uidset_nth(&op->to, 0);
	w->count = uidset_count(&op->to);
}

static bool
is_done(void *arg)
{
	return ((struct wait_op *)arg)->done;
}

static uint32_t
append_text(struct fixture *f, const char *folder, const char *text, uint8_t flags)
{
	struct fail why = { .text = "" };
	struct append_to to = { .folder = span_str(folder), .flags = flags, .date = 1234567890 };
	struct append *a = append_begin(f->store, &to, &why);
	struct wait_op w = { .op.on_done = on_done };

	assert_non_null(a);
	assert_true(append_write(a, span_str(text), &why));
	append_commit(&a, 1, &w.op);
	turn_until(f, is_done, &w);
	if (!w.ok)
		fail_msg("%s", w.op.why.text);
	return w.first_to;
}

static void
set_flags(struct session *s, uint32_t lo, uint32_t hi, enum flag_op op, uint8_t flags)
{
	struct uid_range range = { lo, hi };
	struct uidset uids = { .ranges = &range, .n = 1 };
	struct flag_change change = { .op = op, .flags = flags, .unchanged_since = UINT64_MAX };
	struct fail why;

	assert_true(mailbox_flags(&s->view, &uids, &change, NULL, &why));
}

static void
quiet(struct fixture *f)
{
	for (int i = 0; i < 40; i++)
		(void)loop_turn(f->loop, 10);
}

static void
test_append_and_reopen(void **state)
{
	struct fixture *f = *state;
	struct session s;
	uint32_t validity;

	enter(&s, f, "inbox");
	assert_int_equal(view_count(&s.view), 0);
	validity = mailbox_uidvalidity(s.view.mailbox);
	assert_int_equal(append_text(f, "INBOX", "A: b\r\n\r\nhello\r\n", FLAG_SEEN), 1);
	assert_int_equal(append_text(f, "INBOX", "A: b\r\n\r\nworld\r\n", 0), 2);
	view_sync(&s.view, &events, true);
	assert_int_equal(s.last_count, 2);
	assert_int_equal(s.recent, 2);
	assert_int_equal(view_uid(&s.view, 2), 2);
	assert_int_equal(view_message(&s.view, 1)->flags, FLAG_SEEN);
	assert_int_equal(mailbox_date(s.view.mailbox, 1), 1234567890);
	view_close(&s.view);
	reopen(f);
	enter(&s, f, "INBOX");
	assert_int_equal(view_count(&s.view), 2);
	assert_int_equal(uidset_count(&s.view.recent), 0);
	assert_int_equal(mailbox_uidvalidity(s.view.mailbox), validity);
	assert_int_equal(mailbox_uidnext(s.view.mailbox), 3);
	assert_int_equal(view_message(&s.view, 1)->flags, FLAG_SEEN);
	view_close(&s.view);
}

static void
test_delivery_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct session s;
	struct content c;
	struct fail why;
	char text[64];

	enter(&s, f, "INBOX");
	put_file(f, "tmp/1.x", "A: b\r\n\r\nhi\r\n");
	move_file(f, "tmp/1.x", "new/1700000000.M1P1.host");
	turn_until(f, has_pending, &s);
	view_sync(&s.view, &events, true);
	assert_int_equal(s.last_count, 1);
	assert_true(mailbox_content(s.view.mailbox, 1, &c, &why));
	assert_int_equal(c.size, 12);
	assert_int_equal(pread(c.fd, text, sizeof(text), 0), 12);
	assert_memory_equal(text, "A: b\r\n\r\nhi\r\n", 12);
	content_close(&c);
	quiet(f); /* it follows into cur/ */
	assert_true(file_exists(f, "cur/1700000000.M1P1.host:2,"));
	assert_true(mailbox_content(s.view.mailbox, 1, &c, &why));
	content_close(&c);
	assert_int_equal(s.pending, 1);
	view_close(&s.view);
}

static void
test_flags_reach_names_and_sessions(void **state)
{
	struct fixture *f = *state;
	struct session a, b;

	put_file(f, "cur/1700000000.a:2,", "A: b\r\n\r\n");
	put_file(f, "cur/1700000001.b:2,", "A: b\r\n\r\n");
	enter(&a, f, "INBOX");
	enter(&b, f, "INBOX");
	set_flags(&a, 1, 2, FLAGS_ADD, FLAG_SEEN);
	set_flags(&a, 2, 2, FLAGS_ADD, FLAG_FLAGGED);
	assert_int_equal(b.pending, 1);
	assert_int_equal(a.pending, 0);
	view_sync(&b.view, &events, true);
	assert_int_equal(b.flags, 2);
	view_sync(&a.view, &events, true);
	assert_int_equal(a.flags, 0);
	quiet(f);
	assert_true(file_exists(f, "cur/1700000000.a:2,S"));
	assert_true(file_exists(f, "cur/1700000001.b:2,FS"));
	/* Another program takes one away and adds one. */
	move_file(f, "cur/1700000001.b:2,FS", "cur/1700000001.b:2,FR");
	quiet(f);
	assert_int_equal(view_message(&a.view, 2)->flags, FLAG_FLAGGED | FLAG_ANSWERED);
	assert_true(a.pending > 0);
	view_close(&a.view);
	view_close(&b.view);
	reopen(f);
	enter(&a, f, "INBOX");
	assert_int_equal(view_message(&a.view, 1)->flags, FLAG_SEEN);
	assert_int_equal(view_message(&a.view, 2)->flags, FLAG_FLAGGED | FLAG_ANSWERED);
	view_close(&a.view);
}

/* It is tried again later, and nobody waits for it: else this does not end. */
static void
test_file_that_cannot_be_removed(void **state)
{
	struct fixture *f = *state;
	struct session a;
	struct fail why;
	char path[100];

	put_file(f, "cur/1700000001.x:2,", "A: b\r\n\r\n");
	(void)snprintf(path, sizeof(path), "%s/cur/1700000002.x:2,", f->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	enter(&a, f, "INBOX");
	assert_int_equal(view_count(&a.view), 2);
	set_flags(&a, 1, 2, FLAGS_ADD, FLAG_DELETED);
	assert_true(mailbox_expunge(&a.view, NULL, &why));
	view_sync(&a.view, &events, true);
	assert_int_equal(a.expunged, 2);
	quiet(f);
	assert_false(file_exists(f, "cur/1700000001.x:2,"));
	view_close(&a.view);
	(void)alarm(60);
	reopen(f);
	(void)alarm(0);
	enter(&a, f, "INBOX");
	assert_int_equal(view_count(&a.view), 0);
	view_close(&a.view);
}

static void
test_expunge_keeps_numbers_until_told(void **state)
{
	struct fixture *f = *state;
	struct session a, b;
	struct fail why;
	char name[64];

	for (int i = 0; i < 6; i++) {
		(void)snprintf(name, sizeof(name), "cur/170000000%d.x:2,", i);
		put_file(f, name, "A: b\r\n\r\n");
	}
	enter(&a, f, "INBOX");
	enter(&b, f, "INBOX");
	set_flags(&a, 2, 2, FLAGS_ADD, FLAG_DELETED);
	set_flags(&a, 5, 5, FLAGS_ADD, FLAG_DELETED);
	assert_true(mailbox_expunge(&a.view, NULL, &why));
	view_sync(&b.view, &events, false);
	assert_int_equal(b.expunged, 0);
	assert_int_equal(view_count(&b.view), 6);
	for (uint32_t i = 1; i <= 6; i++) {
		assert_int_equal(view_uid(&b.view, i), i);
		assert_int_equal(view_seq(&b.view, i), i);
		assert_int_equal(view_message(&b.view, i) != NULL, i != 2 && i != 5);
	}
	view_sync(&b.view, &events, true);
	assert_int_equal(b.expunged, 2);
	assert_int_equal(b.last_seq, 2);
	assert_int_equal(view_count(&b.view), 4);
	assert_int_equal(view_uid(&b.view, 2), 3);
	assert_int_equal(view_uid(&b.view, 4), 6);
	view_sync(&a.view, &events, true);
	assert_int_equal(a.expunged, 2);
	quiet(f);
	assert_false(file_exists(f, "cur/1700000001.x:2,"));
	assert_false(file_exists(f, "cur/1700000001.x:2,T"));
	view_close(&a.view);
	view_close(&b.view);
	reopen(f);
	enter(&a, f, "INBOX");
	assert_int_equal(view_count(&a.view), 4);
	assert_int_equal(mailbox_uidnext(a.view.mailbox), 7);
	view_close(&a.view);
}

struct names {
	char text[400];
};

static void
each_folder(void *arg, const struct folder *folder)
{
	struct names *n = arg;
	size_t used = strlen(n->text);

	(void)snprintf(n->text + used, sizeof(n->text) - used, "%.*s%s%s%s ", SPAN_ARG(folder->name), folder->selectable ? "" : "-",
	    folder->subscribed ? "+" : "", folder->children ? "*" : "");
}

static void
test_folders(void **state)
{
	struct fixture *f = *state;
	struct names n = { "" };
	struct fail why;

	assert_true(store_create(f->store, SPAN("Work.2024"), &why));
	assert_false(store_create(f->store, SPAN("Work.2024"), &why));
	assert_false(store_create(f->store, SPAN("../x"), &why));
	assert_false(store_create(f->store, SPAN("a..b"), &why));
	assert_true(store_create(f->store, SPAN("Sent"), &why));
	assert_true(store_subscribe(f->store, SPAN("Sent"), true, &why));
	assert_true(store_subscribe(f->store, SPAN("Gone"), true, &why));
	assert_true(store_list(f->store, each_folder, &n, &why));
	assert_string_equal(n.text, "INBOX Gone-+ Sent+ Work-* Work.2024 ");
	assert_int_equal(append_text(f, "Work.2024", "A: b\r\n\r\n", 0), 1);
	assert_true(store_rename(f->store, SPAN("Work"), SPAN("Play"), &why));
	n.text[0] = '\0';
	assert_true(store_list(f->store, each_folder, &n, &why));
	assert_string_equal(n.text, "INBOX Gone-+ Play-* Play.2024 Sent+ ");
	assert_true(store_subscribe(f->store, SPAN("Gone"), false, &why));
	assert_false(store_delete(f->store, SPAN("INBOX"), &why));
	assert_true(store_delete(f->store, SPAN("Play.2024"), &why));
	assert_false(store_delete(f->store, SPAN("Play.2024"), &why));
	n.text[0] = '\0';
	assert_true(store_list(f->store, each_folder, &n, &why));
	assert_string_equal(n.text, "INBOX Sent+ ");
}

static void
test_copy_and_move(void **state)
{
	struct fixture *f = *state;
	struct fail why;
	struct session s, t;
	struct uid_range range = { 1, 2 };
	struct uidset uids = { .ranges = &range, .n = 1 };
	struct wait_op w = { .op.on_done = on_done };

	assert_true(store_create(f->store, SPAN("Archive"), &why));
	put_file(f, "cur/1700000000.a:2,S", "A: b\r\n\r\n1\r\n");
	put_file(f, "cur/1700000001.b:2,", "A: b\r\n\r\n2\r\n");
	enter(&s, f, "INBOX");
	enter(&t, f, "Archive");
	mailbox_copy(&s.view, &uids, SPAN("Archive"), false, &w.op);
	turn_until(f, is_done, &w);
	assert_true(w.ok);
	assert_int_equal(w.count, 2);
	view_sync(&t.view, &events, true);
	assert_int_equal(t.last_count, 2);
	assert_int_equal(view_message(&t.view, 1)->flags, FLAG_SEEN);
	w = (struct wait_op){ .op.on_done = on_done };
	mailbox_copy(&s.view, &uids, SPAN("Archive"), true, &w.op);
	turn_until(f, is_done, &w);
	assert_true(w.ok);
	assert_int_equal(w.first_to, 3);
	view_sync(&s.view, &events, true);
	assert_int_equal(view_count(&s.view), 0);
	quiet(f);
	assert_false(file_exists(f, "cur/1700000000.a:2,S"));
	view_sync(&t.view, &events, true);
	assert_int_equal(view_count(&t.view), 4);
	w = (struct wait_op){ .op.on_done = on_done };
	mailbox_copy(&t.view, &uids, SPAN("Nowhere"), false, &w.op);
	assert_true(w.done && !w.ok);
	view_close(&s.view);
	view_close(&t.view);
}

static void
test_facts(void **state)
{
	struct fixture *f = *state;
	struct session s;

	(void)append_text(f, "INBOX", "A: b\r\n\r\n", 0);
	enter(&s, f, "INBOX");
	assert_int_equal(mailbox_facts(s.view.mailbox, 1).n, 0);
	mailbox_facts_put(s.view.mailbox, 1, SPAN("some facts"));
	assert_true(span_eq(mailbox_facts(s.view.mailbox, 1), SPAN("some facts")));
	view_close(&s.view);
}

static uint64_t
objectid(struct fixture *f, const char *name)
{
	struct mailbox_status st = { .objectid = 0 };
	struct fail why;

	assert_true(store_status(f->store, span_str(name), &st, &why));
	assert_true(st.objectid != 0);
	return st.objectid;
}

/* The snapshot as releases before RFC 8474 wrote it: zeros where the id is. */
static void
forget_objectid(struct fixture *f)
{
	enum { AT = 96, HEAD = 160 }; /* of the id; of the header, its checksum last */
	char path[128], head[HEAD];
	uint32_t sum;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/pillarpost/snapshot", f->dir);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0 && pread(fd, head, HEAD, 0) == HEAD);
	memset(head + AT, 0, 8);
	sum = crc32c(0, span_of(head, HEAD - 4));
	memcpy(head + HEAD - 4, &sum, 4);
	assert_int_equal(pwrite(fd, head, HEAD, 0), HEAD);
	close(fd);
}

static void
test_a_folder_keeps_its_id(void **state)
{
	struct fixture *f = *state;
	struct fail why;
	uint64_t id, old;

	assert_true(store_create(f->store, SPAN("Work"), &why));
	id = objectid(f, "Work");
	assert_true(objectid(f, "INBOX") != id);
	assert_true(store_rename(f->store, SPAN("Work"), SPAN("Play"), &why));
	assert_true(objectid(f, "Play") == id);
	reopen(f);
	assert_true(objectid(f, "Play") == id);
	assert_true(store_create(f->store, SPAN("Work"), &why));
	assert_true(objectid(f, "Work") != id);
	/* an index of an older release gets one, and keeps it */
	old = objectid(f, "INBOX");
	store_free(&f->store);
	forget_objectid(f);
	open_store(f);
	id = objectid(f, "INBOX");
	assert_true(id != old);
	reopen(f);
	assert_true(objectid(f, "INBOX") == id);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_append_and_reopen),
		T(test_delivery_is_noticed),
		T(test_flags_reach_names_and_sessions),
		T(test_expunge_keeps_numbers_until_told),
		T(test_file_that_cannot_be_removed),
		T(test_folders),
		T(test_copy_and_move),
		T(test_facts),
		T(test_a_folder_keeps_its_id),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
