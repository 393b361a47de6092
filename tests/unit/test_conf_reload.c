/* SPDX-License-Identifier: ISC
 *
 * One configuration beside another: what a daemon is told of it, what differs,
 * what a reload takes over.
 */
#include "tests/unit/conf_fixture.h"

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

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(canonical_reads_back),
		T(a_daemon_sees_its_own_options_only),
		T(differences_have_a_class),
		T(a_reload_keeps_what_is_fixed),
		T(a_listener_at_another_address_is_a_new_socket),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
