/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/abroad.h"
#include "daemons/mailboxd/aside.h"
#include "daemons/mailboxd/context.h"
#include "daemons/mailboxd/guest.h"
#include "daemons/mailboxd/notify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sys/loop.h"

enum {
	IN_CAP = BOUND_COMMAND + (64 << 10), /* a command, and what was pipelined behind it */
	COMMANDS_A_TURN = 32,
};

static struct imap *
imap_of(const struct session *s)
{
	return OWNER_OF(s, struct imap, base);
}

/* ---- the view ---- */

static void
on_pending(struct view *v)
{
	struct imap *s = v->owner;

	if (s->idling || s->notify || v->lost)
		session_wake(&s->base);
}

/* What it knows of a folder cannot be told or kept up with any more: it ends, but a command that runs has its answer. */
static bool
lost(struct imap *s)
{
	if (!((s->state == STATE_SELECTED && s->view.lost) || s->untold || (s->notify && s->notify->lost)) ||
	    (s->cmd.def && !s->idling))
		return false;
	imap_bye(s, "The mailbox has a problem, try again later.");
	return true;
}

void
imap_unselect(struct imap *s)
{
	if (s->state == STATE_SELECTED)
		view_close(&s->view);
	aside_clear(s);
	context_clear(s);
	s->view = (struct view){ .on_pending = on_pending, .owner = s };
	s->state = STATE_AUTH;
	uidset_clear(&s->saved);
}

/* ---- the end of a command ---- */

static void
put_tagged(struct imap *s, struct span tag, enum cmd_status status, struct span code, const char *text)
{
	static const struct span words[] = { SPAN_INIT(" OK "), SPAN_INIT(" NO "), SPAN_INIT(" BAD ") };
	struct buf *out = &s->base.out.mem;

	if (tag.n)
		imap_put_text(out, tag);
	else
		buf_putc(out, '*');
	buf_put(out, words[status]);
	buf_put(out, code);
	imap_put_text(out, span_str(text));
	buf_put(out, SPAN("\r\n"));
}

/* In a response: its rest is to come, or is a range of a file behind what is queued. */
static bool
midway(const struct imap *s)
{
	return s->base.out.left || aside_midway(s);
}

void
imap_bye(struct imap *s, const char *text)
{
	if (!s->base.closing && !midway(s)) {
		buf_put(&s->base.out.mem, SPAN("* BYE "));
		buf_puts(&s->base.out.mem, text);
		buf_put(&s->base.out.mem, SPAN("\r\n"));
	}
	s->base.closing = true;
}

static void
count_errors(struct imap *s, enum cmd_status status)
{
	s->bad = status == CMD_BAD ? s->bad + 1 : 0;
	if (s->bad >= BOUND_BAD)
		imap_bye(s, "Too many errors.");
}

static void
release(struct cmd *c)
{
	if (c->release)
		c->release(c);
	c->release = NULL;
	uidset_free(&c->seqs);
	c->def = NULL;
	c->step = NULL;
	c->input = false;
}

static void
finish(struct imap *s)
{
	struct cmd *c = &s->cmd;
	unsigned flags = c->def ? c->def->flags : 0;

	if (!(flags & CMD_QUIET) || c->status != CMD_OK)
		imap_sync(s, !(flags & CMD_KEEP) || c->uid);
	put_tagged(s, c->tag, c->status, c->code, c->text);
	release(c);
	if (!c->detached) { /* the text stayed in the buffer for the arguments' sake */
		buf_eat(&s->base.in, s->reader.at);
		imap_reader_reset(&s->reader);
	}
	arena_reset(&s->arena);
	if (s->compressing) {
		s->compressing = false;
		if (buf_len(&s->base.in)) /* RFC 4978 3: the client says nothing before it has the OK */
			imap_bye(s, "Input behind COMPRESS.");
		else if (!outq_squeeze(&s->base.out))
			s->base.closing = true;
	}
	s->base.leaving = s->unauthenticating && !s->base.closing;
	count_errors(s, c->status);
}

/* ---- the beginning of one ---- */

static void
prepare(struct imap *s, struct span text)
{
	struct cmd *c = &s->cmd;

	*c = (struct cmd){ .s = s, .arena = &s->arena };
	uidset_init(&c->seqs);
	c->parse = imap_parse_of(text, &s->arena);
}

/* Tag, name, row. False: the reply is set. */
static bool
take_name(struct imap *s)
{
	struct cmd *c = &s->cmd;
	struct span name;

	if (!imap_take_tag(&c->parse, &c->tag)) {
		c->tag = SPAN_NONE;
		(void)cmd_bad(c, "Error in IMAP command: invalid tag.");
		return false;
	}
	if (!imap_take_sp(&c->parse) || !imap_take_atom(&c->parse, &name)) {
		(void)cmd_bad(c, "Error in IMAP command: no command given.");
		return false;
	}
	if (span_caseeq(name, SPAN("UID"))) {
		c->uid = true;
		if (!imap_take_sp(&c->parse) || !imap_take_atom(&c->parse, &name)) {
			(void)cmd_bad(c, "Error in IMAP command: UID of what?");
			return false;
		}
	}
	c->def = command_find(name, c->uid);
	if (c->def)
		return true;
	(void)cmd_bad(c, "Error in IMAP command: unknown command%s.", c->uid ? " behind UID" : "");
	return false;
}

static bool
state_allows(struct cmd *c)
{
	if (!(c->def->states & c->s->state)) {
		(void)cmd_bad(c, "No mailbox is selected.");
		return false;
	}
	return !c->s->guest || guest_allows(c);
}

static enum cmd_result
begin(struct cmd *c)
{
	if ((c->def->flags & CMD_NUMBERS) && !c->uid && (c->s->enabled & ENABLED_UIDONLY)) {
		(void)imap_uid_required(c);
		return cmd_syntax(c);
	}
	if (!command_args(c))
		return cmd_syntax(c);
	if ((c->def->flags & CMD_WRITE) && c->s->view.readonly)
		return cmd_no(c, "[READ-ONLY] Mailbox is opened read-only.");
	c->step = c->def->handler;
	return CMD_MORE;
}

static bool step_command(struct imap *s);

/* A complete command stands at the front of the input. */
static void
start(struct imap *s)
{
	struct cmd *c = &s->cmd;

	bool goes = false;

	prepare(s, span_sub(buf_span(&s->base.in), 0, s->reader.at));
	if (take_name(s) && state_allows(c) && (abroad_takes(c, &goes) ? goes : begin(c) == CMD_MORE))
		(void)step_command(s);
	else
		finish(s);
}

/* The command has its reply; what the client still sends of it is thrown away. */
enum cmd_result
cmd_give_up(struct cmd *c, uint64_t left)
{
	struct imap *s = c->s;

	if (left > BOUND_SKIP)
		imap_bye(s, "Literal too large.");
	s->skip = left;
	s->refusing = true;
	return CMD_DONE;
}

void
cmd_take_input(struct cmd *c)
{
	struct imap *s = c->s;

	c->tag = arena_dup(&s->arena, c->tag);
	buf_eat(&s->base.in, s->reader.at);
	imap_reader_reset(&s->reader);
	c->input = c->detached = true;
}

/* The command so far ends with a literal that its handler will take itself:
 * the text moves to the arena, the input goes on behind it. */
static void
start_stream(struct imap *s, const struct imap_literal *literal)
{
	struct cmd *c = &s->cmd;
	struct span text = arena_dup(&s->arena, span_sub(buf_span(&s->base.in), 0, literal->start));
	bool goes;

	buf_eat(&s->base.in, s->reader.at);
	imap_reader_reset(&s->reader);
	prepare(s, text);
	(void)take_name(s); /* it was there when the row was found */
	c->literal = *literal;
	c->input = c->detached = true;
	if (abroad_takes(c, &goes)) {
		(void)(goes ? step_command(s) : (finish(s), true));
		return;
	}
	(void)command_args(c); /* as above */
	c->step = c->def->handler;
	(void)step_command(s);
}

/* ---- literals ---- */

/* Is this the message of a streaming command?  Its name may be a literal too;
 * then nothing but the mailbox is missing so far. */
static bool
streams(struct imap *s, const struct imap_literal *literal)
{
	struct cmd *c = &s->cmd;
	bool yes = false;

	prepare(s, span_sub(buf_span(&s->base.in), 0, literal->start));
	if (take_name(s) && (c->def->flags & CMD_STREAM) && (c->def->states & s->state) && (!s->guest || (c->def->flags & CMD_GUEST)))
		yes = command_args(c);
	release(c);
	arena_reset(&s->arena);
	return yes;
}

static void
refuse(struct imap *s, const char *text)
{
	struct imap_parse p = imap_parse_of(buf_span(&s->base.in), &s->arena);
	struct span tag;

	if (!imap_take_tag(&p, &tag) || !span_cstr(tag, s->refused, sizeof s->refused))
		(void)span_cstr(SPAN("*"), s->refused, sizeof s->refused);
	put_tagged(s, span_str(s->refused), CMD_NO, SPAN_NONE, text);
	buf_eat(&s->base.in, s->reader.at);
	imap_reader_reset(&s->reader);
}

/* A literal before it is read: taken, handed to its command, or refused. */
static void
meet_literal(struct imap *s, const struct imap_literal *literal)
{
	if (!s->refusing && streams(s, literal)) {
		start_stream(s, literal);
		return;
	}
	if (!s->refusing && !literal->too_big && literal->size <= BOUND_LITERAL &&
	    s->reader.at + literal->size <= BOUND_COMMAND) {
		imap_reader_accept(&s->reader, literal->size);
		if (literal->sync)
			buf_put(&s->base.out.mem, SPAN("+ OK\r\n"));
		return;
	}
	/* RFC 7888 4: a synchronizing literal is simply not asked for; the
	 * octets of another come whatever we say. */
	if (!s->refusing)
		refuse(s, "[TOOBIG] Literal too large.");
	else
		buf_eat(&s->base.in, s->reader.at);
	imap_reader_reset(&s->reader);
	s->refusing = !literal->sync;
	if (!s->refusing)
		return;
	if (literal->too_big || literal->size > BOUND_SKIP)
		imap_bye(s, "Literal too large.");
	s->skip = literal->size;
}

static bool
skip_literal(struct imap *s)
{
	size_t n = buf_len(&s->base.in);

	if (n > s->skip)
		n = (size_t)s->skip;
	buf_eat(&s->base.in, n);
	s->skip -= n;
	return s->skip == 0;
}

/* False: nothing can be done without more input. */
static bool
next_command(struct imap *s)
{
	struct imap_literal literal = { 0 };

	s->silent_ms = 0;
	if (s->skip && !skip_literal(s))
		return false;
	if (!buf_len(&s->base.in))
		return false;
	switch (imap_read(&s->reader, buf_span(&s->base.in), &literal)) {
	case IMAP_READ_MORE:
		return false;
	case IMAP_READ_LITERAL:
		meet_literal(s, &literal);
		return true;
	case IMAP_READ_TOOLONG:
		put_tagged(s, SPAN_NONE, CMD_BAD, SPAN_NONE, "Command line too long.");
		imap_bye(s, "Command line too long.");
		return false;
	case IMAP_READ_COMMAND:
		if (s->refusing) {
			buf_eat(&s->base.in, s->reader.at);
			imap_reader_reset(&s->reader);
			s->refusing = false;
		} else {
			start(s);
		}
		return true;
	}
	return false;
}

/* False: the command waits, for input, for the client to read, or for the store. */
static bool
step_command(struct imap *s)
{
	struct cmd *c = &s->cmd;

	switch (c->step(c)) {
	case CMD_DONE:
		finish(s);
		return true;
	case CMD_MORE:
		s->base.more = outq_room(&s->base.out);
		return false;
	case CMD_WAIT:
		return false;
	}
	return false;
}

/* ---- as a session ---- */

/* What may be said while no command runs (RFC 5465), and the FETCH of what has
 * arrived.  False: that has not ended. */
static bool
between(struct imap *s)
{
	if ((!s->cmd.def || s->idling) && aside_busy(s) && !aside_step(s)) {
		s->base.more = outq_room(&s->base.out);
		return false;
	}
	if (!s->cmd.def && s->notify)
		imap_sync(s, s->notify->selected && !s->notify->delayed);
	return true;
}

static void
imap_run(struct session *base)
{
	struct imap *s = imap_of(base);

	store_settle(s->user->store); /* what the last answer, which is on its way, left to be done */
	for (unsigned n = 0; n < COMMANDS_A_TURN && !store_unsettled(s->user->store); n++) {
		if (base->waiting || base->closing || base->leaving || !outq_room(&base->out) || lost(s) || !between(s))
			return;
		if (s->cmd.def ? !step_command(s) : !next_command(s)) {
			base->more = base->more || ((s->idling || !s->cmd.def) && aside_busy(s));
			return;
		}
		if (s->cmd.def)
			return;
	}
	base->more = true;
}

static bool
imap_wants_input(const struct session *base)
{
	const struct imap *s = imap_of(base);

	return !base->waiting && !base->leaving && (!s->cmd.def || s->cmd.input) && outq_room(&base->out);
}

static void
imap_eof(struct session *base)
{
	struct imap *s = imap_of(base);

	base->closing = true;
	s->dead = true;
}

/* As imap_bye(), from outside: a command at work may have begun a response, too. */
static void
end(struct imap *s, const char *text)
{
	if (s->cmd.def && !s->idling)
		s->base.closing = true;
	imap_bye(s, text);
}

static void
imap_on_idle(struct session *base)
{
	struct imap *s = imap_of(base);

	s->silent_ms += base->idle_ms;
	if (!s->idling || s->silent_ms >= s->user->imap_idle_ms)
		end(s, "Disconnected for inactivity.");
	else if (outq_room(&base->out) && !aside_busy(s)) /* never in the middle of a response */
		buf_put(&base->out.mem, SPAN("* OK Still here\r\n"));
}

static void
imap_shutdown(struct session *base)
{
	end(imap_of(base), "Server shutting down.");
}

static void
imap_free(struct session *base)
{
	struct imap *s = imap_of(base);

	release(&s->cmd);
	imap_unselect(s);
	notify_free(&s->notify);
	guest_free(&s->guest);
	abroad_free(&s->abroad);
	aside_free(&s->aside);
	uidset_free(&s->vanished);
	uidset_free(&s->saved);
	buf_free(&s->notes);
	arena_free(&s->arena);
	buf_free(&base->in);
	outq_free(&base->out);
	free(s);
}

static const struct session_ops ops = {
	.service = "imap",
	.run = imap_run,
	.wants_input = imap_wants_input,
	.eof = imap_eof,
	.idle = imap_on_idle,
	.shutdown = imap_shutdown,
	.rest = imap_rest,
	.free = imap_free,
};

struct session *
imap_new(struct user *user, struct span tag, bool may_leave)
{
	struct imap *s = calloc(1, sizeof *s);
	struct buf *out;

	if (!s)
		return NULL;
	s->base.ops = &ops;
	s->base.idle_ms = user->imap_idle_ms;
	s->base.may_leave = may_leave;
	buf_init(&s->base.in, IN_CAP);
	outq_init(&s->base.out);
	s->user = user;
	arena_init(&s->arena, BOUND_ARENA);
	imap_reader_init(&s->reader, BOUND_LINE);
	uidset_init(&s->vanished);
	uidset_init(&s->saved);
	buf_init(&s->notes, 64 << 10);
	list_init(&s->contexts);
	s->rights = ACL_ALL;
	imap_unselect(s);
	out = &s->base.out.mem;
	if (tag.n) {
		imap_put_text(out, tag);
		buf_put(out, SPAN(" OK ["));
		imap_put_capability(s, out);
		buf_put(out, SPAN("] Logged in\r\n"));
	} else {
		buf_put(out, SPAN("* PREAUTH ["));
		imap_put_capability(s, out);
		buf_put(out, SPAN("] Ready.\r\n"));
	}
	return &s->base;
}
