/* SPDX-License-Identifier: ISC
 *
 * Where remoted sends: next hops, their hosts and addresses, and what it does about
 * those that are dead, silent, slow or too many.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/remoted_fixture.h"

/* An address that answers no packet, for nobody takes the connections that wait there, until peer_listen(queue[0]).
 * False: there is no such address here. */
static bool
hole_open(const char *address, uint16_t port, int queue[4])
{
	struct netaddr at;
	struct fail why;

	assert_true(netaddr_parse(span_str(address), port, &at));
	queue[0] = listener_bind(&at, 0, &why);
	for (int i = 1; i < 4; i++) {
		queue[i] = socket(netaddr_family(&at), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)connect(queue[i], &at.u.sa, at.len);
	}
	return queue[0] >= 0;
}

static void
hole_close(int queue[4], bool listening)
{
	for (int i = listening; i < 4; i++)
		(void)close(queue[i]);
}

/* To a recipient of that domain, by its own MX. */
static void
give_to(uint64_t id, const char *domain)
{
	char address[64];

	(void)snprintf(address, sizeof(address), "bob@%s", domain);
	assert_true(ipc_send_deliver_job(queued, &(struct ipc_deliver_job){ .id = id, .message = id, .nexthop = span_str(domain), .size = 10 }));
	assert_true(ipc_send_deliver_rcpt(queued, &(struct ipc_deliver_rcpt){ .id = id, .address = span_str(address) }));
	assert_true(ipc_send_deliver_content(queued, &(struct ipc_deliver_content){ .id = id, .bytes = SPAN("x\r\n") }));
}

/* smtp_mx_session_limit: hosts that answer and put us off; smtp_mx_address_limit: addresses, whatever they do. */
static void
test_no_more_hosts_than_allowed_are_asked(void **state)
{
	static const struct {
		const char *conf, *greeting;
		unsigned connections;
	} rows[] = {
		{ "", "421 4.3.2 not now", 2 },
		{ "smtp_mx_session_limit = 4\n", "421 4.3.2 not now", 4 },
		{ "smtp_mx_session_limit = 0\n", "421 4.3.2 not now", 5 },
		{ "smtp_mx_session_limit = 0\nsmtp_mx_address_limit = 3\n", "421 4.3.2 not now", 3 },
	};
	struct netaddr at;
	struct fail why;
	struct peer p;
	char hop[64];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		start(rows[i].conf);
		assert_true(netaddr_parse(SPAN("0.0.0.0"), 0, &at));
		peer_listen(&p, listener_bind(&at, 64, &why));
		p.greeting = rows[i].greeting;
		(void)snprintf(hop, sizeof(hop), "[many.test]:%u", netaddr_port(&p.address));
		give(1, hop, 1, "x\r\n");
		assert_int_equal(wait_for(1)->outcome[0], DELIVER_DEFERRED);
		assert_string_equal(got[1].code[0], "4.3.2");
		assert_int_equal(p.connections, rows[i].connections);
		peer_close(&p);
		stop();
	}
}

static void
test_by_mx(void **state)
{
	struct peer p;
	char hop[64];

	(void)state;
	start("smtp_connect_timeout = 2s");
	peer_open(&p, NULL);
	(void)snprintf(hop, sizeof(hop), "mx.test:%u", netaddr_port(&p.address));
	give(1, hop, 1, "x\r\n"); /* the better MX has nobody on that port */
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_DELIVERED);
	assert_true(strstr(got[1].peer, "live.test[127.0.0.1]:"));
	give_to(2, "null.test");
	assert_int_equal(wait_for(2)->outcome[0], DELIVER_FAILED);
	assert_string_equal(got[2].code[0], "5.1.10");
	assert_int_equal(got[2].health, DELIVER_UNTRIED);
	give_to(3, "nosuch.test");
	assert_int_equal(wait_for(3)->outcome[0], DELIVER_FAILED);
	assert_string_equal(got[3].code[0], "5.1.2");
	give(4, "[127.0.0.201]:1", 1, "x\r\n");
	assert_int_equal(wait_for(4)->outcome[0], DELIVER_DEFERRED);
	assert_string_equal(got[4].code[0], "4.4.1");
	assert_int_equal(got[4].health, DELIVER_UNREACHED);
	give_to(5, "[");
	assert_int_equal(wait_for(5)->outcome[0], DELIVER_FAILED);
	peer_close(&p);
	stop();
}

/* Sends a message to what calls itself what we do. */
static struct outcome *
give_ourselves(uint64_t id, bool own_domain)
{
	struct outcome *o;
	struct peer p;
	char hop[64];

	peer_open(&p, NULL);
	p.ehlo = "250 us.test";
	remoted()->policy->rules.own_port = netaddr_port(&p.address); /* for 25, which a test cannot have */
	(void)snprintf(hop, sizeof(hop), "[127.0.0.1]:%u", netaddr_port(&p.address));
	if (own_domain)
		give_to(id, hop);
	else
		give(id, hop, 1, "x\r\n");
	o = wait_for(id);
	peer_close(&p);
	return o;
}

/* A slip of the administrator, or of whoever runs the smart host's DNS, is no reason to bounce all mail. */
static void
test_a_next_hop_of_ours_that_is_not_there_is_waited_for(void **state)
{
	static const char *const hops[] = { "nosuch.test", "null.test", "smtp:nosuch.test:587", "[" };

	(void)state;
	start("smtp_fallback_relay =");
	for (uint64_t id = 1; id <= 4; id++) {
		give(id, hops[id - 1], 1, "x\r\n");
		assert_int_equal(wait_for(id)->outcome[0], DELIVER_DEFERRED);
		assert_string_equal(got[id].code[0], "4.3.5");
		assert_int_equal(got[id].health, DELIVER_UNREACHED);
	}
	assert_int_equal(give_ourselves(8, false)->outcome[0], DELIVER_DEFERRED);
	assert_string_equal(got[8].code[0], "4.3.5");
	assert_int_equal(give_ourselves(9, true)->outcome[0], DELIVER_FAILED);
	assert_string_equal(got[9].code[0], "5.4.6");
	stop();
	start("smtp_fallback_relay = nosuch.test, [");
	give(5, "[127.0.0.201]:1", 1, "x\r\n");
	assert_int_equal(wait_for(5)->outcome[0], DELIVER_DEFERRED);
	give_to(6, "null.test");
	assert_int_equal(wait_for(6)->outcome[0], DELIVER_DEFERRED);
	stop();
}

/* RFC 5321 5.1: the next address, the other family's first, long before smtp_connect_timeout; and the silent one
 * comes last for a while. */
static void
test_a_silent_address_is_not_waited_for(void **state)
{
	struct peer p;
	char hop[64];
	int queue[4];
	int64_t begun;
	bool there;

	(void)state;
	start("inet_protocols = all\nsmtp_address_preference = ipv6\nsmtp_connect_timeout = 1h\nsmtp_connection_cache_on_demand = no\n");
	peer_open(&p, NULL);
	there = hole_open("::1", netaddr_port(&p.address), queue);
	(void)snprintf(hop, sizeof(hop), "[both.test]:%u", netaddr_port(&p.address));
	for (uint64_t id = 1; there && id <= 3; id++) {
		begun = loop_now_ms(loop);
		give(id, hop, 1, "x\r\n");
		assert_int_equal(wait_for(id)->outcome[0], DELIVER_DELIVERED);
		assert_true(strstr(got[id].peer, "both.test[127.0.0.1]:"));
		begun = loop_now_ms(loop) - begun;
		if (id == 1 ? begun < 2000 || begun > 5000 : begun > 2000)
			fail_msg("message %d took %d ms", (int)id, (int)begun);
	}
	hole_close(queue, false);
	peer_close(&p);
	stop();
	if (!there)
		skip(); /* without IPv6 */
}

/* Where no other is left, it has all the time that a connection has. */
static void
test_a_slow_address_is_waited_for_in_the_end(void **state)
{
	struct peer p;
	struct netaddr slow;
	char hop[64];
	int queue[4];

	(void)state;
	start("smtp_connect_timeout = 1h\nsmtp_randomize_addresses = no\n");
	peer_open(&p, NULL); /* for a port; nobody has it at the other address */
	assert_true(netaddr_parse(SPAN("127.0.0.202"), netaddr_port(&p.address), &slow));
	peer_close(&p);
	assert_true(hole_open("127.0.0.202", netaddr_port(&slow), queue));
	(void)snprintf(hop, sizeof(hop), "[slow.test]:%u", netaddr_port(&slow));
	give(1, hop, 1, "x\r\n");
	for (int i = 0; i < 500 && !pool_recalls(&remoted()->pool, &slow, POOL_DEAD, loop_now_ms(loop)); i++)
		(void)loop_turn(loop, 20);
	assert_int_equal(got[1].done, 0);
	peer_listen(&p, queue[0]);
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_DELIVERED);
	assert_true(strstr(got[1].peer, "slow.test[127.0.0.202]:"));
	hole_close(queue, true);
	peer_close(&p);
	stop();
}

static void
test_reload_and_fallback(void **state)
{
	struct conf_errors errors = { .n = 0 };
	const struct conf *old;
	char text[256];
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	give(1, hop_to(&p), 1, "x\r\n");
	(void)wait_for(1);
	old = service.conf;
	(void)snprintf(text, sizeof(text), "myhostname = new.test\nsmtp_tls_CAfile =\nsmtp_fallback_relay = %s\n", hop_to(&p));
	service.conf = conf_parse(span_str(text), &conf_arena, &errors);
	assert_non_null(service.conf);
	remoted_ops.on_reload(&service, old);
	give(2, "nosuch.test", 1, "x\r\n");
	assert_int_equal(wait_for(2)->outcome[0], DELIVER_DELIVERED);
	give(3, "[127.0.0.201]:1", 1, "x\r\n");
	assert_int_equal(wait_for(3)->outcome[0], DELIVER_DELIVERED);
	assert_true(peer_heard(&p, "EHLO new.test\n"));
	assert_int_equal(got[3].health, DELIVER_ANSWERED);
	/* Who was refused is not sent to the fallback. */
	p.rcpt = "550 5.1.1 no";
	give(4, hop_to(&p), 1, "x\r\n");
	assert_int_equal(wait_for(4)->outcome[0], DELIVER_FAILED);
	peer_close(&p);
	stop();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_more_hosts_than_allowed_are_asked),
		cmocka_unit_test(test_by_mx),
		cmocka_unit_test(test_a_next_hop_of_ours_that_is_not_there_is_waited_for),
		cmocka_unit_test(test_a_silent_address_is_not_waited_for),
		cmocka_unit_test(test_a_slow_address_is_waited_for_in_the_end),
		cmocka_unit_test(test_reload_and_fallback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
