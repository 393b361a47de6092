/* SPDX-License-Identifier: ISC
 *
 * ahead: a search for texts has its messages read, and looked into, on the
 * worker threads, somewhat ahead of where it is; so has what goes by the kept facts of
 * messages of which none are kept yet.
 */
#ifndef MAILBOXD_AHEAD_H
#define MAILBOXD_AHEAD_H

#include "daemons/mailboxd/imap.h"
#include "daemons/mailboxd/search.h"
#include "store/reading.h"

enum { AHEAD_MESSAGES = 1024 }; /* at most; a power of two */

struct told {
	uint32_t uid;
	uint8_t said; /* 0: it could not be read */
};

struct ahead {
	struct reading reading;
	struct search *search;
	struct view *view;
	struct text *text;
	struct cmd *cmd;
	bool runs;
	uint32_t waits;  /* the UID that the command waits for, 0: none */
	uint32_t asked;  /* the UID that was asked for last, 0: none; */
	uint32_t from, ntold; /* its sequence number, how many have been told of since */
	bool sparse;     /* few messages are to be read: it is better stopped */
	struct told told[AHEAD_MESSAGES]; /* by sequence number */
};

/* What is given has to outlive it, until ahead_stop(). */
void ahead_start(struct ahead *a, struct cmd *c, struct search *search, struct view *view, struct text *text);
/* What is known of message uid is put into search.said.  True: it will be known; c is woken then.  The index may move. */
bool ahead_waits(struct ahead *a, uint32_t seq, uint32_t uid);
void ahead_stop(struct ahead *a); /* may be NULL */

/* Of a command that goes over messages by their facts. */
struct facts_ahead {
	struct facts_wait wait;
	struct cmd *cmd; /* that waits */
	bool waited;     /* for the message that it is at */
};

/* Threads make the facts of m, which is number seq of the view, and of those behind it up to number hi: the command
 * waits, and is woken.  False: they are there, or whoever needs them makes them. */
bool facts_ahead(struct facts_ahead *a, struct cmd *c, const struct view *v, const struct message *m, uint32_t seq, uint32_t hi);

#endif
