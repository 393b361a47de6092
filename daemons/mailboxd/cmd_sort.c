/* SPDX-License-Identifier: ISC
 *
 * cmd_sort: SORT and THREAD (RFC 5256), SORT's options (RFC 5267 3).
 *
 * A search, then a look at each hit's kept facts, slice by slice, then the order.
 */
#include <stdlib.h>

#include "daemons/mailboxd/ranking.h"
#include "daemons/mailboxd/recall.h"
#include "daemons/mailboxd/searching.h"
#include "daemons/mailboxd/sort.h"
#include "daemons/mailboxd/thread.h"

enum {
	THREAD_MEMORY = 512 << 20,
	IDS_MAX = 1 << 20, /* octets of one message's, as numbers */
};

struct sorting {
	struct searching searching; /* first: search_step() takes it for the state */
	struct sort sort;
	struct thread thread;
	struct ranking names, titles; /* ids and base subjects, by_text */
	struct buf ids;
	void (*take)(struct cmd *c, uint32_t seq, const struct message *m);
	enum cmd_result (*end)(struct cmd *c);
	bool references, refs; /* refs: of the two that go by references the other one */
	bool by_text;          /* ids and texts are not recalled (recall.h): there are too many of them */
	bool again;            /* from the start, by_text */
	bool facts;            /* it goes by them */
	size_t range;
	uint64_t gathered;
	uint32_t seq; /* next hit, 0: begin the range */
};

static void
sort_release(struct cmd *c)
{
	struct sorting *x = c->state;

	searching_release(&x->searching, c);
	sort_free(&x->sort);
	thread_free(&x->thread);
	ranking_free(&x->names);
	ranking_free(&x->titles);
	buf_free(&x->ids);
}

static enum cmd_result
begin_again(struct cmd *c)
{
	struct sorting *x = c->state;

	thread_free(&x->thread);
	thread_init(&x->thread, THREAD_MEMORY);
	sort_again(&x->sort);
	x->again = false;
	x->range = 0;
	x->seq = 0;
	x->gathered = 0;
	return CMD_MORE;
}

static enum cmd_result
gather_step(struct cmd *c)
{
	struct sorting *x = c->state;
	const struct uidset *hits = &x->searching.hits;
	struct text *t = &x->searching.text;
	unsigned n = 0;

	for (; x->range < hits->n; x->range++, x->seq = 0) {
		if (!x->seq)
			x->seq = hits->ranges[x->range].lo;
		for (; x->seq <= hits->ranges[x->range].hi; x->seq++, n++) {
			const struct message *m = view_message(cmd_view(c), x->seq);

			if (n == BOUND_SLICE) {
				cmd_progress(c, x->gathered += n, uidset_count(hits));
				return CMD_MORE;
			}
			if (!m)
				continue;
			if (x->facts && facts_ahead(&x->searching.facts, c, cmd_view(c), m, x->seq, hits->ranges[x->range].hi)) {
				cmd_progress(c, x->gathered += n, uidset_count(hits));
				return cmd_wait(c, gather_step);
			}
			text_open(t, cmd_view(c)->mailbox, m->uid);
			x->take(c, x->seq, m);
			if (x->again)
				return begin_again(c);
		}
	}
	return x->end(c);
}

static enum cmd_result
begin(struct cmd *c)
{
	return cmd_go(c, gather_step);
}

static struct sorting *
new_sorting(struct cmd *c)
{
	struct sorting *x = ARENA_NEW(c->arena, struct sorting);

	if (!x)
		return NULL;
	searching_init(&x->searching, c);
	x->searching.found = begin;
	sort_init(&x->sort);
	thread_init(&x->thread, THREAD_MEMORY);
	ranking_init(&x->names, THREAD_MEMORY);
	ranking_init(&x->titles, THREAD_MEMORY);
	buf_init(&x->ids, IDS_MAX);
	c->state = x;
	c->release = sort_release;
	return x;
}

/* The charset and the keys, which both commands end with. */
static enum cmd_result
go(struct cmd *c, struct sorting *x)
{
	struct search *s = &x->searching.search;

	if (!search_charset(s, &c->parse, true))
		return s->bad_charset ? cmd_no(c, "[BADCHARSET (US-ASCII UTF-8)] Unknown character set.") : cmd_syntax(c);
	return searching_start(&x->searching, c);
}

/* ---- SORT ---- */

static void
take_for_sort(struct cmd *c, uint32_t seq, const struct message *m)
{
	struct sorting *x = c->state;

	x->sort.score = x->searching.scores ? x->searching.scores[seq] : 0;
	x->again = !sort_add(&x->sort, seq, m, &x->searching.text);
}

static void
put_sorted(struct buf *out, const struct found *found)
{
	buf_put(out, SPAN("* SORT"));
	for (uint64_t i = 0; i < found->n; i++) {
		buf_putc(out, ' ');
		buf_put_u64(out, found->list[i]);
	}
	if (found->modseq && found->n) /* RFC 7162 3.1.6 */
		buf_printf(out, " (MODSEQ %llu)", (unsigned long long)found->modseq);
	buf_put(out, SPAN("\r\n"));
}

/* RFC 5267 3: the first and the last are those of the order. */
static uint64_t
told_modseq(const struct sorting *x)
{
	const struct searching *s = &x->searching;
	struct uid_range all = { 1, (uint32_t)x->sort.n };
	const struct uidset places = { .ranges = &all, .n = x->sort.n > 0 };
	struct uidset told, seqs;
	uint64_t modseq;

	if (!s->modseq || !returns_some(&s->returns))
		return s->modseq;
	uidset_init(&told);
	uidset_init(&seqs);
	returns_saved(&s->returns, &places, &told);
	for (size_t i = 0; i < told.n; i++)
		for (uint32_t place = told.ranges[i].lo; place <= told.ranges[i].hi; place++)
			uidset_add(&seqs, x->sort.items[place - 1].seq, x->sort.items[place - 1].seq);
	modseq = searching_modseq(s, &seqs);
	uidset_free(&told);
	uidset_free(&seqs);
	return modseq;
}

static enum cmd_result
sort_end(struct cmd *c)
{
	struct sorting *x = c->state;
	uint32_t *list = calloc(x->sort.n + 1, sizeof *list);
	uint8_t *scores = x->searching.scores; /* by number until now */
	struct found found = { .list = list, .n = x->sort.n, .scores = scores };

	if (!list || x->sort.failed) {
		free(list);
		return cmd_no(c, "[LIMIT] Too many messages to sort.");
	}
	if (!sort_now(&x->sort, cmd_view(c)->mailbox)) {
		free(list);
		return begin_again(c);
	}
	found.modseq = told_modseq(x);
	for (size_t i = 0; scores && i < x->sort.n; i++)
		scores[i] = x->sort.items[i].score;
	for (size_t i = 0; i < x->sort.n; i++)
		list[i] = c->uid ? x->sort.items[i].uid : x->sort.items[i].seq;
	if (x->searching.returns.bits)
		returns_put(cmd_out(c), c->tag, c->uid, &x->searching.returns, &found);
	else
		put_sorted(cmd_out(c), &found);
	free(list);
	return cmd_completed(c);
}

enum cmd_result
cmd_sort(struct cmd *c)
{
	struct sorting *x = new_sorting(c);

	if (!x)
		return cmd_no(c, "[LIMIT] Command too large.");
	x->take = take_for_sort;
	x->end = sort_end;
	if (!returns_parse(&c->parse, 0, &x->searching.returns) || !sort_parse(&x->sort, &c->parse) || !imap_take_sp(&c->parse))
		return cmd_syntax(c);
	x->facts = sort_wants_facts(&x->sort);
	x->searching.relevancy = sort_has(&x->sort, SORT_RELEVANCY);
	return go(c, x);
}

/* ---- THREAD ---- */

/* What is not recalled: numbers of this command's own. */
static void
number_texts(struct sorting *x, const struct facts *f, struct thread_message *m)
{
	bool ok;

	buf_reset(&x->ids);
	ok = !x->references || ranking_lines(&x->names, f->ids, &x->ids);
	if (f->subject.n)
		ok = (m->subject = ranking_number(&x->titles, f->subject)) != 0 && ok;
	m->reply = f->reply;
	m->ids = (const uint32_t *)(const void *)buf_span(&x->ids).p;
	m->nids = buf_len(&x->ids) / sizeof *m->ids;
	x->thread.failed = x->thread.failed || !ok;
}

static void
take_for_thread(struct cmd *c, uint32_t seq, const struct message *m)
{
	struct sorting *x = c->state;
	struct thread_message t = { .number = c->uid ? m->uid : seq };
	struct recalled_thread known;
	const struct facts *f;

	if (x->refs)
		t.received = m->date ? m->date : mailbox_date(cmd_view(c)->mailbox, m->uid);
	t.date = sort_sent(m, &x->searching.text);
	if (!x->by_text && recall_thread(&x->searching.text, &known)) {
		t.subject = known.subject;
		t.reply = known.reply;
		t.ids = known.ids;
		t.nids = x->references ? known.nids : 0;
	} else if (text_facts(&x->searching.text, &f)) {
		x->again = !x->by_text;
		x->by_text = true;
		number_texts(x, f, &t);
	}
	thread_add(&x->thread, &t);
}

static enum cmd_result
thread_end(struct cmd *c)
{
	struct sorting *x = c->state;

	if (!x->thread.failed) {
		if (x->refs)
			thread_refs(&x->thread);
		else if (x->references)
			thread_references(&x->thread);
		else
			thread_subjects(&x->thread);
	}
	if (x->thread.failed)
		return cmd_no(c, "[LIMIT] Too many messages for threads.");
	buf_put(cmd_out(c), SPAN("* THREAD"));
	if (x->thread.root)
		buf_putc(cmd_out(c), ' ');
	thread_put(&x->thread, cmd_out(c));
	buf_put(cmd_out(c), SPAN("\r\n"));
	return cmd_completed(c);
}

enum cmd_result
cmd_thread(struct cmd *c)
{
	struct sorting *x = new_sorting(c);
	struct span algorithm;

	if (!x)
		return cmd_no(c, "[LIMIT] Command too large.");
	x->take = take_for_thread;
	x->facts = true;
	x->end = thread_end;
	if (!imap_take_atom(&c->parse, &algorithm) || !imap_take_sp(&c->parse))
		return cmd_syntax(c);
	x->refs = span_caseeq(algorithm, SPAN("REFS"));
	x->references = x->refs || span_caseeq(algorithm, SPAN("REFERENCES"));
	if (!x->references && !span_caseeq(algorithm, SPAN("ORDEREDSUBJECT")))
		return cmd_bad(c, "Unknown threading algorithm.");
	return go(c, x);
}
