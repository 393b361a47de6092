/* SPDX-License-Identifier: ISC
 *
 * data: content from DATA to the final dot: checked, given its trace field,
 * streamed to queued frame by frame.  The first frame waits until it is full
 * or the message is whole, so that a small message is one packet.
 */
#include <stdio.h>

#include "base/queueid.h"
#include "filter.h"
#include "mail/date.h"
#include "mail/header.h"
#include "mail/received.h"
#include "mail/submission.h"
#include "reply.h"
#include "transaction.h"

enum {
	FRAME_FIRST = 6144,  /* most messages fit: one allocation */
};

static bool
fixes_header(const struct session *s)
{
	return s->policy->submission || s->policy->local;
}

/* Who the kernel says has submitted. */
static struct span
uid_text(const struct session *s, char text[32])
{
	struct span uid = span_from(s->address, span_chr(s->address, ':') + 1);
	int n = snprintf(text, 32, "uid %.*s", (int)(uid.n < 20 ? uid.n : 20), uid.p);

	return span_of(text, (size_t)n);
}

/* RFC 5321 4.4; `for` only where it tells nobody of another recipient. */
static void
put_received(struct session *s)
{
	struct transaction *t = s->mail;
	char id[QUEUEID_TEXT + 1];
	int64_t now = s->ports->time(s->owner);
	bool local = span_starts(s->address, SPAN("local")); /* a UNIX socket */
	bool hidden = s->user.n && s->policy->conf->smtpd_hide_logged_in_client;
	char uid[32];

	received_build(&t->frame, &(struct received_new){
	    .helo = hidden ? SPAN_NONE : s->helo.n ? s->helo : s->literal,
	    .client_name = s->name,
	    .client_ip = local || hidden ? SPAN_NONE : s->address,
	    .by = s->policy->conf->myhostname,
	    .via = local ? SPAN("UNIX") : SPAN_NONE,
	    .protocol = received_protocol(s->policy->lmtp, s->extended, s->tls.n > 0, s->user.n > 0, t->utf8),
	    .tls = s->tls,
	    .auth_user = s->policy->local ? uid_text(s, uid) : s->user,
	    .id = queueid_text(t->id, id),
	    .priority = t->priority ? arena_printf(&s->mail_mem, "%d", t->priority - 10) : SPAN_NONE,
	    .recipient = t->good == 1 ? transaction_first(t) : SPAN_NONE,
	    .time = now,
	    .zone = date_local_zone(now),
	});
}

/* Law 11: what the access rules made of it, under its id. */
static void
note_rules(struct session *s)
{
	char id[QUEUEID_TEXT + 1];
	struct span text = queueid_text(s->mail->id, id);

	for (const struct recipient *r = s->mail->first; r; r = r->next)
		if (r->state == RECIPIENT_GOOD && r->rule.n) {
			s->about = r->address;
			s->rule = r->rule;
			s->ports->note(s->owner, SESSION_NOTE_ACCESS, text);
		}
	s->about = s->rule = SPAN_NONE;
}

/* What the administrator wants said beside Received, of strangers' mail alone: who logged in has a right to privacy. */
static void
put_trace_headers(struct session *s)
{
	const struct conf_list *wanted = &s->policy->conf->smtpd_trace_headers;

	for (size_t i = 0; i < wanted->n && !fixes_header(s) && !s->user.n; i++) {
		if (span_caseeq(wanted->items[i], SPAN("X-Envelope-Sender")))
			buf_printf(&s->mail->frame, "X-Envelope-Sender: <%.*s>\r\n", SPAN_ARG(s->mail->sender));
		else if (span_caseeq(wanted->items[i], SPAN("X-Remote-IP")))
			buf_printf(&s->mail->frame, "X-Remote-IP: %.*s\r\n", SPAN_ARG(s->address));
	}
}

void
data_begin(struct session *s, bool by_length)
{
	struct transaction *t = s->mail;
	const struct conf *conf = s->policy->conf;

	list_begin_content(s);
	content_init(&t->content, &(struct content_limits){
	    .size = s->policy->listener->message_size_limit,
	    .line = (unsigned)conf->line_length_limit,
	    .hops = (unsigned)conf->hopcount_limit,
	    .header = (size_t)conf->header_size_limit,
	    .by_length = by_length,
	    .binary = t->binary,
	});
	(void)buf_room(&t->frame, FRAME_FIRST);
	put_received(s);
	t->hidden = (uint32_t)buf_len(&t->frame);
	put_trace_headers(s);
	buf_put(&t->frame, buf_span(&t->prepend));
	note_rules(s);
	if (by_length && t->opened && !list_hand_over(s, SIZE_MAX)) /* what is left of it */
		data_give_up(s, STATUS_SYSTEM_LOCAL_TEMP);
}

void
data_give_up(struct session *s, unsigned status)
{
	struct transaction *t = s->mail;

	if (t->opened && !t->over)
		s->ports->intake_abort(s->owner, t->id);
	t->over = true;
	if (!t->status)
		t->status = status;
	buf_free(&t->frame);
	buf_free(&t->header);
}

/* Many clients say SMTPUTF8 with all they send; what is ASCII can go to hosts without it all the same. */
static bool
needs_utf8(const struct transaction *t)
{
	return t->utf8 && (t->utf8_addresses || t->content.header_8bit || !t->content.header_done);
}

/* The time of BY begins when it may be sent. */
static int64_t
by_time(const struct session *s)
{
	const struct transaction *t = s->mail;
	int64_t now = s->ports->time(s->owner) * 1000;

	return (t->release_ms > now ? t->release_ms : now) + t->by_s * 1000;
}

bool
data_open_intake(struct session *s, bool early)
{
	struct transaction *t = s->mail;
	struct ipc_intake_open open = {
		.id = transaction_intake(t),
		.sender = t->sender,
		.client_name = s->name.n ? s->name : SPAN("unknown"),
		.client_addr = s->address,
		.helo = span_sub(s->helo, 0, B_HOST),
		.protocol = received_protocol(s->policy->lmtp, s->extended, s->tls.n > 0, s->user.n > 0, t->utf8),
		.sasl_user = s->user,
		.ret = t->ret,
		.envid = t->envid,
		.body8 = t->body8 || t->content.eightbit,
		.binary = t->binary,
		.requiretls = t->requiretls,
		.release_ms = t->release_ms,
		.priority = t->priority,
		.by_ms = t->by_mode ? by_time(s) : 0,
		.by_mode = t->by_mode,
		.smtputf8 = early ? t->utf8 && t->utf8_addresses : needs_utf8(t),
		.hold = t->hold,
		.size = t->size,
		.hops = (uint8_t)(t->content.received < UINT8_MAX ? t->content.received : UINT8_MAX),
	};

	if (s->forward.set) {
		open.client_name = s->forward.name.n ? s->forward.name : SPAN("unknown");
		open.client_addr = s->forward.address;
		open.helo = s->forward.helo;
		open.protocol = s->forward.protocol.n ? s->forward.protocol : open.protocol;
	}
	if (!s->ports->intake_open(s->owner, &open))
		return false;
	t->opened = true;
	return true;
}

static bool
send_envelope(struct session *s)
{
	struct transaction *t = s->mail;

	if (!data_open_intake(s, false))
		return false;
	if (t->redirect.n)
		return s->ports->intake_rcpt(s->owner, &(struct ipc_intake_rcpt){ .id = t->id, .address = t->redirect });
	return list_hand_over(s, SIZE_MAX);
}

static void
send_frame(struct session *s)
{
	struct transaction *t = s->mail;
	const struct ipc_intake_data m = { .id = t->id, .bytes = buf_span(&t->frame) };

	if (t->over || !m.bytes.n)
		return;
	if (t->discard) {
		buf_reset(&t->frame);
		return;
	}
	if (t->screened && !t->returning) {
		if (!filter_content(s, m.bytes))
			data_give_up(s, STATUS_SYSTEM_LOCAL_TEMP);
		buf_reset(&t->frame);
		return;
	}
	if ((!t->opened && !send_envelope(s)) || !s->ports->intake_data(s->owner, &m)) {
		data_give_up(s, STATUS_SYSTEM_LOCAL_TEMP);
		return;
	}
	t->sent += m.bytes.n;
	buf_reset(&t->frame);
}

void
data_put(struct session *s, struct span bytes)
{
	struct transaction *t = s->mail;

	while (bytes.n && !t->over) {
		struct span part = span_sub(bytes, 0, buf_space(&t->frame));

		buf_put(&t->frame, part);
		if (!buf_ok(&t->frame)) {
			data_give_up(s, STATUS_SYSTEM_LOCAL_TEMP);
			return;
		}
		bytes = span_from(bytes, part.n);
		if (buf_space(&t->frame) == 0)
			send_frame(s);
	}
}

/* RFC 8689 4.1. */
static void
find_tls_required(struct transaction *t, struct span header)
{
	struct header_field field;

	if (t->content.fields & CONTENT_FIELD(TLS_REQUIRED) && header_find(header, SPAN("TLS-Required"), &field))
		t->tls_optional = !t->requiretls && span_caseeq(span_trim(field.value), SPAN("No"));
}

/* Of the field, which is a stranger's, what can be one; behind it could stand what looks like the log's own. */
static struct span
first_id(struct span value)
{
	size_t end = value.n && value.p[0] == '<' ? span_chr(value, '>') : SIZE_MAX;

	return end == SIZE_MAX ? span_word(&value) : span_sub(value, 0, end + 1);
}

/* What log, trace and queue want to know of the header; one beyond the first frame goes without. */
static void
read_header(struct session *s, struct span header)
{
	struct transaction *t = s->mail;
	struct header_field field;
	struct span value;

	find_tls_required(t, header);
	if (!header_find(header, SPAN("Message-ID"), &field))
		return;
	value = first_id(span_trim(field.value));
	for (size_t i = 0; i < value.n; i++)
		if (!ascii_print(value.p[i]))
			return;
	if (value.n <= 998)
		t->message_id = arena_dup(&s->mail_mem, value);
}

/* RFC 6409 8: what a submitted message lacks; Bcc goes. */
static void
fix_header(struct session *s)
{
	struct transaction *t = s->mail;
	int64_t now = s->ports->time(s->owner);
	char id[QUEUEID_TEXT + 1];
	struct buf fixed;

	buf_init(&fixed, t->header.cap * 2 + 8192);
	if (!submission_fix(&fixed, buf_span(&t->header), &(struct submission){
	    .sender = t->sender,
	    .domain = s->policy->conf->myhostname,
	    .unique = queueid_text(t->id, id),
	    .time = now,
	    .zone = date_local_zone(now),
	}))
		data_give_up(s, buf_ok(&fixed) ? STATUS_HEADER_TOO_LARGE : STATUS_SYSTEM_LOCAL_TEMP);
	read_header(s, buf_span(&fixed));
	data_put(s, buf_span(&fixed));
	buf_free(&fixed);
	buf_free(&t->header);
}

static void
header_done(struct session *s)
{
	struct transaction *t = s->mail;

	if (t->over)
		return;
	if (fixes_header(s))
		fix_header(s);
	else if (!t->sent)
		read_header(s, buf_span(&t->frame));
	if (t->content.need_blank)
		data_put(s, SPAN("\r\n"));
}

static void
put_run(struct session *s, struct span run)
{
	struct transaction *t = s->mail;

	if (t->over)
		return;
	if (!fixes_header(s) || t->content.header_done) {
		data_put(s, run);
		return;
	}
	buf_put(&t->header, run);
	if (!buf_ok(&t->header))
		data_give_up(s, STATUS_HEADER_TOO_LARGE);
}

/* That was all: queued is to make it durable. */
static void
end_intake(struct session *s)
{
	struct transaction *t = s->mail;

	if (!t->over && !s->ports->intake_end(s->owner, &(struct ipc_intake_end){
	    .id = t->id, .size = t->sent, .body8 = t->body8 || t->content.eightbit, .smtputf8 = needs_utf8(t), .tls_optional = t->tls_optional,
	    .message_id = t->message_id }))
		data_give_up(s, STATUS_SYSTEM_LOCAL_TEMP);
	if (t->over)
		data_verdict(s, t->status, t->status_text);
	else
		s->wait = WAIT_COMMIT;
}

void
data_finish(struct session *s)
{
	send_frame(s);
	end_intake(s);
}

/* Behind CRLF.CRLF. */
static void
content_ended(struct session *s)
{
	struct transaction *t = s->mail;

	s->progress++;
	if (!t->content.header_done)
		header_done(s);
	if (!t->over)
		send_frame(s);
	if (!t->over && t->discard) {
		data_verdict(s, STATUS_OK, SPAN_NONE); /* as an access rule wants it; the log says so */
		return;
	}
	if (!t->over && t->screened) {
		if (filter_end(s))
			return;
		s->wait = WAIT_CLIENT;
		data_give_up(s, STATUS_SYSTEM_LOCAL_TEMP);
	}
	end_intake(s);
}

bool
data_step(struct session *s, struct span *in)
{
	struct transaction *t = s->mail;
	struct span run;
	enum content_step step = content_next(&t->content, in, &run);

	if (t->content.status && !t->over)
		data_give_up(s, t->content.status);
	if (step == CONTENT_RUN)
		put_run(s, run);
	else if (step == CONTENT_HEADER)
		header_done(s);
	else if (step == CONTENT_END)
		content_ended(s);
	return step == CONTENT_RUN || step == CONTENT_HEADER;
}

size_t
data_input(struct session *s, struct span bytes)
{
	struct transaction *t = s->mail;
	struct span in = bytes;

	while (data_step(s, &in))
		if (!t->over && filter_full(s)) {
			s->wait = WAIT_ROOM;
			break;
		}
	if (in.n < bytes.n)
		s->progress++;
	return bytes.n - in.n;
}

static void
say_verdict(struct session *s, unsigned status, struct span text, struct span id)
{
	unsigned code = s->mail->status_code;

	if (status == STATUS_OK)
		reply(s, REPLY_QUEUED, id);
	else if (code)
		reply_status_code(s, status, code, text);
	else
		reply_status(s, status, text);
}

/* One for each recipient, but one error of the client's at most. */
static void
say_verdicts(struct session *s, unsigned status, struct span text, struct span id)
{
	const struct recipient *r = s->mail->first, *next;

	for (; r; r = next) {
		for (next = r->next; next && (next->state != RECIPIENT_GOOD || next->added); next = next->next)
			continue;
		s->uncounted = next != NULL;
		if (r->state == RECIPIENT_GOOD && !r->added)
			say_verdict(s, status, text, id);
	}
}

void
data_go_ahead(struct session *s)
{
	s->hasty = false;
	reply(s, REPLY_GO_AHEAD, SPAN_NONE);
}

void
data_was_hasty(struct session *s)
{
	s->hasty = false;
	s->ports->note(s->owner, SESSION_NOTE_DROPPED, SPAN("content before 354"));
	reply_close(s);
}

void
data_verdict(struct session *s, unsigned status, struct span text)
{
	struct transaction *t = s->mail;
	char mem[QUEUEID_TEXT + 1];
	struct span id = queueid_text(t->id, mem);
	bool closing;

	t->over = true;
	t->status = status == STATUS_OK ? STATUS_NONE : status;
	s->wait = WAIT_CLIENT;
	s->ports->note(s->owner, status == STATUS_OK ? SESSION_NOTE_ACCEPTED : SESSION_NOTE_REFUSED, id);
	if (status == STATUS_OK) {
		s->messages++;
		s->errors = s->junk = s->put_off = 0;
	}
	if (!s->policy->lmtp)
		say_verdict(s, status, text, id);
	else /* RFC 2033 4.2 */
		say_verdicts(s, status, text, id);
	closing = t->status_code == 421; /* RFC 5321 3.8 */
	transaction_end(s);
	if (closing)
		reply_close(s);
	else if (s->hasty)
		data_was_hasty(s);
	if (s->draining)
		session_shutdown(s);
}

void
session_on_accepted(struct session *s, uint64_t id)
{
	if (s->wait == WAIT_COMMIT && s->mail && s->mail->id == id)
		data_verdict(s, STATUS_OK, SPAN_NONE);
}

void
session_on_refused(struct session *s, const struct ipc_intake_refused *m)
{
	struct transaction *t = s->mail;
	unsigned status = status_get(m->status)->class == FAIL_NONE ? STATUS_SYSTEM_LOCAL_TEMP : m->status;

	if (!t || list_lost(s, m->id) || t->id != m->id || !t->opened || t->over)
		return;
	t->over = true; /* queued has forgotten it: no abort */
	if (s->wait == WAIT_COMMIT || s->wait == WAIT_LIST || t->returning) {
		data_verdict(s, status, m->text);
		return;
	}
	t->status_text = arena_dup(&s->mail_mem, m->text);
	data_give_up(s, status);
	if (s->wait == WAIT_ROOM)
		s->wait = WAIT_CLIENT;
}
