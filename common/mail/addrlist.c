/* SPDX-License-Identifier: ISC */
#include "mail/addrlist.h"

#include <string.h>

#include "mail/limits.h"

static bool
space(char c)
{
	return ascii_blank(c) || c == '\r' || c == '\n';
}

/* Offset behind the quoted string at `at`; an open one reaches to the end. */
static size_t
skip_quoted(struct span s, size_t at)
{
	for (at++; at < s.n && s.p[at] != '"'; at++)
		if (s.p[at] == '\\')
			at++;
	return at < s.n ? at + 1 : s.n;
}

static size_t
skip_comment(struct span s, size_t at)
{
	size_t depth = 0;

	for (; at < s.n; at++) {
		if (s.p[at] == '\\')
			at++;
		else if (s.p[at] == '(')
			depth++;
		else if (s.p[at] == ')' && --depth == 0)
			return at + 1;
	}
	return s.n;
}

static size_t
skip_literal(struct span s, size_t at)
{
	while (at < s.n && s.p[at] != ']')
		at++;
	return at < s.n ? at + 1 : s.n;
}

/* Steps over one lexical unit. */
static size_t
step(struct span s, size_t at)
{
	switch (s.p[at]) {
	case '"':
		return skip_quoted(s, at);
	case '(':
		return skip_comment(s, at);
	case '[':
		return skip_literal(s, at);
	default:
		return at + 1;
	}
}

/* Offset of the first (last) ch outside quotes, comments and literals, or SIZE_MAX. */
static size_t
find(struct span s, char ch, bool last)
{
	size_t found = SIZE_MAX;

	for (size_t at = 0; at < s.n; at = step(s, at)) {
		if (s.p[at] != ch)
			continue;
		found = at;
		if (!last)
			break;
	}
	return found;
}

enum clean_mode {
	CLEAN_PHRASE,  /* runs of blanks become one */
	CLEAN_ADDRESS, /* and go beside ".", "," and "@" */
};

/* Nothing to do: one word, or words with single blanks, or one quoted string. */
static bool
clean_already(struct span *s, enum clean_mode mode)
{
	struct span in = *s;

	if (in.n >= 2 && in.p[0] == '"' && in.p[in.n - 1] == '"')
		in = span_sub(in, 1, in.n - 2);
	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];

		if (c == '"' || c == '\\' || c == '\r' || c == '\n' || c == '\t' || (c == '(' && in.n == s->n))
			return false;
		if (c == ' ' && in.n == s->n && (mode == CLEAN_ADDRESS || (i && in.p[i - 1] == ' ')))
			return false;
	}
	*s = in;
	return true;
}

static size_t
copy_quoted(struct span s, size_t at, size_t end, char *to)
{
	size_t n = 0;

	for (at++; at < end; at++) {
		if (s.p[at] == '"')
			break;
		if (s.p[at] == '\\' && at + 1 < end)
			at++;
		if (s.p[at] != '\r' && s.p[at] != '\n')
			to[n++] = s.p[at];
	}
	return n;
}

/* Quotes, comments and folding removed. Never p == NULL unless the arena is exhausted. */
static struct span
clean(struct span s, enum clean_mode mode, struct arena *arena)
{
	size_t n = 0;
	bool blank = false;
	char *to;

	s = span_trim(s);
	if (s.n == 0)
		return SPAN("");
	if (clean_already(&s, mode))
		return s;
	to = arena_alloc(arena, s.n);
	if (!to)
		return SPAN_NONE;
	for (size_t at = 0; at < s.n;) {
		size_t end = s.p[at] == '"' ? skip_quoted(s, at) : s.p[at] == '(' ? skip_comment(s, at) : at + 1;

		if (space(s.p[at]) || s.p[at] == '(') {
			blank = true;
			at = end;
			continue;
		}
		if (blank && n && (mode == CLEAN_PHRASE || !(strchr(".,@", to[n - 1]) || strchr(".,@", s.p[at]))))
			to[n++] = ' ';
		blank = false;
		if (s.p[at] == '"') {
			n += copy_quoted(s, at, end, to + n);
		} else if (s.p[at] == '\\' && end < s.n) {
			to[n++] = s.p[end++];
		} else {
			to[n++] = s.p[at];
		}
		at = end;
	}
	return span_of(to, n);
}

/* A comment's text, without its parentheses. */
static struct span
comment_text(struct span s, struct arena *arena)
{
	size_t n = 0;
	char *to;

	s = span_sub(s, 1, s.n > 1 && s.p[s.n - 1] == ')' ? s.n - 2 : s.n - 1);
	s = span_trim(s);
	if (s.n == 0)
		return SPAN("");
	if (span_chr(s, '\\') == SIZE_MAX && span_chr(s, '\n') == SIZE_MAX)
		return s;
	to = arena_alloc(arena, s.n);
	if (!to)
		return SPAN_NONE;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\' && i + 1 < s.n)
			i++;
		if (s.p[i] != '\r' && s.p[i] != '\n')
			to[n++] = s.p[i];
	}
	return span_of(to, n);
}

/* local@domain, with "@a,@b:" in front perhaps (RFC 5322 4.4). */
static bool
set_address(struct addrlist_item *it, struct span s, struct arena *arena)
{
	size_t at;
	bool ok = true;

	s = span_trim(s);
	if (s.n && s.p[0] == '@') {
		at = find(s, ':', false);
		if (at != SIZE_MAX) {
			it->route = clean(span_sub(s, 0, at), CLEAN_ADDRESS, arena);
			ok = it->route.p != NULL;
			s = span_from(s, at + 1);
		}
	}
	at = find(s, '@', true);
	it->local = clean(span_sub(s, 0, at), CLEAN_ADDRESS, arena);
	if (at != SIZE_MAX) {
		it->domain = clean(span_from(s, at + 1), CLEAN_ADDRESS, arena);
		ok = ok && it->domain.p;
	}
	return ok && it->local.p;
}

/* What was seen of one item, as offsets into the field. */
struct item_scan {
	size_t from, end; /* end is at the ',' ';' ':' or the end */
	size_t open, close; /* of the angle brackets, SIZE_MAX: none */
	struct span comment; /* the last */
	bool at;
	bool word;
};

static void
scan_angle(struct span s, struct item_scan *i, size_t *at)
{
	size_t end = *at + 1;

	while (end < s.n && s.p[end] != '>')
		end = step(s, end);
	if (end > s.n)
		end = s.n;
	if (i->open == SIZE_MAX) {
		i->open = *at;
		i->close = end;
	}
	*at = end < s.n ? end + 1 : end;
}

static struct item_scan
scan_item(struct span s, size_t from, bool in_group)
{
	struct item_scan i = { .from = from, .open = SIZE_MAX, .close = SIZE_MAX };
	size_t at = from;

	while (at < s.n) {
		char c = s.p[at];
		size_t end;

		if (c == ',' || c == ';' || (c == ':' && i.open == SIZE_MAX && !i.at && !in_group))
			break;
		if (c == '<') {
			scan_angle(s, &i, &at);
			continue;
		}
		end = step(s, at);
		if (c == '(')
			i.comment = span_sub(s, at, end - at);
		else if (!space(c))
			i.word = true;
		i.at |= c == '@';
		at = end;
	}
	i.end = at < s.n ? at : s.n;
	return i;
}

static struct addrlist_item *
append(struct addrlist *list, struct addrlist_item ***tail, enum addrlist_kind kind, struct arena *arena)
{
	struct addrlist_item *it = ARENA_NEW(arena, struct addrlist_item);

	if (!it)
		return NULL;
	it->kind = kind;
	**tail = it;
	*tail = &it->next;
	list->count++;
	return it;
}

static bool
set_mailbox(struct addrlist_item *it, struct span s, const struct item_scan *i, struct arena *arena)
{
	if (i->open != SIZE_MAX) {
		struct span phrase = span_sub(s, i->from, i->open - i->from);

		it->name = clean(phrase, CLEAN_PHRASE, arena);
		if (!it->name.p || !set_address(it, span_sub(s, i->open + 1, i->close - i->open - 1), arena))
			return false;
	} else if (!set_address(it, span_sub(s, i->from, i->end - i->from), arena)) {
		return false;
	}
	if (it->name.n == 0) {
		it->name = i->comment.n ? comment_text(i->comment, arena) : SPAN_NONE;
		if (i->comment.n && !it->name.p)
			return false;
	}
	return true;
}

bool
addrlist_parse(struct addrlist *list, struct span raw, struct arena *arena)
{
	struct addrlist_item **tail = &list->first, *it;
	bool group = false;
	size_t at = 0;

	*list = (struct addrlist){ .first = NULL };
	raw = span_sub(raw, 0, LIMIT_FIELD_VALUE);
	while (at < raw.n && list->count < LIMIT_ADDRESSES - 2) {
		struct item_scan i = scan_item(raw, at, group);
		char stop = i.end < raw.n ? raw.p[i.end] : '\0';

		if (stop == ':') {
			it = append(list, &tail, ADDRLIST_GROUP, arena);
			if (!it || !(it->name = clean(span_sub(raw, at, i.end - at), CLEAN_PHRASE, arena)).p)
				return false;
			group = true;
		} else if (i.word || i.open != SIZE_MAX) {
			it = append(list, &tail, ADDRLIST_MAILBOX, arena);
			if (!it || !set_mailbox(it, raw, &i, arena))
				return false;
		}
		if (stop == ';' && group) {
			group = false;
			if (!append(list, &tail, ADDRLIST_GROUP_END, arena))
				return false;
		}
		at = i.end + 1;
	}
	return !group || append(list, &tail, ADDRLIST_GROUP_END, arena);
}

static bool
dot_atom(struct span s)
{
	if (s.n == 0 || s.p[0] == '.' || s.p[s.n - 1] == '.')
		return false;
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f || strchr("()<>@,;:\\\"[]", s.p[i]) ||
		    (s.p[i] == '.' && s.p[i - 1] == '.'))
			return false;
	return true;
}

void
addrlist_put_address(struct buf *out, const struct addrlist_item *item)
{
	if (dot_atom(item->local)) {
		buf_put(out, item->local);
	} else {
		buf_putc(out, '"');
		for (size_t i = 0; i < item->local.n; i++) {
			if (item->local.p[i] == '"' || item->local.p[i] == '\\')
				buf_putc(out, '\\');
			buf_putc(out, item->local.p[i]);
		}
		buf_putc(out, '"');
	}
	if (item->domain.p) {
		buf_putc(out, '@');
		buf_put(out, item->domain);
	}
}
