/* SPDX-License-Identifier: ISC
 *
 * The resolver against tests/suite/dnsserver.py on a port of loopback.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemons/dnsd/resolver.h"

static const char zone[] =
    "a.test MX 20 mx2.a.test\n"
    "a.test MX 10 mx1.a.test\n"
    "mx1.a.test A 127.0.0.1\n"
    "mx1.a.test AAAA ::1\n"
    "mx2.a.test A 127.0.0.2\n"
    "alias.test CNAME a.test\n"
    "null.test MX 0 .\n"
    "bad.test MX 0 a/b.test\n"
    "four.test A 127.0.0.4\n"
    "half.test A 127.0.0.5\n"
    "half.test AAAA SERVFAIL\n"
    "nodata.test TXT \"one \" two\n"
    "broken.test SERVFAIL\n"
    "silent.test SILENT\n"
    "9.2.0.192.in-addr.arpa PTR host.test\n"
    "_25._tcp.mx1.a.test TLSA 3 1 1 00ff\n";

enum { FLIGHTS_MAX = 256, SILENT = FLIGHTS_MAX / 2 + 1 }; /* an address is asked for twice */

struct ask {
	struct resolver_waiter waiter;
	bool done;
	enum dns_result result;
	size_t n;
	char text[512]; /* the records */
	char canonical[256];
};

static struct loop *loop;
static struct resolver *resolver;
static pid_t server;
static char zone_path[] = "/tmp/pp-zone-XXXXXX";

static void
on_answer(struct resolver_waiter *w, const struct answer *a)
{
	struct ask *q = OWNER_OF(w, struct ask, waiter);
	size_t at = 0;

	assert_false(q->done);
	q->done = true;
	q->result = a->result;
	q->n = a->nrecords;
	for (size_t i = 0; i < a->nrecords; i++) {
		const struct rdata *r = &a->records[i];

		at += (size_t)snprintf(q->text + at, sizeof(q->text) - at, "%u %.*s ", r->preference, SPAN_ARG(r->name));
		for (size_t j = 0; j < r->data.n; j++)
			at += (size_t)snprintf(q->text + at, sizeof(q->text) - at, "%02x", (unsigned char)r->data.p[j]);
		at += (size_t)snprintf(q->text + at, sizeof(q->text) - at, "|");
	}
	(void)span_cstr(a->canonical, q->canonical, sizeof(q->canonical));
}

static void
wait_for(struct ask *q)
{
	for (int i = 0; i < 400 && !q->done; i++)
		(void)loop_turn(loop, 50);
	assert_true(q->done);
}

static struct ask
ask(enum dns_type type, const char *name)
{
	struct ask q = { .waiter = { .on_answer = on_answer } };

	resolver_ask(resolver, type, span_str(name), &q.waiter);
	wait_for(&q);
	return q;
}

static int
setup(void **state)
{
	const char *top = getenv("srcdir");
	char script[1024], line[64] = "", address[64];
	int out[2], fd = mkstemp(zone_path);
	struct span servers;
	struct resolver_settings settings = { .servers = &servers, .nservers = 1, .cache_size = 1 << 20, .timeout_ms = 1500, .v4 = true, .v6 = true, .flights_max = FLIGHTS_MAX };
	struct fail why;

	(void)state;
	(void)snprintf(script, sizeof(script), "%s/tests/suite/dnsserver.py", top && *top ? top : ".");
	assert_int_equal(write(fd, zone, sizeof(zone) - 1), sizeof(zone) - 1);
	for (int i = 0; i < SILENT; i++)
		assert_true(dprintf(fd, "s%d.test SILENT\n", i) > 0);
	(void)close(fd);
	assert_int_equal(pipe(out), 0);
	server = fork();
	if (server == 0) {
		(void)dup2(out[1], 1);
		(void)close(out[0]);
		(void)execlp("python3", "python3", script, "--zone", zone_path, (char *)NULL);
		_exit(127);
	}
	(void)close(out[1]);
	if (read(out[0], line, sizeof(line) - 1) <= 0)
		return -1;
	(void)snprintf(address, sizeof(address), "127.0.0.1@%d", atoi(line));
	servers = span_str(address);
	loop = loop_new();
	resolver = resolver_new(loop, &settings, &why);
	if (!resolver || !resolver_start(resolver, &why)) {
		(void)fprintf(stderr, "%s\n", why.text);
		return -1;
	}
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	resolver_free(&resolver);
	loop_free(&loop);
	if (server > 0) {
		(void)kill(server, SIGTERM);
		(void)waitpid(server, NULL, 0);
	}
	(void)unlink(zone_path);
	return 0;
}

static void
test_mx(void **state)
{
	struct ask q = ask(DNS_MX, "A.test.");

	(void)state;
	assert_int_equal(q.result, DNS_OK);
	assert_int_equal(q.n, 2);
	assert_non_null(strstr(q.text, "10 mx1.a.test"));
	q = ask(DNS_MX, "null.test");
	assert_int_equal(q.result, DNS_OK);
	assert_string_equal(q.text, "0  |");
	q = ask(DNS_MX, "alias.test");
	assert_int_equal(q.n, 2);
	assert_string_equal(q.canonical, "a.test");
	q = ask(DNS_MX, "bad.test"); /* no host name */
	assert_int_equal(q.result, DNS_OK);
	assert_int_equal(q.n, 0);
}

static void
test_results_are_told_apart(void **state)
{
	(void)state;
	assert_int_equal(ask(DNS_MX, "nosuch.test").result, DNS_NO_NAME);
	assert_int_equal(ask(DNS_MX, "nodata.test").result, DNS_NO_DATA);
	assert_int_equal(ask(DNS_MX, "broken.test").result, DNS_LATER);
	assert_int_equal(ask(DNS_MX, "silent.test").result, DNS_LATER);
	assert_int_equal(ask(DNS_MX, "not a name").result, DNS_NO_NAME);
	assert_int_equal(ask(DNS_ADDR, "nosuch.test").result, DNS_NO_NAME);
	assert_int_equal(ask(DNS_ADDR, "nodata.test").result, DNS_NO_DATA);
	assert_int_equal(ask(DNS_ADDR, "broken.test").result, DNS_LATER);
}

static void
test_addresses(void **state)
{
	struct ask q = ask(DNS_ADDR, "mx1.a.test");

	(void)state;
	assert_int_equal(q.n, 2);
	assert_non_null(strstr(q.text, "0  7f000001|"));
	assert_non_null(strstr(q.text, "0  00000000000000000000000000000001|"));
	assert_string_equal(ask(DNS_ADDR, "four.test").text, "0  7f000004|");
	assert_string_equal(ask(DNS_ADDR, "half.test").text, "0  7f000005|");
	assert_int_equal(ask(DNS_ADDR, "localhost").n, 2);
}

static void
test_other_types(void **state)
{
	(void)state;
	assert_string_equal(ask(DNS_PTR, "192.0.2.9").text, "0 host.test |");
	assert_string_equal(ask(DNS_TXT, "nodata.test").text, "0  6f6e652074776f|");
	assert_string_equal(ask(DNS_TLSA, "_25._tcp.mx1.a.test").text, "0  03010100ff|");
}

static void
test_many_at_once(void **state)
{
	enum { N = 300 };
	static struct ask all[N];

	(void)state;
	for (int i = 0; i < N; i++) {
		char name[64];

		(void)snprintf(name, sizeof(name), i % 3 ? "mx1.a.test" : "n%d.test", i);
		all[i] = (struct ask){ .waiter = { .on_answer = on_answer } };
		resolver_ask(resolver, DNS_ADDR, span_str(name), &all[i].waiter);
	}
	assert_true(resolver_pending(resolver) <= N / 3 + 1); /* equal ones are one */
	for (int i = 0; i < N; i++) {
		wait_for(&all[i]);
		assert_int_equal(all[i].result, i % 3 ? DNS_OK : DNS_NO_NAME);
	}
	assert_int_equal(resolver_pending(resolver), 0);
}

static void
test_cancel(void **state)
{
	struct ask gone = { .waiter = { .on_answer = on_answer } };

	(void)state;
	resolver_ask(resolver, DNS_MX, SPAN("gone.test"), &gone.waiter);
	resolver_cancel(&gone.waiter);
	assert_int_equal(ask(DNS_MX, "gone.test").result, DNS_NO_NAME);
	assert_false(gone.done);
}

/* libunbound goes on with what nobody waits for any more, and that counts. */
static void
test_what_libunbound_works_on_is_bounded(void **state)
{
	static struct ask all[SILENT];
	char name[64];

	(void)state;
	for (int i = 0; i < 400 && resolver_flights(resolver); i++) /* what earlier tests have given up */
		(void)loop_turn(loop, 50);
	assert_int_equal(resolver_flights(resolver), 0);
	for (int i = 0; i < SILENT; i++) {
		(void)snprintf(name, sizeof(name), "s%d.test", i);
		all[i] = (struct ask){ .waiter = { .on_answer = on_answer } };
		resolver_ask(resolver, DNS_ADDR, span_str(name), &all[i].waiter);
		assert_int_equal(all[i].done, i == SILENT - 1);
	}
	assert_int_equal(all[SILENT - 1].result, DNS_LATER);
	for (int i = 0; i < SILENT; i++) {
		wait_for(&all[i]);
		assert_int_equal(all[i].result, DNS_LATER);
	}
	assert_int_equal(resolver_pending(resolver), 0);
	assert_true(resolver_flights(resolver) > 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mx),
		cmocka_unit_test(test_results_are_told_apart),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_other_types),
		cmocka_unit_test(test_many_at_once),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_what_libunbound_works_on_is_bounded),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
