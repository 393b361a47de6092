/* SPDX-License-Identifier: ISC
 *
 * cmd_append: APPEND of one or more messages (RFC 3501 6.3.11, RFC 3502).
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
	return imap_at_end(p) || imap_bad(p, "Expected a message literal");
}

static enum cmd_result data_step(struct cmd *c);

/* The literal that c->literal describes becomes a message with these options. */
static enum cmd_result
begin_message(struct cmd *c, struct imap_parse *p)
{
	struct appending *x = c->state;
	struct flag_list list;
	struct append_to to = { .folder = c->arg[0] };
	uint64_t limit = c->s->user->message_limit ? c->s->user->message_limit : BOUND_MESSAGE;
	struct fail why;

	if (!take_options(p, &list, &to.date)) {
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
	if (x->n == BOUND_APPENDS) {
		(void)cmd_no(c, "[LIMIT] Too many messages in one command.");
		return turn_down(c);
	}
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

static enum cmd_result
committed(struct cmd *c)
{
	struct appending *x = c->state;

	if (!x->op.ok)
		return cmd_failed(c, &x->op.why);
	return cmd_completed(c);
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
		buf_eat(&s->base.in, s->reader.at);
		imap_reader_reset(&s->reader);
		return text.n ? cmd_bad(c, "Unexpected text behind the message.") : commit(c);
	case IMAP_READ_LITERAL:
		text = arena_dup(c->arena, span_sub(in, 0, c->literal.start));
		buf_eat(&s->base.in, s->reader.at);
		imap_reader_reset(&s->reader);
		p = imap_parse_of(text, c->arena);
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

enum cmd_result
cmd_append(struct cmd *c)
{
	struct appending *x;

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
	if (!store_exists(cmd_home(c), c->arg[0])) {
		(void)cmd_no(c, "[TRYCREATE] Mailbox doesn't exist: %.*s", SPAN_ARG(c->arg[0]));
		return turn_down(c);
	}
	return begin_message(c, &c->parse);
}
