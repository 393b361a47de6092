/* SPDX-License-Identifier: ISC
 *
 * cmd_list: LIST and LSUB (RFC 3501 6.3.8, 6.3.9), LIST's options (RFC 5258,
 * RFC 5819, RFC 9590), what children there are (RFC 3348), what special folders are for (RFC 6154 2).
 */
#include <string.h>

#include "daemons/mailboxd/abroad.h"
#include "daemons/mailboxd/annotation.h"
#include "daemons/mailboxd/guest.h"
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
	LIST_MYRIGHTS = 128, /* RFC 8440 */
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
	{ SPAN_INIT("MYRIGHTS"), LIST_MYRIGHTS, false, true },
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
	bool abroad; /* other users' mailboxes, too */
	struct specialuse uses;
	struct buf last; /* the name or parent that was named last */
	struct span entries[BOUND_METADATA];
	size_t nentries;
	struct wanted *wanted, **end;
	struct wanted *visible, **last_visible; /* a guest's */
};

/* By the name that it has for this session. */
static bool
matches_in(const struct listing *l, struct span name, char delimiter)
{
	struct buf outward;
	bool yes = false;

	buf_init(&outward, BOUND_MAILBOX_NAME * 4);
	imap_outward_name(l->c->s, &outward, name);
	for (size_t i = 0; i < l->npatterns && !yes; i++)
		yes = pattern_match_in(l->pattern[i], buf_span(&outward), delimiter);
	buf_free(&outward);
	return yes;
}

static bool
matches(const struct listing *l, struct span name)
{
	return matches_in(l, name, imap_delimiter(l->c->s));
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
	struct span use = l->c->s->guest ? SPAN_NONE : specialuse_of(&l->uses, f->name);
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
	buf_printf(out, ") \"%c\" ", imap_delimiter(l->c->s));
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

	if (!(l->returns & (LIST_STATUS | LIST_METADATA | LIST_MYRIGHTS)) || !f->selectable || !(w = ARENA_NEW(l->c->arena, struct wanted)))
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

/* ---- other users' mailboxes that are subscribed ---- */

static void
each_abroad(void *arg, struct span folder, struct span entry, struct span value)
{
	struct listing *l = arg;
	struct buf *out = cmd_out(l->c);

	(void)value;
	if (!span_eq(entry, SPAN(METADATA_SUBSCRIBED)) || !abroad_name(l->c->s, folder))
		return;
	if (matches_in(l, folder, '/')) {
		buf_put(out, l->lsub ? SPAN("* LSUB () \"/\" ") : SPAN("* LIST (\\Subscribed) \"/\" "));
		imap_put_mailbox(l->c->s, out, folder);
		buf_put(out, SPAN("\r\n"));
	} else if (matches_in(l, SPAN(OTHERS), '/') && !span_eq(buf_span(&l->last), SPAN(OTHERS)) && (l->lsub || (l->select & LIST_RECURSIVE))) {
		buf_put(out, l->lsub ? SPAN("* LSUB (\\Noselect) \"/\" \"" OTHERS "\"\r\n") : SPAN("* LIST (\\Noselect) \"/\" \"" OTHERS "\" (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n"));
		buf_reset(&l->last);
		buf_put(&l->last, SPAN(OTHERS));
	}
}

/* ---- what a guest sees: what it may look up, and what is above that ---- */

static void
each_visible(void *arg, const struct folder *f)
{
	struct listing *l = arg;
	struct wanted *w;

	if (!f->selectable || !(imap_rights(l->c->s, f->name) & ACL_LOOKUP) || !(w = ARENA_NEW(l->c->arena, struct wanted)))
		return;
	w->name = arena_dup(l->c->arena, f->name);
	*l->last_visible = w;
	l->last_visible = &w->next;
}

static bool
is_below(struct span name, struct span above)
{
	return span_starts(name, above) && name.n > above.n && name.p[above.n] == '.';
}

/* RFC 4314 4: a mailbox above it that may not be looked up is shown as if there were none. */
static void
put_invisible_parents(struct listing *l, struct span name)
{
	for (size_t i = 0; i < name.n; i++) {
		struct folder parent = { .name = span_sub(name, 0, i), .children = true };
		struct span last = buf_span(&l->last);

		if (name.p[i] != '.' || (imap_rights(l->c->s, parent.name) & ACL_LOOKUP) || !matches(l, parent.name))
			continue;
		if (!span_eq(last, parent.name) && !is_below(last, parent.name))
			put_line(l, &parent, false);
	}
}

static void
list_visible(struct listing *l)
{
	if (l->visible && matches(l, SPAN_NONE))
		put_line(l, &(struct folder){ .name = SPAN(""), .children = true }, false);
	for (const struct wanted *w = l->visible; w; w = w->next) {
		struct folder f = { .name = w->name, .selectable = true };

		for (const struct wanted *next = w->next; next && !f.children && span_starts(next->name, w->name); next = next->next)
			f.children = is_below(next->name, w->name);
		put_invisible_parents(l, w->name);
		if (!matches(l, w->name))
			continue;
		put_line(l, &f, false);
		want_more(l, &f);
	}
}

/* Subscriptions, uses and annotations are the owner's own. */
static bool
list_for_guest(struct listing *l, struct fail *why)
{
	bool ok;

	l->last_visible = &l->visible;
	l->returns &= (unsigned)~LIST_METADATA;
	l->nentries = 0;
	if (l->lsub || (l->select & (LIST_SUBSCRIBED | LIST_SPECIAL)))
		return true;
	ok = store_list(cmd_home(l->c), each_visible, l, why);
	if (ok)
		list_visible(l);
	return ok;
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
		if (l->returns & LIST_MYRIGHTS)
			acl_put_mine(c->s, l->wanted->name, imap_rights(c->s, l->wanted->name));
		if ((l->returns & LIST_STATUS) && (imap_rights(c->s, l->wanted->name) & ACL_READ) && store_status(cmd_home(c), l->wanted->name, &st, NULL))
			status_put(c->s, l->wanted->name, l->items, &st);
	}
	return l->abroad ? abroad_list(c, l->pattern, l->npatterns) : cmd_completed(c);
}

static bool
list_all(struct listing *l, struct fail *why)
{
	bool subscribed = l->lsub || (l->select & LIST_SUBSCRIBED);
	struct store *store = cmd_home(l->c);

	if (l->c->s->guest)
		return list_for_guest(l, why);
	specialuse_load(&l->uses, store, l->c->arena);
	l->abroad = !subscribed && !(l->select & LIST_SPECIAL);
	return store_list(store, subscribed ? each_subscribed : each_folder, l, why) &&
	       (!subscribed || metadata_each(store, SPAN_NONE, true, each_abroad, l, why));
}

enum cmd_result
cmd_list(struct cmd *c)
{
	struct listing *l = ARENA_NEW(c->arena, struct listing);
	struct fail why;
	bool ok;

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
	buf_init(&l->last, STORE_NAME_MAX);
	ok = list_all(l, &why);
	buf_free(&l->last);
	return ok ? cmd_go(c, status_step) : cmd_failed(c, &why);
}
