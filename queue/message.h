/* SPDX-License-Identifier: ISC
 *
 * message: a queued message in memory: small, because there may be a million.
 *
 * A recipient is settled (nothing more to do), or it stands in the chain of
 * exactly one entry (unrouted, or waiting at a destination), or it is being
 * routed, or it has open units: one for each place its routing led to.  An
 * entry ties a message to a destination.
 */
#ifndef QUEUE_MESSAGE_H
#define QUEUE_MESSAGE_H

#include "base/list.h"
#include "base/map.h"
#include "journal/journal.h"
#include "queue/heap.h"
#include "queue/idmap.h"
#include "queue/record.h"
#include "queue/text.h"

struct destination;
struct message;

enum message_flags {
	MESSAGE_ACCEPTING = 1, /* not durable yet */
	MESSAGE_HELD = 2,
	MESSAGE_WARNED = 4,
	MESSAGE_BODY8 = 8,
	MESSAGE_UTF8 = 16,
	MESSAGE_BLOB = 32,
	MESSAGE_REPORT = 64,  /* made by the queue itself */
	MESSAGE_TRIED = 128,  /* no longer fresh */
	MESSAGE_DELETED = 256, /* goes when its jobs are back */
	MESSAGE_EXPIRED = 512, /* the next delay is the last */
	MESSAGE_TOUCHED = 1024, /* is looked at at the end of the run */
	MESSAGE_BINARY = 2048,
	MESSAGE_REQUIRETLS = 4096,
	MESSAGE_TLS_OPTIONAL = 8192,
	MESSAGE_OVERDUE = 32768, /* the sender was told that extra.by_ms passed */
	MESSAGE_LATER = 16384, /* its time has not come: none of it is routed or waits */
};

struct recipient {
	struct text *address, *orcpt;
	uint32_t next;   /* in an entry's chain: index + 1 */
	uint32_t open : 20; /* units not settled in this attempt: TARGETS_MAX at most */
	bool settled : 1, delayed : 1, routing : 1;
	bool expanded : 1; /* success has been told: several addresses, or a list (RFC 3461 5.2.7) */
	bool absent : 1;   /* of a replay: what added it comes later; settled */
	uint32_t notify : 4; /* of DSN */
};

/* One delivery to be made: a recipient, or one of the places it leads to. */
struct unit {
	struct unit *next;
	uint32_t recipient;
	uint32_t uid, gid;
	uint64_t quota, messages; /* limits of the mailbox */
	struct text *address; /* NULL: the recipient's own */
	struct text *home, *sender;
	struct text *logins; /* net/logins.h; wiped */
};

enum entry_state { ENTRY_IDLE, ENTRY_UNROUTED, ENTRY_WAITING, ENTRY_READY };

struct entry {
	struct list node;
	struct message *m;
	struct destination *d;
	struct entry *next;        /* of the message */
	struct unit *units, *last; /* READY, or IDLE while routing goes on */
	int64_t due_ms;            /* WAITING: not before; 0: as the destination goes */
	uint32_t head, tail;       /* chain of recipients: index + 1; 0: none */
	uint32_t count;            /* of the chain, or of the units */
	uint8_t state, class;
};

/* What the sender is to be told. */
struct note {
	struct note *next;
	uint32_t recipient;
	uint8_t action; /* enum report_action */
	int64_t at_ms;  /* of the attempt; 0: there was none just now */
	struct text *code, *peer, *reply;
	struct text *to; /* the owner of a list; NULL: the sender */
	bool told;
};

/* A target that has the message while others of the same recipient have not. */
struct done {
	struct done *next;
	struct done *same; /* of another recipient, with this address */
	struct map_node by_address;
	uint32_t recipient;
	struct text *address;
};

/* What few recipients have. */
struct remark {
	struct map_node by_recipient;
	struct text *text;
};

struct extra {
	struct text *envid;
	struct note *notes, *last; /* for reports */
	struct done *done;
	struct map done_by_address; /* the same: there may be a million */
	struct map owners; /* remarks, of recipients that are lists; there may be as many */
	struct map vias;   /* remarks, of recipients that were added by forward files */
	uint32_t room;     /* recipients that message.rcpts has room for; 0: as many as there are */
	int64_t release_ms;  /* Unix time before which it is not sent (RFC 4865); 0: none */
	int64_t by_ms;       /* Unix time by which it is to be delivered, and */
	uint8_t by_mode;     /* what then: enum by_mode of ipc/bounds.h; 0: none */
	struct heap_node timed; /* in the queue's heap, for both */
	struct message *m;
};

struct content {
	struct list node; /* in the cache, oldest first */
	struct message *m;
	struct buf bytes;
};

struct message {
	struct idnode by_id;
	struct list age;          /* in order of arrival */
	journal_pos pos, state_pos;
	struct text *sender;
	struct word *reason;      /* of the last delay */
	struct content *content;  /* cached, or NULL */
	struct extra *extra;      /* what few messages have, or NULL */
	struct recipient *rcpts;
	uint64_t size;
	uint32_t nrcpts, unsettled;
	uint32_t asks;            /* recipients being routed */
	uint32_t attempts;
	uint16_t jobs;            /* under way */
	uint16_t flags;
	uint8_t ret;
	bool suspect;             /* an agent crashed while it had it: goes out alone (poison.c) */
	uint8_t priority;         /* as its record has it */
	struct entry first;
	struct recipient one;     /* rcpts points here when there is but one */
};

/* Recipients of a message still on its way in: a long list is taken in bit by bit. */
struct roll {
	struct recipient *at;
	uint32_t n, max;
};

bool roll_add(struct roll *r, const struct record_recipient *one); /* a fresh one; false: no memory */
bool roll_load(struct roll *r, struct span list); /* those of an encoded list, all fresh */
void roll_free(struct roll *r);

/* As record.def has them. */
enum { MESSAGE_RECIPIENTS = 1000000, QUEUE_ADDED_MAX = 262144 };
enum { PRIORITY_MAX = 9, PRIORITY_ZERO = 10 };
static inline int message_priority(const struct message *m) { return m->priority ? m->priority - PRIORITY_ZERO : 0; }
static inline uint64_t message_id(const struct message *m) { return m->by_id.id; }
static inline int64_t message_arrival_ms(const struct message *m) { return (int64_t)((message_id(m) >> 4) / 1000); } /* Unix time */

/* From an envelope as accepted or as replayed; NULL: no memory or a broken list. */
struct message *message_new(const struct record_envelope *e);
/* The same; a roll with all its recipients saves looking at the list, and is emptied. */
struct message *message_new_of(const struct record_envelope *e, struct roll *roll);
void message_free(struct message **m, struct words *words);
/* Takes its recipients out of a message that is about to be freed. */
struct roll message_strip(struct message *m);
bool roll_free_some(struct roll *r, uint32_t most); /* from the end; false: it is empty, and freed */

/* An idle entry of the message, new if need be; NULL: no memory. */
struct entry *message_entry(struct message *m, struct destination *d);
/* The entry with units for d that is not yet or already ready; NULL: none. */
struct entry *message_ready_entry(struct message *m, const struct destination *d);
struct entry *message_waiting_entry(struct message *m, const struct destination *d);
/* After its last recipient or unit left: unlinks it and lets it go. */
void entry_done(struct entry *e);

void entry_chain(struct entry *e, uint32_t recipient);
bool entry_unchain(struct entry *e, uint32_t *recipient); /* the first; false: none */
void entry_add(struct entry *e, struct unit *u);
struct unit *entry_take(struct entry *e);

bool message_extra(struct message *m); /* there is one now; false: no memory */
static inline const struct note *message_notes(const struct message *m) { return m->extra ? m->extra->notes : NULL; }
static inline bool message_has_added(const struct message *m) { return m->extra && m->extra->vias.count; } /* by forward files */
static inline struct span message_envid(const struct message *m) { return m->extra ? text_span(m->extra->envid) : SPAN_NONE; }
struct unit *unit_new(uint32_t recipient);
void unit_free(struct unit *u);
bool message_is_done(const struct message *m, uint32_t recipient, struct span address);
bool message_add_done(struct message *m, uint32_t recipient, struct span address);
/* Whom to tell what happens to a recipient that is a list; empty: the sender. */
struct span message_owner(const struct message *m, uint32_t recipient);
bool message_set_owner(struct message *m, uint32_t recipient, struct span address);
/* The mailboxes whose owners forwarded it to this recipient, the last one first, parted by tabs; empty: none. */
struct span message_via(const struct message *m, uint32_t recipient);
bool message_set_via(struct message *m, uint32_t recipient, struct span via);
enum { MESSAGE_AHEAD = 100000 }; /* more than that are never added before those in between */
/* There are n recipients at least, those that were not there absent; false: no memory, or too many. */
bool message_extend(struct message *m, uint32_t n);
/* The note is filled in by the caller. NULL: no memory. */
struct note *message_add_note(struct message *m);
void message_drop_notes(struct message *m);
/* The address a unit goes to. */
static inline struct span
unit_address(const struct message *m, const struct unit *u)
{
	return text_span(u->address ? u->address : m->rcpts[u->recipient].address);
}
/* The DSN parameters it is sent with (RFC 3461 5.2.7): none behind a list, no SUCCESS behind an expanded alias. */
uint8_t unit_notify(const struct message *m, const struct unit *u);
uint8_t notify_without_success(uint8_t notify);
static inline struct span
unit_orcpt(const struct message *m, const struct unit *u)
{
	return u->sender ? SPAN_NONE : text_span(m->rcpts[u->recipient].orcpt);
}
/* Whether the forward file of the mailbox's owner counts: not twice for one mailbox, nor without end. */
bool unit_may_forward(const struct message *m, const struct unit *u);
/* Those that a result adds (forward.c); false: no memory, and none was. */
bool message_add_forwarded(struct message *m, const struct record_result *r);
void content_free(struct content *c);

#endif
