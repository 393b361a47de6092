/* SPDX-License-Identifier: ISC
 *
 * cmd_search: SEARCH and UID SEARCH (RFC 3501 6.4.4), with RETURN (RFC 4731).
 */
#include "daemons/mailboxd/imap.h"
#include "daemons/mailboxd/search.h"

enum { RETURN_MIN = 1, RETURN_MAX = 2, RETURN_ALL = 4, RETURN_COUNT = 8, RETURN_EXTENDED = 16 };

static const struct {
	struct span name;
	unsigned bit;
} options[] = {
	{ SPAN_INIT("MIN"), RETURN_MIN },
	{ SPAN_INIT("MAX"), RETURN_MAX },
	{ SPAN_INIT("ALL"), RETURN_ALL },
	{ SPAN_INIT("COUNT"), RETURN_COUNT },
};

/* How much work a slice may do, in tests of the index. */
enum { SLICE_WORK = 20000 };
static const unsigned work_of_cost[] = { 1, 20, 100, 500 };

struct searching {
	struct search search;
	struct text text;
	struct uidset hits;
	unsigned returns;
	uint64_t modseq; /* highest one of the hits */
	uint32_t seq;
};

static bool
take_return(struct imap_parse *p, unsigned *returns)
{
	struct span word;

	if (!cursor_word(&p->c, SPAN("RETURN ")))
		return true;
	*returns = RETURN_EXTENDED;
	if (!imap_take_char(p, '('))
		return false;
	while (!imap_try(p, ')')) {
		size_t i = 0;

		if (*returns != RETURN_EXTENDED && !imap_take_sp(p))
			return false;
		if (!imap_take_atom(p, &word))
			return false;
		while (i < sizeof options / sizeof *options && !span_caseeq(options[i].name, word))
			i++;
		if (i == sizeof options / sizeof *options)
			return imap_bad(p, "Unknown search return option");
		*returns |= options[i].bit;
	}
	if (*returns == RETURN_EXTENDED) /* RFC 4731 3.1 */
		*returns |= RETURN_ALL;
	return imap_take_sp(p);
}

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

static void
put_extended(struct cmd *c, const struct uidset *hits, unsigned returns, uint64_t modseq)
{
	struct buf *out = cmd_out(c);

	buf_put(out, SPAN("* ESEARCH (TAG "));
	imap_put_string(out, c->tag);
	buf_put(out, c->uid ? SPAN(") UID") : SPAN(")"));
	if (hits->n && (returns & RETURN_MIN))
		buf_printf(out, " MIN %u", (unsigned)hits->ranges[0].lo);
	if (hits->n && (returns & RETURN_MAX))
		buf_printf(out, " MAX %u", (unsigned)hits->ranges[hits->n - 1].hi);
	if (hits->n && (returns & RETURN_ALL)) {
		buf_put(out, SPAN(" ALL "));
		uidset_text(hits, out);
	}
	if (returns & RETURN_COUNT)
		buf_printf(out, " COUNT %llu", (unsigned long long)uidset_count(hits));
	if (modseq)
		buf_printf(out, " MODSEQ %llu", (unsigned long long)modseq);
	buf_put(out, SPAN("\r\n"));
}

static enum cmd_result
search_step(struct cmd *c)
{
	struct searching *s = c->state;
	struct view *v = cmd_view(c);
	unsigned work = 0;

	for (; s->seq <= view_count(v); s->seq++) {
		const struct message *m;

		if (work > SLICE_WORK)
			return CMD_MORE;
		work += work_of_cost[s->search.root->cost];
		m = view_message(v, s->seq);
		if (m) {
			uint32_t number = c->uid ? m->uid : s->seq;

			uint64_t modseq = m->modseq;

			if (search_fits(&s->search, v, s->seq, m, &s->text)) {
				uidset_add(&s->hits, number, number);
				if (s->search.modseq && modseq > s->modseq)
					s->modseq = modseq;
			}
		}
	}
	if (s->hits.failed)
		return cmd_no(c, "[LIMIT] Too many results.");
	if (s->returns)
		put_extended(c, &s->hits, s->returns, s->modseq);
	else
		put_plain(c, &s->hits, s->modseq);
	return cmd_completed(c);
}

static void
search_release(struct cmd *c)
{
	struct searching *s = c->state;

	search_free(&s->search);
	text_free(&s->text);
	uidset_free(&s->hits);
}

enum cmd_result
cmd_search(struct cmd *c)
{
	struct searching *s = ARENA_NEW(c->arena, struct searching);

	if (!s)
		return cmd_no(c, "[LIMIT] Command too large.");
	search_init(&s->search);
	text_init(&s->text);
	uidset_init(&s->hits);
	s->seq = 1;
	s->search.now = loop_wall_ms(c->s->user->loop) / 1000;
	c->state = s;
	c->release = search_release;
	if (!take_return(&c->parse, &s->returns) || !search_parse(&s->search, &c->parse, cmd_view(c)))
		return s->search.bad_charset ? cmd_no(c, "[BADCHARSET (US-ASCII UTF-8)] Unknown character set.") : cmd_syntax(c);
	if (s->search.modseq)
		c->s->enabled |= ENABLED_CONDSTORE;
	return cmd_go(c, search_step);
}
