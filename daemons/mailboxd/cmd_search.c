/* SPDX-License-Identifier: ISC
 *
 * cmd_search: SEARCH and UID SEARCH (RFC 3501 6.4.4), with RETURN (RFC 4731).
 */
#include "daemons/mailboxd/searching.h"

/* How much work a slice may do, in tests of the index. */
enum { SLICE_WORK = 20000 };
static const unsigned work_of_cost[] = { 1, 20, 100, 500 };

void
searching_init(struct searching *s, struct cmd *c)
{
	search_init(&s->search);
	text_init(&s->text);
	uidset_init(&s->hits);
	s->seq = 1;
	s->search.now = loop_wall_ms(c->s->user->loop) / 1000;
}

void
searching_release(struct searching *s)
{
	search_free(&s->search);
	text_free(&s->text);
	uidset_free(&s->hits);
}

/* The command's state begins with the search. */
static enum cmd_result
search_step(struct cmd *c)
{
	struct searching *s = c->state;
	struct view *v = cmd_view(c);
	unsigned work = 0;

	for (; s->seq <= view_count(v); s->seq++) {
		const struct message *m;
		uint64_t modseq;

		if (work > SLICE_WORK)
			return CMD_MORE;
		work += work_of_cost[s->search.root->cost];
		m = view_message(v, s->seq);
		if (!m)
			continue;
		modseq = m->modseq;
		if (!search_fits(&s->search, v, s->seq, m, &s->text))
			continue;
		uidset_add(&s->hits, s->seq, s->seq);
		if (s->search.modseq && modseq > s->modseq)
			s->modseq = modseq;
	}
	return s->hits.failed ? cmd_no(c, "[LIMIT] Too many results.") : cmd_go(c, s->found);
}

enum cmd_result
searching_start(struct searching *s, struct cmd *c)
{
	if (!search_parse(&s->search, &c->parse, cmd_view(c), &c->s->saved))
		return cmd_syntax(c);
	if (s->search.modseq)
		c->s->enabled |= ENABLED_CONDSTORE;
	return cmd_go(c, search_step);
}

/* ---- SEARCH itself ---- */

static void
put_plain(struct cmd *c, const struct uidset *hits, uint64_t modseq)
{
	buf_put(cmd_out(c), SPAN("* SEARCH"));
	for (size_t i = 0; i < hits->n; i++) {
		for (uint32_t n = hits->ranges[i].lo; n <= hits->ranges[i].hi; n++) {
			buf_putc(cmd_out(c), ' ');
			buf_put_u64(cmd_out(c), n);
		}
	}
	if (modseq)
		buf_printf(cmd_out(c), " (MODSEQ %llu)", (unsigned long long)modseq);
	buf_put(cmd_out(c), SPAN("\r\n"));
}

/* RFC 5182 2.1: the result variable holds UIDs, so that it stands expunges. */
static bool
save(struct cmd *c, const struct searching *s)
{
	struct uidset seqs;
	bool ok;

	uidset_init(&seqs);
	returns_saved(&s->returns, &s->hits, &seqs);
	uidset_clear(&c->s->saved);
	ok = !seqs.failed && view_uids(cmd_view(c), &seqs, &c->s->saved);
	uidset_free(&seqs);
	if (!ok)
		uidset_clear(&c->s->saved);
	return ok;
}

static enum cmd_result
search_found(struct cmd *c)
{
	struct searching *s = c->state;
	struct uidset uids;
	const struct uidset *result = c->uid ? &uids : &s->hits;
	struct found found = { .set = result, .modseq = s->modseq };

	if ((s->returns.bits & RETURN_SAVE) && !save(c, s))
		return cmd_no(c, "[NOTSAVED] Too many results to be saved.");
	uidset_init(&uids);
	if (c->uid && !view_uids(cmd_view(c), &s->hits, &uids)) {
		uidset_free(&uids);
		return cmd_no(c, "[LIMIT] Too many results.");
	}
	found.n = uidset_count(result);
	if (s->returns.bits & RETURN_EXTENDED)
		returns_put(cmd_out(c), c->tag, c->uid, &s->returns, &found);
	else if (!s->returns.bits)
		put_plain(c, result, s->modseq);
	uidset_free(&uids);
	return cmd_completed(c);
}

static void
search_release(struct cmd *c)
{
	searching_release(c->state);
}

enum cmd_result
cmd_search(struct cmd *c)
{
	struct searching *s = ARENA_NEW(c->arena, struct searching);

	if (!s)
		return cmd_no(c, "[LIMIT] Command too large.");
	searching_init(s, c);
	s->found = search_found;
	c->state = s;
	c->release = search_release;
	if (!returns_parse(&c->parse, true, &s->returns))
		return cmd_syntax(c);
	if (!s->returns.bits && (c->s->enabled & ENABLED_REV2)) /* RFC 9051 6.4.4 */
		s->returns.bits = RETURN_ALL | RETURN_EXTENDED;
	if (!search_charset(&s->search, &c->parse, false)) {
		if (s->returns.bits & RETURN_SAVE) /* RFC 5182 2.1: NO empties the variable */
			uidset_clear(&c->s->saved);
		return s->search.bad_charset ? cmd_no(c, "[BADCHARSET (US-ASCII UTF-8)] Unknown character set.") : cmd_syntax(c);
	}
	return searching_start(s, c);
}
