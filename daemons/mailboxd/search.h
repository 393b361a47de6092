/* SPDX-License-Identifier: ISC
 *
 * search: a search program as a tree, and whether a message fits it.
 */
#ifndef MAILBOXD_SEARCH_H
#define MAILBOXD_SEARCH_H

#include "daemons/mailboxd/pieces.h"
#include "daemons/mailboxd/text.h"
#include "net/imapsyntax.h"
#include "store/signature.h"

enum search_kind {
	SEARCH_ALL, SEARCH_AND, SEARCH_OR, SEARCH_NOT, SEARCH_FUZZY,
	SEARCH_FLAG, SEARCH_UNFLAG, SEARCH_KEYWORD, SEARCH_UNKEYWORD, SEARCH_NEW, SEARCH_OLD, SEARCH_RECENT,
	SEARCH_SEQ, SEARCH_UID, SEARCH_MODSEQ, SEARCH_OLDER, SEARCH_YOUNGER, SEARCH_LARGER, SEARCH_SMALLER,
	SEARCH_BEFORE, SEARCH_ON, SEARCH_SINCE, SEARCH_SENTBEFORE, SEARCH_SENTON, SEARCH_SENTSINCE,
	SEARCH_SAVEDBEFORE, SEARCH_SAVEDON, SEARCH_SAVEDSINCE, SEARCH_EMAILID, SEARCH_THREADID,
	SEARCH_SUBJECT, SEARCH_ADDRESS, SEARCH_HEADER, SEARCH_BODY, SEARCH_TEXT,
};

enum { SEARCH_COST_FACTS = 1 }; /* search.def */

enum { SEARCH_TEXTS = 7, SEARCH_READ = 1 << SEARCH_TEXTS };

struct search_key {
	struct search_key *next;     /* of an AND */
	struct search_key *children; /* AND, OR, NOT, FUZZY */
	struct search_key *words;    /* below FUZZY: the text's words one by one, if it has several */
	bool fuzzy;                  /* a text below FUZZY: it gives a score */
	enum search_kind kind;
	unsigned cost;
	struct span field, text;     /* text is folded, or an id or a keyword as it is */
	uint64_t number;             /* flag, keyword bit (0: the mailbox has no such keyword), size, list of addresses, for HEADER the bit of a kept field (keptfield.h) */
	int64_t day;
	const struct signature_query *narrow; /* BODY, TEXT, HEADER */
	uint8_t bit;                 /* BODY, TEXT: in search.said */
	struct uidset set;
	struct search_key *with_set; /* the search's keys that own a set */
};

struct search {
	struct search_key *root;
	struct search_key *with_set;
	struct span charset;     /* of the strings, empty for UTF-8 */
	bool bad_charset;
	bool fuzzy;              /* a FUZZY key was given */
	unsigned score;          /* 1 to 100, of the last message that fitted (RFC 6203 4) */
	bool uid_only;           /* sequence numbers are an error (RFC 9586 3); set by the caller */
	bool seq_used;           /* it was that */
	bool lasting;            /* sequence numbers are those of now: kept as UIDs; set by the caller */
	bool modseq;             /* a MODSEQ key was given: tell the highest one of the hits */
	int64_t now;             /* Unix time, for OLDER and YOUNGER; set by the caller */
	struct buf scratch, folded, fields;
	struct pieces pieces;
	struct span needle;      /* what the pieces are searched for */
	unsigned keys;
	const struct search_key *texts[SEARCH_TEXTS]; /* BODY, TEXT */
	unsigned ntexts;         /* of them, or more */
	bool headers;            /* some key wants a header field that is not kept, or a digest, which takes reading, too */
	uint8_t said;            /* of the message at test: SEARCH_READ and the bits of the texts it has; 0: not known. Set by the caller */
	bool asking, unread;     /* search_must_read() */
};

void search_init(struct search *s);
void search_free(struct search *s);
/* ["CHARSET" SP] name SP, the word and all of it optional or (SORT, THREAD) the
 * name required.  False: a syntax error in p, or bad_charset. */
bool search_charset(struct search *s, struct imap_parse *p, bool required);
/* key *(SP key) to the end of the command.  v NULL: only to
 * see whether it is one.  saved: what "$" stands for. */
bool search_parse(struct search *s, struct imap_parse *p, struct view *v, const struct uidset *saved);
/* Below FUZZY a text of several words fits also where all of them stand, in any
 * order, with a lower score; everything else fits as ever (RFC 6203 5).
 * t: not yet opened for this message; opened when a test needs it. */
bool search_fits(struct search *s, struct view *v, uint32_t seq, const struct message *m, struct text *t);
bool search_wants_facts(const struct search *s); /* of every message, before anything else is tested */
uint64_t search_keyword(struct view *v, struct span name); /* its bit; 0: the mailbox has none of that name */
bool search_is_all(const struct search *s); /* no message need be tested */

/* ---- texts looked for ahead of the test, on threads ---- */

/* Whether search_look() says all that its messages would be read for. */
bool search_may_look(const struct search *s);
/* What search_fits() does, without reading: whether it would have to. */
bool search_must_read(struct search *s, struct view *v, uint32_t seq, const struct message *m, struct text *t);
/* On any thread: appends what is to be search.said (reading.h). */
bool search_look(const struct search *s, struct span message, struct arena *arena, struct buf *out);

#endif
