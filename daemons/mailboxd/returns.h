/* SPDX-License-Identifier: ISC
 *
 * returns: what SEARCH and SORT are asked to return (RFC 4731, RFC 5182,
 * RFC 5267 3, RFC 9394), and the ESEARCH response that says it.
 */
#ifndef MAILBOXD_RETURNS_H
#define MAILBOXD_RETURNS_H

#include "net/imapsyntax.h"
#include "store/uidset.h"

enum {
	RETURN_MIN = 1,
	RETURN_MAX = 2,
	RETURN_ALL = 4,
	RETURN_COUNT = 8,
	RETURN_SAVE = 16,
	RETURN_PARTIAL = 32,
	RETURN_UPDATE = 128,
	RETURN_CONTEXT = 256, /* a hint, of no use here */
	RETURN_RELEVANCY = 512,
	RETURN_EXTENDED = 64, /* an ESEARCH response is asked for */
};

/* RFC 9394: the nth to mth of a list, counted from 1; back: from its end. */
struct partial {
	bool back;
	uint32_t from, to; /* in ascending order */
};

struct returns {
	unsigned bits;
	struct partial partial;
	struct span items; /* of UPDATE (RFC 5465 7): "(UID ...)", or empty */
};

/* What was found: a set, or (sorted) a list. */
struct found {
	const struct uidset *set;
	const uint32_t *list; /* NULL: the set */
	uint64_t n;
	uint64_t modseq;      /* the highest one of what is told; 0: not asked for */
	const uint8_t *scores; /* of each (RFC 6203 4), NULL: not asked for */
	struct span where;    /* further correlators (RFC 7377 2.1), or empty */
};

bool partial_parse(struct imap_parse *p, struct partial *out); /* "1:500", "-1:-100" */
/* Which of n members it means, counted from 0. */
void partial_pick(const struct partial *partial, uint64_t n, uint64_t *first, uint64_t *count);
/* ["RETURN (" options ") "]; may: those that not every command takes: RETURN_SAVE,
 * RETURN_UPDATE, RETURN_CONTEXT. */
bool returns_parse(struct imap_parse *p, unsigned may, struct returns *out);
/* The ESEARCH response. */
void returns_put(struct buf *out, struct span tag, bool uid, const struct returns *r, const struct found *f);
/* MIN, MAX or PARTIAL, and nothing that is about all results. */
bool returns_some(const struct returns *r);
/* What of the set is to be saved for "$": what is told, as long as returns_some(). */
void returns_saved(const struct returns *r, const struct uidset *set, struct uidset *out);

#endif
