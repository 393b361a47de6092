/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/context.h"

#include <stdlib.h>

#include "daemons/mailboxd/aside.h"

enum { WORK_MAX = 500000 }; /* in tests of the index: some ten milliseconds, or 1000 small messages to be read, or 32 MB */

struct context {
	struct list node; /* the session's */
	struct arena arena;
	struct span tag;
	bool uid;
	struct search search;
	struct fetch_item *items; /* of what arrives and fits; NULL: nothing */
	struct uidset members;    /* UIDs */
	struct uidset gone;       /* to be told as UIDs */
	uint64_t modseq;          /* changes up to this one are told */
	uint32_t told;            /* and arrivals up to this UID */
};

static void
context_free(struct context *x)
{
	list_remove(&x->node);
	search_free(&x->search);
	uidset_free(&x->members);
	uidset_free(&x->gone);
	arena_free(&x->arena);
	free(x);
}

static struct context *
find(const struct imap *s, struct span tag)
{
	LIST_EACH(&s->contexts, node) {
		struct context *x = OWNER_OF(node, struct context, node);

		if (span_eq(x->tag, tag))
			return x;
	}
	return NULL;
}

bool
context_known(const struct imap *s, struct span tag)
{
	return find(s, tag) != NULL;
}

bool
context_cancel(struct imap *s, struct span tag)
{
	struct context *x = find(s, tag);

	if (!x)
		return false;
	aside_clear(s);
	context_free(x);
	return true;
}

void
context_clear(struct imap *s)
{
	LIST_EACH(&s->contexts, node)
		context_free(OWNER_OF(node, struct context, node));
}

/* The search once more, in memory of its own; numbers are those of now (RFC 5267 4.3). */
static bool
fill(struct context *x, struct cmd *c, const struct searching *found)
{
	struct imap_parse p = imap_parse_of(arena_dup(&x->arena, cursor_rest(&found->program.c)), &x->arena), items;

	x->tag = arena_dup(&x->arena, c->tag);
	x->search.charset = arena_dup(&x->arena, found->search.charset);
	x->search.now = found->search.now;
	x->search.lasting = true;
	if (!search_parse(&x->search, &p, found->view, &c->s->saved))
		return false;
	if (found->returns.items.n) {
		items = imap_parse_of(arena_dup(&x->arena, found->returns.items), &x->arena);
		x->items = fetch_parse(&items);
	}
	return view_uids(found->view, &found->hits, &x->members);
}

bool
context_add(struct cmd *c, const struct searching *found, bool uid)
{
	struct context *x;
	unsigned n = 0;

	LIST_EACH(&c->s->contexts, node)
		n++;
	if (n >= BOUND_CONTEXTS || !(x = calloc(1, sizeof *x)))
		return false;
	arena_init(&x->arena, 2 << 20);
	search_init(&x->search);
	uidset_init(&x->members);
	uidset_init(&x->gone);
	list_push(&c->s->contexts, &x->node);
	x->uid = uid;
	x->modseq = found->began;
	x->told = found->view->told;
	if (fill(x, c, found))
		return true;
	context_free(x);
	return false;
}

/* ---- telling ---- */

static void
put_change(struct imap *s, const struct context *x, const char *what, const struct uidset *numbers)
{
	struct buf *out = &s->base.out.mem;

	if (uidset_empty(numbers))
		return;
	buf_put(out, SPAN("* ESEARCH (TAG "));
	imap_put_string(out, x->tag);
	buf_printf(out, ")%s %s (0 ", x->uid ? " UID" : "", what);
	uidset_text(numbers, out);
	buf_put(out, SPAN(")\r\n"));
}

void
context_expunged(struct imap *s, uint32_t seq, uint32_t uid)
{
	struct uid_range range = { seq, seq };
	const struct uidset one = { .ranges = &range, .n = 1 };

	LIST_EACH(&s->contexts, node) {
		struct context *x = OWNER_OF(node, struct context, node);

		if (!uidset_has(&x->members, uid))
			continue;
		uidset_remove(&x->members, uid, uid);
		if (x->uid)
			uidset_add(&x->gone, uid, uid);
		else
			put_change(s, x, "REMOVEFROM", &one);
	}
}

/* Of what has changed or come: what fits now and did not, and the other way round.
 * False: it would hold up the user's other sessions. */
static bool
compare(struct imap *s, struct context *x, struct uidset *added, struct uidset *removed)
{
	struct view *v = &s->view;
	uint64_t work = 0;
	uint32_t seq = 1;
	struct text text;

	text_init(&text);
	x->search.now = loop_wall_ms(s->user->loop) / 1000;
	for (; seq <= view_count(v) && work <= WORK_MAX; seq++) {
		const struct message *m = view_message(v, seq);
		uint32_t uid = m ? m->uid : 0;
		bool fits;

		if (!m || (m->modseq <= x->modseq && uid <= x->told))
			continue;
		fits = search_fits(&x->search, v, seq, m, &text);
		work += searching_work(&x->search) + searching_read(&text, uid);
		if (fits == uidset_has(&x->members, uid))
			continue;
		if (fits)
			uidset_add(&x->members, uid, uid);
		else
			uidset_remove(&x->members, uid, uid);
		uidset_add(fits ? added : removed, x->uid ? uid : seq, x->uid ? uid : seq);
		if (fits && x->items && uid > x->told)
			aside_fetch(s, x->items, uid, uid);
	}
	text_free(&text);
	return seq > view_count(v);
}

/* So many messages have changed that only a new search can tell. */
static void
give_up(struct imap *s, struct context *x)
{
	struct buf *out = &s->base.out.mem;

	buf_put(out, SPAN("* NO [NOUPDATE "));
	imap_put_string(out, x->tag);
	buf_put(out, SPAN("] Too much has changed at once.\r\n"));
	aside_clear(s);
	context_free(x);
}

void
context_update(struct imap *s)
{
	LIST_EACH(&s->contexts, node) {
		struct context *x = OWNER_OF(node, struct context, node);
		struct uidset added, removed;
		bool ok;

		put_change(s, x, "REMOVEFROM", &x->gone);
		uidset_clear(&x->gone);
		if (x->modseq == mailbox_modseq(s->view.mailbox) && x->told == s->view.told)
			continue;
		uidset_init(&added);
		uidset_init(&removed);
		ok = compare(s, x, &added, &removed);
		put_change(s, x, "REMOVEFROM", &removed);
		put_change(s, x, "ADDTO", &added);
		uidset_free(&added);
		uidset_free(&removed);
		if (!ok) {
			give_up(s, x);
			continue;
		}
		x->modseq = mailbox_modseq(s->view.mailbox);
		x->told = s->view.told;
	}
}
