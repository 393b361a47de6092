/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/filter.h"

static const struct {
	struct span name;
	enum filter_kind kind;
	bool named; /* names follow */
} kinds[] = {
	{ SPAN_INIT("selected"), FILTER_SELECTED, false },
	{ SPAN_INIT("selected-delayed"), FILTER_DELAYED, false },
	{ SPAN_INIT("inboxes"), FILTER_INBOXES, false },
	{ SPAN_INIT("personal"), FILTER_PERSONAL, false },
	{ SPAN_INIT("subscribed"), FILTER_SUBSCRIBED, false },
	{ SPAN_INIT("subtree"), FILTER_SUBTREE, true },
	{ SPAN_INIT("subtree-one"), FILTER_SUBTREE_ONE, true },
	{ SPAN_INIT("mailboxes"), FILTER_MAILBOXES, true },
};

/* mailbox, or "(" mailbox *(SP mailbox) ")" */
static bool
take_names(struct imap *s, struct imap_parse *p, struct filter *f)
{
	bool list = imap_try(p, '(');

	f->names = arena_alloc(p->arena, BOUND_FILTER_NAMES * sizeof *f->names);
	if (!f->names)
		return imap_bad(p, "Command too large");
	do {
		struct span name;

		if (f->n == BOUND_FILTER_NAMES)
			return imap_bad(p, "Too many mailboxes");
		if (!imap_take_astring(p, &name))
			return false;
		f->names[f->n++] = arena_dup(p->arena, imap_mailbox_name(s, name));
	} while (list && imap_try(p, ' '));
	return !list || imap_take_char(p, ')');
}

struct filter *
filter_take(struct imap *s, struct imap_parse *p)
{
	struct filter *f = ARENA_NEW(p->arena, struct filter);
	struct span word;
	size_t i = 0;

	if (!f)
		(void)imap_bad(p, "Command too large");
	if (!f || !imap_take_atom(p, &word))
		return NULL;
	while (i < sizeof kinds / sizeof *kinds && !span_caseeq(kinds[i].name, word))
		i++;
	if (i == sizeof kinds / sizeof *kinds) {
		(void)imap_bad(p, "Unknown mailbox filter");
		return NULL;
	}
	f->kind = kinds[i].kind;
	return !kinds[i].named || (imap_take_sp(p) && take_names(s, p, f)) ? f : NULL;
}

/* How many levels below it; -1: it is not. */
static int
levels_below(struct span name, struct span top)
{
	int levels = 0;

	if (!span_starts(name, top) || (name.n > top.n && name.p[top.n] != '.'))
		return -1;
	for (size_t i = top.n; i < name.n; i++)
		levels += name.p[i] == '.';
	return levels;
}

static bool
named(const struct filter *f, struct span name)
{
	for (size_t i = 0; i < f->n; i++) {
		int levels = levels_below(name, f->names[i]);

		if (levels == 0 || (levels == 1 && f->kind == FILTER_SUBTREE_ONE) || (levels > 0 && f->kind == FILTER_SUBTREE))
			return true;
	}
	return false;
}

bool
filter_fits(const struct filter *f, const struct folder *folder)
{
	switch (f->kind) {
	case FILTER_SELECTED:
	case FILTER_DELAYED: return false;
	case FILTER_INBOXES: /* mail may be delivered into any of them (RFC 5465 6.3) */
	case FILTER_PERSONAL: return folder->selectable;
	case FILTER_SUBSCRIBED: return folder->subscribed;
	default: return named(f, folder->name);
	}
}
