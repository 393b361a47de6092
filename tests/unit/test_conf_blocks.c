/* SPDX-License-Identifier: ISC
 *
 * Blocks of the configuration: listeners and their addresses, routes.
 */
#include <netinet/in.h>

#include "tests/unit/conf_fixture.h"

static void
blocks(void **state)
{
	const struct conf *conf = good("message_size_limit = 1M\nsmtpd_tls_cert_file = /c.pem\n"
				       "listener submission { address = \"[::1]:10587\"; banner = \"a;b}\" ; auth = yes }\n"
				       "listener inside\n{\n  # comment\n  service = lmtp\n  address = /run/x/lmtp\n  message_size_limit = 2M\n}\n"
				       "listener smtp { }\n"
				       "route .example.org { nexthop = [a.example]:26; tls = encrypt }\n"
				       "route \"bob@example.net\" { transport = error; nexthop = 5.1.1 gone away }\n");
	const struct conf_listener *l = conf_listener_find(conf, SPAN("submission"));
	struct sockaddr_in6 in6;

	(void)state;
	assert_int_equal(conf->nlisteners, 3);
	assert_non_null(l);
	assert_int_equal(l->service, CONF_SERVICE_SUBMISSION);
	assert_int_equal(l->tls, CONF_MODE_ENCRYPT);
	assert_true(l->auth);
	assert_true(span_eq(l->banner, SPAN("a;b}")));
	assert_int_equal(l->mynetworks.n, 0);
	assert_int_equal(l->message_size_limit, 1 << 20);
	memcpy(&in6, &l->address.sa, sizeof(in6));
	assert_int_equal(ntohs(in6.sin6_port), 10587);
	assert_true(span_eq(l->cert_file, SPAN("/c.pem")));

	l = conf_listener_find(conf, SPAN("inside"));
	assert_int_equal(l->service, CONF_SERVICE_LMTP);
	assert_int_equal(l->address.sa.ss_family, AF_UNIX);
	assert_string_equal(l->address.un.sun_path, "/run/x/lmtp");
	assert_int_equal(l->message_size_limit, 2 << 20);

	l = conf_listener_find(conf, SPAN("smtp"));
	assert_true(l->address.any);
	assert_int_equal(l->tls, CONF_MODE_MAY);
	assert_int_equal(l->mynetworks.n, 2);

	assert_int_equal(conf->nroutes, 2);
	assert_true(span_eq(conf->routes[0].nexthop, SPAN("[a.example]:26")));
	assert_int_equal(conf->routes[0].tls, CONF_TLS_ENCRYPT);
	assert_int_equal(conf->routes[0].concurrency, 20);
	assert_true(span_eq(conf->routes[1].name, SPAN("bob@example.net")));
	assert_true(span_eq(conf->routes[1].nexthop, SPAN("5.1.1 gone away")));
	assert_ptr_equal(conf_route_match(conf, SPAN("bob@example.net")), &conf->routes[1]);
	assert_null(conf_route_match(conf, SPAN("alice@example.net")));
	assert_ptr_equal(conf_route_match(conf, SPAN("x@a.b.example.org")), &conf->routes[0]);
	assert_null(conf_route_match(conf, SPAN("x@example.org")));
	assert_ptr_equal(conf_route_for_hop(conf, SPAN("[a.example]:26")), &conf->routes[0]);
	assert_null(conf_route_for_hop(conf, SPAN("a.example:26")));
	conf = good("route slow.example { concurrency = 1 }\nroute l { transport = lmtp; nexthop = unix:/l }\n");
	assert_ptr_equal(conf_route_for_hop(conf, SPAN("slow.example:26")), &conf->routes[0]);
	assert_ptr_equal(conf_route_for_hop(conf, SPAN("lmtp:unix:/l")), &conf->routes[1]);
	assert_null(conf_route_for_hop(conf, SPAN("[slow.example]")));
	assert_null(conf_route_for_hop(conf, SPAN("")));
	conf = good("smtp_bind_address = 192.0.2.1\nroute a.example { bind_address = 192.0.2.2 }\nroute b.example { tls = none }\n");
	assert_true(span_eq(conf_route_for_hop(conf, SPAN("a.example"))->bind_address, SPAN("192.0.2.2")));
	assert_true(span_eq(conf_route_for_hop(conf, SPAN("b.example"))->bind_address, SPAN("192.0.2.1")));
	conf = good("smtp_tls_security_level = none\nroute a { nexthop = [x]; tls = none }\nroute b { nexthop = [x]; tls = verify }\nroute c { nexthop = [x]; tls = may }\n");
	assert_int_equal(conf_tls_for_hop(conf, SPAN("[x]")), CONF_TLS_VERIFY);
	assert_int_equal(conf_tls_for_hop(conf, SPAN("[y]")), CONF_TLS_NONE);
}

static void
default_listeners(void **state)
{
	const struct conf *conf = good("");

	(void)state;
	assert_int_equal(conf->nlisteners, 4); /* without a certificate: smtp, submit, imap, pop3 */
	assert_non_null(conf_listener_find(conf, SPAN("submit")));
	conf = good("smtpd_tls_cert_file = /x\ninet_interfaces = 127.0.0.1, ::1\n");
	assert_int_equal(conf->nlisteners, 7 * 2 + 1);
	assert_true(span_eq(conf_listener_find(conf, SPAN("imaps"))->address.text, SPAN("127.0.0.1:993")));
	assert_true(span_eq(conf_listener_find(conf, SPAN("imaps2"))->address.text, SPAN("[::1]:993")));
	assert_int_equal(conf_listener_find(conf, SPAN("imaps2"))->service, CONF_SERVICE_IMAPS);
	/* Which family it is of does not change the address, by which a reload knows what is listened on already. */
	conf = good("inet_protocols = ipv4\n");
	assert_string_equal(conf_listener_find(conf, SPAN("smtp"))->address.text.p, "*:25");
}

static void
two_listeners_cannot_share_an_address(void **state)
{
	static const struct {
		const char *first, *second;
		bool clash;
	} pairs[] = {
		{ "*:25", "*:25", true },
		{ "*:25", "*:26", false },
		{ "*:25", "127.0.0.1:25", true },
		{ "[::1]:25", "*:25", true },
		{ "0.0.0.0:25", "127.0.0.1:25", true },
		{ "0.0.0.0:25", "[::1]:25", false },
		{ "0.0.0.0:25", "[::]:25", false },
		{ "[::]:25", "[2001:db8::]:25", true },
		{ "[2001:db8::]:25", "[2001:db8::1]:25", false },
		{ "127.0.0.1:25", "127.0.0.1:25", true },
		{ "127.0.0.1:25", "127.0.0.2:25", false },
		{ "127.0.0.1:0", "127.0.0.1:0", false },
		{ "/run/x", "unix:/run/x", true },
		{ "/run/x", "/run/y", false },
		{ "/run/x", "*:25", false },
	};
	char text[300];

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		(void)snprintf(text, sizeof(text), "listener a { service = smtp; address = \"%s\" }\nlistener b { service = lmtp; address = \"%s\" }\n", pairs[i].first, pairs[i].second);
		if (pairs[i].clash)
			bad(text, 2, 40, "is taken by listener a");
		else
			(void)good(text);
	}
	(void)good("inet_protocols = ipv4\nlistener smtp { address = *:25 }\nlistener six { address = \"[::1]:25\" }\n");
	(void)good("inet_protocols = ipv6\nlistener smtp { address = *:25 }\nlistener four { address = 127.0.0.1:25 }\n");
	bad("listener smtp { }\nlistener inside { tls = none }\n", 2, 1, "*:25 is taken by listener smtp");
	bad("listener smtp { }\nlistener inside { address = junk }\n", 2, 29, "\"junk\" is not");
	assert_int_equal(f.errors.n, 1);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(blocks),
		T(default_listeners),
		T(two_listeners_cannot_share_an_address),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
