/* SPDX-License-Identifier: ISC
 *
 * userd: the way to a mailbox owner: has one mailboxd for each active user and
 * one deliverd for each owning uid started by maild, and rules them.  It has no right
 * of its own and reads no network byte and no mail.
 *
 *   main.c    its channels and its life
 *   ticket.c  one-time tickets
 *   child.c   mailboxd and deliverd processes
 *   poison.c  users whose mailboxd crashes, and peers that crash programs
 *   visit.c   sessions of one user in another one's mailboxes: the broker
 *   rest.c    connections of users whose clients only idle
 *   template.c  the process that the common user's mailboxd are copies of
 */
#ifndef USERD_USERD_H
#define USERD_USERD_H

#include "base/map.h"
#include "service/launch.h"
#include "service/service.h"
#include "sys/box.h"

enum { TICKETS_MAX = 10000, VISITS_MAX = 64 /* asked at once by one mailboxd */, USERD_CHILDREN_MAX = 20000, USERD_DELIVERD_MAX = 10000 /* of them: no locald keeps users out */, USERD_GRACE_MS = 10000, USERD_RESTED_MAX = 100000, USERD_WALLS = 8 };

struct userd {
	struct service *service;
	struct channel *root; /* to maild; NULL: away */
	uint64_t next_id;     /* of children, on root */
	struct channel *authd;
	struct map tickets;  /* struct ticket by its bytes */
	struct map children; /* struct child by user, or by "uid:gid" */
	struct map ids;      /* struct child by its id, those that are leaving too */
	struct list order;   /* tickets, oldest first */
	unsigned nchildren;  /* those that are leaving, too */
	unsigned ndeliverd;  /* of them */
	struct list all;     /* children, those that are leaving too */
	struct map poison;   /* those that crashed lately, by their keys */
	struct list poisoned;
	char walls[USERD_WALLS][128]; /* what its children say of theirs; from 1 */
	bool recalled;       /* authd has told what it had kept of them */
	struct timer stop_limit;
	struct map asked;    /* struct visit by its id, while authd is asked */
	struct list visits;  /* the same */
	struct timer measure; /* for mailboxds that do not say how much there is */
	uint64_t last_visit;
	struct list fronts;  /* struct front */
	uint64_t last_front;
	struct map rests;    /* struct rest by user */
	struct list resting; /* the same, who was told something longest ago first */
	unsigned nrested;    /* connections */
	struct timer still;
	struct list templates;     /* those that have children still */
	struct template *template; /* that the next mailboxd comes from; NULL: none yet */
};

/* A login channel, and what it is called to mailboxd. */
struct front {
	struct list node;
	struct channel *channel;
	uint64_t number;
};

struct ticket {
	struct map_node node;
	struct list order;
	int64_t until_ms;
	struct ipc_ticket_grant grant;
	char bytes[B_TICKET], service[B_NAME], user[B_ADDRESS], folder[B_ADDRESS], home[B_PATH];
};

/* One mailboxd or deliverd. */
struct child {
	struct map_node node, by_id;
	struct list all;
	struct userd *userd;
	char key[B_ADDRESS + 1];
	uint64_t id;
	unsigned program;        /* enum program */
	uint32_t pid;            /* 0: not known yet */
	uint8_t walls;           /* struct userd's; 0: it has not said which stand */
	struct channel *ctl;
	struct channel *session; /* mailboxd */
	uint64_t entered;        /* sessions given to it; of a deliverd: peers */
	uint64_t left;           /* sessions given back by it */
	unsigned nasked;         /* struct visit of it */
	bool stopping, leaving; /* leaving: it hands over its sessions */
	char *home;             /* mailboxd; owned; what its user was granted */
	uint32_t uid, gid;
	uint64_t quota, messages;
	bool quotas; /* its user may set quotas */
	struct template *template; /* that it is a copy of; or NULL */
	bool orphan;               /* that has ended: this one's ctl channel tells of its end */
	struct child *before; /* its predecessor, still leaving: a mailbox has one writer at a time */
	struct list asks;     /* of locald, who wait for what comes after it */
	unsigned nasks;
	struct box_page *box; /* of a mailboxd whose predecessor crashed: what it reads; or NULL */
	int held;             /* the session channel's other end, handed over when that one is gone; or -1 */
};

static inline struct userd *userd_of(const struct channel *c) { return ((struct service *)channel_owner(c))->state; }

/* ticket.c */
extern const struct channel_ops ticket_ops;
void ticket_open(struct service *s, struct channel *c, struct span peer, unsigned instance);
struct ticket *ticket_find(struct userd *u, struct span bytes); /* NULL: none */
void ticket_drop(struct userd *u, struct ticket *t);

/* template.c */
/* A copy of the template, which is started if need be; its ctl channel, or NULL and *why. */
struct channel *template_fork(struct child *child, const struct channel_ops *ops, struct fail *why);
void template_left(struct template *t); /* a child of it is gone */
/* The next mailboxd is to come from another: the configuration has changed, or one has crashed,
 * and who made it crash shall not find the same addresses again. */
void template_retire(struct userd *u);
void template_kill_all(struct userd *u);
void template_log(struct userd *u); /* it has the log that is another file now */
bool template_ended(struct userd *u, uint64_t id); /* a child of maild; false: it was none of them */

/* main.c */
void child_ended(struct child *child, uint32_t pid, bool crashed, struct span why);
bool front_returned(struct child *child, const struct ipc_session_left *m, int fd);

/* child.c */
enum program { MAILBOXD, DELIVERD };
struct child *child_of(struct userd *u, const char *key);
struct child *child_by_id(struct userd *u, uint64_t id);
struct child_owner {
	uint64_t id; /* of the child */
	uint32_t uid, gid;
};
/* Has it executed, and booted; NULL and *why. */
struct channel *child_program(struct userd *u, enum program program, const char *label, const struct child_owner *owner, const struct channel_ops *ops, void *of, struct fail *why);
/* Has a program started for an owner and makes it known under key; NULL and *why. */
struct child *child_launch(struct userd *u, enum program program, const char *key, uint32_t uid, uint32_t gid, struct fail *why);
/* Gives a child its end of a new channel; returns the other end, or -1. */
int child_peer(struct child *child, const char *channel, const char *client);
void child_stop(struct child *child);
bool child_tell(const struct userd *u, struct channel *c, uint64_t request); /* rows for mailctl status; false: the channel is closed */
void child_reload(struct child *child); /* the new configuration */
void child_log(struct channel *ctl); /* of a child or the template, NULL for none: the log, which is another file now */
/* It has ended: those that waited for that have their turn. */
void child_gone(struct child *child);
/* What the user may keep, from now on, also where everybody rests. */
void child_limits(struct userd *u, const struct ipc_ticket_limits *m);
/* Who shares with this user (empty: with anybody) has changed: the mailboxd forgets what it knows of it, before anybody hears
 * that it is done. */
void child_shared(struct userd *u, struct span guest);
/* The user's mailboxd, started if need be; NULL and *why. */
struct child *child_mailboxd(struct userd *u, const struct ipc_ticket_grant *grant, struct fail *why);

/* visit.c: what a mailboxd asks (its user is child->key, whatever it says), and authd's answers. */
bool visit_begin(struct child *child, const struct ipc_session_visit *m);
bool visit_sharers(struct child *child, const struct ipc_session_sharers *m);
bool visit_share(struct child *child, const struct ipc_session_share *m);
bool visit_quota(struct child *child, const struct ipc_session_quota *m);
bool visit_measured(struct child *child, const struct ipc_session_measured *m); /* false: it was not asked */
void visit_on_measure(struct timer *t);
void visit_child_gone(struct userd *u, const struct child *child);
bool visit_owner(struct userd *u, const struct ipc_ticket_owner *m);
bool visit_sharer(struct userd *u, const struct ipc_ticket_sharer *m);
bool visit_answered(struct userd *u, const struct ipc_ticket_answered *m);
void visit_unanswered(struct userd *u); /* authd is away */
/* rest.c */
bool on_session_rest(struct channel *c, const struct ipc_session_rest *m);
bool on_session_rested(struct channel *c, const struct ipc_session_rested *m, int fd);
bool on_session_events(struct channel *c, const struct ipc_session_events *m, int fd);
/* The user has a mailboxd again: it goes on with what rests. */
void rest_rouse(struct child *child);
void rest_limits(struct userd *u, const struct ipc_ticket_limits *m);
void rest_check(struct userd *u, struct child *child); /* which has ended */
void rest_on_still(struct timer *t);
void rest_end(struct userd *u); /* says goodbye to all */

/* poison.c */
extern const struct channel_ops poison_admin_ops;
void poison_note(struct userd *u, const struct child *child, struct span how); /* it has crashed */
bool poison_peer(struct service *s, const struct ipc_ctl_crash *m); /* another program has, while it worked for a peer */
void poison_arm(struct child *child); /* a mailboxd is to keep what it reads, where one has crashed before it */
void poison_recall(struct userd *u, const struct ipc_ticket_crashed *m); /* authd had kept it */
void poison_tell_all(struct userd *u); /* a new authd: what happened while there was none */
bool poison_holds(const struct userd *u, struct span user);      /* nobody may enter this mailbox */
bool poison_is_fresh(const struct userd *u, const char *key);    /* its last child crashed a moment ago */

#endif
