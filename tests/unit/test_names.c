/* SPDX-License-Identifier: ISC
 *
 * Where filters are whose host is a name; dnsd is played here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "daemons/verifyd/names.h"

static struct loop *loop;
static struct arena arena;
static struct names names;
static struct channel *dnsd;
static unsigned asked;
static uint64_t id;
static char name[300];

static bool
on_dns_ask(struct channel *c, const struct ipc_dns_ask *m)
{
	(void)c;
	asked++;
	id = m->id;
	assert_int_equal(m->type, 1);
	(void)span_cstr(m->name, name, sizeof(name));
	return true;
}

#define DISPATCH_DEF "ipc/dns.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
on_gone(struct channel *c, const struct fail *why)
{
	(void)why;
	channel_free(&c);
	dnsd = NULL;
}

static const struct channel_ops dnsd_ops = { dispatch_dns, on_gone, NULL };

static void
turns(void)
{
	for (int i = 0; i < 5; i++)
		(void)loop_turn(loop, 2);
}

static void
open_dnsd(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	inquirer_open(&names.dns, channel_new(loop, fds[0], &ipc_channel_dns, CHANNEL_CLIENT, &lookup_channel_ops, NULL));
	dnsd = channel_new(loop, fds[1], &ipc_channel_dns, CHANNEL_SERVER, &dnsd_ops, NULL);
	turns();
}

static void
configure(const char *text)
{
	static struct conf_errors errors;
	const struct conf *conf = conf_parse(span_str(text), &arena, &errors);

	if (!conf)
		fail_msg("%s", errors.items[0].text);
	names_configure(&names, conf);
	turns();
}

static int
setup(void **state)
{
	(void)state;
	arena_init(&arena, 64 << 20);
	loop = loop_new();
	names_init(&names, loop);
	open_dnsd();
	asked = 0;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	names_free(&names);
	if (dnsd)
		channel_free(&dnsd);
	loop_free(&loop);
	arena_free(&arena);
	return 0;
}

static void
record(struct span bytes)
{
	assert_true(ipc_send_dns_record(dnsd, &(struct ipc_dns_record){ .id = id, .type = 1, .data = bytes }));
}

static void
done(uint8_t result, uint32_t ttl, const char *why)
{
	assert_true(ipc_send_dns_done(dnsd, &(struct ipc_dns_done){ .id = id, .result = result, .ttl = ttl, .why = span_str(why) }));
	turns();
}

/* The address with its port, or why there is none. */
static const char *
where(const char *host)
{
	static char text[NETADDR_TEXT + 200];
	struct fail why = { .text = "" };
	struct netaddr to;
	bool found = names_find(&names, span_str(host), 8891, &to, &why);

	turns();
	if (!found)
		return strcpy(text, why.text);
	(void)span_cstr(netaddr_text_port(&to, text), text, sizeof(text));
	return text;
}

static void
names_are_asked_for_when_they_are_configured(void **state)
{
	(void)state;
	configure("smtpd_milters = inet:127.0.0.1:1, inet:[::1]:2, unix:/x, inet:localhost:3, inet:filter.test:8891\n"
		  "smtpd_recipient_policy_service = inet:FILTER.test:9\n");
	assert_int_equal(asked, 1);
	assert_string_equal(name, "filter.test");
	assert_string_equal(where("filter.test"), "filter.test: it is not known yet");
	record(SPAN("\177\0\0\2"));
	record(span_of("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16));
	record(SPAN("odd"));
	done(0, 300, "");
	assert_string_equal(where("Filter.test"), "127.0.0.2:8891");
	names_blame(&names, SPAN("filter.test")); /* it does not answer */
	assert_string_equal(where("filter.test"), "[::1]:8891");
	assert_string_equal(where("other.test"), "other.test: it is not configured any more");
	assert_int_equal(asked, 1);
	configure("non_smtpd_milters = inet:second.test:1\nlistener smtp { address = *:25; milters = inet:filter.test:8891 }\n");
	assert_int_equal(asked, 2); /* what is known stays known */
	assert_string_equal(name, "second.test");
	configure("");
	assert_true(list_empty(&names.all));
}

static void
what_dnsd_cannot_answer_changes_nothing(void **state)
{
	(void)state;
	configure("smtpd_milters = inet:filter.test:8891\n");
	done(3, 0, "no servers could be reached");
	assert_string_equal(where("filter.test"), "filter.test: no servers could be reached");
	configure("");
	configure("smtpd_milters = inet:filter.test:8891\n");
	record(SPAN("\177\0\0\2"));
	done(0, 0, "");
	for (int i = 0; i < 1000 && asked < 3; i++) { /* its five seconds are over */
		(void)loop_turn(loop, 20);
		assert_string_equal(where("filter.test"), "127.0.0.2:8891");
	}
	assert_int_equal(asked, 3);
	done(3, 0, "no servers could be reached");
	assert_string_equal(where("filter.test"), "127.0.0.2:8891");
}

static void
a_dnsd_that_dies_is_asked_again(void **state)
{
	(void)state;
	configure("smtpd_milters = inet:filter.test:8891\n");
	record(SPAN("\177\0\0\3"));
	turns();
	channel_free(&dnsd);
	turns();
	open_dnsd();
	assert_int_equal(asked, 2);
	record(SPAN("\177\0\0\2"));
	done(0, 300, "");
	assert_string_equal(where("filter.test"), "127.0.0.2:8891");
}

static void
what_is_no_name_is_refused(void **state)
{
	static const char *const bad[] = { "inet:127.0.0.300:1", "inet:filter.test", "inet:filter.test:0", "inet::1", "inet:a b:1", "inet:-:x", "inet:*:25" };
	struct conf_errors errors;
	char text[100];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(text, sizeof(text), "smtpd_milters = %s\n", bad[i]);
		if (conf_parse(span_str(text), &arena, &errors))
			fail_msg("%s", bad[i]);
	}
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(names_are_asked_for_when_they_are_configured), T(what_dnsd_cannot_answer_changes_nothing), T(a_dnsd_that_dies_is_asked_again),
		T(what_is_no_name_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
