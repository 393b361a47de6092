/* SPDX-License-Identifier: ISC
 *
 * cmd_select: SELECT, EXAMINE, CLOSE, UNSELECT, EXPUNGE.
 */
#include "daemons/mailboxd/flags.h"
#include "daemons/mailboxd/imap.h"

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
	uint32_t unseen = first_unseen(v);

	buf_put(out, SPAN("* FLAGS "));
	flags_put_all(out, v->mailbox);
	buf_put(out, SPAN(")\r\n* OK [PERMANENTFLAGS "));
	if (v->readonly) {
		buf_put(out, SPAN("()] Read-only mailbox.\r\n"));
	} else {
		flags_put_all(out, v->mailbox);
		buf_put(out, SPAN(" \\*)] Flags permitted.\r\n"));
	}
	buf_printf(out, "* %u EXISTS\r\n* %llu RECENT\r\n", (unsigned)view_count(v), (unsigned long long)uidset_count(&v->recent));
	if (unseen)
		buf_printf(out, "* OK [UNSEEN %u] First unseen.\r\n", (unsigned)unseen);
	buf_printf(out, "* OK [UIDVALIDITY %u] UIDs valid\r\n", (unsigned)mailbox_uidvalidity(v->mailbox));
	buf_printf(out, "* OK [UIDNEXT %u] Predicted next UID\r\n", (unsigned)mailbox_uidnext(v->mailbox));
	buf_printf(out, "* OK [HIGHESTMODSEQ %llu] Highest\r\n", (unsigned long long)mailbox_modseq(v->mailbox));
}

/* RFC 4466 2.4: [SP "(" parameters ")"] */
static bool
take_parameters(struct cmd *c)
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
		if (!span_caseeq(word, SPAN("CONDSTORE")))
			return imap_bad(p, "Unknown parameter");
		c->s->enabled |= ENABLED_CONDSTORE;
	} while (imap_try(p, ' '));
	return imap_take_char(p, ')') && imap_take_end(p);
}

enum cmd_result
cmd_select(struct cmd *c)
{
	struct imap *s = c->s;
	bool readonly = span_caseeq(c->def->name, SPAN("EXAMINE"));
	struct fail why;

	if (!take_parameters(c))
		return cmd_syntax(c);
	imap_unselect(s); /* also when it fails: RFC 3501 6.3.1 */
	if (!store_exists(cmd_home(c), c->arg[0]))
		return cmd_no(c, "[NONEXISTENT] Mailbox doesn't exist: %.*s", SPAN_ARG(c->arg[0]));
	if (!view_open(&s->view, cmd_home(c), c->arg[0], readonly, &why))
		return cmd_failed(c, &why);
	s->state = STATE_SELECTED;
	put_selected(c);
	return cmd_ok(c, "[READ-%s] %s completed.", readonly ? "ONLY" : "WRITE", readonly ? "Examine" : "Select");
}

/* CLOSE expunges silently, UNSELECT does not (RFC 3501 6.4.2, RFC 3691 2). */
enum cmd_result
cmd_close(struct cmd *c)
{
	struct fail why;

	if (span_caseeq(c->def->name, SPAN("CLOSE")) && !cmd_view(c)->readonly && !mailbox_expunge(cmd_view(c), NULL, &why)) {
		imap_unselect(c->s);
		return cmd_failed(c, &why);
	}
	imap_unselect(c->s);
	return cmd_completed(c);
}

enum cmd_result
cmd_expunge(struct cmd *c)
{
	struct uidset uids;
	struct fail why;
	bool ok;

	uidset_init(&uids);
	ok = !c->uid || view_uids(cmd_view(c), &c->seqs, &uids);
	ok = ok ? mailbox_expunge(cmd_view(c), c->uid ? &uids : NULL, &why) : fail_set(&why, FAIL_LIMIT, 0, "Too many messages");
	uidset_free(&uids);
	return ok ? cmd_completed(c) : cmd_failed(c, &why);
}
