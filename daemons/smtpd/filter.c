/* SPDX-License-Identifier: ISC */
#include "filter.h"

#include "command.h"
#include "mail/received.h"

bool
filter_on(const struct session *s)
{
	return s->policy->milters || (s->policy->services && !session_may_relay(s));
}

static bool
tell(struct session *s, unsigned type, const void *m)
{
	return s->filter_id && s->ports->filter(s->owner, type, m);
}

/* ---- questions ---- */

static uint64_t
new_question(struct session *s, enum filter_stage stage)
{
	struct transaction *t = s->mail;

	t->question = s->ports->filter_question(s->owner);
	t->stage = (uint8_t)stage;
	s->wait = WAIT_FILTER;
	return t->question;
}

void
filter_mail(struct session *s)
{
	struct transaction *t = s->mail;
	struct ipc_filter_mail m = {
		.id = s->filter_id,
		.question = new_question(s, FILTER_MAIL),
		.client_name = s->name.n ? s->name : SPAN("unknown"),
		.client_addr = s->address,
		.helo = span_sub(s->helo, 0, B_HOST),
		.protocol = received_protocol(s->policy->lmtp, s->extended, false, false, false),
		.tls = span_sub(s->tls, 0, B_HOST),
		.sasl_method = s->user.n ? s->method : SPAN_NONE,
		.sasl_user = s->user,
		.known = session_may_relay(s),
		.sender = t->sender,
		.size = t->size,
		.body8 = t->body8,
		.smtputf8 = t->utf8,
	};

	t->filtered = s->ports->filter_mail(s->owner, &m);
	if (t->filtered) {
		s->filter_id = m.id;
		return;
	}
	s->wait = WAIT_CLIENT;
	transaction_end(s);
	reply_status(s, STATUS_SYSTEM_LOCAL_TEMP, SPAN_NONE);
}

/* Texts of a message from a sibling are valid within its handler only. */
static struct ipc_rcpt_answer *
keep(struct session *s, const struct ipc_rcpt_answer *m)
{
	struct ipc_rcpt_answer *copy = ARENA_NEW(&s->mail_mem, struct ipc_rcpt_answer);

	if (!copy)
		return NULL;
	*copy = *m;
	copy->redirect = arena_dup(&s->mail_mem, m->redirect);
	copy->prepend = arena_dup(&s->mail_mem, m->prepend);
	copy->text = SPAN_NONE;
	copy->why = arena_dup(&s->mail_mem, span_sub(m->why, 0, RULE_MAX));
	return copy;
}

bool
filter_rcpt(struct session *s, struct recipient *r, const struct ipc_rcpt_answer *m)
{
	r->held = keep(s, m);
	r->ask_id = s->ports->filter_question(s->owner);
	return r->held && tell(s, IPC_filter_rcpt, &(struct ipc_filter_rcpt){ .id = s->filter_id, .question = r->ask_id, .address = r->address });
}

static void
data_refused(struct session *s, unsigned status, unsigned code, struct span text)
{
	struct transaction *t = s->mail;

	t->status_code = code;
	if (s->state == SESSION_CHUNK) {
		t->status_text = arena_dup(&s->mail_mem, text);
		data_give_up(s, status);
		if (!s->chunk.left)
			(void)chunk_input(s, SPAN_NONE);
		return;
	}
	reply_status_code(s, status, code ? code : status_get(status)->reply, text);
	if (s->mail)
		transaction_end(s);
	if (code == 421)
		reply_close(s);
	else if (s->hasty)
		data_was_hasty(s);
}

void
filter_data(struct session *s)
{
	struct transaction *t = s->mail;
	struct ipc_filter_data m = { .id = s->filter_id, .question = new_question(s, FILTER_DATA), .queue_id = t->id, .nrcpt = t->good };

	if (t->good == 1)
		m.rcpt = transaction_first(t);
	if (tell(s, IPC_filter_data, &m))
		return;
	s->wait = WAIT_CLIENT;
	data_refused(s, STATUS_SYSTEM_LOCAL_TEMP, 0, SPAN_NONE);
}

bool
filter_content(struct session *s, struct span bytes)
{
	return tell(s, IPC_filter_content, &(struct ipc_filter_content){ .id = s->filter_id, .bytes = bytes });
}

bool
filter_end(struct session *s)
{
	return tell(s, IPC_filter_end, &(struct ipc_filter_end){
	    .id = s->filter_id, .question = new_question(s, FILTER_END), .hidden = s->mail->hidden });
}

bool
filter_full(const struct session *s)
{
	const struct transaction *t = s->mail;

	if (t && t->screened && !t->returning)
		return s->ports->filter_full(s->owner);
	return s->ports->intake_full(s->owner);
}

/* ---- answers ---- */

/* As if an access rule had said it. */
static struct ipc_rcpt_answer
as_rule(const struct ipc_filter_answer *m)
{
	return (struct ipc_rcpt_answer){
		.status = m->status, .reply = m->reply, .hold = m->hold, .discard = m->discard, .note = m->note,
		.redirect = m->redirect, .prepend = m->prepend, .text = m->text, .why = m->why,
	};
}

static bool
refused(const struct ipc_filter_answer *m)
{
	return status_get(transaction_status(m->status))->class != FAIL_NONE;
}

static void
on_rcpt_answer(struct session *s, struct recipient *r, const struct ipc_filter_answer *m)
{
	struct ipc_rcpt_answer rule = as_rule(m);
	const struct ipc_rcpt_answer *held = r->held;

	r->held = NULL;
	transaction_settle(s, r, refused(m) ? &rule : held);
	if (!refused(m))
		transaction_obey(s, r, &rule);
	transaction_say(s);
}

static void
on_mail_answer(struct session *s, const struct ipc_filter_answer *m)
{
	unsigned status = transaction_status(m->status);

	if (!refused(m)) {
		mail_taken(s);
		return;
	}
	s->rule = m->why;
	reply_status_code(s, status, m->reply ? m->reply : status_get(status)->reply, m->text);
	s->rule = SPAN_NONE;
	transaction_end(s);
	if (m->reply == 421)
		reply_close(s);
}

static void
on_data_answer(struct session *s, const struct ipc_filter_answer *m)
{
	struct transaction *t = s->mail;

	if (refused(m)) {
		s->rule = m->why;
		data_refused(s, transaction_status(m->status), m->reply, m->text);
		s->rule = SPAN_NONE;
		return;
	}
	t->screened = m->content;
	if (s->state != SESSION_CHUNK)
		list_go_ahead(s);
	else if (!s->chunk.left)
		(void)chunk_input(s, SPAN_NONE);
}

/* The next pieces when there is room for them. */
static void
pull(struct session *s)
{
	s->wait = WAIT_FILTER;
	if (filter_full(s))
		s->wait = WAIT_ROOM;
	else if (!tell(s, IPC_filter_pull, &(struct ipc_filter_pull){ .id = s->filter_id })) {
		data_give_up(s, STATUS_SYSTEM_LOCAL_TEMP);
		data_verdict(s, STATUS_SYSTEM_LOCAL_TEMP, SPAN_NONE);
	}
}

void
filter_on_room(struct session *s)
{
	if (s->mail && s->mail->returning && s->wait == WAIT_ROOM)
		pull(s);
}

static bool
anybody_left(const struct transaction *t)
{
	for (const struct recipient *r = t->first; r; r = r->next)
		if (r->state == RECIPIENT_GOOD && !r->removed)
			return true;
	return t->redirect.n > 0;
}

static void
on_end_answer(struct session *s, const struct ipc_filter_answer *m)
{
	struct transaction *t = s->mail;

	if (refused(m)) {
		t->status_code = m->reply;
		s->rule = m->why;
		data_verdict(s, transaction_status(m->status), m->text);
		s->rule = SPAN_NONE;
		return;
	}
	if (t->discard || !m->content || !anybody_left(t)) { /* as the filters want it; the log says so */
		data_verdict(s, STATUS_OK, SPAN_NONE);
		return;
	}
	t->content.eightbit |= m->eightbit;
	t->returning = true;
	t->sent = 0;
	pull(s);
}

void
session_on_filter_answer(struct session *s, const struct ipc_filter_answer *m)
{
	static void (*const stages[])(struct session *, const struct ipc_filter_answer *) = {
		[FILTER_MAIL] = on_mail_answer, [FILTER_DATA] = on_data_answer, [FILTER_END] = on_end_answer,
	};
	struct transaction *t = s->mail;
	struct ipc_rcpt_answer rule = as_rule(m);

	if (!t || !t->filtered || m->id != s->filter_id)
		return;
	for (struct recipient *r = t->unsaid; r; r = r->next)
		if (r->state == RECIPIENT_ASKED && r->held && r->ask_id == m->question) {
			on_rcpt_answer(s, r, m);
			return;
		}
	if (s->wait != WAIT_FILTER || t->returning || m->question != t->question)
		return;
	s->wait = WAIT_CLIENT;
	s->progress++;
	if (!refused(m)) {
		size_t had = buf_len(&t->prepend);

		transaction_obey(s, NULL, &rule);
		if (t->id) /* the first frame has been begun */
			buf_put(&t->frame, span_from(buf_span(&t->prepend), had));
	}
	stages[t->stage](s, m);
}

/* ---- changes, and content that comes back ---- */

static bool
expects_changes(const struct session *s, uint64_t id)
{
	return s->mail && id == s->filter_id && s->wait == WAIT_FILTER && s->mail->stage == FILTER_END && !s->mail->returning;
}

void
session_on_filter_sender(struct session *s, uint64_t id, struct span address)
{
	struct address a;
	struct fail why;
	struct span copy;

	if (!expects_changes(s, id) || !address_parse(&a, address.n ? address : SPAN(""), ADDRESS_NULL | ADDRESS_UTF8 | ADDRESS_LONG_LOCAL | ADDRESS_NO_DOMAIN, &why))
		return;
	copy = arena_dup(&s->mail_mem, address_text(&a));
	if (copy.p || !copy.n)
		s->mail->sender = copy;
}

void
session_on_filter_add(struct session *s, uint64_t id, struct span address)
{
	struct address a;
	struct fail why;
	struct recipient *r;

	if (!expects_changes(s, id) || !address_parse(&a, address, ADDRESS_UTF8 | ADDRESS_LONG_LOCAL | ADDRESS_NO_DOMAIN, &why) ||
	    s->mail->added >= FILTER_ADDED_MAX || !(r = transaction_add(s)))
		return;
	r->address = a.has_domain ? arena_dup(&s->mail_mem, address_text(&a))
	                          : arena_printf(&s->mail_mem, "%.*s@%.*s", SPAN_ARG(address_text(&a)), SPAN_ARG(s->policy->conf->myorigin));
	r->state = r->address.n ? RECIPIENT_GOOD : RECIPIENT_REFUSED;
	r->added = true;
	s->mail->added++;
	s->mail->unsaid = NULL; /* nobody waits for its reply */
}

void
session_on_filter_remove(struct session *s, uint64_t id, struct span address)
{
	if (!expects_changes(s, id))
		return;
	for (struct recipient *r = s->mail->first; r; r = r->next)
		if (span_caseeq(r->address, address))
			r->removed = true;
}

void
session_on_filter_piece(struct session *s, const struct ipc_filter_piece *m)
{
	struct transaction *t = s->mail;

	if (!t || m->id != s->filter_id || !t->returning || s->wait != WAIT_FILTER)
		return;
	s->progress++;
	if (m->state == FILTER_PIECE_LOST)
		data_give_up(s, STATUS_SYSTEM_LOCAL_TEMP);
	else
		data_put(s, m->bytes);
	if (t->over)
		data_verdict(s, t->status, SPAN_NONE);
	else if (m->state == FILTER_PIECE_LAST)
		data_finish(s);
	else if (m->state == FILTER_PIECE_MORE)
		pull(s);
}

/* ---- ends ---- */

void
filter_reset(struct session *s)
{
	if (s->mail && s->mail->filtered)
		(void)tell(s, IPC_filter_reset, &(struct ipc_filter_reset){ .id = s->filter_id });
}

void
filter_close(struct session *s)
{
	(void)tell(s, IPC_filter_close, &(struct ipc_filter_close){ .id = s->filter_id });
	s->filter_id = 0;
}

/* What it was asked is refused for now, and what it had of a message is lost with it. */
void
session_on_filters_lost(struct session *s)
{
	struct transaction *t = s->mail;
	struct ipc_filter_answer lost = { .id = s->filter_id, .status = STATUS_SYSTEM_LOCAL_TEMP, .why = SPAN_INIT("no answer from verifyd") };

	if (t && t->filtered) {
		for (struct recipient *r = t->unsaid; r; r = r->next)
			if (r->state == RECIPIENT_ASKED && r->held) {
				struct ipc_rcpt_answer rule = as_rule(&lost);

				r->held = NULL;
				transaction_settle(s, r, &rule);
			}
		transaction_say(s);
		lost.question = t->question;
		if (t->returning) {
			data_give_up(s, STATUS_SYSTEM_LOCAL_TEMP);
			data_verdict(s, STATUS_SYSTEM_LOCAL_TEMP, SPAN_NONE);
		} else if (s->wait == WAIT_FILTER)
			session_on_filter_answer(s, &lost);
		else if (t->screened && !t->over) {
			data_give_up(s, STATUS_SYSTEM_LOCAL_TEMP);
			if (s->wait == WAIT_ROOM)
				s->wait = WAIT_CLIENT;
		}
	}
	s->filter_id = 0;
}
