/* SPDX-License-Identifier: ISC
 *
 * useradmin: what the user_admin channel asks for, carried out on a user
 * database: by authd, and by mailctl itself while no authd runs.
 */
#ifndef TABLE_USERADMIN_H
#define TABLE_USERADMIN_H

#include "ipc/messages.h"
#include "table/password.h"
#include "table/userdb.h"

/* Whose name that is, or will be: of who is there as a login finds him (RFC 4013). False and *why: it can be nobody's. */
bool useradmin_name(struct userdb *db, struct span given, bool create, char name[USERDB_NAME + 1], struct fail *why);
/* Checks a request before the password is hashed; fills the canonical name. */
bool useradmin_check(struct userdb *db, const struct ipc_user_admin_set *set, char name[USERDB_NAME + 1], struct fail *why);
/* What is stored of a password; made by useradmin_hash() on a worker thread. */
struct useradmin_secret {
	struct buf hash, scram; /* empty: no login; no SCRAM */
	uint8_t salt[USERDB_SALT];
	uint32_t iterations; /* of SCRAM; 0: no keys for it */
};

/* Beforehand, where the database is at hand. */
void useradmin_secret_init(struct useradmin_secret *s, const struct userdb *db, struct span user, uint32_t scram_iterations);
/* Nothing is stored of an empty password. */
bool useradmin_hash(struct useradmin_secret *s, struct span password, const struct password_cost *cost, struct fail *why);
void useradmin_secret_wipe(struct useradmin_secret *s);
bool useradmin_set(struct userdb *db, const struct ipc_user_admin_set *set, const struct useradmin_secret *secret, int64_t now_s, struct fail *why);
/* Gives SCRAM keys to a user whose password hash is still that one; nothing happens when it is not. */
bool useradmin_set_scram(struct userdb *db, struct span name, struct span hash, struct span scram, struct fail *why);
bool useradmin_quota(struct userdb *db, const struct ipc_user_admin_quota *quota, struct fail *why);
bool useradmin_remove(struct userdb *db, const struct ipc_user_admin_remove *remove, struct fail *why);
/* Calls with a row for each user that matches. */
bool useradmin_list(struct userdb *db, const struct ipc_user_admin_list *list, bool (*row)(void *arg, const struct ipc_user_admin_user *user),
    void *arg, struct fail *why);

#endif
