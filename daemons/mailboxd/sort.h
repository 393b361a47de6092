/* SPDX-License-Identifier: ISC
 *
 * sort: messages in the order that SORT's keys ask for (RFC 5256 3, RFC 5957).
 */
#ifndef MAILBOXD_SORT_H
#define MAILBOXD_SORT_H

#include "daemons/mailboxd/text.h"
#include "net/imapsyntax.h"

enum { SORT_KEYS_MAX = 20 };

enum sort_kind {
	SORT_ARRIVAL, SORT_CC, SORT_DATE, SORT_DISPLAYFROM, SORT_DISPLAYTO, SORT_FROM, SORT_RELEVANCY, SORT_SIZE, SORT_SUBJECT,
	SORT_TO,
};

struct sort_value { /* a number (for a text recall_text()'s, then its rank), or text in the pool */
	union {
		int64_t number;
		struct {
			uint32_t at, n;
		};
	};
};

struct sort_item {
	uint32_t seq, uid;
	uint8_t score;
	struct sort_value *values; /* while it is sorted */
};

struct sort {
	struct {
		enum sort_kind kind;
		bool reverse;
	} keys[SORT_KEYS_MAX];
	size_t nkeys;
	struct sort_value *values; /* owned, nkeys an item */
	struct sort_item *items;   /* owned */
	size_t n, size;
	struct buf pool, scratch;
	unsigned score;            /* of the next one to be added, for RELEVANCY (RFC 6203 6) */
	bool in_pool;              /* texts are compared, not recalled by number: there is no room for that */
	bool failed;               /* out of memory */
};

void sort_init(struct sort *s);
void sort_free(struct sort *s);
/* "(" key *(SP key) ")" */
bool sort_parse(struct sort *s, struct imap_parse *p);
bool sort_has(const struct sort *s, enum sort_kind kind);
bool sort_wants_facts(const struct sort *s); /* of each message */
/* One more; t is open for it or will be.  False: only after sort_again(). */
bool sort_add(struct sort *s, uint32_t seq, const struct message *m, struct text *t);
/* items in order; false as above. */
bool sort_now(struct sort *s, struct mailbox *mb);
/* From the start, with texts in the pool. */
void sort_again(struct sort *s);
/* The Date field, or when it arrived (RFC 5256 2.2). */
int64_t sort_sent(const struct message *m, struct text *t);

#endif
