/* SPDX-License-Identifier: ISC
 *
 * What is known of addresses, and the callouts that find it out; remoted is played here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "daemons/routed/verify.h"

enum { ASKED_MAX = 64 };

static char dir[] = "/tmp/test_verify.XXXXXX", memo_dir[64];
static struct arena arena;
static struct loop *loop;
static struct verify v;
static struct channel *remoted[2];

/* What remoted was asked, in order. */
static struct asked {
	uint64_t id;
	struct channel *by;
	char address[100], sender[100], logins[100], nexthop[100];
} asked[ASKED_MAX];
static size_t nasked;
static struct {
	struct verify_question q;
	char got[400];
} who[ASKED_MAX];

static bool
on_callout_ask(struct channel *c, const struct ipc_callout_ask *m)
{
	struct asked *a = &asked[nasked++];

	assert_true(nasked < ASKED_MAX);
	a->id = m->id;
	a->by = c;
	(void)span_cstr(m->address, a->address, sizeof(a->address));
	(void)span_cstr(m->sender, a->sender, sizeof(a->sender));
	(void)span_cstr(m->logins, a->logins, sizeof(a->logins));
	(void)span_cstr(m->nexthop, a->nexthop, sizeof(a->nexthop));
	return true;
}

#define DISPATCH_DEF "ipc/callout.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
on_gone(struct channel *c, const struct fail *why)
{
	(void)why;
	for (size_t i = 0; i < 2; i++)
		if (remoted[i] == c)
			remoted[i] = NULL;
	channel_free(&c);
}

static const struct channel_ops remoted_ops = { dispatch_callout, on_gone, NULL };

static void
open_remoted(unsigned instance)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	callouts_open(&v.callouts, channel_new(loop, fds[0], &ipc_channel_callout, CHANNEL_CLIENT, &callout_channel_ops, NULL), instance);
	remoted[instance] = channel_new(loop, fds[1], &ipc_channel_callout, CHANNEL_SERVER, &remoted_ops, NULL);
}

static const struct conf *
conf_of(const char *text)
{
	struct conf_errors errors;
	const struct conf *conf = conf_parse(span_str(text), &arena, &errors);

	if (!conf)
		fail_msg("%s", errors.items[0].text);
	return conf;
}

static void
turns(int n)
{
	while (n-- > 0)
		(void)loop_turn(loop, 2);
}

static void
begin(const char *conf)
{
	verify_init(&v, loop, conf_of(conf));
	verify_configure(&v, v.conf, memo_dir);
	open_remoted(0);
	nasked = 0;
	memset(who, 0, sizeof(who));
}

static void
end(void)
{
	for (size_t i = 0; i < ASKED_MAX; i++)
		verify_drop(&v, &who[i].q);
	verify_free(&v);
	turns(3);
	for (size_t i = 0; i < 2; i++)
		if (remoted[i])
			channel_free(&remoted[i]);
}

static int
setup(void **state)
{
	(void)state;
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(memo_dir, sizeof(memo_dir), "%s/verify", dir);
	arena_init(&arena, 64 << 20);
	loop = loop_new();
	begin("");
	return 0;
}

static int
teardown(void **state)
{
	char cmd[100];

	(void)state;
	end();
	loop_free(&loop);
	arena_free(&arena);
	(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static void
put(char got[400], const struct verify_answer *a)
{
	static const char *const words[] = { "taken", "later", "refused" };

	(void)snprintf(got, 400, "%s %.*s %.*s %.*s%s", words[a->outcome], SPAN_ARG(a->code), SPAN_ARG(a->peer), SPAN_ARG(a->reply), a->age_s < 0 ? " now" : "");
}

static void
on_answer(struct verify_question *q, const struct verify_answer *a)
{
	for (size_t i = 0; i < ASKED_MAX; i++)
		if (&who[i].q == q)
			put(who[i].got, a);
}

/* What is answered at once, or "" while it waits. */
static const char *
ask_by(size_t i, const char *address, const char *nexthop, bool fresh)
{
	const struct verify_way way = { span_str(nexthop), span_str(address), verify_sender(v.conf), SPAN("relay.test user:secret\n") };
	struct verify_answer a;

	who[i].q.on_answer = on_answer;
	who[i].got[0] = '\0';
	if (verify_ask(&v, &who[i].q, span_str(address), &way, fresh, &arena, &a))
		put(who[i].got, &a);
	turns(2);
	return who[i].got;
}

static const char *
ask(size_t i, const char *address)
{
	return ask_by(i, address, "relay.test", false);
}

static void
say(size_t i, enum callout_outcome outcome, bool unreached, const char *reply)
{
	struct ipc_callout_answer a = { .id = asked[i].id, .outcome = (uint8_t)outcome, .unreached = unreached,
		.code = outcome == CALLOUT_TAKES ? SPAN("2.1.5") : outcome == CALLOUT_REFUSES ? SPAN("5.1.1") : SPAN("4.2.1"),
		.peer = unreached ? SPAN("") : SPAN("mx[192.0.2.1]:25"), .reply = span_str(reply) };

	assert_true(ipc_send_callout_answer(asked[i].by, &a));
	turns(3);
}

static void
sleep_ms(int ms)
{
	for (int64_t until = (turns(1), loop_now_ms(loop)) + ms; loop_now_ms(loop) < until;)
		(void)loop_turn(loop, 10);
}

/* As if it had been said and asked so long ago. */
static void
write_entry(const char *address, enum callout_outcome outcome, uint64_t said_s, uint64_t asked_s)
{
	uint64_t now = (uint64_t)(loop_wall_ms(loop) / 1000);
	const char *const texts[] = { "relay.test", "2.1.5", "mx", "250 old" };
	struct fail why;
	struct buf b;

	buf_init(&b, 1000);
	buf_putc(&b, 1);
	buf_putc(&b, (char)outcome);
	buf_le64(&b, now - said_s);
	buf_le64(&b, now - asked_s);
	for (size_t i = 0; i < 4; i++) {
		buf_le16(&b, (uint16_t)strlen(texts[i]));
		buf_puts(&b, texts[i]);
	}
	assert_true(memo_put(&v.memo, span_str(address), buf_span(&b), true, &why));
	buf_free(&b);
}

/* ---- tests ---- */

static void
an_answer_is_remembered_and_outlives_a_restart(void **state)
{
	(void)state;
	assert_string_equal(ask(0, "Bob@Relay.test"), "");
	assert_int_equal(nasked, 1);
	assert_string_equal(asked[0].address, "Bob@Relay.test");
	assert_string_equal(asked[0].sender, "");
	assert_string_equal(asked[0].logins, "relay.test user:secret\n");
	assert_string_equal(asked[0].nexthop, "relay.test");
	say(0, CALLOUT_TAKES, false, "250 ok");
	assert_string_equal(who[0].got, "taken 2.1.5 mx[192.0.2.1]:25 250 ok now");
	assert_string_equal(ask(1, "bob@relay.TEST"), "taken 2.1.5 mx[192.0.2.1]:25 250 ok");
	assert_string_equal(ask(2, "eve@relay.test"), "");
	say(1, CALLOUT_REFUSES, false, "550 no eve");
	assert_string_equal(who[2].got, "refused 5.1.1 mx[192.0.2.1]:25 550 no eve now");
	assert_int_equal(nasked, 2);
	end();
	begin("");
	assert_string_equal(ask(0, "bob@relay.test"), "taken 2.1.5 mx[192.0.2.1]:25 250 ok");
	assert_string_equal(ask(1, "eve@relay.test"), "refused 5.1.1 mx[192.0.2.1]:25 550 no eve");
	assert_int_equal(nasked, 0);
}

static void
another_way_is_another_question(void **state)
{
	(void)state;
	ask(0, "bob@relay.test");
	say(0, CALLOUT_TAKES, false, "250 ok");
	assert_string_equal(ask_by(1, "bob@relay.test", "[10.0.0.1]", false), "");
	say(1, CALLOUT_REFUSES, false, "550 no");
	assert_string_equal(ask_by(2, "bob@relay.test", "[10.0.0.1]", false), "refused 5.1.1 mx[192.0.2.1]:25 550 no");
	assert_int_equal(nasked, 2);
}

static void
questions_for_one_address_join(void **state)
{
	(void)state;
	for (size_t i = 0; i < 5; i++)
		assert_string_equal(ask(i, i & 1 ? "bob@relay.test" : "BOB@relay.test"), "");
	assert_int_equal(nasked, 1);
	verify_drop(&v, &who[2].q);
	say(0, CALLOUT_TAKES, false, "250 ok");
	for (size_t i = 0; i < 5; i++)
		assert_string_equal(who[i].got, i == 2 ? "" : "taken 2.1.5 mx[192.0.2.1]:25 250 ok now");
}

static void
callouts_are_bounded_at_once_and_for_each_next_hop(void **state)
{
	char address[40];

	(void)state;
	end();
	begin("address_verify_callout_limit = 4\naddress_verify_destination_callout_limit = 3\n");
	for (size_t i = 0; i < 6; i++) {
		(void)snprintf(address, sizeof(address), "u%zu@a.test", i);
		ask_by(i, address, "a.test", false);
	}
	assert_int_equal(nasked, 3); /* so many of one next hop */
	ask_by(6, "u@b.test", "b.test", false);
	ask_by(7, "u@c.test", "c.test", false);
	assert_int_equal(nasked, 4); /* and so many at all */
	assert_string_equal(asked[3].address, "u@b.test");
	say(0, CALLOUT_TAKES, false, "250 ok");
	assert_int_equal(nasked, 5);
	assert_string_equal(asked[4].address, "u@c.test"); /* it has waited for its turn */
	say(1, CALLOUT_TAKES, false, "250 ok");
	assert_int_equal(nasked, 6);
	assert_string_equal(asked[5].address, "u3@a.test");
	verify_drop(&v, &who[4].q); /* its client is gone before its turn */
	say(2, CALLOUT_TAKES, false, "250 ok");
	assert_int_equal(nasked, 7);
	assert_string_equal(asked[6].address, "u5@a.test");
}

static void
who_waits_is_put_off_and_the_answer_is_kept(void **state)
{
	(void)state;
	end();
	begin("address_verify_wait_time = 1s\n");
	assert_string_equal(ask(0, "bob@relay.test"), "");
	for (int i = 0; i < 100 && !*who[0].got; i++)
		sleep_ms(100);
	assert_string_equal(who[0].got, "later 4.4.2  no answer yet now");
	assert_string_equal(ask(1, "bob@relay.test"), "");
	assert_int_equal(nasked, 1); /* still that one */
	say(0, CALLOUT_TAKES, false, "250 ok");
	assert_string_equal(who[1].got, "taken 2.1.5 mx[192.0.2.1]:25 250 ok now");
	assert_string_equal(ask(2, "bob@relay.test"), "taken 2.1.5 mx[192.0.2.1]:25 250 ok");
}

static void
a_next_hop_that_is_down_is_left_alone(void **state)
{
	(void)state;
	end();
	begin("address_verify_retry_time = 1h\naddress_verify_destination_callout_limit = 1\n");
	ask(0, "bob@relay.test");
	ask(1, "eve@relay.test");
	assert_int_equal(nasked, 1);
	say(0, CALLOUT_LATER, true, "connection refused");
	assert_string_equal(who[0].got, "later 4.2.1  connection refused now");
	assert_string_equal(who[1].got, "later 4.2.1  connection refused now"); /* it need not wait */
	assert_string_equal(ask(2, "joe@relay.test"), "later 4.4.5  connection refused now");
	assert_string_equal(ask(3, "bob@relay.test"), "later 4.2.1  connection refused");
	assert_int_equal(nasked, 1);
}

static void
a_next_hop_that_was_down_is_asked_again(void **state)
{
	(void)state;
	end();
	begin("address_verify_retry_time = 1s\n");
	ask(0, "bob@relay.test");
	say(0, CALLOUT_LATER, true, "connection refused");
	for (int i = 0; i < 100 && *ask(1, "bob@relay.test"); i++)
		sleep_ms(100);
	assert_string_equal(who[1].got, "");
	assert_int_equal(nasked, 2);
	say(1, CALLOUT_TAKES, false, "250 ok");
	assert_string_equal(who[1].got, "taken 2.1.5 mx[192.0.2.1]:25 250 ok now");
	assert_int_equal(v.callouts.hops.count, 0); /* nothing is kept of who is well */
}

static void
a_remoted_that_dies_is_not_asked_again_the_same(void **state)
{
	(void)state;
	open_remoted(1);
	ask(0, "bob@relay.test");
	assert_int_equal(nasked, 1);
	for (size_t i = 0; i < 2; i++)
		if (remoted[i] == asked[0].by)
			channel_free(&remoted[i]);
	turns(5);
	assert_string_equal(who[0].got, "later 4.4.5  remoted was restarted now");
	assert_int_equal(nasked, 1);
	ask_by(1, "eve@relay.test", "relay.test", false);
	assert_int_equal(nasked, 2); /* by the other */
	say(1, CALLOUT_TAKES, false, "250 ok");
	assert_string_equal(who[1].got, "taken 2.1.5 mx[192.0.2.1]:25 250 ok now");
}

static void
what_gets_old_is_asked_behind_the_answer(void **state)
{
	(void)state;
	ask(0, "first@relay.test"); /* so that there is a database */
	say(0, CALLOUT_TAKES, false, "250 ok");
	write_entry("bob@relay.test", CALLOUT_TAKES, 8 * 86400, 8 * 86400);
	assert_string_equal(ask(1, "bob@relay.test"), "taken 2.1.5 mx 250 old");
	assert_int_equal(nasked, 2);
	say(1, CALLOUT_LATER, false, "450 busy");
	assert_string_equal(ask(2, "bob@relay.test"), "taken 2.1.5 mx 250 old"); /* a "not now" changes nothing */
	assert_int_equal(nasked, 2);                                              /* and is not asked again at once */
	write_entry("bob@relay.test", CALLOUT_TAKES, 8 * 86400, 60);
	ask(3, "bob@relay.test");
	assert_int_equal(nasked, 3);
	say(2, CALLOUT_REFUSES, false, "550 gone");
	assert_string_equal(ask(4, "bob@relay.test"), "refused 5.1.1 mx[192.0.2.1]:25 550 gone");
	write_entry("eve@relay.test", CALLOUT_REFUSES, 4 * 3600, 4 * 3600);
	assert_string_equal(ask(5, "eve@relay.test"), "refused 2.1.5 mx 250 old");
	assert_int_equal(nasked, 4);
	say(3, CALLOUT_TAKES, false, "250 new");
	assert_string_equal(ask(6, "eve@relay.test"), "taken 2.1.5 mx[192.0.2.1]:25 250 new");
}

static void
what_is_too_old_counts_no_more(void **state)
{
	(void)state;
	ask(0, "first@relay.test");
	say(0, CALLOUT_TAKES, false, "250 ok");
	write_entry("a@relay.test", CALLOUT_TAKES, 31 * 86400, 60);
	write_entry("b@relay.test", CALLOUT_REFUSES, 3 * 86400, 60);
	write_entry("c@relay.test", CALLOUT_LATER, 30, 30);
	write_entry("d@relay.test", CALLOUT_TAKES, (uint64_t)-100, 60); /* a clock that was set back */
	assert_string_equal(ask(1, "a@relay.test"), "");
	assert_string_equal(ask(2, "b@relay.test"), "");
	assert_string_equal(ask(3, "c@relay.test"), "");
	assert_string_equal(ask(4, "d@relay.test"), "");
	say(1, CALLOUT_LATER, false, "450 busy"); /* an outdated yes does not stand against it */
	assert_string_equal(ask(5, "a@relay.test"), "later 4.2.1 mx[192.0.2.1]:25 450 busy");
}

static void
asking_afresh_does_not_look(void **state)
{
	(void)state;
	ask(0, "bob@relay.test");
	say(0, CALLOUT_TAKES, false, "250 ok");
	assert_string_equal(ask_by(1, "bob@relay.test", "relay.test", true), "");
	say(1, CALLOUT_REFUSES, false, "550 gone");
	assert_string_equal(ask(2, "bob@relay.test"), "refused 5.1.1 mx[192.0.2.1]:25 550 gone");
}

static void
broken_records_are_nothing(void **state)
{
	char bytes[64];
	struct fail why;

	(void)state;
	ask(0, "bob@relay.test");
	say(0, CALLOUT_TAKES, false, "250 ok");
	memset(bytes, 1, sizeof(bytes));
	for (size_t n = 0; n < sizeof(bytes); n++) {
		assert_true(memo_put(&v.memo, SPAN("x@relay.test"), span_of(bytes, n), false, &why));
		assert_string_equal(ask(1, "x@relay.test"), "");
		verify_drop(&v, &who[1].q);
	}
}

struct seen {
	size_t n;
	char last[200];
};

static bool
see(void *arg, const struct verify_known *k)
{
	struct seen *s = arg;

	s->n++;
	(void)snprintf(s->last, sizeof(s->last), "%.*s %.*s %d", SPAN_ARG(k->address), SPAN_ARG(k->nexthop), k->left_s > 0);
	return true;
}

static void
it_is_listed_and_forgotten(void **state)
{
	struct seen s = { 0 };
	struct fail why;
	size_t n;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		ask(i, i == 0 ? "bob@relay.test" : i == 1 ? "eve@relay.test" : "bob@other.test");
		say(i, CALLOUT_TAKES, false, "250 ok");
	}
	assert_true(verify_each(&v, SPAN("BOB@relay.test"), see, &s, &why));
	assert_int_equal(s.n, 1);
	assert_string_equal(s.last, "bob@relay.test relay.test 1");
	s.n = 0;
	assert_true(verify_each(&v, SPAN("@relay.test"), see, &s, &why));
	assert_int_equal(s.n, 2);
	assert_true(verify_forget(&v, SPAN("@relay.test"), &n, &why));
	assert_int_equal(n, 2);
	assert_string_equal(ask(5, "bob@relay.test"), "");
	assert_string_equal(ask(6, "bob@other.test"), "taken 2.1.5 mx[192.0.2.1]:25 250 ok");
	assert_true(verify_forget(&v, SPAN(""), &n, &why));
	assert_int_equal(n, 1);
}

static void
without_a_database_each_is_asked(void **state)
{
	(void)state;
	end();
	(void)snprintf(memo_dir, sizeof(memo_dir), "%s/no/such/place", dir);
	begin("");
	for (size_t i = 0; i < 2; i++) {
		assert_string_equal(ask(i, "bob@relay.test"), "");
		say(i, CALLOUT_TAKES, false, "250 ok");
		assert_string_equal(who[i].got, "taken 2.1.5 mx[192.0.2.1]:25 250 ok now");
	}
}

static void
the_sender_of_callouts_is_settable(void **state)
{
	(void)state;
	assert_false(verify_is_ours(&v, SPAN("")));
	assert_false(verify_is_ours(&v, SPAN("<>")));
	end();
	begin("address_verify_sender = double-bounce@us.test\n");
	ask(0, "bob@relay.test");
	assert_string_equal(asked[0].sender, "double-bounce@us.test");
	assert_true(verify_is_ours(&v, SPAN("Double-Bounce@us.test")));
	assert_false(verify_is_ours(&v, SPAN("bounce@us.test")));
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(an_answer_is_remembered_and_outlives_a_restart), T(another_way_is_another_question), T(questions_for_one_address_join),
		T(callouts_are_bounded_at_once_and_for_each_next_hop), T(who_waits_is_put_off_and_the_answer_is_kept),
		T(a_next_hop_that_is_down_is_left_alone), T(a_next_hop_that_was_down_is_asked_again), T(a_remoted_that_dies_is_not_asked_again_the_same),
		T(what_gets_old_is_asked_behind_the_answer), T(what_is_too_old_counts_no_more), T(asking_afresh_does_not_look),
		T(broken_records_are_nothing), T(it_is_listed_and_forgotten), T(without_a_database_each_is_asked),
		T(the_sender_of_callouts_is_settable),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
