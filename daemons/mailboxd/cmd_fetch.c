/* SPDX-License-Identifier: ISC
 *
 * cmd_fetch: FETCH and UID FETCH (RFC 3501 6.4.5).
 *
 * Works message by message and item by item, stopping wherever the output is
 * full; a large body leaves as a range of its file.
 */
#include "daemons/mailboxd/fetching.h"

static void
mark_seen(struct cmd *c)
{
	struct fetch *f = fetch_of(c);
	struct flag_change change = { .op = FLAGS_ADD, .flags = FLAG_SEEN, .unchanged_since = UINT64_MAX };

	if (!uidset_empty(&f->seen) && c->s->state == STATE_SELECTED)
		(void)mailbox_flags(cmd_view(c), &f->seen, &change, NULL, NULL);
	uidset_clear(&f->seen);
}

/* ---- one message ---- */

static void
begin_message(struct cmd *c, const struct message *m, uint32_t seq)
{
	struct fetch *f = fetch_of(c);

	f->message = *m;
	f->at = f->items;
	f->open = true;
	f->any = false;
	text_open(&f->text, cmd_view(c)->mailbox, m->uid);
	f->marked = f->sets_seen && !(m->flags & FLAG_SEEN) && !cmd_view(c)->readonly && (c->s->rights & ACL_SEEN);
	if (f->marked) {
		uidset_add(&f->seen, f->message.uid, f->message.uid);
		f->message.flags |= FLAG_SEEN;
	}
	if (f->marked && (c->s->enabled & ENABLED_CONDSTORE)) { /* its new modseq is to be told */
		mark_seen(c);
		m = view_message(cmd_view(c), seq);
		if (m)
			f->message.modseq = m->modseq;
	}
	imap_put_fetch(c->s, cmd_out(c), seq, f->message.uid);
}

/* RFC 3501 6.4.5: flags that change as a part of the FETCH are told in it. */
static void
end_message(struct cmd *c)
{
	struct fetch *f = fetch_of(c);
	bool told = false;

	for (struct fetch_item *i = f->items; i; i = i->next)
		told = told || i->kind == FETCH_KIND_FLAGS;
	if (!told && f->marked) {
		buf_put(cmd_out(c), f->any ? SPAN(" ") : SPAN(""));
		(void)fetch_put_FLAGS(c, NULL);
		if (c->s->enabled & ENABLED_CONDSTORE) { /* RFC 7162 3.2 */
			buf_putc(cmd_out(c), ' ');
			(void)fetch_put_MODSEQ(c, NULL);
		}
	}
	buf_put(cmd_out(c), SPAN(")\r\n"));
	f->open = false;
}

/* Items until the message is done or the output is full. */
static void
put_items(struct cmd *c)
{
	struct fetch *f = fetch_of(c);

	f->text.known = false; /* cached facts are good for one turn */
	while (f->at && cmd_room(c)) {
		size_t before = buf_len(cmd_out(c));

		if (f->any)
			buf_putc(cmd_out(c), ' ');
		if (fetch_put(c, f->at)) {
			f->any = true;
		} else { /* gone meanwhile: the rest of it is left out */
			buf_cut(cmd_out(c), before);
			f->gone = f->gone || !f->unknown_encoding;
		}
		f->at = f->at->next;
	}
}

/* The threads have what this message's items need, or will: then it is waited for. */
static bool
made_ahead(struct cmd *c, const struct message *m)
{
	struct fetch *f = fetch_of(c);

	return f->facts && !f->text.hashing && facts_ahead(&f->ahead, c, cmd_view(c), m, f->seq, c->seqs.ranges[f->range].hi);
}

/* ---- the command ---- */

static bool
next_seq(struct cmd *c)
{
	struct fetch *f = fetch_of(c);

	if (f->range == c->seqs.n)
		return false;
	if (!f->seq)
		f->seq = c->seqs.ranges[f->range].lo;
	else if (f->seq < c->seqs.ranges[f->range].hi)
		f->seq++;
	else if (++f->range < c->seqs.n)
		f->seq = c->seqs.ranges[f->range].lo;
	return f->range < c->seqs.n;
}

static enum cmd_result
fetch_step(struct cmd *c)
{
	struct fetch *f = fetch_of(c);

	for (unsigned n = 0; n < BOUND_SLICE; n++) {
		if (f->open) {
			put_items(c);
			if (f->at || !cmd_room(c)) /* nothing may be put behind a range of a file */
				break;
			end_message(c);
		}
		if (!f->ahead.waited && !next_seq(c)) {
			mark_seen(c);
			if (f->unknown_encoding) /* RFC 3516 4.3 */
				return cmd_no(c, "[UNKNOWN-CTE] A part is encoded in an unknown way.");
			return f->gone && !c->uid ? cmd_no(c, "[EXPUNGEISSUED] Some of the messages no longer exist.") : cmd_completed(c);
		}
		const struct message *m = view_message(cmd_view(c), f->seq);

		if (m && m->modseq > f->changed_since && made_ahead(c, m)) {
			mark_seen(c);
			return cmd_wait(c, fetch_step);
		}
		f->ahead.waited = false;
		if (!m)
			f->gone = true;
		else if (m->modseq > f->changed_since)
			begin_message(c, m, f->seq);
	}
	mark_seen(c);
	return CMD_MORE;
}

static void
fetch_release(struct cmd *c)
{
	struct fetch *f = fetch_of(c);

	mark_seen(c);
	text_free(&f->text);
	uidset_free(&f->seen);
	buf_free(&f->made);
}

static bool
add_item(struct cmd *c, struct fetch *f, enum fetch_kind kind)
{
	struct fetch_item *item;

	for (struct fetch_item *i = f->items; i; i = i->next)
		if (i->kind == kind)
			return true;
	item = ARENA_NEW(c->arena, struct fetch_item);
	if (!item)
		return false;
	*item = (struct fetch_item){ .next = f->items, .kind = kind, .flags = FETCH_PEEK };
	f->items = item;
	return true;
}

/* [SP "(" modifiers ")"]: CHANGEDSINCE and VANISHED (RFC 7162 3.1.4.1, 3.2.6) */
static bool
take_modifiers(struct cmd *c, struct fetch *f)
{
	struct imap_parse *p = &c->parse;
	struct span word;

	if (imap_at_end(p))
		return true;
	if (!imap_take_sp(p) || !imap_take_char(p, '('))
		return false;
	do {
		if (!imap_take_atom(p, &word))
			return false;
		if (span_caseeq(word, SPAN("CHANGEDSINCE"))) {
			f->changed = true;
			if (!imap_take_sp(p) || !imap_take_u64(p, 1, INT64_MAX, &f->changed_since))
				return false;
		} else if (span_caseeq(word, SPAN("VANISHED"))) {
			f->vanished = true;
		} else if (span_caseeq(word, SPAN("PARTIAL")) && c->uid && !f->partial) { /* RFC 9394 3.3 */
			f->partial = true;
			if (!imap_take_sp(p) || !partial_parse(p, &f->part))
				return false;
		} else {
			return imap_bad(p, "Unknown FETCH modifier");
		}
	} while (imap_try(p, ' '));
	if (f->vanished && !(c->uid && f->changed && (c->s->enabled & ENABLED_QRESYNC)))
		return imap_bad(p, "VANISHED needs UID FETCH, CHANGEDSINCE and QRESYNC enabled");
	return imap_take_char(p, ')') && imap_take_end(p);
}

/* RFC 7162 3.2.6: those of the set that are gone, before anything else. */
static bool
put_vanished(struct cmd *c, struct fetch *f)
{
	struct view *v = cmd_view(c);
	struct uidset asked, gone;
	bool ok;

	if (span_eq(c->arg[0], SPAN("$"))) /* RFC 5182 2.1: what is gone has left it */
		return true;
	uidset_init(&asked);
	uidset_init(&gone);
	ok = uidset_parse(&asked, c->arg[0], mailbox_uidnext(v->mailbox) - 1);
	if (ok) {
		(void)mailbox_vanished_of(v->mailbox, f->changed_since, &asked, &gone);
		/* What this session still counts among its messages is told in its turn. */
		for (size_t i = 0; i < v->gone.n; i++)
			uidset_remove(&gone, v->gone.ranges[i].lo, v->gone.ranges[i].hi);
		imap_put_vanished(c->s, &gone, true);
	}
	uidset_free(&asked);
	uidset_free(&gone);
	return ok;
}

/* RFC 9394 3.4: counted are those that would be told. */
static bool
cut_partial(struct cmd *c, struct fetch *f)
{
	struct uidset told;
	uint64_t first, n;

	uidset_init(&told);
	for (size_t i = 0; i < c->seqs.n; i++)
		for (uint32_t seq = c->seqs.ranges[i].lo; seq <= c->seqs.ranges[i].hi; seq++) {
			const struct message *m = view_message(cmd_view(c), seq);

			if (m && (!f->changed || m->modseq > f->changed_since))
				uidset_add(&told, seq, seq);
		}
	partial_pick(&f->part, uidset_count(&told), &first, &n);
	uidset_clear(&c->seqs);
	uidset_add_slice(&c->seqs, &told, first, n);
	uidset_free(&told);
	return !c->seqs.failed;
}

/* RFC 3501 6.4.8: UID FETCH always tells the UID; RFC 7162 3.1.4.1: CHANGEDSINCE the modseq. */
static bool
complete_items(struct cmd *c, struct fetch *f)
{
	if (f->changed && !add_item(c, f, FETCH_KIND_MODSEQ))
		return false;
	if (c->uid && !(c->s->enabled & ENABLED_UIDONLY) && !add_item(c, f, FETCH_KIND_UID))
		return false;
	for (struct fetch_item *i = f->items; i; i = i->next) {
		if (!(i->flags & FETCH_PEEK))
			f->sets_seen = true;
		if (i->kind == FETCH_KIND_MODSEQ)
			c->s->enabled |= ENABLED_CONDSTORE;
		if (i->kind == FETCH_KIND_EMAILID)
			f->text.hashing = true;
		f->facts = f->facts || (i->flags & FETCH_FACTS) || i->kept;
	}
	return true;
}

static struct fetch *
new_fetch(struct cmd *c)
{
	struct fetch *f = ARENA_NEW(c->arena, struct fetch);

	if (!f)
		return NULL;
	text_init(&f->text);
	uidset_init(&f->seen);
	buf_init(&f->made, 2 << 20);
	c->state = f;
	c->release = fetch_release;
	return f;
}

enum cmd_result
fetch_begin(struct cmd *c, struct fetch_item *items)
{
	struct fetch *f = new_fetch(c);

	if (f)
		f->items = items;
	if (!f || !complete_items(c, f))
		return cmd_no(c, "[LIMIT] Command too large.");
	c->step = fetch_step;
	return CMD_MORE;
}

enum cmd_result
cmd_fetch(struct cmd *c)
{
	struct fetch *f = new_fetch(c);

	if (!f)
		return cmd_no(c, "[LIMIT] Command too large.");
	f->items = fetch_parse(&c->parse);
	if (!f->items || !take_modifiers(c, f))
		return cmd_syntax(c);
	if (!complete_items(c, f) || (f->partial && !cut_partial(c, f)) || !command_cut(c) || (f->vanished && !put_vanished(c, f)))
		return cmd_no(c, "[LIMIT] Command too large.");
	return cmd_go(c, fetch_step);
}
