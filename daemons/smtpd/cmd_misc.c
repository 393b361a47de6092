/* SPDX-License-Identifier: ISC
 *
 * NOOP, VRFY, EXPN, ETRN, HELP, QUIT, XCLIENT, and what is no mail at all.
 */
#include <stdio.h>

#include "command.h"
#include "mail/domain.h"

void
cmd_noop(struct session *s, struct span args)
{
	(void)args;
	reply(s, REPLY_OK, SPAN_NONE);
}

void
cmd_quit(struct session *s, struct span args)
{
	(void)args;
	reply(s, REPLY_BYE, SPAN_NONE);
	reply_close(s);
}

void
cmd_refused(struct session *s, struct span args)
{
	(void)args;
	reply_status(s, STATUS_NOT_IMPLEMENTED, SPAN_NONE);
}

void
cmd_foreign(struct session *s, struct span args)
{
	(void)args;
	s->ports->note(s->owner, SESSION_NOTE_DROPPED, SPAN("speaks HTTP"));
	reply_status_code(s, STATUS_PROTOCOL, 554, SPAN("This is a mail server"));
	reply_close(s);
}

/* RFC 5321 7.3: no more than RCPT would tell. */
void
cmd_vrfy(struct session *s, struct span args)
{
	struct ipc_rcpt_ask ask = { .about = RCPT_VRFY, .client_addr = s->address, .sasl_user = s->user, .may_relay = session_may_relay(s) };
	unsigned flags = ADDRESS_NO_DOMAIN;
	struct address a;
	struct fail why;
	size_t used;
	bool good;

	if (s->policy->conf->disable_vrfy_command) {
		reply_status(s, STATUS_NOT_IMPLEMENTED, SPAN("VRFY is switched off"));
		return;
	}
	if (s->policy->submission && !s->user.n && !s->trusted) {
		reply_status(s, STATUS_AUTH_REQUIRED, SPAN_NONE);
		return;
	}
	if (span_caseends(args, SPAN(" SMTPUTF8")) && s->policy->extensions & EXT(SMTPUTF8)) { /* RFC 6531 3.7.4.2 */
		args = span_trim(span_sub(args, 0, args.n - sizeof("SMTPUTF8")));
		flags |= ADDRESS_UTF8;
		ask.smtputf8 = true;
	}
	if (args.n && args.p[0] == '<')
		good = address_parse_path(&a, args, flags, &used, &why) && used == args.n;
	else
		good = address_parse(&a, args, flags, &why);
	if (!good) {
		reply_status(s, STATUS_BAD_SYNTAX_RECIPIENT, SPAN_NONE);
		return;
	}
	good = session_set(s, &s->subject, address_text(&a));
	ask.address = s->subject;
	if (!good || !s->ports->ask_rcpt(s->owner, &ask)) {
		reply_status(s, STATUS_SYSTEM_LOCAL_TEMP, SPAN_NONE);
		return;
	}
	s->ask_id = ask.id;
	s->wait = WAIT_VRFY;
}

/* RFC 1985 5.1: nothing is sent to the client; what waits is tried where it goes. */
void
cmd_etrn(struct session *s, struct span args)
{
	struct ipc_intake_flush ask = { .below = args.p[0] == '@' };

	if (!s->may_etrn || !(s->policy->extensions & EXT(ETRN))) {
		reply_status_code(s, STATUS_DENIED_TEMP, 459, SPAN("Node not allowed: ETRN is not for you"));
		return;
	}
	if (args.p[0] == '#') { /* RFC 1985 5.3 */
		reply_status_code(s, STATUS_DENIED_TEMP, 459, SPAN("Node not allowed: there are no queues with names here"));
		return;
	}
	args = span_from(args, ask.below);
	if (args.n > B_HOST || !domain_valid(args, false)) {
		reply_status(s, STATUS_BAD_ARGUMENT, SPAN("Syntax: ETRN domain"));
		return;
	}
	if (!session_set(s, &s->subject, args)) {
		reply_status(s, STATUS_SYSTEM_LOCAL_TEMP, SPAN_NONE);
		return;
	}
	ask.domain = s->subject;
	if (!s->ports->ask_flush(s->owner, &ask)) {
		reply_status_code(s, STATUS_SYSTEM_LOCAL_TEMP, 458, SPAN("Unable to queue messages now"));
		return;
	}
	s->ask_id = ask.id;
	s->wait = WAIT_FLUSH;
}

void
session_on_flushed(struct session *s, const struct ipc_intake_flushed *m)
{
	char text[B_HOST + 80];

	if (s->wait != WAIT_FLUSH || m->id != s->ask_id)
		return;
	s->wait = WAIT_CLIENT;
	s->progress++;
	if (m->status != STATUS_OK)
		(void)snprintf(text, sizeof(text), "Unable to queue messages for node %.*s now", SPAN_ARG(s->subject));
	else if (!m->count)
		(void)snprintf(text, sizeof(text), "No messages waiting for node %.*s", SPAN_ARG(s->subject));
	else
		(void)snprintf(text, sizeof(text), "%llu pending messages for node %.*s started", (unsigned long long)m->count, SPAN_ARG(s->subject));
	reply_status_code(s, m->status == STATUS_OK ? STATUS_OK : STATUS_SYSTEM_LOCAL_TEMP, m->status != STATUS_OK ? 458 : m->count ? 253 : 251,
	    span_str(text));
}

static bool
shown(const struct session *s, const struct command *c)
{
	return c->syntax[0] && c->run != cmd_refused && c->run != cmd_xclient && c->run != cmd_xforward && (c->run != cmd_etrn || s->may_etrn) &&
	    !(c->flags & (s->policy->lmtp ? COMMAND_SMTP : COMMAND_LMTP));
}

/* RFC 2034 4: the code stands in each line. */
static void
say_help(struct session *s, bool more, struct span text)
{
	struct buf line;

	buf_init(&line, 1024);
	if (s->extended && s->policy->extensions & EXT(ENHANCEDSTATUSCODES))
		buf_puts(&line, "2.0.0 ");
	buf_put(&line, text);
	reply_part(s, 214, more, buf_span(&line));
	buf_free(&line);
}

void
cmd_help(struct session *s, struct span args)
{
	struct span topic = span_word(&args);
	struct buf line;

	buf_init(&line, 1024);
	for (size_t i = 0; i < commands_count; i++) {
		if (!shown(s, &commands[i]))
			continue;
		if (topic.n && span_caseeq(commands[i].verb, topic)) {
			say_help(s, false, span_str(commands[i].syntax));
			buf_free(&line);
			return;
		}
		buf_printf(&line, " %.*s", SPAN_ARG(commands[i].verb));
	}
	say_help(s, true, SPAN("Commands:"));
	say_help(s, true, span_from(buf_span(&line), 1));
	say_help(s, false, SPAN("HELP and a command shows how it is written"));
	buf_free(&line);
}

/* A value of XCLIENT, decoded; empty for the two words that say there is none. */
static bool
xclient_value(struct buf *out, struct span value)
{
	buf_reset(out);
	if (span_caseeq(value, SPAN("[UNAVAILABLE]")) || span_caseeq(value, SPAN("[TEMPUNAVAIL]")))
		return true;
	if (!xtext_decode(out, value) || buf_len(out) > B_HOST)
		return false;
	for (size_t i = 0; i < buf_len(out); i++)
		if (!ascii_print(buf_span(out).p[i]) || buf_span(out).p[i] == ' ')
			return false;
	return true;
}

/* Each NAME=VALUE of args, decoded. False: one is none, or was not taken. */
static bool
attributes(struct session *s, struct span args, bool (*take)(struct session *s, struct span name, struct span value))
{
	struct buf value;
	struct span word;
	bool good = true;

	buf_init(&value, 1024);
	while (good && (word = span_word(&args)).n) {
		struct span name = span_cut(&word, '=');

		good = word.p && xclient_value(&value, word) && take(s, name, buf_span(&value));
	}
	buf_free(&value);
	return good;
}

static struct span
address_of(struct span value)
{
	return span_casestarts(value, SPAN("IPV6:")) ? span_from(value, 5) : value;
}

/* Empty, where it is not known, is fine. */
static bool
is_address(struct session *s, struct span value)
{
	struct session_peer who;
	struct buf literal;
	bool good;

	buf_init(&literal, 128);
	good = !value.n || s->ports->client_at(s->owner, address_of(value), &who, &literal);
	buf_free(&literal);
	return good;
}

/* All rights are those of the new address, that to XCLIENT as well: behind a proxy that goes on to pass bytes a stranger speaks. */
static bool
take_addr(struct session *s, struct span value)
{
	struct span address = address_of(value);
	struct session_peer who = { .trusted = false };
	struct buf literal;
	bool good;

	buf_init(&literal, 128);
	(void)s->ports->client_at(s->owner, address, &who, &literal);
	s->trusted = who.trusted;
	s->may_xclient = who.xclient;
	s->may_xforward = who.xforward;
	s->may_etrn = who.etrn;
	if (!s->named)
		s->name = SPAN_NONE;
	s->named = true;
	good = session_set(s, &s->address, address.n ? address : SPAN("unknown")) && session_set(s, &s->literal, buf_span(&literal));
	buf_free(&literal);
	return good;
}

static bool
take_name(struct session *s, struct span value)
{
	s->named = true;
	return session_set(s, &s->name, value);
}

static bool take_login(struct session *s, struct span value) { return session_set(s, &s->user, value); }
static bool take_helo(struct session *s, struct span value) { return session_set(s, &s->helo, value); }

/* good: NULL where any value is. take: NULL where it changes nothing here. */
static const struct {
	const char *name;
	bool (*good)(struct session *s, struct span value);
	bool (*take)(struct session *s, struct span value);
} xclient_names[] = {
	{ "NAME", NULL, take_name }, { "ADDR", is_address, take_addr }, { "LOGIN", NULL, take_login }, { "HELO", NULL, take_helo },
	{ "PORT", NULL, NULL }, { "PROTO", NULL, NULL }, { "DESTADDR", NULL, NULL }, { "DESTPORT", NULL, NULL },
};
enum { XCLIENT_NAMES = sizeof(xclient_names) / sizeof(xclient_names[0]) };

static size_t
xclient_row(struct span name)
{
	size_t i = 0;

	while (i < XCLIENT_NAMES && !span_caseeq(name, span_str(xclient_names[i].name)))
		i++;
	return i;
}

static bool
xclient_good(struct session *s, struct span name, struct span value)
{
	size_t i = xclient_row(name);

	return i < XCLIENT_NAMES && (!xclient_names[i].good || xclient_names[i].good(s, value));
}

static bool
xclient_take(struct session *s, struct span name, struct span value)
{
	size_t i = xclient_row(name);

	return i < XCLIENT_NAMES && (!xclient_names[i].take || xclient_names[i].take(s, value));
}

/* A proxy that we trust says for whom it speaks; then all begins anew, as Postfix has it. */
void
cmd_xclient(struct session *s, struct span args)
{
	if (!s->may_xclient) {
		reply_status(s, STATUS_DENIED, SPAN("XCLIENT is not for you"));
		return;
	}
	if (!attributes(s, args, xclient_good)) {
		reply_status(s, STATUS_BAD_PARAMETER, SPAN_NONE);
		return;
	}
	session_forget(s);
	s->certificate = NULL; /* it is the proxy's */
	if (attributes(s, args, xclient_take))
		session_greet(s);
	else { /* half a client is none */
		reply_status_code(s, STATUS_SYSTEM_LOCAL_TEMP, 421, SPAN_NONE);
		reply_close(s);
	}
}

static bool
xforward_take(struct session *s, struct span name, struct span value)
{
	if (span_caseeq(name, SPAN("NAME")))
		return session_set(s, &s->forward.name, value);
	if (span_caseeq(name, SPAN("ADDR")))
		return is_address(s, value) && session_set(s, &s->forward.address, address_of(value));
	if (span_caseeq(name, SPAN("HELO")))
		return session_set(s, &s->forward.helo, value);
	if (span_caseeq(name, SPAN("PROTO")))
		return value.n <= B_NAME && session_set(s, &s->forward.protocol, value);
	return span_caseeq(name, SPAN("PORT")) || span_caseeq(name, SPAN("IDENT")) || span_caseeq(name, SPAN("SOURCE"));
}

/* A content filter that we trust says whose a message was before it came to it. Nothing is decided by it. */
void
cmd_xforward(struct session *s, struct span args)
{
	bool good;

	if (!s->may_xforward) {
		reply_status(s, STATUS_DENIED, SPAN("XFORWARD is not for you"));
		return;
	}
	if (!s->forward.set)
		s->forward.name.n = s->forward.address.n = s->forward.helo.n = s->forward.protocol.n = 0;
	good = attributes(s, args, xforward_take);
	s->forward.set = good;
	if (good)
		reply(s, REPLY_OK, SPAN_NONE);
	else
		reply_status(s, STATUS_BAD_PARAMETER, SPAN_NONE);
}
