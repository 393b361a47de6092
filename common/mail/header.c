/* SPDX-License-Identifier: ISC */
#include "mail/header.h"

#include <string.h>

#include "mail/limits.h"

/* Offset behind the line end of the line at `at`, or the end. */
static size_t
line_end(struct span s, size_t at)
{
	const char *lf = memchr(s.p + at, '\n', s.n - at);

	return lf ? (size_t)(lf - s.p) + 1 : s.n;
}

/* Offset behind the field at `at`, continuations included. */
static size_t
field_end(struct span s, size_t at)
{
	do
		at = line_end(s, at);
	while (at < s.n && ascii_blank(s.p[at]) && s.p[at - 1] == '\n');
	return at;
}

/* Length of the field name at `at` and where its colon is; 0: no field. */
static size_t
name_size(struct span s, size_t at, size_t *colon)
{
	size_t n = at;
	size_t end = s.n - at > LIMIT_FIELD_NAME ? at + LIMIT_FIELD_NAME : s.n, name;

	while (n < end && s.p[n] > ' ' && s.p[n] <= '~' && s.p[n] != ':')
		n++;
	name = n - at;
	while (n < end && ascii_blank(s.p[n])) /* RFC 5322 4.5 */
		n++;
	*colon = n;
	return n < end && s.p[n] == ':' ? name : 0;
}

static struct span
without_line_end(struct span s)
{
	if (s.n && s.p[s.n - 1] == '\n')
		s.n--;
	if (s.n && s.p[s.n - 1] == '\r')
		s.n--;
	return s;
}

bool
header_mbox_line(struct span text)
{
	size_t colon;

	return (span_starts(text, SPAN("From ")) || span_starts(text, SPAN(">From "))) && !name_size(text, 0, &colon);
}

bool
header_next(struct header_walk *w, struct header_field *f)
{
	size_t colon, name, end;

	if (w->done)
		return false;
	if (w->at == 0 && header_mbox_line(w->in))
		w->at = line_end(w->in, 0);
	do {
		if (w->at >= w->in.n || w->at > LIMIT_HEADER_SIZE || !(name = name_size(w->in, w->at, &colon))) {
			w->done = true;
			return false;
		}
		end = field_end(w->in, w->at);
		f->name = span_sub(w->in, w->at, name);
		f->whole = span_sub(w->in, w->at, end - w->at);
		f->value = without_line_end(span_sub(w->in, colon + 1, end - colon - 1));
		w->at = end;
	} while (++w->fields > LIMIT_HEADER_FIELDS);
	return true;
}

size_t
header_size(struct span message, size_t *header_n)
{
	struct header_walk w = header_walk(message);
	struct header_field f;

	while (header_next(&w, &f))
		continue;
	if (header_n)
		*header_n = w.at;
	if (span_starts(span_from(message, w.at), SPAN("\r\n")))
		return w.at + 2;
	return span_starts(span_from(message, w.at), SPAN("\n")) ? w.at + 1 : w.at;
}

bool
header_find(struct span message, struct span name, struct header_field *f)
{
	struct header_walk w = header_walk(message);

	while (header_next(&w, f))
		if (span_caseeq(f->name, name))
			return true;
	return false;
}

bool
header_find_last(struct span message, struct span name, struct header_field *f)
{
	struct header_walk w = header_walk(message);
	struct header_field it;
	bool found = false;

	while (header_next(&w, &it))
		if (span_caseeq(it.name, name)) {
			*f = it;
			found = true;
		}
	return found;
}

unsigned
header_count(struct span message, struct span name)
{
	struct header_walk w = header_walk(message);
	struct header_field f;
	unsigned n = 0;

	while (header_next(&w, &f))
		n += span_caseeq(f.name, name);
	return n;
}

/* Copies without line ends; to has room for raw.n bytes. */
static size_t
unfold(struct span raw, char *to)
{
	size_t n = 0;

	while (raw.n) {
		size_t lf = span_chr(raw, '\n');
		struct span line = lf == SIZE_MAX ? raw : without_line_end(span_sub(raw, 0, lf + 1));

		if (line.n)
			memcpy(to + n, line.p, line.n);
		n += line.n;
		raw = lf == SIZE_MAX ? SPAN_NONE : span_from(raw, lf + 1);
	}
	return n;
}

struct span
header_unfold(struct span raw, struct arena *arena)
{
	char *to;

	raw = span_trim(raw);
	if (raw.n == 0)
		return SPAN("");
	if (span_chr(raw, '\n') == SIZE_MAX)
		return raw;
	to = arena_alloc(arena, raw.n);
	return to ? span_of(to, unfold(raw, to)) : SPAN_NONE;
}

void
header_unfold_put(struct buf *out, struct span raw)
{
	char *to;

	raw = span_trim(raw);
	to = raw.n ? buf_room(out, raw.n) : NULL;
	if (to)
		buf_added(out, unfold(raw, to));
}

enum { FOLD_COLUMN = 78 };

void
header_put(struct buf *out, struct span name, struct span value)
{
	size_t column = name.n + 1;

	buf_put(out, name);
	buf_putc(out, ':');
	for (size_t i = 0; i < value.n;) {
		size_t end = i;

		while (end < value.n &&
		       (ascii_blank(value.p[end]) || value.p[end] == '\r' || value.p[end] == '\n' || !value.p[end]))
			end++;
		i = end;
		while (end < value.n && !ascii_blank(value.p[end]) && value.p[end] != '\r' && value.p[end] != '\n' &&
		       value.p[end])
			end++;
		if (end == i)
			break;
		if (column > name.n + 1 && column + 1 + (end - i) > FOLD_COLUMN) {
			buf_puts(out, "\r\n");
			column = 0;
		}
		buf_putc(out, ' ');
		buf_put(out, span_sub(value, i, end - i));
		column += 1 + end - i;
		i = end;
	}
	buf_puts(out, "\r\n");
}

void
header_filter(struct buf *out, struct span message, bool (*drop)(const struct header_field *, void *), void *arg)
{
	struct header_walk w = header_walk(message);
	struct header_field f;
	size_t kept_from = 0;

	while (header_next(&w, &f)) {
		size_t at = (size_t)(f.whole.p - message.p);

		if (!drop(&f, arg))
			continue;
		buf_put(out, span_sub(message, kept_from, at - kept_from));
		kept_from = at + f.whole.n;
	}
	buf_put(out, span_from(message, kept_from));
}
