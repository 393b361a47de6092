/* SPDX-License-Identifier: ISC
 *
 * search: the tests, one a kind of key.
 */
#include "daemons/mailboxd/search.h"

#include "daemons/mailboxd/fold.h"
#include "daemons/mailboxd/objectid.h"
#include "daemons/mailboxd/recall.h"
#include "mail/header.h"
#include "mail/word.h"

enum { SCORE_WHOLE = 100, SCORE_WORDS = 50 };

/* What the tests look at. */
struct subject {
	struct search *s;
	struct view *v;
	uint32_t seq;
	const struct message *m;
	struct text *t;
	unsigned score, scored; /* the scores of texts so far, how many */
};

static bool fits(struct subject *x, const struct search_key *k);

static struct text *
opened(struct subject *x)
{
	if (x->t->uid != x->m->uid || x->t->mailbox != x->v->mailbox)
		text_open(x->t, x->v->mailbox, x->m->uid);
	return x->t;
}

static bool
contains(struct search *s, struct span utf8, struct span needle)
{
	buf_reset(&s->folded);
	fold_text(utf8, &s->folded);
	return buf_ok(&s->folded) && span_find(buf_span(&s->folded), needle) != SIZE_MAX;
}

/* Header text with its encoded words. */
static bool
decoded_contains(struct search *s, struct span raw, struct span needle)
{
	buf_reset(&s->scratch);
	return word_decode(raw, &s->scratch) && contains(s, buf_span(&s->scratch), needle);
}

/* ---- the index ---- */

static int64_t
received(struct subject *x)
{
	return x->m->date ? x->m->date : mailbox_date(x->v->mailbox, x->m->uid);
}

static int64_t
received_day(struct subject *x)
{
	return received(x) / 86400;
}

static uint64_t
size_of(struct subject *x)
{
	uint64_t size;

	return mailbox_size(x->v->mailbox, x->m->uid, &size) ? size : 0;
}

static int64_t
sent_day(struct subject *x)
{
	const struct recalled *r = recall(opened(x));
	const struct facts *f;

	if (r)
		return r->dated ? r->sent_day : INT64_MIN;
	return text_facts(x->t, &f) ? f->sent_day : INT64_MIN;
}

/* ---- the envelope, as it is kept ---- */

static bool
take_address(struct imap_parse *p, struct buf *out)
{
	struct span name, route, local, domain;

	if (!imap_take_nstring(p, &name) || !imap_take_sp(p) || !imap_take_nstring(p, &route) || !imap_take_sp(p) ||
	    !imap_take_nstring(p, &local) || !imap_take_sp(p) || !imap_take_nstring(p, &domain) || !imap_take_char(p, ')'))
		return false;
	(void)word_decode(name, out);
	buf_put(out, SPAN(" <"));
	buf_put(out, local);
	if (domain.p)
		buf_putc(out, '@');
	buf_put(out, domain);
	buf_put(out, SPAN(">\n"));
	return true;
}

/* One list of addresses as text. */
static bool
take_list(struct imap_parse *p, struct buf *out)
{
	struct span none;

	buf_reset(out);
	if (!imap_try(p, '('))
		return imap_take_nstring(p, &none);
	while (imap_try(p, '('))
		if (!take_address(p, out))
			return false;
	return imap_take_char(p, ')');
}

static bool
envelope_begin(struct subject *x, struct imap_parse *p, struct span *subject)
{
	const struct facts *f;
	struct span date;

	if (!text_facts(opened(x), &f))
		return false;
	*p = imap_parse_of(f->envelope, &x->t->arena);
	return imap_take_char(p, '(') && imap_take_nstring(p, &date) && imap_take_sp(p) && imap_take_nstring(p, subject);
}

static bool
subject_fits(struct subject *x, const struct search_key *k)
{
	const struct recalled *r = recall(opened(x));
	struct imap_parse p;
	struct span subject;

	if (r)
		return r->titled && span_find(recall_subject(x->t, r), k->text) != SIZE_MAX;
	return envelope_begin(x, &p, &subject) && subject.p && decoded_contains(x->s, subject, k->text);
}

static bool
address_fits(struct subject *x, const struct search_key *k)
{
	struct imap_parse p;
	struct span subject;

	if (!envelope_begin(x, &p, &subject))
		return false;
	for (uint64_t i = 0; i <= k->number; i++)
		if (!imap_take_sp(&p) || !take_list(&p, &x->s->scratch))
			return false;
	return buf_len(&x->s->scratch) && contains(x->s, buf_span(&x->s->scratch), k->text);
}

static bool
objectid_fits(struct subject *x, const struct search_key *k)
{
	bool (*make)(struct text *, char *) = k->kind == SEARCH_EMAILID ? objectid_email : objectid_thread;
	char id[OBJECTID_SIZE];

	return make(opened(x), id) && span_eq(span_str(id), k->text);
}

/* ---- the text ---- */

/* Not, where the index tells it without the message. */
static bool
worth_reading(struct subject *x, const struct search_key *k)
{
	return !k->narrow || mailbox_may_have(x->v->mailbox, x->m, k->narrow);
}

static bool
fields_fit(struct search *s, const struct search_key *k, struct span header)
{
	struct header_walk w = header_walk(header);
	struct header_field field;

	while (header_next(&w, &field))
		if (span_caseeq(field.name, k->field) && (!k->text.n || decoded_contains(s, field.value, k->text)))
			return true;
	return false;
}

static bool
header_fits(struct subject *x, const struct search_key *k)
{
	struct search *s = x->s;
	struct span header;

	if (!worth_reading(x, k))
		return false;
	if (k->number && text_fields(opened(x), x->m->size, k->number, &s->fields))
		return fields_fit(s, k, buf_span(&s->fields));
	return text_header(opened(x), &header) && fields_fit(s, k, header);
}

/* ---- all of the text ---- */

static bool
has_needle(void *arg, struct span piece)
{
	return span_find(piece, *(const struct span *)arg) != SIZE_MAX;
}

void
search_init(struct search *s)
{
	*s = (struct search){ .root = NULL };
	buf_init(&s->scratch, PIECE_MAX);
	buf_init(&s->folded, PIECE_MAX);
	buf_init(&s->fields, PIECE_MAX);
	pieces_init(&s->pieces, has_needle, &s->needle);
}

void
search_free(struct search *s)
{
	for (struct search_key *k = s->with_set; k; k = k->with_set)
		uidset_free(&k->set);
	s->with_set = NULL;
	buf_free(&s->scratch);
	buf_free(&s->folded);
	buf_free(&s->fields);
	pieces_free(&s->pieces);
}

static bool
body_has(struct subject *x, const struct search_key *k)
{
	struct mime_part *root;
	struct span all;

	x->s->needle = k->text;
	return text_root(opened(x), &root) && text_all(x->t, &all) && pieces_body(&x->s->pieces, all, root);
}

static bool
header_has(struct subject *x, const struct search_key *k)
{
	struct span header;

	x->s->needle = k->text;
	return text_header(opened(x), &header) && pieces_header(&x->s->pieces, header);
}

static bool
text_fits(struct subject *x, const struct search_key *k)
{
	if (!k->text.n)
		return true;
	if (!worth_reading(x, k))
		return false;
	if (x->s->said & SEARCH_READ)
		return x->s->said & k->bit;
	if (x->s->asking) {
		x->s->unread = true;
		return false;
	}
	return (k->kind == SEARCH_TEXT && header_has(x, k)) || body_has(x, k);
}

bool
search_may_look(const struct search *s)
{
	return s->ntexts && s->ntexts <= SEARCH_TEXTS && !s->headers;
}

bool
search_look(const struct search *s, struct span message, struct arena *arena, struct buf *out)
{
	const struct mime_part *root = mime_parse_bare(message, arena);
	struct span header = SPAN_NONE, needle;
	uint8_t said = SEARCH_READ;
	struct pieces p;

	if (!root)
		return false;
	pieces_init(&p, has_needle, &needle);
	for (unsigned i = 0; i < s->ntexts; i++) {
		const struct search_key *k = s->texts[i];

		needle = k->text;
		if (k->kind == SEARCH_TEXT && !header.p)
			header = span_sub(message, 0, header_size(message, NULL));
		if ((k->kind == SEARCH_TEXT && pieces_header(&p, header)) || pieces_body(&p, message, root))
			said |= k->bit;
	}
	pieces_free(&p);
	buf_putc(out, (char)said);
	return true;
}

/* ---- the tree ---- */

uint64_t
search_keyword(struct view *v, struct span name)
{
	int bit = mailbox_keyword_find(v->mailbox, name, false);

	return bit < 0 ? 0 : UINT64_C(1) << bit;
}

/* One that the mailbox lacked when the search began may have come since. */
static uint64_t
keyword_of(const struct subject *x, const struct search_key *k)
{
	return k->number || !x->s->lasting ? k->number : search_keyword(x->v, k->text);
}

static bool
any_fits(struct subject *x, const struct search_key *list, bool wanted)
{
	for (; list; list = list->next)
		if (fits(x, list) == wanted)
			return true;
	return false;
}

static bool
test(struct subject *x, const struct search_key *k)
{
	const struct message *m = x->m;

	switch (k->kind) {
	case SEARCH_ALL: return true;
	case SEARCH_AND: return !any_fits(x, k->children, false);
	case SEARCH_OR: return any_fits(x, k->children, true);
	case SEARCH_FUZZY: return fits(x, k->children);
	case SEARCH_NOT: return !fits(x, k->children);
	case SEARCH_FLAG: return m->flags & k->number;
	case SEARCH_UNFLAG: return !(m->flags & k->number);
	case SEARCH_KEYWORD: return m->keywords & keyword_of(x, k);
	case SEARCH_UNKEYWORD: return !(m->keywords & keyword_of(x, k));
	case SEARCH_RECENT: return view_recent(x->v, m->uid);
	case SEARCH_NEW: return view_recent(x->v, m->uid) && !(m->flags & FLAG_SEEN);
	case SEARCH_OLD: return !view_recent(x->v, m->uid);
	case SEARCH_SEQ: return uidset_has(&k->set, x->seq);
	case SEARCH_UID: return uidset_has(&k->set, m->uid);
	case SEARCH_MODSEQ: return m->modseq >= k->number;
	case SEARCH_OLDER: return received(x) <= x->s->now - (int64_t)k->number;
	case SEARCH_YOUNGER: return received(x) >= x->s->now - (int64_t)k->number;
	case SEARCH_LARGER: return size_of(x) > k->number;
	case SEARCH_SMALLER: return size_of(x) < k->number;
	case SEARCH_BEFORE: return received_day(x) < k->day;
	case SEARCH_ON: return received_day(x) == k->day;
	case SEARCH_SINCE: return received_day(x) >= k->day;
	case SEARCH_SAVEDBEFORE: return m->saved / 86400 < k->day;
	case SEARCH_SAVEDON: return m->saved / 86400 == k->day;
	case SEARCH_SAVEDSINCE: return m->saved / 86400 >= k->day;
	case SEARCH_SENTBEFORE: return sent_day(x) != INT64_MIN && sent_day(x) < k->day;
	case SEARCH_SENTON: return sent_day(x) == k->day;
	case SEARCH_SENTSINCE: return sent_day(x) >= k->day;
	case SEARCH_EMAILID:
	case SEARCH_THREADID: return objectid_fits(x, k);
	case SEARCH_SUBJECT: return subject_fits(x, k);
	case SEARCH_ADDRESS: return address_fits(x, k);
	case SEARCH_HEADER: return header_fits(x, k);
	case SEARCH_BODY:
	case SEARCH_TEXT: return text_fits(x, k);
	}
	return false;
}

static bool
fits(struct subject *x, const struct search_key *k)
{
	bool yes = test(x, k);
	unsigned score = SCORE_WHOLE;

	if (!k->fuzzy)
		return yes;
	if (!yes && k->words) {
		yes = !any_fits(x, k->words, false);
		score = SCORE_WORDS;
	}
	x->score += yes ? score : 0;
	x->scored += yes;
	return yes;
}

bool
search_fits(struct search *s, struct view *v, uint32_t seq, const struct message *m, struct text *t)
{
	struct message copy = *m; /* a test may let the index move */
	struct subject x = { s, v, seq, &copy, t, 0, 0 };
	bool yes;

	t->known = false;
	yes = fits(&x, s->root);
	s->score = x.scored ? x.score / x.scored : SCORE_WHOLE;
	return yes;
}

/* What costs least is tested first. */
bool
search_wants_facts(const struct search *s)
{
	return s->root->children->cost == SEARCH_COST_FACTS;
}

bool
search_is_all(const struct search *s)
{
	return s->root->kind == SEARCH_AND && s->root->children->kind == SEARCH_ALL && !s->root->children->next;
}

bool
search_must_read(struct search *s, struct view *v, uint32_t seq, const struct message *m, struct text *t)
{
	s->asking = true;
	s->unread = false;
	(void)search_fits(s, v, seq, m, t);
	s->asking = false;
	return s->unread;
}
