/* SPDX-License-Identifier: ISC */
#include "net/imapsyntax.h"

#include <string.h>

/* No message is larger; a longer number is refused unread. */
static const uint64_t literal_max = (uint64_t)1 << 40;

void
imap_reader_init(struct imap_reader *r, size_t max_text)
{
	*r = (struct imap_reader){ .max_text = max_text };
}

void
imap_reader_reset(struct imap_reader *r)
{
	imap_reader_init(r, r->max_text);
}

void
imap_reader_accept(struct imap_reader *r, uint64_t n)
{
	r->at += (size_t)n;
	r->scanned = 0;
}

/* Does the line end with a literal header?  It is one only where a string
 * could begin, so that an atom's stray brace is an error of its command. */
static bool
literal_header(struct span line, struct imap_literal *out)
{
	size_t at = line.n, digits;

	if (at < 3 || line.p[--at] != '}')
		return false;
	*out = (struct imap_literal){ .sync = true };
	if (line.p[at - 1] == '+') {
		out->sync = false;
		at--;
	}
	digits = at;
	while (at > 0 && ascii_digit(line.p[at - 1]))
		at--;
	if (at == digits || at == 0 || line.p[at - 1] != '{')
		return false;
	if (!span_u64(span_sub(line, at, digits - at), literal_max, &out->size))
		out->too_big = true;
	at--;
	if (at > 0 && line.p[at - 1] == '~') {
		out->binary = true;
		at--;
	}
	out->start = at;
	return at > 0 && (line.p[at - 1] == ' ' || line.p[at - 1] == '(');
}

enum imap_read
imap_read(struct imap_reader *r, struct span in, struct imap_literal *literal)
{
	struct span rest, line;
	const char *lf;
	size_t start, room = r->max_text - r->text;

	if (in.n < r->at) /* an accepted literal is still arriving */
		return IMAP_READ_MORE;
	rest = span_from(in, r->at);
	lf = rest.n > r->scanned ? memchr(rest.p + r->scanned, '\n', rest.n - r->scanned) : NULL;
	r->scanned = rest.n;
	if (!lf)
		return rest.n > room ? IMAP_READ_TOOLONG : IMAP_READ_MORE;
	line = span_of(rest.p, (size_t)(lf - rest.p));
	if (line.n + 1 > room)
		return IMAP_READ_TOOLONG;
	start = r->at;
	r->at += line.n + 1;
	r->text += line.n + 1;
	r->scanned = 0;
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	if (!literal_header(line, literal))
		return IMAP_READ_COMMAND;
	literal->start += start;
	return IMAP_READ_LITERAL;
}

/* ---- the walk ---- */

struct imap_parse
imap_parse_of(struct span command, struct arena *arena)
{
	if (command.n && command.p[command.n - 1] == '\n')
		command.n--;
	if (command.n && command.p[command.n - 1] == '\r')
		command.n--;
	return (struct imap_parse){ cursor_of(command), arena, NULL };
}

bool
imap_bad(struct imap_parse *p, const char *expected)
{
	if (!p->bad)
		p->bad = expected;
	p->c.ok = false;
	return false;
}

bool
imap_is_atom(char c)
{
	return c > ' ' && c < 127 && !memchr("(){%*\"\\]", c, 8);
}

bool
imap_is_astring(char c)
{
	return imap_is_atom(c) || c == ']';
}

static bool
is_list_char(char c)
{
	return imap_is_astring(c) || c == '%' || c == '*' || (unsigned char)c >= 128;
}

static bool
is_tag(char c)
{
	return imap_is_astring(c) && c != '+';
}

bool
imap_at_end(const struct imap_parse *p)
{
	return p->c.ok && cursor_end(&p->c);
}

bool
imap_take_end(struct imap_parse *p)
{
	return imap_at_end(p) || imap_bad(p, "Unexpected text behind the arguments");
}

bool
imap_try(struct imap_parse *p, char c)
{
	return p->c.ok && cursor_char(&p->c, c);
}

bool
imap_take_char(struct imap_parse *p, char c)
{
	if (imap_try(p, c))
		return true;
	switch (c) {
	case ' ': return imap_bad(p, "Missing argument");
	case '(': return imap_bad(p, "Expected a parenthesized list");
	case ')': return imap_bad(p, "Expected a closing parenthesis");
	default: return imap_bad(p, "Syntax error");
	}
}

bool
imap_take_sp(struct imap_parse *p)
{
	return imap_take_char(p, ' ');
}

static bool
take_run(struct imap_parse *p, bool (*is)(char), const char *expected, struct span *out)
{
	*out = SPAN_NONE;
	if (!p->c.ok)
		return false;
	*out = cursor_while(&p->c, is);
	return out->n || imap_bad(p, expected);
}

bool
imap_take_tag(struct imap_parse *p, struct span *out)
{
	return take_run(p, is_tag, "Invalid tag", out);
}

bool
imap_take_atom(struct imap_parse *p, struct span *out)
{
	return take_run(p, imap_is_atom, "Expected an atom", out);
}

/* A copy without the backslashes. */
static bool
unescape(struct imap_parse *p, struct span raw, struct span *out)
{
	char *copy = arena_alloc(p->arena, raw.n);
	size_t n = 0;

	if (!copy)
		return imap_bad(p, "Command too large");
	for (size_t i = 0; i < raw.n; i++) {
		if (raw.p[i] == '\\')
			i++;
		copy[n++] = raw.p[i];
	}
	*out = span_of(copy, n);
	return true;
}

static bool
take_quoted(struct imap_parse *p, struct span *out)
{
	struct span rest = cursor_rest(&p->c);
	bool escapes = false;

	for (size_t i = 0; i < rest.n; i++) {
		char c = rest.p[i];

		if (c == '"') {
			p->c.at += i + 1;
			*out = span_of(rest.p, i);
			return escapes ? unescape(p, *out, out) : true;
		}
		if (c == '\0' || c == '\r' || c == '\n')
			break;
		if (c != '\\')
			continue;
		escapes = true;
		if (++i >= rest.n || (rest.p[i] != '"' && rest.p[i] != '\\'))
			return imap_bad(p, "Only \\ and \" may be escaped in a quoted string");
	}
	return imap_bad(p, "Unterminated quoted string");
}

static bool
take_literal(struct imap_parse *p, struct span *out)
{
	bool binary = cursor_char(&p->c, '~');
	uint64_t n;

	if (!cursor_char(&p->c, '{'))
		return imap_bad(p, "Expected a string");
	n = cursor_number(&p->c, literal_max);
	(void)cursor_char(&p->c, '+');
	if (!p->c.ok || !cursor_char(&p->c, '}'))
		return imap_bad(p, "Malformed literal");
	(void)cursor_char(&p->c, '\r');
	if (!cursor_char(&p->c, '\n') || n > cursor_left(&p->c))
		return imap_bad(p, "Malformed literal");
	*out = cursor_bytes(&p->c, (size_t)n);
	if (!binary && out->n && memchr(out->p, '\0', out->n))
		return imap_bad(p, "NUL in a literal");
	return true;
}

bool
imap_take_string(struct imap_parse *p, struct span *out)
{
	*out = SPAN("");
	if (!p->c.ok)
		return false;
	if (cursor_char(&p->c, '"'))
		return take_quoted(p, out);
	return take_literal(p, out);
}

static bool
string_next(const struct imap_parse *p)
{
	char c = cursor_peek(&p->c);

	return c == '"' || c == '{' || c == '~';
}

bool
imap_take_nstring(struct imap_parse *p, struct span *out)
{
	struct span atom;

	if (string_next(p))
		return imap_take_string(p, out);
	*out = SPAN_NONE;
	return imap_take_atom(p, &atom) && (span_caseeq(atom, SPAN("NIL")) || imap_bad(p, "Expected a string or NIL"));
}

bool
imap_take_astring(struct imap_parse *p, struct span *out)
{
	char c = cursor_peek(&p->c);

	/* "~" begins a literal8 only before a brace; alone it is an atom. */
	if (c == '"' || c == '{')
		return imap_take_string(p, out);
	return take_run(p, imap_is_astring, "Expected a string", out);
}

bool
imap_take_list_mailbox(struct imap_parse *p, struct span *out)
{
	char c = cursor_peek(&p->c);

	if (c == '"' || c == '{')
		return imap_take_string(p, out);
	return take_run(p, is_list_char, "Expected a mailbox pattern", out);
}

bool
imap_take_flag(struct imap_parse *p, struct span *out)
{
	size_t at = p->c.at;
	struct span atom;

	*out = SPAN_NONE;
	(void)imap_try(p, '\\');
	if (!take_run(p, imap_is_atom, "Expected a flag", &atom))
		return false;
	*out = span_sub(p->c.in, at, p->c.at - at);
	return true;
}

bool
imap_take_u64(struct imap_parse *p, uint64_t min, uint64_t max, uint64_t *out)
{
	*out = 0;
	if (!p->c.ok)
		return false;
	*out = cursor_number(&p->c, max);
	return (p->c.ok && *out >= min) || imap_bad(p, "Expected a number");
}

bool
imap_take_u32(struct imap_parse *p, uint32_t min, uint32_t *out)
{
	uint64_t n;
	bool ok = imap_take_u64(p, min, UINT32_MAX, &n);

	*out = (uint32_t)n;
	return ok;
}

/* ---- output ---- */

enum { QUOTED_MAX = 1024 }; /* longer strings are cheaper to read as literals */

static bool
needs_escape(char c)
{
	return c == '"' || c == '\\';
}

static bool
quotable(struct span s, size_t *escapes)
{
	bool ok = s.n <= QUOTED_MAX;

	*escapes = 0;
	for (size_t i = 0; ok && i < s.n; i++) {
		ok = s.p[i] >= ' ' && s.p[i] < 127;
		*escapes += needs_escape(s.p[i]);
	}
	return ok;
}

void
imap_put_literal(struct buf *out, struct span s)
{
	buf_putc(out, '{');
	buf_put_u64(out, s.n);
	buf_put(out, SPAN("}\r\n"));
	buf_put(out, s);
}

void
imap_put_string(struct buf *out, struct span s)
{
	size_t from = 0, escapes;

	if (!quotable(s, &escapes)) {
		imap_put_literal(out, s);
		return;
	}
	buf_putc(out, '"');
	for (size_t i = 0; escapes && i < s.n; i++) {
		if (!needs_escape(s.p[i]))
			continue;
		buf_put(out, span_sub(s, from, i - from));
		buf_putc(out, '\\');
		from = i;
	}
	buf_put(out, span_from(s, from));
	buf_putc(out, '"');
}

void
imap_put_nstring(struct buf *out, struct span s)
{
	if (s.p)
		imap_put_string(out, s);
	else
		buf_put(out, SPAN("NIL"));
}

void
imap_put_astring(struct buf *out, struct span s)
{
	bool atom = s.n > 0 && s.n < 200 && !span_caseeq(s, SPAN("NIL"));

	for (size_t i = 0; atom && i < s.n; i++)
		atom = imap_is_astring(s.p[i]);
	if (atom)
		buf_put(out, s);
	else
		imap_put_string(out, s);
}

void
imap_put_text(struct buf *out, struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		buf_putc(out, ascii_print(s.p[i]) ? s.p[i] : '?');
}
