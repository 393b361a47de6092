/* SPDX-License-Identifier: ISC
 *
 * tool: one connection of an administrator's tool (queue_admin) or of any
 * user's (queue_view), and what it has asked for.  Long requests are tasks: they
 * work in slices of a few milliseconds, and only as fast as the tool reads.
 *
 *   admin.c    queue_admin: requests, and those that are answered at once
 *   view.c     queue_view: who may, and which requests those become
 *   task.c     walking the queue: list, act, stats, show
 *   order.c    --sort
 *   ages.c     stats: ages by domain
 *   subject.c  what a filter finds in a message
 *   rules.c    hold rules
 *   past.c     history
 *   import.c   import
 */
#ifndef QUEUED_TOOL_H
#define QUEUED_TOOL_H

#include "daemons/queued/queued.h"
#include "queue/filter.h"

enum { VIEW_PATIENCE_MS = 30000 }; /* a view without a request is closed */

struct task;
struct past;
struct import;

struct tool {
	struct queued *q;
	struct channel *c;
	bool view;             /* queue_view: nothing but list and flush */
	unsigned uid;
	struct list node;      /* of the views */
	struct timer patience; /* of a view without a request */
	struct task *task;     /* one at a time */
	struct past *past;
	struct import *import;
	struct list answers;   /* what the disk has to say */
};

/* For both channels. The channel is freed with it; NULL: it is already. */
struct tool *tool_new(struct queued *q, struct channel *c, unsigned uid);
void tool_free(struct tool *t);
void tool_go_on(struct tool *t); /* it has read on */

/* A request whose answer waits for the disk; outlives its tool. */
struct answer {
	struct list node;
	struct tool *t; /* NULL: nobody waits any more */
	uint64_t request;
};
struct answer *answer_new(struct tool *t, uint64_t request); /* NULL: no memory, which has been said */
/* As queue_accept()'s on_done: says done, and frees it. */
void answer_on_done(void *arg, uint64_t id, const struct fail *why);

/* count: of those found, listed or changed */
void tool_done(struct tool *t, uint64_t request, uint64_t found, uint64_t count, uint64_t size);
void tool_failed(struct tool *t, uint64_t request, struct span text);
/* It is not understood; column: of the filter, 0: something else. */
void tool_wrong(struct tool *t, uint64_t request, unsigned column, struct span text);
const char *tool_verb(enum queue_verb verb); /* "flush", ... */
/* Compiled, or NULL and said so. */
struct filter *tool_filter(struct tool *t, uint64_t request, struct span text, unsigned where);

/* ---- task.c ---- */

enum task_kind { TASK_LIST, TASK_ACT, TASK_STATS, TASK_SHOW };

struct order;
struct ages;

/* What is left 0 is not wanted. */
struct task_request {
	enum task_kind kind;
	uint64_t id, limit;
	struct filter *filter; /* taken */
	struct span text, sort;
	enum queue_verb verb;
	bool dry_run, quiet, senders, envelope, content;
};
void task_start(struct tool *t, const struct task_request *r);
void task_go_on(struct task *task); /* the tool has read on */
void task_stop(struct task **task);
/* item and, if wanted, item_rcpt rows. */
void task_send_item(struct tool *t, uint64_t request, const struct message *m, bool recipients);
uint64_t task_next_attempt(const struct message *m, uint32_t recipient, struct span *where);

/* ---- order.c ---- */

/* NULL: no such key, or no memory. "" gives NULL and *ok true: as they come. */
struct order *order_new(struct queued *q, struct span key, bool *ok);
bool order_add(struct order *o, const struct message *m); /* false: too many */
/* Sorts on a thread, then calls on_sorted(arg). */
void order_sort(struct order *o, void (*on_sorted)(void *arg), void *arg);
bool order_take(struct order *o, uint64_t *id); /* the next; false: that was all */
void order_free(struct order **o);              /* while it is sorted, too */

/* ---- ages.c ---- */

struct ages *ages_new(bool senders);
bool ages_add(struct ages *a, const struct message *m, int64_t now_ms); /* false: no memory */
void ages_send(struct ages *a, struct tool *t, uint64_t request);
void ages_free(struct ages **a);

/* ---- subject.c ---- */

struct subject {
	struct queue *q;
	const struct message *m;
	int64_t now_ms;
	uint32_t nth, index; /* the last recipient asked for */
	enum { NOT_READ, READ, UNREADABLE } journal;
	struct buf into;
	struct record_envelope envelope;
};
void subject_init(struct subject *s, struct queue *q);
void subject_free(struct subject *s);
void subject_set(struct subject *s, const struct message *m, int64_t now_ms);
extern const struct filter_source subject_source; /* of struct subject */
extern const struct filter_source arrival_source; /* of struct record_envelope */

/* ---- past.c, import.c ---- */

void past_start(struct tool *t, uint64_t request, struct filter *filter);
void past_go_on(struct past *p);
void past_stop(struct past **p);

bool import_start(struct tool *t, uint64_t request, bool hold);
bool import_envelope(struct import *i, struct span bytes);
bool import_bytes(struct import *i, struct span bytes);
bool import_end(struct import *i); /* gone afterwards */
void import_stop(struct import **i);

/* ---- rules.c ---- */

struct rule_list;
struct rule_list *rules_open(struct vfs *v, struct worker_pool *pool);
void rules_free(struct rule_list **r);
/* The number of the rule that holds this message back, 0: none. */
uint64_t rules_match(struct rule_list *r, const struct record_envelope *e);
struct span rules_text(const struct rule_list *r, uint64_t number);
void rules_send(const struct rule_list *r, struct tool *t, uint64_t request);
void rules_add(struct rule_list *r, struct tool *t, uint64_t request, struct span filter, struct span comment, int64_t now_ms);
void rules_delete(struct rule_list *r, struct tool *t, uint64_t request, uint64_t number);

#endif
