/* SPDX-License-Identifier: ISC */
#include "daemons/deliverd/forwardlist.h"

#include <errno.h>

#include "ipc/bounds.h"
#include "mail/address.h"
#include "table/aliaslist.h"

enum {
	GRAMMAR = ADDRESS_UTF8 | ADDRESS_LONG_LOCAL,
	ITEM_ARENA = 6 * FORWARDLIST_TEXT, /* one item may be all of the text, and is copied up to three times */
};

struct reading {
	const struct forwardlist_reader *reader;
	struct forwardlist *list;
	struct address own, base; /* base: own without its extension; null without one */
	uint16_t ends[FORWARDS_MOST]; /* in list->to */
	unsigned n, line;
	bool thrown;    /* there was a /dev/null */
	bool no_memory; /* for a name that is not ASCII */
};

void
forwardlist_init(struct forwardlist *list)
{
	buf_init(&list->to, B_FORWARDS);
	list->kept = true;
}

void
forwardlist_free(struct forwardlist *list)
{
	buf_free(&list->to);
}

static void
refuse(struct reading *r, struct span item, const char *why)
{
	r->list->kept = true;
	r->reader->on_bad(r->reader->arg, r->line, item, why);
}

static void
refuse_address(struct reading *r, struct span item, const char *why)
{
	r->no_memory |= errno == ENOMEM;
	refuse(r, item, why);
}

/* Case counts for nothing, as where locald looks for loops. */
static bool
is_own(const struct reading *r, const struct address *a)
{
	return span_caseeq(address_text(a), address_text(&r->own)) || span_caseeq(address_text(a), address_text(&r->base));
}

static bool
is_named(const struct reading *r, struct span address)
{
	struct span all = buf_span(&r->list->to);

	for (size_t i = 0, at = 0; i < r->n; at = r->ends[i++] + 1u)
		if (span_eq(span_sub(all, at, r->ends[i] - at), address))
			return true;
	return false;
}

static void
send_on(struct reading *r, struct span item, struct span address)
{
	struct buf *to = &r->list->to;

	if (is_named(r, address))
		return;
	if (r->n >= FORWARDS_MOST || buf_space(to) < address.n + 1) {
		refuse(r, item, "there are too many addresses before it");
		return;
	}
	if (r->n)
		buf_putc(to, '\n');
	buf_put(to, address);
	r->ends[r->n++] = (uint16_t)buf_len(to);
}

/* A name without a domain is in that of the recipient. */
static void
take_address(struct reading *r, struct span item)
{
	bool bare = span_chr(item, '@') == SIZE_MAX;
	char raw[ADDRESS_SIZE];
	struct address a;
	struct fail why;

	errno = 0; /* what libidn2 leaves there when it had no memory is all that tells that from a bad name */
	if (bare && span_chr(item, '/') != SIZE_MAX)
		refuse(r, item, "mail is not given to files");
	else if (!address_parse(&a, item, bare ? GRAMMAR | ADDRESS_NO_DOMAIN : GRAMMAR, &why) ||
	    (bare && !address_make(&a, address_local_raw(&a, raw), address_domain(&r->own), GRAMMAR, &why)))
		refuse_address(r, item, why.text);
	else if (is_own(r, &a))
		r->list->kept = true;
	else
		send_on(r, item, address_text(&a));
}

static void
take(struct reading *r, const struct aliaslist_item *item)
{
	switch (item->kind) {
	case ALIASLIST_ADDRESS:
		take_address(r, item->text);
		break;
	case ALIASLIST_FILE:
		if (span_eq(item->text, SPAN("/dev/null")))
			r->thrown = true;
		else
			refuse(r, item->text, "mail is not given to files");
		break;
	case ALIASLIST_COMMAND:
		refuse(r, item->text, "mail is not given to commands");
		break;
	case ALIASLIST_INCLUDE:
		refuse(r, item->text, "no other file is read");
		break;
	default:
		refuse(r, item->text, "it cannot be understood");
		break;
	}
}

/* False: out of memory. */
static bool
take_line(struct reading *r, struct span line, struct arena *arena)
{
	struct aliaslist_item item;

	if (span_starts(line, SPAN("#")))
		return true;
	while (aliaslist_next(&line, arena, &item)) {
		take(r, &item);
		arena_reset(arena);
	}
	return !arena->failed && !r->no_memory;
}

static void
know_own(struct reading *r)
{
	struct span user, extension;
	char raw[ADDRESS_SIZE];

	if (address_parse(&r->own, r->reader->own, GRAMMAR, NULL) &&
	    address_subaddress(address_local_raw(&r->own, raw), r->reader->delimiters, &user, &extension))
		(void)address_make(&r->base, user, address_domain(&r->own), GRAMMAR, NULL);
}

bool
forwardlist_parse(struct forwardlist *list, struct span text, const struct forwardlist_reader *reader)
{
	struct reading r = { .reader = reader, .list = list };
	struct arena arena;
	bool ok = true;

	know_own(&r);
	arena_init(&arena, ITEM_ARENA);
	list->kept = false;
	if (span_starts(text, SPAN("\xef\xbb\xbf"))) /* editors put it there; it would be part of the first name */
		text = span_from(text, 3);
	while (ok && text.n) {
		r.line++;
		ok = take_line(&r, span_trim(span_cut(&text, '\n')), &arena);
	}
	arena_free(&arena);
	if (r.n == 0 && !r.thrown)
		list->kept = true;
	return ok && buf_ok(&list->to);
}
