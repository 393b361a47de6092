/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cmocka.h>

#include "conf/conf.h"
#include "conf/value.h"

struct fixture {
	struct arena arena;
	struct conf_errors errors;
};
static struct fixture f;

static int
setup(void **state)
{
	(void)state;
	arena_init(&f.arena, CONF_ARENA_MAX);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	arena_free(&f.arena);
	return 0;
}

static const struct conf *
good(const char *text)
{
	const struct conf *conf = conf_parse(span_str(text), &f.arena, &f.errors);

	if (!conf)
		print_message("%u:%u: %s\n", f.errors.items[0].line, f.errors.items[0].column, f.errors.items[0].text);
	assert_non_null(conf);
	return conf;
}

/* The first error stands at this position and says this. */
static void
bad(const char *text, unsigned line, unsigned column, const char *says)
{
	assert_null(conf_parse(span_str(text), &f.arena, &f.errors));
	assert_true(f.errors.n > 0);
	if (!strstr(f.errors.items[0].text, says))
		print_message("%s\n", f.errors.items[0].text);
	assert_non_null(strstr(f.errors.items[0].text, says));
	assert_int_equal(f.errors.items[0].line, line);
	assert_int_equal(f.errors.items[0].column, column);
}

static void
every_default_is_valid(void **state)
{
	const struct conf *conf = good("");

	(void)state;
	assert_int_equal(conf->smtpd_recipient_limit, 1000);
	assert_int_equal(conf->maximal_queue_lifetime, 5 * 86400 * 1000);
	assert_int_equal(conf->message_size_limit, 50 * 1024 * 1024);
	assert_true(conf->disable_plaintext_auth);
	assert_int_equal(conf->mynetworks.n, 2);
	assert_true(span_eq(conf->myorigin, conf->myhostname));
	assert_int_equal(conf->mydestination.n, 3);
	assert_int_equal(conf->log_level, CONF_LOG_INFO);
}

static void
rows_are_sane(void **state)
{
	(void)state;
	for (unsigned t = CONF_TABLE_OPTIONS; t <= CONF_TABLE_ROUTE; t++) {
		size_t n;
		const struct conf_option *rows = conf_options(t, &n);

		for (size_t i = 0; i < n; i++) {
			assert_true(rows[i].min <= rows[i].max);
			assert_true(rows[i].see != 0 && (rows[i].see & ~(unsigned)CONF_ALL) == 0);
			assert_true(strlen(rows[i].text) > 10);
			assert_int_equal(rows[i].text[strlen(rows[i].text) - 1], '.');
			for (size_t j = 0; j < i; j++)
				assert_string_not_equal(rows[i].name, rows[j].name);
		}
	}
}

static void
values_of_each_kind(void **state)
{
	const struct conf *conf = good("myhostname = mx.example.org\n"
				       "# a comment\n"
				       "smtpd_banner = $myhostname says $$5 \n"
				       "mydestination = $mydomain,\n"
				       "  # inside\n"
				       "\t.sub.$mydomain  db:/etc/domains\n"
				       "\n"
				       "message_size_limit = 10M\n"
				       "queue_run_delay = 1h30m\n"
				       "delay_warning_time=4h\n"
				       "smtpd_helo_required = YES\n"
				       "mynetworks = 10.0.0.0/8 !10.1.0.0/16, [fd00::]/8, 127.0.0.1\n"
				       "alias_maps = inline:{a=b, c=d}, pcre:/etc/x\n"
				       "smtp_tls_security_level = dane\r\n");

	(void)state;
	assert_true(span_eq(conf->smtpd_banner, SPAN("mx.example.org says $5")));
	assert_int_equal(conf->mydestination.n, 3);
	assert_true(span_eq(conf->mydestination.items[0], SPAN("example.org")));
	assert_true(span_eq(conf->mydestination.items[1], SPAN(".sub.example.org")));
	assert_int_equal(conf->message_size_limit, 10 << 20);
	assert_int_equal(conf->queue_run_delay, 5400 * 1000);
	assert_true(conf->smtpd_helo_required);
	assert_int_equal(conf->alias_maps.n, 2);
	assert_true(span_eq(conf->alias_maps.items[0], SPAN("inline:{a=b, c=d}")));
	assert_int_equal(conf->smtp_tls_security_level, CONF_TLS_DANE);
	assert_int_equal(conf->smtp_helo_name.p[conf->smtp_helo_name.n], '\0');
}

static void
networks_match(void **state)
{
	const struct conf *conf = good("mynetworks = !10.1.0.0/16, 10.0.0.0/8, [fd00::]/9, 192.0.2.7\n");
	const struct conf *six = good("mynetworks = ::/0\n");
	static const struct {
		const char *text;
		bool in;
	} t[] = { { "10.2.3.4", true }, { "10.1.3.4", false }, { "192.0.2.7", true }, { "192.0.2.6", false },
	    { "11.0.0.0", false },
		{ "fd7f::1", true }, { "fd80::1", false } };

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct sockaddr_in in4 = { .sin_family = AF_INET };
		struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
		uint8_t addr[16];

		if (inet_pton(AF_INET, t[i].text, &in4.sin_addr) == 1)
			assert_true(conf_addr_bytes((struct sockaddr *)&in4, addr));
		else {
			assert_int_equal(inet_pton(AF_INET6, t[i].text, &in6.sin6_addr), 1);
			assert_true(conf_addr_bytes((struct sockaddr *)&in6, addr));
		}
		assert_int_equal(conf_nets_match(&conf->mynetworks, addr), t[i].in);
		assert_int_equal(conf_nets_match(&six->mynetworks, addr), strchr(t[i].text, ':') != NULL); /* none of IPv4 */
	}
}

static void
errors_say_where_and_what(void **state)
{
	(void)state;
	bad("smtpd_timeout = soon\n", 1, 17, "\"soon\" is not a time");
	bad("\nsmtpd_recipient_limit = 5\n", 2, 25, "must be from 100 to 1000000");
	bad("imap_timeout = 5m\n", 1, 16, "must be from 30m to 1w");
	bad("auth_mechanisms = plain, scram\n", 1, 19, "\"scram\" is not known here: must be external, ");
	bad("mynetwork = 1\n", 1, 1, "did you mean \"mynetworks\"");
	bad("relayhost = [mx\n", 1, 13, "no closing ]");
	bad("smtp_tls_security_level = always\n", 1, 27, "none, may, encrypt, dane, dane-only, verify or secure");
	bad("queue_directory = spool\n", 1, 19, "whole path");
	bad("mynetworks = 10.0.0.1/8\n", 1, 14, "not a network");
	bad("alias_maps = /etc/aliases\n", 1, 14, "type:name");
	bad("alias_maps = nis:aliases\n", 1, 14, "no type of table");
	bad(" continued\n", 1, 2, "none is before it");
	bad("smtpd_banner hello\n", 1, 14, "= expected");
	bad("smtpd_banner = $nothing\n", 1, 16, "$nothing is no option");
	bad("smtpd_banner = 5$\n", 1, 16, "$$");
	bad("myhostname = $mydomain\nmydomain = $myhostname\n", 2, 12, "refers to itself");
	bad("disable_vrfy_command = maybe\n", 1, 24, "neither yes nor no");
	bad("log_level = info # really\n", 1, 13, "line of its own");
	bad("log_level = info\n\nlog_level = debug\n", 3, 1, "first is in line 1");
	bad("listener smtp {\n address = 25\n}\n", 2, 12, "ADDRESS:PORT");
	bad("listener smtp {\n address = ::1:25\n}\n", 2, 12, "IPv6");
	bad("listener smtp {\n adress = *:25\n}\n", 2, 2, "did you mean \"address\"");
	bad("listener smtp {\n", 1, 1, "not closed");
	bad("listener {\n}\n", 1, 1, "a block is written");
	bad("listener sub\"mission {\n}\n", 1, 1, "a block is written");
	bad("listener a { address = *:1 }\nlistener a { address = *:2 }\n", 2, 1, "a second listener");
	bad("listener submissions { }\n", 1, 1, "needs a certificate");
	(void)good("listener n23456789012345678901234567890123456789012345678901234567890x63 { service = smtp; tls = none }\n");
	bad("listener n23456789012345678901234567890123456789012345678901234567890xx64 { service = smtp; tls = none }\n", 1, 1, "a listener's name has 63 characters at most");
	bad("route x { transport = lmtp }\n", 1, 1, "lmtp needs a nexthop");
	bad("smtpd_banner = a\1b\n", 1, 17, "control byte");
	bad("\1\nlog_level = loud\n", 1, 1, "control byte");
	assert_true(f.errors.n > 1); /* it is read on */
}

static void
all_errors_at_once(void **state)
{
	(void)state;
	assert_null(conf_parse(SPAN("one = 1\nsmtpd_timeout = x\nlistener a { tls = b; auth = c; zz }\nlog_level = loud\n"), &f.arena, &f.errors));
	assert_int_equal(f.errors.n, 6);
	for (size_t i = 1; i < f.errors.n; i++)
		assert_true(f.errors.items[i].line >= f.errors.items[i - 1].line);

	char out[4096] = "";
	FILE *to = fmemopen(out, sizeof(out), "w");
	struct fail why = { .text = "cannot be opened" };

	assert_non_null(to);
	conf_errors_print(&f.errors, "x.conf", NULL, to);
	f.errors.n = 0;
	f.errors.more = 3;
	conf_errors_print(&f.errors, "x.conf", NULL, to);
	conf_errors_print(NULL, "x.conf", &why, to);
	(void)fclose(to);
	assert_true(span_starts(span_str(out), SPAN("x.conf:1:1: no option is named \"one\"\nx.conf:2:17: smtpd_timeout: ")));
	assert_non_null(strstr(out, "\nx.conf:4:13: log_level: "));
	assert_non_null(strstr(out, "\nx.conf: and 3 errors more\nx.conf: cannot be opened\n"));
}

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

static const char rich[] = "myhostname = mx.example.org\nsmtpd_banner = \"a \\\"b\\\" $$ # c\"\n"
			   "alias_maps = inline:{a=b, c=d} \"file:/a b\"\nsmtpd_tls_cert_file=/c\n"
			   "listener submission { banner = \"x;y\"; address = *:1 }\nroute * { nexthop = [h] }\n";

static void
canonical_reads_back(void **state)
{
	const struct conf *conf = good(rich), *again;
	enum conf_reload reload;
	struct buf out;

	(void)state;
	buf_init(&out, 1 << 20);
	conf_canonical(conf, CONF_ALL, &out);
	assert_true(buf_ok(&out));
	again = conf_parse(buf_span(&out), &f.arena, &f.errors);
	assert_non_null(again);
	assert_false(conf_diff(conf, again, CONF_ALL, &reload, NULL));
	assert_true(span_eq(again->smtpd_banner, SPAN("a \"b\" $ # c")));
	buf_free(&out);
}

static void
a_daemon_sees_its_own_options_only(void **state)
{
	const struct conf *conf = good("smtpd_tls_key_file = /secret\nsmtpd_tls_cert_file = /c\nuser_database = /db\n");

	(void)state;
	for (unsigned bit = 0; bit < CONF_BIT_COUNT; bit++) {
		struct buf out;
		const struct conf *again;

		buf_init(&out, 1 << 20);
		conf_canonical(conf, 1U << bit, &out);
		again = conf_parse(buf_span(&out), &f.arena, &f.errors);
		assert_non_null(again);
		assert_int_equal(again->nlisteners, conf->nlisteners);
		if (bit != CONF_BIT_MAILD && bit != CONF_BIT_KEYD)
			assert_int_equal(span_find(buf_span(&out), SPAN("/secret")), SIZE_MAX);
		if (bit == CONF_BIT_SMTPD)
			assert_int_equal(span_find(buf_span(&out), SPAN("/db")), SIZE_MAX);
		buf_free(&out);
	}
	assert_int_equal(conf_daemon_by_name(SPAN("routed")), CONF_ROUTED);
	assert_int_equal(conf_daemon_by_name(SPAN("nobody")), 0);
}

static void
differences_have_a_class(void **state)
{
	const struct conf *a = good("log_level = info\n"),
	    *b = good("log_level = debug\nmaximal_queue_lifetime = 1d\n");
	const struct conf *c = good("queue_directory = /q\n"), *d = good("listener smtp { }\n");
	enum conf_reload reload;
	struct buf names;

	(void)state;
	buf_init(&names, 1000);
	assert_true(conf_diff(a, b, CONF_ALL, &reload, &names));
	assert_int_equal(reload, CONF_LIVE);
	assert_true(span_eq(buf_span(&names), SPAN("log_level, maximal_queue_lifetime")));
	assert_true(conf_diff(a, c, CONF_ALL, &reload, NULL));
	assert_int_equal(reload, CONF_FIXED);
	assert_false(conf_diff(a, c, CONF_SMTPD, &reload, NULL));
	assert_true(conf_diff(a, d, CONF_ALL, &reload, NULL));
	assert_int_equal(reload, CONF_LIVE); /* listeners that go and come are handed over */
	assert_true(conf_diff(good("listener a { service = smtp; address = *:1 }\n"), good("listener a { service = imap; address = *:1 }\n"), CONF_ALL, &reload, NULL));
	assert_int_equal(reload, CONF_RESTART);
	buf_free(&names);
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

/* What text means to a suite that runs with `has`; later: what it is told about the next start. */
static const struct conf *
reloaded(const char *has, const char *text, char *later, size_t size)
{
	struct conf_running running;
	const struct conf *conf;
	struct buf names;
	struct fail why;
	FILE *file = tmpfile();

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0 && fflush(file) == 0);
	buf_init(&names, size - 1);
	running = (struct conf_running){ good(has), &names };
	assert_true(conf_reload_fd(fileno(file), &running, &f.arena, &conf, NULL, &why));
	assert_true(span_cstr(buf_span(&names), later, size));
	buf_free(&names);
	(void)fclose(file);
	return conf;
}

static void
a_reload_keeps_what_is_fixed(void **state)
{
	const struct conf *conf;
	enum conf_reload reload;
	char later[200];
	const char *has = "data_directory = /d\nqueue_directory = \"/q q\"\nlistener smtp { mode = 0600 }\n";

	(void)state;
	conf = reloaded(has, "data_directory = /e\nlistener smtp { mode = 0666; backlog = 5; tls = none }\nlistener lmtp { mode = 0600 }\n"
			     "alias_maps = db:$data_directory/a\n", later, sizeof(later));
	assert_string_equal(later, "queue_directory, data_directory, backlog of smtp, mode of smtp");
	assert_string_equal(conf->queue_directory.p, "/q q");
	assert_string_equal(conf->user_database.p, "/d/authd");
	assert_true(span_eq(conf->alias_maps.items[0], SPAN("db:/d/a")));
	assert_int_equal(conf->listeners[0].backlog, 1024);
	assert_int_equal(conf->listeners[0].tls, CONF_MODE_NONE);
	assert_true(conf_diff(good(has), conf, CONF_MAILD, &reload, NULL));
	assert_int_equal(reload, CONF_LIVE);
	(void)reloaded(has, has, later, sizeof(later));
	assert_string_equal(later, "");
	/* Every address cannot be listened on while one of them is. */
	conf = reloaded("inet_interfaces = loopback-only\n", "", later, sizeof(later));
	assert_string_equal(later, "inet_interfaces");
	assert_string_equal(conf->listeners[0].address.text.p, "127.0.0.1:25");
}

/* What is fixed is of the socket, which its address tells: it may come by another name. */
static void
a_listener_at_another_address_is_a_new_socket(void **state)
{
	const struct conf *conf;
	char later[200];

	(void)state;
	conf = reloaded("listener more { service = smtp; address = \"127.0.0.1:2525\" }\n", "listener more { service = smtp; address = \"/run/more\"; mode = 0600 }\n",
	    later, sizeof(later));
	assert_string_equal(conf->listeners[0].mode.p, "0600");
	assert_string_equal(later, "");
	conf = reloaded("listener more { service = smtp; address = \"/run/more\"; mode = 0660 }\n", "listener other { service = smtp; address = \"/run/more\"; mode = 0600 }\n",
	    later, sizeof(later));
	assert_string_equal(conf->listeners[0].mode.p, "0660");
	assert_string_equal(later, "mode of other");
}

/* The example must parse as it is, and with every # before an option removed. */
static void
example_parses(void **state)
{
	struct buf example, open;
	struct span text, line;
	enum conf_reload reload;
	const struct conf *conf;

	(void)state;
	buf_init(&example, 1 << 20);
	buf_init(&open, 1 << 20);
	conf_example(&example);
	assert_non_null(conf_parse(buf_span(&example), &f.arena, &f.errors));
	text = buf_span(&example);
	while (text.n > 0) {
		line = span_cut(&text, '\n');
		if (line.n > 1 && line.p[0] == '#' && ascii_alpha(line.p[1]) && span_find(line,
		    SPAN(" =")) != SIZE_MAX &&
		    !span_starts(line, SPAN("#listener")) && !span_starts(line, SPAN("#route")) &&
		    !span_starts(line, SPAN("#myhostname")) && !span_starts(line, SPAN("#mydomain")))
			buf_put(&open, span_from(line, 1)), buf_putc(&open, '\n');
	}
	assert_true(buf_ok(&open) && buf_len(&open) > 3000);
	conf = conf_parse(buf_span(&open), &f.arena, &f.errors);
	assert_non_null(conf);
	assert_false(conf_diff(conf, conf_default(&f.arena), CONF_ALL, &reload, NULL));
	buf_free(&example);
	buf_free(&open);
}

static void
durations_and_sizes(void **state)
{
	int64_t ms;
	uint64_t n;

	(void)state;
	assert_true(conf_value_duration(SPAN("90"), &ms) && ms == 90000);
	assert_true(conf_value_duration(SPAN("100ms"), &ms) && ms == 100);
	assert_true(conf_value_duration(SPAN("1w2d"), &ms) && ms == 9 * 86400000LL);
	assert_false(conf_value_duration(SPAN(""), &ms));
	assert_false(conf_value_duration(SPAN("5y"), &ms));
	assert_false(conf_value_duration(SPAN("-1s"), &ms));
	assert_false(conf_value_duration(SPAN("99999999999999999999s"), &ms));
	assert_false(conf_value_duration(SPAN("9999999999999999w"), &ms));
	assert_true(conf_value_size(SPAN("3G"), &n) && n == 3ULL << 30);
	assert_false(conf_value_size(SPAN("3GB"), &n));
	assert_false(conf_value_size(SPAN("17179869184G"), &n));
}

static void
a_file_is_read(void **state)
{
	char path[] = "/tmp/test_conf.XXXXXX";
	int fd = mkstemp(path);
	const struct conf *conf;
	struct fail why;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "myhostname = a.b\n", 17), 17);
	assert_true(conf_load(path, &f.arena, &conf, NULL, &why));
	assert_true(span_eq(conf->myhostname, SPAN("a.b")));
	assert_int_equal(write(fd, "x\n", 2), 2);
	assert_false(conf_load_fd(fd, &f.arena, &conf, NULL, &why));
	assert_non_null(strstr(why.text, "line 2"));
	close(fd);
	unlink(path);
	assert_false(conf_load(path, &f.arena, &conf, &f.errors, &why));
}

/* What conf_load_to_ask() makes of this text; told: what it says. */
static const struct conf *
asked(struct span text, char *told, size_t size)
{
	char path[] = "/tmp/test_conf.XXXXXX";
	int fd = mkstemp(path);
	FILE *to = fmemopen(told, size, "w");
	const struct conf *conf;

	assert_true(fd >= 0 && to);
	assert_int_equal(write(fd, text.p, text.n), text.n);
	conf = conf_load_to_ask(path, &f.arena, to);
	(void)fclose(to);
	(void)close(fd);
	(void)unlink(path);
	return conf;
}

static void
a_suite_is_found_by_a_file_with_errors(void **state)
{
	const struct conf *conf;
	char told[4096] = "";

	(void)state;
	conf = asked(SPAN("run_directory = /run/x\n"), told, sizeof(told));
	assert_non_null(conf);
	assert_string_equal(told, "");
	conf = asked(SPAN("nonsense\n\1 {\nsmtpd_timeout = soon\nlistener a { b }\nrun_directory = /run/x\nlistener x { address"), told, sizeof(told));
	assert_non_null(conf);
	assert_string_equal(conf->run_directory.p, "/run/x");
	assert_int_equal(conf->smtpd_timeout, 300 * 1000);
	assert_non_null(strstr(told, " errors, which mailctl check shows; the suite in /run/x is asked"));

	/* not where it might be another one */
	assert_null(asked(SPAN("run_directory = run/x\n"), told, sizeof(told)));
	assert_non_null(strstr(told, ":1:17: run_directory: "));
	assert_null(asked(SPAN("run_directory /run/x\n"), told, sizeof(told)));
	assert_null(asked(SPAN("run_directry = /run/x\n"), told, sizeof(told)));
	assert_null(asked(SPAN("run_dir = /run/x\n"), told, sizeof(told)));
	assert_null(asked(SPAN("# a comment\n run_directory = /run/x\n"), told, sizeof(told)));
	assert_non_null(strstr(told, "none is before it: run_directory = /run/x\n"));
	assert_null(asked(SPAN("data_directory = x\nrun_directory = $data_directory/run\n"), told, sizeof(told)));
	assert_null(asked(SPAN("myorigin = a\0\nrun_directory = /run/x\n"), told, sizeof(told)));
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = { T(every_default_is_valid), T(rows_are_sane), T(values_of_each_kind),
	    T(networks_match),
		T(errors_say_where_and_what), T(all_errors_at_once), T(blocks), T(default_listeners),
		    T(canonical_reads_back),
		T(a_daemon_sees_its_own_options_only), T(differences_have_a_class), T(two_listeners_cannot_share_an_address), T(a_reload_keeps_what_is_fixed),
		T(a_listener_at_another_address_is_a_new_socket), T(example_parses),
		    T(durations_and_sizes),
		T(a_file_is_read), T(a_suite_is_found_by_a_file_with_errors) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
