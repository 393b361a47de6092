/* SPDX-License-Identifier: ISC
 *
 * cmd_notify: NOTIFY (RFC 5465 3).
 */
#include "daemons/mailboxd/notify.h"

static const struct {
	struct span name;
	unsigned event;
} events[] = {
	{ SPAN_INIT("MessageNew"), NOTIFY_NEW },
	{ SPAN_INIT("MessageExpunge"), NOTIFY_EXPUNGE },
	{ SPAN_INIT("FlagChange"), NOTIFY_FLAGS },
	{ SPAN_INIT("MailboxName"), NOTIFY_NAME },
	{ SPAN_INIT("SubscriptionChange"), NOTIFY_SUBSCRIPTION },
	{ SPAN_INIT("MailboxMetadataChange"), NOTIFY_METADATA },
	{ SPAN_INIT("ServerMetadataChange"), NOTIFY_SERVER_METADATA },
};

struct notifying {
	struct cmd *c;
	struct notify *notify; /* owned until it is the session's */
	struct imap_parse p;   /* in its arena */
	bool status, selected, unknown;
};

/* event [SP "(" items ")"] */
static bool
take_event(struct notifying *x, const struct filter *f, unsigned *bits)
{
	bool selected = f->kind == FILTER_SELECTED || f->kind == FILTER_DELAYED;
	struct imap_parse *p = &x->p;
	struct span word;
	size_t i = 0;

	if (!imap_take_atom(p, &word))
		return false;
	while (i < sizeof events / sizeof *events && !span_caseeq(events[i].name, word))
		i++;
	if (i == sizeof events / sizeof *events) { /* RFC 5465 3.1: NO, when all of it is well formed */
		x->unknown = true;
		return true;
	}
	*bits |= events[i].event;
	if (selected && !(events[i].event & NOTIFY_MESSAGES))
		return imap_bad(p, "Only message events of the selected mailbox");
	if (events[i].event != NOTIFY_NEW || !span_starts(cursor_rest(&p->c), SPAN(" (")))
		return true;
	if (!selected)
		return imap_bad(p, "Items are for the selected mailbox");
	(void)imap_take_sp(p);
	x->notify->items = fetch_parse(p);
	return x->notify->items != NULL;
}

/* "NONE", or "(" event *(SP event) ")"; RFC 5465 5: which go together */
static bool
take_events(struct notifying *x, const struct filter *f, unsigned *bits)
{
	struct imap_parse *p = &x->p;

	if (cursor_word(&p->c, SPAN("NONE")))
		return true;
	if (!imap_take_char(p, '('))
		return false;
	do {
		if (!take_event(x, f, bits))
			return false;
	} while (imap_try(p, ' '));
	if (!imap_take_char(p, ')'))
		return false;
	if (!(*bits & NOTIFY_NEW) != !(*bits & NOTIFY_EXPUNGE) || ((*bits & NOTIFY_FLAGS) && !(*bits & NOTIFY_NEW)))
		return imap_bad(p, "MessageNew and MessageExpunge go together, and with FlagChange");
	return true;
}

/* "(" filter SP events ")" */
static bool
take_group(struct notifying *x)
{
	struct imap_parse *p = &x->p;
	struct notify_group *g = ARENA_NEW(p->arena, struct notify_group);

	if (!g)
		return imap_bad(p, "Command too large");
	if (!imap_take_char(p, '(') || !(g->filter = filter_take(x->c->s, p)))
		return false;
	if (g->filter->kind == FILTER_SUBTREE_ONE)
		return imap_bad(p, "Unknown mailbox filter");
	if (!imap_take_sp(p) || !take_events(x, g->filter, &g->events) || !imap_take_char(p, ')'))
		return false;
	if (g->filter->kind != FILTER_SELECTED && g->filter->kind != FILTER_DELAYED) {
		g->next = x->notify->groups;
		x->notify->groups = g;
		return true;
	}
	if (x->selected)
		return imap_bad(p, "The selected mailbox may stand once");
	x->selected = true;
	x->notify->selected = g->events;
	x->notify->delayed = g->filter->kind == FILTER_DELAYED;
	return true;
}

/* "NONE", or "SET" [SP "STATUS"] SP group *(SP group) */
static bool
take_all(struct notifying *x)
{
	struct imap_parse *p = &x->p;
	struct span word;
	unsigned n = 0;

	if (!imap_take_atom(p, &word))
		return false;
	if (span_caseeq(word, SPAN("NONE")))
		return imap_take_end(p);
	if (!span_caseeq(word, SPAN("SET")))
		return imap_bad(p, "Expected SET or NONE");
	x->status = cursor_word(&p->c, SPAN(" STATUS"));
	do {
		if (++n > BOUND_FILTERS)
			return imap_bad(p, "Too many filters");
		if (!imap_take_sp(p) || !take_group(x))
			return false;
	} while (!imap_at_end(p));
	return imap_take_end(p);
}

static void
notifying_release(struct cmd *c)
{
	struct notifying *x = c->state;

	notify_free(&x->notify);
}

static enum cmd_result
unknown_event(struct cmd *c)
{
	struct buf b;

	buf_init(&b, 1000);
	buf_put(&b, SPAN("[BADEVENT ("));
	for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
		buf_put(&b, i ? SPAN(" ") : SPAN(""));
		buf_put(&b, events[i].name);
	}
	buf_put(&b, SPAN(")] "));
	c->code = arena_dup(c->arena, buf_span(&b));
	buf_free(&b);
	return cmd_no(c, "An event that is not known here.");
}

static enum cmd_result
open_step(struct cmd *c)
{
	struct notifying *x = c->state;
	struct fail why;
	bool more;

	if (!notify_open(c->s, x->notify, &more, &why))
		return cmd_no(c, "[NOTIFICATIONOVERFLOW] %s.", why.text);
	if (more)
		return cmd_later(c, open_step);
	notify_start(c->s, x->notify, x->status);
	x->notify = NULL;
	return cmd_completed(c);
}

enum cmd_result
cmd_notify(struct cmd *c)
{
	struct notifying *x = ARENA_NEW(c->arena, struct notifying);

	if (!x || !(x->notify = notify_new()))
		return cmd_no(c, "[LIMIT] Command too large.");
	x->c = c;
	c->state = x;
	c->release = notifying_release;
	/* What is asked for outlives the command's text. */
	x->p = imap_parse_of(arena_dup(&x->notify->arena, cursor_rest(&c->parse.c)), &x->notify->arena);
	if (!take_all(x)) {
		c->parse.bad = x->p.bad;
		return cmd_syntax(c);
	}
	if (x->unknown)
		return unknown_event(c);
	return cmd_go(c, open_step);
}
