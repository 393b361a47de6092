/* SPDX-License-Identifier: ISC
 *
 * cmd_select: SELECT, EXAMINE, CLOSE, UNSELECT, EXPUNGE.
 */
#include "daemons/mailboxd/flags.h"
#include "daemons/mailboxd/guest.h"
#include "daemons/mailboxd/objectid.h"

static uint32_t
first_unseen(struct view *v)
{
	struct mailbox_status counts;

	mailbox_counts(v->mailbox, &counts);
	for (uint32_t seq = 1; counts.unseen && seq <= view_count(v); seq++) {
		const struct message *m = view_message(v, seq);

		if (m && !(m->flags & FLAG_SEEN))
			return seq;
	}
	return 0;
}

/* RFC 3501 6.3.1 */
static void
put_selected(struct cmd *c)
{
	struct view *v = cmd_view(c);
	struct buf *out = cmd_out(c);
	bool rev2 = c->s->enabled & ENABLED_REV2;
	bool only = c->s->enabled & ENABLED_UIDONLY; /* RFC 9586 3.2: no number is told */
	uint32_t unseen = rev2 || only ? 0 : first_unseen(v);

	buf_put(out, SPAN("* FLAGS "));
	flags_put_all(out, v->mailbox);
	buf_put(out, SPAN(")\r\n* OK [PERMANENTFLAGS "));
	if (v->readonly) {
		buf_put(out, SPAN("()] Read-only mailbox.\r\n"));
	} else {
		flags_put_permanent(out, v->mailbox, c->s->rights);
		buf_put(out, SPAN("] Flags permitted.\r\n"));
	}
	buf_printf(out, "* %u EXISTS\r\n", (unsigned)view_count(v));
	if (!rev2)
		buf_printf(out, "* %llu RECENT\r\n", (unsigned long long)uidset_count(&v->recent));
	if (unseen && !rev2)
		buf_printf(out, "* OK [UNSEEN %u] First unseen.\r\n", (unsigned)unseen);
	buf_printf(out, "* OK [UIDVALIDITY %u] UIDs valid\r\n", (unsigned)mailbox_uidvalidity(v->mailbox));
	buf_printf(out, "* OK [UIDNEXT %u] Predicted next UID\r\n", (unsigned)mailbox_uidnext(v->mailbox));
	buf_printf(out, "* OK [HIGHESTMODSEQ %llu] Highest\r\n", (unsigned long long)mailbox_modseq(v->mailbox));
	buf_put(out, SPAN("* OK [MAILBOXID ")); /* RFC 8474 4.2 */
	objectid_put_mailbox(out, mailbox_objectid(v->mailbox));
	buf_put(out, SPAN("] Mailbox id\r\n"));
	if (rev2) { /* RFC 9051 6.3.2 */
		buf_printf(out, "* LIST () \"%c\" ", imap_delimiter(c->s));
		imap_put_mailbox(c->s, out, c->arg[0]);
		buf_put(out, SPAN("\r\n"));
	}
}

/* What a client knows from an earlier session (RFC 7162 3.2.5). */
struct resync {
	bool wanted;
	uint32_t uidvalidity;
	uint64_t modseq;
	struct uidset known; /* empty: all */
	struct uidset seqs, uids; /* seqs[n] is uids[n], so far as the client knows */
	uint32_t at;         /* the next message to be told */
};

static bool
is_set_char(char ch)
{
	return ascii_digit(ch) || ch == ':' || ch == ',';
}

static bool
take_known(struct imap_parse *p, struct uidset *out)
{
	return uidset_parse(out, cursor_while(&p->c, is_set_char), 0) || imap_bad(p, "Invalid UID set");
}

/* "QRESYNC" SP "(" uidvalidity SP modseq [SP known-uids] [SP "(" seqs SP uids ")"] ")" */
static bool
take_qresync(struct cmd *c, struct resync *r)
{
	struct imap_parse *p = &c->parse;

	if (!(c->s->enabled & ENABLED_QRESYNC)) /* RFC 7162 3.2.5 */
		return imap_bad(p, "QRESYNC is not enabled");
	r->wanted = true;
	if (!imap_take_sp(p) || !imap_take_char(p, '(') || !imap_take_u32(p, 1, &r->uidvalidity) || !imap_take_sp(p) ||
	    !imap_take_u64(p, 0, INT64_MAX, &r->modseq))
		return false;
	if (imap_try(p, ' ')) {
		if (cursor_peek(&p->c) != '(' && (!take_known(p, &r->known) || !(imap_try(p, ' ') || cursor_peek(&p->c) == ')')))
			return imap_bad(p, "Expected a UID set");
		if (cursor_peek(&p->c) == '(' && (c->s->enabled & ENABLED_UIDONLY))
			return imap_uid_required(c);
		if (imap_try(p, '(') &&
		    (!take_known(p, &r->seqs) || !imap_take_sp(p) || !take_known(p, &r->uids) || !imap_take_char(p, ')')))
			return false;
	}
	return imap_take_char(p, ')');
}

/* RFC 4466 2.4: [SP "(" parameters ")"] */
static bool
take_parameters(struct cmd *c, struct resync *r)
{
	struct imap_parse *p = &c->parse;
	struct span word;

	if (imap_at_end(p))
		return true;
	(void)imap_take_sp(p);
	(void)imap_take_char(p, '(');
	do {
		if (!imap_take_atom(p, &word))
			return false;
		if (span_caseeq(word, SPAN("QRESYNC"))) {
			if (!take_qresync(c, r))
				return false;
		} else if (!span_caseeq(word, SPAN("CONDSTORE"))) {
			return imap_bad(p, "Unknown parameter");
		}
		c->s->enabled |= ENABLED_CONDSTORE;
	} while (imap_try(p, ' '));
	return imap_take_char(p, ')') && imap_take_end(p);
}

static void
resync_release(struct cmd *c)
{
	struct resync *r = c->state;

	uidset_free(&r->known);
	uidset_free(&r->seqs);
	uidset_free(&r->uids);
}

/* Below the UIDs that the client's numbers show to be undisturbed nothing can
 * be missing (RFC 7162 3.2.5.2). Returns the first UID that may be. */
static uint32_t
disturbed_from(const struct view *v, const struct resync *r)
{
	uint32_t from = 1;

	for (uint64_t i = 0; i < uidset_count(&r->seqs); i++) {
		uint32_t uid = uidset_nth(&r->uids, i);

		if (!uid || view_uid(v, uidset_nth(&r->seqs, i)) != uid)
			break;
		from = uid + 1;
	}
	return from;
}

static void
put_vanished(struct cmd *c, const struct resync *r)
{
	struct view *v = cmd_view(c);
	struct uidset gone;
	uint32_t from = disturbed_from(v, r);

	uidset_init(&gone);
	if (!mailbox_vanished_of(v->mailbox, r->modseq, uidset_empty(&r->known) ? NULL : &r->known, &gone) && from > 1)
		uidset_remove(&gone, 1, from - 1);
	imap_put_vanished(c->s, &gone, true);
	uidset_free(&gone);
}

static enum cmd_result
selected(struct cmd *c)
{
	bool readonly = cmd_view(c)->readonly;

	return cmd_ok(c, "[READ-%s] %s completed.", readonly ? "ONLY" : "WRITE", readonly ? "Examine" : "Select");
}

/* What changed since, message by message. */
static enum cmd_result
resync_step(struct cmd *c)
{
	struct resync *r = c->state;
	struct view *v = cmd_view(c);
	struct buf *out = cmd_out(c);

	for (; r->at <= view_count(v); r->at++) {
		const struct message *m = view_message(v, r->at);

		if (!cmd_room(c))
			return CMD_MORE;
		if (!m || m->modseq <= r->modseq || !(uidset_empty(&r->known) || uidset_has(&r->known, m->uid)))
			continue;
		imap_put_fetch(c->s, out, r->at, m->uid);
		if (!(c->s->enabled & ENABLED_UIDONLY))
			buf_printf(out, "UID %u ", (unsigned)m->uid);
		buf_put(out, SPAN("FLAGS "));
		imap_put_flags(c->s, out, m);
		buf_printf(out, " MODSEQ (%llu))\r\n", (unsigned long long)m->modseq);
	}
	return selected(c);
}

enum cmd_result
cmd_select(struct cmd *c)
{
	struct imap *s = c->s;
	bool readonly = span_caseeq(c->def->name, SPAN("EXAMINE"));
	struct resync *r = ARENA_NEW(c->arena, struct resync);
	struct fail why;

	if (!r)
		return cmd_no(c, "[LIMIT] Command too large.");
	c->state = r;
	c->release = resync_release;
	if (!take_parameters(c, r))
		return cmd_syntax(c);
	if (s->state == STATE_SELECTED && (s->enabled & (ENABLED_QRESYNC | ENABLED_REV2))) /* RFC 7162 3.2.11 */
		buf_put(cmd_out(c), SPAN("* OK [CLOSED] Previous mailbox is closed.\r\n"));
	imap_unselect(s); /* also when it fails: RFC 3501 6.3.1 */
	if (!imap_permits(c, c->arg[0], ACL_READ))
		return CMD_DONE;
	s->rights = imap_rights(s, c->arg[0]);
	readonly = readonly || !(s->rights & (ACL_INSERT | ACL_EXPUNGE | ACL_FLAGS)); /* RFC 4314 5.2 */
	if (!store_exists(cmd_home(c), c->arg[0]))
		return cmd_no(c, "[NONEXISTENT] Mailbox doesn't exist: %.*s", SPAN_ARG(c->arg[0]));
	if (!(r->wanted ? view_open : view_select)(&s->view, cmd_home(c), c->arg[0], readonly, &why))
		return cmd_failed(c, &why);
	s->state = STATE_SELECTED;
	mailbox_facts_later(s->view.mailbox);
	put_selected(c);
	if (!r->wanted || r->uidvalidity != mailbox_uidvalidity(s->view.mailbox))
		return selected(c);
	put_vanished(c, r);
	r->at = 1;
	return cmd_go(c, resync_step);
}

/* RFC 7162 3.2.7, 3.2.8: after a removal the new HIGHESTMODSEQ is told. */
static enum cmd_result
removed(struct cmd *c, bool any)
{
	if (any && (c->s->enabled & ENABLED_QRESYNC))
		c->code = arena_printf(c->arena, "[HIGHESTMODSEQ %llu] ", (unsigned long long)mailbox_modseq(cmd_view(c)->mailbox));
	return cmd_durable(c);
}

/* CLOSE expunges silently, UNSELECT does not (RFC 3501 6.4.2, RFC 3691 2). */
enum cmd_result
cmd_close(struct cmd *c)
{
	struct view *v = cmd_view(c);
	bool expunges = span_caseeq(c->def->name, SPAN("CLOSE")) && !v->readonly && (c->s->rights & ACL_EXPUNGE);
	uint64_t before = mailbox_modseq(v->mailbox);
	enum cmd_result result;
	struct fail why;

	if (!expunges)
		result = cmd_completed(c);
	else if (mailbox_expunge(v, NULL, &why))
		result = removed(c, mailbox_modseq(v->mailbox) != before);
	else
		result = cmd_failed(c, &why);
	imap_unselect(c->s);
	return result;
}

enum cmd_result
cmd_expunge(struct cmd *c)
{
	uint64_t before = mailbox_modseq(cmd_view(c)->mailbox);
	struct uidset uids;
	struct fail why;
	bool ok;

	if (!(c->s->rights & ACL_EXPUNGE))
		return cmd_no(c, "[NOPERM] Permission denied.");
	if (c->uid && !command_may(c))
		return CMD_DONE;
	uidset_init(&uids);
	ok = !c->uid || view_uids(cmd_view(c), &c->seqs, &uids);
	ok = ok ? mailbox_expunge(cmd_view(c), c->uid ? &uids : NULL, &why) : fail_set(&why, FAIL_LIMIT, 0, "Too many messages");
	uidset_free(&uids);
	return ok ? removed(c, mailbox_modseq(cmd_view(c)->mailbox) != before) : cmd_failed(c, &why);
}
