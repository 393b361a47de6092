/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/command.h"

#include "ipc/bounds.h"
#include "mail/address.h"
#include "mail/orcpt.h"
#include "mail/status.h"

static bool
is_ascii(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return false;
	return true;
}

/* The common address is of atoms and dots only; all else must pass the grammar. */
static bool
path_safe(struct span s)
{
	struct address a;
	size_t i;

	for (i = 0; i < s.n; i++)
		if (!ascii_alnum(s.p[i]) && !(s.p[i] == '@' && i > 0) && s.p[i] != '.' && s.p[i] != '-' && s.p[i] != '_' && s.p[i] != '+' && s.p[i] != '=')
			break;
	if (i == s.n && s.n > 0 && s.n < 320)
		return true;
	return address_parse(&a, s, ADDRESS_UTF8 | ADDRESS_NO_DOMAIN | ADDRESS_LONG_LOCAL, NULL);
}

static bool
takes_binary(const struct client_settings *settings, unsigned extensions)
{
	return settings->chunking && extensions & CLIENT_EXT(CHUNKING) && extensions & CLIENT_EXT(BINARYMIME);
}

/* RFC 8689 4.2.1 (4), (5) */
static bool
takes_requiretls(const struct client *c)
{
	return c->tls && c->verified && c->extensions & CLIENT_EXT(REQUIRETLS);
}

/* RFC 2852 4: what is to come back when it is late goes to nobody who does not know that. */
static struct verdict
check_by(const struct client *c)
{
	const struct client_mail *mail = c->mail;
	struct verdict v = { .outcome = VERDICT_PENDING };
	int64_t left;

	if (!(mail->by_mode & BY_RETURN) || c->settings->lmtp)
		return v;
	left = mail->by_left(mail);
	if (left <= 0)
		return verdict_make(STATUS_EXPIRED, mail->arena, "it could not be delivered within the time that its sender set");
	if (!(c->extensions & CLIENT_EXT(DELIVERBY)))
		v = verdict_make(STATUS_NOT_CAPABLE, mail->arena, "message is to be delivered by a time, which the peer does not offer (DELIVERBY)");
	else if ((uint64_t)left < c->by_min)
		v = verdict_make(STATUS_NOT_CAPABLE, mail->arena, "message is to be delivered within %lld seconds, the peer wants %llu", (long long)left,
		    (unsigned long long)c->by_min);
	v.again = true;
	return v;
}

struct verdict
command_check(const struct client *c)
{
	const struct client_settings *settings = c->settings;
	const struct client_mail *mail = c->mail;
	unsigned extensions = c->extensions;
	struct verdict by = check_by(c);

	if (by.outcome != VERDICT_PENDING)
		return by;
	if (mail->sender.n && !path_safe(mail->sender))
		return verdict_make(STATUS_BAD_SYNTAX_SENDER, mail->arena, "the sender's address cannot be sent by SMTP");
	if ((mail->smtputf8 || !is_ascii(mail->sender)) && !(extensions & CLIENT_EXT(SMTPUTF8)))
		return verdict_make(STATUS_UTF8_NEEDED, mail->arena,
				    "message needs SMTPUTF8, which the peer does not offer");
	if (client_needs_tls(mail) && !settings->lmtp && !takes_requiretls(c)) {
		struct verdict v = verdict_make(STATUS_REQUIRETLS_NEEDED, mail->arena, "message needs REQUIRETLS, which the peer does not offer");

		v.again = true;
		return v;
	}
	if (mail->binary && !takes_binary(settings, extensions)) { /* RFC 3030 3 */
		struct fail why = { .status = STATUS_CONVERSION_REQUIRED };
		bool to_7bit = !(extensions & CLIENT_EXT(8BITMIME)) && !settings->send_8bit_anyway;

		if (!mail->to_lines || !mail->to_lines(mail, to_7bit, &why))
			return verdict_make(status_of_fail(&why), mail->arena,
					    "the peer does not offer BINARYMIME, and the message is not converted%s%s",
					    why.text[0] ? ": " : "", why.text);
	}
	if (mail->body8 && !(extensions & CLIENT_EXT(8BITMIME)) && !settings->send_8bit_anyway && mail->is_8bit &&
	    mail->is_8bit(mail)) {
		struct fail why = { .status = STATUS_CONVERSION_REQUIRED };

		if (!mail->to_7bit || !mail->to_7bit(mail, &why))
			return verdict_make(status_of_fail(&why), mail->arena,
					    "the peer does not offer 8BITMIME, and the message is not converted%s%s",
					    why.text[0] ? ": " : "", why.text);
	}
	if (c->size_limit && mail->size > c->size_limit) /* RFC 1870 6.1 */
		return verdict_make(STATUS_TOO_BIG, mail->arena, "message of %llu bytes exceeds the peer's limit of %llu",
		    (unsigned long long)mail->size, (unsigned long long)c->size_limit);
	return (struct verdict){ .outcome = VERDICT_PENDING };
}

/* A recipient behind an alias may need it though the message as it came did not. */
static bool
needs_utf8(const struct client_mail *mail)
{
	bool utf8 = mail->smtputf8 || !is_ascii(mail->sender);

	for (size_t i = 0; !utf8 && i < mail->nrcpts; i++)
		utf8 = !is_ascii(mail->rcpts[i].address);
	return utf8;
}

static void
put_by(struct buf *out, const struct client_mail *mail)
{
	int64_t left = mail->by_left(mail);

	left = left > 999999999 ? 999999999 : left < -999999999 ? -999999999 : left;
	buf_printf(out, " BY=%lld;%c%s", (long long)left, mail->by_mode & BY_RETURN ? 'R' : 'N', mail->by_mode & BY_TRACE ? "T" : "");
}

void
command_mail(const struct client *c)
{
	struct buf *out = c->out;
	const struct client_mail *mail = c->mail;
	unsigned extensions = c->extensions;

	buf_put(out, SPAN("MAIL FROM:<"));
	buf_put(out, mail->sender);
	buf_putc(out, '>');
	if (extensions & CLIENT_EXT(SIZE) && !mail->callout) {
		buf_put(out, SPAN(" SIZE="));
		buf_put_u64(out, mail->size);
	}
	if (mail->binary)
		buf_put(out, SPAN(" BODY=BINARYMIME"));
	else if (mail->body8 && (extensions & CLIENT_EXT(8BITMIME)))
		buf_put(out, SPAN(" BODY=8BITMIME"));
	if (needs_utf8(mail) && (extensions & CLIENT_EXT(SMTPUTF8)))
		buf_put(out, SPAN(" SMTPUTF8"));
	if (mail->priority && extensions & CLIENT_EXT(MTPRIORITY)) /* RFC 6710 4.2 */
		buf_printf(out, " MT-PRIORITY=%d", mail->priority - 10);
	if (mail->by_mode && extensions & CLIENT_EXT(DELIVERBY))
		put_by(out, mail);
	if (mail->requiretls && takes_requiretls(c))
		buf_put(out, SPAN(" REQUIRETLS"));
	if (extensions & CLIENT_EXT(DSN)) {
		if (mail->ret == 1 || mail->ret == 2)
			buf_puts(out, mail->ret == 1 ? " RET=FULL" : " RET=HDRS");
		if (mail->envid.n) {
			buf_put(out, SPAN(" ENVID="));
			xtext_encode(out, mail->envid);
		}
	}
	buf_put(out, SPAN("\r\n"));
}

bool
command_rcpt_check(const struct client_mail *mail, struct client_rcpt *rcpt, unsigned extensions)
{
	if (!path_safe(rcpt->address))
		rcpt->verdict = verdict_make(STATUS_BAD_SYNTAX_RECIPIENT, mail->arena, "this address cannot be sent by SMTP");
	else if (!(extensions & CLIENT_EXT(SMTPUTF8)) && !is_ascii(rcpt->address))
		rcpt->verdict = verdict_make(STATUS_UTF8_NEEDED, mail->arena, "the address needs SMTPUTF8, which the peer does not offer");
	else
		return true;
	return false;
}

static void
put_notify(struct buf *out, unsigned notify)
{
	static const char *const words[] = { "SUCCESS", "FAILURE", "DELAY" };
	bool first = true;

	buf_put(out, SPAN(" NOTIFY="));
	if (notify & 8) {
		buf_put(out, SPAN("NEVER"));
		return;
	}
	for (unsigned i = 0; i < 3; i++)
		if (notify & 1u << i) {
			if (!first)
				buf_putc(out, ',');
			buf_puts(out, words[i]);
			first = false;
		}
}

void
command_rcpt(struct buf *out, const struct client_rcpt *rcpt, unsigned extensions)
{
	buf_put(out, SPAN("RCPT TO:<"));
	buf_put(out, rcpt->address);
	buf_putc(out, '>');
	if (extensions & CLIENT_EXT(DSN)) {
		if (rcpt->notify & 15)
			put_notify(out, rcpt->notify);
		if (orcpt_valid(rcpt->orcpt, true)) { /* RFC 3461 5.2.1 (d) */
			buf_put(out, SPAN(" ORCPT="));
			orcpt_put(out, rcpt->orcpt, extensions & CLIENT_EXT(SMTPUTF8));
		}
	}
	buf_put(out, SPAN("\r\n"));
}

/* RFC 9422 3: of several of one name the last counts; what is not known means nothing. */
static void
take_limits(struct client *c, struct span line)
{
	struct span word;

	while ((word = span_word(&line)).n) {
		struct span name = span_cut(&word, '=');
		uint64_t n = 0;

		if (!word.p || word.n > 6 || !span_u64(word, 999999, &n) || n == 0) /* RFC 9422 4.1 */
			continue;
		if (span_caseeq(name, SPAN("RCPTMAX")))
			c->rcpt_max = n;
		else if (span_caseeq(name, SPAN("MAILMAX")))
			c->mail_max = n;
	}
}

unsigned
command_extensions(struct client *c)
{
	static const struct {
		struct span keyword;
		unsigned bit;
	} known[] = {
#define X(name, keyword) { SPAN_INIT(keyword), CLIENT_EXT(name) },
		CLIENT_EXTENSIONS(X)
#undef X
	};
	struct span rest = buf_span(&c->reply.text);
	unsigned found = 0;

	c->size_limit = c->by_min = c->rcpt_max = c->mail_max = 0;
	c->mechanisms = 0;
	(void)span_cut(&rest, '\n'); /* the peer's name and greeting */
	while (rest.n) {
		struct span whole = span_cut(&rest, '\n'), line = whole, word = span_word(&line);

		if (span_casestarts(whole, SPAN("AUTH=")) || span_caseeq(word, SPAN("AUTH"))) { /* the first is how some had it before RFC 2554 */
			c->mechanisms |= auth_mechanisms(span_from(whole, 5));
			found |= CLIENT_EXT(AUTH);
		}
		for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
			if (span_caseeq(word, known[i].keyword)) {
				found |= known[i].bit;
				if (known[i].bit == CLIENT_EXT(LIMITS))
					take_limits(c, line);
				if (known[i].bit == CLIENT_EXT(DELIVERBY) && !span_u64(span_word(&line), 999999999, &c->by_min))
					c->by_min = 0;
				if (known[i].bit == CLIENT_EXT(SIZE) && !span_u64(span_word(&line), UINT64_MAX, &c->size_limit))
					c->size_limit = 0;
			}
	}
	return found;
}
