/* SPDX-License-Identifier: ISC
 *
 * remoted's callouts: whether a peer takes mail for an address.
 */
#include <string.h>

#include "tests/unit/remoted_fixture.h"

static void
call(uint64_t id, const char *nexthop, const char *address, const char *sender)
{
	unsigned before = ntold;

	assert_true(ipc_send_callout_ask(routed, &(struct ipc_callout_ask){ .id = id, .nexthop = span_str(nexthop), .address = span_str(address), .sender = span_str(sender) }));
	for (int i = 0; i < 500 && ntold == before; i++)
		(void)loop_turn(loop, 20);
	assert_int_equal(ntold, before + 1);
	assert_int_equal(told.id, id);
}

static void
test_callouts(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	call(1, hop_to(&p), "bob@peer.test", "");
	assert_int_equal(told.outcome, CALLOUT_TAKES);
	assert_false(told.unreached);
	assert_string_equal(told_text[0], "2.0.0");
	assert_non_null(strstr(told_text[1], "[127.0.0.1]:"));
	assert_string_equal(told_text[2], "250 ok");
	assert_true(peer_heard(&p, "EHLO us.test\nMAIL FROM:<>\nRCPT TO:<bob@peer.test>\nRSET\n"));
	p.rcpt = "550 5.1.1 nobody";
	call(2, hop_to(&p), "eve@peer.test", "probe@us.test");
	assert_int_equal(told.outcome, CALLOUT_REFUSES);
	assert_string_equal(told_text[0], "5.1.1");
	assert_true(peer_heard(&p, "MAIL FROM:<probe@us.test>\nRCPT TO:<eve@peer.test>\nRSET\n"));
	p.rcpt = "450 4.2.0 greylisted";
	call(3, hop_to(&p), "joe@peer.test", "");
	assert_int_equal(told.outcome, CALLOUT_LATER);
	assert_false(told.unreached);
	p.rcpt = NULL;
	p.mail = "550 no bounces";
	call(4, hop_to(&p), "joe@peer.test", "");
	assert_int_equal(told.outcome, CALLOUT_LATER);
	p.mail = NULL;
	assert_int_equal(p.connections, 1);
	give(1, hop_to(&p), 1, "x\r\n"); /* a delivery goes over the same connection */
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_DELIVERED);
	assert_true(got[1].reused);
	assert_int_equal(p.messages, 1);
	peer_close(&p);
	stop();
}

static void
test_callouts_to_the_dead(void **state)
{
	struct peer p, fallback;
	char text[200], dead[64];

	(void)state;
	start("");
	peer_open(&p, NULL);
	(void)snprintf(dead, sizeof(dead), "%s", hop_to(&p));
	peer_close(&p);
	peer_open(&fallback, NULL);
	(void)snprintf(text, sizeof(text), "myhostname = us.test\nsmtp_tls_CAfile =\nsmtp_fallback_relay = %s\n", hop_to(&fallback));
	service.conf = conf_parse(span_str(text), &conf_arena, &(struct conf_errors){ .n = 0 });
	remoted_ops.on_reload(&service, NULL);
	call(1, dead, "bob@peer.test", "");
	assert_int_equal(told.outcome, CALLOUT_LATER);
	assert_true(told.unreached);
	assert_non_null(strstr(told_text[2], "refused"));
	assert_int_equal(fallback.connections, 0); /* it takes everybody */
	call(2, "gone.test", "bob@gone.test", "");
	call(3, "null.test", "bob@null.test", "");
	assert_int_equal(told.outcome, CALLOUT_REFUSES);
	assert_string_equal(told_text[0], "5.1.10");
	call(4, "[bad", "bob@peer.test", ""); /* which says nothing of bob */
	assert_int_equal(told.outcome, CALLOUT_LATER);
	call(5, "nosuch.test", "bob@peer.test", "");
	assert_int_equal(told.outcome, CALLOUT_LATER);
	peer_close(&fallback);
	stop();
}

static void
test_routed_dies_and_remoted_stops_amid_callouts(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	p.rcpt = "250-wait"; /* and no more */
	for (uint64_t id = 1; id < 6; id++)
		assert_true(ipc_send_callout_ask(routed, &(struct ipc_callout_ask){ .id = id, .nexthop = span_str(hop_to(&p)), .address = SPAN("bob@peer.test") }));
	for (int i = 0; i < 100 && !peer_heard(&p, "RCPT"); i++)
		(void)loop_turn(loop, 10);
	assert_int_equal(remoted()->ncallouts, 5);
	channel_free(&routed);
	for (int i = 0; i < 100 && remoted()->ncallouts; i++)
		(void)loop_turn(loop, 10);
	assert_int_equal(remoted()->ncallouts, 0);
	routed = wire(&ipc_channel_callout, CHANNEL_CLIENT, &routed_end);
	assert_true(ipc_send_callout_ask(routed, &(struct ipc_callout_ask){ .id = 9, .nexthop = span_str(hop_to(&p)), .address = SPAN("bob@peer.test") }));
	for (int i = 0; i < 100 && !remoted()->ncallouts; i++)
		(void)loop_turn(loop, 10);
	service.stopping = true;
	remoted_ops.on_stop(&service);
	assert_int_equal(remoted()->ncallouts, 0);
	assert_int_equal(ntold, 0);
	peer_hang_up(&p);
	service.stopping = false;
	peer_close(&p);
	stop();
}

static void
test_too_many_callouts(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	p.rcpt = "250-wait";
	for (uint64_t id = 1; id <= 210; id++)
		assert_true(ipc_send_callout_ask(routed, &(struct ipc_callout_ask){ .id = id, .nexthop = span_str(hop_to(&p)), .address = SPAN("bob@peer.test") }));
	for (int i = 0; i < 200 && ntold < 10; i++)
		(void)loop_turn(loop, 10);
	assert_int_equal(ntold, 10);
	assert_int_equal(told.outcome, CALLOUT_LATER);
	assert_int_equal(remoted()->ncallouts, 200);
	peer_close(&p);
	stop();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_callouts),
		cmocka_unit_test(test_callouts_to_the_dead),
		cmocka_unit_test(test_routed_dies_and_remoted_stops_amid_callouts),
		cmocka_unit_test(test_too_many_callouts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
