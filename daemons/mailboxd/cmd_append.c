/* SPDX-License-Identifier: ISC
 *
 * cmd_append: APPEND of one or more messages (RFC 3501 6.3.11, RFC 3502), put
 * together by the server too (RFC 4469), and REPLACE (RFC 8508).
 *
 * Messages stream from the receive buffer into the store; nothing is
 * acknowledged before all of them are durable (law 1).  The command's text is
 * walked from literal to literal.
 */
#include <string.h>

#include "daemons/mailboxd/flags.h"
#include "daemons/mailboxd/guest.h"
#include "daemons/mailboxd/url.h"
#include "mail/date.h"

struct appending {
	struct mailbox_op op;
	struct cmd *c;
	struct append *all[BOUND_APPENDS];
	size_t n;
	struct imap_parse text; /* behind the last literal */
	bool offered;       /* a literal stands behind the text */
	uint64_t left;      /* octets of the present literal still to come */
	uint64_t size;      /* of the present message so far */
	bool utf8;          /* it stands in "UTF8 (...)" */
	bool parts;         /* within "CATENATE (...)" */
	bool first;         /* none of them is there yet */
	bool resume;        /* the text ended in an URL's literal */
	struct url_part part;
	uint32_t replaced;  /* REPLACE: the UID that goes */
	struct span folder;
	unsigned rights;    /* in it */
	bool done;
};

/* Where a literal may be offered that is not yet sent for if it is synchronizing. */
static enum cmd_result
turn_down(struct cmd *c)
{
	struct appending *x = c->state;

	if (x && x->resume)
		return cmd_give_up(c, 0);
	return !(x ? x->offered : c->detached) || c->literal.sync ? CMD_DONE : cmd_give_up(c, c->literal.size);
}

static enum cmd_result
bad(struct cmd *c, struct imap_parse *p)
{
	(void)cmd_bad(c, "%s.", p->bad ? p->bad : "Syntax error");
	return turn_down(c);
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

/* [flags SP] [date SP] and "CATENATE (", or ["UTF8 ("] and the literal */
static bool
take_front(struct cmd *c, struct flag_list *list, int64_t *date)
{
	struct appending *x = c->state;
	struct imap_parse *p = &x->text;

	if (!take_options(p, list, date))
		return false;
	x->parts = x->first = cursor_word(&p->c, SPAN("CATENATE ("));
	if (x->parts)
		return true;
	x->utf8 = cursor_word(&p->c, SPAN("UTF8 ("));
	if (x->utf8 && !((c->s->enabled & ENABLED_UTF8) && c->literal.binary)) /* RFC 6855 4 */
		return imap_bad(p, "UTF8 is not enabled, or not of a literal8");
	return (x->offered && imap_at_end(p)) || imap_bad(p, "Expected a message literal");
}

static enum cmd_result walk(struct cmd *c);
static enum cmd_result data_step(struct cmd *c);

/* More octets of the present message. */
static bool
grows(struct cmd *c, uint64_t n)
{
	struct appending *x = c->state;
	uint64_t limit = user_message_limit(c->s->user);

	if (n > limit || x->size > limit - n) {
		(void)cmd_no(c, "[TOOBIG] Message too large.");
		return false;
	}
	x->size += n;
	return true;
}

/* The literal that is offered becomes (a part of) the present message. */
static enum cmd_result
take_literal(struct cmd *c)
{
	struct appending *x = c->state;

	if (c->literal.too_big || !grows(c, c->literal.size)) {
		(void)cmd_no(c, "[TOOBIG] Message too large.");
		return turn_down(c);
	}
	if (!c->literal.size && !x->parts) { /* RFC 3502 6.3.11: the client gives up */
		(void)cmd_no(c, "Can't save a message of no octets.");
		return turn_down(c);
	}
	x->left = c->literal.size;
	x->offered = false;
	if (c->literal.sync)
		buf_put(cmd_out(c), SPAN("+ OK\r\n"));
	return cmd_go(c, data_step);
}

static enum cmd_result
begin_message(struct cmd *c)
{
	struct appending *x = c->state;
	struct flag_list list;
	struct append_to to = { .folder = x->folder };
	struct fail why;

	x->size = 0;
	if (!take_front(c, &list, &to.date))
		return bad(c, &x->text);
	if (!x->parts && (c->literal.too_big || c->literal.size > user_message_limit(c->s->user))) {
		(void)cmd_no(c, "[TOOBIG] Message too large.");
		return turn_down(c);
	}
	if (x->n == BOUND_APPENDS || (x->n && x->replaced)) {
		(void)cmd_no(c, "[LIMIT] Too many messages in one command.");
		return turn_down(c);
	}
	to.size = x->parts ? 0 : c->literal.size;
	to.flags = (uint8_t)(list.flags & acl_flags(x->rights)); /* RFC 4314 4: the others are not kept */
	to.keywords = list.keywords;
	to.nkeywords = x->rights & ACL_WRITE ? list.nkeywords : 0;
	x->all[x->n] = append_begin(cmd_home(c), &to, &why);
	if (!x->all[x->n]) {
		(void)cmd_failed(c, &why);
		return turn_down(c);
	}
	x->n++;
	return x->parts ? walk(c) : take_literal(c);
}

/* ---- CATENATE ---- */

/* RFC 4469 4.1: the code names the URL, so far as a response may hold it. */
static enum cmd_result
bad_url(struct cmd *c, struct span url)
{
	bool plain = url.n > 0 && url.n < 1000;

	for (size_t i = 0; plain && i < url.n; i++)
		plain = url.p[i] > ' ' && url.p[i] < 0x7f && url.p[i] != ']';
	c->code = arena_printf(c->arena, "[BADURL %.*s] ", plain ? (int)url.n : 1, plain ? url.p : "?");
	(void)cmd_no(c, "There is no such message or part here.");
	return turn_down(c);
}

static enum cmd_result
copy_step(struct cmd *c)
{
	struct appending *x = c->state;
	struct fail why;
	char block[16 << 10];

	for (unsigned i = 0; x->part.left && i < 16; i++) {
		size_t n = x->part.left < sizeof block ? (size_t)x->part.left : sizeof block;

		if (!url_read(&x->part, block, n)) {
			(void)cmd_no(c, "[UNAVAILABLE] A part cannot be read.");
			return turn_down(c);
		}
		if (!append_write(x->all[x->n - 1], span_of(block, n), &why)) {
			(void)cmd_failed(c, &why);
			return turn_down(c);
		}
	}
	if (x->part.left)
		return CMD_MORE;
	url_close(&x->part);
	return cmd_later(c, walk);
}

static enum cmd_result
take_url(struct cmd *c, struct span text)
{
	struct appending *x = c->state;
	struct url url;

	if (c->s->guest || !url_parse(text, c->arena, &url) || !url_open(&x->part, c->s, &url, c->arena))
		return bad_url(c, text);
	if (!grows(c, x->part.left))
		return turn_down(c);
	return cmd_go(c, copy_step);
}

static enum cmd_result
url_literal_step(struct cmd *c)
{
	struct appending *x = c->state;
	struct buf *in = &c->s->base.in;
	struct span url;

	if (buf_len(in) < c->literal.size)
		return CMD_WAIT;
	url = arena_dup(c->arena, span_sub(buf_span(in), 0, (size_t)c->literal.size));
	buf_eat(in, (size_t)c->literal.size);
	x->resume = true;
	x->offered = false;
	return take_url(c, url);
}

/* "URL" SP astring, "TEXT" SP literal */
static enum cmd_result
take_part(struct cmd *c)
{
	struct appending *x = c->state;
	struct imap_parse *p = &x->text;
	struct span url;

	if (!x->first && !imap_take_sp(p))
		return bad(c, p);
	x->first = false;
	if (cursor_word(&p->c, SPAN("TEXT "))) {
		if (!x->offered || !imap_at_end(p))
			(void)imap_bad(p, "Expected a literal");
		return imap_ok(p) ? take_literal(c) : bad(c, p);
	}
	if (!cursor_word(&p->c, SPAN("URL ")))
		(void)imap_bad(p, "Expected TEXT or URL");
	if (!imap_ok(p))
		return bad(c, p);
	if (!imap_at_end(p))
		return imap_take_astring(p, &url) ? take_url(c, url) : bad(c, p);
	if (!x->offered || c->literal.binary) {
		(void)imap_bad(p, "Expected an URL");
		return bad(c, p);
	}
	if (c->literal.too_big || c->literal.size > BOUND_URL) {
		(void)cmd_no(c, "[TOOBIG] URL too long.");
		return turn_down(c);
	}
	if (c->literal.sync)
		buf_put(cmd_out(c), SPAN("+ OK\r\n"));
	return cmd_go(c, url_literal_step);
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
	return mailbox_remove(cmd_view(c), &uids, &why) ? cmd_durable(c) : cmd_failed(c, &why);
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

/* The text behind a literal, up to the next one or the command's end. */
static enum cmd_result
text_step(struct cmd *c)
{
	struct imap *s = c->s;
	struct appending *x = c->state;
	struct span in = buf_span(&s->base.in);
	size_t n;

	switch (imap_read(&s->reader, in, &c->literal)) {
	case IMAP_READ_MORE:
		return CMD_WAIT;
	case IMAP_READ_TOOLONG:
		imap_bye(s, "Command line too long.");
		return cmd_bad(c, "Command line too long.");
	case IMAP_READ_COMMAND:
		n = s->reader.at;
		x->offered = false;
		break;
	default:
		n = c->literal.start;
		x->offered = true;
		break;
	}
	x->text = imap_parse_of(arena_dup(c->arena, span_sub(in, 0, n)), c->arena);
	buf_eat(&s->base.in, s->reader.at);
	imap_reader_reset(&s->reader);
	x->resume = false;
	if (!x->text.c.in.p && n) {
		(void)cmd_no(c, "[LIMIT] Command too large.");
		return turn_down(c);
	}
	return cmd_go(c, walk);
}

/* Goes on in the text. */
static enum cmd_result
walk(struct cmd *c)
{
	struct appending *x = c->state;
	struct imap_parse *p = &x->text;

	if (x->resume)
		return cmd_go(c, text_step);
	if (x->parts && (x->first || !imap_try(p, ')')))
		return take_part(c);
	if (x->parts && !x->size) {
		(void)cmd_no(c, "Can't save a message of no octets.");
		return turn_down(c);
	}
	x->parts = false;
	if (x->utf8 && !imap_take_char(p, ')'))
		return bad(c, p);
	x->utf8 = false;
	if (!x->offered && imap_at_end(p))
		return commit(c);
	if (!imap_take_sp(p))
		return bad(c, p);
	return begin_message(c);
}

static enum cmd_result
data_step(struct cmd *c)
{
	struct appending *x = c->state;
	struct buf *in = &c->s->base.in;
	struct span data = buf_span(in);
	struct fail why;

	if (!x->left)
		return cmd_later(c, text_step);
	if (!data.n)
		return CMD_WAIT;
	if (data.n > x->left)
		data.n = (size_t)x->left;
	if (memchr(data.p, '\0', data.n)) { /* RFC 3501 9: CHAR8 */
		if (c->literal.binary) /* RFC 3516 4.4: there is no place for it in a Maildir */
			(void)cmd_no(c, "[UNKNOWN-CTE] A message with NUL cannot be kept.");
		else
			(void)cmd_bad(c, "NUL in a message.");
		return cmd_give_up(c, x->left);
	}
	if (!append_write(x->all[x->n - 1], data, &why)) {
		(void)cmd_failed(c, &why);
		return cmd_give_up(c, x->left);
	}
	buf_eat(in, data.n);
	x->left -= data.n;
	if (x->left)
		return CMD_WAIT;
	return x->parts ? cmd_later(c, text_step) : cmd_go(c, text_step);
}

static void
append_release(struct cmd *c)
{
	struct appending *x = c->state;

	for (size_t i = 0; i < x->n; i++)
		append_abort(&x->all[i]);
	x->n = 0;
	url_close(&x->part);
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
	bool replace = span_caseeq(c->def->name, SPAN("REPLACE"));
	struct appending *x = ARENA_NEW(c->arena, struct appending);

	if (!x) {
		(void)cmd_no(c, "[LIMIT] Command too large.");
		return turn_down(c);
	}
	x->c = c;
	x->text = c->parse;
	x->offered = c->detached; /* else the line ended without a literal */
	c->state = x;
	c->release = append_release;
	x->folder = c->arg[replace ? 1 : 0];
	x->rights = imap_rights(c->s, x->folder);
	if (!imap_permits(c, x->folder, ACL_INSERT))
		return turn_down(c);
	if (!store_exists(cmd_home(c), x->folder)) {
		(void)cmd_no(c, "[TRYCREATE] Mailbox doesn't exist: %.*s", SPAN_ARG(x->folder));
		return turn_down(c);
	}
	if (replace && !take_replaced(c))
		return turn_down(c);
	return begin_message(c);
}
