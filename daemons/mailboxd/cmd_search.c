/* SPDX-License-Identifier: ISC
 *
 * cmd_search: SEARCH and UID SEARCH (RFC 3501 6.4.4), with RETURN (RFC 4731).
 */
#include <stdlib.h>

#include "daemons/mailboxd/context.h"

/* How much work a slice may do, in tests of the index. */
enum { SLICE_WORK = 20000, SPARED_WORK = 20, OCTETS_OF_WORK = 64 };

enum { READ_HERE = 128, READ_ONE = 4 }; /* when so many were read, others taken off, threads are worth it: 32 in a row */

unsigned
searching_work(const struct search *s)
{
	static const unsigned work_of_cost[] = { 1, 20, 100, 500 };

	return work_of_cost[s->root->cost];
}

unsigned
searching_read(const struct text *t, uint32_t uid)
{
	return t->uid == uid && t->open ? 1 + (unsigned)(t->content.size / OCTETS_OF_WORK) : 0;
}

void
searching_init(struct searching *s, struct cmd *c)
{
	search_init(&s->search);
	text_init(&s->text);
	uidset_init(&s->hits);
	s->seq = 1;
	s->view = cmd_view(c);
	s->search.now = loop_wall_ms(c->s->user->loop) / 1000;
	s->search.uid_only = c->s->enabled & ENABLED_UIDONLY;
}

void
searching_release(struct searching *s, struct cmd *c)
{
	if (c->status == CMD_NO && (s->returns.bits & RETURN_SAVE)) /* RFC 5182 2.1: and BAD leaves it */
		uidset_clear(&c->s->saved);
	ahead_stop(s->ahead);
	search_free(&s->search);
	text_free(&s->text);
	uidset_free(&s->hits);
	free(s->scores);
}

void
searching_again(struct searching *s, struct view *view)
{
	int64_t now = s->search.now;
	bool uid_only = s->search.uid_only;
	struct span charset = s->search.charset;

	text_close(&s->text);
	s->text.mailbox = NULL; /* another one may come to lie where it was */
	search_free(&s->search);
	search_init(&s->search);
	s->search.now = now;
	s->search.charset = charset;
	s->search.uid_only = uid_only;
	uidset_clear(&s->hits);
	s->view = view;
	s->seq = 1;
	s->nread = 0;
	s->modseq = 0;
}

/* What the last test did: the kept facts, or the index of texts, may have spared it the message. */
static unsigned
work_done(struct searching *s, uint32_t uid)
{
	unsigned octets = searching_read(&s->text, uid), most = searching_work(&s->search);

	if (octets)
		s->nread += READ_ONE;
	else if (s->nread)
		s->nread--;
	if (octets)
		return most + octets;
	return most < SPARED_WORK ? most : SPARED_WORK;
}

/* Threads read the message: it is waited for. */
static bool
looked_ahead(struct cmd *c, uint32_t uid)
{
	struct searching *s = c->state;

	if (!s->ahead || !s->ahead->runs) {
		if (s->nread < READ_HERE || !search_may_look(&s->search))
			return false;
		if (!s->ahead && !(s->ahead = ARENA_NEW(c->arena, struct ahead)))
			return false;
		ahead_start(s->ahead, c, &s->search, s->view, &s->text);
		s->nread = 0;
	}
	if (ahead_waits(s->ahead, s->seq, uid))
		return true;
	if (s->ahead->sparse)
		ahead_stop(s->ahead);
	return false;
}

/* The command's state begins with the search. */
static enum cmd_result
search_step(struct cmd *c)
{
	struct searching *s = c->state;
	struct view *v = s->view;
	unsigned work = 0;

	if (search_is_all(&s->search) && uidset_empty(&v->gone) && view_count(v)) {
		uidset_add(&s->hits, 1, view_count(v));
		s->seq = view_count(v) + 1;
	}
	for (; s->seq <= view_count(v); s->seq++) {
		const struct message *m;
		uint64_t modseq;
		uint32_t uid;
		bool fits;

		if (work > SLICE_WORK) {
			cmd_progress(c, s->seq, view_count(v));
			return CMD_MORE;
		}
		uid = view_uid(v, s->seq);
		if (looked_ahead(c, uid)) {
			cmd_progress(c, s->seq, view_count(v));
			return cmd_wait(c, search_step);
		}
		m = view_message(v, s->seq);
		if (!m)
			continue;
		if (search_wants_facts(&s->search) && facts_ahead(&s->facts, c, v, m, s->seq, view_count(v))) {
			cmd_progress(c, s->seq, view_count(v));
			return cmd_wait(c, search_step);
		}
		modseq = m->modseq;
		fits = search_fits(&s->search, v, s->seq, m, &s->text);
		work += work_done(s, uid);
		if (!fits)
			continue;
		uidset_add(&s->hits, s->seq, s->seq);
		if (s->scores)
			s->scores[s->seq] = (uint8_t)s->search.score;
		if (s->search.modseq && modseq > s->modseq)
			s->modseq = modseq;
	}
	ahead_stop(s->ahead);
	return s->hits.failed ? cmd_no(c, "[LIMIT] Too many results.") : cmd_go(c, s->found);
}

enum cmd_result
searching_start(struct searching *s, struct cmd *c)
{
	s->program = c->parse;
	s->began = mailbox_modseq(s->view->mailbox);
	if (!search_parse(&s->search, &c->parse, s->view, &c->s->saved)) {
		if (s->search.seq_used)
			(void)imap_uid_required(c);
		return cmd_syntax(c);
	}
	s->relevancy = s->relevancy || (s->returns.bits & RETURN_RELEVANCY);
	if (s->relevancy && !s->search.fuzzy) /* RFC 6203 4 */
		return cmd_bad(c, "RELEVANCY needs FUZZY.");
	free(s->scores);
	s->scores = s->relevancy ? calloc((size_t)view_count(s->view) + 1, 1) : NULL;
	if (s->relevancy && !s->scores)
		return cmd_no(c, "[LIMIT] Too many messages.");
	if (s->search.modseq)
		c->s->enabled |= ENABLED_CONDSTORE;
	return cmd_go(c, search_step);
}

const uint8_t *
searching_scores(struct searching *s)
{
	size_t n = 0;

	for (size_t i = 0; s->scores && i < s->hits.n; i++)
		for (uint32_t seq = s->hits.ranges[i].lo; seq <= s->hits.ranges[i].hi; seq++)
			s->scores[n++] = s->scores[seq]; /* behind it: numbers begin with 1 */
	return s->scores;
}

uint64_t
searching_modseq(const struct searching *s, const struct uidset *told)
{
	uint64_t highest = 0;

	for (size_t i = 0; i < told->n; i++) {
		for (uint32_t seq = told->ranges[i].lo; seq <= told->ranges[i].hi; seq++) {
			const struct message *m = view_message(s->view, seq);

			if (m && m->modseq > highest)
				highest = m->modseq;
		}
	}
	return told->failed || highest > s->modseq ? s->modseq : highest; /* it may have changed since it was tested */
}

uint64_t
searching_hits_modseq(const struct searching *s)
{
	struct uidset told;
	uint64_t modseq;

	if (!s->modseq || !returns_some(&s->returns))
		return s->modseq;
	uidset_init(&told);
	returns_saved(&s->returns, &s->hits, &told);
	modseq = searching_modseq(s, &told);
	uidset_free(&told);
	return modseq;
}

/* RFC 5182 2.1: the result variable holds UIDs, so that it stands expunges. */
static bool
save(const struct searching *s, struct cmd *c)
{
	struct uidset seqs;
	bool ok;

	uidset_init(&seqs);
	returns_saved(&s->returns, &s->hits, &seqs);
	uidset_clear(&c->s->saved);
	ok = !seqs.failed && view_uids(s->view, &seqs, &c->s->saved);
	uidset_free(&seqs);
	if (!ok)
		uidset_clear(&c->s->saved);
	return ok;
}

static void
update(const struct searching *s, struct cmd *c, bool uid)
{
	if (context_add(c, s, uid))
		return;
	buf_put(cmd_out(c), SPAN("* NO [NOUPDATE ")); /* RFC 5267 4.3.1 */
	imap_put_string(cmd_out(c), c->tag);
	buf_put(cmd_out(c), SPAN("] No more searches can be kept up to date.\r\n"));
}

/* In this order: in the keys that are kept, "$" is what it was. */
bool
searching_keep(const struct searching *s, struct cmd *c, bool uid)
{
	bool kept = (s->returns.bits & RETURN_UPDATE) && s->view == cmd_view(c); /* RFC 7377 2.2 */

	if (kept)
		update(s, c, uid);
	if (!(s->returns.bits & RETURN_SAVE) || save(s, c))
		return true;
	if (kept)
		(void)context_cancel(c->s, c->tag);
	(void)cmd_no(c, "[NOTSAVED] Too many results to be saved.");
	return false;
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

static enum cmd_result
search_found(struct cmd *c)
{
	struct searching *s = c->state;
	struct uidset uids;
	const struct uidset *result = c->uid ? &uids : &s->hits;
	struct found found = { .set = result, .modseq = searching_hits_modseq(s), .scores = searching_scores(s) };

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
	return searching_keep(s, c, c->uid) ? cmd_completed(c) : CMD_DONE;
}

static void
search_release(struct cmd *c)
{
	searching_release(c->state, c);
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
	if (!returns_parse(&c->parse, RETURN_SAVE | RETURN_UPDATE | RETURN_CONTEXT, &s->returns))
		return cmd_syntax(c);
	if ((s->returns.bits & RETURN_UPDATE) && context_known(c->s, c->tag)) /* RFC 5267 4.3 */
		return cmd_bad(c, "This tag is in use by another search.");
	if (!s->returns.bits && (c->s->enabled & ENABLED_REV2)) /* RFC 9051 6.4.4 */
		s->returns.bits = RETURN_ALL | RETURN_EXTENDED;
	if (!search_charset(&s->search, &c->parse, false))
		return s->search.bad_charset ? cmd_no(c, "[BADCHARSET (US-ASCII UTF-8)] Unknown character set.") : cmd_syntax(c);
	return searching_start(s, c);
}

/* RFC 5267 4.3.5 */
enum cmd_result
cmd_cancelupdate(struct cmd *c)
{
	struct imap_parse *p = &c->parse;
	bool all = true;
	struct span tag;

	do {
		if (!imap_take_sp(p) || !imap_take_string(p, &tag))
			return cmd_syntax(c);
		all = context_cancel(c->s, tag) && all;
	} while (!imap_at_end(p));
	return all ? cmd_completed(c) : cmd_no(c, "There is no such search.");
}
