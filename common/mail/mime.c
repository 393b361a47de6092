/* SPDX-License-Identifier: ISC
 *
 * One pass over the lines with a stack of open boundaries.  Counts of line
 * ends run along, so every extent is the difference of two marks.
 */
#include "mail/mime.h"

#include <stddef.h>
#include <string.h>

#include "mail/header.h"
#include "mail/limits.h"

struct mark {
	size_t at, lines, bare;
};

struct open_boundary {
	struct mime_part *part;
	struct span boundary;
};

struct parse {
	struct span in;
	struct arena *arena;
	struct mark here;       /* start of the line to look at */
	struct mark before;     /* the same place in front of the line end that leads to it */
	struct mime_part *part; /* whose body we are in */
	struct open_boundary open[LIMIT_MIME_DEPTH];
	unsigned nopen;
	unsigned parts;
	bool bare;              /* no envelopes */
	bool full;              /* no more parts: the limit or the arena is reached */
};

static void
extent_end(struct mime_extent *e, const struct mark *m)
{
	if (m->at < e->at)
		m = NULL; /* a boundary right behind the header: its line end was the header's */
	e->n = m ? m->at - e->at : 0;
	e->lines = m ? m->lines - e->lines : 0;
	e->bare = m ? m->bare - e->bare : 0;
}

static void
extent_start(struct mime_extent *e, const struct mark *m)
{
	*e = (struct mime_extent){ .at = m->at, .lines = m->lines, .bare = m->bare };
}

/* Moves over the line at p->here and returns it without its line end. */
static struct span
next_line(struct parse *p)
{
	size_t at = p->here.at;
	const char *lf = memchr(p->in.p + at, '\n', p->in.n - at);
	size_t n = lf ? (size_t)(lf - p->in.p) - at : p->in.n - at;
	bool crlf = lf && n && lf[-1] == '\r';

	n -= crlf;
	p->before = (struct mark){ at + n, p->here.lines, p->here.bare };
	if (lf) {
		p->here.at = at + n + crlf + 1u;
		p->here.lines++;
		p->here.bare += !crlf;
	} else {
		p->here.at = p->in.n;
	}
	return span_sub(p->in, at, n);
}

enum line_kind { LINE_TEXT, LINE_BOUNDARY, LINE_CLOSE };

/* RFC 2046 5.1.1: "--" boundary ["--"] and blanks. Inner boundaries first; an outer one ends them (5.1.2). */
static enum line_kind
line_kind(const struct parse *p, struct span line, unsigned *which)
{
	if (p->nopen == 0 || line.n < 2 || line.p[0] != '-' || line.p[1] != '-')
		return LINE_TEXT;
	line = span_from(line, 2);
	while (line.n && ascii_blank(line.p[line.n - 1]))
		line.n--;
	for (unsigned i = p->nopen; i-- > 0;) {
		size_t n = p->open[i].boundary.n;

		if (line.n < n || memcmp(line.p, p->open[i].boundary.p, n) != 0)
			continue;
		*which = i;
		if (line.n == n)
			return LINE_BOUNDARY;
		if (line.n == n + 2 && line.p[n] == '-' && line.p[n + 1] == '-')
			return LINE_CLOSE;
	}
	return LINE_TEXT;
}

/* "token" up to one of the stop bytes, comments and blanks around it left out. */
static struct span
token(struct span *s, const char *stop)
{
	size_t n = 0;
	struct span t;

	*s = span_trim(*s);
	while (s->n && s->p[0] == '(') {
		size_t end = span_chr(*s, ')');

		*s = span_trim(span_from(*s, end == SIZE_MAX ? s->n : end + 1));
	}
	while (n < s->n && s->p[n] > ' ' && s->p[n] != '(' && !strchr(stop, s->p[n]))
		n++;
	t = span_sub(*s, 0, n);
	*s = span_trim(span_from(*s, n));
	return t;
}

static bool
take_type(struct parse *p, struct mime_part *part, struct span value)
{
	struct span type = token(&value, "/;"), subtype;
	size_t slash = span_chr(value, '/');

	if (type.n == 0 || slash == SIZE_MAX || slash > span_chr(value, ';'))
		return true; /* malformed: as if it were not there (RFC 2045 5.2) */
	value = span_from(value, slash + 1);
	subtype = token(&value, ";/");
	if (subtype.n == 0)
		return true;
	part->type = type;
	part->subtype = subtype;
	part->type_given = true;
	slash = span_chr(value, ';');
	return slash == SIZE_MAX || param_parse(&part->params, span_from(value, slash), p->arena);
}

static bool
take_disposition(struct parse *p, struct mime_part *part, struct span value)
{
	struct span word = token(&value, ";");
	size_t semicolon = span_chr(value, ';');

	if (word.n == 0)
		return true;
	part->disposition = word;
	return semicolon == SIZE_MAX || param_parse(&part->disposition_params, span_from(value, semicolon), p->arena);
}

static bool
take_languages(struct parse *p, struct mime_part *part, struct span value)
{
	struct span found[LIMIT_MIME_LANGUAGES], rest = value;
	unsigned n = 0;

	while (rest.n && n < LIMIT_MIME_LANGUAGES) {
		struct span one = span_cut(&rest, ','), word = token(&one, ",;");

		if (word.n)
			found[n++] = word;
	}
	if (n == 0)
		return true;
	part->languages = arena_alloc(p->arena, n * sizeof(found[0]));
	if (!part->languages)
		return false;
	memcpy(part->languages, found, n * sizeof(found[0]));
	part->nlanguages = n;
	return true;
}

static bool
take_encoding(struct parse *p, struct mime_part *part, struct span value)
{
	struct span word = token(&value, ";");

	(void)p;
	if (word.n) {
		part->encoding_text = word;
		part->encoding = encoding_of(word);
	}
	return true;
}

#define TEXT_FIELD(member)                                                                           \
	static bool take_##member(struct parse *p, struct mime_part *part, struct span value)        \
	{                                                                                            \
		part->member = header_unfold(value, p->arena);                                       \
		return part->member.p != NULL;                                                       \
	}
TEXT_FIELD(id)
TEXT_FIELD(description)
TEXT_FIELD(md5)
TEXT_FIELD(location)
#undef TEXT_FIELD

/* behind "Content-" */
static const struct {
	struct span name;
	bool (*take)(struct parse *, struct mime_part *, struct span);
} fields[] = {
	{ SPAN_INIT("Type"), take_type },
	{ SPAN_INIT("Transfer-Encoding"), take_encoding },
	{ SPAN_INIT("Disposition"), take_disposition },
	{ SPAN_INIT("ID"), take_id },
	{ SPAN_INIT("Description"), take_description },
	{ SPAN_INIT("Language"), take_languages },
	{ SPAN_INIT("Location"), take_location },
	{ SPAN_INIT("MD5"), take_md5 },
};

enum { FIELD_COUNT = sizeof(fields) / sizeof(fields[0]) };

/* The first field of a name counts. seen has a bit for each row. */
static bool
take_field(struct parse *p, struct mime_part *part, const struct header_field *f, unsigned *seen)
{
	struct span name = f->name;

	if (!span_casestarts(name, SPAN("Content-")))
		return !part->envelope || envelope_take(part->envelope, f, p->arena);
	name = span_from(name, 8);
	for (unsigned i = 0; i < FIELD_COUNT; i++) {
		if (!span_caseeq(name, fields[i].name) || *seen & 1u << i)
			continue;
		*seen |= 1u << i;
		return fields[i].take(p, part, f->value);
	}
	return true;
}

/* Counts the line ends of what the header walk passed, up to `to`. */
static void
advance(struct parse *p, size_t to)
{
	while (p->here.at < to)
		(void)next_line(p);
}

/* Where nothing can be a boundary only counting is left. */
static void
count_rest(struct parse *p)
{
	size_t bare;

	p->here.lines += span_lines(span_from(p->in, p->here.at), &bare);
	p->here.bare += bare;
	p->here.at = p->in.n;
}

/* Reads the header at p->here. A boundary line ends it, even one that looks like a field. */
static void
read_header(struct parse *p, struct mime_part *part)
{
	struct header_walk w = header_walk(span_from(p->in, p->here.at));
	struct header_field f;
	size_t from = p->here.at;
	unsigned seen = 0, which;
	struct span line;

	extent_start(&part->header, &p->here);
	for (;;) {
		struct mark here = p->here, before = p->before;
		bool boundary;

		if (p->here.at - from > LIMIT_HEADER_SIZE || p->here.at >= p->in.n)
			break;
		line = next_line(p);
		boundary = line_kind(p, line, &which) != LINE_TEXT;
		if (boundary || !header_next(&w, &f)) {
			if (boundary || line.n) { /* the line is not the header's */
				p->here = here;
				p->before = before;
			}
			break;
		}
		advance(p, from + w.at);
		if (!p->full && !take_field(p, part, &f, &seen))
			p->full = true;
	}
	extent_end(&part->header, &p->here);
}

static struct mime_part *
new_part(struct parse *p, struct mime_part *parent, bool message)
{
	struct mime_part *part;
	struct mime_part **tail;

	if (p->full || p->parts >= LIMIT_MIME_PARTS || !(part = ARENA_NEW(p->arena, struct mime_part)))
		return NULL;
	if (message && !p->bare && !(part->envelope = ARENA_NEW(p->arena, struct envelope)))
		return NULL;
	p->parts++;
	part->parent = parent;
	part->type = SPAN("text");
	part->subtype = SPAN("plain");
	part->encoding_text = SPAN("7BIT");
	part->header = part->body = (struct mime_extent){ .at = p->here.at };
	if (!parent)
		return part;
	part->depth = parent->depth + 1;
	if (!message && mime_is(parent, SPAN("multipart"), SPAN("digest"))) {
		part->type = SPAN("message");
		part->subtype = SPAN("rfc822");
	}
	tail = parent->last ? &parent->last->next : &parent->children;
	*tail = parent->last = part;
	parent->nchildren++;
	return part;
}

static bool
is_message(const struct mime_part *part)
{
	return mime_is(part, SPAN("message"), SPAN("rfc822")) || mime_is(part, SPAN("message"), SPAN("global"));
}

static struct span
boundary_of(const struct mime_part *part)
{
	struct span b = SPAN_NONE;

	if (!mime_is(part, SPAN("multipart"), SPAN_NONE) || !param_raw(&part->params, SPAN("boundary"), &b))
		return SPAN_NONE;
	return span_sub(span_trim(b), 0, LIMIT_MIME_BOUNDARY);
}

/* Reads headers downwards from part, through messages within messages, until p->part is what the next lines are of. */
static void
enter(struct parse *p, struct mime_part *part)
{
	for (;;) {
		struct mime_part *child;
		struct span boundary;
		bool deeper = part->depth + 1 < LIMIT_MIME_DEPTH && !p->full;

		read_header(p, part);
		extent_start(&part->body, &p->here);
		p->part = part;
		boundary = boundary_of(part);
		if (deeper && boundary.n && p->nopen < LIMIT_MIME_DEPTH) {
			part->kind = MIME_MULTIPART;
			p->open[p->nopen++] = (struct open_boundary){ part, boundary };
			return;
		}
		if (!deeper || !is_message(part) || part->encoding == ENCODING_BASE64 || part->encoding == ENCODING_QP)
			return;
		child = new_part(p, part, true);
		if (!child)
			return;
		part->kind = MIME_MESSAGE;
		part = child;
	}
}

/* Ends the bodies from the current part up to, but not with, `stop`. */
static void
leave(struct parse *p, struct mime_part *stop, const struct mark *m)
{
	for (; p->part != stop; p->part = p->part->parent)
		extent_end(&p->part->body, m);
}

/* IMAP knows no multipart without parts: an empty text stands in. */
static void
fill_empty(struct mime_part *part, struct arena *arena)
{
	struct mime_part *empty = part->children ? NULL : ARENA_NEW(arena, struct mime_part);

	if (part->children)
		return;
	if (!empty) {
		part->kind = MIME_LEAF;
		return;
	}
	*empty = (struct mime_part){ .parent = part,
				     .depth = part->depth + 1,
				     .type = SPAN("text"),
				     .subtype = SPAN("plain"),
				     .encoding_text = SPAN("7BIT") };
	empty->header.at = empty->body.at = part->body.at + part->body.n;
	part->children = part->last = empty;
	part->nchildren = 1;
}

/* All parts of the finished tree, without recursion. */
static void
fill_all(struct mime_part *root, struct arena *arena)
{
	for (struct mime_part *it = root; it;) {
		if (it->kind == MIME_MULTIPART)
			fill_empty(it, arena);
		if (it->children) {
			it = it->children;
			continue;
		}
		while (it && !it->next)
			it = it->parent;
		it = it ? it->next : NULL;
	}
}

static struct mime_part *
parse(struct span message, struct arena *arena, bool bare)
{
	struct parse p = { .in = message, .arena = arena, .bare = bare };
	struct mime_part *root = new_part(&p, NULL, true);

	if (!root)
		return NULL;
	enter(&p, root);
	while (p.here.at < message.n) {
		struct mark before = p.before;
		unsigned which;
		enum line_kind kind;

		if (p.nopen == 0) {
			count_rest(&p);
			break;
		}
		kind = line_kind(&p, next_line(&p), &which);
		if (kind == LINE_TEXT)
			continue;
		if (kind == LINE_BOUNDARY) {
			struct mime_part *multipart = p.open[which].part, *child;

			if (p.full || p.parts >= LIMIT_MIME_PARTS)
				continue;
			leave(&p, multipart, &before);
			p.nopen = which + 1;
			child = new_part(&p, multipart, false);
			if (child)
				enter(&p, child);
		} else {
			leave(&p, p.open[which].part, &before);
			p.nopen = which;
		}
	}
	leave(&p, NULL, &p.here);
	fill_all(root, arena);
	return root;
}

struct mime_part *
mime_parse(struct span message, struct arena *arena)
{
	return parse(message, arena, false);
}

struct mime_part *
mime_parse_bare(struct span message, struct arena *arena)
{
	return parse(message, arena, true);
}

const struct mime_part *
mime_find(const struct mime_part *root, const unsigned *path, size_t n)
{
	const struct mime_part *part = root;
	bool content = true; /* part stands for what is in a message, not yet for a numbered part */

	for (size_t i = 0; i < n; i++) {
		unsigned number = path[i];

		if (!content && part->kind == MIME_MESSAGE) {
			part = part->children;
			content = true;
		}
		if (part->kind == MIME_MULTIPART) {
			for (part = part->children; part && number > 1; number--)
				part = part->next;
		} else if (!content) {
			return NULL;
		}
		if (!part || number != 1)
			return NULL;
		content = false;
	}
	return part;
}

void
mime_describe(const struct mime_part *root, struct buf *out)
{
	const struct mime_part *it = root;

	while (it) {
		buf_put(out, it->type);
		buf_putc(out, '/');
		buf_put(out, it->subtype);
		if (it->children) {
			buf_putc(out, '(');
			it = it->children;
			continue;
		}
		while (it != root && !it->next) {
			buf_putc(out, ')');
			it = it->parent;
		}
		if (it == root)
			break;
		buf_puts(out, ", ");
		it = it->next;
	}
}
