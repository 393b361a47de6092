/* SPDX-License-Identifier: ISC
 *
 * cmd_store: STORE and UID STORE (RFC 3501 6.4.6).
 */
#include "daemons/mailboxd/flags.h"
#include "daemons/mailboxd/acl.h"
#include "daemons/mailboxd/imap.h"

struct storing {
	struct uidset uids;
	struct uidset modified; /* kept out by UNCHANGEDSINCE */
	struct flag_change change;
	bool silent, gone, conditional;
	size_t range;
	uint32_t seq;
};

/* ["(UNCHANGEDSINCE" SP modseq ")" SP] (RFC 7162 3.1.3) */
static bool
take_condition(struct cmd *c, struct storing *s)
{
	struct imap_parse *p = &c->parse;

	s->change.unchanged_since = UINT64_MAX;
	if (!imap_try(p, '('))
		return true;
	if (!cursor_word(&p->c, SPAN("UNCHANGEDSINCE ")))
		return imap_bad(p, "Unknown STORE modifier");
	s->conditional = true;
	c->s->enabled |= ENABLED_CONDSTORE;
	return imap_take_u64(p, 0, INT64_MAX, &s->change.unchanged_since) && imap_take_char(p, ')') && imap_take_sp(p);
}

static bool
take_operation(struct imap_parse *p, struct storing *s)
{
	s->change.op = imap_try(p, '+') ? FLAGS_ADD : imap_try(p, '-') ? FLAGS_REMOVE : FLAGS_SET;
	if (!cursor_word(&p->c, SPAN("FLAGS")))
		return imap_bad(p, "Expected FLAGS, +FLAGS or -FLAGS");
	s->silent = cursor_word(&p->c, SPAN(".SILENT"));
	return imap_take_sp(p);
}

/* With .SILENT the flags are left out, but a client that follows modseqs gets
 * the new one all the same (RFC 7162 3.1.3). */
static void
put_changed(struct cmd *c, uint32_t seq, const struct message *m)
{
	struct storing *s = c->state;
	struct buf *out = cmd_out(c);
	bool modseq = c->s->enabled & ENABLED_CONDSTORE;

	if (s->silent && !modseq)
		return;

	imap_put_fetch(c->s, out, seq, m->uid);
	if (!(c->s->enabled & ENABLED_UIDONLY) && (c->uid || (c->s->enabled & ENABLED_QRESYNC))) {
		buf_put(out, SPAN("UID "));
		buf_put_u64(out, m->uid);
		buf_putc(out, ' ');
	}
	if (!s->silent) {
		buf_put(out, SPAN("FLAGS "));
		imap_put_flags(c->s, out, m);
	}
	if (modseq)
		buf_printf(out, "%sMODSEQ (%llu)", s->silent ? "" : " ", (unsigned long long)m->modseq);
	buf_put(out, SPAN(")\r\n"));
}

/* OK [MODIFIED set]: UIDs or numbers, as the command had them. */
static enum cmd_result
modified(struct cmd *c)
{
	struct storing *s = c->state;
	struct uidset seqs;
	struct buf b;

	uidset_init(&seqs);
	buf_init(&b, 1 << 20);
	for (size_t i = 0; !c->uid && i < s->modified.n; i++)
		for (uint32_t uid = s->modified.ranges[i].lo; uid <= s->modified.ranges[i].hi; uid++)
			if (view_seq(cmd_view(c), uid))
				uidset_add(&seqs, view_seq(cmd_view(c), uid), view_seq(cmd_view(c), uid));
	buf_put(&b, SPAN("[MODIFIED "));
	uidset_text(c->uid ? &s->modified : &seqs, &b);
	buf_put(&b, SPAN("] "));
	c->code = buf_ok(&b) ? arena_dup(c->arena, buf_span(&b)) : SPAN_NONE;
	buf_free(&b);
	uidset_free(&seqs);
	return cmd_ok(c, "Conditional STORE failed.");
}

static enum cmd_result
tell_step(struct cmd *c)
{
	struct storing *s = c->state;

	for (; s->range < c->seqs.n; s->range++, s->seq = 0) {
		if (!s->seq)
			s->seq = c->seqs.ranges[s->range].lo;
		for (; s->seq <= c->seqs.ranges[s->range].hi; s->seq++) {
			const struct message *m;

			if (!cmd_room(c))
				return CMD_MORE;
			m = view_message(cmd_view(c), s->seq);
			if (!m)
				s->gone = true;
			else if (!uidset_has(&s->modified, m->uid))
				put_changed(c, s->seq, m);
		}
	}
	if (!uidset_empty(&s->modified))
		return modified(c);
	/* RFC 3501 6.4.8: a UID that is not there is no error. */
	return s->gone && !c->uid ? cmd_no(c, "[EXPUNGEISSUED] Some of the messages no longer exist.") : cmd_completed(c);
}

static void
store_release(struct cmd *c)
{
	struct storing *s = c->state;

	uidset_free(&s->uids);
	uidset_free(&s->modified);
}

/* RFC 4314 4: of what is asked, what the rights allow. False: nothing of it. */
static bool
confine(struct cmd *c, const struct storing *s, struct flag_list *list)
{
	bool set = s->change.op == FLAGS_SET, any = list->flags || list->nkeywords;

	list->flags = (uint8_t)(list->flags & acl_flags(c->s->rights));
	if (!(c->s->rights & ACL_WRITE))
		list->nkeywords = 0;
	return set ? (c->s->rights & ACL_FLAGS) != 0 : !any || list->flags || list->nkeywords;
}

/* Other flags than these may not be touched, so "these and no others" is said in two steps. */
static bool
set_confined(struct cmd *c, struct storing *s, struct fail *why)
{
	unsigned rights = c->s->rights;
	struct flag_change away = { .op = FLAGS_REMOVE, .flags = (uint8_t)(acl_flags(rights) & ~s->change.flags),
		.keywords = rights & ACL_WRITE ? ~s->change.keywords : 0, .unchanged_since = s->change.unchanged_since };
	struct flag_change add = { .op = FLAGS_ADD, .flags = s->change.flags, .keywords = s->change.keywords, .unchanged_since = UINT64_MAX };

	if (!mailbox_flags(cmd_view(c), &s->uids, &away, s->conditional ? &s->modified : NULL, why))
		return false;
	for (size_t i = 0; i < s->modified.n; i++)
		uidset_remove(&s->uids, s->modified.ranges[i].lo, s->modified.ranges[i].hi);
	return mailbox_flags(cmd_view(c), &s->uids, &add, NULL, why);
}

static bool
carry_out(struct cmd *c, struct storing *s, struct fail *why)
{
	if (s->change.op == FLAGS_SET && (c->s->rights & ACL_FLAGS) != ACL_FLAGS)
		return set_confined(c, s, why);
	return mailbox_flags(cmd_view(c), &s->uids, &s->change, s->conditional ? &s->modified : NULL, why);
}

enum cmd_result
cmd_store(struct cmd *c)
{
	struct storing *s = ARENA_NEW(c->arena, struct storing);
	struct flag_list list;
	struct fail why;

	if (!s)
		return cmd_no(c, "[LIMIT] Command too large.");
	if (!take_condition(c, s) || !take_operation(&c->parse, s) || !flags_parse(&c->parse, true, &list) || !imap_take_end(&c->parse))
		return cmd_syntax(c);
	if (!command_may(c))
		return CMD_DONE;
	uidset_init(&s->uids);
	uidset_init(&s->modified);
	c->state = s;
	c->release = store_release;
	if (!confine(c, s, &list))
		return cmd_no(c, "[NOPERM] Permission denied.");
	s->change.flags = list.flags;
	if (!flags_keywords(cmd_view(c)->mailbox, &list, s->change.op != FLAGS_REMOVE, &s->change.keywords))
		return cmd_no(c, "[LIMIT] Too many keywords in this mailbox.");
	if (!view_uids(cmd_view(c), &c->seqs, &s->uids))
		return cmd_no(c, "[LIMIT] Too many messages.");
	if (!carry_out(c, s, &why))
		return cmd_failed(c, &why);
	return cmd_go(c, tell_step);
}
