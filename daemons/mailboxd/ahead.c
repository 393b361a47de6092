/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/ahead.h"

enum { FACTS_MIN = 8 }; /* messages: for fewer threads are not worth it */

enum { SPARSE = 8 }; /* with one in so many to be read the threads would be waited for more than they help */

static struct told *
told_of(struct ahead *a, uint32_t seq)
{
	return &a->told[seq % AHEAD_MESSAGES];
}

static bool
must_read(struct ahead *a, uint32_t uid)
{
	const struct message *m = view_by_uid(a->view, uid);

	a->search->said = 0;
	return m && search_must_read(a->search, a->view, view_seq(a->view, uid), m, a->text);
}

static bool
wants(void *arg, const struct message *m)
{
	return must_read(arg, m->uid);
}

static bool
look(const void *arg, struct span message, struct arena *arena, struct buf *out)
{
	return search_look(((const struct ahead *)arg)->search, message, arena, out);
}

static void
on_batch(void *arg, const struct read_message *all, size_t n)
{
	struct ahead *a = arg;

	for (size_t i = 0; i < n; i++)
		*told_of(a, view_seq(a->view, all[i].uid)) = (struct told){ all[i].uid, all[i].said.n ? (uint8_t)all[i].said.p[0] : 0 };
	a->ntold += (uint32_t)n;
	if (!a->waits || reading_under_way(&a->reading, a->waits))
		return;
	a->waits = 0;
	cmd_wake(a->cmd);
}

void
ahead_start(struct ahead *a, struct cmd *c, struct search *search, struct view *view, struct text *text)
{
	*a = (struct ahead){ .search = search, .view = view, .text = text, .cmd = c, .runs = true };
	reading_init(&a->reading, view->mailbox, &(struct reading_use){ wants, look, on_batch, a });
}

static uint32_t
last_of(const struct ahead *a, uint32_t seq)
{
	uint32_t left = view_count(a->view) - seq;

	return view_uid(a->view, seq + (left < AHEAD_MESSAGES ? left : AHEAD_MESSAGES - 1));
}

static bool
sparse(const struct ahead *a, uint32_t seq)
{
	return seq - a->from > a->ntold * SPARSE;
}

static void
count_from(struct ahead *a, uint32_t seq)
{
	a->from = seq;
	a->ntold = 0;
}

/* Not twice: what was asked for and not told of is not to be had this way. */
static bool
ask(struct ahead *a, uint32_t seq, uint32_t uid)
{
	if (a->asked == uid || !must_read(a, uid))
		return false;
	a->sparse = a->asked && sparse(a, seq);
	if (a->sparse)
		return false;
	a->asked = uid;
	count_from(a, seq);
	return reading_ask(&a->reading, uid, last_of(a, seq));
}

/* Before the threads come to the end of what was asked for. */
static void
ask_more(struct ahead *a, uint32_t seq)
{
	if (!a->asked || seq - a->from < AHEAD_MESSAGES / 2 || sparse(a, seq))
		return;
	count_from(a, seq);
	reading_extend(&a->reading, last_of(a, seq));
}

bool
ahead_waits(struct ahead *a, uint32_t seq, uint32_t uid)
{
	const struct told *told = told_of(a, seq);
	bool known = told->uid == uid;

	ask_more(a, seq);
	a->search->said = known ? told->said : 0;
	if (known || (!reading_under_way(&a->reading, uid) && !ask(a, seq, uid)))
		return false;
	a->waits = uid;
	return true;
}

void
ahead_stop(struct ahead *a)
{
	if (!a || !a->runs)
		return;
	reading_stop(&a->reading);
	a->search->said = 0;
	a->runs = false;
}

/* ---- facts ---- */

static void
on_facts(struct facts_wait *w)
{
	cmd_wake(OWNER_OF(w, struct facts_ahead, wait)->cmd);
}

bool
facts_ahead(struct facts_ahead *a, struct cmd *c, const struct view *v, const struct message *m, uint32_t seq, uint32_t hi)
{
	bool again = a->waited; /* not twice for one message */

	a->waited = false;
	if (again || m->facts || c != &c->s->cmd || hi - seq < FACTS_MIN)
		return false;
	a->cmd = c;
	a->wait.on_facts = on_facts;
	return a->waited = mailbox_facts_wait(v->mailbox, m->uid, view_uid(v, hi), &a->wait);
}
