/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/sort.h"

#include <stdlib.h>

#include "base/radix.h"
#include "daemons/mailboxd/fold.h"
#include "daemons/mailboxd/recall.h"
#include "mail/word.h"

enum { POOL_MAX = 256 << 20, RADIX_MIN = 64 };

static const uint64_t SIGN = 1ull << 63;

static const struct {
	struct span name;
	enum sort_kind kind;
} names[] = {
	{ SPAN_INIT("ARRIVAL"), SORT_ARRIVAL },
	{ SPAN_INIT("CC"), SORT_CC },
	{ SPAN_INIT("DATE"), SORT_DATE },
	{ SPAN_INIT("DISPLAYFROM"), SORT_DISPLAYFROM },
	{ SPAN_INIT("DISPLAYTO"), SORT_DISPLAYTO },
	{ SPAN_INIT("FROM"), SORT_FROM },
	{ SPAN_INIT("RELEVANCY"), SORT_RELEVANCY },
	{ SPAN_INIT("SIZE"), SORT_SIZE },
	{ SPAN_INIT("SUBJECT"), SORT_SUBJECT },
	{ SPAN_INIT("TO"), SORT_TO },
};

_Static_assert((int)SORT_TO < (int)RECALL_TEXTS, "a text is recalled by its kind");

enum { LIST_FROM = 0, LIST_TO = 3, LIST_CC = 4 }; /* of the envelope */

void
sort_init(struct sort *s)
{
	*s = (struct sort){ .n = 0 };
	buf_init(&s->pool, POOL_MAX);
	buf_init(&s->scratch, 1 << 20);
}

void
sort_free(struct sort *s)
{
	free(s->values);
	free(s->items);
	buf_free(&s->pool);
	buf_free(&s->scratch);
	s->values = NULL;
	s->items = NULL;
}

bool
sort_parse(struct sort *s, struct imap_parse *p)
{
	struct span word;

	if (!imap_take_char(p, '('))
		return false;
	do {
		size_t i = 0;
		bool reverse = false;

		if (!imap_take_atom(p, &word))
			return false;
		if (span_caseeq(word, SPAN("REVERSE"))) {
			reverse = true;
			if (!imap_take_sp(p) || !imap_take_atom(p, &word))
				return false;
		}
		while (i < sizeof names / sizeof *names && !span_caseeq(names[i].name, word))
			i++;
		if (i == sizeof names / sizeof *names)
			return imap_bad(p, "Unknown sort key");
		if (s->nkeys == SORT_KEYS_MAX)
			return imap_bad(p, "Too many sort keys");
		s->keys[s->nkeys].kind = names[i].kind;
		s->keys[s->nkeys++].reverse = reverse;
	} while (imap_try(p, ' '));
	return imap_take_char(p, ')');
}

bool
sort_has(const struct sort *s, enum sort_kind kind)
{
	for (size_t i = 0; i < s->nkeys; i++)
		if (s->keys[i].kind == kind)
			return true;
	return false;
}

int64_t
sort_sent(const struct message *m, struct text *t)
{
	const struct recalled *r;
	const struct facts *f;
	uint32_t uid = m->uid;
	int64_t arrived = m->date;

	if ((r = recall(t))) {
		if (r->dated)
			return r->sent;
	} else if (text_facts(t, &f) && f->sent_day != INT64_MIN)
		return f->sent;
	return arrived ? arrived : mailbox_date(t->mailbox, uid);
}

/* ---- text of addresses ---- */

/* The first address of the nth list of an envelope as it is sent: its name, mailbox and host. */
static bool
first_address(struct span envelope, struct arena *arena, unsigned list, struct span out[3])
{
	struct imap_parse p = imap_parse_of(envelope, arena);
	struct span skip;

	if (!imap_take_char(&p, '(') || !imap_take_nstring(&p, &skip) || !imap_take_sp(&p) || !imap_take_nstring(&p, &skip))
		return false;
	for (unsigned i = 0;; i++) {
		if (!imap_take_sp(&p))
			return false;
		if (!imap_try(&p, '(')) {
			if (!imap_take_nstring(&p, &skip) || i == list)
				return false;
			continue;
		}
		while (imap_try(&p, '(')) {
			if (!imap_take_nstring(&p, &out[0]) || !imap_take_sp(&p) || !imap_take_nstring(&p, &skip) || !imap_take_sp(&p) ||
			    !imap_take_nstring(&p, &out[1]) || !imap_take_sp(&p) || !imap_take_nstring(&p, &out[2]) || !imap_take_char(&p, ')'))
				return false;
			if (i == list)
				return true;
		}
		if (!imap_take_char(&p, ')'))
			return false;
	}
}

static const struct {
	unsigned list;
	bool display;
} addresses[] = {
	[SORT_CC] = { LIST_CC, false },
	[SORT_DISPLAYFROM] = { LIST_FROM, true },
	[SORT_DISPLAYTO] = { LIST_TO, true },
	[SORT_FROM] = { LIST_FROM, false },
	[SORT_TO] = { LIST_TO, false },
};

/* RFC 5256 3: the mailbox of the first address; RFC 5957 2: its name, or "mailbox@host". */
static void
put_address(struct buf *scratch, const struct facts *f, struct arena *arena, enum sort_kind kind, struct buf *out)
{
	struct span part[3] = { SPAN_NONE, SPAN_NONE, SPAN_NONE };

	buf_reset(scratch);
	if (!first_address(f->envelope, arena, addresses[kind].list, part))
		return;
	if (!addresses[kind].display) {
		buf_put(scratch, part[1]);
	} else if (part[0].n) {
		(void)word_decode(part[0], scratch);
	} else {
		buf_put(scratch, part[1]);
		if (part[2].n) {
			buf_putc(scratch, '@');
			buf_put(scratch, part[2]);
		}
	}
	fold_text(buf_span(scratch), out);
}

struct making {
	struct sort *sort;
	enum sort_kind kind;
};

/* False: the message cannot be read. */
static bool
make_text(void *arg, struct text *t, struct buf *out)
{
	const struct making *k = arg;
	const struct facts *f;

	if (!text_facts(t, &f))
		return false;
	if (k->kind == SORT_SUBJECT)
		buf_put(out, f->subject);
	else
		put_address(&k->sort->scratch, f, &t->arena, k->kind, out);
	return true;
}

/* ---- items ---- */

static bool
is_text(enum sort_kind kind)
{
	return kind != SORT_ARRIVAL && kind != SORT_DATE && kind != SORT_SIZE && kind != SORT_RELEVANCY;
}

bool
sort_wants_facts(const struct sort *s)
{
	for (size_t i = 0; i < s->nkeys; i++)
		if (is_text(s->keys[i].kind) || s->keys[i].kind == SORT_DATE)
			return true;
	return false;
}

/* False: there is no room to recall it. */
static bool
put_text(struct sort *s, enum sort_kind kind, struct text *t, struct sort_value *v)
{
	size_t at = buf_len(&s->pool);
	struct making k = { s, kind };

	if (!s->in_pool)
		return (v->number = recall_text(t, kind, make_text, &k)) != 0;
	(void)make_text(&k, t, &s->pool);
	v->at = (uint32_t)at;
	v->n = (uint32_t)(buf_len(&s->pool) - at);
	return true;
}

static bool
grow(struct sort *s)
{
	size_t size = s->size ? s->size * 2 : 256;
	struct sort_item *items;
	struct sort_value *values;

	if (s->n < s->size)
		return true;
	items = realloc(s->items, size * sizeof *items);
	if (items)
		s->items = items;
	values = realloc(s->values, size * s->nkeys * sizeof *values);
	if (values)
		s->values = values;
	if (!items || !values) {
		s->failed = true;
		return false;
	}
	s->size = size;
	return true;
}

bool
sort_add(struct sort *s, uint32_t seq, const struct message *m, struct text *t)
{
	struct message at = *m; /* what follows may move it */
	struct sort_value *v;
	bool ok = true;
	uint64_t size;

	if (!grow(s))
		return true;
	v = s->values + s->n * s->nkeys;
	s->items[s->n++] = (struct sort_item){ .seq = seq, .uid = at.uid, .score = (uint8_t)s->score };
	for (size_t i = 0; i < s->nkeys; i++) {
		if (is_text(s->keys[i].kind))
			ok = put_text(s, s->keys[i].kind, t, &v[i]) && ok;
		else if (s->keys[i].kind == SORT_RELEVANCY)
			v[i].number = -(int64_t)s->score; /* the best one first */
		else if (s->keys[i].kind == SORT_ARRIVAL)
			v[i].number = at.date ? at.date : mailbox_date(t->mailbox, at.uid);
		else if (s->keys[i].kind == SORT_DATE)
			v[i].number = sort_sent(&at, t);
		else
			v[i].number = mailbox_size(t->mailbox, at.uid, &size) ? (int64_t)size : 0;
	}
	s->failed = s->failed || !buf_ok(&s->pool);
	return ok;
}

void
sort_again(struct sort *s)
{
	s->n = 0;
	s->in_pool = true;
}

static bool
compares_text(const struct sort *s, size_t key)
{
	return s->in_pool && is_text(s->keys[key].kind);
}

static int
compare(const void *a, const void *b, void *arg)
{
	const struct sort_item *x = a, *y = b;
	const struct sort *s = arg;

	for (size_t i = 0; i < s->nkeys; i++) {
		const struct sort_value *p = &x->values[i], *q = &y->values[i];
		int order;

		if (compares_text(s, i))
			order = fold_compare(span_sub(buf_span(&s->pool), p->at, p->n), span_sub(buf_span(&s->pool), q->at, q->n));
		else
			order = p->number < q->number ? -1 : p->number > q->number;
		if (order)
			return s->keys[i].reverse ? -order : order;
	}
	return x->seq < y->seq ? -1 : x->seq > y->seq; /* RFC 5256 3: REVERSE does not turn this round */
}

/* False: by more than one number, or there is no memory. */
static bool
sort_numbers(struct sort *s)
{
	struct radix_item *all, *in_order;
	struct sort_item *items;

	if (s->n < RADIX_MIN || s->nkeys != 1 || compares_text(s, 0))
		return false;
	all = calloc(s->n * 2, sizeof *all);
	items = calloc(s->n, sizeof *items);
	if (!all || !items) {
		free(all);
		free(items);
		return false;
	}
	for (size_t i = 0; i < s->n; i++)
		all[i] = (struct radix_item){ (uint64_t)s->values[i].number ^ (s->keys[0].reverse ? ~SIGN : SIGN), i };
	in_order = radix_sort(all, s->n);
	for (size_t i = 0; i < s->n; i++)
		items[i] = s->items[in_order[i].at];
	free(all);
	free(s->items);
	s->items = items;
	s->size = s->n; /* sorted is sorted: nothing is added behind it */
	return true;
}

/* Numbers of texts become what they order by. */
static bool
rank(struct sort *s, struct mailbox *mb)
{
	const uint32_t *ranks = NULL;

	for (size_t k = 0; k < s->nkeys && !s->in_pool; k++) {
		if (!is_text(s->keys[k].kind))
			continue;
		if (!ranks && !(ranks = recall_ranks(mb)))
			return false;
		for (size_t i = 0; i < s->n; i++)
			s->values[i * s->nkeys + k].number = ranks[s->values[i * s->nkeys + k].number];
	}
	return true;
}

bool
sort_now(struct sort *s, struct mailbox *mb)
{
	if (!rank(s, mb))
		return false;
	if (sort_numbers(s))
		return true;
	for (size_t i = 0; i < s->n; i++)
		s->items[i].values = s->values + i * s->nkeys;
	if (s->n)
		qsort_r(s->items, s->n, sizeof *s->items, compare, s);
	return true;
}
