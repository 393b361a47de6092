/* SPDX-License-Identifier: ISC */
#include "transaction.h"

#include "filter.h"
#include "reply.h"

struct transaction *
transaction_begin(struct session *s)
{
	struct transaction *t;

	s->mail_mem.cap = 65536 + (size_t)s->policy->conf->smtpd_recipient_limit * RCPT_MEMORY;
	t = ARENA_NEW(&s->mail_mem, struct transaction);
	if (!t) {
		reply_status(s, STATUS_SYSTEM_LOCAL_TEMP, SPAN_NONE);
		return NULL;
	}
	t->end = &t->first;
	buf_init(&t->frame, IPC_DATA_MAX);
	buf_init(&t->prepend, PREPEND_MAX);
	buf_init(&t->carry, CARRY_MAX);
	buf_init(&t->header, (size_t)s->policy->conf->header_size_limit + 1024);
	s->mail = t;
	s->begun++;
	return t;
}

void
transaction_end(struct session *s)
{
	struct transaction *t = s->mail;

	if (t) {
		filter_reset(s);
		if (t->opened && !t->over)
			s->ports->intake_abort(s->owner, transaction_intake(t));
		buf_free(&t->frame);
		buf_free(&t->header);
		buf_free(&t->prepend);
		buf_free(&t->carry);
		s->mail = NULL;
		s->forward.set = false;
	}
	arena_free(&s->mail_mem);
	if (s->state & (SESSION_MAIL | SESSION_RCPT | SESSION_DATA | SESSION_CHUNK))
		s->state = s->helo.n ? SESSION_READY : SESSION_START;
}

struct recipient *
transaction_add(struct session *s)
{
	struct transaction *t = s->mail;
	struct recipient *r = ARENA_NEW(&s->mail_mem, struct recipient);

	if (!r)
		return NULL;
	*t->end = r;
	t->end = &r->next;
	if (!t->unsaid)
		t->unsaid = r;
	return r;
}

void
transaction_say(struct session *s)
{
	struct transaction *t = s->mail;
	struct recipient *r;

	while ((r = t->unsaid) && r->state != RECIPIENT_ASKED && s->state != SESSION_CLOSED) {
		t->unsaid = r->next;
		s->about = r->address;
		s->rule = r->rule;
		reply_line(s, r->reply);
		s->about = s->rule = r->reply = SPAN_NONE;
	}
	if (s->wait == WAIT_RCPT && t->asked < RCPT_ASKED_MAX)
		s->wait = WAIT_CLIENT;
}

struct span
transaction_first(const struct transaction *t)
{
	const struct recipient *r = t->first;

	while (r && r->state != RECIPIENT_GOOD)
		r = r->next;
	return r ? r->address : SPAN_NONE;
}

/* 2xx in a refusal would be a lie. */
unsigned
transaction_status(unsigned status)
{
	return status_get(status)->reply ? status : STATUS_SYSTEM_LOCAL_TEMP;
}

/* The same line comes with each recipient that the client's rules stand for. */
void
transaction_obey(struct session *s, struct recipient *r, const struct ipc_rcpt_answer *m)
{
	struct transaction *t = s->mail;

	t->hold |= m->hold;
	t->discard |= m->discard;
	if (m->redirect.n)
		t->redirect = arena_dup(&s->mail_mem, m->redirect);
	if (m->prepend.n && m->prepend.n <= buf_space(&t->prepend) && span_find(buf_span(&t->prepend), m->prepend) == SIZE_MAX)
		buf_put(&t->prepend, m->prepend);
	if (m->note && r)
		r->rule = arena_dup(&s->mail_mem, span_sub(m->why, 0, RULE_MAX));
}

void
transaction_settle(struct session *s, struct recipient *r, const struct ipc_rcpt_answer *m)
{
	struct transaction *t = s->mail;
	unsigned status = transaction_status(m->status);

	t->asked--;
	s->progress++; /* from now on the client is waited for */
	if (status_get(status)->class == FAIL_NONE) {
		r->state = RECIPIENT_GOOD;
		r->reply = reply_text(s, &s->mail_mem, REPLY_RECIPIENT_OK, r->address);
		if (++t->good == 1)
			t->rule = arena_dup(&s->mail_mem, span_sub(m->why, 0, RULE_MAX));
		transaction_obey(s, r, m);
	} else {
		r->state = RECIPIENT_REFUSED;
		r->reply = reply_status_text(s, &s->mail_mem, status, m->reply, m->text);
		r->rule = arena_dup(&s->mail_mem, span_sub(m->why, 0, RULE_MAX));
	}
}

static const struct ipc_rcpt_answer unanswered = { .status = STATUS_SYSTEM_LOCAL_TEMP, .why = SPAN_INIT("no answer from routed") };
static const struct ipc_rcpt_answer unfiltered = { .status = STATUS_SYSTEM_LOCAL_TEMP, .why = SPAN_INIT("no answer from verifyd") };

void
session_on_rcpt(struct session *s, const struct ipc_rcpt_answer *m)
{
	if (s->wait == WAIT_RATE && m->id == s->ask_id) {
		s->wait = WAIT_CLIENT;
		if (status_get(m->status)->class == FAIL_NONE) {
			session_greet(s);
		} else {
			s->ports->note(s->owner, SESSION_NOTE_DROPPED, m->why);
			session_turn_away(s, "4.7.0", "Too many connections from your address in a short time");
		}
		return;
	}
	if (s->wait == WAIT_VRFY && m->id == s->ask_id) {
		s->wait = WAIT_CLIENT;
		if (status_get(m->status)->class == FAIL_NONE && status_get(m->status)->reply)
			reply(s, REPLY_VRFY, s->subject);
		else {
			s->about = s->subject;
			s->rule = m->why;
			reply_status(s, transaction_status(m->status), m->text);
			s->about = s->rule = SPAN_NONE;
		}
		return;
	}
	if (!s->mail)
		return;
	for (struct recipient *r = s->mail->unsaid; r; r = r->next)
		if (r->state == RECIPIENT_ASKED && !r->held && r->ask_id == m->id) {
			if (!s->mail->filtered || status_get(transaction_status(m->status))->class != FAIL_NONE)
				transaction_settle(s, r, m);
			else if (!filter_rcpt(s, r, m)) {
				r->held = NULL;
				transaction_settle(s, r, &unfiltered);
			}
			transaction_say(s);
			return;
		}
}

void
transaction_routed_lost(struct session *s)
{
	if (!s->mail || !s->mail->asked)
		return;
	for (struct recipient *r = s->mail->unsaid; r; r = r->next)
		if (r->state == RECIPIENT_ASKED && !r->held)
			transaction_settle(s, r, &unanswered);
	transaction_say(s);
}
