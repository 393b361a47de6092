/* SPDX-License-Identifier: ISC */
#include "delegate.h"

#include "mail/address.h"
#include "mail/status.h"

enum { TEXT_MAX = 512, PREPEND_MAX = 998 };

void
delegate_put(struct buf *out, const char *name, struct span value)
{
	buf_puts(out, name);
	buf_putc(out, '=');
	for (size_t i = 0; i < value.n; i++)
		buf_putc(out, (unsigned char)value.p[i] < ' ' ? '?' : value.p[i]);
	buf_putc(out, '\n');
}

void
delegate_put_number(struct buf *out, const char *name, uint64_t value)
{
	buf_puts(out, name);
	buf_putc(out, '=');
	buf_put_u64(out, value);
	buf_putc(out, '\n');
}

void
delegate_put_end(struct buf *out)
{
	buf_putc(out, '\n');
}

/* ---- actions ---- */

typedef bool action(struct delegate_answer *a, struct span rest, struct arena *arena);

static bool
do_nothing(struct delegate_answer *a, struct span rest, struct arena *arena)
{
	(void)a, (void)rest, (void)arena;
	return true;
}

/* [4.7.0] text */
static bool
refuse(struct delegate_answer *a, unsigned general, unsigned reply, struct span text)
{
	struct span code = status_take_code(reply ? reply : status_get(general)->reply, &text);
	unsigned status = code.n ? status_find_code(code) : 0;

	a->status = status && status_get(status)->class == status_get(general)->class ? status : general;
	a->reply = reply;
	a->text = text;
	return true;
}

static bool
do_reject(struct delegate_answer *a, struct span rest, struct arena *arena)
{
	(void)arena;
	return refuse(a, STATUS_DENIED, 0, rest);
}

static bool
do_defer(struct delegate_answer *a, struct span rest, struct arena *arena)
{
	(void)arena;
	return refuse(a, STATUS_DENIED_TEMP, 0, rest);
}

static bool
do_hold(struct delegate_answer *a, struct span rest, struct arena *arena)
{
	(void)rest, (void)arena;
	return a->hold = a->note = true;
}

static bool
do_discard(struct delegate_answer *a, struct span rest, struct arena *arena)
{
	(void)rest, (void)arena;
	return a->discard = a->note = true;
}

static bool
do_note(struct delegate_answer *a, struct span rest, struct arena *arena)
{
	(void)rest, (void)arena;
	return a->note = true;
}

static bool
do_redirect(struct delegate_answer *a, struct span rest, struct arena *arena)
{
	struct address to;
	struct fail why;

	if (!address_parse(&to, rest, ADDRESS_UTF8, &why))
		return false;
	a->redirect = arena_dup(arena, address_text(&to));
	return a->note = a->redirect.n > 0;
}

static bool
do_prepend(struct delegate_answer *a, struct span rest, struct arena *arena)
{
	size_t colon = span_chr(rest, ':');

	if (colon == SIZE_MAX || colon == 0 || rest.n > PREPEND_MAX)
		return false;
	for (size_t i = 0; i < colon; i++)
		if (!ascii_print(rest.p[i]) || rest.p[i] == ' ')
			return false;
	a->prepend = arena_printf(arena, "%.*s\r\n", SPAN_ARG(rest));
	return a->note = a->prepend.n > 0;
}

static const struct {
	struct span word;
	action *run;
} actions[] = {
#define ACTION(word, function, meaning) { SPAN_INIT(word), function },
#include "delegate.def"
};

static bool
obey(struct delegate_answer *a, struct span text, struct arena *arena)
{
	struct span rest = text, word = span_word(&rest);
	uint64_t code;

	rest = span_trim(rest);
	if (word.n == 3 && span_u64(word, 599, &code) && code >= 400)
		return refuse(a, code >= 500 ? STATUS_DENIED : STATUS_DENIED_TEMP, (unsigned)code, rest);
	for (size_t i = 0; i < sizeof(actions) / sizeof(*actions); i++)
		if (span_caseeq(word, actions[i].word))
			return actions[i].run(a, rest, arena);
	return false;
}

/* Printable, or the reply would not be a line. */
static struct span
clean(struct span value, struct arena *arena)
{
	char *text = arena_alloc(arena, value.n + 1);

	for (size_t i = 0; text && i < value.n; i++)
		text[i] = ascii_print(value.p[i]) ? value.p[i] : '?';
	return span_of(text, text ? value.n : 0);
}

enum delegate_step
delegate_next(struct span *in, struct arena *arena, struct delegate_answer *a, struct fail *why)
{
	struct span rest = *in, value = SPAN_NONE;

	*a = (struct delegate_answer){ .status = 0 };
	for (;;) {
		size_t end = span_chr(rest, '\n');
		struct span line;

		if (end == SIZE_MAX || end > DELEGATE_ANSWER_MAX) {
			if (in->n < DELEGATE_ANSWER_MAX)
				return DELEGATE_NEED;
			(void)fail_set(why, FAIL_PEER, 0, "a long answer");
			return DELEGATE_BAD;
		}
		line = span_trim(span_sub(rest, 0, end));
		rest = span_from(rest, end + 1);
		if (!line.n)
			break;
		if (span_casestarts(line, SPAN("action=")) && !value.n)
			value = span_trim(span_from(line, sizeof("action=") - 1));
	}
	*in = rest;
	a->action = clean(span_sub(value, 0, TEXT_MAX), arena);
	if (a->action.n && obey(a, a->action, arena))
		return DELEGATE_ANSWER;
	(void)fail_set(why, FAIL_PEER, 0, value.n ? "action=%.*s is not known here" : "no action%.*s", SPAN_ARG(a->action));
	return DELEGATE_BAD;
}
