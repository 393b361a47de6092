/* SPDX-License-Identifier: ISC */
#include "table/aliaslist.h"

/* One raw item up to the next comma outside quotes. */
static struct span
cut_item(struct span *rest, bool *closed)
{
	bool quoted = false;
	size_t i = 0;
	struct span raw;

	for (; i < rest->n && (quoted || rest->p[i] != ','); i++) {
		if (rest->p[i] == '\\' && i + 1 < rest->n)
			i++;
		else if (rest->p[i] == '"')
			quoted = !quoted;
	}
	*closed = !quoted;
	raw = span_trim(span_sub(*rest, 0, i));
	*rest = span_from(*rest, i + 1);
	return raw;
}

/* An item that is quoted as a whole, as "|command with, commas"; an address
 * such as "a b"@example.org keeps its quotes. */
static struct span
unquote_whole(struct span raw, struct arena *arena)
{
	size_t i = 1, n = 0;
	char *out;

	if (raw.n < 2 || raw.p[0] != '"' || raw.p[raw.n - 1] != '"' || !(out = arena_alloc(arena, raw.n)))
		return raw;
	for (; i + 1 < raw.n && raw.p[i] != '"'; i++) {
		if (raw.p[i] == '\\' && i + 2 < raw.n)
			i++;
		out[n++] = raw.p[i];
	}
	return i + 1 == raw.n ? span_of(out, n) : raw;
}

static void
classify(struct aliaslist_item *item, struct span raw, struct arena *arena)
{
	struct span inner = unquote_whole(raw, arena);

	item->final = false;
	item->text = inner;
	if (span_casestarts(inner, SPAN(":include:"))) {
		item->kind = ALIASLIST_INCLUDE;
		item->text = span_trim(unquote_whole(span_from(inner, 9), arena));
		if (item->text.n == 0 || item->text.p[0] != '/')
			item->kind = ALIASLIST_BAD;
	} else if (inner.n > 0 && inner.p[0] == '|') {
		item->kind = ALIASLIST_COMMAND;
		item->text = unquote_whole(span_trim(span_from(inner, 1)), arena);
	} else if (inner.n > 0 && inner.p[0] == '/') {
		item->kind = ALIASLIST_FILE;
	} else {
		item->kind = ALIASLIST_ADDRESS;
		item->text = raw;
		if (raw.n > 1 && raw.p[0] == '\\') {
			item->final = true;
			item->text = span_from(raw, 1);
		}
		if (raw.n > 2 && raw.p[0] == '<' && raw.p[raw.n - 1] == '>')
			item->text = span_sub(raw, 1, raw.n - 2);
	}
}

bool
aliaslist_next(struct span *rest, struct arena *arena, struct aliaslist_item *item)
{
	struct span raw = SPAN_NONE;
	bool closed = true;

	while (raw.n == 0) {
		if (rest->n == 0 || arena->failed)
			return false;
		raw = cut_item(rest, &closed);
	}
	raw = arena_dup(arena, raw);
	if (!raw.p)
		return false;
	if (closed)
		classify(item, raw, arena);
	else
		*item = (struct aliaslist_item){ ALIASLIST_BAD, false, raw };
	if (!item->text.p && item->text.n == 0)
		item->text = SPAN("");
	return !arena->failed;
}
