/* SPDX-License-Identifier: ISC */
#include "filter_script.h"

#include "mail/status.h"

enum { PIECE = 40, PIECES = 3 };

static const struct span stage_names[SCRIPT_STAGES] = { SPAN_INIT("mail"), SPAN_INIT("rcpt"), SPAN_INIT("data"), SPAN_INIT("end") };

void
filter_script_init(struct filter_script *f, struct dialog *d, struct arena *mem)
{
	*f = (struct filter_script){ .dialog = d, .mem = mem };
	buf_init(&f->content, 1 << 26);
}

void
filter_script_free(struct filter_script *f)
{
	buf_free(&f->content);
}

static void
push(struct filter_script *f, enum filter_script_stage stage, uint64_t question, bool plain, bool pieces)
{
	if (f->last == FILTER_EVENTS)
		return;
	f->events[f->last].stage = stage;
	f->events[f->last].question = question;
	f->events[f->last].plain = plain;
	f->events[f->last++].pieces = pieces;
}

static bool
answer_later(struct filter_script *f, enum filter_script_stage stage, uint64_t question, bool plain)
{
	if (plain || !f->stages[stage].silent)
		push(f, stage, question, plain, false);
	return true;
}

bool
filter_script_mail(struct filter_script *f, struct ipc_filter_mail *m)
{
	if (f->away)
		return false;
	if (!m->id)
		m->id = ++f->id;
	dialog_action(f->dialog, "filter mail from=<%.*s> helo=%.*s user=%.*s", SPAN_ARG(m->sender), SPAN_ARG(m->helo), SPAN_ARG(m->sasl_user));
	return answer_later(f, SCRIPT_MAIL, m->question, false);
}

static bool
on_data(struct filter_script *f, const struct ipc_filter_data *m)
{
	dialog_action(f->dialog, "filter data nrcpt=%u rcpt=%.*s", m->nrcpt, SPAN_ARG(m->rcpt));
	buf_reset(&f->content);
	f->back = 0;
	return answer_later(f, SCRIPT_DATA, m->question, false);
}

static bool
on_end(struct filter_script *f, const struct ipc_filter_end *m)
{
	size_t hidden = span_find(buf_span(&f->content), SPAN("+0000\r\n")); /* of Received: its date */

	dialog_action(f->dialog, "filter end hidden=%s size=%zu", hidden != SIZE_MAX && hidden + 7 == m->hidden ? "right" : "wrong", buf_len(&f->content) - m->hidden);
	if (f->field.n) {
		struct span old = arena_dup(f->mem, buf_span(&f->content));

		buf_reset(&f->content);
		buf_put(&f->content, span_sub(old, 0, m->hidden));
		buf_put(&f->content, f->field);
		buf_put(&f->content, span_from(old, m->hidden));
	}
	return answer_later(f, SCRIPT_END, m->question, false);
}

bool
filter_script_send(struct filter_script *f, unsigned type, const void *m)
{
	const struct ipc_filter_rcpt *rcpt = m;

	if (f->away)
		return false;
	switch (type) {
	case IPC_filter_rcpt:
		dialog_action(f->dialog, "filter rcpt <%.*s>", SPAN_ARG(rcpt->address));
		return answer_later(f, SCRIPT_RCPT, rcpt->question, !dialog_match(f->stages[SCRIPT_RCPT].pattern, rcpt->address));
	case IPC_filter_data:
		return on_data(f, m);
	case IPC_filter_content:
		buf_put(&f->content, ((const struct ipc_filter_content *)m)->bytes);
		return true;
	case IPC_filter_end:
		return on_end(f, m);
	case IPC_filter_pull:
		push(f, SCRIPT_END, 0, false, true);
		return true;
	case IPC_filter_reset:
	case IPC_filter_close:
		f->first = f->last = 0;
		if (type == IPC_filter_close)
			dialog_action(f->dialog, "filter close");
		return true;
	default:
		return false;
	}
}

static void
give_pieces(struct filter_script *f, struct session *s)
{
	struct ipc_filter_piece m = { .id = f->id };

	for (unsigned i = 0; i < PIECES && m.state == FILTER_PIECE_NEXT; i++) {
		m.bytes = span_sub(buf_span(&f->content), f->back, PIECE);
		f->back += m.bytes.n;
		m.state = f->back == buf_len(&f->content) ? FILTER_PIECE_LAST : i + 1 == PIECES ? FILTER_PIECE_MORE : FILTER_PIECE_NEXT;
		session_on_filter_piece(s, &m);
	}
}

static void
give_changes(struct filter_script *f, struct session *s)
{
	for (size_t i = 0; i < f->nchanges; i++)
		if (f->changes[i].kind == 's')
			session_on_filter_sender(s, f->id, f->changes[i].address);
		else if (f->changes[i].kind == 'a')
			session_on_filter_add(s, f->id, f->changes[i].address);
		else
			session_on_filter_remove(s, f->id, f->changes[i].address);
}

bool
filter_script_turn(struct filter_script *f, struct session *s)
{
	static const unsigned good[] = { STATUS_SENDER_OK, STATUS_RECIPIENT_OK, STATUS_OK, STATUS_OK };
	struct ipc_filter_answer m = { .id = f->id };
	enum filter_script_stage stage;

	if (f->first == f->last) {
		f->first = f->last = 0;
		return false;
	}
	if (f->events[f->first].pieces) {
		f->first++;
		give_pieces(f, s);
		return true;
	}
	stage = f->events[f->first].stage;
	if (f->stages[stage].set && !f->events[f->first].plain)
		m = f->stages[stage].answer;
	m.id = f->id;
	m.question = f->events[f->first++].question;
	if (!m.status)
		m.status = (uint16_t)good[stage];
	if (status_get(m.status)->class == FAIL_NONE && !m.discard)
		m.content = stage == SCRIPT_END || (stage == SCRIPT_DATA && !f->deaf);
	if (stage == SCRIPT_END)
		give_changes(f, s);
	session_on_filter_answer(s, &m);
	return true;
}

void
filter_script_lost(struct filter_script *f)
{
	f->first = f->last = 0;
}

static bool
set_stage(struct filter_script *f, enum filter_script_stage stage, struct span rest)
{
	struct ipc_filter_answer *m = &f->stages[stage].answer;
	struct span word;

	if (stage == SCRIPT_RCPT)
		f->stages[stage].pattern = arena_dup(f->mem, span_word(&rest));
	word = span_word(&rest);
	*m = (struct ipc_filter_answer){ .status = 0 };
	f->stages[stage].set = true;
	f->stages[stage].silent = span_eq(word, SPAN("silent"));
	m->hold = span_eq(word, SPAN("hold"));
	m->discard = span_eq(word, SPAN("discard"));
	if (span_eq(word, SPAN("prepend")))
		m->prepend = arena_printf(f->mem, "%.*s\r\n", SPAN_ARG(span_trim(rest)));
	else if (!f->stages[stage].silent && !m->hold && !m->discard && !span_eq(word, SPAN("good"))) {
		uint64_t code;

		m->status = (uint16_t)status_find_name(word);
		rest = span_trim(rest);
		if (span_u64(span_sub(rest, 0, 3), 599, &code)) {
			m->reply = (uint16_t)code;
			rest = span_trim(span_from(rest, 3));
		}
		m->text = arena_dup(f->mem, rest);
		m->why = SPAN("a filter");
		return m->status != 0;
	}
	return true;
}

static bool
add_change(struct filter_script *f, char kind, struct span address)
{
	if (f->nchanges == FILTER_CHANGES)
		return false;
	f->changes[f->nchanges].kind = kind;
	f->changes[f->nchanges++].address = arena_dup(f->mem, address);
	return true;
}

bool
filter_script_directive(struct filter_script *f, struct span rest)
{
	struct span word = span_word(&rest);

	rest = span_trim(rest);
	for (unsigned i = 0; i < SCRIPT_STAGES; i++)
		if (span_eq(word, stage_names[i]))
			return set_stage(f, (enum filter_script_stage)i, rest);
	if (span_eq(word, SPAN("sender")) || span_eq(word, SPAN("add")) || span_eq(word, SPAN("remove")))
		return add_change(f, word.p[0], rest);
	if (span_eq(word, SPAN("field")))
		f->field = arena_printf(f->mem, "%.*s\r\n", SPAN_ARG(rest));
	else if (span_eq(word, SPAN("deaf")))
		f->deaf = true;
	else
		return false;
	return true;
}
