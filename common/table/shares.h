/* SPDX-License-Identifier: ISC
 *
 * shares: who has given whom rights to a mailbox, in a database of userdb's
 * environment: a row for each guest and owner, and one for each owner that
 * counts them.
 */
#ifndef TABLE_SHARES_H
#define TABLE_SHARES_H

#include "table/bdb.h"

enum { SHARES_VERSION = 1 };

struct shares {
	struct bdb_env *env;
	struct bdb *db;
};

/* Durable when it returns; FAIL_LIMIT: the owner has USERDB_SHARES_MAX. */
bool shares_set(const struct shares *s, struct span owner, struct span guest, bool on, struct fail *why);
enum bdb_found shares_has(const struct shares *s, struct span owner, struct span guest, struct fail *why);
bool shares_each(const struct shares *s, struct span guest, bool (*visit)(void *arg, struct span owner), void *arg, struct fail *why);
/* The user is no more, as owner and as guest. */
bool shares_forget(const struct shares *s, struct span user, struct fail *why);

#endif
