/* SPDX-License-Identifier: ISC */
#include "table/maptext.h"

/* The next logical line into joined; false at the end.  *number is where it began. */
static bool
next_line(struct span *rest, unsigned *at, struct buf *joined, unsigned *number)
{
	struct span line, content;

	buf_reset(joined);
	while (rest->n > 0) {
		struct span before = *rest;

		line = span_cut(rest, '\n');
		content = span_trim(line);
		if (content.n == 0 || content.p[0] == '#') {
			++*at;
			continue;
		}
		if (buf_len(joined) > 0 && !ascii_blank(line.p[0])) {
			*rest = before; /* begins the next one */
			return true;
		}
		++*at;
		if (buf_len(joined) == 0)
			*number = *at;
		else
			buf_putc(joined, ' ');
		buf_put(joined, content);
	}
	return buf_len(joined) > 0;
}

bool
maptext_lines(struct span text, bool (*on_line)(void *arg, unsigned line, struct span content), void *arg)
{
	struct buf joined;
	unsigned at = 0, number = 0;
	bool ok = true;

	buf_init(&joined, TABLE_VALUE_MAX);
	while (ok && next_line(&text, &at, &joined, &number))
		ok = on_line(arg, number, buf_ok(&joined) ? buf_span(&joined) : SPAN_NONE);
	buf_free(&joined);
	return ok;
}

struct walk {
	enum table_syntax syntax;
	const struct maptext_visitor *v;
	struct buf key;
};

/* Takes a quoted run with its quotes removed; false: not closed. */
static bool
take_quoted(struct span *rest, struct buf *key)
{
	size_t i = 1;

	for (; i < rest->n && rest->p[i] != '"'; i++) {
		if (rest->p[i] == '\\' && i + 1 < rest->n)
			i++;
		buf_putc(key, rest->p[i]);
	}
	if (i >= rest->n)
		return false;
	*rest = span_from(*rest, i + 1);
	return true;
}

/* The key up to `end` (a colon) or a blank. */
static bool
take_key(struct walk *w, struct span *rest, char end)
{
	while (rest->n > 0 && rest->p[0] != end && !ascii_blank(rest->p[0])) {
		if (rest->p[0] == '"') {
			if (!take_quoted(rest, &w->key))
				return false;
		} else {
			buf_putc(&w->key, rest->p[0]);
			*rest = span_from(*rest, 1);
		}
	}
	return buf_ok(&w->key) && buf_len(&w->key) > 0;
}

static void
bad(struct walk *w, unsigned line, const char *what)
{
	if (w->v->on_bad)
		w->v->on_bad(w->v->arg, line, what);
}

static bool
on_map_line(void *arg, unsigned line, struct span content)
{
	struct walk *w = arg;

	buf_reset(&w->key);
	if (content.n == 0) {
		bad(w, line, "the entry is too long");
		return true;
	}
	if (!take_key(w, &content, w->syntax == TABLE_ALIASES ? ':' : ' ')) {
		bad(w, line, w->syntax == TABLE_ALIASES ? "an alias is written name: value"
		    : "the entry has no good key");
		return true;
	}
	content = span_trim(content);
	if (w->syntax == TABLE_ALIASES) {
		if (content.n == 0 || content.p[0] != ':') {
			bad(w, line, "there is no colon behind the name");
			return true;
		}
		content = span_trim(span_from(content, 1));
	}
	if (content.n == 0) {
		bad(w, line, "the entry has no value");
		return true;
	}
	return w->v->on_entry(w->v->arg, line, buf_span(&w->key), content);
}

bool
maptext_walk(struct span text, enum table_syntax syntax, const struct maptext_visitor *v)
{
	struct walk w = { .syntax = syntax, .v = v };
	bool ok;

	buf_init(&w.key, TABLE_KEY_MAX);
	ok = maptext_lines(text, on_map_line, &w);
	buf_free(&w.key);
	return ok;
}
