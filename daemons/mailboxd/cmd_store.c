/* SPDX-License-Identifier: ISC
 *
 * cmd_store: STORE and UID STORE (RFC 3501 6.4.6).
 */
#include "daemons/mailboxd/flags.h"
#include "daemons/mailboxd/imap.h"

struct storing {
	struct uidset uids;
	struct flag_change change;
	bool silent, gone;
	size_t range;
	uint32_t seq;
};

static bool
take_operation(struct imap_parse *p, struct storing *s)
{
	s->change.op = imap_try(p, '+') ? FLAGS_ADD : imap_try(p, '-') ? FLAGS_REMOVE : FLAGS_SET;
	if (!cursor_word(&p->c, SPAN("FLAGS")))
		return imap_bad(p, "Expected FLAGS, +FLAGS or -FLAGS");
	s->silent = cursor_word(&p->c, SPAN(".SILENT"));
	return imap_take_sp(p);
}

static void
put_changed(struct cmd *c, uint32_t seq, const struct message *m)
{
	struct buf *out = cmd_out(c);

	buf_put(out, SPAN("* "));
	buf_put_u64(out, seq);
	buf_put(out, SPAN(" FETCH ("));
	if (c->uid) {
		buf_put(out, SPAN("UID "));
		buf_put_u64(out, m->uid);
		buf_putc(out, ' ');
	}
	buf_put(out, SPAN("FLAGS "));
	imap_put_flags(c->s, out, m);
	if (c->s->enabled & ENABLED_CONDSTORE)
		buf_printf(out, " MODSEQ (%llu)", (unsigned long long)m->modseq);
	buf_put(out, SPAN(")\r\n"));
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
			else if (!s->silent)
				put_changed(c, s->seq, m);
		}
	}
	return s->gone ? cmd_no(c, "[EXPUNGEISSUED] Some of the messages no longer exist.") : cmd_completed(c);
}

static void
store_release(struct cmd *c)
{
	struct storing *s = c->state;

	uidset_free(&s->uids);
}

enum cmd_result
cmd_store(struct cmd *c)
{
	struct storing *s = ARENA_NEW(c->arena, struct storing);
	struct flag_list list;
	struct fail why;

	if (!s)
		return cmd_no(c, "[LIMIT] Command too large.");
	if (!take_operation(&c->parse, s) || !flags_parse(&c->parse, true, &list) || !imap_take_end(&c->parse))
		return cmd_syntax(c);
	uidset_init(&s->uids);
	c->state = s;
	c->release = store_release;
	s->change.flags = list.flags;
	s->change.unchanged_since = UINT64_MAX;
	if (!flags_keywords(cmd_view(c)->mailbox, &list, s->change.op != FLAGS_REMOVE, &s->change.keywords))
		return cmd_no(c, "[LIMIT] Too many keywords in this mailbox.");
	if (!view_uids(cmd_view(c), &c->seqs, &s->uids))
		return cmd_no(c, "[LIMIT] Too many messages.");
	if (!mailbox_flags(cmd_view(c), &s->uids, &s->change, NULL, &why))
		return cmd_failed(c, &why);
	return cmd_go(c, tell_step);
}
