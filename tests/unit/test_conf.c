/* SPDX-License-Identifier: ISC
 *
 * The configuration as text: values, defaults, errors and their places, files.
 */
#include <stdlib.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "conf/value.h"
#include "tests/unit/conf_fixture.h"

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
	const struct CMUnitTest tests[] = {
		T(every_default_is_valid),
		T(rows_are_sane),
		T(values_of_each_kind),
		T(networks_match),
		T(errors_say_where_and_what),
		T(all_errors_at_once),
		T(example_parses),
		T(durations_and_sizes),
		T(a_file_is_read),
		T(a_suite_is_found_by_a_file_with_errors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
