/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/bounds.h"
#include "daemons/mailboxd/fold.h"
#include "daemons/mailboxd/keptfield.h"
#include "daemons/mailboxd/search.h"
#include "mail/charset.h"
#include "mail/date.h"

enum shape { SHAPE_NONE, SHAPE_KEYWORD, SHAPE_STRING, SHAPE_DATE, SHAPE_NUMBER, SHAPE_SECONDS,
	SHAPE_FIELD, SHAPE_SET, SHAPE_KEY, SHAPE_TWO, SHAPE_MODSEQ, SHAPE_OBJECTID };

struct row {
	struct span name;
	enum search_kind kind;
	enum shape shape;
	unsigned number, cost;
};

static const struct row rows[] = {
#define SEARCH_KEY(text, kind, shape, number, cost) { SPAN_INIT(text), SEARCH_##kind, SHAPE_##shape, number, cost },
#include "daemons/mailboxd/search.def"
#undef SEARCH_KEY
};

struct ctx {
	struct search *s;
	struct imap_parse *p;
	struct view *v;
	const struct uidset *saved; /* "$" (RFC 5182) */
	unsigned fuzzy;             /* FUZZY keys around */
};

static struct search_key *take_key(struct ctx *x, unsigned depth);

static struct search_key *
fail(struct ctx *x, const char *what)
{
	(void)imap_bad(x->p, what);
	return NULL;
}

static void
note_text(struct search *s, struct search_key *k)
{
	if (s->ntexts < SEARCH_TEXTS) {
		k->bit = (uint8_t)(1 << s->ntexts);
		s->texts[s->ntexts] = k;
	}
	s->ntexts++;
}

static struct search_key *
new_key(struct ctx *x, enum search_kind kind, unsigned cost)
{
	struct search_key *k = ++x->s->keys <= BOUND_SEARCH_KEYS ? ARENA_NEW(x->p->arena, struct search_key) : NULL;

	if (!k)
		return fail(x, "Too many search keys");
	k->kind = kind;
	k->cost = cost;
	if (kind == SEARCH_BODY || kind == SEARCH_TEXT)
		note_text(x->s, k);
	x->s->headers = x->s->headers || kind == SEARCH_EMAILID || kind == SEARCH_THREADID;
	return k;
}

static bool
is_set_char(char c)
{
	return ascii_digit(c) || c == ':' || c == ',' || c == '*';
}

/* "$": the UIDs that an earlier search found (RFC 5182 2.1). */
static bool
take_saved(struct ctx *x, struct search_key *k)
{
	uidset_init(&k->set);
	k->with_set = x->s->with_set;
	x->s->with_set = k;
	uidset_add_set(&k->set, x->saved);
	return !k->set.failed || imap_bad(x->p, "Command too large");
}

static bool
take_set(struct ctx *x, struct search_key *k, uint32_t star)
{
	struct span text;

	if (cursor_peek(&x->p->c) == '$' && imap_try(x->p, '$'))
		return take_saved(x, k);
	text = cursor_while(&x->p->c, is_set_char);

	uidset_init(&k->set);
	k->with_set = x->s->with_set;
	x->s->with_set = k;
	return uidset_parse(&k->set, text, star ? star : 1) || imap_bad(x->p, "Invalid message set");
}

static uint32_t
last_uid(const struct ctx *x)
{
	return x->v && view_count(x->v) ? view_uid(x->v, view_count(x->v)) : 0;
}

/* A string as folded UTF-8 in the arena. */
static bool
take_text(struct ctx *x, struct span *out)
{
	struct search *s = x->s;
	struct span raw, utf8;

	if (!imap_take_astring(x->p, &raw))
		return false;
	buf_reset(&s->scratch);
	buf_reset(&s->folded);
	utf8 = raw;
	if (s->charset.n) {
		if (!charset_to_utf8(s->charset, raw, &s->scratch))
			return imap_bad(x->p, "String is not of its character set");
		utf8 = buf_span(&s->scratch);
	}
	fold_text(utf8, &s->folded);
	*out = arena_dup(x->p->arena, buf_span(&s->folded));
	return (buf_ok(&s->folded) && (out->p || !buf_len(&s->folded))) || imap_bad(x->p, "Command too large");
}

static bool
take_date(struct ctx *x, struct search_key *k)
{
	struct span text;

	return imap_take_astring(x->p, &text) && (date_parse_day(&k->day, text) || imap_bad(x->p, "Invalid date"));
}

/* [entry-name SP entry-type SP] number: per-flag modseqs are not kept, so the name only has to be well formed */
static bool
take_modseq(struct ctx *x, struct search_key *k)
{
	struct span name, type;

	x->s->modseq = true;
	if (cursor_peek(&x->p->c) == '"' &&
	    (!imap_take_string(x->p, &name) || !imap_take_sp(x->p) || !imap_take_atom(x->p, &type) || !imap_take_sp(x->p)))
		return false;
	return imap_take_u64(x->p, 0, INT64_MAX, &k->number);
}

static bool
is_objectid_char(char c)
{
	return ascii_alnum(c) || c == '_' || c == '-';
}

/* 1 to 255 letters, digits, "_", "-" (RFC 8474 7) */
static bool
take_objectid(struct ctx *x, struct search_key *k)
{
	k->text = cursor_while(&x->p->c, is_objectid_char);
	return (k->text.n && k->text.n <= 255) || imap_bad(x->p, "Invalid object id");
}

static bool
take_keyword(struct ctx *x, struct search_key *k)
{
	if (!imap_take_atom(x->p, &k->text))
		return false;
	k->number = x->v ? search_keyword(x->v, k->text) : 0;
	return true;
}

static bool
take_children(struct ctx *x, struct search_key *k, unsigned n, unsigned depth)
{
	struct search_key **end = &k->children;

	while (n--) {
		if (!imap_take_sp(x->p))
			return false;
		*end = take_key(x, depth + 1);
		if (!*end)
			return false;
		if ((*end)->cost > k->cost)
			k->cost = (*end)->cost;
		end = &(*end)->next;
	}
	return true;
}

static bool
is_word_char(char c)
{
	return c != ' ';
}

/* What a message must have, so that the index can leave out those that do not. */
static bool
add_narrow(struct ctx *x, struct search_key *k)
{
	struct search *s = x->s;
	struct span needle = k->text;
	struct signature_query *q;

	if (k->kind != SEARCH_BODY && k->kind != SEARCH_TEXT && k->kind != SEARCH_HEADER)
		return true;
	if (k->kind == SEARCH_HEADER && needle.n < SIGNATURE_NEEDLE_MIN) {
		buf_reset(&s->folded);
		fold_text(k->field, &s->folded);
		buf_putc(&s->folded, ':'); /* as in pieces_header() */
		needle = buf_span(&s->folded);
	}
	if (!(q = ARENA_NEW(x->p->arena, struct signature_query)))
		return imap_bad(x->p, "Command too large");
	signature_query(q, needle);
	k->narrow = q;
	return true;
}

/* RFC 6203 3: what of a text is looked for where it does not stand as a whole. */
static bool
add_words(struct ctx *x, struct search_key *k)
{
	struct cursor c = cursor_of(k->text);
	struct search_key **end = &k->words;

	k->fuzzy = true;
	if (span_chr(span_trim(k->text), ' ') == SIZE_MAX)
		return true;
	while (!cursor_end(&c)) {
		struct span word = cursor_while(&c, is_word_char);

		c.at += !cursor_end(&c);
		if (!word.n)
			continue;
		if (!(*end = new_key(x, k->kind, k->cost)))
			return false;
		(*end)->field = k->field;
		(*end)->number = k->number;
		(*end)->text = word;
		if (!add_narrow(x, *end))
			return false;
		end = &(*end)->next;
	}
	return true;
}

static bool
take_string(struct ctx *x, struct search_key *k)
{
	return take_text(x, &k->text) && add_narrow(x, k) && (!x->fuzzy || add_words(x, k));
}

static bool
take_field(struct ctx *x, struct search_key *k)
{
	if (!imap_take_astring(x->p, &k->field) || !imap_take_sp(x->p))
		return false;
	k->number = keptfield_bit(k->field);
	if (k->number)
		k->cost = SEARCH_COST_FACTS;
	else
		x->s->headers = true;
	return true;
}

static bool
take_fuzzy(struct ctx *x, struct search_key *k, unsigned depth)
{
	bool ok;

	x->s->fuzzy = true;
	x->fuzzy++;
	ok = take_children(x, k, 1, depth);
	x->fuzzy--;
	return ok;
}

static bool
take_shape(struct ctx *x, const struct row *row, struct search_key *k, unsigned depth)
{
	k->number = row->number;
	if (row->kind == SEARCH_FUZZY)
		return take_fuzzy(x, k, depth);
	if (row->shape == SHAPE_KEY || row->shape == SHAPE_TWO)
		return take_children(x, k, row->shape == SHAPE_TWO ? 2 : 1, depth);
	if (row->shape != SHAPE_NONE && !imap_take_sp(x->p))
		return false;
	switch (row->shape) {
	case SHAPE_KEYWORD: return take_keyword(x, k);
	case SHAPE_MODSEQ: return take_modseq(x, k);
	case SHAPE_OBJECTID: return take_objectid(x, k);
	case SHAPE_STRING: return take_string(x, k);
	case SHAPE_DATE: return take_date(x, k);
	case SHAPE_NUMBER: return imap_take_u64(x->p, 0, INT64_MAX, &k->number);        /* RFC 9051 9: number64 */
	case SHAPE_SECONDS: return imap_take_u64(x->p, 1, UINT32_MAX, &k->number);      /* RFC 5032 4: nz-number */
	case SHAPE_FIELD: return take_field(x, k) && take_string(x, k);
	case SHAPE_SET: return take_set(x, k, last_uid(x));
	default: return true;
	}
}

/* Puts k in front of the first dearer one, so that cheap tests decide first. */
static void
insert(struct search_key **list, struct search_key *k)
{
	while (*list && (*list)->cost <= k->cost)
		list = &(*list)->next;
	k->next = *list;
	*list = k;
}

static struct search_key *
take_and(struct ctx *x, unsigned depth)
{
	struct search_key *all = new_key(x, SEARCH_AND, 0);

	if (!all)
		return NULL;
	do {
		struct search_key *k = take_key(x, depth + 1);

		if (!k)
			return NULL;
		if (k->cost > all->cost)
			all->cost = k->cost;
		insert(&all->children, k);
	} while (imap_try(x->p, ' '));
	return all;
}

static struct search_key *
take_named(struct ctx *x, unsigned depth)
{
	struct span word;

	if (!imap_take_atom(x->p, &word))
		return NULL;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct search_key *k;

		if (!span_caseeq(rows[i].name, word))
			continue;
		k = new_key(x, rows[i].kind, rows[i].cost);
		return k && take_shape(x, &rows[i], k, depth) ? k : NULL;
	}
	return fail(x, "Unknown search key");
}

static bool
to_uids(struct ctx *x, struct search_key *k)
{
	struct uidset uids;
	bool ok;

	uidset_init(&uids);
	ok = view_uids(x->v, &k->set, &uids);
	uidset_free(&k->set);
	k->set = uids;
	k->kind = SEARCH_UID;
	return ok || imap_bad(x->p, "Command too large");
}

static struct search_key *
take_key(struct ctx *x, unsigned depth)
{
	struct search_key *k;

	if (depth > BOUND_SEARCH_DEPTH)
		return fail(x, "Search keys nested too deep");
	if (is_set_char(cursor_peek(&x->p->c))) {
		x->s->seq_used = x->s->uid_only;
		if (x->s->uid_only)
			return fail(x, "Message numbers are not in use here");
		k = new_key(x, SEARCH_SEQ, 0);
		return k && take_set(x, k, x->v ? view_count(x->v) : 0) && (!x->s->lasting || to_uids(x, k)) ? k : NULL;
	}
	if (imap_try(x->p, '$')) {
		k = new_key(x, SEARCH_UID, 0);
		return k && take_saved(x, k) ? k : NULL;
	}
	if (!imap_try(x->p, '('))
		return take_named(x, depth);
	k = take_and(x, depth);
	return k && imap_take_char(x->p, ')') ? k : NULL;
}

bool
search_charset(struct search *s, struct imap_parse *p, bool required)
{
	if (!required && !cursor_word(&p->c, SPAN("CHARSET ")))
		return true;
	if (!imap_take_astring(p, &s->charset) || !imap_take_sp(p))
		return false;
	if (span_caseeq(s->charset, SPAN("UTF-8")) || span_caseeq(s->charset, SPAN("US-ASCII")))
		s->charset = SPAN_NONE;
	s->bad_charset = s->charset.n && !charset_known(s->charset);
	return !s->bad_charset;
}

bool
search_parse(struct search *s, struct imap_parse *p, struct view *v, const struct uidset *saved)
{
	struct ctx x = { s, p, v, saved, 0 };

	s->root = take_and(&x, 0);
	return s->root && imap_take_end(p);
}
