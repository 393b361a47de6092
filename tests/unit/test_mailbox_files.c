/* SPDX-License-Identifier: ISC
 *
 * A mailbox whose files other programs move, leave twice or take away for a moment: no mail is lost by it.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/state.h"
#include "storetest.h"

static void
enter(struct view *v, struct fixture *f, const char *folder)
{
	struct fail why = { .text = "" };

	*v = (struct view){ .owner = NULL };
	if (!view_open(v, f->store, span_str(folder), false, &why))
		fail_msg("%s", why.text);
}

static void
quiet(struct fixture *f, int turns)
{
	for (int i = 0; i < turns; i++)
		(void)loop_turn(f->loop, 10);
}

static void
expunge(struct view *v, uint32_t uid)
{
	struct uid_range range = { uid, uid };
	struct uidset uids = { .ranges = &range, .n = 1 };
	struct fail why;

	assert_true(mailbox_remove(v, &uids, &why));
}

/* ---- one base name, more than one file ---- */

/* As the two lists have it when another program moves the file between them. */
static void
test_a_file_seen_in_new_and_in_cur_is_one_message(void **state)
{
	struct fixture *f = *state;
	struct view v;

	put_file(f, "new/1700000000.a", "A: b\r\n\r\n");
	put_file(f, "cur/1700000000.a:2,S", "A: b\r\n\r\n");
	enter(&v, f, "INBOX");
	assert_int_equal(view_count(&v), 1);
	assert_int_equal(view_message(&v, 1)->flags, FLAG_SEEN);
	move_file(f, "new/1700000000.a", "tmp/gone");
	quiet(f, 60);
	assert_true(file_exists(f, "cur/1700000000.a:2,S"));
	assert_int_equal(view_uid(&v, 1), 1);
	view_close(&v);
}

static void
test_names_that_are_there_twice_are_one_message(void **state)
{
	static const char *const files[] = { "1700000000:2,", "1700000000:2,S", "1700000000.a", "1700000000.a,S=8", "1700000000.a-1", "1700000000.a:2,",
		"1700000000.a:2,F", "1700000000.a:2,FS", "1700000000.a;", "b", "b,1", "b,2", "b,3", "b,4", "b,5", "b,6:2,", "b,6:2,S", "b:2,S" };
	struct fixture *f = *state;
	char path[100];
	struct view v;

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		(void)snprintf(path, sizeof(path), "cur/%s", files[i]);
		put_file(f, path, "A: b\r\n\r\n");
	}
	put_file(f, "new/b", "A: b\r\n\r\n");
	enter(&v, f, "INBOX");
	assert_int_equal(view_count(&v), 12);
	view_close(&v);
}

static void
test_they_are_one_by_the_uid_list_of_dovecot_too(void **state)
{
	struct fixture *f = *state;
	struct view v;

	for (char c = '1'; c <= '9'; c++) {
		char path[] = "cur/1700000000.a,?:2,";

		path[17] = c;
		put_file(f, path, "A: b\r\n\r\n");
	}
	put_file(f, "new/1700000000.a", "A: b\r\n\r\n");
	put_file(f, "cur/1700000000.a:2,", "A: b\r\n\r\n");
	put_file(f, "cur/1700000000.a:2,S", "A: b\r\n\r\n");
	put_file(f, "new/1700000000.c", "A: b\r\n\r\n");
	put_file(f, "dovecot-uidlist", "3 V1275660208 N100\n7 :1700000000.a\n8 :1700000000.c\n9 :1700000000.a\n10 :1700000000.a,5\n");
	enter(&v, f, "INBOX");
	assert_int_equal(view_count(&v), 11);
	assert_int_equal(view_uid(&v, 1), 7);
	assert_int_equal(view_message(&v, 1)->flags, FLAG_SEEN);
	assert_int_equal(view_uid(&v, 2), 8);
	assert_int_equal(view_uid(&v, 3), 10);
	assert_int_equal(view_uid(&v, 4), 100);
	view_close(&v);
}

/* What an older release has taken over. */
static void
test_a_file_of_two_messages_stays_for_the_other(void **state)
{
	struct record_message r = { .base = SPAN("1700000000.a"), .flags = FLAG_SEEN, .letters = LETTER_SEEN, .size = 8 };
	struct fixture *f = *state;
	struct fail why;
	struct view v;

	put_file(f, "cur/1700000000.a:2,S", "A: b\r\n\r\n");
	enter(&v, f, "INBOX");
	assert_true(change_arrive(v.mailbox, &r, &why) && change_show_now(v.mailbox, &why));
	expunge(&v, 2);
	quiet(f, 60);
	assert_true(file_exists(f, "cur/1700000000.a:2,S"));
	assert_int_equal(view_message(&v, 1)->uid, 1);
	assert_int_equal(mailbox_index(v.mailbox)->ndoomed, 0);
	expunge(&v, 1);
	quiet(f, 60);
	assert_false(file_exists(f, "cur/1700000000.a:2,S"));
	view_close(&v);
}

static void
scan(struct view *v)
{
	struct fail why;

	assert_true(scan_all(v->mailbox, &why));
}

/* As a backup brings one back. */
static void
test_a_second_file_changes_no_flags(void **state)
{
	struct fixture *f = *state;
	uint64_t modseq;
	struct view v;

	put_file(f, "cur/1700000000.a:2,S", "A: b\r\n\r\n");
	enter(&v, f, "INBOX");
	modseq = mailbox_modseq(v.mailbox);
	put_file(f, "cur/1700000000.a:2,F", "A: b\r\n\r\n");
	quiet(f, 40);
	scan(&v);
	view_close(&v);
	store_free(&f->store);
	open_store(f);
	enter(&v, f, "INBOX");
	scan(&v);
	assert_int_equal(view_count(&v), 1);
	assert_int_equal(view_message(&v, 1)->flags, FLAG_SEEN);
	assert_int_equal(mailbox_modseq(v.mailbox), modseq);
	assert_true(file_exists(f, "cur/1700000000.a:2,S"));
	move_file(f, "cur/1700000000.a:2,S", "tmp/gone"); /* then it is the message */
	quiet(f, 40);
	assert_int_equal(view_message(&v, 1)->flags, FLAG_FLAGGED);
	assert_int_equal(view_uid(&v, 1), 1);
	view_close(&v);
}

/* ---- away and back ---- */

static void
test_a_file_that_comes_back_at_once_stays(void **state)
{
	struct fixture *f = *state;
	struct view v;

	put_file(f, "cur/1700000000.a:2,S", "A: b\r\n\r\n");
	put_file(f, "cur/1700000001.b:2,S", "A: b\r\n\r\n");
	enter(&v, f, "INBOX");
	quiet(f, 40);
	move_file(f, "cur/1700000000.a:2,S", "tmp/away");
	quiet(f, 3);
	assert_int_equal(mailbox_index(v.mailbox)->n, 1);
	move_file(f, "tmp/away", "cur/1700000000.a:2,S");
	quiet(f, 60);
	assert_true(file_exists(f, "cur/1700000000.a:2,S"));
	assert_int_equal(mailbox_index(v.mailbox)->n, 2);
	assert_int_equal(mailbox_index(v.mailbox)->messages[1].uid, 3);
	view_close(&v);
}

/* Nor does one that is back when the folder is opened the next time. */
static void
test_a_file_that_comes_back_later_stays(void **state)
{
	struct fixture *f = *state;
	struct view v;

	put_file(f, "cur/1700000000.a:2,S", "A: b\r\n\r\n");
	enter(&v, f, "INBOX");
	quiet(f, 40);
	move_file(f, "cur/1700000000.a:2,S", "tmp/away");
	quiet(f, 3);
	view_close(&v);
	store_free(&f->store);
	move_file(f, "tmp/away", "cur/1700000000.a:2,S");
	open_store(f);
	enter(&v, f, "INBOX");
	assert_int_equal(view_uid(&v, 1), 2);
	quiet(f, 60);
	assert_true(file_exists(f, "cur/1700000000.a:2,S"));
	view_close(&v);
}

/* ---- UIDVALIDITY ---- */

static uint32_t
validity(struct fixture *f, const char *folder)
{
	struct mailbox_status st;
	struct fail why = { .text = "" };

	if (!store_status(f->store, span_str(folder), &st, &why))
		fail_msg("%s", why.text);
	return st.uidvalidity;
}

static void
test_a_folder_made_again_has_another_uidvalidity(void **state)
{
	struct fixture *f = *state;
	uint32_t before = validity(f, "INBOX"), now;
	struct fail why;

	for (unsigned i = 0; i < 4; i++, before = now) {
		assert_true(store_create(f->store, SPAN("v"), &why));
		now = validity(f, "v");
		assert_true(now > before);
		assert_true(store_delete(f->store, SPAN("v"), &why));
		if (i == 1) {
			store_free(&f->store);
			open_store(f);
		}
	}
	assert_true(store_rename(f->store, SPAN("INBOX"), SPAN("v"), &why));
	assert_true(validity(f, "INBOX") > now);
	assert_true(validity(f, "INBOX") != validity(f, "v"));
}

static void
test_what_it_was_last_may_make_no_sense(void **state)
{
	static const char *const texts[] = { "", "1\n", "pillarpost uidvalidity 1\n", "pillarpost uidvalidity 1\nx\n", "pillarpost uidvalidity 1\n4294967295\n",
		"pillarpost uidvalidity 1\n99999999999\n" };
	struct fixture *f = *state;
	struct fail why;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		put_file(f, "pillarpost-uidvalidity", texts[i]);
		assert_true(store_create(f->store, SPAN("v"), &why));
		assert_true(validity(f, "v") > 1700000000 && validity(f, "v") < UINT32_MAX);
		assert_true(store_delete(f->store, SPAN("v"), &why));
	}
	put_file(f, "pillarpost-uidvalidity", "pillarpost uidvalidity 1\n4000000000\n");
	assert_true(store_create(f->store, SPAN("v"), &why));
	assert_true(validity(f, "v") == 4000000001);
}

/* Where the index was removed whole, nothing tells that there was one. */
static void
test_a_uid_list_is_believed_once(void **state)
{
	struct fixture *f = *state;
	char command[128];
	struct view v;

	put_file(f, "cur/1700000000.a:2,S", "A: b\r\n\r\n");
	put_file(f, "dovecot-uidlist", "3 V1275660208 N8\n7 :1700000000.a\n");
	enter(&v, f, "INBOX");
	assert_int_equal(mailbox_uidvalidity(v.mailbox), 1275660208);
	view_close(&v);
	store_free(&f->store);
	assert_true(!file_exists(f, "dovecot-uidlist") && file_exists(f, "dovecot-uidlist.old"));
	(void)snprintf(command, sizeof(command), "rm -r %s/pillarpost", f->dir);
	assert_int_equal(system(command), 0);
	open_store(f);
	enter(&v, f, "INBOX");
	assert_true(mailbox_uidvalidity(v.mailbox) > 1275660208);
	view_close(&v);
}

/* ---- letters ---- */

static void
test_a_letter_without_a_name_is_not_the_next_keyword(void **state)
{
	struct fixture *f = *state;
	struct view v;

	put_file(f, "cur/1700000000.a:2,Sab", "A: b\r\n\r\n");
	put_file(f, "cur/1700000001.b:2,Sac", "A: b\r\n\r\n");
	put_file(f, "dovecot-keywords", "0 known\n");
	enter(&v, f, "INBOX");
	assert_int_equal(mailbox_keyword_find(v.mailbox, SPAN("$Junk"), true), 1);
	assert_int_equal(view_message(&v, 1)->keywords, 1);
	assert_int_equal(view_message(&v, 2)->keywords, 5);
	quiet(f, 60);
	assert_true(file_exists(f, "cur/1700000000.a:2,Sa") && file_exists(f, "cur/1700000001.b:2,Sac"));
	/* Later ones mean it: the name is in dovecot-keywords. */
	put_file(f, "cur/1700000002.c:2,bc", "A: b\r\n\r\n");
	quiet(f, 20);
	assert_int_equal(mailbox_index(v.mailbox)->messages[2].keywords, 6);
	assert_int_equal(mailbox_keyword_find(v.mailbox, SPAN("$Forwarded"), true), 2);
	assert_int_equal(mailbox_index(v.mailbox)->messages[1].keywords, 1);
	assert_int_equal(mailbox_index(v.mailbox)->messages[2].keywords, 2);
	view_close(&v);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_file_seen_in_new_and_in_cur_is_one_message, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names_that_are_there_twice_are_one_message, setup, teardown),
		cmocka_unit_test_setup_teardown(test_they_are_one_by_the_uid_list_of_dovecot_too, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_file_of_two_messages_stays_for_the_other, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_second_file_changes_no_flags, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_file_that_comes_back_at_once_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_file_that_comes_back_later_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_folder_made_again_has_another_uidvalidity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_it_was_last_may_make_no_sense, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_uid_list_is_believed_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_letter_without_a_name_is_not_the_next_keyword, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
