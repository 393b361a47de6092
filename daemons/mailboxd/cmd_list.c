/* SPDX-License-Identifier: ISC
 *
 * cmd_list: LIST and LSUB (RFC 3501 6.3.8, 6.3.9), LIST's options (RFC 5258,
 * RFC 5819, RFC 9590), what children there are (RFC 3348), what special folders are for (RFC 6154 2).
 */
#include <string.h>

#include "daemons/mailboxd/annotation.h"
#include "daemons/mailboxd/pattern.h"
#include "daemons/mailboxd/specialuse.h"
#include "daemons/mailboxd/status.h"

enum { LIST_PATTERNS = 20 };

enum { /* options of selection and of return */
	LIST_SUBSCRIBED = 1,
	LIST_REMOTE = 2,
	LIST_RECURSIVE = 4,
	LIST_SPECIAL = 8,
	LIST_CHILDREN = 16,
	LIST_STATUS = 32,
	LIST_METADATA = 64,
};

static const struct {
	struct span name;
	unsigned bit;
	bool select, returns; /* where it may stand */
} options[] = {
	{ SPAN_INIT("SUBSCRIBED"), LIST_SUBSCRIBED, true, true },
	{ SPAN_INIT("REMOTE"), LIST_REMOTE, true, false },
	{ SPAN_INIT("RECURSIVEMATCH"), LIST_RECURSIVE, true, false },
	{ SPAN_INIT("SPECIAL-USE"), LIST_SPECIAL, true, true },
	{ SPAN_INIT("CHILDREN"), LIST_CHILDREN, false, true },
	{ SPAN_INIT("STATUS"), LIST_STATUS, false, true },
	{ SPAN_INIT("METADATA"), LIST_METADATA, false, true },
};

/* A folder whose STATUS or METADATA is still to be told. */
struct wanted {
	struct wanted *next;
	struct span name;
};

struct listing {
	struct cmd *c;
	struct span pattern[LIST_PATTERNS];
	size_t npatterns;
	unsigned select, returns, items;
	bool lsub, extended;
	struct specialuse uses;
	struct buf last; /* the name or parent that was named last */
	struct span entries[BOUND_METADATA];
	size_t nentries;
	struct wanted *wanted, **end;
};

static bool
matches(const struct listing *l, struct span name)
{
	for (size_t i = 0; i < l->npatterns; i++)
		if (pattern_match(l->pattern[i], name))
			return true;
	return false;
}

static void
put_attribute(struct buf *out, bool *any, struct span attribute)
{
	if (*any)
		buf_putc(out, ' ');
	*any = true;
	buf_put(out, attribute);
}

static void
put_line(struct listing *l, const struct folder *f, bool childinfo)
{
	struct buf *out = cmd_out(l->c);
	struct span use = specialuse_of(&l->uses, f->name);
	bool any = false;

	buf_put(out, l->lsub ? SPAN("* LSUB (") : SPAN("* LIST ("));
	if (!f->selectable)
		put_attribute(out, &any, l->extended && !f->children ? SPAN("\\NonExistent") : SPAN("\\Noselect"));
	if (!l->lsub && (f->selectable || f->children))
		put_attribute(out, &any, f->children ? SPAN("\\HasChildren") : SPAN("\\HasNoChildren"));
	if (f->subscribed && ((l->select | l->returns) & LIST_SUBSCRIBED)) /* RFC 5258 3.4 */
		put_attribute(out, &any, SPAN("\\Subscribed"));
	if (use.n && !l->lsub)
		put_attribute(out, &any, use);
	buf_put(out, SPAN(") \".\" "));
	imap_put_mailbox(l->c->s, out, f->name);
	buf_put(out, childinfo ? SPAN(" (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n") : SPAN("\r\n"));
	buf_reset(&l->last);
	buf_put(&l->last, f->name);
}

static void
want_more(struct listing *l, const struct folder *f)
{
	struct span name = f->name;
	struct wanted *w;

	if (!(l->returns & (LIST_STATUS | LIST_METADATA)) || !f->selectable || !(w = ARENA_NEW(l->c->arena, struct wanted)))
		return;
	w->name = arena_dup(l->c->arena, name);
	*l->end = w;
	l->end = &w->next;
}

/* Names above a subscribed one that match where it does not itself: LSUB with
 * "%" (RFC 3501 6.3.9), RECURSIVEMATCH (RFC 5258 3.5). */
static void
put_parents(struct listing *l, struct span name)
{
	for (size_t i = 0; i < name.n; i++) {
		struct folder parent = { .name = span_sub(name, 0, i), .children = true };
		struct span last = buf_span(&l->last);

		if (name.p[i] != '.' || !matches(l, parent.name))
			continue;
		if (span_eq(last, parent.name) || (span_starts(last, parent.name) && last.n > i && last.p[i] == '.'))
			continue;
		parent.selectable = !l->lsub && store_exists(cmd_home(l->c), parent.name);
		put_line(l, &parent, !l->lsub);
	}
}

static void
each_subscribed(void *arg, const struct folder *f)
{
	struct listing *l = arg;

	if (!f->subscribed)
		return;
	if (matches(l, f->name)) {
		put_line(l, f, false);
		want_more(l, f);
	} else if (l->lsub ? l->pattern[0].n && l->pattern[0].p[l->pattern[0].n - 1] == '%' : (l->select & LIST_RECURSIVE) != 0) {
		put_parents(l, f->name);
	}
}

static void
each_folder(void *arg, const struct folder *f)
{
	struct listing *l = arg;

	if ((!f->selectable && !f->children) || !matches(l, f->name))
		return;
	if ((l->select & LIST_SPECIAL) && !specialuse_of(&l->uses, f->name).n)
		return;
	put_line(l, f, false);
	want_more(l, f);
}

/* ---- syntax ---- */

/* SP "(" entry *(SP entry) ")" (RFC 9590 5) */
static bool
take_entries(struct listing *l)
{
	struct imap_parse *p = &l->c->parse;

	if (!imap_take_sp(p) || !imap_take_char(p, '('))
		return false;
	do {
		if (l->nentries == BOUND_METADATA)
			return imap_bad(p, "Too many entries");
		if (!annotation_take(p, &l->entries[l->nentries++]))
			return false;
	} while (imap_try(p, ' '));
	return imap_take_char(p, ')');
}

/* "(" [option *(SP option)] ")" */
static bool
take_options(struct listing *l, bool select, unsigned *bits)
{
	struct imap_parse *p = &l->c->parse;
	struct span word;

	l->extended = true;
	for (bool first = true; !imap_try(p, ')'); first = false) {
		size_t i = 0;

		if ((!first && !imap_take_sp(p)) || !imap_take_atom(p, &word))
			return false;
		while (i < sizeof options / sizeof *options &&
		       !(span_caseeq(options[i].name, word) && (select ? options[i].select : options[i].returns)))
			i++;
		if (i == sizeof options / sizeof *options)
			return imap_bad(p, "Unknown LIST option");
		*bits |= options[i].bit;
		if (options[i].bit == LIST_METADATA && !take_entries(l))
			return false;
		if (options[i].bit == LIST_STATUS && (!imap_take_sp(p) || !status_parse(p, &l->items)))
			return false;
	}
	return true;
}

static bool
take_pattern(struct listing *l, struct span reference)
{
	struct imap_parse *p = &l->c->parse;
	struct span *to = &l->pattern[l->npatterns];

	if (l->npatterns == LIST_PATTERNS)
		return imap_bad(p, "Too many patterns");
	if (!imap_take_list_mailbox(p, to))
		return false;
	*to = imap_mailbox_name(l->c->s, *to);
	if (reference.n)
		*to = arena_printf(l->c->arena, "%.*s%.*s", SPAN_ARG(reference), SPAN_ARG(*to));
	l->npatterns++;
	return true;
}

static bool
take_arguments(struct listing *l)
{
	struct imap_parse *p = &l->c->parse;
	struct span reference;

	if (!l->lsub && imap_try(p, '(') && (!take_options(l, true, &l->select) || !imap_take_sp(p)))
		return false;
	if (!imap_take_astring(p, &reference) || !imap_take_sp(p))
		return false;
	reference = imap_mailbox_name(l->c->s, reference);
	if (!l->lsub && imap_try(p, '(')) {
		l->extended = true;
		do {
			if (!take_pattern(l, reference))
				return false;
		} while (imap_try(p, ' '));
		if (!imap_take_char(p, ')'))
			return false;
	} else if (!take_pattern(l, reference)) {
		return false;
	}
	if (!l->lsub && cursor_word(&p->c, SPAN(" RETURN (")) && !take_options(l, false, &l->returns))
		return false;
	if ((l->select & LIST_RECURSIVE) && !(l->select & LIST_SUBSCRIBED)) /* RFC 5258 3.1 */
		return imap_bad(p, "RECURSIVEMATCH needs SUBSCRIBED");
	return imap_take_end(p);
}

/* ---- the command ---- */

static enum cmd_result
status_step(struct cmd *c)
{
	struct listing *l = c->state;
	struct mailbox_status st;

	for (unsigned n = 0; l->wanted; l->wanted = l->wanted->next, n++) {
		if (!cmd_room(c) || n == 20)
			return CMD_MORE;
		if (l->nentries)
			annotation_put(c->s, l->wanted->name, l->entries, l->nentries);
		if ((l->returns & LIST_STATUS) && store_status(cmd_home(c), l->wanted->name, &st, NULL))
			status_put(c->s, l->wanted->name, l->items, &st);
	}
	return cmd_completed(c);
}

enum cmd_result
cmd_list(struct cmd *c)
{
	struct listing *l = ARENA_NEW(c->arena, struct listing);
	struct fail why;
	bool ok, subscribed;

	if (!l)
		return cmd_no(c, "[LIMIT] Command too large.");
	l->c = c;
	l->lsub = span_caseeq(c->def->name, SPAN("LSUB"));
	l->end = &l->wanted;
	c->state = l;
	if (!take_arguments(l))
		return cmd_syntax(c);
	if (!l->lsub && !l->extended && !l->pattern[0].n) { /* RFC 3501 6.3.8: the delimiter is asked for */
		buf_put(cmd_out(c), SPAN("* LIST (\\Noselect) \".\" \"\"\r\n"));
		return cmd_completed(c);
	}
	subscribed = l->lsub || (l->select & LIST_SUBSCRIBED);
	buf_init(&l->last, STORE_NAME_MAX);
	specialuse_load(&l->uses, cmd_home(c), c->arena);
	ok = store_list(cmd_home(c), subscribed ? each_subscribed : each_folder, l, &why);
	buf_free(&l->last);
	return ok ? cmd_go(c, status_step) : cmd_failed(c, &why);
}
