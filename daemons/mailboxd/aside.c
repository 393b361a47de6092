/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/aside.h"

#include <stdlib.h>

#include "daemons/mailboxd/fetching.h"

enum { JOBS = 16 }; /* one for each context, one for NOTIFY, and some that came later */

struct aside {
	struct cmd fetch; /* def NULL: none runs */
	struct arena arena;
	struct {
		struct fetch_item *items;
		struct uidset uids;
	} jobs[JOBS];
	size_t n;
};

void
aside_fetch(struct imap *s, struct fetch_item *items, uint32_t lo, uint32_t hi)
{
	struct aside *a = s->aside;

	if (!a) {
		a = s->aside = calloc(1, sizeof *a);
		if (!a)
			return;
		arena_init(&a->arena, BOUND_ARENA);
	}
	for (size_t i = 0; i < a->n; i++) {
		if (a->jobs[i].items == items) {
			uidset_add(&a->jobs[i].uids, lo, hi);
			return;
		}
	}
	if (a->n < JOBS) {
		a->jobs[a->n].items = items;
		uidset_init(&a->jobs[a->n].uids);
		uidset_add(&a->jobs[a->n++].uids, lo, hi);
	}
}

static void
end(struct aside *a)
{
	struct cmd *c = &a->fetch;

	if (c->release)
		c->release(c);
	uidset_free(&c->seqs);
	*c = (struct cmd){ .def = NULL };
	arena_reset(&a->arena);
}

void
aside_clear(struct imap *s)
{
	if (!s->aside)
		return;
	end(s->aside);
	while (s->aside->n)
		uidset_free(&s->aside->jobs[--s->aside->n].uids);
}

bool
aside_busy(const struct imap *s)
{
	return s->aside && (s->aside->fetch.def || s->aside->n);
}

bool
aside_midway(const struct imap *s)
{
	return s->aside && s->aside->fetch.def;
}

/* As if the client had sent UID FETCH; false: there is nothing to tell. */
static bool
begin(struct imap *s, struct aside *a)
{
	struct cmd *c = &a->fetch;
	size_t job = --a->n;
	struct uidset *uids = &a->jobs[job].uids;

	*c = (struct cmd){ .s = s, .def = command_find(SPAN("FETCH"), true), .uid = true, .arena = &a->arena };
	uidset_init(&c->seqs);
	for (size_t i = 0; s->state == STATE_SELECTED && i < uids->n; i++) {
		uint32_t lo = view_seq_from(&s->view, uids->ranges[i].lo), hi = view_seq_from(&s->view, uids->ranges[i].hi + 1);

		if (lo < hi)
			uidset_add(&c->seqs, lo, hi - 1);
	}
	uidset_free(uids);
	return !uidset_empty(&c->seqs) && fetch_begin(c, a->jobs[job].items) == CMD_MORE;
}

bool
aside_step(struct imap *s)
{
	struct aside *a = s->aside;

	if (a->fetch.def || begin(s, a))
		if (a->fetch.step(&a->fetch) != CMD_DONE)
			return false;
	end(a);
	return a->n == 0;
}

void
aside_free(struct aside **a)
{
	if (!*a)
		return;
	end(*a);
	while ((*a)->n)
		uidset_free(&(*a)->jobs[--(*a)->n].uids);
	arena_free(&(*a)->arena);
	free(*a);
	*a = NULL;
}
