/* SPDX-License-Identifier: ISC
 *
 * APPEND into another user's mailbox: the message goes there as it arrives.
 */
#include "daemons/mailboxd/going.h"

static enum cmd_result stream_wait(struct cmd *c);

/* The far side has a literal to come yet that will not: the road is spoilt. */
static enum cmd_result
stream_ended(struct cmd *c, bool ok)
{
	struct going *g = c->state;

	(void)ok;
	if (g->left) {
		visit_free(&c->s->abroad->road[WORK]);
		return cmd_give_up(c, g->left);
	}
	if (g->announced)
		return c->literal.sync ? CMD_DONE : cmd_give_up(c, c->literal.size);
	return c->input ? cmd_give_up(c, 0) : CMD_DONE;
}

/* To the next literal, or the command's end. */
static enum cmd_result
stream_text(struct cmd *c)
{
	struct imap *s = c->s;
	struct going *g = c->state;
	struct span in = buf_span(&s->base.in);

	switch (imap_read(&s->reader, in, &c->literal)) {
	case IMAP_READ_MORE:
		return going_wait(c, true);
	case IMAP_READ_TOOLONG:
		imap_bye(s, "Command line too long.");
		return cmd_bad(c, "Command line too long.");
	case IMAP_READ_COMMAND:
		buf_put(&g->v->out, span_sub(in, 0, s->reader.at));
		buf_eat(&s->base.in, s->reader.at);
		imap_reader_reset(&s->reader);
		c->input = g->patient = false;
		return cmd_go(c, going_step);
	case IMAP_READ_LITERAL:
		buf_put(&g->v->out, span_sub(in, 0, c->literal.start));
		buf_eat(&s->base.in, s->reader.at);
		imap_reader_reset(&s->reader);
		g->announced = true;
		return cmd_go(c, stream_wait);
	}
	return CMD_DONE;
}

static enum cmd_result
stream_data(struct cmd *c)
{
	struct going *g = c->state;
	struct buf *in = &c->s->base.in;
	size_t n = buf_len(in);

	if (buf_len(&g->v->in) || g->v->gone) { /* it has something to say against it */
		enum relay r = going_relay(c, g);

		if (r == RELAY_ENDED)
			return stream_ended(c, true);
		if (r != RELAY_MORE && r != RELAY_ROOM)
			return going_lost(c);
	}
	n = n < g->left ? n : (size_t)g->left;
	n = n < buf_space(&g->v->out) ? n : buf_space(&g->v->out);
	buf_put(&g->v->out, span_sub(buf_span(in), 0, n));
	buf_eat(in, n);
	g->left -= n;
	return g->left ? going_wait(c, true) : cmd_later(c, stream_text);
}

/* The far side is asked for each literal, whether the client waits or not. */
static enum cmd_result
stream_wait(struct cmd *c)
{
	struct going *g = c->state;

	if (!g->asked) {
		buf_printf(&g->v->out, "%s{%llu}\r\n", c->literal.binary ? "~" : "", (unsigned long long)c->literal.size);
		g->asked = true;
	}
	switch (going_relay(c, g)) {
	case RELAY_MORE:
		return going_wait(c, true);
	case RELAY_ROOM:
		return CMD_MORE;
	case RELAY_PLUS:
		break;
	case RELAY_ENDED:
		return stream_ended(c, true);
	case RELAY_LOST:
		return going_lost(c);
	}
	if (c->literal.sync)
		buf_put(cmd_out(c), SPAN("+ OK\r\n"));
	g->asked = g->announced = false;
	g->patient = true;
	g->left = c->literal.size;
	return g->left ? cmd_go(c, stream_data) : cmd_later(c, stream_text);
}

bool
going_append(struct cmd *c, struct span owner)
{
	struct going *g;

	if (!going_begin(c, WORK, owner))
		return false;
	g = c->state;
	g->ended = stream_ended;
	g->sent = stream_wait;
	g->announced = true;
	if (!c->literal.too_big)
		return true;
	(void)cmd_no(c, "[TOOBIG] Message too large."); /* the far side would not take it either */
	(void)stream_ended(c, false);
	return false;
}
