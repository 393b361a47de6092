/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/client.h"

#include <string.h>

#include "daemons/remoted/command.h"
#include "daemons/remoted/transaction.h"
#include "mail/status.h"

static const char *
state_words(enum client_state state)
{
	static const char *const words[] = {
#define STATE(name, timeout, handler, what, meaning) what,
#include "daemons/remoted/states.def"
	};

	return words[state];
}

const char *
client_state_text(enum client_state state)
{
	static const char *const names[] = {
#define STATE(name, timeout, handler, what, meaning) #name,
#include "daemons/remoted/states.def"
	};

	return names[state];
}

/* --- the session's end ------------------------------------------------- */

/* After the final dot a lost session may have been a delivery: those are
 * deferred and marked, never sent to another host at once. */
static void
mark_maybe_done(struct client *c)
{
	struct verdict v = c->why;

	v.outcome = VERDICT_DEFERRED;
	v.again = false;
	v.maybe_done = true;
	if (v.code[0] != '4')
		memcpy(v.code, "4.4.2", sizeof("4.4.2"));
	transaction_settle_accepted(c, &v);
}

void
client_end_session(struct client *c, enum client_end end, struct verdict why, bool polite)
{
	if (c->end != CLIENT_GOING)
		return;
	c->end = end;
	c->why = why;
	if (c->mail && c->state == CLIENT_STATE_final)
		mark_maybe_done(c);
	c->mail = NULL;
	if (polite)
		buf_put(c->out, SPAN("QUIT\r\n"));
	c->state = polite ? CLIENT_STATE_quit : CLIENT_STATE_closed;
}

struct verdict
client_own_words(struct client *c, unsigned status, const char *what, struct span more)
{
	struct arena none;

	arena_init(&none, 0); /* words without a message are not kept */
	return verdict_make(status, c->mail ? c->mail->arena : &none, "%s%s%.*s", what, more.n ? ": " : "", SPAN_ARG(more));
}

struct verdict
client_their_words(struct client *c, const char *command)
{
	struct arena none;
	struct verdict v;

	if (c->mail)
		return verdict_of_reply(&c->reply, c->mail->arena, span_str(command));
	arena_init(&none, 0);
	v = verdict_of_reply(&c->reply, &none, SPAN_NONE);
	v.text = SPAN("closed by the peer");
	return v;
}

static struct verdict
gone(struct client *c, unsigned status, const char *what, struct span more)
{
	const char *step = transaction_awaits(c);
	struct fail words;

	(void)fail_set(&words, FAIL_TEMP, 0, "%s while waiting for %s%s", what, *step ? "the reply to " : state_words(c->state), step);
	return client_own_words(c, status, words.text, more);
}

void
client_broken(struct client *c, const char *what)
{
	client_end_session(c, CLIENT_BROKEN, client_own_words(c, STATUS_PROTOCOL_TEMP, "protocol error of the peer", span_str(what)), false);
}

void
client_lost(struct client *c, struct span text)
{
	if (c->state == CLIENT_STATE_quit || c->state == CLIENT_STATE_closed || c->state == CLIENT_STATE_idle) {
		if (c->end == CLIENT_GOING)
			c->end = CLIENT_GOODBYE;
		c->state = CLIENT_STATE_closed;
		return;
	}
	client_end_session(c, CLIENT_LOST, gone(c, STATUS_CONNECTION_LOST, "connection lost", text), false);
}

void
client_timed_out(struct client *c)
{
	if (c->state == CLIENT_STATE_quit || c->state == CLIENT_STATE_closed || c->state == CLIENT_STATE_idle) {
		client_lost(c, SPAN_NONE);
		return;
	}
	client_end_session(c, CLIENT_LOST, gone(c, STATUS_TIMEOUT, "timeout", SPAN_NONE), false);
}

void
client_quit(struct client *c)
{
	if (c->state == CLIENT_STATE_quit || c->state == CLIENT_STATE_closed)
		return;
	client_end_session(c, CLIENT_GOODBYE, client_own_words(c, STATUS_NOT_ACCEPTING, "the session was ended", SPAN_NONE),
	    c->state != CLIENT_STATE_content && c->state != CLIENT_STATE_handshake);
}

/* --- replies, one function a state -------------------------------------- */

static bool
peer_is_myself(const struct client *c)
{
	struct span rest = buf_span(&c->reply.text), line = span_cut(&rest, '\n');

	return c->settings->myself.n && span_caseeq(span_word(&line), c->settings->myself);
}

static void
refused(struct client *c, const char *command)
{
	struct verdict v = client_their_words(c, command);

	/* RFC 7504: 521 says that this host takes no mail at all; another 5xx to a
	 * connection is about us or about now, so that other hosts and times are tried. */
	if (v.outcome == VERDICT_FAILED && c->reply.code != 521 && c->state == CLIENT_STATE_greeting) {
		v.outcome = VERDICT_DEFERRED;
		v.code[0] = '4';
	}
	v.again = true;
	client_end_session(c, CLIENT_REFUSED, v, true);
}

static void
say_hello(struct client *c, const char *command)
{
	buf_printf(c->out, "%s %.*s\r\n", command, SPAN_ARG(c->settings->helo));
	c->due++;
	c->state = *command == 'H' ? CLIENT_STATE_helo : CLIENT_STATE_ehlo;
}

static void
on_greeting(struct client *c)
{
	if (c->reply.code / 100 != 2)
		refused(c, "the connection");
	else
		say_hello(c, c->settings->lmtp ? "LHLO" : "EHLO");
}

/* As private as it will be: login comes next if there is one, then mail. */
static void
ready(struct client *c)
{
	c->state = CLIENT_STATE_idle;
	if (c->settings->login.user.n && !c->authenticated)
		auth_begin(c);
	else if (c->mail)
		transaction_begin(c);
}

/* RFC 8689 4.2.1: who requires it for this message wants to hear of it now. */
static unsigned
no_tls_status(const struct client *c)
{
	return c->mail && client_needs_tls(c->mail) ? STATUS_ENCRYPTION_NEEDED : STATUS_TLS_FAILED;
}

static void
no_tls(struct client *c, const char *what, struct span more)
{
	client_end_session(c, CLIENT_NO_TLS, client_own_words(c, no_tls_status(c), what, more), true);
}

/* Greeted: TLS comes first if it is to come, then mail. */
static void
greeted(struct client *c)
{
	enum client_tls level = c->settings->tls;

	if (peer_is_myself(c)) {
		client_end_session(c, CLIENT_LOOP, client_own_words(c, STATUS_LOOP, "the peer is this host itself: mail would loop", SPAN_NONE), true);
		return;
	}
	if (!c->tls && level != CLIENT_TLS_NONE && (c->extensions & CLIENT_EXT(STARTTLS))) {
		buf_put(c->out, SPAN("STARTTLS\r\n"));
		c->due++;
		c->state = CLIENT_STATE_starttls;
		return;
	}
	if (!c->tls && level >= CLIENT_TLS_ENCRYPT) {
		no_tls(c, "TLS is required, but was not offered", SPAN_NONE);
		return;
	}
	ready(c);
}

static void
on_ehlo(struct client *c)
{
	if (c->reply.code / 100 == 2) {
		c->extensions = command_extensions(c);
		greeted(c);
	} else if (c->reply.code >= 500 && !c->settings->lmtp && !c->tls) {
		say_hello(c, "HELO"); /* RFC 5321 3.2 */
	} else {
		refused(c, c->settings->lmtp ? "LHLO" : "EHLO");
	}
}

static void
on_helo(struct client *c)
{
	c->extensions = c->mechanisms = 0;
	c->rcpt_max = c->mail_max = 0;
	if (c->reply.code / 100 == 2)
		greeted(c);
	else
		refused(c, "HELO");
}

static void
on_starttls(struct client *c)
{
	if (c->reply.code == 220) {
		c->state = CLIENT_STATE_handshake;
	} else if (c->settings->tls >= CLIENT_TLS_ENCRYPT) {
		no_tls(c, "TLS is required, but STARTTLS was refused", span_trim(buf_span(&c->reply.text)));
	} else {
		c->extensions &= ~CLIENT_EXT(STARTTLS);
		ready(c);
	}
}

static void
on_handshake(struct client *c)
{
	client_broken(c, "it speaks during the handshake");
}

static void
on_idle(struct client *c)
{
	client_end_session(c, CLIENT_GOODBYE, client_their_words(c, ""), false);
}

static void
on_quit(struct client *c)
{
	c->state = CLIENT_STATE_closed;
}

static void
on_closed(struct client *c)
{
	(void)c;
}

/* RFC 5321 3.8: 421 may come at any time and the channel closes; recipients
 * judged before keep their verdicts. After the final dot it is the reply. */
static bool
on_421(struct client *c)
{
	struct verdict v;

	if (c->reply.code != 421 || c->state == CLIENT_STATE_quit || c->state == CLIENT_STATE_closed)
		return false;
	v = client_their_words(c, transaction_awaits(c));
	if (c->mail && c->state == CLIENT_STATE_final)
		transaction_settle_accepted(c, &v);
	client_end_session(c, CLIENT_REFUSED, v, false);
	return true;
}

/* A reply to a command that has not even left yet: the dialogue is out of
 * step, and later replies would be taken for what they are not. */
static bool
too_early(const struct client *c, unsigned *askable)
{
	if (c->reply.code == 421 || c->state == CLIENT_STATE_idle || c->state == CLIENT_STATE_content || c->state == CLIENT_STATE_quit)
		return false;
	return (*askable)-- == 0;
}

static void
on_reply(struct client *c)
{
	static void (*const handlers[])(struct client *) = {
#define STATE(name, timeout, handler, what, meaning) handler,
#include "daemons/remoted/states.def"
	};

	if (!on_421(c))
		handlers[c->state](c);
}

/* --- the rim's side ------------------------------------------------------ */

void
client_init(struct client *c, const struct client_settings *settings, struct buf *out)
{
	*c = (struct client){ .settings = settings, .out = out, .state = CLIENT_STATE_greeting, .due = 1 };
	reply_init(&c->reply);
}

void
client_free(struct client *c)
{
	reply_free(&c->reply);
	auth_end(c);
}

void
client_start(struct client *c, struct client_mail *mail)
{
	c->mail = mail;
	c->answered = false;
	c->passes = 0;
	if (c->state == CLIENT_STATE_idle)
		transaction_begin(c);
}

void
client_feed(struct client *c, struct span *in)
{
	unsigned askable = c->due; /* what is put out from here on cannot have been answered */

	while (in->n && c->state != CLIENT_STATE_closed) {
		enum reply_step step;

		if (c->state == CLIENT_STATE_handshake) { /* injected before the TLS switch */
			client_broken(c, "it speaks before the handshake");
			return;
		}
		step = reply_next(&c->reply, in);
		if (step == REPLY_MORE)
			return;
		if (step == REPLY_BAD) {
			client_broken(c, "malformed or endless reply");
			return;
		}
		if (too_early(c, &askable)) {
			client_broken(c, "it replies before it is asked");
			return;
		}
		if (c->due)
			c->due--;
		on_reply(c);
		if (c->state == CLIENT_STATE_content || (c->state == CLIENT_STATE_idle && !c->mail))
			return;
	}
}

enum client_want
client_want(const struct client *c)
{
	switch (c->state) {
	case CLIENT_STATE_handshake:
		return CLIENT_WANT_TLS;
	case CLIENT_STATE_content:
		return CLIENT_WANT_CONTENT;
	case CLIENT_STATE_idle:
		return CLIENT_WANT_MAIL;
	case CLIENT_STATE_closed:
		return CLIENT_WANT_CLOSE;
	default:
		return CLIENT_WANT_REPLY;
	}
}

int64_t
client_timeout_ms(const struct client *c)
{
	const struct client_timeouts *t = &c->settings->timeouts;
	const int64_t of_state[] = {
#define STATE(name, timeout, handler, what, meaning) t->timeout,
#include "daemons/remoted/states.def"
	};
	const int64_t of_step[] = { t->rset, t->mail, t->rcpt, c->mail && c->mail->callout ? t->rset : t->data_init, t->rset };

	return c->state == CLIENT_STATE_envelope ? of_step[c->got.step] : of_state[c->state];
}

void
client_tls_done(struct client *c, bool ok, bool verified, struct span text)
{
	if (c->state != CLIENT_STATE_handshake)
		return;
	if (!ok) {
		client_end_session(c, c->settings->tls >= CLIENT_TLS_ENCRYPT ? CLIENT_NO_TLS : CLIENT_TRY_PLAIN,
		    client_own_words(c, no_tls_status(c), "TLS handshake failed", text), false);
		return;
	}
	c->tls = true;
	c->verified = verified;
	c->extensions = c->mechanisms = 0;
	c->rcpt_max = c->mail_max = 0; /* RFC 3207 4.2: what was learned in the clear counts no more */
	if (c->settings->tls >= CLIENT_TLS_VERIFY && !verified)
		no_tls(c, "the peer's certificate is not good", text);
	else
		say_hello(c, c->settings->lmtp ? "LHLO" : "EHLO");
}

void
client_content_sent(struct client *c)
{
	if (c->state != CLIENT_STATE_content)
		return;
	c->state = CLIENT_STATE_final;
	c->due += c->settings->lmtp ? c->accepted : 1;
	c->got.rcpt = 0;
}

void
client_content_failed(struct client *c, struct span text)
{
	if (c->state == CLIENT_STATE_content)
		client_end_session(c, CLIENT_GOODBYE, client_own_words(c, STATUS_SYSTEM_LOCAL_TEMP, "content was given up", text), false);
}
