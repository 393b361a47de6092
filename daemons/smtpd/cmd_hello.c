/* SPDX-License-Identifier: ISC
 *
 * HELO, EHLO, LHLO, STARTTLS: how a session begins, and begins anew.
 */
#include "command.h"
#include "filter.h"
#include "mail/date.h"

/* What may be announced now. */
static unsigned
extensions(struct session *s)
{
	struct sasl_offer offer = auth_offer(s);
	unsigned set = esmtp_offered(s);

	if (s->tls.n || !s->may_tls)
		set &= ~EXT(STARTTLS);
	if (s->user.n || !sasl_usable(&offer) || (s->policy->tls_first && !s->tls.n))
		set &= ~EXT(AUTH);
	if (!s->may_etrn)
		set &= ~EXT(ETRN);
	if (!s->may_xclient)
		set &= ~EXT(XCLIENT);
	if (!s->may_xforward)
		set &= ~EXT(XFORWARD);
	return set;
}

/* RFC 4865 3: how long, and until when. */
static void
put_future(const struct session *s, struct buf *line)
{
	long long limit = (long long)s->policy->conf->smtpd_future_release_limit / 1000;
	char date[DATE_SIZE];

	buf_printf(line, " %lld %s", limit, date_format_iso(date, s->ports->time(s->owner) + limit));
}

static void
put_extension(struct session *s, enum smtpd_extension bit, struct buf *line)
{
	static const char *const keywords[] = {
#define X(name, keyword) keyword,
		SMTPD_EXTENSIONS(X)
#undef X
	};

	buf_puts(line, keywords[bit]);
	if (bit == EXT_BIT_SIZE && s->policy->listener->message_size_limit) {
		buf_putc(line, ' ');
		buf_put_u64(line, (uint64_t)s->policy->listener->message_size_limit);
	} else if (bit == EXT_BIT_AUTH) {
		struct sasl_offer offer = auth_offer(s);

		buf_putc(line, ' ');
		sasl_list(line, "", &offer);
	} else if (bit == EXT_BIT_LIMITS) { /* RFC 9422 4 */
		buf_puts(line, " RCPTMAX=");
		buf_put_u64(line, (uint64_t)(s->policy->conf->smtpd_recipient_limit < 999999 ? s->policy->conf->smtpd_recipient_limit : 999999));
	} else if (bit == EXT_BIT_FUTURERELEASE)
		put_future(s, line);
	else if (bit == EXT_BIT_XFORWARD)
		buf_puts(line, " NAME ADDR PORT PROTO HELO IDENT SOURCE");
	else if (bit == EXT_BIT_XCLIENT)
		buf_puts(line, " NAME ADDR PORT PROTO HELO LOGIN");
}

/* The brackets of `EHLO <abc.com>` are a book's notation; who wants to can have them tolerated. */
static bool
take_name(struct session *s, struct span args)
{
	struct span name = span_word(&args);

	if (s->policy->conf->smtpd_helo_brackets && name.n > 2 && name.p[0] == '<' && name.p[name.n - 1] == '>')
		name = span_sub(name, 1, name.n - 2);
	for (size_t i = 0; i < name.n; i++)
		if (!ascii_print(name.p[i]) || name.p[i] == '<' || name.p[i] == '>')
			return false;
	return name.n <= B_HOST && session_set(s, &s->helo, name);
}

static bool
hello(struct session *s, struct span args, bool extended)
{
	if (!take_name(s, args)) {
		reply_status(s, STATUS_BAD_ARGUMENT, SPAN("That is not a host name"));
		return false;
	}
	transaction_end(s); /* RFC 5321 4.1.4: as RSET */
	s->state = SESSION_READY;
	s->extended = extended;
	return true;
}

void
cmd_helo(struct session *s, struct span args)
{
	if (hello(s, args, false))
		reply(s, REPLY_HELO, SPAN_NONE);
}

void
cmd_ehlo(struct session *s, struct span args)
{
	unsigned set;
	struct buf line;

	if (!hello(s, args, true))
		return;
	set = extensions(s);
	buf_init(&line, 1024);
	reply_words(s, &line, REPLY_EHLO, SPAN_NONE);
	reply_part(s, 250, set != 0, buf_span(&line));
	for (unsigned bit = 0; bit < EXT_BIT_COUNT; bit++) {
		if (!(set & (1u << bit)))
			continue;
		set &= ~(1u << bit);
		buf_reset(&line);
		put_extension(s, (enum smtpd_extension)bit, &line);
		reply_part(s, 250, set != 0, buf_span(&line));
	}
	buf_free(&line);
}

void
session_forget(struct session *s)
{
	transaction_end(s);
	filter_close(s);
	s->helo = s->user = SPAN_NONE;
	s->extended = false;
	s->state = SESSION_START;
}

/* RFC 3207 4. */
void
cmd_starttls(struct session *s, struct span args)
{
	(void)args;
	if (s->tls.n)
		reply_status(s, STATUS_BAD_SEQUENCE, SPAN("TLS is on already"));
	else if (!(s->policy->extensions & EXT(STARTTLS)) || !s->may_tls)
		reply_status(s, STATUS_NOT_IMPLEMENTED, SPAN("TLS is not offered here"));
	else {
		reply(s, REPLY_START_TLS, SPAN_NONE);
		s->wait = WAIT_TLS;
		s->ports->start_tls(s->owner);
	}
}
