/* SPDX-License-Identifier: ISC
 *
 * Streams with TLS: the switch to it in the middle, data both ways.
 */
#include <string.h>
#include <unistd.h>

#include "tests/unit/stream_fixture.h"
#include "tests/unit/tls_fixture.h"

struct tls_world {
	struct world w;
	struct fixture f;
	struct tls_server *server;
	struct tls_client *client;
};

static const struct tls_want any = { TLS_LEVEL_MAY, SPAN_INIT("a.test"), NULL, 0 };

static void
tls_world_make(struct tls_world *t, bool both)
{
	struct fail why = { 0 };
	struct tls_signer signer = { fixture_sign, &t->f, NULL };

	assert_true(fixture_make(&t->f, "EC", "a.test"));
	t->server = tls_server_new(&signer, &why);
	assert_true(tls_server_add_chain(t->server, buf_span(&t->f.chain), &why));
	t->client = tls_client_new(NULL, NULL, &why);
	world_make(&t->w, &events, both);
	t->w.a.server = t->server;
}

static void
tls_world_end(struct tls_world *t)
{
	world_end(&t->w);
	tls_server_unref(&t->server);
	tls_client_unref(&t->client);
	fixture_free(&t->f);
}

static void
test_starttls_drops_what_was_sent_along_in_plaintext(void **state)
{
	struct tls_world t;

	(void)state;
	tls_world_make(&t, true);
	t.w.a.starttls = true;
	stream_puts(&t.w.b.s, "STARTTLS\r\nRCPT TO:<injected@a.test>\r\n");
	turns(&t.w, 4);
	assert_int_equal(buf_len(&t.w.b.got), 8);
	assert_true(stream_tls_connect(&t.w.b.s, t.client, &any, NULL));
	turns(&t.w, 10);
	assert_int_equal(t.w.a.secured, 1);
	assert_int_equal(t.w.b.secured, 1);
	assert_int_equal(buf_len(&t.w.a.got), 0); /* the injected command was never seen */
	stream_puts(&t.w.b.s, "EHLO b\r\n");
	turns(&t.w, 4);
	assert_memory_equal(buf_span(&t.w.a.got).p, "EHLO b\r\n", 8);
	assert_null(t.w.a.s.in.mem);
	stream_finish(&t.w.a.s);
	turns(&t.w, 4);
	assert_int_equal(t.w.a.why, STREAM_FINISHED);
	assert_int_equal(t.w.b.eofs, 1);
	tls_world_end(&t);
}

static void
test_plaintext_behind_the_switch_breaks_the_handshake(void **state)
{
	struct tls_world t;
	char text[16];

	(void)state;
	tls_world_make(&t, false);
	t.w.a.starttls = true;
	assert_int_equal(write(t.w.raw, "STARTTLS\r\n", 10), 10);
	turns(&t.w, 3);
	assert_int_equal(read(t.w.raw, text, sizeof(text)), 8);
	assert_int_equal(write(t.w.raw, "MAIL FROM:<>\r\n", 14), 14);
	turns(&t.w, 3);
	assert_int_equal(t.w.a.why, STREAM_TLS);
	assert_int_equal(t.w.a.secured, 0);
	tls_world_end(&t);
}

static void
test_much_data_through_tls_both_ways(void **state)
{
	struct tls_world t;
	char block[1000];
	size_t sent = 0, back = 0;

	(void)state;
	memset(block, 'y', sizeof(block));
	tls_world_make(&t, true);
	assert_true(stream_tls_accept(&t.w.a.s, t.server, TLS_ASK_NOTHING, NULL));
	assert_true(stream_tls_connect(&t.w.b.s, t.client, &any, NULL));
	for (int i = 0; i < 3000 && (sent < 1000000 || back < 500000); i++) {
		while (t.w.a.secured && sent < 1000000 && !stream_full(&t.w.b.s)) {
			stream_put(&t.w.b.s, span_of(block, sizeof(block)));
			sent += sizeof(block);
		}
		while (t.w.a.secured && back < 500000 && !stream_full(&t.w.a.s)) {
			stream_put(&t.w.a.s, span_of(block, sizeof(block)));
			back += sizeof(block);
		}
		(void)loop_turn(t.w.loop, 1);
	}
	turns(&t.w, 50);
	assert_int_equal(buf_len(&t.w.a.got), sent);
	assert_int_equal(buf_len(&t.w.b.got), back);
	assert_true(sent >= 1000000 && back >= 500000);
	tls_world_end(&t);
}

static void
test_tls_input_larger_than_the_buffer_waits_inside(void **state)
{
	struct tls_world t;
	char block[4000];

	(void)state;
	memset(block, 'z', sizeof(block));
	tls_world_make(&t, true);
	assert_true(stream_tls_accept(&t.w.a.s, t.server, TLS_ASK_NOTHING, NULL));
	assert_true(stream_tls_connect(&t.w.b.s, t.client, &any, NULL));
	turns(&t.w, 10);
	t.w.a.keep = true;
	for (int i = 0; i < 12; i++) {
		stream_put(&t.w.b.s, span_of(block, sizeof(block)));
		turns(&t.w, 2);
	}
	assert_true(stream_input_full(&t.w.a.s));
	t.w.a.keep = false;
	stream_again(&t.w.a.s);
	turns(&t.w, 30);
	assert_int_equal(buf_len(&t.w.a.got), 12 * sizeof(block));
	tls_world_end(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_starttls_drops_what_was_sent_along_in_plaintext),
		cmocka_unit_test(test_plaintext_behind_the_switch_breaks_the_handshake),
		cmocka_unit_test(test_much_data_through_tls_both_ways),
		cmocka_unit_test(test_tls_input_larger_than_the_buffer_waits_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
