/* SPDX-License-Identifier: ISC
 *
 * cmd_list: LIST and LSUB (RFC 3501 6.3.8, 6.3.9), with what children there are
 * (RFC 3348) and what special folders are for (RFC 6154 2).
 */
#include <string.h>

#include "daemons/mailboxd/imap.h"
#include "daemons/mailboxd/pattern.h"

static const struct {
	struct span name, use;
} special[] = {
	{ SPAN_INIT("Drafts"), SPAN_INIT("\\Drafts") },
	{ SPAN_INIT("Sent"), SPAN_INIT("\\Sent") },
	{ SPAN_INIT("Junk"), SPAN_INIT("\\Junk") },
	{ SPAN_INIT("Trash"), SPAN_INIT("\\Trash") },
	{ SPAN_INIT("Archive"), SPAN_INIT("\\Archive") },
};

struct listing {
	struct cmd *c;
	struct span pattern;
	bool lsub;
	struct buf last; /* the parent that was named last */
};

static void
put_line(struct listing *l, const char *attributes, struct span name)
{
	struct buf *out = cmd_out(l->c);

	buf_put(out, l->lsub ? SPAN("* LSUB (") : SPAN("* LIST ("));
	buf_puts(out, attributes);
	for (size_t i = 0; !l->lsub && i < sizeof special / sizeof *special; i++) {
		if (!span_eq(special[i].name, name))
			continue;
		buf_putc(out, ' ');
		buf_put(out, special[i].use);
	}
	buf_put(out, SPAN(") \".\" "));
	imap_put_astring(out, name);
	buf_put(out, SPAN("\r\n"));
}

static void
each_list(void *arg, const struct folder *f)
{
	struct listing *l = arg;

	if ((!f->selectable && !f->children) || !pattern_match(l->pattern, f->name))
		return;
	if (f->selectable)
		put_line(l, f->children ? "\\HasChildren" : "\\HasNoChildren", f->name);
	else
		put_line(l, "\\Noselect \\HasChildren", f->name);
}

/* RFC 3501 6.3.9: with "%", a parent that is not subscribed itself stands for
 * its subscribed inferiors. */
static void
put_parents(struct listing *l, struct span name)
{
	for (size_t i = 0; i < name.n; i++) {
		struct span parent = span_sub(name, 0, i);
		struct span last = buf_span(&l->last);

		if (name.p[i] != '.' || !pattern_match(l->pattern, parent))
			continue;
		if (span_eq(last, parent) || (span_starts(last, parent) && last.n > i && last.p[i] == '.'))
			continue;
		put_line(l, "\\Noselect", parent);
		buf_reset(&l->last);
		buf_put(&l->last, parent);
	}
}

static void
each_lsub(void *arg, const struct folder *f)
{
	struct listing *l = arg;

	if (!f->subscribed)
		return;
	if (pattern_match(l->pattern, f->name)) {
		put_line(l, f->selectable ? "" : "\\Noselect", f->name);
		buf_reset(&l->last);
		buf_put(&l->last, f->name);
	} else if (l->pattern.n && l->pattern.p[l->pattern.n - 1] == '%') {
		put_parents(l, f->name);
	}
}

enum cmd_result
cmd_list(struct cmd *c)
{
	struct listing l = { .c = c, .lsub = span_caseeq(c->def->name, SPAN("LSUB")) };
	struct span reference, pattern;
	struct fail why;
	bool ok;

	if (!imap_take_astring(&c->parse, &reference) || !imap_take_sp(&c->parse) ||
	    !imap_take_list_mailbox(&c->parse, &pattern) || !imap_take_end(&c->parse))
		return cmd_syntax(c);
	if (!pattern.n && !l.lsub) { /* RFC 3501 6.3.8: the delimiter is asked for */
		buf_put(cmd_out(c), SPAN("* LIST (\\Noselect) \".\" \"\"\r\n"));
		return cmd_completed(c);
	}
	l.pattern = reference.n ? arena_printf(c->arena, "%.*s%.*s", SPAN_ARG(reference), SPAN_ARG(pattern)) : pattern;
	buf_init(&l.last, STORE_NAME_MAX);
	ok = store_list(cmd_home(c), l.lsub ? each_lsub : each_list, &l, &why);
	buf_free(&l.last);
	return ok ? cmd_completed(c) : cmd_failed(c, &why);
}
