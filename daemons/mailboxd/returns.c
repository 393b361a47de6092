/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/returns.h"

#include "daemons/mailboxd/fetch.h"

static const struct {
	struct span name;
	unsigned bit;
} options[] = {
	{ SPAN_INIT("MIN"), RETURN_MIN },
	{ SPAN_INIT("MAX"), RETURN_MAX },
	{ SPAN_INIT("ALL"), RETURN_ALL },
	{ SPAN_INIT("COUNT"), RETURN_COUNT },
	{ SPAN_INIT("SAVE"), RETURN_SAVE },
	{ SPAN_INIT("PARTIAL"), RETURN_PARTIAL },
	{ SPAN_INIT("UPDATE"), RETURN_UPDATE },
	{ SPAN_INIT("CONTEXT"), RETURN_CONTEXT },
	{ SPAN_INIT("RELEVANCY"), RETURN_RELEVANCY },
};

enum { NOT_ALWAYS = RETURN_SAVE | RETURN_UPDATE | RETURN_CONTEXT };

bool
partial_parse(struct imap_parse *p, struct partial *out)
{
	uint32_t a, b;

	out->back = imap_try(p, '-');
	if (!imap_take_u32(p, 1, &a) || !imap_take_char(p, ':') || (out->back && !imap_take_char(p, '-')) || !imap_take_u32(p, 1, &b))
		return false;
	out->from = a < b ? a : b;
	out->to = a < b ? b : a;
	return true;
}

void
partial_pick(const struct partial *partial, uint64_t n, uint64_t *first, uint64_t *count)
{
	uint64_t to = partial->to < n ? partial->to : n;

	*count = partial->from <= to ? to - partial->from + 1 : 0;
	*first = !*count ? 0 : partial->back ? n - to : partial->from - 1;
}

/* As it stands; whoever fetches them parses it again. */
static bool
take_items(struct imap_parse *p, struct span *out)
{
	size_t from = p->c.at;

	if (!fetch_parse(p))
		return false;
	*out = span_sub(p->c.in, from, p->c.at - from);
	return true;
}

static bool
take_option(struct imap_parse *p, unsigned may, struct returns *out)
{
	struct span word;
	size_t i = 0;

	if (!imap_take_atom(p, &word))
		return false;
	while (i < sizeof options / sizeof *options && !span_caseeq(options[i].name, word))
		i++;
	if (i == sizeof options / sizeof *options || (options[i].bit & NOT_ALWAYS & ~may))
		return imap_bad(p, "Unknown search return option");
	if (options[i].bit == RETURN_PARTIAL && (out->bits & RETURN_PARTIAL))
		return imap_bad(p, "PARTIAL may stand once");
	out->bits |= options[i].bit;
	if (options[i].bit == RETURN_UPDATE && span_starts(cursor_rest(&p->c), SPAN(" (")))
		return imap_take_sp(p) && take_items(p, &out->items);
	return options[i].bit != RETURN_PARTIAL || (imap_take_sp(p) && partial_parse(p, &out->partial));
}

bool
returns_parse(struct imap_parse *p, unsigned may, struct returns *out)
{
	*out = (struct returns){ .bits = 0 };
	if (!cursor_word(&p->c, SPAN("RETURN ")))
		return true;
	if (!imap_take_char(p, '('))
		return false;
	for (bool first = true; !imap_try(p, ')'); first = false)
		if ((!first && !imap_take_sp(p)) || !take_option(p, may, out))
			return false;
	if ((out->bits & RETURN_PARTIAL) && (out->bits & RETURN_ALL)) /* RFC 9394 3.1 */
		return imap_bad(p, "PARTIAL and ALL exclude each other");
	if (!(out->bits & ~(unsigned)(RETURN_UPDATE | RETURN_CONTEXT))) /* RFC 4731 3.1 */
		out->bits |= RETURN_ALL;
	if (out->bits != RETURN_SAVE) /* RFC 5182 2.1: alone it returns nothing */
		out->bits |= RETURN_EXTENDED;
	return imap_take_sp(p);
}

static uint32_t
nth(const struct found *f, uint64_t n)
{
	return f->list ? f->list[n] : uidset_nth(f->set, n);
}

static void
put_range(struct buf *out, const struct found *f, uint64_t first, uint64_t n)
{
	struct uidset some;

	if (f->list) {
		for (uint64_t i = first; i < first + n; i++) {
			if (i > first)
				buf_putc(out, ',');
			buf_put_u64(out, f->list[i]);
		}
		return;
	}
	uidset_init(&some);
	uidset_add_slice(&some, f->set, first, n);
	uidset_text(&some, out);
	uidset_free(&some);
}

static void
put_partial(struct buf *out, const struct partial *p, const struct found *f)
{
	const char *sign = p->back ? "-" : "";
	uint64_t first, n;

	partial_pick(p, f->n, &first, &n);
	buf_printf(out, " PARTIAL (%s%u:%s%u ", sign, (unsigned)p->from, sign, (unsigned)p->to);
	if (n)
		put_range(out, f, first, n);
	else
		buf_put(out, SPAN("NIL"));
	buf_putc(out, ')');
}

/* Of the results that are told. */
static void
put_scores(struct buf *out, const struct returns *r, const struct found *f)
{
	uint64_t first = 0, n = f->n;

	if (r->bits & RETURN_PARTIAL)
		partial_pick(&r->partial, f->n, &first, &n);
	buf_put(out, SPAN(" RELEVANCY ("));
	for (uint64_t i = first; i < first + n; i++)
		buf_printf(out, "%s%u", i > first ? " " : "", (unsigned)f->scores[i]);
	buf_putc(out, ')');
}

void
returns_put(struct buf *out, struct span tag, bool uid, const struct returns *r, const struct found *f)
{
	buf_put(out, SPAN("* ESEARCH (TAG "));
	imap_put_string(out, tag);
	buf_put(out, f->where);
	buf_put(out, uid ? SPAN(") UID") : SPAN(")"));
	if (f->n && (r->bits & RETURN_MIN))
		buf_printf(out, " MIN %u", (unsigned)nth(f, 0));
	if (f->n && (r->bits & RETURN_MAX))
		buf_printf(out, " MAX %u", (unsigned)nth(f, f->n - 1));
	if (f->n && (r->bits & RETURN_ALL)) {
		buf_put(out, SPAN(" ALL "));
		put_range(out, f, 0, f->n);
	}
	if (r->bits & RETURN_PARTIAL)
		put_partial(out, &r->partial, f);
	if (r->bits & RETURN_COUNT)
		buf_printf(out, " COUNT %llu", (unsigned long long)f->n);
	if (f->scores && (r->bits & RETURN_RELEVANCY)) /* SORT may go by them and tell nothing */
		put_scores(out, r, f);
	if (f->modseq && f->n)
		buf_printf(out, " MODSEQ %llu", (unsigned long long)f->modseq);
	buf_put(out, SPAN("\r\n"));
}

bool
returns_some(const struct returns *r)
{
	return !(r->bits & (RETURN_ALL | RETURN_COUNT)) && (r->bits & (RETURN_MIN | RETURN_MAX | RETURN_PARTIAL));
}

/* RFC 5182 2.4, RFC 9394 3.2 */
void
returns_saved(const struct returns *r, const struct uidset *set, struct uidset *out)
{
	uint64_t n = uidset_count(set), first, count;

	if (!n)
		return;
	if (!returns_some(r)) {
		uidset_add_set(out, set);
		return;
	}
	if (r->bits & RETURN_PARTIAL) {
		partial_pick(&r->partial, n, &first, &count);
		uidset_add_slice(out, set, first, count);
	}
	if (r->bits & RETURN_MIN)
		uidset_add(out, set->ranges[0].lo, set->ranges[0].lo);
	if (r->bits & RETURN_MAX)
		uidset_add(out, set->ranges[set->n - 1].hi, set->ranges[set->n - 1].hi);
}
