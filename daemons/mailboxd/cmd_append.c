/* SPDX-License-Identifier: ISC
 *
 * cmd_append: APPEND of one or more messages (RFC 3501 6.3.11, RFC 3502), REPLACE
 * (RFC 8508).
 *
 * Messages stream from the receive buffer into the store; nothing is
 * acknowledged before all of them are durable (law 1).
 */
#include <string.h>

#include "daemons/mailboxd/flags.h"
#include "daemons/mailboxd/imap.h"
#include "mail/date.h"

struct appending {
	struct mailbox_op op;
	struct cmd *c;
	struct append *all[BOUND_APPENDS];
	size_t n;
	uint64_t left;      /* octets of the present literal still to come */
	bool utf8;          /* it stands in "UTF8 (...)" */
	uint32_t replaced;  /* REPLACE: the UID that goes */
	struct span folder;
	bool done;
};

/* The command ends here; what the client has already announced is thrown away. */
static enum cmd_result
give_up(struct cmd *c, uint64_t left)
{
	struct imap *s = c->s;

	if (left > BOUND_SKIP)
		imap_bye(s, "Literal too large.");
	s->skip = left;
	s->refusing = true;
	return CMD_DONE;
}

/* A literal that is offered, not yet sent for if it is synchronizing. */
static enum cmd_result
turn_down(struct cmd *c)
{
	return c->literal.sync ? CMD_DONE : give_up(c, c->literal.size);
}

static bool
take_options(struct imap_parse *p, struct flag_list *list, int64_t *date)
{
	struct span text;
	struct date d;

	*list = (struct flag_list){ .flags = 0 };
	*date = 0;
	if (cursor_peek(&p->c) == '(' && (!flags_parse(p, false, list) || !imap_take_sp(p)))
		return false;
	if (cursor_peek(&p->c) == '"') {
		if (!imap_take_string(p, &text) || !imap_take_sp(p))
			return false;
		if (!date_parse_imap(&d, text))
			return imap_bad(p, "Invalid date-time");
		*date = d.time;
	}
	return true;
}

/* [flags SP] [date SP] ["UTF8 ("], then the literal */
static bool
take_front(struct cmd *c, struct imap_parse *p, struct flag_list *list, int64_t *date)
{
	struct appending *x = c->state;

	if (!take_options(p, list, date))
		return false;
	x->utf8 = cursor_word(&p->c, SPAN("UTF8 ("));
	if (x->utf8 && !((c->s->enabled & ENABLED_UTF8) && c->literal.binary)) /* RFC 6855 4 */
		return imap_bad(p, "UTF8 is not enabled, or not of a literal8");
	return imap_at_end(p) || imap_bad(p, "Expected a message literal");
}

static enum cmd_result data_step(struct cmd *c);

/* The literal that c->literal describes becomes a message with these options. */
static enum cmd_result
begin_message(struct cmd *c, struct imap_parse *p)
{
	struct appending *x = c->state;
	struct flag_list list;
	struct append_to to = { .folder = x->folder };
	uint64_t limit = user_message_limit(c->s->user);
	struct fail why;

	if (!take_front(c, p, &list, &to.date)) {
		(void)cmd_bad(c, "%s.", p->bad ? p->bad : "Syntax error");
		return turn_down(c);
	}
	if (c->literal.too_big || c->literal.size > limit) {
		(void)cmd_no(c, "[TOOBIG] Message too large.");
		return turn_down(c);
	}
	if (!c->literal.size) { /* RFC 3502 6.3.11: the client gives up */
		(void)cmd_no(c, "Can't save a message of no octets.");
		return turn_down(c);
	}
	if (x->n == BOUND_APPENDS || (x->n && x->replaced)) {
		(void)cmd_no(c, "[LIMIT] Too many messages in one command.");
		return turn_down(c);
	}
	to.size = c->literal.size;
	to.flags = list.flags;
	to.keywords = list.keywords;
	to.nkeywords = list.nkeywords;
	x->all[x->n] = append_begin(cmd_home(c), &to, &why);
	if (!x->all[x->n]) {
		(void)cmd_failed(c, &why);
		return turn_down(c);
	}
	x->n++;
	x->left = c->literal.size;
	if (c->literal.sync)
		buf_put(cmd_out(c), SPAN("+ OK\r\n"));
	return cmd_go(c, data_step);
}

/* RFC 8508 3.5: the new message is told before the old one goes. */
static enum cmd_result
replaced(struct cmd *c)
{
	struct appending *x = c->state;
	struct uid_range one = { x->replaced, x->replaced };
	struct uidset uids = { .ranges = &one, .n = 1 };
	struct fail why;

	buf_put(cmd_out(c), SPAN("* OK "));
	buf_put(cmd_out(c), c->code);
	buf_put(cmd_out(c), SPAN("Replacement message is there.\r\n"));
	c->code = SPAN_NONE;
	return mailbox_remove(cmd_view(c), &uids, &why) ? cmd_completed(c) : cmd_failed(c, &why);
}

static enum cmd_result
committed(struct cmd *c)
{
	struct appending *x = c->state;

	if (!x->op.ok)
		return cmd_failed(c, &x->op.why);
	return x->replaced ? replaced(c) : cmd_completed(c);
}

static void
on_committed(struct mailbox_op *op)
{
	struct appending *x = OWNER_OF(op, struct appending, op);
	struct buf b;

	buf_init(&b, 1 << 20);
	buf_printf(&b, "[APPENDUID %u ", (unsigned)op->uidvalidity);
	uidset_text(&op->to, &b);
	buf_put(&b, SPAN("] "));
	if (op->ok && !uidset_empty(&op->to) && buf_ok(&b)) /* RFC 4315 3 */
		x->c->code = arena_dup(x->c->arena, buf_span(&b));
	buf_free(&b);
	x->done = true;
	cmd_wake(x->c);
}

static enum cmd_result
commit(struct cmd *c)
{
	struct appending *x = c->state;
	size_t n = x->n;

	x->n = 0; /* taken over */
	x->op.on_done = on_committed;
	append_commit(x->all, n, &x->op);
	return x->done ? committed(c) : cmd_wait(c, committed);
}

/* Behind a message: the end of the command, or another one's options and literal. */
static enum cmd_result
between_step(struct cmd *c)
{
	struct imap *s = c->s;
	struct appending *x = c->state;
	struct span in = buf_span(&s->base.in), text;
	struct imap_parse p;

	switch (imap_read(&s->reader, in, &c->literal)) {
	case IMAP_READ_MORE:
		return CMD_WAIT;
	case IMAP_READ_TOOLONG:
		imap_bye(s, "Command line too long.");
		return cmd_bad(c, "Command line too long.");
	case IMAP_READ_COMMAND:
		text = span_trim(span_sub(in, 0, s->reader.at));
		if (x->utf8 && text.n && text.p[0] == ')')
			text = span_from(text, 1);
		else if (x->utf8)
			text = SPAN("?");
		buf_eat(&s->base.in, s->reader.at);
		imap_reader_reset(&s->reader);
		return text.n ? cmd_bad(c, "Unexpected text behind the message.") : commit(c);
	case IMAP_READ_LITERAL:
		text = arena_dup(c->arena, span_sub(in, 0, c->literal.start));
		buf_eat(&s->base.in, s->reader.at);
		imap_reader_reset(&s->reader);
		p = imap_parse_of(text, c->arena);
		if (x->utf8)
			(void)imap_take_char(&p, ')');
		(void)imap_take_sp(&p);
		return begin_message(c, &p);
	}
	return CMD_WAIT;
}

static enum cmd_result
data_step(struct cmd *c)
{
	struct appending *x = c->state;
	struct buf *in = &c->s->base.in;
	struct span data = buf_span(in);
	struct fail why;

	if (!data.n)
		return CMD_WAIT;
	if (data.n > x->left)
		data.n = (size_t)x->left;
	if (memchr(data.p, '\0', data.n)) { /* RFC 3501 9: CHAR8 */
		if (c->literal.binary) /* RFC 3516 4.4: there is no place for it in a Maildir */
			(void)cmd_no(c, "[UNKNOWN-CTE] A message with NUL cannot be kept.");
		else
			(void)cmd_bad(c, "NUL in a message.");
		return give_up(c, x->left);
	}
	if (!append_write(x->all[x->n - 1], data, &why)) {
		(void)cmd_failed(c, &why);
		return give_up(c, x->left);
	}
	buf_eat(in, data.n);
	x->left -= data.n;
	return x->left ? CMD_WAIT : cmd_go(c, between_step);
}

static void
append_release(struct cmd *c)
{
	struct appending *x = c->state;

	for (size_t i = 0; i < x->n; i++)
		append_abort(&x->all[i]);
	x->n = 0;
}

/* RFC 8508 3.1: exactly one message, in a mailbox that may be changed. */
static bool
take_replaced(struct cmd *c)
{
	struct appending *x = c->state;

	if (cmd_view(c)->readonly) {
		(void)cmd_no(c, "[READ-ONLY] Mailbox is opened read-only.");
		return false;
	}
	if (uidset_count(&c->seqs) > 1) {
		(void)cmd_bad(c, "REPLACE takes one message.");
		return false;
	}
	x->replaced = view_uid(cmd_view(c), uidset_nth(&c->seqs, 0));
	if (x->replaced && view_by_uid(cmd_view(c), x->replaced))
		return true;
	(void)cmd_no(c, "[NONEXISTENT] There is no such message.");
	return false;
}

enum cmd_result
cmd_append(struct cmd *c)
{
	struct appending *x;

	bool replace = span_caseeq(c->def->name, SPAN("REPLACE"));

	if (!c->detached) /* the line ended without a literal */
		return cmd_bad(c, "Expected a message literal.");
	x = ARENA_NEW(c->arena, struct appending);
	if (!x) {
		(void)cmd_no(c, "[LIMIT] Command too large.");
		return turn_down(c);
	}
	x->c = c;
	c->state = x;
	c->release = append_release;
	x->folder = c->arg[replace ? 1 : 0];
	if (!store_exists(cmd_home(c), x->folder)) {
		(void)cmd_no(c, "[TRYCREATE] Mailbox doesn't exist: %.*s", SPAN_ARG(x->folder));
		return turn_down(c);
	}
	if (replace && !take_replaced(c))
		return turn_down(c);
	return begin_message(c, &c->parse);
}
