/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemons/routed/route.h"
#include "mail/status.h"
#include "net/logins.h"

/* alice, bob and postmaster-less example.org; virtual.example with carol */
static const char world[] = "myhostname = mx.example.org\n"
			    "mydestination = $myhostname, example.org, localhost\n"
			    "myorigin = example.org\n"
			    "virtual_alias_domains = valias.example\n"
			    "virtual_mailbox_domains = virtual.example, .sub.example\n"
			    "relay_domains = relay.example, checked.example\n"
			    "alias_maps = inline:{postmaster=root, root=alice, list={x}, self={self, bob}, a=b, b=a, staff={alice, bob, eve@far.example}}\n"
			    "virtual_alias_maps = inline:{info@example.org=alice@example.org, @valias.example=@virtual.example,"
			    " sales@virtual.example=carol@virtual.example, keep@far.example=keep@far.example,"
			    " up@example.org=down@example.org, down@example.org=up@example.org}\n";

static struct arena arena;
static struct rules *rules;
static char explained[20000];
static const char *const users[] = { "alice@example.org", "bob@example.org", "self@example.org",
    "carol@virtual.example", "dan@a.sub.example", NULL };
static const char *include_text;
static size_t asked;

static int
teardown(void **state)
{
	(void)state;
	rules_free(&rules);
	arena_free(&arena);
	return 0;
}

static int
setup(void **state)
{
	(void)state;
	arena_init(&arena, 64 << 20);
	include_text = NULL;
	asked = 0;
	return 0;
}

/* Later lines override earlier ones of the same name. */
static void
configure(const char *base, const char *more)
{
	static struct conf_errors errors;
	const struct conf *conf;
	struct buf text;
	struct span rest = span_str(base), line;
	struct fail why;

	buf_init(&text, 1 << 20);
	while (rest.n > 0) {
		size_t name;
		char key[64];

		line = span_cut(&rest, '\n');
		name = span_chr(line, ' ');
		snprintf(key, sizeof(key), "\n%.*s =", (int)name, line.p);
		if (strstr(more, key) || strncmp(more, key + 1, strlen(key) - 1) == 0)
			continue;
		buf_printf(&text, "%.*s\n", SPAN_ARG(line));
	}
	buf_puts(&text, more);
	conf = conf_parse(buf_span(&text), &arena, &errors);
	if (!conf)
		print_message("%u: %s\n", errors.items[0].line, errors.items[0].text);
	assert_non_null(conf);
	buf_free(&text);
	rules_free(&rules);
	rules = rules_new(conf, NULL, NULL, NULL, &why);
	assert_non_null(rules);
}

static void
explain(void *arg, unsigned depth, struct span text)
{
	size_t n = strlen(explained);

	(void)arg;
	snprintf(explained + n, sizeof(explained) - n, "%*s%.*s\n", (int)depth, "", SPAN_ARG(text));
}

static bool
include(void *arg, struct span path, struct arena *a, struct span *text, struct fail *why)
{
	(void)arg;
	if (!include_text || !span_eq(path, SPAN("/list")))
		return fail_set(why, FAIL_TEMP, 0, "no such file");
	*text = arena_dup(a, span_str(include_text));
	return true;
}

static struct route_job *
run(enum route_mode mode, const char *address, const char *sender, bool may_relay)
{
	struct route_question q = { mode, span_str(address), span_str(sender), may_relay, false };
	struct route_job_ops ops = { include, explain, NULL };
	struct route_job *job;

	explained[0] = '\0';
	job = route_new(rules, &q, &ops);
	assert_non_null(job);
	while (route_run(job) == ROUTE_ASK_USER) {
		struct route_user user = { 0 };

		asked++;
		for (size_t i = 0; users[i]; i++)
			user.exists |= span_eq(route_wanted_user(job), span_str(users[i]));
		user.failed = span_eq(route_wanted_user(job), SPAN("down@virtual.example"));
		user.home = SPAN("home");
		route_answer_user(job, &user);
	}
	return job;
}

static void
verdict(const char *address, bool may_relay, unsigned want)
{
	struct route_job *job = run(ROUTE_CHECK, address, "x@y", may_relay);
	struct span text;
	unsigned status = route_verdict(job, &text);

	if (status != want)
		print_message("%s: %s\n%s", address, status_get(status)->name, explained);
	assert_int_equal(status, want);
	route_free(&job);
}

static const char agents[] = "RLFDX";

/* Targets as "R nexthop address", in order, separated by |. */
static void
goes(const char *address, const char *want)
{
	struct route_job *job = run(ROUTE_RESOLVE, address, "x@y.example", true);
	char got[4000] = "";

	for (const struct route_target *t = route_targets(job); t; t = t->next) {
		size_t n = strlen(got);

		snprintf(got + n, sizeof(got) - n, "%s%c %.*s %.*s", n ? "|" : "", agents[t->agent],
		    SPAN_ARG(t->agent == ROUTE_FAIL || t->agent == ROUTE_DEFER ? span_str(status_get(t->status)->code)
		    : t->nexthop), SPAN_ARG(t->address));
		if (t->sender.n) {
			n = strlen(got);
			snprintf(got + n, sizeof(got) - n, " from %.*s", SPAN_ARG(t->sender));
		}
	}
	if (strcmp(got, want) != 0)
		print_message("%s:\n got %s\nwant %s\n%s", address, got, want, explained);
	assert_string_equal(got, want);
	route_free(&job);
}

static void
who_may_send_where(void **state)
{
	(void)state;
	configure(world, "");
	verdict("alice@example.org", false, STATUS_RECIPIENT_OK);
	verdict("ALICE@Example.ORG", false, STATUS_RECIPIENT_OK);
	verdict("alice@localhost", false, STATUS_RECIPIENT_OK);
	verdict("alice+shop@example.org", false, STATUS_RECIPIENT_OK);
	verdict("nobody@example.org", false, STATUS_BAD_MAILBOX);
	verdict("carol@example.org", false, STATUS_BAD_MAILBOX);
	verdict("carol@virtual.example", false, STATUS_RECIPIENT_OK);
	verdict("alice@virtual.example", false, STATUS_BAD_MAILBOX);
	verdict("dan@a.sub.example", false, STATUS_RECIPIENT_OK);
	verdict("dan@sub.example", false, STATUS_RELAY_DENIED);
	verdict("down@virtual.example", false, STATUS_MAILBOX_UNKNOWN_NOW);
	verdict("x@far.example", false, STATUS_RELAY_DENIED);
	verdict("x@far.example", true, STATUS_RECIPIENT_OK);
	verdict("keep@far.example", false, STATUS_RELAY_DENIED);
	verdict("x@relay.example", false, STATUS_RECIPIENT_OK);
	verdict("info@example.org", false, STATUS_RECIPIENT_OK);
	verdict("list@example.org", false, STATUS_RECIPIENT_OK);
	verdict("postmaster", false, STATUS_RECIPIENT_OK);
	verdict("Postmaster@virtual.example", false, STATUS_RECIPIENT_OK);
	verdict("x@valias.example", false, STATUS_RECIPIENT_OK);
	verdict("x@[192.0.2.1]", false, STATUS_RELAY_DENIED);
	verdict("a@b@c", true, STATUS_BAD_SYNTAX_RECIPIENT);
}

static void
an_existing_name_is_asked_for_once(void **state)
{
	(void)state;
	configure(world, "");
	verdict("alice@example.org", false, STATUS_RECIPIENT_OK);
	assert_int_equal(asked, 1);
	verdict("x@far.example", true, STATUS_RECIPIENT_OK);
	assert_int_equal(asked, 1);
}

static void
aliases(void **state)
{
	(void)state;
	configure(world, "");
	goes("alice@example.org", "L example.org alice@example.org");
	goes("postmaster@localhost", "L example.org alice@localhost");
	goes("info@example.org", "L example.org alice@example.org");
	goes("staff@example.org",
	    "L example.org alice@example.org|L example.org bob@example.org|R far.example eve@far.example");
	goes("staff+x@example.org",
	    "L example.org alice@example.org|L example.org bob@example.org|R far.example eve@far.example");
	goes("self@example.org", "L example.org self@example.org|L example.org bob@example.org");
	goes("a@example.org", "F 5.4.6 a@example.org");
	goes("up@example.org", "F 5.4.6 up@example.org");
	goes("list@example.org", "F 5.1.1 x@example.org");
	goes("alice+shop@example.org", "L example.org alice+shop@example.org");
	goes("keep@far.example", "R far.example keep@far.example");
	goes("nobody@valias.example", "F 5.1.1 nobody@virtual.example");
	goes("carol+x@valias.example", "L virtual.example carol+x@virtual.example");
	goes("sales+tag@virtual.example", "L virtual.example carol+tag@virtual.example");
}

static void
includes_owners_and_what_is_refused(void **state)
{
	(void)state;
	configure(world,
	    "alias_maps = inline:{news={:include:/list}, owner-news=alice, cmd={|/bin/sh}, file={/tmp/x}, none={:include:/none}, final={\\bob}, bob=alice,"
	    " noreply={/dev/null}, half={alice, /dev/null}, nearly={/dev/null/x}}\n");
	include_text = "# the list\nalice\n\nbob@far.example,\n eve@far.example\n";
	goes("news@example.org",
	    "L example.org alice@example.org from owner-news@example.org|R far.example bob@far.example from owner-news@example.org"
	    "|R far.example eve@far.example from owner-news@example.org");
	goes("cmd@example.org", "F 5.7.0 cmd@example.org");
	goes("file@example.org", "F 5.7.0 file@example.org");
	goes("noreply@example.org", "X  noreply@example.org");
	goes("half@example.org", "X  half@example.org|L example.org alice@example.org");
	goes("nearly@example.org", "F 5.7.0 nearly@example.org");
	goes("none@example.org", "D 4.2.4 none@example.org");
	goes("final@example.org", "L example.org bob@example.org");
	include_text = "news\n:include:/list\n";
	goes("news@example.org", "F 5.1.1 news@example.org from owner-news@example.org");
}

static void
the_way_out(void **state)
{
	(void)state;
	configure(world,
	    "transport_maps = inline:{far.example=smtp:[gate]:26, .far.example=lmtp:unix:/run/l, {bob@example.org = lmtp:[::1]:24},"
			 " gone.example={error:5.1.6 moved away}, slow.example=retry:busy, hole.example=discard:, here.example=local:, bad.example=foo:bar, {*=:[smart]}}\n"
			 "route blocked.example { transport = error; nexthop = no thanks }\n"
			 "route relay.example { nexthop = inner.example:2525 }\n"
			 "route tls.example { tls = encrypt }\n");
	goes("x@far.example", "R [gate]:26 x@far.example");
	goes("x@a.far.example", "R lmtp:unix:/run/l x@a.far.example");
	goes("x@else.example", "R [smart] x@else.example");
	goes("bob@example.org", "R lmtp:inet:[::1]:24 bob@example.org");
	goes("alice@example.org", "L example.org alice@example.org");
	goes("x@gone.example", "F 5.1.6 x@gone.example");
	goes("x@slow.example", "D 4.0.0 x@slow.example");
	goes("x@hole.example", "X  x@hole.example");
	goes("x@here.example", "D 4.3.5 x@here.example");
	goes("x@bad.example", "D 4.3.5 x@bad.example");
	verdict("x@gone.example", true, STATUS_MOVED);
	verdict("x@slow.example", true, STATUS_TEMP);
	configure(world, "relayhost = [smart]:587\n"
			 "route blocked.example { transport = error; nexthop = no thanks }\n"
			 "route relay.example { nexthop = inner.example:2525 }\n"
			 "route tls.example { tls = encrypt }\n"
			 "route .deep.example { transport = lmtp; nexthop = unix:/x }\n");
	goes("x@else.example", "R [smart]:587 x@else.example");
	goes("x@blocked.example", "F 5.0.0 x@blocked.example");
	goes("x@relay.example", "R inner.example:2525 x@relay.example");
	goes("x@tls.example", "R [smart]:587 x@tls.example");
	goes("x@y.deep.example", "R lmtp:unix:/x x@y.deep.example");
	configure(world, "relayhost = lmtp:inet:h:24\nroute * { nexthop = [all] }\n");
	goes("x@else.example", "R [all] x@else.example");
	goes("bob@example.org", "L example.org bob@example.org");
}

/* What remoted would take for no next hop is not handed to it: it would be bounced. */
static void
a_next_hop_that_cannot_be_puts_off(void **state)
{
	static const char *const bad[] = { "smtp:gate..example", "smtp:gate.example:0", "smtp:[gate!]", "smtp:-gate", "lmtp:inet:gate..example:24", "smtp:[gate]25" };
	static const char *const good[] = { "gate.example.:26", "[192.0.2.1]:26", "[2001:db8::1]", "2001:db8::beef", "[IPv6:2001:db8::1]:26", "m\303\274ller.example" };
	char text[200], want[200];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(text, sizeof(text), "transport_maps = inline:{far.example=%s}\n", bad[i]);
		configure(world, text);
		goes("x@far.example", "D 4.3.5 x@far.example");
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		snprintf(text, sizeof(text), "transport_maps = inline:{far.example=smtp:%s}\n", good[i]);
		snprintf(want, sizeof(want), "R %s x@far.example", good[i]);
		configure(world, text);
		goes("x@far.example", want);
	}
}

/* As in Postfix's transport(5): our own domains are no business of the smart host that "*" names. */
static void
a_bare_colon_is_the_way_without_the_table(void **state)
{
	(void)state;
	configure(world, "transport_maps = inline:{example.org=:, .example.org=:, virtual.example=:, relay.example=:, own.example=:, {*=smtp:[out]}}\n"
			 "relayhost = [smart]\nroute relay.example { nexthop = inner.example }\n");
	goes("alice@example.org", "L example.org alice@example.org");
	goes("staff@example.org",
	    "L example.org alice@example.org|L example.org bob@example.org|R [out] eve@far.example");
	goes("carol@virtual.example", "L virtual.example carol@virtual.example");
	goes("x@relay.example", "R inner.example x@relay.example");
	goes("x@own.example", "R [smart] x@own.example");
	verdict("nobody@example.org", false, STATUS_BAD_MAILBOX);
	configure(world, "transport_maps = inline:{own.example=:[gate], else.example=smtp:}\nrelayhost = [smart]\n");
	goes("x@own.example", "R [gate] x@own.example");
	goes("x@else.example", "R else.example x@else.example");
}

/* As in Postfix's pcre_table(5): else "not one of ours" would be true of the bare domain of ours. */
static void
patterns_see_whole_addresses_only(void **state)
{
	static const char *const maps[] = { "transport_maps", "virtual_alias_maps", "relay_recipient_maps", "local_recipient_maps" };
	char name[] = "/tmp/test_route.XXXXXX", text[200];
	int fd = mkstemp(name);

	(void)state;
	assert_true(fd >= 0);
	dprintf(fd, "!/@(example\\.org|virtual\\.example|relay\\.example)$/ smtp:[out]\n");
	close(fd);
	for (size_t i = 0; i < sizeof(maps) / sizeof(*maps); i++) {
		snprintf(text, sizeof(text), "%s = pcre:%s\n", maps[i], name);
		configure(world, text);
		verdict("alice@example.org", false, STATUS_RECIPIENT_OK);
		verdict("nobody@example.org", false, STATUS_BAD_MAILBOX);
		verdict("x@relay.example", false, i == 2 ? STATUS_BAD_MAILBOX : STATUS_RECIPIENT_OK);
		goes("alice+x@example.org", "L example.org alice+x@example.org");
		goes("carol+x@virtual.example", "L virtual.example carol+x@virtual.example");
		if (i == 0)
			goes("x@far.example", "R [out] x@far.example");
	}
	remove(name);
}

/* Way and login that a sender's mail to x@far.example has; with which login it would go by the fallback relay (NULL: none). */
static void
sent_by_either(const char *sender, const char *nexthop, const char *login, const char *at_fallback)
{
	struct route_job *job = run(ROUTE_RESOLVE, "x@far.example", sender, true);
	const struct route_target *t = route_targets(job);

	assert_int_equal(t->agent, nexthop ? ROUTE_REMOTE : ROUTE_DEFER);
	if (nexthop) {
		assert_true(span_eq(t->nexthop, span_str(nexthop)));
		assert_true(span_eq(logins_get(t->logins, t->nexthop), span_str(login)));
		assert_int_equal(t->logins.n > 0, *login || at_fallback);
		assert_true(!at_fallback || span_eq(logins_get(t->logins, SPAN("[fallback.example]:587")), span_str(at_fallback)));
	}
	assert_null(strstr(explained, "secret"));
	route_free(&job);
}

static void
sent_by(const char *sender, const char *nexthop, const char *login)
{
	sent_by_either(sender, nexthop, login, NULL);
}

static void
fallback_relays_have_logins(void **state)
{
	(void)state;
	configure(world, "smtp_fallback_relay = [none.example], [fallback.example]:587\n"
			 "smtp_sasl_password_maps = inline:{fallback.example=f:secret, far.example=x:secret}\n");
	sent_by_either("a@one.example", "far.example", "x:secret", "f:secret");
	configure(world, "smtp_fallback_relay = [fallback.example]:587\nsmtp_sender_dependent_authentication = yes\n"
			 "smtp_sasl_password_maps = inline:{[fallback.example]:587=f:secret, a@one.example=a:secret}\n");
	sent_by_either("b@one.example", "far.example", "", "f:secret");
	sent_by_either("a@one.example", "far.example", "a:secret", "a:secret");
	configure(world, "smtp_fallback_relay = [fallback.example]:587\ntransport_maps = inline:{far.example=lmtp:inet:[smart.example]:24}\n"
			 "smtp_sasl_password_maps = inline:{fallback.example=f:secret}\n");
	sent_by("a@one.example", "lmtp:inet:[smart.example]:24", ""); /* which has no fallback */
	configure(world, "smtp_fallback_relay = [fallback.example]:587\nsmtp_sasl_password_maps = inline:{fallback.example=nothing}\n");
	sent_by("", NULL, NULL);
}

static void
smart_hosts_by_sender_and_their_logins(void **state)
{
	(void)state;
	configure(world, "relayhost = [smart.example]:587\n"
			 "sender_dependent_relayhost_maps = inline:{a@one.example=[one.example], @two.example=two.example:2525, d@one.example=DUNNO}\n"
			 "smtp_sasl_password_maps = inline:{[smart.example]:587=s:secret, one.example=o:secret:2, a@one.example=a:secret, broken.example=nothing}\n");
	sent_by("a@one.example", "[one.example]", "o:secret:2");
	sent_by("a+x@one.example", "[one.example]", "o:secret:2");
	sent_by("b@one.example", "[smart.example]:587", "s:secret");
	sent_by("d@one.example", "[smart.example]:587", "s:secret");
	sent_by("x@two.example", "two.example:2525", "");
	sent_by("", "[smart.example]:587", "s:secret");
	configure(world, "smtp_sender_dependent_authentication = yes\nsender_dependent_relayhost_maps = inline:{<>=broken.example}\n"
			 "smtp_sasl_password_maps = inline:{a@one.example=a:secret, @two.example=t:secret, far.example=f:secret, broken.example=nothing}\n");
	sent_by("a+y@one.example", "far.example", "a:secret");
	sent_by("b@two.example", "far.example", "t:secret");
	sent_by("b@three.example", "far.example", "f:secret");
	sent_by("", NULL, NULL);
}

static void
recipients_by_table(void **state)
{
	(void)state;
	configure(world, "relay_recipient_maps = inline:{ok@relay.example=x, @checked.example=x}\n"
			 "local_recipient_maps = inline:{frank=x}\nmailbox_transport = lmtp:unix:/run/dovecot/lmtp\n"
			 "virtual_mailbox_maps = inline:{gina@virtual.example=x}\nvirtual_transport = lmtp:unix:/v\n");
	verdict("ok@relay.example", false, STATUS_RECIPIENT_OK);
	verdict("ok+x@relay.example", false, STATUS_RECIPIENT_OK);
	verdict("no@relay.example", false, STATUS_BAD_MAILBOX);
	verdict("any@checked.example", false, STATUS_RECIPIENT_OK);
	verdict("frank@example.org", false, STATUS_RECIPIENT_OK);
	goes("frank@example.org", "R lmtp:unix:/run/dovecot/lmtp frank@example.org");
	goes("alice@example.org", "R lmtp:unix:/run/dovecot/lmtp alice@example.org");
	goes("gina@virtual.example", "R lmtp:unix:/v gina@virtual.example");
	goes("carol@virtual.example", "R lmtp:unix:/v carol@virtual.example");
	goes("hugo@virtual.example", "F 5.1.1 hugo@virtual.example");
}

/* Else every name is taken, and bounced when the host that it goes to refuses it. */
static void
recipients_by_table_whatever_the_way(void **state)
{
	(void)state;
	configure(world, "local_recipient_maps = inline:{frank=x}\nvirtual_mailbox_maps = inline:{gina@virtual.example=x}\n"
			 "transport_maps = inline:{example.org=smtp:[in], virtual.example=lmtp:inet:in:24, hugo@virtual.example=retry:later}\n");
	verdict("frank@example.org", false, STATUS_RECIPIENT_OK);
	verdict("alice@example.org", false, STATUS_RECIPIENT_OK);
	verdict("staff@example.org", false, STATUS_RECIPIENT_OK);
	verdict("nobody@example.org", false, STATUS_BAD_MAILBOX);
	verdict("gina@virtual.example", false, STATUS_RECIPIENT_OK);
	verdict("carol+x@virtual.example", false, STATUS_RECIPIENT_OK);
	verdict("nobody@virtual.example", false, STATUS_BAD_MAILBOX);
	verdict("hugo@virtual.example", false, STATUS_TEMP);
	goes("frank@example.org", "R [in] frank@example.org");
	goes("staff@example.org", "R [in] staff@example.org");
	goes("gina@virtual.example", "R lmtp:inet:in:24 gina@virtual.example");
	configure(world, "transport_maps = inline:{example.org=smtp:[in], virtual.example=lmtp:inet:in:24}\n");
	verdict("nobody@example.org", false, STATUS_RECIPIENT_OK); /* only that host knows */
	verdict("nobody@virtual.example", false, STATUS_RECIPIENT_OK);
}

static void
luser_and_postmaster(void **state)
{
	(void)state;
	configure(world, "luser_relay = bob\n");
	goes("nobody@example.org", "L example.org bob@example.org");
	verdict("nobody@example.org", false, STATUS_RECIPIENT_OK);
	configure(world, "luser_relay = @far.example\n");
	goes("nobody@example.org", "R far.example nobody@far.example");
	configure(world, "mydestination = localhost\nmyorigin = head.example\n"); /* of a host that leaves its mail to another */
	verdict("Postmaster", false, STATUS_RECIPIENT_OK);
	goes("postmaster", "R head.example postmaster@head.example");
	verdict("Postmaster@head.example", false, STATUS_RECIPIENT_OK); /* as smtpd has made it of that */
	verdict("postmaster@far.example", false, STATUS_RELAY_DENIED);
	verdict("postmaster+x@head.example", false, STATUS_RELAY_DENIED);
	verdict("root@head.example", false, STATUS_RELAY_DENIED);
	configure(world, "alias_maps =\n");
	verdict("postmaster@example.org", false, STATUS_MISCONFIGURED);
	goes("postmaster@virtual.example", "D 4.3.5 postmaster@virtual.example");
}

static void
failures_put_off_the_whole(void **state)
{
	(void)state;
	configure(world, "alias_maps = inline:{l={alice, down@virtual.example, bob}}\n");
	goes("l@example.org", "D 4.1.1 l@example.org");
	configure(world, "alias_maps = inline:{l=alice}, file:/nonexistent/aliases\n");
	goes("alice@example.org", "D 4.4.3 alice@example.org");
	verdict("alice@example.org", false, STATUS_DIRECTORY_TEMP);
	verdict("carol@virtual.example", false, STATUS_RECIPIENT_OK);
}

static void
expansion_is_bounded(void **state)
{
	char text[4000] = "alias_expansion_limit = 50\nalias_maps = inline:{big={";

	(void)state;
	for (int i = 0; i < 100; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "u%d@far.example,", i);
	strcat(text, "}}\n");
	configure(world, text);
	goes("big@example.org", "D 4.2.4 big@example.org");
	strcpy(strchr(text, '{'), "{lists={one, two}, one={alice, bob}, two={");
	for (int i = 0; i < 50; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "u%d@far.example,", i);
	strcat(text, "}}\n");
	configure(world, text);
	goes("lists@example.org", "D 4.2.4 lists@example.org"); /* not the first half of it */
	strcpy(text, "alias_recursion_limit = 5\nalias_maps = inline:{");
	for (int i = 0; i < 10; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "n%d=n%d,", i, i + 1);
	strcat(text, "}\n");
	configure(world, text);
	goes("n0@example.org", "F 5.4.6 n5@example.org");
}

static void
explanations_name_the_rule(void **state)
{
	struct route_job *job;

	(void)state;
	configure(world, "");
	job = run(ROUTE_RESOLVE, "postmaster", "x@y", true);
	assert_non_null(strstr(explained, "mydestination has example.org"));
	assert_non_null(strstr(explained, "alias_maps inline:{"));
	assert_non_null(strstr(explained, "postmaster is root"));
	assert_non_null(strstr(explained, "alice@example.org is a mailbox"));
	assert_true(route_why(job).n > 0);
	route_free(&job);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = { T(who_may_send_where), T(an_existing_name_is_asked_for_once), T(aliases),
	    T(includes_owners_and_what_is_refused),
		T(the_way_out), T(a_next_hop_that_cannot_be_puts_off), T(a_bare_colon_is_the_way_without_the_table),
		T(patterns_see_whole_addresses_only), T(smart_hosts_by_sender_and_their_logins), T(fallback_relays_have_logins), T(recipients_by_table), T(recipients_by_table_whatever_the_way), T(luser_and_postmaster), T(failures_put_off_the_whole),
		    T(expansion_is_bounded),
		T(explanations_name_the_rule) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
