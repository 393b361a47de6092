/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/client.h"

#include <string.h>

#include "daemons/remoted/command.h"
#include "mail/status.h"

/* The steps of a transaction; `sent` and `got` of struct client walk them. */
enum step { STEP_RSET, STEP_MAIL, STEP_RCPT, STEP_DATA, STEP_END };

/* Of a recipient within a transaction. */
enum client_phase { PHASE_OUT, PHASE_IN, PHASE_ACCEPTED, PHASE_NEXT_TIME };

enum { OUT_ENOUGH = 32768 }; /* pipelined bytes; more once these are gone */

static const char *
state_words(enum client_state state)
{
	static const char *const words[] = {
#define STATE(name, timeout, what, meaning) what,
#include "daemons/remoted/states.def"
	};

	return words[state];
}

const char *
client_state_text(enum client_state state)
{
	static const char *const names[] = {
#define STATE(name, timeout, what, meaning) #name,
#include "daemons/remoted/states.def"
	};

	return names[state];
}

/* The command whose reply is awaited in the envelope. */
static const char *
step_words(const struct client *c)
{
	static const char *const words[] = { "RSET", "MAIL", "RCPT", "DATA", "" };

	return c->state == CLIENT_STATE_envelope ? words[c->got.step] : "";
}

/* --- the session's end ------------------------------------------------- */

static void
settle(struct client_rcpt *r, const struct verdict *v)
{
	if (r->verdict.outcome == VERDICT_PENDING)
		r->verdict = *v;
}

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
	for (size_t i = 0; i < c->mail->nrcpts; i++)
		if (c->mail->rcpts[i].phase == PHASE_ACCEPTED)
			settle(&c->mail->rcpts[i], &v);
}

static void
end_session(struct client *c, enum client_end end, struct verdict why, bool polite)
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

static struct verdict
own_words(struct client *c, unsigned status, const char *what, struct span more)
{
	struct arena none;

	arena_init(&none, 0); /* words without a message are not kept */
	return verdict_make(status, c->mail ? c->mail->arena : &none, "%s%s%.*s", what, more.n ? ": " : "", SPAN_ARG(more));
}

static struct verdict
their_words(struct client *c, const char *command)
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
	const char *step = step_words(c);
	struct fail words;

	(void)fail_set(&words, FAIL_TEMP, 0, "%s while waiting for %s%s", what, *step ? "the reply to " : state_words(c->state), step);
	return own_words(c, status, words.text, more);
}

static void
broken(struct client *c, const char *what)
{
	end_session(c, CLIENT_BROKEN, own_words(c, STATUS_PROTOCOL_TEMP, "protocol error of the peer", span_str(what)), false);
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
	end_session(c, CLIENT_LOST, gone(c, STATUS_CONNECTION_LOST, "connection lost", text), false);
}

void
client_timed_out(struct client *c)
{
	if (c->state == CLIENT_STATE_quit || c->state == CLIENT_STATE_closed || c->state == CLIENT_STATE_idle) {
		client_lost(c, SPAN_NONE);
		return;
	}
	end_session(c, CLIENT_LOST, gone(c, STATUS_TIMEOUT, "timeout", SPAN_NONE), false);
}

void
client_quit(struct client *c)
{
	if (c->state == CLIENT_STATE_quit || c->state == CLIENT_STATE_closed)
		return;
	end_session(c, CLIENT_GOODBYE, own_words(c, STATUS_NOT_ACCEPTING, "the session was ended", SPAN_NONE),
	    c->state != CLIENT_STATE_content && c->state != CLIENT_STATE_handshake);
}

/* --- a transaction ----------------------------------------------------- */

static size_t
next_rcpt(const struct client *c, size_t from)
{
	while (from < c->mail->nrcpts && c->mail->rcpts[from].phase == PHASE_OUT)
		from++;
	return from;
}

/* The step behind s; skips what there is none of. */
static void
advance(const struct client *c, uint8_t *step, size_t *rcpt)
{
	if (*step == STEP_RCPT)
		(*rcpt)++;
	else if (*step == STEP_MAIL)
		*rcpt = 0;
	if (*step == STEP_MAIL || *step == STEP_RCPT) {
		*rcpt = next_rcpt(c, *rcpt);
		*step = *rcpt < c->mail->nrcpts ? STEP_RCPT : STEP_DATA;
		return;
	}
	(*step)++;
}

static bool
same_place(const struct client *c)
{
	return c->sent.step == c->got.step && c->sent.rcpt == c->got.rcpt;
}

static void
put_step(struct client *c)
{
	switch ((enum step)c->sent.step) {
	case STEP_RSET:
		buf_put(c->out, SPAN("RSET\r\n"));
		break;
	case STEP_MAIL:
		command_mail(c->out, c->mail, c->extensions);
		break;
	case STEP_RCPT:
		command_rcpt(c->out, &c->mail->rcpts[c->sent.rcpt], c->extensions);
		break;
	case STEP_DATA:
		buf_put(c->out, SPAN("DATA\r\n"));
		break;
	case STEP_END:
		break;
	}
	c->due++;
	advance(c, &c->sent.step, &c->sent.rcpt);
}

/* RFC 2920: all at once where the peer pipelines, else one by one.  Without
 * pipelining nothing follows a refused MAIL, and no DATA follows when nobody
 * was accepted. */
static void
say_envelope(struct client *c)
{
	while (!c->cut && c->sent.step != STEP_END && buf_len(c->out) < OUT_ENOUGH) {
		if (!same_place(c) && !(c->extensions & CLIENT_EXT(PIPELINING)))
			return;
		if (c->sent.step == STEP_DATA && same_place(c) && c->accepted == 0) {
			c->cut = true;
			return;
		}
		put_step(c);
	}
}

static size_t
gather(struct client *c)
{
	struct client_mail *m = c->mail;
	size_t n = 0;

	for (size_t i = 0; i < m->nrcpts; i++) {
		struct client_rcpt *r = &m->rcpts[i];

		r->phase = PHASE_OUT;
		if (r->verdict.outcome == VERDICT_PENDING && command_rcpt_check(m, r, c->extensions)) {
			r->phase = PHASE_IN;
			n++;
		}
	}
	return n;
}

static void
settle_all(struct client *c, const struct verdict *v)
{
	for (size_t i = 0; i < c->mail->nrcpts; i++)
		settle(&c->mail->rcpts[i], v);
}

static void
mail_over(struct client *c)
{
	c->mail = NULL;
	c->state = CLIENT_STATE_idle;
}

static void
begin(struct client *c)
{
	struct verdict v = command_check(c->settings, c->mail, c->extensions, c->size_limit);

	if (v.outcome != VERDICT_PENDING)
		settle_all(c, &v);
	if (gather(c) == 0) {
		mail_over(c);
		return;
	}
	c->state = CLIENT_STATE_envelope;
	c->accepted = 0;
	c->cut = false;
	c->passes++;
	c->sent.step = c->got.step = c->needs_rset ? STEP_RSET : STEP_MAIL;
	c->sent.rcpt = c->got.rcpt = 0;
	c->needs_rset = true; /* until the peer has taken the message */
	say_envelope(c);
}

void
client_start(struct client *c, struct client_mail *mail)
{
	c->mail = mail;
	c->answered = false;
	c->passes = 0;
	if (c->state == CLIENT_STATE_idle)
		begin(c);
}

/* The transaction's last reply is in.  Those whom the peer called too many go
 * in another (RFC 5321 4.5.3.1.10), as long as each takes some. */
static void
transaction_over(struct client *c, bool taken)
{
	bool more = false;

	for (size_t i = 0; i < c->mail->nrcpts; i++)
		more = more || (c->mail->rcpts[i].phase == PHASE_NEXT_TIME && c->mail->rcpts[i].verdict.outcome == VERDICT_PENDING);
	if (taken) {
		c->needs_rset = false;
		c->messages++;
	}
	if (more && taken && c->passes < CLIENT_PASSES) {
		begin(c);
		return;
	}
	if (more) {
		struct verdict v = own_words(c, STATUS_TOO_MANY_RECIPIENTS, "the peer takes no more recipients now", SPAN_NONE);

		settle_all(c, &v);
	}
	mail_over(c);
}

static void
settle_accepted(struct client *c, const struct verdict *v)
{
	for (size_t i = 0; i < c->mail->nrcpts; i++)
		if (c->mail->rcpts[i].phase == PHASE_ACCEPTED)
			settle(&c->mail->rcpts[i], v);
}

/* Delivered for good, or handed to a host that knows no DSN. */
static struct verdict
final_verdict(struct client *c)
{
	struct verdict v = verdict_of_reply(&c->reply, c->mail->arena, SPAN_NONE);

	if (v.outcome == VERDICT_DELIVERED && !c->settings->lmtp && !(c->extensions & CLIENT_EXT(DSN)))
		v.outcome = VERDICT_RELAYED;
	return v;
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
	struct verdict v = their_words(c, command);

	/* RFC 7504: 521 says that this host takes no mail at all; another 5xx to a
	 * connection is about us or about now, so that other hosts and times are tried. */
	if (v.outcome == VERDICT_FAILED && c->reply.code != 521 && c->state == CLIENT_STATE_greeting) {
		v.outcome = VERDICT_DEFERRED;
		v.code[0] = '4';
	}
	v.again = true;
	end_session(c, CLIENT_REFUSED, v, true);
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

static void
no_tls(struct client *c, const char *what, struct span more)
{
	end_session(c, CLIENT_NO_TLS, own_words(c, STATUS_TLS_FAILED, what, more), true);
}

/* Greeted: TLS comes first if it is to come, then mail. */
static void
greeted(struct client *c)
{
	enum client_tls level = c->settings->tls;

	if (peer_is_myself(c)) {
		end_session(c, CLIENT_LOOP, own_words(c, STATUS_LOOP, "the peer is this host itself: mail would loop", SPAN_NONE), true);
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
	c->state = CLIENT_STATE_idle;
	if (c->mail)
		begin(c);
}

static void
on_ehlo(struct client *c)
{
	if (c->reply.code / 100 == 2) {
		c->extensions = command_extensions(&c->reply, &c->size_limit);
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
	c->extensions = 0;
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
		c->state = CLIENT_STATE_idle;
		if (c->mail)
			begin(c);
	}
}

static void
on_handshake(struct client *c)
{
	broken(c, "it speaks during the handshake");
}

static void
on_idle(struct client *c)
{
	end_session(c, CLIENT_GOODBYE, their_words(c, ""), false);
}

static void
on_rset_reply(struct client *c)
{
	if (c->reply.code / 100 != 2)
		end_session(c, CLIENT_REFUSED, their_words(c, "RSET"), true);
}

static void
on_mail_reply(struct client *c)
{
	struct verdict v;

	if (c->reply.code / 100 == 2)
		return;
	v = their_words(c, "MAIL");
	settle_all(c, &v);
	c->cut = true;
}

static bool
too_many(const struct client *c)
{
	struct span rest = buf_span(&c->reply.text), code = status_take_code(c->reply.code, &rest);

	if ((c->reply.code != 452 && c->reply.code != 552) || c->accepted == 0)
		return false;
	return !code.n || span_ends(code, SPAN(".5.3"));
}

static void
on_rcpt_reply(struct client *c, struct client_rcpt *r)
{
	if (r->verdict.outcome != VERDICT_PENDING) { /* MAIL was refused */
		r->phase = PHASE_OUT;
	} else if (c->reply.code / 100 == 2) {
		r->phase = PHASE_ACCEPTED;
		c->accepted++;
	} else if (too_many(c)) {
		r->phase = PHASE_NEXT_TIME;
	} else {
		r->verdict = their_words(c, "");
		r->phase = PHASE_OUT;
	}
}

/* Pipelined DATA with nobody accepted gets its reply here too; RFC 2920 3.1:
 * a 354 then wants a lone dot. */
static void
on_data_reply(struct client *c)
{
	struct verdict v;

	if (c->reply.code == 354) {
		c->state = c->accepted ? CLIENT_STATE_content : CLIENT_STATE_void;
		if (!c->accepted) {
			buf_put(c->out, SPAN(".\r\n"));
			c->due++;
		}
		return;
	}
	if (c->reply.code < 400) {
		broken(c, "unexpected reply to DATA");
		return;
	}
	v = their_words(c, "DATA");
	settle_accepted(c, &v);
	transaction_over(c, false);
}

static void
on_envelope(struct client *c)
{
	uint8_t step = c->got.step;
	size_t rcpt = c->got.rcpt;

	c->answered = c->answered || step != STEP_RSET;
	advance(c, &c->got.step, &c->got.rcpt);
	if (c->reply.code / 100 == 3 && step != STEP_DATA) {
		broken(c, "unexpected 3xx reply");
		return;
	}
	if (step == STEP_RSET)
		on_rset_reply(c);
	else if (step == STEP_MAIL)
		on_mail_reply(c);
	else if (step == STEP_RCPT)
		on_rcpt_reply(c, &c->mail->rcpts[rcpt]);
	else
		on_data_reply(c);
	if (c->state != CLIENT_STATE_envelope)
		return;
	say_envelope(c);
	if (c->cut && same_place(c))
		transaction_over(c, false);
}

/* A reply before the final dot: a refusal is believed, an acceptance is not. */
static void
on_content(struct client *c)
{
	struct verdict v;

	if (c->reply.code < 400) {
		broken(c, "it accepts the message before its end");
		return;
	}
	v = their_words(c, "content");
	settle_accepted(c, &v);
	end_session(c, CLIENT_BROKEN, v, false);
}

static void
on_lmtp_final(struct client *c)
{
	size_t i = c->got.rcpt;

	while (i < c->mail->nrcpts && c->mail->rcpts[i].phase != PHASE_ACCEPTED)
		i++;
	if (i < c->mail->nrcpts)
		c->mail->rcpts[i].verdict = final_verdict(c);
	c->got.rcpt = i + 1;
	if (--c->accepted == 0)
		transaction_over(c, true);
}

static void
on_final(struct client *c)
{
	struct verdict v;

	if (c->reply.code / 100 == 3) {
		broken(c, "unexpected reply to the end of data");
		return;
	}
	if (c->settings->lmtp) {
		on_lmtp_final(c);
		return;
	}
	v = final_verdict(c);
	settle_accepted(c, &v);
	transaction_over(c, c->reply.code / 100 == 2);
}

static void
on_void(struct client *c)
{
	struct verdict v = own_words(c, STATUS_CONNECTION_LOST, "session ended after refused recipients", SPAN_NONE);

	settle_all(c, &v);
	end_session(c, CLIENT_GOODBYE, v, true);
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
	v = their_words(c, step_words(c));
	if (c->mail && c->state == CLIENT_STATE_final)
		settle_accepted(c, &v);
	end_session(c, CLIENT_REFUSED, v, false);
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
#define STATE(name, timeout, what, meaning) on_##name,
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
}

void
client_feed(struct client *c, struct span *in)
{
	unsigned askable = c->due; /* what is put out from here on cannot have been answered */

	while (in->n && c->state != CLIENT_STATE_closed) {
		enum reply_step step;

		if (c->state == CLIENT_STATE_handshake) { /* injected before the TLS switch */
			broken(c, "it speaks before the handshake");
			return;
		}
		step = reply_next(&c->reply, in);
		if (step == REPLY_MORE)
			return;
		if (step == REPLY_BAD) {
			broken(c, "malformed or endless reply");
			return;
		}
		if (too_early(c, &askable)) {
			broken(c, "it replies before it is asked");
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
#define STATE(name, timeout, what, meaning) t->timeout,
#include "daemons/remoted/states.def"
	};
	const int64_t of_step[] = { t->rset, t->mail, t->rcpt, t->data_init, t->rset };

	return c->state == CLIENT_STATE_envelope ? of_step[c->got.step] : of_state[c->state];
}

void
client_tls_done(struct client *c, bool ok, bool verified, struct span text)
{
	if (c->state != CLIENT_STATE_handshake)
		return;
	if (!ok) {
		end_session(c, c->settings->tls >= CLIENT_TLS_ENCRYPT ? CLIENT_NO_TLS : CLIENT_TRY_PLAIN,
		    own_words(c, STATUS_TLS_FAILED, "TLS handshake failed", text), false);
		return;
	}
	c->tls = true;
	c->verified = verified;
	c->extensions = 0; /* RFC 3207 4.2: what was learned in the clear counts no more */
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
		end_session(c, CLIENT_GOODBYE, own_words(c, STATUS_SYSTEM_LOCAL_TEMP, "content was given up", text), false);
}
