/* SPDX-License-Identifier: ISC
 *
 * searching: a SEARCH while it goes over the mailbox, slice by slice; SORT and
 * THREAD begin with one.
 */
#ifndef MAILBOXD_SEARCHING_H
#define MAILBOXD_SEARCHING_H

#include "daemons/mailboxd/ahead.h"
#include "daemons/mailboxd/imap.h"
#include "daemons/mailboxd/returns.h"
#include "daemons/mailboxd/search.h"

struct searching {
	struct search search;
	struct view *view;  /* what is searched */
	struct text text;
	struct uidset hits; /* sequence numbers of it */
	struct returns returns;
	uint8_t *scores;    /* by sequence number, for FUZZY; owned */
	bool relevancy;     /* they are asked for, which needs FUZZY */
	uint64_t modseq;    /* highest one of the hits */
	uint64_t began;     /* of the mailbox when it began */
	struct imap_parse program; /* the keys */
	uint32_t seq;
	uint32_t nread;      /* grows with messages that were read here, shrinks with others */
	struct facts_ahead facts;
	struct ahead *ahead; /* they are read on threads, if it runs; NULL: none ever did */
	enum cmd_result (*found)(struct cmd *c); /* the hits are there */
};

/* What the test of one message costs, in tests of the index. */
unsigned searching_work(const struct search *s);
/* And what the reading of it did, if that was the last one tested; 0: it was not read. */
unsigned searching_read(const struct text *t, uint32_t uid);

/* In place; its owner is the command's state and gives it back with searching_release(), which empties "$" where
 * what was to be saved is answered with NO. */
void searching_init(struct searching *s, struct cmd *c);
void searching_release(struct searching *s, struct cmd *c);
/* Once more, in another mailbox. */
void searching_again(struct searching *s, struct view *view);
/* UPDATE (RFC 5267 4.3), or the word that it cannot be; what SAVE asks for becomes "$".
 * False: it could not, and the reply is set. */
bool searching_keep(const struct searching *s, struct cmd *c, bool uid);
/* The one to tell (RFC 4731 3.2): the highest of all hits, or of those told where returns_some(). */
uint64_t searching_modseq(const struct searching *s, const struct uidset *told);
uint64_t searching_hits_modseq(const struct searching *s); /* they are told in their order */
/* Of the hits, in order, from now on in place of those by number; NULL: not asked for. */
const uint8_t *searching_scores(struct searching *s);
/* The keys to the end of the command, and goes over the mailbox; ends in s->found. */
enum cmd_result searching_start(struct searching *s, struct cmd *c);

#endif
