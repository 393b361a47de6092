/* SPDX-License-Identifier: ISC
 *
 * What is known of a message: out of the queue, into text, and back.
 */
#include "queue/export.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/queueid.h"
#include "mail/report.h"
#include "queue/impl.h"

enum { DONE_MAX = 8 * 1024 * 1024 }; /* as record.def has it */

static const struct span first_line = SPAN_INIT("pillarpost-envelope 1");
_Static_assert(EXPORT_VERSION == 1, "stands in the first line");

/* ---- out of the queue ---- */

/* What is done of all recipients, in their order. */
struct dones {
	const struct done **all; /* owned */
	size_t n, at;
};

static int
by_recipient(const void *a, const void *b)
{
	uint32_t x = (*(const struct done *const *)a)->recipient, y = (*(const struct done *const *)b)->recipient;

	return (x > y) - (x < y);
}

static bool
sort_dones(const struct message *m, struct dones *out)
{
	const struct done *first = m->extra ? m->extra->done : NULL;

	*out = (struct dones){ .n = 0 };
	for (const struct done *d = first; d; d = d->next)
		out->n++;
	if (!(out->all = calloc(out->n + 1, sizeof(const struct done *))))
		return false;
	for (const struct done *d = first; d; d = d->next)
		out->all[out->at++] = d;
	qsort(out->all, out->n, sizeof(const struct done *), by_recipient);
	out->at = 0;
	return true;
}

static bool
put_done(struct dones *dones, uint32_t index, struct buf *done)
{
	buf_reset(done);
	for (; dones->at < dones->n && dones->all[dones->at]->recipient == index; dones->at++) {
		const struct done *d = dones->all[dones->at];

		buf_le16(done, d->address ? d->address->n : 0);
		buf_put(done, text_span(d->address));
	}
	return buf_ok(done);
}

/* What outlasts the process: a delay is noted anew. */
static bool
lasting(const struct note *n)
{
	return n->action != REPORT_DELAYED && !n->told;
}

/* news[i]: not yet reported of recipient i, which has then to stand as open:
 * the results that follow settle it, and have it reported. */
static bool
put_recipients(const struct message *m, const uint32_t *news, struct buf *list)
{
	struct dones dones;
	struct buf done;
	bool ok = sort_dones(m, &dones);

	buf_init(&done, DONE_MAX);
	for (uint32_t i = 0; ok && i < m->nrcpts; i++) {
		const struct recipient *to = &m->rcpts[i];
		struct record_recipient r = { .address = text_span(to->address), .orcpt = text_span(to->orcpt), .notify = to->notify,
			.settled = to->settled && !news[i], .expanded = to->expanded, .owner = message_owner(m, i), .via = message_via(m, i) };

		ok = put_done(&dones, i, &done);
		r.done = buf_span(&done);
		ok = ok && record_list_put(list, &record_desc_recipient, &r);
	}
	free(dones.all);
	buf_free(&done);
	return ok;
}

static bool
put_results(const struct message *m, uint32_t *news, struct buf *list)
{
	bool ok = true;

	for (const struct note *n = message_notes(m); ok && n; n = n->next) {
		struct record_result r = { .index = n->recipient, .code = text_span(n->code), .peer = text_span(n->peer),
			.reply = text_span(n->reply), .note = (uint8_t)(n->action + 1), .owner = text_span(n->to),
			.outcome = n->action == REPORT_FAILED ? OUTCOME_FAILED : n->action == REPORT_RELAYED ? OUTCOME_RELAYED : OUTCOME_DELIVERED };

		if (!lasting(n))
			continue;
		r.settled = --news[n->recipient] == 0 && m->rcpts[n->recipient].settled;
		ok = record_list_put(list, &record_desc_result, &r);
	}
	return ok;
}

bool
export_state_of(const struct message *m, struct buf *room, struct export_message *x, struct fail *why)
{
	uint32_t *news = calloc((size_t)m->nrcpts + 1, sizeof(*news));
	size_t from = buf_len(room), middle;
	bool ok = news != NULL;

	for (const struct note *n = message_notes(m); ok && n; n = n->next)
		news[n->recipient] += lasting(n);
	ok = ok && put_recipients(m, news, room);
	middle = buf_len(room);
	ok = ok && put_results(m, news, room);
	free(news);
	if (!ok || !buf_ok(room))
		return fail_set(why, FAIL_LIMIT, 0, "the recipients do not fit");
	x->envelope.list = span_sub(buf_span(room), from, middle - from);
	x->envelope.recipients = m->nrcpts;
	x->results = span_from(buf_span(room), middle);
	x->envelope.held = (m->flags & MESSAGE_HELD) != 0;
	x->state = (struct record_state){ .id = m->flags & (MESSAGE_TRIED | MESSAGE_HELD | MESSAGE_WARNED | MESSAGE_OVERDUE) ? message_id(m) : 0,
		.attempts = m->attempts, .held = (m->flags & MESSAGE_HELD) != 0, .warned = (m->flags & MESSAGE_WARNED) != 0,
		.overdue = (m->flags & MESSAGE_OVERDUE) != 0, .reason = word_span(m->reason) };
	for (const struct entry *e = &m->first; e; e = e->next)
		if (e->state == ENTRY_WAITING && (!x->state.destination.n || e->due_ms < x->state.next_ms)) {
			x->state.next_ms = e->due_ms;
			x->state.destination = destination_name(e->d);
		}
	return true;
}

bool
export_of(struct queue *q, const struct message *m, struct buf *into, struct buf *room, struct export_message *x,
    struct span *content, struct fail *why)
{
	return queue_read(q, m, into, &x->envelope, content, why) && export_state_of(m, room, x, why);
}

/* ---- into a queue ---- */

static void
apply(struct queue *q, struct message *m, const struct export_message *x)
{
	struct span list = x->results;
	struct record_result r;
	bool ok = true;

	if (x->state.id) {
		m->flags |= MESSAGE_TRIED | (x->state.warned ? MESSAGE_WARNED : 0) | (x->state.overdue ? MESSAGE_OVERDUE : 0);
		m->attempts = x->state.attempts;
		words_put(&q->words, &m->reason);
		m->reason = words_get(&q->words, x->state.reason);
		queue_record_state(q, m);
	}
	if (!list.n)
		return;
	queue_record_outcome(q, m, list, false, NULL);
	while (record_list_next(&list, &record_desc_result, &r, &ok))
		(void)queue_apply_result(q, m, &r, q->now); /* they add nobody */
}

bool
export_insert(struct queue *q, const struct export_message *x, struct content *content,
    void (*on_done)(void *, uint64_t, const struct fail *), void *arg, struct fail *why)
{
	struct record_envelope e = x->envelope;
	struct message *m;

	e.held |= x->state.id && x->state.held;
	if (!queue_accept(q, &e, content, on_done, arg, why))
		return false;
	m = queue_find(q, e.id);
	if (m)
		apply(q, m, x);
	return true;
}

/* ---- as text ---- */

static void
put_id(struct buf *out, uint64_t id)
{
	char text[QUEUEID_TEXT + 1];

	buf_printf(out, "id: %s\n", queueid_text(id, text).p);
}

static void
text_recipients(struct span list, struct buf *out, bool *ok)
{
	struct record_recipient r;

	while (record_list_next(&list, &record_desc_recipient, &r, ok)) {
		struct span done = r.done;

		buf_puts(out, "[recipient]\n");
		desc_lines(&record_desc_recipient, &r, out);
		while (done.n >= 2) {
			size_t n = (size_t)(unsigned char)done.p[0] | (size_t)(unsigned char)done.p[1] << 8;

			buf_printf(out, "done: %.*s\n", SPAN_ARG(span_sub(done, 2, n)));
			done = span_from(done, 2 + n);
		}
	}
}

bool
export_text(const struct export_message *x, struct buf *out)
{
	struct record_envelope e = x->envelope;
	struct record_state s = x->state;
	struct span results = x->results;
	struct record_result r;
	bool ok = true;

	buf_put(out, first_line);
	buf_putc(out, '\n');
	put_id(out, e.id);
	e.id = 0;
	e.blob = false; /* how the content is stored is each queue's own affair */
	e.recipients = 0;
	desc_lines(&record_desc_envelope, &e, out);
	if (s.id) {
		buf_puts(out, "[state]\n");
		s.id = s.about = 0;
		desc_lines(&record_desc_state, &s, out);
	}
	text_recipients(x->envelope.list, out, &ok);
	while (record_list_next(&results, &record_desc_result, &r, &ok)) {
		buf_puts(out, "[result]\n");
		desc_lines(&record_desc_result, &r, out);
	}
	return ok && buf_ok(out);
}

struct parse {
	enum { IN_ENVELOPE, IN_STATE, IN_RECIPIENT, IN_RESULT } in;
	struct export_message *x;
	struct record_recipient recipient;
	struct record_result result;
	struct buf list, results, done;
	uint32_t nresults;
};

static const struct {
	struct span header;
	const struct desc *desc;
} sections[] = {
	[IN_ENVELOPE] = { SPAN_INIT("[envelope]"), &record_desc_envelope },
	[IN_STATE] = { SPAN_INIT("[state]"), &record_desc_state },
	[IN_RECIPIENT] = { SPAN_INIT("[recipient]"), &record_desc_recipient },
	[IN_RESULT] = { SPAN_INIT("[result]"), &record_desc_result },
};

/* The section before is over. */
static bool
close_section(struct parse *p)
{
	bool ok = true;

	if (p->in == IN_RECIPIENT) {
		p->recipient.done = buf_span(&p->done);
		ok = buf_ok(&p->done) && record_list_put(&p->list, &record_desc_recipient, &p->recipient);
		p->recipient = (struct record_recipient){ .settled = false };
		buf_reset(&p->done);
		p->x->envelope.recipients++;
	} else if (p->in == IN_RESULT) {
		ok = p->result.index < p->x->envelope.recipients && record_list_put(&p->results, &record_desc_result, &p->result);
		p->result = (struct record_result){ .settled = false };
	}
	return ok;
}

static bool
open_section(struct parse *p, struct span line)
{
	for (unsigned i = IN_STATE; i <= IN_RESULT; i++)
		if (span_eq(line, sections[i].header)) {
			if (!close_section(p) || i < p->in)
				return false;
			p->in = i;
			if (i == IN_STATE)
				p->x->state.id = p->x->envelope.id;
			return true;
		}
	return false;
}

static bool
parse_field(struct parse *p, struct span name, struct span value)
{
	void *const to[] = { &p->x->envelope, &p->x->state, &p->recipient, &p->result };

	if (span_eq(name, SPAN("id")))
		return p->in == IN_ENVELOPE && queueid_parse(value, &p->x->envelope.id);
	if (span_eq(name, SPAN("about")) || span_eq(name, SPAN("recipients")) || span_eq(name, SPAN("blob")))
		return false;
	if (p->in == IN_RECIPIENT && span_eq(name, SPAN("done"))) {
		if (value.n > record_desc_recipient.fields[0].bound || span_chr(value, '\r') != SIZE_MAX || span_chr(value, '\0') != SIZE_MAX)
			return false;
		buf_le16(&p->done, (uint16_t)value.n);
		buf_put(&p->done, value);
		return buf_ok(&p->done);
	}
	return desc_set(sections[p->in].desc, name, value, to[p->in]);
}

static bool
parse_line(struct parse *p, struct span line)
{
	struct span name;

	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	if (line.n == 0 || line.p[0] == '#')
		return true;
	if (line.p[0] == '[')
		return open_section(p, line);
	name = span_cut(&line, ':');
	return line.n > 0 && line.p[0] == ' ' && parse_field(p, name, span_from(line, 1));
}

static bool
parse_lines(struct parse *p, struct span text, struct fail *why)
{
	struct span line = span_cut(&text, '\n');

	for (unsigned n = 2; span_eq(span_trim(line), first_line); n++) {
		if (!text.n)
			return close_section(p) || fail_set(why, FAIL_PERM, 0, "line %u: a section is not complete", n);
		struct span next = span_cut(&text, '\n');

		if (!parse_line(p, next))
			return fail_set(why, FAIL_PERM, 0, "line %u is not understood: %.*s", n, SPAN_ARG(span_sub(next, 0, 100)));
	}
	return fail_set(why, FAIL_PERM, 0, "line 1 is not \"%.*s\": another version, or no envelope", SPAN_ARG(first_line));
}

bool
export_parse(struct span text, struct buf *room, struct export_message *x, struct fail *why)
{
	struct parse p = { .x = x };
	size_t from = buf_len(room), middle;
	bool ok;

	*x = (struct export_message){ .results = SPAN_NONE };
	buf_init(&p.list, RECORD_HEAD_MAX);
	buf_init(&p.results, RECORD_HEAD_MAX);
	buf_init(&p.done, DONE_MAX);
	ok = parse_lines(&p, text, why);
	buf_put(room, buf_span(&p.list));
	middle = buf_len(room);
	buf_put(room, buf_span(&p.results));
	if (ok && (!buf_ok(room) || !buf_ok(&p.list) || !buf_ok(&p.results)))
		ok = fail_set(why, FAIL_LIMIT, 0, "the recipients do not fit");
	if (ok && (!x->envelope.id || !x->envelope.recipients))
		ok = fail_set(why, FAIL_PERM, 0, "an envelope without %s", x->envelope.id ? "recipients" : "id");
	x->envelope.list = span_sub(buf_span(room), from, middle - from);
	x->results = span_from(buf_span(room), middle);
	buf_free(&p.list);
	buf_free(&p.results);
	buf_free(&p.done);
	return ok;
}
