/* SPDX-License-Identifier: ISC
 *
 * What userd asks of authd for its mailboxds: who may visit whom, quotas, crashes.
 */
#include "tests/unit/authd_fixture.h"

static void
share(struct world *w, const char *owner, const char *guest, bool on)
{
	w->answered = 0;
	(void)ipc_send_ticket_share(w->userd, &(struct ipc_ticket_share){ .id = 1, .owner = span_str(owner), .guest = span_str(guest), .on = on });
	turns(w);
	assert_int_equal(w->answered, 1);
}

static bool
may_visit(struct world *w, const char *owner, const char *guest)
{
	w->answered = w->owners = 0;
	(void)ipc_send_ticket_find(w->userd, &(struct ipc_ticket_find){ .id = 2, .owner = span_str(owner), .guest = span_str(guest) });
	turns(w);
	assert_int_equal(w->answered + w->owners, 1);
	return w->owners == 1;
}

static int
sharers(struct world *w, const char *guest)
{
	w->answered = w->sharers = 0;
	(void)ipc_send_ticket_sharers(w->userd, &(struct ipc_ticket_sharers){ .id = 3, .guest = span_str(guest) });
	turns(w);
	assert_int_equal(w->answered, 1);
	return w->sharers;
}

static void
test_only_who_was_given_rights_may_visit(void **state)
{
	struct world *w = *state;

	assert_false(may_visit(w, "alice@example.test", "nologin@example.test"));
	share(w, "alice@example.test", "nologin@example.test", true);
	assert_true(w->answered_ok);
	assert_int_equal(w->shared, 1); /* his mailboxd is told, before alice */
	assert_true(w->told_first);
	assert_string_equal(w->sharer, "nologin@example.test");
	assert_true(may_visit(w, "alice@example.test", "nologin@example.test"));
	assert_string_equal(w->granted_home, "example.test/alice");
	assert_false(may_visit(w, "nologin@example.test", "alice@example.test"));
	assert_false(may_visit(w, "alice@example.test", "nologin@example.tes"));
	assert_false(may_visit(w, "alice@example.test", "other@example.test"));
	assert_int_equal(sharers(w, "nologin@example.test"), 1);
	assert_string_equal(w->sharer, "alice@example.test");
	assert_int_equal(sharers(w, "other@example.test"), 0);
	share(w, "alice@example.test", "nologin@example.test", false);
	assert_false(may_visit(w, "alice@example.test", "nologin@example.test"));
	assert_int_equal(w->shared, 2);
	share(w, "alice@example.test", "anyone", true);
	assert_int_equal(w->shared, 3);
	assert_string_equal(w->sharer, ""); /* everybody's */
	assert_true(may_visit(w, "alice@example.test", "other@example.test"));
	assert_int_equal(sharers(w, "other@example.test"), 1);
	assert_int_equal(sharers(w, "alice@example.test"), 0);
	share(w, "alice@example.test", "Not Canonical@x", true);
	assert_false(w->answered_ok);
	assert_int_equal(w->shared, 3);
	share(w, "alice@example.test", "Other@example.test", true);
	assert_false(w->answered_ok);
	assert_string_equal(w->text, "not a user's name");
	share(w, "nobody@example.test", "other@example.test", true); /* userd said so: a user who is gone meanwhile */
	assert_false(may_visit(w, "nobody@example.test", "other@example.test"));
	assert_false(may_visit(w, "../../etc/passwd@x", "other@example.test"));
}

/* True: authd has answered with what it is now. */
static bool
quota(struct world *w, const char *by, const char *user, bool set, uint64_t size, uint64_t messages)
{
	w->answered = w->owners = w->limits = 0;
	(void)ipc_send_ticket_quota(w->userd, &(struct ipc_ticket_quota){ .id = 4, .by = span_str(by), .user = span_str(user), .set = set, .size = size, .messages = messages });
	turns(w);
	assert_int_equal(w->answered + w->owners, 1);
	return w->owners == 1;
}

static void
test_quotas_are_an_administrators(void **state)
{
	struct world *w = *state;
	struct ipc_user_admin_quota q = { .id = 1, .user = SPAN("alice@example.test"), .set_size = true, .size = 5000 };

	assert_false(quota(w, "alice@example.test", "alice@example.test", true, 1, 1));
	assert_false(quota(w, "alice@example.test", "alice@example.test", false, 0, 0));
	assert_int_equal(w->limits, 0);
	assert_true(quota(w, "admin@example.test", "alice@example.test", false, 1, 1));
	assert_int_equal(w->size, 9 << 20); /* the default */
	assert_int_equal(w->limits, 0);
	assert_true(quota(w, "admin@example.test", "Alice@example.test", true, 0, 77));
	assert_int_equal(w->size, 0); /* not the default */
	assert_int_equal(w->messages, 77);
	assert_int_equal(w->limits, 1);
	assert_int_equal(w->changes, 1); /* routed forgets */
	assert_false(quota(w, "admin@example.test", "nobody@example.test", true, 1, 1));
	assert_false(quota(w, "admin@example.test", "nobody", true, 1, 1));
	assert_false(quota(w, "", "alice@example.test", true, 1, 1));
	(void)ipc_send_user_admin_quota(w->tool, &q); /* and mailctl's changes are told */
	turns(w);
	assert_int_equal(w->limits, 1);
	assert_int_equal(w->size, 5000);
	assert_int_equal(w->messages, 77);
}

static void
test_crashes_are_kept_for_the_next_userd(void **state)
{
	struct world *w = *state;
	struct ipc_ticket_crash m = { .user = SPAN("alice@example.test"), .count = 2, .last_ms = 7, .why = SPAN("signal 11") };

	assert_true(ipc_send_ticket_crash(w->userd, &m));
	turns(w);
	crash_tell(&w->a);
	turns(w);
	assert_int_equal(w->recalled, 102);
	m.count = w->recalled = 0;
	assert_true(ipc_send_ticket_crash(w->userd, &m));
	turns(w);
	crash_tell(&w->a);
	turns(w);
	assert_int_equal(w->recalled, 100);
	m.user = SPAN("smtpd 2001:db8::/64"); /* a peer */
	assert_true(ipc_send_ticket_crash(w->userd, &m));
	turns(w);
	assert_non_null(w->a.ticket);
	m.user = SPAN("../../etc/passwd"); /* no name of a user, nor a peer: a violation */
	assert_true(ipc_send_ticket_crash(w->userd, &m));
	turns(w);
	assert_null(w->a.ticket);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_only_who_was_given_rights_may_visit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_quotas_are_an_administrators, setup, teardown),
		cmocka_unit_test_setup_teardown(test_crashes_are_kept_for_the_next_userd, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
