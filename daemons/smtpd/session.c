/* SPDX-License-Identifier: ISC */
#include "session.h"

#include <string.h>

#include "command.h"
#include "filter.h"

_Static_assert((int)SESSION_LINE_MAX == SASL_LINE_MAX + 2, "a SASL response is the longest line");

enum {
	SESSION_MEMORY = 16384,
	COMMAND_MAX = 2048,          /* RFC 5321 4.5.3.1.4 asks for 512 and more with each extension */
	ASK_TIMEOUT_MS = 60 * 1000,
	COMMIT_TIMEOUT_MS = 300 * 1000, /* the client waits ten minutes: RFC 5321 4.5.3.2.6 */
	HANDSHAKE_TIMEOUT_MS = 60 * 1000,
	NAME_TIMEOUT_MS = 20 * 1000,
	FILTER_TIMEOUT_MS = 1200 * 1000, /* verifyd keeps each filter to its own time limit */
};

const struct command commands[] = {
#define COMMAND(verb, states, args, flags, rfc, syntax, handler) { SPAN_INIT(verb), states, args, flags, syntax, handler },
#include "commands.def"
};
const size_t commands_count = sizeof(commands) / sizeof(*commands);

bool
session_set(struct session *s, struct span *fact, struct span value)
{
	char *room = fact->p && fact->n >= value.n ? (char *)(uintptr_t)fact->p : arena_alloc(&s->mem, value.n + 1);

	if (!room)
		return false;
	memmove(room, value.p ? value.p : "", value.n);
	*fact = span_of(room, value.n);
	return true;
}

void
session_init(struct session *s, const struct policy *policy, const struct session_peer *peer,
    const struct session_ports *ports, void *owner)
{
	*s = (struct session){
		.ports = ports, .owner = owner, .policy = policy, .state = SESSION_START,
		.trusted = peer->trusted, .patient = peer->patient, .may_xclient = peer->xclient, .may_xforward = peer->xforward, .may_etrn = peer->etrn, .may_tls = peer->tls,
	};
	sasl_init(&s->sasl);
	arena_init(&s->mem, SESSION_MEMORY);
	arena_init(&s->mail_mem, 0);
	buf_init(&s->held, 65536);
	(void)session_set(s, &s->address, peer->address);
	(void)session_set(s, &s->literal, peer->literal);
}

static void
greet_now(struct session *s)
{
	s->wait = WAIT_CLIENT;
	reply_part(s, 220, false, s->policy->listener->banner);
}

void
session_greet(struct session *s)
{
	const struct policy *p = s->policy;

	if (p->conf->smtpd_greet_wait > 0 && !s->trusted && !s->patient && !s->tls.n && !p->submission && !p->lmtp && !p->local)
		s->wait = WAIT_GREET;
	else
		greet_now(s);
}

/* RFC 5321 3.1: the client waits for the greeting. */
static void
spoke_early(struct session *s)
{
	s->wait = WAIT_CLIENT;
	s->ports->note(s->owner, SESSION_NOTE_DROPPED, SPAN("spoke before the greeting"));
	reply_line(s, SPAN("554 You spoke before the greeting"));
	reply_close(s);
}

void
session_ask_greeting(struct session *s)
{
	struct ipc_rcpt_ask ask = { .about = RCPT_CONNECTION, .client_addr = s->address };

	if (s->trusted || s->policy->local || !s->policy->conf->smtpd_client_connection_rate_limit || !s->ports->ask_rcpt(s->owner, &ask)) {
		session_greet(s);
		return;
	}
	s->ask_id = ask.id;
	s->wait = WAIT_RATE;
}

void
session_turn_away(struct session *s, const char *code, const char *why)
{
	struct span line = arena_printf(&s->mem, "421 %s %.*s %s", code, SPAN_ARG(s->policy->conf->myhostname), why);

	reply_line(s, line);
	reply_close(s);
}

void
session_free(struct session *s)
{
	transaction_end(s);
	filter_close(s);
	sasl_end(&s->sasl);
	arena_free(&s->mem);
	buf_free(&s->held);
}

static const struct command *
find_command(struct span verb)
{
	for (size_t i = 0; i < commands_count; i++)
		if (span_caseeq(commands[i].verb, verb))
			return &commands[i];
	return NULL;
}

/* Reasons to refuse that the table knows; 0 when there are none. */
static unsigned
refusal(const struct session *s, const struct command *c)
{
	if (!c || c->flags & (s->policy->lmtp ? COMMAND_SMTP : COMMAND_LMTP))
		return STATUS_BAD_COMMAND;
	if (s->policy->tls_first && !s->tls.n && !(c->flags & COMMAND_PLAIN))
		return STATUS_TLS_REQUIRED;
	if (!(c->states & s->state))
		return STATUS_BAD_SEQUENCE;
	return 0;
}

/* RFC 2920 3.1. DATA looks for itself, even where this is allowed. */
static bool
spoke_too_soon(const struct session *s, const struct command *c)
{
	if (!s->more || !s->policy->conf->smtpd_forbid_unauth_pipelining || s->policy->local)
		return false;
	return c->flags & COMMAND_LAST || (c->flags & COMMAND_GROUP && !s->extended);
}

static void
do_command(struct session *s, struct span line)
{
	struct span args = line, verb = span_word(&args);
	const struct command *c = find_command(verb);
	unsigned status = refusal(s, c);

	args = span_trim(args);
	if (c && spoke_too_soon(s, c)) {
		s->ports->note(s->owner, SESSION_NOTE_DROPPED, SPAN("improper pipelining"));
		reply_status_code(s, STATUS_PROTOCOL, 554, SPAN("Improper pipelining: wait for the reply"));
		reply_close(s);
		return;
	}
	if (status) {
		reply_status(s, status, SPAN_NONE);
		return;
	}
	if ((c->args == ARGS_NONE && args.n) || (c->args == ARGS_REQUIRED && !args.n)) {
		struct buf words;

		buf_init(&words, 256);
		buf_printf(&words, "Syntax: %s", c->syntax);
		reply_status(s, STATUS_BAD_PARAMETER, buf_span(&words));
		buf_free(&words);
		return;
	}
	if (c->flags & COMMAND_JUNK && ++s->junk > s->policy->conf->smtpd_junk_command_limit) {
		reply(s, REPLY_TOO_MANY_ERRORS, SPAN_NONE);
		reply_close(s);
		return;
	}
	c->run(s, args);
}

/* Law 10 for commands: CRLF ends a line, and CR, LF and NUL are in it nowhere else. */
static bool
proper_line(struct span *line)
{
	if (!line->n || line->p[line->n - 1] != '\r')
		return false;
	line->n--;
	return !memchr(line->p, '\r', line->n) && !memchr(line->p, '\0', line->n);
}

/* While routed is asked, only further recipients may be done: replies keep their order. */
static bool
must_wait(struct session *s, struct span line, bool good)
{
	const struct transaction *t = s->mail;

	if (!t || !t->asked)
		return false;
	return !good || !span_casestarts(line, SPAN("RCPT TO:")) || t->asked >= RCPT_ASKED_MAX ||
	    t->tried >= s->policy->conf->smtpd_recipient_limit;
}

/* A rule by the client's name must not be passed by because the DNS is slow; and filters are told the name. */
static bool
wants_name(const struct session *s, struct span line)
{
	if (!s->naming)
		return false;
	if (span_casestarts(line, SPAN("MAIL")))
		return filter_on(s);
	return s->policy->conf->smtpd_client_access_maps.n && (span_casestarts(line, SPAN("RCPT")) || span_casestarts(line, SPAN("VRFY")));
}

static size_t
line_input(struct session *s, struct span in)
{
	size_t max = s->state == SESSION_AUTH ? SASL_LINE_MAX : COMMAND_MAX;
	size_t end = span_chr(in, '\n');
	struct span line = span_sub(in, 0, end);
	bool too_long = s->skipping || line.n > max + 1; /* the CR does not count */
	bool proper;

	if (too_long && !s->skipping && span_casestarts(line, SPAN("BDAT"))) {
		reply_status(s, STATUS_LINE_TOO_LONG, SPAN_NONE);
		chunk_unknown(s);
		return in.n;
	}
	if (end == SIZE_MAX) {
		s->skipping = too_long;
		return too_long ? in.n : 0;
	}
	proper = !too_long && proper_line(&line);
	if (must_wait(s, line, proper)) {
		s->wait = WAIT_RCPT;
		return 0;
	}
	if (proper && wants_name(s, line)) {
		s->wait = WAIT_NAME;
		return 0;
	}
	s->skipping = false;
	s->progress++;
	s->more = end + 1 < in.n;
	if (too_long) {
		auth_abandon(s);
		reply_status(s, STATUS_LINE_TOO_LONG, SPAN_NONE);
	} else if (!proper) {
		reply_status(s, STATUS_BAD_COMMAND, SPAN("Lines end with CR LF, and neither stands anywhere else"));
		if (span_casestarts(line, SPAN("BDAT"))) /* its chunk would be taken for commands */
			chunk_unknown(s);
	} else if (s->draining && !s->mail) /* when it was to end something was waited for */
		session_shutdown(s);
	else if (s->state == SESSION_AUTH)
		auth_line(s, line);
	else
		do_command(s, line);
	return end + 1;
}

static bool
awaits_go_ahead(const struct session *s)
{
	return s->state == SESSION_DATA && (s->wait == WAIT_LIST || (s->wait == WAIT_FILTER && s->mail->stage == FILTER_DATA));
}

size_t
session_input(struct session *s, struct span bytes)
{
	size_t used = 0;

	if (s->wait == WAIT_GREET && bytes.n)
		spoke_early(s);
	while (used < bytes.n && s->wait == WAIT_CLIENT && s->state != SESSION_CLOSED) {
		struct span rest = span_from(bytes, used);
		size_t n = s->state == SESSION_DATA ? data_input(s, rest) : s->state == SESSION_CHUNK ? chunk_input(s, rest) : line_input(s, rest);

		used += n;
		if (n == 0)
			break;
	}
	s->hasty |= used < bytes.n && awaits_go_ahead(s);
	/* Law 10: what was sent in the clear behind STARTTLS never counts. */
	if (s->wait == WAIT_TLS || s->state == SESSION_CLOSED)
		return bytes.n;
	return used;
}

void
session_on_eof(struct session *s)
{
	if (s->wait != WAIT_COMMIT)
		transaction_end(s);
	reply_close(s);
}

void
session_on_room(struct session *s)
{
	if (s->mail && s->mail->returning)
		filter_on_room(s);
	else if (s->wait == WAIT_ROOM)
		s->wait = WAIT_CLIENT;
}

void
session_on_tls(struct session *s, struct span text, const struct tls_certificate *certificate)
{
	struct tls_certificate *kept = certificate->shown ? arena_alloc(&s->mem, sizeof(*kept)) : NULL;

	s->wait = WAIT_CLIENT;
	session_forget(s);
	if (kept)
		*kept = *certificate;
	s->certificate = kept;
	if (!session_set(s, &s->tls, text.n ? text : SPAN("TLS")) || certificate->shown != (kept != NULL))
		reply_close(s);
}

void
session_on_name(struct session *s, struct span name)
{
	if (name.n && !s->named)
		(void)session_set(s, &s->name, span_sub(name, 0, B_HOST));
	s->naming = false;
	if (s->wait == WAIT_NAME)
		s->wait = WAIT_CLIENT;
}

static void
queued_lost(struct session *s)
{
	struct transaction *t = s->mail;
	struct ipc_intake_refused gone = { .status = STATUS_SYSTEM_LOCAL_TEMP };

	if (!t || !t->opened || t->over)
		return;
	gone.id = transaction_intake(t);
	session_on_refused(s, &gone);
}

void
session_on_peer_lost(struct session *s, enum session_peer_daemon who)
{
	if (who == PEER_ROUTED && s->wait == WAIT_RATE) {
		s->wait = WAIT_CLIENT;
		session_greet(s);
	} else if (who == PEER_ROUTED && s->wait == WAIT_VRFY) {
		s->wait = WAIT_CLIENT;
		reply_status(s, STATUS_SYSTEM_LOCAL_TEMP, SPAN_NONE);
	} else if (who == PEER_ROUTED)
		transaction_routed_lost(s);
	else if (who == PEER_QUEUED && s->wait == WAIT_FLUSH)
		session_on_flushed(s, &(struct ipc_intake_flushed){ .id = s->ask_id, .status = STATUS_SYSTEM_LOCAL_TEMP });
	else if (who == PEER_QUEUED)
		queued_lost(s);
	else if (who == PEER_VERIFYD)
		session_on_filters_lost(s);
	else if (who == PEER_AUTHD && s->wait == WAIT_AUTH)
		session_on_auth(s, &(struct ipc_auth_answer){ .id = s->ask_id, .temporary = true });
}

static int64_t
ask_timeout(const struct session *s)
{
	return s->mail && s->mail->filtered ? FILTER_TIMEOUT_MS : ASK_TIMEOUT_MS;
}

int64_t
session_wait_ms(const struct session *s)
{
	switch ((enum session_wait)s->wait) {
	case WAIT_CLIENT:
		return s->mail && s->mail->asked ? ask_timeout(s) : s->policy->conf->smtpd_timeout;
	case WAIT_RCPT:
		return ask_timeout(s);
	case WAIT_FILTER:
		return FILTER_TIMEOUT_MS;
	case WAIT_VRFY:
	case WAIT_FLUSH:
	case WAIT_RATE:
	case WAIT_AUTH:
		return ASK_TIMEOUT_MS;
	case WAIT_ROOM:
	case WAIT_LIST:
	case WAIT_COMMIT:
		return COMMIT_TIMEOUT_MS;
	case WAIT_HOLD:
		return s->policy->conf->smtpd_error_sleep_time;
	case WAIT_TLS:
		return HANDSHAKE_TIMEOUT_MS;
	case WAIT_NAME:
		return NAME_TIMEOUT_MS;
	case WAIT_GREET:
		return s->policy->conf->smtpd_greet_wait;
	}
	return ASK_TIMEOUT_MS;
}

static void
end_hold(struct session *s)
{
	s->wait = WAIT_CLIENT;
	buf_put(s->ports->output(s->owner), buf_span(&s->held));
	buf_free(&s->held);
}

/* A sibling that is silent for so long is as good as gone. */
static void
sibling_silent(struct session *s)
{
	struct transaction *t = s->mail;

	if (t && t->filtered && (s->wait == WAIT_FILTER || t->asked || (t->screened && !t->opened))) {
		transaction_routed_lost(s);
		filter_close(s);
		session_on_filters_lost(s);
	} else if (s->wait == WAIT_COMMIT || s->wait == WAIT_ROOM || s->wait == WAIT_LIST) {
		s->ports->intake_abort(s->owner, t->id);
		queued_lost(s);
	} else
		session_on_peer_lost(s, s->wait == WAIT_AUTH ? PEER_AUTHD : s->wait == WAIT_FLUSH ? PEER_QUEUED : PEER_ROUTED);
}

void
session_on_timeout(struct session *s)
{
	if (s->wait == WAIT_HOLD)
		end_hold(s);
	else if (s->wait == WAIT_NAME)
		session_on_name(s, SPAN_NONE);
	else if (s->wait == WAIT_GREET)
		greet_now(s);
	else if (s->wait == WAIT_TLS)
		reply_close(s);
	else if (s->wait != WAIT_CLIENT || (s->mail && s->mail->asked))
		sibling_silent(s);
	else { /* RFC 5321 4.5.3.2.7 */
		s->ports->note(s->owner, SESSION_NOTE_DROPPED, SPAN("timeout"));
		reply(s, REPLY_TIMEOUT, SPAN_NONE);
		reply_close(s);
	}
}

void
session_shutdown(struct session *s)
{
	s->draining = true;
	if (s->state == SESSION_CLOSED || s->mail || s->wait != WAIT_CLIENT)
		return;
	reply(s, REPLY_SHUTDOWN, SPAN_NONE);
	reply_close(s);
}
