/* SPDX-License-Identifier: ISC
 *
 * Crowds at authd: who has room for a check, and who gets in beside those that guess.
 */
#include <stdio.h>

#include "tests/unit/authd_fixture.h"

static void
test_one_client_cannot_take_all_the_room(void **state)
{
	struct world *w = *state;
	struct ipc_auth_ask m = { .id = 1, .service = SPAN("smtp"), .client_addr = SPAN("192.0.2.1"), .user = SPAN("alice@example.test"), .password = SPAN("no") };

	for (int i = 0; i < CHECKS_PER_CLIENT + 10; i++)
		assert_true(ipc_send_auth_ask(w->front, &m));
	for (int i = 0; i < 20 && w->a.refused < 10; i++)
		(void)loop_turn(w->service.loop, 5);
	assert_true(w->a.refused >= 10);
	assert_true(w->a.nchecks <= CHECKS_PER_CLIENT);
}

/* A /64 is one client's; its neighbours have room of their own. */
static void
test_one_ipv6_network_cannot_take_all_the_room(void **state)
{
	struct world *w = *state;
	struct ipc_auth_ask m = { .id = 1, .service = SPAN("smtp"), .user = SPAN("alice@example.test"), .password = SPAN("no") };
	char address[64];

	for (unsigned i = 0; i < CHECKS_PER_CLIENT + 10; i++) {
		(void)snprintf(address, sizeof(address), "2001:db8::%x", i + 1);
		m.client_addr = span_str(address);
		assert_true(ipc_send_auth_ask(w->front, &m));
	}
	m.client_addr = SPAN("2001:db8:0:1::1");
	assert_true(ipc_send_auth_ask(w->front, &m));
	for (int i = 0; i < 20 && w->a.refused < 10; i++)
		(void)loop_turn(w->service.loop, 5);
	assert_int_equal(w->a.refused, 10);
}

/* As many wrong passwords for alice, which wait for their check, as each of these clients may have: "PREFIX%x". */
static void
crowd(struct world *w, const char *prefix, unsigned clients)
{
	struct ipc_auth_ask m = { .id = 1, .service = SPAN("smtp"), .user = SPAN("alice@example.test"), .password = SPAN("no") };
	uint64_t before = w->a.nchecks + w->a.refused;
	char address[64];

	w->a.guard.delay_ms = 2000;
	for (unsigned i = 0; i < 500; i++)
		(void)guard_failed(&w->a.guard, m.user, SPAN("203.0.113.9"), loop_now_ms(w->service.loop));
	for (unsigned i = 0; i < clients * CHECKS_PER_CLIENT; i++) {
		(void)snprintf(address, sizeof(address), "%s%x::1", prefix, i / CHECKS_PER_CLIENT);
		m.client_addr = span_str(address);
		assert_true(ipc_send_auth_ask(w->front, &m));
	}
	while (w->a.nchecks + w->a.refused < before + clients * CHECKS_PER_CLIENT)
		(void)loop_turn(w->service.loop, 5);
}

static bool
logs_in(struct world *w, const char *user, const char *password, const char *client)
{
	struct ipc_auth_ask m = { .id = 2, .service = SPAN("smtp"), .user = span_str(user), .password = span_str(password), .client_addr = span_str(client) };

	w->answered_id = 0;
	assert_true(ipc_send_auth_ask(w->front, &m));
	while (w->answered_id != m.id)
		(void)loop_turn(w->service.loop, 20);
	return w->ok;
}

/* Whoever has a network has many clients' addresses. */
static void
test_a_network_of_many_clients_cannot_take_all_the_room(void **state)
{
	struct world *w = *state;

	put_user(w, "carol@example.test", "pencil");
	crowd(w, "2001:db8:0:", CHECKS_PER_NETWORK / CHECKS_PER_CLIENT + 2);
	assert_int_equal(w->a.nchecks, CHECKS_PER_NETWORK);
	assert_int_equal(w->a.refused, 2 * CHECKS_PER_CLIENT);
	assert_true(logs_in(w, "carol@example.test", "pencil", "2001:db8:0:100::1"));
}

/* Whoever has many networks takes the places of strangers, and no others. */
static void
test_who_is_known_has_a_place_where_strangers_have_none(void **state)
{
	struct world *w = *state;
	struct span carol = SPAN("carol@example.test");

	put_user(w, "carol@example.test", "pencil");
	guard_succeeded(&w->a.guard, carol, SPAN("192.0.2.1"), loop_now_ms(w->service.loop));
	for (char prefix[] = "2001:db8:1:"; prefix[9] <= '9' && w->a.nchecks < CHECKS_MAX - CHECKS_OF_KNOWN; prefix[9]++)
		crowd(w, prefix, CHECKS_PER_NETWORK / CHECKS_PER_CLIENT);
	assert_int_equal(w->a.nchecks, CHECKS_MAX - CHECKS_OF_KNOWN);
	assert_false(logs_in(w, "carol@example.test", "pencil", "198.51.100.1"));
	assert_true(w->temporary);
	assert_true(logs_in(w, "carol@example.test", "pencil", "192.0.2.200"));
}

/* What takes no time needs no place: also beside others at the same address. */
static void
test_who_logged_in_a_moment_ago_needs_no_place(void **state)
{
	struct world *w = *state;

	put_user(w, "carol@example.test", "pencil");
	assert_true(logs_in(w, "carol@example.test", "pencil", "2001:db8:0:0::2"));
	crowd(w, "2001:db8:0:", CHECKS_PER_NETWORK / CHECKS_PER_CLIENT);
	assert_false(logs_in(w, "carol@example.test", "pen", "2001:db8:0:0::2"));
	assert_true(w->temporary);
	assert_true(logs_in(w, "carol@example.test", "pencil", "2001:db8:0:0::2"));
}

/* An attack that goes on holds up strangers; who has logged in from there before is looked at at once. */
static void
test_an_owner_gets_in_while_others_guess(void **state)
{
	struct world *w = *state;
	struct span carol = SPAN("carol@example.test");
	struct ipc_auth_ask m = { .service = SPAN("smtp"), .user = carol, .password = SPAN("no") };
	char address[64];

	w->a.guard.delay_ms = 2000;
	put_user(w, "carol@example.test", "pencil");
	guard_succeeded(&w->a.guard, carol, SPAN("2001:db8:1::1"), loop_now_ms(w->service.loop));
	for (unsigned i = 0; i < 500; i++)
		(void)guard_failed(&w->a.guard, carol, SPAN("203.0.113.9"), loop_now_ms(w->service.loop));
	for (unsigned i = 0; i < 20; i++) {
		(void)snprintf(address, sizeof(address), "198.51.100.%u", i);
		m.id = 100 + i;
		m.client_addr = span_str(address);
		assert_true(ipc_send_auth_ask(w->front, &m));
	}
	m = (struct ipc_auth_ask){ .id = 2, .service = SPAN("smtp"), .user = carol, .password = SPAN("pencil"), .client_addr = SPAN("2001:db8:1::2:1") };
	assert_true(ipc_send_auth_ask(w->front, &m));
	for (int i = 0; i < 500 && !w->answers; i++)
		(void)loop_turn(w->service.loop, 20);
	assert_int_equal(w->answers, 1);
	assert_true(w->ok);
	assert_int_equal(w->a.nchecks, 20); /* whoever guesses waits before the password is looked at */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_client_cannot_take_all_the_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_ipv6_network_cannot_take_all_the_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_network_of_many_clients_cannot_take_all_the_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who_is_known_has_a_place_where_strangers_have_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who_logged_in_a_moment_ago_needs_no_place, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_owner_gets_in_while_others_guess, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
