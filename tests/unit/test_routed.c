/* SPDX-License-Identifier: ISC
 *
 * routed over its channels, with smtpd, queued, mailctl and authd played here.
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

#include "daemons/routed/routed.h"
#include "mail/status.h"

static char dir[] = "/tmp/test_routed.XXXXXX";
static struct arena arena;
static struct service service;
static struct channel *rcpt, *route, *admin, *authd, *remoted;
static uint64_t callout;
static char called[700];
static char got[60000];
static unsigned asked, targets;
static bool mute;
static uint64_t last_question;

static void
say(const char *fmt, ...)
{
	size_t n = strlen(got);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(got + n, sizeof(got) - n, fmt, ap);
	va_end(ap);
}

static bool
on_rcpt_answer(struct channel *c, const struct ipc_rcpt_answer *m)
{
	(void)c;
	say("%u:%s ", (unsigned)m->id, status_get(m->status)->code);
	if (remoted)
		say("%u %.*s|%.*s;", m->reply, SPAN_ARG(m->text), SPAN_ARG(m->why));
	return true;
}

static bool
on_callout_ask(struct channel *c, const struct ipc_callout_ask *m)
{
	(void)c;
	callout = m->id;
	snprintf(called, sizeof(called), "%.*s %.*s <%.*s>", SPAN_ARG(m->nexthop), SPAN_ARG(m->address), SPAN_ARG(m->sender));
	return true;
}

static bool
on_route_target(struct channel *c, const struct ipc_route_target *m)
{
	(void)c;
	if (targets++ < 20)
		say("%u:%u %.*s %.*s %.*s;", (unsigned)m->id, m->agent, SPAN_ARG(m->nexthop), SPAN_ARG(m->address),
		    SPAN_ARG(m->home));
	return true;
}

static bool
on_route_done(struct channel *c, const struct ipc_route_done *m)
{
	(void)c;
	say("done %u ", (unsigned)m->id);
	return true;
}

static bool
on_route_admin_line(struct channel *c, const struct ipc_route_admin_line *m)
{
	(void)c;
	say("%s%.*s\n", m->target ? "=> " : "", SPAN_ARG(m->text));
	return true;
}

static bool
on_route_admin_known(struct channel *c, const struct ipc_route_admin_known *m)
{
	(void)c;
	say("%.*s %d by %.*s %.*s: %.*s\n", SPAN_ARG(m->address), m->outcome, SPAN_ARG(m->nexthop), SPAN_ARG(m->host), SPAN_ARG(m->reply));
	return true;
}

static bool
on_route_admin_done(struct channel *c, const struct ipc_route_admin_done *m)
{
	(void)c;
	say("ok=%d %.*s", m->ok, SPAN_ARG(m->text));
	if (m->count)
		say("%u", (unsigned)m->count);
	return true;
}

static bool
on_users_ask(struct channel *c, const struct ipc_users_ask *m)
{
	struct ipc_users_answer a = { .id = m->id };

	asked++;
	last_question = m->id;
	a.exists = span_starts(m->address, SPAN("alice@"));
	a.home = a.exists ? SPAN("example.org/alice") : SPAN("");
	return mute || ipc_send_users_answer(c, &a);
}

#define DISPATCH_DEF "ipc/rcpt.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"
#define DISPATCH_DEF "ipc/route.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"
#define DISPATCH_DEF "ipc/route_admin.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"
#define DISPATCH_DEF "ipc/users.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"
#define DISPATCH_DEF "ipc/callout.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
on_closed(struct channel *c, const struct fail *why)
{
	say("closed %s", why->text);
	channel_free(&c);
}

static const struct channel_ops rcpt_ops = { dispatch_rcpt, on_closed, NULL }, route_ops = { dispatch_route,
    on_closed, NULL },
				admin_ops = { dispatch_route_admin, on_closed, NULL }, authd_ops = { dispatch_users,
				    on_closed, NULL },
				remoted_ops = { dispatch_callout, on_closed, NULL };

/* Opens the daemon's end of a channel and gives ours. */
static struct channel *
wire(const struct ipc_channel *type, enum channel_side side, const struct channel_ops *ops)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	for (size_t i = 0; i < routed_ops.nchannels; i++) {
		const struct service_channel *sc = &routed_ops.channels[i];

		if (sc->type == type)
			sc->on_open(&service, channel_new(service.loop, fds[0], type, sc->side, sc->ops, &service),
			    SPAN("peer"), 0);
	}
	return channel_new(service.loop, fds[1], type, side, ops, NULL);
}

static const struct conf *
conf_of(const char *text)
{
	static struct conf_errors errors;
	char whole[4000];
	const struct conf *conf;

	snprintf(whole, sizeof(whole),
	    "myhostname = mx.example.org\nmyorigin = example.org\nmydestination = example.org\ndata_directory = %s\n%s", dir, text);
	conf = conf_parse(span_str(whole), &arena, &errors);
	assert_non_null(conf);
	return conf;
}

static int
setup(void **state)
{
	struct fail why;

	(void)state;
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
	if (!mkdtemp(dir))
		return -1;
	arena_init(&arena, 64 << 20);
	got[0] = '\0';
	asked = targets = 0;
	mute = false;
	service = (struct service){ .loop = loop_new(), .name = "routed" };
	service.conf = conf_of("alias_maps = inline:{postmaster=alice, list={:include:/nowhere}}\n");
	assert_true(routed_ops.on_boot(&service, &why));
	rcpt = wire(&ipc_channel_rcpt, CHANNEL_CLIENT, &rcpt_ops);
	route = wire(&ipc_channel_route, CHANNEL_CLIENT, &route_ops);
	admin = wire(&ipc_channel_route_admin, CHANNEL_CLIENT, &admin_ops);
	authd = wire(&ipc_channel_users, CHANNEL_SERVER, &authd_ops);
	return 0;
}

static int
teardown(void **state)
{
	char cmd[100];

	(void)state;
	if (service.state)
		routed_ops.on_stop(&service);
	channel_free(&rcpt);
	channel_free(&route);
	channel_free(&admin);
	if (authd)
		channel_free(&authd);
	if (remoted)
		channel_free(&remoted);
	loop_free(&service.loop);
	arena_free(&arena);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static void
turns(int n)
{
	while (n-- > 0)
		(void)loop_turn(service.loop, 5);
}

static void
ask_rcpt(uint64_t id, const char *address, bool may_relay)
{
	struct ipc_rcpt_ask m = { .id = id, .address = span_str(address), .sender = SPAN("s@far.example"),
	    .client_addr = SPAN("192.0.2.1"),
		.may_relay = may_relay };

	assert_true(ipc_send_rcpt_ask(rcpt, &m));
}

static void
recipients_are_checked_in_a_batch(void **state)
{
	(void)state;
	ask_rcpt(1, "alice@example.org", false);
	ask_rcpt(2, "nobody@example.org", false);
	ask_rcpt(3, "x@far.example", false);
	ask_rcpt(4, "x@far.example", true);
	ask_rcpt(5, "postmaster", false);
	turns(10);
	assert_non_null(strstr(got, "1:2.1.5 "));
	assert_non_null(strstr(got, "2:5.1.1 "));
	assert_non_null(strstr(got, "3:5.7.1 "));
	assert_non_null(strstr(got, "4:2.1.5 "));
	assert_non_null(strstr(got, "5:2.1.5 "));
}

static void
answers_are_remembered_until_a_change(void **state)
{
	struct ipc_users_changed changed = { .address = SPAN("alice@example.org") };

	(void)state;
	for (uint64_t i = 1; i < 5; i++) {
		ask_rcpt(i, "alice@example.org", false);
		turns(5);
	}
	assert_int_equal(asked, 1);
	assert_true(ipc_send_users_changed(authd, &changed));
	turns(3);
	ask_rcpt(9, "alice@example.org", false);
	turns(5);
	assert_int_equal(asked, 2);
	assert_non_null(strstr(got, "9:2.1.5"));
}

static void
questions_outlive_authd(void **state)
{
	(void)state;
	mute = true;
	ask_rcpt(1, "alice@example.org", false);
	turns(5);
	assert_string_equal(got, "");
	channel_free(&authd);
	turns(5);
	mute = false;
	authd = wire(&ipc_channel_users, CHANNEL_SERVER, &authd_ops);
	turns(8);
	assert_string_equal(got, "1:2.1.5 ");
}

static void
a_made_up_answer_is_a_violation(void **state)
{
	struct ipc_users_answer a = { .id = 77 };

	(void)state;
	assert_true(ipc_send_users_answer(authd, &a));
	turns(5);
	assert_non_null(strstr(got, "closed"));
	authd = NULL;
}

static void
recipients_are_resolved(void **state)
{
	struct ipc_route_ask m = { .id = 1, .address = SPAN("alice+x@example.org"), .sender = SPAN("") };

	(void)state;
	assert_true(ipc_send_route_ask(route, &m));
	turns(8);
	assert_string_equal(got, "1:1 example.org alice+x@example.org example.org/alice;done 1 ");
	got[0] = '\0';
	m.id = 2;
	m.address = SPAN("bob@far.example");
	assert_true(ipc_send_route_ask(route, &m));
	turns(8);
	assert_string_equal(got, "2:0 far.example bob@far.example ;done 2 ");
}

static void
a_long_list_goes_out_whole(void **state)
{
	enum { N = 60000 };
	char path[100], conf[300];
	FILE *f;
	struct ipc_route_ask m = { .id = 1, .address = SPAN("big@example.org"), .sender = SPAN("s@x.example") };

	(void)state;
	snprintf(path, sizeof(path), "%s/list", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	for (int i = 0; i < N; i++)
		fprintf(f, "subscriber-number-%d@some.domain.example.net\n", i);
	fclose(f);
	snprintf(conf, sizeof(conf), "alias_expansion_limit = 100000\nalias_maps = inline:{big=:include:%s}\n", path);
	service.conf = conf_of(conf);
	((struct routed *)service.state)->readable[0] = "/";
	routed_ops.on_reload(&service, NULL);
	assert_true(ipc_send_route_ask(route, &m));
	for (int i = 0; i < 3000 && !strstr(got, "done"); i++)
		turns(1);
	assert_non_null(strstr(got, "done 1"));
	assert_int_equal(targets, N);
}

static void
mailctl_is_told_why(void **state)
{
	struct ipc_route_admin_explain m = { .id = 1, .address = SPAN("postmaster@example.org"), .sender = SPAN("") };
	struct ipc_route_admin_rebuild r = { .id = 2 };

	(void)state;
	assert_true(ipc_send_route_admin_explain(admin, &m));
	turns(8);
	assert_non_null(strstr(got, "alias_maps inline:{...}: postmaster is alice"));
	assert_non_null(strstr(got, "=> alice@example.org: delivered to the mailbox example.org/alice"));
	assert_non_null(strstr(got, "ok=1"));
	got[0] = '\0';
	m.address = SPAN("list@example.org");
	assert_true(ipc_send_route_admin_explain(admin, &m));
	turns(8);
	assert_non_null(strstr(got, "ok=0"));
	got[0] = '\0';
	assert_true(ipc_send_route_admin_rebuild(admin, &r));
	turns(8);
	assert_string_equal(got, "ok=1 ");
}

static void
a_reload_restarts_what_waits(void **state)
{
	(void)state;
	mute = true;
	ask_rcpt(1, "alice@example.org", false);
	turns(5);
	service.conf = conf_of("alias_maps = inline:{alice=bob@far.example}\n");
	((struct routed *)service.state)->readable[0] = "/";
	routed_ops.on_reload(&service, NULL);
	turns(5);
	assert_string_equal(got, "1:2.1.5 ");
	/* the late answer to the question before is nobody's, and no violation */
	struct ipc_users_answer late = { .id = last_question };
	assert_true(ipc_send_users_answer(authd, &late));
	turns(5);
	assert_string_equal(got, "1:2.1.5 ");
}

/* ---- callouts ---- */

static void
with_callouts(const char *conf)
{
	char all[2000];

	snprintf(all, sizeof(all), "alias_maps = inline:{postmaster=alice}\nrelay_domains = relay.example\ntransport_maps = inline:{relay.example=smtp:[10.0.0.1]}\n%s", conf);
	service.conf = conf_of(all);
	((struct routed *)service.state)->readable[0] = "/";
	snprintf(((struct routed *)service.state)->verify_dir, sizeof(((struct routed *)service.state)->verify_dir), "%s/verify", dir);
	routed_ops.on_reload(&service, NULL);
	remoted = wire(&ipc_channel_callout, CHANNEL_SERVER, &remoted_ops);
	called[0] = '\0';
}

static void
answer(enum callout_outcome outcome, const char *code, const char *reply)
{
	struct ipc_callout_answer a = { .id = callout, .outcome = (uint8_t)outcome, .code = span_str(code), .peer = SPAN("mx[10.0.0.1]:25"), .reply = span_str(reply) };

	assert_true(ipc_send_callout_answer(remoted, &a));
	got[0] = called[0] = '\0';
	turns(5);
}

static void
ask(uint64_t id, const char *address, const char *sender, bool may_relay)
{
	struct ipc_rcpt_ask m = { .id = id, .address = span_str(address), .sender = span_str(sender), .client_addr = SPAN("192.0.2.1"), .may_relay = may_relay };

	got[0] = '\0';
	assert_true(ipc_send_rcpt_ask(rcpt, &m));
	turns(6);
}

static void
relay_recipients_are_verified(void **state)
{
	(void)state;
	with_callouts("smtpd_verify_relay_recipients = yes\n");
	ask(1, "bob@relay.example", "s@far.example", false);
	assert_string_equal(got, "");
	assert_string_equal(called, "[10.0.0.1] bob@relay.example <>");
	answer(CALLOUT_TAKES, "2.1.5", "250 ok");
	assert_non_null(strstr(got, "1:2.1.5 0 |bob@relay.example: relay.example is a relay domain"));
	assert_non_null(strstr(got, "; callout for bob@relay.example: mx[10.0.0.1]:25 says 250 ok (asked now);"));
	ask(2, "eve@relay.example", "s@far.example", false);
	answer(CALLOUT_REFUSES, "5.1.1", "550 5.1.1 no eve");
	assert_string_equal(got, "2:5.1.1 550 Recipient address rejected: undeliverable: 550 5.1.1 no eve|"
				 "callout for eve@relay.example: mx[10.0.0.1]:25 says 550 5.1.1 no eve (asked now);");
	ask(3, "joe@relay.example", "s@far.example", false);
	answer(CALLOUT_LATER, "4.2.1", "450 4.2.1 not now");
	assert_string_equal(got, "3:4.1.1 450 Recipient address cannot be verified now, try again later|"
				 "callout for joe@relay.example: mx[10.0.0.1]:25 says 450 4.2.1 not now (asked now);");
	ask(4, "eve@relay.example", "s@far.example", false);
	assert_non_null(strstr(got, "4:5.1.1 550 "));
	ask(5, "new@relay.example", "s@far.example", true); /* ours are not made to wait */
	assert_non_null(strstr(got, "5:2.1.5 "));
	ask(6, "alice@example.org", "s@far.example", false); /* a mailbox here */
	assert_non_null(strstr(got, "6:2.1.5 "));
	assert_string_equal(called, "");
}

static void
an_access_rule_has_addresses_verified(void **state)
{
	(void)state;
	with_callouts("address_verify_sender = probe@example.org\nunverified_recipient_reject_code = 450\nunverified_sender_reject_reason = no way back to you\n"
		      "virtual_alias_maps = inline:{friend@example.org=bob@relay.example, many@example.org={bob@relay.example, eve@relay.example}}\n"
		      "smtpd_recipient_access_maps = inline:{relay.example=REJECT_UNVERIFIED_RECIPIENT, example.org=reject_unverified_recipient}\n"
		      "smtpd_sender_access_maps = inline:{far.example=reject_unverified_sender, example.org=reject_unverified_sender}\n");
	ask(1, "bob@relay.example", "s@far.example", true);
	assert_string_equal(called, "far.example s@far.example <probe@example.org>"); /* the sender first */
	answer(CALLOUT_TAKES, "2.1.5", "250 ok");
	assert_string_equal(called, "[10.0.0.1] bob@relay.example <probe@example.org>");
	answer(CALLOUT_REFUSES, "5.1.1", "550 5.1.1 no");
	assert_non_null(strstr(got, "1:4.1.1 450 Recipient address rejected: undeliverable: 550 5.1.1 no|smtpd_sender_access_maps"));
	ask(2, "alice@example.org", "x@far.example", false);
	answer(CALLOUT_REFUSES, "5.1.1", "550 5.1.1 no");
	assert_non_null(strstr(got, "2:5.1.7 550 no way back to you|"));
	ask(3, "alice@example.org", "nobody@example.org", true); /* known without a callout */
	assert_non_null(strstr(got, "3:5.1.7 550 "));
	ask(4, "alice@example.org", "alice@example.org", true);
	assert_non_null(strstr(got, "4:2.1.5 "));
	ask(5, "probe@example.org", "probe@example.org", false); /* two hosts that verify each other come to an end */
	assert_non_null(strstr(got, "5:2.1.5 "));
	ask(6, "alice@example.org", "", false);
	assert_non_null(strstr(got, "6:2.1.5 "));
	assert_string_equal(called, "");
	ask(7, "friend@example.org", "", false); /* behind an alias */
	assert_non_null(strstr(got, "7:4.1.1 450 "));
	ask(8, "many@example.org", "", false);
	assert_non_null(strstr(got, "8:2.1.5 "));
	assert_string_equal(called, "");
}

static void
mailctl_verifies(void **state)
{
	struct ipc_route_admin_verify m = { .id = 1, .address = SPAN("bob@relay.example") };

	(void)state;
	with_callouts("");
	assert_true(ipc_send_route_admin_verify(admin, &m));
	turns(5);
	assert_string_equal(called, "[10.0.0.1] bob@relay.example <>");
	answer(CALLOUT_TAKES, "2.1.5", "250 ok");
	assert_string_equal(got, "mx[10.0.0.1]:25 takes it: 250 ok (asked now)\nok=1 ");
	got[0] = '\0';
	m.verb = VERIFY_LIST;
	assert_true(ipc_send_route_admin_verify(admin, &m));
	turns(5);
	assert_string_equal(got, "bob@relay.example 0 by [10.0.0.1] mx[10.0.0.1]:25: 250 ok\nok=1 ");
	for (uint8_t verb = VERIFY_COUNT; verb >= VERIFY_FORGET; verb--) {
		got[0] = '\0';
		m.verb = verb;
		assert_true(ipc_send_route_admin_verify(admin, &m));
		turns(5);
		assert_string_equal(got, "ok=1 1");
	}
	got[0] = '\0';
	m.verb = VERIFY_SHOW;
	assert_true(ipc_send_route_admin_verify(admin, &m));
	turns(5);
	answer(CALLOUT_REFUSES, "5.1.1", "550 gone");
	assert_string_equal(got, "mx[10.0.0.1]:25 refuses it: 550 gone (asked now)\nok=0 mail for this address would be refused");
	got[0] = '\0';
	m.address = SPAN("alice@example.org");
	assert_true(ipc_send_route_admin_verify(admin, &m));
	turns(5);
	assert_string_equal(got, "no callout: it is delivered on this host\nok=1 ");
}

static void
a_client_that_goes_takes_its_question_along(void **state)
{
	(void)state;
	with_callouts("smtpd_verify_relay_recipients = yes\n");
	ask(1, "bob@relay.example", "s@far.example", false);
	assert_string_equal(called, "[10.0.0.1] bob@relay.example <>");
	channel_free(&rcpt);
	turns(5);
	answer(CALLOUT_TAKES, "2.1.5", "250 ok");
	rcpt = wire(&ipc_channel_rcpt, CHANNEL_CLIENT, &rcpt_ops);
	ask(2, "bob@relay.example", "s@far.example", false);
	assert_non_null(strstr(got, "2:2.1.5 ")); /* what began was worth knowing */
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = { T(recipients_are_checked_in_a_batch),
	    T(answers_are_remembered_until_a_change), T(questions_outlive_authd),
		T(a_made_up_answer_is_a_violation), T(recipients_are_resolved), T(a_long_list_goes_out_whole),
		    T(mailctl_is_told_why),
		T(a_reload_restarts_what_waits), T(relay_recipients_are_verified), T(an_access_rule_has_addresses_verified), T(mailctl_verifies),
		T(a_client_that_goes_takes_its_question_along) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
