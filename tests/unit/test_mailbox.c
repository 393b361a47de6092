/* SPDX-License-Identifier: ISC */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "journal/vfs.h"
#include "sys/crc32c.h"
#include "storetest.h"

struct session {
	struct view view;
	unsigned exists, expunged, flags, pending, recent;
	uint32_t last_count, last_seq;
};

static void
reopen(struct fixture *f)
{
	store_free(&f->store);
	open_store(f);
}

/* ---- sessions ---- */

static struct session *
session_of(struct view *v)
{
	return v->owner;
}

static void
on_pending(struct view *v)
{
	session_of(v)->pending++;
}

static void
on_expunge(struct view *v, uint32_t seq, uint32_t uid)
{
	(void)uid;
	session_of(v)->expunged++;
	session_of(v)->last_seq = seq;
}

static void
on_exists(struct view *v, uint32_t count, uint32_t recent)
{
	session_of(v)->exists++;
	session_of(v)->last_count = count;
	session_of(v)->recent = recent;
}

static void
on_flags(struct view *v, uint32_t seq, const struct message *m)
{
	(void)m;
	session_of(v)->flags++;
	session_of(v)->last_seq = seq;
}

static const struct view_events events = { on_expunge, on_exists, on_flags };

static void
enter(struct session *s, struct fixture *f, const char *folder)
{
	struct fail why = { .text = "" };

	memset(s, 0, sizeof(*s));
	s->view.on_pending = on_pending;
	s->view.owner = s;
	if (!view_open(&s->view, f->store, span_str(folder), false, &why))
		fail_msg("%s", why.text);
}

static void
turn_until(struct fixture *f, bool (*is)(void *), void *arg)
{
	for (int i = 0; i < 300 && !is(arg); i++)
		(void)loop_turn(f->loop, 10);
	assert_true(is(arg));
}

static bool
has_pending(void *arg)
{
	return ((struct session *)arg)->pending > 0;
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

/* ---- tests ---- */

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
		T(test_append_and_reopen),
		T(test_delivery_is_noticed),
		T(test_bare_lf_is_converted),
		T(test_flags_reach_names_and_sessions),
		T(test_expunge_keeps_numbers_until_told),
		T(test_file_that_cannot_be_removed),
		T(test_external_delete_and_arrival_while_closed),
		T(test_takes_over_dovecot),
		T(test_lost_index_gets_a_new_uidvalidity),
		T(test_folders),
		T(test_copy_and_move),
		T(test_facts),
		T(test_a_folder_keeps_its_id),
		T(test_names_of_a_large_folder_come_back),
		T(test_only_whole_pages_are_let_go),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
