/* SPDX-License-Identifier: ISC
 *
 * cmd_esearch: ESEARCH over several mailboxes (RFC 7377), one after another,
 * none of them selected for it.
 */
#include "daemons/mailboxd/context.h"
#include "daemons/mailboxd/filter.h"

struct source {
	struct source *next;
	struct span name;
};

struct multisearch {
	struct searching searching; /* first: search_step() takes it for the state */
	struct cmd *c;
	struct filter *filters;
	struct source *sources, **end; /* still to be searched, but the selected one */
	size_t n;
	struct view view; /* of the one at work */
	bool selected, others, open;
	struct imap_parse program; /* parsed anew for each: keywords and numbers are a mailbox's own */
	struct arena arena;        /* of the program in the mailbox at work */
};

static void
esearch_release(struct cmd *c)
{
	struct multisearch *m = c->state;

	searching_release(&m->searching, c);
	if (m->open)
		view_close(&m->view);
	arena_free(&m->arena);
}

static bool
is_selected(const struct cmd *c, struct span name)
{
	return c->s->state == STATE_SELECTED && span_eq(mailbox_name(c->s->view.mailbox), name);
}

static void
each_folder(void *arg, const struct folder *folder)
{
	struct multisearch *m = arg;
	bool fits = false;
	struct source *source;

	for (const struct filter *f = m->filters; f; f = f->next)
		fits = fits || filter_fits(f, folder);
	if (!fits || !folder->selectable)
		return;
	if (is_selected(m->c, folder->name)) { /* with the messages that this session knows */
		m->selected = true;
		return;
	}
	source = ARENA_NEW(m->c->arena, struct source);
	if (!source)
		return;
	source->name = arena_dup(m->c->arena, folder->name);
	*m->end = source;
	m->end = &source->next;
	m->n++;
}

/* ["IN (" filter *(SP filter) ") "] */
static bool
take_sources(struct cmd *c, struct multisearch *m)
{
	struct imap_parse *p = &c->parse;
	struct filter **end = &m->filters;
	unsigned n = 0;

	m->selected = !cursor_word(&p->c, SPAN("IN "));
	if (m->selected)
		return true;
	if (!imap_take_char(p, '('))
		return false;
	do {
		if (!(*end = filter_take(c->s, p)))
			return false;
		if ((*end)->kind == FILTER_DELAYED)
			return imap_bad(p, "SELECTED-DELAYED is not for searches");
		if (++n > BOUND_FILTERS)
			return imap_bad(p, "Too many filters");
		m->selected = m->selected || (*end)->kind == FILTER_SELECTED;
		m->others = m->others || (*end)->kind != FILTER_SELECTED;
		end = &(*end)->next;
	} while (imap_try(p, ' '));
	return imap_take_char(p, ')') && imap_take_sp(p);
}

static enum cmd_result next_source(struct cmd *c);

static enum cmd_result
source_found(struct cmd *c)
{
	struct multisearch *m = c->state;
	struct searching *s = &m->searching;
	struct found found = { .modseq = searching_hits_modseq(s), .scores = searching_scores(s) };
	struct uidset uids;
	struct buf where;

	uidset_init(&uids);
	if (!view_uids(s->view, &s->hits, &uids)) {
		uidset_free(&uids);
		return cmd_no(c, "[LIMIT] Too many results.");
	}
	found.set = &uids;
	found.n = uidset_count(&uids);
	buf_init(&where, BOUND_MAILBOX_NAME * 8);
	buf_put(&where, SPAN(" MAILBOX "));
	imap_put_mailbox(c->s, &where, mailbox_name(s->view->mailbox));
	buf_printf(&where, " UIDVALIDITY %u", (unsigned)mailbox_uidvalidity(s->view->mailbox));
	found.where = buf_span(&where);
	if (found.n && (s->returns.bits & RETURN_EXTENDED)) /* RFC 7377 2.1: none where nothing matches */
		returns_put(cmd_out(c), c->tag, true, &s->returns, &found);
	buf_free(&where);
	uidset_free(&uids);
	return searching_keep(s, c, true) ? cmd_later(c, next_source) : CMD_DONE;
}

static enum cmd_result
search_in(struct cmd *c, struct view *v)
{
	struct multisearch *m = c->state;

	searching_again(&m->searching, v);
	arena_reset(&m->arena);
	c->parse = m->program;
	return searching_start(&m->searching, c);
}

static enum cmd_result
next_source(struct cmd *c)
{
	struct multisearch *m = c->state;

	if (m->open)
		view_close(&m->view);
	m->open = false;
	if (m->selected) {
		m->selected = false;
		return search_in(c, cmd_view(c));
	}
	while (m->sources) {
		struct span name = m->sources->name;

		m->sources = m->sources->next;
		m->view = (struct view){ .owner = NULL };
		m->open = view_open(&m->view, cmd_home(c), name, true, NULL); /* else it went meanwhile */
		if (m->open)
			return search_in(c, &m->view);
	}
	return cmd_completed(c);
}

static enum cmd_result
begin(struct cmd *c, struct multisearch *m)
{
	struct search *s = &m->searching.search;
	unsigned bits = m->searching.returns.bits;
	struct fail why;

	if (m->selected && c->s->state != STATE_SELECTED)
		return cmd_bad(c, "No mailbox is selected.");
	if ((bits & RETURN_UPDATE) && (c->s->state != STATE_SELECTED || context_known(c->s, c->tag)))
		return cmd_bad(c, "UPDATE needs a selected mailbox and a tag of its own.");
	if ((bits & RETURN_SAVE) && m->others)
		return cmd_bad(c, "SAVE is for the selected mailbox alone.");
	if (!search_charset(s, &c->parse, false))
		return s->bad_charset ? cmd_no(c, "[BADCHARSET (US-ASCII UTF-8)] Unknown character set.") : cmd_syntax(c);
	c->parse.arena = &m->arena;
	m->program = c->parse;
	if (!search_parse(s, &c->parse, NULL, &c->s->saved)) /* an error is one also where no mailbox is found */
		return cmd_syntax(c);
	if (m->others && !store_list(cmd_home(c), each_folder, m, &why))
		return cmd_failed(c, &why);
	return cmd_go(c, next_source);
}

enum cmd_result
cmd_esearch(struct cmd *c)
{
	struct multisearch *m = ARENA_NEW(c->arena, struct multisearch);
	struct returns *returns;

	if (!m)
		return cmd_no(c, "[LIMIT] Command too large.");
	m->c = c;
	m->end = &m->sources;
	arena_init(&m->arena, BOUND_ARENA);
	searching_init(&m->searching, c);
	m->searching.found = source_found;
	returns = &m->searching.returns;
	c->state = m;
	c->release = esearch_release;
	if (!take_sources(c, m) || !returns_parse(&c->parse, RETURN_SAVE | RETURN_UPDATE | RETURN_CONTEXT, returns))
		return cmd_syntax(c);
	if (!returns->bits)
		returns->bits = RETURN_ALL | RETURN_EXTENDED;
	return begin(c, m);
}
