/* SPDX-License-Identifier: ISC
 *
 * A row for each UID from the first one asked for, so that finding one is no
 * search.  What is expunged leaves its row; the folder's end frees them all.
 */
#include "daemons/mailboxd/recall.h"

#include <stdlib.h>
#include <string.h>

#include "daemons/mailboxd/fold.h"
#include "daemons/mailboxd/ranking.h"
#include "mail/word.h"
#include "net/imapsyntax.h"

enum {
	ROWS_MAX = 4 << 20,   /* UIDs between the first and the last */
	ROWS_MIN = 1024,
	SPARSE = 8,           /* rows for each message of the folder at most */
	POOL_MAX = 128 << 20, /* octets of subjects */
};

/* Of a message's thread. */
struct links {
	uint32_t ids, subject; /* ids: where they are */
	uint16_t nids;
	bool known, reply;
};

struct recall {
	struct mailbox_memo memo; /* the mailbox owns it */
	uint32_t first;           /* UID of rows[0] and links[0] */
	size_t n;
	struct recalled *rows;
	struct links *links;      /* NULL: no thread was asked for */
	uint32_t *texts[RECALL_TEXTS]; /* by row; NULL: not asked for, 0: not known */
	struct buf pool, scratch, ids; /* ids: of uint32_t */
	struct ranking names;     /* Message-IDs */
	struct ranking titles;    /* base subjects */
	struct ranking ranking;   /* of texts */
};

static void
drop_texts(struct recall *r)
{
	for (size_t i = 0; i < RECALL_TEXTS; i++) {
		free(r->texts[i]);
		r->texts[i] = NULL;
	}
}

static void
on_free(struct mailbox_memo *memo)
{
	struct recall *r = OWNER_OF(memo, struct recall, memo);

	free(r->rows);
	free(r->links);
	drop_texts(r);
	buf_free(&r->pool);
	buf_free(&r->scratch);
	buf_free(&r->ids);
	ranking_free(&r->names);
	ranking_free(&r->titles);
	ranking_free(&r->ranking);
	free(r);
}

static struct recall *
recall_of(struct mailbox *mb)
{
	struct mailbox_memo **at = mailbox_memo(mb);
	struct recall *r;

	if (*at)
		return OWNER_OF(*at, struct recall, memo);
	if (!(r = calloc(1, sizeof *r)))
		return NULL;
	r->memo.free = on_free;
	buf_init(&r->pool, POOL_MAX);
	buf_init(&r->scratch, 1 << 16);
	buf_init(&r->ids, POOL_MAX);
	ranking_init(&r->names, POOL_MAX);
	ranking_init(&r->titles, POOL_MAX);
	ranking_init(&r->ranking, POOL_MAX);
	*at = &r->memo;
	return r;
}

/* Room for the UIDs up to uid, and from the folder's first one. */
static bool
reach(struct recall *r, struct mailbox *mb, uint32_t uid)
{
	struct mailbox_status counts;
	struct recalled *rows;
	struct links *links = NULL;
	uint64_t first = r->n && r->first < uid ? r->first : uid, end = r->n ? (uint64_t)r->first + r->n : 0, n;

	if (r->n && uid >= r->first && uid < end)
		return true;
	mailbox_counts(mb, &counts);
	if (!r->n && counts.uidnext / SPARSE <= counts.messages)
		first = 1; /* whole in the end: no moving */
	if (end < counts.uidnext)
		end = counts.uidnext;
	if (end <= uid)
		end = (uint64_t)uid + 1;
	n = end - first + (end - first) / 4 + ROWS_MIN;
	if (n > ROWS_MAX || n > (uint64_t)counts.messages * SPARSE + 2 * ROWS_MIN || !(rows = calloc((size_t)n, sizeof *rows)))
		return false;
	if (r->links && !(links = calloc((size_t)n, sizeof *links))) {
		free(rows);
		return false;
	}
	if (r->n)
		memcpy(rows + (r->first - first), r->rows, r->n * sizeof *rows);
	if (links)
		memcpy(links + (r->first - first), r->links, r->n * sizeof *links);
	free(r->rows);
	free(r->links);
	drop_texts(r); /* not moved: their numbers are soon found again */
	r->rows = rows;
	r->links = links;
	r->first = (uint32_t)first;
	r->n = (size_t)n;
	return true;
}

static bool
put_subject(struct recall *r, struct text *t, const struct facts *f, bool *titled)
{
	struct imap_parse p = imap_parse_of(f->envelope, &t->arena);
	struct span date, subject;

	if (!imap_take_char(&p, '(') || !imap_take_nstring(&p, &date) || !imap_take_sp(&p) || !imap_take_nstring(&p, &subject))
		return false;
	*titled = subject.p != NULL;
	buf_reset(&r->scratch);
	if (!word_decode(subject, &r->scratch) || buf_len(&r->scratch) > UINT16_MAX / 4)
		return false;
	fold_text(buf_span(&r->scratch), &r->pool);
	return buf_ok(&r->pool) && buf_ok(&r->scratch);
}

static bool
learn(struct recall *r, struct text *t, struct recalled *row)
{
	size_t at = buf_len(&r->pool), n;
	const struct facts *f;
	bool titled;

	if (!text_facts(t, &f) || !put_subject(r, t, f, &titled) || (n = buf_len(&r->pool) - at) > UINT16_MAX) {
		if (buf_ok(&r->pool))
			buf_cut(&r->pool, at);
		return false;
	}
	*row = (struct recalled){ .sent = f->sent, .subject = (uint32_t)at, .subject_n = (uint16_t)n, .known = true, .titled = titled };
	row->dated = f->sent_day != INT64_MIN && f->sent_day >= INT32_MIN && f->sent_day <= INT32_MAX;
	row->sent_day = row->dated ? (int32_t)f->sent_day : 0;
	return true;
}

const struct recalled *
recall(struct text *t)
{
	struct recall *r = recall_of(t->mailbox);
	struct recalled *row;

	if (!r || !buf_ok(&r->pool) || !reach(r, t->mailbox, t->uid))
		return NULL;
	row = &r->rows[t->uid - r->first];
	return row->known || learn(r, t, row) ? row : NULL;
}

struct span
recall_subject(struct text *t, const struct recalled *row)
{
	const struct recall *r = recall_of(t->mailbox);

	return span_sub(buf_span(&r->pool), row->subject, row->subject_n);
}

/* ---- threads ---- */

static bool
learn_links(struct recall *r, struct text *t, struct links *l)
{
	size_t at = buf_len(&r->ids) / sizeof(uint32_t), n;
	uint32_t subject = 0;
	const struct facts *f;

	if (!text_facts(t, &f) || (f->subject.n && !(subject = ranking_number(&r->titles, f->subject))))
		return false;
	if (!ranking_lines(&r->names, f->ids, &r->ids))
		return false;
	n = buf_len(&r->ids) / sizeof(uint32_t) - at;
	if (n > UINT16_MAX)
		return false;
	*l = (struct links){ (uint32_t)at, subject, (uint16_t)n, true, f->reply != 0 };
	return true;
}

bool
recall_thread(struct text *t, struct recalled_thread *out)
{
	struct recall *r = recall_of(t->mailbox);
	const struct links *l;

	if (!r || !buf_ok(&r->ids) || !reach(r, t->mailbox, t->uid))
		return false;
	if (!r->links && !(r->links = calloc(r->n, sizeof *r->links)))
		return false;
	if (!r->links[t->uid - r->first].known && !learn_links(r, t, &r->links[t->uid - r->first]))
		return false;
	l = &r->links[t->uid - r->first];
	*out = (struct recalled_thread){ .ids = (const uint32_t *)(const void *)buf_span(&r->ids).p + l->ids, .nids = l->nids,
		.subject = l->subject, .reply = l->reply };
	return true;
}

/* ---- texts ---- */

uint32_t
recall_text(struct text *t, unsigned kind, bool (*make)(void *arg, struct text *t, struct buf *out), void *arg)
{
	struct recall *r = recall_of(t->mailbox);
	uint32_t *number;

	if (!r || !reach(r, t->mailbox, t->uid))
		return 0;
	if (!r->texts[kind] && !(r->texts[kind] = calloc(r->n, sizeof **r->texts)))
		return 0;
	number = &r->texts[kind][t->uid - r->first];
	if (*number != 0)
		return *number;
	buf_reset(&r->scratch);
	if (!make(arg, t, &r->scratch))
		return ranking_number(&r->ranking, SPAN(""));
	return buf_ok(&r->scratch) ? *number = ranking_number(&r->ranking, buf_span(&r->scratch)) : 0;
}

const uint32_t *
recall_ranks(struct mailbox *mb)
{
	struct recall *r = recall_of(mb);

	return r ? ranking_ranks(&r->ranking) : NULL;
}
