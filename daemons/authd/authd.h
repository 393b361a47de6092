/* SPDX-License-Identifier: ISC
 *
 * authd: what its parts share.
 *
 * check.c   one login from question to answer
 * scram.c   the same for SCRAM, in two rounds
 * external.c  the same by a certificate
 * token.c     the same by an OAuth token
 * admin.c   changes of the user database
 * share.c   who may visit whose mailboxes, for userd
 * crash.c   whose mailbox processes have crashed, for userd
 * quota.c   what users may keep, for those who may say it
 * link.c    channels that work in the background answers to
 * main.c    channels, start, reload, stop
 */
#ifndef AUTHD_AUTHD_H
#define AUTHD_AUTHD_H

#include "base/recent.h"
#include "daemons/authd/cache.h"
#include "daemons/authd/certmap.h"
#include "daemons/authd/guard.h"
#include "daemons/authd/tokencache.h"
#include "service/inquiry.h"
#include "service/service.h"
#include "sys/worker.h"
#include "table/password.h"
#include "table/useradmin.h"

enum {
	RECENT_MAX = 50000,       /* POP3 logins of which the time is known */
	CHANGES_MAX = 64,         /* of users, at once */
	CHECKS_MAX = 4096,        /* logins being checked or held back at once */
	CHECKS_PER_CLIENT = 64,   /* of one client address, IPv6: of one /64 */
	CHECKS_PER_NETWORK = 512, /* of one /24, IPv6: of one /56 */
	CHECKS_OF_KNOWN = 1024,   /* of all, for who has logged in from the same network before */
	EXCHANGES_MAX = 4096,     /* SCRAM: clients that are to answer a challenge */
	EXCHANGES_PER_CLIENT = 64,
	SCRATCH_MAX = 64 * 1024,
};

struct authd {
	struct service *service;
	struct worker_pool *pool; /* owned */
	struct userdb *db;        /* owned */
	struct buf dummy;         /* what unknown users' passwords are checked against */
	struct cache cache;
	struct certmap certmap;
	struct inquirer tokend;
	struct tokencache tokencache;
	struct list tokens;       /* struct bearer */
	size_t ntokens;
	struct arena paths;       /* of its files */
	struct guard guard;
	struct recent recent;     /* logins to POP3 mailboxes, for pop3_login_delay (RFC 2449 6.5) */
	struct channel *ticket;   /* to userd; owned; NULL while it is away */
	struct list links;        /* struct link: channels of auth, users and user_admin */
	struct list checks;       /* struct check */
	struct list exchanges;    /* struct check, the oldest first: SCRAM, while the client has the word */
	size_t nchecks, nexchanges;
	size_t nchanges; /* of users, on their way */
	uint64_t good, wrong, refused, cached;
};

/* A channel that work in the background answers to; outlives it while work is left. */
struct link {
	struct list node;
	struct authd *authd;
	struct channel *channel; /* NULL when closed */
	size_t refs;
	bool users; /* wants to know of changes */
};

struct link *link_new(struct authd *a, struct channel *c);
void link_closed(struct link *l);
void link_unref(struct link *l);

/* How new passwords are stored. */
struct password_cost authd_cost(const struct authd *a);
/* 0: SCRAM is not in use, and no keys for it are made. */
uint32_t authd_scram_iterations(const struct authd *a);

/* check.c */
bool check_begin(struct link *l, const struct ipc_auth_ask *ask);
void check_drop_all(struct authd *a); /* at the end, with no worker left */
void check_stop(struct authd *a); /* those that no thread has begun */

/* scram.c */
bool scram_begin(struct link *l, const struct ipc_auth_scram *m);
bool scram_prove(struct link *l, const struct ipc_auth_proof *m); /* false: not what a front would send */

/* external.c */
bool external_begin(struct link *l, const struct ipc_auth_certificate *m);

/* quota.c */
bool quota_administrator(const struct authd *a, struct span user);
bool quota_ask(struct authd *a, const struct ipc_ticket_quota *m);
void quota_changed(struct authd *a, struct span user); /* userd is told the limits */

/* crash.c */
void crash_tell(struct authd *a); /* as soon as both the database and userd are there */
bool crash_keep(struct authd *a, const struct ipc_ticket_crash *m); /* false: a violation */

/* share.c: the ticket channel, whose owner is the service */
extern const struct channel_ops ticket_ops;
/* The user as userd is told; false and *why: there is none. Spans live in the arena. */
bool share_owner(struct authd *a, struct span name, struct arena *mem, struct ipc_ticket_owner *owner, struct fail *why);
/* userd is told that who shares with this guest may have changed; empty: with everybody. */
void share_tell(struct authd *a, struct span guest);
bool share_answer(struct channel *c, uint64_t id, bool ok, const struct fail *why);

/* token.c */
extern const struct channel_ops token_channel_ops;
bool token_setup(struct authd *a); /* false: no randomness */
bool token_begin(struct link *l, const struct ipc_auth_token *m);
void token_drop_all(struct authd *a);

/* admin.c */
bool admin_set(struct link *l, const struct ipc_user_admin_set *m);
bool admin_quota(struct link *l, const struct ipc_user_admin_quota *m);
bool admin_remove(struct link *l, const struct ipc_user_admin_remove *m);
bool admin_list(struct link *l, const struct ipc_user_admin_list *m);
/* A user has changed: whoever asked before is told to forget it. */
void admin_announce(struct authd *a, const char *verb, struct span user);

#endif
