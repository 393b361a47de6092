/* SPDX-License-Identifier: ISC
 *
 * remoted over TLS: levels, and what comes of a TLS that fails.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/remoted_fixture.h"
#include "tests/unit/tls_fixture.h"

static void
test_tls_that_fails_is_plain(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	p.ehlo = "250-peer.test\r\n250 STARTTLS"; /* to which it says 500 */
	give(1, hop_to(&p), 1, "x\r\n");
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_RELAYED);
	assert_true(peer_heard(&p, "STARTTLS\nMAIL"));
	peer_close(&p);
	stop();
	start("smtp_tls_security_level = encrypt");
	peer_open(&p, NULL);
	give(1, hop_to(&p), 1, "x\r\n");
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_DEFERRED);
	assert_string_equal(got[1].code[0], "4.7.5");
	assert_int_equal(p.messages, 0);
	peer_close(&p);
	stop();
}

static void
test_handshake_that_breaks_is_plain(void **state)
{
	struct peer p;

	(void)state;
	start("");
	peer_open(&p, NULL);
	p.breaks_tls = true;
	p.ehlo = "250-peer.test\r\n250-PIPELINING\r\n250 STARTTLS";
	give(1, hop_to(&p), 1, "x\r\n");
	assert_int_equal(wait_for(1)->outcome[0], DELIVER_RELAYED);
	assert_string_equal(got[1].tls, "");
	assert_int_equal(p.connections, 2);
	give(2, hop_to(&p), 1, "x\r\n");
	(void)wait_for(2);
	pool_close(&remoted()->pool);
	remoted()->pool.closed = false;
	give(3, hop_to(&p), 1, "x\r\n"); /* a new connection: it is remembered that TLS does not work */
	assert_int_equal(wait_for(3)->outcome[0], DELIVER_RELAYED);
	assert_int_equal(p.connections, 3);
	peer_close(&p);
	stop();
}

/* One message to live.test at a peer whose certificate is for `name`. */
static void
over_tls(const char *level, const char *name, const char *trusted, uint8_t outcome, const char *tls)
{
	struct fixture f;
	struct tls_signer signer = { fixture_sign, &f, NULL };
	char path[] = "/tmp/pp-ca-XXXXXX", text[256], hop[64];
	struct fail why;
	struct peer p;
	int fd = mkstemp(path);

	assert_true(fixture_make(&f, "EC", name));
	assert_int_equal(write(fd, buf_span(&f.chain).p, buf_len(&f.chain)), buf_len(&f.chain));
	(void)close(fd);
	(void)snprintf(text, sizeof(text), "smtp_tls_security_level = %s\nsmtp_tls_CAfile = %s\n", level, trusted ? path : "/etc/ssl/certs/ca-certificates.crt");
	start(text);
	peer_open(&p, NULL);
	p.tls = tls_server_new(&signer, &why);
	assert_non_null(p.tls);
	assert_true(tls_server_add_chain(p.tls, buf_span(&f.chain), &why));
	(void)snprintf(hop, sizeof(hop), "live.test:%u", netaddr_port(&p.address));
	give(1, hop, 1, "x\r\n");
	assert_int_equal(wait_for(1)->outcome[0], outcome);
	assert_non_null(strstr(got[1].tls, tls));
	if (outcome == DELIVER_DELIVERED) {
		assert_true(strstr(got[1].tls, "TLSv1."));
		assert_true(span_eq(buf_span(&p.content), SPAN("x\n.\n")));
		give(2, hop, 1, "y\r\n");
		assert_true(wait_for(2)->reused);
	} else {
		assert_string_equal(got[1].code[0], "4.7.5");
		assert_int_equal(p.messages, 0);
	}
	peer_close(&p);
	stop();
	tls_server_unref(&p.tls);
	fixture_free(&f);
	(void)unlink(path);
}

static void
test_tls_levels(void **state)
{
	(void)state;
	over_tls("may", "other.test", NULL, DELIVER_DELIVERED, "unverified");
	over_tls("encrypt", "other.test", NULL, DELIVER_DELIVERED, "unverified");
	over_tls("verify", "live.test", "yes", DELIVER_DELIVERED, " verified");
	over_tls("verify", "other.test", "yes", DELIVER_DEFERRED, "");
	over_tls("secure", "live.test", "yes", DELIVER_DELIVERED, " verified");
	over_tls("verify", "live.test", NULL, DELIVER_DEFERRED, "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tls_that_fails_is_plain),
		cmocka_unit_test(test_handshake_that_breaks_is_plain),
		cmocka_unit_test(test_tls_levels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
