/* SPDX-License-Identifier: ISC
 *
 * transaction: one message from MAIL to the reply after its data.  Lives in
 * the session's mail arena and goes with it.
 */
#ifndef SMTPD_TRANSACTION_H
#define SMTPD_TRANSACTION_H

#include "mail/address.h"
#include "mail/content.h"
#include "session.h"

enum {
	RCPT_ASKED_MAX = 64, /* questions under way for one session */
	RULE_MAX = 200,      /* bytes kept of routed's reason */
	PREPEND_MAX = 16384, /* header lines of access rules; further ones are left out */
	CARRY_MAX = 2048,    /* of which a field name's length may be left over */
	FILTER_ADDED_MAX = 1000, /* recipients that filters add to a message */
	RCPT_MEMORY = 2000,  /* most arena bytes of one recipient: address, ORCPT, reply, reason, struct */
};

enum filter_stage { FILTER_MAIL, FILTER_DATA, FILTER_END };

enum recipient_state { RECIPIENT_ASKED, RECIPIENT_GOOD, RECIPIENT_REFUSED };

struct recipient {
	struct recipient *next;
	struct span address, orcpt; /* ORCPT as given, type and xtext */
	struct span reply;          /* until said */
	struct span rule;           /* routed's reason for a refusal; for a good one, the access rule that had a say */
	uint64_t ask_id;
	const struct ipc_rcpt_answer *held; /* routed's, while filters are asked */
	bool added, removed;        /* by a filter */
	uint8_t state, notify;      /* DSN bits of ipc intake rcpt */
};

struct transaction {
	struct span sender, envid; /* sender empty: null */
	uint64_t size;             /* declared, 0 when not */
	uint8_t ret;
	bool body8, utf8;          /* BODY=8BITMIME, SMTPUTF8 */
	bool binary;               /* BODY=BINARYMIME */
	bool requiretls;           /* REQUIRETLS */
	int64_t release_ms;        /* HOLDFOR, HOLDUNTIL; 0: none */
	uint8_t priority;          /* 10 more than MT-PRIORITY; 0: none */
	bool lowered;              /* it had asked for more */
	int64_t by_s;              /* BY: seconds, from now or from the release on */
	uint8_t by_mode;           /* enum by_mode; 0: none */
	bool tls_optional;         /* its header says TLS-Required: No */
	bool utf8_addresses;       /* the sender's or a recipient's is not ASCII */
	struct recipient *first, **end;
	struct recipient *unsaid;  /* the first whose reply has not been given; replies keep their order */
	unsigned tried, good, asked;
	bool counted;              /* routed knows of the message */
	/* what access rules want done with the message */
	bool hold, discard;
	struct span rule;          /* why the first good recipient is one */
	struct span redirect;      /* the one address it goes to instead */
	struct buf prepend;        /* header lines */
	/* filters (filter.h) */
	bool filtered;             /* verifyd knows of it */
	bool screened;             /* the content goes there first */
	bool returning;            /* and comes back */
	uint8_t stage;             /* enum filter_stage of the last question */
	uint64_t question;         /* that one */
	uint32_t hidden;           /* bytes of our Received field */
	unsigned added;            /* recipients */
	/* content */
	uint64_t id;               /* queue id, 0 before DATA */
	bool opened;               /* queued knows of it */
	uint64_t early;            /* the queue id, where queued is told of a list while it comes in; else 0 */
	bool early_hold;           /* and was told to hold it */
	bool late;                 /* that came to nothing: it is told behind DATA */
	const struct recipient *handed; /* the last one that queued has been told of; NULL: none */
	bool over;                 /* nothing more goes to queued */
	unsigned status;           /* why not, a row of status.def */
	unsigned status_code;      /* its reply code, 0: the row's */
	struct span status_text;
	struct content content;
	struct buf frame;          /* next data message */
	struct buf header;         /* submission: the header until it is whole */
	struct buf carry;          /* BDAT: the end of a chunk that only makes sense with the next one */
	uint64_t sent;
	struct span message_id;
};

/* The id of the conversation with queued. */
static inline uint64_t transaction_intake(const struct transaction *t) { return t->id ? t->id : t->early; }

/* NULL: no memory, and the client has been told. */
struct transaction *transaction_begin(struct session *s);
/* Forgets the message, telling queued if it knows of it. Fine without one. */
void transaction_end(struct session *s);

/* Adds a recipient whose reply is already known, or that waits for routed's. */
struct recipient *transaction_add(struct session *s);
/* Says what is due, in order; lets the session go on when nothing is waited for. */
void transaction_say(struct session *s);
/* All that waits for routed is refused for now. */
void transaction_routed_lost(struct session *s);

/* The first good recipient's address; empty: there is none. */
struct span transaction_first(const struct transaction *t);
/* A sibling's status may be any number: the row, or for now where there is none. */
unsigned transaction_status(unsigned status);
/* What routed, or a filter, says of a recipient it was asked about. */
void transaction_settle(struct session *s, struct recipient *r, const struct ipc_rcpt_answer *m);
/* What else they want done with the message; r NULL: it is about no recipient. */
void transaction_obey(struct session *s, struct recipient *r, const struct ipc_rcpt_answer *m);

/* cmd_mail.c: the reply to MAIL that is in order. */
void mail_taken(struct session *s);

/* data.c: DATA or the first BDAT has been accepted; the 354 and the state are the caller's. */
void data_begin(struct session *s, bool by_length);
/* queued hears of it; early: before the content, which may turn out to need more than is said here; the end tells. */
bool data_open_intake(struct session *s, bool early);
/* Does one thing with the front of *in. False: nothing more to do with it; after the message's end it waits for queued,
 * or the transaction is over. */
bool data_step(struct session *s, struct span *in);
size_t data_input(struct session *s, struct span bytes);
/* Nothing more goes to queued; the rest of the content is only looked through for its end. */
void data_give_up(struct session *s, unsigned status);
/* Content to queued, or to the filters, frame by frame; and that it was all. */
void data_put(struct session *s, struct span bytes);
void data_finish(struct session *s);
/* queued's verdict, or ours: one reply, or in LMTP one for each recipient; then the transaction is over. */
void data_go_ahead(struct session *s);  /* 354 */
void data_was_hasty(struct session *s); /* DATA was refused, and content has come: as commands it would be smuggled mail */
void data_verdict(struct session *s, unsigned status, struct span text);

/* list.c: so many recipients that they come in, and are told to queued, bit by bit. */
bool list_is_long(const struct transaction *t);
/* The first recipient that queued has not been told of. */
static inline const struct recipient *list_next(const struct transaction *t) { return t->handed ? t->handed->next : t->first; }
/* Tells it of some that are known to be good or not. */
bool list_hand_over(struct session *s, size_t most);
/* Gives the message its id: from now on the envelope is what it is. */
void list_begin_content(struct session *s);
/* The 354, for a long list once queued has it. */
void list_go_ahead(struct session *s);
/* queued does not take what it was told before DATA; it is asked again then. False: it is not about that. */
bool list_lost(struct session *s, uint64_t id);

#endif
