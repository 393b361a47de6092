/* SPDX-License-Identifier: ISC */
#include "mail/report.h"

#include "mail/charset.h"
#include "mail/date.h"
#include "mail/encoding.h"
#include "mail/limits.h"
#include "mail/orcpt.h"
#include "mail/status.h"

enum { ADDRESS_ROOM = 4096 };

static const struct {
	const char *word, *subject;
} actions[REPORT_ACTION_COUNT] = {
#define X(name, word, subject) [REPORT_##name] = { word, subject },
	REPORT_ACTIONS(X)
#undef X
};

/* One line of foreign text: no line ends, no controls; beyond ASCII only where it may be. */
static void
put_text(struct buf *out, struct span s, bool utf8)
{
	bool keep = utf8 && utf8_valid(s);

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '\r')
			continue;
		if (c == '\n' || c == '\t')
			c = ' ';
		buf_putc(out, (c >= ' ' && c < 0x7f) || (c & 0x80 && keep) ? (char)c : '?');
	}
}

/* An address where only ASCII may stand is in the form utf-8-addr-xtext (RFC 6533 3). */
static void
put_address(struct buf *out, struct span s, bool utf8)
{
	if (utf8 || !utf8_has_8bit(s))
		put_text(out, s, utf8);
	else
		unitext_encode(out, s);
}

static void
put_typed(struct buf *out, const char *field, const char *type, struct span value, bool utf8)
{
	if (!value.n)
		return;
	buf_printf(out, "%s: %s; ", field, type);
	put_text(out, value, utf8);
	buf_puts(out, "\r\n");
}

static void
put_date(struct buf *out, const char *field, int64_t time, int zone)
{
	char date[DATE_SIZE];

	if (time)
		buf_printf(out, "%s: %s\r\n", field, date_format(date, time, zone));
}

static const char *
address_type(struct span address)
{
	return utf8_has_8bit(address) ? "utf-8" : "rfc822";
}

static struct span
code_of(const struct report_recipient *rcpt)
{
	if (rcpt->code.n)
		return rcpt->code;
	if (rcpt->status)
		return span_str(status_get(rcpt->status)->code);
	return rcpt->action == REPORT_FAILED    ? SPAN("5.0.0")
	       : rcpt->action == REPORT_DELAYED ? SPAN("4.0.0")
						: SPAN("2.0.0");
}

static bool
has_reply_code(struct span s)
{
	return s.n > 3 && ascii_digit(s.p[0]) && ascii_digit(s.p[1]) && ascii_digit(s.p[2]) && (s.p[3] == ' ' || s.p[3] == '-');
}

/* Said by the other server, rather than found by us. */
static bool
theirs(const struct report_recipient *rcpt)
{
	return rcpt->remote_mta.n > 0 && has_reply_code(rcpt->reply);
}

static const char *
sentence_of(const struct report_recipient *rcpt)
{
	unsigned id = rcpt->status ? rcpt->status : status_find_code(code_of(rcpt));

	if (rcpt->action == REPORT_FAILED && span_starts(code_of(rcpt), SPAN("4."))) /* tried for as long as may be */
		id = STATUS_EXPIRED;
	else if (rcpt->action == REPORT_DELAYED && id == STATUS_DELAYED)
		return "The message has not been delivered yet.";
	else if (rcpt->action == REPORT_RELAYED)
		id = STATUS_RELAYED;
	else if (rcpt->action == REPORT_DELIVERED)
		id = STATUS_DELIVERED;
	else if (rcpt->action == REPORT_EXPANDED)
		return "The message was handed on to the addresses that stand behind this one.";
	return status_get(id)->report;
}

/* What the sender can do about a failure. */
static const char *
advice_of(const struct report_recipient *rcpt)
{
	static const struct {
		struct span code; /* or the beginning of it */
		const char *advice;
	} rows[] = {
		{ SPAN_INIT("5.1.7"), "Check the sender's address that is set in your mail program." },
		{ SPAN_INIT("5.1.8"), "Check the sender's address that is set in your mail program." },
		{ SPAN_INIT("5.1."), "Check the address for mistakes and send the message again, or ask the recipient for the right one in another way." },
		{ SPAN_INIT("5.2.2"), "The recipient has to make room in the mailbox first; then send the message again." },
		{ SPAN_INIT("5.2.3"), "Send the message in parts, or what is large in it in another way." },
		{ SPAN_INIT("5.2."), "Ask the recipient in another way." },
		{ SPAN_INIT("5.3.4"), "Send the message in parts, or what is large in it in another way." },
		{ SPAN_INIT("5.4."), "If the address is right, tell the administrator of your mail system." },
		{ SPAN_INIT("4."), "Send the message again later, or ask the recipient in another way." },
		{ SPAN_INIT("5.6."), "Send the message again in a plainer form, for example as text without attachments." },
		{ SPAN_INIT("5.7."), "Ask the recipient, or the administrator there, to accept your messages." },
		{ SPAN_INIT("5."), "If you cannot tell why, show this message to the administrator of your mail system." },
	};

	if (rcpt->action == REPORT_FAILED)
		for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
			if (span_starts(code_of(rcpt), rows[i].code))
				return rows[i].advice;
	return NULL;
}

/* The address as its sender wrote it, for a human. */
static struct span
put_original_address(struct buf *into, const struct report_recipient *rcpt)
{
	struct span address;

	orcpt_put_decoded(into, rcpt->original, true);
	address = buf_span(into);
	(void)span_cut(&address, ';');
	return address;
}

static bool
recipient_is_8bit(const struct report_recipient *rcpt)
{
	bool eight = utf8_has_8bit(rcpt->final) || utf8_has_8bit(rcpt->reply) || utf8_has_8bit(rcpt->remote_mta);
	struct buf original;

	buf_init(&original, ADDRESS_ROOM);
	eight = eight || (rcpt->original.n > 0 && utf8_has_8bit(put_original_address(&original, rcpt)));
	buf_free(&original);
	return eight;
}

/* Whether any part is not ASCII, which the top has to declare. */
static bool
needs_8bit(const struct report *r)
{
	bool eight = r->utf8 || (r->original_8bit && !r->original_utf8);

	for (size_t i = 0; !eight && i < r->nrecipients; i++)
		eight = recipient_is_8bit(&r->recipients[i]);
	return eight;
}

/* The strongest action names the report: failed before delayed before the good ones. */
static enum report_action
action_of(const struct report *r)
{
	enum report_action a = r->recipients[0].action;

	for (size_t i = 1; i < r->nrecipients; i++)
		if (r->recipients[i].action < a)
			a = r->recipients[i].action;
	return a;
}

static void
put_boundary(struct buf *out, const struct report *r, const char *end)
{
	buf_printf(out, "--=_%.*s%s\r\n", SPAN_ARG(r->unique), end);
}

static void
put_head(struct buf *out, const struct report *r)
{
	char date[DATE_SIZE];

	buf_puts(out, "From: Mail Delivery System <");
	put_text(out, r->from, r->utf8);
	buf_puts(out, ">\r\nTo: <");
	put_text(out, r->to, r->utf8);
	buf_printf(out, ">\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <", actions[action_of(r)].subject,
	    date_format(date, r->now, r->zone));
	put_text(out, r->unique, false);
	buf_putc(out, '@');
	put_text(out, r->reporting_mta, false);
	buf_puts(out, ">\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"); /* RFC 3834 3.1.7 */
	buf_printf(out, "Content-Type: multipart/report; report-type=%s;\r\n\tboundary=\"=_%.*s\"\r\n",
	    r->utf8 ? "global-delivery-status" : "delivery-status", SPAN_ARG(r->unique));
	if (needs_8bit(r))
		buf_puts(out, "Content-Transfer-Encoding: 8bit\r\n");
	buf_puts(out, "\r\nThis is a delivery report in MIME format.\r\n\r\n");
}

static const char *const opening[REPORT_ACTION_COUNT] = {
	[REPORT_FAILED] =
	    "Your message could not be delivered to the following recipients. It will not be tried again.",
	[REPORT_DELAYED] = (
	    "Your message has not yet been delivered to the following recipients. You need to do nothing:\r\n"
	    "it will be tried again. Please do not send it a second time."),
	[REPORT_DELIVERED] = "Your message was delivered to the following recipients.",
	[REPORT_RELAYED] =
	    "Your message was handed on for the following recipients. The servers that have it may send no report.",
	[REPORT_EXPANDED] =
	    "Your message was handed on to those who stand behind the following addresses.",
};

static void
put_reply(struct buf *out, const struct report_recipient *rcpt)
{
	struct span rest = rcpt->reply;

	if (!rest.n)
		return;
	if (rcpt->remote_mta.n) {
		buf_printf(out, "    %s", theirs(rcpt) ? "The mail server " : "While sending to the mail server ");
		put_text(out, rcpt->remote_mta, true);
		buf_puts(out, theirs(rcpt) ? " said:\r\n" : ":\r\n");
	}
	while (rest.n && buf_ok(out)) {
		buf_puts(out, "      ");
		put_text(out, span_sub(span_cut(&rest, '\n'), 0, LIMIT_LINE - 10), true);
		buf_puts(out, "\r\n");
	}
}

static void
put_human_recipient(struct buf *out, const struct report *r, const struct report_recipient *rcpt)
{
	char date[DATE_SIZE];
	const char *advice = advice_of(rcpt);
	struct buf original;
	struct span rest;

	buf_init(&original, ADDRESS_ROOM);
	rest = put_original_address(&original, rcpt);
	buf_puts(out, "<");
	put_text(out, rcpt->final, true);
	buf_puts(out, ">\r\n");
	if (rest.n && !span_caseeq(rest, rcpt->final)) {
		buf_puts(out, "    (you wrote to ");
		put_text(out, rest, true);
		buf_puts(out, ")\r\n");
	}
	buf_free(&original);
	buf_printf(out, "    %s\r\n", sentence_of(rcpt));
	if (advice)
		buf_printf(out, "    %s\r\n", advice);
	put_reply(out, rcpt);
	if (rcpt->retry_until && rcpt->action == REPORT_DELAYED)
		buf_printf(out, "    It will be tried until %s.\r\n", date_format(date, rcpt->retry_until, r->zone));
}

static void
put_human(struct buf *out, const struct report *r)
{
	put_boundary(out, r, "");
	buf_printf(out, "Content-Type: text/plain; charset=%s\r\n", needs_8bit(r) ? "utf-8" : "us-ascii");
	if (needs_8bit(r))
		buf_puts(out, "Content-Transfer-Encoding: 8bit\r\n");
	buf_puts(out, "Content-Description: Notification\r\n\r\nThis is the mail system at ");
	put_text(out, r->reporting_mta, r->utf8);
	buf_puts(out, ".\r\n");
	for (unsigned a = 0; a < REPORT_ACTION_COUNT; a++) {
		bool any = false;

		for (size_t i = 0; i < r->nrecipients; i++) {
			if (r->recipients[i].action != a)
				continue;
			if (!any)
				buf_printf(out, "\r\n%s\r\n\r\n", opening[a]);
			any = true;
			put_human_recipient(out, r, &r->recipients[i]);
		}
	}
	if (r->queue_id.n) {
		buf_puts(out, "\r\nIf you ask for help, please quote the message's number here: ");
		put_text(out, r->queue_id, false);
		buf_puts(out, "\r\n");
	}
	buf_puts(out, "\r\n");
}

/* An address literal where the host has no name (RFC 3464 2.3.5). */
static void
put_remote_mta(struct buf *out, const struct report *r, struct span name)
{
	bool literal = name.n > 0 && name.p[0] != '[';

	for (size_t i = 0; literal && i < name.n; i++)
		literal = ascii_digit(name.p[i]) || name.p[i] == '.' || name.p[i] == ':' || (span_chr(name, ':') != SIZE_MAX && ascii_alnum(name.p[i]));
	if (!name.n)
		return;
	buf_printf(out, "Remote-MTA: dns; %s", !literal ? "" : span_chr(name, ':') != SIZE_MAX ? "[IPv6:" : "[");
	put_text(out, name, r->utf8);
	buf_printf(out, "%s\r\n", literal ? "]" : "");
}

/* RFC 3464 2.3 */
static void
put_recipient(struct buf *out, const struct report *r, const struct report_recipient *rcpt)
{
	buf_puts(out, "\r\n");
	if (rcpt->original.n) {
		buf_puts(out, "Original-Recipient: ");
		orcpt_put_decoded(out, rcpt->original, r->utf8);
		buf_puts(out, "\r\n");
	}
	buf_printf(out, "Final-Recipient: %s; ", address_type(rcpt->final));
	put_address(out, rcpt->final, r->utf8);
	buf_printf(out, "\r\nAction: %s\r\nStatus: ", actions[rcpt->action].word);
	put_text(out, code_of(rcpt), false);
	buf_puts(out, "\r\n");
	put_remote_mta(out, r, rcpt->remote_mta);
	if (rcpt->reply.n) {
		struct span reply = span_trim(rcpt->reply);

		put_typed(out, "Diagnostic-Code", theirs(rcpt) ? "smtp" : "x-pillarpost",
			  span_sub(reply, 0, LIMIT_LINE - 40), r->utf8);
	}
	put_date(out, "Last-Attempt-Date", rcpt->last_attempt, r->zone);
	if (rcpt->log_id.n) {
		buf_puts(out, "Final-Log-ID: ");
		put_text(out, rcpt->log_id, false);
		buf_puts(out, "\r\n");
	}
	if (rcpt->action == REPORT_DELAYED)
		put_date(out, "Will-Retry-Until", rcpt->retry_until, r->zone);
}

static void
put_machine(struct buf *out, const struct report *r)
{
	put_boundary(out, r, "");
	buf_printf(out, "Content-Type: message/%s\r\n", r->utf8 ? "global-delivery-status" : "delivery-status");
	if (r->utf8)
		buf_puts(out, "Content-Transfer-Encoding: 8bit\r\n");
	buf_puts(out, "Content-Description: Delivery report\r\n\r\n");
	if (r->envelope_id.n) {
		buf_puts(out, "Original-Envelope-Id: ");
		put_text(out, r->envelope_id, false);
		buf_puts(out, "\r\n");
	}
	put_typed(out, "Reporting-MTA", "dns", r->reporting_mta, r->utf8);
	put_typed(out, "Received-From-MTA", "dns", r->received_from, r->utf8);
	put_date(out, "Arrival-Date", r->arrival, r->zone);
	put_date(out, "Deliver-By-Date", r->deliver_by, r->zone); /* RFC 2852 5 */
	for (size_t i = 0; i < r->nrecipients; i++)
		put_recipient(out, r, &r->recipients[i]);
	buf_puts(out, "\r\n");
}

/* Offset behind the empty line in s, or SIZE_MAX; s begins at the start of a line. */
static size_t
header_end_in(struct span s)
{
	size_t at;

	if (span_starts(s, SPAN("\r\n")))
		return 0;
	at = span_find(s, SPAN("\r\n\r\n"));
	return at == SIZE_MAX ? SIZE_MAX : at + 2;
}

/* The header alone: whole lines, up to the limit. */
static void
put_original_header(struct buf *out, const struct report *r)
{
	size_t start = buf_len(out), end;
	struct span got;

	for (size_t i = 0; i < r->noriginal && buf_ok(out); i++) {
		size_t room = LIMIT_REPORT_HEADER - (buf_len(out) - start);

		buf_put(out, span_sub(r->original[i], 0, room));
		got = span_from(buf_span(out), start);
		end = header_end_in(got);
		if (end != SIZE_MAX) {
			buf_cut(out, start + end);
			break;
		}
		if (r->original[i].n >= room)
			break;
	}
	got = span_from(buf_span(out), start);
	end = span_rchr(got, '\n');
	buf_cut(out, start + (end == SIZE_MAX ? 0 : end + 1));
}

static void
put_returned(struct buf *out, const struct report *r)
{
	if (!r->full)
		put_original_header(out, r);
	else
		for (size_t i = 0; i < r->noriginal; i++)
			buf_put(out, r->original[i]);
	if (buf_ok(out) && !span_ends(buf_span(out), SPAN("\r\n")))
		buf_puts(out, "\r\n");
}

/* RFC 6533 4.5: who may not take SMTPUTF8 gets it in seven bits. */
static void
put_returned_in_7bit(struct buf *out, const struct report *r)
{
	struct buf plain;
	struct encoder e;

	buf_init(&plain, out->cap);
	put_returned(&plain, r);
	encoder_init(&e, ENCODING_BASE64);
	encoder_feed(&e, buf_span(&plain), out);
	encoder_end(&e, out);
	if (!buf_ok(&plain))
		out->failed = true;
	buf_free(&plain);
}

static void
put_original(struct buf *out, const struct report *r)
{
	bool global = r->utf8 || r->original_utf8, encoded = global && !r->utf8;

	put_boundary(out, r, "");
	buf_printf(out, "Content-Type: %s\r\n", r->full ? (global ? "message/global" : "message/rfc822")
							: (global ? "message/global-headers" : "text/rfc822-headers"));
	if (encoded)
		buf_puts(out, "Content-Transfer-Encoding: base64\r\n");
	else if (r->utf8 || r->original_8bit)
		buf_puts(out, "Content-Transfer-Encoding: 8bit\r\n");
	buf_printf(out, "Content-Description: %s\r\n\r\n", r->full ? "Undelivered message" : "Message header");
	if (encoded)
		put_returned_in_7bit(out, r);
	else
		put_returned(out, r);
	buf_puts(out, "\r\n");
	put_boundary(out, r, "--");
}

bool
report_build(const struct report *r, struct buf *out, struct fail *why)
{
	if (r->nrecipients == 0 || r->nrecipients > LIMIT_REPORT_RECIPIENTS)
		return fail_set(why, FAIL_LIMIT, STATUS_SYSTEM_LOCAL_PERM, "report for %zu recipients", r->nrecipients);
	put_head(out, r);
	put_human(out, r);
	put_machine(out, r);
	put_original(out, r);
	if (!buf_ok(out))
		return fail_set(why, FAIL_LIMIT, STATUS_SYSTEM_LOCAL_TEMP, "report does not fit its buffer");
	return true;
}
