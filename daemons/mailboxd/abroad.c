/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "daemons/mailboxd/going.h"
#include "store/name.h"

static void
on_change(struct visit *v)
{
	session_wake(v->arg);
}

void
abroad_free(struct abroad **a)
{
	for (unsigned i = 0; *a && i < ROADS; i++)
		visit_free(&(*a)->road[i]);
	free(*a);
	*a = NULL;
}

bool
abroad_at_home(const struct imap *s)
{
	for (unsigned i = 0; s->abroad && i < ROADS; i++)
		if (s->abroad->road[i] && !s->abroad->road[i]->gone)
			return false;
	return true;
}

/* ---- names ---- */

bool
abroad_name(const struct imap *s, struct span name)
{
	return s->user->broker && !s->guest && span_starts(name, SPAN(OTHERS "/"));
}

/* Whose it is: "bob" is in the user's own domain. False: nobody's. */
static bool
owner_of(const struct imap *s, struct span name, char owner[ACL_IDENTIFIER + 1])
{
	struct span rest = span_from(name, sizeof OTHERS), part = span_cut(&rest, '/');
	struct buf utf8;
	bool ok;

	buf_init(&utf8, (size_t)ACL_IDENTIFIER * 2);
	ok = name_to_utf8(part, &utf8) && !span_caseeq(buf_span(&utf8), SPAN("anyone")) && acl_identifier(buf_span(&utf8), s->user->name, owner);
	buf_free(&utf8);
	return ok && !span_eq(span_str(owner), s->user->name);
}

/* ---- the steps of a command ---- */

enum cmd_result
going_wait(struct cmd *c, bool listening)
{
	struct going *g = c->state;

	visit_go(g->v, listening, g->idle || g->patient);
	return CMD_WAIT;
}

enum cmd_result
going_lost(struct cmd *c)
{
	struct going *g = c->state;
	bool opened = g->v->greeted;

	visit_free(&c->s->abroad->road[g->road]);
	g->v = NULL;
	c->code = SPAN_NONE;
	if (g->road == AWAY && c->s->state == STATE_AWAY)
		imap_bye(c->s, "The selected mailbox can no longer be reached.");
	if (opened)
		(void)cmd_no(c, "[UNAVAILABLE] That user's mailboxes can no longer be reached.");
	else
		(void)cmd_no(c, "[NONEXISTENT] Mailbox doesn't exist.");
	return g->ended ? g->ended(c, false) : CMD_DONE;
}

enum cmd_result
going_step(struct cmd *c)
{
	struct going *g = c->state;
	struct buf *in = &c->s->base.in;
	size_t lf;

	for (;;) {
		switch (going_relay(c, g)) {
		case RELAY_MORE:
			if (g->idle && c->input && (lf = span_chr(buf_span(in), '\n')) != SIZE_MAX) {
				buf_put(&g->v->out, span_sub(buf_span(in), 0, lf + 1));
				buf_eat(in, lf + 1);
				c->input = g->idle = false;
			} else if (g->idle && buf_len(in) > GOING_HEAD) {
				imap_bye(c->s, "DONE expected.");
				return cmd_bad(c, "Expected DONE.");
			}
			return going_wait(c, true);
		case RELAY_ROOM:
			visit_go(g->v, false, g->idle);
			return CMD_MORE;
		case RELAY_PLUS: /* of a literal that was sent already, or IDLE's */
			if (g->idle)
				buf_put(cmd_out(c), SPAN("+ idling\r\n"));
			break;
		case RELAY_ENDED:
			visit_go(g->v, false, false);
			return g->ended(c, true);
		case RELAY_LOST:
			return going_lost(c);
		}
	}
}

static enum cmd_result
send_text(struct cmd *c)
{
	struct going *g = c->state;

	g->mute = false;
	g->tag = c->tag;
	buf_put(&g->v->out, g->text);
	return cmd_go(c, g->sent);
}

static enum cmd_result
enabled_there(struct cmd *c, bool ok)
{
	struct going *g = c->state;

	if (!ok || !g->v)
		return CMD_DONE;
	g->v->enabled |= c->s->enabled & MIRRORED;
	return cmd_later(c, send_text);
}

static enum cmd_result
mute_step(struct cmd *c)
{
	struct going *g = c->state;
	enum relay r;

	while ((r = going_relay(c, g)) == RELAY_PLUS)
		;
	if (r == RELAY_MORE)
		return going_wait(c, true);
	if (r == RELAY_ROOM)
		return CMD_MORE;
	return r == RELAY_ENDED ? enabled_there(c, true) : going_lost(c);
}

/* What the client has enabled holds there, too. */
static enum cmd_result
enable_there(struct cmd *c)
{
	static const struct {
		unsigned bit;
		const char *name;
	} names[] = { { ENABLED_CONDSTORE, " CONDSTORE" }, { ENABLED_QRESYNC, " QRESYNC" }, { ENABLED_UTF8, " UTF8=ACCEPT" },
		{ ENABLED_REV2, " IMAP4rev2" }, { ENABLED_UIDONLY, " UIDONLY" } };
	struct going *g = c->state;
	unsigned missing = c->s->enabled & MIRRORED & ~g->v->enabled;

	if (!missing)
		return cmd_go(c, send_text);
	g->mute = true;
	g->tag = SPAN("V");
	buf_puts(&g->v->out, "V ENABLE");
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (missing & names[i].bit)
			buf_puts(&g->v->out, names[i].name);
	buf_puts(&g->v->out, "\r\n");
	return cmd_go(c, mute_step);
}

/* Until the road is open and its greeting read. */
enum cmd_result
going_reach(struct cmd *c)
{
	struct going *g = c->state;
	struct span in = buf_span(&g->v->in);
	size_t lf = span_chr(in, '\n');

	if (g->v->greeted) /* and nothing has been said since, that would not have been asked for */
		return in.n || g->v->gone ? going_lost(c) : enable_there(c);
	if (lf == SIZE_MAX)
		return g->v->gone || in.n > VISIT_OUT ? going_lost(c) : going_wait(c, true);
	if (!span_starts(in, SPAN("* PREAUTH ")))
		return going_lost(c);
	buf_eat(&g->v->in, lf + 1);
	g->v->greeted = true;
	return enable_there(c);
}

/* ---- roads ---- */

static void
going_release(struct cmd *c)
{
	struct going *g = c->state;

	broker_cancel(&g->request);
}

bool
going_init(struct cmd *c, struct going *g)
{
	if (!c->s->abroad)
		c->s->abroad = calloc(1, sizeof *c->s->abroad);
	g->c = c;
	g->sent = going_step;
	c->state = g;
	c->release = going_release;
	return c->s->abroad != NULL;
}

struct going *
going_new(struct cmd *c)
{
	struct going *g = ARENA_NEW(c->arena, struct going);

	return g && going_init(c, g) ? g : NULL;
}

/* The road to this owner; another one's ends. */
bool
going_road(struct cmd *c, struct going *g, unsigned road, struct span owner)
{
	struct visit **v = &c->s->abroad->road[road];

	if (*v && ((*v)->greeted ? !visit_quiet(*v) : (*v)->gone))
		visit_free(v);
	if (*v && !span_eq(span_str((*v)->owner), owner))
		visit_free(v);
	if (!*v)
		*v = visit_new(c->s->user, owner, on_change, &c->s->base);
	g->v = *v;
	g->road = road;
	if (*v)
		(*v)->kept = road == AWAY;
	return *v != NULL;
}

static enum cmd_result
ended(struct cmd *c, bool ok)
{
	struct imap *s = c->s;
	bool yes = ok && c->status == CMD_OK;

	if (c->def->handler == cmd_select && !s->base.closing)
		s->state = yes ? STATE_AWAY : STATE_AUTH;
	if (c->def->handler == cmd_close && yes)
		s->state = STATE_AUTH;
	if (s->state == STATE_AUTH) /* nothing else closes it */
		visit_free(&s->abroad->road[AWAY]);
	return CMD_DONE;
}

struct span
going_text(const struct cmd *c)
{
	return c->detached ? c->parse.c.in : span_sub(buf_span(&c->s->base.in), 0, c->s->reader.at);
}

bool
going_begin(struct cmd *c, unsigned road, struct span owner)
{
	struct going *g = going_new(c);

	if (!g || !going_road(c, g, road, owner)) {
		(void)cmd_no(c, "[LIMIT] Command too large.");
		return false;
	}
	g->text = going_text(c);
	g->ended = ended;
	if (c->def->handler == cmd_idle) {
		g->text = arena_dup(c->arena, g->text);
		cmd_take_input(c);
		g->idle = true;
	}
	c->step = going_reach;
	return true;
}

/* ---- whose command is it ---- */

struct named {
	struct span name[2];
	size_t n;     /* mailboxes that it names */
	struct span set;
	bool abroad[2];
};

/* As command_args(), but sets are left alone. */
static void
take_names(struct cmd *c, struct named *m)
{
	struct imap_parse p = c->parse;
	struct span name;
	size_t at;

	m->n = 0;
	m->set = SPAN_NONE;
	for (const char *s = c->def->shape; *s && imap_ok(&p) && m->n < 2; s++) {
		switch (*s) {
		case ' ': (void)imap_take_sp(&p); break;
		case 'm':
			if (!imap_take_astring(&p, &name))
				return;
			m->name[m->n] = imap_disk_name(c->s, name);
			m->abroad[m->n] = abroad_name(c->s, m->name[m->n]);
			m->n++;
			break;
		case 's':
			at = p.c.at;
			while (!imap_at_end(&p) && cursor_peek(&p.c) != ' ')
				p.c.at++;
			m->set = span_sub(p.c.in, at, p.c.at - at);
			break;
		default: return;
		}
	}
}

static bool
refuse(struct cmd *c, const char *text, bool *goes)
{
	(void)cmd_no(c, "%s", text);
	if (c->detached && !c->literal.sync)
		(void)cmd_give_up(c, c->literal.size);
	*goes = false;
	return true;
}

/* A mailbox is about to be selected: no other one is any more. */
static void
leave(struct imap *s)
{
	if (s->state == STATE_AUTH)
		return;
	if (s->enabled & (ENABLED_QRESYNC | ENABLED_REV2)) /* RFC 7162 3.2.11 */
		buf_put(&s->base.out.mem, SPAN("* OK [CLOSED] Previous mailbox is closed.\r\n"));
	if (s->state == STATE_AWAY && s->abroad)
		visit_free(&s->abroad->road[AWAY]);
	imap_unselect(s);
	s->state = STATE_AUTH;
}

/* None of the mailboxes named is another's. */
static bool
takes_unnamed(struct cmd *c, const struct named *m, bool *goes)
{
	struct imap *s = c->s;
	bool selected = !(c->def->states & STATE_AUTH);
	struct visit *v = s->abroad ? s->abroad->road[AWAY] : NULL;

	if (s->state != STATE_AWAY)
		return false;
	if (c->def->handler == cmd_select) {
		leave(s);
		return false;
	}
	if (!selected && c->def->handler != cmd_noop && c->def->handler != cmd_idle)
		return false;
	if (m->n && c->def->handler != cmd_copy)
		return refuse(c, "[CANNOT] Not in another user's mailbox.", goes);
	if (!v || !visit_quiet(v)) {
		imap_bye(s, "The selected mailbox can no longer be reached.");
		return refuse(c, "[UNAVAILABLE] The selected mailbox can no longer be reached.", goes);
	}
	if (m->n)
		*goes = going_copy_in(c, span_str(v->owner), m->set, name_fold(m->name[0]));
	else
		*goes = going_begin(c, AWAY, span_str(v->owner));
	return true;
}

bool
abroad_takes(struct cmd *c, bool *goes)
{
	struct imap *s = c->s;
	const struct visit *v = s->abroad ? s->abroad->road[AWAY] : NULL;
	char owner[ACL_IDENTIFIER + 1], second[ACL_IDENTIFIER + 1];
	struct named m;
	bool copies = c->def->handler == cmd_copy || (c->def->handler == cmd_append && c->uid);

	if (!s->user->broker || s->guest || c->def->handler == cmd_subscribe)
		return false;
	take_names(c, &m);
	copies = copies || span_caseeq(c->def->name, SPAN("REPLACE"));
	if (!m.n || !(m.abroad[0] || (m.n == 2 && m.abroad[1])))
		return takes_unnamed(c, &m, goes);
	if (m.n == 2 && !(m.abroad[0] && m.abroad[1]))
		return refuse(c, "[CANNOT] Not between users' mailboxes.", goes);
	if (!owner_of(s, m.name[0], owner) || (m.n == 2 && !owner_of(s, m.name[1], second))) {
		if (c->def->handler == cmd_select) /* RFC 3501 6.3.1 */
			leave(s);
		return refuse(c, "[NONEXISTENT] Mailbox doesn't exist.", goes);
	}
	if (m.n == 2 && strcmp(owner, second) != 0)
		return refuse(c, "[CANNOT] Not between users' mailboxes.", goes);
	if (c->def->handler == cmd_copy && s->state == STATE_SELECTED) {
		*goes = going_copy_out(c, span_str(owner));
		return true;
	}
	if (copies && (s->state != STATE_AWAY || !v || strcmp(v->owner, owner) != 0))
		return refuse(c, "[CANNOT] Messages are not copied from one user's mailbox to another's.", goes);
	if (c->def->handler == cmd_select) {
		if (!(s->state == STATE_AWAY && v && strcmp(v->owner, owner) == 0))
			leave(s);
		*goes = going_begin(c, AWAY, span_str(owner));
	} else if ((c->def->flags & CMD_STREAM) && c->detached && !copies) {
		*goes = going_append(c, span_str(owner));
	} else if (copies && c->def->handler != cmd_copy) {
		return refuse(c, "[CANNOT] Not in another user's mailbox.", goes);
	} else {
		*goes = going_begin(c, copies ? AWAY : WORK, span_str(owner));
	}
	return true;
}
