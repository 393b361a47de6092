/* SPDX-License-Identifier: ISC
 *
 * impl: the inside of the queue, shared by its modules:
 *   queue.c     accept, remove, find
 *   recover.c   replay
 *   routing.c   recipients -> units at destinations
 *   dispatch.c  units -> jobs; what comes back
 *   forward.c   forward files: a mailbox becomes further recipients
 *   timed.c     times set by senders
 *   waiting.c   delays, timers, expiry, warnings
 *   notify.c    reports to the sender
 *   admin.c     verbs
 *   walk.c      all messages, in slices
 *   parts.c     long lists, which come to the journal in parts
 *   deleted.c   what was deleted and can be had back
 *   compact.c   what is live in a sparse segment is appended again
 *   poison.c    messages whose agent crashed
 *   export.c    messages as they leave for another queue, and come from it
 */
#ifndef QUEUE_IMPL_H
#define QUEUE_IMPL_H

#include "log/log.h"
#include "queue/queue.h"

enum {
	TARGETS_MAX = 1000000, /* answers to one: as alias_expansion_limit at most */
	ASKS_TURN = 16,      /* recipients of one message asked about before others have their turn */
	LIST_LONG = 2000,    /* recipients: of more, ASKS_TURN in LIST_PACE_MS while other mail comes in */
	LIST_PACE_MS = 3,
	LIST_LATE_MS = 4,    /* which a late timer may make up for */
	LETTERS_MS = 1000,   /* so long after the last of it */
	ASKS_MESSAGE = 32,   /* and under way: what others would have to wait behind */
	REPORT_RECIPIENTS = 100,
	RESULTS_MAX = 256 * 1024, /* bytes of results in one record, about */
	ACTIONS_MAX = 64 * 1024 * 1024, /* bytes */
};

struct ask {
	struct map_node by_id;
	struct list node;
	struct message *m;
	struct destination *woken; /* it was waiting there; NULL: fresh */
	uint32_t recipient;
	struct unit *units;        /* answers so far, with their destinations */
	struct buf failing;        /* those that fail at once: a list of results */
	struct destination **at;
	size_t nunits, max_units;
	uint32_t targets, listed;  /* that are delivered to, and those behind a list */
	struct text *owner;        /* of the list */
	uint8_t failed;            /* targets that fail at once */
	bool deferred;
	bool there;                /* a target has had it before */
	struct text *code, *text;  /* why */
};

struct deleted {
	struct idnode by_id;
	struct list node;
	journal_pos envelope, outcome;
	bool blob;
};

struct queue {
	struct journal *journal;
	struct vfs *blobs;
	struct queue_params p;
	struct queue_ports ports;
	struct idmap messages;
	struct map destinations, jobs, asks;
	struct list job_list, ask_list;
	struct list age[2];      /* by arrival; [1]: null sender */
	struct message *warn[2]; /* the next one whose delay is looked at */
	struct list unrouted, urgent; /* entries; urgent: of messages with a priority above 0 */
	struct list rotor;       /* destinations that may start a job */
	struct list idle;        /* destinations, idle for longest first, but for some that are in use again */
	struct buf actions;      /* ids, u64, of messages to be looked at at the end of the run */
	struct buf unreported;   /* ids, u64, of messages of which nothing is left but a report that could not be written */
	int64_t report_ms;       /* when that is tried again */
	struct list cache;
	struct list walks;
	struct list deleted;     /* owned; oldest first, until a sweep turns them */
	struct idmap deletions;  /* the same */
	struct heap timers;      /* of destinations */
	struct heap timed;       /* of messages to which their senders set a time */
	size_t suspects; /* jobs of suspect messages */
	struct words words;
	uint64_t next_job, next_ask, last_id;
	uint64_t first_ask; /* what next_ask began with */
	int64_t now, next_age_ms;
	int64_t letter_ms, list_due; /* when something else than a long list came; when the next of one may be routed */
	bool recovering, running;
	struct record_parts parts; /* of the replay */
	struct list remains;       /* long lists of messages that have left */
	struct queue_stats stats;
};

/* queue.c */
void queue_log_message(enum log_event event, const struct message *m, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool queue_append(struct queue *q, unsigned type, const struct desc *d, const void *record, struct span body, unsigned flags,
    struct journal_ticket *t, journal_pos *pos, struct fail *why);
void queue_drop(struct queue *q, struct message *m); /* out of memory; its removal is recorded */
void queue_touch(struct queue *q, struct message *m); /* look at it at the end of the run */
/* Records results in the journal; removed as well if it is the last. */
void queue_record_outcome(struct queue *q, struct message *m, struct span list, bool reported, const char *removed_by);
/* Adds one to what is to be recorded of m; when that has become much, it is recorded at once. */
void queue_put_result(struct queue *q, struct message *m, struct buf *list, const struct record_result *r);
void queue_record_state(struct queue *q, struct message *m);
void queue_age_insert(struct queue *q, struct message *m);
void queue_wake(struct queue *q, int64_t at_ms);
struct destination *queue_destination(struct queue *q, unsigned agent, struct span nexthop);
struct destination *queue_destination_named(struct queue *q, struct span name);
void queue_destination_idles(struct queue *q, struct destination *d); /* from now on */
void queue_forget_destination(struct queue *q, struct destination *d); /* an idle one */

void queue_remove_blob(struct queue *q, const char *name, bool again);
void queue_uncache(struct queue *q, struct message *m); /* its content is not wanted soon */

bool queue_bury_some(struct queue *q); /* frees a little of the remains; false: there are none left */

/* recover.c */
/* False: no memory for recipients that it adds. */
bool queue_apply_to(struct message *m, const struct record_result *r, int64_t at_ms);
bool queue_apply_result(struct queue *q, struct message *m, const struct record_result *r, int64_t at_ms);
/* forward.c */
bool queue_forward_ok(const struct queue_job *job, const struct unit *u, const struct queue_result *r); /* false: a violation */
bool queue_forwards_several(const struct queue_result *r); /* places, the mailbox being one where it is kept */
/* For record_result.added. */
bool queue_forward_list(const struct message *m, const struct unit *u, const struct queue_result *r, struct buf *list);
/* parts.c */
/* e->list becomes the rest behind the parts, where e is going to stand with them; body: bytes of its record's. */
void queue_name_parts(const struct queue *q, const struct queue_parts *p, struct record_envelope *e, size_t body);
/* Makes e->list whole, in *list, where it is in parts. */
bool queue_read_parts(struct queue *q, struct record_envelope *e, struct buf *list, struct fail *why);

/* compact.c: the message's envelope is appended again, with what has become known of it; false: it stays where it is. */
bool queue_move(struct queue *q, struct message *m);

/* walk.c */
void queue_walks_pass(struct queue *q, const struct message *m); /* it leaves */

/* deleted.c */
void queue_record_deletion(struct queue *q, struct message *m);
void queue_deleted_note(struct queue *q, const struct message *m, journal_pos outcome);
/* An envelope at pos has that id again: from there on, no deletion before it can be undone. */
void queue_deleted_back(struct queue *q, uint64_t id, journal_pos pos);
bool queue_is_deletion(struct span why); /* of a removal: one that can be undone */
bool queue_was_deleted(const struct queue *q, uint64_t id); /* and can still be had back: its blob stays */
void queue_deleted_sweep(struct queue *q);
void queue_deleted_free(struct queue *q);

/* routing.c */
void queue_start(struct queue *q, struct message *m); /* all unsettled recipients are to be routed */
void queue_run_routing(struct queue *q);
void queue_await_routing(struct queue *q, struct entry *e); /* its chain is to be asked about */
void queue_route_from(struct queue *q, struct message *m, uint32_t first); /* these recipients are new */
void queue_unroute(struct queue *q, struct message *m); /* takes it out of every list; open asks are forgotten */

/* dispatch.c */
void queue_run_jobs(struct queue *q);
void queue_record_destination(struct queue *q, struct destination *d);
void queue_look(struct queue *q, struct destination *d); /* its lists or its health changed */

/* waiting.c */
void queue_delay(struct queue *q, struct message *m, uint32_t recipient, struct destination *d, int64_t due_ms);
void queue_wait_settled(struct queue *q, struct message *m); /* nothing of it is under way any more */
/* A ready entry waits again; due_ms as for queue_delay(). */
void queue_postpone(struct queue *q, struct entry *e, struct word *reason, int64_t due_ms);
void queue_park(struct queue *q, struct destination *d);     /* held back: what was ready waits */
void queue_run_timers(struct queue *q);
void queue_run_ages(struct queue *q);
void queue_give_up(struct queue *q, struct message *m, struct span code, struct span reason); /* all that is not settled has failed */
void queue_clock(struct queue *q); /* reads it */
int64_t queue_retry_at(struct queue *q, const struct message *m, const struct destination *d);

/* timed.c */
void queue_timed(struct queue *q, struct message *m);   /* it is there: waits for its times, if it has any */
void queue_untimed(struct queue *q, struct message *m); /* it leaves */
void queue_run_timed(struct queue *q);
bool queue_is_overdue(const struct queue *q, const struct message *m); /* and to be returned (RFC 2852) */
void queue_give_up_overdue(struct queue *q, struct message *m);

/* poison.c */
void queue_suspect_waits(struct queue *q, struct entry *e);
void queue_blame_job(struct queue *q, const struct queue_job *job);

/* notify.c */
struct news {
	unsigned action; /* enum report_action */
	struct span code, peer, reply;
	int64_t at_ms;   /* of the attempt; 0: there was none just now */
	bool wanted;     /* by another word than NOTIFY, which counts only as NEVER */
};
/* Notes what the sender, or the owner of a list, is to be told if it wants to know. unit: of which it
 * is the news; NULL: of the recipient as a whole. False: nobody is to be told. */
bool queue_note(struct message *m, uint32_t recipient, const struct unit *u, const struct news *news);
/* The same from the journal, where what was wanted has been judged. */
void queue_note_again(struct message *m, const struct record_result *r, int64_t at_ms);
/* What is kept as the reason of a delay: "host NAME[ADDRESS] said: REPLY" when another host said it. */
struct word *queue_reason(struct queue *q, struct span peer, struct span reply);
bool queue_report(struct queue *q, struct message *m); /* writes what is noted; false: try later */
void queue_report_later(struct queue *q, const struct message *m); /* nothing else of it is left */
void queue_run_reports(struct queue *q);

#endif
