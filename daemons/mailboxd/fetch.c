/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/fetch.h"

#include "daemons/mailboxd/bounds.h"
#include "daemons/mailboxd/keptfield.h"
#include "mail/header.h"

static const struct {
	struct span text;
	enum fetch_kind kind;
	unsigned flags;
} names[] = {
#define FETCH_ITEM(text, kind, flags) { SPAN_INIT(text), FETCH_KIND_##kind, flags },
#include "daemons/mailboxd/fetch.def"
#undef FETCH_ITEM
};

static const struct {
	struct span text, items;
} macros[] = {
	{ SPAN_INIT("ALL"), SPAN_INIT("(FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)") },
	{ SPAN_INIT("FAST"), SPAN_INIT("(FLAGS INTERNALDATE RFC822.SIZE)") },
	{ SPAN_INIT("FULL"), SPAN_INIT("(FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY)") },
};

static const struct {
	struct span text;
	enum section_what what;
} whats[] = {
	{ SPAN_INIT("HEADER"), SECTION_HEADER },
	{ SPAN_INIT("HEADER.FIELDS"), SECTION_FIELDS },
	{ SPAN_INIT("HEADER.FIELDS.NOT"), SECTION_FIELDS_NOT },
	{ SPAN_INIT("TEXT"), SECTION_TEXT },
	{ SPAN_INIT("MIME"), SECTION_MIME },
};

static bool
is_name_char(char c)
{
	return ascii_alnum(c) || c == '.';
}

/* ---- sections ---- */

static bool
take_path(struct imap_parse *p, struct section *s)
{
	uint32_t path[BOUND_PART_DEPTH];
	size_t n = 0;

	while (ascii_digit(cursor_peek(&p->c))) {
		if (n == BOUND_PART_DEPTH)
			return imap_bad(p, "Section too deep");
		if (!imap_take_u32(p, 1, &path[n++]))
			return false;
		if (!imap_try(p, '.'))
			break;
		if (cursor_peek(&p->c) == ']')
			return imap_bad(p, "Invalid section");
	}
	s->npath = n;
	s->path = arena_alloc(p->arena, (n + 1) * sizeof *s->path);
	if (!s->path)
		return imap_bad(p, "Command too large");
	for (size_t i = 0; i < n; i++)
		s->path[i] = path[i];
	return true;
}

static bool
take_fields(struct imap_parse *p, struct section *s)
{
	size_t room = 0;

	if (!imap_take_sp(p) || !imap_take_char(p, '('))
		return false;
	do {
		struct span name;

		if (s->nfields == room) {
			struct span *more = arena_alloc(p->arena, (room = room ? room * 2 : 8) * sizeof *more);

			if (!more)
				return imap_bad(p, "Command too large");
			for (size_t i = 0; i < s->nfields; i++)
				more[i] = s->fields[i];
			s->fields = more;
		}
		if (!imap_take_astring(p, &name))
			return imap_bad(p, "Expected a header field name");
		s->fields[s->nfields++] = name;
	} while (imap_try(p, ' '));
	return imap_take_char(p, ')');
}

static bool
take_what(struct imap_parse *p, struct section *s)
{
	struct span word = cursor_while(&p->c, is_name_char);
	bool after_dot = s->npath && p->c.at > word.n && p->c.in.p[p->c.at - word.n - 1] == '.';

	if (!word.n)
		return after_dot ? imap_bad(p, "Invalid section") : true;
	if (s->npath && !after_dot)
		return imap_bad(p, "Invalid section");
	for (size_t i = 0; i < sizeof whats / sizeof *whats; i++) {
		if (!span_caseeq(whats[i].text, word))
			continue;
		s->what = whats[i].what;
		if (s->what == SECTION_MIME && !s->npath)
			return imap_bad(p, "MIME needs a part number");
		if (s->what == SECTION_FIELDS || s->what == SECTION_FIELDS_NOT)
			return take_fields(p, s);
		return true;
	}
	return imap_bad(p, "Invalid section");
}

static struct span
make_label(struct imap_parse *p, const struct fetch_item *item)
{
	const struct section *s = &item->section;
	struct buf b;
	struct span label;

	buf_init(&b, BOUND_COMMAND);
	buf_put(&b, item->kind == FETCH_KIND_SECTION ? SPAN("BODY[") : item->kind == FETCH_KIND_BINARY_SIZE ? SPAN("BINARY.SIZE[") : SPAN("BINARY["));
	for (size_t i = 0; i < s->npath; i++) {
		if (i)
			buf_putc(&b, '.');
		buf_put_u64(&b, s->path[i]);
	}
	if (s->what != SECTION_ALL) {
		if (s->npath)
			buf_putc(&b, '.');
		for (size_t i = 0; i < sizeof whats / sizeof *whats; i++)
			if (whats[i].what == s->what)
				buf_put(&b, whats[i].text);
	}
	for (size_t i = 0; i < s->nfields; i++) {
		buf_put(&b, i ? SPAN(" ") : SPAN(" ("));
		imap_put_astring(&b, s->fields[i]);
	}
	buf_put(&b, s->nfields ? SPAN(")]") : SPAN("]"));
	if (item->partial)
		buf_printf(&b, "<%u>", (unsigned)item->from);
	label = arena_dup(p->arena, buf_span(&b));
	if (!buf_ok(&b) || !label.p)
		(void)imap_bad(p, "Command too large");
	buf_free(&b);
	return label;
}

/* Whether the answer is among what is kept of a message. */
static uint64_t
kept_bits(const struct fetch_item *item)
{
	const struct section *s = &item->section;
	uint64_t bits = 0;

	if (item->kind != FETCH_KIND_SECTION || s->what != SECTION_FIELDS || s->npath)
		return 0;
	for (size_t i = 0; i < s->nfields; i++) {
		uint64_t bit = keptfield_bit(s->fields[i]);

		if (!bit)
			return 0;
		bits |= bit;
	}
	return bits;
}

/* "[" section "]" and "<from.count>" */
static bool
take_section(struct imap_parse *p, struct fetch_item *item)
{
	if (!(item->flags & FETCH_BINARY))
		item->kind = FETCH_KIND_SECTION;
	if (!imap_take_char(p, '[') || !take_path(p, &item->section) || !take_what(p, &item->section))
		return false;
	if (!imap_take_char(p, ']'))
		return false;
	if ((item->flags & FETCH_BINARY) && item->section.what != SECTION_ALL)
		return imap_bad(p, "BINARY takes part numbers only");
	if (item->kind != FETCH_KIND_BINARY_SIZE && imap_try(p, '<')) {
		item->partial = true;
		if (!imap_take_u32(p, 0, &item->from) || !imap_take_char(p, '.') || !imap_take_u32(p, 1, &item->count) ||
		    !imap_take_char(p, '>'))
			return false;
	}
	item->label = make_label(p, item);
	item->kept = kept_bits(item);
	return imap_ok(p);
}

bool
section_parse(struct span text, struct arena *arena, struct section *out)
{
	struct imap_parse p = imap_parse_of(text, arena);

	*out = (struct section){ .what = SECTION_ALL };
	return take_path(&p, out) && take_what(&p, out) && imap_take_end(&p);
}

/* ---- items ---- */

static struct fetch_item *
take_item(struct imap_parse *p)
{
	struct span word = cursor_while(&p->c, is_name_char);
	struct fetch_item *item = ARENA_NEW(p->arena, struct fetch_item);
	size_t i = 0;

	if (!item) {
		(void)imap_bad(p, "Command too large");
		return NULL;
	}
	while (i < sizeof names / sizeof *names && !span_caseeq(names[i].text, word))
		i++;
	if (i == sizeof names / sizeof *names) {
		(void)imap_bad(p, "Unknown FETCH item");
		return NULL;
	}
	item->kind = names[i].kind;
	item->flags = names[i].flags;
	if ((item->flags & FETCH_LAZY) && cursor_word(&p->c, SPAN(" ("))) {
		if (!imap_take_atom(p, &word) || !imap_take_char(p, ')'))
			return NULL;
		if (!span_caseeq(word, SPAN("LAZY"))) {
			(void)imap_bad(p, "Unknown modifier");
			return NULL;
		}
	}
	if (item->flags & FETCH_SECTION)
		return take_section(p, item) ? item : NULL;
	if ((item->flags & FETCH_MAY) && cursor_peek(&p->c) == '[') {
		item->flags &= ~(unsigned)FETCH_PEEK; /* BODY[...] without .PEEK sets \Seen */
		return take_section(p, item) ? item : NULL;
	}
	return item;
}

static struct fetch_item *
take_list(struct imap_parse *p)
{
	struct fetch_item *first = NULL, **end = &first;
	unsigned n = 0;

	do {
		if (++n > BOUND_FETCH_ITEMS) {
			(void)imap_bad(p, "Too many FETCH items");
			return NULL;
		}
		*end = take_item(p);
		if (!*end)
			return NULL;
		end = &(*end)->next;
	} while (imap_try(p, ' '));
	return imap_take_char(p, ')') ? first : NULL;
}

struct fetch_item *
fetch_parse(struct imap_parse *p)
{
	struct span rest = cursor_rest(&p->c);

	if (imap_try(p, '('))
		return take_list(p);
	for (size_t i = 0; i < sizeof macros / sizeof *macros; i++) {
		struct imap_parse macro;
		size_t n = macros[i].text.n;

		if (!span_casestarts(rest, macros[i].text) || (rest.n > n && is_name_char(rest.p[n])))
			continue;
		p->c.at += n;
		macro = imap_parse_of(span_from(macros[i].items, 1), p->arena);
		return take_list(&macro);
	}
	return take_item(p);
}

/* ---- finding ---- */

static bool
wanted(const struct section *s, struct span name)
{
	bool listed = false;

	for (size_t i = 0; !listed && i < s->nfields; i++)
		listed = span_caseeq(s->fields[i], name);
	return listed == (s->what == SECTION_FIELDS);
}

static void
put_fields(const struct section *s, struct span header, struct buf *made)
{
	struct header_walk w = header_walk(header);
	struct header_field f;

	while (header_next(&w, &f))
		if (wanted(s, f.name))
			buf_put(made, f.whole);
	buf_put(made, SPAN("\r\n"));
}

static void
take_extent(struct section_found *out, const struct mime_extent *e)
{
	out->at = e->at;
	out->n = e->n;
}

/* A section of the message as a whole, which mostly needs no parsing. */
static bool
find_top(struct text *t, const struct section *s, struct section_found *out, struct buf *made)
{
	struct span header;

	if (!text_content(t))
		return false;
	out->n = t->content.size;
	if (s->what == SECTION_ALL)
		return true;
	if (!text_header(t, &header))
		return false;
	if (s->what == SECTION_TEXT) {
		out->at = header.n;
		out->n -= header.n;
	} else {
		out->n = header.n;
	}
	if (s->nfields) {
		put_fields(s, header, made);
		out->is_made = true;
	}
	return true;
}

bool
section_part(struct text *t, const struct section *s, const struct mime_part **out)
{
	struct mime_part *root;

	if (!text_root(t, &root))
		return false;
	*out = mime_find(root, s->path, s->npath);
	return true;
}

bool
section_find(struct text *t, const struct section *s, struct section_found *out, struct buf *made)
{
	struct mime_part *root;
	const struct mime_part *p;
	struct span all;

	*out = (struct section_found){ 0 };
	if (!s->npath)
		return find_top(t, s, out, made);
	if (!text_root(t, &root) || !text_all(t, &all))
		return false;
	p = mime_find(root, s->path, s->npath);
	out->missing = !p;
	if (!p)
		return true;
	if (s->what == SECTION_ALL) {
		take_extent(out, &p->body);
		return true;
	}
	if (s->what == SECTION_MIME) {
		take_extent(out, &p->header);
		return true;
	}
	if (p->kind != MIME_MESSAGE || !p->children) {
		out->missing = true;
		return true;
	}
	p = p->children;
	take_extent(out, s->what == SECTION_TEXT ? &p->body : &p->header);
	if (s->nfields) {
		put_fields(s, mime_span(all, &p->header), made);
		out->is_made = true;
	}
	return true;
}
