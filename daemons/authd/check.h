/* SPDX-License-Identifier: ISC
 *
 * check: one login from question to answer; what check.c (passwords) and scram.c share.
 */
#ifndef AUTHD_CHECK_H
#define AUTHD_CHECK_H

#include "daemons/authd/authd.h"
#include "table/scramkey.h"

struct check {
	struct work work;
	struct timer wait;
	struct list node;  /* in authd.checks; in authd.exchanges while a SCRAM client has the word */
	struct link *link; /* counted */
	uint64_t id;
	char name[USERDB_NAME + 1]; /* canonical; "" if it cannot be anybody's */
	char folder[B_ADDRESS + 1]; /* pop3: that the login named, as it was given; "": INBOX */
	char client[B_NAME + 1];
	struct guard_client host, network; /* the same */
	char service[B_NAME + 1];
	char mechanism[B_NAME + 1];
	struct buf password, stored; /* wiped */
	bool known, tls, good;
	char why[80];
	struct buf scram;   /* SCRAM keys that the worker makes of a good password; wiped */
	uint8_t salt[USERDB_SALT];
	uint32_t iterations; /* 0: none are to be made */
	/* of a SCRAM exchange */
	struct buf message; /* AuthMessage */
	struct scramkey key;
	uint8_t proof[SCRAMKEY_SIZE], signature[SCRAMKEY_SIZE];
	bool challenged;    /* in authd.exchanges */
	bool proved;        /* signature is part of the answer */
	bool tells;         /* of a token: message is what the client is told when it is no good */
};

/* A new check in authd.checks, its user looked up (*found, *user in mem); NULL: refused already. */
struct check *check_admit(struct link *l, const struct ipc_auth_ask *ask, struct arena *mem, struct user *user, bool *found);
/* From authd.checks to authd.exchanges, or back. */
void check_move(struct check *k, bool challenged);
/* Answers and ends it: with a reason that the client is not told, held back if it was wrong. */
void check_answer_good(struct check *k, const struct user *user);
void check_answer_wrong(struct check *k, const char *why);
void check_answer_later(struct check *k, const char *why);
void check_refuse(struct channel *c, uint64_t id, const char *why); /* for now */
/* Whether both may be the same user: for sure only check_own_identity() says it, when one of them was found. */
bool check_maybe_same(const struct authd *a, struct span one, struct span other);
/* Whether the identity that the client would act as, if it has named one, is this user himself: acting as
 * somebody else is not possible here (RFC 4616 2, RFC 5802 5.1). A folder that it names is taken over. */
bool check_own_identity(struct check *k, struct span authzid);
bool check_may_act(struct check *k, struct span authzid); /* the same; the log will say when not */
/* Of a password or proof that is no good, or would not have been: why, for the log. */
const char *check_wrong(const struct check *k);
/* The user that a login names together with a folder (pop3_folder_delimiter), appended to user; false: it names none. */
bool check_folder(const struct authd *a, struct span service, struct span login, struct buf *user, struct span *folder);

#endif
