/* SPDX-License-Identifier: ISC */
#include "mail/html.h"

#include <string.h>

#include "mail/charset.h"

struct reader {
	struct span rest;
	struct buf *out;
	bool gap;           /* white space before what comes next */
	bool open_ended[2]; /* no further double (single) quote closes: they are characters */
};

static const struct {
	const char *name;
	uint32_t code;
} entities[] = {
#define ENTITY(name, code) { name, code },
#include "mail/html.def"
#undef ENTITY
};

/* What stands alone, and what is left out as a whole. */
static const struct span dividing[] = {
	SPAN_INIT("address"), SPAN_INIT("article"), SPAN_INIT("blockquote"), SPAN_INIT("body"), SPAN_INIT("br"), SPAN_INIT("caption"),
	SPAN_INIT("center"), SPAN_INIT("dd"), SPAN_INIT("div"), SPAN_INIT("dl"), SPAN_INIT("dt"), SPAN_INIT("footer"), SPAN_INIT("form"),
	SPAN_INIT("h1"), SPAN_INIT("h2"), SPAN_INIT("h3"), SPAN_INIT("h4"), SPAN_INIT("h5"), SPAN_INIT("h6"), SPAN_INIT("head"),
	SPAN_INIT("header"), SPAN_INIT("hr"), SPAN_INIT("html"), SPAN_INIT("img"), SPAN_INIT("li"), SPAN_INIT("ol"), SPAN_INIT("option"), SPAN_INIT("p"),
	SPAN_INIT("pre"), SPAN_INIT("section"), SPAN_INIT("table"), SPAN_INIT("td"), SPAN_INIT("th"), SPAN_INIT("tr"), SPAN_INIT("ul"),
};
static const struct span silent[] = { SPAN_INIT("script"), SPAN_INIT("style"), SPAN_INIT("title") };

static bool
is_in(const struct span *list, size_t n, struct span name)
{
	for (size_t i = 0; i < n; i++)
		if (span_caseeq(list[i], name))
			return true;
	return false;
}

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static void
fill_gap(struct reader *r)
{
	if (r->gap && buf_len(r->out))
		buf_putc(r->out, ' ');
	r->gap = false;
}

/* Behind the next one of what; all of the rest if there is none. */
static void
skip_behind(struct reader *r, struct span what)
{
	size_t at = span_casefind(r->rest, what);

	r->rest = at == SIZE_MAX ? SPAN_NONE : span_from(r->rest, at + what.n);
}

/* Behind the tag's ">", which does not count in a quoted value. */
static void
skip_attributes(struct reader *r)
{
	char before = '\0';
	size_t i = 0;

	for (; i < r->rest.n && r->rest.p[i] != '>'; i++) {
		char c = r->rest.p[i];
		bool value = before == '=';
		size_t end;

		if (!is_space(c))
			before = c;
		if (!value || (c != '"' && c != '\'') || r->open_ended[c == '\''])
			continue;
		end = span_chr(span_from(r->rest, i + 1), c);
		if (end == SIZE_MAX)
			r->open_ended[c == '\''] = true; /* and is not looked for again, so that many of them stay cheap */
		else
			i += 1 + end;
	}
	r->rest = span_from(r->rest, i + 1);
}

static void
skip_silent(struct reader *r, struct span name)
{
	while (r->rest.n) {
		size_t at = span_chr(r->rest, '<');

		r->rest = at == SIZE_MAX ? SPAN_NONE : span_from(r->rest, at + 1);
		if (r->rest.n && r->rest.p[0] == '/' && span_casestarts(span_from(r->rest, 1), name)) {
			skip_attributes(r);
			return;
		}
	}
}

/* At "<". */
static void
take_tag(struct reader *r)
{
	struct span tag = span_from(r->rest, 1), name;
	bool end = tag.n && tag.p[0] == '/';
	size_t n = 0;

	if (span_starts(tag, SPAN("!--"))) {
		r->rest = span_from(tag, 3);
		skip_behind(r, SPAN("-->"));
		return;
	}
	if (!tag.n || (!ascii_alpha(tag.p[0]) && !end && tag.p[0] != '!' && tag.p[0] != '?')) { /* less than */
		fill_gap(r);
		buf_putc(r->out, '<');
		r->rest = tag;
		return;
	}
	tag = span_from(tag, end);
	while (n < tag.n && ascii_alnum(tag.p[n]))
		n++;
	name = span_sub(tag, 0, n);
	r->rest = span_from(tag, n);
	skip_attributes(r);
	r->gap |= is_in(dividing, sizeof dividing / sizeof *dividing, name);
	if (!end && is_in(silent, sizeof silent / sizeof *silent, name))
		skip_silent(r, name);
}

static uint32_t
named(struct span name)
{
	size_t lo = 0, hi = sizeof entities / sizeof *entities;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int order = span_cmp(span_str(entities[mid].name), name);

		if (order == 0)
			return entities[mid].code;
		if (order < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return 0;
}

/* Between "&#" and ";"; 0: not a character. */
static uint32_t
numbered(struct span digits)
{
	bool hex = digits.n && ascii_lower(digits.p[0]) == 'x';
	uint32_t code = 0;

	for (size_t i = hex; i < digits.n; i++) {
		char c = ascii_lower(digits.p[i]);
		uint32_t d = ascii_digit(c) ? (uint32_t)(c - '0') : hex && c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10 : 99;

		if (d == 99 || code > 0x10ffff)
			return 0;
		code = code * (hex ? 16 : 10) + d;
	}
	return code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : code;
}

/* At "&". */
static void
take_entity(struct reader *r)
{
	enum { LONGEST = 10 }; /* "thetasym;" and numbers */
	struct span name = span_sub(span_from(r->rest, 1), 0, LONGEST);
	size_t end = span_chr(name, ';');
	uint32_t code = 0;

	name = span_sub(name, 0, end);
	if (end != SIZE_MAX)
		code = span_starts(name, SPAN("#")) ? numbered(span_from(name, 1)) : named(name);
	if (code == 0xa0)
		code = ' ';
	if (code == ' ') {
		r->gap = true;
	} else {
		fill_gap(r);
		utf8_put(r->out, code ? code : '&');
	}
	r->rest = span_from(r->rest, code ? end + 2 : 1);
}

void
html_text(struct span utf8, struct buf *out)
{
	struct reader r = { .rest = utf8, .out = out };

	while (r.rest.n && buf_ok(out)) {
		size_t n = 0;

		while (n < r.rest.n && r.rest.p[n] != '<' && r.rest.p[n] != '&' && !is_space(r.rest.p[n]))
			n++;
		if (n) {
			fill_gap(&r);
			buf_put(out, span_sub(r.rest, 0, n));
			r.rest = span_from(r.rest, n);
		} else if (r.rest.p[0] == '<') {
			take_tag(&r);
		} else if (r.rest.p[0] == '&') {
			take_entity(&r);
		} else {
			r.gap = true;
			r.rest = span_from(r.rest, 1);
		}
	}
}
