/* SPDX-License-Identifier: ISC */
#include "mail/param.h"

#include <stdio.h>
#include <string.h>

#include "mail/charset.h"
#include "mail/limits.h"
#include "mail/word.h"

static bool
space(char c)
{
	return ascii_blank(c) || c == '\r' || c == '\n';
}

/* Blanks, line ends and comments; the offset behind them. */
static size_t
skip(struct span s, size_t at)
{
	int depth = 0;

	while (at < s.n) {
		if (s.p[at] == '(')
			depth++;
		else if (s.p[at] == ')' && depth)
			depth--;
		else if (s.p[at] == '\\' && depth && at + 1 < s.n)
			at++;
		else if (!depth && !space(s.p[at]))
			break;
		at++;
	}
	return at;
}

static size_t
until(struct span s, size_t at, const char *stop)
{
	while (at < s.n && s.p[at] && !strchr(stop, s.p[at]))
		at++;
	return at;
}

/* The quoted string at `at`; *end is behind it. Unescaped only where it must be. */
static struct span
quoted(struct span s, size_t at, size_t *end, struct arena *arena)
{
	size_t from = ++at, n = 0;
	bool plain = true;
	char *to;

	for (; at < s.n && s.p[at] != '"'; at++) {
		if (s.p[at] == '\\' && at + 1 < s.n) {
			plain = false;
			at++;
		} else if (s.p[at] == '\r' || s.p[at] == '\n') {
			plain = false;
		}
	}
	*end = at < s.n ? at + 1 : at;
	if (plain)
		return span_sub(s, from, at - from);
	to = arena_alloc(arena, at - from);
	if (!to)
		return SPAN_NONE;
	for (size_t i = from; i < at; i++) {
		if (s.p[i] == '\\' && i + 1 < at)
			to[n++] = s.p[++i];
		else if (s.p[i] != '\r' && s.p[i] != '\n')
			to[n++] = s.p[i];
	}
	return span_of(to, n);
}

static struct span
value_at(struct span s, size_t at, size_t *end, struct arena *arena)
{
	size_t from = at;

	if (at < s.n && s.p[at] == '"')
		return quoted(s, at, end, arena);
	*end = until(s, at, ";(\r\n");
	while (*end > from && ascii_blank(s.p[*end - 1]))
		--*end;
	return span_sub(s, from, *end - from);
}

/* One "name = value" at `at`; *end is behind it. An empty name means there is none. */
static struct param
scan(struct span s, size_t at, size_t *end, struct arena *arena)
{
	struct param p = { .name = SPAN_NONE };
	size_t from = skip(s, at);

	at = until(s, from, "=; \t\r\n(");
	p.name = span_sub(s, from, at - from);
	at = skip(s, at);
	if (at >= s.n || s.p[at] != '=') {
		p.name = SPAN_NONE;
		*end = at;
		return p;
	}
	p.value = value_at(s, skip(s, at + 1), end, arena);
	return p;
}

bool
param_parse(struct param_list *list, struct span raw, struct arena *arena)
{
	struct param **tail = &list->first;
	size_t at = 0;

	*list = (struct param_list){ .first = NULL };
	raw = span_sub(raw, 0, LIMIT_FIELD_VALUE);
	while (at < raw.n && list->count < LIMIT_MIME_PARAMS) {
		size_t end;
		struct param p = scan(raw, at, &end, arena), *kept;

		if (p.name.n) {
			kept = p.value.p ? ARENA_NEW(arena, struct param) : NULL;
			if (!kept)
				return false;
			*kept = p;
			*tail = kept;
			tail = &kept->next;
			list->count++;
		}
		at = until(raw, end, ";"); /* garbage behind a value is passed over */
		if (at < raw.n)
			at++;
	}
	return true;
}

bool
param_raw(const struct param_list *list, struct span name, struct span *value)
{
	for (const struct param *p = list->first; p; p = p->next)
		if (span_caseeq(p->name, name)) {
			*value = p->value;
			return true;
		}
	return false;
}

/* The parameter called name and suffix ("*0", "*0*"). */
static bool
find(const struct param_list *list, struct span name, struct span suffix, struct span *value)
{
	for (const struct param *p = list->first; p; p = p->next)
		if (p->name.n == name.n + suffix.n && span_casestarts(p->name, name) && span_ends(p->name, suffix)) {
			*value = p->value;
			return true;
		}
	return false;
}

static int
hex_value(char c)
{
	if (ascii_digit(c))
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void
percent_decode(struct span s, struct buf *out)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '%' && i + 2 < s.n && hex_value(s.p[i + 1]) >= 0 && hex_value(s.p[i + 2]) >= 0) {
			buf_putc(out, (char)(hex_value(s.p[i + 1]) << 4 | hex_value(s.p[i + 2])));
			i += 2;
		} else {
			buf_putc(out, s.p[i]);
		}
	}
}

/* Takes charset'language' from the front of an extended value. */
static struct span
take_charset(struct span *value)
{
	struct span rest = *value, charset = span_cut(&rest, '\'');

	if (!rest.p || span_chr(rest, '\'') == SIZE_MAX)
		return SPAN_NONE;
	(void)span_cut(&rest, '\'');
	*value = rest;
	return charset;
}

/* RFC 2231 3 and 4: name*0, name*1*, ... joined; only the first carries the charset. */
static bool
join(const struct param_list *list, struct span name, struct buf *raw, struct span *charset)
{
	for (unsigned i = 0; i < LIMIT_MIME_PARAMS; i++) {
		char digits[16];
		struct span suffix, value;

		suffix = span_of(digits, (size_t)snprintf(digits, sizeof(digits), "*%u*", i));
		if (find(list, name, suffix, &value)) {
			if (i == 0)
				*charset = take_charset(&value);
			percent_decode(value, raw);
		} else if (find(list, name, span_sub(suffix, 0, suffix.n - 1), &value)) {
			buf_put(raw, value);
		} else {
			return i > 0;
		}
	}
	return true;
}

/* Bytes whose charset may be missing or unknown. */
static void
put_utf8(struct span charset, struct span s, struct buf *out)
{
	if (charset.n && charset_known(charset))
		(void)charset_to_utf8(charset, s, out);
	else
		(void)charset_to_utf8(utf8_valid(s) ? SPAN("utf-8") : SPAN("windows-1252"), s, out);
}

bool
param_get(const struct param_list *list, struct span name, struct buf *out)
{
	struct span charset = SPAN_NONE, value;
	struct buf raw;
	bool found = true;

	buf_init(&raw, LIMIT_PARAM_VALUE);
	if (find(list, name, SPAN("*"), &value)) {
		charset = take_charset(&value);
		percent_decode(value, &raw);
		put_utf8(charset, buf_span(&raw), out);
	} else if (join(list, name, &raw, &charset)) {
		put_utf8(charset, buf_span(&raw), out);
	} else if (param_raw(list, name, &value)) {
		(void)word_decode(value, out);
	} else {
		found = false;
	}
	found = found && buf_ok(&raw) && buf_ok(out);
	buf_free(&raw);
	return found;
}

static bool
token_byte(char c)
{
	return c > ' ' && c <= '~' && !strchr("()<>@,;:\\\"/[]?=*'%", c);
}

void
param_put(struct buf *out, struct span name, struct span utf8)
{
	bool token = utf8.n > 0, ascii = true;

	for (size_t i = 0; i < utf8.n; i++) {
		token = token && token_byte(utf8.p[i]);
		ascii = ascii && ascii_print(utf8.p[i]);
	}
	buf_puts(out, "; ");
	buf_put(out, name);
	if (!ascii) {
		buf_puts(out, "*=utf-8''");
		for (size_t i = 0; i < utf8.n; i++)
			buf_printf(out, token_byte(utf8.p[i]) ? "%c" : "%%%02X", (unsigned char)utf8.p[i]);
		return;
	}
	buf_puts(out, token ? "=" : "=\"");
	for (size_t i = 0; i < utf8.n; i++) {
		if (utf8.p[i] == '"' || utf8.p[i] == '\\')
			buf_putc(out, '\\');
		buf_putc(out, utf8.p[i]);
	}
	if (!token)
		buf_putc(out, '"');
}
