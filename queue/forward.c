/* SPDX-License-Identifier: ISC
 *
 * Forward files: whose mailbox a recipient leads to has it sent on.  His addresses become recipients of the same message, by
 * the very record that says what became of it in his mailbox: it is there, or there and under way, or neither.
 *
 * Each knows the mailboxes it came by (`via`).  A mailbox among them keeps what comes back to it, and one that has it already
 * gets no second copy: a circle ends where it closes, with the mail in a mailbox.
 */
#include "ipc/bounds.h"
#include "mail/addresses.h"
#include "mail/orcpt.h"
#include "mail/report.h"
#include "queue/impl.h"

enum {
	ADDED_MAX = 50000,      /* of one message; then mail stays in the mailboxes */
	ADDED_AGAIN = 10000,    /* and so many when those that were added have forward files, too */
};

static bool
passed(struct span via, struct span address)
{
	while (via.n)
		if (span_caseeq(span_cut(&via, '\t'), address))
			return true;
	return false;
}

bool
unit_may_forward(const struct message *m, const struct unit *u)
{
	struct span via = message_via(m, u->recipient), address = unit_address(m, u);
	size_t added = m->extra ? m->extra->vias.count : 0;

	return u->uid != 0 && via.n + 1 + address.n <= B_VIA && span_chr(address, '\t') == SIZE_MAX && !passed(via, address) &&
	       added < (via.n ? ADDED_AGAIN : ADDED_MAX);
}

/* What each address is, routing says. */
bool
queue_forward_ok(const struct queue_job *job, const struct unit *u, const struct queue_result *r)
{
	return addresses_ok(r->forwards, '\n', FORWARDS_MOST) && r->outcome == OUTCOME_DELIVERED && job->d->agent == AGENT_LOCAL &&
	       unit_may_forward(job->m, u);
}

bool
queue_forwards_several(const struct queue_result *r)
{
	return r->kept || span_chr(r->forwards, '\n') != SIZE_MAX;
}

/* RFC 3461 5.2.1 (d): who is forwarded to hears of the address that it was sent to. */
static struct span
orcpt_behind(const struct message *m, const struct unit *u, struct buf *made)
{
	struct span given = unit_orcpt(m, u);

	if (given.n || u->sender)
		return given;
	orcpt_make(made, text_span(m->rcpts[u->recipient].address), (m->flags & MESSAGE_UTF8) != 0);
	return buf_ok(made) && buf_len(made) <= ORCPT_MAX ? buf_span(made) : SPAN_NONE;
}

bool
queue_forward_list(const struct message *m, const struct unit *u, const struct queue_result *r, struct buf *list)
{
	uint8_t notify = unit_notify(m, u);
	struct record_recipient to = { .notify = queue_forwards_several(r) ? notify_without_success(notify) : notify, .owner = text_span(u->sender) };
	struct span lines = r->forwards;
	struct buf made;
	bool ok = true;

	buf_init(&made, 4 * B_LONG_ADDRESS);
	to.orcpt = orcpt_behind(m, u, &made);
	while (ok && lines.n) {
		to.address = span_cut(&lines, '\n');
		ok = record_list_put(list, &record_desc_recipient, &to);
	}
	buf_free(&made);
	return ok;
}

/* What the mailboxes on the way have, it need not have again. */
static void
take_over_done(struct message *m, uint32_t from, uint32_t to, struct span via, bool kept)
{
	struct span last = span_cut(&via, '\t');
	bool ok = !kept || message_add_done(m, to, last);

	while (ok && via.n) {
		struct span address = span_cut(&via, '\t');

		ok = !message_is_done(m, from, address) || message_add_done(m, to, address);
	}
	if (!ok)
		queue_log_message(LOG_failure, m, "no memory to remember who has it: a mailbox may get it twice");
}

static bool
fill(struct message *m, uint32_t index, const struct record_recipient *one, struct span via)
{
	struct recipient *to;

	if (!message_extend(m, index + 1))
		return false;
	to = &m->rcpts[index];
	if (to->address)
		return true; /* of a replay: its envelope was written anew meanwhile */
	if (!message_set_via(m, index, via) || (one->owner.n && !message_set_owner(m, index, one->owner)) || !text_keep(&to->orcpt, one->orcpt) ||
	    !text_keep(&to->address, one->address))
		return false;
	to->notify = one->notify & 0xfu;
	if (to->absent) {
		to->absent = to->settled = false;
		m->unsettled++;
	}
	return true;
}

static void
take_back(struct message *m, uint32_t n, uint32_t unsettled)
{
	while (m->nrcpts > n) {
		struct recipient *last = &m->rcpts[--m->nrcpts];

		text_drop(&last->address);
		text_drop(&last->orcpt);
	}
	m->unsettled = unsettled;
}

bool
message_add_forwarded(struct message *m, const struct record_result *r)
{
	struct span rest = r->added, before = message_via(m, r->index);
	uint32_t n = m->nrcpts, unsettled = m->unsettled, index = r->first;
	struct record_recipient one;
	struct buf via;
	bool ok = true, filled = true;

	buf_init(&via, B_VIA);
	buf_put(&via, r->target.n ? r->target : text_span(m->rcpts[r->index].address));
	if (before.n)
		buf_putc(&via, '\t');
	buf_put(&via, before);
	filled = buf_ok(&via);
	while (filled && record_list_next(&rest, &record_desc_recipient, &one, &ok))
		filled = fill(m, index++, &one, buf_span(&via));
	if (!filled)
		take_back(m, n, unsettled);
	while (filled && index-- > r->first)
		take_over_done(m, r->index, index, buf_span(&via), r->kept);
	buf_free(&via);
	return filled;
}
