/* SPDX-License-Identifier: ISC
 *
 * list: the recipients of a message on their way to queued.  Those of a very
 * long list go there while they come in, and the rest of it behind DATA in
 * parts: all of them at once would be what everybody else waits for.
 */
#include "reply.h"
#include "transaction.h"

enum {
	LIST_LONG = 250,   /* recipients that are told to queued at once; of more, as many in each turn */
	LIST_EARLY = 1000, /* from so many on they are told while they come in */
};

bool
list_is_long(const struct transaction *t)
{
	return t->good > LIST_EARLY;
}

/* Nothing said later may change what queued was told at the beginning. */
static bool
may_come_early(const struct session *s)
{
	const struct transaction *t = s->mail;

	return list_is_long(t) && !t->filtered && !t->discard && !t->redirect.n && !t->by_mode && !s->policy->lmtp;
}

static bool
keeps_its_word(const struct session *s)
{
	return may_come_early(s) && s->mail->hold == s->mail->early_hold;
}

/* It goes the usual way after all. */
static void
forget(struct transaction *t)
{
	t->early = 0;
	t->opened = false;
	t->handed = NULL;
	t->late = true;
}

static void
withdraw(struct session *s)
{
	s->ports->intake_abort(s->owner, s->mail->early);
	forget(s->mail);
}

bool
list_hand_over(struct session *s, size_t most)
{
	struct transaction *t = s->mail;
	const struct recipient *r;

	for (; (r = list_next(t)) && r->state != RECIPIENT_ASKED && most > 0; t->handed = r, most--) {
		const struct ipc_intake_rcpt m = { .id = transaction_intake(t), .address = r->address, .orcpt = r->orcpt, .notify = r->notify };

		if (r->state == RECIPIENT_GOOD && !r->removed && !s->ports->intake_rcpt(s->owner, &m))
			return false;
	}
	return true;
}

/* While more come in. */
static void
hand_early(struct session *s)
{
	struct transaction *t = s->mail;

	if (t->early && !keeps_its_word(s))
		withdraw(s);
	if (t->late || !may_come_early(s) || s->ports->intake_blocked(s->owner))
		return;
	if (!t->early) {
		t->early = s->ports->new_queue_id(s->owner);
		t->early_hold = t->hold;
		if (!data_open_intake(s, true)) {
			forget(t);
			return;
		}
	}
	if (!list_hand_over(s, LIST_LONG))
		withdraw(s);
}

bool
list_lost(struct session *s, uint64_t id)
{
	struct transaction *t = s->mail;

	if (t->id || !t->early || t->early != id)
		return false;
	forget(t);
	return true;
}

void
list_begin_content(struct session *s)
{
	struct transaction *t = s->mail;

	if (t->early && !keeps_its_word(s))
		withdraw(s);
	t->id = t->early ? t->early : s->ports->new_queue_id(s->owner);
}

/* An LMTP client hears of each recipient, but only behind the content: its list goes with that. */
void
list_go_ahead(struct session *s)
{
	const struct transaction *t = s->mail;

	if (!t->opened && (t->good <= LIST_LONG || s->policy->lmtp || t->discard || t->redirect.n || t->screened)) {
		data_go_ahead(s);
		return;
	}
	s->wait = WAIT_LIST;
	if (!t->opened && !data_open_intake(s, true))
		data_verdict(s, STATUS_SYSTEM_LOCAL_TEMP, SPAN_NONE);
}

bool
session_list_due(const struct session *s)
{
	return s->wait == WAIT_LIST && !s->ports->intake_blocked(s->owner);
}

void
session_list_part(struct session *s)
{
	if (s->state == SESSION_RCPT && s->mail)
		hand_early(s);
	if (!session_list_due(s))
		return;
	if (!list_hand_over(s, LIST_LONG)) {
		data_give_up(s, STATUS_SYSTEM_LOCAL_TEMP);
		data_verdict(s, STATUS_SYSTEM_LOCAL_TEMP, SPAN_NONE);
	} else if (!list_next(s->mail)) {
		s->wait = WAIT_CLIENT;
		data_go_ahead(s);
	}
}
