/* SPDX-License-Identifier: ISC */
#include "conf/syntax.h"

#include <stdio.h>
#include <string.h>

struct reader {
	struct span in;
	size_t at, line_start;
	unsigned line;
	struct arena *arena;
	struct conf_errors *errors;
	struct buf joined; /* a value with continuation lines, while it is read */
	bool full;         /* no memory, or a NUL: stop */
};

void
conf_error(struct conf_errors *errors, struct conf_at at, const char *fmt, ...)
{
	struct conf_error *e;
	va_list ap;

	if (errors->n == CONF_ERRORS_MAX) {
		errors->more++;
		return;
	}
	e = &errors->items[errors->n++];
	e->line = at.line;
	e->column = at.column;
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	for (char *p = e->text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
}

bool
conf_grow(struct arena *arena, void **v, size_t n, size_t *room, size_t size)
{
	size_t more = *room ? *room * 2 : 16;
	void *bigger;

	if (n < *room)
		return true;
	bigger = arena_alloc(arena, more * size);
	if (!bigger)
		return false;
	if (n > 0)
		memcpy(bigger, *v, n * size);
	*v = bigger;
	*room = more;
	return true;
}

static bool
ended(const struct reader *r)
{
	return r->at >= r->in.n;
}

static char
peek(const struct reader *r)
{
	return ended(r) ? '\0' : r->in.p[r->at];
}

static struct conf_at
here(const struct reader *r)
{
	return (struct conf_at){ r->line, (unsigned)(r->at - r->line_start) + 1 };
}

/* Steps over one byte. */
static void
step(struct reader *r)
{
	if (r->in.p[r->at++] == '\n') {
		r->line++;
		r->line_start = r->at;
	}
}

static void
skip_blanks(struct reader *r)
{
	while (ascii_blank(peek(r)) || peek(r) == '\r')
		r->at++;
}

static void
skip_line(struct reader *r)
{
	while (!ended(r) && peek(r) != '\n')
		r->at++;
	if (!ended(r))
		step(r);
}

/* Behind an error: to the next line that can begin something. */
static void
resume_top(struct reader *r)
{
	do
		skip_line(r);
	while (ascii_blank(peek(r)));
}

static bool
name_char(char c)
{
	return ascii_alnum(c) || c == '_';
}

static struct span
read_name(struct reader *r)
{
	size_t from = r->at;

	while (name_char(peek(r)))
		r->at++;
	return span_sub(r->in, from, r->at - from);
}

/* One physical line's share of a value. */
static void
join_line(struct reader *r)
{
	size_t from = r->at;
	struct span part;

	while (!ended(r) && peek(r) != '\n')
		r->at++;
	part = span_trim(span_sub(r->in, from, r->at - from));
	if (part.n > 0 && buf_len(&r->joined) > 0)
		buf_putc(&r->joined, ' ');
	buf_put(&r->joined, part);
	if (!ended(r))
		step(r);
}

/* Whether the line here goes on with a value; steps over comments and empty
 * lines that stand between. */
static bool
continues(struct reader *r)
{
	for (;;) {
		struct reader ahead = *r;

		skip_blanks(&ahead);
		if (ended(&ahead))
			return false;
		if (peek(&ahead) == '#' || (peek(&ahead) == '\n' && ahead.at > r->at)) {
			skip_line(&ahead);
			*r = ahead;
			continue;
		}
		if (peek(&ahead) == '\n' || ahead.at == r->at)
			return false;
		r->at = ahead.at;
		return true;
	}
}

static struct span
keep(struct reader *r, struct span s)
{
	char *copy = arena_cstr(r->arena, s);

	if (!copy) {
		r->full = true;
		return SPAN("");
	}
	return span_of(copy, s.n);
}

static void
add_item(struct reader *r, struct conf_items *items, struct conf_item item)
{
	void *v = items->v;

	if (!conf_grow(r->arena, &v, items->n, &items->room, sizeof(item))) {
		r->full = true;
		return;
	}
	items->v = v;
	items->v[items->n++] = item;
}

/* A blank and # in the middle of a value is nearly always a comment that was
 * meant to be one; Postfix would silently make it part of the value. */
static void
check_comment(struct reader *r, const struct conf_item *item)
{
	bool quoted = false;

	for (size_t i = 0; i < item->value.n; i++) {
		if (quoted && item->value.p[i] == '\\')
			i++;
		else if (item->value.p[i] == '"')
			quoted = !quoted;
		else if (!quoted && item->value.p[i] == '#' && i > 0 && ascii_blank(item->value.p[i - 1])) {
			conf_error(r->errors, item->value_at,
			    "a comment needs a line of its own; if the # belongs to the value of %.*s, quote it",
			    SPAN_ARG(item->name));
			return;
		}
	}
}

static void
read_option(struct reader *r, struct conf_items *items, struct conf_item item)
{
	r->at++; /* the = */
	skip_blanks(r);
	item.value_at = here(r);
	buf_reset(&r->joined);
	join_line(r);
	while (continues(r))
		join_line(r);
	item.value = keep(r, buf_span(&r->joined));
	r->full |= !buf_ok(&r->joined);
	check_comment(r, &item);
	add_item(r, items, item);
}

/* A value in a block: to ; or the line's end or the block's }, quotes and
 * inner braces respected. */
static void
read_block_value(struct reader *r, struct conf_items *items, struct conf_item item)
{
	size_t from = r->at, depth = 0;
	bool quoted = false;

	item.value_at = here(r);
	for (; !ended(r) && peek(r) != '\n'; r->at++) {
		char c = peek(r);

		if (quoted && c == '\\' && r->at + 1 < r->in.n && r->in.p[r->at + 1] != '\n')
			r->at++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && c == '{')
			depth++;
		else if (!quoted && depth == 0 && (c == ';' || c == '}'))
			break;
		else if (!quoted && c == '}')
			depth--;
	}
	if (quoted)
		conf_error(r->errors, item.value_at, "the quote is not closed in this line");
	else if (depth > 0)
		conf_error(r->errors, item.value_at, "the { is not closed in this line");
	item.value = keep(r, span_trim(span_sub(r->in, from, r->at - from)));
	check_comment(r, &item);
	add_item(r, items, item);
}

static void
read_block_option(struct reader *r, struct conf_block *b)
{
	struct conf_item item = { .at = here(r) };

	item.name = keep(r, read_name(r));
	skip_blanks(r);
	if (item.name.n > 0 && peek(r) == '=') {
		r->at++;
		skip_blanks(r);
		read_block_value(r, &b->items, item);
		return;
	}
	conf_error(r->errors, here(r), item.name.n ? "= expected behind \"%.*s\""
	    : "the name of an option expected%.*s", SPAN_ARG(item.name));
	while (!ended(r) && peek(r) != '\n' && peek(r) != ';' && peek(r) != '}')
		r->at++;
}

static void
read_block_body(struct reader *r, struct conf_block *b)
{
	while (!r->full) {
		while (!ended(r) && (ascii_blank(peek(r)) || peek(r) == '\n' || peek(r) == '\r' || peek(r) == ';'))
			step(r);
		if (ended(r)) {
			conf_error(r->errors, b->at, "the block \"%.*s\" is not closed by }", SPAN_ARG(b->name));
			return;
		}
		if (peek(r) == '#') {
			skip_line(r);
		} else if (peek(r) == '}') {
			r->at++;
			return;
		} else {
			read_block_option(r, b);
		}
	}
}

/* The name of a block: a word or a quoted text, of which none has a quote itself. */
static struct span
read_block_name(struct reader *r)
{
	size_t from = r->at;

	if (peek(r) == '"') {
		r->at++;
		while (!ended(r) && peek(r) != '"' && peek(r) != '\n')
			r->at++;
		if (peek(r) == '"') {
			r->at++;
			return span_sub(r->in, from + 1, r->at - from - 2);
		}
		return SPAN_NONE;
	}
	while (!ended(r) && !ascii_blank(peek(r)) && peek(r) != '\n' && peek(r) != '\r' && peek(r) != '{')
		if (r->in.p[r->at++] == '"')
			return SPAN_NONE;
	return span_sub(r->in, from, r->at - from);
}

static void
add_block(struct reader *r, struct conf_file *f, struct conf_block b)
{
	void *v = f->blocks;

	if (f->nblocks == CONF_BLOCKS_MAX) {
		conf_error(r->errors, b.at, "more than %d blocks; many routes belong into transport_maps",
		    CONF_BLOCKS_MAX);
		r->full = true;
		return;
	}
	if (!conf_grow(r->arena, &v, f->nblocks, &f->room, sizeof(b))) {
		r->full = true;
		return;
	}
	f->blocks = v;
	f->blocks[f->nblocks++] = b;
}

static void
read_block(struct reader *r, struct conf_file *f, enum conf_table kind, struct conf_at at)
{
	struct conf_block b = { .kind = kind, .at = at };

	b.name = keep(r, read_block_name(r));
	while (!ended(r) && (ascii_blank(peek(r)) || peek(r) == '\n' || peek(r) == '\r'))
		step(r);
	if (b.name.n == 0 || peek(r) != '{') {
		conf_error(r->errors, at, "a block is written: %s NAME { option = value; ... }",
		    kind == CONF_TABLE_LISTENER ? "listener" : "route");
		resume_top(r);
		return;
	}
	r->at++;
	read_block_body(r, &b);
	add_block(r, f, b);
	skip_blanks(r);
	if (!ended(r) && peek(r) != '\n' && peek(r) != '#')
		conf_error(r->errors, here(r), "the line must end behind }");
	skip_line(r);
}

static void
read_statement(struct reader *r, struct conf_file *f)
{
	struct conf_item item = { .at = here(r) };

	item.name = keep(r, read_name(r));
	if (item.name.n == 0) {
		conf_error(r->errors, item.at,
		    "a line must begin with the name of an option, with listener, or with route");
		resume_top(r);
		return;
	}
	skip_blanks(r);
	if (peek(r) == '=')
		read_option(r, &f->items, item);
	else if (span_eq(item.name, SPAN("listener")))
		read_block(r, f, CONF_TABLE_LISTENER, item.at);
	else if (span_eq(item.name, SPAN("route")))
		read_block(r, f, CONF_TABLE_ROUTE, item.at);
	else {
		conf_error(r->errors, here(r), "= expected behind \"%.*s\"", SPAN_ARG(item.name));
		resume_top(r);
	}
}

/* They are read on as what they are. */
static void
refuse_control(struct reader *r)
{
	for (; !ended(r); step(r)) {
		char c = peek(r);

		if (((unsigned char)c < ' ' && c != '\n' && c != '\t' && c != '\r') || c == 0x7f) {
			conf_error(r->errors, here(r), "a control byte (0x%02x) has no place in this file",
			    (unsigned char)c);
			break;
		}
	}
	r->at = r->line_start = 0;
	r->line = 1;
}

bool
conf_syntax(struct span text, struct arena *arena, struct conf_file *out, struct conf_errors *errors)
{
	struct reader r = { .in = text, .line = 1, .arena = arena, .errors = errors };

	*out = (struct conf_file){ 0 };
	buf_init(&r.joined, CONF_FILE_MAX);
	refuse_control(&r);
	while (!ended(&r) && !r.full) {
		size_t from = r.at;

		skip_blanks(&r);
		if (peek(&r) == '#' || peek(&r) == '\n' || ended(&r)) {
			skip_line(&r);
		} else if (r.at > from) {
			struct span line = span_from(text, r.at);

			conf_error(errors, here(&r), "a line that begins with a blank goes on with a value, but none is before it: %.*s",
			    SPAN_ARG(span_sub(line, 0, span_chr(line, '\n'))));
			resume_top(&r);
		} else {
			read_statement(&r, out);
		}
	}
	if (r.full && errors->n == 0)
		conf_error(errors, here(&r), "the file is too large");
	buf_free(&r.joined);
	return !r.full;
}
