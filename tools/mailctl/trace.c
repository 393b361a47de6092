/* SPDX-License-Identifier: ISC */
#include "tools/mailctl/trace.h"

#include <stdlib.h>
#include <string.h>

enum { FEW = 8, RECENT = 1024 * 1024 };

void
trace_init(struct trace *t, const char *query, size_t limit)
{
	uint64_t id;

	*t = (struct trace){ .query = span_trim(span_str(query)), .limit = limit ? limit : TRACE_STORIES };
	arena_init(&t->arena, TRACE_MEMORY);
	map_init(&t->ids);
	buf_init(&t->recent, RECENT);
	t->tail = &t->first;
	if (t->query.n > 2 && t->query.p[0] == '<' && span_ends(t->query, SPAN(">"))) {
		t->query = span_sub(t->query, 1, t->query.n - 2);
		t->by_message_id = true;
	} else {
		t->by_address = t->by_message_id = span_chr(t->query, '@') != SIZE_MAX || !queueid_parse(t->query, &id);
		t->by_client = t->by_address && span_chr(t->query, '@') == SIZE_MAX;
		if (!t->by_address)
			t->query = queueid_text(id, t->id_text);
	}
}

void
trace_free(struct trace *t)
{
	map_free(&t->ids);
	buf_free(&t->recent);
	arena_free(&t->arena);
}

static struct trace_story *
find(const struct trace *t, struct span id)
{
	struct map_node *node = id.n ? map_get(&t->ids, id) : NULL;

	return node ? OWNER_OF(node, struct trace_story, by_id) : NULL;
}

/* Of many, the latest count. */
static void
drop_first(struct trace *t)
{
	struct trace_story *s = t->first;

	t->cut = true;
	map_remove(&t->ids, &s->by_id);
	t->first = s->next;
	if (!t->first)
		t->tail = &t->first;
	t->nstories--;
}

/* NULL: no memory. */
static struct trace_story *
story(struct trace *t, struct span id, bool is_session)
{
	struct trace_story *s = find(t, id);

	if (s || !id.n)
		return s;
	if (t->seeding && t->nstories >= t->limit)
		drop_first(t);
	s = ARENA_NEW(&t->arena, struct trace_story);
	if (s)
		s->id = arena_dup(&t->arena, id);
	if (!s || !s->id.p || !map_put(&t->ids, &s->by_id, s->id)) {
		t->cut = true;
		return NULL;
	}
	s->is_session = is_session;
	s->tail = &s->events;
	*t->tail = s;
	t->tail = &s->next;
	t->nstories++;
	return s;
}

/* Most lines are about something else: tells so without taking them apart. */
static bool
may_concern(const struct trace *t, struct span text)
{
	if (t->nstories > FEW)
		return true;
	for (const struct trace_story *s = t->first; s; s = s->next)
		if (memmem(text.p, text.n, s->id.p, s->id.n))
			return true;
	return !t->by_address && !t->by_message_id && memmem(text.p, text.n, t->query.p, t->query.n);
}

/* ---- what it is about ---- */

/* "name[address]": either; with what came from it and what it was refused, but not each session that came to nothing. */
static bool
is_of_client(const struct trace *t, const struct log_line *l)
{
	static const struct span events[] = { SPAN_INIT("received"), SPAN_INIT("reject"), SPAN_INIT("limit"), SPAN_INIT("auth") };
	struct span rest = l->client, name = span_cut(&rest, '[');
	bool told = false;

	for (size_t i = 0; i < sizeof(events) / sizeof(*events); i++)
		told |= span_eq(l->event, events[i]);
	return told && span_eq(l->tag, SPAN("smtpd")) &&
	    (span_caseeq(name, t->query) || (span_ends(rest, SPAN("]")) && span_caseeq(span_sub(rest, 0, rest.n - 1), t->query)));
}

static bool
is_about(const struct trace *t, const struct log_line *l)
{
	if (t->by_client && l->client.n && is_of_client(t, l))
		return true;
	if (t->by_address && (span_caseeq(l->from, t->query) || span_caseeq(l->to, t->query) || span_caseeq(l->orig_to, t->query) ||
	                         span_caseeq(l->as, t->query)))
		return true;
	return t->by_message_id && l->message_id.n && span_eq(l->message_id, t->query);
}

static void
note_seed(struct trace *t, const struct log_line *l)
{
	struct trace_story *s;

	if (t->by_address || t->by_message_id) {
		if (!is_about(t, l))
			return;
		s = story(t, l->id.n ? l->id : l->session, l->id.n == 0);
		if (s)
			s->asked = true;
		if (s && s->is_session)
			s->refused = true;
		return;
	}
	if (span_caseeq(l->id, t->query) && (s = story(t, l->id, false)))
		s->asked = true;
	else if (span_caseeq(l->session, t->query) && (s = story(t, l->session, true)))
		s->asked = s->refused = true;
}

/* ---- what belongs to it ---- */

static void
note_links(struct trace *t, const struct log_line *l)
{
	struct trace_story *s = find(t, l->id), *report;

	if (!s)
		return;
	if (l->from.p && !s->from.p)
		s->from = arena_dup(&t->arena, l->from);
	if (l->session.n && !s->session)
		s->session = story(t, l->session, true);
	if (l->report.n && (report = story(t, l->report, false)) && !report->about && report != s)
		report->about = s;
}

/* The query stands in the line, in whatever case: looked for at each of its few '@'. */
static bool
may_match(const struct trace *t, struct span text)
{
	size_t before = span_chr(t->query, '@'), from = 0;
	const char *at;

	if (before == SIZE_MAX)
		return true;
	while (from < text.n && (at = memchr(text.p + from, '@', text.n - from))) {
		size_t i = (size_t)(at - text.p);

		if (i >= before && span_caseeq(span_sub(text, i - before, t->query.n), t->query))
			return true;
		from = i + 1;
	}
	return false;
}

static bool
on_seed(void *arg, struct span text)
{
	struct log_line l;

	if (may_match(arg, text) && log_line_parse(text, &l))
		note_seed(arg, &l);
	return true;
}

static bool
on_link(void *arg, struct span text)
{
	struct log_line l;

	if (may_concern(arg, text) && log_line_parse(text, &l))
		note_links(arg, &l);
	return true;
}

/* By id one reading finds both: nothing before its first line is about it but the session's. */
static bool
on_id(void *arg, struct span text)
{
	struct trace *t = arg;
	struct log_line l;

	if (may_concern(t, text) && log_line_parse(text, &l)) {
		note_seed(t, &l);
		note_links(t, &l);
	}
	return true;
}

/* ---- the lines ---- */

static struct trace_story *
owner(const struct trace *t, const struct log_line *l)
{
	struct trace_story *s = find(t, l->id);

	return s ? s : l->report.n && find(t, l->report) ? find(t, l->report) : find(t, l->session);
}

static struct trace_event *
keep(struct trace *t, struct trace_story *s, struct span text)
{
	struct span copy = arena_dup(&t->arena, text);
	struct trace_event *e = copy.p ? ARENA_NEW(&t->arena, struct trace_event) : NULL;

	if (!e || !log_line_parse(copy, &e->line)) {
		t->cut = true;
		return NULL;
	}
	e->number = ++t->nlines;
	*s->tail = e;
	s->tail = &e->next;
	s->found = true;
	s->removed |= span_eq(e->line.event, SPAN("removed"));
	return e;
}

static bool
on_line(void *arg, struct span text)
{
	struct trace *t = arg;
	struct trace_story *s;
	struct log_line l;

	if (may_concern(t, text) && log_line_parse(text, &l) && (s = owner(t, &l)))
		(void)keep(t, s, text);
	return true;
}

bool
trace_read(struct trace *t, const struct logfiles *files, int64_t since_ms, struct fail *why)
{
	if (t->by_address || t->by_message_id) {
		t->seeding = true;
		if (!logfiles_each(files, since_ms, on_seed, t, why))
			return false;
		t->seeding = false;
		if (t->first && !logfiles_each(files, since_ms, on_link, t, why))
			return false;
	} else if (!logfiles_each(files, since_ms, on_id, t, why)) {
		return false;
	}
	return !t->first || logfiles_each(files, since_ms, on_line, t, why);
}

/* ---- one by one ---- */

struct adding {
	struct trace *t;
	void (*on_event)(void *arg, struct trace_story *s, const struct trace_event *e);
	void *arg;
};

static void
add_line(const struct adding *a, struct span text)
{
	struct trace_story *s;
	struct trace_event *e;
	struct log_line l;

	if (log_line_parse(text, &l) && (s = owner(a->t, &l)) && (e = keep(a->t, s, text)))
		a->on_event(a->arg, s, e);
}

static void
remember(struct trace *t, struct span text)
{
	if (buf_space(&t->recent) < text.n + 1)
		buf_eat(&t->recent, buf_len(&t->recent) / 2); /* a line that is cut there is not understood any more */
	buf_put(&t->recent, text);
	buf_putc(&t->recent, '\n');
}

void
trace_add(struct trace *t, struct span text, void (*on_event)(void *, struct trace_story *, const struct trace_event *), void *arg)
{
	struct adding a = { .t = t, .on_event = on_event, .arg = arg };
	size_t stories = t->nstories;
	struct span rest;
	struct log_line l;

	if (!log_line_parse(text, &l))
		return;
	note_seed(t, &l);
	note_links(t, &l);
	if (t->nstories != stories) { /* other processes may have written about it a moment earlier */
		struct trace_story **from = &t->first;

		for (size_t i = 0; i < stories && *from; i++)
			from = &(*from)->next;
		for (rest = buf_span(&t->recent); rest.n;) {
			struct span line = span_cut(&rest, '\n');

			if (log_line_parse(line, &l)) {
				note_links(t, &l);
				for (struct trace_story *s = *from; s; s = s->next)
					if (owner(t, &l) == s) {
						add_line(&a, line);
						break;
					}
			}
		}
	}
	remember(t, text);
	add_line(&a, text);
}

/* ---- telling ---- */

/* A session's lines that have to do with one message of it. */
static bool
concerns(const struct trace_story *message, const struct log_line *l)
{
	static const struct span always[] = { SPAN_INIT("connect"), SPAN_INIT("tls"), SPAN_INIT("auth"), SPAN_INIT("limit"), SPAN_INIT("disconnect") };

	for (size_t i = 0; i < sizeof(always) / sizeof(*always); i++)
		if (span_eq(l->event, always[i]))
			return true;
	return l->id.n ? span_eq(l->id, message->id) : l->from.p && message->from.p && span_caseeq(l->from, message->from);
}

static int
by_time(const void *a, const void *b)
{
	const struct trace_event *x = *(struct trace_event *const *)a, *y = *(struct trace_event *const *)b;

	if (x->line.time_ms != y->line.time_ms)
		return x->line.time_ms < y->line.time_ms ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

struct trace_event **
trace_events(const struct trace_story *s, size_t *n)
{
	struct trace_event **all;
	size_t max = 1;

	*n = 0;
	for (const struct trace_event *e = s->events; e; e = e->next)
		max++;
	for (const struct trace_event *e = s->session ? s->session->events : NULL; e; e = e->next)
		max++;
	all = malloc(max * sizeof(struct trace_event *));
	if (!all)
		return NULL;
	for (struct trace_event *e = s->events; e; e = e->next)
		all[(*n)++] = e;
	for (struct trace_event *e = s->session ? s->session->events : NULL; e; e = e->next)
		if (concerns(s, &e->line))
			all[(*n)++] = e;
	qsort(all, *n, sizeof(struct trace_event *), by_time);
	return all;
}

bool
trace_is_over(const struct trace *t)
{
	bool any = false;

	if (t->by_address)
		return false;
	for (const struct trace_story *s = t->first; s; s = s->next) {
		any |= !s->is_session;
		if (!s->is_session && !s->removed)
			return false;
	}
	return any;
}
