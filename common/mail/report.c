/* SPDX-License-Identifier: ISC */
#include "mail/report.h"

#include "mail/charset.h"
#include "mail/date.h"
#include "mail/limits.h"
#include "mail/status.h"

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

/* An address where only ASCII may stand (RFC 6533 3, utf-8-addr-unitext as "\x{20AC}"). */
static void
put_address(struct buf *out, struct span s, bool utf8)
{
	if (utf8 || !utf8_has_8bit(s)) {
		put_text(out, s, utf8);
		return;
	}
	while (s.n && buf_ok(out)) {
		uint32_t cp = 0;
		size_t n = utf8_next(s, &cp);

		if (n <= 1)
			put_text(out, span_sub(s, 0, 1), false);
		else
			buf_printf(out, "\\x{%X}", cp);
		s = span_from(s, n ? n : 1);
	}
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

static const char *
sentence_of(const struct report_recipient *rcpt)
{
	unsigned id = rcpt->status ? rcpt->status : status_find_code(code_of(rcpt));

	return status_get(id)->report;
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
	if (r->utf8 || r->original_8bit)
		buf_puts(out, "Content-Transfer-Encoding: 8bit\r\n");
	buf_puts(out, "\r\nThis is a delivery report in MIME format.\r\n\r\n");
}

static const char *const opening[REPORT_ACTION_COUNT] = {
	[REPORT_FAILED] =
	    "Your message could not be delivered to the following recipients. It will not be tried again.",
	[REPORT_DELAYED] =
	    "Your message has not yet been delivered to the following recipients. It will be tried again.",
	[REPORT_DELIVERED] = "Your message was delivered to the following recipients.",
	[REPORT_RELAYED] =
	    "Your message was handed on for the following recipients. The servers that have it may send no report.",
	[REPORT_EXPANDED] =
	    "Your message was delivered to the following recipients, who are lists or forward their mail.",
};

static void
put_reply(struct buf *out, const struct report *r, const struct report_recipient *rcpt)
{
	struct span rest = rcpt->reply;

	if (!rest.n)
		return;
	if (rcpt->remote_mta.n) {
		buf_puts(out, "    The mail server ");
		put_text(out, rcpt->remote_mta, r->utf8);
		buf_puts(out, " said:\r\n");
	}
	while (rest.n && buf_ok(out)) {
		buf_puts(out, "      ");
		put_text(out, span_sub(span_cut(&rest, '\n'), 0, LIMIT_LINE - 10), r->utf8);
		buf_puts(out, "\r\n");
	}
}

static void
put_human(struct buf *out, const struct report *r)
{
	char date[DATE_SIZE];

	put_boundary(out, r, "");
	buf_printf(out, "Content-Type: text/plain; charset=%s\r\n", r->utf8 ? "utf-8" : "us-ascii");
	if (r->utf8)
		buf_puts(out, "Content-Transfer-Encoding: 8bit\r\n");
	buf_puts(out, "Content-Description: Notification\r\n\r\nThis is the mail system at ");
	put_text(out, r->reporting_mta, r->utf8);
	buf_puts(out, ".\r\n");
	for (unsigned a = 0; a < REPORT_ACTION_COUNT; a++) {
		bool any = false;

		for (size_t i = 0; i < r->nrecipients; i++) {
			const struct report_recipient *rcpt = &r->recipients[i];

			if (rcpt->action != a)
				continue;
			if (!any)
				buf_printf(out, "\r\n%s\r\n\r\n", opening[a]);
			any = true;
			buf_puts(out, "<");
			put_address(out, rcpt->final, r->utf8);
			buf_printf(out, ">\r\n    %s\r\n", sentence_of(rcpt));
			put_reply(out, r, rcpt);
			if (rcpt->retry_until && a == REPORT_DELAYED)
				buf_printf(out, "    It will be tried until %s.\r\n",
					   date_format(date, rcpt->retry_until, r->zone));
		}
	}
	if (r->queue_id.n) {
		buf_puts(out, "\r\nIf you ask for help, please quote the message's number here: ");
		put_text(out, r->queue_id, false);
		buf_puts(out, "\r\n");
	}
	buf_puts(out, "\r\n");
}

/* RFC 3464 2.3 */
static void
put_recipient(struct buf *out, const struct report *r, const struct report_recipient *rcpt)
{
	buf_puts(out, "\r\n");
	if (rcpt->original.n) {
		buf_puts(out, "Original-Recipient: ");
		put_address(out, rcpt->original, r->utf8);
		buf_puts(out, "\r\n");
	}
	buf_printf(out, "Final-Recipient: %s; ", address_type(rcpt->final));
	put_address(out, rcpt->final, r->utf8);
	buf_printf(out, "\r\nAction: %s\r\nStatus: ", actions[rcpt->action].word);
	put_text(out, code_of(rcpt), false);
	buf_puts(out, "\r\n");
	put_typed(out, "Remote-MTA", "dns", rcpt->remote_mta, r->utf8);
	if (rcpt->reply.n) {
		struct span reply = span_trim(rcpt->reply);

		put_typed(out, "Diagnostic-Code", rcpt->remote_mta.n ? "smtp" : "x-pillarpost",
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
put_original(struct buf *out, const struct report *r)
{
	const char *subtype = r->full ? (r->utf8 ? "message/global" : "message/rfc822")
				      : (r->utf8 ? "message/global-headers" : "text/rfc822-headers");

	put_boundary(out, r, "");
	buf_printf(out, "Content-Type: %s\r\n", subtype);
	if (r->utf8 || r->original_8bit)
		buf_puts(out, "Content-Transfer-Encoding: 8bit\r\n");
	buf_printf(out, "Content-Description: %s\r\n\r\n", r->full ? "Undelivered message" : "Message header");
	if (!r->full)
		put_original_header(out, r);
	else
		for (size_t i = 0; i < r->noriginal; i++)
			buf_put(out, r->original[i]);
	if (buf_ok(out) && !span_ends(buf_span(out), SPAN("\r\n")))
		buf_puts(out, "\r\n");
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
