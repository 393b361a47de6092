/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/transaction.h"

#include "daemons/remoted/command.h"
#include "ipc/bounds.h"
#include "mail/status.h"

/* The steps of a transaction; `sent` and `got` of struct client walk them. In a callout RSET stands for DATA. */
enum step { STEP_RSET, STEP_MAIL, STEP_RCPT, STEP_DATA, STEP_END };

/* Of a recipient within a transaction. */
enum client_phase { PHASE_OUT, PHASE_IN, PHASE_ACCEPTED, PHASE_NEXT_TIME };

enum { OUT_ENOUGH = 32768 }; /* pipelined bytes; more once these are gone */

/* The command whose reply is awaited in the envelope. */
const char *
transaction_awaits(const struct client *c)
{
	static const char *const words[] = { "RSET", "MAIL", "RCPT", "DATA", "" };
	bool reset = c->mail && c->mail->callout && c->got.step == STEP_DATA;

	return c->state == CLIENT_STATE_envelope ? words[reset ? STEP_RSET : c->got.step] : "";
}

static void
settle(struct client_rcpt *r, const struct verdict *v)
{
	if (r->verdict.outcome == VERDICT_PENDING)
		r->verdict = *v;
}

static size_t
next_rcpt(const struct client *c, size_t from)
{
	while (from < c->mail->nrcpts && c->mail->rcpts[from].phase != PHASE_IN)
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
		command_mail(c);
		break;
	case STEP_RCPT:
		command_rcpt(c->out, &c->mail->rcpts[c->sent.rcpt], c->extensions);
		break;
	case STEP_DATA:
		buf_put(c->out, c->mail->callout ? SPAN("RSET\r\n") : SPAN("DATA\r\n"));
		break;
	case STEP_END:
		break;
	}
	c->due++;
	advance(c, &c->sent.step, &c->sent.rcpt);
}

/* RFC 3030: the whole content is one chunk, once it is known who is to have it. */
static bool
say_chunk(struct client *c)
{
	if (!c->settings->chunking || !(c->extensions & CLIENT_EXT(CHUNKING)) || c->mail->callout)
		return false;
	if (same_place(c) && c->accepted > 0) {
		buf_puts(c->out, "BDAT ");
		buf_put_u64(c->out, c->mail->size);
		buf_puts(c->out, " LAST\r\n");
		c->chunked = true;
		c->state = CLIENT_STATE_content;
	}
	return true;
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
		if (c->sent.step == STEP_DATA && say_chunk(c))
			return;
		put_step(c);
	}
}

static size_t
gather(struct client *c)
{
	struct client_mail *m = c->mail;
	size_t n = 0;

	c->limited = false;
	for (size_t i = 0; i < m->nrcpts; i++) {
		struct client_rcpt *r = &m->rcpts[i];

		r->phase = PHASE_OUT;
		if (c->rcpt_max && n >= c->rcpt_max && r->verdict.outcome == VERDICT_PENDING) { /* RFC 9422 4.2 */
			r->phase = PHASE_NEXT_TIME;
			c->limited = true;
			continue;
		}
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

/* Nothing is said of the recipient of a callout when its sender is not good. */
static void
settle_sender(struct client *c, struct verdict *v)
{
	if (c->mail->callout && v->outcome == VERDICT_FAILED) {
		v->outcome = VERDICT_DEFERRED;
		v->code[0] = '4';
	}
	settle_all(c, v);
}

static void
mail_over(struct client *c)
{
	c->mail = NULL;
	c->state = CLIENT_STATE_idle;
}

void
transaction_begin(struct client *c)
{
	struct verdict v = command_check(c);

	if (v.outcome != VERDICT_PENDING)
		settle_sender(c, &v);
	if (gather(c) == 0) {
		mail_over(c);
		return;
	}
	c->state = CLIENT_STATE_envelope;
	c->accepted = 0;
	c->cut = c->chunked = false;
	c->passes++;
	c->mails++;
	c->sent.step = c->got.step = c->needs_rset ? STEP_RSET : STEP_MAIL;
	c->sent.rcpt = c->got.rcpt = 0;
	c->needs_rset = true; /* until the peer has taken the message */
	say_envelope(c);
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
	if (more && (taken || c->limited) && c->passes < CLIENT_PASSES && (!c->mail_max || c->mails < c->mail_max)) {
		transaction_begin(c);
		return;
	}
	if (more) {
		struct verdict v = client_own_words(c, STATUS_TOO_MANY_RECIPIENTS, "the peer takes no more recipients now", SPAN_NONE);

		settle_all(c, &v);
	}
	mail_over(c);
}

void
transaction_settle_accepted(struct client *c, const struct verdict *v)
{
	for (size_t i = 0; i < c->mail->nrcpts; i++)
		if (c->mail->rcpts[i].phase == PHASE_ACCEPTED)
			settle(&c->mail->rcpts[i], v);
}

/* Handed to a host that reports what becomes of it, or to one that knows no DSN (RFC 3461 5.2.2). */
static struct verdict
final_verdict(struct client *c)
{
	struct verdict v = verdict_of_reply(&c->reply, c->mail->arena, SPAN_NONE);

	if (v.outcome == VERDICT_DELIVERED && !(c->extensions & CLIENT_EXT(DSN)))
		v.outcome = VERDICT_RELAYED;
	/* RFC 2852 4: nobody watches the time any more; or its way is to be traced. */
	if (c->mail->by_mode && !c->settings->lmtp)
		v.tell = c->mail->by_mode & BY_TRACE || !(c->extensions & CLIENT_EXT(DELIVERBY));
	return v;
}

static void
on_rset_reply(struct client *c)
{
	if (c->reply.code / 100 != 2)
		client_end_session(c, CLIENT_REFUSED, client_their_words(c, "RSET"), true);
}

static void
on_mail_reply(struct client *c)
{
	struct verdict v;

	if (c->reply.code / 100 == 2)
		return;
	v = client_their_words(c, "MAIL");
	settle_sender(c, &v);
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
		if (c->mail->callout)
			r->verdict = client_their_words(c, "");
	} else if (too_many(c)) {
		r->phase = PHASE_NEXT_TIME;
	} else {
		r->verdict = client_their_words(c, "");
		r->phase = PHASE_OUT;
	}
}

/* The end of a callout; where it is refused, what comes next begins with another. */
static void
on_reset_reply(struct client *c)
{
	struct verdict v = client_own_words(c, STATUS_PROTOCOL_TEMP, "the peer did not answer to the recipient", SPAN_NONE);

	settle_all(c, &v);
	if (c->reply.code / 100 == 3)
		client_broken(c, "unexpected 3xx reply");
	c->needs_rset = c->reply.code / 100 != 2;
	if (c->mail)
		mail_over(c);
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
		client_broken(c, "unexpected reply to DATA");
		return;
	}
	v = client_their_words(c, "DATA");
	transaction_settle_accepted(c, &v);
	transaction_over(c, false);
}

void
transaction_on_envelope(struct client *c)
{
	uint8_t step = c->got.step;
	size_t rcpt = c->got.rcpt;

	c->answered = c->answered || step != STEP_RSET;
	advance(c, &c->got.step, &c->got.rcpt);
	if (c->reply.code / 100 == 3 && step != STEP_DATA) {
		client_broken(c, "unexpected 3xx reply");
		return;
	}
	if (step == STEP_RSET)
		on_rset_reply(c);
	else if (step == STEP_MAIL)
		on_mail_reply(c);
	else if (step == STEP_RCPT)
		on_rcpt_reply(c, &c->mail->rcpts[rcpt]);
	else if (c->mail->callout)
		on_reset_reply(c);
	else
		on_data_reply(c);
	if (c->state != CLIENT_STATE_envelope)
		return;
	say_envelope(c);
	if (c->cut && same_place(c))
		transaction_over(c, false);
}

/* A reply before the final dot: a refusal is believed, an acceptance is not. */
void
transaction_on_content(struct client *c)
{
	struct verdict v;

	if (c->reply.code < 400) {
		client_broken(c, "it accepts the message before its end");
		return;
	}
	v = client_their_words(c, "content");
	transaction_settle_accepted(c, &v);
	client_end_session(c, CLIENT_BROKEN, v, false);
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

void
transaction_on_final(struct client *c)
{
	struct verdict v;

	if (c->reply.code / 100 == 3) {
		client_broken(c, "unexpected reply to the end of data");
		return;
	}
	if (c->settings->lmtp) {
		on_lmtp_final(c);
		return;
	}
	v = final_verdict(c);
	transaction_settle_accepted(c, &v);
	transaction_over(c, c->reply.code / 100 == 2);
}

void
transaction_on_void(struct client *c)
{
	struct verdict v = client_own_words(c, STATUS_CONNECTION_LOST, "session ended after refused recipients", SPAN_NONE);

	settle_all(c, &v);
	client_end_session(c, CLIENT_GOODBYE, v, true);
}
