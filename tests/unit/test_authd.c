/* SPDX-License-Identifier: ISC
 *
 * Logins at authd with a name and a password.
 */
#include "tests/unit/authd_fixture.h"

static void
test_good_credentials(void **state)
{
	struct world *w = *state;

	ask(w, "smtp", "ALICE@example.test", "wonderland");
	assert_true(w->ok);
	assert_string_equal(w->user, "alice@example.test");
	assert_int_equal(w->ticket_n, 0);
	assert_int_equal(w->grants, 0);
	ask(w, "smtp", "alice", "wonderland"); /* myorigin */
	assert_true(w->ok);
	assert_int_equal(w->a.cached, 1);
}

static void
test_a_ticket_is_granted_before_the_answer(void **state)
{
	struct world *w = *state;

	ask(w, "imap", "alice@example.test", "wonderland");
	assert_true(w->ok);
	assert_int_equal(w->ticket_n, B_TICKET);
	assert_true(w->grant_first);
	assert_memory_equal(w->ticket, w->granted, B_TICKET);
	assert_string_equal(w->granted_home, "example.test/alice");
	/* Without userd there is no session to be had, for now. */
	channel_free(&w->a.ticket);
	ask(w, "imap", "alice@example.test", "wonderland");
	assert_false(w->ok);
	assert_true(w->temporary);
}

static void
test_all_wrong_ones_look_the_same(void **state)
{
	static const char *const users[] = { "alice@example.test", "nobody@example.test", "nologin@example.test", "", "a/../b@example.test", "x@y@z" };
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
		ask(w, "smtp", users[i], "Wonderland");
		assert_false(w->ok);
		assert_false(w->temporary);
		assert_string_equal(w->user, "");
	}
	assert_int_equal(w->a.wrong, 6);
	ask(w, "smtp", "nologin@example.test", "");
	assert_false(w->ok);
}

/* RFC 2449 8.1.1 */
static void
test_who_comes_again_too_soon_hears_of_it_with_the_right_password_alone(void **state)
{
	struct world *w = *state;

	ask(w, "imap", "alice", "wonderland");
	assert_true(w->ok);
	ask(w, "pop3", "alice", "wonderland");
	assert_true(w->ok && !w->too_soon);
	w->grants = 0;
	ask(w, "pop3", "Alice@Example.Test", "wonderland");
	assert_true(!w->ok && !w->temporary && w->too_soon);
	assert_int_equal(w->ticket_n, 0);
	assert_int_equal(w->grants, 0);
	assert_string_equal(w->user, "");
	ask(w, "pop3", "alice", "Wonderland");
	assert_true(!w->ok && !w->temporary && !w->too_soon);
	ask(w, "imap", "alice", "wonderland");
	assert_true(w->ok);
	ask(w, "pop3", "alice#Archive", "wonderland"); /* another mailbox */
	assert_true(w->ok);
	ask(w, "pop3", "alice#Archive", "wonderland");
	assert_true(w->too_soon);
	put_user(w, "beth@example.test", "wonderland");
	channel_free(&w->a.ticket); /* what comes to nothing is no login */
	ask(w, "pop3", "beth", "wonderland");
	assert_true(w->temporary && !w->too_soon);
	ask(w, "pop3", "beth", "wonderland");
	assert_true(w->temporary && !w->too_soon);
	assert_int_equal(w->a.nchecks, 0);
}

static void
as(struct world *w, const char *user, const char *authzid, bool ok, const char *folder)
{
	struct ipc_auth_ask m = { .id = 7, .service = SPAN("pop3"), .mechanism = SPAN("PLAIN"), .client_addr = SPAN("192.0.2.1"),
		.user = span_str(user), .authzid = span_str(authzid), .password = SPAN("wonderland") };

	w->answers = 0;
	(void)strcpy(w->folder, "none");
	(void)recent_admits(&w->a.recent, SPAN(""), 0, INT64_MAX); /* forgets all */
	assert_true(ipc_send_auth_ask(w->front, &m));
	for (int i = 0; i < 500 && !w->answers; i++)
		(void)loop_turn(w->service.loop, 20);
	turns(w);
	if (w->ok != ok || strcmp(w->folder, ok ? folder : "none") != 0 || (ok && strcmp(w->user, "alice@example.test") != 0))
		fail_msg("%s as %s: %d %s of %s", user, authzid, w->ok, w->folder, w->user);
}

static void
test_a_pop3_login_may_name_a_folder(void **state)
{
	struct world *w = *state;

	put_user(w, "al#ice@example.test", "wonderland");
	put_user(w, "al@example.test", "another");
	as(w, "alice", "", true, "");
	as(w, "alice@example.test#Archive", "", true, "Archive");
	as(w, "alice#Archive@example.test", "", true, "Archive");
	as(w, "ALICE#Archive", "", true, "Archive");
	as(w, "alice#", "", true, "");
	as(w, "alice#Caf\xc3\xa9.x", "", true, "Caf\xc3\xa9.x");
	as(w, "alice", "alice", true, "");
	as(w, "alice", "alice@example.test#Archive", true, "Archive");
	as(w, "alice#One", "alice#Two", true, "Two");
	as(w, "alice#One", "alice", true, "One");
	/* nobody gets to another user's mail by it */
	as(w, "alice", "al#x", false, "");
	assert_string_equal(w->text, "may not act as another user");
	as(w, "alice#x", "al#ice", false, "");
	as(w, "al#x", "alice#x", false, "");
	as(w, "al#ce", "", false, ""); /* another's password */
	assert_string_equal(w->text, "wrong password");
	as(w, "nobody#Archive", "", false, "");
	assert_string_equal(w->text, "unknown user or login is not possible");
	as(w, "#Archive", "", false, "");
	ask(w, "pop3", "al#ice", "wonderland"); /* whose name that is comes first */
	assert_true(w->ok);
	assert_string_equal(w->user, "al#ice@example.test");
	turns(w);
	assert_string_equal(w->folder, "");
	ask(w, "imap", "alice#Archive", "wonderland"); /* IMAP knows folders by itself */
	assert_false(w->ok);
}

static void
test_a_changed_password_counts_at_once(void **state)
{
	struct world *w = *state;

	ask(w, "smtp", "alice@example.test", "wonderland");
	assert_true(w->ok);
	tool_does(w, false, "alice@example.test", "looking glass");
	assert_true(w->done_ok);
	assert_int_equal(w->changes, 1);
	assert_string_equal(w->user, "alice@example.test");
	ask(w, "smtp", "alice@example.test", "wonderland"); /* was in the cache */
	assert_false(w->ok);
	ask(w, "smtp", "alice@example.test", "looking glass");
	assert_true(w->ok);
	tool_does(w, true, "alice@example.test", "x");
	assert_false(w->done_ok);
	tool_does(w, true, "../../x@example.test", "x");
	assert_false(w->done_ok);
}

static void
test_a_front_may_go_while_its_login_is_checked(void **state)
{
	struct world *w = *state;
	struct ipc_auth_ask m = { .id = 1, .service = SPAN("smtp"), .client_addr = SPAN("192.0.2.1"), .user = SPAN("alice@example.test"), .password = SPAN("no") };

	for (int i = 0; i < 20; i++)
		assert_true(ipc_send_auth_ask(w->front, &m));
	(void)loop_turn(w->service.loop, 10);
	(void)loop_turn(w->service.loop, 10);
	assert_true(w->a.nchecks > 0);
	channel_free(&w->front);
	for (int i = 0; i < 500 && w->a.nchecks; i++)
		(void)loop_turn(w->service.loop, 20);
	assert_int_equal(w->a.nchecks, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_good_credentials, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_ticket_is_granted_before_the_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_all_wrong_ones_look_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_changed_password_counts_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_front_may_go_while_its_login_is_checked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who_comes_again_too_soon_hears_of_it_with_the_right_password_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_pop3_login_may_name_a_folder, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
