/* SPDX-License-Identifier: ISC
 *
 * going: what the parts of abroad share: a command that is under way in another
 * user's mailboxd.
 *
 *   abroad.c         whose command it is; the roads; simple commands, IDLE
 *   abroad_relay.c   what comes back
 *   abroad_append.c  literals of any size to there
 *   abroad_copy.c    messages between own mailboxes and others'
 *   abroad_list.c    LIST over all who share
 *
 * Two roads: AWAY to where the selected mailbox is, WORK for commands that name
 * one. A command is at one road; what comes between commands is nobody's, and
 * ends the road.
 */
#ifndef MAILBOXD_GOING_H
#define MAILBOXD_GOING_H

#include "daemons/mailboxd/abroad.h"
#include "daemons/mailboxd/guest.h"
#include "daemons/mailboxd/visit.h"

enum { AWAY, WORK, ROADS };
enum { GOING_HEAD = 80, GOING_TAIL = 24 };
enum { MIRRORED = ENABLED_CONDSTORE | ENABLED_QRESYNC | ENABLED_UTF8 | ENABLED_REV2 | ENABLED_UIDONLY };

struct abroad {
	struct visit *road[ROADS];
};

/* The command that is at a road: its state. */
struct going {
	struct visit *v;
	unsigned road;
	struct span text;         /* to be sent when the road is open */
	enum cmd_result (*sent)(struct cmd *c);
	enum cmd_result (*ended)(struct cmd *c, bool ok); /* the tagged response is set in c */
	struct span tag;          /* that ends it */
	bool mute, idle;          /* nothing of it is told; the client's DONE is awaited */
	bool patient;             /* it is the client that is waited for */
	unsigned lines;           /* > 0: going_relay() stops behind so many */
	bool inside, drop, plain; /* within a line; not told; a text that ends in no literal */
	uint64_t literal;         /* octets still to come from there */
	char tail[GOING_TAIL];          /* of the line */
	size_t ntail;
	uint64_t left;            /* octets of the client's literal still to go */
	/* LIST */
	struct broker_request request;
	struct cmd *c;
	struct owner *owners, *next;
	size_t nowners;
	const struct span *patterns;
	size_t npatterns;
	bool asked;     /* that, or the present literal has been announced there */
	bool announced; /* the client has announced one that is not granted yet */
};

struct owner {
	struct owner *next;
	struct span name;
};

enum relay { RELAY_MORE, RELAY_ROOM, RELAY_PLUS, RELAY_ENDED, RELAY_LOST };


/* All that has come, so far as the client takes it. */
enum relay going_relay(struct cmd *c, struct going *g);

bool going_init(struct cmd *c, struct going *g); /* false: no memory */
struct going *going_new(struct cmd *c); /* as the command's state; NULL: no memory */
/* The road to this owner; another one's ends. */
bool going_road(struct cmd *c, struct going *g, unsigned road, struct span owner);
/* Sets the command on the road with its text as it came; false: the reply is set. */
bool going_begin(struct cmd *c, unsigned road, struct span owner);
struct span going_text(const struct cmd *c);
enum cmd_result going_reach(struct cmd *c);                  /* step: opens the road, then sends g->text, then g->sent */
enum cmd_result going_step(struct cmd *c);                   /* step: relays until the end, then g->ended */
enum cmd_result going_wait(struct cmd *c, bool listening);
enum cmd_result going_lost(struct cmd *c);                   /* the road is gone */
bool going_append(struct cmd *c, struct span owner);
/* COPY, MOVE from the own mailbox that is selected; COPY of set from the one that is not. False: the reply is set. */
bool going_copy_out(struct cmd *c, struct span owner);
bool going_copy_in(struct cmd *c, struct span owner, struct span set, struct span folder);

#endif
