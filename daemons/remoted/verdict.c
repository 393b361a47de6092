/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/verdict.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mail/status.h"

static void
set_code(struct verdict *v, struct span code)
{
	if (!span_cstr(code, v->code, sizeof(v->code)) || !code.n)
		(void)span_cstr(span_str(v->outcome == VERDICT_FAILED ? "5.0.0" : v->outcome == VERDICT_DELIVERED ? "2.0.0" : "4.0.0"),
		    v->code, sizeof(v->code));
}

static struct span
keep(struct arena *arena, struct span text)
{
	struct span copy = arena_dup(arena, text);

	return copy.p ? copy : SPAN("out of memory");
}

struct verdict
verdict_of_reply(const struct reply *r, struct arena *arena, struct span doing)
{
	struct verdict v = { .outcome = r->code < 400 ? VERDICT_DELIVERED : r->code < 500 ? VERDICT_DEFERRED : VERDICT_FAILED };
	struct span rest = buf_span(&r->text), code = status_take_code(r->code, &rest);
	struct buf text;

	if (!code.n)
		code = span_str(status_get(status_find_reply(r->code))->code);
	if (!code.n || code.p[0] != (char)('0' + (r->code < 400 ? 2 : r->code / 100)))
		code = SPAN_NONE;
	set_code(&v, code);
	buf_init(&text, VERDICT_TEXT + 64);
	reply_join(r, &text, VERDICT_TEXT);
	if (doing.n)
		buf_printf(&text, " (in reply to %.*s)", SPAN_ARG(doing));
	v.text = keep(arena, buf_span(&text));
	buf_free(&text);
	v.again = v.outcome == VERDICT_DEFERRED;
	return v;
}

struct verdict
verdict_make(unsigned status, struct arena *arena, const char *fmt, ...)
{
	const struct status *s = status_get(status);
	struct verdict v = { .outcome = s->class == FAIL_PERM ? VERDICT_FAILED : s->class == FAIL_NONE ? VERDICT_DELIVERED : VERDICT_DEFERRED };
	char text[VERDICT_TEXT];
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	set_code(&v, span_str(s->code));
	v.text = keep(arena, span_str(text));
	v.again = v.outcome == VERDICT_DEFERRED;
	return v;
}
