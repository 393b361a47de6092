/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/popready.h"

#include "daemons/mailboxd/outq.h"

void
popready_init(struct popready *r)
{
	*r = (struct popready){ .rest = POPMAIL_SENT };
	buf_init(&r->response, OUTQ_CAP);
}

void
popready_forget(struct popready *r, struct popmail *mail)
{
	if (r->number && r->rest == POPMAIL_MORE)
		popmail_close(mail);
	r->number = 0;
	buf_free(&r->response);
}

void
popready_note(struct popready *r, uint32_t number)
{
	r->expected = r->last && number == r->last + 1 ? number + 1 : 0;
	r->last = number;
}

void
popready_make(struct popready *r, struct popmail *mail, struct mailbox *mb, uint32_t uid, uint32_t number, bool terse)
{
	if (!popmail_open(mail, mb, uid, POPMAIL_ALL, terse, &r->response))
		return;
	r->number = number;
	r->rest = popmail_put(mail, &r->response, OUTQ_HIGH);
	if (r->rest != POPMAIL_MORE)
		popmail_close(mail);
	if (r->rest == POPMAIL_BROKEN)
		popready_forget(r, mail);
}

bool
popready_take(struct popready *r, uint32_t number, struct buf *out, enum popmail_state *rest)
{
	struct buf before = *out;

	if (!r->number || r->number != number)
		return false;
	if (buf_len(&before)) {
		buf_put(out, buf_span(&r->response));
		buf_free(&r->response);
	} else {
		*out = r->response;
		r->response = before;
	}
	r->number = 0;
	*rest = r->rest;
	return true;
}
