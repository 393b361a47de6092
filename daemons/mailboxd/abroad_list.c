/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "daemons/mailboxd/going.h"
#include "daemons/mailboxd/pattern.h"

/* Of a pattern, what stands before the first wildcard; could a name that begins with start match it? */
static bool
may_match(struct span pattern, struct span start)
{
	size_t n = 0;

	while (n < pattern.n && pattern.p[n] != '*' && pattern.p[n] != '%')
		n++;
	return memcmp(pattern.p ? pattern.p : "", start.p, n < start.n ? n : start.n) == 0 && (n < pattern.n || n >= start.n);
}

static bool
any_may_match(const struct going *g, struct span start)
{
	for (size_t i = 0; i < g->npatterns; i++)
		if (may_match(g->patterns[i], start))
			return true;
	return false;
}

/* Could any of this owner's mailboxes match? */
static bool
owner_may_match(const struct cmd *c, const struct going *g, struct span owner)
{
	struct buf prefix, outward;
	bool may;

	buf_init(&prefix, (size_t)ACL_IDENTIFIER * 4);
	buf_init(&outward, (size_t)ACL_IDENTIFIER * 4);
	may = guest_prefix(&prefix, owner, c->s->user->name);
	imap_outward_name(c->s, &outward, span_sub(buf_span(&prefix), 0, buf_len(&prefix) - 1));
	may = may && any_may_match(g, buf_span(&outward));
	buf_free(&outward);
	buf_free(&prefix);
	return may;
}

/* Below "Other Users" there is another level: "%" alone does not reach it. */
static bool
reaches_below(const struct going *g)
{
	for (size_t i = 0; i < g->npatterns; i++)
		if (span_chr(g->patterns[i], '*') != SIZE_MAX || span_chr(g->patterns[i], '/') != SIZE_MAX)
			return true;
	return false;
}

static void
on_owner(struct broker_request *r, struct span name)
{
	struct going *g = OWNER_OF(r, struct going, request);
	struct owner **at = &g->owners;
	struct owner *o;

	while (*at && span_cmp((*at)->name, name) < 0)
		at = &(*at)->next;
	if ((*at && span_eq((*at)->name, name)) || g->nowners == BOUND_SHARERS || !(o = ARENA_NEW(g->c->arena, struct owner)))
		return;
	o->name = arena_dup(g->c->arena, name);
	o->next = *at;
	*at = o;
	g->nowners++;
}

static void
on_owners(struct broker_request *r, bool ok, int fd, struct span why)
{
	struct going *g = OWNER_OF(r, struct going, request);

	(void)ok, (void)fd, (void)why; /* who cannot be asked shows nothing */
	g->asked = true;
	cmd_wake(g->c);
}

static enum cmd_result next_owner(struct cmd *c);

/* A user who shows nothing, or not now, is passed over. */
static enum cmd_result
owner_ended(struct cmd *c, bool ok)
{
	(void)ok;
	c->code = SPAN_NONE;
	return cmd_later(c, next_owner);
}

static enum cmd_result
next_owner(struct cmd *c)
{
	struct going *g = c->state;
	const struct owner *o;

	while ((o = g->next)) {
		g->next = o->next;
		if (!owner_may_match(c, g, o->name) || !going_road(c, g, WORK, o->name))
			continue;
		g->text = going_text(c);
		g->ended = owner_ended;
		return cmd_go(c, going_reach);
	}
	return cmd_completed(c);
}

static enum cmd_result
owners_known(struct cmd *c)
{
	struct going *g = c->state;
	bool root = false;

	for (size_t i = 0; i < g->npatterns; i++)
		root = root || pattern_match_in(g->patterns[i], SPAN(OTHERS), '/');
	if (g->owners && root)
		buf_put(cmd_out(c), SPAN("* LIST (\\Noselect \\HasChildren) \"/\" \"" OTHERS "\"\r\n"));
	g->next = reaches_below(g) ? g->owners : NULL;
	return cmd_go(c, next_owner);
}

enum cmd_result
abroad_list(struct cmd *c, const struct span *patterns, size_t n)
{
	struct imap *s = c->s;
	struct going *g;

	if (!s->user->broker || s->guest || !(g = going_new(c)))
		return cmd_completed(c);
	g->patterns = patterns;
	g->npatterns = n;
	if (!any_may_match(g, SPAN(OTHERS)))
		return cmd_completed(c);
	g->request.on_owner = on_owner;
	g->request.on_done = on_owners;
	s->user->broker->sharers(s->user, &g->request);
	return g->asked ? cmd_go(c, owners_known) : cmd_wait(c, owners_known);
}
