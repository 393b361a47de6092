/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "daemons/mailboxd/going.h"

/* Responses that a command there may have (RFC 9051 7); whatever else is said is not told. */
static bool
is_wanted(struct span line, bool *plain)
{
	static const struct span words[] = { SPAN_INIT("OK"), SPAN_INIT("NO"), SPAN_INIT("BAD"), SPAN_INIT("FLAGS"), SPAN_INIT("SEARCH"),
		SPAN_INIT("ESEARCH"), SPAN_INIT("SORT"), SPAN_INIT("THREAD"), SPAN_INIT("STATUS"), SPAN_INIT("LIST"), SPAN_INIT("VANISHED"),
		SPAN_INIT("ACL"), SPAN_INIT("LISTRIGHTS"), SPAN_INIT("MYRIGHTS") };
	static const struct span counted[] = { SPAN_INIT("EXISTS"), SPAN_INIT("RECENT"), SPAN_INIT("EXPUNGE"), SPAN_INIT("FETCH"),
		SPAN_INIT("UIDFETCH") };
	struct span word = span_word(&line);
	uint64_t n;

	*plain = false;
	if (span_u64(word, UINT32_MAX, &n)) {
		word = span_trim(span_word(&line));
		for (size_t i = 0; i < sizeof counted / sizeof *counted; i++)
			if (span_eq(word, counted[i]))
				return true;
		return false;
	}
	word = span_trim(word);
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (span_eq(word, words[i])) {
			*plain = i < 3;
			return true;
		}
	return false;
}

/* "{n}" at the end of a line: n octets follow, which are no lines. */
static bool
ends_in_literal(const struct going *g, uint64_t *n)
{
	struct span tail = span_trim(span_of(g->tail, g->ntail));
	size_t at = span_rchr(tail, '{');

	return !g->plain && at != SIZE_MAX && tail.p[tail.n - 1] == '}' && span_u64(span_sub(tail, at + 1, tail.n - at - 2), UINT32_MAX, n);
}

static void
pass(struct cmd *c, struct going *g, size_t n)
{
	if (!g->drop && !g->mute)
		buf_put(cmd_out(c), span_sub(buf_span(&g->v->in), 0, n));
	buf_eat(&g->v->in, n);
}

static void
note_tail(struct going *g, struct span s)
{
	size_t n = s.n < GOING_TAIL ? s.n : GOING_TAIL, keep = g->ntail + n > GOING_TAIL ? GOING_TAIL - n : g->ntail;

	memmove(g->tail, g->tail + g->ntail - keep, keep);
	memcpy(g->tail + keep, s.p + s.n - n, n);
	g->ntail = keep + n;
}

/* The tagged response becomes the command's. */
static bool
take_end(struct cmd *c, struct going *g, struct span line)
{
	struct span rest = span_trim(span_from(line, g->tag.n)), word = span_word(&rest);

	c->status = span_eq(word, SPAN("OK")) ? CMD_OK : span_eq(word, SPAN("NO")) ? CMD_NO : CMD_BAD;
	c->code = g->mute ? SPAN_NONE : arena_dup(c->arena, span_trim(rest));
	c->text[0] = '\0';
	for (size_t i = 0; i < c->code.n; i++)
		if (c->code.p[i] == '\r' || c->code.p[i] == '\0')
			return false;
	return true;
}

/* At the start of a line. */
static enum relay
take_line(struct cmd *c, struct going *g, struct span in)
{
	size_t lf = span_chr(in, '\n');
	struct span line = span_sub(in, 0, lf == SIZE_MAX ? in.n : lf + 1);
	bool star = span_starts(line, SPAN("* "));

	if (lf == SIZE_MAX && (!star || in.n < GOING_HEAD))
		return buf_space(&g->v->in) ? RELAY_MORE : RELAY_LOST;
	if (star) {
		g->drop = !is_wanted(span_from(span_sub(line, 0, GOING_HEAD), 2), &g->plain);
		g->inside = true;
		g->ntail = 0;
		return RELAY_ROOM;
	}
	if (line.p[0] == '+') {
		buf_eat(&g->v->in, line.n);
		return RELAY_PLUS;
	}
	if (!span_starts(line, g->tag) || line.n == g->tag.n || line.p[g->tag.n] != ' ' || !take_end(c, g, line))
		return RELAY_LOST;
	buf_eat(&g->v->in, line.n);
	return RELAY_ENDED;
}

enum relay
going_relay(struct cmd *c, struct going *g)
{
	for (;;) {
		struct span in = buf_span(&g->v->in);
		size_t lf, n;
		enum relay r;

		if (!cmd_room(c))
			return RELAY_ROOM;
		if (!in.n)
			return g->v->gone ? RELAY_LOST : RELAY_MORE;
		if (g->literal) {
			n = in.n < g->literal ? in.n : (size_t)g->literal;
			pass(c, g, n);
			g->literal -= n;
			continue;
		}
		if (!g->inside) {
			r = take_line(c, g, in);
			if (r == RELAY_MORE && g->v->gone)
				return RELAY_LOST;
			if (r != RELAY_ROOM)
				return r;
			continue;
		}
		lf = span_chr(in, '\n');
		n = lf == SIZE_MAX ? in.n : lf + 1;
		note_tail(g, span_sub(in, 0, n));
		pass(c, g, n);
		if (lf != SIZE_MAX) {
			g->inside = ends_in_literal(g, &g->literal); /* the line goes on behind it */
			g->ntail = 0;
			if (!g->inside && g->lines && --g->lines == 0)
				return RELAY_MORE;
		}
	}
}
