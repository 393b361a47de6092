/* SPDX-License-Identifier: ISC
 *
 * SCRAM at authd.
 */
#include "net/scram_server.h"
#include "tests/unit/authd_fixture.h"

/* The first round: what is asked of this name, in w->challenge. */
static void
begin_scram(struct world *w, uint64_t id, const char *user, const char *authzid)
{
	struct ipc_auth_scram m = { .id = id, .service = span_str(w->scram_service ? w->scram_service : "imap"), .mechanism = SPAN("SCRAM-SHA-256"), .client_addr = SPAN("192.0.2.1"),
		.user = span_str(user), .authzid = span_str(authzid), .nonce = SPAN("abcdefgh") };
	struct buf first;

	buf_init(&first, 1000);
	assert_true(scram_client_first(&w->scram, m.user, m.nonce, NULL, &first));
	m.bare = span_from(buf_span(&first), 3);
	w->challenge[0] = '\0';
	w->answers = w->grants = 0;
	w->text[0] = '\0';
	assert_true(ipc_send_auth_scram(w->front, &m));
	for (int i = 0; i < 500 && !w->challenge[0] && !w->answers; i++)
		(void)loop_turn(w->service.loop, 20);
	buf_free(&first);
}

static void
prove(struct world *w, uint64_t id, struct span without, const uint8_t proof[SCRAM_PROOF])
{
	struct ipc_auth_proof m = { .id = id, .without_proof = without, .proof = span_of(proof, SCRAM_PROOF) };

	w->answers = 0;
	assert_true(ipc_send_auth_proof(w->front, &m));
	for (int i = 0; i < 500 && !w->answers; i++)
		(void)loop_turn(w->service.loop, 20);
	assert_int_equal(w->answers, 1);
}

static void
end_scram(struct world *w, uint64_t id, const char *password)
{
	struct scram_final final;
	struct fail why;
	struct buf out;

	buf_init(&out, 1000);
	if (!scram_client_final(&w->scram, span_str(password), span_str(w->challenge), &out, &why))
		fail_msg("%s: %s", why.text, w->challenge);
	assert_true(scram_parse_final(buf_span(&out), &final, &why));
	prove(w, id, final.without, final.proof);
	buf_free(&out);
	scram_client_end(&w->scram);
}

static void
scram(struct world *w, const char *user, const char *password)
{
	begin_scram(w, 9, user, "");
	assert_int_equal(w->answers, 0);
	end_scram(w, 9, password);
}

static void
test_scram(void **state)
{
	struct world *w = *state;

	tool_does(w, true, "carol@example.test", "pencil");
	scram(w, "Carol", "pencil");
	assert_true(w->ok && w->proved);
	assert_string_equal(w->user, "carol@example.test");
	assert_int_equal(w->ticket_n, B_TICKET);
	assert_true(w->grant_first);
	scram(w, "carol@example.test", "pen");
	assert_true(!w->ok && !w->temporary && !w->proved);
	assert_int_equal(w->ticket_n, 0);
	assert_int_equal(w->a.wrong, 1);
	tool_does(w, false, "carol@example.test", "pen");
	scram(w, "carol@example.test", "pencil");
	assert_false(w->ok);
	scram(w, "carol@example.test", "pen");
	assert_true(w->ok && w->proved);
	begin_scram(w, 9, "carol@example.test", "alice@example.test"); /* as somebody else */
	end_scram(w, 9, "pen");
	assert_true(!w->ok && !w->temporary);
	assert_int_equal(w->a.nchecks + w->a.nexchanges, 0);
}

/* A user of an older database has no keys until a password has come. */
static void
test_scram_after_a_login_with_a_password(void **state)
{
	struct world *w = *state;

	scram(w, "alice@example.test", "wonderland");
	assert_true(!w->ok && !w->temporary);
	ask(w, "smtp", "alice@example.test", "Wonderland");
	scram(w, "alice@example.test", "Wonderland");
	assert_false(w->ok);
	ask(w, "smtp", "alice@example.test", "wonderland");
	assert_true(w->ok);
	scram(w, "alice@example.test", "wonderland");
	assert_true(w->ok && w->proved);
}

static void
salt_of(struct world *w, const char *user, char salt[100])
{
	struct span rest;

	begin_scram(w, 9, user, "");
	assert_int_equal(w->answers, 0);
	rest = span_str(w->challenge);
	(void)span_cut(&rest, ',');
	assert_true(span_cstr(rest, salt, 100)); /* s=...,i=... */
	end_scram(w, 9, "guess");
	assert_true(!w->ok && !w->temporary);
}

static void
test_scram_with_a_folder(void **state)
{
	struct world *w = *state;
	char whole[100], with[100];

	w->scram_service = "pop3";
	tool_does(w, true, "carol@example.test", "pencil");
	scram(w, "carol#Archive", "pencil");
	assert_true(w->ok && w->proved);
	assert_string_equal(w->user, "carol@example.test");
	assert_string_equal(w->folder, "Archive");
	scram(w, "carol#Archive", "pencil");
	assert_true(!w->ok && w->too_soon && !w->proved);
	salt_of(w, "nobody@example.test", whole); /* whether there is such a user does not show */
	salt_of(w, "nobody@example.test#Archive", with);
	assert_string_equal(whole, with);
}

/* Names cannot be probed: the same question again and again, whether there is such a user or not. */
static void
test_scram_of_nobody(void **state)
{
	struct world *w = *state;
	char first[100], again[100], other[100];

	salt_of(w, "dave@example.test", first);
	salt_of(w, "erin@example.test", other);
	assert_string_not_equal(first, other);
	assert_non_null(strstr(first, ",i=4096"));
	salt_of(w, "DAVE@example.test", again);
	assert_string_equal(first, again);
	tool_does(w, true, "dave@example.test", "pencil");
	salt_of(w, "dave@example.test", again);
	assert_string_equal(first, again);
	tool_does(w, false, "dave@example.test", "crayon");
	salt_of(w, "dave@example.test", again);
	assert_string_equal(first, again);
	salt_of(w, "nologin@example.test", first);
	salt_of(w, "../x", first);
}

static void
test_scram_proofs_are_good_once(void **state)
{
	struct world *w = *state;
	struct scram_final final;
	struct fail why;
	struct buf out;

	tool_does(w, true, "carol@example.test", "pencil");
	begin_scram(w, 9, "carol@example.test", "");
	buf_init(&out, 1000);
	assert_true(scram_client_final(&w->scram, SPAN("pencil"), span_str(w->challenge), &out, &why));
	assert_true(scram_parse_final(buf_span(&out), &final, &why));
	prove(w, 9, final.without, final.proof);
	assert_true(w->ok);
	prove(w, 9, final.without, final.proof); /* nothing goes on any more */
	assert_true(!w->ok && w->temporary);
	scram_client_end(&w->scram);
	begin_scram(w, 10, "carol@example.test", "");
	prove(w, 10, final.without, final.proof); /* in an exchange with another nonce */
	assert_true(!w->ok && !w->temporary);
	scram_client_end(&w->scram);
	buf_free(&out);
}

/* Clients that only ask take no room from others. */
static void
test_scram_exchanges_are_bounded(void **state)
{
	struct world *w = *state;

	tool_does(w, true, "carol@example.test", "pencil");
	for (uint64_t i = 1; i <= EXCHANGES_PER_CLIENT; i++) {
		begin_scram(w, i, "carol@example.test", "");
		assert_int_equal(w->answers, 0);
		scram_client_end(&w->scram);
	}
	assert_int_equal(w->a.nexchanges, EXCHANGES_PER_CLIENT);
	begin_scram(w, 1000, "carol@example.test", "");
	assert_int_equal(w->a.nexchanges, EXCHANGES_PER_CLIENT);
	assert_int_equal(w->a.refused, 1); /* the oldest one */
	end_scram(w, 1000, "pencil");
	assert_true(w->ok);
	channel_free(&w->front);
	(void)loop_turn(w->service.loop, 20); /* teardown drops those that are left */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_scram, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scram_with_a_folder, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scram_after_a_login_with_a_password, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scram_of_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scram_proofs_are_good_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scram_exchanges_are_bounded, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
