/* SPDX-License-Identifier: ISC */
#include "queue/filter.h"

#include <stdlib.h>

#include "queue/filter_impl.h"

void
filter_free(struct filter **at)
{
	if (*at)
		arena_free(&(*at)->arena);
	free(*at);
	*at = NULL;
}

bool
filter_matches_all(const struct filter *f)
{
	return f->top->shape == SHAPE_AND && !f->top->children && !f->top->negate;
}

bool
filter_ids(const struct filter *f, const uint64_t **ids, size_t *n)
{
	*ids = f->ids;
	*n = f->nids;
	return f->by_id;
}

/* Linear: at a mismatch only the last star moves on. */
static bool
wild_match(struct span s, struct span pattern)
{
	size_t i = 0, p = 0, star = SIZE_MAX, mark = 0;

	while (i < s.n) {
		if (p < pattern.n && pattern.p[p] == '*') {
			star = p++;
			mark = i;
		} else if (p < pattern.n && ascii_lower(pattern.p[p]) == ascii_lower(s.p[i])) {
			p++;
			i++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			i = ++mark;
		} else {
			return false;
		}
	}
	while (p < pattern.n && pattern.p[p] == '*')
		p++;
	return p == pattern.n;
}

static struct span
domain_of(struct span address)
{
	size_t at = span_rchr(address, '@');

	return at == SIZE_MAX ? SPAN_NONE : span_from(address, at + 1);
}

static bool
text_is(struct span s, const struct filter_value *v, struct span want)
{
	return v->wild ? wild_match(s, want) : span_caseeq(s, want);
}

static bool
host_is(struct span s, const struct filter_value *v)
{
	struct netaddr a;

	if (v->is_net && netaddr_parse(s, 0, &a))
		return cidr_match(&v->net, &a);
	return text_is(s, v, v->text);
}

static bool
value_matches(enum filter_kind kind, enum filter_op op, struct span s, const struct filter_value *v)
{
	if (kind == KIND_DOMAIN) {
		s = domain_of(s);
		if (op == OP_IS && !v->wild && v->text.n > 1 && v->text.p[0] == '.')
			return span_caseends(s, v->text);
	}
	if (op == OP_HAS)
		return span_casefind(s, v->text) != SIZE_MAX;
	if (kind == KIND_ADDRESS && v->text.n && v->text.p[0] == '@')
		return text_is(domain_of(s), v, span_from(v->text, 1));
	return kind == KIND_HOST ? host_is(s, v) : text_is(s, v, v->text);
}

static bool
test_text(const struct filter_node *t, const struct filter_source *source, const void *of)
{
	enum filter_kind kind = filter_rows[t->field].kind;
	struct span s;

	for (uint32_t nth = 0; source->text(of, t->field, nth, &s); nth++)
		for (const struct filter_value *v = t->values; v; v = v->next)
			if (value_matches(kind, t->op, s, v))
				return true;
	return false;
}

static bool
test_number(const struct filter_node *t, uint64_t n)
{
	switch (t->op) {
	case OP_LESS:
		return n < t->values->number;
	case OP_LESS_EQUAL:
		return n <= t->values->number;
	case OP_MORE:
		return n > t->values->number;
	case OP_MORE_EQUAL:
		return n >= t->values->number;
	default:
		for (const struct filter_value *v = t->values; v; v = v->next)
			if (n == v->number)
				return true;
		return false;
	}
}

static bool
test(const struct filter_node *t, const struct filter_source *source, const void *of)
{
	switch (filter_rows[t->field].kind) {
	case KIND_ID:
	case KIND_DURATION:
	case KIND_SIZE:
	case KIND_NUMBER:
		return test_number(t, source->number(of, t->field));
	default:
		return test_text(t, source, of);
	}
}

/* As deep as the parser allowed. */
static bool
evaluate(const struct filter_node *n, const struct filter_source *source, const void *of)
{
	bool any = n->shape == SHAPE_OR, result = !any;

	if (n->shape == SHAPE_TEST)
		return test(n, source, of) != n->negate;
	for (const struct filter_node *child = n->children; child; child = child->next)
		if (evaluate(child, source, of) == any) {
			result = any;
			break;
		}
	return result != n->negate;
}

bool
filter_match(const struct filter *f, const struct filter_source *s, const void *of)
{
	return evaluate(f->top, s, of);
}
