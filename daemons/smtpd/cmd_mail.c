/* SPDX-License-Identifier: ISC
 *
 * MAIL, RCPT, DATA, RSET: the transaction's dialogue.
 */
#include <string.h>

#include "command.h"
#include "filter.h"
#include "mail/charset.h"

/* "FROM:<path> params". Blanks behind the colon and a path without brackets are errors of old
 * clients (and of a book: S03) that hurt nobody; the address must be one all the same. */
static bool
take_path(struct span args, struct span keyword, unsigned flags, struct address *a, struct span *params)
{
	struct fail why;
	size_t used = 0;

	if (!span_casestarts(args, keyword))
		return false;
	args = span_from(args, keyword.n);
	while (args.n && ascii_blank(args.p[0]))
		args = span_from(args, 1);
	flags |= ADDRESS_NO_DOMAIN | ADDRESS_LONG_LOCAL;
	if (args.n && args.p[0] == '<') {
		if (!address_parse_path(a, args, flags, &used, &why))
			return false;
	} else {
		while (used < args.n && !ascii_blank(args.p[used]))
			used++;
		if (!address_parse(a, span_sub(args, 0, used), flags & ~(unsigned)ADDRESS_NULL, &why))
			return false;
	}
	*params = span_from(args, used);
	return !params->n || ascii_blank(params->p[0]);
}

/* RFC 6531 3.5: 5.6.7 where SMTPUTF8 is what is missing. */
static unsigned
bad_path(struct span args, bool utf8, unsigned status)
{
	return !utf8 && utf8_has_8bit(args) ? STATUS_UTF8_NEEDED : status;
}

/* Addresses of this host may come without their domain. */
static struct span
qualified(struct session *s, const struct address *a)
{
	if (a->has_domain || address_null(a))
		return arena_dup(&s->mail_mem, address_text(a));
	return arena_printf(&s->mail_mem, "%.*s@%.*s", SPAN_ARG(address_text(a)), SPAN_ARG(s->policy->conf->myorigin));
}

/* Why MAIL may not come now; 0 when it may. */
static unsigned
mail_refusal(const struct session *s, struct span *text)
{
	*text = SPAN_NONE;
	if (s->policy->submission && !s->user.n && !s->trusted)
		return STATUS_AUTH_REQUIRED; /* RFC 6409 4.3 */
	if (s->state == SESSION_START && (s->policy->conf->smtpd_helo_required || s->policy->lmtp)) {
		*text = s->policy->lmtp ? SPAN("Send LHLO first") : SPAN("Send HELO or EHLO first");
		return STATUS_BAD_SEQUENCE;
	}
	if (s->mail) {
		*text = SPAN("MAIL was given already; RSET begins anew");
		return STATUS_BAD_SEQUENCE;
	}
	return 0;
}

/* The record says whose mail it was, or for whom, even where nothing came of it: *whose is part of it. */
static void
refuse(struct session *s, struct span *whose, struct span path, unsigned flags, struct span args, unsigned status, struct span text)
{
	struct address a;
	struct span params;

	if (take_path(args, path, flags | ADDRESS_UTF8, &a, &params))
		*whose = address_text(&a);
	reply_status(s, status, text);
	*whose = SPAN_NONE;
}

static void
refuse_mail(struct session *s, struct span args, unsigned status, struct span text)
{
	refuse(s, &s->from, SPAN("FROM:"), ADDRESS_NULL, args, status, text);
}

static void
refuse_rcpt(struct session *s, struct span args, unsigned status, struct span text)
{
	refuse(s, &s->about, SPAN("TO:"), ADDRESS_POSTMASTER, args, status, text);
}

void
mail_taken(struct session *s)
{
	const struct transaction *t = s->mail;

	if (t->lowered) /* RFC 6710 4.1 */
		reply(s, REPLY_PRIORITY, arena_printf(&s->mail_mem, "%d", t->priority - 10));
	else
		reply(s, REPLY_SENDER_OK, t->sender);
}

void
cmd_mail(struct session *s, struct span args)
{
	struct address a;
	struct span params, text;
	unsigned status = mail_refusal(s, &text), utf8 = s->policy->extensions & EXT(SMTPUTF8) ? ADDRESS_UTF8 : 0;
	struct transaction *t;

	if (status) {
		refuse_mail(s, args, status, text);
		return;
	}
	if (!take_path(args, SPAN("FROM:"), ADDRESS_NULL | utf8, &a, &params)) {
		refuse_mail(s, args, bad_path(args, utf8, STATUS_BAD_SYNTAX_SENDER), SPAN_NONE);
		return;
	}
	t = transaction_begin(s);
	if (!t)
		return;
	t->sender = qualified(s, &a);
	t->utf8_addresses = utf8_has_8bit(t->sender);
	if (t->sender.n > B_ADDRESS)
		status = STATUS_BAD_SYNTAX_SENDER;
	else if (esmtp_mail_params(s, t, params, &status))
		status = t->utf8_addresses && !t->utf8 ? STATUS_UTF8_NEEDED : 0; /* RFC 6531 3.4 */
	if (status) {
		transaction_end(s);
		refuse_mail(s, args, status, SPAN_NONE);
		return;
	}
	s->state = SESSION_MAIL;
	if (filter_on(s))
		filter_mail(s); /* says it */
	else
		mail_taken(s);
}

static unsigned
rcpt_refusal(struct session *s, struct span *text)
{
	*text = SPAN_NONE;
	if (!s->mail) {
		*text = SPAN("Need MAIL first");
		return STATUS_BAD_SEQUENCE;
	}
	if (s->mail->id) {
		*text = SPAN("BDAT has begun; RSET begins anew");
		return STATUS_BAD_SEQUENCE;
	}
	if (s->mail->tried >= s->policy->conf->smtpd_recipient_limit)
		return STATUS_TOO_MANY_RECIPIENTS; /* RFC 5321 4.5.3.1.10 */
	return 0;
}

/* Fills r; 0, or why not. */
static unsigned
take_recipient(struct session *s, struct recipient *r, struct span args)
{
	struct address a;
	struct span params;
	unsigned status = 0;

	if (!take_path(args, SPAN("TO:"), ADDRESS_POSTMASTER | (s->mail->utf8 ? ADDRESS_UTF8 : 0u), &a, &params))
		return bad_path(args, s->mail->utf8, STATUS_BAD_SYNTAX_RECIPIENT);
	r->address = qualified(s, &a);
	s->mail->utf8_addresses |= utf8_has_8bit(r->address);
	if (!r->address.n || r->address.n > B_ADDRESS)
		return r->address.n ? STATUS_BAD_SYNTAX_RECIPIENT : STATUS_SYSTEM_LOCAL_TEMP;
	return esmtp_rcpt_params(s, r, params, &status) ? 0 : status;
}

static bool
ask_routed(struct session *s, struct recipient *r)
{
	struct ipc_rcpt_ask ask = {
		.about = s->mail->counted ? RCPT_FURTHER : RCPT_FIRST,
		.address = r->address,
		.sender = s->mail->sender,
		.client_addr = s->address,
		.client_name = s->name.n ? s->name : SPAN("unknown"),
		.helo = span_sub(s->helo, 0, B_HOST),
		.sasl_user = s->user,
		.may_relay = session_may_relay(s),
		.smtputf8 = s->mail->utf8,
	};

	if (s->certificate) {
		ask.certificate = span_of(s->certificate->fingerprint, sizeof(s->certificate->fingerprint));
		ask.key = span_of(s->certificate->key, sizeof(s->certificate->key));
	}
	if (!s->ports->ask_rcpt(s->owner, &ask))
		return false;
	r->ask_id = ask.id;
	s->mail->counted = true;
	return true;
}

void
cmd_rcpt(struct session *s, struct span args)
{
	struct span text;
	unsigned status = rcpt_refusal(s, &text);
	struct recipient *r;

	if (status) {
		refuse_rcpt(s, args, status, text);
		return;
	}
	s->mail->tried++;
	s->state = SESSION_RCPT;
	r = transaction_add(s);
	if (!r) { /* must_wait() leaves none unsaid only at the limit; the cap is far above that */
		refuse_rcpt(s, args, STATUS_TOO_MANY_RECIPIENTS, SPAN_NONE);
		return;
	}
	status = take_recipient(s, r, args);
	if (!status && !ask_routed(s, r)) {
		status = STATUS_SYSTEM_LOCAL_TEMP;
		r->rule = SPAN("no answer from routed");
	}
	if (!status) {
		s->mail->asked++;
		return;
	}
	r->state = RECIPIENT_REFUSED;
	r->reply = reply_status_text(s, &s->mail_mem, status, 0, SPAN_NONE);
	transaction_say(s);
}

void
cmd_data(struct session *s, struct span args)
{
	const struct transaction *t = s->mail;

	(void)args;
	/* RFC 2920 3.1: DATA ends its group. Content sent before the 354 would be
	 * commands if DATA were refused: that is how mail is smuggled. */
	if (s->more) {
		reply_status_code(s, STATUS_PROTOCOL, 503, SPAN("Improper pipelining: wait for the reply to DATA"));
		data_was_hasty(s);
	} else if (!t)
		reply_status(s, STATUS_BAD_SEQUENCE, SPAN("Need MAIL first"));
	else if (t->binary) /* RFC 3030 3 */
		reply_status(s, STATUS_BAD_SEQUENCE, SPAN("BODY=BINARYMIME wants BDAT"));
	else if (!t->tried)
		reply_status(s, STATUS_BAD_SEQUENCE, SPAN("Need RCPT first"));
	else if (t->id) /* RFC 3030 2 */
		reply_status(s, STATUS_BAD_SEQUENCE, SPAN("BDAT has begun; DATA cannot end it"));
	else if (!t->good) /* RFC 5321 3.3, RFC 2033 4.2 */
		reply_status_code(s, STATUS_NO_RECIPIENTS, s->policy->lmtp ? 503 : 554, SPAN_NONE);
	else {
		data_begin(s, false);
		s->state = SESSION_DATA;
		if (t->filtered)
			filter_data(s); /* goes ahead then */
		else
			list_go_ahead(s);
	}
}

void
cmd_rset(struct session *s, struct span args)
{
	(void)args;
	transaction_end(s);
	reply(s, REPLY_OK, SPAN_NONE);
	if (s->draining)
		session_shutdown(s);
}
