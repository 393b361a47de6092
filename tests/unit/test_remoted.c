/* SPDX-License-Identifier: ISC
 *
 * Deliveries of remoted, one peer a next hop; siblings that die or break the rules.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemons/remoted/content.h"
#include "mail/downgrade.h"
#include "tests/unit/remoted_fixture.h"

static void
give_8bit(uint64_t id, const char *nexthop, const char *content)
{
	assert_true(ipc_send_deliver_job(queued, &(struct ipc_deliver_job){
		.id = id, .message = id, .nexthop = span_str(nexthop), .sender = SPAN("alice@us.test"), .size = strlen(content), .body8 = true }));
	assert_true(ipc_send_deliver_rcpt(queued, &(struct ipc_deliver_rcpt){ .id = id, .address = SPAN("bob@peer.test") }));
	assert_true(ipc_send_deliver_content(queued, &(struct ipc_deliver_content){ .id = id, .bytes = span_str(content) }));
}

/* S15 */
static void
test_8bit_content_is_converted_for_a_7bit_peer(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	p.ehlo = "250-peer.test\r\n250 SIZE 100000000";
	give_8bit(1, hop_to(&p), "Subject: x\r\n\r\n\xc3\xbc\r\n");
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_RELAYED);
	assert_true(span_eq(buf_span(&p.content), SPAN("Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\n"
						       "Content-Transfer-Encoding: quoted-printable\n\n=C3=BC\n.\n")));
	assert_true(peer_heard(&p, "MAIL FROM:<alice@us.test> SIZE=134\n")); /* of what is sent */
	give_8bit(2, hop_to(&p), "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xc3\xbc\r\n--b--\r\n");
	assert_int_equal(wait_for(2)->outcome[0], DELIVER_FAILED);
	assert_string_equal(got[2].code[0], "5.6.3");
	peer_close(&p);
	stop();
}

static void
test_delivers_and_reuses(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	give(1, hop_to(&p), 2, "Subject: x\r\n\r\n.dot\r\n..two\r\nend\r\n");
	assert_int_equal(wait_for(1)->results, 2);
	assert_int_equal(got[1].outcome[0], DELIVER_DELIVERED);
	assert_string_equal(got[1].code[1], "2.0.0");
	assert_string_equal(got[1].reply, "250 2.0.0 taken");
	assert_int_equal(got[1].health, DELIVER_ANSWERED);
	assert_true(span_eq(buf_span(&p.content), SPAN("Subject: x\n\n..dot\n...two\nend\n.\n")));
	assert_true(peer_heard(&p, "EHLO us.test\nMAIL FROM:<alice@us.test> SIZE=32\nRCPT TO:<bob0@peer.test> NOTIFY=FAILURE\n"));
	for (uint64_t id = 2; id < 20; id++) {
		give(id, hop_to(&p), 1, "x\r\n");
		assert_int_equal(wait_for(id)->outcome[0], DELIVER_DELIVERED);
		assert_true(got[id].reused);
	}
	assert_int_equal(p.connections, 1);
	assert_int_equal(p.messages, 19);
	pool_close(&remoted()->pool);
	for (int i = 0; i < 50 && !p.quits; i++)
		(void)loop_turn(loop, 10);
	assert_int_equal(p.quits, 1);
	peer_close(&p);
	stop();
}

/* With sanitizers: there are no bytes that it could be made of. */
static void
test_a_message_without_a_byte_is_converted_to_none(void **state)
{
	struct remote_content c = { .fd = -1 };
	struct fail why;

	(void)state;
	assert_true(content_convert(&c, DOWNGRADE_8BIT, &why));
	assert_int_equal(c.size, 0);
	content_free(&c);
}

/* smtp_connection_reuse_count_limit, smtp_connection_cache_on_demand; each connection ends with QUIT. */
static void
test_connections_end_after_so_many_messages(void **state)
{
	static const struct {
		const char *conf;
		unsigned connections;
	} rows[] = { { "smtp_connection_reuse_count_limit = 3\n", 2 }, { "smtp_connection_cache_on_demand = no\n", 6 }, { "smtp_connection_reuse_time_limit = 0\n", 6 } };
	struct peer p;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		start(rows[i].conf);
		peer_open(&p, NULL);
		for (uint64_t id = 1; id <= 6; id++) {
			give(id, hop_to(&p), 1, "x\r\n");
			assert_int_equal(wait_for(id)->outcome[0], DELIVER_DELIVERED);
		}
		assert_int_equal(p.connections, rows[i].connections);
		for (int turns = 0; turns < 50 && p.quits < p.connections; turns++)
			(void)loop_turn(loop, 10);
		assert_int_equal(p.quits, rows[i].connections);
		peer_close(&p);
		stop();
	}
}

static void
test_stale_connection_is_no_failure(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	give(1, hop_to(&p), 1, "x\r\n");
	(void)wait_for(1);
	give(2, hop_to(&p), 1, "x\r\n"); /* is on its way when the peer hangs up */
	(void)channel_flush(queued);
	peer_hang_up(&p);
	assert_int_equal(wait_for(2)->outcome[0], DELIVER_DELIVERED);
	assert_int_equal(p.connections, 2);
	peer_close(&p);
	stop();
}

static void
test_partial_and_refusals(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	p.rcpt = "550 5.1.1 no such user";
	give(1, hop_to(&p), 2, "x\r\n");
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_FAILED);
	assert_string_equal(got[1].code[0], "5.1.1");
	assert_string_equal(got[1].reply, "550 5.1.1 no such user");
	assert_int_equal(got[1].health, DELIVER_ANSWERED);
	p.rcpt = NULL;
	p.final = "451 4.3.0 later";
	give(2, hop_to(&p), 1, "x\r\n");
	assert_int_equal(wait_for(2)->outcome[0], DELIVER_DEFERRED);
	assert_true(peer_heard(&p, "RSET\n"));
	p.final = "";
	give(3, hop_to(&p), 1, "x\r\n");
	assert_int_equal(wait_for(3)->outcome[0], DELIVER_DEFERRED);
	assert_true(got[3].maybe_done);
	p.final = NULL;
	p.greeting = "421 4.3.2 busy";
	give(4, hop_to(&p), 1, "x\r\n");
	assert_int_equal(wait_for(4)->outcome[0], DELIVER_DEFERRED);
	assert_int_equal(got[4].health, DELIVER_OVERLOADED);
	assert_false(got[4].maybe_done);
	p.greeting = "554 5.7.1 go away";
	give(5, hop_to(&p), 1, "x\r\n");
	assert_int_equal(wait_for(5)->outcome[0], DELIVER_DEFERRED);
	p.greeting = "521 5.3.2 no mail here";
	give(6, hop_to(&p), 1, "x\r\n");
	assert_int_equal(wait_for(6)->outcome[0], DELIVER_FAILED);
	peer_close(&p);
	stop();
}

static void
test_dnsd_dies(void **state)
{
	struct peer p;
	char hop[64];

	(void)state;
	start("");
	peer_open(&p, NULL);
	(void)snprintf(hop, sizeof(hop), "live.test:%u", netaddr_port(&p.address));
	dns_mute = true;
	give(1, hop, 1, "x\r\n");
	for (int i = 0; i < 200 && !asked; i++)
		(void)loop_turn(loop, 10);
	assert_int_equal(asked, 1);
	channel_free(&dnsd);
	for (int i = 0; i < 5; i++)
		(void)loop_turn(loop, 10);
	dns_mute = false;
	dnsd = wire(&ipc_channel_dns, CHANNEL_SERVER, &dnsd_end);
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_DELIVERED);
	peer_close(&p);
	stop();
}

static void
test_queued_dies(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	p.final = "250 ok";
	give(1, hop_to(&p), 1, "x\r\n");
	give_head(2, hop_to(&p), 1);
	give(3, "live.test:9", 1, "x\r\n");
	for (int i = 0; i < 2; i++)
		(void)loop_turn(loop, 10);
	channel_free(&queued);
	for (int i = 0; i < 100 && (remoted()->agent.count || remoted()->nsessions); i++)
		(void)loop_turn(loop, 10);
	assert_int_equal(remoted()->agent.count, 0);
	queued = wire(&ipc_channel_deliver, CHANNEL_CLIENT, &queued_end);
	give(4, hop_to(&p), 1, "x\r\n");
	assert_int_equal(wait_for(4)->outcome[0], DELIVER_DELIVERED);
	peer_close(&p);
	stop();
}

static void
test_large_content_from_descriptor(void **state)
{
	enum { SIZE = 5 * 1000 * 1000 };
	struct peer p;
	char path[] = "/tmp/pp-content-XXXXXX", *big = malloc(SIZE + 100);
	int fd = mkstemp(path);
	size_t n = 100;

	(void)state;
	(void)unlink(path);
	memset(big, '#', 100);
	while (n + 40 < SIZE)
		n += (size_t)sprintf(big + n, "%sline %zu of a long message\r\n", n % 3 ? "." : "", n);
	assert_int_equal(pwrite(fd, big, n, 0), n);
	start("");
	peer_open(&p, NULL);
	give_head(1, hop_to(&p), 1);
	assert_true(ipc_send_deliver_content_fd(queued, &(struct ipc_deliver_content_fd){ .id = 1, .offset = 100, .size = n - 100 }, fd));
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_DELIVERED);
	assert_true(span_starts(buf_span(&p.content), SPAN("..line 100 of")));
	assert_true(span_ends(buf_span(&p.content), SPAN("message\n.\n")));
	/* Without the dots that were put in front, without CR: the same bytes. */
	{
		struct span rest = buf_span(&p.content), source = span_of(big + 100, n - 100);

		while (rest.n) {
			struct span line = span_cut(&rest, '\n');

			if (span_starts(line, SPAN(".")))
				line = span_from(line, 1);
			if (!rest.n)
				break;
			assert_true(span_starts(source, line));
			source = span_from(source, line.n + 2);
		}
		assert_int_equal(source.n, 0);
	}
	/* A file that is too short: the message must not end well. */
	fd = open("/dev/null", O_RDONLY);
	give_head(2, hop_to(&p), 1);
	assert_true(ipc_send_deliver_content_fd(queued, &(struct ipc_deliver_content_fd){ .id = 2, .size = 10 }, fd));
	assert_int_equal(wait_for(2)->outcome[0], DELIVER_DEFERRED);
	assert_int_equal(p.messages, 1);
	peer_close(&p);
	stop();
	free(big);
}

static void
give_forwarded(uint64_t id, const char *nexthop, bool body8)
{
	assert_true(ipc_send_deliver_job(queued, &(struct ipc_deliver_job){ .id = id, .message = id, .nexthop = span_str(nexthop),
		.sender = SPAN("alice@us.test"), .size = 15, .body8 = body8, .via = SPAN("two@us.test\tgr\xc3\xbcn@us.test\tone@us.test") }));
	assert_true(ipc_send_deliver_rcpt(queued, &(struct ipc_deliver_rcpt){ .id = id, .address = SPAN("bob@peer.test") }));
}

/* RFC 9228: inline, from a file, by length and converted. */
static void
test_the_mailboxes_it_came_by_stand_in_front(void **state)
{
	struct peer p;
	int fd = memfd_create("content", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(write(fd, "Subject: x\r\n\r\n.\xc3\xbc\r\n", 19), 19);
	start("");
	peer_open(&p, NULL);
	give_forwarded(1, hop_to(&p), false);
	assert_true(ipc_send_deliver_content(queued, &(struct ipc_deliver_content){ .id = 1, .bytes = SPAN("Subject: x\r\n\r\n.\r\n") }));
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_DELIVERED);
	assert_true(span_eq(buf_span(&p.content), SPAN("Delivered-To: two@us.test\nDelivered-To: one@us.test\nSubject: x\n\n..\n.\n")));
	assert_true(peer_heard(&p, "MAIL FROM:<alice@us.test> SIZE=71\n"));
	give_forwarded(2, hop_to(&p), false);
	assert_true(ipc_send_deliver_content_fd(queued, &(struct ipc_deliver_content_fd){ .id = 2, .size = 19 }, dup(fd)));
	assert_int_equal(wait_for(2)->outcome[0], DELIVER_DELIVERED);
	assert_true(span_eq(buf_span(&p.content), SPAN("Delivered-To: two@us.test\nDelivered-To: one@us.test\nSubject: x\n\n..\xc3\xbc\n.\n")));
	peer_close(&p);
	peer_open(&p, NULL);
	p.ehlo = "250-peer.test\r\n250 SIZE 100000000";
	give_forwarded(3, hop_to(&p), true);
	assert_true(ipc_send_deliver_content_fd(queued, &(struct ipc_deliver_content_fd){ .id = 3, .size = 19 }, fd));
	assert_int_equal(wait_for(3)->outcome[0], DELIVER_RELAYED);
	assert_true(span_starts(buf_span(&p.content), SPAN("Delivered-To: two@us.test\nDelivered-To: one@us.test\nSubject: x\nMIME-Version: 1.0\n")));
	assert_true(span_ends(buf_span(&p.content), SPAN("=C3=BC\n.\n")));
	peer_close(&p);
	stop();
}

static void
test_lmtp_on_a_socket(void **state)
{
	struct peer p;
	char dir[] = "/tmp/pp-lmtp-XXXXXX", path[64], hop[96];

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/s", dir);
	(void)snprintf(hop, sizeof(hop), "lmtp:unix:%s", path);
	start("");
	peer_open(&p, path);
	p.lmtp = true;
	p.ehlo = "250-peer\r\n250 PIPELINING";
	give(1, hop, 3, "x\r\n");
	assert_int_equal(wait_for(1)->results, 3);
	assert_int_equal(got[1].outcome[2], DELIVER_RELAYED);
	assert_string_equal(got[1].peer, path);
	assert_true(peer_heard(&p, "LHLO us.test\n"));
	peer_close(&p);
	stop();
	(void)unlink(path);
	(void)rmdir(dir);
}

static void
test_many_at_once(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	for (uint64_t id = 1; id < 64; id++)
		give(id, hop_to(&p), 1, "x\r\n");
	for (uint64_t id = 1; id < 64; id++)
		assert_int_equal(wait_for(id)->outcome[0], DELIVER_DELIVERED);
	assert_int_equal(p.messages, 63);
	peer_close(&p);
	stop();
}

static void
test_cancel(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	dns_mute = true;
	give(1, "live.test:9", 1, "x\r\n");
	assert_true(ipc_send_deliver_cancel(queued, &(struct ipc_deliver_cancel){ .id = 1 }));
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_DEFERRED);
	assert_int_equal(got[1].results, 1);
	p.greeting = "220-wait"; /* never goes on */
	give(2, hop_to(&p), 2, "x\r\n");
	for (int i = 0; i < 100 && !p.connections; i++)
		(void)loop_turn(loop, 10);
	assert_true(ipc_send_deliver_cancel(queued, &(struct ipc_deliver_cancel){ .id = 2 }));
	assert_int_equal(wait_for(2)->results, 2);
	assert_true(ipc_send_deliver_cancel(queued, &(struct ipc_deliver_cancel){ .id = 2 })); /* crossing its end: no violation */
	p.greeting = NULL;
	give(3, hop_to(&p), 1, "x\r\n");
	assert_int_equal(wait_for(3)->outcome[0], DELIVER_DELIVERED);
	peer_close(&p);
	stop();
}

static void
test_violations(void **state)
{
	(void)state;
	start("");
	give_head(1, "[127.0.0.1]:1", 0);
	assert_true(ipc_send_deliver_rcpt(queued, &(struct ipc_deliver_rcpt){ .id = 1, .index = 5, .address = SPAN("a@b") }));
	for (int i = 0; i < 50 && queued; i++)
		(void)loop_turn(loop, 10);
	assert_null(queued);
	assert_int_equal(remoted()->agent.count, 0);
	stop();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delivers_and_reuses),
		cmocka_unit_test(test_8bit_content_is_converted_for_a_7bit_peer),
		cmocka_unit_test(test_a_message_without_a_byte_is_converted_to_none),
		cmocka_unit_test(test_connections_end_after_so_many_messages),
		cmocka_unit_test(test_stale_connection_is_no_failure),
		cmocka_unit_test(test_partial_and_refusals),
		cmocka_unit_test(test_dnsd_dies),
		cmocka_unit_test(test_queued_dies),
		cmocka_unit_test(test_large_content_from_descriptor),
		cmocka_unit_test(test_the_mailboxes_it_came_by_stand_in_front),
		cmocka_unit_test(test_lmtp_on_a_socket),
		cmocka_unit_test(test_many_at_once),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_violations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
