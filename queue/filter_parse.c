/* SPDX-License-Identifier: ISC
 *
 * Text to filter: one pass, bounded in length and depth; what is wrong is told
 * with its column, what was expected there and what stands there instead.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/queueid.h"
#include "queue/filter_impl.h"

enum { MEMORY = 4 * 1024 * 1024, BARE_ID = 9, FOUND_SHOWN = 40 };

const struct filter_row filter_rows[FILTER_FIELDS] = {
#define Q FILTER_QUEUE
#define A FILTER_ARRIVAL
#define H FILTER_PAST
#define FILTER(field, name, kind, cost, where, meaning) { name, KIND_##kind, cost, where, meaning },
#include "queue/filter.def"
#undef Q
#undef A
#undef H
};

struct parser {
	struct span in;
	size_t at;
	unsigned where, depth;
	struct filter *f;
	struct filter_error *error;
};

static struct filter_node *parse_or(struct parser *p);

static void *wrong(struct parser *p, size_t at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The first complaint stands. */
static void *
wrong(struct parser *p, size_t at, const char *fmt, ...)
{
	va_list ap;

	if (p->error->text[0])
		return NULL;
	p->error->column = 1;
	for (size_t i = 0; i < at && i < p->in.n; i++)
		p->error->column += ((unsigned char)p->in.p[i] & 0xc0) != 0x80;
	va_start(ap, fmt);
	(void)vsnprintf(p->error->text, sizeof(p->error->text), fmt, ap);
	va_end(ap);
	return NULL;
}

static bool
blank(char c)
{
	return ascii_blank(c) || c == '\n' || c == '\r';
}

static void
skip_blanks(struct parser *p)
{
	while (p->at < p->in.n && blank(p->in.p[p->at]))
		p->at++;
}

static char
peek(const struct parser *p)
{
	return p->at < p->in.n ? p->in.p[p->at] : '\0';
}

static bool
ends_value(char c)
{
	return blank(c) || c == '(' || c == ')';
}

/* What stands at `at`, for a complaint. */
static const char *
found(const struct parser *p, size_t at, char text[FOUND_SHOWN + 8])
{
	size_t n = 0;

	if (at >= p->in.n)
		return "the end";
	while (at + n < p->in.n && n < FOUND_SHOWN && !blank(p->in.p[at + n]))
		n++;
	(void)snprintf(text, FOUND_SHOWN + 8, "%.*s", (int)n, p->in.p + at);
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ')
			*c = '?';
	return text;
}

static struct filter_node *
new_node(struct parser *p, enum filter_shape shape)
{
	struct filter_node *n = ARENA_NEW(&p->f->arena, struct filter_node);

	if (!n)
		return wrong(p, p->at, "the filter has too many parts");
	n->shape = shape;
	return n;
}

static bool
keyword(struct parser *p, struct span word)
{
	struct span rest = span_from(p->in, p->at);

	if (!span_casestarts(rest, word) || (rest.n > word.n && !ends_value(rest.p[word.n])))
		return false;
	p->at += word.n;
	return true;
}

/* ---- values ---- */

static uint64_t
duration_unit(char c)
{
	static const struct {
		char letter;
		uint64_t ms;
	} units[] = { { 's', 1000 }, { 'm', 60000 }, { 'h', 3600000 }, { 'd', 86400000 }, { 'w', 604800000 } };

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (ascii_lower(c) == units[i].letter)
			return units[i].ms;
	return 0;
}

static bool
digits(struct span *s, uint64_t *out)
{
	size_t n = 0;
	bool ok;

	while (n < s->n && ascii_digit(s->p[n]))
		n++;
	ok = span_u64(span_sub(*s, 0, n), UINT64_MAX / 604800000 / 2, out);
	*s = span_from(*s, n);
	return ok;
}

static bool
parse_duration(struct span s, uint64_t *out)
{
	uint64_t n, unit;

	*out = 0;
	do {
		if (!digits(&s, &n) || s.n == 0)
			return false;
		unit = duration_unit(s.p[0]);
		s = span_from(s, 1);
		if (!unit || *out > UINT64_MAX / 2)
			return false;
		*out += n * unit;
	} while (s.n);
	return true;
}

static bool
parse_size(struct span s, uint64_t *out)
{
	static const char units[] = "kmgt";
	const char *unit;

	if (!digits(&s, out))
		return false;
	if (s.n && (unit = memchr(units, ascii_lower(s.p[0]), 4))) {
		unsigned shift = (unsigned)(10 * (unit - units + 1));

		if (*out > UINT64_MAX >> shift)
			return false;
		*out <<= shift;
		s = span_from(s, 1);
	}
	return s.n == 0 || span_caseeq(s, SPAN("b")) || span_caseeq(s, SPAN("ib"));
}

static const char *
wanted(enum filter_kind kind)
{
	static const char *const words[] = {
		[KIND_ID] = "a queue id",
		[KIND_WORD] = "a word",
		[KIND_ADDRESS] = "an address",
		[KIND_DOMAIN] = "a domain",
		[KIND_HOST] = "a host, an address or a network",
		[KIND_TEXT] = "a text",
		[KIND_DURATION] = "a time with its unit, as 90s, 30m, 2h, 5d, 1w",
		[KIND_SIZE] = "a size, as 500, 10k, 1M",
		[KIND_NUMBER] = "a number",
	};

	return words[kind];
}

static bool
known_word(struct parser *p, size_t at, struct span s)
{
	static const struct {
		const char *word;
		unsigned where;
	} words[] = {
		{ "active", FILTER_QUEUE }, { "incoming", FILTER_QUEUE }, { "deferred", FILTER_QUEUE }, { "hold", FILTER_QUEUE },
		{ "delivered", FILTER_PAST }, { "bounced", FILTER_PAST }, { "deleted", FILTER_PAST }, { "partial", FILTER_PAST },
	};
	char shown[FOUND_SHOWN + 8];

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (span_caseeq(s, span_str(words[i].word)) && words[i].where & p->where)
			return true;
	return wrong(p, at, "expected %s, found %s", p->where & FILTER_PAST ? "delivered, bounced, deleted or partial" :
	    "active, incoming, deferred or hold", found(p, at, shown)) != NULL;
}

static bool
convert(struct parser *p, enum filter_kind kind, size_t at, struct filter_value *v)
{
	char shown[FOUND_SHOWN + 8];
	bool ok = true;

	switch (kind) {
	case KIND_ID:
		ok = queueid_parse(v->text, &v->number);
		break;
	case KIND_DURATION:
		ok = parse_duration(v->text, &v->number);
		break;
	case KIND_SIZE:
		ok = parse_size(v->text, &v->number);
		break;
	case KIND_NUMBER:
		ok = span_u64(v->text, UINT64_MAX, &v->number);
		break;
	case KIND_WORD:
		return known_word(p, at, v->text);
	case KIND_ADDRESS:
		if (span_starts(v->text, SPAN("<")) && span_ends(v->text, SPAN(">")))
			v->text = span_sub(v->text, 1, v->text.n - 2);
		break;
	case KIND_HOST:
		v->is_net = cidr_parse(v->text, &v->net, NULL);
		break;
	default:
		break;
	}
	return ok || wrong(p, at, "expected %s, found %s", wanted(kind), found(p, at, shown)) != NULL;
}

/* A value in quotes; its backslashes are undone in place of a copy. */
static bool
quoted(struct parser *p, struct span *out)
{
	size_t from = p->at++, n = 0;
	char *copy = arena_alloc(&p->f->arena, p->in.n - from);

	while (copy && p->at < p->in.n && p->in.p[p->at] != '"') {
		if (p->in.p[p->at] == '\\' && p->at + 1 < p->in.n)
			p->at++;
		copy[n++] = p->in.p[p->at++];
	}
	if (!copy || p->at >= p->in.n)
		return wrong(p, from, copy ? "expected a closing quote to this one, found the end" : "the filter has too many parts") != NULL;
	p->at++;
	*out = span_of(copy, n);
	return true;
}

static struct filter_value *
parse_value(struct parser *p, enum filter_kind kind, enum filter_op op)
{
	struct filter_value *v = ARENA_NEW(&p->f->arena, struct filter_value);
	char shown[FOUND_SHOWN + 8];
	size_t from = p->at;

	if (!v)
		return wrong(p, from, "the filter has too many parts");
	if (peek(p) == '"') {
		if (!quoted(p, &v->text))
			return NULL;
	} else {
		while (p->at < p->in.n && !ends_value(p->in.p[p->at]) && p->in.p[p->at] != ',')
			p->at++;
		v->text = span_sub(p->in, from, p->at - from);
		if (v->text.n == 0)
			return wrong(p, from, "expected %s, found %s", wanted(kind), found(p, from, shown));
		v->wild = op == OP_IS && span_chr(v->text, '*') != SIZE_MAX;
	}
	return op == OP_HAS || convert(p, kind, from, v) ? v : NULL;
}

/* ---- tests ---- */

static bool
is_number(enum filter_kind kind)
{
	return kind == KIND_DURATION || kind == KIND_SIZE || kind == KIND_NUMBER;
}

static bool
parse_op(struct parser *p, const struct filter_row *row, enum filter_op *op, bool *negate)
{
	static const struct {
		const char *text;
		enum filter_op op;
		bool negate;
	} ops[] = { { "<=", OP_LESS_EQUAL, false }, { ">=", OP_MORE_EQUAL, false }, { "<", OP_LESS, false }, { ">", OP_MORE, false },
		{ "!=", OP_IS, true }, { "!:", OP_IS, true }, { "!~", OP_HAS, true }, { "==", OP_IS, false }, { ":", OP_IS, false },
		{ "=", OP_IS, false }, { "~", OP_HAS, false } };
	bool number = is_number(row->kind), fits;
	char shown[FOUND_SHOWN + 8];
	size_t i = 0;

	while (i < sizeof(ops) / sizeof(ops[0]) && !span_starts(span_from(p->in, p->at), span_str(ops[i].text)))
		i++;
	if (i == sizeof(ops) / sizeof(ops[0]))
		return wrong(p, p->at, "expected %s behind %s, found %s", number ? "< <= > >=" : ": or ~", row->name, found(p, p->at, shown)) != NULL;
	*op = ops[i].op;
	*negate = ops[i].negate;
	if (*op == OP_IS)
		fits = row->kind != KIND_DURATION;
	else if (*op == OP_HAS)
		fits = !number && row->kind != KIND_ID && row->kind != KIND_WORD;
	else
		fits = number;
	if (!fits)
		return wrong(p, p->at, "%s cannot be asked with %s; expected %s", row->name, ops[i].text, row->kind == KIND_DURATION ?
		    "< <= > >=" : number ? "< <= > >= = !=" : row->kind == KIND_ID || row->kind == KIND_WORD ? ": or !=" : ": != ~ !~") != NULL;
	p->at += strlen(ops[i].text);
	return true;
}

static void
put_names(struct parser *p, char *text, size_t size)
{
	size_t n = 0;

	text[0] = '\0';
	for (size_t i = 0; i < FILTER_FIELDS; i++)
		if (filter_rows[i].where & p->where && n < size)
			n += (size_t)snprintf(text + n, size - n, "%s%s", n ? ", " : "", filter_rows[i].name);
}

/* A word that is no field with its operator: a queue id alone, or a mistake. */
static struct filter_node *
bare_word(struct parser *p, size_t from)
{
	char names[240], shown[FOUND_SHOWN + 8];
	struct filter_node *n;
	struct span word;
	uint64_t id;

	p->at = from;
	while (p->at < p->in.n && !ends_value(p->in.p[p->at]))
		p->at++;
	word = span_sub(p->in, from, p->at - from);
	if (word.n >= BARE_ID && p->where & (FILTER_QUEUE | FILTER_PAST) && queueid_parse(word, &id)) {
		n = new_node(p, SHAPE_TEST);
		if (!n || !(n->values = ARENA_NEW(&p->f->arena, struct filter_value)))
			return NULL;
		n->field = FILTER_id;
		n->values->number = id;
		return n;
	}
	put_names(p, names, sizeof(names));
	return wrong(p, from, "expected a field (%s), found %s", names, found(p, from, shown));
}

static struct filter_node *
parse_test(struct parser *p)
{
	size_t from = p->at, end = from;
	const struct filter_row *row = NULL;
	struct filter_node *n;
	struct filter_value **at;

	while (end < p->in.n && (ascii_alnum(p->in.p[end]) || p->in.p[end] == '-' || p->in.p[end] == '_'))
		end++;
	for (size_t i = 0; !row && i < FILTER_FIELDS; i++)
		if (span_caseeq(span_sub(p->in, from, end - from), span_str(filter_rows[i].name)))
			row = &filter_rows[i];
	if (!row)
		return bare_word(p, from);
	if (!(row->where & p->where))
		return wrong(p, from, "%s is not known %s", row->name, p->where & FILTER_PAST ? "of finished messages" :
		    p->where & FILTER_ARRIVAL ? "when a message arrives" : "of queued messages");
	n = new_node(p, SHAPE_TEST);
	if (!n)
		return NULL;
	n->field = (enum filter_field)(row - filter_rows);
	n->cost = row->cost;
	p->at = end;
	skip_blanks(p);
	if (!parse_op(p, row, &n->op, &n->negate))
		return NULL;
	skip_blanks(p);
	at = &n->values;
	do {
		*at = parse_value(p, row->kind, n->op);
		if (!*at)
			return NULL;
		at = &(*at)->next;
		if (is_number(row->kind) || peek(p) != ',')
			break;
		p->at++;
		skip_blanks(p);
	} while (true);
	return p->at < p->in.n && !ends_value(peek(p)) ? wrong(p, p->at, "expected a blank behind the value") : n;
}

/* ---- and, or, not ---- */

static struct filter_node *
parse_group(struct parser *p)
{
	size_t open = p->at++;
	struct filter_node *n = parse_or(p);

	if (!n)
		return NULL;
	skip_blanks(p);
	if (peek(p) != ')') {
		char shown[FOUND_SHOWN + 8];

		return wrong(p, p->at, "expected \")\" for the \"(\" in column %zu, found %s", open + 1, found(p, p->at, shown));
	}
	p->at++;
	return n;
}

static struct filter_node *
parse_one(struct parser *p)
{
	struct filter_node *n;

	skip_blanks(p);
	if (p->at >= p->in.n)
		return wrong(p, p->at, "expected a test, as from:alice@example.com, found the end");
	if (p->depth == FILTER_DEPTH)
		return wrong(p, p->at, "more than %d levels deep", FILTER_DEPTH);
	p->depth++;
	if (keyword(p, SPAN("not")) || peek(p) == '!') {
		if (peek(p) == '!')
			p->at++;
		n = parse_one(p);
		if (n)
			n->negate = !n->negate;
	} else if (peek(p) == '(') {
		n = parse_group(p);
	} else if (keyword(p, SPAN("all"))) {
		n = new_node(p, SHAPE_AND);
	} else {
		n = parse_test(p);
	}
	p->depth--;
	return n;
}

/* Stable, so that equals stay as written; lists are short. */
static void
add_child(struct filter_node *group, struct filter_node *child)
{
	struct filter_node **at = &group->children;

	while (*at && (*at)->cost <= child->cost)
		at = &(*at)->next;
	child->next = *at;
	*at = child;
	if (child->cost > group->cost)
		group->cost = child->cost;
}

static struct filter_node *
parse_and(struct parser *p)
{
	struct filter_node *first = parse_one(p), *group = NULL, *next;

	while (first) {
		skip_blanks(p);
		if (p->at >= p->in.n || peek(p) == ')')
			break;
		if (span_casestarts(span_from(p->in, p->at), SPAN("or")) &&
		    (p->at + 2 >= p->in.n || ends_value(p->in.p[p->at + 2])))
			break;
		(void)keyword(p, SPAN("and"));
		next = parse_one(p);
		if (next && !group && (group = new_node(p, SHAPE_AND)))
			add_child(group, first);
		if (!next || !group)
			return NULL;
		add_child(group, next);
	}
	return group ? group : first;
}

static struct filter_node *
parse_or(struct parser *p)
{
	struct filter_node *first = parse_and(p), *group = NULL, *next;

	while (first) {
		skip_blanks(p);
		if (!keyword(p, SPAN("or")))
			break;
		next = parse_and(p);
		if (next && !group && (group = new_node(p, SHAPE_OR)))
			add_child(group, first);
		if (!next || !group)
			return NULL;
		add_child(group, next);
	}
	return group ? group : first;
}

/* ---- ids ---- */

static bool
names_ids(const struct filter_node *n)
{
	return n->shape == SHAPE_TEST && n->field == FILTER_id && !n->negate;
}

/* Which child, or all, fix the ids. */
static bool
collect_ids(struct filter *f, const struct filter_node *n, size_t max)
{
	if (names_ids(n)) {
		for (const struct filter_value *v = n->values; v && f->nids < max; v = v->next)
			f->ids[f->nids++] = v->number;
		return true;
	}
	if (n->negate || !n->children || n->shape == SHAPE_TEST)
		return false;
	for (const struct filter_node *child = n->children; child; child = child->next) {
		size_t before = f->nids;
		bool fixed = names_ids(child) && collect_ids(f, child, max);

		if (fixed && n->shape == SHAPE_AND)
			return true;
		if (!fixed && n->shape == SHAPE_OR)
			return false;
		f->nids = fixed ? f->nids : before;
	}
	return n->shape == SHAPE_OR;
}

static void
find_ids(struct filter *f, size_t text)
{
	size_t max = text / 2 + 1; /* an id and its comma */

	f->ids = arena_alloc(&f->arena, max * sizeof(*f->ids));
	f->by_id = f->ids && collect_ids(f, f->top, max);
}

struct filter *
filter_parse(struct span text, unsigned where, struct filter_error *error)
{
	struct filter *f = calloc(1, sizeof(*f));
	struct parser p = { .in = text, .where = where, .f = f, .error = error };
	char shown[FOUND_SHOWN + 8];

	*error = (struct filter_error){ .text = "" };
	if (!f || text.n > FILTER_TEXT_MAX) {
		free(f);
		(void)snprintf(error->text, sizeof(error->text), "%s", text.n > FILTER_TEXT_MAX ? "the filter is too long" : "no memory");
		return NULL;
	}
	arena_init(&f->arena, MEMORY);
	if (text.n)
		p.in = arena_dup(&f->arena, text); /* values point into it */
	if (p.in.n != text.n)
		(void)wrong(&p, 0, "no memory");
	skip_blanks(&p);
	f->top = error->text[0] ? NULL : p.at == text.n ? new_node(&p, SHAPE_AND) : parse_or(&p);
	if (f->top && p.at < text.n)
		f->top = wrong(&p, p.at, "expected and, or, or the end, found %s", found(&p, p.at, shown));
	if (!f->top) {
		filter_free(&f);
		return NULL;
	}
	find_ids(f, text.n);
	return f;
}
